//! Facts → what the doctor says.

use super::filter::{Culprit, ESTABLISHED, Fate, INVALID, Imagined, NEW, Way, fate};
use super::testing::{chain, denied, healthy, sick, socket, state_rule};
use super::*;
use crate::os::device::{Device, Offloads};
use crate::os::firewall::{Chain, Comparison, HookPoint, Key, Ruleset, Step, Verdict};
use crate::os::states::State as TcpState;
use crate::time::Duration;

#[test]
fn on_a_healthy_machine_every_check_is_fine() {
    let diagnosis = diagnose(&healthy());
    for check in &diagnosis.checks {
        assert_eq!((check.state, check.unknown), (State::Fine, None), "{check:?}");
        assert!(!check.seen.is_empty() && check.mend.is_empty(), "{check:?}");
    }
    assert_eq!(diagnosis.worst, State::Fine);
    assert_eq!(diagnosis.interface.as_deref(), Some("eth0"));
}

#[test]
fn whatever_is_not_fine_says_why_it_matters_and_what_mends_it() {
    let diagnosis = diagnose(&sick());
    for check in &diagnosis.checks {
        assert_ne!(check.state, State::Fine, "{check:?}");
        assert!(!check.matters.is_empty() && !check.mend.is_empty(), "{check:?}");
        assert_eq!(check.unknown.is_some(), check.state == State::Unknown, "{check:?}");
    }
    assert_eq!(diagnosis.worst, State::Failing);
}

#[test]
fn what_takes_privilege_is_unknown_and_says_so() {
    let check = of(&sick(), Name::Firewall);
    assert_eq!(check.unknown, Some(WhyUnknown::NeedsPrivilege));
    let mut facts = healthy();
    facts.clock = Err(denied("ask"));
    let check = of(&facts, Name::Clock);
    assert_eq!((check.state, check.unknown), (State::Unknown, Some(WhyUnknown::NeedsPrivilege)));
    assert_eq!(diagnose(&facts).worst, State::Unknown);
}

#[test]
fn each_right_that_lacks_is_named_with_what_it_leaves_undone() {
    let mut facts = healthy();
    facts.rights.socket_states = Err(denied("watch socket states"));
    let check = of(&facts, Name::Privilege);
    assert_eq!(check.state, State::Warning);
    assert!(check.seen[1].ends_with("allowed") && check.seen[2].contains("not allowed"));
    assert_eq!(check.mend, ["sudo tso-probe COMMAND"]);
}

#[test]
fn a_clock_is_judged_by_who_keeps_it_and_by_its_error() {
    let with = |is_kept, error_ms| {
        let mut facts = healthy();
        let discipline = facts.clock.as_mut().expect("it is seen");
        discipline.is_kept = is_kept;
        discipline.estimated_error = Duration::from_millis(error_ms);
        of(&facts, Name::Clock)
    };
    assert_eq!(with(true, 10).state, State::Fine);
    assert_eq!(with(true, 11).state, State::Warning);
    assert_eq!(with(false, 0).state, State::Warning);
    assert_eq!(with(true, 11).numbers.estimated_error_us, Some(11_000));
}

#[test]
fn a_tunnel_is_known_by_its_kind_or_its_link_layer() {
    let with = |kind: Option<&str>, link_layer| {
        let mut facts = healthy();
        let path = facts.path.as_mut().expect("there is one");
        path.device = Ok(Device { kind: kind.map(str::to_owned), link_layer });
        of(&facts, Name::Route)
    };
    for (kind, link_layer, named) in [
        (Some("tun"), 65534, "(tun)"),
        (Some("tun"), 1, "(tap)"),
        (Some("wireguard"), 65534, "(wireguard)"),
        (None, 512, "(ppp)"),
        (None, 778, "(gre)"),
    ] {
        let check = with(kind, link_layer);
        assert_eq!(check.state, State::Warning, "{check:?}");
        assert!(check.seen[1].contains(named), "{check:?}");
    }
    // A modem's interface has no link layer either.
    for (kind, link_layer) in [(None, 1), (Some("veth"), 1), (Some("bridge"), 1), (None, 65534)] {
        assert_eq!(with(kind, link_layer).state, State::Fine, "{kind:?}");
    }
}

#[test]
fn a_route_in_a_table_of_its_own_is_policy_routing() {
    let mut facts = healthy();
    facts.path.as_mut().expect("there is one").table = Ok(100);
    let check = of(&facts, Name::Route);
    assert_eq!((check.state, check.numbers.routing_table), (State::Warning, Some(100)));
    assert!(check.mend.contains(&"ip rule list".to_owned()));
}

