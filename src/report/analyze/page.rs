//! An analysis as one page of HTML: no script, nothing from a network, readable in dark and light.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::merged::{self, at_side, merged_outcome, numbers, own_ends, point_in_words};
use super::{Analysis, at, connection_picture, merged_picture, outcome, summary_text};
use crate::report::words::word;
use crate::tcp::Side;
use crate::verdict::{Carried, Change, Connection, Merged};

/// The analysis as a page.
pub fn analyze_page(analysis: &Analysis<'_>) -> String {
    let in_full = &analysis.shown[..analysis.shown.len().min(MOST_IN_FULL)];
    let files = analysis.files();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "TCP openings" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "TCP openings" }
                @for capture in analysis.captures { p { (capture.text()) } }
                p { (summary_text(analysis)) }
                @if analysis.count() > 1 {
                    h2 { "When" }
                    (timeline(&marks(analysis)))
                    h2 { "Which" }
                    (table(analysis, in_full.len()))
                }
                @for one in analysis.merged { (merged_section(one, &files)) }
                @for connection in in_full { (section(connection)) }
            }
        }
    };
    page.into_string()
}

/// A connection on the line of time.
struct Mark {
    name: String,
    outcome: String,
    from_s: f64,
    until_s: f64,
}

fn marks(analysis: &Analysis<'_>) -> Vec<Mark> {
    let merged = analysis.merged.iter().map(|one| {
        let [a, b] = own_ends(one);
        let last = one.packets.iter().flat_map(|packet| &packet.passed);
        let last = last.map(|pass| pass.at_us).fold(0.0, f64::max);
        Mark {
            name: format!("{}: {a} to {b}", numbers(one)),
            outcome: merged_outcome(one),
            from_s: one.first_s,
            until_s: one.first_s + last / 1e6,
        }
    });
    let shown = analysis.shown.iter().map(|one| Mark {
        name: format!("{}: {} to {}", one.number, one.a, one.b),
        outcome: outcome(one),
        from_s: one.first_s,
        until_s: one.last_s,
    });
    merged.chain(shown).collect()
}

/// Each connection as a mark from its first packet to its last, in a row for each outcome.
fn timeline(marks: &[Mark]) -> Markup {
    let begin = marks.iter().map(|one| one.from_s).fold(f64::INFINITY, f64::min);
    let end = marks.iter().map(|one| one.until_s).fold(f64::NEG_INFINITY, f64::max);
    let x = |at: f64| 170.0 + (at - begin) / (end - begin).max(1e-6) * 660.0;
    let mut rows: Vec<&str> = marks.iter().map(|one| one.outcome.as_str()).collect();
    rows.sort_unstable();
    rows.dedup();
    let height = 30 + rows.len() * 24;
    html! {
        svg viewBox=(format!("0 0 860 {height}")) role="img" aria-label="when each connection began" {
            @for (place, row) in rows.iter().enumerate() {
                @let y = 18 + place * 24;
                text x="0" y=(y + 4) { (row) }
                line.grid x1="170" x2="830" y1=(y) y2=(y) {}
                @for one in marks.iter().filter(|one| one.outcome == *row) {
                    rect.mark x=(format!("{:.1}", x(one.from_s))) y=(y - 6) height="12"
                        width=(format!("{:.1}", (x(one.until_s) - x(one.from_s)).max(3.0))) {
                        title { (one.name) }
                    }
                }
            }
            text x="170" y=(height - 2) { "0 s" }
            text x="830" y=(height - 2) text-anchor="end" { (format!("{:.3} s", end - begin)) }
        }
    }
}

fn table(analysis: &Analysis<'_>, in_full: usize) -> Markup {
    html! {
        table {
            thead { tr { th { "No." } th { "From" } th { "To" } th { "Outcome" } th { "Why" } } }
            tbody {
                @for one in analysis.merged {
                    @let [a, b] = own_ends(one);
                    tr {
                        td { a href=(format!("#m{}", one.number)) { (numbers(one)) } }
                        td { (a) } td { (b) } td { (merged_outcome(one)) }
                        td { @if let Some(found) = one.diagnosis.first() { (word(&found.cause)) (at_side(found)) } }
                    }
                }
                @for (place, one) in analysis.shown.iter().enumerate() {
                    tr {
                        td {
                            @if place < in_full { a href=(format!("#c{}", one.number)) { (one.number) } }
                            @else { (one.number) }
                        }
                        td { (one.a) } td { (one.b) } td { (outcome(one)) }
                        td { @if let Some(found) = one.diagnosis.first() { (word(&found.cause)) (at(found)) } }
                    }
                }
            }
        }
    }
}

