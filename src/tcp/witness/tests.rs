//! The witness against the ways in which connections open, one a test, over IPv4 and IPv6 alike.
//!
//! A line is a time in seconds, the end at whose interface the packet was seen, `>` if it left there
//! or `<` if it came in, and the segment without what does not matter here: ports, window, TTL.
//! `A < icmp unreachable seq 100` is an ICMP error about what A sent.

mod agree;
mod attempts;

use super::*;
use crate::tcp::State::{Closed, Established, Listen, SynReceived, SynSent};

const CROSSED_BY_A: Opening = Opening::HalfCrossed { crossed_syn: Side::A };
const CROSSED_BY_B: Opening = Opening::HalfCrossed { crossed_syn: Side::B };
/// The SYN of A crossed; that of B perhaps.
const PERHAPS_CROSSED_TOO_BY_B: Opening = Opening::CrossedOrHalfCrossed { crossed_syn: Side::A };
const PERHAPS_CROSSED_TOO_BY_A: Opening = Opening::CrossedOrHalfCrossed { crossed_syn: Side::B };

/// P1: RFC 9293 §3.5 figure 7.
const FIGURE_7_AT_A: &str = "
    0.000 A > S 100:100(0)
    0.040 A < S 300:300(0)
    0.040 A > S. 100:100(0) ack 301
    0.090 A < S. 300:300(0) ack 101";

const FIGURE_7_AT_B: &str = "
    0.000 B > S 300:300(0)
    0.050 B < S 100:100(0)
    0.050 B > S. 300:300(0) ack 101
    0.100 B < S. 100:100(0) ack 301";

/// P4, where the SYN of A was lost.
const HALF_AT_A: &str = "
    0.000 A > S 100:100(0)
    0.040 A < S 300:300(0)
    0.040 A > S. 100:100(0) ack 301
    0.140 A < . 301:301(0) ack 101";

const HALF_AT_B: &str = "
    0.000 B > S 300:300(0)
    0.100 B < S. 100:100(0) ack 301
    0.100 B > . 301:301(0) ack 101";

const CONNECTING_A: &str = "
    0.000 A > S 100:100(0)
    0.100 A < S. 300:300(0) ack 101
    0.100 A > . 101:101(0) ack 301";

const LISTENING_B: &str = "
    0.050 B < S 100:100(0)
    0.050 B > S. 300:300(0) ack 101
    0.150 B < . 101:101(0) ack 301";

#[test]
fn figure_7_is_crossed_from_either_end_and_from_both() {
    for trace in [FIGURE_7_AT_A, FIGURE_7_AT_B, &both(FIGURE_7_AT_A, FIGURE_7_AT_B)] {
        assert_eq!(opened(trace), Opening::Crossed, "{trace}");
    }
}

#[test]
fn acks_with_a_d_sack_of_the_syn_follow_a_crossing_of_linux() {
    let rest = "
        0.090 A > . 101:101(0) ack 301 <0x0101050a0000012c0000012d>
        0.140 A < . 301:301(0) ack 101 <0x0101050a0000006400000065>";
    assert_eq!(opened(&both(FIGURE_7_AT_A, rest)), Opening::Crossed);
}

#[test]
fn challenge_acks_follow_a_crossing_of_older_linux() {
    let rest = "
        0.090 A > . 101:101(0) ack 301
        0.140 A < . 301:301(0) ack 101";
    assert_eq!(opened(&both(FIGURE_7_AT_A, rest)), Opening::Crossed);
}

#[test]
fn a_syn_ack_that_is_repeated_changes_nothing() {
    let rest = "
        1.040 A > S. 100:100(0) ack 301
        1.090 A < S. 300:300(0) ack 101
        1.090 A > . 101:101(0) ack 301";
    assert_eq!(opened(&both(FIGURE_7_AT_A, rest)), Opening::Crossed);
    assert_eq!(states(&both(FIGURE_7_AT_A, rest)), states(FIGURE_7_AT_A));
}

#[test]
fn a_syn_of_an_earlier_attempt_that_comes_late_changes_nothing() {
    // The first attempt of A crossed, answered the SYN of B's, and was reset.
    let trace = "
        0.000 A > S 100:100(0)
        0.040 A < S 70000:70000(0)
        0.040 A > S. 100:100(0) ack 70001
        0.050 A < R 70001:70001(0)
        0.500 A > S 200000:200000(0)
        0.600 A < S. 800000:800000(0) ack 200001
        0.600 A > . 200001:200001(0) ack 800001
        0.900 A < S 70000:70000(0)";
    assert_eq!(opened(trace), Opening::ThreeWayOrHalfCrossed);
}

