//! An analysis as one page of HTML: no script, nothing from a network, readable in dark and light.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Analysis, at, connection_picture, outcome, summary_text};
use crate::report::words::word;
use crate::verdict::{Confidence, Connection};

/// The analysis as a page.
pub fn analyze_page(analysis: &Analysis<'_>) -> String {
    let in_full = &analysis.shown[..analysis.shown.len().min(MOST_IN_FULL)];
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
                @if analysis.shown.len() > 1 {
                    h2 { "When" }
                    (timeline(analysis.shown))
                    h2 { "Which" }
                    (table(analysis.shown, in_full.len()))
                }
                @for connection in in_full { (section(connection)) }
            }
        }
    };
    page.into_string()
}

/// Each connection as a mark at the time of its first packet, in a row for each outcome.
fn timeline(shown: &[Connection]) -> Markup {
    let begin = shown.iter().map(|one| one.first_s).fold(f64::INFINITY, f64::min);
    let end = shown.iter().map(|one| one.last_s).fold(f64::NEG_INFINITY, f64::max);
    let x = |at: f64| 170.0 + (at - begin) / (end - begin).max(1e-6) * 660.0;
    let mut rows: Vec<String> = shown.iter().map(outcome).collect();
    rows.sort();
    rows.dedup();
    let height = 30 + rows.len() * 24;
    html! {
        svg viewBox=(format!("0 0 860 {height}")) role="img" aria-label="when each connection began" {
            @for (place, row) in rows.iter().enumerate() {
                @let y = 18 + place * 24;
                text x="0" y=(y + 4) { (row) }
                line.grid x1="170" x2="830" y1=(y) y2=(y) {}
                @for one in shown.iter().filter(|one| outcome(one) == *row) {
                    // From its first packet to its last.
                    rect.mark x=(format!("{:.1}", x(one.first_s))) y=(y - 6) height="12"
                        width=(format!("{:.1}", (x(one.last_s) - x(one.first_s)).max(3.0))) {
                        title { (one.number) ": " (one.a) " to " (one.b) }
                    }
                }
            }
            text x="170" y=(height - 2) { "0 s" }
            text x="830" y=(height - 2) text-anchor="end" { (format!("{:.3} s", end - begin)) }
        }
    }
}

fn table(shown: &[Connection], in_full: usize) -> Markup {
    html! {
        table {
            thead { tr { th { "No." } th { "From" } th { "To" } th { "Outcome" } th { "Why" } } }
            tbody {
                @for (place, one) in shown.iter().enumerate() {
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
                        @if found.confidence == Confidence::Likely { " (likely)" }
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
            (PreEscaped(connection_picture(connection)))
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
pre{overflow-x:auto;font-size:.8rem}a{color:var(--mark)}
";
