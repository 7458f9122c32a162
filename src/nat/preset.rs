//! Named NATs, each standing for a device or a document.

use super::behaviour::{
    Answer, Assignment, Behaviour, Fallback, IdleTimeouts, Knobs, Pooling, Sharing, Unsolicited,
};
use super::words::{CrossingSegment, Filtering, Hairpinning, Mapping};
use crate::time::Duration;

/// One NAT, or several in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// As the user named it.
    pub name: String,
    /// What it is.
    pub device: Device,
}

/// What translates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The model, once or more, the innermost first.
    Modelled(Vec<Behaviour>),
    /// The kernel's own NAT in a namespace; real packets only.
    Kernel(KernelRouter),
}

/// How a router of the kernel's own NAT is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelRouter {
    /// Masquerade, unsolicited packets dropped.
    Linux,
    /// Masquerade, unsolicited TCP reset, SYN flood limiter, invalid packets from inside dropped.
    OpenWrt,
}

/// A named NAT.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The device or document that it stands for.
    pub cites: &'static str,
    device: fn() -> Device,
}

impl Preset {
    /// What it stands for, to be run.
    pub fn device(&self) -> Device {
        (self.device)()
    }

    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

/// Every preset, in the order of `lab list`.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "rfc5382",
        about: "meets every requirement",
        cites: "RFC 5382 (BCP 142), REQ-1 to REQ-8a; address-dependent filtering",
        device: || modelled(Knobs::rfc5382()),
    },
    Preset {
        name: "openwrt",
        about: "OpenWrt's defaults, modelled",
        cites: "OpenWrt firewall4: wan zone input REJECT (TCP reset), masquerade; netfilter as below",
        device: || modelled(openwrt()),
    },
    Preset {
        name: "openwrt-kernel",
        about: "OpenWrt's rules on this machine's kernel",
        cites: "OpenWrt firewall4 rules set with nftables on the running kernel",
        device: || Device::Kernel(KernelRouter::OpenWrt),
    },
    Preset {
        name: "linux",
        about: "Linux masquerade, unsolicited dropped, modelled",
        cites: "Linux net/netfilter/nf_nat_core.c and nf_conntrack_proto_tcp.c (6.1)",
        device: || modelled(linux()),
    },
    Preset {
        name: "linux-kernel",
        about: "Linux masquerade on this machine's kernel",
        cites: "nftables masquerade on the running kernel, input policy drop",
        device: || Device::Kernel(KernelRouter::Linux),
    },
    Preset {
        name: "linux-random",
        about: "random ports, address-and-port-dependent",
        cites: "nftables 'masquerade fully-random': every connection a random port",
        device: || modelled(random()),
    },
    Preset {
        name: "sequential",
        about: "the last port plus two, whatever the remote",
        cites: "RFC 5128 section 3.4: port prediction where ports grow by a fixed step",
        device: || modelled(sequential()),
    },
    Preset {
        name: "full-cone",
        about: "endpoint-independent mapping and filtering",
        cites: "Chion82/netfilter-full-cone-nat: one port for all, open to all",
        device: || modelled(full_cone()),
    },
    Preset {
        name: "jool",
        about: "holds unsolicited SYNs for six seconds, ten at most",
        cites: "Jool src/common/constants.h: TCP_INCOMING_SYN 6 s, maximum-simultaneous-opens 10",
        device: || modelled(jool()),
    },
    Preset {
        name: "syn-ack-blocked",
        about: "no SYN,ACK out after a SYN out",
        cites: "Guha and Francis 2005, on why NATBLASTER fails: outbound SYN,ACK refused",
        device: || modelled(blocking(CrossingSegment::SynAckOut)),
    },
    Preset {
        name: "split-handshake-firewall",
        about: "no bare SYN in answer to a SYN",
        cites: "PAN-OS zone protection 'TCP split handshake': a SYN answered by a SYN is dropped",
        device: || modelled(blocking(CrossingSegment::SynIn)),
    },
    Preset {
        name: "overloading",
        about: "keeps the internal port even when two hosts share it",
        cites: "RFC 4787 section 4.2.1: port overloading, which REQ-3 there and REQ-7 here forbid",
        device: || modelled(overloading()),
    },
    Preset {
        name: "isn-rewriting",
        about: "replaces initial sequence numbers, strips options",
        cites: "Honda et al. 2011: sequence numbers rewritten and SYN options removed on real paths",
        device: || modelled(rewriting()),
    },
    Preset {
        name: "cgn",
        about: "carrier-grade: a pool of addresses, ports from a block",
        cites: "RFC 6888 REQ-2 (paired pooling), REQ-7 (endpoint-independent filtering), REQ-15",
        device: || modelled(carrier_grade()),
    },
    Preset {
        name: "double-nat",
        about: "a home router behind a carrier's NAT",
        cites: "OpenWrt as above behind RFC 6888 as above (RFC 7021's NAT444)",
        device: || Device::Modelled(vec![behaviour(openwrt()), behaviour(carrier_grade())]),
    },
];