#[test]
fn what_answered_a_syn_in_an_earlier_attempt_does_not_answer_it_in_this_one() {
    // As RFC 793 has it, B answers with a bare ACK, and A repeats its SYN.
    let trace = "
        0.000 B > S 300:300(0)
        0.050 B < S 100:100(0)
        0.050 B > . 301:301(0) ack 101
        0.060 B < icmp unreachable seq 300
        0.500 B > S 800000:800000(0)
        1.050 B < S 100:100(0)
        1.050 B > S. 800000:800000(0) ack 101
        1.150 B < . 101:101(0) ack 800001";
    assert_eq!(opened(trace), PERHAPS_CROSSED_TOO_BY_B);
}

#[test]
fn a_syn_ack_of_a_later_attempt_establishes_nothing() {
    let trace = "
        0.000 B > S 300:300(0)
        0.050 B < S 100:100(0)
        0.050 B > S. 300:300(0) ack 101
        0.150 B < S. 900000:900000(0) ack 301";
    assert_eq!(opened(trace), Opening::None);
}

#[test]
fn syns_that_are_repeated_may_cross() {
    let trace = "
        0.000 A > S 100:100(0)
        1.000 A > S 100:100(0)
        1.010 A < S 300:300(0)
        1.010 A > S. 100:100(0) ack 301
        1.110 A < S. 300:300(0) ack 101";
    assert_eq!(opened(trace), Opening::Crossed);
    assert_eq!(states(trace)[1], (Side::A, SynSent, SynReceived, 3));
}

#[test]
fn a_bare_ack_may_stand_for_the_last_syn_ack_as_in_rfc_793() {
    let at_a = "
        0.000 A > S 100:100(0)
        0.040 A < S 300:300(0)
        0.040 A > . 101:101(0) ack 301
        0.090 A < S. 300:300(0) ack 101";
    let at_b = "
        0.000 B > S 300:300(0)
        0.050 B < S 100:100(0)
        0.050 B > S. 300:300(0) ack 101
        0.090 B < . 101:101(0) ack 301";
    assert_eq!(opened(at_a), Opening::Crossed);
    assert_eq!(opened(&both(at_a, at_b)), Opening::Crossed);
    // It might as well complete a half-crossing: from there no more is to be known.
    assert_eq!(opened(at_b), Opening::CrossedOrHalfCrossed { crossed_syn: Side::A });
}

#[test]
fn the_end_that_completes_cannot_tell_a_half_crossing_from_three_ways() {
    assert_eq!(opened(HALF_AT_B), Opening::ThreeWayOrHalfCrossed);
    assert_eq!(opened(CONNECTING_A), Opening::ThreeWayOrHalfCrossed);
}

#[test]
fn both_ends_together_prove_a_half_crossing() {
    assert_eq!(opened(&both(HALF_AT_A, HALF_AT_B)), CROSSED_BY_B);
}

#[test]
fn the_end_that_was_crossed_cannot_tell_whether_its_own_syn_or_the_answer_to_it_was_lost() {
    // At A these are the packets of a half-crossing; yet the SYN of A crossed as well, and what was
    // lost is the SYN,ACK of B.
    let crossed_at_b = "
        0.000 B > S 300:300(0)
        0.050 B < S 100:100(0)
        0.050 B > S. 300:300(0) ack 101
        0.090 B < S. 100:100(0) ack 301
        0.090 B > . 301:301(0) ack 101";
    assert_eq!(opened(&both(HALF_AT_A, crossed_at_b)), Opening::Crossed);
    assert_eq!(opened(&both(HALF_AT_A, HALF_AT_B)), CROSSED_BY_B);
    assert_eq!(opened(HALF_AT_A), PERHAPS_CROSSED_TOO_BY_A);
}

