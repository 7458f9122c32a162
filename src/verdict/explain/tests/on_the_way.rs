//! Causes that lie between the two hosts, or at a host's own interface.

use super::*;
use crate::capture::testing::openings_in;

const OPTIONS: &str = "<mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 7>";

fn line(from: &str, to: &str, what: &str, options: &str, ttl: u8, id: u16) -> String {
    format!("{from} > {to} {what} win 65535 {options} ttl {ttl} id {id}")
}

/// The diagnosis of the connection between A and B with that cause.
fn found(packets: &[(u64, String)], cause: Cause) -> Option<Diagnosed> {
    let is_ours =
        |one: &Connection| [one.a.to_string(), one.b.to_string()].iter().any(|end| end == A);
    let connections = explained(packets);
    let ours = connections.into_iter().filter(is_ours).flat_map(|one| one.diagnosis);
    ours.into_iter().find(|found| found.cause == cause)
}

fn causes(packets: &[(u64, String)]) -> Vec<Cause> {
    let all = explained(packets).into_iter().flat_map(|one| one.diagnosis);
    all.map(|found| found.cause).collect()
}

pub fn syn_proxied() -> Vec<(u64, String)> {
    vec![
        (0, format!("{A} > {B} S 100:100(0) win 64240 {OPTIONS} ttl 64 id 5")),
        (10, format!("{B} > {A} S. 300:300(0) ack 101 win 0 ttl 62 id 0")),
        (11, format!("{A} > {B} . 101:101(0) ack 301 win 63 ttl 64 id 6")),
        (90, format!("{B} > {A} . 301:301(0) ack 101 win 509 ttl 55 id 7")),
        (91, format!("{B} > {A} P. 301:306(5) ack 101 win 509 ttl 55 id 8")),
        (92, format!("{A} > {B} . 101:101(0) ack 306 win 63 ttl 64 id 9")),
    ]
}

#[test]
fn whoever_answers_with_no_window_from_nearer_is_a_syn_proxy() {
    let proxied = found(&and_on(syn_proxied(), 60), Cause::SynProxy).expect("it is one");
    assert_eq!((proxied.side, proxied.confidence), (Some(Side::B), Confidence::Certain));
    assert!(proxied.because.contains("from 2 hops"), "{}", proxied.because);
    // From one place with no window first: on the host itself, perhaps.
    let near: Vec<_> =
        syn_proxied().into_iter().map(|(at, one)| (at, one.replace("ttl 55", "ttl 62"))).collect();
    let proxied = found(&and_on(near, 60), Cause::SynProxy).expect("it is one");
    assert_eq!(proxied.confidence, Confidence::Likely);
    // From one place with a window it is nobody but the host.
    let plain = syn_proxied()
        .into_iter()
        .map(|(at, one)| (at, one.replace("ttl 55", "ttl 62").replace("win 0 ", "win 65535 ")));
    assert_eq!(causes(&and_on(plain.collect(), 60)), [Cause::NoAnswer; 0]);
}

pub fn transparently_proxied() -> Vec<(u64, String)> {
    let other = "198.51.100.1:22";
    let mut packets = vec![
        (0, line("192.0.2.1:999", other, "S 1:1(0)", "", 64, 1)),
        (80, line(other, "192.0.2.1:999", "S. 9:9(0) ack 2", "", 55, 1)),
        (81, line("192.0.2.1:999", other, ". 2:2(0) ack 10", "", 64, 2)),
    ];
    packets.extend([
        (100, line(A, B, "S 100:100(0)", "", 64, 3)),
        (102, line(B, A, "S. 300:300(0) ack 101", "", 63, 0)),
        (103, line(A, B, ". 101:101(0) ack 301", "", 64, 4)),
    ]);
    packets
}

#[test]
fn a_port_that_is_nearer_than_its_host_is_a_proxys() {
    let proxied =
        found(&and_on(transparently_proxied(), 60), Cause::TransparentProxy).expect("it is one");
    assert_eq!((proxied.side, proxied.confidence), (Some(Side::B), Confidence::Likely));
    let whole = causes(&and_on(transparently_proxied(), 60));
    assert_eq!(whole, [Cause::TransparentProxy], "the connection to the host itself is none");
}

