//! What the reflector recognises, answers, reports and refuses.
//!
//! Two probers come from `NAT` and `OTHER`; probes come in at two ports of `REFLECTOR`.

use super::*;
use crate::wire::{Body, Options};

const REFLECTOR: &str = "203.0.113.10";
const NAT: &str = "198.51.100.1";
const OTHER: &str = "198.51.100.99";

const PROBE: ProbeId = ProbeId(3);
const ISN: Seq = Seq(1_000);
const TIMESTAMP: u32 = 2_000;
const PORT: u16 = 7_000;

/// A reflector on the bench.
struct Bench {
    reflector: Reflector,
    now: Instant,
}

/// A reflector with one prober, who was welcomed.
fn bench() -> Bench {
    limited(Limits::default())
}

fn limited(limits: Limits) -> Bench {
    let endpoints = vec![at(REFLECTOR, 5_383), at(REFLECTOR, 5_384)];
    let reflector = Reflector::new(endpoints, limits, 7);
    let mut bench = Bench { reflector, now: Instant::START };
    bench.settle();
    bench.welcome(1, NAT);
    bench
}

impl Bench {
    /// All that it wants until it waits, and until when that is.
    fn settle(&mut self) -> (Vec<Step>, Instant) {
        let mut steps = Vec::new();
        loop {
            match self.reflector.poll(self.now) {
                Step::Wait(until) => return (steps, until),
                Step::Done => return (steps, self.now),
                step => steps.push(step),
            }
        }
    }

    fn handle(&mut self, event: Event) -> Vec<Step> {
        self.settle();
        self.reflector.handle(self.now, event);
        self.settle().0
    }

    fn join(&mut self, name: u32, address: &str) -> Vec<Step> {
        let (local, remote) = (at(REFLECTOR, 5_382), at(address, 61_001));
        self.handle(Event::Joined { name: Name(name), local, remote })
    }

    fn welcome(&mut self, name: u32, address: &str) {
        self.join(name, address);
        self.says(name, Message::Hello { version: VERSION });
    }

    fn says(&mut self, name: u32, message: Message) -> Vec<Step> {
        self.handle(Event::Told(Name(name), message))
    }

    fn expects(&mut self, answer: Answer) {
        self.says(1, Message::Expect { expectations: vec![expectation(PROBE, answer)] });
    }

    fn shoots(&mut self, name: u32, shots: Vec<Shot>) -> Vec<Step> {
        self.says(name, Message::Shoot { shots })
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn expectation(probe: ProbeId, answer: Answer) -> Expectation {
    let on = at(REFLECTOR, 5_383);
    Expectation { probe, on, isn: ISN, timestamp: TIMESTAMP, port: PORT, answer }
}

fn shot(to: Endpoint) -> Shot {
    let from = at(REFLECTOR, 5_383);
    Shot { probe: PROBE, volley: Volley(9), after_ms: 0, from, to, seq: Seq(50), ack: None }
}

/// The expected SYN as the NAT left it: its source, ISN and timestamp.
fn syn(source: Endpoint, isn: Seq, timestamp: Option<u32>) -> Packet {
    let mut segment = Segment::syn(isn, timestamp.unwrap_or_default());
    if timestamp.is_none() {
        segment.options = Options::default();
    }
    Packet::tcp(source, at(REFLECTOR, 5_383), segment)
}

fn expected_syn() -> Packet {
    syn(at(NAT, PORT), ISN, Some(TIMESTAMP))
}

fn at(address: &str, port: u16) -> Endpoint {
    Endpoint::new(address.parse().expect("an address"), port)
}

fn refused(name: u32, why: Refusal) -> Vec<Step> {
    vec![Step::Tell(Name(name), Message::Refused { why })]
}

/// Whom a packet was reported to, for which probe.
fn reported(steps: &[Step], seen: &Packet) -> Option<(Name, ProbeId)> {
    steps.iter().find_map(|step| match step {
        Step::Tell(name, Message::Saw { probe, packet, .. }) => {
            (packet.0 == *seen).then_some((*name, *probe))
        }
        _ => None,
    })
}

fn sent(steps: &[Step]) -> Vec<&Packet> {
    let packets = steps.iter().filter_map(|step| match step {
        Step::Send(packet) => Some(packet),
        _ => None,
    });
    packets.collect()
}

fn segment_of(packet: &Packet) -> &Segment {
    packet.segment().expect("a segment")
}

// Greeting.

#[test]
fn it_claims_its_probe_endpoints_first() {
    let endpoints = vec![at(REFLECTOR, 5_383), at(REFLECTOR, 5_384)];
    let mut reflector = Reflector::new(endpoints.clone(), Limits::default(), 7);
    for endpoint in endpoints {
        assert_eq!(reflector.poll(Instant::START), Step::Claim(endpoint));
    }
    assert_eq!(reflector.poll(Instant::START), Step::Wait(NEVER));
}

#[test]
fn a_welcome_says_whence_the_prober_came_and_where_probes_go() {
    let mut bench = bench();
    bench.join(2, OTHER);
    let steps = bench.says(2, Message::Hello { version: VERSION });
    let welcome = Message::Welcome {
        version: VERSION,
        observed: at(OTHER, 61_001),
        endpoints: vec![at(REFLECTOR, 5_383), at(REFLECTOR, 5_384)],
        now: Instant::START,
    };
    assert_eq!(steps, [Step::Tell(Name(2), welcome)]);
}

#[test]
fn a_prober_of_another_version_learns_ours_and_is_refused() {
    for version in [0, VERSION + 1] {
        let mut bench = bench();
        bench.join(2, OTHER);
        let steps = bench.says(2, Message::Hello { version });
        let Step::Tell(Name(2), Message::Welcome { version: VERSION, .. }) = steps[0] else {
            panic!("{steps:?}");
        };
        let shown_out = [refused(2, Refusal::Version), vec![Step::HangUp(Name(2))]].concat();
        assert_eq!(steps[1..], shown_out);
        assert_eq!(bench.says(2, Message::Hello { version: VERSION }), []);
    }
}

#[test]
fn before_a_hello_and_out_of_turn_everything_is_refused() {
    let mut bench = bench();
    bench.join(2, OTHER);
    for message in [
        Message::Expect { expectations: Vec::new() },
        Message::Shoot { shots: Vec::new() },
        Message::Finish,
        Message::Expecting,
    ] {
        assert_eq!(bench.says(2, message), refused(2, Refusal::OutOfTurn));
    }
    assert_eq!(bench.says(1, Message::Finished), refused(1, Refusal::OutOfTurn));
    let mut shown_out = refused(2, Refusal::OutOfTurn);
    shown_out.push(Step::HangUp(Name(2)));
    assert_eq!(bench.handle(Event::Garbled(Name(2))), shown_out);
    assert_eq!(bench.says(2, Message::Hello { version: VERSION }), []);
}

#[test]
fn who_never_joined_gets_no_answer() {
    assert_eq!(bench().says(5, Message::Hello { version: VERSION }), []);
}

// Recognition: any two of four marks, one of which a NAT may each have changed.

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

// Answers.

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

// Shots and reports.

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

// Abuse.

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
    let body = Body::Tcp(Segment::default());
    assert_eq!(bench.handle(Event::Left(Packet { body, ..expected_syn() })), []);
}
