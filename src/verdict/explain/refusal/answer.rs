//! The reset that answered a SYN, and whose it is.

use std::fmt;

use super::{CLOSE, SIDES};
use crate::tcp::Side;
use crate::time::Duration;
use crate::verdict::explain::case::{Case, FARTHEST, Seen, hops};
use crate::verdict::explain::crossing::in_ms;
use crate::wire::{Segment, Seq};

/// The reset that answered a SYN, its sender, and how many hops away it and its host are.
pub struct Refusal<'a> {
    pub by: Side,
    pub reset: &'a Seen,
    pub segment: &'a Segment,
    /// The TTL of another packet of that end, or of another connection from its address.
    pub host: Option<u8>,
    /// Whether it is of this connection: behind one address there may be several hosts.
    pub is_own: bool,
    /// How long after the SYN it came, if that was sent once.
    pub took: Option<Duration>,
    /// How long that address has taken to answer at least, in other connections.
    pub round_trip: Option<Duration>,
}

impl<'a> Refusal<'a> {
    pub fn of(case: &'a Case<'_>) -> Option<Self> {
        Self::all(case).next()
    }

    pub fn all(case: &'a Case<'_>) -> impl Iterator<Item = Self> {
        SIDES.into_iter().filter_map(|by| {
            let numbers: Vec<_> = case.bare_syns(by.opposite()).map(|(_, s)| s.seq + 1).collect();
            let mut resets = case.resets(by);
            let (reset, segment) = resets.find(|(_, reset)| numbers.contains(&reset.ack))?;
            let mut others = case.sent(by).filter(|(_, segment)| !segment.is_reset());
            let hearsay = case.hearsay(by);
            let own = others.next().map(|(seen, _)| seen.packet.ttl);
            let host = own.or(hearsay.ttl).filter(|ttl| hops(*ttl) <= FARTHEST);
            let is_its = |(_, syn): &(&Seen, &Segment)| syn.seq + 1 == segment.ack;
            let mut syns = case.bare_syns(by.opposite()).filter(is_its);
            let syn = syns.next().filter(|_| syns.next().is_none());
            Some(Self {
                by,
                reset,
                segment,
                host,
                is_own: own.is_some(),
                took: syn.map(|(syn, _)| reset.at.since(syn.at)),
                round_trip: hearsay.round_trip.map(Duration::from_nanos),
            })
        })
    }

    /// Whether it looks like what RFC 9293 §3.10.7.1 has a host send.
    pub fn is_canned(&self) -> bool {
        self.segment.seq == Seq(0) && self.segment.window == 0
    }

    /// Whether the host cannot have answered so soon.
    pub fn is_early(&self) -> bool {
        let pair = self.took.zip(self.round_trip);
        pair.is_some_and(|(took, usual)| took * 2 + CLOSE * 2 < usual)
    }

    /// What else tells whose it is.
    pub const fn marks(&self) -> Marks<'_> {
        Marks(self)
    }
}

/// The marks of a reset, for people.
pub struct Marks<'a>(&'a Refusal<'a>);

impl fmt::Display for Marks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Refusal { reset, segment, took, round_trip, .. }) = self;
        write!(f, "IP ID {}, window {}", reset.packet.id, segment.window)?;
        if let Some(took) = took {
            write!(f, ", {} after the SYN", in_ms(*took))?;
        }
        match round_trip {
            Some(usual) => {
                write!(f, " (from that address a SYN,ACK took {} at least)", in_ms(*usual))
            }
            None => Ok(()),
        }
    }
}
