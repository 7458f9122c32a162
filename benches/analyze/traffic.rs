//! A capture of a busy link, drawn from a seed: nearly all of it is data of connections that opened as
//! connections do; the truth about every opening is known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, Write};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub connections: u32,
    /// Segments of a connection that opened, beside its opening: up to so many.
    pub most_data: u32,
    /// SYNs of a flood that nobody answers, in the middle of it all.
    pub flood: u32,
    pub seed: u64,
}

/// What is in a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub packets: u64,
    pub octets: u64,
    pub connections: u64,
    /// SYNs of a flood among them, each of which is a connection; they have no outcome here, since that
    /// depends on whether there is room to wait for one.
    pub flood: u64,
    /// All SYNs of the connections beside these that nobody answers.
    pub silent_syns: u64,
    /// By the names that `analyze --json` has.
    pub outcomes: BTreeMap<String, u64>,
    pub openings: BTreeMap<String, u64>,
}

/// How a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Refused,
    Silent,
    Crossed,
    Flood,
}

struct Flow {
    kind: Kind,
    client: ([u8; 4], u16),
    server: ([u8; 4], u16),
    numbers: [u32; 2],
    step: u32,
    data: u32,
}

/// As many octets as its capture has at most, nearly.
pub fn octets_at_most(traffic: Traffic) -> u64 {
    // On average, half as much data as there may be; and the one that goes on and on.
    let packets = 10 + u64::from(traffic.most_data) / 2;
    u64::from(traffic.connections) * packets * 112 + u64::from(traffic.flood) * 96 + (10 << 20)
}

/// Writes a capture in classic pcap, 96 octets of each packet at most, and tells what is in it.
pub fn write(traffic: Traffic, out: impl Write) -> io::Result<Truth> {
    let mut out = io::BufWriter::with_capacity(1 << 20, out);
    out.write_all(&[
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 0, 0, 1, 0, 0, 0,
    ])?;
    let mut rng = StdRng::seed_from_u64(traffic.seed);
    let mut truth = Truth { octets: 24, ..Truth::default() };
    let mut flows: Vec<Option<Flow>> = Vec::new();
    let mut due = BinaryHeap::new();
    let total = traffic.connections + traffic.flood;
    let mut at = START;
    for number in 0..total {
        let kind = kind(traffic, number, &mut rng);
        // A flood comes much faster than what else there is.
        at += if kind == Kind::Flood {
            rng.random_range(1..20)
        } else {
            rng.random_range(200..1_400)
        };
        drain(&mut due, &mut flows, at, &mut rng, &mut truth, &mut out)?;
        count(&mut truth, kind);
        due.push(Reverse((at, flows.len())));
        flows.push(Some(flow(kind, number, traffic, &mut rng)));
    }
    // What is under way comes to its end, and one connection goes on until all others are overdue.
    drain(&mut due, &mut flows, at + 100_000_000, &mut rng, &mut truth, &mut out)?;
    out.flush()?;
    Ok(truth)
}

fn kind(traffic: Traffic, number: u32, rng: &mut StdRng) -> Kind {
    let middle = traffic.connections / 2;
    if (middle..middle + traffic.flood).contains(&number) {
        return Kind::Flood;
    }
    if number == 0 {
        return Kind::Plain;
    }
    match rng.random_range(0..1_000) {
        ..40 => Kind::Refused,
        40..70 => Kind::Silent,
        70..80 => Kind::Crossed,
        _ => Kind::Plain,
    }
}

fn flow(kind: Kind, number: u32, traffic: Traffic, rng: &mut StdRng) -> Flow {
    // No two connections have the same endpoints.
    let [_, x, y, z] = (number / 50_000).to_be_bytes();
    let client = ([10, 100 + x, y, z], 10_000 + u16::try_from(number % 50_000).expect("it fits"));
    let server =
        ([203, 0, 113, rng.random_range(1..255)], [80, 443, 7_000][rng.random_range(0..3)]);
    let data = if number == 0 { ENDLESS } else { rng.random_range(0..=traffic.most_data) };
    Flow { kind, client, server, numbers: [rng.random(), rng.random()], step: 0, data }
}

fn count(truth: &mut Truth, kind: Kind) {
    truth.connections += 1;
    let (outcome, opening) = match kind {
        Kind::Plain => ("open", Some("three-way-or-half-crossed")),
        Kind::Crossed => ("open", Some("crossed")),
        Kind::Refused => ("refused", None),
        Kind::Silent => {
            truth.silent_syns += u64::from(SYNS_OF_SILENT);
            ("timed-out", None)
        }
        Kind::Flood => {
            truth.flood += 1;
            return;
        }
    };
    *truth.outcomes.entry(outcome.to_owned()).or_default() += 1;
    if let Some(opening) = opening {
        *truth.openings.entry(opening.to_owned()).or_default() += 1;
    }
}

type Due = BinaryHeap<Reverse<(u64, usize)>>;

