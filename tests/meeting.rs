//! `punch --rendezvous` over networks built here with `ip` and `nft` alone: two hosts behind the kernel's
//! NATs, and a server between them.

#![allow(clippy::unwrap_used)]

mod network;
#[path = "meeting/proxy.rs"]
mod proxy;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use network::{Answer, Network, PATIENCE, PROGRAM, Papers, Running, Scratch, Test, within};
use serde_json::{Value, json};

fn main() {
    let named = |tests: &[(&str, fn())]| -> Vec<Test> {
        tests.iter().map(|(name, test)| ((*name).to_owned(), *test)).collect()
    };
    network::run_all(vec![
        (named(TESTS), &["setpriv", "strace", "openssl"]),
        (named(proxy::TESTS), &["python3"]),
        (named(proxy::BROWSER_TESTS), &["python3", "chromium", "chromedriver"]),
    ]);
}

const TESTS: &[(&str, fn())] = &[
    ("two_behind_nats_open_by_a_code", together),
    ("over_ipv6_without_a_nat_as_well", ipv6),
    ("two_behind_one_nat_open_within", within_one_nat),
    ("an_end_that_only_connects_calls_neither_bind_nor_listen", connect_only),
    ("where_ports_are_random_it_says_beforehand_that_there_is_no_chance", random),
    ("whoever_has_wrong_words_does_not_get_in_and_the_right_one_does", wrong_words),
    ("who_waits_outlasts_a_server_that_is_killed", killed_server),
    ("a_server_behind_a_nat_or_at_all_addresses_serves_all_the_same", hidden_server),
    ("a_peer_that_is_stopped_or_killed_is_told_of", stopped_peer),
    ("who_waits_and_is_stopped_for_a_while_is_back_in_its_room", stopped_waiter),
    ("masked_nothing_of_earlier_attempts_shows_an_address", masked),
    ("over_tls_the_server_has_to_prove_who_it_is", tls),
    ("the_code_and_each_failure_are_told_in_words", words),
    ("a_pipe_over_it_carries_both_ways", pipe),
    ("an_interrupt_ends_the_wait_with_nothing_left", interrupted),
    ("killed_at_any_moment_it_leaves_nothing", killed),
    ("what_cannot_be_is_an_error_with_a_hint", refused),
    ("hosts_of_all_kinds_meet_in_the_lab", hosts),
    ("a_table_that_is_interrupted_says_so_and_leaves_nothing", hosts_interrupted),
];

/// Where the server is.
const SERVER: &str = "203.0.113.10";

/// Ports are preserved, and nothing comes in that was not asked for.
const PLAIN: &str = "masquerade";

const RANDOM: &str = "masquerade fully-random";

/// Two insides, each behind a NAT that gives ports so.
fn behind(nats: [&str; 2]) -> Network {
    let network = Network::with_two_insides();
    for (host, outside, nat) in [("edge", "wan", nats[0]), ("b", "eth0", nats[1])] {
        network.rules(
            host,
            &format!(
                "table ip nat {{
                chain out {{ type nat hook postrouting priority srcnat; oifname {outside} {nat}; }}
                chain in {{
                    type filter hook input priority filter;
                    iifname {outside} ct state new drop;
                }}
            }}"
            ),
        );
    }
    network
}

fn serving(network: &Network) -> Running {
    network.serve("a", &["--rendezvous-only", "--listen", SERVER, "--alternate", "203.0.113.11"])
}

/// An end that waits, and the code that it prints.
fn waiting(network: &Network, host: &str, more: &[&str]) -> (Running, String) {
    waiting_at(network, host, SERVER, more)
}

fn waiting_at(network: &Network, host: &str, server: &str, more: &[&str]) -> (Running, String) {
    let all = [&["punch", "--rendezvous", server], more].concat();
    let mut waiter = Running::start(network.tso_probe(host, &all));
    let told = waiter.progress().find(|line| line.contains("on the other side")).unwrap();
    (waiter, told.rsplit(' ').next().unwrap().to_owned())
}

fn joining(network: &Network, host: &str, code: &str, more: &[&str]) -> Running {
    let all = [&["punch", "--rendezvous", SERVER, code], more].concat();
    Running::start(network.tso_probe(host, &all))
}

