//! What this host's own packet filter does with the segments of an opening.

use std::net::IpAddr;

use super::filter::{Culprit, ESTABLISHED, Fate, INVALID, Imagined, NEW, UNTRACKED, Way, fate};
use super::{Check, Facts, Name, Path, State, WhyUnknown};
use crate::os::firewall::Ruleset;

pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new(Name::Firewall, MATTERS);
    let (ruleset, path) = match (&facts.firewall, &facts.path) {
        (Ok(ruleset), Ok(path)) => (ruleset, path),
        (Err(unseen), _) | (_, Err(unseen)) => {
            check.misses(unseen);
            return check.done();
        }
    };
    for segment in SEGMENTS {
        of_segment(&mut check, segment, ruleset, facts, path);
    }
    if !ruleset.legacy.is_empty() {
        let tables = ruleset.legacy.join(", ");
        let seen = format!("iptables-legacy has tables ({tables}), whose rules were not read");
        check.finds(State::Unknown, seen, "sudo iptables-legacy -S");
        check.unknown = Some(WhyUnknown::NotLookedInto);
    }
    if check.seen.is_empty() {
        check.sees(match ruleset.chains.iter().filter(|chain| chain.hook.is_some()).count() {
            0 => "no packet filter on this host".to_owned(),
            1 => "1 chain with a hook, and it blocks nothing of an opening".to_owned(),
            many => format!("{many} chains with hooks, and none blocks anything of an opening"),
        });
    }
    check.done()
}

/// A segment that an opening may need.
struct Segment {
    name: &'static str,
    way: Way,
    flags: u8,
    state: u32,
    /// What it means when it is blocked.
    blocked: State,
    then: &'static str,
}

fn of_segment(check: &mut Check, segment: &Segment, ruleset: &Ruleset, facts: &Facts, path: &Path) {
    let Segment { name, then, .. } = segment;
    match fate(ruleset, &imagined(segment, facts, path)) {
        Fate::Passes => {}
        Fate::Blocked { by, may_pass: false } => {
            let seen = format!("{name} is {}: {then}", told(&by));
            check.finds(segment.blocked, seen, let_pass(segment, &by, facts));
        }
        Fate::Blocked { by, may_pass: true } => {
            let seen = format!(
                "{name} is {}, unless a rule before that was not looked into lets it pass: {then}",
                told(&by)
            );
            uncertain(check, segment, seen, let_pass(segment, &by, facts));
        }
        Fate::MayBeBlocked { by } => {
            let seen = format!("{name} may be {}, a rule that was not looked into", told(&by));
            match segment.blocked {
                State::Failing => uncertain(check, segment, seen, let_pass(segment, &by, facts)),
                _ => check.sees(seen),
            }
        }
    }
}

/// What fails only perhaps is unknown.
fn uncertain(check: &mut Check, segment: &Segment, seen: String, mend: String) {
    if segment.blocked == State::Failing {
        check.finds(State::Unknown, seen, mend);
        check.unknown = Some(WhyUnknown::NotLookedInto);
    } else {
        check.finds(segment.blocked, seen, mend);
    }
}

fn imagined(segment: &Segment, facts: &Facts, path: &Path) -> Imagined {
    let question = &facts.question;
    // Without one that is laid down, the first that the kernel may choose.
    let of_kernel = facts.settings.kernel_ports.map_or(32768, |[first, _]| first);
    Imagined {
        way: segment.way,
        remote: question.towards.map(|peer| peer.address),
        local: local(path),
        remote_port: question.towards.and_then(|peer| peer.port),
        local_port: question.local_ports.first().copied().unwrap_or(of_kernel),
        interface: path.route.interface.clone(),
        flags: segment.flags,
        state: segment.state,
    }
}

fn local(path: &Path) -> IpAddr {
    path.route.source
}

fn told(by: &Culprit) -> String {
    let verb = if by.rejects { "rejected" } else { "dropped" };
    match by.rule {
        Some(rule) => format!("{verb} by rule {rule} of chain {}", by.chain),
        None => format!("{verb} by the policy of chain {}", by.chain),
    }
}

/// A rule before all others of the chain, for the port of the punch alone.
fn let_pass(segment: &Segment, by: &Culprit, facts: &Facts) -> String {
    let end = match segment.way {
        Way::In => "dport",
        Way::Out => "sport",
    };
    let port = facts.question.local_ports.first();
    let port = port.map_or("PORT".to_owned(), u16::to_string);
    format!("sudo nft insert rule {} tcp {end} {port} accept", by.chain)
}

const SEGMENTS: &[Segment] = &[
    Segment {
        name: "our SYN",
        way: Way::Out,
        flags: SYN,
        state: NEW,
        blocked: State::Failing,
        then: "no connection can be opened from here",
    },
    Segment {
        name: "the peer's SYN that crosses ours",
        way: Way::In,
        flags: SYN,
        state: ESTABLISHED,
        blocked: State::Failing,
        then: "no simultaneous open reaches this host's TCP",
    },
    Segment {
        name: "a crafted segment, kept out of connection tracking,",
        way: Way::Out,
        flags: SYN | ACK,
        state: UNTRACKED,
        blocked: State::Failing,
        then: "classify's probes do not get out",
    },
    Segment {
        name: "the peer's SYN that comes before ours has left",
        way: Way::In,
        flags: SYN,
        state: NEW,
        blocked: State::Warning,
        then: "the peer has to send it again, and nobody can open one-way to this host",
    },
    Segment {
        name: "an arriving segment that connection tracking calls invalid",
        way: Way::In,
        flags: SYN | ACK,
        state: INVALID,
        blocked: State::Warning,
        then: "late or unusual answers of an opening vanish unseen by TCP",
    },
    Segment {
        name: "a leaving segment that connection tracking calls invalid",
        way: Way::Out,
        flags: SYN | ACK,
        state: INVALID,
        blocked: State::Warning,
        then: "a SYN,ACK of ours may not get out, and sending it fails with EPERM",
    },
];

/// TCP flags (RFC 9293 §3.1).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

const MATTERS: &str = "What this host's own rules swallow looks like a NAT that filters, and a SYN \
                       that does not arrive crosses nothing.";
