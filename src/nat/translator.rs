//! A translator that behaves as it is told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::allocate::Allocator;
use super::behaviour::{Answer, Behaviour, Knobs, Unsolicited};
use super::session::{Session, Side};
use super::table::{Binding, Table, mapping_key};
use super::words::{CrossingSegment, Hairpinning};
use crate::time::Instant;
use crate::wire::{Body, Endpoint, Icmp, Options, Packet, Quote, Segment, TcpOption};

/// A NAT with a behaviour and a memory. Packets and the time go in, fates come out.
#[derive(Clone, Debug)]
pub struct Translator {
    knobs: Knobs,
    addresses: Vec<IpAddr>,
    table: Table,
    allocator: Allocator,
    /// Answers to unsolicited SYNs that are to go out later.
    later: BTreeMap<(Instant, u64), Later>,
    answers_put_off: u64,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, translated, to this side.
    Forward(Side, Packet),
    /// It ends here, and this goes back to the side that it came from.
    Answer(Packet),
    /// It ends here.
    Drop,
}

/// An answer that is to go out later.
#[derive(Clone, Debug)]
struct Later {
    answer: Packet,
    /// The connection whose SYN is held, external endpoint and remote; none if it is not held.
    held: Option<(Endpoint, Endpoint)>,
}

impl Translator {
    /// A NAT that behaves so, with these external addresses.
    ///
    /// # Panics
    /// Without any external address.
    pub fn new(behaviour: &Behaviour, addresses: &[IpAddr], seed: u64) -> Self {
        assert!(!addresses.is_empty(), "a NAT has an external address");
        let knobs = behaviour.knobs().clone();
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self {
            allocator: Allocator::new(&knobs, random),
            knobs,
            addresses: addresses.to_vec(),
            table: Table::default(),
            later: BTreeMap::new(),
            answers_put_off: 0,
        }
    }

    /// Takes a packet that came from `side`.
    pub fn take(&mut self, now: Instant, side: Side, mut packet: Packet) -> Fate {
        if packet.ttl <= 1 {
            return Fate::Drop;
        }
        packet.ttl -= 1;
        match (&packet.body, side) {
            (_, Side::Outside) if !self.is_own(packet.destination) => Fate::Drop,
            (Body::Tcp(_), Side::Inside) if self.is_own(packet.destination) => {
                self.hairpin(now, packet)
            }
            (Body::Tcp(_), Side::Inside) => match self.outward(now, packet) {
                Some((packet, _)) => Fate::Forward(Side::Outside, packet),
                None => Fate::Drop,
            },
            (Body::Tcp(_), Side::Outside) => self.inward(now, packet),
            (Body::Icmp(_), Side::Inside) => self.error_outward(now, packet),
            (Body::Icmp(_), Side::Outside) => self.error_inward(now, packet),
        }
    }

