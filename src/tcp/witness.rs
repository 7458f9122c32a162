//! What an onlooker may conclude of how one TCP connection was opened, from the packets seen at one
//! end's interface or at both.
//!
//! Which bare SYN crossed is asked of each direction on its own: at the interface where the SYN
//! arrives this is seen; at the other it is inferred from what came back, or stays unknown. The two
//! answers together name the [`Opening`].
//!
//! A vantage is taken to have seen every packet of its interface, in order. No clock is compared with
//! another: what counts is the order at each interface alone.

mod onlooker;
mod view;

pub use onlooker::{Passing, Post, onlooker};
use view::View;

use super::arrival::{Arrival, named};
use super::{Opening, Outcome, Side, State};
use crate::time::Instant;
use crate::wire::{Endpoint, Packet};

/// A packet seen at the interface of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// When, on that end's clock.
    pub at: Instant,
    /// At whose interface.
    pub vantage: Side,
    /// Whether it came in there; else it left.
    pub inbound: bool,
    /// The packet as it looked there.
    pub packet: &'a Packet,
}

/// By which endpoints the connection is known at one end; NATs make them differ between the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vantage {
    /// This end's own.
    pub local: Endpoint,
    /// Where it sends to.
    pub remote: Endpoint,
}

/// Which ends were watched. Being watched matters even if nothing arrived: then nothing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vantages {
    /// The end called a, if it was.
    pub a: Option<Vantage>,
    /// The end called b, if it was.
    pub b: Option<Vantage>,
}

/// What the packets prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// How the connection was opened.
    pub opening: Opening,
    /// What came of it.
    pub outcome: Outcome,
    /// How the ends that were watched changed state: a's changes, then b's.
    pub states: Vec<Transition>,
}

/// One end went from one state to another (RFC 9293 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which end.
    pub side: Side,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// When the packet that caused it was seen, on that end's clock.
    pub at: Instant,
    /// The packet that caused it: its place in the trace, from 1.
    pub frame: usize,
}

/// What the packets of one connection prove of how it was opened. Packets of other connections, and
/// those seen where nobody watched, are passed over; of several attempts that one counts in which an end
/// stands, else the last one to which the other end answered.
///
/// The sightings of one vantage come in the order in which its interface saw them.
pub fn witness(trace: &[Sighting<'_>], vantages: &Vantages) -> Testimony {
    let view = |side, vantage: Option<Vantage>| {
        vantage.map(|vantage| View::new(trace, side, vantage)).filter(|view| !view.is_empty())
    };
    match (view(Side::A, vantages.a), view(Side::B, vantages.b)) {
        (Some(a), Some(b)) => from_two(&a, &b),
        (Some(view), None) | (None, Some(view)) => from_one(&view),
        (None, None) => {
            Testimony { opening: Opening::None, outcome: Outcome::TimedOut, states: Vec::new() }
        }
    }
}

/// By an end that stands, if there is one: its peer may have gone on to a later attempt without its
/// knowledge, and what the peer has of an earlier one is over.
///
/// Where both stand, it is in one attempt. Were it in two, each end would have taken part in the other's
/// before its own, so that either would have begun before the other.
fn from_two(a: &View<'_>, b: &View<'_>) -> Testimony {
    let is_of_a = a.stands() || !b.stands() && (a.is_open() || !b.is_open());
    let matched = if is_of_a {
        b.of_the_attempt_of(a).map(|b| from_both(a, &b))
    } else {
        a.of_the_attempt_of(b).map(|a| from_both(&a, b))
    };
    // Segments that cannot be matched across the ends prove nothing together.
    matched.unwrap_or_else(|| from_one(if is_of_a { a } else { b }))
}

fn from_one(view: &View<'_>) -> Testimony {
    let (outbound, inbound) = (view.own_arrival(), view.arrival());
    Testimony {
        opening: opening(view, outbound, inbound),
        outcome: view.outcome(),
        states: view.states(),
    }
}

fn opening(view: &View<'_>, outbound: Arrival, inbound: Arrival) -> Opening {
    if !view.is_open() {
        return Opening::None;
    }
    if view.is_self_connect() {
        return Opening::SelfConnect;
    }
    if view.shows_split() {
        return Opening::SplitHandshake;
    }
    match named(view.side, outbound, inbound) {
        // RFC 9293 §3.10.7.2: it listened; that the other connected is all there is to know.
        Opening::ThreeWay if view.is_passive() => Opening::Accepted,
        opening => opening,
    }
}

fn from_both(a: &View<'_>, b: &View<'_>) -> Testimony {
    let opening = if !a.is_open() && !b.is_open() {
        Opening::None
    } else if a.is_self_connect() || b.is_self_connect() {
        Opening::SelfConnect
    } else if a.shows_split() || b.shows_split() {
        Opening::SplitHandshake
    } else {
        // Where it arrives a SYN is seen; what its sender infers fills the gap.
        let to_b = b.arrival().or(a.own_arrival());
        let to_a = a.arrival().or(b.own_arrival());
        named(Side::A, to_b, to_a)
    };
    let outcomes = [a.outcome(), b.outcome()];
    // One end that opened is proof enough, unless a reset took it back.
    let order = [Outcome::Reset, Outcome::Open, Outcome::Refused, Outcome::Failed];
    let outcome = order.into_iter().find(|outcome| outcomes.contains(outcome));
    Testimony {
        opening,
        outcome: outcome.unwrap_or(Outcome::TimedOut),
        states: [a.states(), b.states()].concat(),
    }
}

#[cfg(test)]
mod tests;
