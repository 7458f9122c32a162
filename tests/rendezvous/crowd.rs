//! The program's own clients by the thousand, over loopback and through two NATs of the kernel: each is the
//! state machine that `punch --rendezvous` runs, up to where both ends have proven their words to each
//! other. `TSO_PROBE_WAITING` says how many wait; the numbers are printed, for they are of this machine.

use std::fs::File;
use std::ops::Range;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};
use tso_probe::engine::{End, Event, Fact, Flow, Party, Punched, Step};
use tso_probe::punch::{Introduced, Introduction, Words};
use tso_probe::time;

use super::client::{Server, resident_kib};
use super::load;
use super::network::{Network, PATIENCE};

pub const TESTS: &[(&str, fn())] = &[
    ("the_programs_own_clients_meet_under_load_over_loopback", over_loopback),
    ("the_programs_own_clients_meet_under_load_through_nats", through_nats),
];

fn over_loopback() {
    let server = Server::start(21, LIMITS);
    let hosts = [None, None].map(Host::new);
    Scene { server: server.at(), process: server.pid(), hosts }.crowded();
}

fn through_nats() {
    let network = Network::with_two_insides();
    for (host, outside) in [("edge", "wan"), ("b", "eth0")] {
        let nat = "type nat hook postrouting priority srcnat";
        let rules = format!("chain out {{ {nat}; oifname {outside} masquerade; }};");
        network.rules(host, &format!("table ip nat {{ {rules} }};"));
    }
    let address = "203.0.113.10";
    let options = [&["--rendezvous-only", "--listen", address][..], LIMITS].concat();
    let server = network.serve("a", &options);
    let hosts = ["in", "far"].map(|host| Host::new(Some(network.namespace(host))));
    Scene { server: format!("{address}:5386"), process: server.pid(), hosts }.crowded();
}

/// Where they meet.
struct Scene {
    server: String,
    /// The server's.
    process: u32,
    /// Whence some wait, and others join.
    hosts: [Host; 2],
}

impl Scene {
    /// Many wait, and two hundred a second are joined, each by the one who knows its words.
    fn crowded(&self) {
        let (waiting, pairs) = load::counts();
        let memory_kib = || resident_kib(self.process);
        let empty = memory_kib();
        // The same pairs with nobody else, to compare with what this machine is capable of just now.
        let few = self.meetings(self.waiters(0..pairs), pairs);
        let waiters = self.waiters(pairs..pairs + waiting);
        let each = memory_kib().saturating_sub(empty) as f64 / waiting as f64;
        let many = self.meetings(waiters, pairs);
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| load::quantile(&many, share));
        println!(
            "{waiting} wait, {each:.1} KiB each; {pairs} pairs at 200/s, from connecting to words proven at \
             both ends: p50 {p50:?}, p99 {p99:?}, max {max:?}; where nobody else waits p50 {:?}, p99 {:?}",
            load::quantile(&few, 0.5),
            load::quantile(&few, 0.99),
        );
        assert!(
            p99 < 20 * load::quantile(&few, 0.99),
            "p99 {p99:?}, where nobody else waits {few:?}"
        );
        assert!(each < 16.0, "{each} KiB for each who waits");
    }

    /// Clients of these numbers wait, each in a room of its own, and will tell when they have met.
    fn waiters(&self, numbers: Range<usize>) -> Waiters {
        let ((rooms, room), (mets, met)) = (channel(), channel());
        let mut waiters = Waiters { rooms: Vec::new(), met };
        for number in numbers.clone() {
            let (server, rooms, met) = (self.server.clone(), rooms.clone(), mets.clone());
            self.hosts[0].handle.spawn(async move {
                let at = introduced(&server, number, None, Some(rooms)).await;
                // Whoever waits in vain is asked no more.
                let _ = met.send((number, at));
            });
            // No more at once than a server's queue of new connections holds.
            let begun = number + 1 - numbers.start;
            if begun.is_multiple_of(AT_ONCE) || begun == numbers.len() {
                let missing = begun - waiters.rooms.len();
                let more = (0..missing).map(|_| room.recv_timeout(PATIENCE).unwrap());
                waiters.rooms.extend(more);
            }
        }
        waiters
    }

    /// From when each who joins begins to connect to when both ends know each other, the shortest first;
    /// two hundred pairs begin in a second, and those who are not joined wait on.
    fn meetings(&self, waiters: Waiters, pairs: usize) -> Vec<Duration> {
        let (joined, join) = channel();
        let first = tokio::time::Instant::now();
        for (place, (number, room)) in (0..).zip(waiters.rooms.into_iter().take(pairs)) {
            let (server, joined) = (self.server.clone(), joined.clone());
            self.hosts[1].handle.spawn(async move {
                sleep_until(first + PAUSE * place).await;
                let begun = Instant::now();
                joined.send((number, begun, introduced(&server, number, Some(room), None).await))
            });
        }
        let mut mets: Vec<_> =
            (0..pairs).map(|_| waiters.met.recv_timeout(PATIENCE).unwrap()).collect();
        let mut joins: Vec<_> = (0..pairs).map(|_| join.recv_timeout(PATIENCE).unwrap()).collect();
        mets.sort();
        joins.sort();
        let both = mets.into_iter().zip(joins).map(|((waiter, met), (joiner, begun, also))| {
            assert_eq!(waiter, joiner, "somebody met whose words it does not know");
            met.unwrap().max(also.unwrap()) - begun
        });
        let mut all: Vec<_> = both.collect();
        all.sort();
        all
    }
}

