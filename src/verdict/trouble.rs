//! What spoiled a run, in words.

use std::fmt;

use crate::engine::{Trouble, Unreached};
use crate::wire::control::{Refusal, VERSION};

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { reflector, why } => {
                write!(f, "reflector {} could not be reached{}", reflector + 1, unreached(*why))
            }
            Self::Silent { reflector } => {
                write!(f, "reflector {} took the connection and does not answer", reflector + 1)
            }
            Self::Gone { reflector } => {
                write!(f, "the connection with reflector {} was lost during the run", reflector + 1)
            }
            Self::Refused { reflector, why } => {
                write!(f, "reflector {} refused: {}", reflector + 1, reason(*why))
            }
            Self::Version { reflector, theirs } => {
                let theirs =
                    theirs.map_or("another version".to_owned(), |n| format!("version {n}"));
                let reflector = reflector + 1;
                write!(f, "reflector {reflector} speaks {theirs} of the control protocol")?;
                write!(f, ", this is version {VERSION}")
            }
            Self::Nonsense { reflector } => {
                write!(f, "reflector {} does not speak the control protocol", reflector + 1)
            }
            Self::Deaf { endpoint } => {
                write!(f, "no SYN reached the reflector's endpoint {endpoint}")
            }
            Self::Muzzled { endpoint } => {
                write!(f, "the reflector's SYN,ACK did not leave its interface from {endpoint}")
            }
            Self::Mute { endpoint } => {
                write!(f, "the reflector's SYN,ACK left {endpoint} and never arrived here")
            }
            Self::HostFirewall { packets } => {
                write!(f, "{packets} packets of ours did not leave this host's interface")
            }
            Self::Interrupted => write!(f, "interrupted: the verdict is partial"),
            Self::Host { what } => write!(f, "{what}"),
            Self::StunServer { server, what } => write!(f, "STUN server {server}: {what}"),
        }
    }
}

const fn unreached(why: Unreached) -> &'static str {
    match why {
        Unreached::Refused => ": it refused the connection",
        Unreached::TimedOut => ": nothing answered",
        Unreached::NoWay => ": no way leads there",
        Unreached::LocalTaken => ": this very connection stands already",
        Unreached::Unsaid => "",
    }
}

const fn reason(why: Refusal) -> &'static str {
    match why {
        Refusal::Version => "it speaks another version",
        Refusal::Busy => "it serves as many probers as it can",
        Refusal::TooMuch => "the request goes beyond what one prober may ask for",
        Refusal::UnprovenTarget => "an address to be probed has not shown that it asked",
        Refusal::ForeignSource => "a source is none of its endpoints",
        Refusal::OutOfTurn => "a message made no sense to it",
    }
}
