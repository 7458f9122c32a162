//! Numbers and options that somebody on the way changes.

use super::case::{Altered, Case, Seen};
use super::cause::{Confidence, Diagnosed, OpeningCause};
use crate::tcp::Side;
use crate::wire::{Offers, Options, Segment, TcpOption};

const SIDES: [Side; 2] = [Side::A, Side::B];

/// Whatever shows that a SYN or SYN,ACK was changed, what proves it first.
pub fn rewritten(case: &Case<'_>) -> Option<Diagnosed> {
    copies(case).or_else(|| quote(case)).or_else(|| echo(case)).or_else(|| not_offered(case))
}

/// Seen before and behind who changes it.
fn copies(case: &Case<'_>) -> Option<Diagnosed> {
    let is_whole =
        |altered: &&Altered| case.is_whole(&altered.before) && case.is_whole(&altered.after);
    let first = case.altered.iter().find(is_whole)?;
    let of_side = case.altered.iter().filter(is_whole);
    let of_side = of_side.filter(|altered| altered.before.from == first.before.from);
    let (frames, mut what) = (of_side.clone(), Vec::new());
    for altered in of_side {
        let (before, after) = (altered.before.segment()?, altered.after.segment()?);
        what.extend(changes(before, after));
    }
    what.dedup();
    let side = first.before.from;
    let because = case.tell(format_args!(
        "it was captured before and behind somebody who changes what {} sends: {}",
        case.name(side),
        what.join(", ")
    ));
    let frames = frames.flat_map(|altered| [altered.before.frame, altered.after.frame]);
    (!what.is_empty()).then(|| found(Some(side), Confidence::Certain, because, frames.collect()))
}

/// An ICMP error shows what became of the SYN until there.
fn quote(case: &Case<'_>) -> Option<Diagnosed> {
    SIDES.into_iter().find_map(|side| {
        case.errors(side).find_map(|(error, _)| {
            let kept = case.opening.packets.iter().find(|kept| kept.frame == error.frame)?;
            let quoted = kept.quoted()?;
            let ends = Some((case.end(side), case.end(side.opposite())));
            let arrived = quoted.segment().filter(|_| quoted.endpoints() == ends)?;
            // The identification tells the SYN from its repetitions.
            let mut syns = case.bare_syns(side);
            let (syn, sent) =
                syns.find(|(syn, _)| syn.packet.id == quoted.id && syn.packet.id != 0)?;
            let what = if case.is_whole(syn) { changes(sent, arrived) } else { Vec::new() };
            let because = case.tell(format_args!(
                "the ICMP error of {} quotes the SYN of {} as it arrived there, changed: {}",
                error.packet.source,
                case.name(side),
                what.join(", ")
            ));
            let frames = vec![syn.frame, error.frame];
            (!what.is_empty()).then(|| found(Some(side), Confidence::Certain, because, frames))
        })
    })
}

/// RFC 7323 §3.2: TSecr is a TSval that was received. One that is out of reach of all that were sent was
/// changed on one of the two ways; a host that checks it resets (Linux does).
pub fn echo(case: &Case<'_>) -> Option<Diagnosed> {
    SIDES.into_iter().find_map(|side| {
        let other = side.opposite();
        let (seen, _, echo) = answers(case, side).find_map(|(seen, syn_ack)| {
            let (_, echo) = syn_ack.options.timestamps().filter(|(_, echo)| *echo != 0)?;
            Some((seen, syn_ack, echo))
        })?;
        let stamps: Vec<_> = case.sent(other).map(|(_, sent)| sent.options.timestamps()).collect();
        let stamps: Vec<_> = stamps.into_iter().flatten().map(|(value, _)| value).collect();
        let is_far = |value: &u32| value.wrapping_sub(echo).min(echo.wrapping_sub(*value)) > REACH;
        let first = stamps.first().filter(|_| stamps.iter().all(is_far))?;
        let because = case.tell(format_args!(
            "the SYN,ACK of {} echoes the timestamp {echo}, and {} sent {first}: one of the two was changed \
             on the way",
            case.name(side),
            case.name(other)
        ));
        Some(found(None, Confidence::Likely, because, vec![seen.frame]))
    })
}

