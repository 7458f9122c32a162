//! `tso-probe` tells how a NAT treats TCP (RFC 5382), with packets as proof.
//!
//! ```text
//!  args ─> cli ─> plan ─> Party ⇄ { live driver | simulator } ─> facts + trace ─┐
//!                                                                               ├─> judge ─> report
//!  evidence file ───────────────────────────────────────────> facts + trace ────┘     │
//!                                                       packets, socket states ─> tcp::witness
//! ```
//!
//! Modules in order; each imports only what stands above it, which a test enforces.

pub mod time;
pub mod wire;
pub mod tcp;
pub mod nat;
pub mod engine;
pub mod rendezvous;
pub mod probe;
pub mod punch;
pub mod capture;
pub mod verdict;
pub mod sim;
pub mod os;
pub mod live;
pub mod doctor;
pub mod lab;
pub mod report;
pub mod serve;
pub mod cli;
