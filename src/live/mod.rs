//! The one driver of parties on sockets and the real clock.
//!
//! A [`Driver`] asks its party what it wants, does it, and hands it what happened: packets from the
//! capture, messages from control connections, deadlines, signals. One thread, one loop, no sleep.

mod classify;
mod control;
mod driver;
mod flows;
mod hold;
mod kernel;
mod punch;
mod station;
mod stun;
mod survey;

pub use classify::{Live, alone, classify};
pub use control::Control;
pub use driver::{Driver, Stop};
pub use flows::{Flows, PortChoice};
pub use hold::{Caller, Held};
pub use punch::{Door, Ended, LivePunch, punch, punch_agreed, punch_introduced};
pub use station::Station;
pub use stun::{LiveStun, classify_by_stun, free_port, stun, stun_and_hold};
pub use survey::survey;
