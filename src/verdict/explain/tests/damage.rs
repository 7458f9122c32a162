//! Whatever a capture loses, doubles, cuts off or puts out of order by 10 ms: the cause is found, or none.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::on_the_way::{
    forgotten, limited, limited_by_address, moved, not_turned_around, rewritten, syn_proxied,
    transparently_proxied,
};
use super::*;
use crate::capture::testing::{Stored, frames_of, openings_among};

const HEARD: &str = "198.51.100.1:9 > 192.0.2.7:9 S 1:1(0) win 1 ttl";

/// A cause, and a whole capture of it.
type Scene = (Cause, Vec<(u64, String)>);

fn scene(cause: Cause, lines: &[(u64, &str)]) -> Scene {
    (cause, and_on(seen_at_a(lines), 90))
}

/// Whole captures of one cause each.
fn scenes() -> Vec<Scene> {
    let refused = [(1, "a S 100:100(0)"), (50, "b R. 0:0(0) ack 101")];
    let heard = |ttl: u8| {
        let known = vec![(0, format!("{HEARD} {ttl} id 1"))];
        and_on([known, seen_at_a(&refused)].concat(), 90)
    };
    let mut all = [silent(), answered(), strange()].concat();
    all.extend([
        (Cause::ClosedPort, heard(55)),
        (Cause::MiddleboxReset, heard(51)),
        (Cause::SynProxy, and_on(syn_proxied(), 90)),
        (Cause::TransparentProxy, and_on(transparently_proxied(), 90)),
        (Cause::Rewritten, and_on(rewritten(), 90)),
        (Cause::SynRateLimit, and_on(limited(), 90)),
        (Cause::SynRateLimit, and_on(limited_by_address(3), 90)),
        (Cause::HairpinUnsupported, and_on(not_turned_around(), 90)),
        (Cause::MappingExpired, and_on(moved(), 90)),
        (Cause::MappingExpired, and_on(forgotten(200), 300)),
    ]);
    all
}

fn silent() -> Vec<Scene> {
    let syns = [0, 1_000, 2_000, 3_000, 4_000, 5_000].map(|at| (at, "a S 100:100(0)"));
    let other = "198.51.100.1:7003 > 192.0.2.1:1000 S 300:300(0) win 1 ttl 55 id 4";
    let inside = |at| (at, "10.0.0.2:1000 > 198.51.100.1:7000 S 100:100(0) win 1 ttl 64 id 1");
    let error = "203.0.113.7 > 192.0.2.1 icmp 3/13 [192.0.2.1:1000 > 198.51.100.1:7000 seq 100 ttl 60] \
                 ttl 60 id 3";
    vec![
        scene(Cause::NoAnswer, &syns),
        scene(Cause::OtherPort, &[&syns[..], &[(5_030, other)]].concat()),
        scene(
            Cause::HairpinInternalSource,
            &[
                inside(0),
                (1, "10.0.0.3:7000 > 10.0.0.2:1000 S 300:300(0) win 1 ttl 63 id 1"),
                inside(1_000),
                inside(2_000),
            ],
        ),
        scene(Cause::IcmpError, &[(0, "a S 100:100(0)"), (20, error)]),
        scene(
            Cause::SelfConnect,
            &[(0, "192.0.2.1:1000 > 192.0.2.1:1000 S 100:100(0) win 1 ttl 64 id 1")],
        ),
        scene(Cause::Reset, &[(0, "a S 100:100(0)"), (50, "b R. 0:0(0) ack 101")]),
        scene(
            Cause::MissedWindow,
            &[
                (0, "a S 100:100(0)"),
                (80, "b R. 0:0(0) ack 101"),
                (100, "b S 300:300(0)"),
                (100, "a R. 0:0(0) ack 301"),
            ],
        ),
        scene(
            Cause::WrongAck,
            &[
                (0, "a S 100:100(0)"),
                (50, "b . 9000:9000(0) ack 77777777"),
                (50, "a R 77777777:77777777(0)"),
                (60, "a S 100:100(0)"),
                (110, "b . 9000:9000(0) ack 77777777"),
                (110, "a R 77777777:77777777(0)"),
            ],
        ),
    ]
}

