//! The command line as it is typed; [`super::request`] makes sense of it.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::analyze::AnalyzeArgs;
use super::lab_run::LabRunArgs;
use super::os_table::OsTableArgs;
use super::parse::{Listen, parse_count, parse_delay, parse_ports, parse_wait};
use super::placements::PlacementsArgs;
use super::ports::PortsArgs;
use super::proxy::ProxyArgs;
use super::punch::PunchArgs;
use super::request::{Host, StunHost, Towards};
use super::timing::TimingArgs;
use crate::rendezvous::{CONTROL_PORT, PROBE_PORTS, RENDEZVOUS_PORTS, STUN_PORTS};
use crate::time::Duration;

/// Tells how a NAT treats TCP (RFC 5382), with packets as proof.
#[derive(Debug, Parser)]
#[command(name = "tso-probe", version, arg_required_else_help = true, max_term_width = 100)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Classify the NAT's TCP behaviour
    #[command(after_help = CLASSIFY_HELP)]
    Classify(Box<ClassifyArgs>),
    /// Ask STUN servers for this host's external endpoint, over TCP
    #[command(after_help = STUN_HELP)]
    Stun(StunArgs),
    /// Open a connection with a peer by a simultaneous open, and show what happened
    #[command(after_help = super::punch::HELP)]
    Punch(Box<PunchArgs>),
    /// Measure timing windows
    #[command(after_help = super::timing::HELP)]
    Timing(TimingArgs),
    /// Explain captures: who opened how, and why a punch failed
    #[command(after_help = super::analyze::HELP)]
    Analyze(AnalyzeArgs),
    /// Tell by which rules this host and its NAT choose ports, and which come next
    #[command(after_help = super::ports::HELP)]
    Ports(PortsArgs),
    /// Tell what on this machine would spoil a measurement or a punch, and how to mend it
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Let programs that can only connect reach a peer, and peers a service here
    #[command(after_help = super::proxy::HELP)]
    Proxy(Box<ProxyArgs>),
    /// Be the reflector that others classify their NATs with
    Serve(ServeArgs),
    /// NATs on this machine
    #[command(subcommand)]
    Lab(LabCommand),
    /// Print a completion script for a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Print a manual page
    Man {
        /// Of which command; without one, of tso-probe
        command: Option<String>,
    },
}

