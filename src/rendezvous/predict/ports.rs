//! Sets of ports that an allocator draws from: ranges, blocks, the port sets of RFC 7597.

use std::fmt;

/// Runs of ports at equal distances: a range is one run, the even ports of a range are runs of one at
/// distances of two, a port set of RFC 7597 §5.1 has a run behind each value of its offset bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    first: u16,
    /// How many ports a run has.
    run: u32,
    /// From the start of a run to that of the next.
    every: u32,
    runs: u32,
}

impl Ports {
    /// The ports from `first` to `last`, both included; `last` counts as `first` if it is less.
    pub const fn range(first: u16, last: u16) -> Self {
        let run = last.saturating_sub(first) as u32 + 1;
        Self { first, run, every: run, runs: 1 }
    }

    /// How many they are, at least one.
    pub const fn size(self) -> u32 {
        self.run * self.runs
    }

    /// The lowest.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest.
    pub fn last(self) -> u16 {
        self.port(self.size() - 1)
    }

    /// Whether they follow each other without a gap.
    pub const fn is_range(self) -> bool {
        self.runs == 1 || self.every == self.run
    }

    /// Whether they are every second port of a range.
    pub const fn is_parity(self) -> bool {
        self.run == 1 && self.every == 2
    }

    /// Which place among them a port has, from 0; none if it is not one of them.
    pub fn place(self, port: u16) -> Option<u32> {
        let beyond = u32::from(port).checked_sub(u32::from(self.first))?;
        let (nth, within) = (beyond / self.every, beyond % self.every);
        (nth < self.runs && within < self.run).then_some(nth * self.run + within)
    }

    /// The port at a place; places beyond the last begin again with the first.
    pub fn port(self, place: u32) -> u16 {
        let place = place % self.size();
        let port = u32::from(self.first) + place / self.run * self.every + place % self.run;
        u16::try_from(port).unwrap_or(u16::MAX)
    }

    /// All of them, upwards.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        (0..self.size()).map(move |place| self.port(place))
    }

    /// Those of a range that are even or odd as `like`; other sets stay as they are.
    pub fn of_parity(self, like: u16) -> Self {
        let first = self.first + (self.first ^ like) % 2;
        if !self.is_range() || self.size() < 2 {
            return self;
        }
        Self { first, run: 1, every: 2, runs: u32::from(self.last() - first) / 2 + 1 }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.first(), self.last());
        if self.is_range() {
            write!(f, "{first}-{last}")
        } else if self.is_parity() {
            let parity = if first.is_multiple_of(2) { "even" } else { "odd" };
            write!(f, "the {parity} ports of {first}-{last}")
        } else {
            write!(f, "{first}-{last}, {} from each {}", self.run, self.every)
        }
    }
}

/// A way to divide all ports among hosts or purposes. Every port is in exactly one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// A range, and the rest.
    Range(u16, u16),
    /// Blocks of equal size, side by side from a port on, and the rest.
    Blocks { from: u16, size: u16 },
    /// RFC 7597 §5.1: the bits below the first `offset` ones name the set, `length` of them; the
    /// ports whose offset bits are all zero belong to nobody.
    Sets { offset: u32, length: u32 },
}

impl Division {
    /// The part in which a port is.
    pub fn part(self, port: u16) -> Ports {
        match self {
            Self::Range(first, last) if (first..=last).contains(&port) => Ports::range(first, last),
            Self::Blocks { from, size } if port >= from => {
                let first = port - (port - from) % size;
                Ports::range(first, first.saturating_add(size - 1))
            }
            Self::Sets { offset, length } if port >> (16 - offset) != 0 => {
                let (group, rest) = (1 << (16 - offset), 16 - offset - length);
                let set = (u32::from(port) % group) >> rest;
                let first = u16::try_from(group + (set << rest)).unwrap_or(u16::MAX);
                Ports { first, run: 1 << rest, every: group, runs: (1 << offset) - 1 }
            }
            _ if port >= UNPRIVILEGED => Ports::range(UNPRIVILEGED, u16::MAX),
            _ => Ports::range(0, UNPRIVILEGED - 1),
        }
    }
}

