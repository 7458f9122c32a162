//! A capture, written again with comments.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::capture::Annotator;
use crate::cli::evidence;
use crate::cli::failure::Failure;
use crate::os::octets::Octets;

/// Writes the capture again, with these comments at the frames of these numbers.
///
/// # Errors
/// If it cannot be read again, or the copy not be written.
pub fn annotate(
    original: &Path,
    copy: &Path,
    comments: &BTreeMap<u64, String>,
) -> Result<(), Failure> {
    let mut octets = Octets::open(Some(original))?;
    evidence::save_as_it_comes(copy, |file| {
        let (mut annotator, mut written, mut skip) = (Annotator::default(), Vec::new(), 0);
        // Where the original cannot be read any more, the copy ends: that was said.
        while octets.more().unwrap_or(false) {
            skip = pass(&mut octets, skip);
            if skip > 0 {
                continue;
            }
            let (used, goes_on) = annotator.read(octets.at_hand(), comments, &mut written);
            skip = pass(&mut octets, used);
            file.write_all(&written)?;
            written.clear();
            if !goes_on {
                break;
            }
        }
        io::Result::Ok(())
    })
}

/// Uses up so many octets; how many are still to come.
pub fn pass(octets: &mut Octets, count: u64) -> u64 {
    let at_hand = octets.at_hand().len();
    let now = usize::try_from(count).unwrap_or(usize::MAX).min(at_hand);
    octets.used(now);
    count - now as u64
}
