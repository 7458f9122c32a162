use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::engine::End;
use crate::time::Duration;

const LIMITS: IntroducerLimits = IntroducerLimits {
    connections: 50,
    connections_of_one_address: 8,
    rooms: 9,
    rooms_of_one_address: 3,
    joins_per_minute: 4,
    messages_per_second: 20,
    mappings: 3,
    greeting: Duration::from_secs(10),
    waiting: Duration::from_secs(600),
    silence: Duration::from_secs(60),
    silence_of_a_pair: Duration::from_secs(6),
    unread: 65_536,
    unread_in_total: 65_536,
};

#[test]
fn a_client_is_told_how_it_is_seen_and_where_it_may_show_more() {
    let mut house = House::new();
    house.enters(1);
    let welcome = house.says(1, json!({"type": "hello", "version": 1, "internal": 40_000}));
    let [(1, welcome)] = &welcome[..] else { panic!("{welcome:?}") };
    assert_eq!(welcome["observed"], "198.51.100.1:1001");
    assert_eq!(welcome["probes"], json!(["203.0.113.10:5386", "203.0.113.10:5387"]));
    house.enters(2);
    let shown = json!({"type": "show", "ticket": welcome["ticket"], "internal": 40_001});
    let told = house.says(2, shown);
    assert_eq!(told[0], (2, json!({"type": "shown", "observed": "198.51.100.1:1002"})));
    let (to, seen) = &told[1];
    let external = |place: usize| seen["mappings"][place]["external"].clone();
    assert_eq!(
        (*to, external(0), external(1)),
        (1, "198.51.100.1:1001".into(), "198.51.100.1:1002".into())
    );
    assert_eq!(seen["mappings"][1]["internal"], 40_001);
    // What shows a client's mapping goes with the client.
    assert_eq!(house.leaves(1), [(2, CLOSED), (1, CLOSED)]);
    assert_eq!(house.introducer.status(), Status::default());
}

#[test]
fn a_server_that_listens_everywhere_names_what_it_was_reached_at() {
    let mut house = House::new();
    house.introducer.probes =
        ["0.0.0.0:5386", "0.0.0.0:5387"].map(|end| end.parse().unwrap()).into();
    let welcome = house.greets(1);
    assert_eq!(welcome["probes"], json!(["203.0.113.10:5386", "203.0.113.10:5387"]));
}

/// The server cannot read what they say. Whoever waits has said its part of a key, and no to one who
/// guessed; more it has for a peer alone.
#[test]
fn whoever_was_welcome_has_not_used_up_an_attempt() {
    let mut house = House::new();
    let mut join = |texts: u32| {
        house.greets(1);
        house.says(1, json!({"type": "wait"}));
        house.greets(2);
        let told = house.says(2, json!({"type": "join", "room": 1}));
        let is_in = told[0].1["type"] == "paired";
        for _ in 0..texts * u32::from(is_in) {
            house.says(1, json!({"type": "relay", "text": "x"}));
            house.says(2, json!({"type": "relay", "text": "x"}));
        }
        house.leaves(2);
        house.leaves(1);
        is_in
    };
    assert!((0..20).all(|_| join(3)));
    let entered = (0..20).filter(|_| join(2)).count();
    assert_eq!(entered, LIMITS.joins_per_minute as usize);
    assert!(!join(3));
}

#[test]
fn the_newest_mappings_are_kept_and_fit_a_line() {
    let mut house = House::new();
    let ticket = house.greets(1)["ticket"].clone();
    for flow in 2..6 {
        house.enters(flow);
        let told = house.says(flow, json!({"type": "show", "ticket": ticket}));
        let mappings = told[1].1["mappings"].as_array().unwrap().clone();
        assert_eq!(mappings.len(), LIMITS.mappings.min(flow as usize));
        assert_eq!(mappings.last().unwrap()["external"], format!("198.51.100.1:{}", 1_000 + flow));
    }
    let far: Endpoint = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
    let longest = Seen { time_us: u64::MAX, server: far, external: far, internal: Some(u16::MAX) };
    let mappings = vec![longest; IntroducerLimits::default().mappings];
    assert!(to_line(&Answer::Seen { mappings }).len() <= LONGEST_LINE);
}

