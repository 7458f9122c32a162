//! The ends of a punch, as its facts tell of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{PunchEnd, Socket, punched};
use crate::engine::{By, Change, Fact, Miss, Place, Punched, Record, Run, Source, Witness};
use crate::tcp::{
    self, Opening, Outcome, Path, Side, Sighting, State, Vantage, Vantages, opening_of,
};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// All ends of a punch that were run here.
#[derive(Debug, Default)]
pub struct Ends {
    pub all: BTreeMap<Side, End>,
}

/// What is known of one end.
#[derive(Debug)]
pub struct End {
    pub local: Endpoint,
    pub aimed_at: Endpoint,
    /// Where else its SYNs went.
    pub also: Vec<Endpoint>,
    pub first: Instant,
    /// Number and moment.
    pub tried: Vec<(u32, Instant)>,
    pub missed: Vec<(u32, Miss)>,
    /// By attempt: how much CPU time was stolen around its shot.
    pub stolen: Vec<(u32, Duration)>,
    pub stood: Vec<(By, Endpoint)>,
    pub strangers: Vec<Endpoint>,
    pub changes: Vec<Change>,
    /// Whether its packets were captured, all of them.
    pub has_wire: bool,
    /// Whether the kernel told of all changes.
    has_kernel: bool,
    /// How far off its clock may be from its peer's, as far as that was measured or estimated.
    pub clock_error: Option<Option<Duration>>,
}

impl Ends {
    pub fn of(run: &Run) -> Self {
        let mut ends = Self::default();
        for (side, what) in run.facts.iter().filter_map(|(_, fact)| punched(fact)) {
            if let Punched::Aimed { local, remote, also, first, .. } = what {
                ends.all.insert(side, End::new(*local, *remote, also.clone(), *first));
            }
        }
        for (side, what) in run.facts.iter().filter_map(|(_, fact)| punched(fact)) {
            if let Some(end) = ends.all.get_mut(&side) {
                end.take(what);
            }
        }
        ends
    }

    /// The moment that was agreed on.
    pub fn origin(&self) -> Instant {
        self.all.values().map(|end| end.first).min().unwrap_or_default()
    }

    pub fn shown(&self) -> Vec<PunchEnd> {
        let shown = self.all.iter().map(|(side, end)| PunchEnd {
            side: *side,
            local: end.local,
            aimed_at: end.aimed_at,
            remote: end.stood.first().map(|(_, remote)| *remote),
            by: end.stood.first().map(|(by, _)| Socket::from(*by)),
            alone: None,
        });
        shown.collect()
    }

    pub fn sightings<'a>(&self, run: &'a Run) -> Vec<Sighting<'a>> {
        let seen = run.trace.iter().filter_map(|record| {
            let Record { at, inbound, packet, .. } = record;
            let vantage = side_of(record)?;
            Some(Sighting { at: *at, vantage, inbound: *inbound, packet })
        });
        seen.collect()
    }

    /// By which endpoints the connection is known at the ends that were watched.
    pub fn vantages(&self) -> Vantages {
        let of = |side| self.all.get(&side).filter(|end| end.has_wire).map(End::vantage);
        Vantages { a: of(Side::A), b: of(Side::B) }
    }

    /// How the connection was opened, by the sockets' states; none if nobody told of any.
    pub fn kernel(&self) -> Option<Opening> {
        let of = |side| self.all.get(&side).and_then(End::path);
        // Of a connection that stands, a socket that is not found says nothing.
        let is_lost = |end: &End| !end.stood.is_empty() && end.path().is_none();
        let told = self.all.values().any(|end| !end.changes.is_empty() && !is_lost(end));
        let opening = opening_of(of(Side::A), of(Side::B));
        // To a socket its own SYN is one that crosses.
        let is_self = self.is_self_connect() && opening != Opening::None;
        told.then_some(if is_self { Opening::SelfConnect } else { opening })
    }

    pub fn changes(&self) -> impl Iterator<Item = (Side, &Change)> {
        self.all.iter().flat_map(|(side, end)| end.own_changes().map(|change| (*side, change)))
    }

    pub fn is_self_connect(&self) -> bool {
        self.all.values().any(|end| end.local == end.vantage().remote)
    }

    /// How far apart the clocks may be. Two ends without a word of it were run on one.
    pub fn clock_error(&self) -> Option<Duration> {
        let mut told = self.all.values().filter_map(|end| end.clock_error);
        match told.next() {
            Some(first) => told.fold(first, |sum, error| Some(sum? + error?)),
            None => (self.all.len() == 2).then_some(Duration::ZERO),
        }
    }

    /// What came of it: a connection that stands is one, whatever was seen on the wire.
    pub fn outcome(&self, wire: &tcp::Testimony) -> Outcome {
        if self.all.values().any(|end| !end.stood.is_empty()) {
            return Outcome::Open;
        }
        let last = self.all.values().filter_map(|end| end.missed.last()).map(|(_, why)| *why);
        match last.max() {
            Some(Miss::Ended(_)) => Outcome::Reset,
            Some(Miss::Unreached(why)) => match why {
                crate::engine::Unreached::Refused => Outcome::Refused,
                crate::engine::Unreached::TimedOut => Outcome::TimedOut,
                _ => Outcome::Failed,
            },
            None if wire.outcome == Outcome::Open => Outcome::TimedOut,
            None => wire.outcome,
        }
    }
}

