//! `punch`'s arguments, and what they ask for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::evidence;
use super::super::failure::Failure;
use super::super::parse::{Listen, parse_patience};
use super::super::request::{ControlHost, Form, Host, PunchHost, RendezvousHost};
use super::super::tls::TlsArgs;
use super::moment::Moment;
use crate::punch::{Code, PUNCH_PORT, Sync};
use crate::time::Duration;
use crate::wire::Endpoint;

/// `punch`'s arguments.
#[derive(Args, Debug)]
#[command(override_usage = "\
tso-probe punch --peer ADDR:PORT --local-port PORT [--at TIME] [OPTIONS]
       tso-probe punch --listen-control ADDR[:PORT] --local-port PORT [OPTIONS]
       tso-probe punch --via HOST[:PORT] --local-port PORT [--sync HOW] [OPTIONS]
       tso-probe punch --rendezvous HOST[:PORT] [CODE] [OPTIONS]")]
pub struct PunchArgs {
    /// What the other side was told: 7-violin-lagoon; without it, a code is made for the other side
    #[arg(value_name = "CODE", requires = "rendezvous")]
    pub code: Option<Code>,
    /// The peer's endpoint as it is reached from here: what 'tso-probe stun' told the peer
    #[arg(long, value_name = "ADDR:PORT")]
    #[arg(required_unless_present_any = ["json_schema", "listen_control", "via", "rendezvous"])]
    pub peer: Option<PunchHost>,
    /// Connect from this port and listen on it: the one that the peer aims at
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(required_unless_present_any = ["json_schema", "rendezvous"])]
    pub local_port: Option<u16>,
    /// When the SYN is to leave, the same at both ends: next-minute, +3s, 2026-01-31T12:00:00Z
    /// [default: next-minute]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["listen_control", "via"])]
    pub at: Option<Moment>,
    /// Agree with the peer over a connection that it makes to this endpoint of ours
    #[arg(long, value_name = "ADDR[:PORT]", conflicts_with_all = ["via", "sync"])]
    pub listen_control: Option<Listen>,
    /// Agree with the peer over a connection to the endpoint where it listens
    #[arg(long, value_name = "HOST[:PORT]")]
    pub via: Option<ControlHost>,
    /// How the two SYNs are made to leave at once [default: clock]
    #[arg(long, value_enum, requires = "via")]
    pub sync: Option<SyncBy>,
    /// Meet the peer at this rendezvous server, a 'tso-probe serve', which shows where each is seen from
    #[arg(long, value_name = "HOST[:PORT]")]
    #[arg(conflicts_with_all = ["listen_control", "via", "peer", "at", "external"])]
    pub rendezvous: Option<RendezvousHost>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Never bind or listen: the host chooses the port, and which one is foreseen; as root, what watches the
    /// packets still binds a socket of its own, which is none of TCP
    #[arg(long, requires = "rendezvous", conflicts_with = "local_port")]
    pub connect_only: bool,
    /// How often to try, each time with what the last has taught
    #[arg(long, value_name = "N", requires = "rendezvous", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts: u32,
    /// Our external endpoint, told to the peer [default: the address that the peer sees, and our port]
    #[arg(long, value_name = "ADDR:PORT")]
    pub external: Option<Endpoint>,
    /// How long to try from then on; with a rendezvous server, each time
    #[arg(long, value_name = "TIME", value_parser = parse_patience, default_value = "10s")]
    pub timeout: Duration,
    /// Join the connection to stdin and stdout; the report goes to stderr
    #[arg(long, conflicts_with = "exec")]
    pub pipe: bool,
    /// Run this command of the shell with the connection as its stdin and stdout
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Print the schema of the JSON and do nothing else
    #[arg(long)]
    pub json_schema: bool,
    /// Draw the ladder into this file
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Write packets and facts to this file, which Wireshark opens
    #[arg(long, value_name = "FILE.pcapng")]
    pub evidence: Option<PathBuf>,
    /// Replace addresses consistently, in all that is shown or written
    #[arg(long)]
    pub mask: bool,
    /// Draw randomness from this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Say on stderr what goes on, a line each
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How two departures are made simultaneous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SyncBy {
    /// The other end starts as it hears, this one half a round trip later
    Rtt,
    /// Both start at one moment, the clocks' offset having been measured
    Clock,
}

impl From<SyncBy> for Sync {
    fn from(by: SyncBy) -> Self {
        match by {
            SyncBy::Rtt => Self::RoundTrip,
            SyncBy::Clock => Self::Clock,
        }
    }
}

/// A connection to open with a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Punch {
    /// How the ends agree.
    pub agree: Agree,
    /// How long to try.
    pub timeout: Duration,
    /// What becomes of the connection.
    pub then: Then,
    /// What randomness to draw from, if that is laid down.
    pub seed: Option<u64>,
    /// What becomes of the answer.
    pub output: PunchOutput,
}

