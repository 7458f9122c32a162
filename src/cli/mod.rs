//! The command line: arguments → a validated [`Request`], its dispatch, and an exit code.

mod analyze;
mod args;
mod config;
mod doctor;
mod evidence;
mod exit;
mod failure;
mod finish;
mod lab_run;
mod meetings;
mod os_table;
mod parse;
mod placements;
mod ports;
mod proxy;
mod punch;
mod request;
mod run;
mod screen;
mod serve;
mod shell;
mod stun;
mod timing;
mod tls;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use config::Surroundings;
pub use evidence::check as check_evidence;
pub use exit::Exit;
pub use failure::Failure;
pub use finish::finish;
pub use request::{Classify, Form, Host, Modelled, Output, Request, Serve, Source};
pub use screen::{Progress, Screen};

use args::CommandLine;
use finish::{complain, show};

/// Does what the process's arguments ask for.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return usage(&error).into(),
    };
    let request = Request::new(line, &Surroundings::of_process());
    let done = request.and_then(|request| run::dispatch(&request));
    done.inspect_err(complain).unwrap_or(Exit::CouldNotAsk).into()
}

/// Prints the help that was asked for, or why the arguments make no sense.
fn usage(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        let text = error.render().to_string();
        eprint!("{}", text.replace("\nFor more information, try", "\nhint: for more, try"));
        return Exit::CouldNotAsk;
    }
    // Whoever asked for help and then went away needs none.
    let _ = error.print();
    Exit::Answered
}

/// Prints a completion script.
fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "tso-probe", &mut script);
    show(&String::from_utf8_lossy(&script));
}

/// Prints the manual page of a command, or of all.
fn man(name: Option<&str>) -> Result<(), Failure> {
    let mut all = CommandLine::command();
    all.build();
    let command = match name {
        None => &all,
        Some(name) => all.find_subcommand(name).ok_or_else(|| unknown_command(&all, name))?,
    };
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    rendered.expect("a vector takes all that is written to it");
    show(&String::from_utf8_lossy(&page));
    Ok(())
}

fn unknown_command(all: &clap::Command, name: &str) -> Failure {
    let known: Vec<_> = all.get_subcommands().map(clap::Command::get_name).collect();
    Failure::new(format!("there is no command '{name}'"), format!("there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests;
