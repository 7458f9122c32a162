//! How busy servers are, each of which runs on a thread of its own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::introducer::Status;
use crate::engine::{Event, Party, Step};
use crate::time::Instant;
use crate::wire::control::Message;

/// What a server and those beside it have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Business {
    /// Those who meet.
    pub rendezvous: Status,
    /// What the reflector and the STUN server do, if they serve as well.
    pub beside: Option<[Figures; 2]>,
}

/// How busy a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Clients that are there.
    pub connected: u64,
    /// Clients that have come since it started.
    pub came: u64,
    /// Crafted segments, or answers, that it has sent.
    pub sent: u64,
    /// Requests that it has refused.
    pub refused: u64,
}

/// The same while it is counted.
#[derive(Debug, Default)]
pub struct Tally {
    connected: AtomicU64,
    came: AtomicU64,
    sent: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    /// What has been counted so far. Each number is right by itself; they are not of one moment.
    pub fn figures(&self) -> Figures {
        let [connected, came, sent, refused] =
            [&self.connected, &self.came, &self.sent, &self.refused]
                .map(|count| count.load(Ordering::Relaxed));
        Figures { connected, came, sent, refused }
    }
}

/// A server whose clients, answers and refusals are counted as they pass.
#[derive(Debug)]
pub struct Counted<'a, P> {
    party: P,
    tally: &'a Tally,
    /// Its clients: peers on control connections, or flows.
    clients: BTreeSet<u32>,
}

impl<'a, P: Party> Counted<'a, P> {
    /// Counts what this one does.
    pub const fn new(party: P, tally: &'a Tally) -> Self {
        Self { party, tally, clients: BTreeSet::new() }
    }

    fn came(&mut self, client: u32) {
        self.clients.insert(client);
        self.tally.came.fetch_add(1, Ordering::Relaxed);
        self.tally.connected.store(self.clients.len() as u64, Ordering::Relaxed);
    }

    fn left(&mut self, client: u32) {
        self.clients.remove(&client);
        self.tally.connected.store(self.clients.len() as u64, Ordering::Relaxed);
    }
}

impl<P: Party> Party for Counted<'_, P> {
    fn poll(&mut self, now: Instant) -> Step {
        let step = self.party.poll(now);
        match &step {
            Step::Send(_) | Step::Write(..) => _ = self.tally.sent.fetch_add(1, Ordering::Relaxed),
            Step::Tell(_, Message::Refused { .. }) => {
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
            }
            Step::HangUp(name) => self.left(name.0),
            Step::Close(flow, _) => self.left(flow.0),
            _ => {}
        }
        step
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match &event {
            Event::Joined { name, .. } => self.came(name.0),
            Event::Accepted { flow, .. } => self.came(flow.0),
            Event::Lost(name) => self.left(name.0),
            Event::Ended(flow, _) => self.left(flow.0),
            _ => {}
        }
        self.party.handle(now, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{End, Flow};
    use crate::rendezvous::StunServer;
    use crate::wire::stun::{Class, Message as Stun, Transaction};

    #[test]
    fn who_comes_is_answered_and_leaves_is_counted() {
        let local = "203.0.113.10:3478".parse().expect("an endpoint");
        let tally = Tally::default();
        let server = StunServer::new(vec![std::net::IpAddr::from([203, 0, 113, 10])], [3478, 3479]);
        let mut server = Counted::new(server, &tally);
        for number in 0..3 {
            let flow = Flow(Flow::FIRST_ACCEPTED + number);
            let remote = "198.51.100.1:40000".parse().expect("an endpoint");
            server.handle(Instant::START, Event::Accepted { flow, local, remote });
            let request = Stun {
                class: Class::Request,
                transaction: Transaction::new(7),
                attributes: Vec::new(),
            };
            server.handle(Instant::START, Event::Read(flow, request.write()));
            while !matches!(server.poll(Instant::START), Step::Wait(_)) {}
        }
        server.handle(Instant::START, Event::Ended(Flow(Flow::FIRST_ACCEPTED), End::Finished));
        while !matches!(server.poll(Instant::START), Step::Wait(_)) {}
        let wanted = Figures { connected: 2, came: 3, sent: 3, refused: 0 };
        assert_eq!(tally.figures(), wanted);
    }
}
