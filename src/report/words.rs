//! What people read for a value, for a why and for the remedy.

use serde::Serialize;

use crate::engine::{Question, Trouble, Unreached};
use crate::nat::{Filtering, PortAssignment, SimultaneousOpen, UnsolicitedSyn};
use crate::verdict::{
    Answered, BlockedAt, Decision, Finding, Findings, Frame, NoDetails, OnPortClash, Ports,
    Prediction, Unknown,
};

/// One finding, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which behaviour, by its path among the findings in JSON.
    pub key: &'static str,
    /// The same for people; indented under the one that it belongs to.
    pub name: &'static str,
    /// The behaviour, if it is known.
    pub value: Option<String>,
    /// What shows it, or why it is unknown.
    pub because: String,
    /// Why it is unknown, if it is.
    pub why: Option<Unknown>,
    /// The frames that it cites.
    pub evidence: Vec<Frame>,
}

/// All findings, in the order in which they are shown.
pub fn rows(findings: &Findings) -> [Row; 9] {
    let Findings { filtering, unsolicited_syn, .. } = findings;
    [
        row(("mapping", "mapping"), &findings.mapping, |value, NoDetails {}| word(value)),
        row(("filtering", "filtering"), &filtering.after_syn, of_filtering),
        row(("filtering.established", "  established"), &filtering.established, of_filtering),
        row(("port_assignment", "port assignment"), &findings.port_assignment, of_assignment),
        row(("on_port_clash", "port clash"), &findings.on_port_clash, of_clash),
        row(("simultaneous_open", "simultaneous open"), &findings.simultaneous_open, of_open),
        row(("unsolicited_syn", "unsolicited SYN"), &unsolicited_syn.unmapped_port, of_answer),
        row(
            ("unsolicited_syn.filtered_port", "  filtered port"),
            &unsolicited_syn.filtered_port,
            of_answer,
        ),
        row(("hairpinning", "hairpinning"), &findings.hairpinning, |value, NoDetails {}| {
            word(value)
        }),
    ]
}

fn row<T, D>(
    (key, name): (&'static str, &'static str),
    finding: &Finding<T, D>,
    show: fn(&T, &D) -> String,
) -> Row {
    let evidence = finding.evidence().to_vec();
    match finding {
        Finding::Known { value, details, proof } => Row {
            key,
            name,
            value: Some(show(value, details)),
            because: proven(&proof.evidence, proof.error_bound),
            why: None,
            evidence,
        },
        Finding::Unknown { why, .. } => Row {
            key,
            name,
            value: None,
            because: because(*why).to_owned(),
            why: Some(*why),
            evidence,
        },
    }
}

/// The word that the JSON has for a value.
pub fn word<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Why a finding is unknown, in words.
pub const fn because(why: Unknown) -> &'static str {
    match why {
        Unknown::NoAnswer => "what had to arrive first never did",
        Unknown::NotAsked => "this run did not ask",
        Unknown::NotWaited => "this run did not wait long enough",
        Unknown::Contradicted => "two answers to the same question disagree",
        Unknown::NeedsReflector => "it takes a reflector",
        Unknown::NeedsSecondAddress => "it takes a server's second address",
        Unknown::NeedsSecondInternal => "it takes a second internal address",
        Unknown::NeedsPrivilege => "it takes privilege",
        Unknown::LossyPath => "too many packets were lost to tell silence from loss",
        Unknown::HostFirewall => "this host's own firewall kept packets from leaving",
        Unknown::HiddenByOtherBehaviour => "another behaviour of this NAT hides it",
    }
}