    /// The answers to unsolicited SYNs whose time has come; they go outside.
    pub fn due(&mut self, now: Instant) -> Option<Packet> {
        let entry = self.later.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove().answer)
    }

    /// When it will act on its own next.
    pub fn wakes(&self) -> Option<Instant> {
        self.later.keys().next().map(|(at, _)| *at)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Translates a segment from an internal host; with it, its internal source.
    fn outward(&mut self, now: Instant, mut packet: Packet) -> Option<(Packet, Endpoint)> {
        let (internal, remote) = packet.endpoints()?;
        let segment = packet.segment()?;
        let id = match self.binding(now, internal, remote) {
            Some(id) => id,
            None if segment.is_reset() => return None,
            None => self.bind(now, internal, remote)?,
        };
        let binding = self.table.get_mut(id);
        let session = binding.session(now, remote, Side::Inside);
        let blocked = session.crossed && segment.is_syn_ack();
        if blocked && self.knobs.blocks == Some(CrossingSegment::SynAckOut) {
            return None;
        }
        session.follow(now, Side::Inside, segment, &self.knobs.timeouts);
        binding.used = now;
        let (external, isn_offset) = (binding.external, binding.isn_offset);
        if segment.is_bare_syn() {
            self.release(external, remote);
        }
        packet.source = external.ip();
        let segment = packet.segment_mut()?;
        segment.seq = segment.seq + isn_offset;
        segment.source_port = external.port();
        self.strip(segment);
        Some((packet, internal))
    }

    /// The live binding of `internal` towards `remote`. A connection that the remote began runs on
    /// through the binding that let it in, even if `remote` would get another (REQ-2).
    fn binding(&self, now: Instant, internal: Endpoint, remote: Endpoint) -> Option<usize> {
        let key = mapping_key(self.knobs.mapping, remote);
        let own = self.table.outbound(now, internal, key);
        own.or_else(|| self.table.connected(now, internal, remote))
    }

    /// A new binding of `internal` towards `remote`.
    fn bind(&mut self, now: Instant, internal: Endpoint, remote: Endpoint) -> Option<usize> {
        let key = mapping_key(self.knobs.mapping, remote);
        let same_family = |address: &IpAddr| address.is_ipv4() == remote.is_ipv4();
        let pool: Vec<_> = self.addresses.iter().copied().filter(same_family).collect();
        let address = self.allocator.address(self.knobs.pooling, &pool, internal.ip())?;
        let external =
            self.allocator.external(now, &self.knobs, &self.table, internal, key, address)?;
        let isn_offset = if self.knobs.rewrites_isn { self.allocator.isn_offset() } else { 0 };
        let binding = Binding::new(now, internal, external, key, isn_offset);
        Some(self.table.insert(now, binding))
    }

    fn inward(&mut self, now: Instant, packet: Packet) -> Fate {
        let Some((remote, external)) = packet.endpoints() else { return Fate::Drop };
        match self.admitted(now, remote, external) {
            Some(id) => self.deliver(now, id, packet),
            None => self.unsolicited(now, &packet),
        }
    }

    /// The binding that lets `remote` in to `external`: where several do, the one that has a
    /// connection with that remote, else one for it, else the one used last.
    fn admitted(&self, now: Instant, remote: Endpoint, external: Endpoint) -> Option<usize> {
        let all = self.table.inbound(now, external);
        let willing = all.filter(|id| self.admits(now, self.table.get(*id), remote));
        willing.max_by_key(|id| self.claim(now, self.table.get(*id), remote))
    }

    fn admits(&self, now: Instant, binding: &Binding, remote: Endpoint) -> bool {
        let filtering = if binding.is_established(now) {
            self.knobs.filtering_established
        } else {
            self.knobs.filtering
        };
        binding.admits(now, filtering, remote)
    }

    /// How strong a binding's claim is to what concerns `remote`, among those of one endpoint.
    fn claim(&self, now: Instant, binding: &Binding, remote: Endpoint) -> (bool, bool, Instant) {
        let theirs = binding.key == mapping_key(self.knobs.mapping, remote);
        (binding.knows(now, remote), theirs, binding.used)
    }

    fn deliver(&mut self, now: Instant, id: usize, mut packet: Packet) -> Fate {
        let Some((remote, _)) = packet.endpoints() else { return Fate::Drop };
        let Some(segment) = packet.segment_mut() else { return Fate::Drop };
        self.strip(segment);
        let binding = self.table.get_mut(id);
        let session = binding.session(now, remote, Side::Outside);
        if session.blocks_inward(self.knobs.blocks, segment) {
            return Fate::Drop;
        }
        session.follow(now, Side::Outside, segment, &self.knobs.timeouts);
        if segment.flags.contains(crate::wire::Flags::ACK) {
            segment.ack = segment.ack + binding.isn_offset.wrapping_neg();
        }
        segment.destination_port = binding.internal.port();
        packet.destination = binding.internal.ip();
        Fate::Forward(Side::Inside, packet)
    }

    /// A segment from inside to one of our own external endpoints (RFC 5382 §7.2).
    fn hairpin(&mut self, now: Instant, packet: Packet) -> Fate {
        if self.knobs.hairpinning == Hairpinning::Unsupported {
            return Fate::Drop;
        }
        let Some((outward, internal)) = self.outward(now, packet) else { return Fate::Drop };
        let Some((source, destination)) = outward.endpoints() else { return Fate::Drop };
        let Some(id) = self.admitted(now, source, destination) else { return Fate::Drop };
        let fate = self.deliver(now, id, outward);
        match (self.knobs.hairpinning, fate) {
            (Hairpinning::InternalSource, Fate::Forward(side, packet)) => {
                Fate::Forward(side, from(internal, packet))
            }
            (_, fate) => fate,
        }
    }

    fn unsolicited(&mut self, now: Instant, packet: &Packet) -> Fate {
        let Some(segment) = packet.segment().filter(|segment| segment.is_bare_syn()) else {
            return Fate::Drop;
        };
        let Some(answer) = answer_to(packet, segment, self.knobs.unsolicited.answer) else {
            return Fate::Drop;
        };
        if self.knobs.unsolicited.after.is_zero() {
            return Fate::Answer(answer);
        }
        self.put_off(now, packet, answer)
    }

    /// Keeps the answer for later; holds the SYN meanwhile if it is to (RFC 5382 REQ-4).
    fn put_off(&mut self, now: Instant, packet: &Packet, answer: Packet) -> Fate {
        let Unsolicited { after, holds, .. } = self.knobs.unsolicited;
        let connection = packet.endpoints().map(|(remote, external)| (external, remote));
        let held = connection.filter(|_| holds.is_some());
        let holding = self.later.values().filter(|later| later.held.is_some());
        if let Some(most) = holds {
            if holding.clone().any(|later| later.held == held) {
                return Fate::Drop;
            }
            if holding.count() >= usize::from(most) {
                return Fate::Answer(answer);
            }
        }
        self.answers_put_off += 1;
        self.later.insert((now + after, self.answers_put_off), Later { answer, held });
        Fate::Drop
    }

    /// REQ-4: an outbound SYN for the same connection makes a held SYN vanish.
    fn release(&mut self, external: Endpoint, remote: Endpoint) {
        if !self.later.is_empty() {
            self.later.retain(|_, later| later.held != Some((external, remote)));
        }
    }

    /// An error from outside about a segment that went out (RFC 5508 REQ-4).
    fn error_inward(&self, now: Instant, mut packet: Packet) -> Fate {
        let Some(icmp) = packet.icmp_error_mut() else { return Fate::Drop };
        let (external, remote) = (icmp.quote.source, icmp.quote.destination);
        let all = self.table.inbound(now, external).map(|id| self.table.get(id));
        let claims = all.map(|binding| (self.claim(now, binding, remote), binding));
        let concerned = claims.filter(|((knows, theirs, _), _)| *knows || *theirs);
        let Some((_, binding)) = concerned.max_by_key(|(claim, _)| *claim) else {
            return Fate::Drop;
        };
        icmp.quote.source = binding.internal;
        icmp.quote.seq = icmp.quote.seq + binding.isn_offset.wrapping_neg();
        packet.destination = binding.internal.ip();
        Fate::Forward(Side::Inside, packet)
    }

    /// An error from inside about a segment that came in (RFC 5508 REQ-5).
    fn error_outward(&self, now: Instant, mut packet: Packet) -> Fate {
        let Some(icmp) = packet.icmp_error_mut() else { return Fate::Drop };
        let (remote, internal) = (icmp.quote.source, icmp.quote.destination);
        let Some(id) = self.binding(now, internal, remote) else { return Fate::Drop };
        let external = self.table.get(id).external;
        icmp.quote.destination = external;
        packet.source = external.ip();
        match self.knobs.hairpinning {
            _ if !self.is_own(packet.destination) => Fate::Forward(Side::Outside, packet),
            Hairpinning::Unsupported => Fate::Drop,
            // RFC 5508 REQ-7: errors hairpin as segments do.
            _ => self.error_inward(now, packet),
        }
    }

    fn strip(&self, segment: &mut Segment) {
        if self.knobs.strips_options {
            segment.options = size_alone(&segment.options);
        }
    }
}

