//! What packet filter this host has, as far as the kernel tells.

mod decode;
mod ruleset;

pub use ruleset::{Chain, Comparison, Hook, HookPoint, Key, Ruleset, Step, Verdict, ruleset};

use netlink_bindings::nftables::{self, Nfgenmsg};
use netlink_socket2::{NetlinkSocket, ReplyError};

use super::link::failed;
use super::{Result, privilege::Capability};

/// The nftables tables of this network namespace, as `family name`: those of iptables-nft are among
/// them.
///
/// # Errors
/// [`super::Kind::Privilege`] without `CAP_NET_ADMIN`.
pub fn tables() -> Result<Vec<String>> {
    Capability::NetAdmin.require("list packet filter tables")?;
    dump().map_err(|e| failed("list", "packet filter tables", &e))
}

fn dump() -> std::result::Result<Vec<String>, ReplyError> {
    let request = nftables::Request::new().op_gettable_dump(&Nfgenmsg::default());
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    let mut tables = Vec::new();
    while let Some((header, attributes)) = reply.recv().transpose()? {
        let name = attributes.get_name()?.to_string_lossy().into_owned();
        tables.push(format!("{} {name}", family(header.nfgen_family)));
    }
    Ok(tables)
}

/// As `nft` names it; the numbers are those of `linux/netfilter.h`.
const fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}
