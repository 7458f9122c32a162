//! What `doctor` answers, as a table and as JSON.

use comfy_table::ColumnConstraint;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::json::{object, schema_of};
use super::table::{plain, text_of, titled, wrapped};
use super::words;
use crate::doctor::{Check, Diagnosis, State};

/// The schema's name; the number rises with every change that a reader may trip over.
const SCHEMA: &str = "tso-probe/doctor/1";

/// The diagnosis as one JSON object, its schema's name first.
pub fn doctor_json(diagnosis: &Diagnosis) -> Value {
    object(&Answer { schema: SchemaName::Doctor, diagnosis })
}

/// The JSON Schema of what [`doctor_json`] returns.
pub fn doctor_schema() -> Value {
    schema_of::<Answer<'_>>(SCHEMA)
}

/// What `doctor --json` answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    /// Which schema this keeps to.
    schema: SchemaName,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
}

#[derive(Serialize, JsonSchema)]
enum SchemaName {
    #[serde(rename = "tso-probe/doctor/1")]
    Doctor,
}

/// The diagnosis as text of this many columns: what was seen, then what to do about all that is not
/// fine. Commands stand on lines of their own, whole, to be copied. With `colour`, in ANSI's.
pub fn doctor_table(diagnosis: &Diagnosis, width: u16, colour: bool) -> String {
    let wrong = diagnosis.checks.iter().filter(|check| check.state != State::Fine);
    let parts = [
        seen(&diagnosis.checks, width),
        titled("Why it matters, and what mends it", wrong.map(|c| remedy(c, width)).collect()),
        wrapped(&conclusion(diagnosis), width, ""),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let text = parts.join("\n\n") + "\n";
    if colour { painted(&text) } else { text }
}

fn seen(checks: &[Check], width: u16) -> String {
    let mut table = plain(width.max(NARROWEST));
    table.set_header(["Check", "State", "Seen"]);
    for check in checks {
        let seen = check.seen.join("\n");
        table.add_row([&words::word(&check.name).replace('-', " "), mark(check.state), &seen]);
    }
    table.set_constraints([ColumnConstraint::ContentWidth, ColumnConstraint::ContentWidth]);
    text_of(&table)
}

fn remedy(check: &Check, width: u16) -> String {
    let name = words::word(&check.name).replace('-', " ");
    let why = wrapped(&format!("- {name}: {}", check.matters), width, "  ");
    let commands = check.mend.iter().map(|command| format!("\n    {command}"));
    why + &commands.collect::<String>()
}

fn conclusion(diagnosis: &Diagnosis) -> String {
    let of = |state: State| diagnosis.checks.iter().filter(move |check| check.state == state);
    let names = |state: State| {
        of(state).map(|check| words::word(&check.name).replace('-', " ")).collect::<Vec<_>>()
    };
    match diagnosis.worst {
        State::Fine => "Nothing on this machine stands in the way.".to_owned(),
        State::Unknown => {
            format!("Nothing seen stands in the way; unseen: {}.", names(State::Unknown).join(", "))
        }
        State::Warning => {
            let all = names(State::Warning).join(", ");
            format!("This may spoil a measurement or a punch: {all}.")
        }
        State::Failing => {
            let all = names(State::Failing).join(", ");
            format!("This spoils a measurement or a punch: {all}.")
        }
    }
}

const fn mark(state: State) -> &'static str {
    match state {
        State::Fine => "✓ fine",
        State::Unknown => "? unknown",
        State::Warning => "! warning",
        State::Failing => "✗ failing",
    }
}

/// Colours the marks, which stand nowhere else.
fn painted(text: &str) -> String {
    let marks = [
        (State::Fine, "\x1b[32m"),
        (State::Unknown, "\x1b[33m"),
        (State::Warning, "\x1b[33m"),
        (State::Failing, "\x1b[31m"),
    ];
    marks.into_iter().fold(text.to_owned(), |text, (state, colour)| {
        let mark = mark(state);
        text.replace(mark, &format!("{colour}{mark}\x1b[0m"))
    })
}

