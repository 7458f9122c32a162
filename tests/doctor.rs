//! `doctor` on hosts on which something is wrong, and on the same hosts without it.

#![allow(clippy::unwrap_used)]

mod network;

use std::fs;
use std::process::Command;

use network::{Answer, Network, PATIENCE, PROGRAM, Running, Scratch, Test};
use serde_json::{Value, json};

fn main() {
    let tests: Vec<Test> = TESTS.iter().map(|(name, test)| ((*name).to_owned(), *test)).collect();
    network::run(tests, &["python3", "setpriv", "cc"]);
}

const TESTS: &[(&str, fn())] = &[
    ("without_privilege_it_says_what_works_and_what_is_unseen", without_privilege),
    ("with_privilege_raw_sockets_and_the_packet_filter_are_allowed", with_privilege),
    ("a_host_without_rules_has_no_firewall_in_the_way", || {
        expect_firewall("table inet filter { }", "fine", "no packet filter");
    }),
    ("a_rule_that_drops_invalid_segments_is_found_and_mended", || {
        expect_firewall(
            &input("accept", "ct state invalid drop"),
            "warning",
            "calls invalid is dropped",
        );
    }),
    ("a_rule_that_rejects_invalid_segments_is_found_and_mended", || {
        let rules = input("accept", "ct state invalid reject with tcp reset");
        expect_firewall(&rules, "warning", "calls invalid is rejected");
    }),
    ("a_map_of_states_is_read", || {
        let rule = "ct state vmap { established : accept, related : accept, invalid : drop }";
        expect_firewall(&input("accept", rule), "warning", "calls invalid is dropped");
    }),
    ("a_closed_host_is_found_and_mended", || {
        let rules = input("drop", "ct state { established, related } accept; tcp dport 22 accept");
        expect_firewall(&rules, "warning", "comes before ours has left is dropped by the policy");
    }),
    ("a_rule_that_drops_every_syn_is_found_and_mended", || {
        let rules = input("accept", "tcp flags & (syn | ack) == syn drop");
        expect_firewall(&rules, "failing", "the peer's SYN that crosses ours is dropped");
    }),
    ("a_host_whose_syns_do_not_get_out_is_found_and_mended", || {
        let rules = "table ip filter { chain out {
            type filter hook output priority 0; policy drop; jump ours\n} \n chain ours {
            tcp sport 22 accept\n}\n}";
        expect_firewall(
            rules,
            "failing",
            "our SYN is dropped by the policy of chain ip filter out",
        );
    }),
    ("rules_for_other_ports_interfaces_and_routed_packets_are_no_trouble", || {
        let rules = format!(
            "{}\ntable inet routed {{ chain forward {{
                type filter hook forward priority 0; policy drop; ct state invalid drop\n}}\n}}",
            input("accept", "tcp dport 22 drop; iifname \"eth9\" drop; meta nfproto ipv6 drop")
        );
        expect_firewall(&rules, "fine", "2 chains with hooks");
    }),
    ("a_rule_that_cannot_be_looked_into_is_unknown", || {
        let rules = input("accept", "meta mark 7 drop");
        expect_firewall(&rules, "unknown", "may be dropped by rule 1 of chain inet filter input");
    }),
    ("what_is_called_a_warning_lets_crossing_syns_open", || {
        let rules = "ct state invalid drop; ct state established accept";
        expect_crossing(&input("drop", rules), "warning", "open");
    }),
    ("what_is_said_to_fail_keeps_crossing_syns_from_opening", || {
        let rules = input("accept", "tcp flags & (syn | ack) == syn drop");
        expect_crossing(&rules, "failing", "not open");
    }),
    ("a_clock_that_nobody_keeps_is_found", || expect_clock(UNSYNC, 16_000_000, "warning")),
    ("a_clock_that_is_kept_is_fine", || expect_clock(0, 350, "fine")),
    ("a_clock_that_is_kept_badly_is_found", || expect_clock(0, 250_000, "warning")),
    ("the_clock_is_what_the_kernel_says", the_kernels_clock),
    ("an_ordinary_route_is_fine", || expect_route("true", "fine", "through eth0 via 192.168.1.1")),
    ("a_route_through_a_tun_is_found", || {
        expect_route(&tunnel("tun"), "warning", "x0 is a tunnel (tun)");
    }),
    ("a_route_through_a_tap_is_found", || {
        expect_route(&tunnel("tap"), "warning", "x0 is a tunnel (tap)");
    }),
    ("policy_routing_is_found", || {
        let script = "ip -n $P-in route add default via 192.168.1.1 table 100
            ip -n $P-in rule add to 203.0.113.0/24 table 100";
        expect_route(script, "warning", "the route stands in table 100");
    }),
    ("no_route_fails", || {
        expect_route("ip -n $P-in route del default", "failing", "cannot find a route to");
    }),
    ("offloads_are_found_until_they_are_off", offloads),
    ("stolen_time_is_found", || expect_stolen(30, "warning")),
    ("little_stolen_time_is_fine", || expect_stolen(1, "fine")),
    ("a_free_port_is_fine", a_free_port),
    ("a_listener_is_found", || {
        expect_taken(&["listen"], "failing", "a listener on 192.168.1.2:4000")
    }),
    ("a_port_that_is_bound_and_nothing_more_is_found", || {
        expect_taken(&["bind"], "failing", "neither listens nor is connected");
    }),
    ("a_connection_that_lingers_is_found", || {
        expect_taken(&["linger", "6001"], "warning", "TIME-WAIT to 192.168.1.1:6001");
    }),
    ("a_connection_that_lingers_to_the_very_peer_fails", || {
        expect_taken(&["linger", "6000"], "failing", "TIME-WAIT to 192.168.1.1:6000");
    }),
    ("settings_that_change_an_opening_are_found_and_mended", settings),
    ("a_peer_that_cannot_be_looked_up_is_an_error", || {
        let network = Network::new();
        doctor(&network, &["--towards", "a..b"]).expect_error("cannot look up a..b");
    }),
    ("the_text_is_readable_in_eighty_columns", eighty_columns),
];

