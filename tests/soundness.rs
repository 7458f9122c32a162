//! Whatever the weather: every finding is right, or unknown with a why; never wrong.
//!
//! Random behaviours behind random paths. `TSO_PROBE_WORLDS` says how many, `TSO_PROBE_SEED` from
//! which seed (by default it follows from the commit), `TSO_PROBE_WORLD` that only this one of them
//! is to be run, with all that it found.

mod observable;
mod row;
mod weather;

use std::collections::BTreeMap;
use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use observable::{Observation, Together, Vantage, answered, found, observable};
use tso_probe::engine::{Effort, Fact, Run};
use tso_probe::nat::{Filtering, HOLD, Hairpinning, Unsolicited, UnsolicitedSyn};
use tso_probe::sim::{Reflectors, classify};
use tso_probe::time::Duration;
use tso_probe::verdict::{Finding, Findings, Unknown, Verdict, judge};
use weather::World;

/// How many worlds `cargo test` runs.
const WORLDS: u64 = 12_000;

/// One world in so many is run twice, to the same bytes.
const REPEATED: u64 = 16;

#[test]
fn every_finding_is_right_or_unknown() {
    let (seed, worlds) = (seed(), number("TSO_PROBE_WORLDS").unwrap_or(WORLDS));
    println!("{worlds} worlds from seed {seed}");
    if let Some(one) = number("TSO_PROBE_WORLD") {
        return show(&World::random(seed, one));
    }
    let next = AtomicU64::new(0);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= worlds {
                return tally;
            }
            tally.add(number, &World::random(seed, number));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let tally = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let tallies = workers.into_iter().map(|worker| worker.join().expect("no panic"));
        tallies.fold(Tally::default(), Tally::and)
    });
    tally.report(seed);
}

/// What was found over many worlds.
#[derive(Default)]
struct Tally {
    wrong: Vec<String>,
    /// Findings and known ones: in good weather, and in bad.
    good: [Count; 9],
    bad: [Count; 9],
    /// Why findings were unknown in good weather, with how many and the last of these worlds.
    whys: BTreeMap<(usize, Unknown), (u64, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    all: u64,
    known: u64,
}

impl Tally {
    fn add(&mut self, number: u64, world: &World) {
        let run = classify(&world.nats, &world.layout);
        let verdict = judge(&run);
        let wrong = wrong(world, &run, &verdict);
        self.wrong.extend(wrong.into_iter().map(|what| format!("world {number}: {what}")));
        if number.is_multiple_of(REPEATED) {
            let again = judge(&classify(&world.nats, &world.layout));
            if json(&again) != json(&verdict) {
                self.wrong.push(format!("world {number}: another verdict from the same seed"));
            }
        }
        if world.is_fair() {
            self.explain(number, &verdict.findings, &truth(world));
        }
        let counts = if world.is_fair() { &mut self.good } else { &mut self.bad };
        let (found, truth) = (found(&verdict.findings), truth(world));
        for (count, (known, knowable)) in
            counts.iter_mut().zip(known(&found).into_iter().zip(known(&truth)))
        {
            count.all += u64::from(knowable);
            count.known += u64::from(known && knowable);
        }
    }

    fn explain(&mut self, number: u64, findings: &Findings, truth: &Observation) {
        let whys = whys(&found(findings)).into_iter().enumerate();
        for ((place, why), knowable) in whys.zip(known(truth)) {
            if let Some(why) = why.filter(|_| knowable) {
                let (count, world) = self.whys.entry((place, why)).or_default();
                (*count, *world) = (*count + 1, number);
            }
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.wrong.extend(other.wrong);
        for (key, (count, world)) in other.whys {
            let mine = self.whys.entry(key).or_default();
            *mine = (mine.0 + count, world);
        }
        let sum = |mine: &mut [Count; 9], theirs: [Count; 9]| {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                mine.all += theirs.all;
                mine.known += theirs.known;
            }
        };
        sum(&mut self.good, other.good);
        sum(&mut self.bad, other.bad);
        self
    }

