//! Holding a local TCP port so that nobody else gets it.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{self, SockaddrStorage};

use super::{
    Error, Kind, Result,
    tcp::{self, Sharing},
};

/// A TCP port that is bound but neither listens nor connects: to the outside
/// it is closed. Free again with this value.
#[derive(Debug)]
pub struct Reserved {
    pub(super) socket: OwnedFd,
    pub(super) endpoint: SocketAddr,
}

/// Holds an endpoint; port 0 is one of the kernel's choice.
///
/// # Errors
/// [`Kind::Taken`] when somebody has it (a connection that ended less than a
/// minute ago counts), with the way to see who.
pub fn reserve(endpoint: SocketAddr) -> Result<Reserved> {
    let socket = tcp::bound(endpoint, Sharing::Nobody)?;
    let endpoint = local_of(&socket)?;
    Ok(Reserved { socket, endpoint })
}

/// Holds the first free port of those offered, in their order.
///
/// # Errors
/// [`Kind::Taken`] when none is free; others as for [`reserve`].
pub fn reserve_fresh(ip: IpAddr, ports: impl IntoIterator<Item = u16>) -> Result<Reserved> {
    for port in ports {
        match reserve(SocketAddr::new(ip, port)) {
            Err(e) if e.kind == Kind::Taken => {}
            done => return done,
        }
    }
    Err(Error::text("find a free TCP port on", ip, "all those offered are in use")
        .of_kind(Kind::Taken))
}

impl Reserved {
    /// The endpoint held.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }
}

fn local_of(socket: &OwnedFd) -> Result<SocketAddr> {
    let name: SockaddrStorage = socket::getsockname(socket.as_raw_fd())
        .map_err(|e| Error::kernel("read the address of", "a socket", e))?;
    let v4 = name.as_sockaddr_in().map(|a| SocketAddr::V4((*a).into()));
    let v6 = name.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into()));
    Ok(v4.or(v6).expect("a TCP socket has an IPv4 or IPv6 address"))
}
