//! The contract between whatever takes part in a run and whatever drives it.
//!
//! A [`Party`] is told the time and what arrived, and says what it wants. One driver runs it on
//! sockets and the real clock, another runs many on virtual time; no party can tell which.

mod fact;
mod punch;
mod stun;

pub use fact::{Effort, Fact, Order, Place, Question, Record, Remotes, Run, Trouble, Unreached};
pub use punch::{By, Change, Gone, Miss, Punched, Source, Witness};
pub use stun::{StunAnswer, StunAsked, StunOutcome};

use serde::{Deserialize, Serialize};

use crate::time::{Duration, Instant};
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
    /// See the packets of an endpoint and the states of its sockets, which the host's own TCP has, and
    /// be ready for SYNs that are to leave from it at a moment.
    Watch {
        /// The endpoint.
        local: Endpoint,
        /// Where its packets go to.
        towards: Endpoint,
    },
    /// Open a connection by the host's own TCP, and call it so.
    Open {
        /// What it is called from now on.
        flow: Flow,
        /// Its local endpoint.
        from: Bind,
        /// Where it leads.
        to: Endpoint,
        /// When its SYN is to leave, as exactly as the host can; at once, if that does not matter.
        at: Option<Instant>,
        /// Who reads what comes.
        reader: Reader,
    },
    /// Take connections to this endpoint, beside connections from it that are bound as shared.
    Listen {
        /// The endpoint.
        on: Endpoint,
        /// Who reads what comes.
        reader: Reader,
    },
    /// Send these octets.
    Write(Flow, Vec<u8>),
    /// End a connection. It is not heard of again.
    Close(Flow, How),
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
    /// A connection that was to be opened stands.
    Opened {
        /// Which one.
        flow: Flow,
        /// Its local endpoint.
        local: Endpoint,
    },
    /// Somebody has opened a connection to an endpoint that is listened on.
    Accepted {
        /// What it is called from now on.
        flow: Flow,
        /// Its local endpoint.
        local: Endpoint,
        /// Who opened it.
        remote: Endpoint,
    },
    /// A SYN that was to leave at a moment was called for, so to leave then.
    Fired {
        /// Of which connection.
        flow: Flow,
        /// How much of the CPUs' time others had around that moment, if this host tells.
        stolen: Option<Duration>,
        /// The local endpoint that it left from, if that is known.
        local: Option<Endpoint>,
    },
    /// A connection that was to be opened is not to be had.
    Failed(Flow, Unreached),
    /// These octets came, at least one.
    Read(Flow, Vec<u8>),
    /// Nothing more comes on this connection.
    Ended(Flow, End),
    /// A socket of the party's went from one state to another.
    Changed(Change),
    /// A witness of what is to be watched is not there, and why.
    Unwatched(Witness, String),
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

/// A connection by the host's own TCP: one that the party opened has the number that the party gave
/// it, one that was accepted has a number from [`Flow::FIRST_ACCEPTED`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow(pub u32);

impl Flow {
    /// The number of the first connection that is accepted.
    pub const FIRST_ACCEPTED: u32 = 1 << 31;
}

/// The local endpoint of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The host chooses.
    Kernel,
    /// This one, shared with all connections that are bound as shared: several lead from one port
    /// to several remotes (RFC 5128 §3.4).
    Shared(Endpoint),
}

/// Who reads what comes on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The party.
    Party,
    /// Whoever the connection is handed over to once the party is done.
    Heir,
}

/// How a party ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With FIN, once all that was written has been sent.
    Fin,
    /// With RST, at once.
    Reset,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The peer has sent FIN.
    Finished,
    /// The peer, or something on the path, has reset it.
    Reset,
    /// What was sent was not acknowledged in time.
    TimedOut,
    /// The peer left too much unread, or this host gave it up for another reason.
    Abandoned,
}