    fn report(&self, seed: u64) {
        for (name, counts) in [("at most 1 % lost", &self.good), ("worse", &self.bad)] {
            let shares = counts.iter().map(|count| format!("{:.1}", count.percent()));
            println!(
                "{name}: {:.2} % known; {}",
                total(counts).percent(),
                shares.collect::<Vec<_>>().join(" ")
            );
        }
        for ((place, why), (count, world)) in &self.whys {
            println!("  {} {}: {count}, as in world {world}", NAMES[*place], why.name());
        }
        let some = self.wrong.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            self.wrong.is_empty(),
            "{} wrong, such as\n{some}\nrun one with\nTSO_PROBE_SEED={seed} TSO_PROBE_WORLD=… \
             cargo test --test soundness -- --nocapture",
            self.wrong.len()
        );
        assert!(total(&self.good).percent() >= 95.0, "too little is known");
    }
}

impl Count {
    fn percent(self) -> f64 {
        100.0 * self.known as f64 / self.all.max(1) as f64
    }
}

fn total(counts: &[Count; 9]) -> Count {
    counts.iter().fold(Count::default(), |sum, count| Count {
        all: sum.all + count.all,
        known: sum.known + count.known,
    })
}

const NAMES: [&str; 9] = [
    "mapping",
    "on_port_clash",
    "filtering",
    "filtering_established",
    "port_assignment",
    "unmapped_port",
    "filtered_port",
    "simultaneous_open",
    "hairpinning",
];

/// Which of the nine findings are known.
fn known(observation: &Observation) -> [bool; 9] {
    whys(observation).map(|why| why.is_none())
}

/// Why each of the nine findings is unknown, if it is.
fn whys(observation: &Observation) -> [Option<Unknown>; 9] {
    [
        observation.mapping.err(),
        observation.on_port_clash.err(),
        observation.filtering.err(),
        observation.filtering_established.err(),
        observation.port_assignment.err(),
        observation.unmapped_port.as_ref().err().copied(),
        observation.filtered_port.as_ref().err().copied(),
        observation.simultaneous_open.err(),
        observation.hairpinning.err(),
    ]
}

/// Whether the inner NAT lets in whatever the outer one turns around, once a connection of the same
/// internal endpoint is established: SYNs of both ways are enough for that (RFC 7857 §2.1).
fn opens_with_time(world: &World) -> bool {
    let [inner, outer] = &world.nats[..] else { return false };
    let opens = inner.knobs().filtering_established == Filtering::EndpointIndependent;
    opens && outer.knobs().hairpinning == Hairpinning::InternalSource
}

/// What can be observed of a world's NATs, whatever the weather.
fn truth(world: &World) -> Observation {
    observable(&together(world), vantage(world), world.around())
}

fn together(world: &World) -> Together {
    match &world.nats[..] {
        [inner, outer] => row::together(inner.knobs(), outer.knobs(), vantage(world)),
        nats => Together::alone(nats[0].knobs()),
    }
}

fn vantage(world: &World) -> Vantage {
    Vantage {
        second_address: world.layout.reflectors != Reflectors::OneAddress,
        second_internal: world.layout.second_internal,
        patient: world.layout.effort != Effort::Quick,
    }
}

/// All that is wrong with a verdict.
fn wrong(world: &World, run: &Run, verdict: &Verdict) -> Vec<String> {
    let (found, truth) = (found(&verdict.findings), truth(world));
    let row = together(world);
    let mut wrong = Vec::new();
    let mut check = |name: &str, found: String, right: bool| {
        if !right {
            wrong.push(format!("{name} is wrong: {found}"));
        }
    };
    macro_rules! same {
        ($($field:ident)*) => {$(
            let right = found.$field.is_err() || found.$field == truth.$field;
            check(stringify!($field), format!("{:?}, not {:?}", found.$field, truth.$field), right);
        )*};
    }
    same!(mapping on_port_clash filtering filtering_established);
    same!(simultaneous_open);
    // What comes back shows hairpinning, even where nothing was to be expected.
    let right = match found.hairpinning {
        Ok(Hairpinning::Unsupported) => truth.hairpinning == found.hairpinning,
        Ok(Hairpinning::ExternalSource) if opens_with_time(world) => true,
        found => found.is_err() || found == Ok(row.knobs.hairpinning),
    };
    check("hairpinning", format!("{:?}, not {:?}", found.hairpinning, truth.hairpinning), right);
    // Which way a sequence goes may stay unknown.
    let ports = &found.port_assignment;
    let right = match (ports, &truth.port_assignment) {
        (Ok((value, None)), Ok((truth, _))) => value == truth,
        (found, truth) => found.is_err() || found == truth,
    };
    check("port_assignment", format!("{ports:?}, not {:?}", truth.port_assignment), right);
    for (name, met, unsolicited) in [
        ("unmapped_port", &found.unmapped_port, row.knobs.unsolicited),
        ("filtered_port", &found.filtered_port, row.filtered),
    ] {
        let right = met.as_ref().map_or(true, |met| is_met(unsolicited, world, met));
        check(name, format!("{met:?}"), right);
    }
    if found.filtered_port.is_ok() {
        let right = truth.filtered_port != Err(Unknown::HiddenByOtherBehaviour);
        check("filtered_port", "nothing is filtered".to_owned(), right);
    }
    wrong.extend(unbounded(world, verdict));
    let complete = run.facts.iter().any(|(_, fact)| *fact == Fact::Complete);
    if !complete && verdict.trouble.is_empty() {
        wrong.push("cut short, and no trouble is named".to_owned());
    }
    let took = run.facts.iter().map(|(at, _)| at.since_start()).max().unwrap_or_default();
    if run.planned().is_none_or(|(_, longest)| took > longest) {
        wrong.push(format!("took {took:?}, longer than promised"));
    }
    wrong
}

