//! What a simulated socket does, and what an ICMP error says to it.

use crate::engine::Unreached;
use crate::tcp::State;
use crate::wire::{Icmp, Segment};

/// What a socket does, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    Send(Segment),
    Change(State, State),
    Establish,
    Read(Vec<u8>),
    /// The peer has sent FIN.
    Finish,
    /// Nothing is left of it.
    Go(Gone),
}

/// Why nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A reset answered the SYN.
    Refused,
    Reset,
    TimedOut,
    /// An ICMP error ended the opening.
    Unreached(Unreached),
    /// The party wanted it so, and the peer does not object any more.
    Closed,
}

/// What an error says to a socket that connects, in the words of Linux's errors (icmp_err_convert);
/// none if it goes on: what was too large can be sent in smaller pieces.
pub const fn unreached(icmp: &Icmp) -> Option<Unreached> {
    match (icmp.kind, icmp.code) {
        (3, 4) => None,
        (3, 3) => Some(Unreached::Refused),
        (3, 0 | 1 | 6 | 9..=15) | (11, _) => Some(Unreached::NoWay),
        (3 | 12, _) => Some(Unreached::Unsaid),
        _ => None,
    }
}