impl Session {
    fn blocks_inward(&self, blocks: Option<CrossingSegment>, segment: &Segment) -> bool {
        match blocks {
            Some(CrossingSegment::SynIn) => self.awaits_answer() && segment.is_bare_syn(),
            Some(CrossingSegment::SynAckIn) => self.crossed && segment.is_syn_ack(),
            _ => false,
        }
    }
}

/// The answer to an unsolicited SYN, from the endpoint that it was sent to.
fn answer_to(packet: &Packet, segment: &Segment, answer: Answer) -> Option<Packet> {
    let (remote, external) = packet.endpoints()?;
    match answer {
        Answer::Silence => None,
        Answer::Reset => Some(Packet::tcp(external, remote, segment.reset_in_answer())),
        Answer::Unreachable(code) => {
            let quote =
                Quote { source: remote, destination: external, seq: segment.seq, ttl: packet.ttl };
            let icmp = Icmp { kind: DESTINATION_UNREACHABLE, code, quote };
            Some(Packet::icmp(external.ip(), remote.ip(), icmp))
        }
    }
}

fn from(source: Endpoint, mut packet: Packet) -> Packet {
    packet.source = source.ip();
    if let Some(segment) = packet.segment_mut() {
        segment.source_port = source.port();
    }
    packet
}

fn size_alone(options: &Options) -> Options {
    let size = options.iter().find_map(|option| match option {
        TcpOption::MaximumSegmentSize(size) => Some(size.to_be_bytes()),
        _ => None,
    });
    size.and_then(|[high, low]| Options::from_octets(&[2, 4, high, low])).unwrap_or_default()
}

/// RFC 792: type 3.
const DESTINATION_UNREACHABLE: u8 = 3;

#[cfg(test)]
mod tests;
