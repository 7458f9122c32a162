//! Openings out of traces as text and out of files, by the same way as those out of captures.

use super::{Batch, Frame, Frames, Next, Opening, Openings, Screen};
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
    look: impl FnMut(&Openings),
) -> Vec<Opening> {
    let frames = packets.iter().map(|(at, inbound, packet)| {
        let octets = wire::encode(packet);
        let length = octets.len();
        // Captures begin some time after 1970.
        (at + 1_000_000_000, Stored { interface: 0, link: 101, inbound: *inbound, octets, length })
    });
    openings_looked_at(most, &frames.collect::<Vec<_>>(), look)
}

/// A frame of a file, but for its time.
#[derive(Clone, Debug)]
pub struct Stored {
    interface: u32,
    link: i32,
    inbound: Option<bool>,
    octets: Vec<u8>,
    length: usize,
}

/// The frames of a whole file, each with its time.
pub fn frames_of(file: &[u8]) -> Vec<(u64, Stored)> {
    let (mut frames, mut rest, mut stored) = (Frames::default(), file, Vec::new());
    loop {
        let (next, used) = frames.next(rest);
        let used = match next {
            Next::Frame(frame) => {
                let Frame { interface, link, inbound, length, .. } = frame;
                let octets = frame.octets.to_vec();
                stored.push((frame.at, Stored { interface, link, inbound, octets, length }));
                used
            }
            Next::Nameless => used,
            Next::Other(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Next::More | Next::Broken(_) => return stored,
        };
        rest = &rest[used.min(rest.len())..];
    }
}

/// The openings among these frames, each with its time in nanoseconds since 1970.
pub fn openings_among(most: usize, frames: &[(u64, Stored)]) -> Vec<Opening> {
    openings_looked_at(most, frames, |_| ())
}

fn openings_looked_at(
    most: usize,
    frames: &[(u64, Stored)],
    mut look: impl FnMut(&Openings),
) -> Vec<Opening> {
    let mut openings = Openings::new(most);
    let mut screen = Screen::new();
    let mut batch = Batch::default();
    let mut decided = Vec::new();
    for ((at, stored), number) in frames.iter().zip(1..) {
        let Stored { interface, link, inbound, length, .. } = *stored;
        let (at, octets) = (*at, &stored.octets[..]);
        let frame = Frame { number, at, is_timed: true, interface, link, inbound, octets, length };
        screen.take(&frame, &mut batch);
        openings.take(&mut batch);
        look(&openings);
        screen.take_back(&mut batch);
        decided.extend(std::iter::from_fn(|| openings.decided().cloned()));
    }
    let last = frames.iter().map(|(at, _)| *at).max();
    openings.end(last.unwrap_or_default());
    decided.extend(std::iter::from_fn(|| openings.decided().cloned()));
    decided
}
