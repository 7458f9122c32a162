//! A capture file. What can be read can be written, and is judged without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tso_probe::capture::{read, write};
use tso_probe::verdict::{judge, judge_punch};

fuzz_target!(|octets: &[u8]| {
    let Ok(evidence) = read(octets) else { return };
    let again = read(&write(&evidence, &|_| None)).expect("what was written can be read");
    assert_eq!(again.run, evidence.run);
    judge(&evidence.run);
    judge_punch(&evidence.run);
});
