//! Namespaces, links, settings and TUN devices.

use std::{net::TcpListener, panic, path::Path};

use tso_probe::os::{
    Kind,
    link::{self, Route, Via},
    netns::Namespace,
    privilege::Capability,
    sysctl,
    tun::Tun,
};

use super::support::{Case, Host, Needs, interface, ip, sh, within_ms};

pub const CASES: &[Case] = &[
    Case {
        name: "a_new_namespace_has_lo_up_and_the_caller_stays_where_it_was",
        needs: &[Needs::Root],
        run: lo_alone,
    },
    Case {
        name: "a_panic_inside_a_namespace_goes_on_in_the_caller",
        needs: &[Needs::Root],
        run: panics_pass,
    },
    Case {
        name: "a_namespace_goes_with_its_last_descriptor_and_takes_its_interfaces_along",
        needs: &[Needs::Root],
        run: namespaces_go,
    },
    Case {
        name: "addresses_of_both_families_are_usable_at_once",
        needs: &[Needs::Root, Needs::Tun],
        run: usable_at_once,
    },
    Case {
        name: "a_route_names_interface_source_and_gateway",
        needs: &[Needs::Root, Needs::Tun],
        run: routes,
    },
    Case {
        name: "a_destination_without_route_is_an_error_about_this_host",
        needs: &[Needs::Root],
        run: no_route,
    },
    Case { name: "an_mtu_is_set", needs: &[Needs::Root, Needs::Tun], run: mtu },
    Case {
        name: "a_setting_changes_its_own_namespace_alone",
        needs: &[Needs::Root],
        run: settings,
    },
    Case {
        name: "what_is_written_to_a_tun_reaches_the_kernel_and_its_answer_comes_back",
        needs: &[Needs::Root, Needs::Tun],
        run: echo,
    },
    Case {
        name: "a_tun_name_is_checked_and_taken_once_and_free_again_with_the_device",
        needs: &[Needs::Root, Needs::Tun],
        run: tun_names,
    },
];

fn lo_alone() {
    let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let namespace = Namespace::create().unwrap();
    let (there, addresses) = namespace
        .run(|| {
            let there = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
            (there, link::addresses_of("lo").unwrap())
        })
        .unwrap();
    assert_ne!(here, there);
    assert_eq!(here, std::fs::read_link("/proc/thread-self/ns/net").unwrap());
    assert_eq!(addresses, [(ip("127.0.0.1"), 8), (ip("::1"), 128)]);
    let links = namespace.run(|| sh("ip -o link | wc -l")).unwrap();
    assert_eq!(links.trim(), "1");
}

fn panics_pass() {
    let namespace = Namespace::create().unwrap();
    // Not `panic!`: it would print its message into a passing run.
    let outcome = panic::catch_unwind(|| {
        namespace.run(|| panic::resume_unwind(Box::new("a message"))).unwrap();
    });
    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"a message"));
}

fn namespaces_go() {
    // A veth pair dies with the namespace that either end stands in.
    let (near, far) = (Namespace::create().unwrap(), Namespace::create().unwrap());
    let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&far));
    let us = std::process::id();
    near.run(|| sh(&format!("ip link add v0 type veth peer name v1 netns /proc/{us}/fd/{fd}")))
        .unwrap();
    let is_there = || near.run(|| link::index_of("v0").is_ok()).unwrap();
    assert!(is_there());
    drop(far);
    assert!(within_ms(5000, || !is_there()), "the far namespace is still alive");
}

fn usable_at_once() {
    let namespace = Namespace::create().unwrap();
    namespace
        .run(|| {
            let _tun = interface("t0", &["10.0.0.1/24", "fd00::1/64"]);
            TcpListener::bind("10.0.0.1:0").unwrap();
            TcpListener::bind("[fd00::1]:0").unwrap();
            let addresses = link::addresses_of("t0").unwrap();
            assert_eq!(addresses, [(ip("10.0.0.1"), 24), (ip("fd00::1"), 64)]);
            let again = link::add_address("t0", ip("10.0.0.1"), 24).unwrap_err();
            assert!(again.to_string().contains("t0: 10.0.0.1/24"), "{again}");
        })
        .unwrap();
}

