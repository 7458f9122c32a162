//! Openings, and what a NAT does to the segments of one: blocks, sequence numbers, options, TTL.

use super::*;
use crate::wire::Seq;

// RFC 5382 REQ-2, REQ-2a; RFC 9293 §3.5.

#[test]
fn a_three_way_handshake_passes() {
    let mut nat = nat("filtering=apdf");
    assert_eq!(nat.out("a:7000 > r:80 S 100:100(0)"), "out n:7000 > r:80 S 100:100(0)");
    assert_eq!(
        nat.inn("r:80 > n:7000 S. 300:300(0) ack 101"),
        "in r:80 > a:7000 S. 300:300(0) ack 101"
    );
    assert_eq!(
        nat.out("a:7000 > r:80 . 101:101(0) ack 301"),
        "out n:7000 > r:80 . 101:101(0) ack 301"
    );
}

/// The four segments of RFC 9293 figure 7, and which of them pass.
fn simultaneous_open(nat: &mut Bench) -> [bool; 4] {
    [
        nat.out("a:7000 > r:80 S 100:100(0)"),
        nat.inn("r:80 > n:7000 S 300:300(0)"),
        nat.out("a:7000 > r:80 S. 100:100(0) ack 301"),
        nat.inn("r:80 > n:7000 S. 300:300(0) ack 101"),
    ]
    .map(|fate| fate != "drop")
}

#[test]
fn a_simultaneous_open_passes() {
    assert_eq!(simultaneous_open(&mut nat("filtering=apdf")), [true; 4]);
}

#[test]
fn a_simultaneous_open_can_be_blocked_at_each_of_its_segments() {
    let blocked = |at: &str| simultaneous_open(&mut nat(&format!("blocked-at={at}")));
    assert_eq!(blocked("syn-ack-out"), [true, true, false, true]);
    assert_eq!(blocked("syn-ack-in"), [true, true, true, false]);
    // Without the SYN in, neither SYN,ACK belongs to a crossing.
    assert_eq!(blocked("syn-in"), [true, false, true, true]);
}

#[test]
fn what_blocks_a_simultaneous_open_lets_handshakes_pass() {
    for at in ["syn-in", "syn-ack-out", "syn-ack-in"] {
        let mut nat = nat(&format!("filtering=eif,blocked-at={at}"));
        nat.out("a:7000 > r:80 S 100:100(0)");
        assert_ne!(nat.inn("r:80 > n:7000 S. 300:300(0) ack 101"), "drop", "{at}");
        assert_eq!(nat.reaches("q:80 > n:7000"), "a:7000", "{at}");
        assert_ne!(nat.out("a:7000 > q:80 S. 100:100(0) ack 301"), "drop", "{at}");
    }
}

#[test]
fn a_handshake_after_a_simultaneous_open_that_closed_is_a_handshake() {
    let mut nat = nat("blocked-at=syn-ack-in");
    simultaneous_open(&mut nat);
    nat.out("a:7000 > r:80 F. 101:101(0) ack 301");
    nat.inn("r:80 > n:7000 F. 301:301(0) ack 102");
    nat.out("a:7000 > r:80 S 900:900(0)");
    assert_ne!(nat.inn("r:80 > n:7000 S. 500:500(0) ack 901"), "drop");
}

// Sequence numbers replaced on the way, as real paths do (Honda et al. 2011).

/// What the NAT adds to the numbers of `a:7000`.
fn offset(nat: &mut Bench) -> u32 {
    let fate = nat.nat.take(nat.now, Side::Inside, packet("a:7000 > r:80 S 100:100(0)"));
    let Fate::Forward(Side::Outside, packet) = fate else { panic!("it goes out") };
    packet.segment().expect("a segment").seq - Seq(100)
}

#[test]
fn a_replaced_sequence_number_goes_out_and_its_acknowledgement_comes_back() {
    let mut nat = nat("isn=rewritten");
    let offset = offset(&mut nat);
    assert_ne!(offset, 0);
    let seen = Seq(100) + offset;
    assert_eq!(
        nat.inn(&format!("r:80 > n:7000 S. 300:300(0) ack {}", seen + 1)),
        "in r:80 > a:7000 S. 300:300(0) ack 101"
    );
    assert_eq!(
        nat.out("a:7000 > r:80 . 101:101(0) ack 301"),
        format!("out n:7000 > r:80 . {0}:{0}(0) ack 301", seen + 1)
    );
}

#[test]
fn a_segment_without_ack_keeps_its_acknowledgement_field() {
    let mut nat = nat("isn=rewritten");
    offset(&mut nat);
    assert_eq!(nat.inn("r:80 > n:7000 S 300:300(0)"), "in r:80 > a:7000 S 300:300(0)");
}

