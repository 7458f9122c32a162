//! A host that chooses ports as Linux does: by random even steps, from a place that depends on the remote
//! endpoint, so that only the first attempt shows it, and that is drawn afresh every ten seconds.

use std::collections::BTreeMap;
use std::rc::Rc;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::nats::preserving;
use super::world::World;
use super::*;

#[test]
fn what_an_attempt_has_taught_opens_the_next() {
    let world = met(Duration::from_secs(3_600), 7);
    world.is_open(2);
    let taught = world.ends[1].noted(|what| matches!(what, Punched::Taught { .. }));
    assert_eq!(taught, 1);
}

/// Whenever it begins anew, one attempt is lost with it and the next is as good as ever.
#[test]
fn a_host_that_begins_anew_is_caught_up_with_at_once() {
    for tenths in (1..100).step_by(3) {
        let world = met(Duration::from_millis(100 * tenths), tenths);
        assert!(world.ends[1].party.opened().is_some(), "{tenths}: {:#?}", world.ends[1].notes);
        let attempts = world.ends[1].party.attempt();
        assert!(attempts <= 4, "{tenths}: {attempts} attempts");
    }
}

/// Two ends of which the second only connects, from a host that begins anew at this time for the first time.
fn met(first: Duration, seed: u64) -> World {
    let mut world = World::new([preserving(), preserving()], [Some(40_000), None]);
    let (clock, mut random) = (Rc::clone(&world.clock), Xoshiro256PlusPlus::seed_from_u64(seed));
    let mut places: BTreeMap<Endpoint, u16> = BTreeMap::new();
    let mut until = world.now + first;
    world.ends[1].next_port = Box::new(move |to| {
        if clock.get() >= until {
            places.clear();
            until += Duration::from_secs(10);
        }
        let begin = 33_000 + 2 * random.random_range(0..10_000);
        let next = places.entry(to).or_insert(begin);
        *next += 2 * random.random_range(1..=8);
        *next
    });
    for end in &mut world.ends {
        end.party.setting.attempts = 20;
    }
    world.run();
    world
}
