//! Who asks for too much, or for what is not theirs.

use super::*;

#[test]
fn a_target_that_has_not_shown_that_it_asked_is_refused() {
    let mut bench = bench();
    assert_eq!(
        bench.shoots(1, vec![shot(at(NAT, 1)), shot(at(OTHER, 1))]),
        refused(1, Refusal::UnprovenTarget)
    );
    bench.wait(Duration::from_secs(1));
    assert!(sent(&bench.settle().0).is_empty(), "all of the order is void");
}

#[test]
fn a_recognised_syn_proves_its_source() {
    let mut bench = bench();
    bench.expects(Answer::Nothing);
    bench.handle(Event::Arrived(syn(at(OTHER, 1), ISN, Some(TIMESTAMP))));
    assert_eq!(sent(&bench.shoots(1, vec![shot(at(OTHER, 1))])).len(), 1);
}

#[test]
fn one_prober_proves_nothing_for_another() {
    let mut bench = bench();
    bench.welcome(2, OTHER);
    let steps = bench.shoots(2, vec![shot(at(NAT, 1))]);
    assert_eq!(steps, refused(2, Refusal::UnprovenTarget));
}

#[test]
fn a_source_that_is_not_the_reflectors_is_refused() {
    let mut bench = bench();
    for from in [at(REFLECTOR, 22), at(OTHER, 5_383)] {
        let steps = bench.shoots(1, vec![Shot { from, ..shot(at(NAT, 1)) }]);
        assert_eq!(steps, refused(1, Refusal::ForeignSource));
    }
}

/// No packet has two addresses of two families.
#[test]
fn a_source_of_another_family_than_the_target_is_refused() {
    let mut bench = bench();
    bench.welcome(2, "2001:db8::1");
    let steps = bench.shoots(2, vec![shot(at("2001:db8::1", 1))]);
    assert_eq!(steps, refused(2, Refusal::ForeignSource));
}

#[test]
fn too_many_shots_are_refused_and_cost_nothing() {
    let mut bench = limited(Limits { shots: 3, ..Limits::default() });
    let shots = |count| vec![shot(at(NAT, 1)); count];
    assert_eq!(bench.shoots(1, shots(4)), refused(1, Refusal::TooMuch));
    assert_eq!(sent(&bench.shoots(1, shots(3))).len(), 3);
    assert_eq!(bench.shoots(1, shots(1)), refused(1, Refusal::TooMuch));
}

#[test]
fn a_shot_too_far_ahead_is_refused() {
    let mut bench = bench();
    let mut ahead =
        |after_ms| bench.shoots(1, vec![Shot { after_ms, ..shot(at(NAT, 1)) }]).is_empty();
    assert!(ahead(60_000));
    assert!(!ahead(60_001));
    assert!(!ahead(u32::MAX));
}

#[test]
fn too_many_expectations_are_refused() {
    let mut bench = limited(Limits { expectations: 3, ..Limits::default() });
    let mut announce = |count: u16| {
        let expectations = (0..count).map(|n| expectation(ProbeId(n), Answer::Nothing)).collect();
        bench.says(1, Message::Expect { expectations })
    };
    assert_eq!(announce(2), [Step::Tell(Name(1), Message::Expecting)]);
    assert_eq!(announce(2), refused(1, Refusal::TooMuch));
    assert_eq!(announce(1), [Step::Tell(Name(1), Message::Expecting)]);
}

#[test]
fn too_many_probers_are_refused_and_hung_up_on() {
    let mut bench = limited(Limits { clients: 2, ..Limits::default() });
    bench.welcome(2, OTHER);
    let busy = [refused(3, Refusal::Busy), vec![Step::HangUp(Name(3))]].concat();
    assert_eq!(bench.join(3, OTHER), busy);
    assert_eq!(bench.says(3, Message::Hello { version: VERSION }), []);
    bench.handle(Event::Lost(Name(2)));
    assert_eq!(bench.join(4, OTHER), []);
}

#[test]
fn a_prober_gets_so_many_packets_a_second_and_no_more() {
    let mut bench = limited(Limits { shots_per_second: 3, ..Limits::default() });
    let steps = bench.shoots(1, vec![shot(at(NAT, 1)); 5]);
    assert_eq!(sent(&steps).len(), 3);
    assert_eq!(steps[3..], [refused(1, Refusal::TooMuch), refused(1, Refusal::TooMuch)].concat());
    bench.wait(Duration::from_secs(1));
    assert_eq!(sent(&bench.shoots(1, vec![shot(at(NAT, 1)); 5])).len(), 3);
}

