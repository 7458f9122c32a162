//! What goes on, in words, from the facts as they are noted.

use super::punch::is_outside;
use crate::engine::{Fact, Punched, Question, StunOutcome};
use crate::rendezvous::introducer::Status;
use crate::rendezvous::{Business, Figures};
use crate::wire::Endpoint;

/// Where a server serves what, and what its firewall must let in.
pub fn serving(places: &[(&str, Vec<Endpoint>)]) -> String {
    let all = places.iter().flat_map(|(what, ends)| ends.iter().map(move |end| (what, end)));
    let mut text = String::new();
    for (what, end) in all {
        let word = if text.is_empty() { "serving:" } else { "" };
        text += &format!("{word:8} {what} at {end}\n");
    }
    text + "open these TCP ports in this host's firewall, both ways; stop with Ctrl-C\n"
}

/// Where a proxy takes programs in, and for what.
pub fn doors(places: &[(String, Endpoint)]) -> String {
    let all = places.iter().map(|(what, on)| format!("{what}: at {on}\n"));
    all.collect::<String>() + "stop with Ctrl-C\n"
}

/// How busy a server is: what stands now, and what was since it started.
pub fn busy(business: &Business) -> String {
    let meetings = meetings(&business.rendezvous);
    let Some([reflector, stun]) = &business.beside else { return meetings };
    let others = [("reflector", reflector, "segments"), ("STUN", stun, "answers")];
    let others = others.map(|(what, figures, sent)| format!("{what}: {}", counted(figures, sent)));
    format!("rendezvous: {meetings}; {}", others.join("; "))
}

fn counted(figures: &Figures, what: &str) -> String {
    let Figures { connected, came, sent, refused } = figures;
    let refused = if *refused == 0 { String::new() } else { format!(", refused: {refused}") };
    format!("{connected} connected; {came} came, {sent} {what} sent so far{refused}")
}

fn meetings(status: &Status) -> String {
    let Status { connections, waiting, pairs, introduced, refused } = status;
    let mut text = format!(
        "{connections} connected, {waiting} waiting, {pairs} paired; {introduced} introduced so far"
    );
    let counts = refused.iter().map(|(code, count)| format!("{count} {code}"));
    let counts: Vec<_> = counts.collect();
    if !counts.is_empty() {
        text += &format!(", refused: {}", counts.join(", "));
    }
    text
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
        Punched::Waits { .. } => Some("waiting for the peer".to_owned()),
        Punched::Parted => Some("the rendezvous server is gone; asking again".to_owned()),
        Punched::Met => Some("the peer is there; showing mappings".to_owned()),
        Punched::Impostor => Some("somebody came with wrong words, and was sent away".to_owned()),
        Punched::Foresaw { chance: Some(chance), .. } => {
            Some(format!("agreed; chance {:.1} %", f64::from(*chance) / 10.0))
        }
        Punched::Foresaw { chance: None, own, peer, .. } => {
            let place = if is_outside(own, peer) { "from outside" } else { "within" };
            Some(format!("agreed; the peer is behind the same address, and tried {place}"))
        }
        Punched::Visitor => Some("somebody came and went, and proved nothing".to_owned()),
        Punched::PeerGone { how } => Some(how.in_words().to_owned()),
        Punched::Tried { attempt: 2.., .. } => Some("trying again".to_owned()),
        Punched::Stood { remote, .. } => Some(format!("open with {remote}")),
        Punched::Stranger { remote } => Some(format!("{remote} came instead of the peer")),
        _ => None,
    }
}
