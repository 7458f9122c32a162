//! The kernel's own NAT.

use tso_probe::os::{
    capture::Capture,
    guard::PortGuard,
    link,
    nat::{Invalid, KernelNat, Mss, Ports, Unsolicited},
    poll::{self, Interest},
    raw::RawSender,
    sysctl,
    tcp::{self, Bind, Listener, Progress, Stream},
};

use super::support::{
    CLIENT, Case, FORKED, Needs, Routed, SERVER, Segment, WAN, in_ms, ip, seen_within, sh, syn,
    syn_ack, v4, within_ms,
};

const NEEDS: &[Needs] = &[Needs::Root, Needs::Tun];

pub const CASES: &[Case] = &[
    Case {
        name: "a_connection_passes_the_nat_with_its_port_preserved",
        needs: NEEDS,
        run: connection,
    },
    Case { name: "random_ports_are_not_the_internal_ones", needs: NEEDS, run: random },
    Case { name: "an_unsolicited_syn_is_dropped_or_reset_as_told", needs: NEEDS, run: unsolicited },
    Case {
        name: "an_invalid_segment_leaks_its_internal_address_unless_dropped",
        needs: NEEDS,
        run: invalid,
    },
    Case { name: "the_mss_is_clamped_when_told", needs: NEEDS, run: clamped },
    Case { name: "the_syn_flood_limiter_lets_its_burst_pass", needs: NEEDS, run: flood },
    Case {
        name: "a_nat_goes_with_its_value",
        needs: &[Needs::Root, Needs::Tun, Needs::Nft],
        run: goes,
    },
];

fn connection() {
    let net = Routed::new();
    let _nat = net.router.run(|| KernelNat::linux("wan").apply().unwrap()).unwrap();
    let listener = listen(&net);
    let mut stream = connect(&net, 40_000);
    let mut accepted = accept(&listener).expect("a connection within 3 s");
    assert_eq!(accepted.remote(), v4(WAN, 40_000));
    assert!(matches!(stream.progress(), Progress::Established));
    accepted.write(b"hello").unwrap();
    poll::wait(&[Interest::read(&stream)], Some(in_ms(3000))).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), Some(5));
}

fn listen(net: &Routed) -> Listener {
    let here = Bind::Exact(v4(SERVER, 80));
    net.server.run(|| tcp::listen(here, 8).unwrap()).unwrap()
}

fn connect(net: &Routed, port: u16) -> Stream {
    let bind = Bind::Exact(v4(CLIENT, port));
    let options = tcp::Options::default();
    net.client.run(|| tcp::connect(bind, v4(SERVER, 80), &options).unwrap()).unwrap()
}

fn accept(listener: &Listener) -> Option<Stream> {
    poll::wait(&[Interest::read(listener)], Some(in_ms(3000))).unwrap();
    listener.accept(&tcp::Options::default()).unwrap()
}

fn random() {
    let net = Routed::new();
    let nat = KernelNat { ports: Ports::Random, ..KernelNat::linux("wan") };
    let _nat = net.router.run(|| nat.apply().unwrap()).unwrap();
    let listener = listen(&net);
    // All four preserved by chance: below 1e-18.
    let preserved = (40_000..40_004).filter(|port| {
        let _stream = connect(&net, *port);
        accept(&listener).expect("a connection within 3 s").remote().port() == *port
    });
    assert_ne!(preserved.count(), 4);
}

fn unsolicited() {
    let answer = |unsolicited| {
        let net = Routed::new();
        let nat = KernelNat { unsolicited, ..KernelNat::linux("wan") };
        let _nat = net.router.run(|| nat.apply().unwrap()).unwrap();
        net.server
            .run(|| {
                let mut capture = Capture::open("s0", "tcp and src host 203.0.113.1").unwrap();
                let mut sender = RawSender::new().unwrap();
                sender.send(&syn("203.0.113.9:80", "203.0.113.1:4000")).unwrap();
                seen_within(&mut capture, 300).map(|segment| segment.flags)
            })
            .unwrap()
    };
    assert_eq!(answer(Unsolicited::Drop), None);
    assert_eq!(answer(Unsolicited::Reset).as_deref(), Some("R."));
    assert_eq!(answer(Unsolicited::Accept).as_deref(), Some("R."));
}

