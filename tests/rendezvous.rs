//! The rendezvous server of `serve`, over loopback and through NATs: clients of the tests' own, the
//! program's, the client that the protocol's document has, and clients that are none.

#![allow(clippy::unwrap_used)]

mod network;
#[path = "rendezvous/client.rs"]
mod client;
#[path = "rendezvous/crowd.rs"]
mod crowd;
#[path = "rendezvous/load.rs"]
mod load;
#[path = "rendezvous/tls.rs"]
mod tls;

use std::process::Command;
use std::time::{Duration, Instant};

use client::{Client, Server};
use network::{PATIENCE, PROGRAM, Running, Scratch, Test, marked, within};
use serde_json::json;

fn main() {
    let tests = TESTS.iter().chain(load::TESTS).chain(crowd::TESTS).chain(tls::TESTS);
    let tests: Vec<Test> = tests.map(|(name, test)| ((*name).to_owned(), *test)).collect();
    network::run(tests, &["python3", "setpriv", "openssl"]);
}

const TESTS: &[(&str, fn())] = &[
    ("two_clients_as_documented_meet", documented),
    ("a_client_shows_its_mappings", mappings),
    ("a_peer_that_is_stopped_is_told_of", stopped_peer),
    ("who_waits_resumes_after_a_server_was_killed", killed_server),
    ("everybody_is_told_that_the_server_stops", stopped_server),
    ("a_server_that_was_stopped_itself_blames_nobody", sleeping_server),
    ("whoever_talks_nonsense_is_told_and_nobody_else_suffers", nonsense),
    ("whoever_reads_nothing_is_shown_out", deaf),
    ("a_storm_of_clients_leaves_nothing_behind", storm),
    ("rendezvous_alone_takes_no_privilege", unprivileged),
    ("at_all_addresses_it_names_the_one_that_was_reached", everywhere),
    ("how_busy_it_is_is_said", busy),
    ("odd_arguments_are_errors_with_hints", refused),
];

fn documented() {
    let (server, scratch) = (Server::start(1, &[]), Scratch::new());
    let program = documented_client();
    let written = program.lines().filter(|line| !line.is_empty()).count();
    assert!(written <= 30, "the page promises a client in 30 lines, this has {written}");
    let file = scratch.path("client.py");
    std::fs::write(&file, &program).unwrap();
    let client = |more: &[&str]| {
        let mut command = Command::new("python3");
        command.args([&file, &server.at()]).args(more);
        Running::start(marked(command))
    };
    let mut waiter = client(&[]);
    let room = waiter.line();
    let joiner = client(&[&room]).wait(PATIENCE);
    let waiter = waiter.wait(PATIENCE);
    for (answer, role) in [(&joiner, "joiner\n"), (&waiter, "waiter\n")] {
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let heard = answer.stdout.strip_prefix(role).unwrap_or_else(|| panic!("{answer:?}"));
        let mappings: Vec<String> = serde_json::from_str(heard).unwrap();
        assert_eq!(mappings.len(), 3, "{mappings:?}");
        assert!(mappings.iter().all(|external| external.starts_with("127.")), "{mappings:?}");
    }
}

/// The program in the protocol's document.
fn documented_client() -> String {
    let page = std::fs::read_to_string("docs/protocol.md").unwrap();
    let program = page.split("```python\n").nth(1).unwrap();
    program.split("```").next().unwrap().to_owned()
}

fn mappings() {
    let server = Server::start(2, &[]);
    let mut client = Client::greeted(&server);
    let (ticket, port) = (client.welcome["ticket"].clone(), client.port());
    assert_eq!(client.welcome["observed"], format!("127.0.0.1:{port}"));
    assert_eq!(client.welcome["probes"], json!([server.at(), server.other()]));
    let mut shows = Client::connect(&server.other());
    shows.say(&json!({"type": "show", "ticket": ticket, "internal": shows.port()}));
    assert_eq!(shows.hear()["observed"], format!("127.0.0.1:{}", shows.port()));
    let seen = client.hear();
    assert_eq!(seen["mappings"][0]["external"], format!("127.0.0.1:{port}"));
    let second = &seen["mappings"][1];
    assert_eq!(
        (&second["server"], &second["internal"]),
        (&server.other().into(), &shows.port().into())
    );
    // It goes with its client.
    drop(client);
    assert!(shows.has_ended());
}

