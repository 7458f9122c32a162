//! NATs and networks on this machine: a namespace for each host, and a process that moves packets
//! between them through a NAT, modelled or the kernel's own.

mod classify;
mod forward;
mod topology;

pub use classify::{Lab, classify};
