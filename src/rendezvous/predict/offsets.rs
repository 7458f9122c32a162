//! What each remote adds to one counter for all (RFC 6056 §3.3.3).

use std::collections::BTreeMap;

use crate::wire::Endpoint;

/// The offset of each remote to the first one, in places of a range of `size`.
///
/// A counter that goes up by `step` at least from flow to flow bounds each offset: by each flow to
/// that remote after one to a remote that is known from above, and by each before one from below. The
/// offset is taken that the fewest bounds exclude, since packets that overtook each other set wrong
/// ones; of several the middle.
pub fn offsets(
    places: &[u32],
    remotes: &[Endpoint],
    size: u32,
    step: u32,
) -> BTreeMap<Endpoint, u32> {
    let (size, step) = (i64::from(size), i64::from(step));
    let mut offsets: BTreeMap<Endpoint, i64> = BTreeMap::new();
    for (first, remote) in remotes.iter().enumerate() {
        if offsets.contains_key(remote) {
            continue;
        }
        // The counter where the remote is known, by the place of the flow.
        let counts = places
            .iter()
            .zip(remotes)
            .map(|(place, remote)| offsets.get(remote).map(|offset| i64::from(*place) - offset));
        let counts: Vec<_> = counts.collect();
        // Every flow before the first to a remote is to one that is known.
        let base = match first.checked_sub(1).and_then(|before| counts[before]) {
            Some(before) => i64::from(places[first]) - before,
            None => i64::from(places[first]),
        };
        let mut bounds = Bounds::default();
        let own = (first..remotes.len()).filter(|index| remotes[*index] == *remote);
        for index in own {
            let near = index.saturating_sub(NEAR)..(index + NEAR + 1).min(remotes.len());
            for (other, count) in near.filter_map(|other| Some((other, counts[other]?))) {
                let apart = i64::try_from(index.abs_diff(other)).unwrap_or(0) * step;
                let offset = centred(i64::from(places[index]) - count - base, size);
                bounds.add(other < index, offset, apart);
            }
        }
        let is_first = offsets.is_empty();
        offsets.insert(*remote, if is_first { 0 } else { base + bounds.middle(step) });
    }
    let within = |offset: i64| u32::try_from(offset.rem_euclid(size)).unwrap_or(0);
    offsets.into_iter().map(|(remote, offset)| (remote, within(offset))).collect()
}

/// What an offset can at most, and at least, be.
#[derive(Default)]
struct Bounds {
    above: Vec<i64>,
    below: Vec<i64>,
}

impl Bounds {
    fn add(&mut self, is_after: bool, offset: i64, apart: i64) {
        if is_after {
            self.above.push(offset - apart);
        } else {
            self.below.push(offset + apart);
        }
    }

    /// The middle of those that the fewest bounds exclude, a number of steps below the highest.
    fn middle(mut self, step: i64) -> i64 {
        self.above.sort_unstable();
        self.below.sort_unstable();
        let excluded = |offset: i64| {
            let below = self.below.partition_point(|least| *least <= offset);
            self.above.partition_point(|most| *most < offset) + self.below.len() - below
        };
        let all = || self.above.iter().chain(&self.below).copied();
        let fewest = all().map(excluded).min();
        let best = || all().filter(|offset| Some(excluded(*offset)) == fewest);
        let (least, most) = (best().min().unwrap_or(0), best().max().unwrap_or(0));
        most - (most - least) / 2 / step * step
    }
}

/// Bounds by flows further apart are too wide to count.
const NEAR: usize = 6;

/// The same number modulo `size`, as near to zero as can be.
fn centred(number: i64, size: i64) -> i64 {
    (number + size / 2).rem_euclid(size) - size / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_found_around_the_end_of_a_range() {
        let remotes =
            ["203.0.113.1:443", "203.0.113.2:443"].map(|text| text.parse().expect("it is"));
        let turns = [0, 1, 0, 1, 1].map(|turn| remotes[turn]);
        // The counter goes 97, 98, 0, 1, 2 in a range of 99; the second remote adds 40.
        let found = offsets(&[97, 39, 0, 41, 42], &turns, 99, 1);
        assert_eq!((found[&remotes[0]], found[&remotes[1]]), (0, 40));
    }
}