/// How the ends of a punch agree on where and when.
#[derive(Clone, Debug, PartialEq)]
pub enum Agree {
    /// Their users have.
    Before {
        /// The peer.
        peer: Host,
        /// When the first SYN is to leave.
        at: Moment,
        /// The local port.
        local_port: u16,
    },
    /// Over a connection between them.
    Over {
        /// Where it is awaited, or made to.
        control: Control,
        /// The peer, if it is known better than it knows itself.
        peer: Option<Host>,
        /// This end's external endpoint, if it is known.
        external: Option<Endpoint>,
        /// The local port.
        local_port: u16,
    },
    /// With the help of a rendezvous server.
    Met {
        /// The server.
        server: Host,
        /// Whether it speaks TLS.
        tls: TlsArgs,
        /// What the other side was told; none to make a code for it.
        code: Option<Code>,
        /// The local port, if this end binds.
        from: Port,
        /// How often to try.
        attempts: u32,
    },
}

/// The local port of an end that a rendezvous server helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one.
    Given(u16),
    /// A free one.
    Free,
    /// The host's choice: nothing is bound, and nothing listens.
    Host,
}

/// The connection that two ends agree over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The peer makes it.
    Listen(Endpoint),
    /// This end makes it, and decides.
    Via(Host, Sync),
}

/// What becomes of a connection once it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Both ends greet each other.
    Greet,
    /// It is joined to stdin and stdout.
    Pipe,
    /// A command of the shell has it.
    Exec(String),
}

/// What becomes of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PunchOutput {
    /// How it is shown.
    pub form: Form,
    /// Where the picture goes, if one is wanted.
    pub svg: Option<PathBuf>,
    /// Where the evidence goes, if it is to be kept.
    pub evidence: Option<PathBuf>,
    /// Whether addresses are replaced.
    pub mask: bool,
    /// How much is said on the way; zero is the least.
    pub verbosity: u8,
}

impl PunchOutput {
    /// Whether its files could be written: to be asked before a run, so that none is for nothing.
    ///
    /// # Errors
    /// If one could not.
    pub fn check(&self) -> Result<(), Failure> {
        self.evidence.iter().chain(&self.svg).try_for_each(|path| evidence::check(path))
    }
}

impl Agree {
    fn new(args: &PunchArgs) -> Result<Self, Failure> {
        if let Some(RendezvousHost(server)) = &args.rendezvous {
            let from = match (args.connect_only, args.local_port) {
                (true, _) => Port::Host,
                (false, Some(port)) => Port::Given(port),
                (false, None) => Port::Free,
            };
            let (server, code, attempts) = (server.clone(), args.code.clone(), args.attempts);
            let tls = args.tls.clone();
            return Ok(Self::Met { server, tls, code, from, attempts });
        }
        let Some(local_port) = args.local_port else {
            return Err(Failure::new("it takes a local port", "give --local-port PORT"));
        };
        let sync = args.sync.unwrap_or(SyncBy::Clock).into();
        let listened = args
            .listen_control
            .map(|on| Control::Listen(Endpoint::new(on.address, on.port.unwrap_or(PUNCH_PORT))));
        let via = args.via.clone().map(|ControlHost(host)| Control::Via(host, sync));
        let peer = args.peer.clone().map(|PunchHost(peer)| peer);
        match (listened.or(via), peer) {
            (Some(control), peer) => {
                Ok(Self::Over { control, peer, external: args.external, local_port })
            }
            (None, Some(peer)) => {
                Ok(Self::Before { peer, at: args.at.unwrap_or(Moment::NextMinute), local_port })
            }
            (None, None) => {
                let hint = "give --peer ADDR:PORT, or --via, --listen-control or --rendezvous";
                Err(Failure::new("it takes a peer", hint))
            }
        }
    }
}

impl Punch {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they leave out what it takes.
    pub fn new(args: PunchArgs) -> Result<Self, Failure> {
        let agree = Agree::new(&args)?;
        let then = match (args.pipe, args.exec) {
            (true, _) => Then::Pipe,
            (_, Some(command)) => Then::Exec(command),
            _ => Then::Greet,
        };
        let output = PunchOutput {
            form: if args.json { Form::Json } else { Form::Text },
            svg: args.svg,
            evidence: args.evidence,
            mask: args.mask,
            verbosity: args.verbose,
        };
        let (timeout, seed) = (args.timeout, args.seed);
        Ok(Self { agree, timeout, then, seed, output })
    }
}

/// What `punch --help` says at its end.
pub const HELP: &str = "\
Both ends run it with each other's external endpoint and the same TIME; no server takes part:
  tso-probe punch --peer 198.51.100.7:7000 --local-port 7000 --at next-minute

Or they agree on both over a connection that one of them can make to the other; the end with --via \
decides, and each is shown what both saw:
  tso-probe punch --listen-control 0.0.0.0 --local-port 7000
  tso-probe punch --via peer.example.net --local-port 7000 --sync rtt

Or a rendezvous server, a 'tso-probe serve' that both reach, brings them together. It shows where each \
is seen from; the ports to come are foreseen from that. The first prints a code for the other, whose \
words prove to each who the other is:
  tso-probe punch --rendezvous rendezvous.example.net
  tso-probe punch --rendezvous rendezvous.example.net 7-violin-lagoon

Without root the connection opens just as well, but what happened is only partly seen.

Exit codes: 0 open, 1 not open, 2 could not try.";
