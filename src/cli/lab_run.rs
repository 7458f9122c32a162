//! Two hosts of the lab punch through two NATs.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::{complain, show};
use super::parse::parse_delay;
use super::punch::{PunchOutput, SyncBy, keep};
use super::request::Form;
use super::run::{LAB_DELAY, nat};
use super::screen::{Progress, Screen};
use crate::capture::Evidence;
use crate::engine::Fact;
use crate::lab::{self, Meeting, PairPlan, Timing};
use crate::nat::Nat;
use crate::os::signals::Signals;
use crate::os::{clock, entropy, privilege};
use crate::report;
use crate::sim::Weather;
use crate::tcp::Outcome;
use crate::time::Duration;
use crate::verdict::judge_punch;

/// `lab run`'s arguments.
#[derive(Args, Debug)]
pub struct LabRunArgs {
    /// The NATs that the two hosts are behind, as A=NAT B=NAT; 'none' for a public host
    #[arg(value_name = "A=NAT B=NAT", num_args = 2, required_unless_present = "json_schema")]
    pub nats: Vec<String>,
    /// One NAT more before both hosts and their NATs: a carrier's, or, where they have none of their
    /// own, the one that both are behind
    #[arg(long, value_name = "NAT")]
    pub behind: Option<String>,
    /// One-way delay between the two NATs: 40ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay)]
    pub delay: Option<Duration>,
    /// Let b leave so much after a; -TIME lets a leave after b
    #[arg(long, value_name = "TIME", value_parser = parse_skew, default_value = "0ms")]
    #[arg(allow_hyphen_values = true, conflicts_with = "sync")]
    pub skew: i64,
    /// Have the ends agree through a relay, as if each had a clock of its own [default: one clock]
    #[arg(long, value_enum)]
    pub sync: Option<SyncBy>,
    /// How long to try
    #[arg(long, value_name = "TIME", value_parser = parse_delay, default_value = "10s")]
    pub timeout: Duration,
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
    /// Draw randomness from this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Say on stderr what goes on, a line each
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Two hosts to let punch.
#[derive(Clone, Debug, PartialEq)]
pub struct LabRun {
    a: Option<Nat>,
    b: Option<Nat>,
    shared: Option<Nat>,
    delay: Duration,
    timing: Timing,
    timeout: Duration,
    seed: Option<u64>,
    output: PunchOutput,
}

impl LabRun {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they name no NATs.
    pub fn new(args: LabRunArgs) -> Result<Self, Failure> {
        let [a, b] = named_nats(&args.nats)?;
        let shared = args.behind.as_deref().map(nat).transpose()?;
        let form = Form::new(args.json);
        let (svg, evidence, verbosity) = (args.svg, args.evidence, args.verbose);
        Ok(Self {
            a,
            b,
            shared,
            delay: args.delay.unwrap_or(LAB_DELAY),
            timing: args.sync.map_or(Timing::Skewed(args.skew), |by| Timing::Agreed(by.into())),
            timeout: args.timeout,
            seed: args.seed,
            output: PunchOutput { form, svg, evidence, mask: false, verbosity },
        })
    }
}

/// What two ends are behind, said as A=NAT and B=NAT.
///
/// # Errors
/// If that names no NATs.
pub fn named_nats(texts: &[String]) -> Result<[Option<Nat>; 2], Failure> {
    let [a, b] = [('A', 0), ('B', 1)].map(|(end, place)| {
        let text = texts.get(place).map_or("", String::as_str);
        let lower = end.to_ascii_lowercase();
        let name = text.strip_prefix([end, lower]).and_then(|rest| rest.strip_prefix('='));
        named(end, text, name)
    });
    Ok([a?, b?])
}

fn named(end: char, text: &str, name: Option<&str>) -> Result<Option<Nat>, Failure> {
    match name {
        Some("none") => Ok(None),
        Some(name) => nat(name).map(Some),
        None => Err(Failure::new(
            format!("'{text}' does not say what {end} is behind"),
            "say it as A=openwrt B=linux-kernel; 'tso-probe lab list' has more",
        )),
    }
}

/// Nanoseconds, with or without a minus.
fn parse_skew(text: &str) -> Result<i64, String> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let skew = parse_delay(text)?;
    Ok(sign * i64::try_from(skew.as_nanos()).unwrap_or(i64::MAX))
}

/// Builds the lab, lets both ends punch, and says how that went.
///
/// # Errors
/// When the lab cannot be built.
pub fn lab_run(request: &LabRun) -> Result<Exit, Failure> {
    request.output.check()?;
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    if !privilege::is_root() {
        privilege::become_root_in_user_namespace()?;
    }
    let signals = Signals::block()?;
    let progress = Progress::new(request.output.verbosity);
    progress.say("building the lab, learning the external endpoints");
    let weather = Weather { delay: request.delay, ..Weather::default() };
    let [a, b, shared] = [&request.a, &request.b, &request.shared].map(Clone::clone);
    let pair = PairPlan { a, b, shared, weather, seed };
    let (timing, patience, ports) = (request.timing, request.timeout, Meeting::PORTS);
    let meeting = Meeting { timing, patience, tries: None, ports };
    let started = clock::realtime();
    let mut watch = |fact: &Fact| report::progress(fact).iter().for_each(|what| progress.say(what));
    let met = lab::with_pair(&pair, |ends| lab::punch(ends, &pair, meeting, &signals, &mut watch));
    progress.end();
    let met = met?;
    let verdict = judge_punch(&met.run);
    show(&match request.output.form {
        Form::Json => format!("{:#}\n", report::lab_run_json(&verdict, met.carries)),
        Form::Text => report::punch_text(&verdict, Screen::of_stdout().width),
    });
    keep(&request.output, &Evidence { run: met.run, started }, &verdict)?;
    if met.carries == Some(false) {
        let hint = "see the ladder for what became of it";
        complain(&Failure::new("it opened, and nothing could be sent over it", hint));
    }
    let is_open = verdict.outcome == Outcome::Open && met.carries == Some(true);
    Ok(if is_open { Exit::Answered } else { Exit::No })
}

/// What `lab run --help` says at its end.
pub const HELP: &str = "\
Both hosts first learn their external endpoints from a server in the lab, then punch with no server. \
NAT is a preset ('tso-probe lab list'), knobs (mapping=apdm,filtering=adf), or both (openwrt,hold=6s).

  tso-probe lab run A=openwrt B=linux-kernel --delay 40ms
  tso-probe lab run A=none B=none --behind linux,hairpinning=external-source

Exit codes: 0 open, 1 not open, 2 the lab could not be built.";
