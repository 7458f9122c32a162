//! A SYN that leaves at a chosen moment, to a few microseconds.
//!
//! A thread that sleeps until that moment wakes up tens to hundreds of microseconds late, and the
//! first system call after a sleep finds cold caches. So the thread sleeps until shortly before, takes
//! real-time priority where it may, rehearses the same call on loopback until the last moment, spins,
//! and calls earlier by the time that a SYN takes from the call to the interface.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use nix::{errno::Errno, libc};

use super::{
    Result,
    capture::Capture,
    clock,
    poll::{self, Interest},
    reserve::{self, Reserved},
    tcp::{self, Bind, Options, Prepared, Stream},
};

/// What it takes to shoot: a port on loopback to rehearse with, and how long a SYN is under way in
/// this host.
#[derive(Debug)]
pub struct Marksman {
    target: Reserved,
    lead: Option<Duration>,
}

impl Marksman {
    /// Prepares in the calling thread's namespace. Where capture is allowed the way of a SYN through
    /// this host is measured, else it is taken as nothing.
    ///
    /// # Errors
    /// When no port on loopback is to be had.
    pub fn new() -> Result<Self> {
        clock::sharpen_timers()?;
        let target = reserve::reserve((LOOPBACK, 0).into())?;
        let mut marksman = Self { target, lead: None };
        marksman.lead = marksman.calibrate().ok().flatten();
        Ok(marksman)
    }

    /// The time from the call to the interface, if it could be measured.
    pub fn lead(&self) -> Option<Duration> {
        self.lead
    }

    /// When to hand a shot over at the latest.
    pub fn ready_by(at: Duration) -> Duration {
        at.saturating_sub(RUN_UP)
    }

    /// Lets a SYN leave at that moment, by [`clock::monotonic`]. A moment in the past is now.
    pub fn fire(&self, at: Duration, prepared: Prepared) -> Stream {
        self.call(at.saturating_sub(self.lead.unwrap_or_default()), || prepared.connect())
    }

    /// Calls at that moment, by [`clock::monotonic`], as exactly as this thread can.
    pub fn call<T>(&self, at: Duration, call: impl FnOnce() -> T) -> T {
        sleep_until(at.saturating_sub(WARM_UP));
        let _priority = RealTime::take();
        while clock::monotonic() + REHEARSAL < at {
            self.rehearse();
        }
        while clock::monotonic() < at {
            std::hint::spin_loop();
        }
        call()
    }

    /// Connects to a closed port on loopback; the kernel refuses at once.
    fn rehearse(&self) {
        // That it cannot be rehearsed is no reason not to shoot.
        let _ = tcp::connect(Bind::Kernel, self.target.endpoint(), &Options::default());
    }

    /// The median time from the call to the capture of its SYN, if enough of them were seen.
    fn calibrate(&self) -> Result<Option<Duration>> {
        let remote = self.target.endpoint();
        let filter = format!("tcp dst port {} and tcp[tcpflags] & tcp-syn != 0", remote.port());
        let mut capture = Capture::open("lo", &filter)?;
        let mut took = Vec::new();
        for _ in 0..CALIBRATIONS {
            self.rehearse();
            let prepared = tcp::prepare(Bind::Kernel, remote, &Options::default())?;
            while capture.next_packet()?.is_some() {}
            let called = clock::realtime();
            prepared.connect();
            poll::wait(&[Interest::read(&capture)], Some(clock::monotonic() + PATIENCE))?;
            let seen = capture.next_packet()?;
            took.extend(seen.and_then(|seen| seen.at_realtime.checked_sub(called)));
        }
        took.sort();
        let enough = took.len() * 2 > CALIBRATIONS;
        Ok(took.get(took.len() / 2).copied().filter(|_| enough))
    }
}

fn sleep_until(at: Duration) {
    // The one failure is to have too many descriptors; none is given.
    let _ = poll::wait(&[], Some(at));
}

/// Real-time priority of the calling thread, until this is dropped.
struct RealTime {
    before: libc::sched_param,
    policy: libc::c_int,
}

impl RealTime {
    /// Takes it, where that is allowed.
    fn take() -> Option<Self> {
        let mut before = libc::sched_param { sched_priority: 0 };
        // SAFETY: both calls concern the calling thread (0) and read or write one `sched_param`
        // that lives throughout.
        #[allow(unsafe_code)]
        let policy = unsafe {
            let read = libc::sched_getparam(0, &raw mut before);
            Errno::result(read).and_then(|_| Errno::result(libc::sched_getscheduler(0))).ok()?
        };
        schedule(libc::SCHED_FIFO, libc::sched_param { sched_priority: 1 }).ok()?;
        Some(Self { before, policy })
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        // What was allowed before is allowed again.
        let _ = schedule(self.policy, self.before);
    }
}

fn schedule(policy: libc::c_int, parameter: libc::sched_param) -> nix::Result<()> {
    // SAFETY: the call concerns the calling thread (0) and reads one `sched_param` that lives
    // throughout.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
    Errno::result(answer).map(drop)
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// From the handing over of a shot to the shot: more than a loop takes for anything else.
const RUN_UP: Duration = Duration::from_millis(2);

/// Later than this before a shot the thread does not sleep: it commonly wakes up within 150 µs.
const WARM_UP: Duration = Duration::from_micros(400);

/// What one rehearsal may take, by far.
const REHEARSAL: Duration = Duration::from_micros(60);

/// So many that the median is steady.
const CALIBRATIONS: usize = 15;

/// A SYN on loopback is seen at once, or this machine is too busy to measure.
const PATIENCE: Duration = Duration::from_millis(20);