#[test]
fn an_icmp_error_about_the_only_syn_proves_a_half_crossing_from_one_end() {
    let trace = "
        0.000 A > S 100:100(0)
        0.020 A < icmp expired seq 100
        0.040 A < S 300:300(0)
        0.040 A > S. 100:100(0) ack 301
        0.140 A < . 301:301(0) ack 101";
    assert_eq!(opened(trace), CROSSED_BY_B);
    let repeated = trace.replace("0.040 A < S 3", "0.030 A > S 100:100(0)\n0.040 A < S 3");
    assert_eq!(opened(&repeated), PERHAPS_CROSSED_TOO_BY_A);
    let about_the_syn_ack = both(HALF_AT_A, "0.150 A < icmp expired seq 100");
    assert_eq!(opened(&about_the_syn_ack), PERHAPS_CROSSED_TOO_BY_A);
}

#[test]
fn a_reset_that_a_host_outlived_proves_a_half_crossing_from_one_end() {
    // As a NAT sends it to an unsolicited SYN, to a host that goes on as Windows does.
    let trace = "
        0.000 A > S 100:100(0)
        0.020 A < R. 0:0(0) ack 101
        0.040 A < S 300:300(0)
        0.040 A > S. 100:100(0) ack 301
        0.140 A < . 301:301(0) ack 101";
    assert_eq!(opened(trace), CROSSED_BY_B);
    assert_eq!(seen(trace).outcome, Outcome::Open);
}

#[test]
fn a_bare_syn_that_comes_after_its_syn_ack_did_not_cross() {
    let trace = "
        0.000 A > S 100:100(0)
        0.100 A < S. 300:300(0) ack 101
        0.100 A > . 101:101(0) ack 301
        0.200 A < S 300:300(0)
        0.200 A > . 101:101(0) ack 301";
    assert_eq!(opened(trace), CROSSED_BY_A);
}

#[test]
fn a_bare_syn_that_no_answer_shows_to_have_reached_tcp_is_not_taken_for_crossed() {
    let trace = "
        0.000 A > S 100:100(0)
        0.050 A < S 300:300(0)
        0.100 A < S. 300:300(0) ack 101
        0.100 A > . 101:101(0) ack 301";
    assert_eq!(opened(trace), Opening::CrossedOrHalfCrossed { crossed_syn: Side::A });
}

#[test]
fn one_end_that_connects_and_one_that_listens_are_three_ways() {
    assert_eq!(opened(&both(CONNECTING_A, LISTENING_B)), Opening::ThreeWay);
    let both = states(&both(CONNECTING_A, LISTENING_B));
    assert_eq!(both[..2], [(Side::A, Closed, SynSent, 1), (Side::A, SynSent, Established, 2)]);
    assert_eq!(
        both[2..],
        [(Side::B, Listen, SynReceived, 4), (Side::B, SynReceived, Established, 6)]
    );
}

#[test]
fn the_end_that_listened_knows_that_it_accepted() {
    assert_eq!(opened(LISTENING_B), Opening::Accepted);
    let repeated = "
        0.050 B < S 100:100(0)
        0.050 B > S. 300:300(0) ack 101
        1.050 B < S 100:100(0)
        1.050 B > S. 300:300(0) ack 101
        1.150 B < . 101:101(0) ack 301";
    assert_eq!(opened(repeated), Opening::Accepted);
}

#[test]
fn a_connection_to_oneself_is_no_crossing() {
    let once = "
        0.000 A > S 100:100(0)
        0.000 A > S. 100:100(0) ack 101
        0.000 A > . 101:101(0) ack 101";
    let twice = "
        0.000 A > S 100:100(0)
        0.000 A < S 100:100(0)
        0.000 A > S. 100:100(0) ack 101
        0.000 A < S. 100:100(0) ack 101";
    for trace in [once, twice] {
        let testimony = seen_between(trace, &SELVES);
        assert_eq!(testimony.opening, Opening::SelfConnect);
        assert_eq!(testimony.outcome, Outcome::Open);
        assert_eq!(testimony.states.len(), 3);
    }
}

#[test]
fn an_ack_before_the_syn_is_a_split_handshake() {
    let at_a = "
        0.000 A > S 100:100(0)
        0.100 A < . 0:0(0) ack 101
        0.100 A < S 300:300(0)
        0.100 A > S. 100:100(0) ack 301
        0.200 A < . 301:301(0) ack 101";
    let at_b = "
        0.050 B < S 100:100(0)
        0.050 B > . 0:0(0) ack 101
        0.050 B > S 300:300(0)
        0.150 B < S. 100:100(0) ack 301
        0.150 B > . 301:301(0) ack 101";
    for trace in [at_a, at_b, &both(at_a, at_b)] {
        assert_eq!(opened(trace), Opening::SplitHandshake, "{trace}");
    }
}

