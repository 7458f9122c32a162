//! The causes, in the order of what explains most.

use schemars::JsonSchema;
use serde::Serialize;

use super::ConnectionOutcome;
use super::case::{Case, Seen};
use super::{crossing, elsewhere, middle, proof, quota, refusal, rewriting, silence};
use crate::tcp::{Opening, Side, Testimony};

/// Why an opening failed, or what is strange about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnosed {
    /// The cause.
    pub cause: OpeningCause,
    /// The end that it is about; none if it cannot be told.
    pub side: Option<Side>,
    /// How sure it is.
    pub confidence: Confidence,
    /// What was seen.
    pub because: String,
    /// The numbers of the frames that show it.
    pub frames: Vec<u64>,
    /// What to do.
    pub advice: String,
}

/// How sure a diagnosis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Nothing else makes what was seen.
    Certain,
    /// Something else could make it, and seldom does.
    Likely,
}

impl Diagnosed {
    /// Whether people are to be told that it is no more than likely.
    pub fn is_doubtful(&self) -> bool {
        self.confidence.is_doubtful_of(self.cause)
    }
}

impl Confidence {
    /// The same of that cause: of an unknown one nothing was claimed.
    pub fn is_doubtful_of(self, cause: OpeningCause) -> bool {
        self == Self::Likely && cause != OpeningCause::Unknown
    }
}

/// What kept a connection from opening, or made it open strangely; docs/diagnoses.md has a section for
/// each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OpeningCause {
    /// Both endpoints are the same.
    SelfConnect,
    /// A SYN was answered by a bare SYN.
    SplitHandshake,
    /// It opened, and one of the two SYNs had not crossed.
    HalfCrossed,
    /// The sender's own host reset the answer: its socket had been closed by then, or its kernel knows nothing
    /// of the SYN; both look alike.
    LocalReset,
    /// An answer acknowledged another SYN, and was reset.
    WrongAck,
    /// An ICMP error answered the SYN.
    IcmpError,
    /// The other end's SYN came from another port than was aimed at.
    OtherPort,
    /// The other end's SYN came from its internal endpoint.
    HairpinInternalSource,
    /// The SYNs did not meet: one came when its receiver had not begun, or no more.
    MissedWindow,
    /// Both ends are behind one NAT, which does not turn packets around.
    HairpinUnsupported,
    /// A NAT forgot the mapping while it was needed.
    MappingExpired,
    /// The first SYNs were answered, and those that followed were not.
    SynRateLimit,
    /// A SYN,ACK was sent again and again, and not taken.
    SynAckLost,
    /// The last ACK of three did not arrive, or the other end did not take it, as a listener whose queue is
    /// full.
    AckLost,
    /// The SYN,ACK came to its receiver's interface, and that went on sending SYNs.
    SynAckIgnored,
    /// The SYN came to its receiver's interface, and that neither answered nor reset it.
    LocalFirewall,
    /// A reset came from elsewhere than the other host.
    MiddleboxReset,
    /// The other host has nothing at that port.
    ClosedPort,
    /// A reset answered the SYN; whose it was cannot be told.
    Reset,
    /// A reset came once the SYNs had met.
    ResetAfterCrossing,
    /// Every SYN left its end, and died on its way: between which points is known.
    SynLost,
    /// SYN after SYN, and nothing came back: certain where the address is heard otherwise, else the capture may
    /// lack that direction.
    NoAnswer,
    /// Somebody before the host answers the SYN, and lets the host in later.
    SynProxy,
    /// Somebody before the host answers at this port in its place.
    TransparentProxy,
    /// Numbers or options are changed on the way.
    Rewritten,
    /// An end is an IPv4 host behind a NAT64.
    Nat64,
    /// What was seen proves no cause.
    Unknown,
}

/// All that is wrong or strange, the first that explains a failure first.
pub fn diagnosis(
    case: &Case<'_>,
    testimony: &Testimony,
    outcome: ConnectionOutcome,
) -> Vec<Diagnosed> {
    if let Some(found) = self_connect(case) {
        return vec![found];
    }
    let mut found: Vec<_> = match outcome {
        ConnectionOutcome::Open => strange(case, testimony).into_iter().collect(),
        // What has been seen so far may do.
        ConnectionOutcome::Unfinished => failure(case).into_iter().collect(),
        _ => vec![failure(case).unwrap_or_else(|| unknown(case))],
    };
    found.extend(remarks(case, outcome, &found));
    found.iter_mut().for_each(|found| found.frames.sort_unstable());
    found
}

