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
    Result, clock, poll,
    reserve::{self, Reserved},
    tcp::{self, Bind, Options, Prepared, Stream},
};

mod lead;

use lead::Lead;

/// What it takes to shoot: a port on loopback to rehearse with, if one may be bound, and how long a SYN
/// is under way in this host.
#[derive(Debug)]
pub struct Marksman {
    target: Option<Reserved>,
    lead: Lead,
}

impl Marksman {
    /// Prepares. Where it is allowed, the way of a SYN through this host is measured meanwhile, which
    /// takes some tenths of a second; else, and until then, it is taken as nothing.
    ///
    /// # Errors
    /// When no port on loopback is to be had in the calling thread's namespace.
    pub fn new() -> Result<Self> {
        Self::with(Lead::measured())
    }

    fn with(lead: Lead) -> Result<Self> {
        Ok(Self { target: Some(reserve::reserve((LOOPBACK, 0).into())?), lead })
    }

    /// One that binds no socket, and so neither rehearses nor measures: some tens of microseconds less
    /// exact.
    pub fn without_binding() -> Self {
        Self { target: None, lead: Lead::nothing() }
    }

    /// The time from the call to the interface, if it could be measured. Waits until that is known.
    pub fn lead(&self) -> Option<Duration> {
        self.lead.known()
    }

    /// When to hand a shot over at the latest.
    pub fn ready_by(at: Duration) -> Duration {
        at.saturating_sub(RUN_UP)
    }

    /// Lets a SYN leave at that moment, by [`clock::monotonic`]. A moment in the past is now.
    pub fn fire(&self, at: Duration, prepared: Prepared) -> Stream {
        self.shoot(at, prepared, Prepared::warm, Prepared::connect)
    }

    /// Does by `call` whatever lets a packet leave, so that it leaves at that moment.
    pub fn call<T>(&self, at: Duration, call: impl FnOnce() -> T) -> T {
        self.shoot(at, (), |()| (), |()| call())
    }

    /// Learns from a shot that was to leave at one moment, and was seen leaving at another.
    pub fn learn(&self, aimed: Duration, left: Duration) {
        self.lead.correct(aimed, left);
    }

    /// `warm` touches what `call` will need, and does nothing else.
    fn shoot<P, T>(
        &self,
        at: Duration,
        prepared: P,
        warm: impl Fn(&P),
        call: impl FnOnce(P) -> T,
    ) -> T {
        let at = at.saturating_sub(self.lead.so_far());
        // Without it the thread wakes up some 50 µs later, and rehearses less.
        let _ = clock::sharpen_timers();
        // Before the sleep: on a busy machine it is the waking up that waits for its turn.
        let _priority = RealTime::take();
        sleep_until(at.saturating_sub(WARM_UP));
        while clock::monotonic() + REHEARSAL < at {
            self.rehearse();
        }
        while clock::monotonic() + TOUCH < at {
            warm(&prepared);
        }
        while clock::monotonic() < at {
            std::hint::spin_loop();
        }
        call(prepared)
    }

    /// Connects to a closed port on loopback; the kernel refuses at once.
    fn rehearse(&self) {
        // That it cannot be rehearsed is no reason not to shoot.
        let target = self.target.as_ref().map(Reserved::endpoint);
        let _ = target.map(|target| tcp::connect(Bind::Kernel, target, &Options::default()));
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

/// What one touch of what is prepared may take, by far.
const TOUCH: Duration = Duration::from_micros(8);

/// What one rehearsal may take, by far.
const REHEARSAL: Duration = Duration::from_micros(60);
