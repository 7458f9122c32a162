//! For every behaviour that can exist, in fair weather, the verdict is exactly what of it can be
//! observed. And little cannot: at most a tenth of all behaviours look like another one.

mod axes;
mod observable;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use axes::{FILTERINGS, MAPPINGS};
use observable::{Observation, Together, Vantage, found, is_error, observable};
use tso_probe::engine::Effort;
use tso_probe::nat::{
    Answer, Assignment, Behaviour, CrossingSegment, Filtering, Hairpinning, Knobs, Mapping,
    Sharing, Unsolicited, UnsolicitedSyn,
};
use tso_probe::sim::{Layout, Reflectors, classify};
use tso_probe::time::Duration;
use tso_probe::verdict::{Unknown, judge};

const DELAY: Duration = Duration::from_millis(50);

const PORTS: [Assignment; 7] = [
    Assignment::Preservation(Sharing::Exclusive),
    Assignment::Preservation(Sharing::Overlapping),
    Assignment::Preservation(Sharing::OverlappingReuse),
    Assignment::Sequential(1),
    Assignment::Sequential(2),
    Assignment::Random,
    Assignment::Overloading,
];
const HAIRPINNINGS: [Hairpinning; 3] =
    [Hairpinning::Unsupported, Hairpinning::InternalSource, Hairpinning::ExternalSource];
const UNSOLICITED: [Unsolicited; 9] = [
    Unsolicited::DROPPED,
    Unsolicited::at_once(Answer::Reset),
    later(Answer::Reset, 3, None),
    Unsolicited::at_once(Answer::Unreachable(3)),
    Unsolicited::at_once(Answer::Unreachable(13)),
    later(Answer::Unreachable(13), 2, None),
    later(Answer::Unreachable(1), 6, None),
    later(Answer::Unreachable(3), 6, Some(10)),
    later(Answer::Reset, 6, Some(10)),
];
const BLOCKS: [Option<CrossingSegment>; 4] = [
    None,
    Some(CrossingSegment::SynIn),
    Some(CrossingSegment::SynAckOut),
    Some(CrossingSegment::SynAckIn),
];

const fn later(answer: Answer, seconds: u64, holds: Option<u16>) -> Unsolicited {
    Unsolicited { answer, after: Duration::from_secs(seconds), holds }
}

/// Every combination that can exist, and how many cannot.
fn behaviours() -> (Vec<Behaviour>, usize) {
    let mut impossible = 0;
    let mut possible = Vec::new();
    for knobs in combinations() {
        match Behaviour::try_from(knobs) {
            Ok(behaviour) => possible.push(behaviour),
            Err(_) => impossible += 1,
        }
    }
    (possible, impossible)
}

fn combinations() -> impl Iterator<Item = Knobs> {
    let axes = MAPPINGS.into_iter().flat_map(|mapping| {
        FILTERINGS.into_iter().flat_map(move |filtering| {
            PORTS.into_iter().flat_map(move |ports| {
                HAIRPINNINGS.into_iter().map(move |hairpinning| Knobs {
                    mapping,
                    filtering,
                    filtering_established: filtering,
                    ports,
                    hairpinning,
                    ..Knobs::rfc5382()
                })
            })
        })
    });
    axes.flat_map(|knobs| {
        UNSOLICITED.into_iter().flat_map(move |unsolicited| {
            let knobs = knobs.clone();
            BLOCKS.into_iter().map(move |blocks| Knobs { unsolicited, blocks, ..knobs.clone() })
        })
    })
}

/// The worlds of a slice in which the verdict is not what can be observed, each with both.
fn disagreements(behaviours: &[Behaviour], layout: &Layout) -> Vec<String> {
    let vantage = Vantage {
        second_address: layout.reflectors != Reflectors::OneAddress,
        second_internal: layout.second_internal,
        patient: layout.effort != Effort::Quick,
    };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(behaviour) = behaviours.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(disagreement(behaviour, layout, vantage));
        }
        wrong
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    })
}

fn disagreement(behaviour: &Behaviour, layout: &Layout, vantage: Vantage) -> Option<String> {
    let verdict = judge(&classify(std::slice::from_ref(behaviour), layout));
    let found = found(&verdict.findings);
    let mut wanted = observable(&Together::alone(behaviour.knobs()), vantage, DELAY * 2);
    if !vantage.patient {
        // Predicting ports in sequence takes time, in which an answer may come after all.
        let patient = observable(
            &Together::alone(behaviour.knobs()),
            Vantage { patient: true, ..vantage },
            DELAY * 2,
        );
        for (found, wanted, late) in [
            (&found.unmapped_port, &mut wanted.unmapped_port, patient.unmapped_port),
            (&found.filtered_port, &mut wanted.filtered_port, patient.filtered_port),
        ] {
            if *found == late {
                *wanted = late;
            }
        }
    }
    (found != wanted).then(|| difference(behaviour, &found, &wanted))
}

fn difference(behaviour: &Behaviour, found: &Observation, wanted: &Observation) -> String {
    let (found, wanted) = (format!("{found:#?}"), format!("{wanted:#?}"));
    let lines = found.lines().zip(wanted.lines()).filter(|(found, wanted)| found != wanted);
    let lines: Vec<_> = lines.map(|(f, w)| format!("  found {f}, wanted {w}")).collect();
    format!("{:?}\n{}", behaviour.knobs(), lines.join("\n"))
}

