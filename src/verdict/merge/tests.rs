use proptest::prelude::*;

use super::*;
use crate::capture::testing::openings_in;
use crate::verdict::explain::{Confidence, OpeningCause as Cause};
use crate::wire::{Endpoint, Flags, Segment, Seq};

/// A way between two ends, with points at which it is watched: the first at a's interface, the last at
/// that of b, NATs between.
#[derive(Clone, Debug)]
struct Way {
    /// How long a packet takes from each point to the next, in microseconds.
    hops_us: Vec<u64>,
    /// How far the clock of each point is ahead of the truth, in microseconds, and how much it gains.
    clocks: Vec<(i64, f64)>,
    /// What something between the first two points adds to the numbers of a, and of b.
    shifts: [u32; 2],
    /// Whether packets bear an identification, and a time stamp.
    marks: [bool; 2],
}

/// A packet that an end sends.
#[derive(Clone, Debug)]
struct Sent {
    at_us: u64,
    from: Side,
    segment: Segment,
    /// After how many hops it dies, if it does.
    dies_after: Option<usize>,
    /// Which one it answers: without that it is not sent.
    answers: Option<usize>,
}

const A: [&str; 4] = ["10.0.0.2:7000", "203.0.113.1:7000", "203.0.113.1:7000", "203.0.113.1:7000"];
const B: [&str; 4] =
    ["198.51.100.1:9000", "198.51.100.1:9000", "198.51.100.1:9000", "192.168.1.5:9000"];
const ISN_A: Seq = Seq(1_000_000);
const ISN_B: Seq = Seq(5_000_000);

impl Way {
    fn points(&self) -> usize {
        self.hops_us.len() + 1
    }

    /// How an end is known at a point: a behind its NAT after the first, b behind its own at the last.
    fn end(&self, side: Side, point: usize) -> Endpoint {
        let is_last = point + 1 == self.points();
        let text = match side {
            Side::A => A[point.min(1)],
            Side::B if is_last => B[3],
            Side::B => B[0],
        };
        text.parse().expect("an endpoint")
    }

    /// What each point sees of it, and when by its clock, in nanoseconds.
    fn seen(&self, nth: usize, sent: &Sent) -> Vec<(usize, u64, Packet)> {
        let mut way: Vec<usize> = (0..self.points()).collect();
        if sent.from == Side::B {
            way.reverse();
        }
        let until = sent.dies_after.map_or(way.len(), |hops| hops + 1);
        let mut at_us = sent.at_us;
        let mut seen = Vec::new();
        for (hops, point) in way.into_iter().enumerate().take(until) {
            if hops > 0 {
                let hop = if sent.from == Side::A { point - 1 } else { point };
                at_us += self.hops_us[hop];
            }
            seen.push((point, self.on_clock(point, at_us), self.packet(nth, sent, point, hops)));
        }
        seen
    }

    fn on_clock(&self, point: usize, at_us: u64) -> u64 {
        let (ahead_us, drift_ppm) = self.clocks[point];
        let gained = at_us as f64 * drift_ppm / 1e3;
        let base = 1_700_000_000_000_000_000_i128;
        let nanos =
            base + i128::from(at_us) * 1_000 + i128::from(ahead_us) * 1_000 + gained as i128;
        u64::try_from(nanos).expect("after 1970")
    }

    fn packet(&self, nth: usize, sent: &Sent, point: usize, hops: usize) -> Packet {
        let (from, to) = (self.end(sent.from, point), self.end(sent.from.opposite(), point));
        let mut segment = sent.segment.clone();
        if point > 0 {
            let [of_a, of_b] = self.shifts;
            let (own, other) = if sent.from == Side::A { (of_a, of_b) } else { (of_b, of_a) };
            segment.seq = segment.seq + if segment.is_reset() { 0 } else { own };
            segment.ack =
                if segment.flags.contains(Flags::ACK) { segment.ack + other } else { segment.ack };
        }
        let stamp = if self.marks[1] { 40_000 + u32::try_from(nth).expect("few") * 7 } else { 0 };
        if segment.is_reset() {
            segment.options = crate::wire::Options::default();
        } else if self.marks[1] {
            segment.options = crate::wire::Options::opening(stamp, 0);
        } else {
            segment.options = crate::wire::Options::default();
        }
        let id = if self.marks[0] { 100 + u16::try_from(nth).expect("few") } else { 0 };
        let ttl = 64 - u8::try_from(hops).expect("few");
        Packet { id, ttl, ..Packet::tcp(from, to, segment) }
    }

