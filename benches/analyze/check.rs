//! Whether `analyze` says of a capture what is true of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::traffic::Truth;

/// What `analyze` says.
#[derive(Debug)]
struct Answer {
    outcomes: BTreeMap<String, u64>,
    openings: BTreeMap<String, u64>,
    connections: u64,
    /// How many of them it listed.
    listed: u64,
    packets: u64,
    /// Those given up since too many were under way, by the capture's account.
    given_up: u64,
}

/// Analyses the capture, and panics if a count is not what it should be.
pub fn check(program: &str, file: &Path, truth: &Truth) {
    let answer = ask(program, file);
    assert_eq!(answer.packets, truth.packets, "packets");
    assert_eq!(answer.listed, answer.connections, "each connection is listed");
    assert_eq!(answer.openings, truth.openings, "openings");
    if truth.flood == 0 {
        assert_eq!(answer.connections, truth.connections, "connections");
        assert_eq!(answer.outcomes, truth.outcomes, "outcomes");
        assert_eq!(answer.given_up, 0);
    } else {
        check_flooded(&answer, truth);
    }
    println!(
        "{} connections: every count is that of the truth: {:?}, {:?}",
        answer.connections, answer.outcomes, answer.openings
    );
}

/// In a flood, what was silent for too long is given up, and its next SYN begins another: only what
/// nobody answers can be counted so, and no more often than it sent SYNs.
fn check_flooded(answer: &Answer, truth: &Truth) {
    let count = |of: &BTreeMap<String, u64>, name: &str| of.get(name).copied().unwrap_or_default();
    let (mut rest, mut true_rest) = (answer.outcomes.clone(), truth.outcomes.clone());
    for name in SILENT {
        rest.remove(name);
        true_rest.remove(name);
    }
    assert_eq!(rest, true_rest, "outcomes of what was answered");
    let silent: u64 = SILENT.iter().map(|name| count(&answer.outcomes, name)).sum();
    let truly = count(&truth.outcomes, "timed-out") + truth.flood;
    let most = truth.silent_syns + truth.flood;
    assert!((truly..=most).contains(&silent), "{silent} silent ones are none of {truly} to {most}");
    let unfinished = count(&answer.outcomes, "unfinished");
    assert_eq!(answer.given_up, unfinished, "what is given up is said to be unfinished");
    assert!(unfinished >= truth.flood - MOST_UNDER_WAY, "{unfinished} of {}", truth.flood);
}

/// Reads the answer as it comes: of a long capture it is longer than this process should be.
fn ask(program: &str, file: &Path) -> Answer {
    let mut child = Command::new(program)
        .args(["analyze", "--json"])
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let out = BufReader::with_capacity(1 << 16, child.stdout.take().expect("it is piped"));
    let (mut listed, mut end) = (0, String::new());
    for line in out.lines() {
        let line = line.expect("text");
        if line.starts_with(CONNECTION) {
            listed += 1;
        } else if !end.is_empty() || line.starts_with(REST) {
            end += &line;
        }
    }
    assert!(child.wait().expect("it ends").success());
    let end: Value = serde_json::from_str(&format!("{{{end}")).expect("JSON");
    let counts = |name: &str| {
        let counts = end["tally"][name].as_object().expect("counts");
        let number = |count: &Value| count.as_u64().expect("a count");
        counts.iter().map(|(name, count)| (name.clone(), number(count))).collect()
    };
    let number = |value: &Value| value.as_u64().expect("a number");
    Answer {
        outcomes: counts("outcomes"),
        openings: counts("openings"),
        connections: number(&end["tally"]["connections"]),
        listed,
        packets: number(&end["captures"][0]["packets"]),
        given_up: number(&end["captures"][0]["unfinished"]),
    }
}

/// What nothing came back of.
const SILENT: [&str; 2] = ["timed-out", "unfinished"];

/// How a line of `--json` begins that is a connection, and what follows the last of them.
const CONNECTION: &str = "    {\"number\"";
const REST: &str = "  \"captures\"";

/// As many as `analyze` keeps at once.
const MOST_UNDER_WAY: u64 = 1 << 17;
