//! Two ends and a rendezvous server in a world of delays alone, each end behind a NAT that lets in what
//! it has let out to, address and port.

mod crowded;
mod linux;
mod lone;
mod nats;
mod world;

use super::*;
use crate::punch::Code;
use crate::punch::sealed::Handshake;
use crate::rendezvous::{Introducer, IntroducerLimits};
use lone::Lone;
use nats::*;
use world::*;

#[test]
fn two_who_know_the_code_open_at_the_first_attempt() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    world.run();
    world.is_open(1);
    assert_eq!(world.foreseen(0), [end("198.51.100.1:41000")]);
}

#[test]
fn nats_that_count_on_are_followed() {
    for nats in [[counting(60_000), preserving()], [counting(60_000), counting(62_000)]] {
        let mut world = World::new(nats, [Some(40_000), Some(41_000)]);
        world.run();
        world.is_open(1);
    }
}

#[test]
fn an_end_that_connects_alone_never_binds_and_is_found_all_the_same() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), None]);
    world.ends[1].next_port = Box::new(sequence(50_000, 1));
    world.run();
    world.is_open(1);
    let steps = &world.ends[1].binds;
    assert!(steps.iter().all(|from| *from == Bind::Kernel), "{steps:?}");
    assert!(!world.ends[1].has_listened);
}

#[test]
fn whoever_has_other_words_is_sent_away_and_the_room_stays() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    let right = world.ends[1].party.setting.words.clone();
    let wrong = "1-violin-violin".parse::<Code>().expect("a code").words;
    world.rejoin(wrong, 1);
    world.run_until(|world| world.ends[1].is_done);
    let told = world.ends[1].troubles();
    assert!(told.iter().any(|told| told.contains("other words")), "{told:?}");
    assert_eq!(world.ends[0].noted(|what| *what == Punched::Met), 0);
    world.rejoin(right, 1);
    world.run();
    world.is_open(1);
}

#[test]
fn twenty_wrong_guesses_end_the_room() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    let wrong = "1-violin-violin".parse::<Code>().expect("a code").words;
    for _ in 0..20 {
        assert!(!world.ends[0].is_done);
        world.rejoin(wrong.clone(), 1);
        world.run_until(|world| world.ends[1].is_done);
        let told = world.ends[1].troubles();
        assert!(told.iter().any(|told| told.contains("other words")), "{told:?}");
        // Nobody is let in more often than 30 times a minute.
        let settled = world.now + Duration::from_secs(4);
        world.run_until(|world| world.now > settled || world.ends[0].is_done);
    }
    assert!(world.ends[0].is_done);
}

