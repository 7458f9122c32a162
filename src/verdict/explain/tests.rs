mod damage;
mod doubtful;
mod healthy;
mod late;
mod on_the_way;

use super::*;
use crate::capture::testing::openings_of;
use OpeningCause as Cause;

const A: &str = "192.0.2.1:1000";
const B: &str = "198.51.100.1:7000";

/// A trace as the host called a sees it: what it sends has a fresh TTL, the rest has come nine hops.
fn seen_at_a(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
    seen(lines, 64, 55)
}

fn seen(lines: &[(u64, &str)], ttl_a: u8, ttl_b: u8) -> Vec<(u64, String)> {
    let full = lines.iter().map(|(at, what)| {
        let line = match what.split_once(' ') {
            Some(("a", what)) => format!("{A} > {B} {what} win 65535 ttl {ttl_a} id 1"),
            Some(("b", what)) => format!("{B} > {A} {what} win 0 ttl {ttl_b} id 2"),
            _ => (*what).to_owned(),
        };
        (*at, line)
    });
    full.collect()
}

fn explained(packets: &[(u64, String)]) -> Vec<Connection> {
    told(&openings_of(packets))
}

/// The connections, of which what is only counted has to count alike.
fn told(openings: &[capture::Opening]) -> Vec<Connection> {
    let tell = |(opening, number)| {
        let (connection, brief) = (explain(opening, number, 1), Brief::of(opening));
        let [mut told, mut counted] = [Tally::default(), Tally::default()];
        told.add(&connection);
        counted.add_brief(&brief);
        assert_eq!(told, counted);
        assert_eq!(connection.is_noteworthy(), brief.is_noteworthy());
        connection
    };
    openings.iter().zip(1..).map(tell).collect()
}

/// The first connection, and its first cause.
fn first(packets: &[(u64, String)]) -> (Connection, Option<Cause>) {
    let connection = explained(packets).remove(0);
    let cause = connection.diagnosis.first().map(|found| found.cause);
    (connection, cause)
}

/// Something that goes on until so many seconds have passed, since a capture that ends proves nothing.
fn and_on(mut packets: Vec<(u64, String)>, seconds: u64) -> Vec<(u64, String)> {
    let other = "203.0.113.9:1 > 203.0.113.8:2 S 1:1(0) win 1 ttl 50 id 1".to_owned();
    packets.push((seconds * 1_000, other));
    packets
}

#[test]
fn a_handshake_is_named_by_where_it_was_seen() {
    let lines =
        [(0, "a S 100:100(0)"), (50, "b S. 300:300(0) ack 101"), (51, "a . 101:101(0) ack 301")];
    let (at_a, cause) = first(&seen_at_a(&lines));
    assert_eq!(
        (at_a.opening, at_a.outcome),
        (Opening::ThreeWayOrHalfCrossed, ConnectionOutcome::Open)
    );
    assert_eq!((at_a.seen_at, cause), (SeenAt::A, None));
    assert!(!at_a.is_noteworthy() && at_a.unknown.len() == 2, "{:?}", at_a.unknown);
    let (at_b, _) = first(&seen(&lines, 55, 64));
    assert_eq!((at_b.opening, at_b.seen_at), (Opening::Accepted, SeenAt::B));
    let (between, _) = first(&seen(&lines, 60, 60));
    assert_eq!(
        (between.opening, between.seen_at),
        (Opening::ThreeWayOrHalfCrossed, SeenAt::Between)
    );
}

#[test]
fn a_crossing_is_one_wherever_it_was_seen() {
    let lines = [
        (0, "a S 100:100(0)"),
        (40, "b S 300:300(0)"),
        (41, "a S. 100:100(0) ack 301"),
        (80, "b S. 300:300(0) ack 101"),
        (81, "a . 101:101(0) ack 301"),
    ];
    for (ttl_a, ttl_b) in [(64, 55), (55, 64), (60, 60)] {
        let (connection, _) = first(&seen(&lines, ttl_a, ttl_b));
        assert_eq!(connection.opening, Opening::Crossed, "{ttl_a} {ttl_b}");
    }
}

