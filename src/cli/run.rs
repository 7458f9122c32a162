//! Requests, done.

use std::path::Path;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::{finish, show};
use super::request::{Classify, Form, Modelled, Request, Source};
use super::screen::Screen;
use crate::capture::{self, Evidence};
use crate::nat::{Behaviour, Device, Nat};
use crate::report;
use crate::sim::{self, Layout};
use crate::time::Duration;
use crate::verdict::judge;

/// Does what is asked for, and says how it ended.
///
/// # Errors
/// If it could not be done.
pub fn dispatch(request: &Request) -> Result<Exit, Failure> {
    match request {
        Request::Classify(request) => return classify(request),
        Request::Serve(_) => return Err(Failure::new("this command cannot run yet", "")),
        Request::ClassifySchema => show(&format!("{:#}\n", report::schema())),
        Request::LabList(Form::Json) => show(&format!("{:#}\n", report::presets_json())),
        Request::LabList(Form::Text) => {
            show(&report::presets_table(Screen::of_stdout().width));
        }
        Request::Completions(shell) => super::completions(*shell),
        Request::Man(command) => super::man(command.as_deref())?,
    }
    Ok(Exit::Answered)
}

fn classify(request: &Classify) -> Result<Exit, Failure> {
    if let Some(path) = &request.output.evidence {
        super::check_evidence(path)?;
    }
    let evidence = match &request.source {
        Source::Sim(modelled) => simulated(request, modelled)?,
        Source::File(path) => from_file(path)?,
        Source::Lab(_) | Source::Live { .. } => {
            return Err(Failure::new("this source cannot be classified yet", ""));
        }
    };
    let verdict = judge(&evidence.run);
    Ok(finish(&request.output, evidence, verdict))
}

/// A run on virtual time.
fn simulated(request: &Classify, modelled: &Modelled) -> Result<Evidence, Failure> {
    let behaviours = behaviours(&modelled.nat)?;
    let delay = modelled.delay.unwrap_or(SIMULATED_DELAY);
    let layout = Layout::fair(request.effort, request.seed.unwrap_or_default(), delay);
    Ok(Evidence { run: sim::classify(&behaviours, &layout), started: Duration::ZERO })
}

fn nat(name: &str) -> Result<Nat, Failure> {
    name.parse::<Nat>().map_err(|bad| Failure::new(bad.what, bad.hint))
}

fn behaviours(name: &str) -> Result<Vec<Behaviour>, Failure> {
    match nat(name)?.device {
        Device::Modelled(behaviours) => Ok(behaviours),
        Device::Kernel(_) => Err(Failure::new(
            format!("'{name}' is a kernel's own NAT, which cannot be simulated"),
            "use --lab for the kernel's, or simulate its model: 'linux' or 'openwrt'",
        )),
    }
}

fn from_file(path: &Path) -> Result<Evidence, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::new(format!("cannot read {}: {error}", path.display()), "check the file's name")
    })?;
    capture::read(&bytes).map_err(|error| {
        Failure::new(format!("cannot judge {}: {error}", path.display()), error.hint())
    })
}

/// As on a short path through the Internet.
const SIMULATED_DELAY: Duration = Duration::from_millis(10);
