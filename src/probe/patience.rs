//! How long a plan waits for what, and how often it tries: each number with its reason.

use crate::engine::Effort;
use crate::nat::HOLD;
use crate::time::Duration;

/// The numbers that follow from an [`Effort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often each question is repeated, each time from fresh ports.
    pub repetitions: u16,
    /// Volleys for each repetition. With three repetitions a negative stands on three times as
    /// many tries: 12 keep 10⁻⁶ and 21 keep 10⁻⁹ even if a quarter of all SYNs is lost.
    pub tries: u16,
    /// From one volley to the next: long enough for a burst of loss to end between them.
    pub gap: Duration,
    /// How often each of the repetitions knocks for hairpinning.
    pub knocks: Pace,
    /// How long after the last unsolicited SYN an answer is listened for.
    pub listen: Option<Duration>,
}

/// Knocks for hairpinning, from two ends in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many, from both ends together.
    pub knocks: u16,
    /// How long before the first.
    pub first: Duration,
    /// From one to the next.
    pub pause: Duration,
}

impl Pace {
    /// The same for the repetition with this number: repetitions take turns, so that every knock is
    /// one more moment at which the path was tried.
    pub fn of(self, repetition: u16) -> Self {
        Self { first: self.first * u32::from(repetition), ..self }
    }
}

impl Patience {
    /// The numbers for this effort.
    pub const fn of(effort: Effort) -> Self {
        match effort {
            Effort::Quick => Self {
                repetitions: 3,
                tries: 4,
                gap: Duration::from_millis(35),
                knocks: Pace {
                    knocks: 8,
                    first: Duration::from_millis(55),
                    pause: Duration::from_millis(165),
                },
                listen: None,
            },
            Effort::Default => Self {
                repetitions: 3,
                tries: 7,
                gap: Duration::from_millis(60),
                knocks: PATIENT,
                listen: Some(LISTEN),
            },
            // As many repetitions as ever: a NAT that holds ten SYNs must have room for all.
            Effort::Full => Self {
                repetitions: 3,
                tries: 16,
                gap: Duration::from_millis(60),
                knocks: PATIENT,
                listen: Some(LISTEN),
            },
        }
    }

    /// How long one block of volleys takes.
    pub fn block(&self) -> Duration {
        self.gap * u32::from(self.tries * self.repetitions)
    }

    /// When the second block begins: at once after the first, or when a NAT that holds SYNs has let
    /// go of those, so that what it holds at most is not used up by two questions together.
    pub fn second_block(&self) -> Duration {
        let held = self.gap * u32::from(self.repetitions) + HOLD + Duration::from_millis(300);
        self.listen.map_or_else(|| self.block(), |_| held.max(self.block()))
    }

    /// The longest that a plan can take.
    pub fn longest(&self) -> Duration {
        let stages = JOIN + GREET + ANNOUNCE + CHECK + OPEN;
        let trying = self.block() * 2 + self.listen.map_or(Duration::ZERO, |listen| listen + HOLD);
        let trying = trying + SETTLE_AT_MOST + GREET;
        stages + trying + SEQUENCE + FINISH
    }
}

/// Spread wider than any outage that goes unnoticed.
const PATIENT: Pace =
    Pace { knocks: 8, first: Duration::from_millis(250), pause: Duration::from_millis(750) };

/// REQ-4's six seconds, and the way back of an answer that leaves at their end.
const LISTEN: Duration = Duration::from_millis(6_800);

/// A TCP connection to a reflector: three SYNs of the host's own (0, 1 and 3 s).
pub const JOIN: Duration = Duration::from_secs(5);
/// Two messages each way over a path that loses a fifth of its packets.
pub const GREET: Duration = Duration::from_secs(4);
/// The same.
pub const ANNOUNCE: Duration = Duration::from_secs(4);
/// Twelve SYNs to each endpoint of the reflectors.
pub const CHECK: Duration = Duration::from_secs(3);
/// Twelve SYNs for each mapping, and a handshake on top for some.
pub const OPEN: Duration = Duration::from_secs(3);
/// The last reports over such a path.
pub const FINISH: Duration = Duration::from_secs(4);
/// Predicting sequential ports needs quiet and comes last.
pub const SEQUENCE: Duration = Duration::from_secs(8);

/// A SYN that nobody has reported is sent again after this long.
pub const RETRY: Duration = Duration::from_millis(250);
/// A mapping is refreshed after this long.
pub const REFRESH: Duration = Duration::from_millis(1_500);
/// Refreshes until the first block of volleys is over, even at full effort.
pub const FIRST_BLOCK: u16 = 3;
/// While volleys and listening last, this often a SYN goes out to prove the way out alive.
pub const BEAT: Duration = Duration::from_millis(100);

/// How long after the last volley stragglers are waited for: two round trips for what is still
/// under way, and what jitter may add.
pub fn settle(round_trip: Duration) -> Duration {
    (round_trip * 2 + JITTER).min(SETTLE_AT_MOST)
}

const JITTER: Duration = Duration::from_millis(210);
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);
