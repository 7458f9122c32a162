use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::capture::{Batch, Evidence, Screen, write};

/// The frames of a file, handed in so many octets at a time, and what was wrong with it.
fn frames(octets: &[u8], step: usize) -> (Vec<(u64, Vec<u8>)>, Option<Flaw>) {
    let mut reader = Frames::default();
    let (mut all, mut from, mut to) = (Vec::new(), 0, 0);
    loop {
        let (next, used) = reader.next(&octets[from.min(to)..to]);
        from += used;
        match next {
            Next::Frame(frame) => all.push((frame.at, frame.octets.to_vec())),
            Next::Nameless => all.push((0, Vec::new())),
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

/// A block of pcapng, in the byte order of this file's other parts.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short") + 12;
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), body, &length.to_le_bytes()].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A section with one interface, in microseconds.
fn one_interface() -> Vec<u8> {
    let header = [words(&[0x1a2b_3c4d, 1]), vec![0xff; 8]].concat();
    [block(0x0a0d_0d0a, &header), block(1, &words(&[101, 0]))].concat()
}

#[test]
fn packets_of_old_blocks_have_a_time_and_a_direction() {
    // Interface 0, two drops, a time, four octets of five, then the flags of what left.
    let body =
        [words(&[2 << 16, 0, 3_000_000, 4, 5]), b"abcd".to_vec(), vec![2, 0, 4, 0, 2, 0, 0, 0]];
    let file = [one_interface(), block(2, &body.concat())].concat();
    let mut reader = Frames::default();
    let mut rest = &file[..];
    let frame = loop {
        match reader.next(rest) {
            (Next::Frame(frame), _) => break frame,
            (next, used) => {
                assert!(matches!(next, Next::Other(_)), "{next:?}");
                rest = &rest[used..];
            }
        }
    };
    assert_eq!(
        (frame.number, frame.at, frame.octets, frame.length),
        (1, 3_000_000_000, &b"abcd"[..], 5)
    );
    assert_eq!((frame.interface, frame.link, frame.inbound), (0, 101, Some(false)));
    // One that claims more than it has.
    let bad = [one_interface(), block(2, &words(&[0, 0, 0, 9, 9, 0]))].concat();
    assert_eq!(frames(&bad, 1000).1.map(|flaw| flaw.what), Some(FlawKind::BadBlock));
}

#[test]
fn a_packet_without_a_time_is_as_late_as_the_one_before_and_one_without_an_interface_is_counted() {
    let simple = block(3, &[words(&[3]), b"xyz\0".to_vec()].concat());
    let enhanced =
        |interface| block(6, &[words(&[interface, 0, 7_000_000, 4, 4]), b"abcd".to_vec()].concat());
    let file = [one_interface(), simple.clone(), enhanced(0), enhanced(9), simple].concat();
    let (read, flaw) = frames(&file, 5);
    let at: Vec<_> = read.iter().map(|(at, octets)| (*at, &octets[..])).collect();
    let expected: [(u64, &[u8]); 4] =
        [(0, b"xyz"), (7_000_000_000, b"abcd"), (0, b""), (7_000_000_000, b"xyz")];
    assert_eq!((&at[..], flaw), (&expected[..], None));
    let mut screen = Screen::new();
    screen.read(&file, &mut Batch::default());
    let surveyed = screen.end(&[]);
    assert_eq!((surveyed.frames, surveyed.untimed, surveyed.nameless), (4, 2, 1));
    assert_eq!((surveyed.first, surveyed.last), (Some(7_000_000_000), Some(7_000_000_000)));
}

#[test]
fn a_header_that_is_cut_says_where() {
    let file = classic(false, 0xa1b2_c3d4, &[]);
    for kept in [4, 13, 23] {
        let flaw = frames(&file[..kept], 7).1.expect("cut");
        let expected = format!("octet 0: the header of the capture is cut short at octet {kept}");
        assert_eq!(flaw.to_string(), expected);
    }
    assert_eq!(frames(&file, 7).1, None);
    assert_eq!(
        frames(&one_interface()[..20], 7).1.map(|flaw| flaw.what),
        Some(FlawKind::HeaderCut(20))
    );
}

#[test]
fn a_run_is_what_comes_one_after_the_other_up_to_what_is_none() {
    let whole = classic(true, 0xa1b2_c3d4, &[(3, 7, b"abc"), (4, 0, b""), (5, 1, b"defg")]);
    for kept in 24..=whole.len() {
        let (mut reader, file) = (Frames::default(), &whole[..kept]);
        assert_eq!(reader.run(file, |_| panic!("no header was read")), Run::default());
        assert_eq!(reader.next(file), (Next::Other(24), 24));
        let mut seen = Vec::new();
        let used = 24 + reader.run(&file[24..], |frame| seen.push((frame.number, frame.at))).used;
        let expected: Vec<_> =
            (1..).zip(frames(file, 1_000).0).map(|(n, (at, _))| (n, at)).collect();
        assert_eq!(seen, expected);
        assert_eq!(reader.next(&file[used..]), (Next::More, 0));
        assert_eq!(reader.end(&file[used..]), frames(file, 1_000).1);
    }
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
