//! What `ports` answers, as text and as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::json::{object, schema_of};
use super::table::{plain, text_of, wrapped};
use crate::verdict::{NextPorts, PortsVerdict, RuleBelief, SeenFlow};

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/ports/1";

/// The verdict as one JSON object, its schema's name first.
pub fn ports_json(verdict: &PortsVerdict) -> Value {
    object(&Answer { schema: SchemaName::Ports, verdict })
}

/// The JSON Schema of what [`ports_json`] returns.
pub fn ports_schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// What `ports --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    /// What was found.
    #[serde(flatten)]
    verdict: &'a PortsVerdict,
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/ports/1")]
    Ports,
}

/// The verdict as text of this many columns.
pub fn ports_text(verdict: &PortsVerdict, width: u16) -> String {
    let mut rules = plain(width);
    rules.set_header(["Chooses ports", "Rule", "Likely", "Foresaw"]);
    for (who, beliefs) in [("this host", &verdict.host), ("the NAT", &verdict.nat)] {
        for belief in beliefs.iter().take_while(|belief| belief.probability >= WORTH_A_LINE) {
            rules.add_row(rule_row(who, belief));
        }
    }
    let mut flows = plain(width);
    flows.set_header(["Began", "Local port", "Server", "Seen as"]);
    for flow in &verdict.flows {
        flows.add_row(flow_row(flow));
    }
    let next = verdict.next.as_ref().map(|next| wrapped(&foreseen(next), width, ""));
    let failed = match verdict.failed {
        0 => None,
        1 => Some("One flow came to nothing.".to_owned()),
        failed => Some(format!("{failed} flows came to nothing.")),
    };
    let parts = [Some(text_of(&rules)), next, Some(text_of(&flows)), failed];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n") + "\n"
}

fn rule_row(who: &str, belief: &RuleBelief) -> [String; 4] {
    let RuleBelief { text, probability, foreseen, of, others_per_s, .. } = belief;
    let others = others_per_s.filter(|rate| *rate >= 0.05);
    let others = others.map(|rate| format!(", beside {rate:.1} ports/s of others"));
    let rule = format!("{text}{}", others.unwrap_or_default());
    [who.to_owned(), rule, percent(*probability), format!("{foreseen} of {of}")]
}

fn flow_row(flow: &SeenFlow) -> [String; 4] {
    let SeenFlow { at_ms, server, internal, external } = flow;
    [format!("{at_ms:.0} ms"), internal.to_string(), server.to_string(), external.to_string()]
}

fn foreseen(next: &NextPorts) -> String {
    let NextPorts { to, ports, chances: [one, four, all] } = next;
    let likeliest = ports.iter().take(LISTED);
    let likeliest: Vec<_> =
        likeliest.map(|next| format!("{} ({})", next.port, percent(next.probability))).collect();
    format!(
        "The next flow to {to} will be seen from port {}. The first is right with {}, one of the \
         first 4 with {}, one of the first {} with {}.",
        likeliest.join(", "),
        percent(*one),
        percent(*four),
        ports.len(),
        percent(*all)
    )
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.1 => "<0.1 %".to_owned(),
        // Never more than is known.
        percent if percent >= 99.95 => ">99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

/// Rules that are less likely are in the JSON alone.
const WORTH_A_LINE: f64 = 0.01;

/// So many candidates fit two lines.
const LISTED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::PortAssignment;
    use crate::verdict::NextPort;

    #[test]
    fn rules_next_ports_and_flows_fit_a_terminal() {
        let text = ports_text(&verdict(), 80);
        for part in [
            "preservation",
            ">99.9 %",
            "12 of 12",
            "41007 (60.0 %), 41008 (20.0 %). The first is right with 60.0 %",
            "192.0.2.1:3478",
            "One flow came to nothing.",
        ] {
            assert!(text.replace('\n', " ").contains(part), "{part}: {text}");
        }
        assert!(!text.contains("random"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn the_schema_in_the_docs_is_the_one_that_is_printed() {
        let written = include_str!("../../docs/ports.schema.json");
        let printed = format!("{:#}\n", ports_schema());
        let remedy = "cargo run -- ports --json-schema > docs/ports.schema.json";
        assert!(written == printed, "it is out of date; write it anew: {remedy}");
        let validator = jsonschema::validator_for(&ports_schema()).unwrap();
        assert!(validator.is_valid(&ports_json(&verdict())));
    }

    fn verdict() -> PortsVerdict {
        let belief = |rule, text: &str, probability| RuleBelief {
            rule,
            text: text.to_owned(),
            probability,
            foreseen: 12,
            of: 12,
            others_per_s: Some(1.5),
        };
        let server = "192.0.2.1:3478".parse().unwrap();
        let external = "198.51.100.1:41005".parse().unwrap();
        let next = |port, probability| NextPort { port, probability };
        PortsVerdict {
            nat: vec![
                belief(PortAssignment::Preservation, "preservation", 0.9996),
                belief(PortAssignment::Random, "random in 1024-65535", 0.0004),
            ],
            host: vec![belief(PortAssignment::Sequential, "sequential +1", 0.99)],
            next: Some(NextPorts {
                to: server,
                ports: vec![next(41_007, 0.6), next(41_008, 0.2)],
                chances: [0.6, 0.8, 0.8],
            }),
            flows: vec![SeenFlow { at_ms: 12.4, server, internal: 41_005, external }],
            failed: 1,
            troubles: Vec::new(),
            trouble: Vec::new(),
        }
    }
}
