//! The host's own TCP, and held ports.

use std::{io::ErrorKind, net::SocketAddr, sync::Mutex, time::Duration};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use tso_probe::os::{
    Kind, clock,
    netns::Namespace,
    poll::{self, Interest},
    reserve::{reserve, reserve_fresh},
    states::{SocketStates, State},
    tcp::{self, Bind, Options, Progress, Stream},
};

use super::support::{Case, FORKED, Host, Needs, Wire, at, in_ms, interface, ip, within_ms};

const NEEDS: &[Needs] = &[Needs::Root, Needs::Tun];

pub const CASES: &[Case] = &[
    Case {
        name: "a_held_port_is_closed_to_the_outside_and_nobody_else_gets_it",
        needs: &[Needs::Root],
        run: held,
    },
    Case { name: "a_fresh_port_is_the_first_free_one_offered", needs: &[Needs::Root], run: fresh },
    Case {
        name: "a_connection_is_made_used_and_ended_without_blocking",
        needs: &[Needs::Root],
        run: whole_life,
    },
    Case { name: "a_reset_reaches_the_other_end", needs: &[Needs::Root], run: reset },
    Case { name: "a_refusal_is_an_outcome", needs: &[Needs::Root], run: refused },
    Case {
        name: "an_unanswered_attempt_is_pending_until_its_user_timeout",
        needs: NEEDS,
        run: unanswered,
    },
    Case {
        name: "one_port_serves_a_listener_and_two_attempts",
        needs: &[Needs::Root],
        run: shared,
    },
    Case { name: "a_dead_peer_is_found", needs: NEEDS, run: dead_peer },
    Case { name: "two_syns_that_cross_open_one_connection", needs: NEEDS, run: crossed },
    Case {
        name: "the_kernel_tells_a_crossed_opening_from_the_usual_one",
        needs: &[Needs::Root, Needs::Tun, Needs::SocketStates],
        run: states,
    },
    Case {
        name: "socket_states_survive_a_wrapping_ring_and_an_overflow_is_counted",
        needs: &[Needs::Root, Needs::SocketStates],
        run: many_states,
    },
    Case { name: "a_ttl_is_used", needs: NEEDS, run: ttl },
];

fn held() {
    in_namespace(|| {
        let held = reserve(at("127.0.0.1:4000")).unwrap();
        let error = reserve(at("127.0.0.1:4000")).unwrap_err();
        assert_eq!(error.kind, Kind::Taken);
        assert!(error.hint.as_ref().unwrap().contains("sport = :4000"), "{error:?}");
        assert!(tcp::listen(Bind::Exact(at("127.0.0.1:4000")), 1).is_err());
        let shared = Bind::Shared(at("127.0.0.1:4000"));
        assert!(tcp::connect(shared, at("127.0.0.1:9"), &Options::default()).is_err());
        let mut stream = attempt(Bind::Kernel, held.endpoint());
        assert_eq!(failure(&mut stream), ErrorKind::ConnectionRefused);
        let foreign = reserve(at("192.0.2.1:4000")).unwrap_err();
        assert!(foreign.hint.unwrap().contains("one of this host"));
        drop(held);
        assert!(within_ms(FORKED, || reserve(at("127.0.0.1:4000")).is_ok()));
        assert_ne!(reserve(at("127.0.0.1:0")).unwrap().endpoint().port(), 0);
        assert_eq!(reserve(at("[::1]:4000")).unwrap().endpoint(), at("[::1]:4000"));
    });
}

fn fresh() {
    in_namespace(|| {
        let local = ip("127.0.0.1");
        let first = reserve_fresh(local, 4000..=4001).unwrap();
        let second = reserve_fresh(local, 4000..=4001).unwrap();
        assert_eq!((first.endpoint().port(), second.endpoint().port()), (4000, 4001));
        let none = reserve_fresh(local, 4000..=4001).unwrap_err();
        assert_eq!(none.kind, Kind::Taken);
        // A held port can become a connection or a listener.
        let listener = tcp::listen(Bind::Held(first), 1).unwrap();
        let mut stream = attempt(Bind::Held(second), listener.local().unwrap());
        established(&mut stream);
        let accepted = accept(&listener);
        assert_eq!(accepted.remote(), at("127.0.0.1:4001"));
    });
}

fn whole_life() {
    in_namespace(|| {
        let (mut ours, mut theirs) = pair();
        let mut buffer = [0; 16];
        assert_eq!(ours.read(&mut buffer).unwrap(), None);
        assert_eq!(ours.write(b"question").unwrap(), Some(8));
        ours.finish().unwrap();
        assert_eq!(read(&mut theirs, &mut buffer).unwrap(), 8);
        assert_eq!(&buffer[..8], b"question");
        assert_eq!(read(&mut theirs, &mut buffer).unwrap(), 0);
        theirs.write(b"answer").unwrap();
        assert_eq!(read(&mut ours, &mut buffer).unwrap(), 6);
        // The kernel says so when it has no more room.
        let room = (0..10_000).take_while(|_| theirs.write(&[0; 65536]).unwrap().is_some());
        assert!(room.count() < 10_000);
    });
}

