//! What became of one end's attempts to open a connection with a peer.

use serde::{Deserialize, Serialize};

use super::{End, Unreached};
use crate::tcp::State;
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// One thing that happened to one end of a punch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "punch", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Punched {
    /// The plan, before the first SYN.
    Aimed {
        /// This end's own endpoint.
        local: Endpoint,
        /// Where its SYNs are to go.
        remote: Endpoint,
        /// Where else they go, since the peer may be there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<Endpoint>,
        /// When the first SYN is to leave.
        first: Instant,
        /// When it gives up.
        give_up: Instant,
    },
    /// What would witness the opening does not.
    Unwatched {
        /// Which witness.
        witness: Witness,
        /// Why not.
        why: String,
    },
    /// How far off this end's clock may be, by the kernel's own estimate; none if nobody keeps it.
    Clock {
        /// So far.
        error: Option<Duration>,
    },
    /// The two ends have measured how their clocks stand to each other.
    Synchronised {
        /// How far off that may be.
        error: Duration,
        /// The shortest round trip that was measured.
        round_trip: Duration,
    },
    /// A rendezvous server keeps a room for this end, where its peer is awaited.
    Waits {
        /// The room's number.
        room: u32,
    },
    /// The rendezvous server was lost; it will be asked again.
    Parted,
    /// The peer has come, and has shown that it knows the words.
    Met,
    /// Somebody came who does not know the words, and was sent away.
    Impostor,
    /// Somebody came, showed no proof at all, right or wrong, and is gone again.
    Visitor,
    /// The rendezvous server says that the peer is gone, before the two were done with each other.
    PeerGone {
        /// How.
        how: Gone,
    },
    /// What an attempt has taught that came to nothing.
    Taught {
        /// Where our SYN came from, as the peer saw it.
        own: Option<Endpoint>,
        /// Where the peer's SYN came from, as this end saw it.
        peer: Option<Endpoint>,
    },
    /// From where the two ends expect to be seen, and what chance that gives them.
    Foresaw {
        /// This end's endpoints, the likeliest first.
        own: Vec<Endpoint>,
        /// The peer's endpoints that are aimed at, the likeliest first.
        peer: Vec<Endpoint>,
        /// Whether the peer says that it is seen so from all sides, and will be the next time.
        steady: bool,
        /// How likely it is that both ports are among these, in thousandths; none where both ends are behind
        /// one address, since nobody knows whether a way leads from one to the other.
        chance: Option<u16>,
        /// By which rule this end's ports seem to be chosen, in words.
        rule: Option<String>,
    },
    /// An attempt was begun: its SYN is to leave at this moment.
    Tried {
        /// Its number, from 1.
        attempt: u32,
        /// That moment.
        at: Instant,
    },
    /// An attempt's SYN was called for.
    Fired {
        /// Its number.
        attempt: u32,
        /// How much of the CPUs' time a hypervisor gave to others around that moment, if this host
        /// tells.
        stolen: Option<Duration>,
    },
    /// An attempt came to nothing.
    Missed {
        /// Its number.
        attempt: u32,
        /// Why.
        why: Miss,
    },
    /// A connection stands.
    Stood {
        /// Which of the two sockets it came from.
        by: By,
        /// Its local endpoint.
        local: Endpoint,
        /// Its remote endpoint; another than was aimed at, if a NAT remapped the peer's SYN.
        remote: Endpoint,
    },
    /// This host already has a connection between the two endpoints, in this state.
    Taken {
        /// The state.
        state: State,
    },
    /// Somebody else connected to the port, and was shown out.
    Stranger {
        /// Who.
        remote: Endpoint,
    },
    /// A socket of this end went from one state to another.
    Changed(Change),
    /// The time was up.
    GaveUp,
}

/// A socket went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When, or by when if it was sampled.
    pub at: Instant,
    /// Who says so.
    pub source: Source,
    /// Which socket, by a number of its own.
    pub socket: u32,
    /// The socket's local endpoint.
    pub local: Endpoint,
    /// Its remote endpoint.
    pub remote: Endpoint,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
}

/// Who tells of a socket's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The kernel, of each change as it is made.
    Kernel,
    /// Samples of the socket: states between two of them are not seen.
    Sampled,
}

/// Who may witness an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Witness {
    /// A capture at the interface.
    Wire,
    /// The kernel's socket states.
    Kernel,
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Miss {
    /// It never stood.
    Unreached(Unreached),
    /// It had come beyond SYN-SENT, and ended.
    Ended(End),
}

/// How a peer is gone that a rendezvous server has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gone {
    /// Its connection with the server has ended.
    Left,
    /// It gives the server no sign of life.
    Silent,
    /// The server has shown it out.
    Refused,
}

impl Gone {
    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Left => "the peer has left: it ended, or lost the rendezvous server",
            Self::Silent => "the peer is silent: its host has stopped, or is out of reach",
            Self::Refused => "the rendezvous server has shown the peer out",
        }
    }
}

/// Which socket a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The one that connected.
    Connect,
    /// The one that listened: the peer's SYN came before ours had left.
    Accept,
}
