//! What a run leaves: the trace (packets, each way, at each place) and the facts that packets do
//! not show.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::punch::Punched;
use super::stun::StunAsked;
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::control::{ProbeId, Refusal, Volley};
use crate::wire::{Endpoint, Packet};

/// Everything that a verdict is drawn from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The packets, in order of time; a frame's number is its place here plus one.
    pub trace: Vec<Record>,
    /// What packets do not show, in order of time.
    pub facts: Vec<(Instant, Fact)>,
}

/// One packet seen at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, on the prober's clock; a reflector's clock has been converted.
    pub at: Instant,
    /// Where it was seen.
    pub place: Place,
    /// Whether it arrived there, rather than left.
    pub inbound: bool,
    /// The probe that caused it, if it is known.
    pub probe: Option<ProbeId>,
    /// The volley that it left in, if any.
    pub volley: Option<Volley>,
    /// The packet.
    pub packet: Packet,
}

/// Where packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The prober's interface, inside the NAT.
    Prober,
    /// The interface of the n-th reflector, outside it.
    Reflector(u8),
    /// The interface of one end of a punch.
    End(Side),
}

/// One thing that a packet does not show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fact {
    /// The plan, before its first packet.
    Planned {
        /// How much patience it has.
        effort: Effort,
        /// The longest that it can take.
        longest: Duration,
        /// The internal addresses that it probes from; the second is there to provoke clashes.
        internal: Vec<IpAddr>,
        /// What randomness it draws from.
        seed: u64,
        /// The round trips of its longest chain.
        round_trips: u32,
    },
    /// There is no reflector to ask, so no packet is crafted.
    Alone {
        /// The internal address that would be probed from.
        internal: Vec<IpAddr>,
        /// This host's packet filter tables, if it may be asked for them.
        filters: Option<Vec<String>>,
        /// The STUN servers that are asked instead, if any are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stun: Vec<Endpoint>,
    },
    /// The interface that the prober's packets go through, on a real host.
    Through {
        /// Its name.
        interface: String,
    },
    /// A reflector said welcome.
    Welcomed {
        /// Which reflector.
        reflector: u8,
        /// Our end of the control connection.
        local: Endpoint,
        /// The same end as the reflector saw it.
        observed: Endpoint,
        /// Where it takes probes.
        endpoints: Vec<Endpoint>,
        /// What to add to its clock to get ours, in nanoseconds; exact to half a round trip.
        clock_offset_ns: i64,
    },
    /// The reflectors' endpoints were chosen for the roles that they play.
    Chose(Remotes),
    /// A probe was started.
    Asked {
        /// Its number.
        probe: ProbeId,
        /// What it asks.
        question: Question,
        /// The internal endpoints that it asks from; none when it asks from outside alone.
        internal: Vec<Endpoint>,
    },
    /// A packet was seen. Drivers put it into the trace, the one place where it is kept.
    #[serde(skip)]
    Seen(Record),
    /// The plan stopped listening for answers to unsolicited SYNs at this moment.
    ListenedUntil {
        /// That moment, on the prober's clock.
        until: Instant,
    },
    /// Every reflector has reported all that it saw.
    Complete,
    /// Something outside the NAT under test went wrong.
    Trouble(Trouble),
    /// A STUN server was asked.
    Stun(StunAsked),
    /// Something happened to one end of a punch.
    Punch {
        /// Which end.
        side: Side,
        /// What.
        what: Punched,
    },
}

/// How much patience a plan has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// Error bound 10⁻⁶; does not wait out REQ-4's six seconds.
    Quick,
    /// Error bound 10⁻⁹; listens for eight seconds.
    #[default]
    Default,
    /// As the default, with more tries against a lossy path.
    Full,
}

/// The reflectors' endpoints by the roles that they play in every question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remotes {
    /// The endpoint that a probe contacts.
    pub contacted: Endpoint,
    /// Another port of the same address.
    pub other_port: Endpoint,
    /// Another address, if there is one.
    pub other_address: Option<Endpoint>,
    /// The second port of that address.
    pub other_both: Option<Endpoint>,
}

impl Remotes {
    /// The addresses of all of them.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [Some(self.contacted), self.other_address].into_iter().flatten().map(|end| end.ip())
    }
}

