//! What a plan is given: patience, randomness, and where it stands.

use std::net::IpAddr;

use super::patience::Patience;
use super::questions::Questions;
use crate::engine::Effort;

/// What a plan is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// How much patience it has.
    pub effort: Effort,
    /// What it draws randomness from.
    pub seed: u64,
    /// The internal address to probe from, and perhaps a second one to provoke clashes with.
    pub internal: Vec<IpAddr>,
    /// Ports that are free at all of them: as many as [`Setting::ports_needed`] says.
    pub ports: Vec<u16>,
    /// How many reflectors it talks to, one or two; their names are 0 and 1.
    pub reflectors: u8,
}

impl Setting {
    /// How many ports a plan with this effort needs.
    pub const fn ports_needed(effort: Effort) -> usize {
        Questions::ports_needed(&Patience::of(effort))
    }
}
