//! What stands outside the NAT and cooperates: the reflector, a STUN server, the rendezvous server, a
//! relay; and what can be said of the ports that the NAT will use next.

mod counted;
mod flow;
pub mod introducer;
mod limits;
mod marks;
pub mod predict;
mod reflector;
mod relay;
mod stun;

pub use counted::{Business, Counted, Figures, Tally};
pub use introducer::{Introducer, IntroducerLimits};
pub use limits::Limits;
pub use reflector::Reflector;
pub use relay::Relay;
pub use stun::StunServer;

/// The port for control connections, if none is chosen: the number of RFC 5382.
pub const CONTROL_PORT: u16 = 5382;

/// The ports for STUN, if none are chosen: that of RFC 8489 §18.6, and the next.
pub const STUN_PORTS: [u16; 2] = [3478, 3479];

/// The ports for probes, if none are chosen.
pub const PROBE_PORTS: [u16; 2] = [5383, 5384];

/// The ports for rendezvous, if none are chosen. Two, so that a client can show mappings towards
/// several endpoints even where the server has one address.
pub const RENDEZVOUS_PORTS: [u16; 2] = [5386, 5387];