fn expect_agreement(behaviours: &[Behaviour], layout: &Layout) {
    let wrong = disagreements(behaviours, layout);
    assert!(
        wrong.is_empty(),
        "{} of {} differ, such as\n{}",
        wrong.len(),
        behaviours.len(),
        wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// Every eleventh, which is prime to the length of every axis.
fn slice(behaviours: Vec<Behaviour>) -> Vec<Behaviour> {
    behaviours.into_iter().step_by(11).collect()
}

#[test]
fn every_verdict_is_what_can_be_observed() {
    let (behaviours, impossible) = behaviours();
    println!("{} behaviours, {impossible} combinations impossible", behaviours.len());
    expect_agreement(&behaviours, &Layout::fair(Effort::Default, 7, DELAY));
}

#[test]
fn at_most_a_tenth_looks_like_another() {
    let vantage = Vantage { second_address: true, second_internal: true, patient: true };
    let (behaviours, _) = behaviours();
    let mut alike: BTreeMap<Observation, usize> = BTreeMap::new();
    for behaviour in &behaviours {
        *alike
            .entry(observable(&Together::alone(behaviour.knobs()), vantage, DELAY * 2))
            .or_default() += 1;
    }
    let collapsed: usize = alike.values().filter(|count| **count > 1).sum();
    println!("{collapsed} of {} look like another", behaviours.len());
    assert!(collapsed * 10 <= behaviours.len(), "{collapsed} of {}", behaviours.len());
}

#[test]
fn one_reflector_address_says_what_it_needs() {
    let layout =
        Layout { reflectors: Reflectors::OneAddress, ..Layout::fair(Effort::Default, 7, DELAY) };
    expect_agreement(&slice(behaviours().0), &layout);
}

#[test]
fn two_hosts_serve_as_two_addresses() {
    let layout =
        Layout { reflectors: Reflectors::TwoHosts, ..Layout::fair(Effort::Default, 7, DELAY) };
    expect_agreement(&slice(behaviours().0), &layout);
}

#[test]
fn without_a_second_internal_host_clashes_are_unknown() {
    let layout = Layout { second_internal: false, ..Layout::fair(Effort::Default, 7, DELAY) };
    expect_agreement(&slice(behaviours().0), &layout);
}

#[test]
fn a_quick_run_does_not_wait() {
    expect_agreement(&slice(behaviours().0), &Layout::fair(Effort::Quick, 7, DELAY));
}

/// Every eleventh behaviour before and behind one that keeps every port, in turn one of all these.
#[test]
fn two_in_a_row_show_what_follows_from_each() {
    let keeps = |behaviour: &&Behaviour| row::is_plain(behaviour.knobs());
    let (all, _) = behaviours();
    let plain: Vec<_> = all.iter().filter(keeps).cloned().collect();
    let layout = Layout::fair(Effort::Default, 7, DELAY);
    let vantage = Vantage { second_address: true, second_internal: true, patient: true };
    let pairs = slice(all).into_iter().zip(plain.iter().cycle().step_by(5).cloned());
    let mut wrong = Vec::new();
    let mut rows = 0;
    for nats in pairs.flat_map(|(any, plain)| [[plain.clone(), any.clone()], [any, plain]]) {
        let [inner, outer] = [0, 1].map(|place| nats[place].knobs());
        let together = row::together(inner, outer, vantage);
        let mut wanted = observable(&together, vantage, DELAY * 2);
        let found = found(&judge(&classify(&nats, &layout)).findings);
        let predicted = matches!(together.knobs.ports, Assignment::Sequential(_))
            && together.knobs.mapping != Mapping::EndpointIndependent
            && together.knobs.filtering != Filtering::EndpointIndependent;
        let maps = !row::is_plain(inner) || outer.hairpinning != Hairpinning::Unsupported;
        if predicted && maps && wanted.hairpinning == Ok(Hairpinning::Unsupported) {
            // Every knock gets a port on its way, so none is seen to have taken none.
            wanted.hairpinning = Err(Unknown::NoAnswer);
        }
        let blocks = [inner.blocks, outer.blocks];
        let hidden = Err(Unknown::HiddenByOtherBehaviour);
        if blocks == [Some(CrossingSegment::SynIn), Some(CrossingSegment::SynAckIn)]
            && found.hairpinning == hidden
        {
            // One drops SYNs that cross another and one the SYN,ACKs that answer these: whether a
            // knock gets by both depends on which of them saw what cross.
            wanted.hairpinning = hidden;
        }
        if is_error(inner.unsolicited) && !inner.unsolicited.after.is_zero() {
            // Its errors about the strangers that are asked last may come after the run.
            for (wanted, met, found) in [
                (&mut wanted.unmapped_port, outer.unsolicited, &found.unmapped_port),
                (&mut wanted.filtered_port, together.filtered, &found.filtered_port),
            ] {
                let silent = found.as_ref().is_ok_and(|met| met.value == UnsolicitedSyn::Dropped);
                if silent && met.answer == Answer::Silence {
                    wanted.clone_from(found);
                }
            }
        }
        rows += 1;
        if found != wanted {
            wrong.push(format!("{inner:?} before {}", difference(&nats[1], &found, &wanted)));
        }
    }
    let some = wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {rows} differ, such as\n{some}", wrong.len());
}

#[test]
fn every_hidden_case_has_its_reason() {
    let documented = include_str!("../docs/hidden.md");
    let cited = include_str!("observable/mod.rs").lines().filter_map(|line| {
        line.split_once("// hidden.md, ").map(|(_, rest)| rest.split(['.', ':']).next().unwrap())
    });
    let cited: BTreeSet<_> = cited.collect();
    let reasons = documented.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let reasons: BTreeSet<_> = reasons.filter(|name| *name != "case").collect();
    assert_eq!(cited, reasons);
}
