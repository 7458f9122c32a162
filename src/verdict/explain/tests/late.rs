//! Captures that begin after the SYN, or lack a direction: what is proven, and no more.

use super::*;

fn outcome(lines: &[(u64, &str)]) -> (Opening, ConnectionOutcome) {
    let (connection, _) = first(&and_on(seen_at_a(lines), 90));
    (connection.opening, connection.outcome)
}

const SYN_ACK: (u64, &str) = (0, "b S. 300:300(0) ack 101");
const TAKEN: (u64, &str) = (1, "a . 101:101(0) ack 301");

#[test]
fn what_was_taken_and_used_was_open_whatever_ended_it() {
    use ConnectionOutcome::{Open, Reset};
    let data = (5, "a P. 101:111(10) ack 301");
    for ends in
        [(9, "a R. 111:111(0) ack 301"), (9, "b R 301:301(0)"), (9, "b . 301:301(0) ack 111")]
    {
        assert_eq!(outcome(&[SYN_ACK, TAKEN, data, ends]), (Opening::Unknown, Open));
    }
    assert_eq!(outcome(&[SYN_ACK, TAKEN]), (Opening::Unknown, Open));
    for ends in
        [(9, "a R. 101:101(0) ack 301"), (9, "b R 301:301(0)"), (9, "b R. 301:301(0) ack 101")]
    {
        assert_eq!(outcome(&[SYN_ACK, TAKEN, ends]), (Opening::Unknown, Reset), "{ends:?}");
    }
    // One direction alone: only what stands sends data.
    assert_eq!(outcome(&[SYN_ACK, (9, "b P. 301:401(100) ack 101")]).1, Open);
    assert_eq!(outcome(&[(0, "a S 100:100(0)"), (9, "a P. 101:111(10) ack 301")]).1, Open);
}

#[test]
fn what_is_not_known_of_one_that_was_open_is_said() {
    let (connection, cause) = first(&and_on(seen_at_a(&[SYN_ACK, TAKEN]), 90));
    assert_eq!(cause, None);
    let unknown = connection.unknown.join("; ");
    assert!(unknown.contains("how it opened") && unknown.contains("whether b became"), "{unknown}");
    assert!(!unknown.contains("whether a"), "{unknown}");
}

#[test]
fn a_reset_by_who_had_taken_the_syn_ack_refuses_nothing() {
    let syn = (0, "a S 100:100(0)");
    let gives_up = (2, "a R. 101:101(0) ack 301");
    let (connection, cause) = first(&and_on(seen_at_a(&[syn, SYN_ACK, gives_up]), 90));
    assert_eq!((connection.outcome, cause), (ConnectionOutcome::Reset, Some(Cause::Unknown)));
    let because = &connection.diagnosis[0].because;
    assert!(because.contains("the reset of a acknowledges the SYN,ACK"), "{because}");
    for late in [&[syn, SYN_ACK, TAKEN, gives_up][..], &[SYN_ACK, TAKEN, gives_up]] {
        assert_eq!(outcome(late).1, ConnectionOutcome::Reset);
    }
}

#[test]
fn an_answer_that_was_reset_or_numbers_of_another_connection_open_nothing() {
    let reset = outcome(&[SYN_ACK, (1, "a R 101:101(0)")]);
    assert_eq!(reset, (Opening::None, ConnectionOutcome::Refused));
    let other = outcome(&[SYN_ACK, (1, "a . 7777777:7777777(0) ack 88888888")]);
    assert_eq!(other, (Opening::None, ConnectionOutcome::TimedOut));
    // A challenge, perhaps: it had sent a SYN of its own.
    let crossed = [(0, "a S 100:100(0)"), (1, "b S 300:300(0)"), (2, "a . 101:101(0) ack 301")];
    assert_eq!(outcome(&crossed).1, ConnectionOutcome::TimedOut);
}

#[test]
fn what_was_given_up_says_nothing_of_another_attempt() {
    let gives_up = (2, "a R. 101:101(0) ack 301");
    let again = [(5, "b S. 900:900(0) ack 501"), (6, "a . 501:501(0) ack 901")];
    let data = (7, "b P. 901:911(10) ack 501");
    assert_eq!(outcome(&[SYN_ACK, gives_up, again[0], again[1], data]).1, ConnectionOutcome::Open);
    let last = outcome(&[SYN_ACK, gives_up, again[0], again[1], (8, "a R. 501:501(0) ack 901")]);
    assert_eq!(last.1, ConnectionOutcome::Reset);
    // The same SYN,ACK again is none, nor what was on its way.
    let late = [(3, "b S. 300:300(0) ack 101"), (4, "b P. 301:311(10) ack 101")];
    assert_eq!(outcome(&[SYN_ACK, gives_up, late[0], late[1]]).1, ConnectionOutcome::Reset);
}
