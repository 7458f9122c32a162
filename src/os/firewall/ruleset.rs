//! The chains and rules of this namespace's packet filter, read over netlink.
//!
//! A rule is a list of steps on registers, as the kernel runs them (linux/netfilter/nf_tables.h).
//! What is not known here is a step that says so.

use std::collections::BTreeMap;
use std::fs;

use netlink_bindings::nftables::{self, Nfgenmsg, SetFlags};
use netlink_socket2::{NetlinkSocket, ReplyError};

use super::super::{Result, link::failed, privilege::Capability};
use super::{decode, family};

/// All that decides what becomes of a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// In the kernel's order.
    pub chains: Vec<Chain>,
    /// Tables of the older iptables, whose rules are not read.
    pub legacy: Vec<String>,
}

/// A list of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// As `nft` names it: `inet`, `ip`, `ip6` and others.
    pub family: &'static str,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub name: String,
    /// Where packets enter it; without, others jump to it.
    pub hook: Option<Hook>,
    /// Its rules in order.
    pub rules: Vec<Vec<Step>>,
}

/// Where a chain stands in a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The place.
    pub point: HookPoint,
    /// Lower comes first.
    pub priority: i32,
    /// Whether a packet that no rule decides on is dropped.
    pub drops: bool,
}

/// The hooks of the IP families (linux/netfilter.h); any other is [`HookPoint::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum HookPoint {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Other,
}

/// One step of a rule. A rule ends with the first that does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Puts something of the packet into a register.
    Load {
        /// What.
        key: Key,
        /// Where to.
        register: u32,
    },
    /// `to = (from & mask) ^ xor`.
    Mask {
        /// The register that is read.
        from: u32,
        /// The register that is written.
        to: u32,
        /// As long as the value.
        mask: Vec<u8>,
        /// As long as the value.
        xor: Vec<u8>,
    },
    /// Goes on if the register compares so.
    Compare {
        /// The register.
        register: u32,
        /// How it is compared.
        with: Comparison,
        /// With what.
        value: Vec<u8>,
    },
    /// Goes on if the register's value is in a set, or, negated, is not.
    Among {
        /// The register.
        register: u32,
        /// The set's members; none if they cannot be told.
        members: Option<Vec<Vec<u8>>>,
        /// Whether being no member goes on.
        negated: bool,
    },
    /// Ends with the verdict that a map has for the register's value; goes on without.
    Map {
        /// The register.
        register: u32,
        /// The map's entries; none if they cannot be told.
        entries: Option<Vec<(Vec<u8>, Verdict)>>,
    },
    /// iptables' own match on the state of connection tracking, in the bits of [`Key::CtState`].
    CtState {
        /// The states.
        states: u32,
        /// Whether any other state goes on.
        negated: bool,
    },
    /// Takes the packet out of connection tracking and goes on.
    Untrack,
    /// Ends so.
    End(Verdict),
    /// Goes on always: it counts, logs or marks.
    Passive,
    /// Something that is not known here, under the kernel's name; it may or may not go on, and writes
    /// this register, if any.
    Other {
        /// The kernel's name.
        name: String,
        /// The register.
        writes: Option<u32>,
    },
}

/// What of a packet a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The state of connection tracking, in the host's byte order: bits 1 invalid, 2 established, 4
    /// related, 8 new, 64 untracked (linux/netfilter/nf_conntrack_common.h).
    CtState,
    /// The IP family, one byte.
    NfProto,
    /// The protocol in the IP packet, one byte.
    L4Proto,
    /// Name of the interface that it came in by, 16 bytes.
    Iifname,
    /// Name of the interface that it leaves by, 16 bytes.
    Oifname,
    /// Bytes of the network header.
    Network {
        /// First byte.
        offset: u32,
        /// How many.
        bytes: u32,
    },
    /// Bytes of the transport header.
    Transport {
        /// First byte.
        offset: u32,
        /// How many.
        bytes: u32,
    },
    /// Anything else.
    Other,
}

/// How two values compare, byte by byte from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    Different,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// How a rule ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The packet passes this hook's chain.
    Accept,
    /// It vanishes.
    Drop,
    /// It vanishes, and its sender is told.
    Reject,
    /// On with the rule behind the jump, or the policy.
    Return,
    /// Into this chain and back.
    Jump(String),
    /// Into this chain.
    Goto(String),
    /// On with the next rule.
    Continue,
    /// Something else, such as a queue to a program.
    Other,
}

/// The packet filter of the calling thread's namespace; that of iptables-nft is among it.
///
/// # Errors
/// [`super::super::Kind::Privilege`] without `CAP_NET_ADMIN` in this namespace.
pub fn ruleset() -> Result<Ruleset> {
    Capability::NetAdmin.require(READ)?;
    let chains = read_chains().map_err(|e| failed(READ, "", &e))?;
    Ok(Ruleset { chains, legacy: legacy() })
}