/// Lets all flows do what they do before that moment.
fn drain(
    due: &mut Due,
    flows: &mut [Option<Flow>],
    until: u64,
    rng: &mut StdRng,
    truth: &mut Truth,
    out: &mut impl Write,
) -> io::Result<()> {
    while let Some(Reverse((at, place))) =
        due.peek().copied().filter(|Reverse((at, _))| *at < until)
    {
        due.pop();
        let flow = flows[place].as_mut().expect("it is due");
        let later = step(flow, at, rng, truth, out)?;
        match later {
            Some(later) => due.push(Reverse((at + later, place))),
            None => flows[place] = None,
        }
    }
    Ok(())
}

/// Sends the next packet of a flow; when the one after that is due, in microseconds.
fn step(
    flow: &mut Flow,
    at: u64,
    rng: &mut StdRng,
    truth: &mut Truth,
    out: &mut impl Write,
) -> io::Result<Option<u64>> {
    let [a, b] = flow.numbers;
    let step = flow.step;
    flow.step += 1;
    let mut send = |from_client, flags, seq, ack, length| {
        segment(flow, at, from_client, flags, seq, ack, length, truth, out)
    };
    let (a1, b1) = (a.wrapping_add(1), b.wrapping_add(1));
    let round_trip = rng.random_range(5_000..80_000);
    match (flow.kind, step) {
        (_, 0) => send(true, SYN, a, 0, 0)?,
        (Kind::Flood, _) => return Ok(None),
        (Kind::Silent, 1..SYNS_OF_SILENT) => send(true, SYN, a, 0, 0)?,
        (Kind::Silent, _) => return Ok(None),
        (Kind::Refused, 1) => send(false, RST | ACK, 0, a1, 0)?,
        (Kind::Refused, _) => return Ok(None),
        (Kind::Plain, 1) => send(false, SYN | ACK, b, a1, 0)?,
        (Kind::Plain, 2) => send(true, ACK, a1, b1, 0)?,
        (Kind::Crossed, 1) => send(false, SYN, b, 0, 0)?,
        (Kind::Crossed, 2) => send(true, SYN | ACK, a, b1, 0)?,
        (Kind::Crossed, 3) => send(false, SYN | ACK, b, a1, 0)?,
        (Kind::Crossed, 4) => send(true, ACK, a1, b1, 0)?,
        (_, step) if step < 5 + flow.data => {
            let is_up = rng.random_range(0..3) == 0;
            let carried = if is_up || step == 5 { 1_448 } else { 0 };
            let (seq, ack) = if is_up { (a1, b1) } else { (b1, a1) };
            send(is_up, ACK, seq.wrapping_add(step * 1_448), ack, carried)?;
        }
        (_, step) if step == 5 + flow.data => send(true, FIN | ACK, a1, b1, 0)?,
        _ => {
            send(false, FIN | ACK, b1, a1, 0)?;
            return Ok(None);
        }
    }
    Ok(Some(match (flow.kind, step) {
        (Kind::Silent, step) => 1_000_000 << step.min(1),
        (_, ..5) => round_trip / 2,
        _ if flow.data == ENDLESS => 20_000,
        _ => rng.random_range(100..200_000),
    }))
}

#[allow(clippy::too_many_arguments, reason = "the fields of a segment")]
fn segment(
    flow: &Flow,
    at: u64,
    from_client: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    length: u16,
    truth: &mut Truth,
    out: &mut impl Write,
) -> io::Result<()> {
    let ((from, from_port), (to, to_port)) =
        if from_client { (flow.client, flow.server) } else { (flow.server, flow.client) };
    let options: &[u8] = match flags & SYN {
        0 => &[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8],
        _ => &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7],
    };
    let header = 20 + options.len();
    let whole = 20 + header + usize::from(length);
    let mut frame = Vec::with_capacity(96);
    frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
    frame.extend([0x45, 0]);
    frame.extend(u16::try_from(whole).expect("a packet").to_be_bytes());
    frame.extend([0, 0, 0x40, 0, if from_client { 61 } else { 55 }, 6, 0, 0]);
    frame.extend(from);
    frame.extend(to);
    frame.extend([from_port.to_be_bytes(), to_port.to_be_bytes()].concat());
    frame.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    frame.extend([
        u8::try_from(header / 4 * 16).expect("an offset"),
        flags,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ]);
    frame.extend(options);
    frame.resize((14 + whole).min(96), 0);
    let kept = u32::try_from(frame.len()).expect("short");
    let length = u32::try_from(14 + whole).expect("a packet");
    let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
    let words = [
        u32::try_from(seconds).expect("seconds"),
        u32::try_from(micros).expect("micros"),
        kept,
        length,
    ];
    out.write_all(words.map(u32::to_le_bytes).as_flattened())?;
    out.write_all(&frame)?;
    truth.packets += 1;
    truth.octets += u64::from(kept) + 16;
    Ok(())
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Then it gives up.
const SYNS_OF_SILENT: u32 = 4;

/// More than a capture has room for.
const ENDLESS: u32 = 1 << 30;

/// Microseconds since 1970.
const START: u64 = 1_700_000_000_000_000;
