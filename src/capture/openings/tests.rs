use super::*;
use crate::capture::testing::{openings_in, openings_of, openings_of_at_most, openings_watched};
use crate::wire::{Flags, Packet};

const A: &str = "192.0.2.1:1000";
const B: &str = "198.51.100.1:80";

/// A line of a trace, with the TTL of a packet on its way.
fn line(from: &str, to: &str, what: &str) -> String {
    format!("{from} > {to} {what} win 65535 ttl 60 id 1")
}

fn handshake() -> Vec<(u64, String)> {
    vec![
        (0, line(A, B, "S 100:100(0)")),
        (10, line(B, A, "S. 300:300(0) ack 101")),
        (20, line(A, B, ". 101:101(0) ack 301")),
    ]
}

#[test]
fn a_handshake_is_one_plain_opening() {
    let opening = &openings_of(&handshake())[0];
    assert_eq!((opening.a.to_string(), opening.b.to_string()), (A.to_owned(), B.to_owned()));
    assert!(opening.is_plain());
    assert_eq!(opening.packets.len(), 3);
    assert_eq!(opening.ending, Ending::CaptureEnded);
}

#[test]
fn a_segment_without_any_flag_is_of_no_opening() {
    let mut packets: Vec<(u64, Option<bool>, Packet)> = Vec::new();
    for (at, line) in handshake() {
        let packet: Packet = line.parse().expect("a packet");
        let mut bare = packet.clone();
        bare.segment_mut().expect("a segment").flags = Flags::default();
        packets.extend([(at, None, packet), (at, None, bare)]);
    }
    let openings = openings_in(1_000, &packets);
    assert_eq!((openings.len(), openings[0].packets.len()), (1, 3));
    assert!(openings[0].is_plain());
}

#[test]
fn a_handshake_whose_times_go_backwards_is_not_plain() {
    let mut packets = handshake();
    packets.iter_mut().for_each(|(at, _)| *at += 1_000);
    assert!(openings_of(&packets)[0].is_plain());
    packets[2].0 = 0;
    assert!(!openings_of(&packets)[0].is_plain());
}

#[test]
fn a_handshake_that_ends_with_a_number_from_elsewhere_is_not_plain() {
    let mut packets = handshake();
    for (number, is_plain) in
        [("101:101", true), ("102:102", false), ("536879913:536879913", false)]
    {
        packets[2].1 = line(A, B, &format!(". {number}(0) ack 301"));
        assert_eq!(openings_of(&packets)[0].is_plain(), is_plain, "{number}");
    }
}

#[test]
fn one_whose_syn_was_sent_again_is_plain_and_one_whose_syn_was_captured_twice_is_not() {
    let again = |at| {
        let mut packets = vec![(0, line(A, B, "S 100:100(0)")), (at, line(A, B, "S 100:100(0)"))];
        packets.extend(handshake()[1..].iter().map(|(after, line)| (at + after, line.clone())));
        openings_of(&packets).remove(0)
    };
    assert!(again(1_000).is_plain());
    // A router's other interface has it a moment later, and it may have been changed between the two.
    assert!(!again(1).is_plain());
}

#[test]
fn a_handshake_whose_syn_is_a_reset_as_well_is_not_plain() {
    let mut packets = handshake();
    packets[0].1 = packets[0].1.replace(" S ", " SR ");
    let openings = openings_of(&packets);
    assert!(openings[0].packets[0].flags & RST != 0);
    assert!(!openings[0].is_plain());
}

#[test]
fn a_handshake_with_options_that_no_host_sends_is_not_plain() {
    let with = |syn: &str, syn_ack: &str| {
        let line = |from, to, what: &str, options: &str| {
            (0, format!("{from} > {to} {what} win 65535 <{options}> ttl 60 id 1"))
        };
        let packets = [
            line(A, B, "S 100:100(0)", syn),
            line(B, A, "S. 300:300(0) ack 101", syn_ack),
            line(A, B, ". 101:101(0) ack 301", ""),
        ];
        openings_of(&packets)[0].is_plain()
    };
    let usual = "mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7";
    assert!(with(usual, usual) && with(usual, "mss 1460"));
    // An option of which nothing depends.
    assert!(with("0x1e040001", ""));
    // Timestamps of 14 octets, MSS twice, and a list that breaks off.
    for odd in ["0x080e0000000100000000000000000101", "0x02040500020405dc", "0x01010108"] {
        assert!(!with(usual, odd) && !with(odd, "mss 1460"), "{odd}");
    }
}

#[test]
fn data_of_a_connection_that_stands_is_passed_over() {
    let mut packets = handshake();
    packets.push((25, line(B, A, "P. 301:401(100) ack 101")));
    packets.extend((0..100).map(|n| (30 + n, line(A, B, "P. 101:201(100) ack 401"))));
    let openings = openings_of(&packets);
    assert_eq!(openings.len(), 1);
    assert!(openings[0].packets.len() <= 4, "{:?}", openings[0].packets.len());
}

#[test]
fn a_connection_between_the_same_endpoints_after_one_that_was_of_use_is_another() {
    let mut packets = handshake();
    packets.push((30, line(B, A, "P. 301:401(100) ack 101")));
    packets.push((500, line(A, B, "S 9000:9000(0)")));
    let openings = openings_of(&packets);
    assert_eq!(openings.len(), 2);
    assert!(openings[0].is_plain() && !openings[1].is_plain());
}

