//! How often two SYNs that are to cross do cross: ours beside what others do, in one run.
//!
//! Two hosts of the lab connect to each other, and neither listens: the connection opens if, and only
//! if, each SYN leaves before the other one arrives. `cargo bench --bench crossings` prints a table
//! (200 openings a cell; `TSO_PROBE_OPENINGS` says otherwise). It takes root and two CPUs.
//!
//! Both hosts share this machine's clock, and wake up equally late, which flatters whoever sleeps
//! badly. So every delay is tried a second time with a clock of B's own, seconds ahead and drifting,
//! whose offset is estimated over a connection between the two before each shot, as `--sync clock` does.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tso_probe::lab::{self, End, Pair, PairPlan};
use tso_probe::os::capture::Capture;
use tso_probe::os::poll::{self, Interest, Want};
use tso_probe::os::shot::Marksman;
use tso_probe::os::tcp::{self, Bind, Options, Progress, Stream};
use tso_probe::os::{clock, cpu, privilege};
use tso_probe::punch::{Exchange, Offset};
use tso_probe::sim::Weather;
use tso_probe::time::Instant;

fn main() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    if !privilege::is_root() || cpus < 2 {
        eprintln!("SKIPPED: crossings take root and two CPUs");
        return;
    }
    let openings = std::env::var("TSO_PROBE_OPENINGS").ok().and_then(|text| text.parse().ok());
    let openings = openings.unwrap_or(200);
    println!(
        "| one way ms | clocks | ours crossed | skew p50 µs | error p50 µs | p99 µs | usleep crossed | skew p50 µs | error p50 µs | p99 µs | stolen |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for delay in DELAYS_US.map(Duration::from_micros) {
        let weather = Weather { delay, ..Weather::default() };
        let plan = PairPlan { a: None, b: None, weather, seed: 7 };
        let rows = lab::with_pair(&plan, |pair| Ok(rows(pair, delay, openings)));
        rows.expect("root can build a lab").iter().for_each(|row| println!("{row}"));
    }
}

/// Ways to let a SYN leave at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// Ours.
    Ours,
    /// Sleep for what is left, then `connect(2)`.
    Usleep,
}

/// Whether B has a clock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clocks {
    Shared,
    Independent,
}

/// What came of one try.
struct Try {
    /// Whether both ends say that the connection stands.
    crossed: bool,
    /// How far apart the SYNs left, if both were seen.
    skew: Option<Duration>,
    /// How far from its moment each left, if it was seen.
    errors: [Option<Duration>; 2],
}

/// Each end on a thread and a CPU of its own: two that spin until their moments must not wait for each
/// other.
fn rows(pair: &Pair, delay: Duration, openings: u16) -> Vec<String> {
    let [a, b] = &pair.ends;
    let control = SocketAddr::new(b.external, CONTROL_PORT);
    let (listening, listens) = channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let shooter = Shooter::new(b, 1, a.external, delay);
            let listener = TcpListener::bind(control).expect("the port is free");
            listening.send(()).expect("it is waited for");
            let (stream, _) = listener.accept().expect("a comes");
            Follower { shooter, line: Line::new(stream) }.follow();
        });
        let decider = scope.spawn(move || {
            let shooter = Shooter::new(a, 0, b.external, delay);
            listens.recv().expect("b listens");
            let line = Line::new(TcpStream::connect(control).expect("b listens"));
            Decider { shooter, line, port: FIRST_PORT }.rows(openings)
        });
        decider.join().expect("it does not panic")
    })
}

/// The end that decides when, and asks what came of it.
struct Decider {
    shooter: Shooter,
    line: Line,
    port: u16,
}

impl Decider {
    fn rows(mut self, openings: u16) -> Vec<String> {
        CLOCKS.into_iter().map(|clocks| self.row(clocks, openings)).collect()
    }

    /// The methods take turns.
    fn row(&mut self, clocks: Clocks, openings: u16) -> String {
        let before = cpu::time().expect("the CPUs tell their time");
        let mut tries = [Vec::new(), Vec::new()];
        for number in 0..openings + WARM_UPS {
            for (method, tries) in METHODS.into_iter().zip(&mut tries) {
                let one = self.try_once(method, clocks);
                tries.extend((number >= WARM_UPS).then_some(one));
            }
        }
        let stolen = cpu::time().ok().and_then(|after| after.stolen_since(before)).unwrap_or(0.0);
        let [ours, usleep] = tries.map(|tries| cells(&tries));
        let (delay_ms, stolen) = (self.shooter.delay.as_secs_f64() * 1e3, stolen * 100.0);
        let clocks = if clocks == Clocks::Shared { "shared" } else { "independent" };
        format!("| {delay_ms} | {clocks} | {ours} | {usleep} | {stolen:.1} % |")
    }