/// `classify`'s arguments.
#[derive(Args, Debug)]
pub struct ClassifyArgs {
    /// Against this reflector (a 'tso-probe serve'); twice for two hosts as its two addresses
    #[arg(long, value_name = "HOST[:PORT]", group = "source")]
    pub reflector: Vec<Host>,
    /// What STUN servers over TCP can tell: the mapping; without root
    #[arg(long, value_name = "HOST[:PORT]", group = "source", num_args = 1..)]
    pub stun: Vec<StunHost>,
    /// Through a NAT on this machine, with real packets
    #[arg(long, value_name = "NAT", group = "source", num_args = 0..=1)]
    #[arg(default_missing_value = LAB_NAT)]
    pub lab: Option<String>,
    /// Through a simulated NAT: virtual time, no privileges, instant
    #[arg(long, value_name = "NAT", group = "source")]
    pub sim: Option<String>,
    /// Judge an evidence file again
    #[arg(long, value_name = "FILE", group = "source")]
    pub from: Option<PathBuf>,
    /// Another address of this host behind the same NAT, to provoke port clashes with
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["stun", "lab", "sim", "from"])]
    pub second_internal: Option<IpAddr>,
    /// Take the reflector from this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stun", "lab", "sim", "from"])]
    pub config: Option<PathBuf>,
    /// One-way delay of the lab's or the simulation's path: 50ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay)]
    #[arg(conflicts_with_all = ["reflector", "stun", "from", "config"])]
    pub delay: Option<Duration>,
    /// Less patience: error bound 10⁻⁶, and no wait for REQ-4's 6 seconds
    #[arg(long, conflicts_with_all = ["full", "stun", "from"])]
    pub quick: bool,
    /// More patience with a lossy path
    #[arg(long, conflicts_with_all = ["stun", "from"])]
    pub full: bool,
    /// Draw ports and sequence numbers from this seed
    #[arg(long, value_name = "N", conflicts_with = "from")]
    pub seed: Option<u64>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Print the schema of the JSON and do nothing else
    #[arg(long)]
    pub json_schema: bool,
    /// Write packets and facts to this file, which Wireshark opens and --from reads
    #[arg(long, value_name = "FILE.pcapng")]
    pub evidence: Option<PathBuf>,
    /// Replace addresses consistently, in the answer and in the evidence
    #[arg(long)]
    pub mask: bool,
    /// Say on stderr what goes on, a line each
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `stun`'s arguments.
#[derive(Args, Debug)]
pub struct StunArgs {
    /// STUN servers; several see one local port at once
    #[arg(value_name = "HOST[:PORT]", required_unless_present = "json_schema")]
    pub servers: Vec<StunHost>,
    /// Connect from this port, that of the punch to come [default: a free one at random]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub local_port: Option<u16>,
    /// How long a server may take, connection included: 800ms, 5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay, default_value = "10s")]
    pub timeout: Duration,
    /// Keep connections, and so the mapping, until Ctrl-C or until stdin, if a pipe, is closed
    #[arg(long)]
    pub hold: bool,
    /// Take servers' IPv4 addresses alone
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Take servers' IPv6 addresses alone
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Draw ports and transactions from this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Print the schema of the JSON and do nothing else
    #[arg(long)]
    pub json_schema: bool,
    /// Say on stderr what goes on, a line each
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `doctor`'s arguments.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The peer, or the reflector [default: anywhere in the Internet]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub towards: Option<Towards>,
    /// Ports that a punch is to leave from; may be given several times, or with commas between
    #[arg(long = "local-port", value_name = "PORT", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub local_ports: Vec<u16>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Print the schema of the JSON and do nothing else
    #[arg(long)]
    pub json_schema: bool,
}

/// `serve`'s arguments.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The address to serve on, and the port for control connections
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub listen: Option<Listen>,
    /// A second address of this host, which makes address-dependence visible
    #[arg(long, value_name = "ADDR")]
    pub alternate: Option<IpAddr>,
    #[arg(long, value_name = "PORT", help = format!("The port for control connections [default: {CONTROL_PORT}]"))]
    pub control_port: Option<u16>,
    #[arg(long, value_name = "A,B", value_parser = parse_ports)]
    #[arg(help = format!("The two ports for probes [default: {},{}]", PROBE_PORTS[0], PROBE_PORTS[1]))]
    pub probe_ports: Option<[u16; 2]>,
    #[arg(long, value_name = "A,B", value_parser = parse_ports)]
    #[arg(help = format!("The two ports for STUN [default: {},{}]", STUN_PORTS[0], STUN_PORTS[1]))]
    pub stun_ports: Option<[u16; 2]>,
    #[arg(long, value_name = "A,B", value_parser = parse_ports)]
    #[arg(help = format!("The two ports for rendezvous [default: {},{}]", RENDEZVOUS_PORTS[0], RENDEZVOUS_PORTS[1]))]
    pub rendezvous_ports: Option<[u16; 2]>,
    /// Serve rendezvous alone: no reflector, no STUN, no privilege
    #[arg(long, conflicts_with_all = ["control_port", "probe_ports", "stun_ports"])]
    pub rendezvous_only: bool,
    /// Speak TLS for rendezvous, with this certificate and those that vouch for it
    #[arg(long, value_name = "FILE.pem", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key
    #[arg(long, value_name = "FILE.pem", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// At most so many connections for rendezvous at once [default: 20000]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_clients: Option<usize>,
    /// At most so many connections and rooms of one address or IPv6 /64 at once [default: 256 and 64]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_per_address: Option<usize>,
    /// At most so many attempts a minute to enter rooms from one address or IPv6 /64, but for those that were
    /// welcome [default: 30]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_joins: Option<usize>,
    /// How long somebody may wait for a peer: 10m, 1h [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    pub max_wait: Option<Duration>,
    /// How often to say on stderr how busy it is: 10s, 1h [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    pub status_every: Option<Duration>,
    /// Say on stderr what goes on, a line each
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How a command that tries much goes about it and answers.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Print the schema of the JSON and do nothing else
    #[arg(long)]
    pub json_schema: bool,
    /// Draw randomness from this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Say on stderr what goes on, a line each
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `lab`'s commands.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// List the NATs that have a name
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Let two hosts punch through two NATs, with real packets, and show what happened
    #[command(after_help = super::lab_run::HELP)]
    Run(Box<LabRunArgs>),
    /// Try where two hosts may be among NATs, with real packets: expected beside opened
    #[command(after_help = super::placements::HELP)]
    Placements(PlacementsArgs),
    /// Let hosts that choose ports in different ways meet, each with each: opened beside foreseen
    #[command(after_help = super::os_table::HELP)]
    OsTable(OsTableArgs),
    /// Run a shell, or any program, on a host behind a NAT
    #[command(after_help = SHELL_HELP)]
    Shell(ShellArgs),
}

