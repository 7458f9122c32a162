//! Who has which TCP port in this namespace (proc_pid_net(5)).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    Error, Result,
    states::{self, State},
};

/// A TCP socket of this namespace, whoever owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its local endpoint; IPv4 in IPv6's clothes is IPv4.
    pub local: SocketAddr,
    /// Its remote endpoint; port 0 while it listens.
    pub remote: SocketAddr,
    /// Its state; TIME-WAIT is a connection that has ended and lingers.
    pub state: State,
}

/// All TCP sockets that listen or have, or had, a connection. One that is bound and does neither is
/// not among them.
///
/// # Errors
/// When there is no `/proc`.
pub fn sockets() -> Result<Vec<Socket>> {
    let v4 = fs::read_to_string(V4).map_err(|e| Error::kernel("read", V4, e))?;
    // A kernel without IPv6 does not have it.
    let v6 = fs::read_to_string(V6).unwrap_or_default();
    Ok(v4.lines().chain(v6.lines()).filter_map(parse).collect())
}

/// `   0: 0100007F:0CEA 00000000:0000 0A …`; none for the heading.
fn parse(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote) = (endpoint(fields.next()?)?, endpoint(fields.next()?)?);
    let state = u32::from_str_radix(fields.next()?, 16).ok()?;
    Some(Socket { local, remote, state: states::state(state)? })
}

/// Addresses are 32-bit words, each as this machine keeps it.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok();
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

const V4: &str = "/proc/thread-self/net/tcp";
const V6: &str = "/proc/thread-self/net/tcp6";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_both_families_are_read() {
        let line = "   1: 0201A8C0:0FA0 0A7100CB:1F90 06 00000000:00000000 03:00000F72 00000000";
        let socket = parse(line).unwrap();
        assert_eq!(socket.local, "192.168.1.2:4000".parse().unwrap());
        assert_eq!(socket.remote, "203.0.113.10:8080".parse().unwrap());
        assert_eq!(socket.state, State::TimeWait);
        let line = "   0: 0000000000000000FFFF00000100007F:0FA0 \
                    B80D0120000000000000000001000000:0000 0A 0";
        let socket = parse(line).unwrap();
        assert_eq!(socket.local, "127.0.0.1:4000".parse().unwrap());
        assert_eq!(socket.remote, "[2001:db8::1]:0".parse().unwrap());
        assert_eq!(socket.state, State::Listen);
        assert_eq!(parse("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }
}
