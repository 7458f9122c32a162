//! Resets, errors and answers: from an end, or from something between the points.

use super::{Findings, MergedCause, SIDES, name, places};
use crate::tcp::{Post, Side};
use crate::time::Duration;
use crate::verdict::explain::{Confidence, OpeningCause};
use crate::verdict::merge::carry::Carriage;
use crate::verdict::punch::icmp_meaning;
use crate::wire::{Segment, Seq};

/// A reset that the end in whose name it comes has not sent. One that a capture has missed looks the same: so
/// the SYN that it answers has to have gone no farther, or it was not the only one.
pub fn made_reset(findings: &Findings<'_>) -> Option<MergedCause> {
    let (reset, between) = SIDES.into_iter().find_map(|by| {
        let made = findings.resets(by).filter(|reset| answers_a_syn(findings, reset));
        let made = made.filter_map(|reset| Some((reset, findings.made_between(reset)?)));
        let made: Vec<_> = made.collect();
        let mut syns = findings.bare_syns(by.opposite());
        let (_, between) = made.first()?;
        let stopped =
            syns.any(|syn| findings.died_between(syn).map(places) == Some(places(*between)));
        (stopped || made.len() > 1).then(|| made[0])
    })?;
    let ttl = reset.first().packet.ttl;
    Some(MergedCause {
        cause: OpeningCause::MiddleboxReset,
        side: Some(reset.from),
        between: Some(places(between)),
        confidence: Confidence::Certain,
        because: format!(
            "a reset in the name of {} was made {}: it came there with TTL {ttl}, and {} never sent it",
            name(reset.from),
            findings.gap(between),
            name(reset.from)
        ),
        frames: findings.frames_of(reset),
        advice: "what is there resets what it did not expect (RFC 5382 REQ-4): have both ends send within \
                 the crossing window, or let it drop instead"
            .to_owned(),
    })
}

fn answers_a_syn(findings: &Findings<'_>, reset: &Carriage<'_>) -> bool {
    let Some(ack) = reset.segment().map(|segment| segment.ack) else { return false };
    findings.bare_syns(reset.from.opposite()).any(|syn| {
        let here = syn.at(reset.passed[0].point).and_then(|here| here.segment());
        here.is_some_and(|syn| ack == syn.seq + syn.length())
    })
}

/// Both sent a SYN; one of them arrived where its receiver had not begun, or had been refused already. All of
/// that is told on the receiver's own clock.
pub fn missed_window(findings: &Findings<'_>) -> Option<MergedCause> {
    SIDES.into_iter().find_map(|refused| missed_by(findings, refused))
}

fn missed_by(findings: &Findings<'_>, refused: Side) -> Option<MergedCause> {
    let other = refused.opposite();
    let end = findings.end(other);
    let is_of =
        |reset: &Segment, syn: &Segment| reset.seq == Seq(0) && reset.ack == syn.seq + syn.length();
    let (syn, came, reset) = findings.bare_syns(refused).find_map(|syn| {
        let came = syn.at(end)?;
        let mut resets = findings.resets(other).filter(|reset| reset.passed[0].point == end);
        let reset = resets.find(|reset| {
            reset.segment().zip(came.segment()).is_some_and(|(reset, syn)| is_of(reset, syn))
        })?;
        Some((syn, came, reset))
    })?;
    let theirs = findings.bare_syns(other).find(|syn| syn.at(end).is_some())?;
    let left = theirs.at(end)?.own;
    let [sender, receiver] = [name(refused), name(other)];
    let how = if came.own < left {
        format!("arrived {} before {receiver} sent its own", in_ms(left - came.own))
    } else {
        format!(
            "arrived {} after {receiver} had sent its own, which was over by then",
            in_ms(came.own - left)
        )
    };
    let frames = [syn, reset, theirs].map(|one| findings.frames_of(one)).concat();
    Some(MergedCause {
        cause: OpeningCause::MissedWindow,
        side: Some(refused),
        between: None,
        confidence: Confidence::Certain,
        because: format!(
            "both sent a SYN, and they did not meet: that of {sender} {how}, by the clock there, and was reset"
        ),
        frames,
        advice: "start both ends on one clock, closer together than the one-way delay: `tso-probe punch` \
                 agrees on an instant and says how well it was met"
            .to_owned(),
    })
}

