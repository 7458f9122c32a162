//! The placements of two ends among NATs, each tried many times over.

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
use crate::engine::Trouble;
use crate::lab::{self, HostPorts, Meeting, Pair, PairPlan, Timing};
use crate::live::Stop;
use crate::nat::{Behaviour, Device, Hairpinning, Knobs, Nat};
use crate::os::signals::Signals;
use crate::os::{self, entropy, privilege};
use crate::report::{self, Placement};
use crate::sim::Weather;
use crate::tcp::Outcome;
use crate::time::Duration;
use crate::verdict::{Between, judge_punch, outlook};

/// `lab placements`' arguments.
#[derive(Args, Debug)]
pub struct PlacementsArgs {
    /// The modelled NAT that stands in each place: a preset, knobs, or both
    #[arg(value_name = "NAT", default_value = "linux")]
    pub nat: String,
    /// How often each placement is tried
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub trials: u16,
    /// One-way delay between the outermost NATs: 5ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay, default_value = "5ms")]
    pub delay: Duration,
    #[command(flatten)]
    pub manner: Manner,
}

/// Placements to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Placements {
    sites: Vec<Sites>,
    trials: u16,
    delay: Duration,
    seed: Option<u64>,
    form: Form,
    verbosity: u8,
}

/// Where two ends are.
#[derive(Clone, Debug, PartialEq)]
struct Sites {
    name: &'static str,
    a: Option<Nat>,
    b: Option<Nat>,
    shared: Option<Nat>,
}

impl Placements {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they name no NAT, or one that is the kernel's own: its hairpinning is not ours to choose.
    pub fn new(args: &PlacementsArgs) -> Result<Self, Failure> {
        let nat = nat(&args.nat)?;
        let Device::Modelled(row) = &nat.device else {
            let hint = "name a modelled one: 'tso-probe lab list' has them";
            let error =
                format!("'{}' is the kernel's own, and cannot be told to hairpin", nat.name);
            return Err(Failure::new(error, hint));
        };
        let sites = sites(&nat, row)?;
        let (trials, delay) = (args.trials, args.delay);
        let Manner { json, seed, verbose: verbosity, .. } = args.manner;
        Ok(Self { sites, trials, delay, seed, form: Form::new(json), verbosity })
    }
}

impl Placements {
    fn plan(&self, sites: &Sites, seed: u64) -> PairPlan {
        let (a, b, shared) = (sites.a.clone(), sites.b.clone(), sites.shared.clone());
        let weather = Weather { delay: self.delay, ..Weather::default() };
        PairPlan { a, b, shared, weather, seed }
    }
}

/// The placements, with this NAT wherever there is one.
fn sites(nat: &Nat, row: &[Behaviour]) -> Result<Vec<Sites>, Failure> {
    let one = || Some(nat.clone());
    let doubled = Nat {
        name: format!("{} behind {}", nat.name, nat.name),
        device: Device::Modelled([row, row].concat()),
    };
    let turns = Some(turning(nat, row, Hairpinning::ExternalSource)?);
    let does_not = Some(turning(nat, row, Hairpinning::Unsupported)?);
    let at = |name, a, b, shared| Sites { name, a, b, shared };
    Ok(vec![
        at("both public", None, None, None),
        at("one behind a NAT", one(), None, None),
        at("behind different NATs", one(), one(), None),
        at("one behind two NATs", Some(doubled), one(), None),
        at("behind one NAT, which hairpins", None, None, turns.clone()),
        at("behind one NAT, which does not", None, None, does_not.clone()),
        at("nested in one, which hairpins", one(), one(), turns),
        at("nested in one, which does not", one(), one(), does_not),
    ])
}

/// The same NAT, the outermost of its row doing this with packets to its own address: there they
/// turn, if they do.
fn turning(nat: &Nat, row: &[Behaviour], hairpinning: Hairpinning) -> Result<Nat, Failure> {
    let mut row = row.to_vec();
    if let Some(outermost) = row.last_mut() {
        let knobs = Knobs { hairpinning, ..outermost.knobs().clone() };
        *outermost = Behaviour::try_from(knobs).map_err(|impossible| {
            let error = format!("'{}' cannot be told to hairpin or not: {impossible}", nat.name);
            Failure::new(error, "name another NAT: 'tso-probe lab list' has them")
        })?;
    }
    Ok(Nat { name: nat.name.clone(), device: Device::Modelled(row) })
}

