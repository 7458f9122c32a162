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
    /// The port of the punch, if this end binds one.
    own: Option<u16>,
    /// What the server has seen so far, as far as it is kept, the oldest first.
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
        self.own = own.map(|(_, port)| port);
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
        (self.seen, self.seen_at) = (vec![seen], now);
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

    /// Takes what the server has seen. It names its latest only; of the port of the punch, which the first
    /// attempt alone shows, all is kept.
    pub fn saw(&mut self, now: Instant, told: Vec<Seen>) {
        let fresh: Vec<_> = told.into_iter().filter(|seen| !self.seen.contains(seen)).collect();
        self.seen.extend(fresh);
        while self.seen.len() > MOST_KEPT {
            let oldest = self.seen.iter().position(|seen| seen.internal != self.own);
            self.seen.remove(oldest.unwrap_or(0));
        }
        self.seen_at = now;
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

/// Older ones than these are forgotten: a forecast would not use them.
const MOST_KEPT: usize = 40;

/// So many are from the port of the punch, to as many endpoints of the server.
const MOST_OF_PORT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// The server names its last twenty; which port is steady would be unknown after six attempts.
    #[test]
    fn what_the_port_of_the_punch_has_shown_is_kept_however_many_others_are_seen() {
        let mut shows = Shows::default();
        shows.plan(&[seen(0, 7_000).server], Some(([192, 0, 2, 1].into(), 7_000)), true);
        shows.begin(Instant::START, seen(0, 7_000));
        for number in 1..200 {
            let told = (number..number + 3).map(|number| seen(number, 8_000)).collect();
            shows.saw(Instant::START, told);
        }
        assert_eq!(shows.seen.len(), MOST_KEPT);
        assert_eq!(shows.seen[0], seen(0, 7_000));
        assert_eq!(shows.last(), Some(seen(201, 8_000)));
        let mut times: Vec<_> = shows.seen.iter().map(|seen| seen.time_us).collect();
        times.dedup();
        assert_eq!(times.len(), MOST_KEPT, "one is kept twice");
    }

    fn seen(time_us: u64, internal: u16) -> Seen {
        let server = Endpoint::new([203, 0, 113, 1].into(), 5386);
        let external = Endpoint::new([198, 51, 100, 1].into(), internal);
        Seen { time_us, server, external, internal: Some(internal) }
    }
}
