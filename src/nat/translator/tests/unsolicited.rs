//! Unsolicited SYNs (RFC 5382 §4.3, REQ-4).

use super::*;

#[test]
fn silence_meets_a_syn_for_ever() {
    let mut nat = nat("unsolicited=dropped");
    assert_eq!(nat.inn("r:80 > n:7000 S 300:300(0)"), "drop");
    assert_eq!(nat.nat.wakes(), None);
}

#[test]
fn a_reset_comes_at_once_and_acknowledges_the_syn() {
    let mut nat = nat("unsolicited=reset");
    assert_eq!(nat.inn("r:80 > n:7000 S 300:300(0)"), "answer n:7000 > r:80 R. 0:0(0) ack 301");
}

#[test]
fn an_error_comes_at_once_with_its_code_and_quotes_the_syn() {
    let mut nat = nat("unsolicited=icmp-13");
    assert_eq!(
        nat.inn("r:80 > n:7000 S 300:300(0)"),
        "answer n > r icmp 3/13 [r:80 > n:7000 seq 300 ttl 63]"
    );
}

#[test]
fn a_filtered_port_is_answered_as_an_unmapped_one() {
    let mut nat = nat("unsolicited=reset,filtering=adf");
    nat.maps("a:7000 > r:80");
    assert_eq!(nat.inn("q:80 > n:7000 S 300:300(0)"), "answer n:7000 > q:80 R. 0:0(0) ack 301");
}

#[test]
fn only_a_bare_syn_is_answered() {
    let mut nat = nat("unsolicited=reset");
    for segment in ["S. 0:0(0) ack 1", ". 0:0(0) ack 1", "R 0:0(0)", "F. 0:0(0) ack 1"] {
        assert_eq!(nat.inn(&format!("r:80 > n:7000 {segment}")), "drop");
    }
}

#[test]
fn an_answer_comes_no_sooner_than_it_is_told_to() {
    let mut nat = nat("unsolicited=reset@3s");
    assert_eq!(nat.inn("r:80 > n:7000 S 300:300(0)"), "drop");
    assert_eq!(nat.nat.wakes(), Some(Instant::from_millis(3_000)));
    nat.wait(2);
    assert!(nat.due().is_empty());
    nat.wait(1);
    assert_eq!(nat.due(), ["n:7000 > r:80 R. 0:0(0) ack 301"]);
    assert!(nat.due().is_empty());
}

#[test]
fn an_answer_that_holds_nothing_comes_even_after_a_syn_out() {
    let mut nat = nat("unsolicited=reset@3s");
    nat.reaches("r:80 > n:7000");
    nat.maps("a:7000 > r:80");
    nat.wait(3);
    assert_eq!(nat.due().len(), 1);
}

#[test]
fn a_held_syn_is_answered_by_an_error_after_six_seconds() {
    let mut nat = nat("hold=6s");
    assert_eq!(nat.reaches("r:80 > n:7000"), "drop");
    nat.wait(5);
    assert!(nat.due().is_empty());
    nat.wait(1);
    assert_eq!(nat.due(), ["n > r icmp 3/3 [r:80 > n:7000 seq 300 ttl 63]"]);
}

#[test]
fn a_held_syn_is_dropped_when_the_outbound_syn_comes() {
    let mut nat = nat("hold=6s");
    nat.reaches("r:80 > n:7000");
    nat.wait(5);
    assert_eq!(nat.maps("a:7000 > r:80"), "n:7000");
    assert_eq!(nat.nat.wakes(), None);
    nat.wait(10);
    assert!(nat.due().is_empty());
}

#[test]
fn a_syn_out_for_another_connection_releases_nothing() {
    let mut nat = nat("hold=6s");
    nat.reaches("r:80 > n:7000");
    nat.maps("a:7000 > r:81");
    nat.maps("a:7001 > r:80");
    nat.wait(6);
    assert_eq!(nat.due().len(), 1);
}

#[test]
fn only_a_syn_out_releases_a_held_one() {
    let mut nat = nat("hold=6s");
    nat.reaches("r:80 > n:7000");
    nat.out("a:7000 > r:80 . 1:1(0) ack 1");
    nat.wait(6);
    assert_eq!(nat.due().len(), 1);
}

/// Jool's `maximum-simultaneous-opens`.
#[test]
fn the_eleventh_syn_is_answered_at_once() {
    let mut nat = nat("hold=6s");
    for remote in 80..90 {
        assert_eq!(nat.reaches(&format!("r:{remote} > n:7000")), "drop");
    }
    assert_eq!(
        nat.inn("r:90 > n:7000 S 300:300(0)"),
        "answer n > r icmp 3/3 [r:90 > n:7000 seq 300 ttl 63]"
    );
    nat.wait(6);
    assert_eq!(nat.due().len(), 10);
    assert_eq!(nat.reaches("r:90 > n:7000"), "drop", "there is room again");
}

#[test]
fn a_repeated_syn_takes_no_second_place_and_no_second_answer() {
    let mut nat = nat("hold=6s/2");
    for _ in 0..5 {
        assert_eq!(nat.reaches("r:80 > n:7000"), "drop");
        nat.wait(1);
    }
    assert_eq!(nat.reaches("r:81 > n:7000"), "drop", "the second place is free");
    nat.wait(1);
    assert_eq!(nat.due().len(), 1, "six seconds after the first of its SYNs");
    nat.wait(5);
    assert_eq!(nat.due().len(), 1);
}

#[test]
fn answers_go_out_in_the_order_of_their_syns() {
    let mut nat = nat("hold=6s");
    nat.reaches("r:81 > n:7000");
    nat.reaches("r:80 > n:7000");
    nat.wait(1);
    nat.reaches("q:80 > n:7000");
    nat.wait(9);
    let (due, syns) = (nat.due(), ["r:81", "r:80", "q:80"]);
    assert_eq!(due.len(), syns.len());
    assert!(due.iter().zip(syns).all(|(answer, syn)| answer.contains(syn)), "{due:?}");
}