/// Tries each placement, and says how often it opened.
///
/// # Errors
/// When the lab cannot be built.
pub fn placements(request: &Placements) -> Result<Exit, Failure> {
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    if !privilege::is_root() {
        privilege::become_root_in_user_namespace()?;
    }
    let signals = Signals::block()?;
    let progress = Progress::new(request.verbosity);
    let mut tried = Vec::new();
    for sites in &request.sites {
        let plan = request.plan(sites, seed);
        let mut placement = expected(sites);
        let again = lab::with_pair(&plan, |pair| {
            try_often(pair, &plan, request.trials, &mut placement, &signals, progress)
        });
        tried.push(placement);
        if !again? {
            let hint = "what was tried before is shown; let it run to its end to know all";
            complain(&Failure::new("interrupted", hint));
            break;
        }
    }
    if tried.len() == request.sites.len() {
        met(request, &mut tried, seed, &signals, progress)?;
    }
    progress.end();
    let as_expected = tried.iter().all(Placement::is_as_expected);
    let is_whole = tried.len() == request.sites.len()
        && tried.iter().all(|one| one.by_proxy.is_some() && one.connecting.is_some());
    show(&match request.form {
        Form::Json => format!("{:#}\n", report::placements_json(&tried)),
        Form::Text => report::placements_text(&tried, Screen::of_stdout().width),
    });
    Ok(match (is_whole, as_expected) {
        (false, _) => Exit::CoreUnknown,
        (true, true) => Exit::Answered,
        (true, false) => Exit::No,
    })
}

/// The placement, not tried yet.
fn expected(sites: &Sites) -> Placement {
    let knobs = |nat: &Option<Nat>| match nat.as_ref().map(|nat| &nat.device) {
        Some(Device::Modelled(row)) => row.iter().map(Behaviour::knobs).cloned().collect(),
        _ => Vec::new(),
    };
    let [a, b, shared] = [&sites.a, &sites.b, &sites.shared].map(knobs);
    let [a, b, shared] = [&a, &b, &shared].map(|row| row.iter().collect());
    Placement::new(sites.name, outlook(&Between { a, b, shared }))
}

/// Lets the ends of each placement meet by a code, with a proxy on each and without. What is interrupted
/// stays open.
fn met(
    request: &Placements,
    tried: &mut [Placement],
    seed: u64,
    signals: &Signals,
    progress: Progress,
) -> os::Result<()> {
    let places = 0..request.sites.len();
    let jobs: Vec<_> = places.flat_map(|place| [(place, true), (place, false)]).collect();
    let work = |&(place, binds): &(usize, bool), stop: Stop<'_>| {
        let sites = &request.sites[place];
        progress.say(&format!("{}, by a code", sites.name));
        let plan = request.plan(sites, seed);
        let hosts = [HostPorts::Sequential; 2];
        let arrangement = Arrangement { hosts, binds, trials: request.trials, attempts: ATTEMPTS };
        lab::with_pair(&plan, |pair| arrangement.meet(pair, &plan, stop))
    };
    let came = lab::at_once(&jobs, AT_ONCE, signals, &work)?;
    for ((place, binds), meetings) in jobs.into_iter().zip(came) {
        let placement = &mut tried[place];
        let kept = if binds { &mut placement.by_proxy } else { &mut placement.connecting };
        *kept = meetings.flatten();
    }
    Ok(())
}

/// True if nobody has interrupted it.
fn try_often(
    pair: &Pair,
    plan: &PairPlan,
    trials: u16,
    placement: &mut Placement,
    signals: &Signals,
    progress: Progress,
) -> os::Result<bool> {
    let patience = 4 * plan.weather.delay + ANSWER;
    let mut ports = Meeting::PORTS;
    for trial in 1..=trials {
        progress.say(&format!("{}: {trial} of {trials}", placement.name));
        let timing = Timing::Skewed(0);
        let meeting = Meeting { timing, patience, tries: None, ports };
        let met = lab::punch(pair, plan, meeting, signals, &mut |_| {})?;
        let verdict = judge_punch(&met.run);
        if verdict.trouble.contains(&Trouble::Interrupted) {
            return Ok(false);
        }
        let opened = verdict.outcome == Outcome::Open && met.carries == Some(true);
        placement.take(opened, verdict.opening);
        ports = ports.map(|port| port + 2);
    }
    Ok(true)
}

/// What `lab placements --help` says at its end.
pub const HELP: &str = "\
Two hosts learn their external endpoints from a server and punch: from every place among NATs that two \
hosts commonly have, each time from a fresh port. What is expected follows from what the NATs do; what \
was opened are connections of the hosts' own TCP, over which both ends have heard each other. Then the \
same two meet by a code at a rendezvous server: with a proxy on each, which binds a port, and without, on \
hosts that choose ports by one counter as old Windows does. It takes some five minutes.

  sudo tso-probe lab placements
  sudo tso-probe lab placements mapping=apdm,ports=random,filtering=apdf

Exit codes: 0 all as expected, 1 not all, 2 the lab could not be built, 3 interrupted.";

/// How many attempts a meeting has.
const ATTEMPTS: u32 = 2;

/// For an answer, beyond the ways of packets, and for a second attempt.
const ANSWER: Duration = Duration::from_millis(600);
