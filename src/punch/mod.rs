//! Opening a connection with a peer that cannot be connected to in the usual way: one technique per
//! file, each a party.
//!
//! The host's own TCP opens the connection (RFC 9293 §3.5), so that it is real and of use. A punch
//! notes what was tried and what came of it; how the connection opened is judged from packets and
//! socket states.

mod agreed;
mod direct;
mod offset;
mod schedule;
mod signal;

pub use agreed::{Agreed, Appointment, Meet, PUNCH_PORT, Sync};
pub use direct::{Aim, Direct};
pub use schedule::Schedule;
