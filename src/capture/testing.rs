//! Openings out of traces as text, by the same way as those out of captures.

use super::{Batch, Frame, Opening, Openings, Screen};
use crate::wire::{self, Packet};

/// The openings of these packets, each at so many milliseconds.
pub fn openings_of(packets: &[(u64, String)]) -> Vec<Opening> {
    openings_of_at_most(1_000, packets)
}

/// The same, if at most so many may be under way at once.
pub fn openings_of_at_most(most: usize, packets: &[(u64, String)]) -> Vec<Opening> {
    let frames = packets.iter().map(|(at, line)| {
        let packet: Packet = line.parse().unwrap_or_else(|why| panic!("{line}: {why}"));
        (at * 1_000_000, None, packet)
    });
    openings_in(most, &frames.collect::<Vec<_>>())
}

/// The openings of packets, each at so many nanoseconds, that came in or left, if that is known.
pub fn openings_in(most: usize, packets: &[(u64, Option<bool>, Packet)]) -> Vec<Opening> {
    openings_watched(most, packets, |_| ())
}

/// The same, with a look at what is under way after each packet.
pub fn openings_watched(
    most: usize,
    packets: &[(u64, Option<bool>, Packet)],
    mut look: impl FnMut(&Openings),
) -> Vec<Opening> {
    let mut openings = Openings::new(most);
    let mut screen = Screen::new();
    let mut batch = Batch::default();
    let mut decided = Vec::new();
    for (place, (at, inbound, packet)) in packets.iter().enumerate() {
        let octets = wire::encode(packet);
        let frame = Frame {
            number: place as u64 + 1,
            // Captures begin some time after 1970.
            at: at + 1_000_000_000,
            interface: 0,
            link: 101,
            inbound: *inbound,
            octets: &octets,
            length: octets.len(),
        };
        screen.take(&frame, &mut batch);
        openings.take(&mut batch);
        look(&openings);
        screen.take_back(&mut batch);
        decided.extend(std::iter::from_fn(|| openings.decided()));
    }
    let last = packets.iter().map(|(at, ..)| at + 1_000_000_000).max();
    openings.end(last.unwrap_or_default());
    decided.extend(std::iter::from_fn(|| openings.decided()));
    decided
}
