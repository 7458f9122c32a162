//! A lab with two ends, asked with ordinary sockets: what reaches whom, from which address, how soon,
//! and that nothing of it is left.

#![allow(clippy::unwrap_used)]

mod network;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::time::Duration;

use network::{Running, Test, holders, marked, within};
use tso_probe::lab::{End, Pair, PairPlan, Server, with_pair};
use tso_probe::os::poll::{self, Interest};
use tso_probe::os::tcp::{self, Bind, Listener, Options, Progress, Stream};
use tso_probe::os::{clock, reserve};
use tso_probe::sim::Weather;

fn main() {
    // The test binary starts itself for what only another process can show.
    match std::env::var(ROLE).as_deref() {
        Ok("hold") => return hold(),
        Ok("return") => return build_and_return(),
        _ => {}
    }
    let tests: Vec<Test> = TESTS.iter().map(|(name, test)| ((*name).to_owned(), *test)).collect();
    network::run(tests, &[]);
}

const TESTS: &[(&str, fn())] = &[
    ("the_server_sees_modelled_nats", || expect_server_sees(["openwrt", "rfc5382"])),
    ("the_server_sees_kernels_nats", || expect_server_sees(["openwrt-kernel", "linux-kernel"])),
    ("the_server_sees_the_outer_of_two_nats", || expect_server_sees(["double-nat", "double-nat"])),
    ("the_server_sees_public_hosts", || expect_server_sees(["none", "none"])),
    ("the_server_sees_a_carriers_nat_and_a_kernels", || {
        expect_server_sees(["cgn", "linux-kernel"])
    }),
    ("crossing_opens_openwrt_to_openwrt", || expect_open("openwrt", "openwrt")),
    ("crossing_opens_kernel_to_kernel", || expect_open("linux-kernel", "openwrt-kernel")),
    ("crossing_opens_a_kernels_nat_to_a_modelled_one", || expect_open("openwrt-kernel", "openwrt")),
    ("crossing_opens_rfc5382_to_linux", || expect_open("rfc5382", "linux")),
    ("crossing_opens_a_public_host_to_a_kernels_nat", || expect_open("none", "openwrt-kernel")),
    ("crossing_opens_a_public_host_to_a_public_host", || expect_open("none", "none")),
    ("crossing_opens_nats_that_rewrite_or_share", || expect_open("isn-rewriting", "overloading")),
    ("crossing_misses_random_ports", || expect_miss("linux-random", "openwrt")),
    ("crossing_misses_the_ports_of_a_double_nat", || expect_miss("double-nat", "none")),
    ("an_unsolicited_syn_reaches_a_public_host", unsolicited_reaches_a_public_host),
    ("an_unsolicited_syn_is_reset_by_openwrt", || {
        expect_shut("openwrt", ErrorKind::ConnectionRefused);
    }),
    ("an_unsolicited_syn_is_reset_by_openwrt_in_the_kernel", || {
        expect_shut("openwrt-kernel", ErrorKind::ConnectionRefused);
    }),
    ("an_unsolicited_syn_vanishes_in_linux", || expect_shut("linux", ErrorKind::TimedOut)),
    ("an_unsolicited_syn_vanishes_in_linux_in_the_kernel", || {
        expect_shut("linux-kernel", ErrorKind::TimedOut);
    }),
    ("an_unsolicited_syn_vanishes_in_a_double_nat", || {
        expect_shut("double-nat", ErrorKind::TimedOut);
    }),
    ("an_unsolicited_syn_is_refused_by_rfc5382_after_six_seconds", refused_late),
    ("a_full_cone_that_was_opened_lets_everybody_in", || expect_stranger("full-cone", true)),
    ("a_carriers_nat_that_was_opened_lets_everybody_in", || expect_stranger("cgn", true)),
    ("rfc5382_that_was_opened_lets_no_stranger_in", || expect_stranger("rfc5382", false)),
    ("a_kernels_nat_that_was_opened_lets_no_stranger_in", || {
        expect_stranger("linux-kernel", false)
    }),
    ("a_double_nat_that_was_opened_lets_no_stranger_in", || expect_stranger("double-nat", false)),
    ("a_panic_in_the_lab_takes_it_down", panicking),
    ("a_lab_that_was_killed_leaves_no_namespace", killed),
    ("a_lab_that_is_over_leaves_no_descriptor", returned),
];

