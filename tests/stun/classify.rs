//! `classify --stun`: the mapping by STUN servers, and nothing that they cannot tell.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::network::{Answer, Network, PATIENCE, PROGRAM, Running, Scratch};
use crate::{COTURN, MASQUERADE, OWN, RANDOM, bad_server};

pub const TESTS: &[(&str, fn())] = &[
    ("classify_by_our_server_tells_a_masquerade_that_keeps_ports", || {
        expect_mapping(MASQUERADE, OWN, ("endpoint-independent", "undecided"));
    }),
    ("classify_by_our_server_tells_a_masquerade_with_random_ports", || {
        expect_mapping(RANDOM, OWN, ("address-and-port-dependent", "broken"));
    }),
    ("classify_by_coturn_tells_a_masquerade_that_keeps_ports", || {
        expect_mapping(MASQUERADE, COTURN, ("endpoint-independent", "undecided"));
    }),
    ("classify_by_coturn_tells_a_masquerade_with_random_ports", || {
        expect_mapping(RANDOM, COTURN, ("address-and-port-dependent", "broken"));
    }),
    ("classify_by_stun_sees_that_there_is_no_nat", without_a_nat),
    ("classify_by_a_server_with_one_address_needs_a_second", one_address),
    ("classify_by_two_servers_needs_them_to_agree", two_servers),
    ("classify_by_dead_servers_could_not_ask", dead),
    ("classify_by_stun_names_a_dead_server_beside_a_good_one", || {
        expect_bad_beside_good(|_| None, "it takes no connections at this port");
    }),
    ("classify_by_stun_believes_no_server_that_makes_its_answers_up", || {
        expect_bad_beside_good(|network| Some(bad_server(network, "liar")), "asked twice");
    }),
    ("classify_by_stun_believes_no_server_that_contradicts_itself", || {
        expect_bad_beside_good(|network| Some(bad_server(network, "two-faced")), "in one answer");
    }),
    ("classify_by_stun_believes_no_server_that_hangs_up", || {
        expect_bad_beside_good(|network| Some(bad_server(network, "reset")), "reset before");
    }),
    ("evidence_of_stun_is_judged_again_the_same", evidence),
    ("an_interrupted_classify_by_stun_says_so", interrupted),
];

fn expect_mapping(
    rules: &str,
    server: fn(&Network) -> Running,
    (mapping, requirement): (&str, &str),
) {
    let network = Network::new();
    network.rules("edge", rules);
    let _server = server(&network);
    let answer = nobody(&network, &["--stun", "203.0.113.10"]);
    let found = answered(&answer);
    assert_eq!(found["findings"]["mapping"]["value"], mapping, "{}", answer.stdout);
    expect_the_rest_unasked(&found, requirement);
    let vantage = &found["vantage"];
    assert_eq!(vantage["internal"], json!(["192.168.1.2"]));
    assert!(vantage["external"][0].as_str().unwrap().starts_with("198.51.100."), "{vantage}");
    assert_eq!((&vantage["interface"], &vantage["nat_levels"]), (&json!("eth0"), &Value::Null));
    assert_eq!(vantage["reflectors"].as_array().unwrap().len(), 4, "{vantage}");
    assert_eq!(found["troubles"], json!([]));
}

/// Every finding but the mapping needs a reflector; of the requirements, the first alone was asked.
fn expect_the_rest_unasked(found: &Value, requirement: &str) {
    let findings = &found["findings"];
    let nested =
        [&findings["filtering"]["established"], &findings["unsolicited_syn"]["filtered_port"]];
    let others = findings.as_object().unwrap().iter().filter(|(name, _)| *name != "mapping");
    for finding in others.map(|(_, finding)| finding).chain(nested) {
        assert_eq!(finding["unknown"], "needs-reflector", "{findings:#}");
    }
    let rulings = found["requirements"].as_array().unwrap();
    assert_eq!((&rulings[0]["id"], &rulings[0]["ruling"]), (&json!("REQ-1"), &json!(requirement)));
    assert!(rulings[1..].iter().all(|ruling| ruling["ruling"] == "not-asked"), "{rulings:#?}");
}

fn without_a_nat() {
    let network = Network::new();
    network.sh("ip -n $P-core route add 192.168.1.0/24 via 198.51.100.1");
    let _server = OWN(&network);
    let found = answered(&network.classify(&["--stun", "203.0.113.10"]));
    assert_eq!(found["findings"]["mapping"]["value"], "endpoint-independent");
    assert_eq!(found["vantage"]["nat_levels"], 0);
    assert_eq!(found["vantage"]["external"], json!(["192.168.1.2"]));
}

