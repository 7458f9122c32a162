//! Where connections go once they are decided: into counts, onto stdout, or into the answer at the end.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::filter::Filter;
use crate::capture::Opening;
use crate::cli::evidence;
use crate::cli::failure::Failure;
use crate::cli::finish::show;
use crate::cli::screen::Screen;
use crate::report::{self, Analysis, CaptureAccount};
use crate::verdict::{Connection, ConnectionOutcome, Tally, explain};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table, or one or two connections in full.
    Text {
        /// Of all connections.
        all: bool,
    },
    /// One connection in full.
    Ladder(u64),
    /// One JSON object.
    Json,
    /// A line of JSON for each connection.
    Lines,
}

/// What is to be written beside the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Also {
    pub svg: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub annotate: Option<PathBuf>,
}

impl Also {
    /// Whether a connection is to be drawn.
    fn wants(&self, connection: &Connection) -> bool {
        (self.svg.is_some() || self.html.is_some()) && connection.is_noteworthy()
    }

    /// The one file that is to be written again, if any.
    pub fn copied<'a>(&self, files: &'a [PathBuf]) -> Result<Option<&'a Path>, Failure> {
        match (&self.annotate, files) {
            (None, _) => Ok(None),
            (Some(_), [file]) if file != Path::new("-") => Ok(Some(file)),
            (Some(_), _) => Err(Failure::new(
                "--annotate writes one capture again, and reads it twice for that",
                "name one file, not stdin: tso-probe analyze FILE --annotate OUT.pcapng",
            )),
        }
    }
}

/// Takes connections one after the other.
pub struct Sink {
    output: Output,
    filter: Filter,
    also: Also,
    /// By the numbers of frames.
    remarks: BTreeMap<u64, String>,
    /// How many connections there were, asked for or not: their numbers are the same with every filter.
    number: u64,
    tally: Tally,
    shown: Vec<Connection>,
    left_out: u64,
    stdout: BufWriter<io::Stdout>,
    /// Whether something was written, and whether it still can be.
    written: u64,
    is_deaf: bool,
}

impl Sink {
    pub fn new(output: Output, filter: Filter, also: Also) -> Self {
        let mut sink = Self {
            output,
            filter,
            also,
            remarks: BTreeMap::new(),
            number: 0,
            tally: Tally::default(),
            shown: Vec::new(),
            left_out: 0,
            stdout: BufWriter::with_capacity(1 << 16, io::stdout()),
            written: 0,
            is_deaf: false,
        };
        if output == Output::Json {
            sink.write(&report::opening_json());
        }
        sink
    }

    /// Takes an opening of the capture of that number.
    pub fn take(&mut self, opening: &Opening, capture: usize) {
        self.number += 1;
        if !self.filter.may_pass(opening) {
            return;
        }
        let wants_plain = match self.output {
            Output::Text { all } => all && self.shown.len() < MOST_ROWS,
            Output::Ladder(number) => number == self.number,
            Output::Json | Output::Lines => true,
        };
        if !wants_plain
            && self.filter.wants(ConnectionOutcome::Open)
            && self.tally.add_plain(opening)
        {
            self.left_out += u64::from(matches!(self.output, Output::Text { all: true }));
            return;
        }
        let connection = explain(opening, self.number, capture);
        if self.filter.passes(&connection) {
            self.tally.add(&connection);
            self.put(connection);
        }
    }

    fn put(&mut self, connection: Connection) {
        if self.also.annotate.is_some()
            && connection.is_noteworthy()
            && self.remarks.len() < MOST_REMARKS
        {
            self.remarks.extend(report::remarks(&connection));
        }
        match self.output {
            Output::Text { all } if !all && !connection.is_noteworthy() => {}
            Output::Text { .. } if self.shown.len() >= MOST_ROWS => self.left_out += 1,
            Output::Text { .. } => self.shown.push(connection),
            Output::Ladder(number) if number == connection.number => self.shown.push(connection),
            Output::Ladder(_) => {}
            Output::Json | Output::Lines
                if self.also.wants(&connection) && self.shown.len() < MOST_ROWS =>
            {
                self.shown.push(connection.clone());
                self.print(&connection);
            }
            Output::Json | Output::Lines => self.print(&connection),
        }
    }

    fn print(&mut self, connection: &Connection) {
        match self.output {
            Output::Json => {
                let comma = if self.written > 0 { "," } else { "" };
                self.written += 1;
                self.write(&format!("{comma}\n    {}", report::connection_json(connection)));
            }
            _ => self.write(&(report::connection_json(connection) + "\n")),
        }
    }

    /// Whether nobody reads any more.
    pub const fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    /// Hands out what was written: a reader at the other end of a pipe waits for it.
    pub fn flush(&mut self) {
        self.is_deaf |= self.stdout.flush().is_err();
    }

    /// All captures have been read. What is to be said of single frames, by their numbers.
    pub fn close(mut self, captures: &[CaptureAccount]) -> Result<BTreeMap<u64, String>, Failure> {
        match self.output {
            Output::Json => self.write(&report::closing_json(captures, &self.tally)),
            Output::Lines => {}
            Output::Ladder(number) => {
                let error = format!("there is no connection {number} among the {}", self.number);
                let hint = "the table names those that deserve attention; --all lists every one";
                let shown = self.shown.first().ok_or_else(|| Failure::new(error, hint))?;
                show(&(report::connection_text(shown, Screen::of_stdout().width) + "\n"));
            }
            Output::Text { all } => {
                let Self { shown, tally, left_out, .. } = &self;
                let analysis = Analysis { captures, tally, shown, left_out: *left_out, all };
                show(&report::analyze_text(&analysis, Screen::of_stdout().width));
            }
        }
        self.flush();
        self.draw(captures)?;
        Ok(self.remarks)
    }

    /// Writes the picture and the page.
    fn draw(&self, captures: &[CaptureAccount]) -> Result<(), Failure> {
        let Self { shown, tally, left_out, .. } = self;
        if let Some(path) = &self.also.svg {
            let first = shown.first().ok_or_else(|| {
                let hint = "name one: --ladder NUMBER, or --all for the first of all";
                Failure::new("there is no connection that deserves a picture", hint)
            })?;
            evidence::save(path, report::connection_picture(first).as_bytes())?;
        }
        if let Some(path) = &self.also.html {
            let all = matches!(self.output, Output::Text { all: true });
            let analysis = Analysis { captures, tally, shown, left_out: *left_out, all };
            evidence::save(path, report::analyze_page(&analysis).as_bytes())?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) {
        self.is_deaf |= self.stdout.write_all(text.as_bytes()).is_err();
    }
}

/// A hundred megabytes of them.
const MOST_REMARKS: usize = 500_000;

/// More rows are no table for a person.
const MOST_ROWS: usize = 1_000;