    /// What the captures at all points have of it, and their spans.
    fn captured(&self, all: &[Sent]) -> (Vec<Part>, BTreeMap<usize, Span>) {
        let mut at_points = vec![Vec::new(); self.points()];
        for (nth, sent) in all.iter().enumerate() {
            for (point, at, packet) in self.seen(nth, sent) {
                let is_end = point == 0 || point + 1 == self.points();
                let from_here = (sent.from == Side::A) == (point == 0);
                at_points[point].push((at, is_end.then_some(!from_here), packet));
            }
        }
        let mut parts = Vec::new();
        let mut spans = BTreeMap::new();
        for (point, mut packets) in at_points.into_iter().enumerate() {
            packets.sort_by_key(|(at, ..)| *at);
            // Captures begin long before, and end long after.
            let (begin, end) = (self.on_clock(point, 0), self.on_clock(point, 400_000_000));
            // A second later, as what makes openings of packets has them begin after 1970.
            let span = [begin, end].map(|at| at + 1_000_000_000);
            let first = span[0] - 60_000_000_000;
            spans.insert(point + 1, Span { first, last: span[1] });
            for opening in openings_in(1_000, &packets) {
                let number = parts.len() as u64 + 1;
                parts.push(Part { capture: point + 1, number, opening });
            }
        }
        (parts, spans)
    }
}

fn sent(at_us: u64, from: Side, segment: Segment) -> Sent {
    Sent { at_us, from, segment, dies_after: None, answers: None }
}

/// Two SYNs that cross, each answered, some of them repeated.
fn crossing() -> Vec<Sent> {
    let (syn_a, syn_b) = (Segment::syn(ISN_A, 0), Segment::syn(ISN_B, 0));
    let answer_a = Segment::syn_ack(ISN_A, ISN_B + 1, 0, 0);
    let answer_b = Segment::syn_ack(ISN_B, ISN_A + 1, 0, 0);
    vec![
        sent(1_000_000, Side::A, syn_a),
        sent(1_001_000, Side::B, syn_b),
        Sent { answers: Some(1), ..sent(1_300_000, Side::A, answer_a) },
        Sent { answers: Some(0), ..sent(1_301_000, Side::B, answer_b) },
        Sent { answers: Some(3), ..sent(1_600_000, Side::A, Segment::ack(ISN_A + 1, ISN_B + 1)) },
        Sent { answers: Some(2), ..sent(1_601_000, Side::B, Segment::ack(ISN_B + 1, ISN_A + 1)) },
    ]
}

/// SYNs of a that are repeated, and a reset for each.
fn refused() -> Vec<Sent> {
    let syn = Segment::syn(ISN_A, 0);
    let reset = syn.reset_in_answer();
    let tries = (0..3).flat_map(|nth| {
        let at = 1_000_000 << nth;
        let answer = sent(at + 300_000, Side::B, reset.clone());
        let answers = usize::try_from(nth * 2).ok();
        [sent(at, Side::A, syn.clone()), Sent { answers, ..answer }]
    });
    tries.collect()
}

fn any_way() -> impl Strategy<Value = Way> {
    (2_usize..=4).prop_flat_map(|points| {
        let hops = proptest::collection::vec(100_u64..60_000, points - 1);
        let clock = (-100_000_000_i64..100_000_000, -100.0..100.0_f64);
        let clocks = proptest::collection::vec(clock, points);
        (hops, clocks, any::<bool>(), any::<[bool; 2]>()).prop_map(
            |(hops_us, clocks, rewrites, mut marks)| {
                // Without a time stamp nothing tells a connection whose numbers were rewritten.
                let shifts = if rewrites { [77_777_777, 4_000_000_123] } else { [0, 0] };
                marks[1] |= rewrites;
                Way { hops_us, clocks, shifts, marks }
            },
        )
    })
}

