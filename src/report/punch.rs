//! What `punch` answers: prose and a ladder, JSON, and a picture.

mod foreseen;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use foreseen::{failed as punch_failed, is_outside};

use super::json::{object, schema_of};
use super::ladder::Ladder;
use super::picture::picture;
use super::table::{titled, wrapped};
use crate::tcp::{Opening, Outcome, Side};
use crate::verdict::{Attempt, Diagnosis, Foreseen, Measured, PunchVerdict, Socket, Testimony};

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/punch/1";

/// The verdict and what the peer said as one JSON object, its schema's name first.
/// `earlier` attempts came to nothing.
pub fn punch_json(verdict: &PunchVerdict, earlier: &[Foreseen], greeting: Option<&str>) -> Value {
    object(&Answer { schema: SchemaName::Punch, verdict, earlier, greeting })
}

/// The same of a run in the lab, with whether the connection carried octets both ways.
pub fn lab_run_json(verdict: &PunchVerdict, carries: Option<bool>) -> Value {
    object(&LabAnswer { schema: LabSchemaName::LabRun, verdict, carries })
}

/// The JSON Schema of what [`lab_run_json`] returns.
pub fn lab_run_schema() -> Value {
    schema_of::<LabAnswer<'_>>("tso-probe/lab-run/1")
}

/// What `lab run --json` answers.
#[derive(Serialize, JsonSchema)]
struct LabAnswer<'a> {
    /// Which schema this keeps to.
    schema: LabSchemaName,
    #[serde(flatten)]
    verdict: &'a PunchVerdict,
    /// Whether octets passed both ways; none without a connection.
    carries: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
enum LabSchemaName {
    #[serde(rename = "tso-probe/lab-run/1")]
    LabRun,
}

/// The JSON Schema of what [`punch_json`] returns.
pub fn punch_schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// What `punch --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    #[serde(flatten)]
    verdict: &'a PunchVerdict,
    /// What earlier attempts have taught, which came to nothing.
    earlier: &'a [Foreseen],
    /// What the peer said, if it was asked to greet.
    greeting: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/punch/1")]
    Punch,
}

/// The verdict as text of this many columns.
pub fn punch_text(verdict: &PunchVerdict, width: u16) -> String {
    let prose = |text: String| wrapped(&text, width, "");
    let troubles = verdict.troubles.iter().map(|trouble| prose(format!("- {trouble}")));
    let parts = [
        prose(headline(verdict)),
        Ladder::of_punch(verdict).text(width),
        prose(witnesses(verdict)),
        prose(verdict.foreseen.as_ref().map_or(String::new(), foreseen::expected)),
        prose(timing(verdict)),
        prose(attempts(&verdict.attempts)),
        verdict.diagnosis.as_ref().map_or(String::new(), |diagnosis| told(diagnosis, width)),
        titled("What spoiled the run", troubles.collect()),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

/// Open or not, and how, in one sentence.
fn headline(verdict: &PunchVerdict) -> String {
    let ends = verdict.ends.iter().map(|end| {
        let remote = end.remote.unwrap_or(end.aimed_at);
        let by = end.by.map_or("", |by| match by {
            Socket::Connect => ", by connect",
            Socket::Accept => ", by accept",
        });
        format!("{} {} to {remote}{by}", name(end.side), end.local)
    });
    let ends: Vec<_> = ends.collect();
    let outcome = match verdict.outcome {
        Outcome::Open => opened_in_words(verdict).to_owned(),
        Outcome::Refused => "not open: refused".to_owned(),
        Outcome::Reset => "not open: reset".to_owned(),
        Outcome::TimedOut => "not open: nothing answered in time".to_owned(),
        Outcome::Failed => "not open: failed".to_owned(),
    };
    format!("{outcome} ({})", ends.join("; "))
}

/// What an end is called.
pub fn name(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
    }
}

/// How a connection was opened, in words that suit the ends that were heard.
pub fn opened_in_words(verdict: &PunchVerdict) -> &'static str {
    let connected = verdict.ends.iter().any(|end| end.by == Some(Socket::Connect));
    match verdict.opening {
        // Which of the two this end is, the line of the ends says.
        Opening::Accepted if connected => "open, accepted: one end connected, the other listened",
        opening => opening_in_words(opening),
    }
}

/// How a connection was opened, in words.
pub fn opening_in_words(opening: Opening) -> &'static str {
    match opening {
        Opening::Crossed => "open, crossed: both SYNs met, a simultaneous open",
        Opening::HalfCrossed { crossed_syn: Side::A } => "open, half-crossed: the SYN of a alone",
        Opening::HalfCrossed { crossed_syn: Side::B } => "open, half-crossed: the SYN of b alone",
        Opening::CrossedOrHalfCrossed { crossed_syn: Side::A } => {
            "open, the SYN of a crossed; whether that of b did is not to be seen from here"
        }
        Opening::CrossedOrHalfCrossed { crossed_syn: Side::B } => {
            "open, the SYN of b crossed; whether that of a did is not to be seen from here"
        }
        Opening::ThreeWay => "open in three ways: one end connected, the other listened",
        Opening::ThreeWayOrHalfCrossed => {
            "open, in three ways or half-crossed: from this end alone the two look alike"
        }
        Opening::Accepted => "open, accepted: the peer connected, this end listened",
        Opening::SelfConnect => "connected with itself: that is no connection with a peer",
        Opening::SplitHandshake => "open by a split handshake: a SYN was answered with a SYN",
        Opening::Unknown | Opening::None => "open; how it was opened was not seen",
    }
}

