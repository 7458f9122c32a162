//! What stands outside the NAT and cooperates: the reflector.

mod flow;
mod limits;
mod reflector;

pub use limits::Limits;
pub use reflector::Reflector;
