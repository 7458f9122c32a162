//! What attempts teach that came to nothing.

use crate::engine::{Fact, Place, Punched, Record};
use crate::rendezvous::introducer::Seen;
use crate::tcp::Side;
use crate::time::Instant;
use crate::wire::{Endpoint, Packet};

/// What is known from attempts.
#[derive(Debug)]
pub struct Learnt {
    side: Side,
    /// This end's own endpoint in the attempt under way, where it aimed, and when.
    aimed: Option<(Endpoint, Endpoint, Instant)>,
    /// SYNs that came in, at which end.
    arrived: Vec<(Side, Endpoint)>,
    was_spoiled: bool,
    /// How the peer has seen this end.
    mappings: Vec<Seen>,
    /// SYNs of this end that the peer has not seen, as a NAT would show them that leaves ports alone.
    unseen: Vec<Seen>,
    /// Where the peer will be, as far as that is known.
    peer: Option<Endpoint>,
}

impl Learnt {
    /// Nothing is known to this end.
    pub fn new(side: Side) -> Self {
        let (arrived, mappings, unseen) = (Vec::new(), Vec::new(), Vec::new());
        Self { side, aimed: None, arrived, was_spoiled: false, mappings, unseen, peer: None }
    }

    /// Another attempt begins.
    pub fn begin(&mut self) {
        (self.aimed, self.arrived) = (None, Vec::new());
    }

    /// Takes what this end or its peer has noted.
    pub fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Seen(Record { inbound: true, place: Place::End(side), packet, .. }) => {
                self.arrived.extend(syn_from(packet).map(|from| (*side, from)));
            }
            Fact::Punch { side, what: Punched::Aimed { local, remote, first, .. } }
                if *side == self.side =>
            {
                self.aimed = Some((*local, *remote, *first));
            }
            Fact::Punch { side, what: Punched::Foresaw { peer, steady, .. } }
                if *side == self.side =>
            {
                // A port that will be another next time has not been talked to.
                let next = |peer: &Endpoint| {
                    if *steady { *peer } else { Endpoint::new(peer.ip(), DISCARD) }
                };
                self.peer = peer.first().map(next);
            }
            Fact::Trouble(_) => self.was_spoiled = true,
            _ => {}
        }
    }

    /// Whether SYNs were to leave in this attempt.
    pub const fn has_tried(&self) -> bool {
        self.aimed.is_some()
    }

    /// Whether it ended for another reason than that nothing opened.
    pub const fn was_spoiled(&self) -> bool {
        self.was_spoiled
    }

    /// Where SYNs came from: ours as the peer saw it, and the peer's as this end did. The first is one
    /// mapping more, beside those that the server saw, the last of them so long before this moment.
    pub fn conclude(
        &mut self,
        last: Option<Seen>,
        seen_at: Instant,
    ) -> (Option<Endpoint>, Option<Endpoint>) {
        let came = |to: Side| self.arrived.iter().rfind(|(at, _)| *at == to).map(|(_, from)| *from);
        let told = (came(self.side.opposite()), came(self.side));
        if let (Some((local, server, first)), Some(last)) = (self.aimed, last) {
            let time_us = last.time_us + first.since(seen_at).as_nanos() as u64 / 1_000;
            let internal = Some(local.port());
            let unchanged = Endpoint::new(last.external.ip(), local.port());
            let seen = |external| Seen { time_us, server, external, internal };
            match told.0 {
                // Within the own network the peer sees what no NAT has changed.
                Some(external) if external.ip() != unchanged.ip() => {}
                Some(external) => self.mappings.push(seen(external)),
                None => self.unseen.push(seen(unchanged)),
            }
        }
        told
    }

    /// The mappings towards the peer.
    pub fn mappings(&self) -> impl Iterator<Item = Seen> {
        self.mappings.iter().copied()
    }

    /// SYNs that nobody has seen come in, as they came if the NAT leaves ports alone.
    pub fn unseen(&self) -> &[Seen] {
        &self.unseen
    }

    /// Where the peer will be, as far as that is known.
    pub const fn peer(&self) -> Option<Endpoint> {
        self.peer
    }
}

/// A port that no peer comes from (RFC 863).
const DISCARD: u16 = 9;

fn syn_from(packet: &Packet) -> Option<Endpoint> {
    let from = packet.endpoints()?.0;
    packet.segment().filter(|segment| segment.is_bare_syn()).map(|_| from)
}
