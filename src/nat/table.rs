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
}

/// All bindings of a NAT.
#[derive(Clone, Debug, Default)]
pub struct Table {
    bindings: Vec<Option<Binding>>,
    by_internal: BTreeMap<(Endpoint, Key), usize>,
    by_external: BTreeMap<Endpoint, Vec<usize>>,
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

impl Binding {
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
    pub fn insert(&mut self, binding: Binding) -> usize {
        if let Some(dead) = self.by_internal.remove(&(binding.internal, binding.key)) {
            self.forget(dead);
        }
        let id = self.bindings.len();
        self.by_internal.insert((binding.internal, binding.key), id);
        self.by_external.entry(binding.external).or_default().push(id);
        self.bindings.push(Some(binding));
        id
    }

    fn forget(&mut self, id: usize) {
        let Some(binding) = self.bindings[id].take() else { return };
        if let Some(ids) = self.by_external.get_mut(&binding.external) {
            ids.retain(|other| *other != id);
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

/// No part of the remote endpoint counts.
pub const ANYBODY: Key = Endpoint::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
