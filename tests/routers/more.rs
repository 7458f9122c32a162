//! Other ways to ask, and other hosts to ask from.

pub const TESTS: &[(&str, fn())] = &[];
