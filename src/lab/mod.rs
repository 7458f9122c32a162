//! NATs and networks on this machine: a namespace for each host, and a process that moves packets
//! between them through NATs, modelled or the kernel's own.

mod classify;
mod crowd;
mod ending;
mod forward;
mod hosts;
mod meet;
mod pair;
mod punch;
mod site;
mod survey;
mod topology;

pub use classify::{Lab, classify};
pub use crowd::at_once;
pub use hosts::HostPorts;
pub use meet::{Introducing, Introductions, meet};
pub use pair::{Pair, PairPlan, Single, SinglePlan, with_pair, with_single};
pub use punch::{Meeting, Met, Timing, punch, served};
pub use survey::survey;
pub use topology::{End, INTERFACE, Server};