fn modelled(knobs: Knobs) -> Device {
    Device::Modelled(vec![behaviour(knobs)])
}

fn behaviour(knobs: Knobs) -> Behaviour {
    Behaviour::try_from(knobs).expect("a test builds every preset")
}

fn linux() -> Knobs {
    Knobs {
        mapping: Mapping::AddressAndPortDependent,
        filtering: Filtering::AddressAndPortDependent,
        filtering_established: Filtering::AddressAndPortDependent,
        ports: Assignment::Preservation(Sharing::OverlappingReuse),
        hairpinning: Hairpinning::Unsupported,
        unsolicited: Unsolicited::DROPPED,
        timeouts: IdleTimeouts::NETFILTER,
        ..Knobs::rfc5382()
    }
}

fn openwrt() -> Knobs {
    let established = Duration::from_secs(7_440);
    Knobs {
        unsolicited: Unsolicited::at_once(Answer::Reset),
        timeouts: IdleTimeouts { established, ..IdleTimeouts::NETFILTER },
        ..linux()
    }
}

fn random() -> Knobs {
    Knobs { ports: Assignment::Random, ..linux() }
}

fn sequential() -> Knobs {
    Knobs {
        mapping: Mapping::AddressAndPortDependent,
        filtering: Filtering::AddressAndPortDependent,
        filtering_established: Filtering::AddressAndPortDependent,
        ports: Assignment::Sequential(2),
        ..silent()
    }
}

fn full_cone() -> Knobs {
    Knobs {
        filtering: Filtering::EndpointIndependent,
        filtering_established: Filtering::EndpointIndependent,
        ..silent()
    }
}

fn jool() -> Knobs {
    let established = Duration::from_secs(7_200);
    Knobs {
        ports: Assignment::Random,
        timeouts: IdleTimeouts { established, ..IdleTimeouts::RFC_5382 },
        ..Knobs::rfc5382()
    }
}

fn blocking(segment: CrossingSegment) -> Knobs {
    Knobs {
        filtering: Filtering::AddressAndPortDependent,
        filtering_established: Filtering::AddressAndPortDependent,
        blocks: Some(segment),
        hairpinning: Hairpinning::Unsupported,
        ..silent()
    }
}

fn overloading() -> Knobs {
    Knobs { ports: Assignment::Overloading, ..silent() }
}

fn rewriting() -> Knobs {
    Knobs { rewrites_isn: true, strips_options: true, ..silent() }
}

fn carrier_grade() -> Knobs {
    Knobs {
        filtering: Filtering::EndpointIndependent,
        filtering_established: Filtering::EndpointIndependent,
        ports: Assignment::Random,
        range: 20_480..=22_527,
        pooling: Pooling::Paired,
        ..silent()
    }
}

/// RFC 5382's NAT with REQ-4a's silence instead of REQ-4's late error.
fn silent() -> Knobs {
    Knobs { unsolicited: Unsolicited::DROPPED, on_clash: Fallback::Random, ..Knobs::rfc5382() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_exist_and_has_a_name_of_its_own() {
        for preset in PRESETS {
            let _ = preset.device();
            assert_eq!(PRESETS.iter().filter(|other| other.name == preset.name).count(), 1);
            assert!(!preset.cites.is_empty());
        }
    }
}
