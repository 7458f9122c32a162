//! The session machine (RFC 7857 §2, figure 1) and its timers (RFC 5382 REQ-5).

use super::*;
use crate::nat::IdleTimeouts;

/// Whether `a:7000` is still open to `r:80`, told by a segment that changes nothing but the time
/// it is kept.
fn is_open(nat: &mut Bench) -> bool {
    nat.inn("r:80 > n:7000 . 301:301(0) ack 101") != "drop"
}

/// How long, in seconds, `a:7000` stays open to `r:80` if nothing more is sent.
fn lasts(nat: &Bench) -> u64 {
    let open = |seconds: u64| {
        let mut later = Bench { nat: nat.nat.clone(), now: nat.now };
        later.wait(seconds);
        is_open(&mut later)
    };
    let (mut open_until, mut closed_at) = (0, 1_000_000);
    assert!(open(open_until) && !open(closed_at));
    while closed_at - open_until > 1 {
        let between = u64::midpoint(open_until, closed_at);
        *(if open(between) { &mut open_until } else { &mut closed_at }) = between;
    }
    closed_at
}

fn established() -> Bench {
    let mut nat = nat("filtering=apdf");
    nat.open("a:7000", "n:7000", "r:80");
    nat
}

#[test]
fn init_lasts_four_minutes() {
    let mut nat = nat("");
    nat.maps("a:7000 > r:80");
    assert_eq!(lasts(&nat), 240);
}

#[test]
fn a_syn_in_answer_to_a_syn_establishes_with_an_ack_or_without() {
    for answer in ["S 300:300(0)", "S. 300:300(0) ack 101"] {
        let mut nat = nat("");
        nat.maps("a:7000 > r:80");
        nat.inn(&format!("r:80 > n:7000 {answer}"));
        assert_eq!(lasts(&nat), 7_440, "{answer}");
    }
}

#[test]
fn no_other_segment_establishes() {
    for answer in [". 300:300(0) ack 101", "F. 300:300(0) ack 101", "P. 300:308(8) ack 101"] {
        let mut nat = nat("");
        nat.maps("a:7000 > r:80");
        nat.inn(&format!("r:80 > n:7000 {answer}"));
        assert_eq!(lasts(&nat), 240, "{answer}");
    }
}

#[test]
fn a_connection_from_outside_establishes_by_the_syn_out() {
    let mut nat = nat("filtering=eif");
    nat.maps("a:7000 > q:80");
    nat.reaches("r:80 > n:7000");
    nat.out("a:7000 > r:80 S. 100:100(0) ack 301");
    assert_eq!(lasts(&nat), 7_440);
}

#[test]
fn established_lasts_two_hours_and_four_minutes_from_the_last_packet_either_way() {
    let mut nat = established();
    assert_eq!(lasts(&nat), 7_440);
    nat.wait(7_000);
    nat.out("a:7000 > r:80 . 101:101(0) ack 301");
    assert_eq!(lasts(&nat), 7_440);
    nat.wait(7_000);
    nat.inn("r:80 > n:7000 . 301:301(0) ack 101");
    assert_eq!(lasts(&nat), 7_440);
    nat.wait(7_440);
    assert!(!is_open(&mut nat));
}

#[test]
fn a_repeated_syn_renews_init_or_not_as_the_device_does() {
    for (refreshes, left) in [(true, 240), (false, 140)] {
        let knobs = turned("");
        let timeouts = IdleTimeouts { syn_refreshes: refreshes, ..knobs.timeouts };
        let mut nat = Bench::new(&Knobs { timeouts, ..knobs }, &["n"], 7);
        nat.maps("a:7000 > r:80");
        nat.wait(100);
        nat.maps("a:7000 > r:80");
        assert_eq!(lasts(&nat), left);
    }
}

/// Linux, net/netfilter/nf_conntrack_proto_tcp.c: 120 s from the first SYN.
#[test]
fn netfilter_forgets_a_syn_after_two_minutes_however_often_it_is_repeated() {
    let mut nat = nat("linux");
    for _ in 0..4 {
        assert_eq!(nat.maps("a:7000 > r:80"), "n:7000");
        nat.wait(29);
    }
    assert_eq!(lasts(&nat), 4);
    assert_eq!(nat.reaches("r:80 > n:7000"), "a:7000");
    assert_eq!(lasts(&nat), 432_000);
}

