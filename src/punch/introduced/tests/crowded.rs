//! NATs from which others take ports all the while.

use std::cell::Cell;
use std::rc::Rc;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::nats::nat;
use super::world::World;
use super::*;

/// It is seen from mappings that are shown one after another, and lasts as long as it takes to agree.
#[test]
fn what_is_foreseen_happens_as_often_as_is_said() {
    let (mut expected, mut variance, mut opened) = (0.0, 0.0, 0);
    for seed in 0..40 {
        let (chance, is_open) = crowded(4.0, seed);
        expected += chance;
        variance += chance * (1.0 - chance);
        opened += u32::from(is_open);
    }
    // Three standard deviations.
    let off = (f64::from(opened) - expected).abs();
    assert!(off < 3.0 * f64::sqrt(variance), "{opened} opened, {expected:.1} expected");
    let (chance, is_open) = crowded(0.0, 1);
    assert!(is_open && chance > 0.4, "{chance}");
}

/// The chance that the first end gives itself, and whether the first attempt opens, where others take so
/// many ports a second of each NAT.
fn crowded(others_per_s: f64, seed: u64) -> (f64, bool) {
    let clock = Rc::new(Cell::new(Instant::START));
    let nats = [2 * seed, 2 * seed + 1].map(|seed| {
        let (clock, mut random) = (Rc::clone(&clock), Xoshiro256PlusPlus::seed_from_u64(seed));
        let (mut last, mut asked) = (random.random_range(10_000..50_000), Instant::START);
        nat(move |_| {
            let now = clock.get();
            // So short a time that nobody takes two in it.
            for _ in 0..now.since(asked).as_millis() {
                last += u16::from(random.random_bool(others_per_s / 1_000.0));
            }
            (last, asked) = (last + 1, now);
            last
        })
    });
    let mut world = World::new(nats, [Some(40_000), Some(41_000)]);
    world.clock = clock;
    for end in &mut world.ends {
        end.party.setting.attempts = 1;
    }
    world.run();
    let chance = world.ends[0].notes.iter().find_map(|what| match what {
        Punched::Foresaw { chance, .. } => *chance,
        _ => None,
    });
    let chance = f64::from(chance.expect("it is foreseen")) / 1_000.0;
    (chance, world.ends[0].party.opened().is_some())
}