#[test]
fn a_timestamp_that_nobody_sent_was_changed() {
    let with = |echo: u32| {
        let options = format!("<mss 1460,sackOK,TS val 77 ecr {echo},nop,wscale 7>");
        let packets = [
            (0, line(A, B, "S 100:100(0)", OPTIONS, 64, 1)),
            (50, line(B, A, "S. 300:300(0) ack 101", &options, 55, 0)),
            (51, line(A, B, "R 101:101(0)", "", 64, 0)),
        ];
        first(&and_on(packets.to_vec(), 60)).1
    };
    assert_eq!(with(1000), Some(Cause::LocalReset));
    assert_eq!(with(3_000_000_000), Some(Cause::Rewritten));
    // It may be that of a SYN which was not captured.
    assert_eq!(with(60_000), Some(Cause::LocalReset));
}

#[test]
fn what_was_not_offered_cannot_be_taken_up() {
    let with = |offered: &str, taken: &str| {
        let packets = vec![
            (0, line(A, B, "S 100:100(0)", offered, 64, 1)),
            (50, line(B, A, "S. 300:300(0) ack 101", taken, 55, 0)),
            (51, line(A, B, ". 101:101(0) ack 301", "", 64, 2)),
        ];
        found(&and_on(packets, 60), Cause::Rewritten)
    };
    let taken = "<mss 1460,sackOK,TS val 77 ecr 1000,nop,wscale 7>";
    assert_eq!(with(OPTIONS, taken), None);
    assert_eq!(with(OPTIONS, "<mss 1460>"), None);
    let strange = with("<mss 1460,nop,nop,TS val 1000 ecr 0>", taken).expect("it is strange");
    assert!(strange.because.contains("window scale, SACK"), "{}", strange.because);
    assert_eq!(strange.confidence, Confidence::Likely);
    // Neither takes up anything: a length that timestamps do not have, and a list that breaks off.
    for odd in ["<0x080c000000010000000a0b0c>", "<0x0101080a>"] {
        assert_eq!(with("<mss 1460,sackOK,nop,nop>", odd), None);
    }
    assert!(with("<0x080c000000010000000a0b0c>", taken).is_some(), "nor is that an offer");
}

/// A router that clamps the MSS and renumbers, captured on both of its sides.
pub fn rewritten() -> Vec<(u64, String)> {
    let smaller = OPTIONS.replace("1460", "1200");
    vec![
        (0, line(A, B, "S 100:100(0)", OPTIONS, 60, 40)),
        (0, line(A, B, "S 777:777(0)", &smaller, 59, 40)),
        (9, line(B, A, "S. 300:300(0) ack 778", "<mss 1460>", 60, 0)),
        (9, line(B, A, "S. 300:300(0) ack 101", "<mss 1460>", 59, 0)),
        (12, line(A, B, ". 101:101(0) ack 301", "", 60, 41)),
        (12, line(A, B, ". 778:778(0) ack 301", "", 59, 41)),
    ]
}

#[test]
fn what_was_captured_before_and_behind_its_change_is_told_from_what_to_what() {
    let changed = found(&and_on(rewritten(), 60), Cause::Rewritten).expect("it is changed");
    assert_eq!((changed.side, changed.confidence), (Some(Side::A), Confidence::Certain));
    assert!(changed.because.contains("sequence number 100 → 777"), "{}", changed.because);
    assert!(changed.because.contains("MSS 1460 → 1200"), "{}", changed.because);
}

/// The first attempts are refused, the last one is not answered.
pub fn limited() -> Vec<(u64, String)> {
    let mut packets = Vec::new();
    for (n, seq) in (0..3).zip([100, 200, 300]) {
        packets.push((n * 100, line(A, B, &format!("S {seq}:{seq}(0)"), "", 64, 1)));
        let reset = format!("R. 0:0(0) ack {}", seq + 1);
        packets.push((n * 100 + 40, line(B, A, &reset, "", 55, 0)));
    }
    packets.extend((0..6).map(|n| (400 + n * 1_000, line(A, B, "S 400:400(0)", "", 64, 1))));
    packets
}

