//! The guard of probe endpoints.

use std::net::{IpAddr, SocketAddr};

use tso_probe::os::{Kind, capture::Capture, guard::PortGuard, raw::RawSender, sysctl};

use super::support::{Case, FORKED, Host, Needs, at, ip, seen_within, sh, syn, syn_ack, within_ms};

pub const CASES: &[Case] = &[
    Case {
        name: "without_a_guard_the_kernel_resets_and_with_it_is_silent_while_a_capture_sees_the_syn",
        needs: &[Needs::Root, Needs::Tun],
        run: silence,
    },
    Case {
        name: "the_guard_holds_for_ipv6_and_leaves_other_ports_alone",
        needs: &[Needs::Root, Needs::Tun],
        run: ipv6,
    },
    Case {
        name: "a_crafted_syn_ack_leaves_a_host_that_drops_what_connection_tracking_calls_invalid",
        needs: &[Needs::Root, Needs::Tun, Needs::Nft],
        run: invalid_drop,
    },
    Case {
        name: "a_guard_holds_two_thousand_endpoints_and_gives_each_back",
        needs: &[Needs::Root, Needs::Nft],
        run: many,
    },
    Case {
        name: "nobody_else_can_take_a_guard_away_and_dropping_it_does",
        needs: &[Needs::Root, Needs::Nft],
        run: owned,
    },
];

fn silence() {
    let host = Host::new();
    let probe = syn("10.0.0.2:5000", "10.0.0.1:4000");
    let mut capture = host.run(|| Capture::open("t0", "tcp").unwrap());

    host.tun.write(&probe).unwrap();
    assert_eq!(host.segment_within(1000).unwrap().flags, "R.");
    assert_eq!(seen_within(&mut capture, 1000).unwrap().flags, "S");
    assert_eq!(seen_within(&mut capture, 1000).unwrap().flags, "R.");

    let mut guard = host.run(|| PortGuard::new(&[at("10.0.0.1:4000")]).unwrap());
    host.tun.write(&probe).unwrap();
    assert_eq!(host.segment_within(300), None);
    assert_eq!(seen_within(&mut capture, 1000).unwrap().flags, "S");
    assert_eq!(seen_within(&mut capture, 0), None);

    guard.remove(at("10.0.0.1:4000")).unwrap();
    host.tun.write(&probe).unwrap();
    assert_eq!(host.segment_within(1000).unwrap().flags, "R.");

    // A guard works in its namespace, whichever thread changes it.
    guard.add(at("10.0.0.1:4000")).unwrap();
    host.tun.write(&probe).unwrap();
    assert_eq!(host.segment_within(300), None);

    drop(guard);
    assert!(within_ms(FORKED, || {
        host.tun.write(&probe).unwrap();
        host.segment_within(100).is_some_and(|answer| answer.flags == "R.")
    }));
}

fn ipv6() {
    let host = Host::new();
    let _guard = host.run(|| PortGuard::new(&[at("[fd00::1]:4000")]).unwrap());
    host.tun.write(&syn("[fd00::2]:5000", "[fd00::1]:4000")).unwrap();
    assert_eq!(host.segment_within(300), None);
    host.tun.write(&syn("[fd00::2]:5000", "[fd00::1]:4001")).unwrap();
    assert_eq!(host.segment_within(1000).unwrap().flags, "R.");
    host.tun.write(&syn("10.0.0.2:5000", "10.0.0.1:4000")).unwrap();
    assert_eq!(host.segment_within(1000).unwrap().flags, "R.");
}

fn invalid_drop() {
    let host = Host::new();
    host.run(|| {
        sh("nft add table inet host");
        sh("nft add chain inet host output '{ type filter hook output priority 0; }'");
        sh("nft add rule inet host output ct state invalid drop");
    });
    let mut sender = host.run(|| RawSender::new().unwrap());
    let answer = syn_ack("10.0.0.1:4000", "10.0.0.2:5000");

    let refused = sender.send(&answer).unwrap_err();
    assert_eq!(refused.kind, Kind::Blocked, "{refused}");
    assert!(refused.hint.as_ref().unwrap().contains("packet filter"));
    assert_eq!(host.segment_within(200), None);

    let _guard = host.run(|| PortGuard::new(&[at("10.0.0.1:4000")]).unwrap());
    sender.send(&answer).unwrap();
    let left = host.segment_within(1000).unwrap();
    assert_eq!((left.flags.as_str(), left.from), ("S.", at("10.0.0.1:4000")));

    // Neither way did connection tracking see a guarded packet; another it does.
    let tracked = || host.run(|| sysctl::read("netfilter/nf_conntrack_count").unwrap());
    sender.send(&syn("10.0.0.1:4000", "10.0.0.2:5001")).unwrap();
    host.tun.write(&syn("10.0.0.2:5002", "10.0.0.1:4000")).unwrap();
    assert_eq!(tracked(), "0");
    sender.send(&syn("10.0.0.1:4001", "10.0.0.2:5001")).unwrap();
    assert_eq!(tracked(), "1");
}

fn many() {
    let host = tso_probe::os::netns::Namespace::create().unwrap();
    let endpoint = |address: IpAddr| move |port| SocketAddr::new(address, port);
    let mut endpoints: Vec<_> = (10_001..=11_000).map(endpoint(ip("10.0.0.1"))).collect();
    endpoints.extend((10_001..=11_000).map(endpoint(ip("fd00::1"))));
    host.run(|| {
        let mut guard = PortGuard::new(&endpoints).unwrap();
        guard.add_all(&endpoints).unwrap();
        assert_eq!(guard.endpoints().count(), 2000);
        let listed = || {
            let listing = sh(&format!("nft list table inet {}", guard_name(&guard)));
            let v4 = listing.matches("10.0.0.1 . 1").count();
            (v4, listing.matches("fd00::1 . 1").count())
        };
        assert_eq!(listed(), (1000, 1000));
        for endpoint in &endpoints {
            guard.remove(*endpoint).unwrap();
        }
        let listing = sh(&format!("nft list table inet {}", guard.table_name()));
        assert!(!listing.contains("elements"), "{listing}");
        guard.remove(endpoints[0]).unwrap();
    })
    .unwrap();
}

fn guard_name(guard: &PortGuard) -> String {
    guard.table_name().to_owned()
}

fn owned() {
    let host = Host::new();
    host.run(|| {
        let guard = PortGuard::new(&[]).unwrap();
        let name = guard.table_name().to_owned();
        let listing = sh("nft list ruleset");
        assert!(listing.contains(&name) && listing.contains("flags owner"), "{listing}");
        sh(&format!("! nft delete table inet {name} 2>&1"));
        sh("! nft flush ruleset 2>&1 || true");
        assert!(sh("nft list tables").contains(&name));
        drop(guard);
        assert!(within_ms(FORKED, || sh("nft list tables").is_empty()));
    });
}