/// What to do about a finding that is unknown.
pub const fn remedy(why: Unknown) -> &'static str {
    match why {
        Unknown::NoAnswer => {
            "run again; if it stays, check that a firewall lets the ports of the reflector, or of \
             the STUN server, through"
        }
        Unknown::NotAsked => "run again with --full",
        Unknown::NotWaited => {
            "run again without --quick, which does not wait out REQ-4's 6 seconds"
        }
        Unknown::Contradicted => {
            "run again; if it stays, the path may change between packets, or the NAT's behaviour \
             varies: look at the frames in the evidence file (--evidence FILE)"
        }
        Unknown::NeedsReflector => {
            "give one with --reflector HOST (on it: 'sudo tso-probe serve'), or try a NAT on this \
             machine with --lab"
        }
        Unknown::NeedsSecondAddress => {
            "give --reflector twice, for two hosts, or run 'serve' with --alternate ADDR; or give \
             --stun a server that has two addresses (RFC 5780)"
        }
        Unknown::NeedsSecondInternal => {
            "give --second-internal ADDR, another address of this host behind the same NAT"
        }
        Unknown::NeedsPrivilege => "run with sudo",
        Unknown::LossyPath => "run again with --full, over a wire if this is a wireless network",
        Unknown::HostFirewall => {
            "allow outgoing TCP to the reflector in this host's firewall; 'nft list ruleset' shows it"
        }
        Unknown::HiddenByOtherBehaviour => "nothing: from outside it cannot be told for this NAT",
    }
}

/// What to do about what spoiled a run.
pub const fn remedy_for(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Unreachable { why, .. } => remedy_to_reach(*why),
        Trouble::Silent { .. } => {
            "check that the port is the control port of 'tso-probe serve'; a firewall may swallow \
             what it answers"
        }
        Trouble::Gone { .. } => "run again; if it stays, look at what 'tso-probe serve' says there",
        Trouble::Refused { .. } => "try again later, or another reflector",
        Trouble::Version { .. } => "run the same version of tso-probe here and on the reflector",
        Trouble::Nonsense { .. } => {
            "check that the port is that of 'tso-probe serve', and not of another server"
        }
        Trouble::Deaf { .. } => "open the reflector's probe ports in the firewall in front of it",
        Trouble::Muzzled { .. } => "let SYN,ACKs leave through the reflector's own firewall",
        Trouble::Mute { .. } => {
            "check the path for a firewall that keeps state; another network may do better"
        }
        Trouble::HostFirewall { .. } => remedy(Unknown::HostFirewall),
        Trouble::Interrupted => "let it run to its end; --quick makes it shorter",
        Trouble::Host { .. } => "mend that and run again",
        Trouble::StunServer { .. } => {
            "check name and port (STUN over TCP is 3478), and that this host is online; or name \
             another server"
        }
    }
}

const fn remedy_to_reach(why: Unreached) -> &'static str {
    match why {
        Unreached::Refused => {
            "start 'tso-probe serve' there, or name the control port that it says it serves; \
             --lab tries a NAT on this machine instead"
        }
        Unreached::TimedOut => {
            "check the address, and that the firewall there lets the control port in; --lab tries \
             a NAT on this machine instead"
        }
        Unreached::NoWay => {
            "check the address, and that this host is online; --lab tries a NAT on this machine \
             instead"
        }
        Unreached::LocalTaken => {
            "wait a minute, until the kernel has forgotten the last connection"
        }
        Unreached::Unsaid => {
            "check the name and port, and that 'tso-probe serve' runs there and its control port is \
             open; --lab tries a NAT on this machine instead"
        }
    }
}

/// A ruling with its mark.
pub const fn ruling(decision: Decision) -> &'static str {
    match decision {
        Decision::Met => "✓ met",
        Decision::Broken => "✗ broken",
        Decision::Undecided => "? undecided",
        Decision::NotAsked => "– not asked",
    }
}