#[test]
fn refusals_and_then_silence_are_a_limit() {
    let limit = found(&and_on(limited(), 60), Cause::SynRateLimit).expect("it is one");
    assert_eq!((limit.side, limit.confidence), (Some(Side::B), Confidence::Likely));
    assert!(limit.because.contains("first 3 attempts"), "{}", limit.because);
    // One refusal may have been a closed port's, which then was filtered.
    assert_eq!(found(&and_on(limited()[4..].to_vec(), 60), Cause::SynRateLimit), None);
}

/// Openings from port after port, of which the first are answered.
pub fn limited_by_address(answered: u32) -> Vec<(u64, String)> {
    let mut packets = Vec::new();
    for n in 0..6_u32 {
        let (from, at) = (format!("192.0.2.1:{}", 998 + n), u64::from(n) * 10);
        let syn = line(&from, B, &format!("S {n}00:{n}00(0)"), "", 64, 1);
        packets.push((at, syn.clone()));
        if n < answered {
            packets.push((at + 5, line(B, &from, &format!("R. 0:0(0) ack {n}01"), "", 55, 0)));
        } else {
            packets.extend((1..6).map(|k| (at + k * 1_000, syn.clone())));
        }
    }
    packets.sort_by_key(|(at, _)| *at);
    packets
}

#[test]
fn the_first_of_many_openings_that_are_answered_show_a_limit() {
    let of = |answered| {
        let connections = explained(&and_on(limited_by_address(answered), 60));
        let all = connections.into_iter().flat_map(|one| one.diagnosis).map(|one| one.cause);
        all.collect::<Vec<_>>()
    };
    assert_eq!(of(3)[3..], [Cause::SynRateLimit; 3]);
    assert_eq!(of(1)[1..], [Cause::NoAnswer; 5]);
    assert_eq!(of(5)[5..], [Cause::NoAnswer; 1]);
}

pub fn not_turned_around() -> Vec<(u64, String)> {
    let (a, c, outside) = ("10.0.0.2:1000", "10.0.0.3:7000", "198.51.100.1");
    let mut packets = Vec::new();
    for n in 0..5_u64 {
        packets.push((n * 1_000, line(a, &format!("{outside}:7000"), "S 100:100(0)", "", 64, 1)));
        packets
            .push((n * 1_000 + 30, line(c, &format!("{outside}:1000"), "S 300:300(0)", "", 64, 1)));
    }
    packets
}

#[test]
fn two_inside_that_aim_at_each_other_outside_and_do_not_meet_have_no_hairpin() {
    assert_eq!(causes(&and_on(not_turned_around(), 60)), [Cause::HairpinUnsupported; 2]);
    // Other ports are other people's.
    let others =
        not_turned_around().into_iter().map(|(at, one)| (at, one.replace(":1000 S", ":1001 S")));
    assert_eq!(causes(&and_on(others.collect(), 60)), [Cause::NoAnswer; 2]);
}

#[test]
fn what_came_in_and_was_not_answered_was_dropped_at_home() {
    let of = |ttl_of_b: u8, inbound: Option<bool>| {
        let known = [
            ("192.0.2.9:9", B, "S 1:1(0)", 55, Some(true)),
            (B, "192.0.2.9:9", "S. 8:8(0) ack 2", ttl_of_b, Some(false)),
        ];
        let known = known.map(|(from, to, what, ttl, inbound)| {
            (0, inbound, line(from, to, what, "", ttl, 1).parse().expect("a packet"))
        });
        let syn = line(A, B, "S 100:100(0)", "", 55, 1);
        let syns = (0..5).map(|n| {
            (n * 1_000_000_000, inbound, syn.parse::<crate::wire::Packet>().expect("a packet"))
        });
        let other = line("203.0.113.9:1", "203.0.113.8:2", "S 1:1(0)", "", 50, 1);
        let on = (60_000_000_000, None, other.parse().expect("a packet"));
        let packets: Vec<_> = known.into_iter().chain(syns).chain([on]).collect();
        let openings = openings_in(100, &packets);
        let ours = openings.iter().find(|one| one.a.to_string() == A).expect("it is there");
        explain(ours, 1, 1).diagnosis[0].cause
    };
    assert_eq!(of(64, Some(true)), Cause::LocalFirewall);
    assert_eq!(of(64, None), Cause::NoAnswer);
    // A router passes on what it does not answer, and b's packets have come from farther.
    assert_eq!(of(63, Some(true)), Cause::NoAnswer);
}