/// Whether what met unsolicited SYNs is what this NAT answers, after as long as this path may take.
fn is_met(unsolicited: Unsolicited, world: &World, met: &observable::Met) -> bool {
    // A late answer may come after the run, and then the SYN was dropped as far as it could tell.
    if unsolicited.after > HOLD && met.value == UnsolicitedSyn::Dropped {
        return true;
    }
    let truth = answered(unsolicited, Duration::ZERO);
    let late = |after: u64| {
        let around = world.around();
        let most = u64::try_from((around + world.jitter()).as_millis()).expect("short");
        truth.after_ms.is_some_and(|truth| (truth..=truth + most + 1).contains(&after))
    };
    (met.value, &met.icmp) == (truth.value, &truth.icmp)
        && met.after_ms.is_none_or(late)
        && met.after_ms.is_some() == truth.after_ms.is_some()
}

/// Negatives whose error bound is too high, or not stated.
fn unbounded(world: &World, verdict: &Verdict) -> Vec<String> {
    let limit = if world.layout.effort == Effort::Quick { 1e-6 } else { 1e-9 };
    let findings = &verdict.findings;
    let bounds = [
        ("filtering", bound(&findings.filtering.after_syn)),
        ("filtering established", bound(&findings.filtering.established)),
        ("unmapped port", bound(&findings.unsolicited_syn.unmapped_port)),
        ("filtered port", bound(&findings.unsolicited_syn.filtered_port)),
        ("simultaneous open", bound(&findings.simultaneous_open)),
        ("hairpinning", bound(&findings.hairpinning)),
    ];
    let over =
        bounds.into_iter().filter(|(_, bound)| bound.is_some_and(|bound| bound > 2.0 * limit));
    over.map(|(name, bound)| format!("{name} has an error bound of {bound:?}")).collect()
}

fn bound<T, D>(finding: &Finding<T, D>) -> Option<f64> {
    match finding {
        Finding::Known { proof, .. } => Some(proof.error_bound),
        Finding::Unknown { .. } => None,
    }
}

fn json(verdict: &Verdict) -> String {
    serde_json::to_string(verdict).expect("a verdict is JSON")
}

fn show(world: &World) {
    let run = classify(&world.nats, &world.layout);
    let verdict = judge(&run);
    println!("{world:#?}\n{:#?}\n{:#?}", found(&verdict.findings), verdict.trouble);
    for record in &run.trace {
        println!(
            "{} {:?} {} {:?} {:?} {}",
            record.at,
            record.place,
            if record.inbound { "in" } else { "out" },
            record.probe,
            record.volley,
            record.packet
        );
    }
    run.facts.iter().for_each(|(at, fact)| println!("{at} {fact:?}"));
    let wrong = wrong(world, &run, &verdict);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// That of the environment, or one that follows from the commit.
fn seed() -> u64 {
    number("TSO_PROBE_SEED").unwrap_or_else(|| {
        let commit = Command::new("git").args(["rev-parse", "HEAD"]).output();
        let commit = commit.map(|output| output.stdout).unwrap_or_default();
        let digits = String::from_utf8_lossy(&commit);
        u64::from_str_radix(digits.get(..12).unwrap_or("5382"), 16).unwrap_or(5_382)
    })
}
