//! Rules that hold for every NAT and every row of packets.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::nat::{
    Assignment, Fallback, Filtering, IdleTimeouts, Mapping, Pooling, Sharing, Unsolicited,
};

proptest! {
    /// RFC 4787 §5: whatever comes in comes to an endpoint that has a binding; and what the NAT
    /// sends of its own accord it sends in order of time, never too soon, and all of it.
    #[test]
    fn what_comes_in_comes_to_a_live_binding(
        behaviour in any_behaviour(),
        packets in vec((any_packet(), 0..4_000_000u32), 0..120),
        seed in any::<u64>(),
    ) {
        let own = ["n", "m", "2001:db8::1"].map(address);
        let mut nat = Bench { nat: Translator::new(&behaviour, &own, seed), now: Instant::START };
        let mut last = Instant::START;
        for ((side, packet), pause) in packets {
            nat.now += Duration::from_millis(pause.into()).mul_f64(0.1);
            while let Some(at) = nat.nat.wakes().filter(|at| *at <= nat.now) {
                prop_assert!(at >= last);
                last = at;
                let answer = nat.nat.due(nat.now).expect("it said so");
                prop_assert!(own.contains(&answer.source));
            }
            prop_assert_eq!(nat.nat.due(nat.now), None);
            let from = packet.source;
            match nat.nat.take(nat.now, side, packet) {
                Fate::Forward(Side::Inside, packet) => {
                    let mut live = nat.nat.table.of_internal(nat.now, packet.receiver());
                    prop_assert!(live.next().is_some(), "{} has no binding", packet);
                    prop_assert_eq!(packet.destination, packet.receiver().ip());
                    prop_assert!(same_family(&packet));
                }
                Fate::Forward(Side::Outside, packet) => {
                    prop_assert_eq!(side, Side::Inside);
                    prop_assert!(own.contains(&packet.source) && !own.contains(&packet.destination));
                    prop_assert!(same_family(&packet));
                }
                Fate::Answer(packet) => {
                    prop_assert_eq!((side, packet.destination), (Side::Outside, from));
                }
                Fate::Drop => {}
            }
        }
    }

    /// RFC 5382 REQ-7: unless it overloads, two internal endpoints never share an external one
    /// towards one remote; unless ports overlap (RFC 7857 §3), they never share one.
    #[test]
    fn no_two_hosts_share_an_endpoint_that_their_nat_does_not_let_them_share(
        behaviour in any_behaviour(),
        packets in vec(any_packet(), 0..120),
        seed in any::<u64>(),
    ) {
        let knobs = behaviour.knobs().clone();
        let mut nat = Translator::new(&behaviour, &[address("n")], seed);
        let now = Instant::from_millis(1);
        let mut seen: Vec<[Endpoint; 3]> = Vec::new();
        for (_, packet) in packets.into_iter().filter(|(side, _)| *side == Side::Inside) {
            let Some((internal, remote)) = packet.endpoints() else { continue };
            let Fate::Forward(Side::Outside, packet) = nat.take(now, Side::Inside, packet) else {
                continue;
            };
            let Some((external, _)) = packet.endpoints() else { continue };
            seen.push([internal, external, remote]);
        }
        let overlaps = knobs.ports != Assignment::Preservation(Sharing::Exclusive)
            && matches!(knobs.ports, Assignment::Preservation(_));
        let shared = seen.iter().flat_map(|one| seen.iter().map(move |other| (one, other)));
        for (one, other) in shared.filter(|(one, other)| one[0] != other[0] && one[1] == other[1]) {
            prop_assert!(
                knobs.ports == Assignment::Overloading || overlaps && one[2] != other[2],
                "{:?} {:?}", one, other
            );
        }
    }
}

fn same_family(packet: &Packet) -> bool {
    packet.source.is_ipv4() == packet.destination.is_ipv4()
}

