//! Opening a connection with a peer that cannot be connected to in the usual way: one technique per
//! file, each a party.
//!
//! The host's own TCP opens the connection (RFC 9293 §3.5), so that it is real and of use. A punch
//! notes what was tried and what came of it; how the connection opened is judged from packets and
//! socket states.

mod agreed;
mod appointment;
mod code;
mod direct;
mod introduced;
mod journal;
mod offset;
mod prospect;
mod schedule;
mod sealed;
mod signal;
mod sweep;

pub use agreed::Agreed;
pub use appointment::{Appointment, Meet, PUNCH_PORT, Role, Sync};
pub use code::{Code, Words};
pub use direct::{Aim, Direct};
pub use introduced::{Introduced, Introduction};
pub use offset::{Exchange, Offset};
pub use prospect::{Choice, Outlook, Prospect, choose};
pub use schedule::Schedule;
pub use signal::Clocks;
pub use sweep::{Edge, Sweep};
