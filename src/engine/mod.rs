//! The contract between whatever takes part in a run and whatever drives it.
//!
//! A [`Party`] is told the time and what arrived, and says what it wants. One driver runs it on
//! sockets and the real clock, another runs many on virtual time; no party can tell which.

mod fact;

pub use fact::{Effort, Fact, Order, Place, Question, Record, Remotes, Run, Trouble, Unreached};

use crate::time::Instant;
use crate::wire::control::Message;
use crate::wire::{Endpoint, Packet};

/// Whatever takes part in a run: a probe, a plan of probes, a reflector.
pub trait Party {
    /// What it wants next. Asked again until it waits or is done.
    fn poll(&mut self, now: Instant) -> Step;

    /// Takes what happened. Called only after `poll` said [`Step::Wait`].
    fn handle(&mut self, now: Instant, event: Event);
}

/// What a party wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold this port, guard it from the host's own TCP, route its packets to me.
    Claim(Endpoint),
    /// Put this packet on the wire.
    Send(Packet),
    /// Say this to a peer on its control connection.
    Tell(Name, Message),
    /// End the control connection with this peer.
    HangUp(Name),
    /// Keep this for the verdict.
    Note(Box<Fact>),
    /// Nothing until something happens, at the latest at this moment.
    Wait(Instant),
    /// Nothing any more.
    Done,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet for a claimed endpoint arrived; an ICMP error counts for the endpoint whose packet
    /// it quotes.
    Arrived(Packet),
    /// A packet of ours was seen leaving this host's interface.
    Left(Packet),
    /// A control connection with this peer stands.
    Joined {
        /// What the peer is called from now on.
        name: Name,
        /// Our end of the connection.
        local: Endpoint,
        /// The peer's end, as seen from here.
        remote: Endpoint,
    },
    /// The peer said this.
    Told(Name, Message),
    /// What the peer said is no message; nothing more of it is read.
    Garbled(Name),
    /// The control connection with this peer is gone.
    Lost(Name),
    /// A control connection with this peer never came to be.
    Unjoined(Name, Unreached),
    /// The moment that the party waited for has come.
    DeadlinePassed,
    /// The user wants it to end now.
    Interrupted,
    /// This host can't go on: what failed, and why.
    HostFailed(String),
}

/// A peer on a control connection: for a prober the n-th reflector that it was given, for a
/// reflector the n-th connection that it accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u32);
