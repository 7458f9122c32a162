//! What is seen of the machine.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Peer, WhyUnknown};
use crate::os::cpu::{self, CpuTime};
use crate::os::device::{self, Device, Offloads};
use crate::os::discipline::{Discipline, discipline};
use crate::os::firewall::{self, Ruleset};
use crate::os::link::{self, Route};
use crate::os::ports::{self, Socket};
use crate::os::raw::RawSender;
use crate::os::states::SocketStates;
use crate::os::{self, Kind, clock, poll, privilege, reserve, sysctl};
use crate::time::Duration;

/// What the machine is looked at for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The peer, if one is in mind.
    pub towards: Option<Peer>,
    /// The local ports to be used, if they are laid down.
    pub local_ports: Vec<u16>,
}

/// Something seen, or why not.
pub type Seen<T> = Result<T, Unseen>;

/// Something that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Why.
    pub why: WhyUnknown,
    /// The same in a sentence.
    pub told: String,
    /// A command that lets it be seen, or nothing.
    pub mend: String,
}

/// All that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What it was looked at for.
    pub question: Question,
    /// What this process may do.
    pub rights: Rights,
    /// The packet filter.
    pub firewall: Seen<Ruleset>,
    /// Who keeps the clock.
    pub clock: Seen<Discipline>,
    /// The way to the peer, or into the Internet.
    pub path: Seen<Path>,
    /// The share of CPU time that was stolen meanwhile, from 0 to 1.
    pub stolen: Seen<f64>,
    /// How late timed waits ended meanwhile.
    pub lateness: Seen<Lateness>,
    /// All TCP sockets.
    pub sockets: Seen<Vec<Socket>>,
    /// Those of the local ports that could not be bound though no socket is seen there, with the
    /// kernel's reason.
    pub unbindable: Vec<(u16, String)>,
    /// Settings of the kernel's TCP.
    pub settings: Settings,
}

/// What this process may do, by trying it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Opening a raw socket: crafted segments and capture.
    pub raw_sockets: Seen<()>,
    /// Changing the packet filter.
    pub packet_filter: Seen<()>,
    /// Watching the kernel's sockets change state.
    pub socket_states: Seen<()>,
}

/// The way that packets take from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The route.
    pub route: Route,
    /// The routing table that it stands in.
    pub table: Seen<u32>,
    /// What the interface is.
    pub device: Seen<Device>,
    /// What it merges and cuts.
    pub offloads: Seen<Offloads>,
    /// Whether the other family of addresses has a way out too; asked without a peer alone.
    pub other_family: Option<bool>,
}

/// How late timed waits ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// Half of them at most.
    pub p50: Duration,
    /// 99 of 100 at most.
    pub p99: Duration,
}

/// Settings of the kernel's TCP; none where it has none of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Option<u64>,
    /// `net.ipv4.tcp_syn_retries`.
    pub syn_retries: Option<u64>,
    /// `net.ipv4.ip_local_port_range`.
    pub kernel_ports: Option<[u16; 2]>,
}

/// Looks at this machine, for about a quarter of a second.
pub fn examine(question: &Question) -> Facts {
    let path = path(question.towards);
    let sockets = seen(ports::sockets());
    let (stolen, lateness) = timeliness();
    Facts {
        rights: rights(),
        firewall: seen(firewall::ruleset()),
        clock: seen(discipline()),
        unbindable: unbindable(&question.local_ports, path.as_ref().ok(), sockets.as_deref().ok()),
        path,
        stolen,
        lateness,
        sockets,
        settings: settings(),
        question: question.clone(),
    }
}

fn rights() -> Rights {
    let net_admin = privilege::Capability::NetAdmin;
    Rights {
        raw_sockets: seen(RawSender::new().map(|_| ())),
        packet_filter: seen(net_admin.require("change the packet filter")),
        socket_states: seen(SocketStates::watch().map(|_| ())),
    }
}

fn path(towards: Option<Peer>) -> Seen<Path> {
    let way_to = |address: IpAddr| seen(link::route_to(address));
    let (address, route, other_family) = match towards {
        Some(peer) => (peer.address, way_to(peer.address)?, None),
        None => match (way_to(SOMEWHERE_V4), way_to(SOMEWHERE_V6)) {
            (Ok(route), other) => (SOMEWHERE_V4, route, Some(other.is_ok())),
            (Err(_), Ok(route)) => (SOMEWHERE_V6, route, Some(false)),
            (Err(why), Err(_)) => return Err(why),
        },
    };
    Ok(Path {
        table: seen(link::table_towards(address)),
        device: seen(device::device(&route.interface)),
        offloads: seen(device::offloads(&route.interface)),
        other_family,
        route,
    })
}

