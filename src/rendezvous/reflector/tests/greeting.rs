//! Who is welcomed, and who is not.

use super::*;

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
