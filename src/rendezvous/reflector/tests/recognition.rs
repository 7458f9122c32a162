//! Whose a SYN is: any two of its marks tell, and a NAT may each have changed one.

use super::*;

#[test]
fn a_syn_is_recognised_by_any_two_of_its_marks() {
    let marks = [true, false];
    for (address, port) in marks.into_iter().flat_map(|a| marks.map(|p| (a, p))) {
        for (isn, timestamp) in marks.into_iter().flat_map(|i| marks.map(|t| (i, t))) {
            let mut bench = bench();
            bench.expects(Answer::Nothing);
            let source = at(if address { NAT } else { OTHER }, if port { PORT } else { 1 });
            let isn_seen = if isn { ISN } else { Seq(5) };
            let syn = syn(source, isn_seen, timestamp.then_some(TIMESTAMP));
            let count = [address, port, isn, timestamp].map(u8::from).iter().sum::<u8>();
            let steps = bench.handle(Event::Arrived(syn.clone()));
            let whose = (count >= 2).then_some((Name(1), PROBE));
            assert_eq!(reported(&steps, &syn), whose, "{syn}");
        }
    }
}

#[test]
fn a_syn_to_another_endpoint_than_announced_is_nobodys() {
    let mut bench = bench();
    bench.expects(Answer::Nothing);
    let segment = segment_of(&expected_syn()).clone();
    let elsewhere = Packet::tcp(at(NAT, PORT), at(REFLECTOR, 5_384), segment);
    assert_eq!(bench.handle(Event::Arrived(elsewhere)), []);
}

#[test]
fn of_two_expectations_the_one_with_more_marks_has_the_syn() {
    let mut bench = bench();
    let mine = expectation(PROBE, Answer::Nothing);
    let similar = Expectation { probe: ProbeId(4), isn: Seq(7), ..mine };
    bench.says(1, Message::Expect { expectations: vec![similar, mine] });
    let steps = bench.handle(Event::Arrived(expected_syn()));
    assert_eq!(reported(&steps, &expected_syn()), Some((Name(1), PROBE)));
}

#[test]
fn a_syn_that_fits_two_expectations_alike_is_nobodys() {
    let mut bench = bench();
    let mine = expectation(PROBE, Answer::SynAck);
    let twin = Expectation { probe: ProbeId(4), ..mine };
    bench.says(1, Message::Expect { expectations: vec![mine, twin] });
    assert_eq!(bench.handle(Event::Arrived(expected_syn())), []);
}

#[test]
fn two_internal_hosts_that_a_nat_shows_as_one_are_told_apart_by_their_numbers() {
    let mut bench = bench();
    let mine = expectation(PROBE, Answer::Nothing);
    let second = Expectation { probe: ProbeId(4), isn: Seq(7), timestamp: 8, ..mine };
    bench.says(1, Message::Expect { expectations: vec![mine, second] });
    let theirs = syn(at(NAT, PORT), Seq(7), Some(8));
    for (syn, probe) in [(expected_syn(), 3), (theirs, 4), (expected_syn(), 3)] {
        let steps = bench.handle(Event::Arrived(syn.clone()));
        assert_eq!(reported(&steps, &syn), Some((Name(1), ProbeId(probe))));
    }
}

#[test]
fn what_follows_a_syn_that_was_recognised_is_reported_with_it() {
    let mut bench = bench();
    bench.expects(Answer::Nothing);
    bench.handle(Event::Arrived(expected_syn()));
    let ack = Packet::tcp(at(NAT, PORT), at(REFLECTOR, 5_383), Segment::ack(ISN + 1, Seq(1)));
    let steps = bench.handle(Event::Arrived(ack.clone()));
    assert_eq!(reported(&steps, &ack), Some((Name(1), PROBE)));
    let stranger = Packet::tcp(at(OTHER, PORT), at(REFLECTOR, 5_383), Segment::ack(ISN, Seq(1)));
    assert_eq!(bench.handle(Event::Arrived(stranger)), []);
}

#[test]
fn an_icmp_error_is_reported_with_the_probe_that_it_quotes() {
    let mut bench = bench();
    bench.shoots(1, vec![shot(at(NAT, PORT))]);
    let error = format!(
        "192.0.2.1 > {REFLECTOR} icmp 3/3 [{REFLECTOR}:5383 > {NAT}:7000 seq 50 ttl 9] ttl 60 id 0"
    );
    let error: Packet = error.parse().expect("a packet");
    let steps = bench.handle(Event::Arrived(error.clone()));
    assert_eq!(reported(&steps, &error), Some((Name(1), PROBE)));
}
