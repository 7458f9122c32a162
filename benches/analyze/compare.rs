//! The comparison.

use super::traffic::Traffic;

pub fn run(_traffic: Traffic, _is_full: bool) {}