#[test]
fn two_meet_in_a_room_and_hear_each_other_alone() {
    let mut house = House::new();
    assert_eq!(house.meet(1, 2), 1);
    assert_eq!(house.meet(3, 4), 2);
    let heard = house.says(1, json!({"type": "relay", "text": "a"}));
    assert_eq!(heard, [(2, json!({"type": "relay", "text": "a"}))]);
    let heard = house.says(4, json!({"type": "relay", "text": "b"}));
    assert_eq!(heard, [(3, json!({"type": "relay", "text": "b"}))]);
    let gone = json!({"type": "gone", "why": "left"});
    assert_eq!(house.leaves(2), [(1, gone), (2, CLOSED)]);
    // What was on its way is lost; the client may open another room.
    assert_eq!(house.says(1, json!({"type": "relay", "text": "c"})), []);
    assert_eq!(house.says(1, json!({"type": "wait"}))[0].1["room"], 1);
}

#[test]
fn whoever_comes_back_while_its_peer_is_there_has_its_room_to_itself() {
    let mut house = House::new();
    house.greets(1);
    let room = house.says(1, json!({"type": "wait"}))[0].1.clone();
    house.greets(2);
    house.says(2, json!({"type": "join", "room": room["room"]}));
    house.greets(3);
    let claim = json!({"type": "wait", "room": room["room"], "ticket": room["ticket"]});
    let told = house.says(3, claim);
    let of = |flow| told.iter().filter(move |(to, _)| *to == flow).map(|(_, what)| what);
    assert_eq!(of(1).next().unwrap()["code"], "replaced");
    assert_eq!(of(2).next().unwrap()["type"], "gone");
    assert_eq!(of(3).collect::<Vec<_>>(), [&room]);
}

#[test]
fn peers_learn_what_proof_the_other_brings() {
    let mut house = House::new();
    house.enters(1);
    house.says(1, json!({"type": "hello", "version": 1, "proof": "spake2"}));
    house.says(1, json!({"type": "wait"}));
    house.greets(2);
    let told = house.says(2, json!({"type": "join", "room": 1}));
    let paired = |role, proof| json!({"type": "paired", "room": 1, "role": role, "proof": proof});
    assert_eq!(told, [(1, paired("waiter", "none")), (2, paired("joiner", "spake2"))]);
}

#[test]
fn a_room_is_claimed_again_on_the_same_server_and_on_one_that_has_forgotten() {
    let mut house = House::new();
    house.greets(1);
    let room = house.says(1, json!({"type": "wait"}))[0].1.clone();
    let claim = json!({"type": "wait", "room": room["room"], "ticket": room["ticket"]});
    house.greets(2);
    let told = house.says(2, claim.clone());
    assert_eq!((told[0].0, &told[0].1["code"]), (1, &json!("replaced")));
    assert_eq!(told[1..], [(1, CLOSED), (2, room.clone())]);
    let mut after = House::new();
    after.greets(7);
    assert_eq!(after.says(7, claim.clone()), [(7, room)]);
    after.greets(8);
    let other = json!({"type": "wait", "room": 1, "ticket": "0".repeat(32)});
    assert_eq!(after.says(8, other)[0].1["code"], "room-taken");
}

#[test]
fn what_has_no_place_or_no_sense_ends_the_connection() {
    for (line, code) in [
        (json!({"type": "wait"}), "out-of-turn"),
        (json!({"type": "hello", "version": 2}), "version"),
        (json!({"type": "show", "ticket": "0".repeat(32)}), "no-such-ticket"),
        (json!([]), "malformed"),
    ] {
        let mut house = House::new();
        house.enters(1);
        let told = house.says(1, line);
        assert_eq!((&told[0].1["code"], &told[1..]), (&json!(code), &[(1, CLOSED)][..]));
        assert_eq!(house.introducer.status().connections, 0);
    }
    let mut house = House::new();
    house.meet(1, 2);
    let told = house.says(2, json!({"type": "wait"}));
    assert_eq!(told[2], (1, json!({"type": "gone", "why": "refused"})));
}

#[test]
fn nobody_is_asked_for_more_than_the_limits() {
    let mut house = House::new();
    (1..=8).for_each(|flow| house.enters(flow));
    assert_eq!(
        house.event(Event::Accepted { flow: Flow(9), local: local(), remote: remote(9) })[0].1["code"],
        "busy"
    );
    let mut house = House::new();
    house.greets(1);
    for guess in 0..LIMITS.joins_per_minute {
        assert_eq!(
            house.says(1, json!({"type": "join", "room": guess + 1}))[0].1["code"],
            "no-such-room"
        );
    }
    assert_eq!(house.says(1, json!({"type": "join", "room": 1}))[0].1["code"], "too-many-joins");
    let pings = 0..LIMITS.messages_per_second;
    let told = pings.map(|id| house.says(1, json!({"type": "ping", "id": id})));
    let told = told.into_iter().find(|told| told[0].1["type"] != "pong").unwrap();
    assert_eq!((&told[0].1["code"], &told[1]), (&json!("too-fast"), &(1, CLOSED)));
    let refused = house.introducer.status().refused;
    assert_eq!(refused[&Code::NoSuchRoom], u64::from(LIMITS.joins_per_minute));
    assert_eq!((refused[&Code::TooManyJoins], refused[&Code::TooFast]), (1, 1));
}