/// Who waits: their numbers and rooms, and who has met when, or why not.
struct Waiters {
    rooms: Vec<(usize, u32)>,
    met: std::sync::mpsc::Receiver<(usize, Result<Instant, String>)>,
}

/// A client until it and its peer have proven their words to each other, or why that is not to be.
async fn introduced(
    server: &str,
    number: usize,
    room: Option<u32>,
    rooms: Option<Sender<(usize, u32)>>,
) -> Result<Instant, String> {
    let begun = Instant::now();
    let now = || time::Instant::START + begun.elapsed();
    let mut party = Introduced::new(introduction(server, number, room));
    let mut link: Option<(Flow, TcpStream)> = None;
    let mut octets = [0; 2048];
    loop {
        match (party.poll(now()), &mut link) {
            (Step::Open { flow, to, .. }, _) => {
                let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                let local = stream.local_addr().map_err(|error| error.to_string())?;
                link = Some((flow, stream));
                party.handle(now(), Event::Opened { flow, local });
            }
            (Step::Write(_, octets), Some((_, stream))) => {
                stream.write_all(&octets).await.map_err(|error| error.to_string())?;
            }
            (Step::Note(fact), _) => match *fact {
                Fact::Punch { what: Punched::Met, .. } => return Ok(Instant::now()),
                Fact::Punch { what: Punched::Waits { room }, .. } => {
                    rooms.iter().for_each(|rooms| rooms.send((number, room)).unwrap());
                }
                Fact::Trouble(trouble) => return Err(trouble.to_string()),
                _ => {}
            },
            (Step::Wait(until), Some((flow, stream))) => {
                let event = match timeout(until.since(now()), stream.read(&mut octets)).await {
                    Err(_) => Event::DeadlinePassed,
                    Ok(Ok(length @ 1..)) => Event::Read(*flow, octets[..length].to_vec()),
                    Ok(_) => Event::Ended(*flow, End::Finished),
                };
                party.handle(now(), event);
            }
            (step, _) => return Err(format!("it comes to {step:?}")),
        }
    }
}

fn introduction(server: &str, number: usize, room: Option<u32>) -> Introduction {
    let mut secret = [u8::from(room.is_some()); 32];
    secret[8..16].copy_from_slice(&number.to_le_bytes());
    let mut words = [7; 32];
    words[8..16].copy_from_slice(&number.to_le_bytes());
    Introduction {
        server: server.parse().unwrap(),
        room,
        claim: None,
        words: Words::two(words),
        port: None,
        attempts: 1,
        wait: PATIENCE,
        patience: PATIENCE,
        secret,
        seed: number as u64,
    }
}

/// A thread in a network namespace, which runs what is spawned on it until this is dropped.
struct Host {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Host {
    /// In the namespace of this name, or the test's own.
    fn new(namespace: Option<String>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel());
        let thread = thread::spawn(move || {
            if let Some(name) = namespace {
                let file = File::open(format!("/run/netns/{name}")).unwrap();
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            }
            let _ = runtime.block_on(stopped);
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// All come from few addresses.
const LIMITS: &[&str] = &["--max-per-address", "20000", "--max-joins", "100000"];

const AT_ONCE: usize = 100;

/// Two hundred pairs a second.
const PAUSE: Duration = Duration::from_millis(5);
