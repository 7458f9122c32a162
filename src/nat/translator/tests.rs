//! The translator against the RFCs, one rule a test.
//!
//! Hosts go by letters: `a` and `b` stand inside, `r` and `q` outside; `n` and `m` are the NAT's
//! own external addresses. A packet is its line without what does not matter here: window, TTL and
//! identification.

mod any;
mod errors;
mod filtering;
mod mapping;
mod opening;
mod sessions;
mod unsolicited;

use super::*;
use crate::nat::{Device, Nat};
use crate::time::Duration;

/// A NAT on the bench, with its own clock.
struct Bench {
    nat: Translator,
    now: Instant,
}

/// A NAT with RFC 5382's behaviour but for these knobs, and one external address.
fn nat(knobs: &str) -> Bench {
    Bench::new(&turned(knobs), &["n"], 7)
}

/// RFC 5382's behaviour, but for these knobs as a user writes them, or a preset's.
fn turned(knobs: &str) -> Knobs {
    let knobs = if knobs.is_empty() { "mapping=eim" } else { knobs };
    let Device::Modelled(behaviours) = knobs.parse::<Nat>().expect("a NAT").device else {
        panic!("'{knobs}' is a model")
    };
    behaviours[0].knobs().clone()
}

impl Bench {
    fn new(knobs: &Knobs, addresses: &[&str], seed: u64) -> Self {
        let behaviour = Behaviour::try_from(knobs.clone()).expect("a NAT that can exist");
        let addresses: Vec<_> = addresses.iter().map(|name| address(name)).collect();
        Self { nat: Translator::new(&behaviour, &addresses, seed), now: Instant::START }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// What becomes of a packet from inside.
    fn out(&mut self, line: &str) -> String {
        shown(&self.nat.take(self.now, Side::Inside, packet(line)))
    }

    /// What becomes of a packet from outside.
    fn inn(&mut self, line: &str) -> String {
        shown(&self.nat.take(self.now, Side::Outside, packet(line)))
    }

    /// The external endpoint from which a SYN between these two goes on.
    fn maps(&mut self, ends: &str) -> String {
        let syn = packet(&format!("{ends} S 100:100(0)"));
        match self.nat.take(self.now, Side::Inside, syn) {
            Fate::Forward(_, packet) => end(packet.endpoints().expect("a segment").0),
            fate => shown(&fate),
        }
    }

    /// The internal endpoint that a SYN between these two gets to.
    fn reaches(&mut self, ends: &str) -> String {
        let syn = packet(&format!("{ends} S 300:300(0)"));
        match self.nat.take(self.now, Side::Outside, syn) {
            Fate::Forward(Side::Inside, packet) => end(packet.receiver()),
            fate => shown(&fate),
        }
    }

    /// Opens a connection from inside, three segments long.
    fn open(&mut self, inside: &str, external: &str, remote: &str) {
        self.out(&format!("{inside} > {remote} S 100:100(0)"));
        self.inn(&format!("{remote} > {external} S. 300:300(0) ack 101"));
        self.out(&format!("{inside} > {remote} . 101:101(0) ack 301"));
    }

    /// What it sends of its own accord now.
    fn due(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.nat.due(self.now)).map(|packet| brief(&packet)).collect()
    }
}

/// A packet from its brief line.
fn packet(line: &str) -> Packet {
    let line: Vec<_> = line.split(' ').map(spelled_out).collect();
    let line = line.join(" ");
    let line = match line.split_once(" <") {
        _ if line.contains("icmp") => line,
        Some((before, options)) => format!("{before} win 0 <{options}"),
        None => format!("{line} win 0"),
    };
    format!("{line} ttl 64 id 0").parse().expect("a packet")
}

/// The brief line of a packet.
fn brief(packet: &Packet) -> String {
    let line = packet.to_string();
    let line = line.rsplit_once(" ttl ").map_or(line.as_str(), |(line, _)| line);
    let line = line.replace(" win 0", "");
    NAMES.iter().fold(line, |line, (name, address)| line.replace(address, name))
}

fn spelled_out(word: &str) -> String {
    let (bracket, end) = word.strip_prefix('[').map_or(("", word), |end| ("[", end));
    let (name, port) = end.split_at(end.find(':').unwrap_or(end.len()));
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map_or(word.to_owned(), |(_, address)| format!("{bracket}{address}{port}"))
}

fn shown(fate: &Fate) -> String {
    match fate {
        Fate::Forward(Side::Outside, packet) => format!("out {}", brief(packet)),
        Fate::Forward(Side::Inside, packet) => format!("in {}", brief(packet)),
        Fate::Answer(packet) => format!("answer {}", brief(packet)),
        Fate::Drop => "drop".to_owned(),
    }
}

fn end(endpoint: Endpoint) -> String {
    NAMES.iter().fold(endpoint.to_string(), |line, (name, address)| line.replace(address, name))
}

fn address(name: &str) -> IpAddr {
    spelled_out(name).parse().expect("an address")
}

/// The port of an endpoint that is written so.
fn port(end: &str) -> u16 {
    end.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("an endpoint")
}

const NAMES: [(&str, &str); 6] = [
    ("a", "10.0.0.2"),
    ("b", "10.0.0.3"),
    ("n", "198.51.100.1"),
    ("m", "198.51.100.2"),
    ("r", "203.0.113.5"),
    ("q", "203.0.113.6"),
];