/// A real process, stopped by the kernel: its connection stands, and it answers nothing.
fn stopped_peer() {
    let (server, scratch) = (Server::start(3, &[]), Scratch::new());
    let file = scratch.path("client.py");
    std::fs::write(&file, documented_client()).unwrap();
    let mut command = Command::new("python3");
    command.args([&file, &server.at()]);
    let mut peer = Running::start(marked(command));
    let room: u32 = peer.line().parse().unwrap();
    let mut client = Client::greeted(&server);
    client.say(&json!({"type": "join", "room": room}));
    assert_eq!(client.hear()["type"], "paired");
    assert_eq!(client.hear()["type"], "relay");
    peer.signal("STOP");
    assert_eq!(client.hear(), json!({"type": "gone", "why": "silent"}));
    peer.signal("KILL");
}

fn killed_server() {
    let server = Server::start(4, &[]);
    let mut waiter = Client::greeted(&server);
    let room = waiter.waits();
    let address = server.killed();
    assert!(waiter.has_ended());
    let server = Server::start_at(&address, &[]);
    // Somebody else comes first, and does not get that room by chance.
    let mut waiter = Client::greeted(&server);
    let claim = json!({"type": "wait", "room": room["room"], "ticket": room["ticket"]});
    waiter.say(&claim);
    assert_eq!(waiter.hear(), room);
    let mut joiner = Client::greeted(&server);
    joiner.say(&json!({"type": "join", "room": room["room"]}));
    assert_eq!(
        (&waiter.hear()["role"], &joiner.hear()["role"]),
        (&"waiter".into(), &"joiner".into())
    );
}

fn stopped_server() {
    let server = Server::start(5, &[]);
    let (mut one, mut other) = Client::pair(&server);
    let answer = server.stopped("TERM");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for client in [&mut one, &mut other] {
        assert_eq!(client.hear()["code"], "stopping");
        assert!(client.has_ended());
    }
}

/// It wakes after the time in which all clients should have said something, and finds what they said.
fn sleeping_server() {
    let server = Server::start(6, &[]);
    let (mut one, mut other) = Client::pair(&server);
    server.signal("STOP");
    // Longer than a pair may be silent: this is what is tested, nothing is waited for.
    std::thread::sleep(Duration::from_secs(7));
    server.signal("CONT");
    one.say(&json!({"type": "relay", "text": "still there"}));
    assert_eq!(other.hear()["text"], "still there");
}

fn nonsense() {
    let server = Server::start(7, &["--max-per-address", "10000"]);
    let slow: Vec<_> = (0..200).map(|_| Client::says(&server, b"{\"type\":\"hel")).collect();
    let silent: Vec<_> = (0..200).map(|_| Client::says(&server, b"")).collect();
    for (said, code) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "malformed"),
        (b"\xff\xfe\x00\n", "malformed"),
        (b"{\"type\":\"hello\",\"version\":\"one\"}\n", "malformed"),
        (b"{\"type\":\"hello\",\"version\":2}\n", "version"),
        (b"{\"type\":\"join\",\"room\":1}\n", "out-of-turn"),
        (&[b'x'; 100_000], "too-long"),
        (&[b'['; 4_000], ""),
    ] {
        let mut client = Client::says(&server, said);
        if !code.is_empty() {
            assert_eq!(client.hear()["code"], code);
            assert!(client.has_ended());
        }
    }
    let mut deep = Client::says(&server, &[&[b'['; 4_000][..], b"\n"].concat());
    assert_eq!(deep.hear()["code"], "malformed");
    let (mut one, mut other) = Client::pair(&server);
    one.say(&json!({"type": "relay", "text": "\u{0}\u{fffd} ✓"}));
    assert_eq!(other.hear()["text"], "\u{0}\u{fffd} ✓");
    // They had ten seconds.
    for mut client in slow.into_iter().chain(silent) {
        assert_eq!(client.hear()["code"], "silent");
    }
}

