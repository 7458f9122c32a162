//! What is known of a NAT: each finding with its proof, or unknown with a why.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::Serialize;

use crate::nat::{
    CrossingSegment, Filtering, Hairpinning, Mapping, PortAssignment, SimultaneousOpen,
    UnsolicitedSyn,
};

/// A behaviour known, or unknown with a why. `D` is what goes with a value: a step, a delay.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(into = "FindingJson<T, D>")]
#[schemars(with = "FindingJson<T, D>", bound = "T: JsonSchema, D: JsonSchema")]
#[serde(bound = "T: Clone + Serialize, D: Clone + Serialize")]
pub enum Finding<T, D = NoDetails> {
    /// Known.
    Known {
        /// The behaviour.
        value: T,
        /// What goes with it.
        details: D,
        /// What it stands on.
        proof: Proof,
    },
    /// Unknown.
    Unknown {
        /// Why.
        why: Unknown,
        /// The frames that speak for the why, if any do.
        evidence: Vec<Frame>,
    },
}

/// A frame's number in the evidence file, from 1.
pub type Frame = usize;

/// What a finding stands on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proof {
    /// The frames that show it, in order.
    pub evidence: Vec<Frame>,
    /// For a finding that rests on silence, the chance that loss alone made it, given the loss
    /// measured in the run; zero for one that rests on arrivals alone.
    pub error_bound: f64,
}

impl Proof {
    /// One proof of several: all their frames, and the chance that any of them is wrong.
    pub fn of_all(proofs: Vec<Self>) -> Self {
        let error_bound = proofs.iter().map(|proof| proof.error_bound).sum();
        let mut evidence: Vec<_> = proofs.into_iter().flat_map(|proof| proof.evidence).collect();
        evidence.sort_unstable();
        Self { evidence, error_bound }
    }
}

/// Nothing goes with the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NoDetails {}

/// Why a finding is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// What had to arrive for the question to be put did not.
    NoAnswer,
    /// This run did not ask.
    NotAsked,
    /// This run did not wait long enough to tell.
    NotWaited,
    /// Two answers to one question disagree.
    Contradicted,
    /// It takes a reflector.
    NeedsReflector,
    /// It takes the second address of a reflector, or of a STUN server.
    NeedsSecondAddress,
    /// It takes a second internal address.
    NeedsSecondInternal,
    /// It takes privilege.
    NeedsPrivilege,
    /// The path loses too much to tell silence from loss.
    LossyPath,
    /// This host's own firewall swallowed what had to leave.
    HostFirewall,
    /// Another behaviour of this NAT hides it.
    HiddenByOtherBehaviour,
}

impl Unknown {
    /// Its name in the JSON contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::NotAsked => "not-asked",
            Self::NotWaited => "not-waited",
            Self::Contradicted => "contradicted",
            Self::NeedsReflector => "needs-reflector",
            Self::NeedsSecondAddress => "needs-second-address",
            Self::NeedsSecondInternal => "needs-second-internal",
            Self::NeedsPrivilege => "needs-privilege",
            Self::LossyPath => "lossy-path",
            Self::HostFirewall => "host-firewall",
            Self::HiddenByOtherBehaviour => "hidden-by-other-behaviour",
        }
    }
}

/// All findings of `classify`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Findings {
    /// Mapping, without a port clash.
    pub mapping: Finding<Mapping>,
    /// What happens when two internal hosts want one port.
    pub on_port_clash: Finding<OnPortClash>,
    /// Filtering.
    pub filtering: FilteringFinding,
    /// How external ports are chosen, without a port clash.
    pub port_assignment: Finding<PortAssignment, Ports>,
    /// What meets an unsolicited SYN.
    pub unsolicited_syn: UnsolicitedSynFinding,
    /// Whether a simultaneous open passes.
    pub simultaneous_open: Finding<SimultaneousOpen, BlockedAt>,
    /// Hairpinning.
    pub hairpinning: Finding<Hairpinning>,
}

