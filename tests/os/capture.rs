//! Raw sending and capture.

use std::time::Duration;

use tso_probe::os::{Kind, capture::Capture, clock, raw::RawSender};

use super::support::{Case, Host, Needs, Segment, in_ms, seen_within, syn, within_ms};

const NEEDS: &[Needs] = &[Needs::Root, Needs::Tun];

pub const CASES: &[Case] = &[
    Case {
        name: "a_raw_packet_leaves_as_given_and_a_capture_sees_it_leave_and_the_answer_arrive",
        needs: NEEDS,
        run: both_ways,
    },
    Case {
        name: "capture_times_lie_between_before_and_after_on_the_monotonic_timeline",
        needs: NEEDS,
        run: times,
    },
    Case { name: "a_thousand_packets_between_two_reads_are_all_kept", needs: NEEDS, run: burst },
    Case {
        name: "an_interface_that_goes_away_ends_the_capture_with_an_error",
        needs: NEEDS,
        run: vanishing,
    },
    Case {
        name: "a_loopback_packet_is_captured_once_and_whole",
        needs: &[Needs::Root],
        run: loopback,
    },
    Case { name: "bad_filters_interfaces_and_packets_are_told_apart", needs: NEEDS, run: mistakes },
    Case { name: "a_sender_bound_to_an_interface_ignores_the_routes", needs: NEEDS, run: bound },
];

fn both_ways() {
    let host = Host::new();
    let mut capture = host.run(|| Capture::open("t0", "tcp").unwrap());
    let mut sender = host.run(|| RawSender::new().unwrap());
    let mut probe = syn("10.0.0.1:4000", "10.0.0.2:5000");
    // An odd identification must leave as it is.
    probe[4..6].copy_from_slice(&[0xbe, 0xef]);
    sender.send(&probe).unwrap();

    let mut buffer = [0; 2048];
    assert!(within_ms(1000, || host.tun.read(&mut buffer).unwrap().is_some()));
    let sent = &buffer[..probe.len()];
    assert_eq!((&sent[..10], &sent[12..]), (&probe[..10], &probe[12..]));
    assert_eq!(seen_within(&mut capture, 1000), Segment::parse(&probe));

    host.tun.write(&syn("10.0.0.2:5000", "10.0.0.1:4000")).unwrap();
    let arrived = seen_within(&mut capture, 1000).unwrap();
    assert_eq!((arrived.from.port(), arrived.flags.as_str()), (5000, "S"));
    assert_eq!(capture.statistics().unwrap().dropped, 0);
}

fn times() {
    let host = Host::new();
    let mut capture = host.run(|| Capture::open("t0", "tcp").unwrap());
    let mut timeline = clock::Timeline::new();
    let before = clock::monotonic();
    for port in 4000..4010 {
        let to = format!("10.0.0.1:{port}");
        host.tun.write(&syn("10.0.0.2:5000", &to)).unwrap();
    }
    let after = clock::monotonic();
    let mut last = before.saturating_sub(SKEW);
    let mut next = || capture.next_packet().unwrap().map(|packet| packet.at_realtime);
    for _ in 0..20 {
        let mut found = None;
        assert!(within_ms(1000, || {
            found = next();
            found.is_some()
        }));
        let at = timeline.monotonic_of(found.unwrap());
        assert!(last <= at && at <= after + SKEW, "{last:?} {at:?} {after:?}");
        last = at;
    }
}

fn burst() {
    let host = Host::new();
    let mut capture = host.run(|| Capture::open("t0", "tcp and dst host 10.0.0.1").unwrap());
    let until = in_ms(10_000);
    for port in 4000..5000 {
        let to = format!("10.0.0.1:{port}");
        host.tun.write(&syn("10.0.0.2:5000", &to)).unwrap();
    }
    let seen = std::iter::from_fn(|| seen_within(&mut capture, 200)).count();
    assert!(clock::monotonic() < until, "the machine is too slow for this test");
    assert_eq!((seen, capture.statistics().unwrap().dropped), (1000, 0));
}

fn vanishing() {
    let Host { namespace, tun } = Host::new();
    let mut capture = namespace.run(|| Capture::open("t0", "").unwrap()).unwrap();
    drop(tun);
    let mut outcome = Ok(None);
    assert!(within_ms(2000, || {
        outcome = capture.next_packet().map(|packet| packet.map(|p| p.at_realtime));
        outcome.is_err()
    }));
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, Kind::Gone, "{error}");
    assert!(error.to_string().contains("interface went down"), "{error}");
}

fn loopback() {
    let namespace = tso_probe::os::netns::Namespace::create().unwrap();
    namespace
        .run(|| {
            let mut capture = Capture::open("lo", "tcp and dst port 4000").unwrap();
            let probe = syn("127.0.0.1:5000", "127.0.0.1:4000");
            RawSender::new().unwrap().send(&probe).unwrap();
            assert_eq!(seen_within(&mut capture, 1000), Segment::parse(&probe));
            assert_eq!(seen_within(&mut capture, 100), None);
        })
        .unwrap();
}

fn mistakes() {
    let host = Host::new();
    host.run(|| {
        let error = Capture::open("t0", "no such words").unwrap_err();
        assert!(error.to_string().contains("`no such words`"), "{error}");
        let error = Capture::open("t9", "").unwrap_err();
        assert_eq!(error.kind, Kind::Gone, "{error}");
        let mut sender = RawSender::new().unwrap();
        assert_eq!(sender.send(&[0x45; 7]).unwrap_err().kind, Kind::Other);
        assert_eq!(sender.send(&[0x60; 40]).unwrap_err().kind, Kind::Other);
        let mut long = syn("10.0.0.1:4000", "10.0.0.2:5000");
        long.resize(1501, 0);
        let error = sender.send(&long).unwrap_err();
        assert!(error.hint.is_some_and(|hint| hint.contains("MTU")));
        assert_eq!(RawSender::bound_to("t9").unwrap_err().kind, Kind::Gone);
    });
    let alone = tso_probe::os::netns::Namespace::create().unwrap();
    let mut sender = alone.run(|| RawSender::new().unwrap()).unwrap();
    let error = sender.send(&syn("10.0.0.1:4000", "10.0.0.2:5000")).unwrap_err();
    assert_eq!(error.kind, Kind::Unroutable, "{error}");
}

fn bound() {
    let host = Host::new();
    host.run(|| {
        let other = super::support::interface("t1", &["10.1.0.1/24"]);
        let mut sender = RawSender::bound_to("t1").unwrap();
        sender.send(&syn("10.1.0.1:4000", "10.0.0.2:5000")).unwrap();
        let mut buffer = [0; 2048];
        assert!(within_ms(1000, || other.read(&mut buffer).unwrap().is_some()));
    });
    assert_eq!(host.segment_within(0), None);
}

/// How far two readings of two clocks may be apart.
const SKEW: Duration = Duration::from_micros(200);
