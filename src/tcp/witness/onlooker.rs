//! What the packets that pass one point prove, wherever between the two ends it is.

use super::view::View;
use super::{Sighting, Testimony, Transition, Vantage, from_one};
use crate::tcp::arrival::{Arrival, named};
use crate::tcp::{Opening, Outcome, Side};
use crate::time::Instant;
use crate::wire::{Endpoint, Packet};

/// A packet that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing<'a> {
    /// When.
    pub at: Instant,
    /// Which end it came from; of an ICMP error, the end that it does not go to.
    pub from: Side,
    /// The packet as it looked there.
    pub packet: &'a Packet,
}

/// Where the point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Post {
    /// At the interface of an end, which sees in what order that end sent and was sent.
    At(Side),
    /// Between them, or nobody knows where: packets that passed may have been lost behind it, and what
    /// passed later may have arrived before.
    Between,
}

/// What the packets of one connection between these endpoints prove. At an end's interface that end's
/// states are known; the other's as far as what it sent shows them, which is by when and not when.
pub fn onlooker(passed: &[Passing<'_>], a: Endpoint, b: Endpoint, post: Post) -> Testimony {
    let [of_a, of_b] = [Side::A, Side::B].map(|side| sightings(passed, side));
    let (from_a, from_b) = (Vantage { local: a, remote: b }, Vantage { local: b, remote: a });
    let (a, b) = (View::new(&of_a, Side::A, from_a), View::new(&of_b, Side::B, from_b));
    match post {
        Post::At(Side::A) => with(from_one(&a), b.shown_states()),
        Post::At(Side::B) => with(from_one(&b), a.shown_states()),
        Post::Between => between(&a, &b),
    }
}

/// The packets as the interface of `side` would have seen them.
fn sightings<'a>(passed: &[Passing<'a>], side: Side) -> Vec<Sighting<'a>> {
    let seen = passed.iter().map(|passing| Sighting {
        at: passing.at,
        vantage: side,
        inbound: passing.from != side,
        packet: passing.packet,
    });
    seen.collect()
}

fn with(own: Testimony, others: Vec<Transition>) -> Testimony {
    let mut states = [own.states, others].concat();
    states.sort_by_key(|step| (step.at, step.frame));
    Testimony { states, ..own }
}

fn between(a: &View<'_>, b: &View<'_>) -> Testimony {
    let is_open = a.is_open() || b.is_open();
    let opening = if !is_open {
        Opening::None
    } else if a.is_self_connect() {
        Opening::SelfConnect
    } else if a.shows_split() || b.shows_split() {
        Opening::SplitHandshake
    } else {
        named(Side::A, arrived(a, b), arrived(b, a))
    };
    let outcomes = [a.outcome(), b.outcome()];
    let order = [Outcome::Reset, Outcome::Open, Outcome::Refused, Outcome::Failed];
    let outcome = order.into_iter().find(|outcome| outcomes.contains(outcome));
    let own = Testimony {
        opening,
        outcome: outcome.unwrap_or(Outcome::TimedOut),
        states: a.shown_states(),
    };
    with(own, b.shown_states())
}

/// What became of the bare SYN of `sender` at `receiver`, of neither of which the order of events is
/// known.
fn arrived(sender: &View<'_>, receiver: &View<'_>) -> Arrival {
    // What arrived has passed here.
    if !sender.has_sent_bare_syn() {
        return Arrival::Missed;
    }
    match (sender.own_arrival(), receiver.arrival()) {
        (Arrival::InSynSent, _) | (_, Arrival::InSynSent) => Arrival::InSynSent,
        // Whoever sent none was not in SYN-SENT, unless it was lost on its way to here.
        (Arrival::Missed, _) => Arrival::Missed,
        _ => Arrival::Unknown,
    }
}
