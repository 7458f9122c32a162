//! TUN devices: an interface whose wire is a file descriptor of ours.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
};

use nix::libc;

use super::{Error, Kind, Result};

/// A TUN device without extra headers: one read or write is one IP packet.
/// It vanishes with this value.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: String,
}

impl Tun {
    /// Makes a device of this name (15 bytes at most) in the calling thread's
    /// namespace. It is down and has no address; see [`super::link`].
    ///
    /// # Errors
    /// [`Kind::Privilege`] without `CAP_NET_ADMIN`; [`Kind::Unsupported`]
    /// where there is no `/dev/net/tun`; [`Kind::Taken`] when the name is.
    pub fn create(name: &str) -> Result<Self> {
        let request = request(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(DEVICE)
            .map_err(no_device)?;
        // SAFETY: the descriptor is open, and `request` is an ifreq that
        // outlives the call, which is what TUNSETIFF reads and writes.
        #[allow(unsafe_code)]
        unsafe { ioctl::tun_set_iff(file.as_raw_fd(), &raw const request) }
            .map_err(|e| refused(name, e))?;
        Ok(Self { file, name: name.to_owned() })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next packet that the kernel sent out of this interface, or `None`
    /// when there is none now. A packet longer than `buffer` is cut.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the interface was removed.
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(self.failed("read from", e)),
        }
    }

    /// Lets the kernel receive a whole IP packet on this interface.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the interface is down; otherwise when the kernel
    /// sees no IP packet in the bytes.
    pub fn write(&self, packet: &[u8]) -> Result<()> {
        (&self.file).write_all(packet).map_err(|e| self.failed("write to", e))
    }

    fn failed(&self, tried: &'static str, error: std::io::Error) -> Error {
        let down = matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADFD));
        let error = Error::kernel(tried, &self.name, error);
        if down { error.of_kind(Kind::Gone).with_hint("is the interface up?") } else { error }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn request(name: &str) -> Result<libc::ifreq> {
    // IFNAMSIZ counts the closing zero.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0', '%']) {
        let why = "an interface name has 1 to 15 bytes without / and %";
        return Err(Error::text(CREATE, name, why));
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    let flags = libc::c_short::try_from(flags).expect("both flags are below 2^15");
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: flags };
    Ok(libc::ifreq { ifr_name, ifr_ifru })
}

fn no_device(error: std::io::Error) -> Error {
    let missing = error.kind() == ErrorKind::NotFound;
    let error = Error::kernel("open", DEVICE, error);
    if missing { error.of_kind(Kind::Unsupported).with_hint("modprobe tun") } else { error }
}

fn refused(name: &str, errno: nix::errno::Errno) -> Error {
    let taken = errno == nix::errno::Errno::EBUSY;
    let error = Error::kernel(CREATE, name, errno);
    if taken { error.of_kind(Kind::Taken) } else { error }
}

const CREATE: &str = "create the TUN device";
const DEVICE: &str = "/dev/net/tun";

mod ioctl {
    // linux/if_tun.h: _IOW('T', 202, int), though it takes an ifreq.
    nix::ioctl_write_ptr_bad!(
        tun_set_iff,
        nix::request_code_write!(b'T', 202, size_of::<nix::libc::c_int>()),
        nix::libc::ifreq
    );
}
