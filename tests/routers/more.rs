//! Other ways to ask, other hosts to ask from, and the lab beside what it models.

use serde_json::Value;

use crate::network::{Network, PATIENCE, PROGRAM, Running, Scratch, marked};

pub const TESTS: &[(&str, fn())] = &[
    ("two_hosts_with_one_address_each_serve_as_two_addresses", two_hosts),
    ("with_one_address_dependence_on_addresses_needs_a_second", one_address),
    ("without_a_second_internal_address_a_clash_needs_one", one_internal),
    ("host_firewalls_that_drop_what_is_invalid_change_nothing", firewalls),
    ("the_reflector_of_the_environment_and_of_a_file_is_asked", configured),
    ("the_kernels_nat_in_the_lab_is_what_is_known_of_linux", linux),
    ("the_kernels_nat_in_the_lab_is_what_is_known_of_openwrt", openwrt),
];

const A: [&str; 2] = ["--reflector", "203.0.113.10"];
const SECOND: [&str; 2] = ["--second-internal", "192.168.1.3"];

/// A router that masquerades and drops.
fn router() -> Network {
    let network = Network::new();
    network.rules("edge", super::cases::MASQUERADE_AND_DROP);
    network
}

fn value<'a>(answer: &'a Value, path: &str) -> &'a str {
    answer.pointer(&format!("/findings/{path}")).and_then(Value::as_str).unwrap_or("none")
}

fn ruling(answer: &Value, id: &str) -> String {
    let all = answer["requirements"].as_array().unwrap().iter();
    let one = all.clone().find(|ruling| ruling["id"] == id).unwrap();
    format!("{}: {}", one["ruling"].as_str().unwrap(), one["because"].as_str().unwrap())
}

fn two_hosts() {
    let network = router();
    let _reflectors = [
        network.serve("a", &["--listen", "203.0.113.10"]),
        network.serve("b", &["--listen", "192.0.2.10"]),
    ];
    let b = ["--reflector", "192.0.2.10"];
    let answer = network.classify(&[&A[..], &b, &SECOND].concat());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let json = answer.json();
    assert_eq!(value(&json, "mapping/value"), "endpoint-independent");
    assert_eq!(value(&json, "filtering/value"), "address-and-port-dependent");
    assert_eq!(value(&json, "filtering/established/value"), "address-and-port-dependent");
    assert_eq!(value(&json, "unsolicited_syn/value"), "dropped");
    assert_eq!(value(&json, "simultaneous_open/value"), "supported");
}

fn one_address() {
    let network = router();
    let _reflector = network.serve("a", &["--listen", "203.0.113.10"]);
    let answer = network.classify(&[&A[..], &SECOND, &["--quick"]].concat());
    assert_eq!(answer.code, Some(3), "{answer:?}");
    let json = answer.json();
    assert_eq!(value(&json, "mapping/unknown"), "needs-second-address");
    assert_eq!(value(&json, "simultaneous_open/value"), "supported");
    assert_eq!(value(&json, "port_assignment/value"), "preservation");
}

fn one_internal() {
    let network = router();
    let addresses = ["--listen", "203.0.113.10", "--alternate", "203.0.113.11"];
    let mut server = network.serve("a", &[&addresses[..], &["--status-every", "1s"]].concat());
    let answer = network.classify(&[&A[..], &["--quick"]].concat());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let json = answer.json();
    assert_eq!(value(&json, "on_port_clash/unknown"), "needs-second-internal");
    for id in ["REQ-1", "REQ-7"] {
        assert!(ruling(&json, id).starts_with("undecided: "), "{}", ruling(&json, id));
    }
    let asked = network.tso_probe("in", &["stun", "203.0.113.10", "--json"]);
    assert_eq!(Running::start(asked).wait(PATIENCE).code, Some(0));
    is_said_to_have_served(&mut server);
}

/// The line a second says what the reflector and the STUN server have done.
fn is_said_to_have_served(server: &mut Running) {
    let number = |line: &str, before: &str, after: &str| -> Option<u64> {
        line.split(before).nth(1)?.split(after).next()?.rsplit(' ').next()?.parse().ok()
    };
    let said = server.progress().find(|line| {
        let segments = number(line, "reflector: 0 connected; 1 came, ", " segments");
        let answers = number(line, "STUN: 0 connected; ", " answers");
        segments.is_some_and(|count| count > 20) && answers.is_some_and(|count| count > 0)
    });
    let said = said.unwrap();
    assert!(said.starts_with("rendezvous: 0 connected, 0 waiting, 0 paired; "), "{said}");
}

