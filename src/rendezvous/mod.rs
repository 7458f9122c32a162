//! What stands outside the NAT and cooperates: the reflector.

mod flow;
mod limits;
mod marks;
mod reflector;

pub use limits::Limits;
pub use reflector::Reflector;

/// The port for control connections, if none is chosen: the number of RFC 5382.
pub const CONTROL_PORT: u16 = 5382;

/// The ports for probes, if none are chosen.
pub const PROBE_PORTS: [u16; 2] = [5383, 5384];
