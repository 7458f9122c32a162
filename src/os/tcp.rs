//! TCP connections by the host's own TCP, for a loop that never blocks.
//!
//! What the network does to a connection (refused, reset, timed out) comes as
//! [`std::io::Error`]: it is an outcome. What the machine refuses comes as
//! [`Error`].

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        self, AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, sockopt,
    },
};

use super::{
    Error, Result,
    reserve::Reserved,
    states::{State, state},
};

mod options;

pub use options::{Keepalive, Options};

/// The local endpoint of a socket.
#[derive(Debug)]
pub enum Bind {
    /// The kernel chooses address and port.
    Kernel,
    /// This endpoint, for one socket alone.
    Exact(SocketAddr),
    /// This endpoint, shared with all sockets that are bound as shared: one
    /// port for a listener and several attempts (RFC 5128 §3.4).
    Shared(SocketAddr),
    /// An endpoint held since earlier.
    Held(Reserved),
}

/// A socket that is ready to connect: one system call is left to do.
#[derive(Debug)]
pub struct Prepared {
    socket: OwnedFd,
    remote: SocketAddr,
}

/// A connection, or the attempt at one.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    remote: SocketAddr,
    opening: Opening,
}

/// How far an attempt has come.
#[derive(Debug)]
pub enum Progress {
    /// No answer yet.
    Pending,
    /// The connection stands.
    Established,
    /// It failed, and will not be tried again on this socket.
    Failed(io::Error),
}

/// A socket that waits for connections.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

#[derive(Debug, Clone, Copy)]
enum Opening {
    Pending,
    Established,
    Failed(Errno),
}

/// Starts a connection. What `connect(2)` itself answers, even at once, is
/// told by [`Stream::progress`].
///
/// # Errors
/// [`super::Kind::Taken`] when the local endpoint is in use; others when it is
/// not ours or the process has too many descriptors.
pub fn connect(bind: Bind, remote: SocketAddr, options: &Options) -> Result<Stream> {
    prepare(bind, remote, options).map(Prepared::connect)
}

/// Does all of [`connect`] but to send the SYN.
///
/// # Errors
/// As for [`connect`].
pub fn prepare(bind: Bind, remote: SocketAddr, options: &Options) -> Result<Prepared> {
    let socket = socket_for(bind, remote)?;
    options
        .set_on(&socket, remote)
        .map_err(|e| Error::kernel("prepare a connection to", remote, e))?;
    Ok(Prepared { socket, remote })
}

/// Waits for connections on a local endpoint. A port in use by connections
/// past or present is no obstacle, another listener is.
///
/// # Errors
/// As for [`connect`]. `bind` names an endpoint: the kernel's choice is one
/// of port 0.
pub fn listen(bind: Bind, backlog: u16) -> Result<Listener> {
    let (socket, on) = match bind {
        Bind::Kernel => return Err(Error::text(LISTEN, "", "no endpoint was given")),
        Bind::Exact(local) => (bound(local, Sharing::WithConnections)?, local),
        Bind::Shared(local) => (bound(local, Sharing::WithShared)?, local),
        Bind::Held(held) => (held.socket, held.endpoint),
    };
    let backlog = Backlog::new(i32::from(backlog)).map_err(|e| Error::kernel(LISTEN, on, e))?;
    socket::listen(&socket, backlog).map_err(|e| Error::kernel(LISTEN, on, e))?;
    Ok(Listener { socket: TcpListener::from(socket) })
}

impl Prepared {
    /// Lets the kernel touch what [`Self::connect`] will need: this socket and the route. Nothing is sent.
    pub(super) fn warm(&self) {
        // What these answer is of no interest.
        let _ = state_of(&self.socket);
        let _ = socket::socket(
            family_of(self.remote),
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .and_then(|probe| socket::connect(probe.as_raw_fd(), &SockaddrStorage::from(self.remote)));
    }

    /// Sends the SYN. What `connect(2)` answers is told by [`Stream::progress`].
    pub fn connect(self) -> Stream {
        let Self { socket, remote } = self;
        let opening =
            Opening::of(socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(remote)));
        Stream { socket: TcpStream::from(socket), remote, opening }
    }
}

impl Stream {
    /// How far the attempt has come. Ask after [`super::poll::Want::Write`].
    pub fn progress(&mut self) -> Progress {
        if let Opening::Pending = self.opening {
            // Asked again, connect(2) tells how the attempt stands and does
            // nothing else. SO_ERROR cannot tell pending from established.
            let remote = SockaddrStorage::from(self.remote);
            self.opening = Opening::of(socket::connect(self.socket.as_raw_fd(), &remote));
        }
        match self.opening {
            Opening::Pending => Progress::Pending,
            Opening::Established => Progress::Established,
            Opening::Failed(errno) => Progress::Failed(errno.into()),
        }
    }

    /// The local endpoint, known once the attempt has started.
    ///
    /// # Errors
    /// When the kernel has forgotten the socket's address after a failure.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The endpoint that it leads to.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The state that the socket is in now.
    ///
    /// # Errors
    /// Never for a TCP socket.
    pub fn state(&self) -> io::Result<State> {
        state_of(&self.socket)
    }

    /// The connection for whoever goes on with it, by calls that block.
    ///
    /// # Errors
    /// Never for a TCP socket.
    pub fn into_blocking(self) -> io::Result<TcpStream> {
        self.socket.set_nonblocking(false)?;
        Ok(self.socket)
    }

