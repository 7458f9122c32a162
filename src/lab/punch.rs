//! Two ends of the lab punch through their NATs: real stacks, real packets, one clock.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::pair::{Pair, PairPlan, with_pair};
use super::topology::{End, Server};
use crate::engine::{Fact, Run};
use crate::live::{Control, Driver, Ended, Flows, LivePunch, LiveStun, Station, Stop};
use crate::os::poll::{self, Interest, Waker};
use crate::os::signals::Signals;
use crate::os::{self, Error, clock, cpu};
use crate::rendezvous::{STUN_PORTS, StunServer};
use crate::tcp::Side;
use crate::time::Duration;
use crate::verdict::judge_stun;
use crate::wire::Endpoint;

/// What two ends are to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Meeting {
    /// Between which NATs, over which links.
    pub pair: PairPlan,
    /// By how much b is to leave after a, in nanoseconds.
    pub skew_ns: i64,
    /// How long to try.
    pub patience: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Met {
    /// What both ends saw, on one clock.
    pub run: Run,
    /// Whether octets passed both ways over the connection; none if there is no connection.
    pub carries: Option<bool>,
}

/// Builds the lab, lets both ends learn their external endpoints and punch, and takes it down.
/// `watch` sees every fact as it is noted.
///
/// # Errors
/// When this machine cannot build it: no privilege, no TUN devices.
pub fn punch(
    meeting: &Meeting,
    signals: &Signals,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> os::Result<Met> {
    with_pair(&meeting.pair, |pair| {
        let externals = learnt(meeting, pair, signals)?;
        // The time of two calibrations, with room.
        let begun = clock::monotonic();
        let first = begun + PREPARATION;
        let end = |side: Side| LivePunch {
            side,
            peer: externals[index(side.opposite())],
            local_port: PORTS[index(side)],
            begun,
            first: match side {
                Side::A => first,
                Side::B => shifted(first, meeting.skew_ns),
            },
            patience: meeting.patience,
            clock_error: None,
            seed: meeting.pair.seed.wrapping_add(index(side) as u64),
        };
        let [a, b] = both(pair, [end(Side::A), end(Side::B)], signals, watch)?;
        let carries = a.connection.as_ref().zip(b.connection.as_ref()).map(carries);
        Ok(Met { run: a.run.merged(b.run), carries })
    })
}

/// The external endpoints that a server sees when the ends connect to it from the ports of the punch.
fn learnt(meeting: &Meeting, pair: &Pair, signals: &Signals) -> os::Result<[Endpoint; 2]> {
    let stop = Waker::new()?;
    let server = Endpoint::new(pair.server.addresses[0], STUN_PORTS[0]);
    let patience = PATIENCE + 4 * meeting.pair.weather.delay;
    thread::scope(|scope| {
        let (tell, told) = channel();
        let serving = scope.spawn(|| serve(&pair.server, &stop, tell));
        let end = stop.at_end();
        // A server that could not begin drops its end, and says why when it is joined.
        let _ = told.recv();
        let learn = |side: Side| {
            let (end, local_port) = (&pair.ends[index(side)], PORTS[index(side)]);
            let (servers, seed) = (vec![server], meeting.pair.seed);
            let live = LiveStun { servers, local_port, patience, seed };
            let run = end.namespace.run(|| crate::live::stun(&live, signals, &mut |_| {}))??;
            judge_stun(&run).external.first().copied().ok_or_else(|| unlearnt(end))
        };
        let learnt = learn(Side::A).and_then(|a| Ok([a, learn(Side::B)?]));
        drop(end);
        serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        learnt
    })
}

fn unlearnt(end: &End) -> Error {
    let why = "the server in the lab was not reached, or the run was interrupted";
    Error::text("learn the external endpoint of", end.internal, why)
}

fn serve(server: &Server, stop: &Waker, ready: Sender<()>) -> os::Result<()> {
    server.namespace.enter_thread()?;
    let endpoints = server
        .addresses
        .iter()
        .flat_map(|address| STUN_PORTS.iter().map(|port| Endpoint::new(*address, *port)));
    let flows = Flows::listening(endpoints)?;
    let mut party = StunServer::new(server.addresses.to_vec(), STUN_PORTS);
    // Whoever waits has gone if it fails.
    let _ = ready.send(());
    let (station, stop) = (Station::plain(), Stop::Waker(stop));
    let mut unheeded = |_: &Fact| {};
    Driver::new(&mut party, station, Control::default(), stop, &mut unheeded).with(flows).run()?;
    Ok(())
}

/// Both ends at once, each on a thread of its own in its own namespace.
fn both(
    pair: &Pair,
    lives: [LivePunch; 2],
    signals: &Signals,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> os::Result<[Ended; 2]> {
    let (stops, ended) = ([Waker::new()?, Waker::new()?], Waker::new()?);
    let (count, watch) = (AtomicUsize::new(0), Mutex::new(watch));
    thread::scope(|scope| {
        let (ended, count, watch) = (&ended, &count, &watch);
        let mut handles = Vec::new();
        for (place, live) in lives.iter().enumerate() {
            let (end, stop) = (&pair.ends[place], &stops[place]);
            handles.push(scope.spawn(move || {
                let _ended = Ending { count, waker: ended };
                // Two that spin until their moments must not wait for each other.
                cpu::pin_to(place);
                end.namespace.enter_thread()?;
                let mut watch = |fact: &Fact| {
                    if let Ok(mut watch) = watch.lock() {
                        watch(fact);
                    }
                };
                crate::live::punch(live, Stop::Waker(stop), &mut watch)
            }));
        }
        let attended = attend(signals, ended, count, &stops);
        let mut done = handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let ends = [done.next(), done.next()].map(|end| end.expect("there are two"));
        attended?;
        let [a, b] = ends;
        Ok([a?, b?])
    })
}

/// Passes a wish to end on to both ends, until both have ended.
fn attend(
    signals: &Signals,
    ended: &Waker,
    count: &AtomicUsize,
    stops: &[Waker],
) -> os::Result<()> {
    while count.load(Ordering::Acquire) < stops.len() {
        poll::wait(&[Interest::read(signals), Interest::read(ended)], None)?;
        ended.clear();
        if signals.read()?.is_some() {
            stops.iter().for_each(Waker::wake);
        }
    }
    Ok(())
}

/// Counts a thread's end, by a panic as well.
struct Ending<'a> {
    count: &'a AtomicUsize,
    waker: &'a Waker,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.count.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }
}

/// Whether what one end says is what the other hears, both ways.
fn carries((a, b): (&TcpStream, &TcpStream)) -> bool {
    let passes = |mut from: &TcpStream, mut to: &TcpStream, word: &[u8]| {
        let mut heard = vec![0; word.len()];
        let said = to.set_read_timeout(Some(PATIENCE)).and_then(|()| from.write_all(word));
        said.and_then(|()| to.read_exact(&mut heard)).is_ok() && heard == word
    };
    passes(a, b, b"from a to b") && passes(b, a, b"from b to a")
}

const fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

fn shifted(at: Duration, by_ns: i64) -> Duration {
    let by = Duration::from_nanos(by_ns.unsigned_abs());
    if by_ns < 0 { at.saturating_sub(by) } else { at + by }
}

/// The ports that the two ends punch from.
const PORTS: [u16; 2] = [7001, 7002];

const PREPARATION: Duration = Duration::from_millis(400);

/// How long an answer may take beyond its way.
const PATIENCE: Duration = Duration::from_secs(3);
