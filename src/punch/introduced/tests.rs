//! Two ends and a rendezvous server in a world of delays alone, each end behind a NAT that lets in what
//! it has let out to, address and port.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::engine::End as Ending;
use crate::punch::Code;
use crate::punch::sealed::Handshake;
use crate::rendezvous::{Introducer, IntroducerLimits};

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

/// As Linux does: where a sequence stands depends on the remote, so that only the first attempt shows it.
#[test]
fn what_an_attempt_has_taught_opens_the_next() {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), None]);
    let mut sequences: BTreeMap<Endpoint, u16> = BTreeMap::new();
    world.ends[1].next_port = Box::new(move |to| {
        let begin = 33_000 + (to.port() ^ 0x2a5).wrapping_mul(37) % 20_000;
        let next = sequences.entry(to).or_insert(begin);
        *next += 2 + 2 * (*next / 2 % 5);
        *next
    });
    world.run();
    world.is_open(2);
    let taught = world.ends[1].noted(|what| matches!(what, Punched::Taught { .. }));
    assert_eq!(taught, 1);
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

/// What an external port becomes of: the internal one, and where the flow leads.
type Nat = Box<dyn FnMut(u16, Endpoint) -> u16>;

fn preserving() -> Nat {
    Box::new(|port, _| port)
}

fn random() -> Nat {
    let mut state = 0x9e37_79b9_u32;
    nat(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1_024 + (state >> 16) as u16 % 60_000
    })
}

/// One that counts on, with each remote anew.
fn counting(first: u16) -> Nat {
    nat(sequence(first, 1))
}

fn nat(mut next: impl FnMut(Endpoint) -> u16 + 'static) -> Nat {
    let mut mapped = BTreeMap::new();
    Box::new(move |port, to| *mapped.entry((port, to)).or_insert_with(|| next(to)))
}

fn sequence(mut last: u16, step: u16) -> impl FnMut(Endpoint) -> u16 {
    move |_| {
        last = last.wrapping_add(step).max(1024);
        last
    }
}

struct World {
    now: Instant,
    server: Option<Introducer>,
    server_waits: Instant,
    /// The server's connections: whose, and which of theirs.
    links: BTreeMap<Flow, (usize, Flow)>,
    ends: [End; 2],
    agenda: BTreeMap<(Instant, u64), What>,
    count: u64,
    relayed: u32,
    /// The number of the relayed message that is changed on its way.
    tampers_with: Option<u32>,
}

struct End {
    party: Introduced,
    internal: IpAddr,
    external: IpAddr,
    nat: Nat,
    next_port: Box<dyn FnMut(Endpoint) -> u16>,
    waits: Instant,
    is_done: bool,
    has_listened: bool,
    binds: Vec<Bind>,
    notes: Vec<Punched>,
    facts: Vec<Fact>,
    /// SYNs that have left: flow, external endpoint, remote.
    fired: Vec<(Flow, Endpoint, Endpoint)>,
}

enum What {
    Tell(usize, Event),
    TellServer(Event),
    Fire(usize, Flow, Bind, Endpoint),
    /// A SYN comes to the NAT of this end: from, to.
    Syn(usize, Endpoint, Endpoint),
}

impl World {
    fn new(nats: [Nat; 2], ports: [Option<u16>; 2]) -> Self {
        Self::at(vec![end(SERVER), end("203.0.113.10:5387")], nats, ports)
    }

    /// With a server that believes to be there.
    fn at(probes: Vec<Endpoint>, nats: [Nat; 2], ports: [Option<u16>; 2]) -> Self {
        let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
        let mut places = 0..;
        let ends = nats.into_iter().zip(ports).map(|(nat, port)| {
            let place: u8 = places.next().expect("there are two");
            let room = (place == 1).then_some(1);
            End::new(place, nat, introduction(room, words.clone(), port))
        });
        let mut ends: Vec<_> = ends.collect();
        let [b, a] = [ends.pop(), ends.pop()].map(|end| end.expect("there are two"));
        let mut world = Self {
            now: Instant::START,
            server: None,
            server_waits: Instant::START,
            links: BTreeMap::new(),
            ends: [a, b],
            agenda: BTreeMap::new(),
            count: 0,
            relayed: 0,
            tampers_with: None,
        };
        world.server = Some(Introducer::new(probes, IntroducerLimits::default(), [1; 32]));
        // The other joins once there is a room.
        world.ends[1].is_done = true;
        world.run_until(|world| world.room().is_some());
        world.ends[1].is_done = false;
        world
    }

