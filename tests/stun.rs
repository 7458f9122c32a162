//! `stun`, `classify --stun` and the STUN server of `serve`, over networks built here with `ip` and
//! `nft` alone, against coturn, against libre's client, and against servers that are none.

#![allow(clippy::unwrap_used)]

mod network;
mod stun {
    pub mod classify;
    pub mod hold;
    pub mod others;
}

use network::{Answer, Network, PATIENCE, Running};
use serde_json::{Value, json};

fn main() {
    let tests = [TESTS, stun::classify::TESTS, stun::hold::TESTS, stun::others::TESTS];
    let tests = tests.into_iter().flatten().map(|(name, test)| ((*name).to_owned(), *test));
    network::run(tests.collect(), &["python3", "turnserver", "setpriv", "gcc", "nsenter"]);
}

const TESTS: &[(&str, fn())] = &[
    ("our_own_server_tells_a_masquerade_that_keeps_ports", || {
        expect_class(MASQUERADE, OWN, "endpoint-independent");
    }),
    ("our_own_server_tells_a_masquerade_with_random_ports", || {
        expect_class(RANDOM, OWN, "address-and-port-dependent");
    }),
    ("coturn_tells_a_masquerade_that_keeps_ports", || {
        expect_class(MASQUERADE, COTURN, "endpoint-independent");
    }),
    ("coturn_tells_a_masquerade_with_random_ports", || {
        expect_class(RANDOM, COTURN, "address-and-port-dependent");
    }),
    ("without_a_nat_nothing_is_translated", without_a_nat),
    ("two_servers_on_two_hosts_agree_behind_a_masquerade", two_servers),
    ("a_dead_server_beside_a_good_one_says_nothing_of_the_nat", a_dead_server),
    ("ipv6_servers_are_asked_as_well", ipv6),
    ("a_thousand_clients_that_say_half_a_request_keep_nobody_out", a_crowd),
    ("the_local_port_is_the_one_that_was_chosen", a_chosen_port),
    ("a_silent_server_is_named", || expect_problem("silent", "silent")),
    ("a_server_that_resets_is_named", || expect_problem("reset", "hung-up")),
    ("a_server_that_hangs_up_is_named", || expect_problem("close", "hung-up")),
    ("a_web_server_is_named", || expect_problem("web", "nonsense")),
    ("a_server_that_answers_with_an_error_is_named", || expect_problem("error", "error-response")),
    ("a_server_that_answers_somebody_else_is_named", || expect_problem("stranger", "nonsense")),
    ("a_server_that_makes_its_answers_up_is_named", || expect_problem("liar", "nonsense")),
    ("a_server_that_contradicts_itself_is_named", || {
        expect_problem("two-faced", "contradicts-itself");
    }),
    ("a_server_that_names_no_endpoint_is_named", || expect_problem("empty", "nonsense")),
    ("a_server_that_hangs_up_after_one_answer_has_answered", one_answer),
    ("a_server_cannot_have_us_knock_at_our_own_doors", a_doorkeeper),
    ("a_nat_that_rewrites_what_passes_is_told", a_rewriting_nat),
    ("a_local_port_that_somebody_listens_on_is_an_error_of_this_host", a_taken_port),
];

const OWN: fn(&Network) -> Running =
    |network| network.serve("a", &["--listen", "203.0.113.10", "--alternate", "203.0.113.11"]);

const COTURN: fn(&Network) -> Running = |network| {
    let mut command = network.command("a", "turnserver");
    command.args(["-n", "--stun-only", "--no-auth", "--no-udp", "--no-tls", "--no-dtls"]);
    command.args(["--no-cli", "--listening-port", "3478", "--log-file", "stdout"]);
    command.args(["--alt-listening-port", "3479", "--pidfile", "/dev/null"]);
    command.args(["--listening-ip", "203.0.113.10", "--listening-ip", "203.0.113.11"]);
    let server = Running::start(command);
    until_it_listens(network, "a", 3478);
    server
};

fn expect_class(rules: &str, server: fn(&Network) -> Running, class: &str) {
    let network = Network::new();
    network.rules("edge", rules);
    let _server = server(&network);
    let answer = ask(&network, &["203.0.113.10"]);
    let found = answered(&answer);
    assert_eq!(found["mapping"]["value"], class, "{}", answer.stdout);
    assert_eq!(found["translated"]["value"], true);
    assert_eq!(found["payload"]["value"], "untouched");
    assert_eq!(found["servers"].as_array().unwrap().len(), 4);
    let external = found["external"].as_array().unwrap();
    assert!(external.iter().all(|end| end.as_str().unwrap().starts_with("198.51.100.")));
}

fn without_a_nat() {
    let network = Network::new();
    let _server = OWN(&network);
    network.sh("ip -n $P-core route add 192.168.1.0/24 via 198.51.100.1");
    let answer = ask(&network, &["203.0.113.10"]);
    let found = answered(&answer);
    assert_eq!(found["translated"]["value"], false, "{}", answer.stdout);
    assert_eq!(found["mapping"]["value"], "endpoint-independent");
    assert_eq!(found["payload"]["unknown"], "no-answer");
}

fn two_servers() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _one = OWN(&network);
    let _other = network.serve("b", &["--listen", "192.0.2.10"]);
    let answer = ask(&network, &["203.0.113.10", "192.0.2.10"]);
    let found = answered(&answer);
    assert_eq!(found["agreement"]["value"], "same", "{}", answer.stdout);
    assert_eq!(found["external"].as_array().unwrap().len(), 1);
}

