use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::capture::{Evidence, write};

/// The frames of a file, handed in so many octets at a time, and what was wrong with it.
fn frames(octets: &[u8], step: usize) -> (Vec<(u64, Vec<u8>)>, Option<Flaw>) {
    let mut reader = Frames::default();
    let (mut all, mut from, mut to) = (Vec::new(), 0, 0);
    loop {
        let (next, used) = reader.next(&octets[from.min(to)..to]);
        from += used;
        match next {
            Next::Frame(frame) => all.push((frame.at, frame.octets.to_vec())),
            Next::Other(length) => from += usize::try_from(length).expect("small") - used,
            Next::Broken(flaw) => return (all, Some(flaw)),
            Next::More if to == octets.len() => return (all, reader.end(&octets[from.min(to)..])),
            Next::More => to = (to + step).min(octets.len()),
        }
    }
}

fn classic(big_endian: bool, magic: u32, frames: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let word = |number: u32| match big_endian {
        true => number.to_be_bytes(),
        false => number.to_le_bytes(),
    };
    let half = |number: u16| match big_endian {
        true => number.to_be_bytes(),
        false => number.to_le_bytes(),
    };
    let mut octets = word(magic).to_vec();
    octets.extend([half(2), half(4)].concat());
    octets.extend([0, 0, 65_535, 1].map(word).concat());
    for (seconds, fraction, data) in frames {
        let length = u32::try_from(data.len()).expect("short");
        octets.extend([*seconds, *fraction, length, length].map(word).concat());
        octets.extend(*data);
    }
    octets
}

#[test]
fn classic_captures_are_read_in_both_byte_orders_and_both_units() {
    for big_endian in [false, true] {
        for (magic, nanos) in [(0xa1b2_c3d4, 7_000), (0xa1b2_3c4d, 7)] {
            let file = classic(big_endian, magic, &[(3, 7, b"abc"), (4, 0, b"")]);
            let expected = vec![(3_000_000_000 + nanos, b"abc".to_vec()), (4_000_000_000, vec![])];
            for step in [1, 5, 1000] {
                assert_eq!(frames(&file, step), (expected.clone(), None));
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_or_damaged_says_where() {
    let file = classic(false, 0xa1b2_c3d4, &[(3, 7, b"abc"), (4, 0, b"defg")]);
    let (read, flaw) = frames(&file[..file.len() - 1], 7);
    assert_eq!(read.len(), 1);
    assert_eq!(flaw.expect("cut").to_string(), "octet 43: the file ends inside a frame");
    let mut long = file.clone();
    long[24 + 8 + 3] = 9;
    let (read, flaw) = frames(&long, 1000);
    assert_eq!((read.len(), flaw.map(|flaw| flaw.offset)), (0, Some(24)));
    assert_eq!(frames(b"", 1).1.map(|flaw| flaw.what), Some(FlawKind::Empty));
    assert_eq!(frames(b"hello, world", 1).1.map(|flaw| flaw.what), Some(FlawKind::NotACapture));
}

#[test]
fn sections_may_follow_each_other_in_different_byte_orders() {
    let block = |big: bool, kind: u32, body: &[u8]| {
        let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let length = word(u32::try_from(body.len()).expect("short") + 12);
        [&word(kind)[..], &length, body, &length].concat()
    };
    let section = |big: bool, resolution: u8, offset: i64| {
        let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let half = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let long = |number: i64| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let header = [&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat();
        let options =
            [&half(9)[..], &half(1), &[resolution, 0, 0, 0], &half(14), &half(8)].concat();
        let interface = [&half(101)[..], &half(0), &word(0), &options, &long(offset)].concat();
        let secrets = block(big, 10, &[0; 64]);
        let packet = [word(0), word(0), word(1 << 20), word(3), word(3), *b"xyz\0"].concat();
        let blocks = [
            block(big, 0x0a0d_0d0a, &header),
            block(big, 1, &interface),
            secrets,
            block(big, 6, &packet),
        ];
        blocks.concat()
    };
    // Units of 2⁻²⁰ seconds, and of microseconds with an offset.
    let file = [section(true, 0x80 | 20, 0), section(false, 6, 100)].concat();
    let (read, flaw) = frames(&file, 3);
    assert_eq!(flaw, None);
    let at: Vec<_> = read.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [1_000_000_000, 101_048_576_000]);
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in vec(any::<u8>(), 0..300), start in 0usize..4) {
        let starts: [&[u8]; 4] = [b"", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a", b"\xa1\xb2\x3c\x4d"];
        let _ = frames(&[starts[start], &octets].concat(), 64);
    }

    #[test]
    fn flipped_octets_never_panic(flips in vec(any::<(prop::sample::Index, u8)>(), 1..8)) {
        let mut octets = write(&Evidence::default(), &|_| None);
        let length = octets.len();
        flips.iter().for_each(|(at, to)| octets[at.index(length)] = *to);
        let _ = frames(&octets, 1000);
    }
}