#[test]
fn an_ack_that_may_have_overtaken_its_syn_proves_no_split_handshake() {
    let trace = "
        0.000 A > S 100:100(0)
        0.100 A < . 301:301(0) ack 101
        0.100 A < S 300:300(0)
        0.100 A > S. 100:100(0) ack 301
        0.200 A < . 301:301(0) ack 101";
    assert_eq!(opened(trace), PERHAPS_CROSSED_TOO_BY_A);
}

#[test]
fn a_bare_syn_that_echoes_our_timestamp_is_a_split_handshake() {
    let trace = "
        0.000 A > S 100:100(0) <nop,nop,TS val 7 ecr 0>
        0.100 A < S 300:300(0) <nop,nop,TS val 9 ecr 7>
        0.100 A > S. 100:100(0) ack 301 <nop,nop,TS val 8 ecr 9>
        0.200 A < . 301:301(0) ack 101 <nop,nop,TS val 10 ecr 8>";
    assert_eq!(opened(trace), Opening::SplitHandshake);
    assert_eq!(opened(&trace.replace("9 ecr 7", "9 ecr 0")), PERHAPS_CROSSED_TOO_BY_A);
}

#[test]
fn a_bare_syn_that_left_after_the_others_had_arrived_is_no_crossing() {
    // It may answer the SYN, or a filter of B's host may have swallowed that: half-crossed is either.
    let at_b = "
        0.050 B < S 100:100(0)
        0.060 B > S 300:300(0)
        0.150 B < S. 100:100(0) ack 301
        0.150 B > . 301:301(0) ack 101";
    assert_eq!(opened(at_b), CROSSED_BY_B);
    assert_eq!(opened(&both(HALF_AT_A, at_b)), CROSSED_BY_B);
}

#[test]
fn order_at_the_interface_is_not_taken_for_order_in_the_host() {
    // B was in SYN-SENT when TCP took the SYN: nothing else makes it send this SYN,ACK.
    let at_b = "
        0.050 B < S 100:100(0)
        0.050 B > S 300:300(0)
        0.050 B > S. 300:300(0) ack 101
        0.150 B < S. 100:100(0) ack 301";
    assert_eq!(opened(at_b), Opening::Crossed);
}

#[test]
fn a_syn_ack_that_comes_before_the_host_has_answered_the_syn_leaves_it_crossed() {
    let trace = "
        0.000 A > S 100:100(0)
        0.040 A < S 300:300(0)
        0.040 A < S. 300:300(0) ack 101
        0.040 A > S. 100:100(0) ack 301";
    assert_eq!(opened(trace), Opening::Crossed);
    assert_eq!(states(trace)[2], (Side::A, SynReceived, Established, 3));
}

#[test]
fn states_change_when_the_packet_came_that_changed_them() {
    let expected = [
        (Side::A, Closed, SynSent, 1),
        (Side::A, SynSent, SynReceived, 2),
        (Side::A, SynReceived, Established, 4),
    ];
    assert_eq!(states(FIGURE_7_AT_A), expected);
    let times: Vec<_> = seen(FIGURE_7_AT_A).states.iter().map(|change| change.at).collect();
    assert_eq!(times, [0, 40, 90].map(Instant::from_millis));
}

#[test]
fn what_does_not_open_has_no_opening() {
    let ways = [
        ("0.0 A > S 100:100(0)\n1.0 A > S 100:100(0)", Outcome::TimedOut),
        ("0.0 A > S 100:100(0)\n0.1 A < R. 0:0(0) ack 101", Outcome::Refused),
        ("0.0 B < S 100:100(0)\n0.0 B > R. 0:0(0) ack 101", Outcome::Refused),
        ("0.0 A > S 100:100(0)\n0.1 A < icmp unreachable seq 100", Outcome::Failed),
        ("0.0 A > S 100:100(0)\n0.1 A < R 0:0(0)", Outcome::TimedOut),
        ("", Outcome::TimedOut),
    ];
    for (trace, outcome) in ways {
        let testimony = seen(trace);
        assert_eq!((testimony.opening, testimony.outcome), (Opening::None, outcome), "{trace}");
    }
}

