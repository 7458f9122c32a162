//! What is asked for, validated: everything that can be wrong with arguments is found here, before
//! anything is done.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use super::analyze::Analyze;
use super::args::{
    ClassifyArgs, Command, CommandLine, DoctorArgs, LabCommand, ShellArgs, StunArgs,
};
use super::config::{self, Config, REFLECTOR, Surroundings};
use super::failure::Failure;
use super::lab_run::LabRun;
use super::os_table::OsTableArgs;
use super::placements::Placements;
use super::ports::Ports;
use super::proxy::ProxyArgs;
use super::punch::Punch;
pub use super::serve::Serve;
use super::timing::CrossingWindows;
use crate::engine::Effort;
use crate::time::Duration;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Classify a NAT.
    Classify(Classify),
    /// Print the schema of `classify`'s JSON.
    ClassifySchema,
    /// Ask STUN servers.
    Stun(Stun),
    /// Print the schema of `stun`'s JSON.
    StunSchema,
    /// Open a connection with a peer.
    Punch(Box<Punch>),
    /// Print the schema of `punch`'s JSON.
    PunchSchema,
    /// Measure crossing windows.
    CrossingWindows(CrossingWindows),
    /// Print the schema of `timing`'s JSON.
    TimingSchema,
    /// Look at this machine.
    Doctor(Doctor),
    /// Print the schema of `doctor`'s JSON.
    DoctorSchema,
    /// Let hosts of all kinds meet.
    LabOsTable(OsTableArgs),
    /// Print the schema of `lab os-table`'s JSON.
    LabOsTableSchema,
    /// Be a proxy.
    Proxy(Box<ProxyArgs>),
    /// Be a reflector.
    Serve(Serve),
    /// Let two hosts of the lab punch.
    LabRun(Box<LabRun>),
    /// Print the schema of `lab run`'s JSON.
    LabRunSchema,
    /// Explain captures.
    Analyze(Analyze),
    /// Print the schema of `analyze`'s JSON.
    AnalyzeSchema,
    /// Tell by which rules ports are chosen.
    Ports(Ports),
    /// Print the schema of `ports`' JSON.
    PortsSchema,
    /// Try the placements of two hosts of the lab.
    LabPlacements(Placements),
    /// Print the schema of `lab placements`' JSON.
    LabPlacementsSchema,
    /// List the NATs that have a name.
    LabList(Form),
    /// Run a program behind a NAT.
    LabShell(Shell),
    /// Print a completion script.
    Completions(clap_complete::Shell),
    /// Print the manual page of this command, or of them all together.
    Man(Option<String>),
}

/// A NAT to classify.
#[derive(Clone, Debug, PartialEq)]
pub struct Classify {
    /// Where the NAT is.
    pub source: Source,
    /// With how much patience.
    pub effort: Effort,
    /// What randomness to draw from, if that is laid down.
    pub seed: Option<u64>,
    /// What becomes of the answer.
    pub output: Output,
}

/// Where a NAT is, or was.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Between this host and these reflectors.
    Live {
        /// One, two, or none if none is known: then what is known locally is all there is to say.
        reflectors: Vec<Host>,
        /// Another address of this host behind the same NAT.
        second_internal: Option<IpAddr>,
    },
    /// Between this host and these STUN servers.
    Stun(Vec<Host>),
    /// On this machine, with real packets.
    Lab(Modelled),
    /// Simulated.
    Sim(Modelled),
    /// In an evidence file.
    File(PathBuf),
}

/// A NAT by its description, and the path through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modelled {
    /// As `nat::Nat` reads it.
    pub nat: String,
    /// The path's one-way delay, if that is laid down.
    pub delay: Option<Duration>,
}

/// What becomes of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// How it is shown.
    pub form: Form,
    /// Where the evidence goes, if it is to be kept.
    pub evidence: Option<PathBuf>,
    /// Whether addresses are replaced.
    pub mask: bool,
    /// How much is said on the way; zero is the least.
    pub verbosity: u8,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As tables and prose.
    #[default]
    Text,
    /// As JSON.
    Json,
}