fn firewalls() {
    let network = router();
    let rules = "table inet firewall {
        chain in { type filter hook input priority 0
          ct state invalid drop
          ct state established,related accept
          iifname lo accept
          tcp dport 5382 accept
          drop
        }
        chain out { type filter hook output priority 0
          ct state invalid drop
        }
      }";
    network.rules("in", rules);
    network.rules("a", rules);
    let _reflector =
        network.serve("a", &["--listen", "203.0.113.10", "--alternate", "203.0.113.11"]);
    let answer = network.classify(&[&A[..], &SECOND].concat());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let json = answer.json();
    assert_eq!(json["troubles"], Value::Array(Vec::new()));
    assert_eq!(value(&json, "mapping/value"), "endpoint-independent");
    assert_eq!(value(&json, "filtering/value"), "address-and-port-dependent");
    assert_eq!(value(&json, "simultaneous_open/value"), "supported");
    assert_eq!(value(&json, "unsolicited_syn/value"), "dropped");
    // The rules are still theirs.
    assert_eq!(network.tables("in"), ["table inet firewall"]);
}

fn configured() {
    let network = router();
    let _reflector =
        network.serve("a", &["--listen", "203.0.113.10", "--alternate", "203.0.113.11"]);
    let scratch = Scratch::new();
    let file = scratch.path("tso-probe.toml");
    let said = "reflector = [\"203.0.113.10:5382\"]\nsecond_internal = \"192.168.1.3\"\n";
    std::fs::write(&file, said).unwrap();
    let answer = network.classify(&["--quick", "--config", &file]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(value(&answer.json(), "on_port_clash/value/port_assignment"), "random");

    let mut command = network.tso_probe("in", &["classify", "--json", "--quick"]);
    command.env("TSO_PROBE_REFLECTOR", "203.0.113.10");
    let answer = Running::start(command).wait(PATIENCE);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(value(&answer.json(), "mapping/value"), "endpoint-independent");

    let answer = network.classify(&["--quick"]);
    answer.expect_error("reflector");
    assert!(answer.stderr.contains("--lab"), "{}", answer.stderr);
    answer.expect_nothing_found();
}

fn linux() {
    let kernel = as_modelled("linux-kernel", "linux");
    assert_eq!(value(&kernel, "unsolicited_syn/value"), "dropped");
    assert_eq!(value(&kernel, "unsolicited_syn/filtered_port/value"), "dropped");
    assert!(ruling(&kernel, "REQ-4").starts_with("undecided"));
}

fn openwrt() {
    let kernel = as_modelled("openwrt-kernel", "openwrt");
    assert_eq!(value(&kernel, "unsolicited_syn/value"), "reset");
    assert_eq!(value(&kernel, "unsolicited_syn/filtered_port/value"), "reset");
    assert!(ruling(&kernel, "REQ-4").starts_with("broken"));
}

/// What the kernel's own NAT in the lab is found to be: the same as its model there, and in what
/// both presets have in common as netfilter's source has it.
fn as_modelled(kernel: &str, model: &str) -> Value {
    let [kernel, model] = [kernel, model].map(|name| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["classify", "--json", "--lab", name]);
        Running::start(marked(command))
    });
    let [kernel, model] = [kernel, model].map(|running| {
        let answer = running.wait(PATIENCE);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.json()
    });
    let wrong = super::cases::differences(&model["findings"], &kernel["findings"]);
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (path, expected) in [
        ("mapping/value", "endpoint-independent"),
        ("filtering/value", "address-and-port-dependent"),
        ("filtering/established/value", "address-and-port-dependent"),
        ("port_assignment/value", "preservation"),
        ("on_port_clash/value/mapping", "address-and-port-dependent"),
        ("on_port_clash/value/port_assignment", "random"),
        ("simultaneous_open/value", "supported"),
        ("hairpinning/value", "unsupported"),
    ] {
        assert_eq!(value(&kernel, path), expected, "{path}");
    }
    assert_eq!(kernel["findings"]["on_port_clash"]["value"]["overlapping"], true);
    assert!(ruling(&kernel, "REQ-1").starts_with("broken"));
    assert!(ruling(&kernel, "REQ-7").starts_with("met"));
    kernel
}