fn failure(case: &Case<'_>) -> Option<Diagnosed> {
    let causes: [fn(&Case<'_>) -> Option<Diagnosed>; 21] = [
        rewriting::echo,
        refusal::local_reset,
        refusal::wrong_ack,
        elsewhere::mapping_expired,
        quota::syn_rate_limit,
        crossing::missed_window,
        refusal::reset_though_begun,
        refusal::injected,
        refusal::after_crossing,
        elsewhere::internal_source,
        elsewhere::other_port,
        refusal::icmp_error,
        elsewhere::hairpin_unsupported,
        silence::local_firewall,
        silence::syn_ack_ignored,
        crossing::syn_ack_lost,
        refusal::middlebox_reset,
        refusal::closed_port,
        silence::no_answer,
        middle::syn_proxy,
        refusal::reset,
    ];
    causes.iter().find_map(|cause| cause(case))
}

/// What is true of the way besides.
fn remarks(case: &Case<'_>, outcome: ConnectionOutcome, found: &[Diagnosed]) -> Vec<Diagnosed> {
    let failed = !matches!(outcome, ConnectionOutcome::Open | ConnectionOutcome::Unfinished);
    let proxy = middle::syn_proxy(case).or_else(|| middle::transparent_proxy(case));
    let nat64 = elsewhere::nat64(case).filter(|_| failed);
    let mut all: Vec<_> =
        [proxy, rewriting::rewritten(case), nat64].into_iter().flatten().collect();
    all.retain(|remark| found.iter().all(|found| found.cause != remark.cause));
    all
}

/// What is strange about an opening that came to be.
fn strange(case: &Case<'_>, testimony: &Testimony) -> Option<Diagnosed> {
    if let Some(found) = crossing::ack_lost(case) {
        return Some(found);
    }
    match testimony.opening {
        Opening::SplitHandshake => Some(Diagnosed {
            cause: OpeningCause::SplitHandshake,
            side: None,
            confidence: Confidence::Certain,
            because: "a bare SYN was answered with a bare SYN, not with a SYN,ACK".to_owned(),
            frames: frames(case.packets.iter()),
            advice:
                "no rule of RFC 9293 has a host answer so: see what box is before it; firewalls \
                     that block split handshakes block simultaneous opens as well"
                    .to_owned(),
        }),
        Opening::HalfCrossed { crossed_syn } => Some(crossing::half_crossed(case, crossed_syn)),
        _ => None,
    }
}

fn self_connect(case: &Case<'_>) -> Option<Diagnosed> {
    let end = case.opening.a;
    (end == case.opening.b).then(|| Diagnosed {
        cause: OpeningCause::SelfConnect,
        side: None,
        confidence: Confidence::Certain,
        because: case.tell(format_args!("both endpoints are {end}: a socket connected to itself")),
        frames: frames(case.packets.iter()),
        advice:
            "aim at the peer's external endpoint; a program that gets its own has asked the wrong \
                 one, or its listener was not yet there"
                .to_owned(),
    })
}

fn unknown(case: &Case<'_>) -> Diagnosed {
    let because = aborted(case).or_else(|| missing(case)).unwrap_or_else(|| {
        format!("the {} packets that were captured fit several causes", case.packets.len())
    });
    Diagnosed {
        cause: OpeningCause::Unknown,
        side: None,
        // That several causes fit is no cause.
        confidence: Confidence::Likely,
        because,
        frames: frames(case.packets.iter()),
        advice:
            "capture at both ends, from before the first SYN until a minute after it, without a \
                 filter on flags: `tso-probe analyze A.pcapng B.pcapng`"
                .to_owned(),
    }
}

/// What the capture lacks to tell.
fn missing(case: &Case<'_>) -> Option<String> {
    let syns = case.bare_syns(Side::A).count();
    let is_one_way = case.packets.iter().all(|seen| seen.from == Side::A);
    let plural = if syns == 1 { "" } else { "s" };
    if syns == 0 && case.bare_syns(Side::B).next().is_none() {
        Some("the capture has no SYN of it: how the opening began is not known".to_owned())
    } else if is_one_way && syns < case.packets.len() {
        Some(format!(
            "{syns} SYN{plural}, and what {} sent besides answers something that is not in the capture: that \
             has one direction alone, or has lost the answers",
            case.name(Side::A)
        ))
    } else {
        let verb = if syns == 1 { "is" } else { "are" };
        is_one_way.then(|| {
            format!(
                "{syns} SYN{plural} and no answer {verb} too few to tell silence from a capture that has lost \
                 the answers"
            )
        })
    }
}

/// Who ended what it had taken, if that is seen.
fn aborted(case: &Case<'_>) -> Option<String> {
    let is_abort =
        |side: &Side| case.resets(*side).any(|(seen, reset)| proof::is_abort(case, seen, reset));
    let side = [Side::A, Side::B].into_iter().find(is_abort)?;
    Some(format!(
        "the reset of {} acknowledges the SYN,ACK: its host had taken that, and its program closed the \
         connection at once, or a box on the way did in its name",
        case.name(side)
    ))
}

/// The numbers of these frames.
pub fn frames<'a>(seen: impl Iterator<Item = &'a Seen>) -> Vec<u64> {
    seen.map(|seen| seen.frame).collect()
}
