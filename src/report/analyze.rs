//! What `analyze` answers: the connections that deserve attention, and the count of the others.

mod account;
mod judged;
mod merged;
mod merged_picture;
mod page;
mod remarks;

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use account::CaptureAccount;
pub use judged::{Judged, JudgedRun};
pub use merged::merged_text;
pub use merged_picture::merged_picture;
pub use page::analyze_page;
pub use remarks::remarks;

use super::json::{object, schema_of};
use super::ladder::Ladder;
use super::picture::picture;
use super::punch::{name, opening_in_words};
use super::table::{plain, text_of, titled, wrapped};
use super::words::word;
use crate::verdict::{Connection, ConnectionOutcome, Diagnosed, Merged, SeenAt, Tally};

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/analyze/1";

/// What was found in one or more captures.
#[derive(Debug)]
pub struct Analysis<'a> {
    /// The captures.
    pub captures: &'a [CaptureAccount],
    /// All connections, counted.
    pub tally: &'a Tally,
    /// Those to be shown that one point alone has seen.
    pub shown: &'a [Connection],
    /// Those to be shown that several points have seen.
    pub merged: &'a [Merged],
    /// The verdicts of runs whose evidence files are among the captures.
    pub judged: &'a [Judged],
    /// How many more there would be to show.
    pub left_out: u64,
    /// Whether all connections were to be shown.
    pub all: bool,
}

/// What `analyze --json` answers.
#[derive(Serialize, JsonSchema)]
#[allow(dead_code, reason = "it is written piece by piece, and is here for its schema")]
struct Answer {
    /// Which schema this keeps to.
    schema: SchemaName,
    /// The connections, in the order in which they were decided. `--ndjson` prints each in a line of
    /// its own, and nothing else.
    connections: Vec<Connection>,
    /// Those of them that several captures, or interfaces of one, have seen: what became of each packet
    /// between these points.
    merged: Vec<Merged>,
    /// Of captures that are evidence files of this program the verdicts of their runs.
    verdicts: Vec<judged::RunVerdict>,
    /// The captures.
    captures: Vec<CaptureAccount>,
    /// All connections, counted: also those that were not to be shown.
    tally: Tally,
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/analyze/1")]
    Analyze,
}

/// The JSON Schema of the answer.
pub fn analyze_schema() -> Value {
    schema_of::<Answer>(SCHEMA)
}

/// What stands before the connections, with a comma between each two of which the answer is whole.
pub fn opening_json() -> String {
    format!("{{\n  \"schema\": {},\n  \"connections\": [", object(&SchemaName::Analyze))
}

/// A connection as one line of JSON, without a line end.
pub fn connection_json(connection: &Connection) -> String {
    object(connection).to_string()
}

/// What stands behind the connections.
pub fn closing_json(analysis: &Analysis<'_>) -> String {
    let Analysis { merged, judged, captures, tally, .. } = analysis;
    let verdicts: Vec<_> = judged.iter().map(Judged::json).collect();
    let lines: Vec<_> = merged.iter().map(|one| format!("\n    {}", object(one))).collect();
    format!(
        "\n  ],\n  \"merged\": [{}],\n  \"verdicts\": {},\n  \"captures\": {},\n  \"tally\": {}\n}}\n",
        lines.join(","),
        object(&verdicts),
        object(captures),
        object(tally)
    )
}

/// The answer as text of this many columns.
pub fn analyze_text(analysis: &Analysis<'_>, width: u16) -> String {
    let files = analysis.files();
    let in_full = || {
        let merged = analysis.merged.iter().map(|one| merged_text(one, &files, width));
        merged.chain(analysis.shown.iter().map(|one| connection_text(one, width))).collect()
    };
    let details = if analysis.count() <= FEW { in_full() } else { vec![table(analysis, width)] };
    let captures = analysis.captures.iter().map(|capture| wrapped(&capture.text(), width, "  "));
    let mut parts: Vec<_> = captures.collect();
    parts.extend(analysis.judged.iter().map(|judged| judged.text(&files, width)));
    parts.extend(details);
    parts.push(summary(analysis, width));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n") + "\n"
}

impl Analysis<'_> {
    /// How many are to be shown.
    const fn count(&self) -> usize {
        self.shown.len() + self.merged.len()
    }

    /// The names of the captures.
    fn files(&self) -> Vec<&str> {
        self.captures.iter().map(|capture| capture.file.as_str()).collect()
    }
}

fn table(analysis: &Analysis<'_>, width: u16) -> String {
    let mut table = plain(width);
    table.set_header(["No.", "From, to", "Outcome", "Why"]);
    for one in analysis.merged {
        let why = one.diagnosis.first().map_or(String::new(), |found| {
            let frames = merged::frames(found, 3);
            format!("{}{}; frames {frames}", word(&found.cause), merged::at_side(found))
        });
        let row = [
            merged::numbers(one),
            merged::own_ends(one).join("\n"),
            merged::merged_outcome(one),
            why,
        ];
        table.add_row(row);
    }
    for connection in analysis.shown {
        let ends = format!("{}\n{}", connection.a, connection.b);
        let why = connection.diagnosis.first().map_or(String::new(), |found| {
            format!("{}{}; frames {}", word(&found.cause), at(found), frames(found, 3))
        });
        table.add_row([connection.number.to_string(), ends, outcome(connection), why]);
    }
    text_of(&table)
}