#[test]
fn an_error_quotes_the_number_that_its_host_sent() {
    let mut nat = nat("isn=rewritten");
    let seen = Seq(100) + offset(&mut nat);
    assert_eq!(
        nat.inn(&format!("q > n icmp 11/0 [n:7000 > r:80 seq {seen} ttl 1]")),
        "in q > a icmp 11/0 [a:7000 > r:80 seq 100 ttl 1]"
    );
}

#[test]
fn each_host_that_hairpins_has_its_own_numbers_replaced() {
    let mut nat = nat("isn=rewritten,filtering=eif");
    nat.maps("b:8000 > r:80");
    let offset = offset(&mut nat);
    let seen = Seq(100) + offset;
    assert_eq!(
        nat.out("a:7000 > n:8000 S 100:100(0)"),
        format!("in n:7000 > b:8000 S {seen}:{seen}(0)")
    );
    let back = nat.out(&format!("b:8000 > n:7000 S. 900:900(0) ack {}", seen + 1));
    assert!(back.ends_with("(0) ack 101") && !back.contains(" 900:"), "{back}");
}

#[test]
fn stripping_leaves_the_segment_size_alone_in_both_directions() {
    let mut nat = nat("options=stripped");
    let options = "<mss 1400,sackOK,TS val 9 ecr 8,nop,wscale 7>";
    assert_eq!(
        nat.out(&format!("a:7000 > r:80 S 1:1(0) {options}")),
        "out n:7000 > r:80 S 1:1(0) <mss 1400>"
    );
    assert_eq!(
        nat.inn(&format!("r:80 > n:7000 S. 1:1(0) ack 2 {options}")),
        "in r:80 > a:7000 S. 1:1(0) ack 2 <mss 1400>"
    );
    assert_eq!(
        nat.out("a:7000 > r:80 . 2:2(0) ack 2 <nop,nop,TS val 9 ecr 8>"),
        "out n:7000 > r:80 . 2:2(0) ack 2"
    );
}

#[test]
fn options_pass_unless_they_are_stripped() {
    let mut nat = nat("");
    let options = "<mss 1400,sackOK,TS val 9 ecr 8,nop,wscale 7>";
    assert!(nat.out(&format!("a:7000 > r:80 S 1:1(0) {options}")).ends_with(options));
}

#[test]
fn everything_else_in_a_packet_stays_as_it_is() {
    let mut nat = nat("");
    let line = "10.0.0.2:7000 > 203.0.113.5:80 SPUEW 1:9(8) ack 7 win 5 urg 3 <mss 9> ttl 64 id 77";
    let sent: Packet = format!("{line} fragmentable class 3").parse().expect("a packet");
    let Fate::Forward(_, packet) = nat.nat.take(nat.now, Side::Inside, sent) else {
        panic!("it goes out")
    };
    let line = line.replace("10.0.0.2", "198.51.100.1").replace("ttl 64", "ttl 63");
    assert_eq!(packet.to_string(), format!("{line} fragmentable class 3"));
}

/// RFC 791 §3.2; that RFC 5508 §7.2 asks for an error besides is not modelled.
#[test]
fn a_packet_takes_one_hop_and_ends_when_it_has_none_left() {
    let mut nat = nat("filtering=eif");
    let mut left = |side, line: &str, ttl| {
        let packet = Packet { ttl, ..packet(line) };
        match nat.nat.take(nat.now, side, packet) {
            Fate::Forward(_, packet) => Some(packet.ttl),
            _ => None,
        }
    };
    assert_eq!(left(Side::Inside, "a:7000 > r:80 S 0:0(0)", 2), Some(1));
    assert_eq!(left(Side::Inside, "a:7000 > r:80 S 0:0(0)", 1), None);
    assert_eq!(left(Side::Outside, "r:80 > n:7000 S 0:0(0)", 2), Some(1));
    assert_eq!(left(Side::Outside, "r:80 > n:7000 S 0:0(0)", 0), None);
    assert_eq!(left(Side::Inside, "a:7000 > n:7000 S 0:0(0)", 2), Some(1), "one NAT, one hop");
}

/// What ends for want of hops leaves nothing behind.
#[test]
fn a_packet_that_ends_makes_no_binding() {
    let mut nat = nat("filtering=eif");
    let dying = Packet { ttl: 1, ..packet("a:7000 > r:80 S 0:0(0)") };
    assert_eq!(nat.nat.take(nat.now, Side::Inside, dying), Fate::Drop);
    assert_eq!(nat.reaches("r:80 > n:7000"), "drop");
}
