//! Two ends of the lab punch through their NATs: real stacks, real packets, one clock.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::ending::Ending;
use super::pair::{Pair, PairPlan};
use super::topology::{End, Server};
use crate::engine::{Fact, Party, Run};
use crate::live::{Control, Driver, Ended, Flows, LivePunch, LiveStun, Station, Stop};
use crate::os::poll::{self, Interest, Waker};
use crate::os::signals::Signals;
use crate::os::{self, Error, clock, cpu};
use crate::punch::{Appointment, Meet, PUNCH_PORT, Role, Sync};
use crate::rendezvous::{Relay, STUN_PORTS, StunServer};
use crate::tcp::Side;
use crate::time::Duration;
use crate::verdict::judge_stun;
use crate::wire::Endpoint;

/// What two ends are to try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meeting {
    /// How the two departures are made simultaneous.
    pub timing: Timing,
    /// How long to try.
    pub patience: Duration,
    /// How many SYNs each at most; none for as many as there is time for. Ends that agree over a
    /// stream are not bound by it.
    pub tries: Option<u32>,
    /// The local ports: what two ends have tried before is not tried again in the same lab.
    pub ports: [u16; 2],
}

impl Meeting {
    /// The ports of a lab's first meeting.
    pub const PORTS: [u16; 2] = [7001, 7002];
}

/// How two departures in the lab are made simultaneous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// By the clock that both ends have, b leaving so many nanoseconds after a.
    Skewed(i64),
    /// As ends do that have a byte stream between them: here through a relay on the server.
    Agreed(Sync),
}

/// What came of it.
#[derive(Debug)]
pub struct Met {
    /// What both ends saw, on one clock.
    pub run: Run,
    /// Whether octets passed both ways over the connection; none if there is no connection.
    pub carries: Option<bool>,
}

/// Sees every fact as it is noted, on whatever thread.
type Watch<'a> = &'a mut (dyn FnMut(&Fact) + Send);

/// The same on one thread.
type Unshared<'a> = &'a mut dyn FnMut(&Fact);

/// Lets the ends of a lab learn their external endpoints and punch. `watch` sees every fact as it is
/// noted.
///
/// # Errors
/// When a device of the lab fails, an end does not learn its external endpoint, or a port is in use.
pub fn punch(
    pair: &Pair,
    plan: &PairPlan,
    meeting: Meeting,
    signals: &Signals,
    watch: Watch<'_>,
) -> os::Result<Met> {
    let field = Field { pair, plan, meeting, signals };
    let externals = field.learnt()?;
    let (run, [a, b]) = match meeting.timing {
        Timing::Skewed(skew_ns) => field.at_a_moment(skew_ns, externals, watch)?,
        Timing::Agreed(sync) => field.agreed(sync, externals, watch)?,
    };
    Ok(Met { run, carries: a.as_ref().zip(b.as_ref()).map(carries) })
}

/// What both ends left, and their ends of the connection.
type Both = (Run, [Option<TcpStream>; 2]);

/// Where two ends meet.
struct Field<'a> {
    pair: &'a Pair,
    plan: &'a PairPlan,
    meeting: Meeting,
    signals: &'a Signals,
}

impl Field<'_> {
    /// Both ends have one clock, and shoot by that.
    fn at_a_moment(
        &self,
        skew_ns: i64,
        externals: [Endpoint; 2],
        watch: Watch<'_>,
    ) -> os::Result<Both> {
        let Meeting { patience, tries, ports, .. } = self.meeting;
        let begun = clock::monotonic();
        let first = begun + PREPARATION;
        let lives = [Side::A, Side::B].map(|side| LivePunch {
            side,
            peer: externals[index(side.opposite())],
            local_port: ports[index(side)],
            begun,
            first: if side == Side::A { first } else { shifted(first, skew_ns) },
            patience,
            tries,
            clock_error: None,
            seed: self.plan.seed.wrapping_add(index(side) as u64),
        });
        let end = |place: usize, stop: Stop<'_>, watch: Unshared<'_>| {
            crate::live::punch(&lives[place], stop, watch)
        };
        let [a, b] = both(self.pair, &end, Stop::Signals(self.signals), watch)?;
        Ok((a.run.merged(b.run), [a.connection, b.connection]))
    }

    /// Both ends agree through a relay; what a saw and heard is all there is to judge by.
    fn agreed(&self, sync: Sync, externals: [Endpoint; 2], watch: Watch<'_>) -> os::Result<Both> {
        let server = &self.pair.server;
        let relay = Endpoint::new(server.addresses[0], PUNCH_PORT);
        let end = |place: usize, stop: Stop<'_>, watch: Unshared<'_>| {
            let role = [Role::Decides(sync), Role::Follows][place];
            let appointment = Appointment {
                meet: Meet::Via(relay, role),
                port: self.meeting.ports[place],
                external: None,
                peer: Some(externals[1 - place]),
                wait: self.patience(),
                patience: self.meeting.patience,
                seed: self.plan.seed,
            };
            crate::live::punch_agreed(&appointment, stop, watch)
        };
        let serve = |ready: Sender<()>, stop: &Waker| {
            let flows = Flows::listening([relay])?;
            run_until(&mut Relay::default(), flows, ready, stop)
        };
        let [a, b] =
            served(server, &serve, || both(self.pair, &end, Stop::Signals(self.signals), watch))?;
        Ok((a.run, [a.connection, b.connection]))
    }

    /// The external endpoints that a server sees when the ends connect to it from the ports of the
    /// punch.
    fn learnt(&self) -> os::Result<[Endpoint; 2]> {
        let addresses = self.pair.server.addresses;
        let server = Endpoint::new(addresses[0], STUN_PORTS[0]);
        let serve = |ready: Sender<()>, stop: &Waker| {
            let ports = |address: &IpAddr| STUN_PORTS.map(|port| Endpoint::new(*address, port));
            let flows = Flows::listening(addresses.iter().flat_map(ports))?;
            run_until(&mut StunServer::new(addresses.to_vec(), STUN_PORTS), flows, ready, stop)
        };
        let learn = |side: Side| {
            let (end, local_port) = (&self.pair.ends[index(side)], self.meeting.ports[index(side)]);
            let (servers, patience, seed) = (vec![server], self.patience(), self.plan.seed);
            let live = LiveStun { servers, local_port, patience, seed };
            let asked = || crate::live::stun(&live, self.signals, &mut |_| {});
            let run = end.namespace.run(asked)??;
            judge_stun(&run).external.first().copied().ok_or_else(|| unlearnt(end))
        };
        let both = || learn(Side::A).and_then(|a| Ok([a, learn(Side::B)?]));
        served(&self.pair.server, &serve, both)
    }

    /// How long an answer may take.
    fn patience(&self) -> Duration {
        PATIENCE + 4 * self.plan.weather.delay
    }
}