/// A host by name or address, and the port of its control connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name or address, without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// A STUN server by name or address, and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StunHost(pub Host);

/// Where a peer listens to agree on a punch, by name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlHost(pub Host);

/// A rendezvous server by name or address, and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RendezvousHost(pub Host);

/// A peer by name or address, and its port, which has no default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PunchHost(pub Host);

/// A peer by name or address, and its port if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Towards {
    /// Its name or address, without brackets.
    pub name: String,
    /// The port.
    pub port: Option<u16>,
}

/// A machine to look at: this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// The peer, if one is in mind.
    pub towards: Option<Towards>,
    /// The local ports to be used, if they are laid down.
    pub local_ports: Vec<u16>,
    /// How the answer is shown.
    pub form: Form,
}

/// STUN servers to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stun {
    /// The servers.
    pub servers: Vec<Host>,
    /// The local port, if it is laid down.
    pub local_port: Option<u16>,
    /// How long each may take.
    pub timeout: Duration,
    /// Whether connections are kept until the caller is done.
    pub hold: bool,
    /// Whether IPv4, or IPv6, is the one family to use.
    pub family: Option<Family>,
    /// What randomness to draw from, if that is laid down.
    pub seed: Option<u64>,
    /// How the answer is shown.
    pub form: Form,
    /// How much is said on the way; zero is the least.
    pub verbosity: u8,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A program to run behind a NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// The NAT, and the path between it and the server.
    pub modelled: Modelled,
    /// What randomness to draw from, if that is laid down.
    pub seed: Option<u64>,
    /// The program and its arguments; none for the user's shell.
    pub command: Vec<OsString>,
}

impl Request {
    /// What the command line asks for, given the surroundings.
    ///
    /// # Errors
    /// If it makes no sense, or a configuration that it needs is broken.
    pub fn new(line: CommandLine, surroundings: &Surroundings) -> Result<Self, Failure> {
        Ok(match line.command {
            Command::Classify(args) if args.json_schema => Self::ClassifySchema,
            Command::Classify(args) => Self::Classify(Classify::new(*args, surroundings)?),
            Command::Stun(args) if args.json_schema => Self::StunSchema,
            Command::Stun(args) => Self::Stun(Stun::new(args)),
            Command::Punch(args) if args.json_schema => Self::PunchSchema,
            Command::Punch(args) => Self::Punch(Box::new(Punch::new(*args)?)),
            Command::Timing(args) if args.manner.json_schema => Self::TimingSchema,
            Command::Timing(args) => Self::CrossingWindows(CrossingWindows::new(args)?),
            Command::Analyze(args) if args.json_schema => Self::AnalyzeSchema,
            Command::Analyze(args) => Self::Analyze(Analyze::new(args)),
            Command::Ports(args) if args.json_schema => Self::PortsSchema,
            Command::Ports(args) => Self::Ports(Ports::new(args)?),
            Command::Doctor(args) if args.json_schema => Self::DoctorSchema,
            Command::Doctor(args) => Self::Doctor(Doctor::new(args)),
            Command::Proxy(args) => Self::Proxy(args),
            Command::Serve(args) => Self::Serve(Serve::new(&args)?),
            Command::Lab(LabCommand::List { json }) => Self::LabList(Form::new(json)),
            Command::Lab(LabCommand::Run(args)) if args.json_schema => Self::LabRunSchema,
            Command::Lab(LabCommand::Run(args)) => Self::LabRun(Box::new(LabRun::new(*args)?)),
            Command::Lab(LabCommand::Placements(args)) if args.manner.json_schema => {
                Self::LabPlacementsSchema
            }
            Command::Lab(LabCommand::Placements(args)) => {
                Self::LabPlacements(Placements::new(&args)?)
            }
            Command::Lab(LabCommand::OsTable(args)) if args.manner.json_schema => {
                Self::LabOsTableSchema
            }
            Command::Lab(LabCommand::OsTable(args)) => Self::LabOsTable(args),
            Command::Lab(LabCommand::Shell(args)) => Self::LabShell(Shell::new(args)),
            Command::Completions { shell } => Self::Completions(shell),
            Command::Man { command } => Self::Man(command),
        })
    }
}