/// From both ends a connection to the server takes a round trip, and comes from the end's external
/// address.
fn expect_server_sees(nats: [&str; 2]) {
    in_pair(nats, |pair| {
        let web = listening(&pair.server);
        for end in &pair.ends {
            let begun = clock::monotonic();
            let mut stream = connect(end, Bind::Kernel, SocketAddr::new(SERVER, PORT), patient());
            opened(&mut stream).unwrap();
            let took = clock::monotonic() - begun;
            assert!(took >= 2 * DELAY, "a round trip of {took:?}");
            let mut seen = accepted(&web);
            assert_eq!(seen.remote().ip(), end.external);
            expect_joined(&mut stream, &mut seen);
        }
        let addresses = pair.ends.each_ref().map(|end| (end.internal, end.external));
        for (nat, (internal, external)) in nats.into_iter().zip(addresses) {
            assert_eq!(internal == external, nat == "none");
        }
        assert_ne!(addresses[0].1, addresses[1].1);
        assert!(addresses[0].0 != addresses[1].0);
    });
}

/// Two SYNs between the external addresses, from and to one port, make one connection.
fn expect_open(a: &str, b: &str) {
    in_pair([a, b], |pair| {
        let [mut a, mut b] = crossing(pair, patient());
        opened(&mut a).unwrap();
        opened(&mut b).unwrap();
        expect_joined(&mut a, &mut b);
    });
}

