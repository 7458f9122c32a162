//! For every behaviour that can exist, what the STUN probe says of the mapping is the mapping.

mod axes;

use axes::{FILTERINGS, MAPPINGS};
use tso_probe::nat::{Assignment, Behaviour, Fallback, Knobs, Mapping, Sharing, Unsolicited};
use tso_probe::sim::{Loss, StunLayout, Weather, stun};
use tso_probe::time::Duration;
use tso_probe::verdict::{Unknown, judge_stun};

const PORTS: [Assignment; 7] = [
    Assignment::Preservation(Sharing::Exclusive),
    Assignment::Preservation(Sharing::Overlapping),
    Assignment::Preservation(Sharing::OverlappingReuse),
    Assignment::Sequential(1),
    Assignment::Sequential(-2),
    Assignment::Random,
    Assignment::Overloading,
];
const FALLBACKS: [Fallback; 2] = [Fallback::Random, Fallback::Sequential(1)];

fn behaviours() -> Vec<Behaviour> {
    let mut all = Vec::new();
    for mapping in MAPPINGS {
        for filtering in FILTERINGS {
            for (ports, on_clash) in PORTS.iter().flat_map(|p| FALLBACKS.map(|f| (*p, f))) {
                for [rewrites_isn, strips_options] in [[false; 2], [true; 2]] {
                    all.push(Knobs {
                        mapping,
                        filtering,
                        filtering_established: filtering,
                        ports,
                        on_clash,
                        rewrites_isn,
                        strips_options,
                        unsolicited: Unsolicited::DROPPED,
                        ..Knobs::rfc5382()
                    });
                }
            }
        }
    }
    all.into_iter().filter_map(|knobs| Behaviour::try_from(knobs).ok()).collect()
}

/// RFC 4787 §4.1, as one internal endpoint alone can see it: ports that overlap are preserved
/// towards every remote while nobody else wants them.
fn seen(knobs: &Knobs) -> Mapping {
    use Sharing::{Overlapping, OverlappingReuse};
    match knobs.ports {
        Assignment::Preservation(Overlapping | OverlappingReuse) => Mapping::EndpointIndependent,
        _ => knobs.mapping,
    }
}

fn fair(seed: u64) -> StunLayout {
    let weather = Weather { delay: Duration::from_millis(20), ..Weather::default() };
    let patience = Duration::from_secs(5);
    StunLayout { two_addresses: true, patience, weather: [weather; 2], seed }
}

#[test]
fn the_mapping_that_is_found_is_the_mapping() {
    let all = behaviours();
    println!("{} behaviours", all.len());
    for (seed, behaviour) in (0..).zip(&all) {
        let verdict = judge_stun(&stun(std::slice::from_ref(behaviour), &fair(seed)));
        let knobs = behaviour.knobs();
        assert_eq!(verdict.mapping.value(), Some(&seen(knobs)), "seed {seed} {knobs:?}");
        assert_eq!(verdict.translated.value(), Some(&true), "seed {seed} {knobs:?}");
        assert_eq!(verdict.servers.len(), 4, "seed {seed} {knobs:?}");
    }
}

#[test]
fn without_a_nat_nothing_is_translated() {
    let verdict = judge_stun(&stun(&[], &fair(7)));
    assert_eq!(verdict.translated.value(), Some(&false));
    assert_eq!(verdict.mapping.value(), Some(&Mapping::EndpointIndependent));
}

#[test]
fn the_outer_of_two_that_keeps_ports_lets_the_inner_one_show() {
    let outer = Behaviour::try_from(Knobs::rfc5382()).expect("it can exist");
    for inner in behaviours() {
        let wanted = seen(inner.knobs());
        let verdict = judge_stun(&stun(&[inner, outer.clone()], &fair(7)));
        assert_eq!(verdict.mapping.value(), Some(&wanted));
    }
}

#[test]
fn one_address_tells_no_mapping_and_says_what_it_needs() {
    let layout = StunLayout { two_addresses: false, ..fair(7) };
    for behaviour in behaviours() {
        let verdict = judge_stun(&stun(&[behaviour], &layout));
        assert_eq!(verdict.mapping.why(), Some(Unknown::NeedsSecondAddress));
    }
}

#[test]
fn lost_repeated_and_reordered_segments_leave_it_right_or_unknown() {
    let all = behaviours();
    let mut known = 0;
    for (seed, behaviour) in (0..).zip(all.iter().cycle().take(4 * all.len())) {
        let weather = Weather {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(30),
            loss: Loss::Independent(0.2),
            duplicated: 0.2,
        };
        let layout = StunLayout { weather: [weather; 2], ..fair(seed) };
        let verdict = judge_stun(&stun(std::slice::from_ref(behaviour), &layout));
        let knobs = behaviour.knobs();
        if let Some(found) = verdict.mapping.value() {
            known += 1;
            assert_eq!(*found, seen(knobs), "seed {seed} {knobs:?}");
        }
    }
    // TCP repeats what is lost: in five seconds most answers are in.
    assert!(known * 10 >= 4 * all.len() * 9, "{known} of {} are known", 4 * all.len());
}

#[test]
fn same_seed_same_run() {
    let behaviour = &behaviours()[40];
    let layout = fair(3);
    let run = stun(std::slice::from_ref(behaviour), &layout);
    assert_eq!(run, stun(std::slice::from_ref(behaviour), &layout));
}