fn a_dead_server() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = network.serve("b", &["--listen", "192.0.2.10"]);
    let answer = ask(&network, &["192.0.2.10", "203.0.113.10", "203.0.113.77", "--timeout", "2s"]);
    let found = answered(&answer);
    assert_eq!(found["agreement"]["unknown"], "needs-second-address", "{}", answer.stdout);
    assert_eq!(found["mapping"]["unknown"], "needs-second-address");
    let problems: Vec<_> = problems(&found).into_iter().flatten().collect();
    assert!(problems.contains(&"refused".to_owned()), "{problems:?}");
    assert!(problems.iter().any(|problem| ["timed-out", "no-way"].contains(&problem.as_str())));
}

fn ipv6() {
    let network = Network::new();
    network.sh("for each in 10 11; do ip -n $P-a addr add 2001:db8::$each/128 dev lo nodad; done");
    let _server = network.serve("a", &["--listen", "2001:db8::10", "--alternate", "2001:db8::11"]);
    let all = ["stun", "--json", "2001:db8::10"];
    let answer = Running::start(network.tso_probe("a", &all)).wait(PATIENCE);
    let found = answered(&answer);
    assert_eq!(found["servers"].as_array().unwrap().len(), 4, "{}", answer.stdout);
    assert!(found["external"][0].as_str().unwrap().starts_with("[2001:db8::"));
}

fn a_crowd() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = OWN(&network);
    let mut command = network.command("core", "python3");
    command.args([&script("crowd.py"), "203.0.113.10", "3478", "1000"]);
    let mut crowd = Running::start(command);
    assert_eq!(crowd.line(), "crowded");
    let answer = ask(&network, &["203.0.113.10"]);
    assert_eq!(answered(&answer)["mapping"]["value"], "endpoint-independent", "{}", answer.stdout);
}

fn a_chosen_port() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = OWN(&network);
    let found = answered(&ask(&network, &["203.0.113.10", "--local-port", "4000"]));
    for server in found["servers"].as_array().unwrap() {
        assert_eq!(server["local"], "192.168.1.2:4000");
    }
}

fn a_taken_port() {
    let network = Network::new();
    let _server = OWN(&network);
    let mut command = network.command("in", "python3");
    command.args([&script("server.py"), "192.168.1.2", "4000", "silent"]);
    let mut other = Running::start(command);
    assert_eq!(other.line(), "serving");
    ask(&network, &["203.0.113.10", "--local-port", "4000"]).expect_error("192.168.1.2:4000");
}

/// A bad server is named; beside a good one the answer is that of the good one.
fn expect_problem(how: &str, problem: &str) {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _bad = bad_server(&network, how);
    let alone = ask(&network, &["203.0.113.10", "--timeout", "1s"]);
    assert_eq!(alone.code, Some(2), "{alone:?}");
    assert!(alone.stderr.contains("hint: "), "{}", alone.stderr);
    assert_eq!(problems(&alone.json()), [Some(problem.to_owned())], "{}", alone.stdout);
    let _good = network.serve("b", &["--listen", "192.0.2.10"]);
    let beside = answered(&ask(&network, &["203.0.113.10", "192.0.2.10", "--timeout", "1s"]));
    assert_eq!(beside["external"].as_array().unwrap().len(), 1, "{beside:#}");
    for finding in ["agreement", "mapping"] {
        assert_eq!(beside[finding]["unknown"], "needs-second-address", "{finding}");
    }
}

fn one_answer() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = bad_server(&network, "once");
    let found = answered(&ask(&network, &["203.0.113.10"]));
    assert_eq!(problems(&found), [None]);
}

fn a_doorkeeper() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = bad_server(&network, "doorkeeper");
    let found = answered(&ask(&network, &["203.0.113.10"]));
    let servers = found["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1);
    assert!(servers[0]["remark"].as_str().unwrap().contains("127.0.0.1:22"));
    assert_eq!(found["mapping"]["unknown"], "needs-second-address");
}

fn a_rewriting_nat() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _server = bad_server(&network, "alg");
    let found = answered(&ask(&network, &["203.0.113.10", "--local-port", "4000"]));
    assert_eq!(found["payload"]["value"], "rewritten");
}

fn bad_server(network: &Network, how: &str) -> Running {
    let mut command = network.command("a", "python3");
    command.args([&script("server.py"), "203.0.113.10", "3478", how]);
    let mut server = Running::start(command);
    assert_eq!(server.line(), "serving");
    server
}

fn ask(network: &Network, arguments: &[&str]) -> Answer {
    let all: Vec<_> = ["stun", "--json"].iter().chain(arguments).copied().collect();
    Running::start(network.tso_probe("in", &all)).wait(PATIENCE)
}

/// What a run that named an external endpoint answered, held against its schema.
fn answered(answer: &Answer) -> Value {
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let found = answer.json();
    let schema: Value = serde_json::from_str(include_str!("../docs/stun.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
    assert_eq!(json!(wrong), json!([]), "{}", answer.stdout);
    found
}

fn problems(found: &Value) -> Vec<Option<String>> {
    let servers = found["servers"].as_array().unwrap();
    servers.iter().map(|server| server["problem"].as_str().map(str::to_owned)).collect()
}

fn until_it_listens(network: &Network, host: &str, port: u16) {
    let listed = format!("ip netns exec $P-{host} ss -Htln sport = :{port}");
    let listens = || network.sh(&listed).lines().count() >= 2;
    assert!(network::within(PATIENCE, listens), "nothing listens on port {port}");
}

fn script(name: &str) -> String {
    format!("{}/tests/stun/{name}", env!("CARGO_MANIFEST_DIR"))
}

const MASQUERADE: &str = "table ip nat { chain post {
    type nat hook postrouting priority 100; oifname wan masquerade
}
}";

const RANDOM: &str = "table ip nat { chain post {
    type nat hook postrouting priority 100; oifname wan masquerade fully-random
}
}";
