//! What one end's interface saw of one connection.
//!
//! What a host's TCP knew is judged by what it sent: a packet may be seen at an interface and never
//! reach TCP, or reach it later than one that was seen after it.

mod attempts;

use super::{Sighting, Transition, Vantage};
use crate::tcp::arrival::Arrival;
use crate::tcp::{Outcome, Side, State};
use crate::time::Instant;
use crate::wire::{Body, Flags, Icmp, Segment, Seq};

/// What one end's interface saw of one attempt to open one connection.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub side: Side,
    vantage: Vantage,
    segments: Vec<Seen<'a>>,
    /// ICMP errors about what this end sent.
    errors: Vec<(usize, Seq)>,
    /// This end's SYN.
    own: Option<Syn>,
    /// The other's SYN.
    peer: Option<Syn>,
}

#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    frame: usize,
    at: Instant,
    inbound: bool,
    segment: &'a Segment,
}

/// A SYN, bare or not: its initial sequence number and SEG.LEN.
#[derive(Clone, Copy, Debug)]
struct Syn {
    iss: Seq,
    length: u32,
}

impl Syn {
    /// SND.UNA < SEG.ACK =< SND.NXT (RFC 9293 §3.10.7.3): data on a SYN need not be taken with it.
    fn has_number_in(self, segment: &Segment) -> bool {
        let is_ack = segment.flags.contains(Flags::ACK);
        is_ack && (1..=self.length).contains(&(segment.ack - self.iss))
    }

    fn is_acknowledged_by(self, segment: &Segment) -> bool {
        !segment.is_reset() && self.has_number_in(segment)
    }
}

