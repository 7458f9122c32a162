//! Two ends of the lab meet by a code at a rendezvous server of the lab, and punch with its help.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::hosts::HostPorts;
use super::pair::{Pair, PairPlan};
use super::punch::{both, carries, run_until, served};
use crate::engine::{Fact, Punched, Run};
use crate::live::{self, Ended, Flows, Stop};
use crate::os;
use crate::os::poll::Waker;
use crate::punch::{Introduced, Introduction, Words};
use crate::rendezvous::{Introducer, IntroducerLimits, RENDEZVOUS_PORTS};
use crate::time::Duration;
use crate::wire::Endpoint;

/// How two ends meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introducing {
    /// How each host chooses ports.
    pub hosts: [HostPorts; 2],
    /// The ports that the ends bind; none to leave the choice to their hosts.
    pub ports: Option<[u16; 2]>,
    /// How often to try.
    pub attempts: u32,
    /// How long to try, each time.
    pub patience: Duration,
    /// What to draw randomness from.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Introductions {
    /// What each attempt has left at the first end.
    pub runs: Vec<Run>,
    /// Whether octets passed both ways over the connection; none if there is no connection.
    pub carries: Option<bool>,
}

/// Lets the ends of a lab meet, and punch in as many attempts as it takes.
///
/// # Errors
/// When a device of the lab fails, or a port is in use.
pub fn meet(
    pair: &Pair,
    plan: &PairPlan,
    introducing: &Introducing,
    stop: Stop<'_>,
) -> os::Result<Introductions> {
    let server = &pair.server;
    let endpoints = || {
        let at = |address| RENDEZVOUS_PORTS.map(|port| Endpoint::new(address, port));
        server.addresses.into_iter().flat_map(at)
    };
    let serve = |ready: Sender<()>, waker: &Waker| {
        let secret = [introducing.seed.to_le_bytes()[0]; 32];
        let limits = IntroducerLimits::default();
        let mut introducer = Introducer::new(endpoints().collect(), limits, secret);
        run_until(&mut introducer, Flows::listening(endpoints())?, ready, waker)
    };
    let to = Endpoint::new(server.addresses[0], RENDEZVOUS_PORTS[0]);
    let wait = PATIENCE + 8 * plan.weather.delay;
    let (rooms, room) = channel();
    let (rooms, room) = (Mutex::new(Some(rooms)), Mutex::new(room));
    let ends = Ends { introducing, to, wait, rooms, room, failed: Mutex::default() };
    let end = |place: usize, stop: Stop<'_>, _: &mut dyn FnMut(&Fact)| ends.meet(place, stop);
    let [a, b] = served(server, &serve, || both(pair, &end, stop, &mut |_| {}))?;
    let mut runs = ends.failed.into_inner().unwrap_or_default();
    runs.push(a.run);
    Ok(Introductions {
        runs,
        carries: a.connection.as_ref().zip(b.connection.as_ref()).map(carries),
    })
}

/// What the two ends have in common.
struct Ends<'a> {
    introducing: &'a Introducing,
    to: Endpoint,
    wait: Duration,
    /// From the end that waits, which takes it, to the one that joins.
    rooms: Mutex<Option<Sender<u32>>>,
    room: Mutex<Receiver<u32>>,
    /// Of the first end's attempts those that came to nothing.
    failed: Mutex<Vec<Run>>,
}

impl Ends<'_> {
    fn meet(&self, place: usize, stop: Stop<'_>) -> os::Result<Ended> {
        let Introducing { hosts, ports, attempts, patience, seed } = *self.introducing;
        let rooms =
            self.rooms.lock().ok().filter(|_| place == 0).and_then(|mut rooms| rooms.take());
        let room = if place == 0 { None } else { self.room() };
        if place == 1 && room.is_none() {
            // The other end says why there is none.
            return Ok(Ended { run: Run::default(), connection: None });
        }
        let introduction = Introduction {
            server: self.to,
            room,
            claim: None,
            words: Words::two([0; 32]),
            port: ports.map(|ports| ports[place]),
            attempts,
            wait: self.wait,
            patience,
            secret: [seed.to_le_bytes()[place]; 32],
            seed,
        };
        let flows =
            Flows::default().choosing(hosts[place].choice(seed.rotate_left(9) ^ place as u64));
        let mut watch = |fact: &Fact| {
            if let (Some(rooms), Fact::Punch { what: Punched::Waits { room }, .. }) = (&rooms, fact)
            {
                // The other end may have been stopped.
                let _ = rooms.send(*room);
            }
        };
        let mut failed = |_, run: &Run| {
            if let (0, Ok(mut failed)) = (place, self.failed.lock()) {
                failed.push(run.clone());
            }
        };
        let mut introduced = Introduced::new(introduction);
        live::punch_introduced(&mut introduced, flows, stop, &mut watch, &mut failed)
    }

    /// The room that the first end has opened; none if it has ended without.
    fn room(&self) -> Option<u32> {
        self.room.lock().ok()?.recv().ok()
    }
}

/// How long an answer may take beyond its way.
const PATIENCE: Duration = Duration::from_secs(5);