fn answered() -> Vec<Scene> {
    vec![
        scene(
            Cause::SynAckLost,
            &[
                (0, "a S 100:100(0)"),
                (40, "b S 300:300(0)"),
                (41, "a S. 100:100(0) ack 301"),
                (1_040, "b S 300:300(0)"),
                (1_041, "a S. 100:100(0) ack 301"),
                (2_040, "b S 300:300(0)"),
                (2_041, "a S. 100:100(0) ack 301"),
            ],
        ),
        scene(
            Cause::AckLost,
            &[
                (0, "a S 100:100(0)"),
                (40, "b S. 300:300(0) ack 101"),
                (41, "a . 101:101(0) ack 301"),
                (1_040, "b S. 300:300(0) ack 101"),
                (1_041, "a . 101:101(0) ack 301"),
                (3_040, "b S. 300:300(0) ack 101"),
                (3_041, "a . 101:101(0) ack 301"),
            ],
        ),
        scene(
            Cause::LocalReset,
            &[(0, "a S 100:100(0)"), (50, "b S. 300:300(0) ack 101"), (51, "a R 101:101(0)")],
        ),
        scene(
            Cause::SynAckIgnored,
            &[
                (0, "a S 100:100(0)"),
                (40, "b S. 300:300(0) ack 101"),
                (1_000, "a S 100:100(0)"),
                (1_040, "b S. 300:300(0) ack 101"),
                (3_000, "a S 100:100(0)"),
                (3_040, "b S. 300:300(0) ack 101"),
            ],
        ),
        scene(
            Cause::ResetAfterCrossing,
            &[
                (0, "a S 100:100(0)"),
                (40, "b S 300:300(0)"),
                (41, "a S. 100:100(0) ack 301"),
                (60, "b R. 301:301(0) ack 101"),
            ],
        ),
    ]
}

fn strange() -> Vec<Scene> {
    vec![
        scene(
            Cause::HalfCrossed,
            &[
                (0, "a S 100:100(0)"),
                (40, "b S. 300:300(0) ack 101"),
                (41, "a . 101:101(0) ack 301"),
                (50, "b S 300:300(0)"),
            ],
        ),
        scene(
            Cause::SplitHandshake,
            &[
                (0, "a S 100:100(0)"),
                (40, "b . 300:300(0) ack 101"),
                (41, "b S 300:300(0)"),
                (42, "a S. 100:100(0) ack 301"),
                (80, "b . 301:301(0) ack 101"),
            ],
        ),
    ]
}

/// Whether a cause is right for a connection where the whole capture shows these: that a SYN was reset, or was
/// not answered, is true of what goes beyond it as well, once the packets that go beyond it are missing.
fn is_right(found: Cause, whole: &[Cause]) -> bool {
    use Cause::{
        ClosedPort, HairpinInternalSource, HairpinUnsupported, LocalFirewall, MappingExpired,
        MiddleboxReset, MissedWindow, NoAnswer, OtherPort, Reset, ResetAfterCrossing, SynRateLimit,
    };
    let part_of: &[Cause] = match found {
        Cause::Unknown => return true,
        Reset => &[
            ClosedPort,
            HairpinInternalSource,
            MiddleboxReset,
            MissedWindow,
            MappingExpired,
            ResetAfterCrossing,
            SynRateLimit,
        ],
        MiddleboxReset => &[MappingExpired],
        ClosedPort => &[SynRateLimit],
        NoAnswer => &[HairpinUnsupported, LocalFirewall, MappingExpired, OtherPort, SynRateLimit],
        _ => &[],
    };
    whole.contains(&found) || part_of.iter().any(|cause| whole.contains(cause))
}

/// What a capture may do to packets.
#[derive(Clone, Debug)]
struct Damage {
    lost: Vec<prop::sample::Index>,
    doubled: Vec<prop::sample::Index>,
    moved: BTreeMap<usize, u64>,
    kept: Option<prop::sample::Index>,
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let some = || prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let moved = prop::collection::btree_map(0..30_usize, 0..10_u64, 0..3);
    (some(), some(), moved, any::<Option<prop::sample::Index>>())
        .prop_map(|(lost, doubled, moved, kept)| Damage { lost, doubled, moved, kept })
}

