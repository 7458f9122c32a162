//! How the two clocks stand to each other, and the moments that follow from that.

use super::super::appointment::{Role, Sync};
use super::super::direct::Aim;
use super::super::offset::{Exchange, Offset};
use super::super::signal::{Clocks, Signal};
use crate::time::{Duration, Instant};

/// The decider asks for the other's clock; the other answers.
#[derive(Debug)]
pub struct Measuring {
    /// What to open, but for the moment.
    pub aim: Aim,
    asked: Instant,
    number: u32,
    offset: Offset,
}

/// What came of one answer.
pub enum Measured {
    /// It was no answer to what was asked.
    Nonsense,
    /// This is the next question.
    Ask(Signal),
    /// It is known well enough.
    Known(Clocks),
}

impl Measuring {
    /// The first question leaves now.
    pub const fn new(aim: Aim, now: Instant) -> Self {
        Self { aim, asked: now, number: 0, offset: Offset::UNKNOWN }
    }

    /// The question that is open.
    pub const fn question(&self) -> Signal {
        Signal::Ping { number: self.number }
    }

    /// Takes an answer; enough of them are an end.
    pub fn take(
        &mut self,
        now: Instant,
        number: u32,
        [received, answered]: [Instant; 2],
    ) -> Measured {
        if number != self.number || answered < received {
            return Measured::Nonsense;
        }
        let exchange = Exchange { asked: self.asked, received, answered, heard: now };
        self.offset = self.offset.with(&exchange);
        (self.asked, self.number) = (now, number + 1);
        if self.number < EXCHANGES {
            Measured::Ask(self.question())
        } else {
            Measured::Known(self.offset.clocks())
        }
    }
}

/// What the decider says, and does itself; none for one who decides nothing.
pub fn decide(now: Instant, role: Role, clocks: Clocks, aim: Aim) -> Option<(Signal, Aim)> {
    let known_there = now + clocks.round_trip + HEAD_START;
    let (first, at, trial) = match role {
        Role::Decides(Sync::RoundTrip) => (now + clocks.round_trip / 2, None, None),
        Role::Decides(Sync::Clock) => (known_there, Some(known_there), None),
        Role::Tries { skew_ns } => {
            let apart = Duration::from_nanos(skew_ns.unsigned_abs());
            let first = known_there + apart;
            (first, Some(first.shifted(skew_ns)), Some(apart + patience(clocks)))
        }
        Role::Parts | Role::Follows => return None,
    };
    let at = at.map(|at| at.shifted(clocks.ahead_ns));
    Some((Signal::Go { at, clocks, trial }, tried(Aim { first, ..aim }, trial)))
}

/// How long it takes from the hellos to the moment that is decided on by the offset of the clocks.
pub fn duration(round_trip: Duration) -> Duration {
    // The hellos take half of one, the decision a whole one.
    round_trip * (EXCHANGES + 2) + HEAD_START
}

/// One SYN alone, if it is for a trial of so long.
pub fn tried(aim: Aim, trial: Option<Duration>) -> Aim {
    match trial {
        Some(patience) => Aim { patience, tries: Some(1), ..aim },
        None => aim,
    }
}

/// How long it may take to see what becomes of two SYNs.
fn patience(clocks: Clocks) -> Duration {
    clocks.round_trip + AFTERWARDS
}

/// So many exchanges that one of them found the path idle.
const EXCHANGES: u32 = 16;

/// What the decision may be late by, beyond its way to the other end.
const HEAD_START: Duration = Duration::from_millis(200);

/// For an answer to be seen: less than the second after which a SYN is sent again (RFC 6298 §2.1).
const AFTERWARDS: Duration = Duration::from_millis(100);