    fn try_once(&mut self, method: Method, clocks: Clocks) -> Try {
        self.port += 1;
        let ahead_ns = match clocks {
            Clocks::Shared => 0,
            Clocks::Independent => self.estimate(),
        };
        let at = clock::monotonic() + self.shooter.delay + AHEAD;
        let at_b = Instant::from_nanos(at.as_nanos() as u64).shifted(ahead_ns).as_nanos();
        let order = [method as u64, clocks as u64, u64::from(self.port), at_b as u64];
        self.line.say(&order);
        let own = self.shooter.shoot(method, at, self.port);
        let [stands, left_ns, off_ns] = self.line.hear().expect("b answers");
        let seen = |ns| Some(Duration::from_nanos(ns)).filter(|_| left_ns > 0);
        let skew = own.left.zip(seen(left_ns)).map(|(own, other)| own.abs_diff(other));
        let errors = [own.left.map(|left| left.abs_diff(at)), seen(off_ns)];
        Try { crossed: own.stands && stands == 1, skew, errors }
    }

    /// By how many nanoseconds B's clock is ahead, as the two can know it.
    fn estimate(&mut self) -> i64 {
        let mut offset = Offset::UNKNOWN;
        for _ in 0..EXCHANGES {
            let asked = now();
            self.line.say(&[ASK, 0, 0, 0]);
            let [received, answered] = self.line.hear().expect("b answers");
            let [received, answered] = [received, answered].map(Instant::from_nanos);
            offset = offset.with(&Exchange { asked, received, answered, heard: now() });
        }
        offset.clocks().ahead_ns
    }
}

/// The end that does as it is told.
struct Follower {
    shooter: Shooter,
    line: Line,
}

impl Follower {
    fn follow(mut self) {
        while let Some([what, clocks, port, at_b]) = self.line.hear() {
            if what == ASK {
                let received = own_clock(clock::monotonic());
                self.line.say(&[received, own_clock(clock::monotonic())]);
                continue;
            }
            let at = match clocks == Clocks::Shared as u64 {
                true => Duration::from_nanos(at_b),
                false => by_own_clock(at_b),
            };
            let port = u16::try_from(port).expect("a said so");
            let method = METHODS[usize::from(what == Method::Usleep as u64)];
            let Shot { stands, left } = self.shooter.shoot(method, at, port);
            let ns = |time: Option<Duration>| time.map_or(0, |time| time.as_nanos() as u64);
            let off = left.map(|left| left.abs_diff(at));
            self.line.say(&[u64::from(stands), ns(left), ns(off)]);
        }
    }
}

/// What B's own clock shows at a moment of this machine's: nanoseconds.
fn own_clock(at: Duration) -> u64 {
    let ns = at.as_nanos() as u64;
    ns + AHEAD_NS + ns / DRIFT
}

/// The moment of this machine's clock at which B's own shows this.
fn by_own_clock(ns: u64) -> Duration {
    let ns = u128::from(ns - AHEAD_NS);
    let drift = u128::from(DRIFT);
    Duration::from_nanos((ns * drift / (drift + 1)) as u64)
}

/// What an end shoots with.
struct Shooter {
    own: IpAddr,
    peer: IpAddr,
    delay: Duration,
    marksman: Marksman,
    capture: Capture,
}

/// What came of a shot.
struct Shot {
    stands: bool,
    /// When the SYN was seen leaving, by the monotonic clock.
    left: Option<Duration>,
}

impl Shooter {
    fn new(end: &End, cpu: usize, peer: IpAddr, delay: Duration) -> Self {
        cpu::pin_to(cpu);
        end.namespace.enter_thread().expect("root may");
        let marksman = Marksman::new().expect("a port on loopback");
        assert!(marksman.lead().is_some(), "root can measure the lead");
        let own = end.external;
        let filter = format!("src host {own} and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn");
        let capture = Capture::open("lab0", &filter).expect("it can be captured on");
        Self { own, peer, delay, marksman, capture }
    }