    fn start_server(&mut self, seed: u8) {
        let probes = vec![end(SERVER), end("203.0.113.10:5387")];
        self.server = Some(Introducer::new(probes, IntroducerLimits::default(), [seed; 32]));
    }

    fn kill_server(&mut self) {
        self.server = None;
        for (_, (place, flow)) in std::mem::take(&mut self.links) {
            self.later(DELAY, What::Tell(place, Event::Ended(flow, Ending::Reset)));
        }
    }

    fn room(&self) -> Option<u32> {
        self.ends[0].notes.iter().rev().find_map(|what| match what {
            Punched::Waits { room } => Some(*room),
            _ => None,
        })
    }

    fn foreseen(&self, place: usize) -> Vec<Endpoint> {
        let notes = self.ends[place].notes.iter();
        let mut told = notes.filter_map(|what| match what {
            Punched::Foresaw { peer, .. } => Some(peer.clone()),
            _ => None,
        });
        told.next().unwrap_or_default()
    }

    fn is_open(&self, attempt: u32) {
        for end in &self.ends {
            assert!(end.party.opened().is_some(), "{:#?} {:?}", end.notes, end.troubles());
            assert_eq!(end.party.attempt(), attempt);
        }
    }

    fn run(&mut self) {
        self.run_until(|world| world.ends.iter().all(|end| end.is_done));
    }