#[test]
fn no_route_fails_and_leaves_the_interface_unknown() {
    let mut facts = healthy();
    let told = "cannot find a route to 192.0.2.1: Network is unreachable".to_owned();
    facts.path = Err(Unseen { why: WhyUnknown::NoRoute, told, mend: String::new() });
    assert_eq!(of(&facts, Name::Route).state, State::Failing);
    for name in [Name::Offloads, Name::Firewall] {
        let check = of(&facts, name);
        assert_eq!((check.state, check.unknown), (State::Unknown, Some(WhyUnknown::NoRoute)));
    }
}

#[test]
fn offloads_that_are_on_are_named_with_the_way_to_switch_them_off() {
    let mut facts = healthy();
    let on = Offloads { large_receive: true, tcp_segmentation: true, ..Offloads::default() };
    facts.path.as_mut().expect("there is one").offloads = Ok(on);
    let check = of(&facts, Name::Offloads);
    assert_eq!(check.state, State::Warning);
    assert_eq!(check.mend, ["sudo ethtool -K eth0 lro off tso off"]);
}

#[test]
fn stolen_time_is_a_warning_above_a_tenth() {
    let with = |share| {
        let mut facts = healthy();
        facts.stolen = Ok(share);
        of(&facts, Name::Cpu)
    };
    assert_eq!(with(0.1).state, State::Fine);
    assert_eq!(with(0.101).state, State::Warning);
    assert_eq!(with(0.25).numbers.stolen_percent, Some(25.0));
    let mut late = healthy();
    late.lateness.as_mut().expect("it is seen").p99 = Duration::from_millis(11);
    let check = of(&late, Name::Cpu);
    assert_eq!((check.state, check.numbers.late_p99_us), (State::Warning, Some(11_000)));
}

#[test]
fn a_port_is_judged_by_who_has_it() {
    use TcpState::{Established, Listen, TimeWait};
    for (local, remote, state, expected) in [
        ("0.0.0.0:5000", "0.0.0.0:0", Listen, State::Failing),
        ("[::]:5000", "[::]:0", Listen, State::Failing),
        ("192.168.1.2:5000", "0.0.0.0:0", Listen, State::Failing),
        ("127.0.0.1:5000", "0.0.0.0:0", Listen, State::Warning),
        ("192.168.1.2:5000", "203.0.113.9:6000", TimeWait, State::Failing),
        ("192.168.1.2:5000", "203.0.113.9:6001", TimeWait, State::Warning),
        ("192.168.1.2:5000", "203.0.113.8:6000", Established, State::Warning),
        ("192.168.1.2:5001", "203.0.113.9:6000", TimeWait, State::Fine),
    ] {
        let mut facts = healthy();
        facts.question.towards = sick().question.towards;
        facts.sockets = Ok(vec![socket(local, remote, state)]);
        let check = of(&facts, Name::LocalPorts);
        assert_eq!(check.state, expected, "{local} {remote}: {check:?}");
    }
}

#[test]
fn a_port_that_the_kernel_gives_away_as_well_is_information_alone() {
    let mut facts = healthy();
    facts.question.local_ports = vec![40000];
    let check = of(&facts, Name::LocalPorts);
    assert_eq!(check.state, State::Fine);
    assert!(check.seen[1].contains("(32768-60999)"), "{check:?}");
    facts.unbindable = vec![(40000, "somebody has it".to_owned())];
    assert_eq!(of(&facts, Name::LocalPorts).state, State::Failing);
}

#[test]
fn a_firewall_is_judged_by_what_it_does_to_an_opening() {
    let drop_invalid = || state_rule(INVALID, Verdict::Drop);
    let accept_known = || state_rule(ESTABLISHED | 4, Verdict::Accept);
    for (rules, expected) in [
        (chain(HookPoint::Input, false, vec![]), State::Fine),
        (chain(HookPoint::Input, false, vec![drop_invalid()]), State::Warning),
        (chain(HookPoint::Input, false, vec![state_rule(1, Verdict::Reject)]), State::Warning),
        // Forwarded packets are none of an opening from here.
        (chain(HookPoint::Forward, true, vec![drop_invalid()]), State::Fine),
        (chain(HookPoint::Input, true, vec![accept_known()]), State::Warning),
        // Stateless: the crossing SYN does not arrive either.
        (chain(HookPoint::Input, true, vec![]), State::Failing),
        (chain(HookPoint::Output, true, vec![accept_known()]), State::Failing),
        (chain(HookPoint::Output, false, vec![drop_invalid()]), State::Warning),
        (
            Ruleset {
                legacy: vec!["iptables filter".to_owned()],
                ..chain(HookPoint::Input, false, vec![])
            },
            State::Unknown,
        ),
    ] {
        let mut facts = healthy();
        facts.firewall = Ok(rules);
        let check = of(&facts, Name::Firewall);
        assert_eq!(check.state, expected, "{check:?}");
    }
}

