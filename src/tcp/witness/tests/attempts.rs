//! Several attempts between the same two endpoints: what is left of one comes while the next is under
//! way, and the ends need not agree on which is the last.

use super::*;

/// The first attempt crossed and was reset; in the second, A was in SYN-SENT when the SYN of B came,
/// and what acknowledges its SYN,ACK is lost.
const GONE_ON_AT_A: &str = "
    0.000 A > S 100:100(0)
    0.040 A < S 300:300(0)
    0.040 A > S. 100:100(0) ack 301
    0.090 A < S. 300:300(0) ack 101
    0.150 A < R 301:301(0)
    0.500 A > S 200000:200000(0)
    1.000 A < S 800000:800000(0)
    1.000 A > S. 200000:200000(0) ack 800001";

const STANDING_AT_B: &str = "
    0.000 B > S 300:300(0)
    0.050 B < S 100:100(0)
    0.050 B > S. 300:300(0) ack 101
    0.060 B < icmp unreachable seq 300
    0.550 B < S 200000:200000(0)
    0.950 B > S 800000:800000(0)
    1.050 B < S. 200000:200000(0) ack 800001
    1.050 B > . 800001:800001(0) ack 200001";

#[test]
fn an_opening_that_is_over_at_one_end_is_not_that_in_which_the_other_stands() {
    assert_eq!(opened(&both(GONE_ON_AT_A, STANDING_AT_B)), CROSSED_BY_B);
    assert_eq!(opened(STANDING_AT_B), CROSSED_BY_B);
    assert_eq!(opened(GONE_ON_AT_A), Opening::Crossed);
}

#[test]
fn where_a_nat_hides_which_attempt_it_was_the_end_that_stands_speaks_for_itself() {
    let rewritten = STANDING_AT_B.replace(" 200000:200000", " 7000000:7000000");
    let rewritten = rewritten.replace("ack 200001", "ack 7000001");
    let all = both(GONE_ON_AT_A, &rewritten);
    assert_eq!(opened(&all), CROSSED_BY_B);
    let stands = seen(&all).states.into_iter().map(|change| change.side);
    assert_eq!(stands.collect::<Vec<_>>(), [Side::B; 2]);
}

#[test]
fn an_end_that_stands_in_an_attempt_that_its_peer_has_left_is_joined_with_what_that_one_saw_of_it()
{
    // B knows nothing of the second attempt of A but that its SYN is to be answered by an ACK.
    let at_a = "
        0.000 A > S 100:100(0)
        0.040 A < S 300:300(0)
        0.040 A > S. 100:100(0) ack 301
        0.060 A < icmp unreachable seq 100
        0.500 A > S 200000:200000(0)
        0.600 A < . 301:301(0) ack 101";
    let at_b = "
        0.000 B > S 300:300(0)
        0.090 B < S. 100:100(0) ack 301
        0.090 B > . 301:301(0) ack 101
        0.550 B < S 200000:200000(0)
        0.550 B > . 301:301(0) ack 101";
    assert_eq!(opened(&both(at_a, at_b)), CROSSED_BY_B);
    // The number of A's SYN is another at B, and B has made no other attempt.
    let at_b = at_b.replace(" 100:100", " 1100:1100").replace("ack 101", "ack 1101");
    assert_eq!(opened(&both(at_a, &at_b)), CROSSED_BY_B);
}

#[test]
fn a_syn_ack_in_one_attempt_and_an_ack_in_another_establish_nothing_together() {
    let trace = "
        0.000 A > S 100:100(0)
        0.200 A < icmp unreachable seq 100
        0.300 A > S 200000:200000(0)
        0.310 A < S 300:300(0)
        0.310 A > . 200001:200001(0) ack 301
        0.400 A < S. 300:300(0) ack 101
        0.400 A > R 101:101(0)
        0.500 A < R 301:301(0)
        0.600 A > S 900000:900000(0)
        0.700 A < S 800000:800000(0)
        0.700 A > . 900001:900001(0) ack 800001";
    assert_eq!(opened(trace), Opening::None);
}

#[test]
fn a_syn_ack_that_is_left_of_an_earlier_attempt_does_not_show_that_our_syn_crossed_in_this_one() {
    let trace = "
        0.000 B > S 300:300(0)
        0.200 B < S 200000:200000(0)
        0.200 B > S. 300:300(0) ack 200001
        0.210 B < S. 100:100(0) ack 301
        1.400 B < . 200001:200001(0) ack 301";
    assert_eq!(opened(trace), PERHAPS_CROSSED_TOO_BY_B);
    assert_eq!(states(trace)[2], (Side::B, SynReceived, Established, 5));
}