/// What a probe asks.
pub const fn question(question: Question) -> &'static str {
    match question {
        Question::Preflight => "preflight",
        Question::Mapping => "asks for mapping",
        Question::Filtering => "asks for filtering",
        Question::FilteringEstablished => "asks for filtering once established",
        Question::UnsolicitedSyn => "asks what meets an unsolicited SYN",
        Question::SimultaneousOpen => "asks for a simultaneous open",
        Question::Hairpinning => "asks for hairpinning",
        Question::HairpinningPredicted => "asks for hairpinning, to a predicted port",
        Question::PortClash(_) => "asks what happens on a port clash",
        Question::CompanionSyn => "proves that SYNs get through",
        Question::CompanionSynAck => "proves that SYN,ACKs get through",
        Question::CompanionLateSyn => "proves that SYNs get through where one was answered",
    }
}

fn proven(evidence: &[Frame], error_bound: f64) -> String {
    if error_bound > 0.0 {
        return format!("silence (by chance {error_bound:.0e}); {}", frames(evidence));
    }
    if evidence.is_empty() {
        return "what the servers said".to_owned();
    }
    frames(evidence)
}

/// `frames 1–3, 7`; of many, the first few.
pub fn frames(numbers: &[Frame]) -> String {
    let spans = spans(numbers);
    let word = if numbers.len() == 1 { "frame" } else { "frames" };
    match spans.len() {
        0 => "no frame of its own".to_owned(),
        1..=MOST_SPANS => format!("{word} {}", spans.join(", ")),
        more => format!("{word} {} and {} more", spans[..MOST_SPANS].join(", "), more - MOST_SPANS),
    }
}

fn spans(numbers: &[Frame]) -> Vec<String> {
    let in_a_row = numbers.chunk_by(|one, next| one + 1 == *next);
    let show = |span: &[Frame]| match span {
        [first, .., last] => format!("{first}–{last}"),
        _ => span.iter().map(ToString::to_string).collect(),
    };
    in_a_row.map(show).collect()
}

fn of_ports(ports: &Ports) -> String {
    let step = ports.step.map(|step| format!(", step {step:+}")).unwrap_or_default();
    let [first, last] = ports.range;
    let seen = if first == last { format!("{first}") } else { format!("{first}–{last}") };
    let next: Vec<_> = ports.next.iter().take(MOST_SPANS).map(of_prediction).collect();
    let next = if next.is_empty() { next.join("") } else { format!("; next {}", next.join(", ")) };
    format!("{step}; seen {seen}{next}")
}

fn of_prediction(next: &Prediction) -> String {
    format!("{} ({:.0} %)", next.port, next.probability * 100.0)
}

fn of_filtering(value: &Filtering, _: &NoDetails) -> String {
    word(value)
}

fn of_assignment(value: &PortAssignment, ports: &Ports) -> String {
    format!("{}{}", word(value), of_ports(ports))
}

fn of_clash(clash: &OnPortClash, _: &NoDetails) -> String {
    let overlapping = if clash.overlapping { "overlapping" } else { "not overlapping" };
    format!("{}; ports: {}, {overlapping}", word(&clash.mapping), word(&clash.port_assignment))
}

fn of_open(value: &SimultaneousOpen, details: &BlockedAt) -> String {
    let at = details.blocked_at.map(|at| format!(" at {}", word(&at))).unwrap_or_default();
    format!("{}{at}", word(value))
}

fn of_answer(value: &UnsolicitedSyn, answered: &Answered) -> String {
    let icmp = answered.icmp.as_ref().map(|icmp| format!(" {icmp}"));
    let after = answered.after_ms.map(|after| format!(" after {after} ms"));
    let ttl = answered.ttl.map(|ttl| format!(", TTL {ttl}"));
    let details: String = [icmp, after, ttl].into_iter().flatten().collect();
    format!("{}{details}", word(value))
}

/// More than this fills a table without saying more; the JSON has them all.
const MOST_SPANS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_in_few_words() {
        assert_eq!(frames(&[]), "no frame of its own");
        assert_eq!(frames(&[7]), "frame 7");
        assert_eq!(frames(&[1, 2, 3, 7]), "frames 1–3, 7");
        assert_eq!(frames(&[1, 3, 5, 7, 9, 11]), "frames 1, 3, 5, 7 and 2 more");
    }
}
