//! Packet filter tables of ours (nftables), by netlink.
//!
//! Each table has the `owner` flag (Linux 5.12): it belongs to the socket that
//! made it, nobody else can change it, and the kernel removes it with the
//! socket, however the process ends.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use netlink_bindings::nftables::{self, Chained, Nfgenmsg, TableFlags};
use netlink_bindings::{traits::Pusher, utils};
use netlink_socket2::{NetlinkSocket, ReplyError};
use nix::{errno::Errno, libc};

use super::{Error, Kind, Result, link};

mod rule;

pub(super) use rule::{End, Rule, SYN, SYN_ACK_FIN_RST, SYN_FIN_RST, Verdict};

/// A table of ours in family `inet`. Gone with this value.
pub(super) struct Table {
    socket: NetlinkSocket,
    name: String,
}

/// Where a base chain stands in a packet's way, and in which order.
pub(super) struct Hook {
    pub(super) kind: &'static std::ffi::CStr,
    pub(super) at: HookPoint,
    pub(super) priority: i32,
    pub(super) policy: Verdict<'static>,
}

/// The hooks of family `inet` (linux/netfilter.h).
#[derive(Clone, Copy)]
pub(super) enum HookPoint {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Messages that take effect together or not at all.
pub(super) struct Transaction<'table> {
    chained: Chained<'static>,
    table: &'table mut Table,
    messages: u32,
}

impl Table {
    /// A name for a new table and the socket that will own it. Nothing is in
    /// the kernel before the first transaction that calls
    /// [`Transaction::create_table`].
    pub(super) fn new(purpose: &str) -> Self {
        // Two processes in different PID namespaces may share a number.
        let pid = std::process::id();
        let count = TABLES.fetch_add(1, Ordering::Relaxed);
        let moment = super::clock::monotonic().as_nanos() as u32;
        let name = format!("tso-probe-{purpose}-{pid}-{count}-{moment:08x}");
        Self { socket: NetlinkSocket::new(), name }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn begin(&mut self) -> Transaction<'_> {
        let sequence = self.socket.reserve_seq(MESSAGES_MAX);
        let mut chained = Chained::new(sequence);
        chained.request().op_batch_begin_do(&batch_header());
        Transaction { chained, table: self, messages: 1 }
    }
}

impl Transaction<'_> {
    pub(super) fn create_table(&mut self) {
        self.count();
        self.chained
            .request()
            .set_create()
            .set_excl()
            .op_newtable_do(&header())
            .encode()
            .push_name_bytes(self.table.name.as_bytes())
            .push_flags(TableFlags::Owner as u32);
    }

    /// A chain that others jump to, or, with a hook, that packets pass.
    pub(super) fn create_chain(&mut self, name: &str, hook: Option<&Hook>) {
        self.count();
        let mut request = self.chained.request().set_create().op_newchain_do(&header());
        let attributes = request
            .encode()
            .push_table_bytes(self.table.name.as_bytes())
            .push_name_bytes(name.as_bytes());
        if let Some(hook) = hook {
            attributes
                .push_type(hook.kind)
                .push_policy(hook.policy.code())
                .nested_hook()
                .push_num(hook.at as u32)
                .push_priority(hook.priority)
                .end_nested();
        }
    }

    /// A set of endpoints of one address family: `ip . tcp port`.
    pub(super) fn create_set(&mut self, set: EndpointSet) {
        self.count();
        self.chained
            .request()
            .set_create()
            .op_newset_do(&header())
            .encode()
            .push_table_bytes(self.table.name.as_bytes())
            .push_name_bytes(set.name().as_bytes())
            .push_key_type(set.key_type())
            .push_key_len(set.address_bytes() + PORT_BYTES_PADDED)
            // Demanded, though rules find the set by its name.
            .push_id(set.address_bytes());
    }

    pub(super) fn append_rule(&mut self, chain: &str, rule: &Rule) {
        self.count();
        let mut request = self.chained.request().set_create().set_append().op_newrule_do(&header());
        let mut expressions = request
            .encode()
            .push_table_bytes(self.table.name.as_bytes())
            .push_chain_bytes(chain.as_bytes())
            .nested_expressions();
        expressions.as_vec_mut().extend_from_slice(rule.encoded());
        expressions.end_nested();
    }

    /// Puts endpoints into the set of their family.
    pub(super) fn add_endpoints(&mut self, endpoints: &[SocketAddr]) {
        for (set, chunk) in chunks(endpoints) {
            self.count();
            let mut request = self.chained.request().set_create().op_newsetelem_do(&header());
            push_endpoints(request.encode(), &self.table.name, set, &chunk);
        }
    }

    /// Takes endpoints out of the set of their family.
    pub(super) fn remove_endpoints(&mut self, endpoints: &[SocketAddr]) {
        for (set, chunk) in chunks(endpoints) {
            self.count();
            let mut request = self.chained.request().op_delsetelem_do(&header());
            push_endpoints(request.encode(), &self.table.name, set, &chunk);
        }
    }

    /// Hands everything to the kernel.
    pub(super) fn commit(mut self) -> Result<()> {
        self.count();
        self.chained.request().op_batch_end_do(&batch_header());
        let chained = self.chained.finalize();
        let name = self.table.name.clone();
        send(&mut self.table.socket, &chained).map_err(|e| refused(&name, &e))
    }

    fn count(&mut self) {
        self.messages += 1;
        assert!(self.messages < MESSAGES_MAX, "a transaction stays below {MESSAGES_MAX} messages");
    }
}

