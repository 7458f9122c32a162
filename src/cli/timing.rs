//! Timing windows, measured.

mod in_lab;
mod with_peer;

use clap::Args;

use super::args::Manner;
use super::exit::Exit;
use super::failure::Failure;
use super::finish::{complain, show};
use super::lab_run::named_nats;
use super::parse::{Listen, parse_delay};
use super::request::{ControlHost, Form, StunHost};
use super::run::nat;
use super::screen::{Progress, Screen};
use crate::engine::Trouble;
use crate::nat::Nat;
use crate::os::entropy;
use crate::os::signals::Signals;
use crate::punch::{PUNCH_PORT, Sweep};
use crate::report::{self, Window};
use crate::time::Duration;
use crate::verdict::{PunchVerdict, WindowTrial, WindowVerdict, judge_window};
use crate::wire::Endpoint;
use with_peer::{Control, Peer};

/// `timing`'s arguments.
#[derive(Args, Debug)]
#[command(override_usage = "\
tso-probe timing --crossing-window [A=NAT B=NAT] [--delay TIME]
       tso-probe timing --crossing-window --local-port PORT --listen-control ADDR[:PORT]
       tso-probe timing --crossing-window --local-port PORT --via HOST[:PORT]")]
pub struct TimingArgs {
    /// By how much two departures may differ for their SYNs to cross: in the lab, or with a peer
    #[arg(long, required_unless_present = "json_schema")]
    pub crossing_window: bool,
    /// The NATs that the two hosts of the lab are behind; 'none' for a public host [default: two
    /// pairs, one that drops what comes unasked and one that resets it]
    #[arg(value_names = ["A=NAT", "B=NAT"], num_args = 2, conflicts_with = "control")]
    pub nats: Vec<String>,
    /// One-way delay between the two NATs of the lab: 20ms, 1.5s [default: 20ms]
    #[arg(long, value_name = "TIME", value_parser = parse_delay, conflicts_with = "control")]
    pub delay: Option<Duration>,
    /// With a peer that connects to this endpoint of ours, and decides
    #[arg(long, value_name = "ADDR[:PORT]", group = "control")]
    pub listen_control: Option<Listen>,
    /// With a peer that listens there, and does as this end decides
    #[arg(long, value_name = "HOST[:PORT]", group = "control")]
    pub via: Option<ControlHost>,
    /// With a peer: punch from this port, and each time from the next one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=LAST_FIRST_PORT))]
    pub local_port: Option<u16>,
    /// With a peer: learn our external endpoint from this server each time [default: the address that
    /// the peer sees, and our port]
    #[arg(long, value_name = "HOST[:PORT]", requires = "control")]
    pub stun: Option<StunHost>,
    #[command(flatten)]
    pub manner: Manner,
}

/// Crossing windows to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossingWindows {
    between: Between,
    seed: Option<u64>,
    form: Form,
    verbosity: u8,
}

/// Who punches.
#[derive(Clone, Debug, PartialEq)]
enum Between {
    /// Two hosts of the lab behind these, and once more for each further pair.
    Lab { pairs: Vec<[Option<Nat>; 2]>, delay: Duration },
    /// This host and a peer.
    Peer(Peer),
}

impl CrossingWindows {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If they name no NATs, a delay that is too short or too long to sweep, or a peer and no port.
    pub fn new(args: TimingArgs) -> Result<Self, Failure> {
        let Manner { json, seed, verbose: verbosity, .. } = args.manner;
        let form = Form::new(json);
        let listens = args
            .listen_control
            .map(|on| Control::Listen(Endpoint::new(on.address, on.port.unwrap_or(PUNCH_PORT))));
        let control = listens.or(args.via.map(|ControlHost(host)| Control::Via(host)));
        let between = match (control, args.local_port) {
            (Some(control), Some(first_port)) => {
                let stun = args.stun.map(|StunHost(host)| host);
                Between::Peer(Peer { control, first_port, stun })
            }
            (Some(_), None) => {
                return Err(Failure::new("it takes a local port", "give --local-port PORT"));
            }
            (None, Some(_)) => {
                let hint = "give --via or --listen-control as well, or leave out --local-port";
                return Err(Failure::new("a local port is for a punch with a peer", hint));
            }
            (None, None) => in_lab(&args.nats, args.delay.unwrap_or(LAB_DELAY))?,
        };
        Ok(Self { between, seed, form, verbosity })
    }
}

