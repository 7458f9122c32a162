//! What goes on, in words, from the facts as they are noted.

use crate::engine::{Fact, Punched, Question, StunOutcome};
use crate::wire::Endpoint;

/// Where a reflector serves, and what its firewall must let in.
pub fn serving(control: &Endpoint, probes: &[Endpoint], stun: &[Endpoint]) -> String {
    let mut text = format!("serving: control connections at {control}\n");
    for probe in probes {
        text += &format!("         probes at {probe}\n");
    }
    for end in stun {
        text += &format!("         STUN at {end}\n");
    }
    text + "open these TCP ports in this host's firewall, both ways; stop with Ctrl-C\n"
}

/// What a fact says of the progress of a run, if it says anything new.
pub fn progress(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Planned { longest, .. } => {
            Some(format!("connecting; takes {} s at the longest", longest.as_secs() + 1))
        }
        Fact::Welcomed { reflector, observed, .. } => {
            Some(format!("reflector {} sees us as {observed}; checking it", reflector + 1))
        }
        Fact::Asked { question: Question::Mapping, .. } => Some("opening mappings".to_owned()),
        Fact::Asked { question: Question::UnsolicitedSyn, .. } => {
            Some("knocking from outside, then listening".to_owned())
        }
        Fact::Stun(asked) => {
            let answered = matches!(asked.outcome, StunOutcome::Answered(_));
            let what = if answered { "has answered" } else { "gave no answer" };
            Some(format!("{} {what}", asked.server))
        }
        Fact::Punch { what, .. } => punched(what),
        Fact::ListenedUntil { .. } => Some("collecting reports".to_owned()),
        _ => None,
    }
}

fn punched(what: &Punched) -> Option<String> {
    match what {
        Punched::Tried { attempt: 2.., .. } => Some("trying again".to_owned()),
        Punched::Stood { remote, .. } => Some(format!("open with {remote}")),
        Punched::Stranger { remote } => Some(format!("{remote} came instead of the peer")),
        _ => None,
    }
}
