//! Interfaces, addresses and routes of the calling thread's namespace, by
//! route netlink (rtnetlink(7)).

use std::net::IpAddr;

use netlink_bindings::{
    rt_addr::{self, Ifaddrmsg},
    rt_link::{self, Ifinfomsg},
    rt_neigh::{self, Ndmsg},
    rt_route::{self, RtmType, Rtmsg},
    traits::NetlinkRequest,
};
use netlink_socket2::{NetlinkSocket, ReplyError};
use nix::{
    libc,
    net::if_::{if_indextoname, if_nametoindex},
};

use super::{Error, Kind, Result};

/// How packets get from here to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Name of the interface that they leave by.
    pub interface: String,
    /// The interface's index.
    pub index: u32,
    /// The source address that the kernel would give them.
    pub source: IpAddr,
    /// The next hop, unless the destination is on the link itself.
    pub gateway: Option<IpAddr>,
}

/// The kernel's own routing tables (rtnetlink(7)): what is in another is there by policy routing.
pub const OWN_TABLES: [u32; 3] =
    [libc::RT_TABLE_DEFAULT as u32, libc::RT_TABLE_MAIN as u32, libc::RT_TABLE_LOCAL as u32];

/// What a new route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via<'a> {
    /// Destinations sit on this interface's link.
    Interface(&'a str),
    /// A next hop on a link that already has a route.
    Gateway(IpAddr),
}

/// Brings an interface up.
///
/// # Errors
/// [`Kind::Gone`] when there is no such interface.
pub fn up(interface: &str) -> Result<()> {
    set_up(interface, IFF_UP, "bring up")
}

/// Takes an interface down.
///
/// # Errors
/// As for [`up`].
pub fn down(interface: &str) -> Result<()> {
    set_up(interface, 0, "take down")
}

/// Sets the largest IP packet, in bytes, that leaves by an interface.
///
/// # Errors
/// When the device does not allow that size.
pub fn set_mtu(interface: &str, mtu_bytes: u32) -> Result<()> {
    let header = Ifinfomsg { ifi_index: signed_index_of(interface)?, ..Default::default() };
    let mut request = rt_link::Request::new().op_newlink_do(&header);
    request.encode().push_mtu(mtu_bytes);
    acknowledged(&request).map_err(|e| failed("set the MTU of", interface, &e))
}

/// Gives an interface an address. An IPv6 address is usable at once: it does
/// without duplicate address detection (RFC 4862 §5.4), as our links have
/// nobody else on them.
///
/// # Errors
/// [`Kind::Other`] when the interface has the address already.
pub fn add_address(interface: &str, ip: IpAddr, prefix_bits: u8) -> Result<()> {
    let header = Ifaddrmsg {
        ifa_family: family_of(ip),
        ifa_index: index_of(interface)?,
        ifa_prefixlen: prefix_bits,
        ..Default::default()
    };
    let mut request = rt_addr::Request::new().set_create().set_excl().op_newaddr_do(&header);
    let flags = if ip.is_ipv6() { libc::IFA_F_NODAD } else { 0 };
    request.encode().push_local(ip).push_address(ip).push_flags(flags);
    let on = || format!("{interface}: {ip}/{prefix_bits}");
    acknowledged(&request).map_err(|e| failed("add an address to", on(), &e))
}

/// Adds a route to the main table.
///
/// # Errors
/// When the kernel knows no way to the gateway, or has that route already.
pub fn add_route(destination: IpAddr, prefix_bits: u8, via: Via<'_>) -> Result<()> {
    let scope = match via {
        Via::Interface(_) if destination.is_ipv4() => libc::RT_SCOPE_LINK,
        _ => libc::RT_SCOPE_UNIVERSE,
    };
    let header = Rtmsg {
        rtm_family: family_of(destination),
        rtm_dst_len: prefix_bits,
        rtm_table: libc::RT_TABLE_MAIN,
        rtm_protocol: libc::RTPROT_STATIC,
        rtm_scope: scope,
        rtm_type: RtmType::Unicast as u8,
        ..Default::default()
    };
    let mut request = rt_route::Request::new().set_create().set_excl().op_newroute_do(&header);
    match via {
        Via::Interface(name) => request.encode().push_oif(index_of(name)?),
        Via::Gateway(ip) => request.encode().push_gateway(ip),
    }
    .push_dst(destination);
    let on = || format!("{destination}/{prefix_bits} via {via}");
    acknowledged(&request).map_err(|e| failed("add the route", on(), &e))
}

/// The way that the kernel would send a packet to `destination`.
///
/// # Errors
/// [`Kind::Unroutable`] when there is none.
pub fn route_to(destination: IpAddr) -> Result<Route> {
    look_up(destination).map_err(|e| {
        failed("find a route to", destination, &e)
            .of_kind(Kind::Unroutable)
            .with_hint("is this host online? see `ip route get`")
    })
}

/// Lets the kernel ask for the link address of a route's next hop, if it does not know it, so that the
/// first packet need not wait for the answer. Nothing else is sent, and the answer is not waited for.
///
/// # Errors
/// [`Kind::Privilege`] without `CAP_NET_ADMIN`.
pub fn meet_next_hop(route: &Route, destination: IpAddr) -> Result<()> {
    let next_hop = route.gateway.unwrap_or(destination);
    let header = Ndmsg {
        ndm_family: family_of(next_hop),
        ndm_ifindex: signed_index_of(&route.interface)?,
        // As if it were used.
        ndm_flags: libc::NTF_USE,
        ..Default::default()
    };
    let mut request = rt_neigh::Request::new().set_create().op_newneigh_do(&header);
    request.encode().push_dst(next_hop);
    acknowledged(&request).map_err(|e| failed("ask for the link address of", next_hop, &e))
}

