//! What kind of device an interface is, and what work it takes off the kernel.

use std::os::fd::AsRawFd;

use netlink_bindings::rt_link::{self, Ifinfomsg};
use netlink_socket2::{NetlinkSocket, ReplyError};
use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use super::{
    Error, Result,
    link::{failed, index_of},
};

/// What the kernel says that an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The driver's kind (`tun`, `wireguard`, `veth`, …); real hardware has none.
    pub kind: Option<String>,
    /// Its link layer, as an ARPHRD number (linux/if_arp.h).
    pub link_layer: u16,
}

/// What an interface makes of many segments, or of one large one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Received segments are merged by the kernel.
    pub generic_receive: bool,
    /// Received segments are merged by the device.
    pub large_receive: bool,
    /// Sent segments are cut by the kernel, behind the capture.
    pub generic_segmentation: bool,
    /// Sent segments are cut by the device.
    pub tcp_segmentation: bool,
}

/// What an interface is.
///
/// # Errors
/// [`super::Kind::Gone`] when there is no such interface.
pub fn device(interface: &str) -> Result<Device> {
    let index = index_of(interface)?;
    look_up(index).map_err(|e| failed("look at the interface", interface, &e))
}

/// What an interface takes off the kernel, or the kernel off the connection, right now.
///
/// # Errors
/// [`super::Kind::Unsupported`] when the driver does not tell; [`super::Kind::Gone`] when there is no
/// such interface.
pub fn offloads(interface: &str) -> Result<Offloads> {
    index_of(interface)?;
    let asked = |command| ask(interface, command);
    Ok(Offloads {
        generic_receive: asked(ETHTOOL_GGRO)? != 0,
        large_receive: asked(ETHTOOL_GFLAGS)? & ETH_FLAG_LRO != 0,
        generic_segmentation: asked(ETHTOOL_GGSO)? != 0,
        tcp_segmentation: asked(ETHTOOL_GTSO)? != 0,
    })
}

fn look_up(index: u32) -> std::result::Result<Device, ReplyError> {
    let header = Ifinfomsg {
        ifi_index: i32::try_from(index).expect("the kernel's interface indexes are positive ints"),
        ..Default::default()
    };
    let request = rt_link::Request::new().op_getlink_do(&header);
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    let (header, attributes) = reply.recv_one()?;
    let kind = attributes.get_linkinfo().and_then(|info| info.get_kind());
    let kind = kind.ok().map(|kind| kind.to_string_lossy().into_owned());
    Ok(Device { kind, link_layer: header.ifi_type })
}

/// linux/ethtool.h, struct ethtool_value.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

fn ask(interface: &str, command: u32) -> Result<u32> {
    let failed = |e: nix::errno::Errno| Error::kernel("read the offloads of", interface, e);
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(failed)?;
    let mut value = Value { command, data: 0 };
    let mut ifr_name = [0; libc::IFNAMSIZ];
    // The last byte stays the closing zero.
    for (to, from) in ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() };
    let mut request = libc::ifreq { ifr_name, ifr_ifru };
    // SAFETY: the descriptor is open; the request and the value that it points to outlive the call,
    // and these commands read and write an ethtool_value, eight bytes, and no more.
    #[allow(unsafe_code)]
    unsafe { ioctl::ethtool(any.as_raw_fd(), &raw mut request) }.map_err(failed)?;
    Ok(value.data)
}

/// linux/ethtool.h.
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETH_FLAG_LRO: u32 = 1 << 15;

mod ioctl {
    // linux/sockios.h: SIOCETHTOOL is older than the scheme that numbers are made by.
    nix::ioctl_readwrite_bad!(ethtool, 0x8946, nix::libc::ifreq);
}