#[test]
fn silence_is_one_once_four_syns_have_gone_unanswered() {
    let lines = [0, 1_000, 2_020, 3_040].map(|at| (at, "a S 100:100(0)"));
    let (connection, cause) = first(&and_on(seen_at_a(&lines), 60));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::TimedOut, Some(Cause::NoAnswer)));
    assert_eq!(connection.diagnosis[0].confidence, Confidence::Likely);
    let (connection, cause) = first(&and_on(seen_at_a(&lines[..3]), 60));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::TimedOut, Some(Cause::Unknown)));
    // The capture ends before an answer was overdue.
    let (connection, cause) = first(&seen_at_a(&lines[..3]));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::Unfinished, None));
}

#[test]
fn a_reset_is_whose_ttl_it_has() {
    let syn = (0, "a S 100:100(0)");
    let reset = (50, "b R. 0:0(0) ack 101");
    assert_eq!(first(&seen_at_a(&[syn, reset])).1, Some(Cause::Reset));
    // Another connection of that host's tells how far away it is.
    let heard = |ttl: u8| {
        let syn = format!("198.51.100.1:9 > 192.0.2.7:9 S 1:1(0) win 1 ttl {ttl} id 1");
        vec![(0, syn)]
    };
    let with = |ttl| {
        let connections = explained(&[heard(ttl), seen_at_a(&[syn, reset])].concat());
        let refused = connections.iter().find(|connection| connection.a.to_string() == A);
        refused.expect("it is there").diagnosis[0].cause
    };
    assert_eq!(with(55), Cause::ClosedPort);
    assert_eq!(with(51), Cause::MiddleboxReset);
}

#[test]
fn syns_that_do_not_meet_have_missed_the_window_by_so_much() {
    let lines = [
        (0, "a S 100:100(0)"),
        (80, "b R. 0:0(0) ack 101"),
        (100, "b S 300:300(0)"),
        (100, "a R. 0:0(0) ack 301"),
    ];
    let (connection, cause) = first(&seen_at_a(&lines));
    assert_eq!(
        (connection.outcome, cause),
        (ConnectionOutcome::Refused, Some(Cause::MissedWindow))
    );
    let because = &connection.diagnosis[0].because;
    // It reached b after 40 ms; b sent its own at 60 ms.
    assert!(because.contains("20.000 ms before b sent its own"), "{because}");
}

#[test]
fn a_host_that_knows_nothing_of_the_syn_resets_the_answer() {
    let lines = [(0, "a S 100:100(0)"), (50, "b S. 300:300(0) ack 101"), (50, "a R 101:101(0)")];
    let (connection, cause) = first(&seen_at_a(&lines));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::Refused, Some(Cause::LocalReset)));
}

#[test]
fn an_answer_to_another_syn_is_reset() {
    let lines = [
        (0, "a S 100:100(0)"),
        (50, "b . 9000:9000(0) ack 77777777"),
        (50, "a R 77777777:77777777(0)"),
        (60, "a S 100:100(0)"),
        (110, "b . 9000:9000(0) ack 77777777"),
        (110, "a R 77777777:77777777(0)"),
    ];
    assert_eq!(first(&and_on(seen_at_a(&lines), 60)).1, Some(Cause::WrongAck));
}

#[test]
fn an_icmp_error_says_who_and_what() {
    let error = "203.0.113.7 > 192.0.2.1 icmp 3/13 [192.0.2.1:1000 > 198.51.100.1:7000 seq 100 ttl 60] \
                 ttl 60 id 3";
    let (connection, cause) = first(&seen_at_a(&[(0, "a S 100:100(0)"), (20, error)]));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::Failed, Some(Cause::IcmpError)));
    let because = &connection.diagnosis[0].because;
    assert!(because.contains("203.0.113.7") && because.contains("administrator"), "{because}");
}

#[test]
fn a_syn_from_another_port_is_the_peers() {
    let other = "198.51.100.1:7003 > 192.0.2.1:1000 S 300:300(0) win 1 ttl 55 id 4";
    let lines =
        [(0, "a S 100:100(0)"), (30, other), (1_000, "a S 100:100(0)"), (2_000, "a S 100:100(0)")];
    let (connection, cause) = first(&and_on(seen_at_a(&lines), 60));
    assert_eq!(cause, Some(Cause::OtherPort));
    assert!(connection.diagnosis[0].because.contains("+3 away"), "{:?}", connection.diagnosis);
}