#[test]
fn retries_of_one_that_failed_are_the_same_opening() {
    let packets = [
        (0, line(A, B, "S 100:100(0)")),
        (10, line(B, A, "R. 0:0(0) ack 101")),
        (500, line(A, B, "S 7777:7777(0)")),
        (510, line(B, A, "R. 0:0(0) ack 7778")),
    ];
    let openings = openings_of(&packets);
    assert_eq!(openings.len(), 1);
    assert_eq!(openings[0].packets.len(), 4);
}

#[test]
fn one_that_has_been_quiet_for_long_is_decided_while_others_go_on() {
    let mut packets = vec![(0, line(A, B, "S 100:100(0)"))];
    packets.push((80_000, line("192.0.2.9:9", B, "S 1:1(0)")));
    let openings = openings_of(&packets);
    assert_eq!(openings[0].ending, Ending::Decided);
    assert_eq!(openings[1].ending, Ending::CaptureEnded);
}

#[test]
fn one_that_went_on_for_a_while_and_has_been_quiet_for_long_since_is_not_joined() {
    let packets = [
        (0, line(A, B, "S 100:100(0)")),
        (1_000, line(A, B, "S 100:100(0)")),
        (200_000, line(B, A, "S 300:300(0)")),
    ];
    assert_eq!(openings_of(&packets).len(), 2);
}

#[test]
fn of_too_many_the_quietest_is_given_up_and_said_to_be_unfinished() {
    let syn = |port: u32| line(&format!("192.0.2.1:{}", 1000 + port), B, "S 5:5(0)");
    let packets: Vec<_> = (0..100).map(|n| (u64::from(n), syn(n))).collect();
    let openings = openings_of_at_most(10, &packets);
    assert_eq!(openings.len(), 100);
    let unfinished = openings.iter().filter(|opening| opening.ending == Ending::Unfinished);
    assert_eq!(unfinished.count(), 90);
    assert_eq!(openings[0].a.port(), 1000);
}

#[test]
fn a_flood_of_whatever_kind_keeps_no_more_than_it_may() {
    let syn =
        |port: u32, seq: u32| line(&format!("192.0.2.1:{port}"), B, &format!("S {seq}:{seq}(0)"));
    let once = |n: u64| vec![(n, syn(n as u32 + 1, 5))];
    let thrice = |n: u64| (0..3).map(|turn| (n + turn, syn(n as u32 + 1, turn as u32))).collect();
    let endless = |n: u64| vec![(n, syn(1 + n as u32 % 9, n as u32))];
    let kinds: [&dyn Fn(u64) -> Vec<(u64, String)>; 3] = [&once, &thrice, &endless];
    for kind in kinds {
        let lines: Vec<_> = (0..5_000).flat_map(kind).collect();
        let packet = |(at, line): &(u64, String)| (at * 1_000_000, None, line.parse().expect(line));
        let packets: Vec<_> = lines.iter().map(packet).collect();
        let mut most_under_way = 0;
        let openings = openings_watched(MOST, &packets, |openings| {
            most_under_way = most_under_way.max(openings.under_way());
            assert!(openings.under_way() <= MOST && openings.kept() <= 2 * MOST);
            assert!(openings.queues.entries() <= 3 * (2 * MOST + 1_100), "stale entries go");
        });
        assert!(most_under_way > 1, "there was a flood");
        let kept: u64 = openings.iter().map(|opening| opening.packets.len() as u64).sum();
        let left_out: u64 = openings.iter().map(|opening| opening.left_out).sum();
        assert_eq!(kept + left_out, packets.len() as u64, "each packet is of an opening");
    }
}

#[test]
fn what_is_over_leaves_nothing_behind() {
    let lines = (0..2_000).flat_map(|n: u64| {
        let a = format!("192.0.2.1:{}", n + 1);
        [
            (n, line(&a, B, "S 100:100(0)")),
            (n, line(B, &a, "S. 300:300(0) ack 101")),
            (n, line(&a, B, "P. 101:111(10) ack 301")),
            (n, line(B, &a, "P. 301:311(10) ack 111")),
        ]
    });
    let packet = |(at, line): (u64, String)| (at * 1_000_000, None, line.parse().expect("a line"));
    let packets: Vec<_> = lines.map(packet).collect();
    let openings = openings_watched(MOST, &packets, |openings| {
        assert!(openings.under_way() <= MOST && openings.kept() <= 2 * MOST);
        assert!(openings.queues.entries() <= 3 * (2 * MOST + 1_100), "stale entries go");
    });
    assert_eq!(openings.len(), 2_000);
    assert!(openings.iter().all(|opening| opening.is_plain()));
}

const MOST: usize = 64;

#[test]
fn an_icmp_error_is_of_the_connection_that_it_quotes() {
    let icmp = format!("203.0.113.1 > 192.0.2.1 icmp 3/13 [{A} > {B} seq 100 ttl 57] ttl 60 id 1");
    let stray =
        "203.0.113.1 > 192.0.2.1 icmp 3/1 [192.0.2.1:5 > 198.51.100.1:6 seq 1 ttl 57] ttl 60 id 1";
    let packets = [(0, line(A, B, "S 100:100(0)")), (10, icmp), (20, stray.to_owned())];
    let openings = openings_of(&packets);
    assert_eq!(openings.len(), 1);
    assert!(openings[0].packets[1].is_icmp());
}

#[test]
fn a_syn_from_elsewhere_is_related() {
    let packets =
        [(0, line(A, B, "S 100:100(0)")), (10, line("198.51.100.1:81", A, "S 300:300(0)"))];
    let openings = openings_of(&packets);
    let calls: Vec<_> = openings[0].related.iter().map(|call| call.from.port()).collect();
    assert_eq!(calls, [81]);
}