/// RFC 7857 §2.2.
#[test]
fn a_reset_is_translated_and_leaves_four_minutes() {
    for from_inside in [true, false] {
        let mut nat = established();
        let fate = if from_inside {
            nat.out("a:7000 > r:80 R 101:101(0)")
        } else {
            nat.inn("r:80 > n:7000 R 301:301(0)")
        };
        assert_ne!(fate, "drop");
        assert_eq!(lasts(&nat), 240);
    }
}

#[test]
fn any_packet_but_a_reset_revives_a_connection_that_was_reset() {
    let mut nat = established();
    nat.inn("r:80 > n:7000 R 301:301(0)");
    nat.wait(239);
    nat.inn("r:80 > n:7000 R 301:301(0)");
    assert_eq!(lasts(&nat), 240);
    nat.wait(239);
    nat.out("a:7000 > r:80 . 101:101(0) ack 301");
    assert_eq!(lasts(&nat), 7_440);
}

#[test]
fn a_reset_during_init_neither_ends_nor_renews_it() {
    let mut nat = nat("");
    nat.maps("a:7000 > r:80");
    nat.wait(100);
    assert_ne!(nat.inn("r:80 > n:7000 R. 0:0(0) ack 101"), "drop");
    assert_eq!(lasts(&nat), 140);
}

#[test]
fn one_fin_leaves_the_long_time_and_the_second_four_minutes() {
    let fins = [
        ["a:7000 > r:80 F. 101:101(0) ack 301", "r:80 > n:7000 F. 301:301(0) ack 102"],
        ["r:80 > n:7000 F. 301:301(0) ack 101", "a:7000 > r:80 F. 101:101(0) ack 302"],
    ];
    for both in fins {
        let mut nat = established();
        for (fin, left) in both.into_iter().zip([7_440, 240]) {
            if fin.starts_with('a') {
                nat.out(fin)
            } else {
                nat.inn(fin)
            };
            assert_eq!(lasts(&nat), left, "{fin}");
        }
    }
}

#[test]
fn a_repeated_fin_closes_nothing() {
    let mut nat = established();
    nat.out("a:7000 > r:80 F. 101:101(0) ack 301");
    nat.out("a:7000 > r:80 F. 101:101(0) ack 301");
    assert_eq!(lasts(&nat), 7_440);
}

#[test]
fn a_reset_after_both_fins_does_not_let_a_late_packet_revive_the_connection() {
    let mut nat = established();
    nat.out("a:7000 > r:80 F. 101:101(0) ack 301");
    nat.inn("r:80 > n:7000 F. 301:301(0) ack 102");
    nat.inn("r:80 > n:7000 R 302:302(0)");
    nat.out("a:7000 > r:80 . 102:102(0) ack 302");
    assert_eq!(lasts(&nat), 240);
}

#[test]
fn a_syn_after_both_fins_opens_anew() {
    let mut nat = established();
    nat.out("a:7000 > r:80 F. 101:101(0) ack 301");
    nat.inn("r:80 > n:7000 F. 301:301(0) ack 102");
    nat.open("a:7000", "n:7000", "r:80");
    assert_eq!(lasts(&nat), 7_440);
}

/// RFC 7857 §2.1: opening and closing have timers of their own.
#[test]
fn the_three_timers_are_set_apart_from_each_other() {
    let [partially_open, established, closing] = [30, 900, 60].map(Duration::from_secs);
    let timeouts = IdleTimeouts { partially_open, established, closing, syn_refreshes: true };
    let mut nat = Bench::new(&Knobs { timeouts, ..turned("") }, &["n"], 7);
    nat.maps("a:7000 > r:80");
    assert_eq!(lasts(&nat), 30);
    nat.inn("r:80 > n:7000 S. 300:300(0) ack 101");
    assert_eq!(lasts(&nat), 900);
    nat.out("a:7000 > r:80 R 101:101(0)");
    assert_eq!(lasts(&nat), 60);
}

/// RFC 4787 REQ-6: a binding lives as long as one of its connections.
#[test]
fn a_binding_outlives_each_of_its_connections_but_the_last() {
    let mut nat = nat("filtering=adf");
    nat.maps("a:7000 > r:80");
    nat.wait(200);
    assert_eq!(nat.maps("a:7000 > q:80"), "n:7000");
    nat.wait(200);
    assert_eq!(nat.reaches("q:80 > n:7000"), "a:7000");
    assert_ne!(nat.maps("b:7000 > r:80"), "n:7000");
}
