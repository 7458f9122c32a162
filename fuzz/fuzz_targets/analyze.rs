//! Anybody's capture, handed in in two pieces. Whatever it is, it is read without a panic, in bounded
//! memory, and what is made of it is the same as of the whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tso_probe::capture::{Batch, Opening, Openings, Screen};
use tso_probe::report;
use tso_probe::verdict::{Brief, Tally, explain};

fuzz_target!(|octets: &[u8]| {
    let whole = openings(octets, octets.len());
    let cut = octets.last().map_or(0, |last| usize::from(*last) * 7);
    assert_eq!(whole, openings(octets, cut));
    for (opening, number) in whole.iter().zip(1..) {
        let connection = explain(opening, number, 1);
        let [mut told, mut counted] = [Tally::default(), Tally::default()];
        told.add(&connection);
        counted.add_brief(&Brief::of(opening));
        assert_eq!(told, counted);
        if opening.is_plain() {
            assert!(!connection.is_noteworthy(), "{connection:?}");
        }
    }
    // Reports take longer than all else, and are much alike.
    if let Some(opening) = whole.get(cut % whole.len().max(1)) {
        let connection = explain(opening, 1, 1);
        report::connection_json(&connection);
        report::connection_text(&connection, 80);
    }
});

/// The openings of a file of which so many octets are handed in first.
fn openings(octets: &[u8], first: usize) -> Vec<Opening> {
    let mut openings = Openings::new(MOST);
    let (mut screen, mut batch, mut all) = (Screen::of(BUCKETS), Batch::default(), Vec::new());
    let mut used = 0;
    for end in [first.min(octets.len()), octets.len()] {
        if used <= end && !screen.is_broken() {
            used += usize::try_from(screen.read(&octets[used..end], &mut batch)).unwrap_or(usize::MAX);
        }
        openings.take(&mut batch);
        assert!(openings.under_way() <= MOST && openings.kept() <= 2 * MOST);
        screen.take_back(&mut batch);
        all.extend(std::iter::from_fn(|| openings.decided().cloned()));
    }
    let surveyed = screen.end(octets.get(used..).unwrap_or_default());
    openings.end(surveyed.last.unwrap_or_default());
    all.extend(std::iter::from_fn(|| openings.decided().cloned()));
    all
}

/// Few, so that some are given up.
const MOST: usize = 4;

/// Few as well: making many takes longer than all else.
const BUCKETS: usize = 16;
