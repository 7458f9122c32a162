//! What two ends of a punch are to agree on, and how.

use crate::time::Duration;
use crate::wire::Endpoint;

/// How the two ends meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meet {
    /// This end listens here for the other, and does as it decides.
    Listen(Endpoint),
    /// This end connects there.
    Via(Endpoint, Role),
    /// A stream between the two stands already.
    Over(Role),
}

/// Who decides when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This end, so.
    Decides(Sync),
    /// This end, by the offset of the clocks: one SYN each to see what becomes of it, the other end's
    /// so many nanoseconds after ours.
    Tries {
        /// By how much it leaves later, or if negative, earlier.
        skew_ns: i64,
    },
    /// This end has nothing more to open, and says so.
    Parts,
    /// The other.
    Follows,
}

/// How two departures are made simultaneous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// By half a round trip.
    RoundTrip,
    /// By the offset of the clocks.
    Clock,
}

/// What is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// How the ends meet.
    pub meet: Meet,
    /// The local port to punch from; 0 if the host is to choose it.
    pub port: u16,
    /// This end's external endpoint, if it is known.
    pub external: Option<Endpoint>,
    /// The peer's, if it is known better than the peer itself knows it.
    pub peer: Option<Endpoint>,
    /// How long to wait for the other end, and later for its report.
    pub wait: Duration,
    /// How long to try.
    pub patience: Duration,
    /// What to draw randomness from.
    pub seed: u64,
}

/// Where an end listens for the other, unless told otherwise.
pub const PUNCH_PORT: u16 = 5385;
