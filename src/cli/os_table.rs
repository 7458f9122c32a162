//! Hosts that choose ports in different ways, each with each, meeting many times over.

use clap::Args;

use super::args::Manner;
use super::exit::Exit;
use super::failure::Failure;
use super::finish::{complain, show};
use super::meetings::{AT_ONCE, Arrangement};
use super::parse::parse_delay;
use super::request::Form;
use super::run::nat;
use super::screen::{Progress, Screen};
use crate::lab::{self, HostPorts, PairPlan};
use crate::live::Stop;
use crate::nat::Nat;
use crate::os::signals::Signals;
use crate::os::{self, entropy, privilege};
use crate::report::{self, HostPair};
use crate::sim::Weather;
use crate::time::Duration;

/// `lab os-table`'s arguments.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OsTableArgs {
    /// The NAT that each host is behind: a preset, knobs, or both
    #[arg(value_name = "NAT", default_value = "linux")]
    pub nat: String,
    /// How often each pair meets
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub trials: u16,
    /// How many attempts a meeting has
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts: u32,
    /// One-way delay between the NATs: 5ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay, default_value = "5ms")]
    pub delay: Duration,
    #[command(flatten)]
    pub manner: Manner,
}

/// Two hosts that are to meet.
struct Job {
    hosts: [HostPorts; 2],
    proxy: bool,
    seed: u64,
}

/// Lets each pair meet, and says how often a connection opened.
///
/// # Errors
/// When the lab cannot be built.
pub fn os_table(args: &OsTableArgs) -> Result<Exit, Failure> {
    let nat = nat(&args.nat)?;
    let seed = args.manner.seed.map_or_else(entropy::seed, Ok)?;
    if !privilege::is_root() {
        privilege::become_root_in_user_namespace()?;
    }
    let signals = Signals::block()?;
    let progress = Progress::new(args.manner.verbose);
    let jobs = jobs(seed);
    let work = |job: &Job, stop: Stop<'_>| {
        progress.say(&format!("{} and {}", job.hosts[0].name(), job.hosts[1].name()));
        met(args, &nat, job, stop)
    };
    let tried = lab::at_once(&jobs, AT_ONCE, &signals, &work);
    progress.end();
    let pairs: Vec<_> = tried?.into_iter().flatten().flatten().collect();
    show(&match Form::new(args.manner.json) {
        Form::Json => format!("{:#}\n", report::os_table_json(&pairs)),
        Form::Text => report::os_table_text(&pairs, Screen::of_stdout().width),
    });
    if pairs.len() < jobs.len() {
        let hint = "the pairs that had met are shown; let it run to its end to know all";
        complain(&Failure::new("interrupted", hint));
        return Ok(Exit::CoreUnknown);
    }
    Ok(Exit::Answered)
}

/// Each pair once, without the proxy and with it.
fn jobs(seed: u64) -> Vec<Job> {
    let all = HostPorts::ALL;
    let pairs = (0..all.len()).flat_map(|a| (a..all.len()).map(move |b| [all[a], all[b]]));
    let both =
        [false, true].into_iter().flat_map(|proxy| pairs.clone().map(move |pair| (pair, proxy)));
    let number = (1_u64..).zip(both);
    number
        .map(|(n, (hosts, proxy))| Job { hosts, proxy, seed: seed.wrapping_add(n << 32) })
        .collect()
}

/// None if it was interrupted.
fn met(args: &OsTableArgs, nat: &Nat, job: &Job, stop: Stop<'_>) -> os::Result<Option<HostPair>> {
    let Job { hosts, proxy, seed } = *job;
    let weather = Weather { delay: args.delay, ..Weather::default() };
    let plan = PairPlan { a: Some(nat.clone()), b: Some(nat.clone()), shared: None, weather, seed };
    let (trials, attempts) = (args.trials, args.attempts);
    let arrangement = Arrangement { hosts, binds: proxy, trials, attempts };
    let met = lab::with_pair(&plan, |pair| arrangement.meet(pair, &plan, stop))?;
    let hosts = hosts.map(|host| host.name().to_owned());
    Ok(met.map(|meetings| HostPair { hosts, proxy, meetings }))
}

/// What `lab os-table --help` says at its end.
pub const HELP: &str = "\
Hosts differ in how they choose the port of a program that connects and does not bind. Each kind meets \
each, both behind the NAT, at a rendezvous server that shows where they are seen from: first as they \
are, then with a proxy on each that binds. This kernel's own choice is real, the others are bound as they \
would be chosen, on the busy host beside five ports a second of others; all that is opened are connections \
of this kernel's TCP, over which both ends have heard each other. Beside how often one opened stands how \
often that was foreseen: the chances told before each attempt, added up. It takes some minutes.

  sudo tso-probe lab os-table
  sudo tso-probe lab os-table openwrt --trials 5

Exit codes: 0 answered, 2 the lab could not be built, 3 interrupted.";
