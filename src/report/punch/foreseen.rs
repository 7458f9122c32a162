//! What was foreseen of the ports, in words.

use super::super::table::wrapped;
use crate::verdict::Foreseen;
use crate::wire::Endpoint;

/// What the ends expected, in a sentence or two.
pub fn expected(told: &Foreseen) -> String {
    let rule = told.rule.as_ref().map_or(String::new(), |rule| format!(" By their rules, {rule}."));
    let chance = told.chance.map(|chance| format!("a chance of {}", percent(chance)));
    let chance = chance.unwrap_or_else(|| match is_outside(&told.own, &told.peer) {
        true => {
            "behind the same address as we are, and whether a NAT turns our packets around there \
                 is not known"
                .to_owned()
        }
        false => "which is behind the same address, at its inner one".to_owned(),
    });
    let (own, peer) = (list(&told.own), list(&told.peer));
    format!("Beforehand we expected to be seen as {own}, and the peer as {peer}: {chance}.{rule}")
}

/// What an attempt has taught that came to nothing.
pub fn failed(number: u32, told: &Foreseen, width: u16) -> String {
    let of = |who: &str, seen: Option<Endpoint>, expected: &[Endpoint]| match seen {
        Some(seen) if expected.contains(&seen) => {
            format!("{who} SYN came from {seen}, as expected")
        }
        Some(seen) => format!("{who} SYN came from {seen}, which was not expected"),
        None => format!("{who} SYN was not seen to arrive"),
    };
    let (own, peer) =
        (of("our", told.own_seen, &told.own), of("the peer's", told.peer_seen, &told.peer));
    let text = format!("Attempt {number} came to nothing: {own}; {peer}. {}", expected(told));
    wrapped(&text, width, "") + "\n"
}

/// Whether the peer is aimed at by the address that this end is seen from as well.
pub fn is_outside(own: &[Endpoint], peer: &[Endpoint]) -> bool {
    own.first().zip(peer.first()).is_some_and(|(own, peer)| own.ip() == peer.ip())
}

fn list(endpoints: &[Endpoint]) -> String {
    match endpoints {
        [] => "anything".to_owned(),
        [one] => one.to_string(),
        [one, others @ ..] => format!("{one} (or {} others)", others.len()),
    }
}

fn percent(chance: f64) -> String {
    match chance * 100.0 {
        low if low < 0.1 => "less than 0.1 %".to_owned(),
        low if low < 10.0 => format!("{low:.1} %"),
        high => format!("{high:.0} %"),
    }
}
