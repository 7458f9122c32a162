//! The way to the peer, and what the interface makes of packets.

use std::net::IpAddr;

use super::{Check, Facts, Name, Path, State, WhyUnknown};
use crate::os::device::{Device, Offloads};
use crate::os::link::OWN_TABLES;

pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new(Name::Route, MATTERS);
    let path = match &facts.path {
        Ok(path) => path,
        Err(unseen) if unseen.why == WhyUnknown::NoRoute => {
            let to = facts.question.towards.map(|peer| peer.address);
            check.finds(State::Failing, &unseen.told, add(to, "default"));
            return check.done();
        }
        Err(unseen) => {
            check.misses(unseen);
            return check.done();
        }
    };
    let to = facts.question.towards.map(|peer| peer.address);
    check.sees(way(path));
    of_table(&mut check, path, to);
    of_device(&mut check, path, to);
    of_family(&mut check, path);
    check.done()
}

fn way(path: &Path) -> String {
    let route = &path.route;
    let gateway = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    format!("through {}{gateway}, from {}", route.interface, route.source)
}

fn of_table(check: &mut Check, path: &Path, to: Option<IpAddr>) {
    match &path.table {
        Err(unseen) => check.misses(unseen),
        Ok(table) => {
            check.numbers.routing_table = Some(*table);
            if !OWN_TABLES.contains(table) {
                let seen = format!("policy routing decides: the route stands in table {table}");
                check.finds(State::Warning, seen, "ip rule list");
                check.mend.push(look(to));
            }
        }
    }
}

fn of_device(check: &mut Check, path: &Path, to: Option<IpAddr>) {
    let interface = &path.route.interface;
    match &path.device {
        Err(unseen) => check.misses(unseen),
        Ok(device) => {
            if let Some(kind) = tunnel(device) {
                let seen = format!("{interface} is a tunnel ({kind}): a VPN, or a dial-up line");
                check.finds(State::Warning, seen, add(to, "PEER"));
            }
        }
    }
}

fn of_family(check: &mut Check, path: &Path) {
    match (path.other_family, path.route.source) {
        (Some(false), IpAddr::V4(_)) => {
            check.sees("no way out over IPv6, where a punch often needs to cross no NAT");
        }
        (Some(false), IpAddr::V6(_)) => {
            let seen = "no way out over IPv4, and NATs are classified over IPv4 alone";
            check.finds(State::Warning, seen, look(None));
        }
        _ => {}
    }
}

/// What sort of tunnel it is, if it is one.
fn tunnel(device: &Device) -> Option<&str> {
    match device.kind.as_deref() {
        Some(kind) if TUNNELS.contains(&kind) => Some(kind),
        // Linux names TUN's two modes alike: TAP's link layer is Ethernet.
        Some("tun") => Some(if device.link_layer == ETHERNET { "tap" } else { "tun" }),
        Some(_) => None,
        None => LINK_LAYERS.iter().find(|(n, _)| *n == device.link_layer).map(|(_, name)| *name),
    }
}

fn look(to: Option<IpAddr>) -> String {
    to.map_or("ip route".to_owned(), |to| format!("ip route get {to}"))
}

fn add(to: Option<IpAddr>, otherwise: &str) -> String {
    let to = to.map_or(otherwise.to_owned(), |to| to.to_string());
    format!("sudo ip route add {to} via GATEWAY dev INTERFACE")
}

pub fn check_offloads(facts: &Facts) -> Check {
    let mut check = Check::new(Name::Offloads, OFFLOADS_MATTER);
    let path = match &facts.path {
        Ok(path) => path,
        Err(unseen) => {
            check.misses(unseen);
            check.mend.clear();
            return check.done();
        }
    };
    let interface = &path.route.interface;
    match &path.offloads {
        Err(unseen) => check.misses(unseen),
        Ok(offloads) => match on(*offloads)[..] {
            [] => check.sees(format!("{interface} merges and cuts nothing")),
            ref on => {
                let names: Vec<_> = on.iter().map(|(_, name)| *name).collect();
                let off: Vec<_> = on.iter().map(|(short, _)| format!("{short} off")).collect();
                let seen = format!("{interface}: {} on", names.join(", "));
                let mend = format!("sudo ethtool -K {interface} {}", off.join(" "));
                check.finds(State::Warning, seen, mend);
                check.sees("SYNs and other segments without data are not affected");
            }
        },
    }
    check.done()
}

/// As `ethtool -K` has them, and in words.
fn on(offloads: Offloads) -> Vec<(&'static str, &'static str)> {
    let all = [
        (offloads.generic_receive, ("gro", "generic receive offload (GRO)")),
        (offloads.large_receive, ("lro", "large receive offload (LRO)")),
        (offloads.generic_segmentation, ("gso", "generic segmentation offload (GSO)")),
        (offloads.tcp_segmentation, ("tso", "TCP segmentation offload")),
    ];
    all.into_iter().filter(|(is_on, _)| *is_on).map(|(_, names)| names).collect()
}

/// Kinds of devices, as `ip link` has them, that put packets into others; TUN apart.
const TUNNELS: &[&str] = &[
    "wireguard",
    "ovpn",
    "ovpn-dco",
    "ipip",
    "sit",
    "ip6tnl",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "erspan",
    "ip6erspan",
    "vti",
    "vti6",
    "xfrm",
    "ppp",
    "vxlan",
    "geneve",
    "bareudp",
    "gtp",
    "amt",
];

/// Link layers of tunnels whose driver does not say what it is (linux/if_arp.h).
const LINK_LAYERS: [(u16, &str); 6] =
    [(512, "ppp"), (768, "ipip"), (769, "ip6tnl"), (776, "sit"), (778, "gre"), (823, "ip6gre")];
const ETHERNET: u16 = 1;

const MATTERS: &str = "The NAT that is measured and punched is the one that this route leads \
                       through; behind a VPN, it is the VPN's.";
const OFFLOADS_MATTER: &str = "A capture shows segments as the kernel has them: merged ones, and \
                               large ones that the line never saw.";