fn reset() {
    in_namespace(|| {
        let (ours, mut theirs) = pair();
        ours.reset();
        let error = read(&mut theirs, &mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

fn refused() {
    in_namespace(|| {
        let mut stream = attempt(Bind::Kernel, at("127.0.0.1:9"));
        assert_eq!(failure(&mut stream), ErrorKind::ConnectionRefused);
        // Asked again it says the same, and does not start anew.
        assert_eq!(failure(&mut stream), ErrorKind::ConnectionRefused);
        let mut stream = attempt(Bind::Kernel, at("192.0.2.1:9"));
        assert_eq!(failure(&mut stream), ErrorKind::NetworkUnreachable);
    });
}

fn unanswered() {
    let host = Host::new();
    host.run(|| {
        let options = Options { user_timeout: Duration::from_millis(1500), ..Options::default() };
        let mut stream = tcp::connect(Bind::Kernel, at("10.0.0.2:80"), &options).unwrap();
        for _ in 0..3 {
            assert!(matches!(stream.progress(), Progress::Pending));
        }
        assert_eq!(stream.local().unwrap().ip(), ip("10.0.0.1"));
        assert_eq!(host.segment_within(100).unwrap().flags, "S");
        // Asking did not send anything.
        assert_eq!(host.segment_within(300), None);
        assert_eq!(failure(&mut stream), ErrorKind::TimedOut);
    });
}

fn shared() {
    in_namespace(|| {
        let here = at("127.0.0.1:4000");
        let _listener = tcp::listen(Bind::Shared(here), 8).unwrap();
        for there in ["127.0.0.1:5001", "127.0.0.1:5002"] {
            let listener = tcp::listen(Bind::Exact(at(there)), 8).unwrap();
            let mut stream = attempt(Bind::Shared(here), at(there));
            established(&mut stream);
            assert_eq!(accept(&listener).remote(), here);
        }
    });
}

fn dead_peer() {
    let [left, right] = [0; 2].map(|_| Namespace::create().unwrap());
    let near = left.run(|| interface("l0", &["10.0.0.1/24"])).unwrap();
    let far = right.run(|| interface("r0", &["10.0.0.2/24"])).unwrap();
    let wire = Wire::new(near, far);
    let options = Options { user_timeout: Duration::from_secs(1), ..Options::default() };
    let listener = right.run(|| tcp::listen(Bind::Exact(at("10.0.0.2:80")), 1).unwrap()).unwrap();
    let mut stream =
        left.run(|| tcp::connect(Bind::Kernel, at("10.0.0.2:80"), &options).unwrap()).unwrap();
    established(&mut stream);
    let _accepted = accept(&listener);
    let stopped = wire.cut();
    stream.write(b"anybody there?").unwrap();
    let error = read(&mut stream, &mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(stopped);
}

fn crossed() {
    let (mut one, mut other, _wire) = cross("10.0.0.1:4000", "10.0.0.2:4000");
    one.write(b"hello").unwrap();
    assert_eq!(read(&mut other, &mut [0; 16]).unwrap(), 5);
}

/// Opens a connection from both sides at once.
fn cross(one: &str, other: &str) -> (Stream, Stream, Wire) {
    let [left, right] = [0; 2].map(|_| Namespace::create().unwrap());
    let own = |endpoint: &str| format!("{}/24", at(endpoint).ip());
    let near = left.run(|| interface("l0", &[&own(one)])).unwrap();
    let far = right.run(|| interface("r0", &[&own(other)])).unwrap();
    // The crossing window is the one-way delay.
    let wire = Wire::with_delay(near, far, Duration::from_millis(200));
    let open = |namespace: &Namespace, from, to| {
        namespace.run(|| attempt(Bind::Exact(at(from)), at(to))).unwrap()
    };
    let mut streams = (open(&left, one, other), open(&right, other, one), wire);
    established(&mut streams.0);
    established(&mut streams.1);
    streams
}

fn states() {
    use State::{CloseWait, Closed, Established, LastAck, SynReceived, SynSent};
    let _quiet = WATCHED.lock();
    let mut watch = SocketStates::watch().unwrap();
    let before = clock::monotonic();
    let mut steps_of = |local: &str| {
        let mut steps = Vec::new();
        while let Some(change) = watch.next_change() {
            assert!(before <= change.at && change.at <= clock::monotonic());
            if change.local == at(local) {
                steps.push((change.from, change.to));
            }
        }
        steps
    };
    let _streams = cross("10.71.0.1:4000", "10.71.0.2:4000");
    assert_eq!(
        steps_of("10.71.0.1:4000"),
        [(Closed, SynSent), (SynSent, SynReceived), (SynReceived, Established)]
    );
    in_namespace(|| {
        let listener = tcp::listen(Bind::Exact(at("127.0.71.1:4001")), 1).unwrap();
        let mut stream = attempt(Bind::Exact(at("127.0.71.2:4002")), at("127.0.71.1:4001"));
        established(&mut stream);
        drop(accept(&listener));
        assert_eq!(read(&mut stream, &mut [0; 16]).unwrap(), 0);
    });
    let steps = steps_of("127.0.71.2:4002");
    let usual = [(Closed, SynSent), (SynSent, Established), (Established, CloseWait)];
    assert_eq!(steps[..3], usual);
    assert_eq!(steps[3..], [(CloseWait, LastAck), (LastAck, Closed)]);
}

fn many_states() {
    let _alone = WATCHED.lock();
    let mut watch = SocketStates::watch().unwrap();
    // Shared: a child process that another test starts holds our closed socket
    // until its exec.
    let ours = at("127.0.72.1:4003");
    in_namespace(|| {
        let mut seen = 0;
        for _ in 0..8 {
            for _ in 0..400 {
                let mut stream = attempt(Bind::Shared(ours), at("127.0.0.1:9"));
                assert_eq!(failure(&mut stream), ErrorKind::ConnectionRefused);
            }
            seen += std::iter::from_fn(|| watch.next_change()).filter(|c| c.local == ours).count();
        }
        // CLOSED to SYN-SENT and back: over twice what the ring of a CPU holds.
        assert_eq!((seen, watch.lost()), (6400, 0));
        for _ in 0..4000 {
            let mut stream = attempt(Bind::Shared(ours), at("127.0.0.1:9"));
            assert_eq!(failure(&mut stream), ErrorKind::ConnectionRefused);
        }
        let rest = std::iter::from_fn(|| watch.next_change()).filter(|c| c.local == ours).count();
        assert!((1000..8000).contains(&rest), "{rest}");
        // The count of the lost comes with the next record of the same CPU.
        for cpu in 0..CpuSet::count() {
            let mut alone = CpuSet::new();
            alone.set(cpu).unwrap();
            if sched_setaffinity(Pid::from_raw(0), &alone).is_ok() {
                drop(attempt(Bind::Shared(ours), at("127.0.0.1:9")));
            }
        }
        while watch.next_change().is_some() {}
        assert!(watch.lost() as usize + rest >= 8000, "{rest} and {} lost", watch.lost());
    });
}

/// A watch sees the sockets of all namespaces: one test's flood of changes
/// would make another's ring overflow.
static WATCHED: Mutex<()> = Mutex::new(());

fn ttl() {
    let host = Host::new();
    let options = Options { ttl: Some(3), ..Options::default() };
    let _stream = host.run(|| tcp::connect(Bind::Kernel, at("10.0.0.2:80"), &options).unwrap());
    let mut buffer = [0; 2048];
    assert!(within_ms(1000, || host.tun.read(&mut buffer).unwrap().is_some()));
    assert_eq!(buffer[8], 3);
    let _stream = host.run(|| tcp::connect(Bind::Kernel, at("[fd00::2]:80"), &options).unwrap());
    assert!(within_ms(1000, || host.tun.read(&mut buffer).unwrap().is_some()));
    // RFC 8200 §3: the hop limit is byte 7.
    assert_eq!((buffer[0] >> 4, buffer[7]), (6, 3));
}

fn in_namespace(work: impl FnOnce() + Send) {
    Namespace::create().unwrap().run(work).unwrap();
}

fn attempt(bind: Bind, remote: SocketAddr) -> Stream {
    tcp::connect(bind, remote, &Options::default()).unwrap()
}

fn pair() -> (Stream, Stream) {
    let listener = tcp::listen(Bind::Exact(at("127.0.0.1:0")), 1).unwrap();
    let mut ours = attempt(Bind::Kernel, listener.local().unwrap());
    established(&mut ours);
    (ours, accept(&listener))
}

fn accept(listener: &tcp::Listener) -> Stream {
    let options = Options::default();
    poll::wait(&[Interest::read(listener)], Some(in_ms(3000))).unwrap();
    let accepted = listener.accept(&options).unwrap().unwrap();
    assert!(listener.accept(&options).unwrap().is_none());
    accepted
}

fn established(stream: &mut Stream) {
    poll::wait(&[Interest::write(stream)], Some(in_ms(5000))).unwrap();
    let progress = stream.progress();
    assert!(matches!(progress, Progress::Established), "{progress:?}");
}

fn failure(stream: &mut Stream) -> ErrorKind {
    poll::wait(&[Interest::write(stream)], Some(in_ms(5000))).unwrap();
    match stream.progress() {
        Progress::Failed(error) => error.kind(),
        progress => panic!("{progress:?}"),
    }
}

fn read(stream: &mut Stream, buffer: &mut [u8]) -> std::io::Result<usize> {
    poll::wait(&[Interest::read(stream)], Some(in_ms(5000))).unwrap();
    stream.read(buffer).map(|read| read.expect("something to read within 5 s"))
}