/// The numbers of the frames that show it, so many of them.
fn frames(found: &Diagnosed, most: usize) -> String {
    let shown: Vec<_> = found.frames.iter().take(most).map(ToString::to_string).collect();
    let more = if found.frames.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}

/// The ladder of a connection as an SVG document.
pub fn connection_picture(connection: &Connection) -> String {
    let Connection { number, a, b, .. } = connection;
    let headline = format!("{a} to {b}: {}", outcome(connection));
    let caption = format!("connection {number} · times in ms after the first packet");
    picture(&Ladder::of_connection(connection), &headline, &caption)
}

/// Where it was seen, in words.
const fn seen_from(connection: &Connection) -> &'static str {
    match connection.seen_at {
        SeenAt::A => "seen at a's end",
        SeenAt::B => "seen at b's end",
        SeenAt::Between => "seen between the ends",
    }
}

fn at(found: &Diagnosed) -> String {
    found.side.map_or(String::new(), |side| format!(" at {}", name(side)))
}

/// In a word or two.
fn outcome(connection: &Connection) -> String {
    match connection.outcome {
        ConnectionOutcome::Open => {
            format!("open, {}", super::punch::opening_word(connection.opening))
        }
        other => word(&other),
    }
}

/// One connection in full: its ladder, why it failed, and what cannot be known.
pub fn connection_text(connection: &Connection, width: u16) -> String {
    let seen = seen_from(connection);
    let how = match connection.outcome {
        ConnectionOutcome::Open => opening_in_words(connection.opening).to_owned(),
        ConnectionOutcome::Refused => "not open: refused".to_owned(),
        ConnectionOutcome::Reset => "not open: reset".to_owned(),
        ConnectionOutcome::TimedOut => "not open: nothing answered in time".to_owned(),
        ConnectionOutcome::Failed => "not open: failed".to_owned(),
        ConnectionOutcome::Unfinished => "unfinished when the capture ended".to_owned(),
    };
    let Connection { number, a, b, .. } = connection;
    let head = format!("Connection {number}: a {a} to b {b}: {how} ({seen})");
    let unknown = connection.unknown.iter().map(|what| wrapped(&format!("- {what}."), width, "  "));
    let parts = [
        wrapped(&head, width, ""),
        Ladder::of_connection(connection).text(width),
        diagnoses(connection, width),
        titled("What cannot be known from here", unknown.collect()),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

fn diagnoses(connection: &Connection, width: u16) -> String {
    let lines = connection.diagnosis.iter().flat_map(|found| {
        let sure = if found.is_doubtful() { ", likely" } else { "" };
        let by = frames(found, 12);
        let what = format!(
            "- {}{}{sure} (frames {by}): {}.",
            word(&found.cause),
            at(found),
            found.because
        );
        [
            wrapped(&what, width, "  "),
            wrapped(&format!("- What to do: {}.", found.advice), width, "  "),
        ]
    });
    let title = match connection.outcome {
        ConnectionOutcome::Open => "What is strange about it",
        ConnectionOutcome::Reset => "Why it was reset",
        _ => "Why it did not open",
    };
    titled(title, lines.collect())
}

/// How many there were of what, and where to look further.
fn summary(analysis: &Analysis<'_>, width: u16) -> String {
    wrapped(&summary_text(analysis), width, "")
}

fn summary_text(analysis: &Analysis<'_>) -> String {
    let tally = analysis.tally;
    let mut text = format!("{}.", counted(tally.connections, "connection"));
    if !analysis.merged.is_empty() {
        let merged = counted(analysis.merged.len() as u64, "connection");
        let _ = write!(text, " {merged} that several points saw, merged.");
    }
    let outcomes =
        tally.outcomes.iter().filter(|(outcome, _)| **outcome != ConnectionOutcome::Open);
    let outcomes = outcomes.map(|(outcome, count)| format!("{count} {}", word(outcome)));
    let openings = tally.openings.iter().map(|(opening, count)| format!("{count} open, {opening}"));
    let all: Vec<_> = openings.chain(outcomes).collect();
    if !all.is_empty() {
        let _ = write!(text, " Of these: {}.", all.join("; "));
    }
    if analysis.left_out > 0 {
        let _ = write!(
            text,
            " {} more deserve attention than are listed: --ndjson lists all of them.",
            analysis.left_out
        );
    }
    if analysis.count() > FEW {
        text.push_str(" One of them in full: --ladder NUMBER.");
    }
    if !analysis.judged.is_empty() {
        text.push_str(if analysis.all { "" } else { " The openings of the run itself: --all." });
    } else if !analysis.all && tally.connections > 0 && analysis.count() == 0 {
        text.push_str(" None deserves attention; --all shows them all the same.");
    }
    text
}

/// `1 connection`, `2 connections`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// So many are shown in full, rather than as a table.
const FEW: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_docs_is_the_one_that_is_printed() {
        let written = include_str!("../../docs/analyze.schema.json");
        let printed = serde_json::to_string_pretty(&analyze_schema()).expect("it is JSON") + "\n";
        let remedy = "cargo run -- analyze --json-schema > docs/analyze.schema.json";
        assert!(written == printed, "the schema in docs/ is out of date; write it anew: {remedy}");
    }
}