fn in_lab(nats: &[String], delay: Duration) -> Result<Between, Failure> {
    let pairs = if nats.is_empty() {
        let alike = |name| nat(name).map(|nat| [Some(nat.clone()), Some(nat)]);
        vec![alike(SILENT)?, alike(RESETTING)?]
    } else {
        vec![named_nats(nats)?]
    };
    if !(SHORTEST..=LONGEST).contains(&delay) {
        return Err(Failure::new(
            "no crossing window can be swept over this delay",
            "--delay takes 100us to 2s here",
        ));
    }
    Ok(Between::Lab { pairs, delay })
}

/// Measures them, and says how they compare to what is predicted.
///
/// # Errors
/// When the lab cannot be built, or no peer came.
pub fn crossing_windows(request: &CrossingWindows) -> Result<Exit, Failure> {
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    let progress = Progress::new(request.verbosity);
    let measured = match &request.between {
        Between::Lab { pairs, delay } => in_lab::windows(pairs, *delay, seed, progress),
        Between::Peer(peer) => {
            let signals = Signals::block()?;
            with_peer::window(peer, seed, &signals, progress).map(|window| vec![window])
        }
    };
    progress.end();
    let windows = measured?;
    show(&match request.form {
        Form::Json => format!("{:#}\n", report::timing_json(&windows)),
        Form::Text => report::timing_text(&windows, Screen::of_stdout().width),
    });
    Ok(exit(&windows))
}

fn exit(windows: &[Window]) -> Exit {
    let agree = windows.iter().map(|window| window.verdict.agree);
    match agree.clone().all(|agree| agree == Some(true)) {
        true => Exit::Answered,
        false if agree.clone().any(|agree| agree.is_none()) => Exit::CoreUnknown,
        false => Exit::No,
    }
}

/// The trials of a window so far.
#[derive(Default)]
struct Trials {
    taught: Vec<WindowTrial>,
    discarded: u32,
}

impl Trials {
    /// Takes what a punch left. False if whoever runs it wants no more.
    fn take(&mut self, verdict: &PunchVerdict, sweep: &mut Sweep) -> bool {
        match WindowTrial::of(verdict) {
            Some(trial) => {
                sweep.take(trial.skew_ns(), trial.crossed());
                self.taught.push(trial);
            }
            None => self.discarded += 1,
        }
        let is_over = verdict.trouble.contains(&Trouble::Interrupted);
        if is_over {
            let hint = "what was tried before is shown; let it run to its end to know both edges";
            complain(&Failure::new("interrupted", hint));
        }
        !is_over
    }

    fn judged(self, sweep: &Sweep) -> WindowVerdict {
        judge_window(self.taught, self.discarded, sweep)
    }
}

/// What `timing --help` says at its end.
pub const HELP: &str = "\
Two hosts punch again and again, their departures further and further apart, until both ends of the \
window are known to a hundredth: in the lab, which takes about half a minute a pair, or between this \
host and a peer that runs the same with the other one of --via and --listen-control. How long a NAT \
holds an unsolicited SYN is told by 'tso-probe classify'.

  sudo tso-probe timing --crossing-window --delay 20ms
  sudo tso-probe timing --crossing-window A=openwrt-kernel B=jool
  sudo tso-probe timing --crossing-window --listen-control 203.0.113.9 --local-port 7000
  sudo tso-probe timing --crossing-window --via 203.0.113.9 --local-port 7000 --stun 192.0.2.5

Exit codes: 0 as predicted, 1 not as predicted, 2 it could not be tried, 3 an end of a window is not \
known.";

/// Drops what comes unasked.
const SILENT: &str = "linux";

/// Answers it with a reset.
const RESETTING: &str = "openwrt";

const LAB_DELAY: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_secs(2);

/// So that each trial can have a port of its own.
const LAST_FIRST_PORT: i64 = 65_000;