    fn run_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let give_up = self.now + Duration::from_secs(600);
        loop {
            self.poll();
            if is_enough(self) || self.now > give_up {
                return;
            }
            let waits = self.ends.iter().filter(|end| !end.is_done).map(|end| end.waits);
            let server = self.server.is_some().then_some(self.server_waits);
            let next = waits.chain(server).chain(self.agenda.keys().map(|(at, _)| *at)).min();
            self.now = self.now.max(next.unwrap_or(give_up + DELAY));
            match self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now) {
                Some(entry) => {
                    let what = entry.remove();
                    self.happen(what);
                }
                None => self.deadlines(),
            }
        }
    }

    fn deadlines(&mut self) {
        for end in self.ends.iter_mut().filter(|end| !end.is_done && end.waits <= self.now) {
            end.party.handle(self.now, Event::DeadlinePassed);
        }
        if let Some(server) = self.server.as_mut().filter(|_| self.server_waits <= self.now) {
            server.handle(self.now, Event::DeadlinePassed);
        }
    }

    fn later(&mut self, after: Duration, what: What) {
        self.count += 1;
        self.agenda.insert((self.now + after, self.count), what);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Tell(place, event) if !self.ends[place].is_done => {
                self.ends[place].party.handle(self.now, event);
            }
            What::Tell(..) => {}
            What::TellServer(event) => {
                if let Some(server) = &mut self.server {
                    server.handle(self.now, event);
                }
            }
            What::Fire(place, flow, from, to) => self.fire(place, flow, from, to),
            What::Syn(place, from, to) => self.syn(place, from, to),
        }
    }

    fn fire(&mut self, place: usize, flow: Flow, from: Bind, to: Endpoint) {
        let (local, external) = self.ends[place].maps(from, to);
        self.ends[place].fired.push((flow, external, to));
        let (stolen, local) = (None, Some(local));
        self.ends[place].party.handle(self.now, Event::Fired { flow, stolen, local });
        self.later(DELAY, What::Syn(1 - place, external, to));
    }

    /// It passes if a SYN has left the other way.
    fn syn(&mut self, place: usize, from: Endpoint, to: Endpoint) {
        let of = |end: &End, own, peer| {
            let fired = end.fired.iter().find(|(_, external, to)| (*external, *to) == (own, peer));
            fired.map(|(flow, ..)| *flow)
        };
        let flows = [of(&self.ends[place], to, from), of(&self.ends[1 - place], from, to)];
        if let [Some(here), Some(there)] = flows {
            for (place, flow) in [(place, here), (1 - place, there)] {
                let local = Endpoint::new(self.ends[place].internal, 1);
                self.later(DELAY, What::Tell(place, Event::Opened { flow, local }));
            }
        }
    }

    /// Until all wait.
    fn poll(&mut self) {
        for place in 0..2 {
            while !self.ends[place].is_done {
                match self.ends[place].party.poll(self.now) {
                    Step::Wait(until) => {
                        self.ends[place].waits = until;
                        break;
                    }
                    Step::Done => {
                        let goes_on = self.ends[place].party.again(self.now);
                        self.ends[place].is_done = !goes_on;
                        if !goes_on {
                            self.leave(place);
                        }
                    }
                    step => self.perform(place, step),
                }
            }
        }
        while let Some(server) = &mut self.server {
            match server.poll(self.now) {
                Step::Wait(until) => {
                    self.server_waits = until;
                    return;
                }
                Step::Write(flow, octets) => self.answered(flow, octets),
                Step::Close(flow, _) => {
                    if let Some((place, flow)) = self.links.remove(&flow) {
                        let ended = Event::Ended(flow, Ending::Finished);
                        self.later(DELAY, What::Tell(place, ended));
                    }
                }
                _ => {}
            }
        }
    }

    fn answered(&mut self, flow: Flow, mut octets: Vec<u8>) {
        let Some((place, flow)) = self.links.get(&flow).copied() else { return };
        let begin = br#"{"type":"relay","text":""#;
        if octets.starts_with(begin) {
            if self.tampers_with == Some(self.relayed) {
                let letter = &mut octets[begin.len() + 3];
                *letter = if *letter == b'A' { b'B' } else { b'A' };
            }
            self.relayed += 1;
        }
        self.later(DELAY, What::Tell(place, Event::Read(flow, octets)));
    }

    /// Another comes in b's stead, with these words.
    fn rejoin(&mut self, words: Words, room: u32) {
        let b = &mut self.ends[1];
        let setting = Introduction { words, room: Some(room), ..b.party.setting.clone() };
        // What is still on its way to the last is not taken for its own.
        let flows = b.party.flows + 100;
        b.party = Introduced { flows, ..Introduced::new(setting) };
        b.party.steps.clear();
        b.party.dial(self.now);
        (b.is_done, b.facts) = (false, Vec::new());
    }

    /// All its connections end.
    fn leave(&mut self, place: usize) {
        let own: Vec<_> = self.links.iter().filter(|(_, (of, _))| *of == place).collect();
        let flows: Vec<_> = own.into_iter().map(|(flow, _)| *flow).collect();
        for flow in flows {
            self.links.remove(&flow);
            self.later(DELAY, What::TellServer(Event::Ended(flow, Ending::Finished)));
        }
    }

    fn perform(&mut self, place: usize, step: Step) {
        match step {
            Step::Open { flow, from, to, at: None, .. } => self.open(place, flow, from, to),
            Step::Open { flow, from, to, at: Some(at), .. } => {
                self.later(at.since(self.now), What::Fire(place, flow, from, to));
            }
            Step::Write(flow, octets) => {
                if let Some(flow) = self.link(place, flow) {
                    self.later(DELAY, What::TellServer(Event::Read(flow, octets)));
                }
            }
            Step::Close(flow, _) => {
                if let Some(flow) = self.link(place, flow) {
                    self.links.remove(&flow);
                    self.later(DELAY, What::TellServer(Event::Ended(flow, Ending::Finished)));
                }
            }
            Step::Listen { .. } => self.ends[place].has_listened = true,
            Step::Note(fact) => {
                if let Fact::Punch { what, .. } = &*fact {
                    self.ends[place].notes.push(what.clone());
                }
                self.ends[place].facts.push(*fact);
            }
            _ => {}
        }
    }

    fn link(&self, place: usize, flow: Flow) -> Option<Flow> {
        let mut all = self.links.iter();
        all.find(|(_, own)| **own == (place, flow)).map(|(server, _)| *server)
    }

    fn open(&mut self, place: usize, flow: Flow, from: Bind, to: Endpoint) {
        self.ends[place].binds.push(from);
        let (local, remote) = self.ends[place].maps(from, to);
        if self.server.is_none() {
            let refused = Event::Failed(flow, Unreached::Refused);
            return self.later(2 * DELAY, What::Tell(place, refused));
        }
        self.count += 1;
        let accepted = Flow(Flow::FIRST_ACCEPTED + u32::try_from(self.count).expect("few"));
        self.links.insert(accepted, (place, flow));
        let event = Event::Accepted { flow: accepted, local: to, remote };
        self.later(DELAY, What::TellServer(event));
        self.later(2 * DELAY, What::Tell(place, Event::Opened { flow, local }));
    }
}

