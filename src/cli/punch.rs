//! A punch, done: the connection opened, what happened shown, and the connection handed over.

mod args;
mod discreet;
mod hand_over;
mod met;
mod moment;

use std::net::TcpStream;

pub use args::{HELP, Punch, PunchArgs, PunchOutput, SyncBy};

use super::evidence;
use super::exit::Exit;
use super::failure::Failure;
use super::finish::{complain, remark, show};
use super::request::{Form, Host};
use super::run::first_of;
use super::screen::{Progress, Screen};
use crate::capture::{self, Evidence};
use crate::engine::Trouble;
use crate::live::{self, Ended, LivePunch, Stop};
use crate::os::signals::Signals;
use crate::os::{clock, discipline, entropy};
use crate::punch::{Appointment, Meet, Role};
use crate::report;
use crate::tcp::Side;
use crate::time::Duration;
use crate::verdict::{Foreseen, PunchVerdict, judge_punch};
use crate::wire::Endpoint;
use args::{Agree, Control, Then};
use discreet::Teller;
use moment::Moment;

/// Opens the connection, and says how that went.
///
/// # Errors
/// When it cannot be tried.
pub fn punch(request: &Punch) -> Result<Exit, Failure> {
    let output = &request.output;
    output.check()?;
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    let signals = Signals::block()?;
    let stop = Stop::Signals(&signals);
    let teller = Teller::new(Progress::new(output.verbosity), output.mask);
    let started = clock::realtime();
    let mut watch = teller.watch();
    let mut earlier = Vec::new();
    let ended = match &request.agree {
        Agree::Before { peer, at, local_port } => {
            let live = live(request, peer, (*at, *local_port), seed)?;
            teller.say(&waiting(&live));
            live::punch(&live, stop, &mut watch)
        }
        Agree::Over { control, peer, external, local_port } => {
            let peer = peer.as_ref().map(|peer| first_of(peer, "peer")).transpose()?;
            let ends = (*local_port, peer, *external);
            let appointment = appointment(request, control, ends, seed)?;
            teller.say(&meeting(&appointment));
            live::punch_agreed(&appointment, stop, &mut watch)
        }
        Agree::Met { .. } => met::punch(request, seed, (stop, &teller), &mut watch, &mut earlier)?,
    };
    teller.end();
    let Ended { run, connection } = ended?;
    // From here on Ctrl-C ends the program as it ends any other.
    drop(signals);
    let open = connection.filter(is_with_a_peer);
    finish(request, Evidence { run: teller.masked(&run), started }, open, &earlier)
}

fn live(
    request: &Punch,
    peer: &Host,
    (at, local_port): (Moment, u16),
    seed: u64,
) -> Result<LivePunch, Failure> {
    let (begun, now) = (clock::monotonic(), clock::realtime());
    let at = at.since_epoch(now);
    if at < now {
        let error = format!("{} has passed", moment::in_words(at));
        return Err(Failure::new(error, "give a moment to come: next-minute, +3s"));
    }
    Ok(LivePunch {
        side: Side::A,
        peer: first_of(peer, "peer")?,
        local_port,
        begun,
        first: begun + (at - now),
        patience: request.timeout,
        tries: None,
        clock_error: Some(clock_error()),
        seed,
    })
}

fn appointment(
    request: &Punch,
    control: &Control,
    (port, peer, external): (u16, Option<Endpoint>, Option<Endpoint>),
    seed: u64,
) -> Result<Appointment, Failure> {
    let (meet, wait) = match control {
        Control::Listen(on) => (Meet::Listen(*on), A_DAY),
        Control::Via(host, sync) => {
            (Meet::Via(first_of(host, "peer")?, Role::Decides(*sync)), request.timeout)
        }
    };
    let patience = request.timeout;
    Ok(Appointment { meet, port, external, peer, wait, patience, seed })
}

fn meeting(appointment: &Appointment) -> String {
    match appointment.meet {
        Meet::Listen(on) => format!("waiting for the peer at {on}"),
        Meet::Via(to, _) => format!("agreeing with the peer at {to}"),
        Meet::Over(_) => "agreeing with the peer".to_owned(),
    }
}