fn unlearnt(end: &End) -> Error {
    let why = "the server in the lab was not reached, or the run was interrupted";
    Error::text("learn the external endpoint of", end.internal, why)
}

/// Does `work` while something is served on the server, from when it says that it is ready until it
/// is woken.
///
/// # Errors
/// When it cannot be served, or what `work` fails with.
pub fn served<T>(
    server: &Server,
    serve: &(dyn Fn(Sender<()>, &Waker) -> os::Result<()> + std::marker::Sync),
    work: impl FnOnce() -> os::Result<T>,
) -> os::Result<T> {
    let stop = Waker::new()?;
    thread::scope(|scope| {
        let (tell, told) = channel();
        let serving = scope.spawn(|| {
            server.namespace.enter_thread()?;
            serve(tell, &stop)
        });
        let end = stop.at_end();
        // What could not begin drops its end, and says why when it is joined.
        let done = told.recv().ok().map(|()| work());
        drop(end);
        serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let stillborn = || Error::text("start", "the lab's server", "it ended before it began");
        done.ok_or_else(stillborn)?
    })
}

/// Runs a party on these connections until it is woken, having said that it is ready.
///
/// # Errors
/// When this host fails.
pub fn run_until(
    party: &mut dyn Party,
    flows: Flows,
    ready: Sender<()>,
    stop: &Waker,
) -> os::Result<()> {
    // Whoever waits has gone if it fails.
    let _ = ready.send(());
    let (station, stop, mut unheeded) = (Station::plain(), Stop::Waker(stop), |_: &Fact| {});
    Driver::new(party, station, Control::default(), stop, &mut unheeded).with(flows).run().map(drop)
}

/// Both ends at once, each on a thread of its own in its own namespace.
///
/// # Errors
/// When this host fails, or what an end fails with.
pub fn both(
    pair: &Pair,
    end: &(dyn Fn(usize, Stop<'_>, Unshared<'_>) -> os::Result<Ended> + std::marker::Sync),
    stop: Stop<'_>,
    watch: Watch<'_>,
) -> os::Result<[Ended; 2]> {
    let (stops, ended) = ([Waker::new()?, Waker::new()?], Waker::new()?);
    let (count, watch) = (AtomicUsize::new(0), Mutex::new(watch));
    thread::scope(|scope| {
        let (ended, count, watch) = (&ended, &count, &watch);
        let mut handles = Vec::new();
        for (place, stop) in stops.iter().enumerate() {
            let namespace = &pair.ends[place].namespace;
            handles.push(scope.spawn(move || {
                let _ended = Ending::new(count, ended);
                // Two that spin until their moments must not wait for each other.
                cpu::pin_to(place);
                namespace.enter_thread()?;
                let mut watch = |fact: &Fact| {
                    if let Ok(mut watch) = watch.lock() {
                        watch(fact);
                    }
                };
                end(place, Stop::Waker(stop), &mut watch)
            }));
        }
        let attended = attend(stop, ended, count, &stops);
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
fn attend(stop: Stop<'_>, ended: &Waker, count: &AtomicUsize, stops: &[Waker]) -> os::Result<()> {
    while count.load(Ordering::Acquire) < stops.len() {
        poll::wait(&[stop.interest(), Interest::read(ended)], None)?;
        ended.clear();
        if stop.has_come() {
            stops.iter().for_each(Waker::wake);
        }
    }
    Ok(())
}

/// Whether what one end says is what the other hears, both ways.
pub fn carries((a, b): (&TcpStream, &TcpStream)) -> bool {
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

const PREPARATION: Duration = Duration::from_millis(400);

/// How long an answer may take beyond its way.
const PATIENCE: Duration = Duration::from_secs(3);
