//! This machine, looked at.

use super::exit::Exit;
use super::failure::Failure;
use super::finish::show;
use super::request::{Doctor, Form, Host, Towards};
use super::run::look_up;
use super::screen::Screen;
use crate::doctor::{Peer, Question, State, diagnose, examine};
use crate::report;

/// Looks at it, and says what would spoil a measurement or a punch.
///
/// # Errors
/// When the peer's name is not to be looked up.
pub fn doctor(request: &Doctor) -> Result<Exit, Failure> {
    let towards = request.towards.as_ref().map(resolve).transpose()?;
    let question = Question { towards, local_ports: request.local_ports.clone() };
    let diagnosis = diagnose(&examine(&question));
    let screen = Screen::of_stdout();
    show(&match request.form {
        Form::Text => report::doctor_table(&diagnosis, screen.width, screen.colour),
        Form::Json => format!("{:#}\n", report::doctor_json(&diagnosis)),
    });
    Ok(if diagnosis.worst == State::Failing { Exit::No } else { Exit::Answered })
}

/// IPv4 first: NATs are classified and mostly punched over it.
fn resolve(towards: &Towards) -> Result<Peer, Failure> {
    let host = Host { name: towards.name.clone(), port: towards.port.unwrap_or_default() };
    let mut all = look_up(&host, "peer")?;
    all.sort_by_key(|end| end.is_ipv6());
    let first = all.first().ok_or_else(|| {
        let hint = "name another host, or give an address";
        Failure::new(format!("{} has no address", host.name), hint)
    })?;
    Ok(Peer { address: first.ip(), port: towards.port })
}
