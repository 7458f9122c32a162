//! The evidence file: a run ↔ the octets of a pcapng file that Wireshark opens.
//!
//! One interface stands for each place where packets were seen, one frame for each record, in the
//! order of the trace, so that a frame's number is its place in the trace plus one. A frame's
//! comment says which probe caused it. What packets do not show, the facts, stands in comments of
//! the section header: the one place that Wireshark shows, and that editcap, mergecap and
//! `tshark -w` all carry over however many frames they leave out.
//!
//! The format is that of draft-ietf-opsawg-pcapng; link type 101 is raw IPv4 or IPv6.

mod annotate;
mod batch;
mod error;
mod facts;
mod frames;
mod kept;
mod label;
mod openings;
mod read;
mod screen;
#[cfg(test)]
pub(crate) mod testing;
mod write;

use crate::engine::Run;
use crate::time::Duration;

pub use annotate::Annotator;
pub use batch::Batch;
pub use error::{Error, Problem};
pub use frames::{Flaw, FlawKind, Frame, Frames, Next};
pub use kept::Kept;
pub use openings::{Burst, Call, Ending, Hearsay, Opening, Openings};
pub use read::read;
pub use screen::{Screen, Surveyed};
pub use write::write;

/// What an evidence file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The run.
    pub run: Run,
    /// When it began, since 1970-01-01 UTC; zero if that is not known or does not matter.
    pub started: Duration,
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{Effort, Fact, Place, Record, Trouble};
    use crate::time::Instant;
    use crate::wire::control::{ProbeId, Volley};
    use crate::wire::testing::any_packet;

    proptest! {
        #[test]
        fn what_was_written_reads_back_the_same(evidence in any_evidence(), prose in "\\PC{0,40}") {
            let octets = write(&evidence, &|index| (index % 2 == 0).then(|| prose.clone()));
            prop_assert_eq!(read(&octets), Ok(evidence));
        }

        #[test]
        fn arbitrary_octets_never_panic(octets in vec(any::<u8>(), 0..400)) {
            let _ = read(&octets);
        }

        #[test]
        fn a_file_cut_short_is_an_error_or_a_shorter_trace(evidence in any_evidence(), keep in any::<prop::sample::Index>()) {
            let octets = write(&evidence, &|_| None);
            let kept = keep.index(octets.len());
            if let Ok(read) = read(&octets[..kept]) {
                prop_assert!(evidence.run.trace.starts_with(&read.run.trace));
            }
        }

        #[test]
        fn flipped_octets_never_panic(evidence in any_evidence(), flips in vec(any::<(prop::sample::Index, u8)>(), 1..8)) {
            let mut octets = write(&evidence, &|_| None);
            let length = octets.len();
            flips.iter().for_each(|(at, to)| octets[at.index(length)] = *to);
            let _ = read(&octets);
        }
    }

    #[test]
    fn facts_too_long_for_one_comment_read_back() {
        let what = "long – ".repeat(40_000);
        let mut evidence = Evidence::default();
        evidence.run.facts.push((Instant::START, Fact::Trouble(Trouble::Host { what })));
        assert_eq!(read(&write(&evidence, &|_| None)), Ok(evidence));
    }

    #[test]
    fn a_time_beyond_all_that_can_be_written_is_the_last_that_can() {
        let packet = "192.0.2.1:1 > 192.0.2.2:2 S 1:1(0) win 9 ttl 6 id 5";
        let record = Record {
            at: Instant::from_nanos(5_000_000_000_000),
            place: Place::Prober,
            inbound: true,
            probe: None,
            volley: None,
            packet: packet.parse().expect("a packet"),
        };
        let mut evidence =
            Evidence { started: Duration::from_secs(1_700_000_000), ..Default::default() };
        evidence.run.trace.push(record);
        let mut octets = write(&evidence, &|_| None);
        // The option of the timestamps' resolution, from nanoseconds to seconds.
        let resolution = [9, 0, 1, 0, 9];
        let at = octets.windows(5).position(|part| part == resolution).expect("an interface");
        octets[at + 4] = 0;
        let read_once = read(&octets).expect("a capture");
        assert!(read_once.run.trace[0].at > Instant::from_nanos(10_000_000_000_000_000_000));
        assert_eq!(read(&write(&read_once, &|_| None)), Ok(read_once));
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        let classic = read(b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00").expect_err("not pcapng");
        assert_eq!(classic.to_string(), "octet 0: this is a classic pcap file");
        assert!(classic.hint().contains("no room"));
        let empty = read(b"").expect_err("nothing there");
        assert_eq!(empty.to_string(), "octet 0: the file is empty");
        let mut octets = write(&Evidence::default(), &|_| None);
        let whole = octets.len();
        octets.extend([6, 0, 0, 0, 64, 0]);
        let cut = read(&octets).expect_err("the last block is cut short");
        assert_eq!(cut.to_string(), format!("octet {whole}: the file ends inside a block"));
    }

    fn any_evidence() -> impl Strategy<Value = Evidence> {
        (vec(any_record(), 0..8), vec((any_instant(), any_fact()), 0..6), any::<u32>()).prop_map(
            |(trace, facts, started)| Evidence {
                run: Run { trace, facts },
                started: Duration::new(started.into(), started / 5),
            },
        )
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let place = prop_oneof![Just(Place::Prober), any::<u8>().prop_map(Place::Reflector)];
        let probe = any::<Option<u16>>().prop_map(|probe| probe.map(ProbeId));
        let volley = any::<Option<u16>>().prop_map(|volley| volley.map(Volley));
        (any_instant(), place, any::<bool>(), probe, volley, any_packet()).prop_map(
            |(at, place, inbound, probe, volley, packet)| Record {
                at,
                place,
                inbound,
                probe,
                volley,
                packet,
            },
        )
    }

    fn any_fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            (any::<u64>(), any::<[u8; 16]>(), any::<u64>()).prop_map(|(seed, address, longest)| {
                Fact::Planned {
                    effort: Effort::Quick,
                    longest: Duration::from_nanos(longest),
                    internal: vec![address.into()],
                    seed,
                    round_trips: 3,
                }
            }),
            any_instant().prop_map(|until| Fact::ListenedUntil { until }),
            Just(Fact::Complete),
            any::<String>().prop_map(|what| Fact::Trouble(Trouble::Host { what })),
        ]
    }

    /// Any moment of a run of up to 146 years; with a start in the last century before 2106 it
    /// still fits the format's 64 bits of nanoseconds.
    fn any_instant() -> impl Strategy<Value = Instant> {
        (0..1u64 << 62).prop_map(Instant::from_nanos)
    }
}
