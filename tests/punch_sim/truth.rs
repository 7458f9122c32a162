//! What the sockets of both ends went through, against what is said of it by each witness on its own
//! and by all together.

use tso_probe::engine::{Change, Fact, Place, Punched, Run, Source, Witness};
use tso_probe::tcp::{Opening, Side, State};
use tso_probe::verdict::judge_punch;
use tso_probe::wire::Endpoint;

const SIDES: [Side; 2] = [Side::A, Side::B];

/// What is said of a run that cannot be.
pub fn contradictions(run: &Run) -> Vec<String> {
    let truth = Truth::of(run);
    let mut wrong = Vec::new();
    for (name, seen) in views(run) {
        let verdict = judge_punch(&seen);
        let said = verdict.opening;
        let watched: Vec<_> = verdict.ends.iter().map(|end| end.side).collect();
        if !truth.allows(said, &watched) {
            wrong.push(format!("{name}: {said:?}, but {truth:?}"));
        }
        if verdict.witnesses.agree == Some(false) {
            wrong.push(format!(
                "{name}: the witnesses contradict each other {:?}",
                verdict.witnesses
            ));
        }
    }
    wrong
}

/// The same run by fewer witnesses.
fn views(run: &Run) -> Vec<(&'static str, Run)> {
    let wire = without_states(run);
    let states = without_packets(run);
    let mut views = vec![("all", run.clone()), ("wire", wire.clone()), ("states", states.clone())];
    for (side, names) in SIDES
        .into_iter()
        .zip([["a", "wire at a", "states of a"], ["b", "wire at b", "states of b"]])
    {
        views.push((names[0], alone(run, side)));
        views.push((names[1], alone(&wire, side)));
        views.push((names[2], alone(&states, side)));
    }
    views
}

fn without_states(run: &Run) -> Run {
    let mut run = run.clone();
    run.facts.retain(|(_, fact)| !matches!(fact, Fact::Punch { what: Punched::Changed(_), .. }));
    run
}

fn without_packets(run: &Run) -> Run {
    let mut run = run.clone();
    run.trace.clear();
    for side in SIDES {
        let what = Punched::Unwatched { witness: Witness::Wire, why: String::new() };
        run.facts.push((Default::default(), Fact::Punch { side, what }));
    }
    run
}

fn alone(run: &Run, side: Side) -> Run {
    let mut run = run.clone();
    run.trace.retain(|record| record.place == Place::End(side));
    run.facts.retain(|(_, fact)| matches!(fact, Fact::Punch { side: of, .. } if *of == side));
    run
}

/// What happened to the connection that each end stands on.
#[derive(Debug)]
struct Truth {
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    /// Whether a connection stands that the party was told of.
    stands: bool,
    /// Whether the peer's bare SYN came while this end's socket was in SYN-SENT; none where one did,
    /// and which of several that came to nothing the peer still has is not to be told.
    was_crossed: Option<bool>,
    /// Whether any socket was ever established.
    was_established: bool,
}

impl Truth {
    fn of(run: &Run) -> Self {
        Self { ends: SIDES.map(|side| End::of(run, side)) }
    }

    fn end(&self, side: Side) -> &End {
        &self.ends[usize::from(side == Side::B)]
    }

    /// Whether the bare SYN of this side may have crossed, or not.
    fn crossed(&self, side: Side, wanted: bool) -> bool {
        self.end(side.opposite()).was_crossed.is_none_or(|crossed| crossed == wanted)
    }

    /// Whether this may be said by who watched these ends.
    fn allows(&self, said: Opening, watched: &[Side]) -> bool {
        let [a, b] = SIDES.map(|side| self.crossed(side, true));
        let [not_a, not_b] = SIDES.map(|side| self.crossed(side, false));
        let stands = watched.iter().any(|side| self.end(*side).stands);
        let was_established = self.ends.iter().any(|end| end.was_established);
        let is_true = match said {
            Opening::None => return !stands,
            Opening::Unknown => true,
            Opening::Crossed => a && b,
            Opening::HalfCrossed { crossed_syn } => {
                self.crossed(crossed_syn, true) && self.crossed(crossed_syn.opposite(), false)
            }
            Opening::CrossedOrHalfCrossed { crossed_syn } => self.crossed(crossed_syn, true),
            Opening::ThreeWay | Opening::Accepted => not_a && not_b,
            Opening::ThreeWayOrHalfCrossed => not_a || not_b,
            Opening::SplitHandshake | Opening::SelfConnect => false,
        };
        is_true && was_established
    }
}

impl End {
    fn of(run: &Run, side: Side) -> Self {
        let (mut stood, mut changes) = (None, Vec::new());
        for (_, fact) in &run.facts {
            match fact {
                Fact::Punch { side: of, what } if *of == side => match what {
                    Punched::Stood { remote, .. } => stood = stood.or(Some(*remote)),
                    Punched::Missed { .. } => stood = None,
                    Punched::Changed(change) => {
                        assert_eq!(change.source, Source::Kernel);
                        changes.push(*change);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        let was_established = changes.iter().any(|change| change.to == State::Established);
        let was_crossed = was_crossed(&changes, stood);
        Self { stands: stood.is_some(), was_crossed, was_established }
    }
}

/// Whether the socket that stands went through SYN-RECEIVED.
fn was_crossed(changes: &[Change], stands_with: Option<Endpoint>) -> Option<bool> {
    let crossed: Vec<_> = changes
        .iter()
        .filter(|change| (change.from, change.to) == (State::SynSent, State::SynReceived))
        .map(|change| change.socket)
        .collect();
    let is_it =
        |change: &&Change| Some(change.remote) == stands_with && change.to == State::Established;
    match changes.iter().rfind(is_it) {
        Some(established) => Some(crossed.contains(&established.socket)),
        None => crossed.is_empty().then_some(false),
    }
}

/// All that a run left.
pub fn print(run: &Run) {
    for record in &run.trace {
        let way = if record.inbound { '<' } else { '>' };
        println!("{} {:?} {way} {}", record.at, record.place, record.packet);
    }
    for (at, fact) in &run.facts {
        println!("{at} {fact:?}");
    }
}