/// The endpoint sets of a table, one per address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointSet {
    V4,
    V6,
}

impl EndpointSet {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "endpoints4",
            Self::V6 => "endpoints6",
        }
    }

    /// Bytes of an address.
    pub(super) fn address_bytes(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// nft's own numbers for `ipv4_addr`, `ipv6_addr` and `inet_service`, six
    /// bits each: they only tell `nft list` how to show the elements.
    fn key_type(self) -> u32 {
        match self {
            Self::V4 => (7 << 6) | 13,
            Self::V6 => (8 << 6) | 13,
        }
    }

    fn takes(self, endpoint: &SocketAddr) -> bool {
        endpoint.is_ipv4() == (self == Self::V4)
    }
}

fn chunks(endpoints: &[SocketAddr]) -> Vec<(EndpointSet, Vec<SocketAddr>)> {
    let of = |set: EndpointSet| {
        let members: Vec<_> = endpoints.iter().copied().filter(|e| set.takes(e)).collect();
        let chunks = members.chunks(ENDPOINTS_PER_MESSAGE).map(<[_]>::to_vec);
        chunks.map(move |chunk| (set, chunk)).collect::<Vec<_>>()
    };
    EndpointSet::BOTH.into_iter().flat_map(of).collect()
}

fn push_endpoints(
    attributes: nftables::PushSetelemListAttrs<&mut Vec<u8>>,
    table: &str,
    set: EndpointSet,
    endpoints: &[SocketAddr],
) {
    let mut elements = attributes
        .push_table_bytes(table.as_bytes())
        .push_set_bytes(set.name().as_bytes())
        .nested_elements();
    for endpoint in endpoints {
        elements = elements
            .nested_elem()
            .nested_key()
            .push_value(&key_of(endpoint))
            .end_nested()
            .end_nested();
    }
    elements.end_nested();
}

/// A set key: each part padded to four bytes.
fn key_of(endpoint: &SocketAddr) -> Vec<u8> {
    let mut key = match endpoint.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    key.extend_from_slice(&endpoint.port().to_be_bytes());
    utils::align(&mut key);
    key
}

fn send(
    socket: &mut NetlinkSocket,
    chained: &nftables::ChainedFinal<'_>,
) -> std::result::Result<(), ReplyError> {
    socket.request_chained(chained)?.recv_all()
}

fn refused(table: &str, error: &ReplyError) -> Error {
    let errno = error.as_io_error().raw_os_error().map(Errno::from_raw);
    let failed = link::failed("change the packet filter table", table, error);
    match errno {
        Some(Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::ENOENT) => {
            failed.of_kind(Kind::Unsupported).with_hint(
                "nftables with table owners is needed: Linux 5.12 or later, `modprobe nf_tables`",
            )
        }
        _ => failed,
    }
}

fn header() -> Nfgenmsg {
    let family = u8::try_from(libc::NFPROTO_INET).expect("a family fits its byte");
    Nfgenmsg { nfgen_family: family, ..Default::default() }
}

fn batch_header() -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    header.set_res_id(NFNL_SUBSYS_NFTABLES);
    header
}

/// Counts the tables of this process.
static TABLES: AtomicU32 = AtomicU32::new(0);

/// linux/netfilter/nfnetlink.h.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const PORT_BYTES_PADDED: u32 = 4;
/// The kernel's refusal quotes the whole message, and the netlink crate reads
/// replies into 8 kB: 100 elements of at most 36 bytes leave room.
const ENDPOINTS_PER_MESSAGE: usize = 100;
/// The netlink crate forgets to wait for the acknowledgements of exactly 64
/// messages (version 0.3.5); we stay below.
const MESSAGES_MAX: u32 = 64;
