//! Everything that needs a kernel: clocks, namespaces, TUN devices, links and
//! routes, the packet filter, raw sockets, capture, TCP sockets and their states,
//! signals.
//!
//! Linux only. Nothing made here outlives the process, even one killed with
//! SIGKILL: each thing is held by a file descriptor that the kernel closes.
//! Whatever belongs to a network namespace is made in the namespace that the
//! calling thread stands in at that moment, and stays there.

pub mod capture;
pub mod child;
pub mod clock;
pub mod cpu;
pub mod descriptors;
pub mod device;
pub mod discipline;
pub mod entropy;
mod error;
pub mod firewall;
pub mod guard;
pub mod link;
pub mod nat;
pub mod netns;
mod nft;
pub mod octets;
pub mod poll;
pub mod ports;
pub mod privilege;
pub mod raw;
pub mod reserve;
pub mod shot;
pub mod signals;
pub mod states;
pub mod sysctl;
pub mod tcp;
pub mod tls;
pub mod tun;

pub use error::{Error, Kind, Result, Why};