#[test]
fn a_syn_from_inside_is_a_hairpin_that_keeps_the_source() {
    let lines = [
        (0, "10.0.0.2:1000 > 198.51.100.1:7000 S 100:100(0) win 1 ttl 64 id 1"),
        (1, "10.0.0.3:7000 > 10.0.0.2:1000 S 300:300(0) win 1 ttl 63 id 1"),
        (1_000, "10.0.0.2:1000 > 198.51.100.1:7000 S 100:100(0) win 1 ttl 64 id 1"),
    ];
    assert_eq!(first(&and_on(seen_at_a(&lines), 60)).1, Some(Cause::HairpinInternalSource));
}

#[test]
fn a_syn_ack_that_is_lost_is_the_side_whose_it_is() {
    let lines = [
        (0, "a S 100:100(0)"),
        (40, "b S 300:300(0)"),
        (41, "a S. 100:100(0) ack 301"),
        (1_040, "b S 300:300(0)"),
        (1_041, "a S. 100:100(0) ack 301"),
        (2_040, "b S 300:300(0)"),
        (2_041, "a S. 100:100(0) ack 301"),
    ];
    let (connection, cause) = first(&and_on(seen_at_a(&lines), 60));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::TimedOut, Some(Cause::SynAckLost)));
    assert_eq!(connection.diagnosis[0].side, Some(Side::A));
}

#[test]
fn a_syn_ack_that_is_repeated_after_it_was_acknowledged_lost_the_ack() {
    let lines = [
        (0, "a S 100:100(0)"),
        (40, "b S. 300:300(0) ack 101"),
        (41, "a . 101:101(0) ack 301"),
        (1_040, "b S. 300:300(0) ack 101"),
        (1_041, "a . 101:101(0) ack 301"),
        (3_040, "b S. 300:300(0) ack 101"),
        (3_041, "a . 101:101(0) ack 301"),
    ];
    let (connection, cause) = first(&and_on(seen(&lines, 60, 60), 60));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::Open, Some(Cause::AckLost)));
}

#[test]
fn a_syn_ack_that_its_receiver_does_not_take_is_ignored() {
    let lines = [
        (0, "a S 100:100(0)"),
        (40, "b S. 300:300(0) ack 101"),
        (1_000, "a S 100:100(0)"),
        (1_040, "b S. 300:300(0) ack 101"),
        (2_000, "a S 100:100(0)"),
    ];
    assert_eq!(first(&and_on(seen_at_a(&lines), 60)).1, Some(Cause::SynAckIgnored));
}

#[test]
fn a_reset_after_the_syns_have_met_is_said_to_be_that() {
    let lines = [
        (0, "a S 100:100(0)"),
        (40, "b S 300:300(0)"),
        (41, "a S. 100:100(0) ack 301"),
        (60, "b R. 301:301(0) ack 101"),
    ];
    let (connection, cause) = first(&seen_at_a(&lines));
    assert_eq!(
        (connection.outcome, cause),
        (ConnectionOutcome::Reset, Some(Cause::ResetAfterCrossing))
    );
}

#[test]
fn whoever_connects_to_itself_is_told() {
    let lines = [(0, "192.0.2.1:1000 > 192.0.2.1:1000 S 100:100(0) win 1 ttl 64 id 1")];
    assert_eq!(first(&seen_at_a(&lines)).1, Some(Cause::SelfConnect));
}

#[test]
fn one_syn_of_two_that_crossed_is_half_a_crossing() {
    // b's SYN was on its way when that of a had been refused here, and is seen here.
    let lines = [
        (0, "a S 100:100(0)"),
        (40, "b S. 300:300(0) ack 101"),
        (41, "a . 101:101(0) ack 301"),
        (50, "b S 300:300(0)"),
    ];
    let (connection, cause) = first(&seen_at_a(&lines));
    assert_eq!(connection.opening, Opening::HalfCrossed { crossed_syn: Side::A });
    assert_eq!(cause, Some(Cause::HalfCrossed));
}