fn routes() {
    let namespace = Namespace::create().unwrap();
    namespace
        .run(|| {
            let _tun = interface("t0", &["10.0.0.1/24", "fd00::1/64"]);
            link::add_route(ip("198.51.100.0"), 24, Via::Gateway(ip("10.0.0.254"))).unwrap();
            link::add_route(ip("2001:db8::"), 32, Via::Gateway(ip("fd00::fe"))).unwrap();
            link::add_route(ip("192.0.2.0"), 24, Via::Interface("t0")).unwrap();
            let route = |source: &str, gateway: Option<&str>| Route {
                interface: "t0".to_owned(),
                index: link::index_of("t0").unwrap(),
                source: ip(source),
                gateway: gateway.map(ip),
            };
            let to = |destination| link::route_to(ip(destination)).unwrap();
            assert_eq!(to("10.0.0.7"), route("10.0.0.1", None));
            assert_eq!(to("192.0.2.7"), route("10.0.0.1", None));
            assert_eq!(to("198.51.100.7"), route("10.0.0.1", Some("10.0.0.254")));
            assert_eq!(to("2001:db8::7"), route("fd00::1", Some("fd00::fe")));
            assert_eq!(to("10.0.0.1").interface, "lo");
        })
        .unwrap();
}

fn no_route() {
    let error = Namespace::create()
        .unwrap()
        .run(|| link::route_to(ip("198.51.100.7")).unwrap_err())
        .unwrap();
    assert_eq!(error.kind, Kind::Unroutable);
    assert_eq!(
        error.to_string(),
        "cannot find a route to 198.51.100.7: Network is unreachable (os error 101)"
    );
}

fn mtu() {
    let namespace = Namespace::create().unwrap();
    namespace
        .run(|| {
            let _tun = interface("t0", &[]);
            link::set_mtu("t0", 1400).unwrap();
            assert!(sh("ip link show t0").contains("mtu 1400"));
            link::down("t0").unwrap();
            assert!(sh("ip link show t0").contains("state DOWN"));
        })
        .unwrap();
}

fn settings() {
    let before = sysctl::read("ipv4/ip_forward").unwrap();
    let namespace = Namespace::create().unwrap();
    let flipped = if before == "1" { "0" } else { "1" };
    let inside = namespace
        .run(|| {
            sysctl::write("ipv4/ip_forward", flipped).unwrap();
            sysctl::read("ipv4/ip_forward").unwrap()
        })
        .unwrap();
    assert_eq!(inside, flipped);
    assert_eq!(sysctl::read("ipv4/ip_forward").unwrap(), before);
    let missing = sysctl::write("ipv4/no_such_setting", "1").unwrap_err();
    assert_eq!(missing.kind, Kind::Unsupported);
}

fn echo() {
    let host = Host::new();
    let mut request = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
        .icmpv4_echo_request(7, 1)
        .write(&mut request, b"hello")
        .unwrap();
    let mut buffer = [0; 2048];
    assert_eq!(host.tun.read(&mut buffer).unwrap(), None);
    host.tun.write(&request).unwrap();
    let mut answered = || host.tun.read(&mut buffer).unwrap().is_some_and(|n| n > 0);
    assert!(within_ms(1000, &mut answered));
    // RFC 792: 0 is the echo reply; addresses are swapped.
    assert_eq!((buffer[20], &buffer[12..20]), (0, &[10, 0, 0, 1, 10, 0, 0, 2][..]));
    host.run(|| link::down("t0").unwrap());
    assert_eq!(host.tun.write(&request).unwrap_err().kind, Kind::Gone);
}

fn tun_names() {
    assert!(Capability::NetAdmin.is_held());
    let namespace = Namespace::create().unwrap();
    namespace
        .run(|| {
            for bad in ["", "a-name-of-16-byt", "a/b", "t%d"] {
                assert!(Tun::create(bad).is_err(), "{bad}");
            }
            let tun = Tun::create("fifteen-bytes-x").unwrap();
            assert_eq!(Tun::create(tun.name()).unwrap_err().kind, Kind::Taken);
            drop(tun);
            let gone = || link::index_of("fifteen-bytes-x").is_err();
            assert!(within_ms(1000, gone));
            assert_eq!(link::up("fifteen-bytes-x").unwrap_err().kind, Kind::Gone);
        })
        .unwrap();
    assert!(!Path::new("/sys/class/net/fifteen-bytes-x").exists());
}
