//! Which ports this host and its NAT choose, and which come next.

use clap::Args;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::{complain, show, told};
use super::parse::parse_delay;
use super::request::{Form, Host, PunchHost, StunHost};
use super::run::{behaviours, first_of, nat};
use super::screen::{Progress, Screen};
use crate::engine::{Fact, Run};
use crate::lab::{self, SinglePlan};
use crate::nat::{Behaviour, Nat};
use crate::os::signals::Signals;
use crate::os::{entropy, privilege};
use crate::probe::SurveySetting;
use crate::report;
use crate::sim::{self, StunLayout, Weather};
use crate::time::Duration;
use crate::verdict::judge_ports;

/// `ports`' arguments.
#[derive(Args, Debug)]
#[command(override_usage = "\
tso-probe ports --stun HOST[:PORT]... [OPTIONS]
       tso-probe ports --lab [NAT] [OPTIONS]
       tso-probe ports --sim NAT [OPTIONS]")]
pub struct PortsArgs {
    /// STUN servers over TCP, asked in turn: a 'tso-probe serve' is one
    #[arg(long, visible_alias = "reflector", value_name = "HOST[:PORT]", num_args = 1.., group = "source")]
    #[arg(required_unless_present_any = ["lab", "sim", "json_schema"])]
    pub stun: Vec<StunHost>,
    /// On this machine: a host of the lab behind this NAT, with real packets
    #[arg(long, value_name = "NAT", num_args = 0..=1, group = "source")]
    #[arg(default_missing_value = "openwrt-kernel")]
    pub lab: Option<String>,
    /// Simulated, on virtual time: a host that counts on by one, behind this NAT
    #[arg(long, value_name = "NAT", group = "source")]
    pub sim: Option<String>,
    /// How often each server is asked; one with two addresses (RFC 5780) shows four flows each time
    #[arg(long, value_name = "N", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    pub rounds: u32,
    /// Whom the next flow goes to [default: the first server]
    #[arg(long, value_name = "ADDR:PORT")]
    pub to: Option<PunchHost>,
    /// One-way delay of the lab's or the simulation's path: 50ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay, conflicts_with = "stun")]
    pub delay: Option<Duration>,
    /// Draw transactions, and the lab's randomness, from this seed
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

/// Ports to survey.
#[derive(Clone, Debug, PartialEq)]
pub struct Ports {
    source: Source,
    rounds: u32,
    to: Option<Host>,
    seed: Option<u64>,
    form: Form,
    verbosity: u8,
}

/// Where the host is.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Here.
    Stun(Vec<Host>),
    /// In the lab, behind this, on a path with this delay.
    Lab(Nat, Duration),
    /// On virtual time, the same.
    Sim(Vec<Behaviour>, Duration),
}

impl Ports {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they name no NAT.
    pub fn new(args: PortsArgs) -> Result<Self, Failure> {
        let delay = args.delay.unwrap_or(DELAY);
        let source = match (&args.lab, &args.sim) {
            (Some(name), _) => Source::Lab(nat(name)?, delay),
            (None, Some(name)) => Source::Sim(behaviours(name)?, delay),
            (None, None) => {
                Source::Stun(args.stun.into_iter().map(|StunHost(host)| host).collect())
            }
        };
        let (rounds, seed, form, verbosity) =
            (args.rounds, args.seed, Form::new(args.json), args.verbose);
        let to = args.to.map(|PunchHost(host)| host);
        Ok(Self { source, rounds, to, seed, form, verbosity })
    }
}

/// Surveys them, and says by which rule they are chosen.
///
/// # Errors
/// When no server can be asked, or the lab cannot be built.
pub fn ports(request: &Ports) -> Result<Exit, Failure> {
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    let to = request.to.as_ref().map(|host| first_of(host, "peer")).transpose()?;
    let progress = Progress::new(request.verbosity);
    let mut watch = |fact: &Fact| report::progress(fact).iter().for_each(|what| progress.say(what));
    let run = surveyed(request, seed, &mut watch);
    progress.end();
    let verdict = judge_ports(&run?, to);
    match request.form {
        Form::Json => show(&format!("{:#}\n", report::ports_json(&verdict))),
        Form::Text if verdict.flows.is_empty() => {}
        Form::Text => show(&report::ports_text(&verdict, Screen::of_stdout().width)),
    }
    told(&verdict.troubles, &verdict.trouble).iter().for_each(complain);
    match (verdict.next.is_some(), verdict.trouble.is_empty()) {
        (true, true) => Ok(Exit::Answered),
        (true, false) => Ok(Exit::CoreUnknown),
        (false, false) => Ok(Exit::CouldNotAsk),
        (false, true) => {
            let hint = "'tso-probe stun' with the same servers says what is wrong with them";
            Err(Failure::new("no server named our external endpoint", hint))
        }
    }
}

fn surveyed(
    request: &Ports,
    seed: u64,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> Result<Run, Failure> {
    match &request.source {
        Source::Stun(hosts) => {
            let servers = hosts.iter().map(|host| first_of(host, "server"));
            let servers = servers.collect::<Result<_, _>>()?;
            let setting =
                SurveySetting { servers, rounds: request.rounds, patience: PATIENCE, seed };
            Ok(crate::live::survey(setting, &Signals::block()?, watch)?)
        }
        Source::Sim(nats, delay) => {
            let weather = [Weather { delay: *delay, ..Weather::default() }; 2];
            let layout = StunLayout { two_addresses: true, patience: PATIENCE, weather, seed };
            Ok(sim::survey(nats, &layout, request.rounds))
        }
        Source::Lab(nat, delay) => {
            if !privilege::is_root() {
                privilege::become_root_in_user_namespace()?;
            }
            let weather = Weather { delay: *delay, ..Weather::default() };
            let plan = SinglePlan { nat: Some(nat.clone()), weather, seed };
            Ok(lab::survey(&plan, request.rounds, &Signals::block()?, watch)?)
        }
    }
}

/// What `ports --help` says at its end.
pub const HELP: &str = "\
A program that connects and does not bind has the port that its host chooses, and outside the one that \
its NAT makes of it. Flow after flow shows by which rules these are chosen, how sure that is, and which \
port the next flow will be seen from: where a peer has to aim.

  tso-probe ports --stun stun.example.net
  sudo tso-probe ports --lab sequential
  tso-probe ports --sim mapping=apdm,ports=sequential-4

Exit codes: 0 answered, 2 no flow was seen, 3 answered in part, since it was interrupted.";

const DELAY: Duration = Duration::from_millis(5);

/// How long a server may take, connection included.
const PATIENCE: Duration = Duration::from_secs(10);