#[test]
fn whoever_is_silent_is_asked_twice_and_then_gone_and_the_peer_is_told() {
    let mut house = House::new();
    house.meet(1, 2);
    house.passes(Duration::from_secs(1));
    house.says(1, json!({"type": "ping"}));
    let mut told = Vec::new();
    for _ in 0..5 {
        told.extend(house.passes(Duration::from_secs(1)));
        house.says(1, json!({"type": "ping"}));
    }
    let to_silent: Vec<_> = told.iter().filter(|(to, _)| *to == 2).map(|(_, what)| what).collect();
    let kinds: Vec<_> =
        to_silent.iter().map(|what| what["type"].as_str().unwrap_or("closed")).collect();
    assert_eq!(kinds, ["ping", "ping", "error", "closed"]);
    assert_eq!(to_silent[2]["code"], "silent");
    let gone = json!({"type": "gone", "why": "silent"});
    assert!(told.contains(&(1, gone)), "{told:?}");
    // A pong would have been enough; without a peer there is more time.
    house.says(1, json!({"type": "wait"}));
    let told = house.passes(Duration::from_secs(59));
    assert_eq!(told.iter().map(|(_, what)| &what["type"]).collect::<Vec<_>>(), ["ping", "ping"]);
    house.says(1, json!({"type": "pong", "id": 2}));
    assert_eq!(house.passes(Duration::from_secs(19)), []);
}

/// Found by the test of rooms below: who waits may be silent for longer than who has a peer.
#[test]
fn whoever_was_silent_before_somebody_came_is_not_blamed_for_it() {
    let mut house = House::new();
    house.greets(1);
    house.says(1, json!({"type": "wait"}));
    house.passes(Duration::from_secs(15));
    house.greets(2);
    assert_eq!(house.says(2, json!({"type": "join", "room": 1})).len(), 2);
    assert_eq!(house.passes(Duration::from_millis(1_900)), []);
}

/// A server that was stopped wakes with all deadlines behind it: nobody could answer meanwhile.
#[test]
fn a_server_that_slept_asks_before_it_blames() {
    let mut house = House::new();
    house.meet(1, 2);
    house.now += Duration::from_secs(3_600);
    let told = house.told();
    assert_eq!(told.iter().map(|(_, what)| &what["type"]).collect::<Vec<_>>(), ["ping", "ping"]);
}

#[test]
fn nobody_greets_slowly_or_waits_for_ever() {
    let mut house = House::new();
    house.enters(1);
    house.read(1, b"{\"type\": \"hel");
    house.passes(Duration::from_secs(9));
    house.read(1, b"lo\"");
    let told = house.passes(Duration::from_secs(1));
    assert_eq!((&told[0].1["code"], &told[1]), (&json!("silent"), &(1, CLOSED)));
    house.greets(2);
    house.says(2, json!({"type": "wait"}));
    let mut told = Vec::new();
    for _ in 0..60 {
        told = house.passes(Duration::from_secs(10));
        house.says(2, json!({"type": "pong", "id": 1}));
    }
    assert_eq!(told[0].1["code"], "waited-too-long");
}

#[test]
fn everybody_is_told_that_the_server_stops() {
    let mut house = House::new();
    house.meet(1, 2);
    let told = house.event(Event::Interrupted);
    let stopping: Vec<_> = told.iter().filter(|(_, what)| what["code"] == "stopping").collect();
    assert_eq!(stopping.len(), 2, "{told:?}");
    assert_eq!(house.introducer.poll(house.now), Step::Done);
}