fn read_chains() -> std::result::Result<Vec<Chain>, ReplyError> {
    let mut chains = dump_chains()?;
    let sets = dump_sets()?;
    let request = nftables::Request::new().op_getrule_dump(&Nfgenmsg::default());
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    while let Some((header, rule)) = reply.recv().transpose()? {
        let family = family(header.nfgen_family);
        let (table, name) = (text(rule.get_table()?), text(rule.get_chain()?));
        let of_table = |set: &str| sets.get(&(family, table.clone(), set.to_owned())).cloned();
        // A rule without expressions would match everything and do nothing.
        let steps = match rule.get_expressions() {
            Ok(list) => decode::steps(list, &of_table),
            Err(_) => Vec::new(),
        };
        let is_its = |c: &&mut Chain| c.family == family && c.table == table && c.name == name;
        if let Some(chain) = chains.iter_mut().find(is_its) {
            chain.rules.push(steps);
        }
    }
    Ok(chains)
}

fn dump_chains() -> std::result::Result<Vec<Chain>, ReplyError> {
    let request = nftables::Request::new().op_getchain_dump(&Nfgenmsg::default());
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    let mut chains = Vec::new();
    while let Some((header, chain)) = reply.recv().transpose()? {
        let family = family(header.nfgen_family);
        let hook = chain.get_hook().ok().and_then(|hook| {
            Some(Hook {
                point: point(family, hook.get_num().ok()?),
                priority: hook.get_priority().ok()?,
                drops: chain.get_policy() == Ok(NF_DROP),
            })
        });
        let (table, name) = (text(chain.get_table()?), text(chain.get_name()?));
        chains.push(Chain { family, table, name, hook, rules: Vec::new() });
    }
    Ok(chains)
}

/// A set or map that can be told in full.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    pub(super) members: Vec<(Vec<u8>, Option<Verdict>)>,
}

/// By family, table and name.
type Sets = BTreeMap<(&'static str, String, String), Set>;

fn dump_sets() -> std::result::Result<Sets, ReplyError> {
    let request = nftables::Request::new().op_getset_dump(&Nfgenmsg::default());
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    let mut named = Vec::new();
    while let Some((header, set)) = reply.recv().transpose()? {
        // Members of these are no single values.
        let opaque = SetFlags::Interval as u32 | SetFlags::Concat as u32;
        if set.get_flags().unwrap_or(0) & opaque == 0 {
            named.push((header.nfgen_family, text(set.get_table()?), text(set.get_name()?)));
        }
    }
    let read = named.into_iter().map(|(number, table, name)| {
        let set = dump_members(number, &table, &name)?;
        Ok(((family(number), table, name), set))
    });
    read.collect()
}

fn dump_members(family: u8, table: &str, name: &str) -> std::result::Result<Set, ReplyError> {
    let header = Nfgenmsg { nfgen_family: family, ..Default::default() };
    let mut request = nftables::Request::new().op_getsetelem_dump(&header);
    request.encode().push_table_bytes(table.as_bytes()).push_set_bytes(name.as_bytes());
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    let mut set = Set::default();
    while let Some((_, list)) = reply.recv().transpose()? {
        let Ok(elements) = list.get_elements() else { continue };
        for element in elements.get_elem() {
            let Ok(key) = element.get_key().and_then(|key| key.get_value()) else { continue };
            let verdict = element.get_data().and_then(|data| data.get_verdict());
            set.members.push((key.to_vec(), verdict.ok().map(|v| decode::verdict(&v))));
        }
    }
    Ok(set)
}

/// The tables of iptables-legacy; the files are there once its modules are loaded.
fn legacy() -> Vec<String> {
    let tables = LEGACY.iter().filter_map(|(command, file)| {
        let names = fs::read_to_string(file).ok()?;
        let all = names.lines().map(|name| format!("{command} {name}"));
        Some(all.collect::<Vec<_>>())
    });
    tables.flatten().collect()
}

fn point(family: &str, number: u32) -> HookPoint {
    match (family, number) {
        ("inet" | "ip" | "ip6", 0) => HookPoint::Prerouting,
        ("inet" | "ip" | "ip6", 1) => HookPoint::Input,
        ("inet" | "ip" | "ip6", 2) => HookPoint::Forward,
        ("inet" | "ip" | "ip6", 3) => HookPoint::Output,
        ("inet" | "ip" | "ip6", 4) => HookPoint::Postrouting,
        _ => HookPoint::Other,
    }
}

fn text(name: &std::ffi::CStr) -> String {
    name.to_string_lossy().into_owned()
}

const READ: &str = "read the packet filter";
/// linux/netfilter.h.
const NF_DROP: u32 = 0;
const LEGACY: [(&str, &str); 2] = [
    ("iptables", "/proc/thread-self/net/ip_tables_names"),
    ("ip6tables", "/proc/thread-self/net/ip6_tables_names"),
];