/// None of these is a guess at the words: whoever comes so knows no more of them when it goes.
#[test]
fn whoever_proves_nothing_ends_nobodys_wait() {
    let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
    let (_, key) = Handshake::begin(&words, wire::Role::Joiner, [9; 32]);
    let key = format!(r#"{{"type":"relay","text":"{key}"}}"#);
    let nonsense = r#"{"type":"relay","text":"nonsense"}"#;
    let gone = r#"{"type":"gone","why":"left"}"#;
    let paired =
        |proof| format!(r#"{{"type":"paired","room":1,"role":"waiter","proof":"{proof}"}}"#);
    let visits: [&[&str]; 4] = [
        &[&paired("none")],
        &[&paired("spake2"), gone],
        &[&paired("spake2"), &key, gone],
        &[&paired("spake2"), nonsense],
    ];
    for visit in visits {
        let mut waiter = Lone::new(introduction(None, words.clone(), None));
        for _ in 0..50 {
            waiter.waits();
            let said = visit.iter().flat_map(|line| waiter.hears(line)).collect::<Vec<_>>();
            // Its part of a key, and no proof of it, by which a guess could be checked.
            let texts = said.iter().filter(|line| line.contains(r#""type":"relay""#)).count();
            assert_eq!(texts, usize::from(visit.len() > 1), "{said:?}");
            assert!(matches!(waiter.party.stage, Stage::Dialling), "{visit:?}");
        }
        assert_eq!(waiter.party.impostors, 0);
    }
}

/// SIGSTOP leaves a connection that stands, and answers nothing.
#[test]
fn whoever_joins_one_that_is_stopped_is_told_so() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    world.ends[0].is_done = true;
    world.run_until(|world| world.ends[1].is_done);
    let told = world.ends[1].troubles();
    assert!(told.iter().any(|told| told.contains("its host has stopped")), "{told:?}");
    assert!(world.now < Instant::START + Duration::from_secs(10), "{:?}", world.now);
}

#[test]
fn a_peer_that_stops_or_is_killed_during_an_attempt_ends_it_and_is_told_of() {
    // While SYNs leave, and while its report is awaited.
    for (attempts, stops, how) in
        [(1, true, Gone::Silent), (1, false, Gone::Left), (3, true, Gone::Silent)]
    {
        let mut world = World::new([random(), random()], [Some(40_000), Some(41_000)]);
        let setting = &mut world.ends[0].party.setting;
        (setting.attempts, setting.patience) = (attempts, Duration::from_secs(60));
        world.run_until(|world| world.ends.iter().all(|end| end.aimed().is_some()));
        world.ends[1].is_done = true;
        if !stops {
            world.leave(1);
        }
        let stopped = world.now;
        world.run_until(|world| world.ends[0].is_done);
        let waiter = &world.ends[0];
        assert_eq!(waiter.noted(|what| *what == Punched::PeerGone { how }), 1, "{attempts}");
        assert_eq!(waiter.party.attempt(), 1);
        assert!(world.now < stopped + Duration::from_secs(12), "{attempts} {:?}", world.now);
    }
}

/// Its own process was stopped, or its network was away: the server gave it up meanwhile.
#[test]
fn whoever_was_silent_for_too_long_claims_its_room_again() {
    let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
    for code in ["silent", "busy", "too-many-rooms"] {
        let mut waiter = Lone::new(introduction(None, words.clone(), None));
        waiter.waits();
        let error = format!(r#"{{"type":"error","code":"{code}","text":"x"}}"#);
        waiter.hears(&error);
        assert!(matches!(waiter.party.stage, Stage::Parted), "{code}");
        let now = waiter.party.deadline;
        waiter.party.handle(now, Event::DeadlinePassed);
        let claim = waiter.waits();
        let claims = format!(r#"{{"type":"wait","room":1,"ticket":"{}"}}"#, "0".repeat(32));
        assert!(claim.contains(&claims), "{claim:?}");
    }
    // Whoever never had a room has nothing to come back to.
    let mut joiner = Lone::new(introduction(Some(1), words, None));
    joiner.hears(WELCOME);
    joiner.hears(r#"{"type":"error","code":"busy","text":"too many"}"#);
    assert_eq!(joiner.party.refusal(), Some(wire::Code::Busy));
}

#[test]
fn a_server_behind_a_nat_is_asked_where_it_was_reached() {
    let [one, other] = ["10.9.9.9:5386", "10.9.9.9:5387"].map(end);
    for (probes, wanted) in [
        (vec![one, other], vec![end(SERVER), end("203.0.113.10:5387")]),
        (vec![end("0.0.0.0:7000")], vec![end("203.0.113.10:7000"), end(SERVER)]),
        (vec![], vec![end(SERVER)]),
    ] {
        let ports = [Some(40_000), Some(41_000)];
        // Two endpoints are needed to see that a NAT counts on.
        let nat = if probes.len() == 2 { counting(60_000) } else { preserving() };
        let mut world = World::at(probes, [nat, preserving()], ports);
        world.run();
        world.is_open(1);
        assert_eq!(world.ends[1].party.probes.len(), wanted.len());
        assert!(wanted.iter().all(|probe| world.ends[1].party.probes.contains(probe)));
    }
}

#[test]
fn what_a_server_saw_of_the_first_connection_is_enough_to_begin_with() {
    let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
    let mut waiter = Lone::new(introduction(None, words, Some(40_000)));
    waiter.waits();
    let seen = &waiter.party.shows.seen;
    assert_eq!((seen[0].external, seen[0].server), (end("192.0.2.1:7"), end(SERVER)));
}

#[test]
fn what_a_later_server_says_is_ignored_and_another_version_is_not() {
    let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
    let mut waiter = Lone::new(introduction(None, words.clone(), None));
    waiter.waits();
    for line in [
        r#"{"type":"weather","is":"fine"}"#,
        r#"{"type":"error","code":"out-of-tea","text":"wait"}"#,
        r#"{"type":"pong","id":0,"time_us":1,"mood":"good"}"#,
    ] {
        waiter.hears(line);
        assert!(matches!(waiter.party.stage, Stage::Waiting), "{line}");
    }
    let mut waiter = Lone::new(introduction(None, words, None));
    waiter.hears(&WELCOME.replace(r#""version":1"#, r#""version":9"#));
    assert!(matches!(waiter.party.stage, Stage::Over));
    assert!(waiter.troubles[0].contains("version 9"), "{:?}", waiter.troubles);
}

#[test]
fn what_a_server_says_does_not_steer_a_terminal() {
    let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
    let mut joiner = Lone::new(introduction(Some(1), words, None));
    joiner.hears(WELCOME);
    let text = "\\u001b]0;owned\\u0007".to_owned() + &"x".repeat(3_000);
    joiner.hears(&format!(r#"{{"type":"error","code":"no-such-room","text":"{text}"}}"#));
    let told = &joiner.troubles[0];
    assert!(told.contains("owned") && told.len() < 400, "{told}");
    assert!(!told.contains(['\u{1b}', '\u{7}']), "{told:?}");
}

#[test]
fn a_server_that_changes_what_it_passes_on_redirects_nobody() {
    for number in 0..6 {
        let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
        world.tampers_with = Some(number);
        world.run();
        let open: Vec<_> = world.ends.iter().filter(|end| end.party.opened().is_some()).collect();
        let all = world.ends.iter().flat_map(|end| &end.notes);
        let aimed = all.filter(|what| matches!(what, Punched::Aimed { .. })).count();
        // What is changed once both have aimed is a report alone.
        assert!(aimed == 0 || open.len() == 2, "{number}: {aimed} aimed");
    }
}

#[test]
fn a_room_is_claimed_again_from_a_server_that_was_restarted() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    world.ends[1].is_done = true;
    world.run_until(|world| world.room().is_some());
    let room = world.room();
    world.kill_server();
    let later = world.now + Duration::from_secs(20);
    world.run_until(|world| world.now > later);
    assert!(!world.ends[0].is_done);
    world.start_server(9);
    let claimed = world.now + Duration::from_secs(40);
    world.run_until(|world| world.now > claimed);
    assert_eq!(world.room(), room);
    let words = world.ends[1].party.setting.words.clone();
    world.rejoin(words, room.expect("it waits"));
    world.run();
    world.is_open(1);
    assert_eq!(world.ends[0].noted(|what| *what == Punched::Parted), 1);
}

#[test]
fn whoever_joins_where_nobody_waits_is_told_so() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    let words = world.ends[1].party.setting.words.clone();
    world.rejoin(words, 77);
    world.run_until(|world| world.ends[1].is_done);
    let told = world.ends[1].troubles();
    assert!(told.iter().any(|told| told.contains("nobody waits")), "{told:?}");
}

#[test]
fn without_a_server_it_is_an_error_after_one_try() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    world.kill_server();
    let words = world.ends[1].party.setting.words.clone();
    world.rejoin(words, 1);
    world.run_until(|world| world.ends[1].is_done);
    let told = world.ends[1].troubles();
    assert!(told.iter().any(|told| told.contains("refuses")), "{told:?}");
}

#[test]
fn behind_one_nat_the_ends_aim_at_each_others_inner_addresses() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    world.ends[1].external = world.ends[0].external;
    world.run_until(|world| world.ends.iter().all(|end| end.aimed().is_some()));
    assert_eq!(world.ends[0].aimed(), Some(end("192.168.2.2:41000")));
    assert_eq!(world.ends[1].aimed(), Some(end("192.168.1.2:40000")));
}

#[test]
fn an_end_whose_peer_tries_no_more_ends_as_well() {
    let mut world = World::new([random(), random()], [Some(40_000), Some(41_000)]);
    world.ends[0].party.setting.attempts = 1;
    world.run();
    assert!(world.ends.iter().all(|end| end.is_done && end.party.opened().is_none()));
    assert!(world.now < Instant::START + Duration::from_secs(120), "{:?}", world.now);
}

/// What has come behind the last that was of interest belongs to a connection that is no more.
#[test]
fn a_guess_and_its_guessers_end_in_one_read_are_one_guess() {
    let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
    let mut waiter = Introduced::new(introduction(None, words, None));
    let ticket = "0".repeat(32);
    let lines = [
        format!(
            r#"{{"type":"welcome","version":1,"observed":"192.0.2.1:7","probes":[],"ticket":"{ticket}","time_us":1}}"#
        ),
        format!(r#"{{"type":"room","room":1,"ticket":"{ticket}"}}"#),
        r#"{"type":"paired","room":1,"role":"waiter","proof":"spake2"}"#.to_owned(),
        r#"{"type":"relay","text":"nonsense"}"#.to_owned(),
        r#"{"type":"gone","why":"left"}"#.to_owned(),
    ];
    while !matches!(waiter.poll(Instant::START), Step::Wait(_)) {}
    let octets = (lines.join("\n") + "\n").into_bytes();
    waiter.handle(Instant::START, Event::Read(Flow(STREAM.0 - 1), octets));
    assert!(matches!(waiter.stage, Stage::Dialling));
}

#[test]
fn a_server_that_pairs_twice_gets_no_second_guess() {
    let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
    let mut joiner = Introduced::new(introduction(Some(1), words, None));
    let flow = Flow(STREAM.0 - 1);
    let mut hear = |line: &str| {
        while !matches!(joiner.poll(Instant::START), Step::Wait(_) | Step::Done) {}
        let line = format!("{line}\n").into_bytes();
        joiner.handle(Instant::START, Event::Read(flow, line));
        joiner.peer.meetings()
    };
    let ticket = "0".repeat(32);
    let welcome = format!(
        r#"{{"type":"welcome","version":1,"observed":"192.0.2.1:7","probes":[],"ticket":"{ticket}","time_us":1}}"#
    );
    assert_eq!(hear(&welcome), 0);
    let paired = r#"{"type":"paired","room":1,"role":"joiner","proof":"spake2"}"#;
    assert_eq!([hear(paired), hear(paired)], [1, 1]);
    assert!(matches!(joiner.stage, Stage::Over));
}

#[test]
fn a_server_does_not_make_its_clients_knock_at_their_own_network() {
    let [lan, mine] = ["192.168.1.1:80", "127.0.0.1:22"].map(end);
    let mut world = World::new([preserving(), preserving()], [Some(40_000), Some(41_000)]);
    let probes = vec![end(SERVER), lan, mine, end("224.0.0.1:1")];
    world.server = Some(Introducer::new(probes, IntroducerLimits::default(), [5; 32]));
    let words = world.ends[1].party.setting.words.clone();
    world.rejoin(words, 1);
    world.run_until(|world| world.ends[1].is_done);
    assert_eq!(world.ends[1].party.probes, [end(SERVER)]);
}
