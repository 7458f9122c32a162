//! Two captures, one behind the other: the first octet says where the second begins. Whatever they are, they
//! are merged without a panic, and what is said of packets fits the points.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use tso_probe::capture::{Batch, Opening, Openings, Screen};
use tso_probe::report;
use tso_probe::verdict::{Part, Span, merge};

fuzz_target!(|octets: &[u8]| {
    let Some((at, rest)) = octets.split_first() else { return };
    let (one, other) = rest.split_at(rest.len() * usize::from(*at) / 255);
    let mut parts = Vec::new();
    for (capture, octets) in [(1, one), (2, other)] {
        for opening in openings(octets) {
            parts.push(Part { capture, number: parts.len() as u64 + 1, opening });
        }
    }
    let span = Span { first: 0, last: u64::MAX };
    for merged in merge(&parts, &BTreeMap::from([(1, span), (2, span)])) {
        assert!(merged.points.len() > 1 && merged.packets.iter().all(|one| !one.passed.is_empty()));
        report::merged_text(&merged, &["one", "other"], 80);
        report::merged_picture(&merged);
    }
});

fn openings(octets: &[u8]) -> Vec<Opening> {
    let mut openings = Openings::new(MOST);
    let (mut screen, mut batch) = (Screen::of(BUCKETS), Batch::default());
    screen.read(octets, &mut batch);
    openings.take(&mut batch);
    let surveyed = screen.end(&[]);
    openings.end(surveyed.last.unwrap_or_default());
    std::iter::from_fn(|| openings.decided().cloned()).collect()
}

/// Few: making many takes longer than all else.
const MOST: usize = 16;
const BUCKETS: usize = 16;
