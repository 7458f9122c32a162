//! What `lab os-table` answers: which hosts reach each other if they only connect, as two tables and as
//! JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::json::{object, schema_of};
use super::meetings::Meetings;
use super::table::{plain, text_of};

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/lab-os-table/1";

/// Two hosts, and what came of their meetings.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct HostPair {
    /// How each chooses ports for connections that do not.
    pub hosts: [String; 2],
    /// Whether a proxy on each binds a port.
    pub proxy: bool,
    /// What came of it.
    #[serde(flatten)]
    pub meetings: Meetings,
}

/// All pairs as one JSON object, its schema's name first.
pub fn os_table_json(pairs: &[HostPair]) -> Value {
    object(&Answer { schema: SchemaName::LabOsTable, pairs })
}

/// The JSON Schema of what [`os_table_json`] returns.
pub fn os_table_schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// What `lab os-table --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    /// The pairs that have met.
    pairs: &'a [HostPair],
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/lab-os-table/1")]
    LabOsTable,
}

/// The pairs as two tables of this many columns: without the proxy, and with it.
pub fn os_table_text(pairs: &[HostPair], width: u16) -> String {
    let tables =
        [(false, "Without a proxy"), (true, "With a proxy on each")].map(|(proxy, title)| {
            let of_it: Vec<_> = pairs.iter().filter(|pair| pair.proxy == proxy).collect();
            format!("{title}: opened, and foreseen\n{}\n", table(&of_it, width))
        });
    tables.join("\n")
}

fn table(pairs: &[&HostPair], width: u16) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for kind in pairs.iter().flat_map(|pair| &pair.hosts) {
        if !kinds.contains(&kind.as_str()) {
            kinds.push(kind);
        }
    }
    let mut table = plain(width);
    table.set_header([""].iter().chain(&kinds));
    for a in &kinds {
        let of = |b: &&str| {
            let is_it = |pair: &&&HostPair| pair.hosts == [*a, *b] || pair.hosts == [*b, *a];
            pairs.iter().find(is_it).map_or(String::new(), |pair| cell(pair))
        };
        table.add_row([(*a).to_owned()].into_iter().chain(kinds.iter().map(of)));
    }
    text_of(&table)
}

fn cell(pair: &HostPair) -> String {
    let Meetings { opened, trials, foreseen, .. } = pair.meetings;
    let foreseen = foreseen.map_or("?".to_owned(), |share| format!("{:.0} %", share * 100.0));
    format!("{opened} of {trials}\n{foreseen}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_foreseen_is_the_sum_of_what_was_told_before_each_attempt() {
        let mut meetings = Meetings::default();
        meetings.take(&[Some(0.5), Some(0.25)], true);
        meetings.take(&[Some(0.875)], false);
        assert_eq!((meetings.trials, meetings.opened), (2, 1));
        let foreseen = meetings.foreseen.expect("all was known");
        assert!((foreseen - 0.8125).abs() < 1e-9 && (meetings.attempts - 1.5).abs() < 1e-9);
        let text = os_table_text(&[pair(meetings)], 80);
        // Each stands on both sides of the diagonal.
        assert_eq!(
            (text.matches("1 of 2").count(), text.matches("81 %").count()),
            (2, 2),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn the_schema_in_the_docs_is_the_one_that_is_printed() {
        let written = include_str!("../../docs/lab-os-table.schema.json");
        let printed = format!("{:#}\n", os_table_schema());
        let remedy = "cargo run -- lab os-table --json-schema > docs/lab-os-table.schema.json";
        assert!(written == printed, "it is out of date; write it anew: {remedy}");
        let validator = jsonschema::validator_for(&os_table_schema()).unwrap();
        assert!(validator.is_valid(&os_table_json(&[pair(Meetings::default())])));
    }

    fn pair(meetings: Meetings) -> HostPair {
        let hosts = ["linux", "random"].map(str::to_owned);
        HostPair { hosts, proxy: false, meetings }
    }
}