proptest! {
    /// Whatever clients say in whatever order, a word reaches only the one in the same room.
    #[test]
    fn no_word_reaches_another_room(deeds in proptest::collection::vec((1u32..8, 0u8..6, 1u32..5), 0..120)) {
        let mut house = House::new();
        let mut with = std::collections::BTreeMap::new();
        for (number, (flow, deed, room)) in deeds.into_iter().enumerate() {
            let mut told = house.passes(Duration::from_millis(700));
            let text = format!("{flow} {number}");
            told.extend(match deed {
                0 => house.leaves(flow),
                1 => house.says_if_in(flow, json!({"type": "wait"})),
                2 | 3 => house.says_if_in(flow, json!({"type": "join", "room": room})),
                _ => house.says_if_in(flow, json!({"type": "relay", "text": text})),
            });
            for (to, what) in &told {
                let kind = what["type"].as_str().unwrap_or("closed");
                match kind {
                    "relay" => {
                        prop_assert_eq!(&what["text"], &text);
                        prop_assert_eq!(with.get(to), Some(&flow));
                    }
                    "gone" | "closed" => drop(with.remove(to)),
                    _ => {}
                }
            }
            let paired: Vec<_> = told.iter().filter(|(_, what)| what["type"] == "paired").map(|(to, _)| *to).collect();
            if let [one, other] = paired[..] {
                prop_assert!(!with.contains_key(&one) && !with.contains_key(&other));
                with.extend([(one, other), (other, one)]);
            }
            if deed > 3 && with.contains_key(&flow) {
                prop_assert!(told.iter().any(|(to, what)| Some(to) == with.get(&flow) && what["type"] == "relay"));
            }
            let status = house.introducer.status();
            prop_assert_eq!(status.pairs * 2, with.len());
            prop_assert_eq!(status.connections, house.inside.len());
        }
    }
}

/// What a client sees when its connection is ended.
const CLOSED: Value = Value::Null;

/// A server with clients of one address.
struct House {
    introducer: Introducer,
    now: Instant,
    inside: BTreeSet<u32>,
}

impl House {
    fn new() -> Self {
        let probes = ["203.0.113.10:5386", "203.0.113.10:5387"].map(|end| end.parse().unwrap());
        let introducer = Introducer::new(probes.to_vec(), LIMITS, [7; 32]);
        Self { introducer, now: Instant::START, inside: BTreeSet::new() }
    }

    fn enters(&mut self, flow: u32) {
        let told =
            self.event(Event::Accepted { flow: Flow(flow), local: local(), remote: remote(flow) });
        assert_eq!(told, []);
        self.inside.insert(flow);
    }

    fn greets(&mut self, flow: u32) -> Value {
        self.enters(flow);
        self.says(flow, json!({"type": "hello", "version": 1})).remove(0).1
    }

    /// One opens a room, the other enters it: its number.
    fn meet(&mut self, waiter: u32, joiner: u32) -> u64 {
        self.greets(waiter);
        self.greets(joiner);
        let room = self.says(waiter, json!({"type": "wait"}))[0].1["room"].clone();
        assert_eq!(self.says(joiner, json!({"type": "join", "room": room})).len(), 2);
        room.as_u64().unwrap()
    }

    fn leaves(&mut self, flow: u32) -> Vec<(u32, Value)> {
        self.event(Event::Ended(Flow(flow), End::Finished))
    }

    fn says(&mut self, flow: u32, message: Value) -> Vec<(u32, Value)> {
        self.read(flow, format!("{message}\n").as_bytes())
    }

    fn says_if_in(&mut self, flow: u32, message: Value) -> Vec<(u32, Value)> {
        if !self.inside.contains(&flow) {
            self.greets(flow);
        }
        self.says(flow, message)
    }

    fn read(&mut self, flow: u32, octets: &[u8]) -> Vec<(u32, Value)> {
        self.event(Event::Read(Flow(flow), octets.to_vec()))
    }

    fn event(&mut self, event: Event) -> Vec<(u32, Value)> {
        self.introducer.handle(self.now, event);
        self.told()
    }

    /// Time goes by in the steps that the server wants.
    fn passes(&mut self, time: Duration) -> Vec<(u32, Value)> {
        let until = self.now + time;
        let mut told = Vec::new();
        loop {
            told.extend(self.told());
            match self.introducer.poll(self.now) {
                Step::Wait(at) if at <= until => self.now = at,
                _ => break,
            }
        }
        self.now = until;
        told
    }

    fn told(&mut self) -> Vec<(u32, Value)> {
        let mut told = Vec::new();
        loop {
            match self.introducer.poll(self.now) {
                Step::Write(Flow(to), line) => {
                    told.push((to, serde_json::from_slice(&line).unwrap()))
                }
                Step::Close(Flow(to), _) => {
                    self.inside.remove(&to);
                    told.push((to, CLOSED));
                }
                _ => return told,
            }
        }
    }
}

fn local() -> Endpoint {
    "203.0.113.10:5386".parse().unwrap()
}

fn remote(flow: u32) -> Endpoint {
    format!("198.51.100.1:{}", 1_000 + flow).parse().unwrap()
}
