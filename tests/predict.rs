//! Forecasts of ports, held against simulated allocators and against the NAT of this crate. What an
//! allocator is asked for comes from seeds, so every run is the same.

#[path = "predict/allocators.rs"]
mod allocators;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tso_probe::nat::{Device, Fate, Nat, Side, Translator};
use tso_probe::rendezvous::predict::{Observation, Question, forecast};
use tso_probe::time::Instant;
use tso_probe::wire::{Flags, Packet, Segment};

use allocators::{ALL, DETERMINISTIC, REMOTES, Scene, Simulated};

/// Six flows that tell counters apart: in turns, and one remote that shares an address with another.
const SIX: &[usize] = &[0, 1, 0, 2, 0, 1];

#[test]
fn after_six_observations_every_deterministic_rule_is_hit_at_once() {
    for rule in DETERMINISTIC {
        let scene = Scene { remotes: SIX, ..Scene::new(*rule, 0.0, SIX.len()) };
        let hits = (0..SEEDS).filter(|seed| scene.is_hit(*seed, 1)).count();
        assert_eq!(hits, SEEDS as usize, "{rule:?}");
    }
}

/// Every rule, from no cross traffic to much, from two observations to 32, with and without losses and
/// reordering; chances of one candidate and of several.
#[test]
fn what_is_said_to_be_likely_happens_as_often() {
    let (mut said, mut hits, mut cases) = ([0.0; 10], [0; 10], [0_u32; 10]);
    for (seed, scene) in (0..).zip(scenes()) {
        let case = scene.case(seed);
        let forecast = forecast(&case.observations, &case.question);
        for count in [1, 2, 4, 8, 16] {
            let chance = forecast.chance(count);
            // From 0.75 to 0.85 is the tenth around 0.8.
            let tenth = ((chance * 10.0 - 0.5).max(0.0) as usize).min(9);
            let is_hit = forecast.next[..count].iter().any(|next| next.port == case.truth);
            said[tenth] += chance;
            hits[tenth] += u32::from(is_hit);
            cases[tenth] += 1;
        }
    }
    for tenth in 0..10 {
        let of = f64::from(cases[tenth]);
        let (said, hit) = (said[tenth] / of, f64::from(hits[tenth]) / of);
        println!("said {said:.3}, hit {hit:.3} of {of}");
        assert!((said - hit).abs() < 0.1, "said {said:.3}, hit {hit:.3} of {of}");
    }
    let hit = f64::from(hits[EIGHT_TENTHS]) / f64::from(cases[EIGHT_TENTHS]);
    assert!(cases[EIGHT_TENTHS] >= 300 && (0.75..=0.85).contains(&hit), "{hit:.3}");
}

#[test]
fn losses_and_reordering_leave_counters_recognisable() {
    for rule in DETERMINISTIC {
        let scene = Scene { loss: 0.1, reordering: 0.1, ..Scene::new(*rule, 0.0, 16) };
        let hits = |count| (0..SEEDS).filter(|seed| scene.is_hit(*seed, count)).count();
        let (first, four) = (hits(1), hits(4));
        assert!(first * 100 >= SEEDS as usize * 80, "{rule:?}: {first} of {SEEDS}");
        assert!(four * 100 >= SEEDS as usize * 95, "{rule:?}: {four} of {SEEDS}");
    }
}

#[test]
fn beside_fifty_ports_a_second_of_others_sixteen_candidates_hit_as_an_oracle_does() {
    for rule in [Simulated::Sequential(1), Simulated::Sequential(2), Simulated::Sequential(-1)] {
        let scene = Scene::new(rule, 50.0, 16);
        let hits = (0..SEEDS).filter(|seed| scene.is_hit(*seed, 16)).count();
        let (hit, best) = (hits as f64 / SEEDS as f64, scene.best(16));
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
        let case = self.case(seed);
        let forecast = forecast(&case.observations, &case.question);
        forecast.next[..count].iter().any(|next| next.port == case.truth)
    }
}

fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for rule in ALL {
        for others_per_s in [0.0, 1.0, 10.0, 50.0] {
            for seen in [2, 3, 4, 6, 8, 12, 16, 32] {
                for share in [0.0, 0.1] {
                    let scene = Scene::new(*rule, others_per_s, seen);
                    let scene = Scene { loss: share, reordering: share, ..scene };
                    scenes.extend([scene.clone(), scene]);
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

const SEEDS: u64 = 60;

/// The place of the tenth around 0.8.
const EIGHT_TENTHS: usize = 7;