    /// Bytes received: `None` when there are none now, `Some(0)` at the end.
    ///
    /// # Errors
    /// What ended the connection otherwise.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(self.socket.read(buffer))
    }

    /// How many of these bytes the kernel took: `None` when there is no room.
    ///
    /// # Errors
    /// What ended the connection.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        unless_blocked(self.socket.write(bytes))
    }

    /// Sends FIN after what was written; reading goes on.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn finish(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Ends the connection with RST (RFC 9293 §3.10.5).
    pub fn reset(self) {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        // The one failure is a socket that is no socket.
        let _ = socket::setsockopt(&self.socket, sockopt::Linger, &at_once);
    }
}

impl Listener {
    /// The next connection, if one is there: it stands already.
    ///
    /// # Errors
    /// When the process has too many open descriptors.
    pub fn accept(&self, options: &Options) -> Result<Option<Stream>> {
        let (socket, remote) = match self.socket.accept() {
            Ok(accepted) => accepted,
            Err(e) if is_fleeting(&e) => return Ok(None),
            Err(e) => return Err(Error::kernel("accept", "a connection", e)),
        };
        let socket = OwnedFd::from(socket);
        options
            .set_on(&socket, remote)
            .map_err(|e| Error::kernel("prepare a connection from", remote, e))?;
        let socket = TcpStream::from(socket);
        socket
            .set_nonblocking(true)
            .map_err(|e| Error::kernel("prepare a connection from", remote, e))?;
        Ok(Some(Stream { socket, remote, opening: Opening::Established }))
    }

    /// The endpoint that it waits on.
    ///
    /// # Errors
    /// Never for a listening socket.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether it waits on this endpoint.
    pub fn is_on(&self, endpoint: SocketAddr) -> bool {
        self.local().is_ok_and(|own| own == endpoint)
    }
}

/// For a runtime that waits by its own means. It does not block.
impl From<Listener> for TcpListener {
    fn from(listener: Listener) -> Self {
        listener.socket
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Opening {
    fn of(answer: nix::Result<()>) -> Self {
        match answer {
            Ok(()) | Err(Errno::EISCONN) => Self::Established,
            Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => Self::Pending,
            Err(errno) => Self::Failed(errno),
        }
    }
}

/// Who else may be bound to the same endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Nobody,
    /// Connections, past and present, but no other listener.
    WithConnections,
    /// Every socket bound like this one.
    WithShared,
}

/// A non-blocking socket bound to a local endpoint.
pub(super) fn bound(local: SocketAddr, sharing: Sharing) -> Result<OwnedFd> {
    let socket = open(local)?;
    share(&socket, sharing).map_err(|e| Error::kernel("bind", local, e))?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(local))
        .map_err(|e| not_bound(local, e))?;
    Ok(socket)
}

fn state_of(socket: &impl AsRawFd) -> io::Result<State> {
    let mut info = [0_u8; 1];
    let mut length = libc::socklen_t::try_from(info.len()).expect("one fits");
    // SAFETY: the kernel writes at most `length` octets to `info`, which is that long; the first
    // octet of `struct tcp_info` is the state (linux/tcp.h).
    #[allow(unsafe_code)]
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(answer)?;
    state(info[0].into()).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn socket_for(bind: Bind, remote: SocketAddr) -> Result<OwnedFd> {
    match bind {
        Bind::Kernel => open(remote),
        Bind::Exact(local) => bound(local, Sharing::Nobody),
        Bind::Shared(local) => bound(local, Sharing::WithShared),
        Bind::Held(held) => Ok(held.socket),
    }
}

fn family_of(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn open(of_family: SocketAddr) -> Result<OwnedFd> {
    let family = family_of(of_family);
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(family, SockType::Stream, flags, SockProtocol::Tcp)
        .map_err(|e| Error::kernel("open", "a TCP socket", e))?;
    if of_family.is_ipv6() {
        socket::setsockopt(&socket, sockopt::Ipv6V6Only, &true)
            .map_err(|e| Error::kernel("open", "an IPv6 TCP socket", e))?;
    }
    Ok(socket)
}

fn share(socket: &OwnedFd, sharing: Sharing) -> nix::Result<()> {
    if sharing != Sharing::Nobody {
        socket::setsockopt(socket, sockopt::ReuseAddr, &true)?;
    }
    // On Linux a listener and a connection of the same port need this one too.
    if sharing == Sharing::WithShared {
        socket::setsockopt(socket, sockopt::ReusePort, &true)?;
    }
    Ok(())
}

fn not_bound(local: SocketAddr, errno: Errno) -> Error {
    let error = Error::kernel("bind", local, errno);
    match errno {
        Errno::EADDRINUSE => error.with_hint(format!(
            "see who holds it: ss -tanp 'sport = :{}'; or choose another port",
            local.port()
        )),
        Errno::EADDRNOTAVAIL => error.with_hint("the address must be one of this host"),
        Errno::EACCES => error.with_hint("ports below 1024 need root; choose a higher one"),
        _ => error,
    }
}

fn unless_blocked(answer: io::Result<usize>) -> io::Result<Option<usize>> {
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(e) => Err(e),
    }
}

/// accept(2): a connection that died in the queue, or there was none.
fn is_fleeting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}

const LISTEN: &str = "listen on";
