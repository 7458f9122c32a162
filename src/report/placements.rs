//! What `lab placements` answers, as a table and as JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::json::{object, schema_of};
use super::meetings::Meetings;
use super::punch::opening_word;
use super::table::{plain, text_of};
use crate::tcp::Opening;
use crate::verdict::Outlook;

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/lab-placements/1";

/// A placement of two ends among NATs, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Placement {
    /// Where the ends are.
    pub name: String,
    /// What is expected.
    pub expected: Outlook,
    /// How often it was tried.
    pub trials: u32,
    /// How often a connection opened over which both ends heard each other.
    pub opened: u32,
    /// How those were opened, and how many so.
    pub openings: BTreeMap<String, u32>,
    /// The same ends met by a code at a rendezvous server, a proxy on each binding a port.
    pub by_proxy: Option<Meetings>,
    /// They met so and only connected, on hosts that choose ports by one counter.
    pub connecting: Option<Meetings>,
}

impl Placement {
    /// One that has not been tried yet.
    pub fn new(name: &str, expected: Outlook) -> Self {
        let (name, openings) = (name.to_owned(), BTreeMap::new());
        let (by_proxy, connecting) = (None, None);
        Self { name, expected, trials: 0, opened: 0, openings, by_proxy, connecting }
    }

    /// Counts one try.
    pub fn take(&mut self, opened: bool, opening: Opening) {
        self.trials += 1;
        if opened {
            self.opened += 1;
            *self.openings.entry(opening_word(opening)).or_default() += 1;
        }
    }

    /// Whether it opened every time, or never, as was expected; what is uncertain may do either.
    pub fn is_as_expected(&self) -> bool {
        match self.expected {
            Outlook::Opens => self.opened == self.trials,
            Outlook::NoHairpinning | Outlook::Unpredictable => self.opened == 0,
            Outlook::Uncertain => true,
        }
    }
}

/// The placements as one JSON object, its schema's name first.
pub fn placements_json(placements: &[Placement]) -> Value {
    object(&Answer { schema: SchemaName::LabPlacements, placements })
}

/// The JSON Schema of what [`placements_json`] returns.
pub fn placements_schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// What `lab placements --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    /// What was tried.
    placements: &'a [Placement],
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/lab-placements/1")]
    LabPlacements,
}

/// The placements as a table of this many columns.
pub fn placements_text(placements: &[Placement], width: u16) -> String {
    let mut table = plain(width);
    table.set_header(["Both ends", "Expected", "Opened", "How"]);
    for placement in placements {
        table.add_row(row(placement));
    }
    let mut met = plain(width);
    met.set_header(["By a code at a server", "With a proxy on each", "Only connecting"]);
    for Placement { name, by_proxy, connecting, .. } in placements {
        let [by_proxy, connecting] =
            [by_proxy, connecting].map(|met| met.map_or("-".to_owned(), |met| met.to_string()));
        met.add_row([name.clone(), by_proxy, connecting]);
    }
    format!("{}\n\n{}\n", text_of(&table), text_of(&met))
}

fn row(placement: &Placement) -> [String; 4] {
    let Placement { name, expected, trials, opened, openings, .. } = placement;
    let mark = if placement.is_as_expected() { "" } else { " (!)" };
    let how: Vec<_> = openings.iter().map(|(how, count)| format!("{how} {count}")).collect();
    let how = if how.is_empty() { "-".to_owned() } else { how.join(", ") };
    [name.clone(), in_words(*expected).to_owned(), format!("{opened} of {trials}{mark}"), how]
}

const fn in_words(expected: Outlook) -> &'static str {
    match expected {
        Outlook::Opens => "opens",
        Outlook::NoHairpinning => "no: no hairpinning",
        Outlook::Unpredictable => "no: ports unknown",
        Outlook::Uncertain => "uncertain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_become_as_expected_is_marked() {
        let mut fine = Placement::new("both public", Outlook::Opens);
        fine.take(true, Opening::Crossed);
        let mut odd = Placement::new("behind one NAT, which does not", Outlook::NoHairpinning);
        odd.take(true, Opening::ThreeWay);
        odd.take(false, Opening::None);
        let meetings = Meetings { trials: 20, opened: 20, foreseen: Some(0.97), attempts: 1.0 };
        odd.by_proxy = Some(meetings);
        let text = placements_text(&[fine.clone(), odd], 80);
        assert!(text.contains("1 of 1") && text.contains("crossed 1"), "{text}");
        assert!(text.contains("1 of 2 (!)"), "{text}");
        assert!(text.contains("20 of 20, foreseen 97 %"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(fine.is_as_expected());
    }

    #[test]
    fn the_schema_in_the_docs_is_the_one_that_is_printed() {
        let written = include_str!("../../docs/lab-placements.schema.json");
        let printed = format!("{:#}\n", placements_schema());
        let remedy = "cargo run -- lab placements --json-schema > docs/lab-placements.schema.json";
        assert!(written == printed, "it is out of date; write it anew: {remedy}");
        let validator = jsonschema::validator_for(&placements_schema()).unwrap();
        let tried = Placement::new("both public", Outlook::Opens);
        assert!(validator.is_valid(&placements_json(&[tried])));
    }
}