impl Classify {
    fn new(args: ClassifyArgs, surroundings: &Surroundings) -> Result<Self, Failure> {
        let effort = match (args.quick, args.full) {
            (true, _) => Effort::Quick,
            (_, true) => Effort::Full,
            _ => Effort::Default,
        };
        let output = Output {
            form: Form::new(args.json),
            evidence: args.evidence.clone(),
            mask: args.mask,
            verbosity: args.verbose,
        };
        Ok(Self { effort, seed: args.seed, output, source: Source::new(args, surroundings)? })
    }
}

impl Source {
    fn new(args: ClassifyArgs, surroundings: &Surroundings) -> Result<Self, Failure> {
        let delay = args.delay;
        if !args.stun.is_empty() {
            return Ok(Self::Stun(args.stun.into_iter().map(|StunHost(host)| host).collect()));
        }
        match (args.lab, args.sim, args.from) {
            (Some(nat), ..) => Ok(Self::Lab(Modelled { nat, delay })),
            (_, Some(nat), _) => Ok(Self::Sim(Modelled { nat, delay })),
            (_, _, Some(file)) => Ok(Self::File(file)),
            _ if delay.is_some() => {
                Err(Failure::new("--delay is for a NAT on this machine", "add --lab or --sim NAT"))
            }
            _ => Self::live(args.reflector, args.second_internal, args.config, surroundings),
        }
    }

    /// Arguments go before `--config`, that before the environment, that before the files that are
    /// looked for.
    fn live(
        given: Vec<Host>,
        second_internal: Option<IpAddr>,
        file: Option<PathBuf>,
        surroundings: &Surroundings,
    ) -> Result<Self, Failure> {
        let named = file.as_deref().map(config::read).transpose()?;
        let Config { reflector: in_environment, .. } = of_environment(surroundings);
        let found = match &named {
            Some(config) => config.clone(),
            None => surroundings.config()?,
        };
        let of_config = match named {
            Some(config) if !config.reflector.is_empty() => config.reflector,
            _ if !in_environment.is_empty() => in_environment,
            _ => found.reflector,
        };
        let reflectors = if given.is_empty() { hosts(&of_config)? } else { given };
        if reflectors.len() > 2 {
            return Err(Failure::new(
                format!("{} reflectors were given", reflectors.len()),
                "give one, or two that serve as two addresses",
            ));
        }
        Ok(Self::Live { reflectors, second_internal: second_internal.or(found.second_internal) })
    }
}

fn of_environment(surroundings: &Surroundings) -> Config {
    let names = surroundings.reflector.as_deref().unwrap_or_default().split(',');
    let names = names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    Config { reflector: names.collect(), second_internal: None }
}

fn hosts(names: &[String]) -> Result<Vec<Host>, Failure> {
    let host = |name: &String| {
        name.parse().map_err(|why: String| {
            let hint = format!("mend it in the configuration file or in {REFLECTOR}");
            Failure::new(format!("the reflector '{name}' is none: {why}"), hint)
        })
    };
    names.iter().map(host).collect()
}

impl Stun {
    fn new(args: StunArgs) -> Self {
        let family = match (args.ipv4, args.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        };
        Self {
            servers: args.servers.into_iter().map(|StunHost(host)| host).collect(),
            local_port: args.local_port,
            timeout: args.timeout,
            hold: args.hold,
            family,
            seed: args.seed,
            form: Form::new(args.json),
            verbosity: args.verbose,
        }
    }
}

impl Doctor {
    fn new(args: DoctorArgs) -> Self {
        let DoctorArgs { towards, local_ports, json, .. } = args;
        Self { towards, local_ports, form: Form::new(json) }
    }
}

impl Shell {
    fn new(args: ShellArgs) -> Self {
        let ShellArgs { nat, delay, seed, command } = args;
        Self { modelled: Modelled { nat, delay }, seed, command }
    }
}

impl Form {
    /// JSON, if that is asked for.
    pub const fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}
