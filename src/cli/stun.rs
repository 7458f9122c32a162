//! STUN servers, asked.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::{complain, show, told};
use super::request::{Family, Form, Host, Stun};
use super::run::look_up;
use super::screen::{Progress, Screen};
use crate::engine::Fact;
use crate::live::{self, Caller, Held, LiveStun};
use crate::os::entropy;
use crate::os::signals::Signals;
use crate::report;
use crate::verdict::{StunVerdict, judge_stun};
use crate::wire::Endpoint;

/// Asks them, and says what they answered.
///
/// # Errors
/// When none can be asked.
pub fn stun(request: &Stun) -> Result<Exit, Failure> {
    let servers = request.servers.iter().map(|host| resolve(host, request.family));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    let local_port = request.local_port.map_or_else(|| live::free_port(seed), Ok)?;
    let live = LiveStun { servers, local_port, patience: request.timeout, seed };
    let signals = Signals::block()?;
    let progress = Progress::new(request.verbosity);
    let mut watch = |fact: &Fact| report::progress(fact).iter().for_each(|what| progress.say(what));
    if !request.hold {
        let run = live::stun(&live, &signals, &mut watch);
        progress.end();
        return Ok(finish(request.form, &judge_stun(&run?)));
    }
    let asked = live::stun_and_hold(&live, &signals, &mut watch);
    progress.end();
    let (run, held) = asked?;
    let exit = finish(request.form, &judge_stun(&run));
    if exit == Exit::Answered {
        hold(held, local_port, &signals)?;
    }
    Ok(exit)
}

/// Keeps the connections until the caller is done, and says on stderr what becomes of them.
fn hold(held: Held, local_port: u16, signals: &Signals) -> Result<(), Failure> {
    let pipe = stdin_if_a_pipe();
    let until = if pipe.is_some() { "stdin is closed, or Ctrl-C" } else { "Ctrl-C" };
    let mut left = held.servers().count();
    say(&format!("holding {left} connections from port {local_port} until {until}"));
    let mut closed = |server| {
        left -= 1;
        say(&format!("{server} has closed its connection; {left} left"));
    };
    Ok(held.hold(Caller { signals, pipe }, &mut closed)?)
}

/// Stdin, if another program is at its other end: a pipe, or the pair of sockets that some use for one.
fn stdin_if_a_pipe() -> Option<File> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let kind = stdin.metadata().ok()?.file_type();
    (kind.is_fifo() || kind.is_socket()).then_some(stdin)
}

/// A line on stderr, which nobody may read.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

fn finish(form: Form, verdict: &StunVerdict) -> Exit {
    show(&match form {
        Form::Text => report::stun_table(verdict, Screen::of_stdout().width),
        Form::Json => format!("{:#}\n", report::stun_json(verdict)),
    });
    if !verdict.external.is_empty() {
        return Exit::Answered;
    }
    let mut failures = told(&verdict.troubles, &verdict.trouble);
    if failures.is_empty() {
        let hint = "check names and ports (STUN over TCP is 3478), and that this host is online";
        failures.push(Failure::new("no server named our external endpoint", hint));
    }
    failures.iter().for_each(complain);
    Exit::CouldNotAsk
}

fn resolve(host: &Host, family: Option<Family>) -> Result<Endpoint, Failure> {
    let all = look_up(host, "server")?;
    let fits = |end: &Endpoint| match family {
        None => true,
        Some(Family::V4) => end.is_ipv4(),
        Some(Family::V6) => end.is_ipv6(),
    };
    all.into_iter().find(fits).ok_or_else(|| {
        let hint = "leave out --ipv4 or --ipv6, or name another server";
        Failure::new(format!("{} has no address of that family", host.name), hint)
    })
}
