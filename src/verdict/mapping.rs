//! Mapping and port assignment: what reflectors saw of SYNs that went out (RFC 4787 §4).

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Frame, Ports, Prediction, Proof, Unknown};
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
        Row::Along(step) => (PortAssignment::Sequential, Some(step)),
        Row::Near => (PortAssignment::Sequential, None),
        Row::Scattered => (PortAssignment::Random, None),
        Row::Disordered => return Err(Unknown::Contradicted),
    };
    Ok(assigned(value, step, given.to_vec()))
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

/// How external ports lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// In a row, later ones farther along by this step each.
    Along(i32),
    /// In a row, but which way is not to be seen.
    Near,
    /// Too close together to be here and there, too far apart or too few to be in a row.
    Disordered,
    /// Here and there.
    Scattered,
}

/// How ports lie that come in the order in which they were asked for. They are in a row if they lie
/// as close together as their number and their common step explain. The order in which they were
/// given out may differ by as much as the path to the NAT reorders; and the row may go past the end
/// of the range and on from its start.
pub fn row(ports: &[u16]) -> Row {
    let lots = lots(ports);
    let mut step = 0;
    let (mut steps, mut span) = (0, 0);
    for lot in &lots {
        let mut sorted: Vec<_> = lot.iter().map(|port| i32::from(*port)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let gaps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
        step = gaps.fold(step, greatest_common_divisor);
        steps += i32::try_from(sorted.len()).unwrap_or(i32::MAX);
        span += sorted[sorted.len() - 1] - sorted[0];
    }
    let most = |gaps: i32| step.saturating_mul(steps).saturating_mul(gaps);
    if steps < FEWEST_IN_A_ROW {
        Row::Disordered
    } else if span > most(SCATTERED_GAPS) {
        // In order all the same, they are no work of chance.
        match order(&lots, span) {
            (share, order) if share.abs() >= IN_ORDER && order.abs() >= UNLIKELY => Row::Disordered,
            _ if stay_near(ports, span) => Row::Disordered,
            _ => Row::Scattered,
        }
    } else if span > most(MOST_GAPS) {
        // Others took what lies between, or a step that parity bends, or a small range.
        match order(&lots, span).1 {
            order if order >= STRICTLY => Row::Along(step),
            order if order <= -STRICTLY => Row::Along(-step),
            order if order.abs() < LOOSELY && are_uneven(&lots) && !stay_near(ports, span) => {
                Row::Scattered
            }
            _ => Row::Disordered,
        }
    } else {
        match order(&lots, span).1 {
            order if order >= ORDERLY => Row::Along(step),
            order if order <= -ORDERLY => Row::Along(-step),
            _ if span <= most(NEAR_GAPS) => Row::Near,
            _ => Row::Disordered,
        }
    }
}

/// Ports on both sides of the widest gap: a row may have gone past the end of its range there. All in
/// one lot where no gap stands out.
fn lots(ports: &[u16]) -> Vec<Vec<u16>> {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let gaps = || sorted.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0]));
    let (widest, least) = (gaps().max().unwrap_or(0), gaps().min().unwrap_or(0));
    let place = gaps().position(|gap| gap == widest && gap > least * MOST_GAPS);
    let last_low = place.map(|place| sorted[place]);
    let (low, high): (Vec<_>, Vec<_>) =
        ports.iter().partition(|port| last_low.is_some_and(|last| **port <= last));
    [low, high].into_iter().filter(|lot| !lot.is_empty()).collect()
}

/// Whether ports lie as unevenly as by chance: a row that has gone around a small range does not, nor
/// does one with a hole or two.
fn are_uneven(lots: &[Vec<u16>]) -> bool {
    let mut gaps = Vec::new();
    for lot in lots {
        let mut sorted: Vec<_> = lot.iter().map(|port| i32::from(*port)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        gaps.extend(sorted.windows(2).map(|pair| pair[1] - pair[0]));
    }
    let (count, sum) = (gaps.len(), gaps.iter().sum::<i32>());
    let number = i32::try_from(count).unwrap_or(i32::MAX);
    // By chance one gap in seven is twice the mean, and more than one in five a quarter of it.
    let wide = gaps.iter().filter(|gap| **gap * number >= sum * 2).count();
    let narrow = gaps.iter().filter(|gap| **gap * number * 4 <= sum).count();
    wide >= FEW_GAPS.max(count / 16) && narrow >= FEW_GAPS.max(count / 16)
}

/// Whether one port lies near the next far more often than by chance: a row that went around its range
/// more than once, or that parity bends.
fn stay_near(ports: &[u16], span: i32) -> bool {
    let near = |pair: &&[u16]| i32::from(pair[0].abs_diff(pair[1])) <= span / 8;
    let (near, all) = (ports.windows(2).filter(near).count(), ports.len());
    // By chance it is one pair in four.
    all >= MANY_PORTS && near * 5 >= all * 3
}

/// How far later ports are the higher ones, from −1 to 1, and how many standard deviations that is
/// from what chance alone would show: Kendall's rank correlation over all pairs of one lot. Nothing
/// if ports close together say otherwise: a row may have gone around its range until it met itself.
fn order(lots: &[Vec<u16>], span: i32) -> (f64, f64) {
    let (mut balance, mut near, mut all) = (0i32, 0i32, 0i32);
    for lot in lots {
        for (place, port) in lot.iter().enumerate() {
            for later in &lot[place + 1..] {
                let up = i32::from(*later) - i32::from(*port);
                all += i32::from(up != 0);
                balance += up.signum();
                near += if up.abs() <= span / 4 { up.signum() } else { 0 };
            }
        }
    }
    if all == 0 || balance.signum() != near.signum() {
        return (0.0, 0.0);
    }
    let n = lots.iter().map(Vec::len).max().unwrap_or_default() as f64;
    let deviation = (2.0 * (2.0 * n + 5.0) / (9.0 * n * (n - 1.0)).max(1.0)).sqrt();
    let share = f64::from(balance) / f64::from(all);
    (share, share / deviation)
}

const fn greatest_common_divisor(a: i32, b: i32) -> i32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
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

/// Fewer ports may lie near each other by chance.
const MANY_PORTS: usize = 16;

/// Nor do fewer distinct ones of a row.
const FEWEST_IN_A_ROW: i32 = 6;

/// Ports that come in no order have to be closer together to be in a row.
const NEAR_GAPS: i32 = 2;

/// Ports in sequence that are this many times as far apart as their number explains may be no
/// sequence, or others take most of them.
const MOST_GAPS: i32 = 4;

/// Ports this many times as far apart are none: others would have to take a port for each
/// millisecond that we look.
const SCATTERED_GAPS: i32 = 16;

/// The standard deviations from chance that the order of a sequence has to show: a burst that the
/// path to the NAT has shuffled shows so many once in 300,000.
const ORDERLY: f64 = 4.5;

/// The same where nothing but their order speaks for a sequence: once in a thousand million.
const STRICTLY: f64 = 6.0;

/// Ports at random seldom show more.
const LOOSELY: f64 = 2.5;

/// Fewer gaps of a kind may be holes in a row.
const FEW_GAPS: usize = 3;

/// Ports here and there come as orderly as this once in four hundred times at most.
const IN_ORDER: f64 = 0.7;
const UNLIKELY: f64 = 3.0;

/// Nobody took a port while we looked; somebody may while we punch.
const CONFIDENCE: f64 = 0.9;