/// One SYN, seen outside of a NAT that gave it another port in between.
pub fn moved() -> Vec<(u64, String)> {
    let at = [0, 1_000, 2_000, 3_000, 4_000, 5_000, 7_000, 11_000];
    let port = |at| if at < 7_000 { 1000 } else { 1777 };
    let syn = |at| line(&format!("192.0.2.1:{}", port(at)), B, "S 100:100(0)", OPTIONS, 55, 1);
    at.map(|at| (at, syn(at))).to_vec()
}

#[test]
fn a_syn_that_goes_on_from_another_port_had_its_mapping_expire() {
    let expired = found(&and_on(moved(), 60), Cause::MappingExpired).expect("it is expired");
    assert_eq!((expired.side, expired.confidence), (Some(Side::A), Confidence::Likely));
    assert!(expired.because.contains("7.0 s after"), "{}", expired.because);
    assert_eq!(causes(&and_on(moved(), 60)), [Cause::MappingExpired; 2]);
    // Another number is another SYN.
    let other = moved().into_iter().map(|(at, one)| {
        (at, one.replace("1777 > 198.51.100.1:7000 S 100:100", "1777 > 198.51.100.1:7000 S 9:9"))
    });
    assert_eq!(found(&and_on(other.collect(), 60), Cause::MappingExpired), None);
}

/// b's own SYN came from farther away, long before somebody nearer resets what goes there.
pub fn forgotten(silence_s: u64) -> Vec<(u64, String)> {
    let later = silence_s * 1_000;
    vec![
        (0, line(B, A, "S 300:300(0)", "", 55, 1)),
        (1_000, line(B, A, "S 300:300(0)", "", 55, 1)),
        (later, line(A, B, "S 100:100(0)", "", 64, 1)),
        (later + 30, line(B, A, "R. 0:0(0) ack 101", "", 56, 0)),
    ]
}

#[test]
fn an_endpoint_that_was_in_use_and_is_reset_by_somebody_nearer_has_expired() {
    let expired =
        found(&and_on(forgotten(200), 300), Cause::MappingExpired).expect("it is expired");
    assert_eq!((expired.side, expired.confidence), (Some(Side::B), Confidence::Likely));
    assert!(expired.because.contains("200 s before"), "{}", expired.because);
    assert_eq!(found(&and_on(forgotten(30), 300), Cause::MappingExpired), None);
}

#[test]
fn the_addresses_of_a_nat64_are_remarked_where_it_fails() {
    let (a, b) = ("[2001:db8::1]:1000", "[64:ff9b::c633:6401]:7000");
    let syns = (0..5).map(|n| (n * 1_000, line(a, b, "S 100:100(0)", "", 64, 0)));
    let diagnosis = explained(&and_on(syns.collect(), 60)).remove(0).diagnosis;
    let all: Vec<_> = diagnosis.iter().map(|found| found.cause).collect();
    assert_eq!(all, [Cause::NoAnswer, Cause::Nat64]);
    assert!(diagnosis[1].because.contains("198.51.100.1"), "{}", diagnosis[1].because);
    let opens = vec![
        (0, line(a, b, "S 100:100(0)", "", 64, 0)),
        (10, line(b, a, "S. 300:300(0) ack 101", "", 55, 0)),
        (11, line(a, b, ". 101:101(0) ack 301", "", 64, 0)),
    ];
    assert_eq!(causes(&and_on(opens, 60)), [Cause::NoAnswer; 0]);
}

