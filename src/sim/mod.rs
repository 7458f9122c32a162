//! Hosts, NATs and links on virtual time: the same parties as on a live network, in milliseconds.

pub mod addresses;
mod classify;
mod doing;
mod host;
mod link;
mod punch;
mod queue;
mod socket;
mod stream;
mod stun;
mod tcp;
mod world;

pub use classify::{Broken, Fault, Layout, Reflectors, classify};
pub use host::Host;
pub use link::{Link, Loss, Weather};
pub use punch::{Aiming, End, PunchLayout, attempts_seed, punch};
pub use stun::{StunLayout, stun, survey};
pub use tcp::Tcp;
pub use world::World;
