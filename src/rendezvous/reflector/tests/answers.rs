//! What is answered on the spot.

use super::*;

#[test]
fn nothing_answers_nothing() {
    let mut bench = bench();
    bench.expects(Answer::Nothing);
    assert!(sent(&bench.handle(Event::Arrived(expected_syn()))).is_empty());
}

/// RFC 9293 §3.5, figure 6.
#[test]
fn a_syn_is_answered_by_a_syn_ack_that_stays_the_same() {
    let mut bench = bench();
    bench.expects(Answer::SynAck);
    let steps = bench.handle(Event::Arrived(expected_syn()));
    let first = sent(&steps)[0];
    assert!(segment_of(first).is_syn_ack());
    assert_eq!(segment_of(first).ack, ISN + 1);
    assert_eq!(segment_of(first).options.timestamps().map(|(_, echo)| echo), Some(TIMESTAMP));
    assert_eq!(first.endpoints(), Some((at(REFLECTOR, 5_383), at(NAT, PORT))));
    bench.shoots(1, vec![shot(at(NAT, PORT))]);
    let again = bench.handle(Event::Arrived(expected_syn()));
    assert_eq!(sent(&again), [first], "a repeated SYN, even after a shot");
}

/// RFC 9293 §3.5, figure 7: both halves carry the original number.
#[test]
fn a_crossing_is_completed_with_the_number_of_the_syn_that_was_shot() {
    let mut bench = bench();
    bench.expects(Answer::Cross);
    assert!(sent(&bench.handle(Event::Arrived(expected_syn()))).is_empty());
    let steps = bench.shoots(1, vec![shot(at(NAT, PORT))]);
    assert!(segment_of(sent(&steps)[0]).is_bare_syn());
    let syn_ack = Segment::syn_ack(ISN, Seq(51), 1, 2);
    let syn_ack = Packet::tcp(at(NAT, PORT), at(REFLECTOR, 5_383), syn_ack);
    let steps = bench.handle(Event::Arrived(syn_ack));
    let answer = segment_of(sent(&steps)[0]);
    assert!(answer.is_syn_ack());
    assert_eq!((answer.seq, answer.ack), (Seq(50), ISN + 1));
}

#[test]
fn an_answer_is_given_even_if_the_shot_came_before_the_syn() {
    let mut bench = bench();
    bench.expects(Answer::SynAck);
    bench.shoots(1, vec![shot(at(NAT, PORT))]);
    assert_eq!(sent(&bench.handle(Event::Arrived(expected_syn()))).len(), 1);
}
