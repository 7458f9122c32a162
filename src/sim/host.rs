//! A host of the simulator: its party, its control connections, its own TCP, and what goes wrong with
//! it.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use super::stream::Stream;
use super::tcp::Tcp;
use crate::engine::{Event, Party};
use crate::time::Instant;
use crate::wire::Endpoint;

/// A host with the party that runs on it; the first in a world is the one inside.
pub struct Host<'a> {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What runs on it.
    pub party: Box<dyn Party + 'a>,
    /// Control connections that it opens at the start: where from, and where to.
    pub dials: Vec<(Endpoint, Endpoint)>,
    /// When it goes dark, if it does: it neither hears nor speaks from then on.
    pub dies: Option<Instant>,
    /// An endpoint of its, whose packets the path swallows from this moment on, both ways.
    pub cut: Option<(Endpoint, Instant)>,
    /// Its end of a control connection, and when that is reset.
    pub resets: Option<(Endpoint, Instant)>,
    /// When its user loses patience.
    pub interrupted: Option<Instant>,
    /// Whether the run is about it: what it notes is kept, and the run lasts until it is done. The
    /// one inside always is.
    pub is_subject: bool,
    /// Its own TCP, if it has one beside its control connections.
    pub tcp: Option<Tcp>,
    pub(super) claims: BTreeSet<Endpoint>,
    pub(super) streams: Vec<Stream>,
    pub(super) pending: VecDeque<Event>,
    pub(super) wakes: Instant,
    /// When it is to be woken; what was scheduled for other moments is void.
    pub(super) alarm: Instant,
    /// Whether what it said at this moment is scheduled to leave.
    pub(super) flushes: bool,
    pub(super) done: bool,
}

impl<'a> Host<'a> {
    /// A host that opens these control connections.
    pub fn new(
        addresses: Vec<IpAddr>,
        party: Box<dyn Party + 'a>,
        dials: Vec<(Endpoint, Endpoint)>,
    ) -> Self {
        Self {
            addresses,
            party,
            dials,
            dies: None,
            cut: None,
            resets: None,
            interrupted: None,
            is_subject: false,
            tcp: None,
            claims: BTreeSet::new(),
            streams: Vec::new(),
            pending: VecDeque::new(),
            wakes: NEVER,
            alarm: NEVER,
            flushes: false,
            done: false,
        }
    }

    /// When its party, its TCP, one of its streams or its user wants to act.
    pub(super) fn due(&self) -> Instant {
        let own = self.interrupted.map_or(self.wakes, |at| at.min(self.wakes));
        let own = self.tcp.as_ref().map_or(own, |tcp| tcp.due().min(own));
        self.streams.iter().map(Stream::due).fold(own, Instant::min)
    }

    pub(super) fn is_dark(&self, now: Instant) -> bool {
        self.dies.is_some_and(|dies| dies <= now)
    }

    /// Whether what comes or goes at this endpoint is swallowed.
    pub(super) fn is_cut(&self, now: Instant, own: Endpoint) -> bool {
        self.cut.is_some_and(|(end, at)| end == own && at <= now)
    }
}

/// Later than any run lasts.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);