/// Packets between few endpoints, so that they meet; now and then any packet at all.
fn any_packet() -> impl Strategy<Value = (Side, Packet)> {
    let side = || select(vec![Side::Inside, Side::Outside]);
    let inside = || (select(vec!["a", "b"]), 2_000..2_004u16);
    let outside = || (select(vec!["r", "q", "n", "m"]), 80..83u16);
    let external = || (select(vec!["n", "m"]), 2_000..2_260u16);
    let flags = || select(vec!["S", "S", "S.", ".", "F.", "R", "R.", "P.", "-", "SF", "SR"]);
    let segment = |(from, to, flags): (Named, Named, &str)| {
        packet(&format!("{}:{} > {}:{} {flags} 5:5(0) ack 7", from.0, from.1, to.0, to.1))
    };
    let error = |(from, to): (Named, Named)| {
        let (inner, outer) = (format!("{}:{}", to.0, to.1), format!("{}:{}", from.0, from.1));
        packet(&format!("{} > {} icmp 3/3 [{inner} > {outer} seq 5 ttl 9]", from.0, to.0))
    };
    prop_oneof![
        4 => (inside(), outside(), flags()).prop_map(segment).prop_map(|p| (Side::Inside, p)),
        2 => (inside(), external(), flags()).prop_map(segment).prop_map(|p| (Side::Inside, p)),
        4 => (outside(), external(), flags()).prop_map(segment).prop_map(|p| (Side::Outside, p)),
        1 => (outside(), external()).prop_map(error).prop_map(|p| (Side::Outside, p)),
        1 => (inside(), outside()).prop_map(error).prop_map(|p| (Side::Inside, p)),
        1 => (side(), crate::wire::testing::any_packet()),
    ]
}

type Named = (&'static str, u16);

fn any_behaviour() -> impl Strategy<Value = Behaviour> {
    (any_binding(), any_ports(), any_rest()).prop_filter_map(
        "this NAT can exist",
        |((mapping, filtering, filtering_established), ports, rest)| {
            let (ports, on_clash, range, parity, pooling) = ports;
            let ((hairpinning, unsolicited, blocks), timeouts, rewrites_isn, strips_options) = rest;
            let knobs = Knobs {
                mapping,
                filtering,
                filtering_established,
                ports,
                on_clash,
                range,
                parity,
                pooling,
                hairpinning,
                unsolicited,
                blocks,
                rewrites_isn,
                strips_options,
                timeouts,
            };
            Behaviour::try_from(knobs).ok()
        },
    )
}

fn any_binding() -> impl Strategy<Value = (Mapping, Filtering, Filtering)> {
    let mapping = select(vec![
        Mapping::EndpointIndependent,
        Mapping::AddressDependent,
        Mapping::AddressAndPortDependent,
    ]);
    let filtering = || {
        select(vec![
            Filtering::EndpointIndependent,
            Filtering::AddressDependent,
            Filtering::AddressAndPortDependent,
        ])
    };
    (mapping, filtering(), filtering())
}

type Ports = (Assignment, Fallback, RangeInclusive<u16>, bool, Pooling);

fn any_ports() -> impl Strategy<Value = Ports> {
    let step = || prop_oneof![4 => -4..5i32, 1 => any::<i32>()];
    let sharing = select(vec![Sharing::Exclusive, Sharing::Overlapping, Sharing::OverlappingReuse]);
    let assignment = prop_oneof![
        3 => sharing.prop_map(Assignment::Preservation),
        1 => step().prop_map(Assignment::Sequential),
        1 => Just(Assignment::Random),
        1 => Just(Assignment::Overloading),
    ];
    let fallback = prop_oneof![Just(Fallback::Random), step().prop_map(Fallback::Sequential)];
    let range = prop_oneof![
        Just(2_000..=2_255),
        Just(2_001..=2_257),
        Just(0..=u16::MAX),
        any::<(u16, u16)>().prop_map(|(start, end)| start..=end),
    ];
    let pooling = select(vec![Pooling::Paired, Pooling::Arbitrary]);
    (assignment, fallback, range, any::<bool>(), pooling)
}

type Rest = ((Hairpinning, Unsolicited, Option<CrossingSegment>), IdleTimeouts, bool, bool);

fn any_rest() -> impl Strategy<Value = Rest> {
    let hairpinning = select(vec![
        Hairpinning::Unsupported,
        Hairpinning::InternalSource,
        Hairpinning::ExternalSource,
    ]);
    let segments = [CrossingSegment::SynIn, CrossingSegment::SynAckOut, CrossingSegment::SynAckIn];
    let meets = (hairpinning, any_unsolicited(), option::of(select(segments.to_vec())));
    (meets, any_timeouts(), any::<bool>(), any::<bool>())
}

fn any_unsolicited() -> impl Strategy<Value = Unsolicited> {
    let answer = select(vec![Answer::Silence, Answer::Reset, Answer::Unreachable(13)]);
    (answer, 0..9u64, option::of(0..3u16)).prop_map(|(answer, after, holds)| Unsolicited {
        answer,
        after: Duration::from_secs(after),
        holds,
    })
}

fn any_timeouts() -> impl Strategy<Value = IdleTimeouts> {
    let seconds = || (1..600u64).prop_map(Duration::from_secs);
    (seconds(), seconds(), seconds(), any::<bool>()).prop_map(
        |(partially_open, established, closing, syn_refreshes)| IdleTimeouts {
            partially_open,
            established,
            closing,
            syn_refreshes,
        },
    )
}
