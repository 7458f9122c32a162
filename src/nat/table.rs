//! Bindings: which internal endpoint has which external one, towards whom, and who may come in.
//!
//! One function zeroes the parts of a remote endpoint that do not count. Then mapping is one
//! look-up by (internal, key) and filtering one set of keys a binding; the three behaviours on each
//! axis need no branches elsewhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::behaviour::IdleTimeouts;
use super::session::{Session, Side};
use super::words::{Filtering, Mapping};
use crate::time::Instant;
use crate::wire::Endpoint;

/// A remote endpoint with the parts zeroed that do not count.
pub type Key = Endpoint;

/// One internal endpoint's external endpoint, towards the remotes of one key.
#[derive(Clone, Debug)]
pub struct Binding {
    pub internal: Endpoint,
    pub external: Endpoint,
    /// Which remotes it is for.
    pub key: Key,
    /// What it adds to the internal host's sequence numbers.
    pub isn_offset: u32,
    /// Its connections by remote endpoint.
    pub sessions: BTreeMap<Endpoint, Session>,
    /// When a packet last went out through it.
    pub used: Instant,
    broom: Broom,
}

/// All bindings of a NAT.
#[derive(Clone, Debug, Default)]
pub struct Table {
    bindings: Vec<Option<Binding>>,
    /// Places in `bindings` to be used again.
    vacant: Vec<usize>,
    by_internal: BTreeMap<(Endpoint, Key), usize>,
    by_external: BTreeMap<Endpoint, Vec<usize>>,
    broom: Broom,
}

/// Says when to sweep out what is dead: whenever there is twice as much as the last time was left
/// alive. So there is never much more than that, and sweeping costs each newcomer a few looks.
#[derive(Clone, Copy, Debug)]
struct Broom {
    due_at: usize,
}

/// The part of `remote` that counts for mapping.
pub const fn mapping_key(mapping: Mapping, remote: Endpoint) -> Key {
    match mapping {
        Mapping::EndpointIndependent => ANYBODY,
        Mapping::AddressDependent => Endpoint::new(remote.ip(), 0),
        Mapping::AddressAndPortDependent => remote,
    }
}

/// Whether `filtering` lets `remote` in to a binding that has sent to `sent`.
pub fn admits(filtering: Filtering, sent: Endpoint, remote: Endpoint) -> bool {
    match filtering {
        Filtering::EndpointIndependent => true,
        Filtering::AddressDependent => sent.ip() == remote.ip(),
        Filtering::AddressAndPortDependent => sent == remote,
    }
}

impl Broom {
    const fn is_due(self, count: usize) -> bool {
        count >= self.due_at
    }

    fn swept(&mut self, left: usize) {
        self.due_at = (2 * left).max(FEW);
    }
}

impl Default for Broom {
    fn default() -> Self {
        Self { due_at: FEW }
    }
}

impl Binding {
    /// A binding without connections.
    pub fn new(
        now: Instant,
        internal: Endpoint,
        external: Endpoint,
        key: Key,
        isn_offset: u32,
    ) -> Self {
        let (sessions, broom) = (BTreeMap::new(), Broom::default());
        Self { internal, external, key, isn_offset, sessions, used: now, broom }
    }

    /// Whether any of its connections is alive at `now`.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.sessions.values().any(|session| session.is_alive(now))
    }

    /// Whether any of its connections is established.
    pub fn is_established(&self, now: Instant) -> bool {
        self.sessions.values().any(|session| session.is_established() && session.is_alive(now))
    }

    /// Whether a connection with `remote` is alive, whoever began it.
    pub fn knows(&self, now: Instant, remote: Endpoint) -> bool {
        self.sessions.get(&remote).is_some_and(|session| session.is_alive(now))
    }

    /// The connection with `remote`; a new one, begun from `side`, if none is alive.
    pub fn session(&mut self, now: Instant, remote: Endpoint, side: Side) -> &mut Session {
        if self.broom.is_due(self.sessions.len()) {
            self.sessions.retain(|_, session| session.is_alive(now));
            self.broom.swept(self.sessions.len());
        }
        let session = self.sessions.entry(remote).or_insert_with(|| Session::begin(side));
        if !session.is_alive(now) {
            *session = Session::begin(side);
        }
        session
    }

    /// Whether `filtering` lets `remote` in: who was sent to, and is not forgotten, counts.
    pub fn admits(&self, now: Instant, filtering: Filtering, remote: Endpoint) -> bool {
        self.sessions.iter().any(|(sent, session)| {
            session.outbound && session.is_alive(now) && admits(filtering, *sent, remote)
        })
    }
}

impl Table {
    /// The live binding of `internal` for `key`.
    pub fn outbound(&self, now: Instant, internal: Endpoint, key: Key) -> Option<usize> {
        let id = *self.by_internal.get(&(internal, key))?;
        self.get(id).is_alive(now).then_some(id)
    }

    /// The live binding of `internal` through which a connection with `remote` runs, whatever its
    /// key.
    pub fn connected(&self, now: Instant, internal: Endpoint, remote: Endpoint) -> Option<usize> {
        let mut own = self.ids_of_internal(internal);
        own.find(|id| self.get(*id).knows(now, remote))
    }

    /// The live bindings of `external`, oldest first.
    pub fn inbound(&self, now: Instant, external: Endpoint) -> impl Iterator<Item = usize> {
        let ids = self.by_external.get(&external).map_or(&[][..], Vec::as_slice);
        ids.iter().copied().filter(move |id| self.get(*id).is_alive(now))
    }

    /// The live bindings of `internal`, whatever their key.
    pub fn of_internal(&self, now: Instant, internal: Endpoint) -> impl Iterator<Item = &Binding> {
        let own = self.ids_of_internal(internal).map(|id| self.get(id));
        own.filter(move |binding| binding.is_alive(now))
    }