/// Both ends to the end.
fn meet(network: &Network, hosts: [&str; 2], more: [&[&str]; 2]) -> [Answer; 2] {
    let (waiter, code) = waiting(network, hosts[0], &[&["--json"], more[0]].concat());
    let joiner = joining(network, hosts[1], &code, &[&["--json"], more[1]].concat());
    [waiter, joiner].map(|end| end.wait(PATIENCE))
}

/// Open at both ends, which say the same of it.
fn open(answers: &[Answer; 2]) -> [Value; 2] {
    assert!(answers.iter().all(|answer| answer.code == Some(0)), "{answers:?}");
    let [a, b] = answers.each_ref().map(Answer::json);
    assert_eq!((&a["outcome"], &b["outcome"]), (&json!("open"), &json!("open")));
    for what in ["opening", "states", "trace"] {
        let told = |answer: &Value| match &answer[what] {
            Value::Array(all) => json!(all.len()),
            one => one.clone(),
        };
        assert_eq!(told(&a), told(&b), "{what}");
    }
    assert!(a["greeting"].as_str().is_some_and(|greeting| greeting.contains("tso-probe")), "{a:#}");
    [a, b]
}

fn together() {
    let network = behind([PLAIN, PLAIN]);
    let _server = serving(&network);
    let [a, b] = open(&meet(&network, ["in", "far"], [&[], &["--local-port", "7000"]]));
    for (answer, aimed_at) in [(&a, "192.0.2.10:7000"), (&b, "198.51.100.1:")] {
        assert!(answer["foreseen"]["chance"].as_f64().unwrap() > 0.9, "{answer:#}");
        let peer = answer["foreseen"]["peer"][0].as_str().unwrap();
        assert!(peer.starts_with(aimed_at), "{answer:#}");
        assert_eq!(answer["earlier"], json!([]));
    }
}

