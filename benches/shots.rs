//! How exactly a SYN leaves at a chosen moment: ours beside what others do, in one run.
//!
//! Every shot's departure is the time stamp of its SYN at the interface. `cargo bench --bench shots`
//! prints a table (500 shots a method; `TSO_PROBE_SHOTS` says otherwise). It takes root.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tso_probe::os::capture::Capture;
use tso_probe::os::link::{self, Via};
use tso_probe::os::netns::Namespace;
use tso_probe::os::poll::{self, Interest};
use tso_probe::os::raw::RawSender;
use tso_probe::os::shot::Marksman;
use tso_probe::os::tcp::{self, Bind, Options};
use tso_probe::os::tun::Tun;
use tso_probe::os::{clock, cpu, privilege};
use tso_probe::wire::{Flags, Packet, Segment, Seq, encode};

fn main() {
    if !privilege::is_root() {
        eprintln!("SKIPPED: shots take root");
        return;
    }
    let shots = std::env::var("TSO_PROBE_SHOTS").ok().and_then(|text| text.parse().ok());
    let shots = shots.unwrap_or(500);
    let namespace = Namespace::create().expect("a namespace can be made");
    for busy in [false, true] {
        let before = cpu::time().expect("the CPUs tell their time");
        let errors = beside(busy, || namespace.run(|| measure(shots)).expect("it can be entered"));
        let stolen = cpu::time().ok().and_then(|after| after.stolen_since(before)).unwrap_or(0.0);
        report(busy, stolen, errors);
    }
}

/// Ways to let a SYN leave at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// An asynchronous runtime's timer, then `connect(2)`.
    Tokio,
    /// Sleep for what is left, then `connect(2)`.
    Usleep,
    /// Ours.
    Connect,
    /// Ours, with a crafted SYN.
    Raw,
}

const METHODS: [Method; 4] = [Method::Tokio, Method::Usleep, Method::Connect, Method::Raw];

/// The errors of all shots of each method, in microseconds. The methods take turns, each on a thread
/// of its own, since timers are sharpened for a thread.
fn measure(shots: usize) -> [Vec<f64>; 4] {
    let range = Range::new();
    let mut errors = METHODS.map(|_| Vec::with_capacity(shots));
    for shot in 0..shots + WARM_UPS {
        for (place, method) in METHODS.into_iter().enumerate() {
            let ahead = AHEAD + Duration::from_micros((shot as u64 * 7_919) % 5_000);
            let number = u16::try_from(shot * METHODS.len() + place).unwrap_or(u16::MAX) % 20_000;
            let remote = SocketAddr::new(TARGET, 20_000 + number);
            let error = range.shoot(method, ahead, remote);
            if shot >= WARM_UPS {
                errors[place].extend(error);
            }
        }
    }
    errors
}

/// An interface to shoot through, and to see departures at.
struct Range {
    tun: Tun,
    /// Each learns from its own shots.
    connects: Marksman,
    crafts: Marksman,
}

impl Range {
    fn new() -> Self {
        let tun = Tun::create("shots0").expect("a TUN can be made");
        link::add_address("shots0", OWN, 24).expect("it takes an address");
        link::up("shots0").expect("it can be used");
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        link::add_route(anywhere, 0, Via::Interface("shots0")).expect("it takes a route");
        let marksman = || Marksman::new().expect("a port on loopback");
        let (connects, crafts) = (marksman(), marksman());
        assert!(connects.lead().and(crafts.lead()).is_some(), "root can measure the lead");
        Self { tun, connects, crafts }
    }

