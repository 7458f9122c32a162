//! Hosts, NATs and links on virtual time: the same parties as on a live network, in milliseconds.

pub mod addresses;
mod classify;
mod host;
mod link;
mod queue;
mod stream;
mod world;

pub use classify::{Broken, Fault, Layout, Reflectors, classify};
pub use host::Host;
pub use link::{Link, Loss, Weather};
pub use world::World;
