//! What is known of the terminal, and the line of progress on it.

use std::io::{self, IsTerminal, Write};

/// Where answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// In columns.
    pub width: u16,
    /// Whether it shows colours, and may.
    pub colour: bool,
}

impl Screen {
    /// What stdout is; 80 columns and no colour where it is no terminal.
    pub fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_terminal = io::stdout().is_terminal();
        let size = terminal_size::terminal_size_of(io::stdout());
        let width = size.map_or(WIDTH, |(terminal_size::Width(width), _)| width);
        // https://no-color.org: set and not empty means no.
        Self { width: width.min(WIDEST), colour: is_terminal && !dumb && !set("NO_COLOR") }
    }
}

/// Says on stderr what goes on: on a terminal in one line that is overwritten, otherwise, or if
/// that is asked for, in a line each; otherwise not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is said.
    Silent,
    /// One line, overwritten.
    Overwritten,
    /// A line each.
    Lines,
}

impl Progress {
    /// What suits stderr, with as many `-v` as were given.
    pub fn new(verbosity: u8) -> Self {
        match (verbosity, io::stderr().is_terminal()) {
            (1.., _) => Self::Lines,
            (0, true) => Self::Overwritten,
            (0, false) => Self::Silent,
        }
    }

    /// Says what goes on now. A stderr that cannot be written to is no reason to stop.
    pub fn say(self, what: &str) {
        let _ = match self {
            Self::Silent => Ok(()),
            Self::Overwritten => write!(io::stderr(), "{CLEAR}{what}"),
            Self::Lines => writeln!(io::stderr(), "{what}"),
        };
    }

    /// Wipes the line, before an answer or an error is shown.
    pub fn end(self) {
        if self == Self::Overwritten {
            self.say("");
        }
    }
}

/// Back to the start of the line, and wipe it.
const CLEAR: &str = "\r\x1b[2K";

const WIDTH: u16 = 80;

/// Prose in longer lines than this is hard to read.
const WIDEST: u16 = 132;
