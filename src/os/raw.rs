//! Sending IPv4 packets of our own making.

use std::{ffi::OsString, fmt, io, os::fd::BorrowedFd};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    sys::socket::{setsockopt, sockopt},
};
use pnet::{
    packet::{ip::IpNextHeaderProtocols, ipv4::Ipv4Packet},
    transport::{TransportChannelType, TransportSender, transport_channel},
};

use super::{Error, Kind, Result};

/// Sends whole IPv4 packets, header included, in the namespace where it was
/// made.
///
/// The kernel looks up the route and writes the total length and the header
/// checksum; it also fills in a source address or an identification of 0
/// (raw(7)). All else leaves as given.
pub struct RawSender {
    sender: TransportSender,
}

impl RawSender {
    /// A sender for the calling thread's namespace.
    ///
    /// # Errors
    /// [`Kind::Privilege`] without `CAP_NET_RAW`.
    pub fn new() -> Result<Self> {
        // IPPROTO_RAW only sends: nothing queues up for a reader.
        let channel = TransportChannelType::Layer3(IpNextHeaderProtocols::Reserved);
        let (sender, _) = transport_channel(0, channel).map_err(|e| Error::kernel(OPEN, "", e))?;
        let sender = Self { sender };
        sender.settle().map_err(|e| Error::kernel(OPEN, "", e))?;
        Ok(sender)
    }

    /// The same, but packets leave by this interface whatever the routes say.
    ///
    /// # Errors
    /// As for [`RawSender::new`]; [`Kind::Gone`] without such an interface.
    pub fn bound_to(interface: &str) -> Result<Self> {
        let sender = Self::new()?;
        let name = OsString::from(interface);
        setsockopt(&sender.descriptor(), sockopt::BindToDevice, &name)
            .map_err(|e| Error::kernel("bind a raw socket to", interface, e))?;
        Ok(sender)
    }

    /// Sends one packet to the destination in its header. It has then been
    /// handed to the interface's queue; only a capture shows that it left.
    ///
    /// # Errors
    /// [`Kind::Blocked`] when this host's packet filter refuses it;
    /// [`Kind::Unroutable`] when it has no route there;
    /// [`Kind::Other`] for what is no IPv4 packet, is too long, or finds the
    /// queue full.
    pub fn send(&mut self, packet: &[u8]) -> Result<()> {
        let Some(ipv4) = Ipv4Packet::new(packet).filter(|p| p.get_version() == 4) else {
            let why = format!("{} bytes that are no IPv4 packet", packet.len());
            return Err(Error::text(SEND, "", why));
        };
        let (source, destination) = (ipv4.get_source(), ipv4.get_destination());
        match self.sender.send_to(ipv4, destination.into()) {
            Ok(_) => Ok(()),
            Err(e) => Err(refused(format!("{source} > {destination}"), e)),
        }
    }

    /// Not to be inherited by child processes, and never to block.
    fn settle(&self) -> nix::Result<()> {
        fcntl(self.descriptor(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(self.descriptor(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the sender owns the descriptor and closes it when dropped,
        // and the borrow ends before that.
        #[allow(unsafe_code)]
        unsafe {
            BorrowedFd::borrow_raw(self.sender.socket.fd)
        }
    }
}

impl fmt::Debug for RawSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSender").finish_non_exhaustive()
    }
}

fn refused(on: String, error: io::Error) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw);
    let error = Error::kernel(SEND, on, error);
    match errno {
        Some(Errno::EPERM) => error.of_kind(Kind::Blocked).with_hint(
            "this host's packet filter dropped it: see `nft list ruleset`, chain output",
        ),
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => error
            .of_kind(Kind::Unroutable)
            .with_hint("this host has no route there: see `ip route get`"),
        Some(Errno::EMSGSIZE) => error.with_hint("it is longer than the interface's MTU"),
        Some(Errno::EAGAIN | Errno::ENOBUFS) => {
            error.with_hint("the interface's queue is full: send more slowly")
        }
        _ => error,
    }
}

const OPEN: &str = "open a raw socket";
const SEND: &str = "send a packet";
