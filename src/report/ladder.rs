//! Who sent what when, and how the states changed: the rows of a ladder, and the ladder as text.

use crate::tcp::{Side, State};
use crate::verdict::{Connection, PunchVerdict, StateSource, TraceLine};
use crate::wire::{Body, Flags, Icmp, Segment};

/// The rows of a ladder, in order of time.
pub struct Ladder {
    /// The ends that were run, with their endpoints.
    pub ends: Vec<(Side, String)>,
    /// What the other end is, where one alone was run.
    pub peer: Option<String>,
    pub rows: Vec<Row>,
    /// How many more there were.
    pub left_out: usize,
}

/// What happened at one end.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub at_us: f64,
    pub side: Side,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Left(String),
    Came(String),
    Became(State),
}

impl Ladder {
    /// Of a punch: each packet at the end that saw it.
    pub fn of_punch(verdict: &PunchVerdict) -> Self {
        let (rows, left_out) = rows(verdict.trace.iter().map(packet).chain(states(verdict)));
        let ends: Vec<_> =
            verdict.ends.iter().map(|end| (end.side, end.local.to_string())).collect();
        let alone = verdict.ends.first().filter(|_| verdict.ends.len() == 1);
        let peer = alone.map(|end| end.remote.unwrap_or(end.aimed_at).to_string());
        Self { ends, peer, rows, left_out }
    }

    /// Of a connection in a capture: where that was made its packets have a time, and nowhere else, so
    /// each leads across.
    pub fn of_connection(connection: &Connection) -> Self {
        let packets = connection.trace.iter().map(|line| {
            let what = label(&line.packet.body);
            let what = if line.from == Side::A { What::Left(what) } else { What::Came(what) };
            Row { at_us: line.at_us, side: Side::A, what }
        });
        let became = connection.states.iter().map(|change| Row {
            at_us: change.at_us,
            side: change.side,
            what: What::Became(change.to),
        });
        let (rows, left_out) = rows(packets.chain(became));
        let ends = vec![(Side::A, connection.a.to_string())];
        Self { ends, peer: Some(connection.b.to_string()), rows, left_out }
    }

    /// In this many columns.
    pub fn text(&self, width: u16) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let lane = (usize::from(width).clamp(60, 100) - TIME - 2) / 2;
        let mut lines = vec![self.heading(lane)];
        lines.extend(self.rows.iter().map(|row| self.line(row, lane)));
        if self.left_out > 0 {
            lines.push(format!("{:TIME$}  … and {} more", "", self.left_out));
        }
        lines.join("\n")
    }

    fn heading(&self, lane: usize) -> String {
        let left = self.end(Side::A).or_else(|| self.peer.clone()).unwrap_or_default();
        let right = self.end(Side::B).or_else(|| self.peer.clone()).unwrap_or_default();
        let ([left, right], rest) = ([format!("a {left}"), format!("b {right}")], 2 * lane);
        let gap = rest.saturating_sub(left.chars().count());
        format!("{:>TIME$}  {left}{right:>gap$}", "ms")
    }

    fn end(&self, side: Side) -> Option<String> {
        self.ends.iter().find(|(of, _)| *of == side).map(|(_, end)| end.clone())
    }

    /// Packets and states stand at the end that saw them. With one end alone, arrows lead across.
    fn line(&self, row: &Row, lane: usize) -> String {
        let reach = if self.peer.is_some() { 2 * lane } else { lane - 2 };
        let text = match (&row.what, row.side) {
            (What::Left(what), Side::A) => arrow(what, reach, "", "▶"),
            (What::Came(what), Side::A) => {
                format!("{} {what}", shaft("◀", reach - what.chars().count() - 1, ""))
            }
            (What::Left(what), Side::B) => {
                format!("{} {what}", shaft("◀", reach - what.chars().count() - 1, ""))
            }
            (What::Came(what), Side::B) => arrow(what, reach, "", "▶"),
            (What::Became(state), _) => format!("· {state}"),
        };
        let text = match row.side {
            Side::A => text,
            Side::B => format!("{text:>width$}", width = 2 * lane),
        };
        format!("{:>TIME$.3}  {}", row.at_us / 1_000.0, text.trim_end())
    }
}

/// In order of time, and how many more there were than a ladder has.
fn rows(all: impl Iterator<Item = Row>) -> (Vec<Row>, usize) {
    let mut rows: Vec<_> = all.collect();
    rows.sort_by(|one, other| one.at_us.total_cmp(&other.at_us));
    let left_out = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    (rows, left_out)
}

fn arrow(what: &str, reach: usize, tail: &str, head: &str) -> String {
    format!("{what} {}", shaft(tail, reach - what.chars().count() - 1, head))
}

fn shaft(tail: &str, length: usize, head: &str) -> String {
    let line = length.saturating_sub(tail.chars().count() + head.chars().count());
    format!("{tail}{}{head}", "─".repeat(line))
}

fn packet(line: &TraceLine) -> Row {
    let what = label(&line.record.packet.body);
    let what = if line.inbound { What::Came(what) } else { What::Left(what) };
    Row { at_us: line.at_us, side: line.side, what }
}

/// The kernel's word where there is one, else what the packets let infer.
fn states(verdict: &PunchVerdict) -> impl Iterator<Item = Row> {
    verdict.states.iter().filter_map(|change| {
        let mut same_end = verdict.states.iter().filter(|other| other.side == change.side);
        let has_kernel = same_end.any(|other| other.source != StateSource::Wire);
        let counts = (change.source == StateSource::Wire) != has_kernel;
        let to = counts.then_some(change.to)?;
        Some(Row { at_us: change.at_us, side: change.side, what: What::Became(to) })
    })
}

/// A packet in a few letters.
pub fn label(body: &Body) -> String {
    match body {
        Body::Tcp(segment) => of_segment(segment),
        Body::Icmp(icmp) => {
            let Icmp { kind, code, .. } = **icmp;
            format!("ICMP {kind}/{code}")
        }
    }
}

fn of_segment(segment: &Segment) -> String {
    let names =
        [(Flags::SYN, "SYN"), (Flags::FIN, "FIN"), (Flags::RST, "RST"), (Flags::ACK, "ACK")];
    let set = names.iter().filter(|(flag, _)| segment.flags.contains(*flag));
    let set: Vec<_> = set.map(|(_, name)| *name).collect();
    match segment.payload.len() {
        0 => set.join(","),
        length => format!("{} {length} B", set.join(",")),
    }
}

/// The width of a time.
const TIME: usize = 11;

/// More are no ladder but a list.
const MOST_ROWS: usize = 60;