fn one_address() {
    let network = Network::new();
    network.rules("edge", RANDOM);
    let _server = network.serve("b", &["--listen", "192.0.2.10"]);
    let found = answered(&network.classify(&["--stun", "192.0.2.10"]));
    assert_eq!(found["findings"]["mapping"]["unknown"], "needs-second-address");
    assert_eq!(found["vantage"]["reflectors"], json!(["192.0.2.10:3478"]));
    expect_the_rest_unasked(&found, "undecided");
}

fn two_servers() {
    let network = Network::new();
    let _one = network.serve("a", &["--listen", "203.0.113.10"]);
    let _other = network.serve("b", &["--listen", "192.0.2.10"]);
    let ask = || network.classify(&["--stun", "203.0.113.10", "192.0.2.10:3478"]);
    network.rules("edge", MASQUERADE);
    let alike = answered(&ask());
    assert_eq!(alike["findings"]["mapping"]["value"], "endpoint-independent");
    network.rules("edge", &format!("delete table ip nat\n{RANDOM}"));
    let different = answered(&ask());
    assert_eq!(different["findings"]["mapping"]["unknown"], "needs-second-address");
}

fn dead() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let answer = network.classify(&["--stun", "203.0.113.10", "192.0.2.10"]);
    answer.expect_error("203.0.113.10:3478: it takes no connections at this port");
    answer.expect_nothing_found();
    let found = answer.json();
    expect_schema(&found);
    assert_eq!(found["findings"]["mapping"]["unknown"], "no-answer");
    assert_eq!(found["troubles"].as_array().unwrap().len(), 2, "{found:#}");
}

/// What a bad server did is said, and the mapping is what the good one, with two addresses, shows.
fn expect_bad_beside_good(bad: fn(&Network) -> Option<Running>, trouble: &str) {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _bad = bad(&network);
    let alone = network.classify(&["--stun", "203.0.113.10"]);
    assert_eq!(alone.code, Some(2), "{alone:?}");
    let _good = network.serve("b", &["--listen", "192.0.2.10"]);
    let found = answered(&network.classify(&["--stun", "203.0.113.10", "192.0.2.10"]));
    assert_eq!(found["findings"]["mapping"]["unknown"], "needs-second-address", "{found:#}");
    let [said] = &found["troubles"].as_array().unwrap()[..] else { panic!("{found:#}") };
    let said = said.as_str().unwrap();
    assert!(
        said.starts_with("STUN server 203.0.113.10:3478: ") && said.contains(trouble),
        "{said}"
    );
    assert_eq!(found["vantage"]["reflectors"], json!(["192.0.2.10:3478"]));
}

fn evidence() {
    let network = Network::new();
    network.rules("edge", RANDOM);
    let _server = OWN(&network);
    let scratch = Scratch::new();
    for more in [&[][..], &["--mask"]] {
        let file = scratch.path(&format!("stun{}.pcapng", more.len()));
        let all =
            [&["--stun", "203.0.113.10", "192.0.2.77", "--seed", "7", "--evidence", &file], more];
        let first = network.classify(&all.concat());
        let found = answered(&first);
        let again = network.classify(&["--from", &file]);
        assert_eq!((answered(&again), again.code), (found.clone(), first.code));
        let masked = !more.is_empty();
        let octets = std::fs::read(&file).unwrap();
        let shown = [first.stdout, String::from_utf8_lossy(&octets).into_owned()].concat();
        assert_eq!(shown.contains("192.168.1.2"), !masked);
        assert_eq!(found["troubles"].as_array().unwrap().len(), 1, "{found:#}");
    }
}

fn interrupted() {
    let network = Network::new();
    network.rules("edge", MASQUERADE);
    let _silent = bad_server(&network, "silent");
    let mut running = network.classifying("in", &["--stun", "203.0.113.10", "-v"]);
    let said = running.progress().next().unwrap();
    assert!(said.contains("takes 21 s at the longest"), "{said}");
    running.signal("INT");
    let answer = running.wait(PATIENCE);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let found = answer.json();
    assert_eq!(found["findings"]["mapping"]["unknown"], "no-answer");
    assert_eq!(found["troubles"], json!(["interrupted: the verdict is partial"]));
}

/// As a user without any rights, who may not see where the program was built.
fn nobody(network: &Network, arguments: &[&str]) -> Answer {
    let scratch = Scratch::new();
    let program = scratch.path("tso-probe");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = network.command("in", "setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program]);
    command.args(["classify", "--json"]).args(arguments);
    Running::start(command).wait(PATIENCE)
}

/// What a run answered that could ask, held against its schema: never all that is at the core.
fn answered(answer: &Answer) -> Value {
    assert_eq!(answer.code, Some(3), "{answer:?}");
    let found = answer.json();
    expect_schema(&found);
    found
}

fn expect_schema(found: &Value) {
    let schema = include_str!("../../docs/classify.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let wrong: Vec<_> = schema.iter_errors(found).map(|error| error.to_string()).collect();
    assert_eq!(json!(wrong), json!([]), "{found:#}");
}
