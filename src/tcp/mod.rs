//! How TCP connections open (RFC 9293 §3.5, §3.10.7): what a host answers, with profiles of real
//! stacks, and what an onlooker may conclude from the packets.
//!
//! ```text
//!  Host ⇄ Host ──> packets at an interface ──> witness ──> opening, outcome, states
//! ```

mod arrival;
mod host;
mod sockets;
mod witness;
mod words;

pub use host::{Host, Profile};
pub use sockets::{Path, opening_of};
pub use witness::{
    Passing, Post, Sighting, Testimony, Transition, Vantage, Vantages, onlooker, witness,
};
pub use words::{Opening, Outcome, Side, State};