fn invalid() {
    let seen = |invalid| -> Option<Segment> {
        let net = Routed::new();
        let nat = KernelNat { invalid, ..KernelNat::linux("wan") };
        let _nat = net.router.run(|| nat.apply().unwrap()).unwrap();
        let mut capture = net.server.run(|| Capture::open("s0", "tcp").unwrap()).unwrap();
        net.client
            .run(|| {
                let _guard = PortGuard::new(&[v4(CLIENT, 4000)]).unwrap();
                let mut sender = RawSender::new().unwrap();
                sender.send(&syn_ack("192.168.0.2:4000", "203.0.113.9:80")).unwrap();
            })
            .unwrap();
        seen_within(&mut capture, 300)
    };
    assert_eq!(seen(Invalid::Forward).map(|segment| segment.from), Some(v4(CLIENT, 4000)));
    assert_eq!(seen(Invalid::Drop), None);
}

fn clamped() {
    let mss_seen = |mss| {
        let net = Routed::new();
        let nat = KernelNat { mss, ..KernelNat::linux("wan") };
        let _nat = net
            .router
            .run(|| {
                link::set_mtu("wan", 1400).unwrap();
                nat.apply().unwrap()
            })
            .unwrap();
        let mut capture = net.server.run(|| Capture::open("s0", "tcp").unwrap()).unwrap();
        let options = tcp::Options::default();
        let _stream = net
            .client
            .run(|| tcp::connect(Bind::Kernel, v4(SERVER, 80), &options).unwrap())
            .unwrap();
        seen_within(&mut capture, 1000).and_then(|segment| segment.mss)
    };
    assert_eq!(mss_seen(Mss::Keep), Some(1460));
    assert_eq!(mss_seen(Mss::Clamp), Some(1360));
}

fn flood() {
    let net = Routed::new();
    let _nat = net.router.run(|| KernelNat::openwrt("wan").apply().unwrap()).unwrap();
    let resets = net
        .server
        .run(|| {
            let mut capture = Capture::open("s0", "tcp and src host 203.0.113.1").unwrap();
            let mut sender = RawSender::new().unwrap();
            for port in 4000..4200 {
                let to = format!("203.0.113.1:{port}");
                sender.send(&syn("203.0.113.9:80", &to)).unwrap();
            }
            std::iter::from_fn(|| seen_within(&mut capture, 300)).count()
        })
        .unwrap();
    // The burst of 50, and 25 a second for as long as sending took.
    assert!((50..150).contains(&resets), "{resets} resets");
}

fn goes() {
    let net = Routed::new();
    net.router
        .run(|| {
            let nat = KernelNat::openwrt("wan").apply().unwrap();
            let listing = sh("nft list ruleset");
            assert!(listing.contains(nat.table_name()));
            for rule in [
                "oifname \"wan\" masquerade",
                "tcp option maxseg size set rt mtu",
                "limit rate 25/second burst 50 packets return",
                "ct state invalid drop",
                "iifname \"wan\" meta l4proto tcp reject with tcp reset",
            ] {
                assert!(listing.contains(rule), "{rule} is not in {listing}");
            }
            // The setting that the documentation of `openwrt` names.
            sysctl::write("netfilter/nf_conntrack_tcp_timeout_established", "7440").unwrap();
            drop(nat);
            assert!(within_ms(FORKED, || sh("nft list tables").is_empty()));
            assert_eq!(link::addresses_of("wan").unwrap()[0].0, ip("203.0.113.1"));
        })
        .unwrap();
}
