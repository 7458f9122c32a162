//! What `timing` answers, as a table and as JSON.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::json::{object, schema_of};
use super::punch::{name, opening_word, time};
use super::table::{plain, text_of, wrapped};
use super::words;
use crate::nat::Nat;
use crate::tcp::{Opening, Outcome};
use crate::verdict::{MeasuredEdge, WindowTrial, WindowVerdict};

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/timing/1";

/// The crossing window between two hosts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Window {
    /// In the lab, what end a is behind, 'none' for a public host; else the address that b reaches it
    /// by.
    pub a: String,
    /// The same of end b.
    pub b: String,
    /// The one-way delay that was set between the two NATs of the lab; none outside of it.
    pub delay_ms: Option<f64>,
    /// What the sweep found.
    #[serde(flatten)]
    pub verdict: WindowVerdict,
}

impl Window {
    /// A NAT by its name.
    pub fn name(nat: Option<&Nat>) -> String {
        nat.map_or("none".to_owned(), |nat| nat.name.clone())
    }
}

/// The windows as one JSON object, its schema's name first.
pub fn timing_json(windows: &[Window]) -> Value {
    object(&Answer { schema: SchemaName::Timing, windows })
}

/// The JSON Schema of what [`timing_json`] returns.
pub fn timing_schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// What `timing --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    /// The crossing windows that were measured.
    windows: &'a [Window],
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/timing/1")]
    Timing,
}

/// The windows as text of this many columns.
pub fn timing_text(windows: &[Window], width: u16) -> String {
    let parts: Vec<_> = windows.iter().map(|window| one(window, width)).collect();
    parts.join("\n\n") + "\n"
}

fn one(window: &Window, width: u16) -> String {
    let Window { a, b, delay_ms, verdict } = window;
    let delay = delay_ms.map(|ms| format!(", {ms} ms each way")).unwrap_or_default();
    let title = format!("Crossing window between A={a} and B={b}{delay}");
    let mut table = plain(width);
    table.set_header(["b leaves after a by", "SYNs", "Opened", "Outcome"]);
    let mut trials = verdict.trials.clone();
    trials.sort_by(|one, other| one.skew_us.total_cmp(&other.skew_us));
    for trial in &trials {
        table.add_row(row(trial));
    }
    let parts = [title, text_of(&table), wrapped(&summary(verdict), width, "")];
    parts.join("\n\n")
}

fn row(trial: &WindowTrial) -> [String; 4] {
    let crossed = if trial.crossed() { "cross" } else { "do not cross" };
    let opened = match trial.opening {
        Opening::None => "-".to_owned(),
        Opening::HalfCrossed { crossed_syn } => {
            format!("half-crossed by {}'s SYN", name(crossed_syn))
        }
        opening => opening_word(opening),
    };
    [signed(trial.skew_us), crossed.to_owned(), opened, words::word::<Outcome>(&trial.outcome)]
}

fn summary(verdict: &WindowVerdict) -> String {
    let predicted = verdict.predicted.map_or("Nothing is predicted.".to_owned(), |predicted| {
        let (low, high) = (signed(-predicted.below_us), signed(predicted.above_us));
        format!("Predicted by the delays of the packets: {low} to {high}.")
    });
    let [low, high] = [ended(verdict.below, -1.0), ended(verdict.above, 1.0)];
    let agree = match verdict.agree {
        Some(true) => " They agree within 5 % or 1 ms.",
        Some(false) => " They do not agree within 5 % or 1 ms.",
        None => "",
    };
    let discarded = match verdict.discarded {
        0 => String::new(),
        count => format!(" Trials that taught nothing: {count}."),
    };
    format!("{predicted} Measured: {low} to {high}.{agree}{discarded}")
}

/// Where it ended, and how well that is known.
fn ended(edge: MeasuredEdge, sign: f64) -> impl fmt::Display {
    match (edge.inside_us, edge.outside_us) {
        (Some(inside), Some(outside)) => {
            let (middle, half) = (f64::midpoint(inside, outside), (outside - inside).abs() / 2.0);
            format!("{} (±{})", signed(sign * middle), time(half))
        }
        (Some(inside), None) => format!("beyond {}", signed(sign * inside)),
        (None, Some(outside)) => format!("within {}", signed(sign * outside)),
        (None, None) => "unknown".to_owned(),
    }
}

fn signed(micros: f64) -> String {
    if micros < 0.0 { format!("-{}", time(-micros)) } else { time(micros) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::Side;
    use crate::verdict::PredictedWindow;

    #[test]
    fn a_window_is_shown_with_its_trials_in_order_and_its_edges() {
        let text = timing_text(&[window()], 80);
        let want = "\
Crossing window between A=linux and B=none, 20 ms each way

  b leaves after a by   SYNs           Opened                     Outcome
────────────────────────────────────────────────────────────────────────────────
  500.0 µs              cross          crossed                    open
  21.00 ms              do not cross   half-crossed by a's SYN    open

Predicted by the delays of the packets: -20.00 ms to 20.00 ms. Measured: unknown
to 10.75 ms (±10.25 ms). Trials that taught nothing: 1.
";
        let squeezed = |text: &str| {
            let lines = text.lines().map(|line| {
                line.split_whitespace().filter(|word| !word.starts_with('─')).collect::<Vec<_>>()
            });
            lines.map(|words| words.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&text), squeezed(want), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn the_schema_in_the_docs_is_the_one_that_is_printed() {
        let written = include_str!("../../docs/timing.schema.json");
        let printed = format!("{:#}\n", timing_schema());
        let remedy = "cargo run -- timing --json-schema > docs/timing.schema.json";
        assert!(written == printed, "it is out of date; write it anew: {remedy}");
        let validator = jsonschema::validator_for(&timing_schema()).unwrap();
        assert!(validator.is_valid(&timing_json(&[window()])));
    }

    fn window() -> Window {
        let trial = |skew_us, opening| WindowTrial {
            skew_us,
            opening,
            outcome: Outcome::Open,
            a_to_b_us: Some(20_000.0),
            b_to_a_us: None,
        };
        let half = Opening::HalfCrossed { crossed_syn: Side::A };
        let verdict = WindowVerdict {
            predicted: Some(PredictedWindow { above_us: 20_000.0, below_us: 20_000.0 }),
            above: MeasuredEdge { inside_us: Some(500.0), outside_us: Some(21_000.0) },
            below: MeasuredEdge { inside_us: None, outside_us: None },
            agree: None,
            trials: vec![trial(21_000.0, half), trial(500.0, Opening::Crossed)],
            discarded: 1,
        };
        Window { a: "linux".to_owned(), b: "none".to_owned(), delay_ms: Some(20.0), verdict }
    }
}
