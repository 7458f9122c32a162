//! One explanation of what was seen, its weight, and what it says of the next port.

use std::rc::Rc;

use super::density::Density;
use super::onward::{Head, Onward};
use super::ports::{Division, Ports};
use super::rule::Rule;

/// One explanation of what was seen.
pub struct Hypothesis {
    pub rule: Rule,
    /// The logarithm of its share before anything was seen, times how likely it makes what was seen.
    pub ln_weight: f64,
    /// Of how many ports it said before that they were likely.
    pub foreseen: usize,
    pub of: usize,
    pub others_per_s: Option<f64>,
    pub next: Next,
}

/// What an explanation says of the next port.
pub enum Next {
    /// A counter goes on.
    Onward(Head, Rc<Onward>),
    /// A counter that was never seen.
    Anywhere,
    /// The internal port and an offset, so likely.
    Kept { offset: i32, likely: f64 },
    /// Any of these.
    Within { ports: Ports, parity: bool },
}

/// What is known of the internal port.
pub enum Internal {
    /// All.
    Known(u16),
    /// How likely each is.
    Likely(Vec<f64>),
    /// Nothing.
    Unknown,
}

impl Next {
    /// Adds the ports that may be next, with their probabilities times `weight`, all of which it
    /// need not give away. `taken` are ports that were seen, each once.
    pub fn spread(&self, internal: &Internal, taken: &[u16], weight: f64, onto: &mut Density) {
        match self {
            Self::Onward(head, onward) => onward.spread(*head, internal, weight, onto),
            Self::Anywhere => {}
            Self::Kept { offset, likely } => internal.each(|port, probability| {
                if let Ok(port) = u16::try_from(i32::from(port) + offset) {
                    onto.add(port, weight * likely * probability);
                }
            }),
            Self::Within { ports, parity: false } => within(*ports, taken, weight, onto),
            Self::Within { ports, parity: true } => {
                for like in [0, 1] {
                    let weight = weight * internal.parity(like);
                    within(ports.of_parity(like), taken, weight, onto);
                }
            }
        }
    }
}

/// Any of these, but hardly one that is held already.
fn within(ports: Ports, taken: &[u16], weight: f64, onto: &mut Density) {
    let taken: Vec<_> = taken.iter().filter(|port| ports.place(**port).is_some()).collect();
    let (free, again) = of_each(ports, taken.len());
    onto.add_to_each(ports, weight * free);
    taken.iter().for_each(|port| onto.add(**port, weight * (again - free)));
}

/// How likely each free port of a set is where so many are taken, and how likely each taken one.
pub fn of_each(ports: Ports, taken: usize) -> (f64, f64) {
    let free = f64::from(ports.size()) - taken as f64;
    if free <= 0.0 {
        return (0.0, INSIDE / taken as f64);
    }
    let share = AGAIN.min(taken as f64 / f64::from(ports.size()));
    (INSIDE * (1.0 - share) / free, if taken == 0 { 0.0 } else { INSIDE * share / taken as f64 })
}

impl Internal {
    /// How likely the internal port is even or odd as `like`.
    pub fn parity(&self, like: u16) -> f64 {
        match self {
            Self::Known(port) => f64::from(u8::from(port % 2 == like % 2)),
            Self::Likely(ports) => ports.iter().skip(usize::from(like % 2)).step_by(2).sum(),
            Self::Unknown => 0.5,
        }
    }

    fn each(&self, mut take: impl FnMut(u16, f64)) {
        match self {
            Self::Known(port) => take(*port, 1.0),
            Self::Likely(ports) => (0..=u16::MAX).zip(ports).for_each(|(port, p)| take(port, *p)),
            Self::Unknown => {}
        }
    }
}

/// The logarithm of a weight that is far below that of mere chance, for so many ports.
pub fn hopeless(ports: usize) -> f64 {
    -(ports as f64) * ANY_PORT.ln() - FAR
}

/// A weight so much less, as a logarithm, adds nothing.
pub const FAR: f64 = 16.0;

/// The ports that an allocator draws from, if nothing else is known (RFC 6056 §3.2).
pub const ANY: Division = Division::Range(1_024, u16::MAX);
pub const ANY_PORT: f64 = 64_512.0;

/// How often the next port is of the same part as the last.
pub const INSIDE: f64 = 0.99;

/// How often it is one that was seen before: bindings outlive what is observed here (RFC 5382 REQ-5).
const AGAIN: f64 = 0.01;