/// What happens when two internal hosts want one port, asked in both orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OnPortClash {
    /// The mapping of the host that came second.
    pub mapping: Mapping,
    /// How its port was chosen where the first host held the one that it wanted.
    pub port_assignment: PortAssignment,
    /// Whether both had one external port at once towards different remotes (RFC 7857 §3).
    pub overlapping: bool,
    /// Whether a host whose first SYN clashes keeps its changed port towards every remote, while
    /// one whose last SYN clashes has its own port towards the others.
    pub order_counts: bool,
}

/// Filtering after an outbound SYN only, and once established.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FilteringFinding {
    /// After an outbound SYN only.
    #[serde(flatten)]
    pub after_syn: Finding<Filtering>,
    /// Once a connection is established.
    pub established: Finding<Filtering>,
}

/// What goes with a port assignment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Ports {
    /// Sequential: from one port to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
    /// The lowest and the highest external port seen.
    pub range: [u16; 2],
    /// The ports that the next mappings are likely to get.
    pub next: Vec<Prediction>,
}

impl Ports {
    /// The external ports seen, lowest to highest.
    pub fn seen(&self) -> RangeInclusive<u16> {
        self.range[0]..=self.range[1]
    }
}

/// A port that a next mapping is likely to get.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Prediction {
    /// The external port.
    pub port: u16,
    /// How likely, from 0 to 1.
    pub probability: f64,
}

/// What meets an unsolicited SYN: to an unmapped port, and to a mapped but filtered one.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct UnsolicitedSynFinding {
    /// To an unmapped port.
    #[serde(flatten)]
    pub unmapped_port: Finding<UnsolicitedSyn, Answered>,
    /// To a port that is mapped, but filtered.
    pub filtered_port: Finding<UnsolicitedSyn, Answered>,
}

/// What goes with an answer to an unsolicited SYN; nothing goes with silence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Answered {
    /// From the SYN that left the reflector to the answer that arrived there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// An ICMP error's type and code, as `3/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<String>,
    /// The answer's time to live as it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

/// What goes with a blocked simultaneous open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BlockedAt {
    /// The first segment that did not arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_at: Option<CrossingSegment>,
}

impl<T, D: Default> Finding<T, D> {
    /// A finding that rests on arrivals alone.
    pub fn shown(value: T, evidence: Vec<Frame>) -> Self {
        Self::Known { value, details: D::default(), proof: Proof { evidence, error_bound: 0.0 } }
    }

    /// Unknown, with nothing to show for it.
    pub const fn unknown(why: Unknown) -> Self {
        Self::Unknown { why, evidence: Vec::new() }
    }
}

impl<T, D> Finding<T, D> {
    /// The behaviour, if it is known.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// Why it is unknown, if it is.
    pub const fn why(&self) -> Option<Unknown> {
        match self {
            Self::Known { .. } => None,
            Self::Unknown { why, .. } => Some(*why),
        }
    }

    /// What goes with the value, if it is known.
    pub const fn details(&self) -> Option<&D> {
        match self {
            Self::Known { details, .. } => Some(details),
            Self::Unknown { .. } => None,
        }
    }

    /// The frames that it cites.
    pub fn evidence(&self) -> &[Frame] {
        match self {
            Self::Known { proof, .. } => &proof.evidence,
            Self::Unknown { evidence, .. } => evidence,
        }
    }
}

/// A finding as the JSON contract has it.
#[derive(Serialize, JsonSchema)]
struct FindingJson<T, D> {
    /// The behaviour; null when it is unknown.
    value: Option<T>,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<Unknown>,
    #[serde(flatten)]
    details: Option<D>,
    /// The numbers of the frames that show it.
    evidence: Vec<Frame>,
    /// For a finding that rests on silence, the chance that loss alone made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_bound: Option<f64>,
}

impl<T, D> From<Finding<T, D>> for FindingJson<T, D> {
    fn from(finding: Finding<T, D>) -> Self {
        match finding {
            Finding::Known { value, details, proof } => Self {
                value: Some(value),
                unknown: None,
                details: Some(details),
                evidence: proof.evidence,
                error_bound: Some(proof.error_bound).filter(|bound| *bound > 0.0),
            },
            Finding::Unknown { why, evidence } => {
                Self { value: None, unknown: Some(why), details: None, evidence, error_bound: None }
            }
        }
    }
}
