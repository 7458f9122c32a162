//! A reflector that is not there, goes, talks nonsense, or cannot be reached where it must.

use std::time::Duration;

use super::roles;
use crate::network::{Answer, Network, PATIENCE, within};

pub const TESTS: &[(&str, fn())] = &[
    ("where_nobody_listens_the_reflector_cannot_be_reached", nobody_listens),
    ("a_reflector_that_swallows_everything_cannot_be_reached", swallowed),
    ("a_reflector_without_a_way_there_cannot_be_reached", no_way),
    ("without_a_route_the_reflector_cannot_be_reached", no_route),
    ("a_server_that_says_nothing_is_called_silent", || speaks("nothing", "does not answer")),
    ("a_server_that_hangs_up_is_called_lost", || speaks("close", "was lost")),
    ("garbage_is_called_nonsense", || speaks("garbage", "does not speak")),
    ("a_web_server_is_called_nonsense", || speaks("http", "does not speak")),
    ("an_endless_line_is_called_nonsense", || speaks("endless-line", "does not speak")),
    ("a_welcome_to_nowhere_is_called_nonsense", || speaks("no-endpoints", "does not speak")),
    ("endless_welcomes_are_called_nonsense", || speaks("endless-welcomes", "does not speak")),
    ("endless_reports_are_called_nonsense", || speaks("endless-reports", "does not speak")),
    ("another_version_is_named", || speaks("another-version", "speaks version 9")),
    ("another_version_of_another_shape_is_named", || {
        speaks("another-version-and-shape", "speaks version 9");
    }),
    ("who_refuses_our_version_speaks_another_one", || {
        speaks("refuses-version", "speaks another version");
    }),
    ("a_probe_port_that_a_firewall_shuts_is_the_reflectors_fault", deaf),
    ("a_reflectors_own_firewall_may_drop_what_comes_in", drops_what_comes_in),
    ("a_reflector_whose_syn_acks_do_not_leave_is_at_fault", muzzled),
    ("a_syn_ack_that_is_lost_on_the_way_is_no_finding", mute),
    ("a_reflector_that_is_killed_leaves_a_partial_verdict", killed),
    ("a_reflector_that_falls_silent_leaves_a_partial_verdict", falls_silent),
];

/// A router that is known well, before a reflector or what passes for one.
pub fn behind_a_router() -> Network {
    let network = Network::new();
    network.rules(
        "edge",
        "table ip nat {
           chain out { type nat hook postrouting priority 100
             oifname wan masquerade
           }
         }
         table inet door {
           chain in { type filter hook input priority 0
             iifname wan ct state new,invalid drop
           }
         }",
    );
    network
}

/// Where a host's firewall has this chain, nothing can be asked, and the error says why.
pub fn shut_by(host: &str, chain: &str, error: &str) {
    let network = behind_a_router();
    let _reflector = network.serve("a", SERVE);
    network.rules(host, &format!("table inet f {{ {chain}\n}}"));
    let answer = network.classify(ASK);
    answer.expect_error(error);
    answer.expect_nothing_found();
    answer.expect_within(Duration::from_secs(8));
}

/// What is found of that router is this or unknown.
pub fn expect_nothing_wrong(answer: &Answer) {
    let findings = &answer.json()["findings"];
    for (path, value) in TRUTH {
        let found = findings.pointer(path).unwrap();
        let right = found["value"] == *value || found["value"].is_null();
        assert!(right, "{path} is {found}: {}", answer.stderr);
    }
}

/// All that can be known without waiting for REQ-4's six seconds is known, and right.
pub fn expect_all_right(answer: &Answer) {
    expect_nothing_wrong(answer);
    let json = answer.json();
    let unknown = TRUTH.iter().map(|(path, _)| (path, json["findings"].pointer(path).unwrap()));
    let unknown: Vec<_> = unknown.filter(|(_, finding)| finding["value"].is_null()).collect();
    assert_eq!(answer.code, Some(0), "{unknown:?} {} {}", json["troubles"], answer.stderr);
}

/// The verdict names this trouble.
pub fn expect_trouble(answer: &Answer, what: &str) {
    let troubles = &answer.json()["troubles"];
    assert!(troubles.to_string().contains(what), "{troubles}: {}", answer.stderr);
}

pub const SERVE: &[&str] = &["--listen", "203.0.113.10", "--alternate", "203.0.113.11"];
pub const ASK: &[&str] = &["--reflector", "203.0.113.10", "--second-internal", "192.168.1.3"];
pub const ASK_QUICKLY: &[&str] =
    &["--reflector", "203.0.113.10", "--second-internal", "192.168.1.3", "--quick"];