/// RFC 7323 §2.2 and §3.2, RFC 2018 §2: what the SYN does not offer is not taken up.
fn not_offered(case: &Case<'_>) -> Option<Diagnosed> {
    SIDES.into_iter().find_map(|side| {
        let other = side.opposite();
        // A SYN,ACK of a crossing makes an offer of its own, and its SYN may be missing here; at the end that
        // sends it nothing can have been changed yet.
        let is_passive = case.bare_syns(side).next().is_none()
            && case.syn_acks(other).next().is_none()
            && case.is_away_from(side)
            && case.bare_syns(other).all(|(syn, _)| case.is_whole(syn));
        let (seen, syn_ack) = answers(case, side).next().filter(|_| is_passive)?;
        let syns = case.bare_syns(other).map(|(_, syn)| Offers::of(&syn.options));
        let offered = syns.fold(Offers::default(), Offers::or);
        let strange: Vec<_> = Offers::of(&syn_ack.options).beyond(offered).collect();
        let because = case.tell(format_args!(
            "the SYN,ACK of {} takes up what the SYN of {} did not offer ({}): somebody between adds to \
             the options, or takes from those of the SYN before it was captured",
            case.name(side),
            case.name(other),
            strange.join(", ")
        ));
        let frames = vec![seen.frame];
        (!strange.is_empty()).then(|| found(None, Confidence::Likely, because, frames))
    })
}

/// The SYN,ACKs of an end that answer a SYN which was captured.
fn answers<'a>(case: &'a Case<'_>, side: Side) -> impl Iterator<Item = (&'a Seen, &'a Segment)> {
    case.syn_acks(side).filter(move |(_, syn_ack)| {
        case.bare_syns(side.opposite()).any(|(_, syn)| syn.seq + 1 == syn_ack.ack)
    })
}

fn found(
    side: Option<Side>,
    confidence: Confidence,
    because: String,
    frames: Vec<u64>,
) -> Diagnosed {
    Diagnosed {
        cause: OpeningCause::Rewritten,
        side,
        confidence,
        because,
        frames,
        advice: "a punch whose ends exchange sequence numbers, or craft each other's SYN,ACK, fails behind \
                 who changes numbers; a smaller MSS alone does no harm: `tso-probe classify` shows what is \
                 rewritten"
            .to_owned(),
    }
}

/// What of a SYN or SYN,ACK is another, from what to what.
fn changes(before: &Segment, after: &Segment) -> Vec<String> {
    let is = |what, from: String, to: String| (from != to).then(|| format!("{what} {from} → {to}"));
    let options = KINDS
        .into_iter()
        .map(|(kind, what)| is(what, shown(&before.options, kind), shown(&after.options, kind)));
    let numbers = [
        is("sequence number", before.seq.to_string(), after.seq.to_string()),
        is("acknowledgement", before.ack.to_string(), after.ack.to_string()),
        is("window", before.window.to_string(), after.window.to_string()),
        is("MSS", shown(&before.options, MSS), shown(&after.options, MSS)),
    ];
    let mut all: Vec<_> = numbers.into_iter().chain(options).flatten().collect();
    if all.is_empty() && before.options != after.options {
        all.push(format!("options {} → {}", before.options, after.options));
    }
    all
}

/// The value of an option as text.
fn shown(options: &Options, kind: u8) -> String {
    let value = |option| match option {
        TcpOption::MaximumSegmentSize(octets) => octets.to_string(),
        TcpOption::WindowScale(shift) => shift.to_string(),
        TcpOption::SackPermitted => "permitted".to_owned(),
        TcpOption::Timestamps { value, echo } => format!("{value} (echo {echo})"),
        other => other.to_string(),
    };
    let mut all = options.iter().filter(|option| number(option) == kind);
    all.next().map_or_else(|| "none".to_owned(), value)
}

const fn number(option: &TcpOption) -> u8 {
    match option {
        TcpOption::Nop => 1,
        TcpOption::MaximumSegmentSize(_) => MSS,
        TcpOption::WindowScale(_) => 3,
        TcpOption::SackPermitted => 4,
        TcpOption::Timestamps { .. } => 8,
        TcpOption::Other { kind, .. } => *kind,
    }
}

const MSS: u8 = 2;

/// What a SYN offers and a SYN,ACK takes up, by kind.
const KINDS: [(u8, &str); 3] = [(3, "window scale"), (4, "SACK"), (8, "timestamps")];

/// A clock of one microsecond, the fastest in use, ticks less often in the four minutes that an opening may
/// take, even if the SYN that is echoed was not captured.
const REACH: u32 = 1 << 28;
