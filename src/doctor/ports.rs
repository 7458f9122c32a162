//! Who has the local ports that are to be used.

use std::net::SocketAddr;

use super::{Check, Facts, Name, Peer, State};
use crate::os::ports::Socket;
use crate::os::states::State as TcpState;

pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new(Name::LocalPorts, MATTERS);
    check.numbers.kernel_ports = facts.settings.kernel_ports;
    let ports = &facts.question.local_ports;
    if ports.is_empty() {
        check.sees("no --local-port was given; the kernel chooses");
        return check.done();
    }
    match &facts.sockets {
        Err(unseen) => check.misses(unseen),
        Ok(sockets) => ports.iter().for_each(|port| of_port(&mut check, *port, sockets, facts)),
    }
    for (port, why) in &facts.unbindable {
        let seen = format!("port {port} cannot be bound: {why}");
        check.finds(State::Failing, seen, format!("sudo ss -Hantpb sport = :{port}"));
    }
    if check.state == State::Fine {
        check.sees(format!("free: {}", list(ports)));
    }
    let is_kernels = |port: &&u16| {
        facts.settings.kernel_ports.is_some_and(|[first, last]| (first..=last).contains(port))
    };
    let shared: Vec<_> = ports.iter().filter(is_kernels).copied().collect();
    if let (false, Some([first, last])) = (shared.is_empty(), facts.settings.kernel_ports) {
        let all = list(&shared);
        check.sees(format!(
            "{all}: among those that the kernel gives to other connections ({first}-{last})"
        ));
    }
    check.done()
}

fn of_port(check: &mut Check, port: u16, sockets: &[Socket], facts: &Facts) {
    let source = facts.path.as_ref().ok().map(|path| path.route.source);
    for socket in sockets.iter().filter(|socket| socket.local.port() == port) {
        let ip = socket.local.ip();
        let is_ours = ip.is_unspecified() || source.is_none_or(|source| source == ip);
        let is_same = facts.question.towards.is_some_and(|peer| is_towards(socket.remote, peer));
        let state = match socket.state {
            TcpState::Listen if is_ours => State::Failing,
            TcpState::Listen => State::Warning,
            _ if is_ours && is_same => State::Failing,
            _ => State::Warning,
        };
        check.finds(state, told(socket), format!("sudo ss -Hantp sport = :{port}"));
    }
}

/// Whether a connection there stands in the way of another to the peer.
fn is_towards(remote: SocketAddr, peer: Peer) -> bool {
    remote.ip() == peer.address && peer.port.is_none_or(|port| port == remote.port())
}

fn told(socket: &Socket) -> String {
    let Socket { local, remote, state } = socket;
    match state {
        TcpState::Listen => format!("port {}: a listener on {local}", local.port()),
        TcpState::TimeWait => {
            format!("port {}: TIME-WAIT to {remote}, for a minute at most", local.port())
        }
        state => format!("port {}: {} to {remote}", local.port(), name(*state)),
    }
}

/// As RFC 9293 §3.3.2 spells it.
const fn name(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN-SENT",
        TcpState::SynReceived => "SYN-RECEIVED",
        TcpState::FinWait1 => "FIN-WAIT-1",
        TcpState::FinWait2 => "FIN-WAIT-2",
        TcpState::TimeWait => "TIME-WAIT",
        TcpState::Closed => "CLOSED",
        TcpState::CloseWait => "CLOSE-WAIT",
        TcpState::LastAck => "LAST-ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
    }
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

const MATTERS: &str = "A punch leaves from a port that was agreed upon: whoever has it keeps us from \
                       binding it, and a connection that lingers there from opening the same again.";