impl Damage {
    /// Done to packets, each with its time, of which so many make a millisecond.
    fn done_to<T: Clone>(&self, whole: &[(u64, T)], millisecond: u64) -> Vec<(u64, T)> {
        let mut packets = whole.to_vec();
        for at in &self.doubled {
            let again = packets[at.index(packets.len())].clone();
            packets.push(again);
        }
        // No packet is moved twice.
        let length = packets.len();
        let moved: BTreeMap<_, _> =
            self.moved.iter().map(|(place, later)| (place % length, later)).collect();
        for (place, later) in moved {
            packets[place].0 += later * millisecond;
        }
        packets.sort_by_key(|(at, _)| *at);
        for at in &self.lost {
            packets.remove(at.index(packets.len()));
            if packets.is_empty() {
                break;
            }
        }
        if let Some(kept) = &self.kept {
            packets.truncate(kept.index(packets.len() + 1));
        }
        packets
    }
}

/// Two endpoints, in order.
type Pair = (Endpoint, Endpoint);

fn pair(connection: &Connection) -> Pair {
    (connection.a.min(connection.b), connection.a.max(connection.b))
}

/// The causes of each connection.
fn by_pair(connections: &[Connection]) -> BTreeMap<Pair, Vec<Cause>> {
    let mut all: BTreeMap<Pair, Vec<Cause>> = BTreeMap::new();
    for connection in connections {
        let causes = connection.diagnosis.iter().map(|found| found.cause);
        all.entry(pair(connection)).or_default().extend(causes);
    }
    all
}

/// What is right for a connection; that the ends missed each other's ports is right for all between them.
fn right_for(connection: &Connection, whole: &BTreeMap<Pair, Vec<Cause>>) -> Vec<Cause> {
    let mut right = whole.get(&pair(connection)).cloned().unwrap_or_default();
    let all = || whole.values().flatten();
    right.extend(all().filter(|cause| **cause == Cause::OtherPort));
    right
}

/// What is found in a damaged capture that is not right, given what is found in the whole one.
fn wrong(damaged: &[Connection], whole: &[Connection]) -> Option<String> {
    let whole = by_pair(whole);
    damaged.iter().find_map(|connection| {
        let right = right_for(connection, &whole);
        let found = connection.diagnosis.iter().find(|found| !is_right(found.cause, &right))?;
        Some(format!("{found:#?} instead of {right:?}: {:#?}", connection.trace))
    })
}

/// The captures of causes, by name, as frames.
fn files() -> Vec<(String, Vec<(u64, Stored)>)> {
    let entries = fs::read_dir("captures/causes").expect("it is there").flatten();
    let captures = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng"));
    let mut all: Vec<_> = captures
        .map(|path| {
            let name = path.display().to_string();
            (name, frames_of(&fs::read(&path).expect("it can be read")))
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn explained_frames(frames: &[(u64, Stored)]) -> Vec<Connection> {
    told(&openings_among(1_000, frames))
}

#[test]
fn every_scene_and_every_file_shows_its_cause_while_it_is_whole() {
    for (cause, whole) in scenes() {
        let found = by_pair(&explained(&whole));
        assert!(found.values().any(|causes| causes.contains(&cause)), "{cause:?}: {found:?}");
    }
    let files = files();
    assert!(files.len() > 15, "where are the captures?");
    for (name, frames) in files {
        let found = by_pair(&explained_frames(&frames));
        assert!(found.values().any(|causes| !causes.is_empty()), "{name}: {found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn a_damaged_capture_has_the_same_cause_or_none(scene in any::<prop::sample::Index>(), damage in any_damage()) {
        let scenes = scenes();
        let (_, whole) = &scenes[scene.index(scenes.len())];
        let damaged = damage.done_to(whole, 1);
        let wrong = wrong(&explained(&damaged), &explained(whole));
        prop_assert_eq!(wrong, None);
    }
}

#[test]
fn a_damaged_file_of_real_packets_has_the_same_causes_or_none() {
    let all: Vec<_> = files()
        .into_iter()
        .map(|(name, frames)| (name, explained_frames(&frames), frames))
        .collect();
    let config = ProptestConfig::with_cases(5_000);
    let strategy = (any::<prop::sample::Index>(), any_damage());
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&strategy, |(file, damage)| {
        let (name, whole, frames) = &all[file.index(all.len())];
        let damaged = explained_frames(&damage.done_to(frames, 1_000_000));
        prop_assert_eq!(wrong(&damaged, whole), None, "{}", name);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