/// Its peer says more than the sockets between them hold.
fn deaf() {
    let server = Server::start(8, &[]);
    let (mut one, other) = Client::pair(&server);
    let line = json!({"type": "relay", "text": "x".repeat(4_000)});
    let begun = Instant::now();
    let gone = std::iter::from_fn(|| {
        // Below the limit of messages a second.
        (0..20).for_each(|_| one.say(&line));
        let next = Instant::now() + Duration::from_millis(200);
        let told = one.hear_until(next);
        Some(told).filter(|_| begun.elapsed() < PATIENCE)
    });
    let gone = gone.flatten().find(|message| message["type"] == "gone");
    assert!(gone.is_some(), "who reads nothing is still there");
    drop(other);
}

fn storm() {
    let server = Server::start(9, &["--max-per-address", "10000"]);
    let _first = Client::greeted(&server);
    let before = server.descriptors();
    let storms = |count| {
        for _ in 0..count {
            let clients: Vec<_> = (0..300).map(|_| Client::greeted(&server)).collect();
            for mut client in clients {
                client.waits();
            }
            assert!(within(PATIENCE, || server.descriptors() <= before), "some are left");
        }
        server.memory_kib()
    };
    // An allocator keeps what the first storms took; what is kept of each storm would add up.
    let (early, late) = (storms(3), storms(9));
    assert!(late - early.min(late) < early / 10, "{early} KiB, later {late} KiB");
    let (mut one, mut other) = Client::pair(&server);
    assert_eq!(one.room, 1);
    other.say(&json!({"type": "relay", "text": "calm"}));
    assert_eq!(one.hear()["text"], "calm");
}

fn unprivileged() {
    let scratch = Scratch::new();
    let program = scratch.path("tso-probe");
    std::fs::copy(PROGRAM, &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", &program]);
    command.args(["serve", "--rendezvous-only", "--listen", "127.53.85.10"]);
    let mut running = Running::start(marked(command));
    assert_eq!(running.line(), "serving: rendezvous at 127.53.85.10:5386");
    assert_eq!(running.line(), "         rendezvous at 127.53.85.10:5387");
    let mut client = Client::connect("127.53.85.10:5387");
    client.say(&json!({"type": "hello", "version": 1}));
    assert_eq!(client.hear()["type"], "welcome");
    running.signal("INT");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
}

fn everywhere() {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--rendezvous-only", "--listen", "0.0.0.0"]);
    command.args(["--rendezvous-ports", "15386,15387"]);
    let mut running = Running::start(marked(command));
    assert_eq!(running.line(), "serving: rendezvous at 0.0.0.0:15386");
    for address in ["127.53.85.30", "127.53.85.31"] {
        let mut client = Client::connect(&format!("{address}:15387"));
        client.say(&json!({"type": "hello", "version": 1}));
        let probes = [15_386, 15_387].map(|port| format!("{address}:{port}"));
        assert_eq!(client.hear()["probes"], json!(probes));
    }
    running.signal("INT");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
}

fn busy() {
    let server = Server::start(11, &["--status-every", "1s"]);
    let (_one, _other) = Client::pair(&server);
    let mut third = Client::greeted(&server);
    third.say(&json!({"type": "join", "room": 77}));
    assert_eq!(third.hear()["code"], "no-such-room");
    let wanted = "3 connected, 0 waiting, 1 paired; 1 introduced so far, refused: 1 no-such-room";
    let said = server.progress();
    assert!(said.into_iter().any(|line| line == wanted));
}

fn refused() {
    for (arguments, hint) in [
        (
            &["--rendezvous-ports", "5382,5388"][..],
            "port 5382 is to serve rendezvous and something else",
        ),
        (&["--rendezvous-only", "--listen", "192.0.2.1"], "192.0.2.1:5386"),
        (
            &["--rendezvous-only", "--listen", "127.0.0.1:7777"],
            "which --rendezvous-only leaves out",
        ),
    ] {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").args(arguments);
        Running::start(marked(command)).wait(PATIENCE).expect_error(hint);
    }
    for (option, value, wanted) in [
        ("--max-wait", "0s", "a time from 1s to 1d is wanted"),
        ("--max-clients", "0", "is no number from 1 on"),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", option, value]);
        let answer = Running::start(marked(command)).wait(PATIENCE);
        assert!(answer.code == Some(2) && answer.stderr.contains(wanted), "{answer:?}");
    }
    // Two cannot have one port.
    let server = Server::start(12, &[]);
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--rendezvous-only", "--listen", "127.53.85.12"]);
    Running::start(marked(command)).wait(PATIENCE).expect_error(&server.at());
}