impl<'a> View<'a> {
    /// What the interface of `side` saw of the connection between these endpoints.
    pub fn new(trace: &[Sighting<'a>], side: Side, vantage: Vantage) -> Self {
        let (own, peer) = (None, None);
        let mut view = Self { side, vantage, segments: Vec::new(), errors: Vec::new(), own, peer };
        for (place, sighting) in trace.iter().enumerate() {
            if sighting.vantage == side {
                view.see(place + 1, sighting);
            }
        }
        let own = view.last_own();
        view.of_attempt(own)
    }

    fn see(&mut self, frame: usize, sighting: &Sighting<'a>) {
        match &sighting.packet.body {
            Body::Tcp(segment) if self.is_ours(sighting) => {
                let seen = Seen { frame, at: sighting.at, inbound: sighting.inbound, segment };
                self.segments.push(seen);
                // What one sends to oneself arrives, whichever way it was seen.
                if self.is_self_connect() {
                    self.segments.push(Seen { inbound: !sighting.inbound, ..seen });
                }
            }
            Body::Icmp(icmp) if sighting.inbound && self.is_fatal(icmp) => {
                self.errors.push((frame, icmp.quote.seq));
            }
            _ => {}
        }
    }

    fn is_ours(&self, sighting: &Sighting<'_>) -> bool {
        let Vantage { local, remote } = self.vantage;
        let ends = if sighting.inbound { (remote, local) } else { (local, remote) };
        sighting.packet.endpoints() == Some(ends)
    }

    /// Whether it says that a segment of ours was given up: unreachable, expired or malformed. That it
    /// was too large is no such end (RFC 1191 §4, RFC 8201 §4); a redirect went on, and RFC 9293
    /// §3.9.2.2 has a source quench ignored.
    fn is_fatal(&self, icmp: &Icmp) -> bool {
        let Vantage { local, remote } = self.vantage;
        let is_end = match (local.is_ipv4(), icmp.kind) {
            (true, 3) => icmp.code != 4,
            (true, kind) => matches!(kind, 11 | 12),
            (false, kind) => matches!(kind, 1 | 3 | 4),
        };
        is_end && (icmp.quote.source, icmp.quote.destination) == (local, remote)
    }

    pub const fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn is_self_connect(&self) -> bool {
        self.vantage.local == self.vantage.remote
    }

    /// Whether the bare SYN of the other side arrived here while this side was in SYN-SENT.
    pub fn arrival(&self) -> Arrival {
        // RFC 9293 §3.10.1: without a SYN of its own it never was in SYN-SENT.
        let Some(sent) = self.bare_syns(false).next() else { return Arrival::Missed };
        let mut came = self.bare_syns(true);
        match self.answer() {
            // RFC 9293 §3.10.7.3, fourth: with the number of a bare SYN, a SYN,ACK leaves only
            // SYN-SENT, and only for a bare SYN.
            Some(answer) if answer.segment.is_syn_ack() => Arrival::InSynSent,
            // RFC 793 figure 8, last line: before any SYN,ACK came, an ACK answers the bare SYN.
            Some(answer) if self.comes_before_syn_ack(answer.frame) => {
                let crossed = came.any(|syn| (sent.frame..answer.frame).contains(&syn.frame));
                // Else it came as ours left, and order at the interface is not order in the host.
                if crossed { Arrival::InSynSent } else { Arrival::Unknown }
            }
            // In time, but nothing shows that TCP got it: a filter of this host's may have.
            _ if came.any(|syn| sent.frame < syn.frame && self.comes_before_syn_ack(syn.frame)) => {
                Arrival::Unknown
            }
            // None came; or only before the SYN left, or after the SYN,ACK that established.
            _ => Arrival::Missed,
        }
    }

    /// Whether the bare SYN of this side arrived at the other while that one was in SYN-SENT, as far
    /// as what came back tells.
    pub fn own_arrival(&self) -> Arrival {
        let Some(own) = self.own.filter(|_| self.bare_syns(false).next().is_some()) else {
            return Arrival::Missed;
        };
        let has_syn_ack = self.syn_ack_in().is_some();
        if has_syn_ack && self.bare_syns(true).next().is_some() {
            // RFC 9293 §3.10.7.3, fourth: bare SYN and SYN,ACK with one number come from SYN-SENT.
            return Arrival::InSynSent;
        }
        if !has_syn_ack && self.refusals(own) >= self.bare_syns(false).count() {
            return Arrival::Missed;
        }
        // A SYN,ACK alone may come from LISTEN; a bare ACK may answer our SYN or our SYN,ACK.
        Arrival::Unknown
    }

    /// How many of this side's bare SYNs are known to have gone no farther: an ICMP error quotes what
    /// was discarded (RFC 792), a reset that acknowledges answers what had no ACK (RFC 9293
    /// §3.10.7.1). Once a SYN,ACK has left, which of the two they mean is not to be told.
    fn refusals(&self, own: Syn) -> usize {
        let until = self.answer().map_or(usize::MAX, |answer| answer.frame);
        let errors = self.errors.iter().filter(|(frame, seq)| *frame < until && *seq == own.iss);
        let resets = self.way(true).filter(|seen| {
            seen.frame < until && seen.segment.is_reset() && own.has_number_in(seen.segment)
        });
        errors.count() + resets.count()
    }

    /// Whether a side answered the other's bare SYN with one of its own, for certain.
    pub fn shows_split(&self) -> bool {
        self.is_split(false) || self.is_split(true)
    }

    /// Whether the side that sends this way did. A SYN,ACK of its would be a crossing's.
    fn is_split(&self, inbound: bool) -> bool {
        let Some(syn) = self.bare_syns(inbound).next() else { return false };
        let has_syn_ack = self.way(inbound).any(|seen| seen.segment.is_syn_ack());
        let knew = self.acknowledged_before(inbound, &syn) || self.echoes(inbound, syn.segment);
        !has_syn_ack && knew
    }

    /// Whether it acknowledged the other's SYN before it sent its own.
    fn acknowledged_before(&self, inbound: bool, syn: &Seen<'_>) -> bool {
        let Some(other) = self.syn_of(!inbound) else { return false };
        // What follows a SYN of an earlier attempt may belong to that one.
        let mut early = self.way(inbound).take_while(|seen| !seen.segment.is_bare_syn());
        early.any(|seen| {
            // An ACK may have overtaken its SYN, be it in the capture, or belong to an attempt whose SYN
            // did not come. Whoever has sent none yet has the number that the SYN will have, or none.
            let has_sent_none = seen.segment.seq == syn.segment.seq || seen.segment.seq == Seq(0);
            other.is_acknowledged_by(seen.segment) && has_sent_none
        })
    }

    /// Whether a bare SYN echoes the timestamp of the other's: RFC 7323 §3.2 has it send zero.
    fn echoes(&self, inbound: bool, syn: &Segment) -> bool {
        let echo = syn.options.timestamps().map_or(0, |(_, echo)| echo);
        let mut stamps =
            self.bare_syns(!inbound).filter_map(|seen| seen.segment.options.timestamps());
        echo != 0 && stamps.any(|(value, _)| value == echo)
    }

    /// Whether this side listened: it sent a SYN,ACK and no bare SYN (RFC 9293 §3.10.7.2).
    pub fn is_passive(&self) -> bool {
        let has_syn_ack = self.answer().is_some_and(|answer| answer.segment.is_syn_ack());
        has_syn_ack && self.bare_syns(false).next().is_none()
    }

    /// Whether this side is known to have become established.
    pub fn is_open(&self) -> bool {
        self.established().is_some()
    }

    /// What took this side to ESTABLISHED.
    ///
    /// In SYN-RECEIVED that is whatever acknowledges its SYN (RFC 9293 §3.10.7.4, fifth, and figure 7
    /// for the SYN,ACK). Linux before 6.11 takes the step only at the ACK that follows; packets do
    /// not tell which is which.
    fn established(&self) -> Option<Seen<'a>> {
        let own = self.own?;
        let Some(syn) = self.received() else {
            // RFC 9293 §3.10.7.3: a SYN,ACK that it took it acknowledged.
            let (peer, syn_ack) = (self.peer?, self.syn_ack_in()?);
            let mut later = self.sent().filter(|seen| seen.frame > syn_ack.frame);
            return later.any(|seen| peer.is_acknowledged_by(seen.segment)).then_some(syn_ack);
        };
        self.way(true).find(|seen| {
            let follows = seen.frame > syn.frame && own.is_acknowledged_by(seen.segment);
            // RFC 9293 §3.10.7.4, first: another attempt of the other's has numbers out of the window,
            // and a SYN of any but this number is none of the connection's.
            let distance = seen.segment.seq - syn.segment.seq;
            follows && distance <= if seen.segment.is_syn_ack() { 0 } else { WINDOW }
        })
    }