/// The ways to divide that are known to be in use, with the share of allocators that each is given
/// before anything was seen.
pub const DIVISIONS: &[(Division, f64)] = &[
    // RFC 6056 §3.2.
    (Division::Range(UNPRIVILEGED, u16::MAX), 0.48),
    // RFC 6335 §6, the dynamic ports; Windows, macOS, FreeBSD.
    (Division::Range(49_152, u16::MAX), 0.12),
    // Linux, ip_local_port_range.
    (Division::Range(32_768, 60_999), 0.12),
    (Division::Range(32_768, u16::MAX), 0.01),
    // Windows before Vista.
    (Division::Range(1_025, 5_000), 0.02),
    // Port blocks of carriers, RFC 6888 REQ-14: powers of two, wherever they begin at a multiple.
    (Division::Blocks { from: 0, size: 64 }, 0.015),
    (Division::Blocks { from: 0, size: 128 }, 0.015),
    (Division::Blocks { from: 0, size: 256 }, 0.015),
    (Division::Blocks { from: 0, size: 512 }, 0.015),
    (Division::Blocks { from: 0, size: 1_024 }, 0.015),
    (Division::Blocks { from: 0, size: 2_048 }, 0.015),
    (Division::Blocks { from: 0, size: 4_096 }, 0.015),
    (Division::Blocks { from: 0, size: 8_192 }, 0.015),
    // RFC 7422 §2: the unprivileged ports divided evenly, among 128, 64, 32 and 16 subscribers.
    (Division::Blocks { from: UNPRIVILEGED, size: 504 }, 0.01),
    (Division::Blocks { from: UNPRIVILEGED, size: 1_008 }, 0.01),
    (Division::Blocks { from: UNPRIVILEGED, size: 2_016 }, 0.01),
    (Division::Blocks { from: UNPRIVILEGED, size: 4_032 }, 0.01),
    (Division::Blocks { from: UNPRIVILEGED, size: 2_048 }, 0.01),
    (Division::Blocks { from: 0, size: 1_000 }, 0.01),
    (Division::Blocks { from: 0, size: 2_000 }, 0.01),
    // RFC 7597 §5.1; an offset of 6 bits is its default, 4 bits exclude the ports below 4096.
    (Division::Sets { offset: 6, length: 4 }, 0.01),
    (Division::Sets { offset: 6, length: 6 }, 0.01),
    (Division::Sets { offset: 6, length: 8 }, 0.01),
    (Division::Sets { offset: 4, length: 4 }, 0.01),
    (Division::Sets { offset: 4, length: 6 }, 0.01),
    (Division::Sets { offset: 4, length: 8 }, 0.01),
];

/// The first port that no privilege is needed for.
const UNPRIVILEGED: u16 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_in_its_part_and_at_its_place() {
        for (division, _) in DIVISIONS {
            for port in 0..=u16::MAX {
                let part = division.part(port);
                let place = part.place(port).expect("a port is in its own part");
                assert_eq!(part.port(place), port, "{division:?}");
            }
        }
    }

    #[test]
    fn parts_do_not_overlap() {
        for (division, _) in DIVISIONS {
            for port in (0..=u16::MAX).step_by(97) {
                let part = division.part(port);
                // The rest of a division is a range beside and not within its blocks.
                if part != Division::Range(1, 0).part(port) {
                    assert!(part.iter().all(|other| division.part(other) == part), "{division:?}");
                }
            }
        }
    }

    #[test]
    fn a_port_set_of_rfc_7597_has_a_run_behind_each_offset() {
        // Appendix B's way of counting: offset 4 bits, 8 bits of set 0x34, runs of 16.
        let set = Division::Sets { offset: 4, length: 8 }.part(0x1345);
        assert_eq!((set.first(), set.last(), set.size()), (0x1340, 0xf34f, 240));
        assert_eq!(set.port(16), 0x2340);
        assert_eq!(set.to_string(), "4928-62287, 16 from each 4096");
    }

    #[test]
    fn the_even_ports_of_a_range_are_half_of_it() {
        let even = Ports::range(32_768, 60_999).of_parity(2);
        assert_eq!((even.size(), even.last()), (14_116, 60_998));
        assert_eq!(even.to_string(), "the even ports of 32768-60998");
        assert_eq!(Ports::range(7, 7).of_parity(2), Ports::range(7, 7));
    }

    #[test]
    fn the_shares_make_a_whole() {
        let whole: f64 = DIVISIONS.iter().map(|(_, share)| share).sum();
        assert!((whole - 1.0).abs() < 1e-9, "{whole}");
    }
}
