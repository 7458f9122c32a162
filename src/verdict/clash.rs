//! What the second of two internal hosts got that wanted one port (RFC 5382 REQ-1 and REQ-7,
//! RFC 7857 §3).

use super::finding::{Finding, Frame, OnPortClash, Unknown};
use super::mapping::{Given, Same, changed, draws_addresses, externals};
use super::row::{Row, row};
use super::view::{Asked, View, agreed};
use crate::engine::{Order, Question, Remotes};
use crate::nat::{Mapping, PortAssignment};
use crate::wire::Endpoint;

/// Both orders together: what holds in one of them only is not to be relied on.
pub fn on_port_clash(
    view: &View<'_>,
    given: &[Given],
    assignment: Result<PortAssignment, Unknown>,
) -> Result<Finding<OnPortClash>, Unknown> {
    let remotes = view.remotes.ok_or_else(|| view.no_answer())?;
    if view.internal.len() < 2 {
        return Err(Unknown::NeedsSecondInternal);
    }
    // Two hosts at two external addresses clash over nothing.
    if draws_addresses(given) {
        return Err(Unknown::HiddenByOtherBehaviour);
    }
    let first = clashes(view, Order::ClashFirst, remotes)?;
    let last = clashes(view, Order::ClashLast, remotes)?;
    let (early, mut evidence) =
        agreed(first.iter().map(|clash| Ok(clash.answer())), view.no_answer())?;
    let (late, more) = agreed(last.iter().map(|clash| Ok(clash.answer())), view.no_answer())?;
    evidence.extend(more);
    let (changed, frames) = changed(given);
    let overloading = early.overloading || late.overloading;
    let value = OnPortClash {
        mapping: worst(early.same.class_on_clash(), late.same.class_on_clash())?,
        port_assignment: fallback(&changed, overloading, assignment)?,
        overlapping: early.overlapping || late.overlapping,
        order_counts: early.same != late.same,
    };
    // What was given out on a clash of any kind shows how.
    if assignment == Ok(PortAssignment::Preservation) {
        evidence.extend(frames);
    }
    evidence.sort_unstable();
    evidence.dedup();
    Ok(Finding::shown(value, evidence))
}

/// The class in the order that shows the stricter one. Nothing is stricter than address and port, so
/// that is known even where the other order would take a second address to tell.
fn worst(
    early: Result<Mapping, Unknown>,
    late: Result<Mapping, Unknown>,
) -> Result<Mapping, Unknown> {
    let strictest = Ok(Mapping::AddressAndPortDependent);
    if early == strictest || late == strictest { strictest } else { Ok(early?.max(late?)) }
}

/// How the port was chosen where the wanted one was taken.
fn fallback(
    changed: &[u16],
    overloading: bool,
    assignment: Result<PortAssignment, Unknown>,
) -> Result<PortAssignment, Unknown> {
    if overloading {
        return Ok(PortAssignment::Overloading);
    }
    match assignment? {
        // Each host has an external address of its own: they do not clash.
        PortAssignment::Preservation if changed.is_empty() => Ok(PortAssignment::Preservation),
        PortAssignment::Preservation => match row(changed) {
            Row::Along(_) | Row::Near => Ok(PortAssignment::Sequential),
            Row::Scattered => Ok(PortAssignment::Random),
            Row::Disordered => Err(Unknown::Contradicted),
        },
        // A NAT that preserves nothing knows no clash.
        other => Ok(other),
    }
}

/// One clash.
struct Clash {
    same: Same,
    /// Whether both endpoints were seen as one, towards the remote where the first held the port.
    overloading: bool,
    /// Whether they were seen as one towards different remotes.
    overlapping: bool,
    frames: Vec<Frame>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Answer {
    same: Same,
    overloading: bool,
    overlapping: bool,
}

impl Clash {
    fn answer(&self) -> Option<(Answer, Vec<Frame>)> {
        let Self { same, overloading, overlapping, .. } = *self;
        Some((Answer { same, overloading, overlapping }, self.frames.clone()))
    }
}

fn clashes(view: &View<'_>, order: Order, remotes: Remotes) -> Result<Vec<Clash>, Unknown> {
    let all: Vec<_> = view.asked(Question::PortClash(order)).collect();
    let first = |asked: &&&Asked| asked.internal.iter().any(|end| end.ip() == view.internal[0]);
    let pairs = all.iter().filter(first).filter_map(|holder| {
        let port = |asked: &Asked| asked.internal.first().map(Endpoint::port);
        let comer =
            all.iter().find(|other| other.probe != holder.probe && port(other) == port(holder))?;
        Some((*holder, *comer))
    });
    let clashes = pairs.map(|(holder, comer)| clash(view, holder, comer, remotes));
    Ok(clashes.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn clash(
    view: &View<'_>,
    holder: &Asked,
    comer: &Asked,
    remotes: Remotes,
) -> Result<Option<Clash>, Unknown> {
    let Some(internal) = holder.internal.first() else { return Ok(None) };
    let held = view.external(holder, *internal, remotes.contacted)?;
    let Some((held, holding)) = held else { return Ok(None) };
    let Some((got, mut frames)) = externals(view, comer, remotes)? else { return Ok(None) };
    frames.extend(holding);
    Ok(Some(Clash {
        same: Same::of(&got),
        overloading: got[0] == held,
        overlapping: got[1..].contains(&held),
        frames,
    }))
}
