//! What the states of the ends' own sockets prove of how a connection was opened (RFC 9293 §3.3.2).

use super::arrival::{Arrival, named};
use super::{Opening, Side, State};

/// How one end's socket became established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// SYN-SENT, SYN-RECEIVED, ESTABLISHED: the peer's bare SYN crossed.
    Crossing,
    /// SYN-SENT, ESTABLISHED, with nothing between: a SYN,ACK came.
    Answered,
    /// By way of LISTEN.
    Passive,
    /// It did, and what came between was not looked at.
    Unseen,
}

impl Path {
    /// The path that these changes of one socket tell of, in order; none if it was not established.
    /// Without `gapless`, states that lie between two changes may have gone unseen.
    pub fn of(changes: impl IntoIterator<Item = (State, State)>, gapless: bool) -> Option<Self> {
        let mut was_sent = false;
        let mut path = None;
        for (from, to) in changes {
            match (from, to) {
                (_, State::SynSent) => (was_sent, path) = (true, None),
                (State::SynSent, State::SynReceived) => path = Some(Self::Crossing),
                (State::SynSent, State::Established) if gapless => return Some(Self::Answered),
                (_, State::Established) => {
                    let other = if was_sent || !gapless { Self::Unseen } else { Self::Passive };
                    let other = if from == State::Listen { Self::Passive } else { other };
                    return Some(path.unwrap_or(other));
                }
                (_, State::Closed) => (was_sent, path) = (false, None),
                _ => {}
            }
        }
        None
    }

    /// What became of the peer's bare SYN here.
    const fn inbound(self) -> Arrival {
        match self {
            Self::Crossing => Arrival::InSynSent,
            Self::Answered | Self::Passive => Arrival::Missed,
            Self::Unseen => Arrival::Unknown,
        }
    }

    /// What became of this end's own bare SYN at the peer.
    const fn outbound(self) -> Arrival {
        match self {
            // It sent none.
            Self::Passive => Arrival::Missed,
            _ => Arrival::Unknown,
        }
    }
}

/// How the connection was opened, by the sockets of the ends that were looked at.
pub fn opening_of(a: Option<Path>, b: Option<Path>) -> Opening {
    match (a, b) {
        (None, None) => Opening::None,
        (Some(Path::Passive), None) | (None, Some(Path::Passive)) => Opening::Accepted,
        (Some(path), None) => named(Side::A, path.outbound(), path.inbound()),
        (None, Some(path)) => named(Side::B, path.outbound(), path.inbound()),
        (Some(a), Some(b)) => {
            named(Side::A, b.inbound().or(a.outbound()), a.inbound().or(b.outbound()))
        }
    }
}

#[cfg(test)]
mod tests {
    use State::{Closed, Established, Listen, SynReceived, SynSent};

    use super::*;

    const CROSSING: [(State, State); 3] =
        [(Closed, SynSent), (SynSent, SynReceived), (SynReceived, Established)];
    const ANSWERED: [(State, State); 2] = [(Closed, SynSent), (SynSent, Established)];

    #[test]
    fn the_way_through_syn_received_is_a_crossing() {
        assert_eq!(Path::of(CROSSING, true), Some(Path::Crossing));
        assert_eq!(Path::of(CROSSING, false), Some(Path::Crossing));
    }

    #[test]
    fn the_short_way_is_one_only_if_nothing_went_unseen() {
        assert_eq!(Path::of(ANSWERED, true), Some(Path::Answered));
        assert_eq!(Path::of(ANSWERED, false), Some(Path::Unseen));
    }

    #[test]
    fn a_listener_never_was_in_syn_sent() {
        let passive = [(Listen, SynReceived), (SynReceived, Established)];
        assert_eq!(Path::of(passive, true), Some(Path::Passive));
        assert_eq!(Path::of(passive[1..].to_vec(), true), Some(Path::Passive));
        assert_eq!(Path::of([(Listen, Established)], false), Some(Path::Passive));
    }

    #[test]
    fn the_last_attempt_counts() {
        let failed = [(Closed, SynSent), (SynSent, SynReceived), (SynReceived, Closed)];
        assert_eq!(Path::of(failed, true), None);
        let retried = failed.into_iter().chain(ANSWERED);
        assert_eq!(Path::of(retried, true), Some(Path::Answered));
    }

    #[test]
    fn two_ends_decide_what_one_cannot() {
        let (crossing, answered) = (Some(Path::Crossing), Some(Path::Answered));
        assert_eq!(opening_of(crossing, crossing), Opening::Crossed);
        assert_eq!(opening_of(crossing, answered), Opening::HalfCrossed { crossed_syn: Side::B });
        assert_eq!(opening_of(answered, Some(Path::Passive)), Opening::ThreeWay);
        assert_eq!(opening_of(answered, None), Opening::ThreeWayOrHalfCrossed);
        let at_least = Opening::CrossedOrHalfCrossed { crossed_syn: Side::B };
        assert_eq!(opening_of(crossing, None), at_least);
        assert_eq!(opening_of(None, Some(Path::Passive)), Opening::Accepted);
    }
}