fn merged_section(merged: &Merged, files: &[&str]) -> Markup {
    let [a, b] = own_ends(merged);
    let mut said = Vec::new();
    html! {
        section id=(format!("m{}", merged.number)) {
            h2 { "Connection " (numbers(merged)) ": " (a) " to " (b) }
            p { (merged_outcome(merged)) }
            ul {
                @for (point, place) in merged.points.iter().zip(1..) {
                    li { (point_in_words(point, place, files)) }
                }
            }
            @for found in &merged.diagnosis {
                div.found {
                    p {
                        strong { (word(&found.cause)) (at_side(found)) }
                        @if found.is_doubtful() { " (likely)" }
                        ": " (found.because) "."
                    }
                    p { "What to do: " (found.advice) "." }
                    p.frames { "Shown by frames (capture:frame) " (merged::frames(found, usize::MAX)) }
                }
            }
            @if !merged.unknown.is_empty() {
                p { "What cannot be known even so:" }
                ul { @for what in &merged.unknown { li { (what) } } }
            }
            div.drawing { (PreEscaped(merged_picture(merged))) }
            details {
                summary { "Packets" }
                pre { @for packet in &merged.packets { (packet_in_lines(packet, &mut said)) } }
            }
        }
    }
}

/// A packet, where it passed, and what was changed.
fn packet_in_lines(packet: &Carried, said: &mut Vec<(usize, Side, Change)>) -> String {
    let passed = packet
        .passed
        .iter()
        .map(|pass| format!("{}:{} at {:.3} ms", pass.point, pass.frame, pass.at_us / 1e3));
    let passed = passed.collect::<Vec<_>>().join(", ");
    let mut lines =
        format!("{}\n    {}, point:frame {passed}\n", packet.packet, word(&packet.fate));
    for change in merged::new_changes(packet, said) {
        lines.push_str(&format!("    {change}\n"));
    }
    lines
}

fn section(connection: &Connection) -> Markup {
    let Connection { number, a, b, .. } = connection;
    html! {
        section id=(format!("c{number}")) {
            h2 { "Connection " (number) ": " (a) " to " (b) }
            p { (outcome(connection)) ", " (super::seen_from(connection)) }
            @for found in &connection.diagnosis {
                div.found {
                    p {
                        strong { (word(&found.cause)) (at(found)) }
                        @if found.is_doubtful() { " (likely)" }
                        ": " (found.because) "."
                    }
                    p { "What to do: " (found.advice) "." }
                    p.frames { "Shown by frames " (super::frames(found, usize::MAX)) }
                }
            }
            @if !connection.unknown.is_empty() {
                p { "What cannot be known from here:" }
                ul { @for what in &connection.unknown { li { (what) } } }
            }
            div.drawing { (PreEscaped(connection_picture(connection))) }
            details {
                summary { "Packets" }
                pre {
                    @for line in &connection.trace {
                        (format!("{:>7}  {:>12.3} ms  {}\n", line.frame, line.at_us / 1e3, line.packet))
                    }
                }
            }
        }
    }
}

/// Each has a picture.
const MOST_IN_FULL: usize = 200;

const STYLE: &str = "
:root{color-scheme:light dark;--ground:#fff;--text:#1f2328;--faint:#59636e;--line:#d1d9e0;--mark:#0969da;--found:#fff8c5}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--text:#e6edf3;--faint:#9198a1;--line:#3d444d;--mark:#58a6ff;--found:#2e2a1f}}
body{max-width:60rem;margin:2rem auto;padding:0 1rem;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
.found{background:var(--found);padding:.2rem 1rem;margin:1rem 0;border-radius:6px}.frames,summary{color:var(--faint);font-size:.9rem}
svg{max-width:100%;height:auto}svg text{fill:var(--text);font-size:12px}.grid{stroke:var(--line)}.mark{fill:var(--mark);fill-opacity:.6}
pre{overflow-x:auto;font-size:.8rem}.drawing{overflow-x:auto}.drawing svg{max-width:none}a{color:var(--mark)}
";
