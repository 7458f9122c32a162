//! What is sent when it was asked for, and what is reported.

use super::*;

#[test]
fn a_shot_goes_out_when_it_is_due_exactly_as_ordered() {
    let mut bench = bench();
    let late = Shot { after_ms: 500, ack: Some(Seq(77)), ..shot(at(NAT, 9)) };
    assert!(sent(&bench.shoots(1, vec![late])).is_empty());
    assert_eq!(bench.settle().1, Instant::from_millis(500));
    bench.wait(Duration::from_millis(500));
    let (steps, _) = bench.settle();
    let segment = Segment::syn_ack(Seq(50), Seq(77), 10, 0);
    assert_eq!(steps, [Step::Send(Packet::marked(at(REFLECTOR, 5_383), at(NAT, 9), segment))]);
}

#[test]
fn due_shots_leave_in_order_of_time() {
    let mut bench = bench();
    let order = |after_ms, seq| Shot { after_ms, seq: Seq(seq), ..shot(at(NAT, 9)) };
    bench.shoots(1, vec![order(20, 2), order(10, 1), order(20, 3)]);
    bench.wait(Duration::from_millis(20));
    let (steps, _) = bench.settle();
    let numbers: Vec<_> = sent(&steps).iter().map(|packet| segment_of(packet).seq.0).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn what_arrives_is_reported_as_it_arrived_at_once() {
    let mut bench = bench();
    bench.expects(Answer::Nothing);
    bench.wait(Duration::from_millis(3));
    let mut odd = expected_syn();
    (odd.ttl, odd.id, odd.dont_fragment, odd.traffic_class) = (47, 99, false, 3);
    let saw = Message::Saw { probe: PROBE, at: bench.now, packet: PacketText(odd.clone()) };
    assert_eq!(bench.handle(Event::Arrived(odd)), [Step::Tell(Name(1), saw)]);
}

#[test]
fn what_left_is_reported_with_its_volley_and_an_answer_without() {
    let mut bench = bench();
    bench.expects(Answer::Cross);
    bench.handle(Event::Arrived(expected_syn()));
    let steps = bench.shoots(1, vec![shot(at(NAT, PORT))]);
    let syn = sent(&steps)[0].clone();
    let syn_ack = Segment::syn_ack(ISN, Seq(51), 1, 2);
    let syn_ack = Packet::tcp(at(NAT, PORT), at(REFLECTOR, 5_383), syn_ack);
    let steps = bench.handle(Event::Arrived(syn_ack));
    let answer = sent(&steps)[0].clone();
    for (packet, volley) in [(syn, Some(Volley(9))), (answer, None)] {
        let text = PacketText(packet.clone());
        let report = Message::Sent { probe: PROBE, volley, at: bench.now, packet: text };
        assert_eq!(bench.handle(Event::Left(packet)), [Step::Tell(Name(1), report)]);
    }
}

#[test]
fn a_shot_along_the_connection_of_another_probe_is_reported_for_its_own() {
    let mut bench = bench();
    bench.expects(Answer::SynAck);
    bench.handle(Event::Arrived(expected_syn()));
    let steps = bench.shoots(1, vec![Shot { probe: ProbeId(8), ..shot(at(NAT, PORT)) }]);
    let left = sent(&steps)[0].clone();
    let steps = bench.handle(Event::Left(left));
    assert!(matches!(
        steps[..],
        [Step::Tell(Name(1), Message::Sent { probe: ProbeId(8), volley: Some(Volley(9)), .. })]
    ));
}

#[test]
fn what_left_for_nobody_is_not_reported() {
    let mut bench = bench();
    let packet = Packet::tcp(at(REFLECTOR, 5_383), at(OTHER, 1), Segment::ack(Seq(1), Seq(1)));
    assert_eq!(bench.handle(Event::Left(packet)), []);
}

#[test]
fn finished_comes_after_every_report() {
    let mut bench = bench();
    bench.expects(Answer::SynAck);
    bench.settle();
    let now = bench.now;
    bench.reflector.handle(now, Event::Arrived(expected_syn()));
    bench.reflector.handle(now, Event::Told(Name(1), Message::Finish));
    let (steps, _) = bench.settle();
    assert_eq!(steps.last(), Some(&Step::Tell(Name(1), Message::Finished)));
    assert!(reported(&steps, &expected_syn()).is_some());
}

#[test]
fn an_interruption_ends_it() {
    let mut bench = bench();
    bench.reflector.handle(bench.now, Event::Interrupted);
    assert_eq!(bench.reflector.poll(bench.now), Step::Done);
}
