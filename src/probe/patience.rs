//! How long a plan waits for what, and how often it tries: each number with its reason.

use crate::engine::Effort;
use crate::nat::HOLD;
use crate::time::Duration;

/// The numbers that follow from an [`Effort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often each question is repeated, each time from fresh ports.
    pub repetitions: u16,
    /// Volleys in the first block, and in the second, on a path that loses nothing: 9 keep 10⁻⁶ and 12
    /// keep 10⁻⁹ with room to spare. When the second comes the path is known better.
    pub few: [u16; 2],
    /// The same on a path that loses: 12 keep 10⁻⁶ and 21 keep 10⁻⁹ even if a quarter of all SYNs is
    /// lost.
    pub most: u16,
    /// Volleys from the first SYN to a stranger's port to that to the next: so far apart that losing
    /// one beat leaves no outage that may have swallowed the answers for two.
    pub stride: u16,
    /// How often each repetition tries what is no part of a volley.
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
                few: [9, 9],
                most: 12,
                stride: 1,
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
                few: [15, 12],
                most: 21,
                stride: 2,
                tries: 7,
                gap: Duration::from_millis(100),
                knocks: PATIENT,
                listen: Some(LISTEN),
            },
            Effort::Full => Self {
                repetitions: 3,
                few: [15, 12],
                most: 48,
                stride: 2,
                tries: 16,
                gap: Duration::from_millis(100),
                knocks: PATIENT,
                listen: Some(LISTEN),
            },
        }
    }

    /// How long one block of volleys takes at most.
    pub fn block(&self) -> Duration {
        self.gap * u32::from(self.most)
    }

    /// How long after the first block the second begins at the earliest.
    pub fn second_block(&self) -> Duration {
        // Of each port the first SYN is the one held.
        let held =
            self.gap * u32::from((STRANGERS - 1) * self.stride) + HOLD + Duration::from_millis(300);
        self.listen.map_or(Duration::ZERO, |_| held)
    }

    /// The longest that volleys, listening and predicting can take.
    pub fn trying(&self) -> Duration {
        let listen = self.listen.map_or(Duration::ZERO, |listen| listen + HOLD);
        self.block() * 2 + REVIEW_AT_MOST * 4 + listen + SETTLE_AT_MOST + SEQUENCE
    }

    /// The longest that a plan can take.
    pub fn longest(&self) -> Duration {
        JOIN + GREET + ANNOUNCE + CHECK + OPEN + self.trying() + FINISH
    }
}

/// Spread wider than any outage that goes unnoticed.
const PATIENT: Pace =
    Pace { knocks: 8, first: Duration::from_millis(250), pause: Duration::from_millis(750) };

/// REQ-4's six seconds, and the way back of an answer that leaves at their end.
const LISTEN: Duration = Duration::from_millis(6_800);

/// Ports that strangers knock at, mapped ones and others. A NAT that holds SYNs answers each once, so
/// that its silence stands on so many answers, lost all; and it need not hold more than ten.
pub const STRANGERS: u16 = 5;

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
pub const FIRST_BLOCK: u16 = 4;
/// Refreshes until the second block is over, even at full effort.
pub const BOTH_BLOCKS: u16 = 9;
/// While volleys and listening last, this often a SYN goes out to prove the way out alive.
pub const BEAT: Duration = Duration::from_millis(100);
/// The same on a path that has lost one. Home routers let 25 SYNs a second through (OpenWrt's
/// syn_flood): more than these would make the loss that they measure.
pub const QUICK_BEAT: Duration = Duration::from_millis(50);
/// A beat that was not reported after this long was lost, or so late that a closer look does no harm.
pub const OVERDUE: Duration = Duration::from_millis(600);

/// How long after the last volley stragglers are waited for: two round trips for what is still
/// under way, and what jitter may add.
pub fn settle(round_trip: Duration) -> Duration {
    (round_trip * 2 + JITTER).min(SETTLE_AT_MOST)
}

/// How long after the last volley of a few it is looked at how many companions came through: a round
/// trip for them, and some more. Who comes later than that is taken for lost, which costs more
/// volleys and nothing else.
pub fn review(round_trip: Duration) -> Duration {
    (round_trip + Duration::from_millis(50)).min(REVIEW_AT_MOST)
}

const REVIEW_AT_MOST: Duration = Duration::from_millis(1_000);
const JITTER: Duration = Duration::from_millis(210);
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);
