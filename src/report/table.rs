//! A verdict as tables for a terminal.

use std::collections::BTreeSet;

use comfy_table::{ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};

use super::words::{self, Row};
use crate::verdict::{Decision, Ruling, Vantage, Verdict};

/// The verdict as text of this many columns: the findings, what would make unknown ones known, the
/// requirements, and what it all means. With `colour`, in ANSI's.
pub fn table(verdict: &Verdict, width: u16, colour: bool) -> String {
    let width = width.max(NARROWEST);
    let rows = words::rows(&verdict.findings);
    let parts = [
        wrapped(&of_vantage(&verdict.vantage), width, ""),
        findings(&rows, width),
        remedies(&rows, width),
        requirements(&verdict.requirements, width),
        troubles(&verdict.troubles, width),
        wrapped(&verdict.summary, width, ""),
        of_plan(verdict),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let text = parts.join("\n\n") + "\n";
    if colour { painted(&text) } else { text }
}

fn of_vantage(vantage: &Vantage) -> String {
    let list = |what: &str, all: Vec<String>| {
        (!all.is_empty()).then(|| format!("{what} {}", all.join(", ")))
    };
    let internal = list("internal", vantage.internal.iter().map(ToString::to_string).collect());
    let external = list("external", vantage.external.iter().map(ToString::to_string).collect());
    let seen_by = list("seen by", vantage.reflectors.iter().map(ToString::to_string).collect());
    let interface = vantage.interface.as_ref().map(|name| format!("through {name}"));
    let levels = vantage.nat_levels.map(|levels| match levels {
        0 => "no NAT".to_owned(),
        1 => "one level of NAT".to_owned(),
        more => format!("{more} levels of NAT"),
    });
    let filters = vantage.host_firewall.as_ref().map(|tables| match tables[..] {
        [] => "no packet filter on this host".to_owned(),
        _ => format!("packet filter tables on this host: {}", tables.join(", ")),
    });
    let parts: Vec<_> =
        [internal, interface, external, levels, seen_by, filters].into_iter().flatten().collect();
    parts.join("; ")
}

fn findings(rows: &[Row], width: u16) -> String {
    let mut table = plain(width);
    table.set_header(["Finding", "Value", "Shown by, or why not"]);
    for row in rows {
        let value = row.value.clone().unwrap_or_else(|| "? unknown".to_owned());
        table.add_row([row.name.to_owned(), value, row.because.clone()]);
    }
    table.set_constraints([ColumnConstraint::ContentWidth]);
    text_of(&table)
}

/// What would make unknown findings known, once for each why.
fn remedies(rows: &[Row], width: u16) -> String {
    let whys: BTreeSet<_> = rows.iter().filter_map(|row| row.why).collect();
    let lines = whys.into_iter().map(|why| {
        let line = format!("- {}: {}.", capitalised(words::because(why)), words::remedy(why));
        wrapped(&line, width, "  ")
    });
    titled("To learn what is unknown", lines.collect())
}

/// The requirements that were asked for, and the names of the others.
fn requirements(rulings: &[Ruling], width: u16) -> String {
    let (asked, others): (Vec<_>, Vec<_>) =
        rulings.iter().partition(|ruling| ruling.ruling != Decision::NotAsked);
    if asked.is_empty() {
        return String::new();
    }
    let mut table = plain(width);
    table.set_header(["RFC 5382", "Level", "Ruling", "Because"]);
    for ruling in asked {
        let level = words::word(&ruling.level).to_uppercase();
        table.add_row([ruling.id, &level, words::ruling(ruling.ruling), &ruling.because]);
    }
    let others: Vec<_> = others.iter().map(|ruling| ruling.id).collect();
    let others = match others[..] {
        [] => String::new(),
        _ => format!("\n{}", wrapped(&format!("Not asked: {}.", others.join(", ")), width, "")),
    };
    text_of(&table) + &others
}

fn troubles(troubles: &[String], width: u16) -> String {
    let lines = troubles.iter().map(|trouble| wrapped(&format!("- {trouble}"), width, "  "));
    titled("What spoiled the run, and says nothing of the NAT", lines.collect())
}

/// These lines under a title; nothing without any.
pub fn titled(title: &str, lines: Vec<String>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("{title}\n{}", lines.join("\n"))
}

fn of_plan(verdict: &Verdict) -> String {
    let plan = &verdict.plan;
    if plan.longest_s == 0.0 {
        return String::new();
    }
    let effort = words::word(&plan.effort);
    format!(
        "Took {:.1} s of at most {:.1} s, {} round trips; effort: {effort}.",
        plan.took_s, plan.longest_s, plan.round_trips
    )
}

/// A table with a rule under its head and no other lines.
pub fn plain(width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table
}

/// The table's lines, without the blanks at their ends.
pub fn text_of(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The text in lines of at most this many columns, those after the first behind `indent`.
pub fn wrapped(text: &str, width: u16, indent: &str) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        let wanted = line.chars().count() + 1 + word.chars().count();
        if !line.trim().is_empty() && wanted > usize::from(width) {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Colours the marks, which stand nowhere else, so that widths need not know of colour.
fn painted(text: &str) -> String {
    let met = words::ruling(Decision::Met);
    let broken = words::ruling(Decision::Broken);
    let undecided = words::ruling(Decision::Undecided);
    text.replace(met, &format!("{GREEN}{met}{RESET}"))
        .replace(broken, &format!("{RED}{broken}{RESET}"))
        .replace(undecided, &format!("{YELLOW}{undecided}{RESET}"))
        .replace("? unknown", &format!("{YELLOW}? unknown{RESET}"))
}

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

const STYLE: TableStyle = TableStyle::new().header_separator(RULE);

const RULE: LineStyle = LineStyle::new('─', '─', '─', '─');

/// Below this a table's words break apart.
const NARROWEST: u16 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{known, unknown};
    use crate::verdict::Unknown;

    #[test]
    fn a_verdict_reads_well_in_eighty_columns() {
        assert_eq!(table(&known(), 80, false), KNOWN);
    }

    #[test]
    fn what_is_unknown_comes_with_its_remedy() {
        let text = table(&unknown(Unknown::NeedsSecondAddress), 80, false);
        assert!(
            text.contains("mapping             ? unknown   it takes a server's second address"),
            "{text}"
        );
        assert!(
            text.contains("- It takes a server's second address: give --reflector twice"),
            "{text}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [60, 80, 132] {
            let text = table(&known(), width, false);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.into()), "{text}");
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let coloured = table(&known(), 80, true);
        assert!(coloured.contains("\x1b[31m✗ broken\x1b[0m"), "{coloured}");
        let plain =
            [GREEN, RED, YELLOW, RESET].iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(plain, KNOWN);
    }

    const KNOWN: &str = "\
internal 10.0.0.2; through eth0; external 198.51.100.1; one level of NAT; seen\n\
by 203.0.113.1:5383, [2001:db8::1]:5384\n\
\n\
\x20 Finding             Value                         Shown by, or why not\n\
────────────────────────────────────────────────────────────────────────────────\n\
\x20 mapping             endpoint-independent          frames 1–3, 7\n\
\x20 filtering           address-dependent             silence (by chance 3e-10);\n\
\x20                                                   frames 5–6\n\
\x20   established       endpoint-independent          frame 9\n\
\x20 port assignment     sequential, step +2; seen     frames 1–2\n\
\x20                     4001–4009; next 4011 (90 %)\n\
\x20 port clash          address-and-port-dependent;   frame 4\n\
\x20                     ports: random, not\n\
\x20                     overlapping\n\
\x20 simultaneous open   blocked at syn-ack-out        silence (by chance 3e-10);\n\
\x20                                                   frames 5–6\n\
\x20 unsolicited SYN     icmp-error 3/3 after 6002     frames 12, 14\n\
\x20                     ms, TTL 63\n\
\x20   filtered port     dropped                       silence (by chance 3e-10);\n\
\x20                                                   frames 5–6\n\
\x20 hairpinning         internal-source               frames 20, 22, 24, 26 and\n\
\x20                                                   16 more\n\
\n\
\x20 RFC 5382   Level    Ruling        Because\n\
────────────────────────────────────────────────────────────────────────────\n\
\x20 REQ-1      MUST     ✓ met         Its mapping is endpoint-independent.\n\
\x20 REQ-2a     MUST     ✗ broken      Our SYN,ACK did not get out.\n\
\x20 REQ-3      SHOULD   ? undecided   The two sets of probes to 198.51.100.1\n\
\x20                                   disagree.\n\
Not asked: REQ-10.\n\
\n\
What spoiled the run, and says nothing of the NAT\n\
- Reflector 2 (203.0.113.1:5383) went away.\n\
\n\
A simultaneous open does not work through this NAT, since it drops the SYN,ACK\n\
that a host answers a crossing SYN with; an ordinary opening towards\n\
198.51.100.1 does, as its filtering is endpoint-independent.\n\
\n\
Took 1.2 s of at most 9.5 s, 6 round trips; effort: full.\n";
}