    /// On a thread of its own, since timers are sharpened for a thread.
    fn shoot(&mut self, method: Method, at: Duration, port: u16) -> Shot {
        while self.capture.next_packet().expect("it is there").is_some() {}
        let [local, remote] = [self.own, self.peer].map(|ip| SocketAddr::new(ip, port));
        let prepared = tcp::prepare(Bind::Exact(local), remote, &Options::default());
        let prepared = prepared.expect("the port is free");
        let marksman = &self.marksman;
        let mut stream = thread::scope(|scope| {
            let shot = scope.spawn(move || match method {
                Method::Ours => marksman.fire(at, prepared),
                Method::Usleep => {
                    thread::sleep(at.saturating_sub(clock::monotonic()));
                    prepared.connect()
                }
            });
            shot.join().expect("it does not panic")
        });
        let stands = stands(&mut stream, at + 2 * self.delay + PATIENCE);
        stream.reset();
        let left = self.left();
        if let (Method::Ours, Some(left)) = (method, left) {
            self.marksman.learn(at, left);
        }
        Shot { stands, left }
    }

    /// When the SYN left that was last seen.
    fn left(&mut self) -> Option<Duration> {
        let seen = self.capture.next_packet().expect("it is there")?.at_realtime;
        Some(seen.saturating_sub(clock::realtime().saturating_sub(clock::monotonic())))
    }
}

/// Whether it stands before that moment. Nobody tries twice: the first SYN is repeated after a second.
fn stands(stream: &mut Stream, deadline: Duration) -> bool {
    loop {
        match stream.progress() {
            Progress::Established => return true,
            Progress::Failed(_) => return false,
            Progress::Pending if clock::monotonic() >= deadline => return false,
            Progress::Pending => {
                let writable = Interest { want: Want::Write, ..Interest::read(stream) };
                poll::wait(&[writable], Some(deadline)).expect("it can be waited for");
            }
        }
    }
}

/// A stream of lines of numbers.
struct Line {
    reader: BufReader<TcpStream>,
}

impl Line {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("it is a TCP socket");
        Self { reader: BufReader::new(stream) }
    }

    fn say(&mut self, numbers: &[u64]) {
        let words: Vec<_> = numbers.iter().map(u64::to_string).collect();
        let line = words.join(" ") + "\n";
        self.reader.get_mut().write_all(line.as_bytes()).expect("the other end is there");
    }

    /// The next line, until the other end hangs up.
    fn hear<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let numbers = line.split_whitespace().map(|word| word.parse().expect("it is a number"));
        Some(numbers.collect::<Vec<_>>().try_into().expect("it has so many numbers"))
    }
}

/// Share of crossings, skew at p50, error at p50 and p99.
fn cells(tries: &[Try]) -> String {
    let crossed = tries.iter().filter(|one| one.crossed).count();
    let share = crossed as f64 * 100.0 / tries.len() as f64;
    let [skew] = quantiles(tries.iter().filter_map(|one| one.skew), [0.5]);
    let [half, most] = quantiles(tries.iter().flat_map(|one| one.errors).flatten(), [0.5, 0.99]);
    format!("{crossed} of {} ({share:.1} %) | {skew:.1} | {half:.1} | {most:.1}", tries.len())
}

/// In microseconds.
fn quantiles<const N: usize>(times: impl Iterator<Item = Duration>, at: [f64; N]) -> [f64; N] {
    let mut times: Vec<_> = times.collect();
    times.sort();
    at.map(|share| {
        let time = times.get((times.len().saturating_sub(1) as f64 * share) as usize);
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    })
}

fn now() -> Instant {
    Instant::START + clock::monotonic()
}

const METHODS: [Method; 2] = [Method::Ours, Method::Usleep];
const CLOCKS: [Clocks; 2] = [Clocks::Shared, Clocks::Independent];
const DELAYS_US: [u64; 5] = [100, 500, 1_000, 5_000, 20_000];

/// From the decision to the moment, beyond its way to B.
const AHEAD: Duration = Duration::from_millis(25);

/// How long a connection may take to stand, beyond the ways of its packets.
const PATIENCE: Duration = Duration::from_millis(300);

/// As many as `punch --via` takes.
const EXCHANGES: u32 = 16;

/// By how much B's own clock was ahead when this machine's began, in nanoseconds.
const AHEAD_NS: u64 = 3_141_592_653;

/// One part in so many B's own clock runs faster: 40 millionths, as quartz does.
const DRIFT: u64 = 25_000;

/// In place of a method: what time is it?
const ASK: u64 = 9;

const WARM_UPS: u16 = 15;
const CONTROL_PORT: u16 = 5385;
const FIRST_PORT: u16 = 10_000;
