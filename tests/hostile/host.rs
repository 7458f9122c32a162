//! What can happen on the prober's own host, and what its user may do at any moment.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::reflector::{
    ASK, ASK_QUICKLY, SERVE, behind_a_router, expect_all_right, expect_nothing_wrong,
    expect_trouble, shut_by,
};
use crate::network::{Network, PATIENCE, PROGRAM, Running, Scratch, within};

pub const TESTS: &[(&str, fn())] = &[
    ("without_privilege_the_error_says_how_to_get_it", unprivileged),
    ("a_reflector_without_privilege_says_how_to_get_it", unprivileged_reflector),
    ("an_interface_that_goes_down_leaves_a_partial_verdict", interface_down),
    ("two_probers_on_one_host_at_once_are_both_right", two_at_once),
    ("ctrl_c_at_any_moment_leaves_a_partial_verdict_that_says_so", interrupted),
    ("a_kill_takes_the_guards_along_and_leaves_other_rules", killed),
    ("a_host_firewall_that_drops_our_syns_is_no_finding", own_firewall),
    ("a_port_in_use_keeps_a_reflector_from_serving", port_in_use),
];

fn unprivileged() {
    let network = behind_a_router();
    let _reflector = network.serve("a", SERVE);
    let scratch = Scratch::new();
    let answer = nobody(&network, "in", &scratch, &[&["classify", "--json"], ASK].concat());
    let answer = answer.wait(PATIENCE);
    answer.expect_error("not permitted");
    assert!(answer.stderr.contains("sudo"), "{}", answer.stderr);
    answer.expect_within(Duration::from_secs(2));
}

fn unprivileged_reflector() {
    let network = Network::new();
    let scratch = Scratch::new();
    let answer = nobody(&network, "a", &scratch, &[&["serve"], SERVE].concat()).wait(PATIENCE);
    answer.expect_error("not permitted");
    assert!(answer.stderr.contains("sudo"), "{}", answer.stderr);
    answer.expect_within(Duration::from_secs(2));
}

/// Starts the program as a user without any rights, who may not see where it was built.
fn nobody(network: &Network, host: &str, scratch: &Scratch, arguments: &[&str]) -> Running {
    let program = scratch.path("tso-probe");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = network.command(host, "setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program]).args(arguments);
    Running::start(command)
}

fn interface_down() {
    let network = behind_a_router();
    let _reflector = network.serve("a", SERVE);
    let mut prober = network.classifying("in", &[ASK, &["-v"]].concat());
    assert_eq!(prober.progress().take(5).count(), 5);
    network.sh("ip -n $P-in link set eth0 down");
    let answer = prober.wait(PATIENCE);
    expect_trouble(&answer, "nreachable");
    expect_nothing_wrong(&answer);
    assert!(matches!(answer.code, Some(2 | 3)), "{answer:?}");
    answer.expect_within(Duration::from_secs(5));
    assert!(network.tables("in").is_empty());
}

fn two_at_once() {
    let network = behind_a_router();
    let _reflector = network.serve("a", SERVE);
    let probers = [0; 3].map(|_| network.classifying("in", ASK_QUICKLY));
    for prober in probers {
        expect_all_right(&prober.wait(PATIENCE));
    }
    assert!(network.tables("in").is_empty());
}

fn interrupted() {
    let network = behind_a_router();
    let _reflector = network.serve("a", SERVE);
    for signal in ["INT", "TERM"] {
        for lines in 1..=7 {
            let mut prober = network.classifying("in", &[ASK, &["-v"]].concat());
            let said: Vec<_> = prober.progress().take(lines).collect();
            prober.signal(signal);
            let answer = prober.wait(Duration::from_secs(2));
            expect_trouble(&answer, "interrupted");
            expect_nothing_wrong(&answer);
            assert!(matches!(answer.code, Some(2 | 3)), "after {said:?}: {answer:?}");
            assert!(network.tables("in").is_empty());
        }
    }
}

fn killed() {
    let network = behind_a_router();
    network.sh("for each in in a; do ip netns exec $P-$each nft add table inet foreign; done");
    let mut reflector = network.serve("a", SERVE);
    let mut prober = network.classifying("in", &[ASK, &["-v"]].concat());
    assert_eq!(prober.progress().take(5).count(), 5);
    assert_eq!(network.tables("in").len(), 2);
    assert_eq!(network.tables("a").len(), 2);
    prober.signal("KILL");
    reflector.signal("KILL");
    assert!(within(PATIENCE, || prober.has_ended() && reflector.has_ended()));
    for host in ["in", "a"] {
        let only_theirs = || network.tables(host) == ["table inet foreign"];
        assert!(within(Duration::from_secs(2), only_theirs), "{:?}", network.tables(host));
    }
}

fn own_firewall() {
    shut_by(
        "in",
        "chain o { type filter hook output priority 0
           tcp dport 5384 drop
         }",
        "did not leave this host",
    );
}

fn port_in_use() {
    let network = Network::new();
    let _first = network.serve("a", SERVE);
    for (more, taken) in [(&[][..], "203.0.113.10:3478"), (OTHER_STUN_PORTS, "203.0.113.10:538")] {
        let second = network.tso_probe("a", &[&["serve"], SERVE, more].concat());
        let answer = Running::start(second).wait(Duration::from_secs(2));
        answer.expect_error(taken);
    }
    // The first is none the worse.
    assert_eq!(network.tables("a").len(), 1);
}

const OTHER_STUN_PORTS: &[&str] = &["--stun-ports", "3480,3481", "--rendezvous-ports", "5388,5389"];
