//! What `stun` answers, as a table and as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::json::{object, schema_of};
use super::table::{plain, text_of, titled, wrapped};
use super::words;
use crate::nat::Mapping;
use crate::verdict::{Agreement, Finding, Payload, StunServer, StunVerdict, Unknown};
use crate::wire::Endpoint;

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/stun/1";

/// The verdict as one JSON object, its schema's name first.
pub fn stun_json(verdict: &StunVerdict) -> Value {
    object(&Answer { schema: SchemaName::Stun, verdict })
}

/// The JSON Schema of what [`stun_json`] returns.
pub fn stun_schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// What `stun --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    #[serde(flatten)]
    verdict: &'a StunVerdict,
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/stun/1")]
    Stun,
}

/// The verdict as text of this many columns.
pub fn stun_table(verdict: &StunVerdict, width: u16) -> String {
    let troubles = verdict.troubles.iter().map(|trouble| wrapped(trouble, width, "  "));
    let parts = [
        servers(&verdict.servers, width),
        remarks(&verdict.servers, width),
        findings(verdict, width),
        titled("What spoiled the run", troubles.collect()),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

fn servers(servers: &[StunServer], width: u16) -> String {
    if servers.is_empty() {
        return String::new();
    }
    let mut table = plain(width);
    table.set_header(["Server", "Local", "External", "Round trip"]);
    for server in servers {
        let external = match server.problem {
            None => shown(server.external),
            Some(problem) => format!("none: {}", words::word(&problem)),
        };
        let round_trip = server.round_trip_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let name = match server.named_by {
            None => server.server.to_string(),
            Some(_) => format!("+ {}", server.server),
        };
        table.add_row([name, shown(server.local), external, round_trip]);
    }
    let named = servers.iter().any(|server| server.named_by.is_some());
    let note = if named { "\n+ named by the server above as its own" } else { "" };
    text_of(&table) + note
}

fn shown(end: Option<Endpoint>) -> String {
    end.map_or("-".to_owned(), |end| end.to_string())
}

fn remarks(servers: &[StunServer], width: u16) -> String {
    let lines = servers.iter().filter_map(|server| {
        let remark = server.remark.as_ref()?;
        Some(wrapped(&format!("- {}: {remark}", server.server), width, "  "))
    });
    titled("About servers, and nothing of the NAT", lines.collect())
}

fn findings(verdict: &StunVerdict, width: u16) -> String {
    if verdict.servers.is_empty() {
        return String::new();
    }
    let mut table = plain(width);
    table.set_header(["Finding", "Value", "Which means"]);
    let rows = [
        row("translated", &verdict.translated, "no server said", |yes| {
            if *yes { ("yes", TRANSLATED) } else { ("no", "no NAT on the way to these servers") }
        }),
        row("agreement", &verdict.agreement, "it takes two servers that answer", |agreement| {
            match agreement {
                Agreement::Same => ("same", "all servers saw one external endpoint"),
                Agreement::Different => {
                    ("different", "the external endpoint depends on the server")
                }
            }
        }),
        row("mapping", &verdict.mapping, NO_CLASS, |class| class_in_words(*class)),
        row("payload", &verdict.payload, NO_PAYLOAD, |payload| match payload {
            Payload::Untouched => ("untouched", "addresses in the clear pass as they are"),
            Payload::Rewritten => ("rewritten", "the NAT replaces addresses in what passes"),
        }),
    ];
    for row in rows {
        table.add_row(row);
    }
    text_of(&table)
}

const fn class_in_words(class: Mapping) -> (&'static str, &'static str) {
    match class {
        Mapping::EndpointIndependent => {
            ("endpoint-independent", "a peer finds us where a server saw us")
        }
        Mapping::AddressDependent => {
            ("address-dependent", "every peer's address finds us at another endpoint")
        }
        Mapping::AddressAndPortDependent => {
            ("address-and-port-dependent", "every peer finds us at another endpoint")
        }
    }
}

const NO_CLASS: &str = "it takes a server that names a second address (RFC 5780) and answers there";
const NO_PAYLOAD: &str = "no server named us in the clear from behind a NAT";
const TRANSLATED: &str = "servers see an endpoint that is not ours";

fn row<T>(
    name: &str,
    finding: &Finding<T>,
    unasked: &'static str,
    show: impl Fn(&T) -> (&'static str, &'static str),
) -> [String; 3] {
    let (value, because) = match finding {
        Finding::Known { value, .. } => show(value),
        Finding::Unknown { why: why @ Unknown::Contradicted, .. } => {
            ("? unknown", words::because(*why))
        }
        Finding::Unknown { .. } => ("? unknown", unasked),
    };
    [name, value, because].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Problem;

    #[test]
    fn the_schema_in_the_documentation_is_ours() {
        let written = include_str!("../../docs/stun.schema.json");
        let written: Value = serde_json::from_str(written).expect("JSON");
        let remedy = "cargo run -- stun --json-schema > docs/stun.schema.json";
        assert!(written == stun_schema(), "docs/stun.schema.json is out of date: {remedy}");
    }

    #[test]
    fn an_answer_reads_well_in_eighty_columns() {
        let end = |text: &str| text.parse().ok();
        let server = |server: &str, named_by, external, problem: Option<Problem>| StunServer {
            server: end(server).expect("an endpoint"),
            named_by,
            local: problem.is_none().then(|| end("192.168.1.2:5000")).flatten(),
            external,
            round_trip_ms: problem.is_none().then_some(12.34),
            software: None,
            problem,
            remark: problem.map(|_| "it took the connection and said nothing".to_owned()),
        };
        let verdict = StunVerdict {
            servers: vec![
                server("203.0.113.10:3478", None, end("198.51.100.1:5000"), None),
                server(
                    "203.0.113.11:3479",
                    end("203.0.113.10:3478"),
                    end("198.51.100.1:5000"),
                    None,
                ),
                server("192.0.2.1:3478", None, None, Some(Problem::Silent)),
            ],
            external: vec![end("198.51.100.1:5000").expect("an endpoint")],
            translated: found(true),
            agreement: Finding::unknown(Unknown::NeedsSecondAddress),
            mapping: found(Mapping::EndpointIndependent),
            payload: found(Payload::Untouched),
            troubles: Vec::new(),
            trouble: Vec::new(),
        };
        let text = stun_table(&verdict, 80);
        assert_eq!(format!("\n{text}"), EXPECTED);
    }

    fn found<T>(value: T) -> Finding<T> {
        Finding::Known { value, details: Default::default(), proof: Default::default() }
    }

    const EXPECTED: &str = "
  Server                Local              External            Round trip
───────────────────────────────────────────────────────────────────────────
  203.0.113.10:3478     192.168.1.2:5000   198.51.100.1:5000   12.3 ms
  + 203.0.113.11:3479   192.168.1.2:5000   198.51.100.1:5000   12.3 ms
  192.0.2.1:3478        -                  none: silent        -
+ named by the server above as its own

About servers, and nothing of the NAT
- 192.0.2.1:3478: it took the connection and said nothing

  Finding      Value                  Which means
────────────────────────────────────────────────────────────────────────────────
  translated   yes                    servers see an endpoint that is not ours
  agreement    ? unknown              it takes two servers that answer
  mapping      endpoint-independent   a peer finds us where a server saw us
  payload      untouched              addresses in the clear pass as they are
";
}