fn with_losses(mut all: Vec<Sent>, losses: &[(usize, usize)], points: usize) -> Vec<Sent> {
    for (which, hops) in losses {
        let nth = which % all.len();
        all[nth].dies_after = Some(hops % (points - 1));
    }
    let mut is_sent = vec![true; all.len()];
    for nth in 0..all.len() {
        let has_come = |other: usize| is_sent[other] && all[other].dies_after.is_none();
        is_sent[nth] = all[nth].answers.is_none_or(has_come);
    }
    let mut keep = is_sent.into_iter();
    all.retain(|_| keep.next() == Some(true));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_said_of_a_packet_is_so(
        way in any_way(),
        scene in 0..2_usize,
        losses in proptest::collection::vec((0..100_usize, 0..100_usize), 0..3),
    ) {
        let all = if scene == 0 { crossing() } else { refused() };
        let all = with_losses(all, &losses, way.points());
        let (parts, spans) = way.captured(&all);
        for merged in merge(&parts, &spans) {
            check_points(&way, &merged)?;
            // With points missing the places are others than those of the way.
            if merged.points.len() == way.points() && merged.points.iter().all(|point| point.matched_by != MatchedBy::Ports) {
                check_fates(&way, &all, &merged)?;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// One packet that each capture has missed is no packet that was lost on the way, nor one that was made
    /// there.
    #[test]
    fn what_a_capture_has_missed_makes_no_other_diagnosis(
        way in any_way(),
        scene in 0..2_usize,
        missed in proptest::collection::vec(0..100_usize, 4),
    ) {
        let way = Way { shifts: [0, 0], marks: [true, true], ..way };
        let all = if scene == 0 { crossing() } else { refused() };
        let (mut parts, spans) = way.captured(&all);
        for (part, missed) in parts.iter_mut().zip(&missed) {
            let packets = &mut part.opening.packets;
            if packets.len() > 1 {
                packets.remove(missed % packets.len());
            }
        }
        for merged in merge(&parts, &spans) {
            for found in &merged.diagnosis {
                // What a point alone has found with a packet missing is for the tests of one capture.
                let is_right = match scene {
                    0 => merged.outcome == ConnectionOutcome::Open || found.confidence == Confidence::Likely,
                    _ => true,
                };
                let made_up = [Cause::MiddleboxReset, Cause::SynProxy, Cause::TransparentProxy, Cause::IcmpError];
                prop_assert!(is_right && !made_up.contains(&found.cause), "{found:?}");
                let lost = [Cause::SynLost, Cause::SynAckLost, Cause::AckLost];
                let is_lost = lost.contains(&found.cause) && found.confidence == Confidence::Certain;
                prop_assert!(!is_lost, "{found:?}");
            }
        }
    }
}

fn check_points(way: &Way, merged: &Merged) -> Result<(), TestCaseError> {
    let captures: Vec<_> = merged.points.iter().map(|point| point.capture).collect();
    let mut ordered = captures.clone();
    ordered.sort_unstable();
    let reversed: Vec<_> = ordered.iter().rev().copied().collect();
    prop_assert!(captures == ordered || captures == reversed, "{captures:?}");
    let first = merged.points[0].capture - 1;
    for point in &merged.points {
        let Some(clock) = point.clock else { continue };
        let at_us = 1_000_000;
        let truth = i128::from(way.on_clock(point.capture - 1, at_us))
            - i128::from(way.on_clock(first, at_us));
        let off_us = (truth as f64 / 1e3 - clock.ahead_us).abs();
        // Both clocks gain until the moment that is asked for; and a microsecond for what is rounded.
        prop_assert!(off_us <= clock.error_us + 1.0 + 0.2 * 2e-4 * 4e6, "{off_us} {clock:?}");
    }
    Ok(())
}

fn check_fates(way: &Way, all: &[Sent], merged: &Merged) -> Result<(), TestCaseError> {
    let is_reversed = merged.points[0].capture > 1;
    // Which of repetitions that look alike passed is not to be known without a clock.
    if merged.points.iter().any(|point| point.clock.is_none()) && way.marks == [false; 2] {
        return Ok(());
    }
    for packet in &merged.packets {
        let first = &packet.passed[0];
        let capture = merged.points[first.point - 1].capture;
        let from = if is_reversed { packet.from.opposite() } else { packet.from };
        prop_assert_eq!(packet.made_between, None, "{:?}", packet);
        // Which one it was, by the order in which its end sent those of its look.
        let nth = merged
            .packets
            .iter()
            .filter(|other| other.from == packet.from)
            .position(|other| std::ptr::eq(other, packet));
        let mut own: Vec<_> = all.iter().filter(|sent| sent.from == from).collect();
        own.sort_by_key(|sent| sent.at_us);
        let truth = own[nth.expect("it is one of them")];
        let hops = packet.passed.len() - 1;
        let true_hops = truth.dies_after.unwrap_or(way.points() - 1);
        prop_assert_eq!(hops, true_hops, "{:?} at {}: {:#?}", truth, capture, packet);
        match packet.fate {
            PacketFate::Died => prop_assert!(truth.dies_after.is_some(), "{packet:?}"),
            PacketFate::Arrived => prop_assert_eq!(truth.dies_after, None),
            // The captures are whole: what arrived was seen.
            PacketFate::ArrivedUnseen => prop_assert!(false, "{:?}", packet),
            PacketFate::Unknown => {
                let is_timed = merged.points.iter().all(|point| point.clock.is_some());
                prop_assert!(!is_timed || !truth.segment.flags.contains(Flags::SYN));
            }
        }
    }
    Ok(())
}

fn plain_way(points: usize) -> Way {
    Way {
        hops_us: vec![10_000; points - 1],
        clocks: vec![(0, 0.0), (5_000_000, 20.0), (-3_000_000, 0.0), (1, 0.0)][..points].to_vec(),
        shifts: [0, 0],
        marks: [true, true],
    }
}

fn merged(way: &Way, all: &[Sent]) -> Merged {
    let (parts, spans) = way.captured(all);
    merge(&parts, &spans).remove(0)
}

#[test]
fn a_crossing_seen_at_four_points_is_one() {
    let one = merged(&plain_way(4), &crossing());
    assert_eq!((one.opening, one.outcome), (Opening::Crossed, ConnectionOutcome::Open));
    assert_eq!(one.points.len(), 4);
    assert_eq!(one.packets.len(), 6);
    assert!(one.packets.iter().all(|packet| packet.fate == PacketFate::Arrived));
    assert_eq!(one.diagnosis, []);
}

#[test]
fn a_syn_ack_that_a_nat_lets_not_out_died_there() {
    let mut all = crossing();
    let again = all[3].clone();
    all.truncate(4);
    all.push(Sent { at_us: 2_300_000, ..all[2].clone() });
    all.push(Sent { at_us: 2_301_000, ..again });
    for sent in all.iter_mut().filter(|sent| sent.segment.is_syn_ack()) {
        // Between the point behind each NAT and the one before it.
        sent.dies_after = Some(0);
    }
    let one = merged(&plain_way(4), &all);
    let found = &one.diagnosis[0];
    assert_eq!((found.cause, found.side), (Cause::SynAckLost, Some(Side::A)));
    assert_eq!(found.between, Some([1, 2]));
    assert!(found.because.starts_with("the SYNs crossed; "), "{}", found.because);
}

#[test]
fn syns_that_all_die_at_one_place_are_filtered() {
    let syn = Segment::syn(ISN_A, 0);
    let mut all: Vec<_> = (1..=5).map(|nth| sent(nth * 1_000_000, Side::A, syn.clone())).collect();
    // What a answers to the SYN of b dies as well.
    all.push(sent(5_500_000, Side::A, Segment::syn_ack(ISN_A, ISN_B + 1, 0, 0)));
    all.iter_mut().for_each(|sent| sent.dies_after = Some(1));
    all.push(sent(5_300_000, Side::B, Segment::syn(ISN_B, 0)));
    let one = merged(&plain_way(3), &all);
    let found = &one.diagnosis[0];
    assert_eq!((found.cause, found.between), (Cause::SynLost, Some([2, 3])), "{one:#?}");
    assert!(found.because.contains("all 5 SYNs of a") && found.because.contains("accident"));
}

#[test]
fn a_reset_that_no_end_has_sent_was_made_between() {
    let way = plain_way(2);
    let (mut parts, spans) = way.captured(&refused());
    // b's end has sent none of the resets, nor anything else.
    parts[1].opening.packets.retain(|kept| kept.from_a);
    let one = merge(&parts, &spans).remove(0);
    let found = &one.diagnosis[0];
    assert_eq!((found.cause, found.between), (Cause::MiddleboxReset, Some([1, 2])));
}

#[test]
fn a_syn_that_came_too_early_is_told_by_how_much_on_the_clock_of_its_receiver() {
    let (syn_a, syn_b) = (Segment::syn(ISN_A, 0), Segment::syn(ISN_B, 0));
    let all = vec![
        sent(1_000_000, Side::A, syn_a.clone()),
        sent(1_010_100, Side::B, syn_a.reset_in_answer()),
        sent(1_022_500, Side::B, syn_b.clone()),
        sent(1_032_600, Side::A, syn_b.reset_in_answer()),
    ];
    let one = merged(&plain_way(2), &all);
    let found = &one.diagnosis[0];
    assert_eq!((found.cause, found.side), (Cause::MissedWindow, Some(Side::A)));
    assert!(found.because.contains("arrived 12.500 ms before b sent its own"), "{}", found.because);
}

#[test]
fn numbers_that_are_rewritten_are_named_with_their_place() {
    let one = merged(&Way { shifts: [77, 99], ..plain_way(3) }, &crossing());
    assert_eq!((one.opening, one.outcome), (Opening::Crossed, ConnectionOutcome::Open));
    let found = &one.diagnosis[0];
    assert_eq!((found.cause, found.between), (Cause::Rewritten, Some([1, 2])));
    assert!(
        found.because.contains("initial sequence number of a became 1000077"),
        "{}",
        found.because
    );
    assert_eq!(one.points[1].matched_by, MatchedBy::TimeStamps);
}

#[test]
fn ends_of_which_no_packet_passed_are_matched_by_their_ports_and_no_clock_is_told() {
    let (syn_a, syn_b) = (Segment::syn(ISN_A, 0), Segment::syn(ISN_B, 0));
    let mut all: Vec<_> = (1..=4)
        .flat_map(|nth| {
            [
                sent(nth * 1_000_000, Side::A, syn_a.clone()),
                sent(nth * 1_000_000 + 5_000, Side::B, syn_b.clone()),
            ]
        })
        .collect();
    all.iter_mut().for_each(|sent| sent.dies_after = Some(0));
    let way = Way { clocks: vec![(0, 0.0), (50_000, 0.0)], ..plain_way(2) };
    let one = merged(&way, &all);
    assert_eq!(one.points[1].matched_by, MatchedBy::Ports);
    assert_eq!(one.points[1].clock, None);
    let found = &one.diagnosis[0];
    assert_eq!((found.cause, found.side, found.between), (Cause::SynLost, None, Some([1, 2])));
    assert!(!one.unknown.is_empty());
}

#[test]
fn a_packet_that_nobody_watched_for_has_an_unknown_fate() {
    let syn = Segment::syn(ISN_A, 0);
    let mut all: Vec<_> = (1..=3).map(|nth| sent(nth * 1_000_000, Side::A, syn.clone())).collect();
    all[0].dies_after = Some(0);
    let way = plain_way(2);
    let (parts, mut spans) = way.captured(&all);
    let began = parts[1].opening.packets[0].at - 1_000;
    spans.insert(2, Span { first: began, last: began + 60_000_000_000 });
    let one = merge(&parts, &spans).remove(0);
    assert_eq!(one.packets[0].fate, PacketFate::Unknown);
    assert!(one.packets[1..].iter().all(|packet| packet.fate == PacketFate::Arrived));
}
