//! The local proxy: what it is to do, and doing it.

use std::str::FromStr;
use std::sync::Arc;

use clap::Args;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::{remark, show};
use super::parse::{Listen, parse_patience};
use super::request::{Host, PunchHost, RendezvousHost};
use super::run::first_of;
use super::tls::TlsArgs;
use crate::live::Stop;
use crate::os::signals::Signals;
use crate::punch::Code;
use crate::report;
use crate::serve::{self, Door, Errand, Hear, News};
use crate::time::Duration;
use crate::wire::Endpoint;

/// `proxy`'s arguments.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(override_usage = "\
tso-probe proxy --rendezvous HOST[:PORT] --accept HOST:PORT [OPTIONS]
       tso-probe proxy --rendezvous HOST[:PORT] --socks [ADDR:]PORT [OPTIONS]
       tso-probe proxy --rendezvous HOST[:PORT] --forward [ADDR:]PORT:CODE... [OPTIONS]
       tso-probe proxy --rendezvous HOST[:PORT] --websocket [ADDR:]PORT [OPTIONS]")]
#[group(required = true, multiple = true, id = "errand")]
#[group(args = ["accept", "socks", "forward", "websocket"])]
pub struct ProxyArgs {
    /// The rendezvous server where peers are met, a 'tso-probe serve'
    #[arg(long, value_name = "HOST[:PORT]")]
    pub rendezvous: RendezvousHost,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Let peers to this service, by a code that is printed and stays
    #[arg(long, value_name = "HOST:PORT")]
    pub accept: Option<PunchHost>,
    /// Take SOCKS5 here: programs reach a peer by the host name CODE.tso, whatever the port
    #[arg(long, value_name = "[ADDR:]PORT")]
    pub socks: Option<Local>,
    /// Take connections here: programs reach the peer of this code
    #[arg(long, value_name = "[ADDR:]PORT:CODE")]
    pub forward: Vec<Forward>,
    /// Serve a page here, and a WebSocket behind it: a browser reaches the peer whose code is typed
    #[arg(long, value_name = "[ADDR:]PORT")]
    pub websocket: Option<Local>,
    /// How often to try to open a connection, each time with what the last has taught
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts: u32,
    /// How long to try, each time
    #[arg(long, value_name = "TIME", value_parser = parse_patience, default_value = "10s")]
    pub timeout: Duration,
}

/// An endpoint of this host, its own loopback unless an address is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local(Endpoint);

/// Such an endpoint, and whom programs reach there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward(Endpoint, Code);

impl FromStr for Local {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self(Endpoint::new(LOOPBACK, port)));
        }
        let Listen { address, port } = text.parse()?;
        port.map(|port| Self(Endpoint::new(address, port)))
            .ok_or_else(|| "a port is wanted: PORT or ADDR:PORT".to_owned())
    }
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (on, code) =
            text.rsplit_once(':').ok_or("PORT:CODE is wanted: 2222:7-violin-lagoon")?;
        let Local(on) = on.parse()?;
        Ok(Self(on, code.parse()?))
    }
}

/// Serves programs, and peers, until it is stopped.
///
/// # Errors
/// When an endpoint is taken, or the server has no address.
pub fn proxy(args: &ProxyArgs) -> Result<Exit, Failure> {
    let signals = Signals::block()?;
    let errand = errand(args)?;
    let hear: Hear = Arc::new(|news| match news {
        News::Waits(code) => show(&format!("{code}\n")),
        News::Opened(what) => remark(&format!("{what}\n")),
        News::Failed(why) => remark(&format!("not opened: {why}\n")),
        News::Held(why) => remark(&format!("waiting: {why}\n")),
    });
    let places: Vec<_> = errand.doors.iter().map(place).collect();
    let ready = || remark(&report::doors(&places));
    serve::proxy(&errand, &hear, Stop::Signals(&signals), &ready)?;
    Ok(Exit::Answered)
}

fn errand(args: &ProxyArgs) -> Result<Errand, Failure> {
    let RendezvousHost(server) = &args.rendezvous;
    let tls = args.tls.trust(server)?;
    let server = first_of(server, "rendezvous server")?;
    let socks = args.socks.map(|Local(on)| Door::Socks(on));
    let forwards = args.forward.iter().map(|Forward(on, code)| Door::Forward(*on, code.clone()));
    let web = args.websocket.map(|Local(on)| Door::Web(on));
    let doors = socks.into_iter().chain(forwards).chain(web).collect();
    let accept = args.accept.as_ref().map(|PunchHost(Host { name, port })| (name.clone(), *port));
    Ok(Errand { server, tls, attempts: args.attempts, patience: args.timeout, doors, accept })
}

fn place(door: &Door) -> (String, Endpoint) {
    match door {
        Door::Socks(on) => ("SOCKS5, for host names such as 7-violin-lagoon.tso".to_owned(), *on),
        Door::Web(on) => ("a page for browsers".to_owned(), *on),
        Door::Forward(on, code) => (format!("the peer in room {}", code.room), *on),
    }
}

/// What `proxy --help` says at its end.
pub const HELP: &str = "\
For programs that can only connect. On the side that has the service, and is told a code:
  tso-probe proxy --rendezvous rendezvous.example.net --accept localhost:22

On the other, one of these:
  tso-probe proxy --rendezvous rendezvous.example.net --forward 2222:7-violin-lagoon-zebra-otter
  ssh -p 2222 localhost
  tso-probe proxy --rendezvous rendezvous.example.net --socks 1080
  ssh -o ProxyCommand='nc -X 5 -x localhost:1080 %h %p' 7-violin-lagoon-zebra-otter.tso

Each connection of a program is one of its own between the two hosts, opened as 'tso-probe punch' does; \
the code stays for as long as the service's side runs.

Exit codes: 0 stopped, 2 could not serve.";

const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_on_loopback_unless_an_address_is_given() {
        let door = |text: &str| text.parse::<Local>().map(|Local(on)| on.to_string());
        assert_eq!(door("1080"), Ok("127.0.0.1:1080".to_owned()));
        assert_eq!(door("[::1]:1080"), Ok("[::1]:1080".to_owned()));
        assert!(door("192.0.2.1").is_err_and(|why| why.contains("port")));
        let forward = |text: &str| text.parse::<Forward>().map(|Forward(on, code)| (on, code.room));
        let on = |text: &str| text.parse::<Endpoint>().expect("an endpoint");
        assert_eq!(forward("2222:7-violin-lagoon"), Ok((on("127.0.0.1:2222"), 7)));
        assert_eq!(forward("[::]:2222:7-violin-lagoon"), Ok((on("[::]:2222"), 7)));
        assert!(forward("2222").is_err_and(|why| why.contains("CODE")));
        assert!(forward("2222:7-violin").is_err_and(|why| why.contains("two words")));
    }
}
