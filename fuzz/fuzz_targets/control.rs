//! A line that a prober and a reflector exchange. What can be read can be written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tso_probe::wire::control::{from_line, to_line};

fuzz_target!(|octets: &[u8]| {
    let Ok(message) = from_line(octets) else { return };
    assert_eq!(from_line(&to_line(&message)).as_ref(), Ok(&message));
});
