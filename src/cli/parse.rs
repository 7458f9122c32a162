//! Words of the command line and of the configuration → values.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::request::{ControlHost, Host, PunchHost, RendezvousHost, StunHost, Towards};
use crate::punch::PUNCH_PORT;
use crate::rendezvous::{CONTROL_PORT, RENDEZVOUS_PORTS, STUN_PORTS};
use crate::time::Duration;

/// Where to listen: `ADDR`, `ADDR:PORT`, `[ADDR]:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: IpAddr,
    /// The port, if one was given.
    pub port: Option<u16>,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(endpoint) = text.parse::<SocketAddr>() {
            return Ok(Self { address: endpoint.ip(), port: Some(endpoint.port()) });
        }
        let address = text.parse().map_err(|_| "an address, or address:port, is wanted")?;
        Ok(Self { address, port: None })
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        host(text, CONTROL_PORT)
    }
}

impl FromStr for StunHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        host(text, STUN_PORTS[0]).map(Self)
    }
}

impl FromStr for ControlHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        host(text, PUNCH_PORT).map(Self)
    }
}

impl FromStr for RendezvousHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        host(text, RENDEZVOUS_PORTS[0]).map(Self)
    }
}

impl FromStr for PunchHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = host(text, 0)?;
        if host.port == 0 { Err("a port is wanted: ADDR:PORT".to_owned()) } else { Ok(Self(host)) }
    }
}

impl FromStr for Towards {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = name_and_port(text)?;
        Ok(Self { name, port })
    }
}

fn host(text: &str, port: u16) -> Result<Host, String> {
    let (name, given) = name_and_port(text)?;
    Ok(Host { name, port: given.unwrap_or(port) })
}

fn name_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (name, given) = split_port(text)?;
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_:%".contains(letter);
    if name.is_empty() || !name.chars().all(is_allowed) || name.starts_with('-') {
        return Err("a host's name or address is wanted, then maybe ':' and a port".to_owned());
    }
    Ok((name.to_owned(), given))
}

/// `[name]:port`, `name:port` or a name alone; an IPv6 address without brackets has no port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (name, port) = match text.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => {
            (name, Some(rest.strip_prefix(':').ok_or("':' is wanted behind ']'")?))
        }
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    match port {
        None => Ok((name, None)),
        Some(port) => Ok((name, Some(parse_port(port)?))),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("'{text}' is no port from 1 to 65535"))
}

/// Two ports that differ: `5383,5384`.
pub fn parse_ports(text: &str) -> Result<[u16; 2], String> {
    let (one, other) = text.split_once(',').ok_or("two ports are wanted, as A,B")?;
    let ports = [parse_port(one.trim())?, parse_port(other.trim())?];
    if ports[0] == ports[1] { Err("two different ports are wanted".to_owned()) } else { Ok(ports) }
}

/// A time with its unit: `50ms`, `1.5s`, `800us`; at most a minute.
pub fn parse_delay(text: &str) -> Result<Duration, String> {
    let wanted = "a time with a unit is wanted: 800us, 50ms, 1.5s; at most 60s";
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic()).ok_or(wanted)?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err(wanted.to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| wanted)?;
    let delay = Duration::try_from_secs_f64(number * seconds).map_err(|_| wanted)?;
    if delay > LONGEST_DELAY { Err(wanted.to_owned()) } else { Ok(delay) }
}

/// How long something may take: as [`parse_delay`], and no less than a millisecond.
pub fn parse_patience(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(1);
    let patience = parse_delay(text)?;
    if patience < least { Err("a time from 1ms to 60s is wanted".to_owned()) } else { Ok(patience) }
}

/// At least one.
pub fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("'{text}' is no number from 1 on"))
}

/// A time that a person may wait: `90s`, `10m`, `1h`; from a second to a day.
pub fn parse_wait(text: &str) -> Result<Duration, String> {
    let wait = humantime::parse_duration(text).ok();
    let wait = wait.filter(|wait| (SHORTEST_WAIT..=LONGEST_WAIT).contains(wait));
    wait.ok_or_else(|| "a time from 1s to 1d is wanted: 90s, 10m, 1h".to_owned())
}

const SHORTEST_WAIT: Duration = Duration::from_secs(1);

const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// No plan waits this long for an answer.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_address_with_or_without_a_port() {
        let host = |name: &str, port| Ok(Host { name: name.to_owned(), port });
        assert_eq!("r.example.net".parse(), host("r.example.net", CONTROL_PORT));
        assert_eq!("r.example.net:99".parse(), host("r.example.net", 99));
        assert_eq!("192.0.2.1:99".parse(), host("192.0.2.1", 99));
        assert_eq!("2001:db8::1".parse(), host("2001:db8::1", CONTROL_PORT));
        assert_eq!("[2001:db8::1]".parse(), host("2001:db8::1", CONTROL_PORT));
        assert_eq!("[2001:db8::1]:99".parse(), host("2001:db8::1", 99));
        for bad in ["", ":99", "r:", "r:0", "r:70000", "https://r", "[::1]99", "r example", "-r"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn delays_have_a_unit() {
        assert_eq!(parse_delay("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_delay("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_delay("800us"), Ok(Duration::from_micros(800)));
        for bad in ["50", "ms", "-1s", "1h", "61s", "1e400s", "nan s", ""] {
            assert!(parse_delay(bad).is_err() && parse_patience(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_delay("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_patience("1ms"), Ok(Duration::from_millis(1)));
        assert!(parse_patience("0s").is_err_and(|why| why.contains("from 1ms")));
    }

    #[test]
    fn probe_ports_are_two() {
        assert_eq!(parse_ports("1, 2"), Ok([1, 2]));
        for bad in ["1", "1,1", "0,1", "a,b", "1,2,3"] {
            assert!(parse_ports(bad).is_err(), "{bad}");
        }
    }
}