impl End {
    fn new(place: u8, nat: Nat, introduction: Introduction) -> Self {
        Self {
            party: Introduced::new(introduction),
            internal: IpAddr::from([192, 168, place + 1, 2]),
            external: IpAddr::from([198, 51, 100, if place == 0 { 7 } else { 1 }]),
            nat,
            next_port: Box::new(sequence(50_000, 1)),
            waits: Instant::START,
            is_done: false,
            has_listened: false,
            binds: Vec::new(),
            notes: Vec::new(),
            facts: Vec::new(),
            fired: Vec::new(),
        }
    }

    /// Internal and external endpoint of a flow.
    fn maps(&mut self, from: Bind, to: Endpoint) -> (Endpoint, Endpoint) {
        let port = match from {
            Bind::Shared(local) => local.port(),
            Bind::Kernel => (self.next_port)(to),
        };
        let external = (self.nat)(port, to);
        (Endpoint::new(self.internal, port), Endpoint::new(self.external, external))
    }

    fn aimed(&self) -> Option<Endpoint> {
        self.notes.iter().find_map(|what| match what {
            Punched::Aimed { remote, .. } => Some(*remote),
            _ => None,
        })
    }

    fn noted(&self, is_it: impl Fn(&Punched) -> bool) -> usize {
        self.notes.iter().filter(|what| is_it(what)).count()
    }

    fn troubles(&self) -> Vec<String> {
        self.facts.iter().filter_map(Fact::trouble).map(|trouble| trouble.to_string()).collect()
    }
}

/// An end whose server says what a test wants.
struct Lone {
    party: Introduced,
    troubles: Vec<String>,
}

impl Lone {
    fn new(introduction: Introduction) -> Self {
        let mut lone = Self { party: Introduced::new(introduction), troubles: Vec::new() };
        lone.says();
        lone
    }

    /// It is given a room: what it asked for.
    fn waits(&mut self) -> String {
        let asked = self.hears(WELCOME).concat();
        self.hears(&format!(r#"{{"type":"room","room":1,"ticket":"{}"}}"#, "0".repeat(32)));
        assert!(matches!(self.party.stage, Stage::Waiting));
        asked
    }

    /// What it says to that.
    fn hears(&mut self, line: &str) -> Vec<String> {
        let flow = self.party.server.expect("it is with a server");
        self.party.handle(Instant::START, Event::Read(flow, format!("{line}\n").into_bytes()));
        self.says()
    }

    fn says(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            match self.party.poll(Instant::START) {
                Step::Wait(_) | Step::Done => return said,
                Step::Write(_, octets) => said.push(String::from_utf8(octets).expect("text")),
                Step::Note(fact) => {
                    self.troubles.extend(fact.trouble().map(|told| told.to_string()))
                }
                _ => {}
            }
        }
    }
}

fn introduction(room: Option<u32>, words: Words, port: Option<u16>) -> Introduction {
    Introduction {
        server: end(SERVER),
        room,
        claim: None,
        words,
        port,
        attempts: 3,
        wait: Duration::from_secs(10),
        patience: Duration::from_secs(5),
        secret: [if room.is_some() { 3 } else { 4 }; 32],
        seed: 7,
    }
}

fn end(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

const WELCOME: &str = r#"{"type":"welcome","version":1,"observed":"192.0.2.1:7","probes":[],"ticket":"2f7a64c1f3d94a0be1a05d6a3c9be1d7","time_us":1}"#;

const SERVER: &str = "203.0.113.10:5386";

const DELAY: Duration = Duration::from_millis(10);
