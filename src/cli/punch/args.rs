//! `punch`'s arguments, and what they ask for.

use std::path::PathBuf;

use clap::Args;

use super::super::evidence;
use super::super::failure::Failure;
use super::super::parse::parse_delay;
use super::super::request::{Form, Host, PunchHost};
use super::moment::Moment;
use crate::time::Duration;

/// `punch`'s arguments.
#[derive(Args, Debug)]
pub struct PunchArgs {
    /// The peer's endpoint as it is reached from here: what 'tso-probe stun' told the peer
    #[arg(long, value_name = "ADDR:PORT", required_unless_present = "json_schema")]
    pub peer: Option<PunchHost>,
    /// Connect from this port and listen on it: the one that the peer aims at
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(required_unless_present = "json_schema")]
    pub local_port: Option<u16>,
    /// When the SYN is to leave, the same at both ends: next-minute, +3s, 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "next-minute")]
    pub at: Moment,
    /// How long to try from then on
    #[arg(long, value_name = "TIME", value_parser = parse_delay, default_value = "10s")]
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

/// A connection to open with a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Punch {
    /// The peer.
    pub peer: Host,
    /// The local port.
    pub local_port: u16,
    /// When the first SYN is to leave.
    pub at: Moment,
    /// How long to try.
    pub timeout: Duration,
    /// What becomes of the connection.
    pub then: Then,
    /// What randomness to draw from, if that is laid down.
    pub seed: Option<u64>,
    /// What becomes of the answer.
    pub output: PunchOutput,
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

impl Punch {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they leave out what it takes.
    pub fn new(args: PunchArgs) -> Result<Self, Failure> {
        let (Some(PunchHost(peer)), Some(local_port)) = (args.peer, args.local_port) else {
            let hint = "give --peer ADDR:PORT and --local-port PORT";
            return Err(Failure::new("it takes a peer and a local port", hint));
        };
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
        let (at, timeout, seed) = (args.at, args.timeout, args.seed);
        Ok(Self { peer, local_port, at, timeout, then, seed, output })
    }
}

/// What `punch --help` says at its end.
pub const HELP: &str = "\
Both ends run it with each other's external endpoint and the same TIME; no server takes part.
Without root the connection opens just as well, but what happened is only partly seen.

Exit codes: 0 open, 1 not open, 2 could not try.";
