//! Requests, done.

use super::exit::Exit;
use super::failure::Failure;
use super::finish::show;
use super::request::{Form, Request};
use super::screen::Screen;
use crate::report;

/// Does what is asked for, and says how it ended.
///
/// # Errors
/// If it could not be done.
pub fn dispatch(request: &Request) -> Result<Exit, Failure> {
    match request {
        Request::Classify(_) | Request::Serve(_) => {
            return Err(Failure::new("this command cannot run yet", ""));
        }
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