#[test]
fn a_chain_before_cannot_save_what_a_chain_behind_drops() {
    let mut rules = chain(HookPoint::Input, false, vec![vec![Step::End(Verdict::Accept)]]);
    let behind = chain(HookPoint::Input, false, vec![state_rule(NEW, Verdict::Drop)]);
    rules.chains.extend(behind.chains);
    assert!(matches!(fate(&rules, &syn()), Fate::Blocked { may_pass: false, .. }));
}

#[test]
fn what_is_not_known_of_a_packet_leaves_its_fate_open() {
    let mark = || vec![Step::Load { key: Key::Other, register: 1 }, equals(1, vec![1])];
    let rule = |verdict| [mark(), vec![Step::End(verdict)]].concat();
    let by = Culprit { chain: "inet filter c".to_owned(), rule: Some(1), rejects: false };
    let one = chain(HookPoint::Input, false, vec![rule(Verdict::Drop)]);
    assert_eq!(fate(&one, &syn()), Fate::MayBeBlocked { by });
    let closed = chain(HookPoint::Input, true, vec![rule(Verdict::Accept)]);
    assert!(matches!(fate(&closed, &syn()), Fate::Blocked { may_pass: true, .. }));
    // It may have left the chain before it was accepted.
    let accept = vec![Step::End(Verdict::Accept)];
    let left = chain(HookPoint::Input, true, vec![rule(Verdict::Return), accept]);
    assert!(matches!(fate(&left, &syn()), Fate::Blocked { may_pass: true, .. }));
}

#[test]
fn ports_flags_addresses_and_interfaces_are_known() {
    let load = |key| Step::Load { key, register: 1 };
    let drop = |key, value: Vec<u8>| {
        let rule = vec![load(key), equals(1, value), Step::End(Verdict::Drop)];
        fate(&chain(HookPoint::Input, false, vec![rule]), &syn()) != Fate::Passes
    };
    let transport = |offset, bytes| Key::Transport { offset, bytes };
    assert!(drop(transport(2, 2), 5000u16.to_be_bytes().to_vec()));
    assert!(!drop(transport(2, 2), 22u16.to_be_bytes().to_vec()));
    assert!(drop(transport(13, 1), vec![2]) && !drop(transport(13, 1), vec![16]));
    let source = Key::Network { offset: 12, bytes: 4 };
    assert!(drop(source, vec![203, 0, 113, 9]) && !drop(source, vec![203, 0, 113, 8]));
    assert!(drop(Key::Iifname, b"eth".to_vec()) && !drop(Key::Iifname, b"lo\0".to_vec()));
    assert!(drop(Key::NfProto, vec![2]) && !drop(Key::NfProto, vec![10]));
}

#[test]
fn sets_maps_and_jumps_are_followed() {
    let load = || Step::Load { key: Key::CtState, register: 1 };
    let states = |all: &[u32]| Some(all.iter().map(|s| s.to_ne_bytes().to_vec()).collect());
    let among = Step::Among { register: 1, members: states(&[INVALID, NEW]), negated: false };
    let rule = vec![load(), among, Step::End(Verdict::Jump("d".to_owned()))];
    let mut rules = chain(HookPoint::Input, false, vec![rule]);
    let entries = Some(vec![(NEW.to_ne_bytes().to_vec(), Verdict::Reject)]);
    let mapped = vec![vec![load(), Step::Map { register: 1, entries }]];
    let to = Chain { name: "d".to_owned(), hook: None, rules: mapped, ..rules.chains[0].clone() };
    rules.chains.push(to);
    let by = Culprit { chain: "inet filter d".to_owned(), rule: Some(1), rejects: true };
    assert_eq!(fate(&rules, &syn()), Fate::Blocked { by, may_pass: false });
    assert_eq!(fate(&rules, &Imagined { state: INVALID, ..syn() }), Fate::Passes);
}

#[test]
fn rules_that_jump_in_circles_end() {
    let jump = vec![vec![Step::End(Verdict::Jump("c".to_owned()))]];
    assert_eq!(fate(&chain(HookPoint::Input, false, jump), &syn()), Fate::Passes);
}

/// The peer's SYN, before ours has left.
fn syn() -> Imagined {
    Imagined {
        way: Way::In,
        remote: "203.0.113.9".parse().ok(),
        local: "192.168.1.2".parse().expect("an address"),
        remote_port: None,
        local_port: 5000,
        interface: "eth0".to_owned(),
        flags: 2,
        state: NEW,
    }
}

fn equals(register: u32, value: Vec<u8>) -> Step {
    Step::Compare { register, with: Comparison::Equal, value }
}

fn of(facts: &Facts, name: Name) -> Check {
    let checks = diagnose(facts).checks;
    checks.into_iter().find(|check| check.name == name).expect("every check is there")
}
