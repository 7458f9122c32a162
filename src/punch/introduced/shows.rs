//! Connections that show the server which ports they are seen from.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::engine::{Bind, Flow};
use crate::rendezvous::introducer::Seen;
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// What was shown, and what the server has seen.
#[derive(Debug, Default)]
pub struct Shows {
    /// Those that are to be opened yet, from where and to where.
    planned: VecDeque<(Bind, Endpoint)>,
    /// Those that are to be seen, by their local port once it is known.
    awaited: BTreeMap<Flow, Option<u16>>,
    /// Those of earlier attempts: they stay, so that their ports stay theirs.
    earlier: Vec<Flow>,
    /// What the server has seen so far.
    pub seen: Vec<Seen>,
    /// When it told.
    pub seen_at: Instant,
}

impl Shows {
    /// Plans where the next ones are to lead, and from where: some from the port of the punch, since a NAT may
    /// treat ports differently, others for the rule by which ports are chosen. Later attempts add a few
    /// that bring what is known up to date.
    pub fn plan(&mut self, probes: &[Endpoint], own: Option<(IpAddr, u16)>, is_first: bool) {
        self.earlier.extend(std::mem::take(&mut self.awaited).into_keys());
        let own = own.filter(|_| is_first).map(|(address, port)| Endpoint::new(address, port));
        let of_port = own.map_or(0, |_| probes.len().min(MOST_OF_PORT));
        let count = if is_first { SHOWN } else { SHOWN_AGAIN };
        let from = |place| own.filter(|_| place < of_port).map_or(Bind::Kernel, Bind::Shared);
        // Where the host chooses by the remote, two in a row to each show how it goes on.
        let in_a_row = if own.is_none() { 2 } else { 1 };
        let to = |place: usize| probes.get(place / in_a_row % probes.len().max(1)).copied();
        let planned = (0..count).filter_map(|place| Some((from(place), to(place)?)));
        self.planned = planned.collect();
    }

    /// The next one of the plan.
    pub fn next(&mut self) -> Option<(Bind, Endpoint)> {
        self.planned.pop_front()
    }

    /// How long to wait for the next one, twice as long as for the one before; none if that was the last.
    pub fn pause(&self, first: Duration) -> Option<Duration> {
        let before = self.awaited.len().saturating_sub(1).min(SHOWN);
        self.has_more().then(|| first * (1 << before))
    }

    /// Whether the plan has more.
    pub fn has_more(&self) -> bool {
        !self.planned.is_empty()
    }

    /// The connection with the server itself is seen before all others.
    pub fn begin(&mut self, now: Instant, seen: Seen) {
        self.saw(now, vec![seen]);
    }

    /// This one is one of them.
    pub fn add(&mut self, flow: Flow) {
        self.awaited.insert(flow, None);
    }

    /// It stands, and comes from this port.
    pub fn stands(&mut self, flow: Flow, port: u16) {
        self.awaited.insert(flow, Some(port));
    }

    /// It does not, or no longer.
    pub fn lost(&mut self, flow: Flow) {
        self.awaited.remove(&flow);
    }

    /// Whether it is one of those that are to be seen.
    pub fn awaits(&self, flow: Flow) -> bool {
        self.awaited.contains_key(&flow)
    }

    /// Takes what the server has seen.
    pub fn saw(&mut self, now: Instant, seen: Vec<Seen>) {
        (self.seen, self.seen_at) = (seen, now);
    }

    /// Whether all that was shown has been seen.
    pub fn are_seen(&self) -> bool {
        self.planned.is_empty()
            && self.awaited.values().all(|port| {
                let wanted = self.awaited.values().filter(|shown| *shown == port).count();
                let seen = self.seen.iter().filter(|seen| seen.internal == *port).count();
                port.is_some() && seen >= wanted
            })
    }

    /// The last that was seen.
    pub fn last(&self) -> Option<Seen> {
        self.seen.iter().max_by_key(|seen| seen.time_us).copied()
    }

    /// All that are to be closed, since the server is.
    pub fn take(&mut self) -> Vec<Flow> {
        let Self { awaited, earlier, .. } = std::mem::take(self);
        awaited.into_keys().chain(earlier).collect()
    }
}

/// So many mappings show a rule: after six, every deterministic one is foreseen.
const SHOWN: usize = 6;

/// So many bring what is known up to date.
const SHOWN_AGAIN: usize = 3;

/// So many are from the port of the punch, to as many endpoints of the server.
const MOST_OF_PORT: usize = 4;