#[test]
fn a_reset_after_the_syns_crossed_counts_if_its_number_is_the_one_expected() {
    let crossed = "
        0.000 A > S 100:100(0)
        0.040 A < S 300:300(0)
        0.040 A > S. 100:100(0) ack 301";
    let reset = seen(&both(crossed, "0.140 A < R 301:301(0)"));
    assert_eq!((reset.opening, reset.outcome), (Opening::None, Outcome::Reset));
    let canned = seen(&both(crossed, "0.140 A < R. 0:0(0) ack 101"));
    assert_ne!(canned.outcome, Outcome::Reset);
}

#[test]
fn a_reset_before_any_data_takes_the_opening_back_and_a_later_one_does_not() {
    let at_once = both(CONNECTING_A, "0.200 A < R 301:301(0)");
    assert_eq!(seen(&at_once).outcome, Outcome::Reset);
    assert_eq!(seen(&at_once).opening, Opening::ThreeWayOrHalfCrossed);
    let later = "
        0.200 A > P. 101:111(10) ack 301
        0.300 A < R 301:301(0)";
    assert_eq!(seen(&both(CONNECTING_A, later)).outcome, Outcome::Open);
}

#[test]
fn an_error_that_gives_nothing_up_fails_nothing_and_proves_nothing() {
    for kind in ["too-big", "redirect"] {
        let error = format!("0.020 A < icmp {kind} seq 100");
        let unanswered = both("0.000 A > S 100:100(0)", &error);
        assert_eq!(seen(&unanswered).outcome, Outcome::TimedOut);
        let (first, rest) = HALF_AT_A.trim().split_once('\n').expect("lines");
        assert_eq!(opened(&both(&both(first, &error), rest)), PERHAPS_CROSSED_TOO_BY_A);
    }
}

#[test]
fn earlier_attempts_do_not_count() {
    let refused = "
        0.000 A > S 50:50(0)
        0.010 A < R. 0:0(0) ack 51";
    assert_eq!(opened(&both(refused, FIGURE_7_AT_A)), Opening::Crossed);
    assert_eq!(seen(&both(refused, FIGURE_7_AT_A)).outcome, Outcome::Open);
}

