//! A program on a host behind a NAT, and a server at the other side of it.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::Sender;

use super::exit::Exit;
use super::failure::Failure;
use super::request::Shell;
use super::run::{LAB_DELAY, nat};
use crate::lab::{Server, Single, SinglePlan, served, with_single};
use crate::live::Stop;
use crate::os::child::{self, Child};
use crate::os::poll::Waker;
use crate::os::signals::Signals;
use crate::os::{entropy, privilege};
use crate::rendezvous::{
    Business, CONTROL_PORT, IntroducerLimits, PROBE_PORTS, RENDEZVOUS_PORTS, STUN_PORTS,
};
use crate::serve::{self, Hospitality, Site};
use crate::sim::Weather;
use crate::time::Duration;

/// Builds the lab, runs the program in it, and passes on how that ended.
///
/// # Errors
/// When the lab cannot be built, or the program cannot be run.
pub fn shell(request: &Shell) -> Result<Exit, Failure> {
    let nat = Some(nat(&request.modelled.nat)?);
    let delay = request.modelled.delay.unwrap_or(LAB_DELAY);
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    let (program, arguments) = program(&request.command, env::var_os("SHELL"));
    // Known before anything is built or said.
    let mut command = Command::new(child::find(&program)?);
    command.arg0(program).args(arguments);
    if !privilege::is_root() {
        privilege::become_root_in_user_namespace()?;
    }
    let signals = Signals::block_every_key()?;
    let weather = Weather { delay, ..Weather::default() };
    let plan = SinglePlan { nat, weather, seed };
    let code = with_single(&plan, |lab| {
        let surroundings = Surroundings::of(lab);
        command.envs(surroundings.variables());
        let serve = |tell: Sender<()>, stop: &Waker| {
            let ready = || {
                // Whoever waits has gone if it fails.
                let _ = tell.send(());
            };
            let limits = IntroducerLimits::default();
            let report = &|_: &Business| {};
            let hospitality = Hospitality { limits, every: A_DAY, report, identity: None };
            serve::serve(&site(&lab.server), hospitality, Stop::Waker(stop), &ready)
        };
        served(&lab.server, &serve, || {
            // Whoever reads no greeting has the variables.
            let _ = io::stderr().write_all(surroundings.greeting(&request.modelled.nat).as_bytes());
            let code = Child::start(command, &lab.end.namespace, &signals)?.wait(&signals)?;
            // What it has left in the background would stay for ever, without a network.
            child::kill_all_in(&lab.end.namespace)?;
            child::kill_all_in(&lab.server.namespace)?;
            Ok(code)
        })
    })?;
    Ok(Exit::Program(code))
}

/// The program that was asked for, or the user's shell.
fn program(command: &[OsString], shell: Option<OsString>) -> (OsString, &[OsString]) {
    match command {
        [program, arguments @ ..] => (program.clone(), arguments),
        [] => {
            let shell = shell.filter(|shell| !shell.is_empty());
            (shell.unwrap_or_else(|| OsString::from("/bin/sh")), &[])
        }
    }
}

fn site(server: &Server) -> Site {
    Site {
        addresses: server.addresses.to_vec(),
        control_port: CONTROL_PORT,
        probe_ports: PROBE_PORTS,
        stun_ports: STUN_PORTS,
        rendezvous_ports: RENDEZVOUS_PORTS,
    }
}

/// Nobody wants to know how busy a lab's server is.
const A_DAY: Duration = Duration::from_secs(24 * 3_600);

/// What whoever works in the lab has to know.
struct Surroundings {
    internal: String,
    external: String,
    server: String,
    /// Runs the command that follows it on the server.
    on_server: String,
}

impl Surroundings {
    fn of(Single { end, server }: &Single) -> Self {
        let (pid, fd) = (std::process::id(), server.namespace.as_fd().as_raw_fd());
        Self {
            internal: end.internal.to_string(),
            external: end.external.to_string(),
            server: server.addresses[0].to_string(),
            on_server: format!("nsenter --net=/proc/{pid}/fd/{fd}"),
        }
    }

    fn variables(&self) -> [(&'static str, &str); 5] {
        [
            ("TSO_PROBE_INTERNAL", &self.internal),
            ("TSO_PROBE_EXTERNAL", &self.external),
            ("TSO_PROBE_SERVER", &self.server),
            ("TSO_PROBE_ON_SERVER", &self.on_server),
            ("TSO_PROBE_REFLECTOR", &self.server),
        ]
    }

    fn greeting(&self, nat: &str) -> String {
        let Self { internal, external, server, on_server } = self;
        format!(
            "This host is {internal}, behind {nat}: others see {external}.\n\
             The server is {server}: try 'tso-probe stun {server}' or 'tso-probe classify'.\n\
             To run a command on the server, here or as root elsewhere: {on_server} COMMAND\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_program_it_is_the_users_shell_or_the_one_that_is_always_there() {
        let run = |command: &[&str], shell: Option<&str>| {
            let command: Vec<_> = command.iter().map(OsString::from).collect();
            let (program, arguments) = program(&command, shell.map(OsString::from));
            (program.into_string().unwrap(), arguments.len())
        };
        assert_eq!(run(&["nc", "-l"], Some("/bin/zsh")), ("nc".to_owned(), 1));
        assert_eq!(run(&[], Some("/bin/zsh")), ("/bin/zsh".to_owned(), 0));
        assert_eq!(run(&[], Some("")), ("/bin/sh".to_owned(), 0));
        assert_eq!(run(&[], None), ("/bin/sh".to_owned(), 0));
    }
}
