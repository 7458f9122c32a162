//! Forecasts of ports, held against simulated allocators and against the NAT of this crate. What an
//! allocator is asked for comes from seeds, so every run is the same. `TSO_PROBE_SEEDS` says from how
//! many seeds each scene is played.

#[path = "predict/allocators.rs"]
mod allocators;

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tso_probe::nat::{Device, Fate, Nat, Side, Translator};
use tso_probe::rendezvous::predict::{Observation, Question, forecast};
use tso_probe::time::Instant;
use tso_probe::wire::{Flags, Packet, Segment};

use allocators::{ALL, Case, DETERMINISTIC, REMOTES, Scene, Simulated};

/// Six flows that tell counters apart: in turns, and one remote that shares an address with another.
const SIX: &[usize] = &[0, 1, 0, 2, 0, 1];

#[test]
fn after_six_observations_every_deterministic_rule_is_hit_at_once() {
    for rule in DETERMINISTIC {
        let scene = Scene { remotes: SIX, ..Scene::new(*rule, 0.0, SIX.len()) };
        let missed: Vec<_> = (0..seeds(60)).filter(|seed| !scene.is_hit(*seed, 1)).collect();
        assert!(missed.is_empty(), "{rule:?}: missed with seeds {missed:?}");
    }
}

/// Every rule, from no cross traffic to much, from two observations to 32, with and without losses and
/// reordering; chances of one candidate and of several.
#[test]
fn what_is_said_to_be_likely_happens_as_often() {
    let scenes: Vec<_> = (0..).zip(scenes()).collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = scenes.len().div_ceil(cores);
    let tenths = thread::scope(|scope| {
        let work = |scenes| scope.spawn(move || Tenths::of(scenes));
        let workers: Vec<_> = scenes.chunks(share).map(work).collect();
        let tenths = workers.into_iter().map(|worker| worker.join().expect("no panic"));
        tenths.fold(Tenths::default(), Tenths::and)
    });
    for Tenth { said, hits, cases } in tenths.0 {
        let (said, hit) = (said / f64::from(cases), f64::from(hits) / f64::from(cases));
        println!("said {said:.3}, hit {hit:.3} of {cases}");
        assert!((said - hit).abs() < 0.1, "said {said:.3}, hit {hit:.3} of {cases}");
    }
    let Tenth { hits, cases, .. } = tenths.0[EIGHT_TENTHS];
    let hit = f64::from(hits) / f64::from(cases);
    assert!(cases >= 300 && (0.75..=0.85).contains(&hit), "{hit:.3} of {cases}");
}

/// What was said, by how likely it was said to be.
#[derive(Clone, Copy, Default)]
struct Tenths([Tenth; 10]);

#[derive(Clone, Copy, Default)]
struct Tenth {
    /// The sum of the probabilities that were said.
    said: f64,
    hits: u32,
    cases: u32,
}

impl Tenths {
    fn of(scenes: &[(u64, Scene)]) -> Self {
        let (mut tenths, seeds) = (Self::default(), seeds(2));
        for (number, scene) in scenes {
            // No two scenes share a seed: what is drawn alike would be counted twice.
            (0..seeds).for_each(|seed| tenths.add(&scene.case(number * seeds + seed)));
        }
        tenths
    }

    fn add(&mut self, case: &Case) {
        let forecast = forecast(&case.observations, &case.question);
        for count in [1, 2, 4, 8, 16] {
            let chance = forecast.chance(count);
            // From 0.75 to 0.85 is the tenth around 0.8.
            let tenth = &mut self.0[((chance * 10.0 - 0.5).max(0.0) as usize).min(9)];
            let is_hit = forecast.next[..count].iter().any(|next| next.port == case.truth);
            tenth.said += chance;
            tenth.hits += u32::from(is_hit);
            tenth.cases += 1;
        }
    }

    fn and(mut self, other: Self) -> Self {
        for (tenth, more) in self.0.iter_mut().zip(other.0) {
            tenth.said += more.said;
            tenth.hits += more.hits;
            tenth.cases += more.cases;
        }
        self
    }
}

#[test]
fn losses_and_reordering_leave_counters_recognisable() {
    for rule in DETERMINISTIC {
        let scene = Scene { loss: 0.1, reordering: 0.1, ..Scene::new(*rule, 0.0, 16) };
        let (seeds, [first, four]) = (seeds(40), scene.hits(seeds(40), [1, 4]));
        assert!(first * 100 >= seeds * 80, "{rule:?}: {first} of {seeds}");
        assert!(four * 100 >= seeds * 95, "{rule:?}: {four} of {seeds}");
    }
}

#[test]
fn beside_fifty_ports_a_second_of_others_sixteen_candidates_hit_as_an_oracle_does() {
    for rule in [Simulated::Sequential(1), Simulated::Sequential(2), Simulated::Sequential(-1)] {
        let scene = Scene::new(rule, 50.0, 16);
        let (seeds, [hits]) = (seeds(60), scene.hits(seeds(60), [16]));
        let (hit, best) = (hits as f64 / seeds as f64, scene.best(16));
        assert!(best > 0.99 && hit >= best - 0.03, "{rule:?}: {hit:.2}, at best {best:.2}");
    }
}

