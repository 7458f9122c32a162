//! Who would abuse a reflector: it stays small, goes on serving, and shoots at nobody who did not
//! ask.

use std::time::Duration;

use super::reflector::{ASK_QUICKLY, SERVE, behind_a_router, expect_all_right};
use super::roles;
use crate::network::within;

pub const TESTS: &[(&str, fn())] = &[
    ("idle_connections_keep_nobody_out", || attacked("idle")),
    ("giant_lines_cost_the_reflector_little", || attacked("giant-lines")),
    ("empty_lines_cost_the_reflector_little", || attacked("empty-lines")),
    ("who_never_reads_costs_the_reflector_little", || attacked("never-reads")),
    ("strangers_are_not_shot_at", || attacked("shots-at-strangers")),
];

fn attacked(how: &str) {
    let network = behind_a_router();
    let reflector = network.serve("a", SERVE);
    // What a prober asks for goes to the router; nothing crafted goes anywhere else, nor to a port
    // of the router's that no prober has.
    network.rules(
        "core",
        "table inet count {
           counter strangers { }
           chain passing { type filter hook prerouting priority -400
             ip saddr 203.0.113.0/24 tcp sport { 5383, 5384 } ip daddr != 198.51.100.1 counter name strangers
             ip saddr 203.0.113.0/24 tcp sport { 5383, 5384 } tcp dport 80 counter name strangers
           }
         }",
    );
    let attacker = roles::start(&network, "b", &format!("attack {how}"));
    let connected = || connections(&network.sh("ip netns exec $P-b ss -tnH state established")) > 0;
    assert!(within(Duration::from_secs(5), connected));
    for _ in 0..2 {
        expect_all_right(&network.classify(ASK_QUICKLY));
    }
    drop(attacker);
    expect_all_right(&network.classify(ASK_QUICKLY));
    let counted = network.sh("ip netns exec $P-core nft list counter inet count strangers");
    assert!(counted.contains("packets 0 "), "{counted}");
    let most = most_memory_kib(reflector.pid());
    assert!(most < MOST_KIB, "{how}: {most} KiB");
}

fn connections(listed: &str) -> usize {
    listed.lines().count()
}

/// The most memory that a process has ever had.
fn most_memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Some 20 MiB are those of a reflector at rest.
const MOST_KIB: u64 = 64 * 1024;
