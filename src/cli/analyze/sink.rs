//! Where connections go once they are decided: into counts, onto stdout, or into the answer at the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::filter::Filter;
use crate::capture::Opening;
use crate::cli::evidence;
use crate::cli::failure::Failure;
use crate::cli::finish::show;
use crate::cli::screen::Screen;
use crate::report::{self, Analysis, CaptureAccount, Judged};
use crate::verdict::{Brief, Connection, ConnectionOutcome, Merged, Part, Tally, explain, merge};

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
        self.draws() && connection.is_noteworthy()
    }

    /// Whether anything is to be drawn.
    const fn draws(&self) -> bool {
        self.svg.is_some() || self.html.is_some()
    }

    /// Whether what is to be written leaves the captures as they are: an option that lacks its value takes
    /// the next word for a file.
    ///
    /// # Errors
    /// If one of them would be written over.
    pub fn spares(&self, files: &[PathBuf]) -> Result<(), Failure> {
        let same = |one: &Path, other: &Path| {
            one == other
                || one
                    .canonicalize()
                    .is_ok_and(|one| other.canonicalize().is_ok_and(|it| it == one))
        };
        let pages = [&self.svg, &self.html].into_iter().flatten().filter(|path| is_capture(path));
        let copy = self.annotate.iter().filter(|path| files.iter().any(|file| same(file, path)));
        match pages.chain(copy).next() {
            None => Ok(()),
            Some(path) => Err(Failure::new(
                format!("{} is a capture, and would be written over", path.display()),
                "name another file to write: tso-probe analyze FILE --html REPORT.html",
            )),
        }
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
    /// Whether connections may have been seen at several points.
    compares: bool,
    /// What is compared with other points: of each capture so many.
    parts: Vec<Part>,
    /// How many of the capture under way are among them.
    compared: (usize, usize),
    /// How many more there were.
    not_compared: u64,
    judged: Vec<Judged>,
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
            compares: false,
            parts: Vec::new(),
            compared: (0, 0),
            not_compared: 0,
            judged: Vec::new(),
            stdout: BufWriter::with_capacity(1 << 16, io::stdout()),
            written: 0,
            is_deaf: false,
        };
        if output == Output::Json {
            sink.write(&report::opening_json());
        }
        sink
    }

    /// Connections may be seen at several points from now on: there is another capture, or one of several
    /// interfaces.
    pub const fn expect_several_points(&mut self) {
        self.compares = true;
    }

    /// Takes an opening of the capture of that number.
    pub fn take(&mut self, opening: &Opening, capture: usize) {
        self.number += 1;
        if self.compares {
            self.keep(opening, capture);
        }
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
        if self.only_counts() {
            return self.count(&Brief::of(opening));
        }
        let connection = explain(opening, self.number, capture);
        if self.filter.wants(connection.outcome) {
            self.tally.add(&connection);
            self.put(connection);
        }
    }

    /// Whether no more of a connection is told than that there was one.
    fn only_counts(&self) -> bool {
        let is_full = self.shown.len() >= MOST_ROWS;
        is_full && self.also.annotate.is_none() && matches!(self.output, Output::Text { .. })
    }

    fn count(&mut self, brief: &Brief) {
        if self.filter.wants(brief.outcome) {
            self.tally.add_brief(brief);
            let is_asked_for = brief.is_noteworthy() || self.output == Output::Text { all: true };
            self.left_out += u64::from(is_asked_for);
        }
    }

    /// A capture was the evidence file of a run. What the program's own probes opened is not shown as well,
    /// unless all is asked for.
    pub fn judged(&mut self, judged: Option<Judged>) {
        let Some(judged) = judged else { return };
        if matches!(self.output, Output::Text { all: false }) && !self.also.draws() {
            self.shown.retain(|one| one.capture != judged.capture);
        }
        self.judged.push(judged);
    }

    /// Keeps an opening for comparison, asked for or not: elsewhere it may have other endpoints.
    fn keep(&mut self, opening: &Opening, capture: usize) {
        if self.compared.0 != capture {
            self.compared = (capture, 0);
        }
        if self.compared.1 >= MOST_COMPARED {
            self.not_compared += 1;
            return;
        }
        self.compared.1 += 1;
        self.parts.push(Part { capture, number: self.number, opening: opening.clone() });
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
        let merged = self.merged(captures);
        // What several points saw is shown once, and as all of them together saw it.
        if !matches!(self.output, Output::Json | Output::Lines) {
            self.shown.retain(|one| !merged.iter().any(|merged| merged.has(one.number)));
        }
        match self.output {
            Output::Json => {
                let text = report::closing_json(&self.analysis(captures, &merged));
                self.write(&text);
            }
            Output::Lines => {}
            Output::Ladder(number) => {
                let error = format!("there is no connection {number} among the {}", self.number);
                let hint = "the table names those that deserve attention; --all lists every one";
                let width = Screen::of_stdout().width;
                let files: Vec<_> = captures.iter().map(|capture| capture.file.as_str()).collect();
                let text = match (merged.first(), self.shown.first()) {
                    (Some(merged), _) => report::merged_text(merged, &files, width),
                    (None, Some(shown)) => report::connection_text(shown, width),
                    (None, None) => return Err(Failure::new(error, hint)),
                };
                show(&(text + "\n"));
            }
            Output::Text { .. } => {
                let analysis = self.analysis(captures, &merged);
                show(&report::analyze_text(&analysis, Screen::of_stdout().width));
            }
        }
        self.flush();
        self.draw(&self.analysis(captures, &merged))?;
        Ok(self.remarks)
    }

    fn analysis<'a>(
        &'a self,
        captures: &'a [CaptureAccount],
        merged: &'a [Merged],
    ) -> Analysis<'a> {
        let Self { shown, judged, tally, left_out, .. } = self;
        let all = matches!(self.output, Output::Text { all: true });
        Analysis { captures, tally, shown, merged, judged, left_out: *left_out, all }
    }

    /// The connections asked for that more than one point saw.
    fn merged(&self, captures: &[CaptureAccount]) -> Vec<Merged> {
        if self.not_compared > 0 && (2..=MOST_POINTS).contains(&captures.len()) {
            super::warn(&format!(
                "{} connections were not compared with the other captures: of each capture the first {} are",
                self.not_compared, MOST_COMPARED
            ));
        }
        let spans =
            (1..).zip(captures).filter_map(|(number, capture)| Some((number, capture.span()?)));
        let spans = spans.collect();
        // More captures than a way has points are of several ways, and are not compared.
        let is_one_way = captures.len() <= MOST_POINTS;
        let ways = self.parts.chunk_by(|one, other| is_one_way || one.capture == other.capture);
        let mut merged: Vec<_> = ways.flat_map(|parts| merge(parts, &spans)).collect();
        (1..).zip(&mut merged).for_each(|(number, one)| one.number = number);
        merged.retain(|one| match self.output {
            Output::Ladder(number) => one.has(number),
            Output::Text { all: false } => one.is_noteworthy() && !self.is_of_a_run(one),
            _ => true,
        });
        merged.retain(|one| self.filter.wants(one.outcome) && self.is_asked_for(one));
        merged.truncate(MOST_ROWS);
        merged
    }

    /// Whether the verdict of a run tells of it already.
    fn is_of_a_run(&self, merged: &Merged) -> bool {
        let is_judged = |capture| self.judged.iter().any(|judged| judged.capture == capture);
        !self.also.draws() && merged.points.iter().all(|point| is_judged(point.capture))
    }

    fn is_asked_for(&self, merged: &Merged) -> bool {
        let own = self.parts.iter().filter(|part| merged.has(part.number));
        own.into_iter().any(|part| self.filter.may_pass(&part.opening))
    }

    /// Writes the picture and the page.
    fn draw(&self, analysis: &Analysis<'_>) -> Result<(), Failure> {
        if let Some(path) = &self.also.svg {
            let merged = analysis.merged.first().map(report::merged_picture);
            let first = || analysis.shown.first().map(report::connection_picture);
            let picture = merged.or_else(first).ok_or_else(|| {
                let hint = "name one: --ladder NUMBER, or --all for the first of all";
                Failure::new("there is no connection that deserves a picture", hint)
            })?;
            evidence::save(path, picture.as_bytes())?;
        }
        if let Some(path) = &self.also.html {
            evidence::save(path, report::analyze_page(analysis).as_bytes())?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) {
        self.is_deaf |= self.stdout.write_all(text.as_bytes()).is_err();
    }
}

/// Whether a file begins as captures do, packed or not.
fn is_capture(path: &Path) -> bool {
    let mut magic = [0; 4];
    let begins = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    let is_classic = |magic: u32| matches!(magic & 0xffff_fff0, 0xa1b2_c3d0 | 0xa1b2_3c40);
    begins.is_ok()
        && (magic == [0x0a, 0x0d, 0x0d, 0x0a]
            || magic.starts_with(&[0x1f, 0x8b])
            || is_classic(u32::from_be_bytes(magic))
            || is_classic(u32::from_le_bytes(magic)))
}

/// Both ends, and both sides of a NAT.
const MOST_POINTS: usize = 4;

/// Of each capture: some ten megabytes of them.
const MOST_COMPARED: usize = 20_000;

/// A hundred megabytes of them.
const MOST_REMARKS: usize = 500_000;

/// More rows are no table for a person.
const MOST_ROWS: usize = 1_000;
