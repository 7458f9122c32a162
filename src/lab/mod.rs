//! NATs and networks on this machine: a namespace for each host, and a process that moves packets
//! between them through NATs, modelled or the kernel's own.

mod classify;
mod forward;
mod pair;
mod punch;
mod site;
mod survey;
mod topology;

pub use classify::{Lab, classify};
pub use pair::{Pair, PairPlan, Single, SinglePlan, with_pair, with_single};
pub use punch::{Meeting, Met, Timing, punch, served};
pub use survey::survey;
pub use topology::{End, INTERFACE, Server};
