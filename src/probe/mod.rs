//! Questions to a NAT, one a file, and the plan that asks many side by side.
//!
//! A probe is a party that asks one question from internal ports of its own. It notes what it did
//! and never concludes; the judge does, from the trace.

mod children;
mod clash;
mod companion;
mod contact;
mod crossing;
mod established;
mod farewell;
mod hairpin;
mod listen;
mod outreach;
mod patience;
mod plan;
mod preflight;
mod questions;
mod roles;
mod sequence;
mod setting;
mod sightings;
mod stun;
mod survey;
mod volley;

pub use patience::Patience;
pub use plan::Plan;
pub use setting::Setting;
pub use stun::{StunProbe, StunSetting, is_another};
pub use survey::{Survey, SurveySetting};

use crate::engine::Party;
use crate::time::Instant;
use crate::wire::control::{Expectation, ProbeId};
use crate::wire::{Endpoint, Packet};
use volley::{Aim, Block};

/// A party that asks the NAT one question, as a plan sees it.
trait Probe: Party {
    /// Its numbers, each with the internal endpoints that it asks from under that number.
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)>;

    /// The SYNs that reflectors should expect of it.
    fn expectations(&self) -> Vec<Expectation>;

    /// What volleys of this block should carry for it, as far as it knows yet.
    fn aims(&self, _: Block) -> Vec<Aim> {
        Vec::new()
    }

    /// Whether all of the above is known: every mapping that it needs has been seen from outside.
    fn is_open(&self) -> bool {
        true
    }

    /// A SYN to go out beside others at once, if it has any to prove the way out alive with.
    fn beat(&mut self, _: Instant) -> Option<Packet> {
        None
    }

    /// Whether it needs no more time, volleys apart.
    fn is_done(&self) -> bool {
        true
    }
}

/// Later than any run lasts.
const NEVER: Instant = Instant::from_nanos(u64::MAX);