fn ipv6() {
    let network = Network::with_two_insides();
    network.sh("
        for each in in edge core a; do ip netns exec $P-$each sysctl -qw net.ipv6.conf.all.forwarding=1; done
        add() { ip -n $P-$1 addr add $3 dev $2 nodad; }
        add in eth0 2001:db8:1::2/64; add edge lan 2001:db8:1::1/64
        add edge wan 2001:db8:ff::1/64; add core wan 2001:db8:ff::2/64
        add core neta 2001:db8:a::1/64; add a eth0 2001:db8:a::2/64
        ip -n $P-in route add default via 2001:db8:1::1
        ip -n $P-edge route add default via 2001:db8:ff::2
        ip -n $P-core route add 2001:db8:1::/64 via 2001:db8:ff::1
        ip -n $P-a route add default via 2001:db8:a::1
    ");
    let _server = network.serve("core", &["--rendezvous-only", "--listen", "2001:db8:ff::2"]);
    let server = ["punch", "--json", "--rendezvous", "2001:db8:ff::2"];
    let mut waiter = Running::start(network.tso_probe("in", &server));
    let told = waiter.progress().find(|line| line.contains("on the other side")).unwrap();
    let code = told.rsplit(' ').next().unwrap();
    let joiner = Running::start(network.tso_probe("a", &[&server[..], &[code]].concat()));
    let [a, _] = open(&[waiter, joiner].map(|end| end.wait(PATIENCE)));
    assert!(a["foreseen"]["peer"][0].as_str().unwrap().starts_with("[2001:db8:a::2]:"), "{a:#}");
}

fn within_one_nat() {
    let network = behind([PLAIN, PLAIN]);
    network.sh("
        host() { ip netns add $P-$1; ip -n $P-$1 link set lo up; }
        host by; ip link add name lan2 netns $P-edge type veth peer name eth0 netns $P-by
        ip -n $P-edge link set lan2 up; ip -n $P-by link set eth0 up
        ip -n $P-edge addr add 192.168.5.1/24 dev lan2; ip -n $P-by addr add 192.168.5.2/24 dev eth0
        ip -n $P-by route add default via 192.168.5.1
    ");
    let _server = serving(&network);
    let [a, _] = open(&meet(&network, ["in", "by"], [&[], &[]]));
    assert!(a["foreseen"]["peer"][0].as_str().unwrap().starts_with("192.168.5.2:"), "{a:#}");
}

/// Linux chooses ports by the remote, so that what a first attempt teaches is needed; every 10 s it
/// shuffles all, so that another may be.
fn connect_only() {
    let network = behind([PLAIN, PLAIN]);
    let _server = serving(&network);
    let scratch = Scratch::new();
    let (waiter, code) = waiting(&network, "in", &["--json", "--attempts", "20"]);
    let calls = scratch.path("calls");
    let mut command = network.command("far", "strace");
    command.args(["-f", "-e", "trace=bind,listen,connect", "-o", &calls]);
    // Without privilege nothing is captured, for which libpcap binds a socket of its own.
    command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps=-all", "--bounding-set=-all", PROGRAM, "punch", "--json"]);
    command.args(["--rendezvous", SERVER, &code, "--connect-only", "--attempts", "20"]);
    let joiner = Running::start(network::marked(command)).wait(4 * PATIENCE);
    let waiter = waiter.wait(4 * PATIENCE);
    let calls = std::fs::read_to_string(calls).unwrap();
    let wrong: Vec<_> =
        calls.lines().filter(|call| call.contains("bind(") || call.contains("listen(")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(calls.lines().filter(|call| call.contains("connect(")).count() > 6, "{calls}");
    assert_eq!((waiter.code, joiner.code), (Some(0), Some(0)), "{waiter:?} {joiner:?}");
    let answer = joiner.json();
    assert_eq!(answer["ends"].as_array().unwrap().len(), 2);
    assert!(answer["foreseen"]["rule"].as_str().unwrap().contains("our host"), "{answer:#}");
}

fn random() {
    let network = behind([RANDOM, PLAIN]);
    let _server = serving(&network);
    // The one that may go on has no more to tell than the other.
    let brief: &[&str] = &["--timeout", "1s", "--attempts", "2"];
    let longer: &[&str] = &["--timeout", "1s", "--attempts", "8"];
    for answer in meet(&network, ["in", "far"], [brief, longer]) {
        assert_eq!(answer.code, Some(1), "{answer:?}");
        let answer = answer.json();
        assert!(answer["foreseen"]["chance"].as_f64().unwrap() < 0.02, "{answer:#}");
        assert_eq!(answer["earlier"].as_array().unwrap().len(), 1, "{answer:#}");
        assert_eq!(answer["outcome"], "timed-out");
        let advice = answer["diagnosis"]["advice"].as_str().unwrap();
        assert!(advice.contains("'tso-probe proxy'"), "{answer:#}");
    }
}

fn hidden_server() {
    let network = behind([PLAIN, PLAIN]);
    // What is called 203.0.113.12 outside is 10.9.9.9, and knows nothing of that.
    network.sh("
        ip -n $P-a addr add 10.9.9.9/32 dev lo
        ip -n $P-core route add 10.9.9.9/32 via 203.0.113.10
    ");
    network.rules(
        "core",
        "table ip nat {
            chain in {
                type nat hook prerouting priority dstnat;
                ip daddr 203.0.113.12 dnat to 10.9.9.9;
            }
        }",
    );
    for (listen, reached) in [("10.9.9.9", "203.0.113.12"), ("0.0.0.0", SERVER)] {
        let server = network.serve("a", &["--rendezvous-only", "--listen", listen]);
        let (waiter, code) = waiting_at(&network, "in", reached, &["--json"]);
        let all = ["punch", "--json", "--rendezvous", reached, &code];
        let joiner = Running::start(network.tso_probe("far", &all));
        let [a, _] = open(&[waiter, joiner].map(|end| end.wait(PATIENCE)));
        assert!(a["foreseen"]["chance"].as_f64().unwrap() > 0.8, "{a:#}");
        server.signal("INT");
        assert_eq!(server.wait(PATIENCE).code, Some(0));
    }
}

/// Real processes, stopped by the kernel: their connections stand, and nothing answers.
fn stopped_peer() {
    let network = behind([RANDOM, RANDOM]);
    let _server = serving(&network);
    let (waiter, code) = waiting(&network, "in", &[]);
    waiter.signal("STOP");
    let joiner = joining(&network, "far", &code, &[]).wait(PATIENCE);
    assert_eq!(joiner.code, Some(2), "{joiner:?}");
    assert!(joiner.stderr.contains("its host has stopped"), "{joiner:?}");
    assert!(!joiner.stderr.contains("other words"), "{joiner:?}");
    waiter.signal("KILL");
    waiter.wait(PATIENCE);
    for (signal, word) in [("STOP", "its host has stopped"), ("KILL", "the peer has left")] {
        let brief = ["--timeout", "60s", "--attempts", "1"];
        let (waiter, code) = waiting(&network, "in", &[&["--json"][..], &brief].concat());
        let mut joiner = joining(&network, "far", &code, &[&["-v"][..], &brief].concat());
        assert!(joiner.progress().any(|line| line.starts_with("agreed; chance")));
        let under_way = "ip netns exec $P-far ss -Htn state syn-sent dst 198.51.100.1";
        assert!(within(PATIENCE, || !network.sh(under_way).is_empty()), "no SYN has left");
        joiner.signal(signal);
        let waiter = waiter.wait(PATIENCE);
        assert_eq!(waiter.code, Some(1), "{waiter:?}");
        let answer = waiter.json();
        assert_eq!(answer["diagnosis"]["cause"], "peer-gone", "{answer:#}");
        let because = answer["diagnosis"]["because"].as_str().unwrap();
        assert!(because.contains(word), "{answer:#}");
        joiner.signal("KILL");
        joiner.wait(PATIENCE);
    }
}

/// For longer than the server waits for a word: this is what is tested, nothing is waited for.
fn stopped_waiter() {
    let network = behind([PLAIN, PLAIN]);
    let _server = serving(&network);
    let (waiter, code) = waiting(&network, "in", &["--json"]);
    waiter.signal("STOP");
    std::thread::sleep(Duration::from_secs(70));
    waiter.signal("CONT");
    let joiner = joined(&network, &code);
    open(&[waiter.wait(PATIENCE), joiner]);
}

fn masked() {
    let network = behind([RANDOM, PLAIN]);
    let _server = serving(&network);
    let brief = ["-v", "--mask", "--timeout", "1s", "--attempts", "2"];
    let (waiter, code) = waiting(&network, "in", &brief);
    let joiner = joining(&network, "far", &code, &[&["--json"][..], &brief].concat());
    let [waiter, joiner] = [waiter, joiner].map(|end| end.wait(PATIENCE));
    assert!(waiter.stdout.contains("Attempt 1 came to nothing"), "{waiter:?}");
    assert_eq!(joiner.json()["earlier"].as_array().unwrap().len(), 1, "{joiner:?}");
    for answer in [&waiter, &joiner] {
        assert_eq!(answer.code, Some(1), "{answer:?}");
        let all = answer.stdout.clone() + &answer.stderr;
        for address in ["192.168.", "198.51.100.1", "192.0.2.10", "203.0.113.10:5386"] {
            assert!(!all.contains(address), "{address}: {all}");
        }
        assert!(all.contains("203.0.113."), "what is masked is named still: {all}");
    }
}

fn wrong_words() {
    let network = behind([PLAIN, PLAIN]);
    let _server = serving(&network);
    let (waiter, code) = waiting(&network, "in", &["--json"]);
    let room = code.split('-').next().unwrap();
    let guess =
        joining(&network, "far", &format!("{room}-violin-lagoon"), &["--json"]).wait(PATIENCE);
    assert_eq!(guess.code, Some(2), "{guess:?}");
    assert!(guess.stderr.contains("other words") && guess.stderr.contains("hint:"), "{guess:?}");
    let joiner = joined(&network, &code);
    open(&[waiter.wait(PATIENCE), joiner]);
}

/// The far end, once the other waits in its room again.
fn joined(network: &Network, code: &str) -> Answer {
    let mut joiner = None;
    within(PATIENCE, || {
        let answer = joining(network, "far", code, &["--json"]).wait(PATIENCE);
        let is_early = answer.stderr.contains("nobody waits");
        joiner = Some(answer);
        // The server lets nobody try more often than 30 times a minute.
        std::thread::sleep(Duration::from_millis(if is_early { 2_100 } else { 0 }));
        !is_early
    });
    joiner.unwrap()
}

fn killed_server() {
    let network = behind([PLAIN, PLAIN]);
    let server = serving(&network);
    let (waiter, code) = waiting(&network, "in", &["--json"]);
    server.signal("KILL");
    server.wait(PATIENCE);
    let _server = serving(&network);
    // It comes back by itself; until then nobody is in the room.
    let joiner = joined(&network, &code);
    open(&[waiter.wait(PATIENCE), joiner]);
}

fn tls() {
    let network = behind([PLAIN, PLAIN]);
    let papers = Papers::of(SERVER);
    let authority = Papers::of_an_authority(SERVER);
    let options = [&["--rendezvous-only", "--listen", SERVER][..], &papers.options()].concat();
    let _server = network.serve("a", &options);
    let trusting = ["--tls-ca", papers.certificate.as_str()];
    open(&meet(&network, ["in", "far"], [&trusting, &trusting]));
    let cases = [
        (&["--tls"][..], "UnknownIssuer", "--tls-ca"),
        (&["--tls"], "UnknownIssuer", "has a command that makes one"),
        (&[], "has ended the connection", "if it has a certificate, give --tls"),
    ];
    for (more, wanted, hint) in cases {
        let all = [&["punch", "--rendezvous", SERVER], more].concat();
        let answer = Running::start(network.tso_probe("in", &all)).wait(PATIENCE);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.stderr.contains(wanted) && answer.stderr.contains(hint), "{answer:?}");
    }
    let ports = ["--rendezvous-ports", "7386,7387", "--rendezvous-only", "--listen", SERVER];
    let _other = network.serve("a", &[&ports[..], &authority.options()].concat());
    let at = format!("{SERVER}:7386");
    let all = ["punch", "--rendezvous", &at, "--tls-ca", &authority.certificate];
    let answer = Running::start(network.tso_probe("in", &all)).wait(PATIENCE);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("CA:TRUE") && answer.stderr.contains("hint:"), "{answer:?}");
}

fn words() {
    let network = behind([RANDOM, RANDOM]);
    let _server = serving(&network);
    let brief = ["--timeout", "1s", "--attempts", "2"];
    let all = [&["punch", "--rendezvous", SERVER][..], &brief].concat();
    let mut waiter = Running::start(network.tso_probe("in", &all));
    let code = waiter.line();
    let joiner = joining(&network, "far", &code, &brief).wait(PATIENCE);
    let waiter = waiter.wait(PATIENCE);
    for answer in [&waiter, &joiner] {
        assert_eq!(answer.code, Some(1), "{answer:?}");
        let text = answer.stdout.replace('\n', " ");
        for wanted in
            ["Attempt 1 came to nothing", "was not seen to arrive", "a chance of less than"]
        {
            assert!(text.contains(wanted), "{wanted}: {}", answer.stdout);
        }
        assert!(answer.stdout.lines().all(|line| line.chars().count() <= 80), "{}", answer.stdout);
    }
    let told = format!("on the other side: tso-probe punch --rendezvous {SERVER} {code}\n");
    assert_eq!(waiter.stderr, told);
}

fn pipe() {
    let network = behind([PLAIN, PLAIN]);
    let _server = serving(&network);
    let piped = |host: &str, more: &[&str]| -> Child {
        let all = [&["punch", "--pipe", "--rendezvous", SERVER], more].concat();
        let mut command = network.tso_probe(host, &all);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut waiter = piped("in", &[]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(waiter.stderr.take().unwrap()));
    let told = lines.find_map(|line| line.ok().filter(|line| line.contains("other side"))).unwrap();
    let code = told.rsplit(' ').next().unwrap().to_owned();
    // Nobody may wait for its stderr to be read.
    let drained = std::thread::spawn(move || lines.for_each(drop));
    let mut joiner = piped("far", &[&code]);
    waiter.stdin.take().unwrap().write_all(b"from a").unwrap();
    joiner.stdin.take().unwrap().write_all(b"from b").unwrap();
    let (joiner, waiter) = (joiner.wait_with_output().unwrap(), waiter.wait_with_output().unwrap());
    drained.join().unwrap();
    assert_eq!((&waiter.stdout[..], &joiner.stdout[..]), (&b"from b"[..], &b"from a"[..]));
}

fn interrupted() {
    let network = behind([PLAIN, PLAIN]);
    let _server = serving(&network);
    let mut waiter = Running::start(network.tso_probe("in", &["punch", "--rendezvous", SERVER]));
    let code = waiter.line();
    waiter.signal("INT");
    let waiter = waiter.wait(PATIENCE);
    assert_eq!(waiter.code, Some(2), "{waiter:?}");
    assert!(waiter.stderr.contains("interrupted before the two ends had agreed"), "{waiter:?}");
    // Its room went with it.
    let joiner = joining(&network, "far", &code, &[]).wait(PATIENCE);
    assert_eq!(joiner.code, Some(2), "{joiner:?}");
    assert!(joiner.stderr.contains("nobody waits in this room"), "{joiner:?}");
}

/// The end of the tests looks for what is left.
fn killed() {
    let network = behind([PLAIN, PLAIN]);
    let _server = serving(&network);
    for after_ms in [0, 40, 120, 250, 400, 600] {
        let (waiter, code) =
            waiting(&network, "in", &["--json", "--attempts", "1", "--timeout", "1s"]);
        let joiner = joining(&network, "far", &code, &["--json", "--timeout", "1s"]);
        std::thread::sleep(Duration::from_millis(after_ms));
        joiner.signal("KILL");
        joiner.wait(PATIENCE);
        // A waiter whose peer has gone before they agreed goes on waiting.
        waiter.signal("INT");
        let waiter = waiter.wait(PATIENCE);
        // Once a connection stands, a signal ends it as it ends any other program.
        assert!(matches!(waiter.code, None | Some(0..=2)), "{waiter:?}");
        assert!(network.tables("in").is_empty());
    }
}

fn os_table(more: &[&str]) -> Running {
    let mut command = Command::new(PROGRAM);
    command.args(["lab", "os-table", "--trials", "1", "--json"]).args(more);
    Running::start(network::marked(command))
}

fn hosts() {
    let answer = os_table(&["--attempts", "2"]).wait(4 * PATIENCE);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let answer = answer.json();
    let pairs = answer["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 30);
    for pair in pairs {
        let is_random = pair["hosts"].as_array().unwrap().contains(&json!("random"));
        let (foreseen, opened) = (pair["foreseen"].as_f64().unwrap(), &pair["opened"]);
        match (pair["proxy"].as_bool().unwrap(), is_random) {
            (true, _) => assert!(foreseen > 0.9 && *opened == 1, "{pair:#}"),
            (false, true) => assert!(foreseen < 0.02 && *opened == 0, "{pair:#}"),
            (false, false) => {}
        }
    }
}

fn hosts_interrupted() {
    let mut running = os_table(&["-v"]);
    assert!(running.progress().any(|line| line.contains("linux and")));
    running.signal("INT");
    let answer = running.wait(PATIENCE);
    assert_eq!(answer.code, Some(3), "{answer:?}");
}

fn refused() {
    let cases: [(&[&str], &str); 9] = [
        (&["--rendezvous", "127.0.0.1:6386"], "its firewall lets port 6386 in"),
        (&["--rendezvous", "127.0.0.1", "--timeout", "0s"], "a time from 1ms to 60s is wanted"),
        (&["--rendezvous", "127.0.0.1:9"], "refuses connections"),
        (&["--rendezvous", "127.0.0.1:9"], "give --tls"),
        (&["--rendezvous", "127.0.0.1", "7-violin"], "a code is a number and two words"),
        (&["--rendezvous", "127.0.0.1", "7-violin-lagon"], "lagoon"),
        (&["7-violin-lagoon"], "--rendezvous"),
        (&["--rendezvous", "127.0.0.1", "--peer", "192.0.2.1:7"], "cannot be used with"),
        (
            &["--rendezvous", "127.0.0.1", "--connect-only", "--local-port", "7"],
            "cannot be used with",
        ),
    ];
    for (arguments, wanted) in cases {
        let mut command = Command::new(PROGRAM);
        command.arg("punch").args(arguments);
        let answer = Running::start(network::marked(command)).wait(PATIENCE);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.stderr.contains(wanted), "{wanted}: {answer:?}");
    }
}
