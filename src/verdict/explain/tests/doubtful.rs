//! What looks like one cause, and is another or may be.

use super::*;

fn found(packets: &[(u64, String)]) -> Diagnosed {
    let (connection, _) = first(packets);
    connection.diagnosis.into_iter().next().expect("something is wrong with it")
}

fn told(found: &Diagnosed) -> (Cause, Option<Side>, Confidence) {
    (found.cause, found.side, found.confidence)
}

/// With another TTL in the line that begins so.
fn from_ttl(mut packets: Vec<(u64, String)>, line: usize, ttl: u8) -> Vec<(u64, String)> {
    let (before, _) = packets[line].1.split_once(" ttl ").expect("each has one");
    packets[line].1 = format!("{before} ttl {ttl} id 3");
    packets
}

#[test]
fn a_reset_from_nearer_than_the_syn_of_its_sender_is_no_missed_window() {
    let lines = [(0, "a S 100:100(0)"), (1, "b R. 0:0(0) ack 101"), (20, "b S 300:300(0)")];
    let near = found(&from_ttl(seen_at_a(&lines), 1, 63));
    assert_eq!(told(&near), (Cause::MiddleboxReset, Some(Side::B), Confidence::Certain));
    let host = found(&seen_at_a(&lines));
    assert_eq!(told(&host), (Cause::MissedWindow, Some(Side::A), Confidence::Certain));
    // The host of a has nothing any more when the SYN of b comes, and resets it.
    let lines = [lines.as_slice(), &[(20, "a R. 0:0(0) ack 301")]].concat();
    let near = found(&from_ttl(seen_at_a(&lines), 1, 63));
    assert_eq!(told(&near), (Cause::MiddleboxReset, Some(Side::B), Confidence::Certain));
}

#[test]
fn syns_that_were_answered_have_met() {
    let lines = [
        (0, "a S 100:100(0)"),
        (10, "b S 300:300(0)"),
        (10, "a S. 100:100(0) ack 301"),
        (100, "b R. 0:0(0) ack 101"),
    ];
    let near = found(&from_ttl(seen_at_a(&lines), 3, 60));
    assert_eq!(told(&near), (Cause::MiddleboxReset, Some(Side::B), Confidence::Certain));
    let host = found(&seen_at_a(&lines));
    assert_eq!(told(&host), (Cause::Unknown, Some(Side::B), Confidence::Likely));
}

#[test]
fn who_has_sent_a_syn_and_resets_the_others_does_not_know_of_it_any_more() {
    let lines = [(0, "a S 100:100(0)"), (20, "b S 300:300(0)"), (20, "a R. 0:0(0) ack 301")];
    for packets in [seen_at_a(&lines), from_ttl(seen_at_a(&lines), 0, 5), seen(&lines, 55, 64)] {
        let found = found(&packets);
        assert_eq!(told(&found), (Cause::Unknown, Some(Side::A), Confidence::Likely));
        let because = &found.because;
        assert!(because.contains("raw socket") && because.contains("given up"), "{because}");
    }
}

#[test]
fn a_reset_of_the_answer_may_be_that_of_a_socket_which_was_closed() {
    let lines = [(0, "a S 100:100(0)"), (300, "b S. 300:300(0) ack 101"), (300, "a R 101:101(0)")];
    let closed = found(&seen_at_a(&lines));
    assert_eq!(told(&closed), (Cause::LocalReset, Some(Side::A), Confidence::Likely));
    let because = &closed.because;
    assert!(because.contains("raw socket") && because.contains("given up"), "{because}");
}

#[test]
fn a_reset_from_nearer_is_not_the_hosts_nor_what_follows_it() {
    let lines = [
        (0, "a S 100:100(0)"),
        (20, "b S 300:300(0)"),
        (20, "a S. 100:100(0) ack 301"),
        (25, "b R 301:301(0)"),
        (40, "b S. 300:300(0) ack 101"),
        (40, "a R 101:101(0)"),
    ];
    for length in [4, 6] {
        let near = found(&from_ttl(seen_at_a(&lines[..length]), 3, 61));
        assert_eq!(told(&near), (Cause::MiddleboxReset, Some(Side::B), Confidence::Certain));
    }
    let host = found(&seen_at_a(&lines[..4]));
    assert_ne!(host.cause, Cause::MiddleboxReset);
}

#[test]
fn what_another_connection_tells_of_an_address_may_be_of_another_host() {
    let other = "198.51.100.1:9 > 192.0.2.7:9 S 1:1(0) win 1 ttl 54 id 1";
    let lines = [(0, other), (10, "a S 100:100(0)"), (30, "b R. 0:0(0) ack 101")];
    let connections = explained(&seen_at_a(&lines));
    let ours = connections.iter().find(|one| one.a.to_string() == A).expect("it is there");
    let box_or_host = (Cause::MiddleboxReset, Some(Side::B), Confidence::Likely);
    assert_eq!(told(&ours.diagnosis[0]), box_or_host);
}

#[test]
fn silence_is_certain_where_that_address_is_heard_otherwise() {
    let other = (0, "198.51.100.1:9 > 192.0.2.7:9 S 1:1(0) win 1 ttl 55 id 1");
    let syns = [10, 1_010, 2_030, 3_050].map(|at| (at, "a S 100:100(0)"));
    let confidence = |lines: &[(u64, &str)]| {
        let connections = explained(&and_on(seen_at_a(lines), 60));
        let ours = connections.iter().find(|one| one.a.to_string() == A).expect("it is there");
        assert_eq!(ours.diagnosis[0].cause, Cause::NoAnswer);
        ours.diagnosis[0].confidence
    };
    assert_eq!(confidence(&[vec![other], syns.to_vec()].concat()), Confidence::Certain);
    assert_eq!(confidence(&syns), Confidence::Likely);
}