#[test]
fn a_reset_that_comes_too_soon_is_not_the_hosts() {
    let with = |after: u64| {
        let other = "198.51.100.1:22";
        let packets = vec![
            (0, line("192.0.2.1:999", other, "S 1:1(0)", "", 64, 1)),
            (200, line(other, "192.0.2.1:999", "S. 9:9(0) ack 2", "", 55, 1)),
            (1_000, line(A, B, "S 100:100(0)", "", 64, 1)),
            (1_000 + after, line(B, A, "R. 0:0(0) ack 101", "", 55, 0).replace("65535", "0")),
        ];
        let connections = explained(&and_on(packets, 60));
        let ours = connections.into_iter().find(|one| one.a.to_string() == A);
        ours.expect("it is there").diagnosis.remove(0)
    };
    let soon = with(20);
    assert_eq!((soon.cause, soon.confidence), (Cause::MiddleboxReset, Confidence::Likely));
    assert!(soon.because.contains("20.000 ms after") && soon.because.contains("IP ID 0, window"));
    assert_eq!(with(190).cause, Cause::ClosedPort);
}

#[test]
fn at_the_other_end_it_is_seen_by_how_much_the_window_was_missed() {
    let late = [
        (0, "a S 100:100(0)"),
        (0, "b R. 0:0(0) ack 101"),
        (70, "b S 300:300(0)"),
        (150, "a R. 0:0(0) ack 301"),
    ];
    let (connection, cause) = super::first(&and_on(seen(&late, 55, 64), 60));
    assert_eq!((connection.seen_at, cause), (SeenAt::B, Some(Cause::MissedWindow)));
    let because = &connection.diagnosis[0].because;
    assert!(because.contains("70.000 ms before b sent its own"), "{because}");
    // b's SYN was refused before a's came.
    let early = [
        (0, "b S 300:300(0)"),
        (80, "a R. 0:0(0) ack 301"),
        (95, "a S 100:100(0)"),
        (95, "b R. 0:0(0) ack 101"),
    ];
    let (connection, cause) = super::first(&and_on(seen(&early, 55, 64), 60));
    assert_eq!(cause, Some(Cause::MissedWindow));
    let because = &connection.diagnosis[0].because;
    assert!(because.contains("ms"), "{because}");
}

#[test]
fn a_split_handshake_is_one_in_either_form() {
    // Bare SYN back, which shows by its echo that it answers one.
    let echo = "<mss 1460,sackOK,TS val 5 ecr 1000,nop,wscale 7>";
    let three = vec![
        (0, line(A, B, "S 100:100(0)", OPTIONS, 64, 1)),
        (40, line(B, A, "S 300:300(0)", echo, 55, 1)),
        (41, line(A, B, "S. 100:100(0) ack 301", OPTIONS, 64, 2)),
        (80, line(B, A, ". 301:301(0) ack 101", "", 55, 2)),
    ];
    assert_eq!(first(&and_on(three, 60)).1, Some(Cause::SplitHandshake));
    // An ACK, and then the SYN.
    let four = vec![
        (0, line(A, B, "S 100:100(0)", "", 64, 1)),
        (40, line(B, A, ". 300:300(0) ack 101", "", 55, 1)),
        (41, line(B, A, "S 300:300(0)", "", 55, 1)),
        (42, line(A, B, "S. 100:100(0) ack 301", "", 64, 2)),
        (80, line(B, A, ". 301:301(0) ack 101", "", 55, 2)),
    ];
    assert_eq!(first(&and_on(four, 60)).1, Some(Cause::SplitHandshake));
}

#[test]
fn the_stack_is_named_by_how_it_repeats_its_syn_even_where_it_opens_late() {
    let options = "<mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 10>";
    let mut packets: Vec<_> = [0, 1_024, 2_048, 3_072]
        .map(|at| (at, line(A, B, "S 100:100(0)", options, 64, 1)))
        .to_vec();
    packets.extend([
        (3_100, line(B, A, "S. 300:300(0) ack 101", "", 55, 1)),
        (3_101, line(A, B, ". 101:101(0) ack 301", "", 64, 2)),
    ]);
    let (connection, _) = first(&and_on(packets, 60));
    assert_eq!(
        (connection.outcome, connection.stack),
        (ConnectionOutcome::Open, Some(Stack::Linux))
    );
}
