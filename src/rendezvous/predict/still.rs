//! Rules without a counter: the internal port is kept, or any port of a set is drawn.

use super::Observation;
use super::hypothesis::{ANY_PORT, Hypothesis, INSIDE, Next, hopeless, of_each};
use super::ports::{DIVISIONS, Division, Ports};
use super::rule::Rule;

/// Rules that keep the internal port, or its distance from the external one.
pub fn kept(seen: &[&Observation]) -> Vec<Hypothesis> {
    let offsets = seen.iter().filter_map(|observation| observation.offset());
    let moved = offsets.clone().next().filter(|offset| *offset != 0);
    let exact = offsets.clone().next().map(|_| (0, UNMOVED));
    // The first offset is any of all.
    let moved = moved.map(|offset| (offset, (1.0 - UNMOVED) / ANY_PORT));
    exact.into_iter().chain(moved).map(|(offset, share)| keeping(offset, share, seen)).collect()
}

/// Preservation, as likely as before anything was seen.
pub fn untold() -> Hypothesis {
    keeping(0, UNMOVED, &[])
}

fn keeping(offset: i32, share: f64, seen: &[&Observation]) -> Hypothesis {
    // Beta's conjugate prior: as if it had been kept so many times, and so many times not.
    let (mut kept, mut lost) = (KEPT, LOST);
    let (mut ln_weight, mut foreseen) = (share.ln(), 0);
    for observation in seen {
        ln_weight += match observation.offset() {
            None => -ANY_PORT.ln(),
            Some(this) if this == offset => {
                foreseen += 1;
                kept += 1.0;
                ((kept - 1.0) / (kept + lost - 1.0)).ln()
            }
            Some(_) => {
                lost += 1.0;
                ((lost - 1.0) / (kept + lost - 1.0) / ANY_PORT).ln()
            }
        };
    }
    Hypothesis {
        rule: Rule::Preservation { offset },
        ln_weight,
        foreseen,
        of: seen.iter().filter(|observation| observation.internal.is_some()).count(),
        others_per_s: None,
        next: Next::Kept { offset, likely: kept / (kept + lost) },
    }
}

/// Rules that draw any port of a set.
pub fn random(seen: &[&Observation]) -> Vec<Hypothesis> {
    let kinds = [(Like::Any, 0.7), (Like::Last, 0.22), (Like::Internal, 0.08)];
    let divided = DIVISIONS.iter().flat_map(|division| kinds.map(|kind| (division, kind)));
    let contiguous = |division: &Division| !matches!(division, Division::Sets { .. });
    let sensible =
        divided.filter(|((division, _), (like, _))| *like == Like::Any || contiguous(division));
    let drawn = sensible.filter_map(|((division, share), (like, of_kind))| {
        drawing(*division, like, share * of_kind, seen)
    });
    drawn.collect()
}

/// Of which parity the ports are.
#[derive(Clone, Copy, PartialEq)]
enum Like {
    Any,
    /// That of the last port: `connect(2)` of Linux takes even ones.
    Last,
    Internal,
}

fn drawing(
    division: Division,
    like: Like,
    share: f64,
    seen: &[&Observation],
) -> Option<Hypothesis> {
    let (mut ln_weight, mut foreseen) = (share.ln(), 0);
    let mut last: Option<Ports> = None;
    for (index, observation) in seen.iter().enumerate() {
        let likelihood = match (last, like, observation.internal) {
            (None, Like::Internal, Some(internal)) => kept_parity(observation, internal) / ANY_PORT,
            (None, ..) => 1.0 / ANY_PORT,
            (Some(part), Like::Internal, Some(internal)) => {
                let likelihood =
                    part_likelihood(part.of_parity(internal), observation, &seen[..index]);
                likelihood.max(1e-3 * OUTSIDE)
            }
            (Some(part), ..) => part_likelihood(part, observation, &seen[..index]),
        };
        ln_weight += likelihood.ln();
        foreseen += usize::from(index > 0 && likelihood > OUTSIDE);
        if ln_weight < hopeless(index + 1) {
            return None;
        }
        let part = division.part(observation.external);
        last = Some(if like == Like::Last { part.of_parity(observation.external) } else { part });
    }
    let ports = last?;
    let parity = like == Like::Internal;
    Some(Hypothesis {
        rule: Rule::Random { ports, parity },
        ln_weight,
        foreseen,
        of: seen.len() - 1,
        others_per_s: None,
        next: Next::Within { ports, parity },
    })
}

fn kept_parity(observation: &Observation, internal: u16) -> f64 {
    if observation.external % 2 == internal % 2 { 2.0 } else { 1e-3 }
}

/// How likely the port is, drawn from a part of which some ports are taken.
fn part_likelihood(part: Ports, observation: &Observation, before: &[&Observation]) -> f64 {
    if part.place(observation.external).is_none() {
        return OUTSIDE;
    }
    let taken = before.iter().filter(|earlier| part.place(earlier.external).is_some()).count();
    let again = before.iter().any(|earlier| earlier.external == observation.external);
    let (free, taken) = of_each(part, taken.min(part.size() as usize - 1));
    OUTSIDE + if again { taken } else { free }
}

/// A port of another part than the last: a block was full, a host has restarted.
const OUTSIDE: f64 = (1.0 - INSIDE) / ANY_PORT;

/// How likely nothing is added, where internal ports are kept.
const UNMOVED: f64 = 0.98;

const KEPT: f64 = 19.0;
const LOST: f64 = 1.0;
