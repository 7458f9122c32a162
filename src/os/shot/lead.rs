//! How long a SYN takes from the call to the interface.
//!
//! On loopback it is half of what it takes anywhere else: a route, a queue and code that no rehearsal
//! has warmed lie between. So it is measured through a TUN in a namespace of its own, where nothing
//! leaves the host, and by the whole ritual of a shot.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::Marksman;
use crate::os::capture::Capture;
use crate::os::link::{self, Via};
use crate::os::netns::Namespace;
use crate::os::poll::{self, Interest};
use crate::os::tcp::{self, Bind, Options};
use crate::os::tun::Tun;
use crate::os::{Result, clock};

/// What is known of it.
#[derive(Debug, Clone, Default)]
pub struct Lead {
    measured: Arc<OnceLock<Option<Duration>>>,
    correction_ns: Arc<AtomicI64>,
}

impl Lead {
    /// Begins to measure it. Without the privilege to make a namespace and to capture in it, it stays
    /// unknown.
    pub fn measured() -> Self {
        let lead = Self::default();
        let told = Arc::clone(&lead.measured);
        thread::spawn(move || told.set(measure().ok().flatten()));
        lead
    }

    /// It is taken as nothing until shots have taught better.
    pub fn nothing() -> Self {
        let lead = Self::default();
        lead.measured.set(None).expect("nobody else has it yet");
        lead
    }

    /// What may be led by now.
    pub fn so_far(&self) -> Duration {
        let measured = self.measured.get().copied().flatten().unwrap_or_default();
        let correction = self.correction_ns.load(Ordering::Relaxed);
        let size = Duration::from_nanos(correction.unsigned_abs());
        if correction < 0 { measured.saturating_sub(size) } else { measured + size }
    }

    /// Waits for the end of the measurement.
    pub fn known(&self) -> Option<Duration> {
        *self.measured.wait()
    }

    /// A shot was off by that with what was led so far. One that was interrupted says little.
    pub fn correct(&self, aimed: Duration, left: Duration) {
        let off = left.abs_diff(aimed).min(MOST_LEARNT) / 2;
        let off_ns = i64::try_from(off.as_nanos()).expect("it is a few microseconds");
        let step = if left < aimed { -off_ns } else { off_ns };
        self.correction_ns.fetch_add(step, Ordering::Relaxed);
    }
}

/// The median over some shots; none if too few of them were seen.
fn measure() -> Result<Option<Duration>> {
    Namespace::create()?.run(|| Range::new()?.median())?
}

/// A place to shoot at that nobody is hit in.
struct Range {
    /// While it is open, the interface is there.
    _tun: Tun,
    marksman: Marksman,
    capture: Capture,
}

impl Range {
    /// In the calling thread's namespace.
    fn new() -> Result<Self> {
        let tun = Tun::create(INTERFACE)?;
        link::add_address(INTERFACE, OWN, 24)?;
        link::up(INTERFACE)?;
        link::add_route(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, Via::Interface(INTERFACE))?;
        let capture = Capture::open(INTERFACE, "tcp[tcpflags] & tcp-syn != 0")?;
        Ok(Self { _tun: tun, marksman: Marksman::with(Lead::default())?, capture })
    }

    fn median(mut self) -> Result<Option<Duration>> {
        let mut took = Vec::new();
        for port in (TARGET_PORT..).take(SHOTS) {
            took.extend(self.shoot(SocketAddr::new(TARGET, port))?);
        }
        took.sort();
        let enough = took.len() * 2 > SHOTS;
        Ok(took.get(took.len() / 2).copied().filter(|_| enough))
    }

    /// What one SYN took, if it was seen.
    fn shoot(&mut self, remote: SocketAddr) -> Result<Option<Duration>> {
        let prepared = tcp::prepare(Bind::Kernel, remote, &Options::default())?;
        // A late SYN of the last shot is not this one's.
        while self.capture.next_packet()?.is_some() {}
        let at = clock::monotonic() + PAUSE;
        let (called, _stream) = self.marksman.shoot(
            at,
            prepared,
            |prepared| prepared.warm(),
            |prepared| (clock::realtime(), prepared.connect()),
        );
        poll::wait(&[Interest::read(&self.capture)], Some(clock::monotonic() + PATIENCE))?;
        let seen = self.capture.next_packet()?;
        Ok(seen.and_then(|seen| seen.at_realtime.checked_sub(called)))
    }
}

const INTERFACE: &str = "range0";
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const TARGET_PORT: u16 = 20_000;

/// Between two shots: long enough for caches to go cold, as they are when a shot is due.
const PAUSE: Duration = Duration::from_millis(20);

/// So many that the median is steady.
const SHOTS: usize = 11;

/// A SYN is seen at once, or this machine is too busy to measure.
const PATIENCE: Duration = Duration::from_millis(20);

/// Beyond this a shot was put off by something else than its way.
const MOST_LEARNT: Duration = Duration::from_micros(10);