/// How far off this host's clock may be, if somebody keeps it.
fn clock_error() -> Option<Duration> {
    let discipline = discipline::discipline().ok().filter(|clock| clock.is_kept);
    discipline.map(|clock| clock.estimated_error)
}

fn waiting(live: &LivePunch) -> String {
    let left = live.first.saturating_sub(clock::monotonic());
    let at = moment::in_words(clock::realtime() + left);
    format!("the SYN to {} leaves at {at}, in {:.0} s", live.peer, left.as_secs_f64())
}

/// A connection from an endpoint to itself is none (RFC 9293 appendix A.2).
fn is_with_a_peer(connection: &TcpStream) -> bool {
    match (connection.local_addr(), connection.peer_addr()) {
        (Ok(local), Ok(remote)) => local != remote,
        _ => true,
    }
}

fn finish(
    request: &Punch,
    evidence: Evidence,
    open: Option<TcpStream>,
    earlier: &[Foreseen],
) -> Result<Exit, Failure> {
    let verdict = judge_punch(&evidence.run);
    if verdict.ends.is_empty() {
        return Err(not_agreed(request, &verdict));
    }
    let greeting = match (&request.then, &open) {
        (Then::Greet, Some(connection)) => Some(hand_over::greet(connection)),
        _ => None,
    };
    let heard = greeting.as_ref().and_then(|heard| heard.as_ref().ok()).map(String::as_str);
    answer(request, &verdict, earlier, heard);
    keep(&request.output, &evidence, &verdict)?;
    if let Some(Err(why)) = greeting {
        let hint = "the peer, or a box between, ended the connection just after it had opened";
        complain(&Failure::new(format!("the greeting failed: {why}"), hint));
    }
    let Some(connection) = open else { return Ok(Exit::No) };
    match &request.then {
        Then::Greet => {}
        Then::Pipe => hand_over::pipe(&connection).map_err(broken)?,
        Then::Exec(command) => {
            let status = hand_over::exec(connection, command).map_err(broken)?;
            if !status.success() {
                complain(&Failure::new(
                    format!("'{command}' ended with {status}"),
                    "see its own words",
                ));
            }
        }
    }
    Ok(Exit::Answered)
}

/// The ends never came so far as to try.
fn not_agreed(request: &Punch, verdict: &PunchVerdict) -> Failure {
    let why = match verdict.trouble.first() {
        Some(Trouble::Interrupted) => "interrupted before the two ends had agreed".to_owned(),
        Some(trouble) => trouble.to_string(),
        None => "the two ends did not agree".to_owned(),
    };
    let hint = match &request.agree {
        Agree::Met { server, code, .. } => met::hint(server, code.as_ref(), &why),
        _ => {
            "the peer runs 'tso-probe punch --listen-control ADDR --local-port PORT', and this end \
              --via that address"
                .to_owned()
        }
    };
    Failure::new(why, hint)
}

fn broken(why: std::io::Error) -> Failure {
    Failure::new(format!("the connection broke: {why}"), "it was open; run both ends again")
}

/// On stdout, unless the connection has that.
fn answer(request: &Punch, verdict: &PunchVerdict, earlier: &[Foreseen], greeting: Option<&str>) {
    let text = match request.output.form {
        Form::Json => format!("{:#}\n", report::punch_json(verdict, earlier, greeting)),
        Form::Text => {
            let heard = greeting.map(|heard| format!("\nThe peer says: {}\n", heard.trim_end()));
            report::punch_text(verdict, Screen::of_stdout().width) + &heard.unwrap_or_default()
        }
    };
    match request.then {
        Then::Pipe => remark(&text),
        _ => show(&text),
    }
}

/// Writes what files were asked for.
///
/// # Errors
/// When one cannot be written.
pub fn keep(
    output: &PunchOutput,
    evidence: &Evidence,
    verdict: &PunchVerdict,
) -> Result<(), Failure> {
    if let Some(path) = &output.svg {
        evidence::save(path, report::punch_picture(verdict).as_bytes())?;
    }
    if let Some(path) = &output.evidence {
        evidence::save(path, &capture::write(evidence, &|_| None))?;
    }
    Ok(())
}

/// Whoever waits for a peer may wait long.
const A_DAY: Duration = Duration::from_secs(24 * 3600);