#[test]
fn a_syn_ack_is_lost_for_certain_where_the_syn_is_sent_again() {
    let lines = [
        (0, "a S 100:100(0)"),
        (1, "b S. 300:300(0) ack 101"),
        (1_000, "b S. 300:300(0) ack 101"),
        (3_000, "b S. 300:300(0) ack 101"),
        (7_000, "b S. 300:300(0) ack 101"),
    ];
    let once = found(&and_on(seen(&lines, 55, 64), 60));
    assert_eq!(told(&once), (Cause::SynAckLost, Some(Side::B), Confidence::Likely));
    assert!(once.because.contains("or its acknowledgements died"), "{}", once.because);
    let mut lines = lines.to_vec();
    lines.insert(2, (999, "a S 100:100(0)"));
    let again = found(&and_on(seen(&lines, 55, 64), 60));
    assert_eq!(told(&again), (Cause::SynAckLost, Some(Side::B), Confidence::Certain));
}

#[test]
fn an_acknowledgement_that_comes_to_its_receiver_is_not_lost() {
    let lines = [
        (0, "a S 100:100(0)"),
        (1, "b S. 300:300(0) ack 101"),
        (20, "a . 101:101(0) ack 301"),
        (1_000, "b S. 300:300(0) ack 101"),
        (1_020, "a . 101:101(0) ack 301"),
        (3_000, "b S. 300:300(0) ack 101"),
        (3_020, "a . 101:101(0) ack 301"),
    ];
    let at_b = found(&and_on(seen(&lines, 55, 64), 60));
    assert_eq!(told(&at_b), (Cause::Unknown, Some(Side::B), Confidence::Likely));
    assert!(at_b.because.contains("too many waiting"), "{}", at_b.because);
    let at_a = found(&and_on(seen_at_a(&lines), 60));
    assert_eq!(told(&at_a), (Cause::AckLost, Some(Side::A), Confidence::Likely));
    assert!(at_a.because.contains("too many waiting"), "{}", at_a.because);
}

#[test]
fn what_answers_something_is_no_silence() {
    let syns = |more: &[(u64, &'static str)]| {
        let syns = [0, 1_000, 2_020, 3_040].map(|at| (at, "a S 100:100(0)"));
        and_on(seen_at_a(&[syns.as_slice(), more].concat()), 60)
    };
    assert_eq!(found(&syns(&[])).cause, Cause::NoAnswer);
    for answer in ["a . 101:101(0) ack 71", "a R 777777:777777(0)"] {
        let lost = found(&syns(&[(3_060, answer)]));
        assert_eq!(lost.cause, Cause::Unknown);
        assert!(lost.because.starts_with("4 SYNs, and what a sent besides"), "{}", lost.because);
    }
    let once = found(&and_on(seen_at_a(&[(0, "a S 100:100(0)")]), 60));
    assert!(once.because.starts_with("1 SYN and no answer is too few"), "{}", once.because);
}

#[test]
fn a_reset_that_acknowledges_the_syn_ack_had_taken_it() {
    let lines =
        [(0, "a S 100:100(0)"), (20, "b S. 300:300(0) ack 101"), (500, "a R. 101:101(0) ack 301")];
    let taken = found(&and_on(seen_at_a(&lines), 60));
    assert_eq!(taken.cause, Cause::Unknown);
    assert!(taken.because.contains("acknowledges the SYN,ACK"), "{}", taken.because);
}

#[test]
fn options_that_the_snap_length_has_cut_were_not_left_out_by_the_sender() {
    let options = "<mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 7>";
    let lines = [
        format!("{A} > {B} S 100:100(0) win 65535 {options} ttl 64 id 1"),
        format!("{B} > {A} S. 300:300(0) ack 101 win 65535 <mss 1460,nop,wscale 7> ttl 55 id 1"),
        format!("{A} > {B} . 101:101(0) ack 301 win 65535 ttl 64 id 2"),
    ];
    // IPv4, TCP, and eight octets of options.
    for (snap, is_cut) in [(48, true), (100, false)] {
        let frames = crate::capture::testing::frames_of(&pcap(&lines, snap));
        assert_eq!(frames.len(), 3);
        let openings = crate::capture::testing::openings_among(1_000, &frames);
        let connection = explain(&openings[0], 1, 1);
        assert!(connection.diagnosis.is_empty(), "{snap}: {:?}", connection.diagnosis);
        assert_eq!(!openings[0].packets[0].is_whole(), is_cut, "{snap}");
    }
}

/// A capture of raw IP packets, so many octets of each.
fn pcap(lines: &[String], snap: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for (line, second) in lines.iter().zip(1_u32..) {
        let octets = crate::wire::encode(&line.parse().expect("it is a packet"));
        let kept = &octets[..octets.len().min(snap)];
        for word in [second, 0, kept.len() as u32, octets.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(kept);
    }
    file
}

#[test]
fn who_sends_with_too_small_a_ttl_is_told_to_send_with_a_larger_one() {
    let error = "203.0.113.7 > 192.0.2.1 icmp 11/0 [192.0.2.1:1000 > 198.51.100.1:7000 seq 100 ttl 1] \
                 ttl 60 id 3";
    let short = found(&from_ttl(seen_at_a(&[(0, "a S 100:100(0)"), (20, error)]), 0, 5));
    assert_eq!(short.cause, Cause::IcmpError);
    assert!(short.advice.contains("TTL of the SYN, 5 where"), "{}", short.advice);
}
