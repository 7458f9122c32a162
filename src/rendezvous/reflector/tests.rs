//! What the reflector recognises, answers, reports and refuses.
//!
//! Two probers come from `NAT` and `OTHER`; probes come in at two ports of `REFLECTOR`.

mod abuse;
mod answers;
mod greeting;
mod recognition;
mod shots;

use super::*;
use crate::wire::{Body, Options};

const REFLECTOR: &str = "203.0.113.10";
const NAT: &str = "198.51.100.1";
const OTHER: &str = "198.51.100.99";

const PROBE: ProbeId = ProbeId(3);
const ISN: Seq = Seq(1_000);
const TIMESTAMP: u32 = 2_000;
const PORT: u16 = 7_000;

/// A reflector on the bench.
struct Bench {
    reflector: Reflector,
    now: Instant,
}

/// A reflector with one prober, who was welcomed.
fn bench() -> Bench {
    limited(Limits::default())
}

fn limited(limits: Limits) -> Bench {
    let endpoints = vec![at(REFLECTOR, 5_383), at(REFLECTOR, 5_384)];
    let reflector = Reflector::new(endpoints, limits, 7);
    let mut bench = Bench { reflector, now: Instant::START };
    bench.settle();
    bench.welcome(1, NAT);
    bench
}

impl Bench {
    /// All that it wants until it waits, and until when that is.
    fn settle(&mut self) -> (Vec<Step>, Instant) {
        let mut steps = Vec::new();
        loop {
            match self.reflector.poll(self.now) {
                Step::Wait(until) => return (steps, until),
                Step::Done => return (steps, self.now),
                step => steps.push(step),
            }
        }
    }

    fn handle(&mut self, event: Event) -> Vec<Step> {
        self.settle();
        self.reflector.handle(self.now, event);
        self.settle().0
    }

    fn join(&mut self, name: u32, address: &str) -> Vec<Step> {
        let (local, remote) = (at(REFLECTOR, 5_382), at(address, 61_001));
        self.handle(Event::Joined { name: Name(name), local, remote })
    }

    fn welcome(&mut self, name: u32, address: &str) {
        self.join(name, address);
        self.says(name, Message::Hello { version: VERSION });
    }

    fn says(&mut self, name: u32, message: Message) -> Vec<Step> {
        self.handle(Event::Told(Name(name), message))
    }

    fn expects(&mut self, answer: Answer) {
        self.says(1, Message::Expect { expectations: vec![expectation(PROBE, answer)] });
    }

    fn shoots(&mut self, name: u32, shots: Vec<Shot>) -> Vec<Step> {
        self.says(name, Message::Shoot { shots })
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn expectation(probe: ProbeId, answer: Answer) -> Expectation {
    let on = at(REFLECTOR, 5_383);
    Expectation { probe, on, isn: ISN, timestamp: TIMESTAMP, port: PORT, answer }
}

fn shot(to: Endpoint) -> Shot {
    let from = at(REFLECTOR, 5_383);
    Shot { probe: PROBE, volley: Volley(9), after_ms: 0, from, to, seq: Seq(50), ack: None }
}

/// The expected SYN as the NAT left it: its source, ISN and timestamp.
fn syn(source: Endpoint, isn: Seq, timestamp: Option<u32>) -> Packet {
    let mut segment = Segment::syn(isn, timestamp.unwrap_or_default());
    if timestamp.is_none() {
        segment.options = Options::default();
    }
    Packet::tcp(source, at(REFLECTOR, 5_383), segment)
}

fn expected_syn() -> Packet {
    syn(at(NAT, PORT), ISN, Some(TIMESTAMP))
}

fn at(address: &str, port: u16) -> Endpoint {
    Endpoint::new(address.parse().expect("an address"), port)
}

fn refused(name: u32, why: Refusal) -> Vec<Step> {
    vec![Step::Tell(Name(name), Message::Refused { why })]
}

/// Whom a packet was reported to, for which probe.
fn reported(steps: &[Step], seen: &Packet) -> Option<(Name, ProbeId)> {
    steps.iter().find_map(|step| match step {
        Step::Tell(name, Message::Saw { probe, packet, .. }) => {
            (packet.0 == *seen).then_some((*name, *probe))
        }
        _ => None,
    })
}

fn sent(steps: &[Step]) -> Vec<&Packet> {
    let packets = steps.iter().filter_map(|step| match step {
        Step::Send(packet) => Some(packet),
        _ => None,
    });
    packets.collect()
}

fn segment_of(packet: &Packet) -> &Segment {
    packet.segment().expect("a segment")
}