    /// The bare SYN that took this side to SYN-RECEIVED: the last one before its answer.
    fn received(&self) -> Option<Seen<'a>> {
        let answer = self.answer()?;
        let answers_bare = answer.segment.is_syn_ack() || self.arrival() == Arrival::InSynSent;
        let before = |seen: &Seen<'_>| seen.frame < answer.frame && answers_bare;
        self.bare_syns(true).take_while(before).last()
    }

    /// The first segment by which this side acknowledged the other's SYN.
    fn answer(&self) -> Option<Seen<'a>> {
        let peer = self.peer?;
        self.sent().find(|seen| peer.is_acknowledged_by(seen.segment))
    }

    /// The first SYN,ACK of the other's attempt that acknowledges this side's SYN: another attempt of
    /// the other's may have acknowledged it as well.
    fn syn_ack_in(&self) -> Option<Seen<'a>> {
        let (own, peer) = (self.own?, self.peer?);
        let is_this = move |segment: &Segment| segment.is_syn_ack() && segment.seq == peer.iss;
        self.way(true).find(|seen| is_this(seen.segment) && own.is_acknowledged_by(seen.segment))
    }

    fn comes_before_syn_ack(&self, frame: usize) -> bool {
        self.syn_ack_in().is_none_or(|syn_ack| frame < syn_ack.frame)
    }

    /// The bare SYNs of this attempt, one way.
    fn bare_syns(&self, inbound: bool) -> impl Iterator<Item = Seen<'a>> {
        let iss = self.syn_of(inbound).map(|syn| syn.iss);
        self.way(inbound)
            .filter(move |seen| seen.segment.is_bare_syn() && Some(seen.segment.seq) == iss)
    }

    const fn syn_of(&self, inbound: bool) -> Option<Syn> {
        if inbound { self.peer } else { self.own }
    }

    fn way(&self, inbound: bool) -> impl Iterator<Item = Seen<'a>> {
        self.segments.iter().filter(move |seen| seen.inbound == inbound).copied()
    }

    /// How this side changed state. The other's changes have no time here, and are left out.
    pub fn states(&self) -> Vec<Transition> {
        let sent = self.bare_syns(false).next();
        self.transitions([
            (sent, State::SynSent),
            (self.received(), State::SynReceived),
            (self.established(), State::Established),
        ])
    }

    fn transitions(&self, steps: [(Option<Seen<'a>>, State); 3]) -> Vec<Transition> {
        let mut from = if steps[0].0.is_some() { State::Closed } else { State::Listen };
        let known = steps.into_iter().filter_map(|(cause, to)| Some((cause?, to)));
        let transitions = known.map(|(cause, to)| {
            let from = std::mem::replace(&mut from, to);
            Transition { side: self.side, from, to, at: cause.at, frame: cause.frame }
        });
        transitions.collect()
    }

    /// How this side changed state, as far as what it sent shows it to anybody: by then it had.
    pub fn shown_states(&self) -> Vec<Transition> {
        let sent = self.bare_syns(false).next();
        let received = self.answer().filter(|seen| seen.segment.is_syn_ack());
        self.transitions([
            (sent, State::SynSent),
            (received, State::SynReceived),
            (self.shows_established(received.is_some()), State::Established),
        ])
    }

    /// The first segment that only an established end sends.
    fn shows_established(&self, was_in_syn_received: bool) -> Option<Seen<'a>> {
        let peer = self.peer?;
        let is_past = |segment: &Segment| {
            // In SYN-RECEIVED a bare ACK may be a challenge (RFC 5961 §4.2).
            let is_of_use = !segment.payload.is_empty() || segment.flags.contains(Flags::FIN);
            !was_in_syn_received || is_of_use || segment.has_sack()
        };
        self.sent().find(|seen| {
            let is_syn = seen.segment.flags.contains(Flags::SYN);
            !is_syn && peer.is_acknowledged_by(seen.segment) && is_past(seen.segment)
        })
    }

    /// Whether it sent a SYN without ACK in this attempt.
    pub fn has_sent_bare_syn(&self) -> bool {
        self.bare_syns(false).next().is_some()
    }

    /// What came of the attempt, as far as was seen here.
    pub fn outcome(&self) -> Outcome {
        let past_syn_sent = self.established().or_else(|| self.received());
        if past_syn_sent.is_some_and(|seen| self.is_reset_after(&seen)) {
            Outcome::Reset
        } else if self.is_open() {
            Outcome::Open
        } else if self.is_refused() {
            Outcome::Refused
        } else if self.errors.iter().any(|(_, seq)| self.own.is_some_and(|own| own.iss == *seq)) {
            Outcome::Failed
        } else {
            Outcome::TimedOut
        }
    }

    /// Whether a reset followed with the exact number that is expected (RFC 9293 §3.10.7.4, first;
    /// any other is ignored), before anything else had been sent on the connection.
    fn is_reset_after(&self, seen: &Seen<'_>) -> bool {
        let later = self.segments.iter().filter(|later| later.frame > seen.frame);
        let mut opening = later.take_while(|later| {
            later.segment.payload.is_empty() && !later.segment.flags.contains(Flags::FIN)
        });
        opening.any(|later| {
            let syn = self.syn_of(later.inbound);
            later.segment.is_reset() && syn.is_some_and(|syn| later.segment.seq == syn.iss + 1)
        })
    }

    /// Whether a reset answered a SYN, either way (RFC 9293 §3.10.7.1).
    fn is_refused(&self) -> bool {
        self.segments.iter().any(|seen| {
            let syn = self.syn_of(!seen.inbound);
            seen.segment.is_reset() && syn.is_some_and(|syn| syn.has_number_in(seen.segment))
        })
    }
}

/// The largest that can be announced before a connection stands: the window of a SYN is not scaled
/// (RFC 7323 §2.2).
const WINDOW: u32 = 65_535;
