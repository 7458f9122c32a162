//! Timing windows, measured.

use clap::Args;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::show;
use super::lab_run::named_nats;
use super::parse::parse_delay;
use super::request::Form;
use super::run::nat;
use super::screen::{Progress, Screen};
use crate::lab::{self, Meeting, Pair, PairPlan, Timing};
use crate::nat::Nat;
use crate::os::signals::Signals;
use crate::os::{self, entropy, privilege};
use crate::punch::Sweep;
use crate::report::{self, Window};
use crate::sim::Weather;
use crate::time::Duration;
use crate::verdict::{WindowTrial, WindowVerdict, judge_punch, judge_window};

/// `timing`'s arguments.
#[derive(Args, Debug)]
pub struct TimingArgs {
    /// By how much two departures may differ for their SYNs to cross, in the lab
    #[arg(long, required_unless_present = "json_schema")]
    pub crossing_window: bool,
    /// The NATs that the two hosts are behind, as A=NAT B=NAT; 'none' for a public host [default: two
    /// pairs, one that drops what comes unasked and one that resets it]
    #[arg(value_name = "A=NAT B=NAT", num_args = 2)]
    pub nats: Vec<String>,
    /// One-way delay between the two NATs: 20ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = parse_delay, default_value = "20ms")]
    pub delay: Duration,
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

/// Crossing windows to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossingWindows {
    pairs: Vec<[Option<Nat>; 2]>,
    delay: Duration,
    seed: Option<u64>,
    form: Form,
    verbosity: u8,
}

impl CrossingWindows {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they name no NATs, or a delay that is too short or too long to sweep.
    pub fn new(args: &TimingArgs) -> Result<Self, Failure> {
        let pairs = if args.nats.is_empty() {
            let alike = |name| nat(name).map(|nat| [Some(nat.clone()), Some(nat)]);
            vec![alike(SILENT)?, alike(RESETTING)?]
        } else {
            vec![named_nats(&args.nats)?]
        };
        if !(SHORTEST..=LONGEST).contains(&args.delay) {
            return Err(Failure::new(
                "no crossing window can be swept over this delay",
                "--delay takes 100us to 2s here",
            ));
        }
        let (form, verbosity) = (Form::new(args.json), args.verbose);
        Ok(Self { pairs, delay: args.delay, seed: args.seed, form, verbosity })
    }
}

/// Measures them, and says how they compare to what is predicted.
///
/// # Errors
/// When the lab cannot be built.
pub fn crossing_windows(request: &CrossingWindows) -> Result<Exit, Failure> {
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    if !privilege::is_root() {
        privilege::become_root_in_user_namespace()?;
    }
    let signals = Signals::block()?;
    let progress = Progress::new(request.verbosity);
    let mut windows = Vec::new();
    for [a, b] in &request.pairs {
        let (name_a, name_b) = (Window::name(a.as_ref()), Window::name(b.as_ref()));
        progress.say(&format!("building a lab with A={name_a} and B={name_b}"));
        let weather = Weather { delay: request.delay, ..Weather::default() };
        let plan = PairPlan { a: a.clone(), b: b.clone(), weather, seed };
        let verdict = lab::with_pair(&plan, |pair| sweep(pair, &plan, &signals, progress));
        let (verdict, delay_ms) = (verdict?, request.delay.as_secs_f64() * 1e3);
        windows.push(Window { a: name_a, b: name_b, delay_ms, verdict });
    }
    progress.end();
    show(&match request.form {
        Form::Json => format!("{:#}\n", report::timing_json(&windows)),
        Form::Text => report::timing_text(&windows, Screen::of_stdout().width),
    });
    Ok(exit(&windows))
}

/// Punches with one skew after another until both edges of the window are known.
fn sweep(
    pair: &Pair,
    plan: &PairPlan,
    signals: &Signals,
    progress: Progress,
) -> os::Result<WindowVerdict> {
    let delay = plan.weather.delay;
    let mut sweep = Sweep::new(delay);
    let (mut trials, mut discarded) = (Vec::new(), 0);
    let mut ports = Meeting::PORTS;
    while let Some(skew) = sweep.next_skew() {
        let late = Duration::from_nanos(skew.unsigned_abs());
        let patience = late + 2 * delay + AFTERWARDS;
        let meeting = Meeting { timing: Timing::Skewed(skew), patience, tries: Some(1), ports };
        progress.say(&format!("departures {:.2} ms apart", skew as f64 / 1e6));
        let met = lab::punch(pair, plan, meeting, signals, &mut |_| {})?;
        match WindowTrial::of(&judge_punch(&met.run)) {
            Some(trial) => {
                sweep.take(trial.skew_ns(), trial.crossed());
                trials.push(trial);
            }
            None => discarded += 1,
        }
        ports = ports.map(|port| port + 2);
    }
    Ok(judge_window(trials, discarded, &sweep))
}

fn exit(windows: &[Window]) -> Exit {
    let agree = windows.iter().map(|window| window.verdict.agree);
    match agree.clone().all(|agree| agree == Some(true)) {
        true => Exit::Answered,
        false if agree.clone().any(|agree| agree.is_none()) => Exit::CoreUnknown,
        false => Exit::No,
    }
}

/// What `timing --help` says at its end.
pub const HELP: &str = "\
Two hosts of the lab punch again and again, their departures further and further apart, until both ends
of the window are known to a hundredth. It takes about half a minute a pair. How long a NAT holds an
unsolicited SYN is told by 'tso-probe classify'.

  sudo tso-probe timing --crossing-window --delay 20ms
  sudo tso-probe timing --crossing-window A=openwrt-kernel B=jool

Exit codes: 0 as predicted, 1 not as predicted, 2 the lab could not be built, 3 an end of a window is
not known.";

/// Drops what comes unasked.
const SILENT: &str = "linux";

/// Answers it with a reset.
const RESETTING: &str = "openwrt";

const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_secs(2);

/// From the last SYN's arrival on: for an answer to be seen.
const AFTERWARDS: Duration = Duration::from_millis(100);