impl End {
    const fn new(local: Endpoint, aimed_at: Endpoint, also: Vec<Endpoint>, first: Instant) -> Self {
        Self {
            local,
            aimed_at,
            also,
            first,
            tried: Vec::new(),
            missed: Vec::new(),
            stolen: Vec::new(),
            stood: Vec::new(),
            strangers: Vec::new(),
            changes: Vec::new(),
            has_wire: true,
            has_kernel: true,
            clock_error: None,
        }
    }

    fn take(&mut self, what: &Punched) {
        match what {
            Punched::Tried { attempt, at } => self.tried.push((*attempt, *at)),
            Punched::Missed { attempt, why } => {
                self.missed.push((*attempt, *why));
                // Whatever stood did not last.
                self.stood.clear();
            }
            Punched::Fired { attempt, stolen } => {
                self.stolen.extend(stolen.map(|stolen| (*attempt, stolen)));
            }
            Punched::Stood { by, remote, .. } => self.stood.push((*by, *remote)),
            Punched::Stranger { remote } => self.strangers.push(*remote),
            // The listening socket has no part in the opening.
            Punched::Changed(change) if change.to != State::Listen => self.changes.push(*change),
            Punched::Unwatched { witness: Witness::Wire, .. } => self.has_wire = false,
            Punched::Unwatched { witness: Witness::Kernel, .. } => self.has_kernel = false,
            Punched::Clock { error } => self.clock_error = Some(*error),
            Punched::Synchronised { error, .. } => self.clock_error = Some(Some(*error)),
            _ => {}
        }
    }

    /// The endpoints of the connection, or those that were aimed for.
    pub fn vantage(&self) -> Vantage {
        let remote = self.stood.first().map_or(self.aimed_at, |(_, remote)| *remote);
        Vantage { local: self.local, remote }
    }

    /// How the socket of the connection was established.
    fn path(&self) -> Option<Path> {
        let socket = self.socket()?;
        let own = self.changes.iter().filter(|change| change.socket == socket);
        let sampled = self.changes.iter().any(|change| change.source == Source::Sampled);
        let gapless = self.has_kernel && !sampled;
        Path::of(own.map(|change| (change.from, change.to)), gapless)
    }

    /// The socket of the connection that stands, if there is no doubt which it is.
    fn socket(&self) -> Option<u32> {
        let (by, remote) = self.stood.first()?;
        let is_it = |change: &&Change| change.remote == *remote && change.to == State::Established;
        let established = self.changes.iter().filter(is_it).map(|change| change.socket);
        let accepted = self.accepted();
        let mut candidates: Vec<_> = match by {
            By::Connect => established.filter(|socket| !accepted.contains(socket)).collect(),
            By::Accept => established.filter(|socket| accepted.contains(socket)).collect(),
        };
        let last = candidates.pop();
        // Of sockets that connect one at a time is ours; of those that were accepted, somebody
        // else's in another namespace may have the same endpoints.
        last.filter(|_| *by == By::Connect || candidates.is_empty())
    }

    /// The sockets that came from one that listens.
    fn accepted(&self) -> BTreeSet<u32> {
        let first = self.changes.iter().filter(|change| change.from == State::Listen);
        first.map(|change| change.socket).collect()
    }

    /// The changes of the sockets that have a part in the connection.
    pub fn own_changes(&self) -> impl Iterator<Item = &Change> {
        let (accepted, socket) = (self.accepted(), self.socket());
        let is_own = move |change: &&Change| {
            !accepted.contains(&change.socket) || Some(change.socket) == socket
        };
        self.changes.iter().filter(is_own)
    }
}

/// The end at whose interface a packet was seen, if it was at one.
pub fn side_of(record: &Record) -> Option<Side> {
    match record.place {
        Place::End(side) => Some(side),
        _ => None,
    }
}

/// What one end alone has left.
pub fn only(run: &Run, side: Side) -> Run {
    let trace = run.trace.iter().filter(|record| side_of(record) == Some(side));
    let of_end = |fact: &Fact| punched(fact).is_none_or(|(of, _)| of == side);
    let facts = run.facts.iter().filter(|(_, fact)| of_end(fact));
    Run { trace: trace.cloned().collect(), facts: facts.cloned().collect() }
}

/// Why a witness was not there.
pub fn gaps(run: &Run, wanted: Witness) -> Vec<String> {
    let facts = run.facts.iter().filter_map(|(_, fact)| punched(fact));
    let gaps = facts.filter_map(|(_, what)| match what {
        Punched::Unwatched { witness, why } if *witness == wanted => Some(why.clone()),
        _ => None,
    });
    gaps.collect()
}
