//! A server that is asked for, validated.

use std::net::IpAddr;

use super::args::ServeArgs;
use super::failure::Failure;
use crate::rendezvous::{
    CONTROL_PORT, IntroducerLimits, PROBE_PORTS, RENDEZVOUS_PORTS, STUN_PORTS,
};
use crate::serve::Identity;
use crate::time::Duration;

/// A server to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// The address to serve on; none for the one that this host reaches the Internet from.
    pub listen: Option<IpAddr>,
    /// A second address.
    pub alternate: Option<IpAddr>,
    /// The port for control connections.
    pub control_port: u16,
    /// The two ports for probes.
    pub probe_ports: [u16; 2],
    /// The two ports for STUN.
    pub stun_ports: [u16; 2],
    /// The two ports for rendezvous.
    pub rendezvous_ports: [u16; 2],
    /// Whether rendezvous is all that is served.
    pub rendezvous_only: bool,
    /// How much is done for those who meet.
    pub limits: IntroducerLimits,
    /// What rendezvous speaks TLS with, if it does.
    pub identity: Option<Identity>,
    /// How often is said how busy it is.
    pub status_every: Duration,
    /// How much is said on the way; zero is the least.
    pub verbosity: u8,
}

impl Serve {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they contradict each other.
    pub fn new(args: &ServeArgs) -> Result<Self, Failure> {
        let in_listen = args.listen.and_then(|listen| listen.port);
        if let (Some(one), Some(other)) = (in_listen, args.control_port)
            && one != other
        {
            let error = format!("--listen says port {one}, --control-port says {other}");
            return Err(Failure::new(error, "give the control port once"));
        }
        if let Some(port) = in_listen.filter(|_| args.rendezvous_only) {
            let error = format!(
                "--listen names port {port} for control connections, which --rendezvous-only leaves out"
            );
            let other = port.checked_add(1).unwrap_or(port - 1);
            return Err(Failure::new(error, format!("give --rendezvous-ports {port},{other}")));
        }
        let control_port = in_listen.or(args.control_port).unwrap_or(CONTROL_PORT);
        let probe_ports = args.probe_ports.unwrap_or(PROBE_PORTS);
        let stun_ports = args.stun_ports.unwrap_or(STUN_PORTS);
        let listen = args.listen.map(|listen| listen.address);
        let rendezvous_ports = args.rendezvous_ports.unwrap_or(RENDEZVOUS_PORTS);
        check_ports(control_port, probe_ports, stun_ports, rendezvous_ports)?;
        check_addresses(listen, args.alternate)?;
        Ok(Self {
            listen,
            alternate: args.alternate,
            control_port,
            probe_ports,
            stun_ports,
            rendezvous_ports,
            rendezvous_only: args.rendezvous_only,
            limits: limits(args),
            identity: args
                .tls_cert
                .clone()
                .zip(args.tls_key.clone())
                .map(|(certificate, key)| Identity { certificate, key }),
            status_every: args.status_every.unwrap_or(STATUS_EVERY),
            verbosity: args.verbose,
        })
    }
}

const STATUS_EVERY: Duration = Duration::from_secs(60);

fn limits(args: &ServeArgs) -> IntroducerLimits {
    let usual = IntroducerLimits::default();
    let connections = args.max_clients.unwrap_or(usual.connections);
    IntroducerLimits {
        connections,
        rooms: u32::try_from(connections).unwrap_or(u32::MAX).min(usual.rooms),
        connections_of_one_address: args
            .max_per_address
            .unwrap_or(usual.connections_of_one_address),
        rooms_of_one_address: args.max_per_address.unwrap_or(usual.rooms_of_one_address),
        joins_per_minute: args
            .max_joins
            .map_or(usual.joins_per_minute, |most| u32::try_from(most).unwrap_or(u32::MAX)),
        waiting: args.max_wait.unwrap_or(usual.waiting),
        ..usual
    }
}

fn check_ports(
    control: u16,
    probes: [u16; 2],
    stun: [u16; 2],
    rendezvous: [u16; 2],
) -> Result<(), Failure> {
    if control == 0 || probes.contains(&control) {
        let error = format!("port {control} cannot be the control port beside {probes:?}");
        return Err(Failure::new(error, "give three different ports, none of them 0"));
    }
    if let Some(port) = stun.into_iter().find(|port| *port == control || probes.contains(port)) {
        let error = format!("port {port} is to serve STUN and something else");
        return Err(Failure::new(error, "give STUN two ports of its own"));
    }
    let others = [&[control][..], &probes, &stun].concat();
    if let Some(port) = rendezvous.into_iter().find(|port| others.contains(port)) {
        let error = format!("port {port} is to serve rendezvous and something else");
        return Err(Failure::new(error, "give rendezvous two ports of its own"));
    }
    Ok(())
}

fn check_addresses(listen: Option<IpAddr>, alternate: Option<IpAddr>) -> Result<(), Failure> {
    let (Some(listen), Some(alternate)) = (listen, alternate) else { return Ok(()) };
    if listen == alternate {
        let error = format!("--listen and --alternate are both {listen}");
        return Err(Failure::new(error, "give another address of this host as --alternate"));
    }
    if listen.is_ipv4() != alternate.is_ipv4() {
        let error = format!("{listen} and {alternate} are of two families");
        return Err(Failure::new(error, "give two IPv4 addresses, or two IPv6 ones"));
    }
    Ok(())
}