    /// By how many microseconds a SYN was late; none if it was not seen.
    fn shoot(&self, method: Method, ahead: Duration, remote: SocketAddr) -> Option<f64> {
        let filter = format!("tcp dst port {} and tcp[tcpflags] & tcp-syn != 0", remote.port());
        let mut capture = Capture::open("shots0", &filter).expect("it can be captured on");
        let at = thread::scope(|scope| {
            let shot = scope.spawn(|| self.call(method, ahead, remote));
            shot.join().expect("it does not panic")
        });
        poll::wait(&[Interest::read(&capture)], Some(clock::monotonic() + PATIENCE)).ok()?;
        let seen = capture.next_packet().ok()??.at_realtime;
        let apart = clock::realtime().saturating_sub(clock::monotonic());
        let mut buffer = [0; 2048];
        while let Ok(Some(_)) = self.tun.read(&mut buffer) {}
        let left = seen.saturating_sub(apart);
        match method {
            Method::Connect => self.connects.learn(at, left),
            Method::Raw => self.crafts.learn(at, left),
            Method::Tokio | Method::Usleep => {}
        }
        let off = left.abs_diff(at).as_secs_f64() * 1e6;
        Some(if left < at { -off } else { off })
    }

    /// Lets a SYN leave so long from now, all having been prepared; at which moment it was to leave.
    fn call(&self, method: Method, ahead: Duration, remote: SocketAddr) -> Duration {
        let socket = tcp::prepare(Bind::Kernel, remote, &Options::default()).expect("a socket");
        let aimed = || clock::monotonic() + ahead;
        match method {
            Method::Tokio => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                let (runtime, at) = (runtime.expect("a runtime"), aimed());
                runtime.block_on(async {
                    tokio::time::sleep(at.saturating_sub(clock::monotonic())).await;
                    socket.connect();
                });
                at
            }
            Method::Usleep => {
                let at = aimed();
                thread::sleep(at.saturating_sub(clock::monotonic()));
                socket.connect();
                at
            }
            Method::Connect => {
                let at = aimed();
                self.connects.fire(at, socket);
                at
            }
            Method::Raw => {
                let mut sender = RawSender::new().expect("root may send");
                let (seq, flags, window) = (Seq(7), Flags::SYN, 64_240);
                let segment = Segment { seq, flags, window, ..Segment::default() };
                let syn = encode(&Packet::tcp(SocketAddr::new(OWN, 10_000), remote, segment));
                let at = aimed();
                self.crafts.call(at, || sender.send(&syn)).expect("it leaves");
                at
            }
        }
    }
}

/// Does it while every CPU is kept busy, if it is to be so.
fn beside<T>(busy: bool, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(!busy);
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cpus {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn report(busy: bool, stolen: f64, errors: [Vec<f64>; 4]) {
    let usleep = quantiles(&errors[1]);
    let load = if busy { "beside as many busy threads as CPUs" } else { "idle" };
    println!("\n{load}; {:.1} % of the CPU time was stolen\n", stolen * 100.0);
    println!(
        "| method | shots | late by µs | p50 µs | p90 µs | p99 µs | max µs | usleep's p50 | usleep's p90 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let names =
        ["tokio::time + connect()", "usleep + connect()", "ours, connect()", "ours, raw SYN"];
    for (name, errors) in names.into_iter().zip(&errors) {
        let [p50, p90, p99, max] = quantiles(errors);
        let (half, most) = (usleep[0] / p50, usleep[1] / p90);
        let (count, late) = (errors.len(), median(errors));
        println!(
            "| {name} | {count} | {late:.1} | {p50:.1} | {p90:.1} | {p99:.1} | {max:.1} | {half:.1} times | {most:.1} times |"
        );
    }
}

/// Of the errors' sizes.
fn quantiles(errors: &[f64]) -> [f64; 4] {
    let mut sizes: Vec<_> = errors.iter().map(|error| error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let at = |share: f64| {
        sizes.get(((sizes.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(f64::NAN)
    };
    [at(0.5), at(0.9), at(0.99), at(1.0)]
}

fn median(errors: &[f64]) -> f64 {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// From the choice of a moment to the moment.
const AHEAD: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_millis(200);
const WARM_UPS: usize = 15;
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