/// Below this a table's words break apart.
const NARROWEST: u16 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::diagnose;
    use crate::doctor::testing::{healthy, sick};

    #[test]
    fn the_schema_in_the_documentation_is_ours() {
        let written = include_str!("../../docs/doctor.schema.json");
        let written: Value = serde_json::from_str(written).expect("JSON");
        let remedy = "cargo run -- doctor --json-schema > docs/doctor.schema.json";
        assert!(written == doctor_schema(), "docs/doctor.schema.json is out of date: {remedy}");
    }

    #[test]
    fn every_diagnosis_keeps_to_the_schema() {
        let validator = jsonschema::validator_for(&doctor_schema()).expect("a schema");
        for facts in [healthy(), sick()] {
            let json = doctor_json(&diagnose(&facts));
            let broken: Vec<_> = validator.iter_errors(&json).map(|e| e.to_string()).collect();
            assert_eq!(broken, Vec::<String>::new(), "{json:#}");
            assert_eq!(json["schema"], SCHEMA);
        }
    }

    #[test]
    fn a_diagnosis_reads_well_in_eighty_columns() {
        let text = doctor_table(&diagnose(&sick()), 80, false);
        assert_eq!(format!("\n{text}"), SICK);
        let text = doctor_table(&diagnose(&healthy()), 80, false);
        assert!(text.ends_with("\n\nNothing on this machine stands in the way.\n"), "{text}");
        assert!(!text.contains("mends"), "{text}");
    }

    #[test]
    fn no_line_but_a_command_is_wider_than_the_terminal() {
        for width in [60, 80, 132] {
            let text = doctor_table(&diagnose(&sick()), width, false);
            let prose = text.lines().filter(|line| !is_command(line));
            let widest = prose.map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.into()), "{text}");
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let coloured = doctor_table(&diagnose(&sick()), 80, true);
        assert!(coloured.contains("\x1b[31m✗ failing\x1b[0m"), "{coloured}");
        let codes = ["\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"];
        let plain = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(format!("\n{plain}"), SICK);
    }

    /// A command stands behind four blanks, the table's further lines behind many.
    fn is_command(line: &str) -> bool {
        line.strip_prefix("    ").is_some_and(|rest| !rest.starts_with(' '))
    }

    const SICK: &str = "
  Check          State       Seen
────────────────────────────────────────────────────────────────────────────────
  privilege      ! warning   raw sockets and capture (CAP_NET_RAW): not
                             allowed; classify and serve cannot craft
                             segments, punch has no packets to show
                             the packet filter (CAP_NET_ADMIN): not allowed;
                             classify cannot guard its ports, and this host's
                             rules stay unseen
                             the kernel's socket states (root): not allowed;
                             whether an opening crossed is told by packets
                             alone
                             stun, punch without its proof, classify --sim and
                             --from work all the same
  firewall       ? unknown   cannot read the packet filter: not permitted
  clock          ! warning   nobody keeps the clock; the kernel puts its error
                             at 16000.000 ms, 16000.000 ms at most
  route          ! warning   through wg0 via 192.168.1.1, from 192.168.1.2
                             policy routing decides: the route stands in table
                             51820
                             wg0 is a tunnel (wireguard): a VPN, or a dial-up
                             line
  offloads       ! warning   wg0: generic receive offload (GRO), generic
                             segmentation offload (GSO) on
                             SYNs and other segments without data are not
                             affected
  cpu            ! warning   25.0 % of the CPU time went to others on the same
                             host
                             timed waits end 0.06 ms late (p50), 0.90 ms (p99)
  local ports    ✗ failing   port 5000: a listener on 0.0.0.0:5000
                             port 40000: TIME-WAIT to 203.0.113.9:6000, for a
                             minute at most
                             40000: among those that the kernel gives to other
                             connections (32768-60999)
  tcp settings   ! warning   tcp_syncookies is 2: who accepts goes without
                             SYN-RECEIVED, so it is never seen
                             tcp_syn_retries is 1: the kernel gives a punch up
                             early

Why it matters, and what mends it
- privilege: Crafted segments, a capture as proof and the kernel's own word on a
  crossed opening take rights that ordinary users lack.
    sudo setcap cap_net_raw,cap_net_admin=ep $(command -v tso-probe)
    sudo tso-probe COMMAND
- firewall: What this host's own rules swallow looks like a NAT that filters,
  and a SYN that does not arrive crosses nothing.
    sudo tso-probe doctor
- clock: With punch --at, both sides must leave within the one-way delay of each
  other, each by its own clock.
    sudo timedatectl set-ntp true
- route: The NAT that is measured and punched is the one that this route leads
  through; behind a VPN, it is the VPN's.
    ip rule list
    ip route get 203.0.113.9
    sudo ip route add 203.0.113.9 via GATEWAY dev INTERFACE
- offloads: A capture shows segments as the kernel has them: merged ones, and
  large ones that the line never saw.
    sudo ethtool -K wg0 gro off gso off
- cpu: A process that is not run when its time has come sends late: delays are
  measured too long, and SYNs miss each other.
    vmstat 1  # column st; run it on a host that is less busy
- local ports: A punch leaves from a port that was agreed upon: whoever has it
  keeps us from binding it, and a connection that lingers there from opening the
  same again.
    sudo ss -Hantp sport = :5000
    sudo ss -Hantp sport = :40000
- tcp settings: They are the kernel's defaults on most machines; other values
  change what an opening looks like, or end it early.
    sudo sysctl -w net.ipv4.tcp_syncookies=1
    sudo sysctl -w net.ipv4.tcp_syn_retries=6

This spoils a measurement or a punch: local ports.
";
}
