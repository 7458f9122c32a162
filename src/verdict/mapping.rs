//! Mapping and port assignment: what reflectors saw of SYNs that went out (RFC 4787 §4).

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Frame, Ports, Prediction, Proof, Unknown};
use super::row::{Row, lots, row};
use super::view::{Asked, At, View, agreed};
use crate::engine::{Question, Remotes};
use crate::nat::{Mapping, PortAssignment};
use crate::wire::Endpoint;

/// The mapping, without a port clash.
pub fn mapping(view: &View<'_>, given: &[Given]) -> Result<Finding<Mapping>, Unknown> {
    let remotes = view.remotes.ok_or_else(|| view.no_answer())?;
    let answers = || view.asked(Question::Mapping).map(|asked| same(view, asked, remotes));
    if draws_addresses(given) {
        return drawn(answers().collect::<Result<Vec<_>, _>>()?.into_iter().flatten());
    }
    let (same, evidence) = agreed(answers(), view.no_answer())?;
    Ok(Finding::shown(same.class()?, evidence))
}

/// The mapping where each one draws an address. Endpoints that are the same may be so by luck; two
/// that differ towards one address never are.
fn drawn(answers: impl Iterator<Item = (Same, Vec<Frame>)>) -> Result<Finding<Mapping>, Unknown> {
    let differ = answers.filter(|(same, _)| !same.ports);
    let mut evidence: Vec<_> = differ.flat_map(|(_, frames)| frames).collect();
    if evidence.is_empty() {
        return Err(Unknown::HiddenByOtherBehaviour);
    }
    evidence.sort_unstable();
    Ok(Finding::shown(Mapping::AddressAndPortDependent, evidence))
}

/// Whether each internal host has several external addresses and its own ports at all of them: then
/// two remotes that see one external endpoint may see it because of two lucky draws.
pub fn draws_addresses(given: &[Given]) -> bool {
    let mut addresses: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for given in given {
        addresses.entry(given.internal.ip()).or_default().insert(given.external.ip());
    }
    let several = addresses.values().any(|external| external.len() > 1);
    several && given.iter().any(|given| !given.clashes && given.is_kept())
}

/// Which external endpoints of one internal one are the same: towards two ports of one address,
/// towards the first of them and another address, and towards the second of them and that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Same {
    pub ports: bool,
    pub addresses: Option<(bool, bool)>,
}

impl Same {
    /// RFC 4787 §4.1.
    pub const fn class(self) -> Result<Mapping, Unknown> {
        match (self.ports, self.addresses) {
            (true, Some((true, _))) => Ok(Mapping::EndpointIndependent),
            (true, Some((false, _))) => Ok(Mapping::AddressDependent),
            (false, None | Some((false, false))) => Ok(Mapping::AddressAndPortDependent),
            (true, None) => Err(Unknown::NeedsSecondAddress),
            (false, Some(_)) => Err(Unknown::Contradicted),
        }
    }
}

/// External endpoints, and the frames that show them.
pub type Shown = (Vec<Endpoint>, Vec<Frame>);

/// Where the SYNs of a probe with one internal endpoint came from, and the frames that show it.
pub fn externals(
    view: &View<'_>,
    asked: &Asked,
    remotes: Remotes,
) -> Result<Option<Shown>, Unknown> {
    let Some(internal) = asked.internal.first() else { return Ok(None) };
    let wanted = [Some(remotes.contacted), Some(remotes.other_port), remotes.other_address];
    let mut seen = Vec::new();
    for remote in wanted.into_iter().flatten() {
        let Some(external) = view.external(asked, *internal, remote)? else { return Ok(None) };
        seen.push(external);
    }
    let (seen, frames): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    Ok(Some((seen, frames.concat())))
}

fn same(
    view: &View<'_>,
    asked: &Asked,
    remotes: Remotes,
) -> Result<Option<(Same, Vec<Frame>)>, Unknown> {
    let seen = externals(view, asked, remotes)?;
    Ok(seen.map(|(externals, frames)| (Same::of(&externals), frames)))
}

impl Same {
    /// The same where a clash with another host decides: whatever is not the same for all ports of
    /// an address depends on the port.
    pub const fn class_on_clash(self) -> Result<Mapping, Unknown> {
        match (self.ports, self.addresses) {
            (false, _) => Ok(Mapping::AddressAndPortDependent),
            (true, _) => self.class(),
        }
    }

    /// What is the same among the endpoints towards the contacted remote, its other port and
    /// perhaps the other address.
    pub fn of(externals: &[Endpoint]) -> Self {
        let other = externals.get(2);
        let addresses = other.map(|other| (externals[0] == *other, externals[1] == *other));
        Self { ports: externals[0] == externals[1], addresses }
    }
}

/// One external endpoint given out.
#[derive(Clone, Debug)]
pub struct Given {
    internal: Endpoint,
    external: Endpoint,
    /// The first SYN that left for it; a reflector's clock may err, so this comes first.
    asked_by: Frame,
    /// That, and where it was seen.
    frames: Vec<Frame>,
    /// Whether another internal host wants the same port.
    clashes: bool,
}

impl Given {
    fn is_kept(&self) -> bool {
        self.internal.port() == self.external.port()
    }
}

