//! The `tso-probe` command.

fn main() {}