/// A SYN arrived at an end that has nothing at that port, and says so.
pub fn closed_port(findings: &Findings<'_>) -> Option<MergedCause> {
    // One that was made on the way may have been what ended it.
    if SIDES
        .into_iter()
        .any(|by| findings.resets(by).any(|one| findings.made_between(one).is_some()))
    {
        return None;
    }
    let reset = SIDES.into_iter().find_map(|by| {
        let is_there = findings.points[findings.end(by)].post == Post::At(by);
        let mut resets = findings.resets(by).filter(|reset| {
            let is_own = reset.passed[0].point == findings.end(by);
            let is_canned = reset.segment().is_some_and(|segment| segment.seq == Seq(0));
            is_there && is_own && is_canned && answers_a_syn(findings, reset)
        });
        resets.next()
    })?;
    let end = findings.points[findings.end(reset.from)].b;
    let end = if reset.from == Side::A { findings.points[0].a } else { end };
    let by = name(reset.from);
    Some(MergedCause {
        cause: OpeningCause::ClosedPort,
        side: Some(reset.from),
        between: None,
        confidence: Confidence::Certain,
        because: format!("the SYN arrived, and {by} itself reset it: nothing listens or opens at {end}"),
        frames: findings.frames_of(reset),
        advice: "start the program there, or have both ends open at the same moment from the ports that the \
                 other aims at"
            .to_owned(),
    })
}

/// An ICMP error, and between which points it was made.
pub fn icmp_error(findings: &Findings<'_>) -> Option<MergedCause> {
    let (carriage, icmp) = findings.carried.iter().find_map(|carriage| {
        let icmp = carriage.first().packet.icmp_error()?;
        Some((carriage, icmp))
    })?;
    let by = carriage.first().packet.source;
    let between = findings.made_between(carriage);
    let place = between.map_or(String::new(), |between| format!(", {}", findings.gap(between)));
    let about = carriage.from.opposite();
    Some(MergedCause {
        cause: OpeningCause::IcmpError,
        side: Some(carriage.from),
        between: between.map(places),
        confidence: Confidence::Certain,
        because: format!(
            "{by}{place} answered the SYN of {} with an ICMP error, {}/{}{}",
            name(about),
            icmp.kind,
            icmp.code,
            icmp_meaning(by, icmp.kind, icmp.code)
        ),
        frames: findings.frames_of(carriage),
        advice: "ask whoever runs that address; a NAT that answers a SYN which it did not expect within six \
                 seconds breaks RFC 5382 REQ-4"
            .to_owned(),
    })
}

/// A SYN,ACK that the end in whose name it comes has not sent: something between answers first, and may or
/// may not go on to that end. An end that sent none with that number is what tells it from one that a
/// capture has missed.
pub fn answered_in_its_place(findings: &Findings<'_>) -> Option<MergedCause> {
    let (answer, between) = SIDES.into_iter().find_map(|by| {
        let made = findings.syn_acks(by);
        let made = made.filter_map(|answer| Some((answer, findings.made_between(answer)?)));
        let made: Vec<_> = made.collect();
        let number = |one: &Carriage<'_>| one.segment().map(|segment| segment.seq);
        let first = made.first()?.0;
        let own = findings.segments(by).filter(|one| one.behind(findings.points.len()).is_none());
        let has_another = own.into_iter().any(|one| {
            let is_syn =
                one.segment().is_some_and(|segment| segment.is_bare_syn() || segment.is_syn_ack());
            is_syn && number(one) != number(first)
        });
        has_another.then(|| made[0])
    })?;
    let client = answer.from.opposite();
    let own = |syn: &Carriage<'_>| {
        syn.passed[0].point == findings.end(client) && syn.at(between[0]).is_some()
    };
    let goes_on = findings.bare_syns(client).any(own);
    let [client_name, server] = [name(client), name(answer.from)];
    let (cause, how) = match findings
        .bare_syns(client)
        .any(|syn| is_carried_on(findings, syn, between))
        || goes_on
    {
        true => (OpeningCause::SynProxy, "then opened the rest itself, with the SYN's number"),
        false => (OpeningCause::TransparentProxy, "and the SYN went no farther"),
    };
    Some(MergedCause {
        cause,
        side: Some(answer.from),
        between: Some(places(between)),
        confidence: Confidence::Certain,
        because: format!(
            "a SYN,ACK in the name of {server} was made {}: it answered the SYN of {client_name}, {how}",
            findings.gap(between)
        ),
        frames: findings.frames_of(answer),
        advice: "no SYN crosses what answers in another's place: leave that port to it and punch at another, \
                 or have it let these addresses through"
            .to_owned(),
    })
}

/// Whether a SYN with a number of the client's was made on the far side.
fn is_carried_on(findings: &Findings<'_>, syn: &Carriage<'_>, between: [usize; 2]) -> bool {
    let number = syn.segment().map(|segment| segment.seq);
    let own = findings
        .bare_syns(syn.from)
        .filter(|other| other.passed[0].point == findings.end(syn.from));
    let is_known =
        own.into_iter().any(|other| other.segment().map(|segment| segment.seq) == number);
    is_known && syn.passed[0].point == between[0]
}

pub fn in_ms(nanos: u64) -> String {
    format!("{:.3} ms", Duration::from_nanos(nanos).as_secs_f64() * 1e3)
}
