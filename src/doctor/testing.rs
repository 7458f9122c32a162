//! Machines that are imagined, for the tests of whatever shows or judges one.

use super::{Facts, Lateness, Path, Peer, Question, Rights, Settings, Unseen, WhyUnknown};
use crate::os::device::{Device, Offloads};
use crate::os::discipline::Discipline;
use crate::os::firewall::{Chain, Hook, HookPoint, Key, Ruleset, Step, Verdict};
use crate::os::link::Route;
use crate::os::ports::Socket;
use crate::os::states::State as TcpState;
use crate::time::Duration;

/// Root on a machine on which nothing is wrong.
pub fn healthy() -> Facts {
    Facts {
        question: Question { towards: None, local_ports: vec![5000] },
        rights: Rights { raw_sockets: Ok(()), packet_filter: Ok(()), socket_states: Ok(()) },
        firewall: Ok(Ruleset::default()),
        clock: Ok(Discipline {
            is_kept: true,
            estimated_error: Duration::from_micros(350),
            maximum_error: Duration::from_millis(20),
        }),
        path: Ok(Path {
            route: Route {
                interface: "eth0".to_owned(),
                index: 2,
                source: "192.168.1.2".parse().expect("an address"),
                gateway: "192.168.1.1".parse().ok(),
            },
            table: Ok(254),
            device: Ok(Device { kind: None, link_layer: 1 }),
            offloads: Ok(Offloads::default()),
            other_family: Some(true),
        }),
        stolen: Ok(0.0),
        lateness: Ok(Lateness { p50: Duration::from_micros(60), p99: Duration::from_micros(900) }),
        sockets: Ok(Vec::new()),
        unbindable: Vec::new(),
        settings: Settings {
            syncookies: Some(1),
            syn_retries: Some(6),
            kernel_ports: Some([32768, 60999]),
        },
    }
}

/// A user on a machine on which everything is wrong.
pub fn sick() -> Facts {
    let mut facts = healthy();
    facts.question.towards =
        Some(Peer { address: "203.0.113.9".parse().expect("an address"), port: Some(6000) });
    facts.question.local_ports = vec![5000, 40000];
    facts.rights = Rights {
        raw_sockets: Err(denied("open a raw socket")),
        packet_filter: Err(denied("change the packet filter")),
        socket_states: Err(denied("watch socket states")),
    };
    facts.firewall = Err(denied("read the packet filter"));
    facts.clock = Ok(Discipline {
        is_kept: false,
        estimated_error: Duration::from_secs(16),
        maximum_error: Duration::from_secs(16),
    });
    if let Ok(path) = &mut facts.path {
        path.route.interface = "wg0".to_owned();
        path.table = Ok(51820);
        path.device = Ok(Device { kind: Some("wireguard".to_owned()), link_layer: 65534 });
        let generic = Offloads { generic_receive: true, ..Offloads::default() };
        path.offloads = Ok(Offloads { generic_segmentation: true, ..generic });
        path.other_family = None;
    }
    facts.stolen = Ok(0.25);
    facts.sockets = Ok(vec![
        socket("0.0.0.0:5000", "0.0.0.0:0", TcpState::Listen),
        socket("192.168.1.2:40000", "203.0.113.9:6000", TcpState::TimeWait),
    ]);
    facts.settings.syncookies = Some(2);
    facts.settings.syn_retries = Some(1);
    facts
}

pub fn denied(tried: &str) -> Unseen {
    Unseen {
        why: WhyUnknown::NeedsPrivilege,
        told: format!("cannot {tried}: not permitted"),
        mend: "sudo tso-probe doctor".to_owned(),
    }
}

pub fn socket(local: &str, remote: &str, state: TcpState) -> Socket {
    let parse = |text: &str| text.parse().expect("an endpoint");
    Socket { local: parse(local), remote: parse(remote), state }
}

/// A packet filter of one chain.
pub fn chain(point: HookPoint, drops: bool, rules: Vec<Vec<Step>>) -> Ruleset {
    let hook = Some(Hook { point, priority: 0, drops });
    let (table, name) = ("filter".to_owned(), "c".to_owned());
    Ruleset { chains: vec![Chain { family: "inet", table, name, hook, rules }], legacy: Vec::new() }
}

/// `ct state STATES VERDICT`, as nft writes it.
pub fn state_rule(states: u32, verdict: Verdict) -> Vec<Step> {
    use crate::os::firewall::Comparison::Different;
    let mask = states.to_ne_bytes().to_vec();
    vec![
        Step::Load { key: Key::CtState, register: 1 },
        Step::Mask { from: 1, to: 1, mask, xor: vec![0; 4] },
        Step::Compare { register: 1, with: Different, value: vec![0; 4] },
        Step::Passive,
        Step::End(verdict),
    ]
}