/// The first end's NAT gives another port than the second one sends to: its own SYN is refused where
/// it arrives, and that of the other goes into the void.
fn expect_miss(a: &str, b: &str) {
    in_pair([a, b], |pair| {
        let [mut a, mut b] = crossing(pair, impatient());
        assert_eq!(opened(&mut a).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(opened(&mut b).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

fn unsolicited_reaches_a_public_host() {
    in_pair(["none", "openwrt"], |pair| {
        let [a, b] = &pair.ends;
        let door = listening_on(a, Bind::Exact(SocketAddr::new(a.internal, PORT)));
        let knocked = SocketAddr::new(a.external, PORT);
        let mut stream = connect(b, Bind::Kernel, knocked, patient());
        opened(&mut stream).unwrap();
        let mut visitor = accepted(&door);
        assert_eq!(visitor.remote().ip(), b.external);
        expect_joined(&mut stream, &mut visitor);
    });
}

/// What a NAT has not let out, it does not let in, though a listener waits and the path is alive.
fn expect_shut(nat: &str, how: ErrorKind) {
    in_pair([nat, "none"], |pair| {
        let [a, b] = &pair.ends;
        let door = listening_on(a, Bind::Exact(SocketAddr::new(a.internal, PORT)));
        let knocked = SocketAddr::new(a.external, PORT);
        let error = opened(&mut connect(b, Bind::Kernel, knocked, impatient())).unwrap_err();
        assert_eq!(error.kind(), how, "{error}");
        assert!(door.accept(&patient()).unwrap().is_none());
        let other_door = listening_on(b, Bind::Exact(SocketAddr::new(b.internal, PORT)));
        let outward = SocketAddr::new(b.external, PORT);
        let mut stream = connect(a, Bind::Kernel, outward, patient());
        opened(&mut stream).unwrap();
        assert_eq!(accepted(&other_door).remote().ip(), a.external);
    });
}

/// RFC 5382 REQ-4: the translator acts on its own, and not before its time.
fn refused_late() {
    in_pair(["rfc5382", "none"], |pair| {
        let [a, b] = &pair.ends;
        let begun = clock::monotonic();
        let knocked = SocketAddr::new(a.external, PORT);
        let error = opened(&mut connect(b, Bind::Kernel, knocked, patient())).unwrap_err();
        let took = clock::monotonic() - begun;
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(took >= Duration::from_secs(6) + 2 * DELAY, "{took:?}");
    });
}

/// Once the first end has spoken to the server from a port, the second one, a stranger, knocks where
/// the server saw it.
fn expect_stranger(nat: &str, gets_in: bool) {
    in_pair([nat, "openwrt"], |pair| {
        let [a, b] = &pair.ends;
        let web = listening(&pair.server);
        let own = SocketAddr::new(a.internal, PORT);
        let door = listening_on(a, Bind::Shared(own));
        let server = SocketAddr::new(SERVER, PORT);
        let mut outward = connect(a, Bind::Shared(own), server, patient());
        opened(&mut outward).unwrap();
        let seen = accepted(&web).remote();
        let mut stranger = connect(b, Bind::Kernel, seen, impatient());
        let outcome = opened(&mut stranger);
        assert_eq!(outcome.is_ok(), gets_in, "{outcome:?}");
        if gets_in {
            let mut visitor = accepted(&door);
            assert_eq!(visitor.remote().ip(), b.external);
            expect_joined(&mut stranger, &mut visitor);
        } else {
            assert!(door.accept(&patient()).unwrap().is_none());
        }
    });
}

fn panicking() {
    let broken = || {
        in_pair(["openwrt", "linux-kernel"], |_| {
            // As panic!, without a word on stderr.
            resume_unwind(Box::new("on purpose"))
        })
    };
    // A lab that went on would keep this from ever returning.
    let panic = catch_unwind(AssertUnwindSafe(broken)).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
}

fn killed() {
    let mut holder = played("hold");
    let namespaces: Vec<_> = holder.line().split(' ').map(str::to_owned).collect();
    // Two hosts, a router for each, and the server.
    assert_eq!(namespaces.len(), 5, "{namespaces:?}");
    assert!(namespaces.iter().all(|namespace| !holders(namespace).is_empty()));
    holder.signal("KILL");
    let left = || namespaces.iter().flat_map(|namespace| holders(namespace)).collect::<Vec<_>>();
    assert!(within(PATIENCE, || left().is_empty()), "{:?}", left());
}

fn returned() {
    let answer = played("return").wait(PATIENCE);
    assert_eq!((answer.stdout.as_str(), answer.code), ("none left\n", Some(0)), "{answer:?}");
}

/// Plays the child that is killed: a lab of kernels' NATs, and who it consists of.
fn hold() {
    in_pair(["openwrt-kernel", "linux-kernel"], |_| {
        let namespaces = descriptors().into_iter().filter(|to| to.starts_with("net:["));
        println!("{}", namespaces.collect::<Vec<_>>().join(" "));
        loop {
            std::thread::park();
        }
    });
}

/// Plays the child whose lab ends by itself.
fn build_and_return() {
    let before = descriptors();
    in_pair(["openwrt-kernel", "double-nat"], |pair| {
        let web = listening(&pair.server);
        let server = SocketAddr::new(SERVER, PORT);
        let mut stream = connect(&pair.ends[0], Bind::Kernel, server, patient());
        opened(&mut stream).unwrap();
        drop(accepted(&web));
        assert_ne!(descriptors(), before);
    });
    let after = descriptors();
    assert_eq!(after, before);
    println!("none left");
}

/// What this process has open, but for the directory that tells it.
fn descriptors() -> Vec<String> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let names = links.map(|to| to.display().to_string());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with("/fd")).collect();
    names.sort();
    names
}

fn played(role: &str) -> Running {
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role);
    Running::start(marked(command))
}

fn in_pair<T>(nats: [&str; 2], work: impl FnOnce(&Pair) -> T) -> T {
    let [a, b] = nats.map(|name| (name != "none").then(|| name.parse().unwrap()));
    let weather = Weather { delay: DELAY, ..Weather::default() };
    let plan = PairPlan { a, b, shared: None, weather, seed: 5382 };
    with_pair(&plan, |pair| Ok(work(pair))).unwrap()
}

/// Both ends connect to each other's external address from and to one port. One thread starts both,
/// so that the SYNs leave well within a delay of each other.
fn crossing(pair: &Pair, options: Options) -> [Stream; 2] {
    let held = pair.ends.each_ref().map(|end| {
        let own = SocketAddr::new(end.internal, PORT);
        end.namespace.run(|| reserve::reserve(own)).unwrap().unwrap()
    });
    let [a, b] = pair.ends.each_ref().map(|end| SocketAddr::new(end.external, PORT));
    let [held_a, held_b] = held;
    let begun = clock::monotonic();
    let first = tcp::connect(Bind::Held(held_a), b, &options).unwrap();
    let second = tcp::connect(Bind::Held(held_b), a, &options).unwrap();
    let skew = clock::monotonic() - begun;
    assert!(skew < DELAY, "this machine is too busy: the SYNs left {skew:?} apart");
    [first, second]
}

fn connect(from: &End, bind: Bind, to: SocketAddr, options: Options) -> Stream {
    from.namespace.run(|| tcp::connect(bind, to, &options)).unwrap().unwrap()
}

fn listening(server: &Server) -> Listener {
    assert_eq!(server.addresses[0], SERVER);
    let bind = Bind::Exact(SocketAddr::new(SERVER, PORT));
    server.namespace.run(|| tcp::listen(bind, 8)).unwrap().unwrap()
}

fn listening_on(end: &End, bind: Bind) -> Listener {
    end.namespace.run(|| tcp::listen(bind, 8)).unwrap().unwrap()
}

/// How an attempt ends.
fn opened(stream: &mut Stream) -> io::Result<()> {
    let until = clock::monotonic() + PATIENCE;
    loop {
        match stream.progress() {
            Progress::Established => return Ok(()),
            Progress::Failed(error) => return Err(error),
            Progress::Pending => {
                let ready = poll::wait(&[Interest::write(stream)], Some(until)).unwrap();
                assert!(!ready.is_empty(), "no end of the attempt within {PATIENCE:?}");
            }
        }
    }
}

fn accepted(listener: &Listener) -> Stream {
    let until = clock::monotonic() + PATIENCE;
    loop {
        if let Some(stream) = listener.accept(&patient()).unwrap() {
            return stream;
        }
        let ready = poll::wait(&[Interest::read(listener)], Some(until)).unwrap();
        assert!(!ready.is_empty(), "nobody came within {PATIENCE:?}");
    }
}

/// What one writes the other reads, both ways.
fn expect_joined(one: &mut Stream, other: &mut Stream) {
    for word in ["there", "and back"] {
        assert_eq!(one.write(word.as_bytes()).unwrap(), Some(word.len()));
        assert_eq!(read(other, word.len()), word.as_bytes());
        std::mem::swap(one, other);
    }
}

fn read(stream: &mut Stream, length: usize) -> Vec<u8> {
    let until = clock::monotonic() + PATIENCE;
    let (mut all, mut buffer) = (Vec::new(), [0; 64]);
    while all.len() < length {
        match stream.read(&mut buffer).unwrap() {
            Some(0) => break,
            Some(count) => all.extend(&buffer[..count]),
            None => {
                let ready = poll::wait(&[Interest::read(stream)], Some(until)).unwrap();
                assert!(!ready.is_empty(), "nothing to read within {PATIENCE:?}");
            }
        }
    }
    all
}

fn patient() -> Options {
    Options::default()
}

/// For attempts that are to fail: long enough for a round trip many times over.
fn impatient() -> Options {
    Options { user_timeout: 10 * DELAY, ..Options::default() }
}

/// One-way: the two SYNs of a crossing must leave within it, on a busy machine too.
const DELAY: Duration = Duration::from_millis(250);

const PORT: u16 = 5000;

const SERVER: IpAddr = tso_probe::sim::addresses::REFLECTOR[0];

const PATIENCE: Duration = Duration::from_secs(30);

/// Names the role that this binary plays as a child.
const ROLE: &str = "TSO_PROBE_TEST_ROLE";
