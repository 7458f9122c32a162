//! `stun --hold`: the mapping stays until the caller is done.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::network::{Network, PATIENCE, PROGRAM, Running, marked, within};
use crate::{MASQUERADE, OWN, bad_server, script};

pub const TESTS: &[(&str, fn())] = &[
    ("held_connections_stand_until_the_caller_interrupts", until_interrupted),
    ("held_connections_stand_until_stdin_is_closed", until_closed),
    ("a_server_that_closes_meanwhile_is_named", server_closes),
    ("another_server_sees_the_port_that_is_held", mapping),
    ("a_punch_leaves_from_the_port_that_is_held", punched),
    ("servers_hear_from_whoever_holds", keepalive),
    ("nothing_is_held_if_nobody_answered", nobody),
];

const ASK: [&str; 6] = ["stun", "--json", "--hold", "--local-port", "4000", "203.0.113.10"];

fn until_interrupted() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = OWN(&network);
    // The second round may not meet what is left of the first one's connections.
    network.sh("ip netns exec $P-in sh -c 'echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets'");
    for signal in ["INT", "TERM"] {
        let mut running = Running::start(network.tso_probe("in", &ASK));
        assert_eq!(external(&answer_of(&mut running)), "198.51.100.1:4000");
        assert_eq!(connections(&network), 4);
        let said = running.progress().next().unwrap();
        assert_eq!(said, "holding 4 connections from port 4000 until Ctrl-C");
        running.signal(signal);
        let answer = running.wait(PATIENCE);
        assert_eq!((answer.code, connections(&network)), (Some(0), 0), "{answer:?}");
    }
}

fn until_closed() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = OWN(&network);
    let mut running = Running::start_with_stdin(network.tso_probe("in", &ASK));
    answer_of(&mut running);
    let said = running.progress().next().unwrap();
    assert!(said.ends_with("until stdin is closed, or Ctrl-C"), "{said}");
    assert_eq!((connections(&network), running.has_ended()), (4, false));
    running.close_stdin();
    let answer = running.wait(PATIENCE);
    assert_eq!((answer.code, connections(&network)), (Some(0), 0), "{answer:?}");
}

fn server_closes() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let one = OWN(&network);
    let other = network.serve("b", &["--listen", "192.0.2.10"]);
    let all = [&ASK[..], &["192.0.2.10"]].concat();
    let mut running = Running::start(network.tso_probe("in", &all));
    answer_of(&mut running);
    let mut said = running.progress();
    assert!(said.next().unwrap().starts_with("holding 5 connections"));
    drop(other);
    assert_eq!(said.next().unwrap(), "192.0.2.10:3478 has closed its connection; 4 left");
    drop(one);
    let last: Vec<_> = said.collect();
    assert_eq!(last.len(), 4, "{last:?}");
    assert!(last[3].ends_with("; 0 left"), "{last:?}");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
}

/// Behind a NAT that draws ports at random, another server sees the same external port of the local
/// one that is held.
fn mapping() {
    let other = format!(
        "$TSO_PROBE_ON_SERVER python3 {} 203.0.113.10 5555 plain > $DIR/said & \
         until grep -q serving $DIR/said; do sleep 0.02; done",
        script("server.py")
    );
    let ask = format!("{PROGRAM} stun --json --local-port 4000");
    let external = "sed -n 's/^ *\"external\": \"\\(.*\\)\",$/\\1/p' | sort -u";
    let lines = in_shell(&format!(
        "{other}; mkfifo $DIR/stdin; {ask} --hold $TSO_PROBE_SERVER < $DIR/stdin > $DIR/held & HOLD=$!
         exec 3> $DIR/stdin
         until grep -q '^}}' $DIR/held; do sleep 0.02; done; cat $DIR/held | {external}
         {ask} $TSO_PROBE_SERVER:5555 | {external}; exec 3>&-; wait $HOLD"
    ));
    assert_eq!((lines.len(), &lines[0]), (2, &lines[1]));
    assert_ne!(lines[0], "198.51.100.1:4000");
}

/// The lines that a script says behind such a NAT.
fn in_shell(script: &str) -> Vec<String> {
    let nat = "mapping=eim,filtering=eif,ports=random";
    let script = format!("set -e; DIR=$(mktemp -d); trap 'rm -r $DIR' EXIT; {script}");
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["lab", "shell", nat, "--", "sh", "-c", &script]);
    let answer = Running::start(marked(command)).wait(PATIENCE);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    answer.stdout.lines().map(str::to_owned).collect()
}

fn punched() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = OWN(&network);
    let mut holding = Running::start(network.tso_probe("in", &ASK));
    let external = external(&answer_of(&mut holding));
    let at = SystemTime::now() + Duration::from_secs(1);
    let at = humantime::format_rfc3339_nanos(at).to_string();
    let punch = |host, port: &str, peer: &str| {
        let all = ["punch", "--json", "--peer", peer, "--at", &at, "--local-port", port];
        Running::start(network.tso_probe(host, &all))
    };
    let inside = punch("in", "4000", "192.0.2.10:6000");
    let outside = punch("b", "6000", &external);
    for end in [inside, outside] {
        let answer = end.wait(PATIENCE);
        assert_eq!(
            (answer.code, &answer.json()["outcome"]),
            (Some(0), &"open".into()),
            "{answer:?}"
        );
    }
    assert_eq!((connections(&network), holding.has_ended()), (4, false));
    holding.signal("INT");
    assert_eq!(holding.wait(PATIENCE).code, Some(0));
}

fn keepalive() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let mut server = bad_server(&network, "plain");
    let mut running = Running::start(network.tso_probe("in", &ASK));
    answer_of(&mut running);
    assert_eq!(server.line(), "indication");
    assert_eq!((connections(&network), running.has_ended()), (1, false));
    running.signal("INT");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
}

fn nobody() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let answer = Running::start(network.tso_probe("in", &ASK)).wait(PATIENCE);
    answer.expect_error("no server named our external endpoint");
}

/// What it answers while it runs on.
fn answer_of(running: &mut Running) -> Value {
    let mut lines = vec![running.line()];
    while lines.last().is_some_and(|line| line != "}" && !line.is_empty()) {
        lines.push(running.line());
    }
    serde_json::from_str(&lines.join("\n")).unwrap()
}

fn external(answer: &Value) -> String {
    answer["external"][0].as_str().unwrap().to_owned()
}

/// How many connections stand from the port that is held; those that are ending are waited for.
fn connections(network: &Network) -> usize {
    let all = |state: &str| {
        let listed =
            network.sh(&format!("ip netns exec $P-in ss -Htn state {state} sport = :4000"));
        listed.lines().count()
    };
    let ending = || ["fin-wait-1", "fin-wait-2", "close-wait", "last-ack"].map(all) == [0; 4];
    assert!(within(PATIENCE, ending), "connections do not end");
    all("established")
}