/// The same words, `ports=…`, by which a NAT is asked for on the command line.
#[test]
fn the_nat_of_this_crate_is_foreseen_after_six_observations() {
    for ports in ["preservation", "sequential+1", "sequential+2", "sequential-1", "sequential+7"] {
        for parity in ["kept", "ignored"] {
            let odd = ["sequential+1", "sequential-1", "sequential+7"].contains(&ports);
            if odd && parity == "kept" {
                continue;
            }
            let name = format!("mapping=apdm,ports={ports},parity={parity}");
            for seed in 0..20 {
                let (observations, question, truth) = through(&name, seed);
                let forecast = forecast(&observations, &question);
                assert_eq!(forecast.next[0].port, truth, "{name}, seed {seed}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_observations_have_a_forecast(
        observations in vec(any_observation(), 0..90),
        asked in any_observation(),
    ) {
        let question = Question { at: asked.at, remote: asked.remote, internal: asked.internal };
        let forecast = forecast(&observations, &question);
        let likely = forecast.next.iter().map(|next| next.probability);
        prop_assert!(likely.clone().all(|p| (0.0..=1.0 + 1e-9).contains(&p)));
        prop_assert!(likely.clone().is_sorted_by(|a, b| a >= b));
        prop_assert!(likely.sum::<f64>() <= 1.0 + 1e-9);
        let believed: f64 = forecast.rules.iter().map(|belief| belief.probability).sum();
        prop_assert!(believed <= 1.0 + 1e-9);
    }
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let at = prop_oneof![0..3_000_000_000_u64, any::<u64>()];
    let port = prop_oneof![any::<u16>(), 40_000..40_010_u16, Just(0), Just(u16::MAX)];
    let parts = (at, 0..REMOTES.len(), option::of(any::<u16>()), port);
    parts.prop_map(|(at, remote, internal, external)| Observation {
        at: Instant::from_nanos(at),
        remote: REMOTES[remote],
        internal,
        external,
    })
}

impl Scene {
    fn is_hit(&self, seed: u64, count: usize) -> bool {
        self.case(seed).are_hit([count]) == [true]
    }

    /// In how many cases one of the first so many candidates is the port.
    fn hits<const N: usize>(&self, seeds: u64, counts: [usize; N]) -> [u64; N] {
        let mut hits = [0; N];
        for seed in 0..seeds {
            let are_hit = self.case(seed).are_hit(counts);
            hits.iter_mut().zip(are_hit).for_each(|(hits, is_hit)| *hits += u64::from(is_hit));
        }
        hits
    }
}

impl Case {
    fn are_hit<const N: usize>(&self, counts: [usize; N]) -> [bool; N] {
        let forecast = forecast(&self.observations, &self.question);
        counts.map(|count| forecast.next[..count].iter().any(|next| next.port == self.truth))
    }
}

fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for rule in ALL {
        for others_per_s in [0.0, 1.0, 10.0, 50.0] {
            for seen in [2, 3, 4, 6, 8, 12, 16, 32] {
                for share in [0.0, 0.1] {
                    let scene = Scene::new(*rule, others_per_s, seen);
                    scenes.push(Scene { loss: share, reordering: share, ..scene });
                }
            }
        }
    }
    scenes
}

/// Six flows through a NAT, the next one, and its port.
fn through(name: &str, seed: u64) -> (Vec<Observation>, Question, u16) {
    let Device::Modelled(behaviours) = name.parse::<Nat>().expect("it can exist").device else {
        panic!("{name} is modelled");
    };
    let address = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    let mut nat = Translator::new(&behaviours[0], &[address], seed);
    let mut port = |at: Instant, internal: u16, remote: SocketAddr| {
        let inside = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), internal);
        let syn = Segment { flags: Flags::SYN, ..Segment::default() };
        match nat.take(at, Side::Inside, Packet::tcp(inside, remote, syn)) {
            Fate::Forward(_, packet) => packet.endpoints().expect("it is TCP").0.port(),
            fate => panic!("a SYN went no further: {fate:?}"),
        }
    };
    let flow = |n: u16| {
        let remote = REMOTES[SIX[usize::from(n) % SIX.len()]];
        (Instant::from_millis(100 * u64::from(n)), 20_000 + n * 10 + u16::from(n % 4 > 1), remote)
    };
    let observations = (0..6).map(flow).map(|(at, internal, remote)| {
        let external = port(at, internal, remote);
        Observation { at, remote, internal: Some(internal), external }
    });
    let observations = observations.collect();
    let (at, internal, remote) = flow(6);
    let question = Question { at, remote, internal: Some(internal) };
    (observations, question, port(at, internal, remote))
}

/// From how many seeds a scene is played.
fn seeds(default: u64) -> u64 {
    env::var("TSO_PROBE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The place of the tenth around 0.8.
const EIGHT_TENTHS: usize = 7;