fn without_privilege() {
    let network = Network::new();
    let mut command = network.command("in", "setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", PROGRAM, "doctor", "--json"]);
    let answer = Running::start(command).wait(PATIENCE);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let privilege = check(&answer, "privilege");
    assert_eq!(privilege["state"], "warning", "{privilege:#}");
    assert!(said(&privilege).contains("(CAP_NET_RAW): not allowed"), "{privilege:#}");
    assert!(privilege["mend"][0].as_str().unwrap().contains("setcap"), "{privilege:#}");
    let firewall = check(&answer, "firewall");
    assert_eq!(
        (&firewall["state"], &firewall["unknown"]),
        (&json!("unknown"), &json!("needs-privilege"))
    );
}

fn with_privilege() {
    let network = Network::new();
    let privilege = check(&doctor(&network, &[]), "privilege");
    for what in ["raw sockets and capture (CAP_NET_RAW): allowed", "(CAP_NET_ADMIN): allowed"] {
        assert!(said(&privilege).contains(what), "{privilege:#}");
    }
}

/// What is wrong with these rules is found, and what it says mends it does.
fn expect_firewall(rules: &str, state: &str, seen: &str) {
    let network = Network::new();
    network.rules("in", rules);
    let arguments = ["--towards", "203.0.113.10:6000", "--local-port", "4000"];
    let answer = doctor(&network, &arguments);
    let found = check(&answer, "firewall");
    assert_eq!(found["state"], state, "{found:#}");
    assert!(said(&found).contains(seen), "{found:#}");
    assert_eq!(answer.code, Some(i32::from(state == "failing")), "{answer:?}");
    for mend in found["mend"].as_array().unwrap() {
        let command = mend.as_str().unwrap().strip_prefix("sudo ").unwrap();
        network.sh(&format!("ip netns exec $P-in {command}"));
    }
    let mended = check(&doctor(&network, &arguments), "firewall");
    assert_eq!(mended["state"], "fine", "{mended:#}");
}

/// A chain of this policy with these rules in the way of what arrives.
fn input(policy: &str, rules: &str) -> String {
    let hook = format!("type filter hook input priority 0; policy {policy}");
    format!("table inet filter {{ chain input {{ {hook}; {rules}\n}}\n}}")
}