/// The ladder of a punch as an SVG document.
pub fn punch_picture(verdict: &PunchVerdict) -> String {
    let headline = match verdict.outcome {
        Outcome::Open => opened_in_words(verdict).to_owned(),
        _ => verdict.diagnosis.as_ref().map_or("not open".to_owned(), |why| {
            let because: String = why.because.chars().take(90).collect();
            format!("not open: {because}")
        }),
    };
    picture(&Ladder::of_punch(verdict), &headline, &caption(verdict))
}

fn caption(verdict: &PunchVerdict) -> String {
    let timing = &verdict.timing;
    let skew = timing.skew_us.map(|skew| format!("departures {} apart", time(skew.abs())));
    let window = timing.crossing_window_us.map(|window| format!("window ±{}", time(window)));
    let times = Some("times in ms after the agreed moment".to_owned());
    let parts: Vec<_> = times.into_iter().chain(skew).chain(window).collect();
    parts.join(" · ")
}

fn witnesses(verdict: &PunchVerdict) -> String {
    let witnesses = &verdict.witnesses;
    let told = |who: &str, testimony: &Testimony| match (testimony.opening, &testimony.gaps[..]) {
        (Some(Opening::None), []) => format!("{who}: no opening seen"),
        (Some(opening), []) => format!("{who}: {}", opening_word(opening)),
        (Some(opening), [gap, ..]) => format!("{who}: {} ({gap})", opening_word(opening)),
        (None, [gap, ..]) => format!("{who}: not watched ({gap})"),
        (None, []) => format!("{who}: nothing seen"),
    };
    let agreement = match witnesses.agree {
        Some(true) => ". They agree.",
        Some(false) => ". THEY CONTRADICT EACH OTHER: one of them was deceived.",
        None => ".",
    };
    let wire = told("Packets say", &witnesses.wire);
    format!("{wire}; {}{agreement}", told("sockets say", &witnesses.kernel))
}

/// The word that the JSON has for an opening.
pub fn opening_word(opening: Opening) -> String {
    let value = serde_json::to_value(opening).unwrap_or_default();
    value["opening"].as_str().unwrap_or_default().to_owned()
}

fn timing(verdict: &PunchVerdict) -> String {
    let timing = &verdict.timing;
    let Some(window) = timing.crossing_window_us else { return String::new() };
    let basis = match timing.measured {
        Measured::HalfRoundTrip => ", taking half the round trip for the one-way delay",
        Measured::BothEnds | Measured::No => "",
    };
    let skew = timing.skew_us.map_or("The".to_owned(), |skew| {
        let later = if skew < 0.0 { Side::A } else { Side::B };
        format!("The SYN of {} left {} later; the", name(later), time(skew.abs()))
    });
    let clocks = timing
        .clock_error_us
        .filter(|error| *error > 0.0)
        .map_or(String::new(), |error| format!(" The clocks are known to ±{}.", time(error)));
    format!("{skew} crossing window was ±{}{basis}.{clocks}", time(window))
}

/// How exactly each end's first SYN left, and how many it took.
fn attempts(attempts: &[Attempt]) -> String {
    let of = |side| attempts.iter().filter(move |attempt| attempt.side == side);
    let ends = [Side::A, Side::B].into_iter().filter_map(|side| {
        let first = of(side).next()?;
        let error = first.error_us?;
        let late = if error < 0.0 { "early" } else { "late" };
        let tries = match of(side).count() {
            1 => "one attempt".to_owned(),
            count => format!("{count} attempts"),
        };
        let stolen = first.stolen_us.filter(|stolen| *stolen > 0.0);
        let stolen = stolen.map_or(String::new(), |stolen| {
            format!(", {} of CPU time stolen meanwhile", time(stolen))
        });
        Some(format!("that of {} {} {late} ({tries}{stolen})", name(side), time(error.abs())))
    });
    let ends: Vec<_> = ends.collect();
    if ends.is_empty() {
        return String::new();
    }
    format!("The first SYN's departure, by the interface: {}.", ends.join(", "))
}

fn told(diagnosis: &Diagnosis, width: u16) -> String {
    let lines = [
        wrapped(&format!("- At {}: {}.", name(diagnosis.side), diagnosis.because), width, "  "),
        wrapped(&format!("- What to do: {}.", diagnosis.advice), width, "  "),
    ];
    titled("Why it did not open", lines.to_vec())
}

/// Microseconds as people say them.
pub fn time(micros: f64) -> String {
    match micros {
        ..1_000.0 => format!("{micros:.1} µs"),
        ..1_000_000.0 => format!("{:.2} ms", micros / 1_000.0),
        _ => format!("{:.2} s", micros / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_in_the_docs_are_those_that_are_printed() {
        let punch = (include_str!("../../docs/punch.schema.json"), punch_schema(), "punch");
        let run = (include_str!("../../docs/lab-run.schema.json"), lab_run_schema(), "lab run");
        for (written, schema, command) in [punch, run] {
            let printed = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
            let remedy = format!("cargo run -- {command} --json-schema > docs/….schema.json");
            assert!(
                written == printed,
                "a schema in docs/ is out of date; write it anew: {remedy}"
            );
        }
    }

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        assert_eq!(time(12.34), "12.3 µs");
        assert_eq!(time(1_800.0), "1.80 ms");
        assert_eq!(time(2_500_000.0), "2.50 s");
    }
}