#[test]
fn where_a_nat_rewrites_numbers_the_timestamps_join_the_ends() {
    let at_a = "
        0.000 A > S 100:100(0) <nop,nop,TS val 7 ecr 0>
        0.040 A < S 300:300(0) <nop,nop,TS val 9 ecr 0>
        0.040 A > S. 100:100(0) ack 301 <nop,nop,TS val 8 ecr 9>
        0.140 A < . 301:301(0) ack 101 <nop,nop,TS val 10 ecr 8>";
    let at_b = "
        0.000 B > S 300:300(0) <nop,nop,TS val 9 ecr 0>
        0.100 B < S. 1100:1100(0) ack 301 <nop,nop,TS val 8 ecr 9>
        0.100 B > . 301:301(0) ack 1101 <nop,nop,TS val 10 ecr 8>";
    assert_eq!(opened(&both(at_a, at_b)), CROSSED_BY_B);
    // Without them it has to be the same attempt all the same: neither end made another.
    let bare = |trace: &str| {
        let lines = trace.lines().map(|line| line.split(" <nop").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(opened(&both(&bare(at_a), &bare(at_b))), CROSSED_BY_B);
}

#[test]
fn other_connections_are_passed_over() {
    let vantage = Vantage { local: end("10.0.0.2:1"), remote: end("203.0.113.5:7000") };
    let trace = trace(FIGURE_7_AT_A, &FAMILIES[0]);
    let testimony = witness(&lent(&trace), &Vantages { a: Some(vantage), b: None });
    assert_eq!(testimony.opening, Opening::None);
    assert!(testimony.states.is_empty());
}

#[test]
fn openings_and_states_are_written_as_users_read_them() {
    let json = |opening: Opening| serde_json::to_string(&opening).expect("plain data");
    assert_eq!(json(Opening::ThreeWayOrHalfCrossed), r#"{"opening":"three-way-or-half-crossed"}"#);
    assert_eq!(json(CROSSED_BY_A), r#"{"opening":"half-crossed","crossed_syn":"a"}"#);
    for state in [Closed, Listen, SynSent, SynReceived, Established] {
        let written = serde_json::to_string(&state).expect("plain data");
        assert_eq!(written, format!("\"{state}\""));
    }
}

fn opened(lines: &str) -> Opening {
    seen(lines).opening
}

fn states(lines: &str) -> Vec<(Side, State, State, usize)> {
    let states = seen(lines).states.into_iter();
    states.map(|change| (change.side, change.from, change.to, change.frame)).collect()
}

fn both(first: &str, then: &str) -> String {
    format!("{first}\n{then}")
}

/// What the witness says of these lines, which is the same in either family.
fn seen(lines: &str) -> Testimony {
    let [v4, v6] = FAMILIES.each_ref().map(|ends| seen_between(lines, ends));
    assert_eq!(v4, v6);
    v4
}

fn seen_between(lines: &str, ends: &[Vantage; 2]) -> Testimony {
    let trace = trace(lines, ends);
    let is_watched = |side| trace.iter().any(|sighting| sighting.vantage == side);
    let watched = |side, ends| is_watched(side).then_some(ends);
    let vantages = Vantages { a: watched(Side::A, ends[0]), b: watched(Side::B, ends[1]) };
    witness(&lent(&trace), &vantages)
}

/// A sighting that has its packet.
struct Owned {
    at: Instant,
    vantage: Side,
    inbound: bool,
    packet: Packet,
}

fn lent(trace: &[Owned]) -> Vec<Sighting<'_>> {
    let lend =
        |&Owned { at, vantage, inbound, ref packet }| Sighting { at, vantage, inbound, packet };
    trace.iter().map(lend).collect()
}

fn trace(lines: &str, ends: &[Vantage; 2]) -> Vec<Owned> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| sighting(line, ends)).collect()
}

fn sighting(line: &str, ends: &[Vantage; 2]) -> Owned {
    let [at, letter, way, what] =
        line.splitn(4, ' ').collect::<Vec<_>>().try_into().expect("time, end, way, segment");
    let seconds: f64 = at.parse().expect("seconds");
    let vantage = if letter == "A" { Side::A } else { Side::B };
    let Vantage { local, remote } = ends[usize::from(vantage == Side::B)];
    let inbound = way == "<";
    let (from, to) = if inbound { (remote, local) } else { (local, remote) };
    let line = match what.strip_prefix("icmp ").and_then(|error| error.split_once(' ')) {
        Some((kind, seq)) => {
            let (from, to) = (remote.ip(), local.ip());
            let kind = icmp_type(kind, from.is_ipv4());
            format!("{from} > {to} icmp {kind} [{local} > {remote} {seq} ttl 1]")
        }
        None => match what.split_once(" <") {
            Some((segment, options)) => format!("{from} > {to} {segment} win 0 <{options}"),
            None => format!("{from} > {to} {what} win 0"),
        },
    };
    let packet = format!("{line} ttl 64 id 0").parse().expect("a packet");
    Owned { at: Instant::from_nanos((seconds * 1e9).round() as u64), vantage, inbound, packet }
}

/// Type and code, of RFC 792 or RFC 4443; IPv6's redirect quotes nothing that is kept.
fn icmp_type(name: &str, is_ipv4: bool) -> &'static str {
    match (name, is_ipv4) {
        ("unreachable", true) => "3/1",
        ("unreachable", false) => "1/0",
        ("expired", true) => "11/0",
        ("expired", false) => "3/0",
        ("too-big", true) => "3/4",
        ("too-big" | "redirect", false) => "2/0",
        ("redirect", true) => "5/1",
        _ => panic!("'{name}' is no error"),
    }
}

fn end(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

/// A and B behind a NAT each: neither knows the other by its own endpoint.
static FAMILIES: std::sync::LazyLock<[[Vantage; 2]; 2]> = std::sync::LazyLock::new(|| {
    let between = |[a, a_outside, b, b_outside]: [&str; 4]| {
        [
            Vantage { local: end(a), remote: end(b_outside) },
            Vantage { local: end(b), remote: end(a_outside) },
        ]
    };
    [
        between(["10.0.0.2:5000", "198.51.100.1:6000", "10.1.0.2:7000", "203.0.113.5:7000"]),
        between(["[fd00::2]:5000", "[2001:db8::1]:6000", "[fd01::2]:7000", "[2001:db8::5]:7000"]),
    ]
});

static SELVES: std::sync::LazyLock<[Vantage; 2]> = std::sync::LazyLock::new(|| {
    [Vantage { local: end("127.0.0.1:5000"), remote: end("127.0.0.1:5000") }; 2]
});