    fn ids_of_internal(&self, internal: Endpoint) -> impl Iterator<Item = usize> {
        let range = (internal, ANYBODY)..;
        let own = self.by_internal.range(range).take_while(move |((of, _), _)| *of == internal);
        own.map(|(_, id)| *id)
    }

    /// The binding with this number.
    pub fn get(&self, id: usize) -> &Binding {
        self.bindings[id].as_ref().expect("a number in an index is that of a binding")
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: usize) -> &mut Binding {
        self.bindings[id].as_mut().expect("a number in an index is that of a binding")
    }

    /// Adds a binding in place of a dead one with the same internal endpoint and key.
    pub fn insert(&mut self, now: Instant, binding: Binding) -> usize {
        if let Some(dead) = self.by_internal.get(&(binding.internal, binding.key)) {
            self.forget(*dead);
        }
        if self.broom.is_due(self.by_internal.len()) {
            self.sweep(now);
        }
        let id = self.vacant.pop().unwrap_or(self.bindings.len());
        self.by_internal.insert((binding.internal, binding.key), id);
        self.by_external.entry(binding.external).or_default().push(id);
        match self.bindings.get_mut(id) {
            Some(vacant) => *vacant = Some(binding),
            None => self.bindings.push(Some(binding)),
        }
        id
    }

    /// Forgets what is dead; nobody can tell, since a dead binding counts for nothing.
    fn sweep(&mut self, now: Instant) {
        let dead = |id: &usize| !self.get(*id).is_alive(now);
        let dead: Vec<_> = self.by_internal.values().copied().filter(dead).collect();
        dead.into_iter().for_each(|id| self.forget(id));
        self.broom.swept(self.by_internal.len());
    }

    fn forget(&mut self, id: usize) {
        let Some(binding) = self.bindings[id].take() else { return };
        self.vacant.push(id);
        self.by_internal.remove(&(binding.internal, binding.key));
        if let Some(ids) = self.by_external.get_mut(&binding.external) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_external.remove(&binding.external);
            }
        }
    }
}

impl Session {
    /// How long this session may stay idle.
    pub const fn timeout(&self, timeouts: &IdleTimeouts) -> crate::time::Duration {
        if self.is_established() {
            timeouts.established
        } else if self.is_closing() {
            timeouts.closing
        } else {
            timeouts.partially_open
        }
    }
}

/// Fewer than these are not worth sweeping: a classification makes fewer bindings.
const FEW: usize = 1_024;

/// No part of the remote endpoint counts.
pub const ANYBODY: Key = Endpoint::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::{Behaviour, Knobs};
    use crate::time::Duration;
    use crate::wire::{Segment, Seq};

    #[test]
    fn bindings_that_come_and_go_leave_a_small_table() {
        let mut table = Table::default();
        for number in 0..100_000 {
            bound(&mut table, number);
        }
        assert!(table.bindings.len() <= FEW, "{}", table.bindings.len());
        let indexed = [table.by_internal.len(), table.by_external.len()];
        assert!(indexed.iter().all(|length| *length <= FEW), "{indexed:?}");
    }

    #[test]
    fn what_is_alive_survives_the_sweeping() {
        let mut table = Table::default();
        let lasting = bound(&mut table, 0);
        keep(&mut table, lasting);
        for number in 1..10_000 {
            let id = bound(&mut table, number);
            assert_ne!(id, lasting);
            assert_eq!(table.outbound(second(number), host(number), ANYBODY), Some(id));
        }
        let now = second(10_000);
        assert_eq!(table.outbound(now, host(0), ANYBODY), Some(lasting));
        assert_eq!(table.inbound(now, host(0)).collect::<Vec<_>>(), [lasting]);
    }

    #[test]
    fn as_many_as_are_alive_stay() {
        let mut table = Table::default();
        for number in 0..10_000 {
            let id = bound(&mut table, number);
            keep(&mut table, id);
        }
        let now = second(10_000);
        let alive = (0..10_000).filter(|number| table.inbound(now, host(*number)).count() == 1);
        assert_eq!(alive.count(), 10_000);
    }

    #[test]
    fn connections_that_come_and_go_leave_a_small_binding() {
        let mut binding = Binding::new(Instant::START, host(0), host(0), ANYBODY, 0);
        for number in 0..100_000 {
            follow(&mut binding, second(number), host(number));
        }
        assert!(binding.sessions.len() <= FEW, "{}", binding.sessions.len());
        assert!(binding.knows(second(99_999), host(99_999)));
    }

    /// A binding of this host, made at its second, with one connection that soon expires.
    fn bound(table: &mut Table, number: u32) -> usize {
        let (now, host) = (second(number), host(number));
        let mut binding = Binding::new(now, host, host, ANYBODY, 0);
        follow(&mut binding, now, host);
        table.insert(now, binding)
    }

    fn follow(binding: &mut Binding, now: Instant, remote: Endpoint) {
        let behaviour = Behaviour::try_from(Knobs::rfc5382()).expect("a NAT that can exist");
        let session = binding.session(now, remote, Side::Inside);
        session.follow(now, Side::Inside, &Segment::syn(Seq(1), 1), &behaviour.knobs().timeouts);
    }

    /// Lets its connections live on for ever.
    fn keep(table: &mut Table, id: usize) {
        let sessions = table.get_mut(id).sessions.values_mut();
        sessions.for_each(|session| session.expires = second(u32::MAX));
    }

    fn second(number: u32) -> Instant {
        Instant::START + Duration::from_secs(number.into())
    }

    fn host(number: u32) -> Endpoint {
        Endpoint::new(Ipv4Addr::from(number).into(), 7)
    }
}
