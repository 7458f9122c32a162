//! How the host's TCP treats a connection, set on a socket before it opens.

use std::{net::SocketAddr, os::fd::OwnedFd, time::Duration};

use nix::sys::socket::{self, sockopt};

/// How the host's TCP treats a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long sent data, or a SYN, may stay unacknowledged before the
    /// connection counts as dead (RFC 5482; whole milliseconds).
    pub user_timeout: Duration,
    /// How a silent peer is asked whether it lives.
    pub keepalive: Keepalive,
    /// Time to live (hop limit) of outgoing packets, if not the host's own.
    pub ttl: Option<u8>,
}

/// RFC 9293 §3.8.4, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first question.
    pub idle: Duration,
    /// Time between questions.
    pub interval: Duration,
    /// Unanswered questions after which the connection is dead.
    pub probes: u32,
}

impl Default for Options {
    /// A dead peer is found within a minute.
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            user_timeout: 60 * second,
            keepalive: Keepalive { idle: 30 * second, interval: 10 * second, probes: 3 },
            ttl: None,
        }
    }
}

impl Options {
    pub(super) fn set_on(&self, socket: &OwnedFd, remote: SocketAddr) -> nix::Result<()> {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
        let timeout_ms = u32::try_from(self.user_timeout.as_millis()).unwrap_or(u32::MAX);
        socket::setsockopt(socket, sockopt::TcpNoDelay, &true)?;
        socket::setsockopt(socket, sockopt::KeepAlive, &true)?;
        socket::setsockopt(socket, sockopt::TcpKeepIdle, &seconds(self.keepalive.idle))?;
        socket::setsockopt(socket, sockopt::TcpKeepInterval, &seconds(self.keepalive.interval))?;
        socket::setsockopt(socket, sockopt::TcpKeepCount, &self.keepalive.probes)?;
        socket::setsockopt(socket, sockopt::TcpUserTimeout, &timeout_ms)?;
        match (self.ttl.map(i32::from), remote) {
            (None, _) => Ok(()),
            (Some(ttl), SocketAddr::V4(_)) => socket::setsockopt(socket, sockopt::Ipv4Ttl, &ttl),
            (Some(ttl), SocketAddr::V6(_)) => socket::setsockopt(socket, sockopt::Ipv6Ttl, &ttl),
        }
    }
}
