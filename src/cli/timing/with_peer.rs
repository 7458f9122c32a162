//! The crossing window between this host and a peer: both run the same, and one of them decides.

use super::super::failure::Failure;
use super::super::finish::complain;
use super::super::request::Host;
use super::super::run::look_up;
use super::super::screen::Progress;
use super::Trials;
use crate::engine::Trouble;
use crate::live::{self, Door, Ended, LiveStun, Stop};
use crate::os::signals::Signals;
use crate::punch::{Appointment, Meet, Role, Sweep};
use crate::report::Window;
use crate::time::Duration;
use crate::verdict::{PunchVerdict, judge_punch, judge_stun};
use crate::wire::Endpoint;

/// A peer to punch with, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The connection to agree over.
    pub control: Control,
    /// The local port of the first punch; each has the one after the last one's.
    pub first_port: u16,
    /// Who tells our external endpoint.
    pub stun: Option<Host>,
}

/// The connection that two ends agree over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The peer makes it, and decides.
    Listen(Endpoint),
    /// This end makes it, and decides.
    Via(Host),
}

/// Measures the window.
///
/// # Errors
/// When no peer came, or this host cannot try.
pub fn window(
    peer: &Peer,
    seed: u64,
    signals: &Signals,
    progress: Progress,
) -> Result<Window, Failure> {
    let stun = peer.stun.as_ref().map(|host| resolve(host, "server")).transpose()?;
    let bench = Bench { stun, first_port: peer.first_port, seed, signals, progress };
    match &peer.control {
        Control::Via(host) => bench.decide(resolve(host, "peer")?),
        Control::Listen(on) => bench.follow(*on),
    }
}

fn resolve(host: &Host, what: &str) -> Result<Endpoint, Failure> {
    let all = look_up(host, what)?;
    let hint = format!("give the {what}'s address");
    let none = || Failure::new(format!("{} has no address", host.name), hint);
    all.into_iter().next().ok_or_else(none)
}

/// What all punches of one window share.
struct Bench<'a> {
    stun: Option<Endpoint>,
    first_port: u16,
    seed: u64,
    signals: &'a Signals,
    progress: Progress,
}

impl Bench<'_> {
    /// This end chooses the skews, and parts once both edges are known.
    fn decide(&self, to: Endpoint) -> Result<Window, Failure> {
        let meet = |role| Meet::Via(to, role);
        let simultaneous = Role::Tries { skew_ns: 0 };
        self.progress.say(&format!("meeting the peer at {to}"));
        let first = self.punch(0, meet(simultaneous), None)?;
        // Nothing is known of the path before the clocks have been compared: by half a round trip.
        let half = first.timing.clock_error_us.map(|us| Duration::from_nanos((us * 1e3) as u64));
        let Some(half) = half.filter(|_| !first.ends.is_empty()) else {
            return Err(not_met(&first));
        };
        let (mut sweep, mut trials) = (Sweep::new(half), Trials::default());
        let (mut last, mut number) = (first, 1);
        while trials.take(&last, &mut sweep) {
            let Some(skew_ns) = sweep.next_skew() else { break };
            self.progress.say(&format!("departures {:.2} ms apart", skew_ns as f64 / 1e6));
            last = self.punch(number, meet(Role::Tries { skew_ns }), None)?;
            if last.ends.is_empty() {
                complain(&not_met(&last));
                break;
            }
            number += 1;
        }
        // A peer that has gone already need not be told.
        let _ = self.punch(number, meet(Role::Parts), None);
        Ok(self.window(trials, &sweep, last_ends(&last)))
    }

    /// The peer does.
    fn follow(&self, on: Endpoint) -> Result<Window, Failure> {
        let mut door = Door::open(on)?;
        self.progress.say(&format!("waiting for the peer at {on}"));
        // It is never asked for a skew: of the path it needs to know nothing.
        let (mut sweep, mut trials) = (Sweep::new(Duration::ZERO), Trials::default());
        let (mut number, mut ends) = (0, None);
        loop {
            let verdict = self.punch(number, Meet::Listen(on), Some(&mut door))?;
            let is_over = verdict.trouble.contains(&Trouble::Interrupted);
            match (verdict.ends.is_empty(), ends.is_some()) {
                (true, _) if verdict.trouble.is_empty() || is_over => break,
                // Nobody has come yet. A mapping that was learnt meanwhile may have expired.
                (true, false) => continue,
                (true, true) => {
                    complain(&not_met(&verdict));
                    break;
                }
                (false, _) => {}
            }
            ends = last_ends(&verdict).or(ends);
            number += 1;
            if !trials.take(&verdict, &mut sweep) {
                break;
            }
        }
        if ends.is_none() {
            return Err(Failure::new("no peer came", PEER));
        }
        Ok(self.window(trials, &sweep, ends))
    }

    /// One punch, or the attempt at one; through the door if it is behind one.
    fn punch(
        &self,
        number: u16,
        meet: Meet,
        door: Option<&mut Door>,
    ) -> Result<PunchVerdict, Failure> {
        let port = self.first_port.saturating_add(number);
        let parts = matches!(meet, Meet::Via(_, Role::Parts));
        let external = if parts { None } else { self.external(port)? };
        let (peer, wait, patience, seed) = (None, WAIT, PATIENCE, self.seed);
        let appointment = Appointment { meet, port, external, peer, wait, patience, seed };
        let (stop, watch) = (Stop::Signals(self.signals), &mut |_: &_| {});
        let Ended { run, .. } = match door {
            Some(door) => door.punch(&appointment, stop, watch)?,
            None => live::punch_agreed(&appointment, stop, watch)?,
        };
        Ok(judge_punch(&run))
    }

    /// Our external endpoint for a local port, if there is somebody to ask.
    fn external(&self, local_port: u16) -> Result<Option<Endpoint>, Failure> {
        let Some(server) = self.stun else { return Ok(None) };
        let live = LiveStun { servers: vec![server], local_port, patience: WAIT, seed: self.seed };
        let verdict = judge_stun(&live::stun(&live, self.signals, &mut |_| {})?);
        let unlearnt = || {
            let hint = format!("'tso-probe stun {server}' says more");
            Failure::new("the server did not tell our external endpoint", hint)
        };
        verdict.external.first().map(|end| Some(*end)).ok_or_else(unlearnt)
    }

    fn window(&self, trials: Trials, sweep: &Sweep, ends: Option<[Endpoint; 2]>) -> Window {
        let [a, b] = ends
            .map_or(["?".to_owned(), "?".to_owned()], |ends| ends.map(|end| end.ip().to_string()));
        Window { a, b, delay_ms: None, verdict: trials.judged(sweep) }
    }
}

/// Where a and b are, as each other.
fn last_ends(verdict: &PunchVerdict) -> Option<[Endpoint; 2]> {
    match verdict.ends[..] {
        [a, b] => Some([b.aimed_at, a.aimed_at]),
        _ => None,
    }
}

fn not_met(verdict: &PunchVerdict) -> Failure {
    let told = verdict.troubles.first().cloned();
    Failure::new(told.unwrap_or_else(|| "the two ends did not agree".to_owned()), PEER)
}

const PEER: &str = "the peer runs 'tso-probe timing --crossing-window --listen-control ADDR --local-port \
                    PORT', and this end --via that address; or the other way round";

/// How long an end may take to come, or to answer. Less than a mapping lives that was learnt before
/// (RFC 7857 §2.1: four minutes).
const WAIT: Duration = Duration::from_secs(60);

/// How long whoever follows may be asked to try: more than any trial takes.
const PATIENCE: Duration = Duration::from_secs(5);
