//! Captures that are evidence files of this program: what the run in them was judged to be, live and again.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::capture;
use crate::report::{Judged, JudgedRun};
use crate::verdict::{self, judge, judge_punch};

/// The verdict of the run in the capture of that number, if it is an evidence file.
pub fn judged(file: &Path, number: usize) -> Option<Judged> {
    if !may_be_evidence(file) {
        return None;
    }
    let evidence = capture::read(&fs::read(file).ok()?).ok()?;
    // Any pcapng file reads as a run, and those of others have no facts.
    if evidence.run.facts.is_empty() {
        return None;
    }
    let run = match verdict::is_punch(&evidence.run) {
        true => JudgedRun::Punch(Box::new(judge_punch(&evidence.run))),
        false => JudgedRun::Classify(Box::new(judge(&evidence.run))),
    };
    Some(Judged { capture: number, run })
}

/// A small file that begins as pcapng does.
fn may_be_evidence(file: &Path) -> bool {
    let is_small = fs::metadata(file).is_ok_and(|about| about.is_file() && about.len() <= LARGEST);
    let mut magic = [0; 4];
    is_small
        && File::open(file).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == [0x0a, 0x0d, 0x0d, 0x0a]
}

/// A run of hours leaves less.
const LARGEST: u64 = 64 << 20;