/// How external ports are chosen, without a port clash.
pub fn port_assignment(
    view: &View<'_>,
    given: &[Given],
) -> Result<Finding<PortAssignment, Ports>, Unknown> {
    let mut keeps: BTreeMap<Endpoint, bool> = BTreeMap::new();
    for given in given.iter().filter(|given| !given.clashes) {
        *keeps.entry(given.internal).or_default() |= given.is_kept();
    }
    if keeps.len() < FEWEST_PORTS {
        return Err(view.no_answer());
    }
    let kept = keeps.values().filter(|kept| **kept).count();
    if kept == keeps.len() {
        // A NAT that gives every remote another port can keep one of them only.
        let shown = given.iter().filter(|given| !given.clashes && given.is_kept());
        return Ok(assigned(PortAssignment::Preservation, None, shown.cloned().collect()));
    }
    // By chance some ports are those of the internal endpoints, but no more than that.
    if kept > 1 + keeps.len() / 16 {
        return Err(Unknown::Contradicted);
    }
    let (value, step) = match row(&ports(given)) {
        Row::Along(step) => {
            (PortAssignment::Sequential, Some(step).filter(|step| !may_be_parity(given, *step)))
        }
        Row::Near => (PortAssignment::Sequential, None),
        Row::Scattered => (PortAssignment::Random, None),
        Row::Disordered => return Err(Unknown::Contradicted),
    };
    Ok(assigned(value, step, given.to_vec()))
}

/// Whether the step may be that of a NAT which keeps parity: it goes by even steps while all internal
/// ports are even, or all odd (RFC 4787 §4.2.2).
fn may_be_parity(given: &[Given], step: i32) -> bool {
    let odd = |given: &Given| given.internal.port() % 2;
    step % 2 == 0 && given.windows(2).all(|pair| odd(&pair[0]) == odd(&pair[1]))
}

fn assigned(
    value: PortAssignment,
    step: Option<i32>,
    given: Vec<Given>,
) -> Finding<PortAssignment, Ports> {
    let all = || given.iter().map(|given| given.external.port());
    let range = [all().min().unwrap_or(0), all().max().unwrap_or(0)];
    let next = step.map(|step| predictions(&ports(&given), step)).unwrap_or_default();
    let mut evidence = frames(&given);
    evidence.sort_unstable();
    let proof = Proof { evidence, error_bound: 0.0 };
    Finding::Known { value, details: Ports { step, range, next }, proof }
}

fn frames(given: &[Given]) -> Vec<Frame> {
    given.iter().flat_map(|given| given.frames.clone()).collect()
}

fn ports(given: &[Given]) -> Vec<u16> {
    given.iter().map(|given| given.external.port()).collect()
}

/// Every external endpoint that was given to an internal one, in the order in which the SYNs left
/// that asked for them: what leaves first comes to the NAT first, while the path beyond it reorders
/// and loses.
pub fn given(view: &View<'_>) -> Vec<Given> {
    let mut first: BTreeMap<(Endpoint, Endpoint), Given> = BTreeMap::new();
    for asked in view.probes() {
        let mut left = BTreeMap::new();
        for syn in view.syns(asked.probe, At::LeftProber) {
            left.entry((syn.from, syn.to)).or_insert(syn.frame);
        }
        let clashes = matches!(asked.question, Question::PortClash(_));
        for sight in view.syns(asked.probe, At::ReachedReflector) {
            let (external, frame) = (sight.from, sight.frame);
            let Some(internal) = view.internal_of(asked, &sight) else { continue };
            let asked_by = left.get(&(internal, sight.to)).copied().unwrap_or(frame);
            let given = Given { internal, external, asked_by, frames: Vec::new(), clashes };
            let given = first.entry((internal, external)).or_insert(given);
            given.asked_by = given.asked_by.min(asked_by);
            given.frames.extend([asked_by, frame]);
        }
    }
    let mut given: Vec<_> = first.into_values().collect();
    for Given { frames, .. } in &mut given {
        frames.sort_unstable();
        frames.dedup();
    }
    given.sort_unstable_by_key(|given| given.asked_by);
    given
}

/// The external ports that are not those of the internal endpoints, in the order in which they were
/// asked for, and the frames that show them.
pub fn changed(given: &[Given]) -> (Vec<u16>, Vec<Frame>) {
    let changed: Vec<_> = given.iter().filter(|given| !given.is_kept()).cloned().collect();
    (ports(&changed), frames(&changed))
}

/// The next ports in sequence. Each step that was skipped so far speaks for others who take ports.
fn predictions(ports: &[u16], step: i32) -> Vec<Prediction> {
    // The lot that the latest port lies in is the one that goes on.
    let lots = lots(ports);
    let latest = ports.last();
    let Some(lot) = lots.iter().find(|lot| lot.last() == latest) else {
        return Vec::new();
    };
    let along = || lot.iter().map(|port| i32::from(*port) * step.signum());
    let (last, first) = (along().max().unwrap_or(0), along().min().unwrap_or(0));
    let taken = (last - first) / step.abs() + 1;
    let quiet = (lot.len() as f64 / f64::from(taken.max(1))).min(1.0) * CONFIDENCE;
    let prediction = |ahead: i32| Prediction {
        port: u16::try_from((last * step.signum() + step * ahead).rem_euclid(65_536)).unwrap_or(0),
        probability: quiet * (1.0 - quiet).powi(ahead - 1),
    };
    (1..=3).map(prediction).collect()
}

/// Fewer external ports say nothing of a rule.
const FEWEST_PORTS: usize = 8;

/// Nobody took a port while we looked; somebody may while we punch.
const CONFIDENCE: f64 = 0.9;