const TRUTH: &[(&str, &str)] = &[
    ("/mapping", "endpoint-independent"),
    ("/filtering", "address-and-port-dependent"),
    ("/filtering/established", "address-and-port-dependent"),
    ("/port_assignment", "preservation"),
    ("/unsolicited_syn", "dropped"),
    ("/unsolicited_syn/filtered_port", "dropped"),
    ("/simultaneous_open", "supported"),
    ("/hairpinning", "unsupported"),
];

fn nobody_listens() {
    let answer = behind_a_router().classify(ASK);
    answer.expect_error("reflector 1 could not be reached: it refused the connection");
    assert!(answer.stderr.contains("start 'tso-probe serve' there"), "{}", answer.stderr);
    answer.expect_nothing_found();
    answer.expect_within(Duration::from_secs(3));
}

fn swallowed() {
    let network = behind_a_router();
    network.rules(
        "a",
        "table inet f { chain i { type filter hook input priority 0; policy drop; }\n}",
    );
    let answer = network.classify(ASK);
    answer.expect_error("reflector 1 could not be reached: nothing answered");
    assert!(answer.stderr.contains("firewall"), "{}", answer.stderr);
    answer.expect_nothing_found();
    // Three SYNs of the host's own.
    answer.expect_within(Duration::from_secs(8));
}

fn no_way() {
    let network = behind_a_router();
    network.sh("ip -n $P-core route replace unreachable 203.0.113.10/32");
    let answer = network.classify(ASK);
    answer.expect_error("reflector 1 could not be reached: no way leads there");
    answer.expect_nothing_found();
    answer.expect_within(Duration::from_secs(3));
}

fn no_route() {
    let network = behind_a_router();
    network.sh("ip -n $P-in route del default");
    let answer = network.classify(ASK);
    answer.expect_error("203.0.113.10");
    answer.expect_within(Duration::from_secs(3));
}

fn speaks(how: &str, error: &str) {
    let network = behind_a_router();
    let _server = roles::start(&network, "a", &format!("serve {how}"));
    let answer = network.classify(ASK);
    answer.expect_error(error);
    answer.expect_nothing_found();
    answer.expect_within(Duration::from_secs(8));
}

fn deaf() {
    shut_by(
        "core",
        "chain f { type filter hook forward priority 0
           tcp dport 5384 drop
         }",
        "no SYN reached the reflector's endpoint 203.0.113.10:5384",
    );
}

fn drops_what_comes_in() {
    let network = behind_a_router();
    let _reflector = network.serve("a", SERVE);
    network.rules(
        "a",
        "table inet f { chain i { type filter hook input priority -300
           tcp dport { 5383, 5384 } drop
         }
         }",
    );
    expect_all_right(&network.classify(ASK_QUICKLY));
}

fn muzzled() {
    shut_by(
        "a",
        "chain o { type filter hook output priority 0
           tcp sport 5383 tcp flags & (syn|ack) == (syn|ack) drop
         }",
        "did not leave its interface from 203.0.113.10:5383",
    );
}

fn mute() {
    shut_by(
        "core",
        "chain f { type filter hook forward priority 0
           tcp sport 5383 tcp flags & (syn|ack) == (syn|ack) drop
         }",
        "never arrived here",
    );
}

fn killed() {
    let network = behind_a_router();
    for after in [1, 3, 5] {
        let reflector = network.serve("a", SERVE);
        let mut prober = network.classifying("in", &[ASK, &["-v"]].concat());
        let said: Vec<_> = prober.progress().take(after).collect();
        // Killed, and waited for.
        drop(reflector);
        let answer = prober.wait(PATIENCE);
        expect_trouble(&answer, "was lost during the run");
        expect_nothing_wrong(&answer);
        assert!(matches!(answer.code, Some(2 | 3)), "after {said:?}: {answer:?}");
        answer.expect_within(Duration::from_secs(10));
    }
}

fn falls_silent() {
    let network = behind_a_router();
    let _reflector = network.serve("a", SERVE);
    let mut prober = network.classifying("in", &[ASK, &["-v"]].concat());
    // By then the mappings have been seen.
    assert!(prober.progress().any(|line| line.starts_with("knocking")));
    network.sh("ip -n $P-core link set neta down");
    let answer = prober.wait(PATIENCE);
    expect_nothing_wrong(&answer);
    let json = answer.json();
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert!(json.get("troubles").is_some(), "{}", answer.stdout);
    let promised = json["plan"]["longest_s"].as_f64().unwrap();
    answer.expect_within(Duration::from_secs_f64(promised + 1.0));
    assert!(within(Duration::from_secs(1), || network.tables("in").is_empty()));
}
