//! How the kernel's TCP sockets change state, as the kernel tells it.
//!
//! The source is the tracepoint `sock:inet_sock_set_state` (Linux 4.16), read
//! through `perf_event_open(2)`: one descriptor for each CPU, closed with this
//! value or the process. It is all that tells SYN-SENT → SYN-RECEIVED, the
//! mark of a crossed opening (RFC 9293 §3.5 figure 7), from the usual way.

use std::{
    collections::VecDeque,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::{
    libc,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    unistd::gettid,
};

use super::{Error, Kind, Result};
pub use crate::tcp::State;

mod buffer;
mod format;

use buffer::{Record, Ring};
use format::Format;

/// A watch on all TCP sockets of this machine, in every network namespace.
#[derive(Debug)]
pub struct SocketStates {
    rings: Vec<Ring>,
    any: Epoll,
    format: Format,
    seen: VecDeque<Change>,
    lost: u64,
    watcher: u32,
}

/// A socket went from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When, by [`super::clock::monotonic`].
    pub at: Duration,
    /// The kernel's name of the socket, the same for all its life.
    pub socket: u64,
    /// Its local endpoint. Two namespaces may have the same.
    pub local: SocketAddr,
    /// Its remote endpoint; port 0 while it has none.
    pub remote: SocketAddr,
    /// Whether the thread that began to watch was running: it made the change itself, or something
    /// that came in meanwhile did.
    pub made_here: bool,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
}

impl SocketStates {
    /// Watches from now on.
    ///
    /// # Errors
    /// [`Kind::Privilege`] without `CAP_PERFMON` on the machine itself (being
    /// root of a user namespace is not enough); [`Kind::Unsupported`] when the
    /// kernel lacks tracepoints.
    pub fn watch() -> Result<Self> {
        let format = Format::of_this_kernel()?;
        let any = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|e| Error::kernel("open", "an epoll descriptor", e))?;
        let mut rings = Vec::new();
        for cpu in online_cpus()? {
            let ring = Ring::open(format.id, cpu).map_err(refused)?;
            any.add(&ring, EpollEvent::new(EpollFlags::EPOLLIN, 0))
                .map_err(|e| Error::kernel(WATCH, "", e))?;
            rings.push(ring);
        }
        let watcher = gettid().as_raw().unsigned_abs();
        Ok(Self { rings, any, format, seen: VecDeque::new(), lost: 0, watcher })
    }

    /// The next change, if there is one now. Changes that different CPUs make
    /// within microseconds may come out of order; their times are right.
    pub fn next_change(&mut self) -> Option<Change> {
        if self.seen.is_empty() {
            self.collect();
        }
        self.seen.pop_front()
    }

    /// How many changes are known to be lost because nobody read them in time.
    /// A CPU tells with the next change that it has room for.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn collect(&mut self) {
        let (format, seen, lost) = (&self.format, &mut self.seen, &mut self.lost);
        let here = self.watcher;
        for ring in &mut self.rings {
            ring.drain(|record| match record {
                Record::Sample { at, thread, bytes } => {
                    seen.extend(
                        change(format, at, bytes)
                            .map(|change| Change { made_here: thread == here, ..change }),
                    );
                }
                Record::Lost(count) => *lost += count,
            });
        }
        self.seen.make_contiguous().sort_by_key(|change| change.at);
    }
}

impl AsFd for SocketStates {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.any.0.as_fd()
    }
}

/// Numbered as Linux does (net/tcp_states.h).
pub(super) fn state(number: u32) -> Option<State> {
    Some(match number {
        1 => State::Established,
        2 => State::SynSent,
        3 => State::SynReceived,
        4 => State::FinWait1,
        5 => State::FinWait2,
        6 => State::TimeWait,
        7 => State::Closed,
        8 => State::CloseWait,
        9 => State::LastAck,
        10 => State::Listen,
        11 => State::Closing,
        _ => return None,
    })
}

/// `None` for other protocols than TCP.
fn change(format: &Format, at: Duration, bytes: &[u8]) -> Option<Change> {
    let u16_at = |offset: usize| Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?));
    let u32_at = |offset: usize| Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?));
    if u16_at(format.protocol)? != TCP {
        return None;
    }
    let address = |v4: usize, v6: usize| -> Option<IpAddr> {
        let is_v4 = u16_at(format.family)? == IPV4;
        let v4 = || Some(Ipv4Addr::from(*bytes.get(v4..)?.first_chunk::<4>()?).into());
        let v6 = || Some(Ipv6Addr::from(*bytes.get(v6..)?.first_chunk::<16>()?).into());
        if is_v4 { v4() } else { v6() }
    };
    let local = address(format.source, format.source_v6)?;
    let remote = address(format.destination, format.destination_v6)?;
    Some(Change {
        at,
        socket: u64::from_ne_bytes(*bytes.get(format.socket..)?.first_chunk()?),
        local: SocketAddr::new(local, u16_at(format.source_port)?),
        remote: SocketAddr::new(remote, u16_at(format.destination_port)?),
        made_here: false,
        from: state(u32_at(format.from)?)?,
        to: state(u32_at(format.to)?)?,
    })
}

/// The CPUs in use, from a list like `0-3,8`.
fn online_cpus() -> Result<Vec<i32>> {
    let list = fs::read_to_string(CPUS).map_err(|e| Error::kernel("read", CPUS, e))?;
    parse_cpus(&list).ok_or_else(|| Error::text("read", CPUS, format!("`{list}` is no CPU list")))
}

fn parse_cpus(list: &str) -> Option<Vec<i32>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<i32>().ok()?..=last.parse::<i32>().ok()?)
    };
    let ranges: Option<Vec<_>> = list.trim().split(',').map(range).collect();
    Some(ranges?.into_iter().flatten().collect())
}

fn refused(error: std::io::Error) -> Error {
    let error = Error::kernel(WATCH, "", error);
    match error.kind {
        Kind::Privilege => error.with_hint("run with sudo"),
        _ => error,
    }
}

const WATCH: &str = "watch socket states";
const CPUS: &str = "/sys/devices/system/cpu/online";
const TCP: u16 = libc::IPPROTO_TCP as u16;
const IPV4: u16 = libc::AF_INET as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_list_is_read() {
        assert_eq!(parse_cpus("0\n"), Some(vec![0]));
        assert_eq!(parse_cpus("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(parse_cpus("\n"), None);
    }
}
