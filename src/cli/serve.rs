//! A reflector that is asked for, validated.

use std::net::IpAddr;

use super::args::ServeArgs;
use super::failure::Failure;
use crate::rendezvous::{CONTROL_PORT, PROBE_PORTS, STUN_PORTS};

/// A reflector to be.
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
        let control_port = in_listen.or(args.control_port).unwrap_or(CONTROL_PORT);
        let probe_ports = args.probe_ports.unwrap_or(PROBE_PORTS);
        let stun_ports = args.stun_ports.unwrap_or(STUN_PORTS);
        let listen = args.listen.map(|listen| listen.address);
        check_ports(control_port, probe_ports, stun_ports)?;
        check_addresses(listen, args.alternate)?;
        let (alternate, verbosity) = (args.alternate, args.verbose);
        Ok(Self { listen, alternate, control_port, probe_ports, stun_ports, verbosity })
    }
}

fn check_ports(control: u16, probes: [u16; 2], stun: [u16; 2]) -> Result<(), Failure> {
    if control == 0 || probes.contains(&control) {
        let error = format!("port {control} cannot be the control port beside {probes:?}");
        return Err(Failure::new(error, "give three different ports, none of them 0"));
    }
    if let Some(port) = stun.into_iter().find(|port| *port == control || probes.contains(port)) {
        let error = format!("port {port} is to serve STUN and something else");
        return Err(Failure::new(error, "give STUN two ports of its own"));
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