/// Real SYNs cross between two hosts with these rules: the first ones are lost on the way, and when
/// those sent again arrive, both hosts have sent.
fn expect_crossing(rules: &str, state: &str, outcome: &str) {
    let network = Network::new();
    network.sh("ip -n $P-core route add 192.168.1.0/24 via 198.51.100.1");
    let hold = "type filter hook forward priority 0; tcp flags syn drop";
    network.rules("core", &format!("table inet hold {{ chain syns {{ {hold}\n}}\n}}"));
    let ends = [("in", "192.168.1.2", "203.0.113.10"), ("a", "203.0.113.10", "192.168.1.2")];
    // What opens ends the wait; on a busy machine some SYNs are gone before the first can arrive.
    let patience = if outcome == "open" { "30" } else { "8" };
    let mut all = ends.map(|(host, from, to)| {
        network.rules(host, rules);
        let mut command = network.command(host, "python3");
        command.args([&file("cross.py"), from, to, patience]);
        let mut end = Running::start(command);
        assert_eq!(end.line(), "sent");
        end
    });
    network.sh("ip netns exec $P-core nft delete table inet hold");
    for end in &mut all {
        assert_eq!(end.line(), outcome);
    }
    let answer = doctor(&network, &["--towards", "203.0.113.10:4000", "--local-port", "4001"]);
    assert_eq!(check(&answer, "firewall")["state"], state, "{answer:?}");
}

fn expect_clock(status: i32, error_us: u64, state: &str) {
    let variables =
        [("CLOCK_STATUS", status.to_string()), ("CLOCK_ERROR_US", error_us.to_string())];
    let found = check(&doctor_told(&Scratch::new(), &variables), "clock");
    assert_eq!(found["state"], state, "{found:#}");
    assert_eq!(found["numbers"]["estimated_error_us"], error_us, "{found:#}");
}

/// The doctor on a machine of which some is made up: no test may set the machine's clock, and none
/// can steal its time.
fn doctor_told(scratch: &Scratch, variables: &[(&str, String)]) -> Answer {
    let network = Network::new();
    let library = scratch.path("machine.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o", &library, &file("machine.c")]);
    assert!(compiler.status().unwrap().success());
    let mut command = network.tso_probe("in", &["doctor", "--json"]);
    command.env("LD_PRELOAD", &library);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Running::start(command).wait(PATIENCE)
}

fn the_kernels_clock() {
    let network = Network::new();
    let found = check(&doctor(&network, &[]), "clock");
    let asked = "import ctypes
answer = (ctypes.c_long * 32)()
ctypes.CDLL(None).adjtimex(answer)
print(ctypes.cast(ctypes.byref(answer, 5 * ctypes.sizeof(ctypes.c_long)), ctypes.POINTER(ctypes.c_int))[0])";
    let status: i32 = network.sh(&format!("python3 -c '{asked}'")).trim().parse().unwrap();
    let says_kept = said(&found).contains("the clock is kept");
    assert_eq!(says_kept, status & UNSYNC == 0, "{status}: {found:#}");
}

fn expect_route(script: &str, state: &str, seen: &str) {
    let network = Network::new();
    network.sh(script);
    let answer = doctor(&network, &["--towards", "203.0.113.10"]);
    let found = check(&answer, "route");
    assert_eq!(found["state"], state, "{found:#}");
    assert!(said(&found).contains(seen), "{found:#}");
    assert_eq!(answer.code, Some(i32::from(state == "failing")), "{answer:?}");
}

fn tunnel(mode: &str) -> String {
    format!(
        "ip -n $P-in tuntap add dev x0 mode {mode}; ip -n $P-in addr add 10.9.0.2/24 dev x0
        ip -n $P-in link set x0 up; ip -n $P-in route add 203.0.113.0/24 via 10.9.0.1 dev x0 onlink"
    )
}

fn offloads() {
    let network = Network::new();
    for (on, state) in [(0, "fine"), (1, "warning"), (0, "fine")] {
        network.sh(&format!("ip netns exec $P-in python3 {} eth0 {on}", file("offloads.py")));
        let answer = doctor(&network, &[]);
        let found = check(&answer, "offloads");
        assert_eq!(found["state"], state, "{found:#}");
        assert_eq!(answer.code, Some(0), "{answer:?}");
        if on == 1 {
            assert_eq!(found["mend"], json!(["sudo ethtool -K eth0 gro off gso off tso off"]));
        }
    }
}

fn expect_stolen(percent: u64, state: &str) {
    let scratch = Scratch::new();
    let stat = |name: &str, stolen: u64, total: u64| {
        let path = scratch.path(name);
        fs::write(&path, format!("cpu  {} 0 0 0 0 0 0 {stolen} 0 0\n", total - stolen)).unwrap();
        path
    };
    let variables = [
        ("STAT_BEFORE", stat("before", 5, 1000)),
        ("STAT_AFTER", stat("after", 5 + percent, 1100)),
    ];
    let found = check(&doctor_told(&scratch, &variables), "cpu");
    assert_eq!(found["numbers"]["stolen_percent"], percent as f64, "{found:#}");
    // The machine that tests run on may itself be late, which is a warning of its own.
    let is_late = found["numbers"]["late_p99_us"].as_u64().unwrap() > 10_000;
    assert_eq!(found["state"], if is_late { "warning" } else { state }, "{found:#}");
}