/// How much time was stolen while many short waits were timed, and how late those ended.
fn timeliness() -> (Seen<f64>, Seen<Lateness>) {
    let before = seen(cpu::time());
    let begun = clock::monotonic();
    let lateness = lateness();
    // Waits that fail at once leave the time to pass.
    let waited = seen(poll::wait(&[], Some(begun + OBSERVED)));
    let share = |before: CpuTime| {
        waited?;
        seen(cpu::time())?.stolen_since(before).ok_or_else(|| Unseen {
            why: WhyUnknown::NotTold,
            told: "the kernel counted no time at all".to_owned(),
            mend: String::new(),
        })
    };
    (before.and_then(share), lateness)
}

fn lateness() -> Seen<Lateness> {
    // As the live driver does before it waits. Where that fails, waits are as late as they are.
    let _ = clock::sharpen_timers();
    let one = |_| {
        let due = clock::monotonic() + WAIT;
        seen(poll::wait(&[], Some(due)))?;
        Ok(clock::monotonic().saturating_sub(due))
    };
    let mut all = (0..WAITS).map(one).collect::<Seen<Vec<_>>>()?;
    all.sort_unstable();
    Ok(Lateness { p50: all[WAITS / 2 - 1], p99: all[WAITS * 99 / 100 - 1] })
}

fn unbindable(
    wanted: &[u16],
    path: Option<&Path>,
    sockets: Option<&[Socket]>,
) -> Vec<(u16, String)> {
    let source = path.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |path| path.route.source);
    let is_seen = |port: u16| {
        sockets.is_some_and(|sockets| sockets.iter().any(|socket| socket.local.port() == port))
    };
    let unseen = wanted.iter().copied().filter(|port| !is_seen(*port));
    let refused = unseen.filter_map(|port| {
        let refusal = reserve::reserve((source, port).into()).err()?;
        let why = match refusal.kind {
            Kind::Taken => "a socket is bound to it that neither listens nor is connected",
            Kind::Privilege => "ports this low are for root alone",
            _ => return Some((port, refusal.why.to_string())),
        };
        Some((port, why.to_owned()))
    });
    refused.collect()
}

fn settings() -> Settings {
    let number = |name: &str| sysctl::read(name).ok()?.parse().ok();
    let range = || {
        let text = sysctl::read("ipv4/ip_local_port_range").ok()?;
        let mut ends = text.split_whitespace().map(str::parse);
        Some([ends.next()?.ok()?, ends.next()?.ok()?])
    };
    Settings {
        syncookies: number("ipv4/tcp_syncookies"),
        syn_retries: number("ipv4/tcp_syn_retries"),
        kernel_ports: range(),
    }
}

fn seen<T>(result: os::Result<T>) -> Seen<T> {
    result.map_err(|error| {
        let why = match error.kind {
            Kind::Privilege => WhyUnknown::NeedsPrivilege,
            Kind::Unroutable => WhyUnknown::NoRoute,
            _ => WhyUnknown::NotTold,
        };
        let mut told = error.to_string();
        if why == WhyUnknown::NotTold
            && let Some(hint) = &error.hint
        {
            // Writing to a string cannot fail.
            let _ = write!(told, " ({hint})");
        }
        let mend = if why == WhyUnknown::NeedsPrivilege { AS_ROOT } else { "" };
        Unseen { why, told, mend: mend.to_owned() }
    })
}

/// Lets everything be seen.
const AS_ROOT: &str = "sudo tso-probe doctor";

/// Addresses in the Internet that nobody has (RFC 5737, RFC 3849).
const SOMEWHERE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SOMEWHERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// As short as the waits of a run are.
const WAIT: Duration = Duration::from_millis(1);
/// Enough for one in a hundred to show.
const WAITS: usize = 100;
/// The kernel counts CPU time in ticks of 10 ms: twenty of them for each CPU.
const OBSERVED: Duration = Duration::from_millis(200);