/// What a probe asks the NAT. Probes with the same question repeat it from fresh ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Do the reflectors answer an ordinary opening at all? No question to the NAT.
    Preflight,
    /// Which external endpoint does one internal endpoint get towards each remote? (REQ-1)
    Mapping,
    /// Whose SYNs get in once a SYN has gone out? (REQ-3)
    Filtering,
    /// Whose SYNs get in once a connection is established?
    FilteringEstablished,
    /// What meets a SYN to a port that is not mapped? (REQ-4)
    UnsolicitedSyn,
    /// Which of the four segments of a simultaneous open pass? (REQ-2a)
    SimultaneousOpen,
    /// Does a SYN to an external endpoint of another internal one come back in, and from where?
    /// (REQ-8)
    Hairpinning,
    /// The same through ports that grow by a fixed step, which have to be predicted.
    HairpinningPredicted,
    /// What happens when a second internal endpoint wants the same port? (REQ-1, REQ-7)
    PortClash(Order),
    /// No question: a bare SYN from an endpoint that was contacted, to prove the path alive.
    CompanionSyn,
    /// No question: a SYN,ACK in answer to a SYN, to prove the path alive.
    CompanionSynAck,
    /// No question: a bare SYN once a SYN,ACK has answered ours. It passes where a SYN that answers
    /// a SYN does not.
    CompanionLateSyn,
}

impl Question {
    /// Whether it is there to prove the path alive, and asks nothing.
    pub const fn accompanies(self) -> bool {
        matches!(self, Self::CompanionSyn | Self::CompanionSynAck | Self::CompanionLateSyn)
    }
}

/// When in the life of the second internal endpoint the clash comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Its first SYN goes to the remote where the first endpoint holds the port.
    ClashFirst,
    /// It goes there last.
    ClashLast,
}

/// What spoils a run without saying anything of the NAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trouble", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trouble {
    /// No control connection with a reflector came to be.
    Unreachable {
        /// Which reflector.
        reflector: u8,
        /// Why not.
        #[serde(default)]
        why: Unreached,
    },
    /// A reflector took the control connection and said nothing, or stopped answering.
    Silent {
        /// Which reflector.
        reflector: u8,
    },
    /// The control connection with a reflector died during the run.
    Gone {
        /// Which reflector.
        reflector: u8,
    },
    /// A reflector refused.
    Refused {
        /// Which reflector.
        reflector: u8,
        /// Why.
        why: Refusal,
    },
    /// A reflector speaks another version of the control protocol, or none.
    Version {
        /// Which reflector.
        reflector: u8,
        /// The version that it speaks, if it said so.
        theirs: Option<u16>,
    },
    /// A reflector took no part as agreed: it answered out of turn or named no usable endpoints.
    Nonsense {
        /// Which reflector.
        reflector: u8,
    },
    /// No SYN reached this endpoint of a reflector, although its control connection stands.
    Deaf {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// A reflector's SYN,ACK did not leave its interface: its own firewall swallowed it.
    Muzzled {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// A reflector's SYN,ACK left it, and never arrived here.
    Mute {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// Packets of ours did not leave this host's interface.
    HostFirewall {
        /// How many.
        packets: u32,
    },
    /// The run was interrupted.
    Interrupted,
    /// This host's own network failed during the run.
    Host {
        /// What failed, and why.
        what: String,
    },
    /// A STUN server said nothing of the NAT.
    StunServer {
        /// The server.
        server: Endpoint,
        /// What it did instead, in words.
        what: String,
    },
}

/// Why a connection never came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unreached {
    /// The host answered that it takes none at that port.
    Refused,
    /// Nothing answered in time.
    TimedOut,
    /// No way leads there, says this host or a router.
    NoWay,
    /// The same connection, from this local port, stands or has ended less than a minute ago.
    LocalTaken,
    /// For another reason, or one that was not kept.
    #[default]
    Unsaid,
}

impl Run {
    /// Takes a fact that a party noted; packets go into the trace.
    pub fn note(&mut self, at: Instant, fact: Fact) {
        match fact {
            Fact::Seen(record) => self.trace.push(record),
            fact => self.facts.push((at, fact)),
        }
    }

    /// Both, on one clock.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.trace.extend(other.trace);
        self.facts.extend(other.facts);
        self.facts.sort_by_key(|(at, _)| *at);
        self.settle();
        self
    }

    /// Puts the trace in order of time, once the run is over.
    pub fn settle(&mut self) {
        self.trace.sort_by_cached_key(|record| record.at);
    }

    /// The plan's own account, if it came so far as to give one.
    pub fn planned(&self) -> Option<(Effort, Duration)> {
        self.facts.iter().find_map(|(_, fact)| match fact {
            Fact::Planned { effort, longest, .. } => Some((*effort, *longest)),
            _ => None,
        })
    }
}

impl Fact {
    /// The trouble that it tells of, if it does.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Trouble(trouble) => Some(trouble.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_of_evidence_that_did_not_say_why_are_read() {
        let line = r#"{"fact":"trouble","trouble":"unreachable","reflector":1}"#;
        let (reflector, why) = (1, Unreached::Unsaid);
        let unreachable = Fact::Trouble(Trouble::Unreachable { reflector, why });
        assert_eq!(serde_json::from_str::<Fact>(line).expect("a fact"), unreachable);
    }
}
