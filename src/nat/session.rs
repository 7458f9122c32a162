//! One connection through a NAT: the session machine of RFC 7857 §2, figure 1 (after RFC 6146
//! §3.5.2).

use super::behaviour::IdleTimeouts;
use crate::time::Instant;
use crate::wire::Segment;

/// Which side of a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// That of the internal hosts.
    Inside,
    /// That of the remotes.
    Outside,
}

impl Side {
    /// The other one.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

/// One connection, as far as a NAT follows it.
#[derive(Clone, Debug)]
pub struct Session {
    state: State,
    /// Whether the internal host has sent anything: that is what opens the filter.
    pub outbound: bool,
    /// Whether two bare SYNs crossed.
    pub crossed: bool,
    /// When it is forgotten, unless a packet comes.
    pub expires: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// One side has sent a SYN.
    Init(Side),
    /// Both have.
    Established,
    /// One side has sent a FIN.
    HalfClosed(Side),
    /// Both have.
    Closed,
    /// It was reset; any packet but a reset revives it (RFC 7857 §2.2).
    Transitory,
}

impl Session {
    /// A session that a segment from `side` begins.
    pub const fn begin(side: Side) -> Self {
        Self {
            state: State::Init(side),
            outbound: matches!(side, Side::Inside),
            crossed: false,
            expires: Instant::START,
        }
    }

    /// Follows a segment that passed from `side`.
    pub fn follow(&mut self, now: Instant, side: Side, segment: &Segment, idle: &IdleTimeouts) {
        let (before, begins) = (self.state, self.expires == Instant::START);
        if begins && segment.is_reset() {
            return;
        }
        // RFC 7857 §7.1: a reset that answers an inbound packet opens nothing.
        self.outbound |= side == Side::Inside && !segment.is_reset();
        self.crossed = self.crosses(side, segment);
        self.state = before.after(side, segment);
        let waits = matches!(before, State::Init(_)) && before == self.state;
        let repeated = before == State::Init(side) && !idle.syn_refreshes;
        if begins || !(waits && (repeated || segment.is_reset())) {
            self.expires = now + self.timeout(idle);
        }
    }

    /// Whether two bare SYNs have crossed, once this segment has passed.
    fn crosses(&self, side: Side, segment: &Segment) -> bool {
        match self.state {
            State::Init(began) if segment.is_bare_syn() => began != side,
            State::Closed if segment.is_bare_syn() => false,
            _ => self.crossed,
        }
    }

    /// Whether it is not forgotten yet.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.expires > now
    }

    /// Whether both sides have sent a SYN, and neither has closed.
    pub const fn is_established(&self) -> bool {
        matches!(self.state, State::Established | State::HalfClosed(_))
    }

    /// Whether it is closing or was reset.
    pub const fn is_closing(&self) -> bool {
        matches!(self.state, State::Closed | State::Transitory)
    }

    /// Whether only the internal host has sent a SYN so far.
    pub const fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Init(Side::Inside))
    }
}

impl State {
    fn after(self, side: Side, segment: &Segment) -> Self {
        use crate::wire::Flags;
        if segment.is_reset() {
            return self.after_reset();
        }
        match self {
            // A bare SYN counts as well as a SYN,ACK: a simultaneous open needs no case of its own.
            Self::Init(began) if began != side && segment.flags.contains(Flags::SYN) => {
                Self::Established
            }
            Self::Established if segment.flags.contains(Flags::FIN) => Self::HalfClosed(side),
            Self::HalfClosed(by) if by != side && segment.flags.contains(Flags::FIN) => {
                Self::Closed
            }
            Self::Closed if segment.is_bare_syn() => Self::Init(side),
            Self::Transitory => Self::Established,
            unchanged => unchanged,
        }
    }

    /// A reset before both sides have spoken changes nothing: the timer of INIT runs on. Nor does
    /// one after both have closed: no later packet shall revive that connection.
    const fn after_reset(self) -> Self {
        match self {
            Self::Init(_) | Self::Closed => self,
            _ => Self::Transitory,
        }
    }
}