fn a_free_port() {
    let network = Network::new();
    let answer = doctor(&network, &["--local-port", "4000,40000"]);
    let found = check(&answer, "local-ports");
    assert_eq!((answer.code, &found["state"]), (Some(0), &json!("fine")), "{found:#}");
    assert!(said(&found).contains("40000: among those that the kernel gives"), "{found:#}");
}

fn expect_taken(how: &[&str], state: &str, seen: &str) {
    let network = Network::new();
    let _peer = how.get(1).map(|port| run(&network, "edge", &["serve", port], "serving"));
    let _other = run(&network, "in", how, "taken");
    let answer = doctor(&network, &["--towards", "192.168.1.1:6000", "--local-port", "4000,4001"]);
    let found = check(&answer, "local-ports");
    assert_eq!(found["state"], state, "{found:#}");
    assert!(said(&found).contains(seen), "{found:#}");
    assert!(!said(&found).contains("4001"), "{found:#}");
    assert_eq!(answer.code, Some(i32::from(state == "failing")), "{answer:?}");
}

/// Runs the script that takes ports, until it says that it is ready.
fn run(network: &Network, host: &str, how: &[&str], ready: &str) -> Running {
    let mut command = network.command(host, "python3");
    command.arg(file("ports.py")).args(how);
    let mut running = Running::start(command);
    assert_eq!(running.line(), ready);
    running
}

fn settings() {
    let network = Network::new();
    let before = check(&doctor(&network, &[]), "tcp-settings");
    assert_eq!(before["state"], "fine", "{before:#}");
    let set =
        "echo 2 > /proc/sys/net/ipv4/tcp_syncookies; echo 1 > /proc/sys/net/ipv4/tcp_syn_retries";
    network.sh(&format!("ip netns exec $P-in sh -c '{set}'"));
    let found = check(&doctor(&network, &[]), "tcp-settings");
    assert_eq!(found["state"], "warning", "{found:#}");
    assert_eq!(found["numbers"], json!({"tcp_syncookies": 2, "tcp_syn_retries": 1}));
    for mend in found["mend"].as_array().unwrap() {
        let (_, setting) = mend.as_str().unwrap().split_once(" -w net.").unwrap();
        let (name, value) = setting.split_once('=').unwrap();
        let path = format!("/proc/sys/net/{}", name.replace('.', "/"));
        network.sh(&format!("ip netns exec $P-in sh -c 'echo {value} > {path}'"));
    }
    assert_eq!(check(&doctor(&network, &[]), "tcp-settings")["state"], "fine");
}

fn eighty_columns() {
    let network = Network::new();
    network.rules("in", &input("drop", "ct state invalid drop"));
    let command = network.tso_probe("in", &["doctor", "--local-port", "4000"]);
    let answer = Running::start(command).wait(PATIENCE);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(1), ""), "{answer:?}");
    assert!(answer.stdout.contains("✗ failing"), "{}", answer.stdout);
    let mut prose = answer.stdout.lines().filter(|line| !is_command(line));
    assert!(prose.all(|line| line.chars().count() <= 80), "{}", answer.stdout);
}

/// A command stands behind four blanks, the table's further lines behind many.
fn is_command(line: &str) -> bool {
    line.strip_prefix("    ").is_some_and(|rest| !rest.starts_with(' '))
}

fn doctor(network: &Network, arguments: &[&str]) -> Answer {
    let all: Vec<_> = ["doctor", "--json"].iter().chain(arguments).copied().collect();
    Running::start(network.tso_probe("in", &all)).wait(PATIENCE)
}

/// One check of an answer, which is held against its schema.
fn check(answer: &Answer, name: &str) -> Value {
    let found = answer.json();
    let schema: Value = serde_json::from_str(include_str!("../docs/doctor.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
    assert_eq!(json!(wrong), json!([]), "{}", answer.stdout);
    let checks = found["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap().clone()
}

/// All that a check has seen.
fn said(check: &Value) -> String {
    let seen = check["seen"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    seen.collect::<Vec<_>>().join("\n")
}

fn file(name: &str) -> String {
    format!("{}/tests/doctor/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// linux/timex.h, `STA_UNSYNC`.
const UNSYNC: i32 = 0x40;