/// The number of the routing table that says how to get to `destination`.
///
/// # Errors
/// As for [`route_to`].
pub fn table_towards(destination: IpAddr) -> Result<u32> {
    let look_up = || {
        let request = route_request(destination, libc::RTM_F_LOOKUP_TABLE);
        let mut socket = NetlinkSocket::new();
        let mut reply = socket.request(&request)?;
        let (header, attributes) = reply.recv_one()?;
        // The byte in the header is too short for most.
        Ok(attributes.get_table().unwrap_or_else(|_| header.rtm_table.into()))
    };
    look_up().map_err(|e: ReplyError| {
        failed("find the routing table for", destination, &e).of_kind(Kind::Unroutable)
    })
}

/// The addresses of an interface, with their prefix lengths.
///
/// # Errors
/// [`Kind::Gone`] when there is no such interface.
pub fn addresses_of(interface: &str) -> Result<Vec<(IpAddr, u8)>> {
    let index = index_of(interface)?;
    dump_addresses(index).map_err(|e| failed("list the addresses of", interface, &e))
}

/// The interface that has this address.
///
/// # Errors
/// [`Kind::Gone`] when none has it.
pub fn interface_with(address: IpAddr) -> Result<String> {
    let of = |interface: &nix::ifaddrs::InterfaceAddress| {
        let storage = interface.address?;
        let v4 = storage.as_sockaddr_in().map(|own| IpAddr::V4(own.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|own| IpAddr::V6(own.ip())))
    };
    let mut all =
        nix::ifaddrs::getifaddrs().map_err(|e| Error::kernel("list", "the interfaces", e))?;
    let found = all.find(|interface| of(interface) == Some(address));
    found.map(|interface| interface.interface_name).ok_or_else(|| {
        Error::text("find the interface with the address", address, "this host does not have it")
            .of_kind(Kind::Gone)
            .with_hint("`ip address` lists those that it has")
    })
}

/// An interface's index.
///
/// # Errors
/// [`Kind::Gone`] when there is no such interface.
pub fn index_of(interface: &str) -> Result<u32> {
    if_nametoindex(interface).map_err(|e| Error::kernel("find the interface", interface, e))
}

impl std::fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interface(name) => f.write_str(name),
            Self::Gateway(ip) => ip.fmt(f),
        }
    }
}

fn set_up(interface: &str, flags: u32, tried: &'static str) -> Result<()> {
    let header = Ifinfomsg {
        ifi_index: signed_index_of(interface)?,
        ifi_flags: flags,
        ifi_change: IFF_UP,
        ..Default::default()
    };
    let request = rt_link::Request::new().op_newlink_do(&header);
    acknowledged(&request).map_err(|e| failed(tried, interface, &e))
}

fn look_up(destination: IpAddr) -> std::result::Result<Route, ReplyError> {
    let request = route_request(destination, 0);
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    let (_, attributes) = reply.recv_one()?;
    let index = attributes.get_oif()?;
    let interface = if_indextoname(index).map_err(std::io::Error::from)?;
    Ok(Route {
        interface: interface.to_string_lossy().into_owned(),
        index,
        source: attributes.get_prefsrc()?,
        gateway: attributes.get_gateway().ok(),
    })
}

fn route_request(destination: IpAddr, flags: u32) -> rt_route::OpGetrouteDo<'static> {
    let header = Rtmsg {
        rtm_family: family_of(destination),
        rtm_dst_len: if destination.is_ipv4() { 32 } else { 128 },
        rtm_flags: flags,
        ..Default::default()
    };
    let mut request = rt_route::Request::new().op_getroute_do(&header);
    request.encode().push_dst(destination);
    request
}

fn dump_addresses(index: u32) -> std::result::Result<Vec<(IpAddr, u8)>, ReplyError> {
    let request = rt_addr::Request::new().op_getaddr_dump(&Ifaddrmsg::default());
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    let mut found = Vec::new();
    while let Some((header, attributes)) = reply.recv().transpose()? {
        // On a point-to-point link IFA_ADDRESS is the peer (rtnetlink(7));
        // IPv6 leaves IFA_LOCAL out where the two are the same.
        let ip = attributes.get_local().or_else(|_| attributes.get_address())?;
        if header.ifa_index == index {
            found.push((ip, header.ifa_prefixlen));
        }
    }
    Ok(found)
}

fn acknowledged<R: NetlinkRequest>(request: &R) -> std::result::Result<(), ReplyError> {
    NetlinkSocket::new().request(request)?.recv_ack()
}

/// The kernel's refusal, with the words that it sent along, if any.
pub(super) fn failed(tried: &'static str, on: impl std::fmt::Display, error: &ReplyError) -> Error {
    let io = error.as_io_error();
    let words = error.ext_ack().and_then(|ack| ack.get_msg().ok());
    let Some(errno) = io.raw_os_error() else {
        return Error::text(tried, on, io);
    };
    let refusal = Error::kernel(tried, on, std::io::Error::from_raw_os_error(errno));
    match words {
        Some(words) => refusal.because(format!("{io}: {}", words.to_string_lossy())),
        None => refusal,
    }
}

fn signed_index_of(interface: &str) -> Result<i32> {
    let index = index_of(interface)?;
    Ok(i32::try_from(index).expect("the kernel's interface indexes are positive ints"))
}

fn family_of(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).expect("both families are small numbers")
}

/// Interface flag "administratively up" (netdevice(7)).
const IFF_UP: u32 = 1;