/// `lab shell`'s arguments.
#[derive(Args, Debug)]
pub struct ShellArgs {
    /// The NAT that the host is behind
    #[arg(value_name = "NAT", default_value = LAB_NAT)]
    pub nat: String,
    /// One-way delay between the NAT and the server: 50ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay)]
    pub delay: Option<Duration>,
    /// Draw the NAT's ports from this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The program to run, with its arguments [default: $SHELL, else /bin/sh]
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<OsString>,
}

/// The NAT of a bare `--lab`: the one that most homes have, as the kernel does it.
const LAB_NAT: &str = "openwrt-kernel";

const CLASSIFY_HELP: &str = "\
NAT is a preset ('tso-probe lab list'), knobs (mapping=apdm,filtering=adf), or both (openwrt,hold=6s).

Without a source, the reflector is that of --config, of TSO_PROBE_REFLECTOR, of \
~/.config/tso-probe.toml or of /etc/tso-probe.toml, whichever comes first:
  reflector = [\"reflector.example.net\"]
  second_internal = \"192.0.2.7\"

STUN servers are no reflectors: with --stun all but the mapping is unknown, the exit code 3 at best, and \
the mapping takes a server with two addresses (RFC 5780), or two servers that see the same.

Exit codes: 0 answered, 2 could not ask, 3 asked, but a core finding is unknown.";

const STUN_HELP: &str = "\
All connections lead from one local port and stay open until every answer is in. A server that names a \
second address (RFC 5780) is asked at all four of its endpoints, which tells the mapping class.

A mapping lasts as long as a connection holds it: with --hold that is until you are done, and a punch \
from the same port finds it there:
  tso-probe stun --hold --local-port 5000 stun.example.net

Exit codes: 0 a server named our external endpoint, 2 none did.";

const SHELL_HELP: &str = "\
NAT is a preset ('tso-probe lab list'), knobs (mapping=apdm,filtering=adf), or both (openwrt,hold=6s).

The host can reach one other, the server, which is a reflector and a STUN server. Only TCP over IPv4 \
passes. In the program's environment:
  TSO_PROBE_INTERNAL   the host's address
  TSO_PROBE_EXTERNAL   the NAT's
  TSO_PROBE_SERVER     the server's
  TSO_PROBE_ON_SERVER  a command that runs another one on the server
  TSO_PROBE_REFLECTOR  the server's too, so that 'tso-probe classify' asks it

  tso-probe lab shell openwrt --delay 50ms
  tso-probe lab shell linux -- sh -c 'tso-probe stun $TSO_PROBE_SERVER'

Exit codes: the program's, 128 and a signal's number if that ended it, 2 it could not be run.";

const DOCTOR_HELP: &str = "\
No privilege is needed, nothing is changed and nothing is sent. What cannot be seen without privilege is \
unknown, and says so.

Exit codes: 0 nothing fails, though there may be warnings, 1 something fails, 2 could not ask.";