#[test]
fn answers_count_as_packets() {
    let mut bench = limited(Limits { shots_per_second: 3, ..Limits::default() });
    bench.expects(Answer::SynAck);
    let answers = (0..5).map(|_| sent(&bench.handle(Event::Arrived(expected_syn()))).len());
    assert_eq!(answers.sum::<usize>(), 3);
}

#[test]
fn all_probers_together_get_so_many_packets_a_second_and_no_more() {
    let mut bench = limited(Limits { shots_per_second_in_total: 3, ..Limits::default() });
    bench.welcome(2, OTHER);
    assert_eq!(sent(&bench.shoots(1, vec![shot(at(NAT, 1)); 2])).len(), 2);
    let steps = bench.shoots(2, vec![shot(at(OTHER, 1)); 2]);
    assert_eq!(sent(&steps).len(), 1);
    assert_eq!(steps[1..], refused(2, Refusal::TooMuch));
}

#[test]
fn nobody_shoots_along_anothers_connection() {
    let mut bench = bench();
    bench.welcome(2, NAT);
    bench.expects(Answer::SynAck);
    bench.handle(Event::Arrived(expected_syn()));
    let steps = bench.shoots(2, vec![shot(at(NAT, PORT))]);
    assert_eq!(steps, refused(2, Refusal::UnprovenTarget));
}

#[test]
fn forged_sources_fill_no_memory() {
    let mut bench = limited(Limits { flows: 5, addresses: 3, ..Limits::default() });
    bench.expects(Answer::Nothing);
    let sources = (1..=20).map(|host| format!("192.0.2.{host}"));
    for source in sources {
        bench.handle(Event::Arrived(syn(at(&source, 1), ISN, Some(TIMESTAMP))));
    }
    assert_eq!(bench.reflector.flows.len(), 5);
    assert_eq!(bench.reflector.clients[&Name(1)].proven.len(), 3);
    let steps = bench.shoots(1, vec![shot(at("192.0.2.20", 1))]);
    assert_eq!(steps, refused(1, Refusal::UnprovenTarget));
}

#[test]
fn who_stays_too_long_is_hung_up_on_and_forgotten() {
    let mut bench = bench();
    busy(&mut bench);
    bench.wait(Duration::from_secs(119));
    assert_eq!(bench.settle().1, Instant::from_millis(120_000));
    assert!(!bench.reflector.clients.is_empty());
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.settle(), (vec![Step::HangUp(Name(1))], NEVER));
    assert_forgotten(&mut bench);
}

#[test]
fn who_hangs_up_is_forgotten() {
    let mut bench = bench();
    busy(&mut bench);
    assert_eq!(bench.handle(Event::Lost(Name(1))), []);
    assert_forgotten(&mut bench);
}

/// Gives the reflector something of each kind to remember.
fn busy(bench: &mut Bench) {
    bench.expects(Answer::SynAck);
    bench.handle(Event::Arrived(expected_syn()));
    let later = Shot { after_ms: 60_000, ..shot(at(NAT, 2)) };
    bench.shoots(1, vec![shot(at(NAT, 1)), shot(at(NAT, PORT))]);
    bench.wait(Duration::from_secs(70));
    bench.shoots(1, vec![later]);
    bench.now = bench.now - Duration::from_secs(70);
    let Reflector { flows, shots, crafted, .. } = &bench.reflector;
    assert_eq!((flows.len(), shots.len(), crafted.len()), (2, 1, 2));
}

fn assert_forgotten(bench: &mut Bench) {
    let Reflector { clients, flows, shots, crafted, steps, .. } = &bench.reflector;
    assert!(clients.is_empty() && flows.is_empty() && shots.is_empty());
    assert!(crafted.is_empty() && steps.is_empty());
    assert_eq!(bench.handle(Event::Arrived(expected_syn())), []);
    let body = Body::Tcp(Segment::default().into());
    assert_eq!(bench.handle(Event::Left(Packet { body, ..expected_syn() })), []);
}
