//! A connection that several captures saw, as text: each packet on its way from point to point.

use crate::report::ladder::label;
use crate::report::punch::{name, opening_in_words, opening_word};
use crate::report::table::{titled, wrapped};
use crate::report::words::word;
use crate::tcp::Side;
use crate::verdict::{
    Carried, Change, ConnectionOutcome, MatchedBy, Merged, MergedCause, PacketFate, SeenAt,
    SeenPoint,
};

/// The connection in full. `files` are the names of the captures, in the order of their numbers.
pub fn merged_text(merged: &Merged, files: &[&str], width: u16) -> String {
    let points = merged.points.iter().zip(1..);
    let points = points.map(|(point, place)| {
        wrapped(&format!("- {}.", point_in_words(point, place, files)), width, "  ")
    });
    let unknown = merged.unknown.iter().map(|what| wrapped(&format!("- {what}."), width, "  "));
    let parts = [
        wrapped(&headline(merged), width, ""),
        titled("Seen at", points.collect()),
        Canvas::new(merged.points.len(), width).ladder(merged),
        diagnoses(merged, width),
        titled("What cannot be known even so", unknown.collect()),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

/// The numbers of the connection in the captures, as `3 + 7`.
pub fn numbers(merged: &Merged) -> String {
    let numbers = merged.points.iter().map(|point| point.connection.to_string());
    numbers.collect::<Vec<_>>().join(" + ")
}

/// In a word or two.
pub fn merged_outcome(merged: &Merged) -> String {
    match merged.outcome {
        ConnectionOutcome::Open => format!("open, {}", opening_word(merged.opening)),
        other => word(&other),
    }
}

fn headline(merged: &Merged) -> String {
    let how = match merged.outcome {
        ConnectionOutcome::Open => opening_in_words(merged.opening).to_owned(),
        other => format!("not open: {}", word(&other)),
    };
    let [a, b] = own_ends(merged);
    format!("Connection {}: a {a} to b {b}: {how}", numbers(merged))
}

/// Each end as the point nearest to it has it.
pub fn own_ends(merged: &Merged) -> [String; 2] {
    let a = merged.points.first().map(|point| point.a.to_string());
    let b = merged.points.last().map(|point| point.b.to_string());
    [a, b].map(Option::unwrap_or_default)
}

/// A point: which capture, how the ends are called there, and its clock.
pub fn point_in_words(point: &SeenPoint, place: usize, files: &[&str]) -> String {
    let file = files.get(point.capture - 1).copied().unwrap_or_default();
    let interface = if point.interface > 0 {
        format!(", interface {}", point.interface)
    } else {
        String::new()
    };
    let post = match point.seen_at {
        SeenAt::A => ", at a's end",
        SeenAt::B => ", at b's end",
        SeenAt::Between => "",
    };
    let mut text = format!(
        "point {place}: {file}{interface}, connection {}{post}: a is {}, b is {}",
        point.connection, point.a, point.b
    );
    if let Some(clock) = point.clock.filter(|clock| clock.error_us > 0.0) {
        let direction = if clock.ahead_us < 0.0 { "behind" } else { "ahead of" };
        text.push_str(&format!(
            "; its clock is {:.3} ms {direction} the first, ±{:.3}",
            clock.ahead_us.abs() / 1e3,
            clock.error_us / 1e3
        ));
        if clock.drift_error_ppm < DRIFT_WORTH_TELLING {
            text.push_str(&format!(
                ", and gains {:.1} ppm, ±{:.1}",
                clock.drift_ppm, clock.drift_error_ppm
            ));
        }
    }
    match point.matched_by {
        MatchedBy::First | MatchedBy::Numbers => {}
        MatchedBy::TimeStamps => {
            text.push_str("; known by time stamps, since numbers were rewritten")
        }
        MatchedBy::Ports => text.push_str("; known by ports and time alone"),
    }
    text
}

fn diagnoses(merged: &Merged, width: u16) -> String {
    let lines = merged.diagnosis.iter().flat_map(|found| {
        let sure = if found.is_doubtful() { ", likely" } else { "" };
        let what = format!(
            "- {}{}{sure} (frames {}): {}.",
            word(&found.cause),
            at_side(found),
            frames(found, 12),
            found.because
        );
        let advice = format!("- What to do: {}.", found.advice);
        [wrapped(&what, width, "  "), wrapped(&advice, width, "  ")]
    });
    let title = match merged.outcome {
        ConnectionOutcome::Open => "What is strange about it",
        ConnectionOutcome::Reset => "Why it was reset",
        _ => "Why it did not open",
    };
    titled(title, lines.collect())
}

pub fn at_side(found: &MergedCause) -> String {
    found.side.map_or(String::new(), |side| format!(" at {}", name(side)))
}

/// The frames that show it, by capture, as `1:5, 2:7`; so many of them.
pub fn frames(found: &MergedCause, most: usize) -> String {
    let shown = found.frames.iter().take(most);
    let shown: Vec<_> = shown.map(|one| format!("{}:{}", one.capture, one.frame)).collect();
    let more = if found.frames.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}

/// The changes that a packet met, each way once: what has been said before is left out.
pub fn new_changes(packet: &Carried, said: &mut Vec<(usize, Side, Change)>) -> Vec<String> {
    let mut lines = Vec::new();
    for pair in packet.passed.windows(2) {
        let new = pair[1].changes.iter().filter(|change| {
            let key = (pair[1].point, packet.from, (*change).clone());
            let is_new = !said.contains(&key);
            if is_new {
                said.push(key);
            }
            is_new
        });
        let new: Vec<_> = new.map(change_in_words).collect();
        if !new.is_empty() {
            lines.push(format!(
                "from point {} to {}: {}",
                pair[0].point,
                pair[1].point,
                new.join(", ")
            ));
        }
    }
    lines
}

fn change_in_words(change: &Change) -> String {
    let field = word(&change.field).replace('-', " ");
    match (change.from.is_empty(), change.to.is_empty()) {
        (true, _) => format!("{field} {} put in", change.to),
        (_, true) => format!("{field} {} taken out", change.from),
        _ => format!("{field} {} became {}", change.from, change.to),
    }
}

/// Columns of text with one for each point.
struct Canvas {
    columns: Vec<usize>,
    width: usize,
}

impl Canvas {
    fn new(points: usize, width: u16) -> Self {
        let room = usize::from(width).clamp(60, 120) - TIME - 2 - DELAY;
        let gaps = points.saturating_sub(1).max(1);
        Self { columns: (0..points).map(|place| place * (room - 1) / gaps).collect(), width: room }
    }

    fn ladder(&self, merged: &Merged) -> String {
        let mut lines = vec![self.heading()];
        let mut said = Vec::new();
        for (at_us, row) in rows(merged).into_iter().take(MOST_ROWS) {
            match row {
                Row::Packet(packet) => {
                    lines.push(self.packet(packet));
                    let changes = new_changes(packet, &mut said).into_iter();
                    lines.extend(changes.map(|what| self.remark(&what)));
                }
                Row::State(side, what) => lines.push(self.state(at_us, side, &what)),
            }
        }
        let left_out = rows(merged).len().saturating_sub(MOST_ROWS);
        if left_out > 0 {
            lines.push(format!("{:TIME$}  … and {left_out} more", ""));
        }
        lines.join("\n")
    }

    fn remark(&self, what: &str) -> String {
        let width = u16::try_from(self.width + DELAY).unwrap_or(u16::MAX);
        let lines = wrapped(&format!("· {what}"), width, "  ");
        let lines = lines.lines().map(|line| format!("{:TIME$}  {line}", ""));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn heading(&self) -> String {
        let mut canvas = vec![' '; self.width];
        let last = self.columns.len() - 1;
        for (place, column) in self.columns.iter().enumerate() {
            let text = match place {
                0 => "1 (a)".to_owned(),
                _ if place == last => format!("(b) {}", place + 1),
                _ => (place + 1).to_string(),
            };
            let start = if place == last { column + 1 - text.chars().count() } else { *column };
            put(&mut canvas, start, &text);
        }
        format!("{:>TIME$}  {}", "ms", canvas.into_iter().collect::<String>().trim_end())
    }

    fn packet(&self, packet: &Carried) -> String {
        let mut canvas = vec![' '; self.width];
        self.columns.iter().for_each(|column| canvas[*column] = '│');
        let (from, to) = self.way(packet);
        let (low, high) = (from.min(to), from.max(to));
        canvas[low..=high].iter_mut().for_each(|place| *place = '─');
        for pass in &packet.passed {
            canvas[self.columns[pass.point - 1]] = '┼';
        }
        let begin = if packet.made_between.is_some() { '○' } else { '├' };
        canvas[from] = if packet.from == Side::B && begin == '├' { '┤' } else { begin };
        canvas[to] = match (packet.fate, packet.from) {
            (PacketFate::Died, _) => '✕',
            (PacketFate::Unknown, _) => '?',
            (_, Side::A) => '▶',
            (_, Side::B) => '◀',
        };
        let text = format!(" {} ", label(&packet.packet.body));
        let start = match packet.from {
            Side::A => low + 2,
            Side::B => high.saturating_sub(text.chars().count() + 1),
        };
        if text.chars().count() + 4 <= high - low {
            put(&mut canvas, start, &text);
        }
        let first = packet.passed.first().map_or(0.0, |pass| pass.at_us);
        let line = canvas.into_iter().collect::<String>();
        format!("{:>TIME$.3}  {line}{}", first / 1e3, took(packet)).trim_end().to_owned()
    }

    /// The columns where its line begins and ends; half way to the next point where that is not known.
    fn way(&self, packet: &Carried) -> (usize, usize) {
        let column = |point: usize| self.columns[point - 1];
        let middle = |one: usize, other: usize| column(one).midpoint(column(other));
        let first = packet.passed.first().map_or(1, |pass| pass.point);
        let last = packet.passed.last().map_or(1, |pass| pass.point);
        let points = self.columns.len();
        let beyond = match packet.from {
            Side::A => (last + 1).min(points),
            Side::B => last.saturating_sub(1).max(1),
        };
        let begin = packet.made_between.map_or(column(first), |[one, other]| middle(one, other));
        let end = match packet.fate {
            PacketFate::Arrived => column(last),
            PacketFate::ArrivedUnseen => column(if packet.from == Side::A { points } else { 1 }),
            PacketFate::Died | PacketFate::Unknown => middle(last, beyond),
        };
        (begin, end)
    }

    fn state(&self, at_us: f64, side: Side, what: &str) -> String {
        let text = format!("· {what}");
        let text = match side {
            Side::A => text,
            Side::B => format!("{text:>width$}", width = self.width),
        };
        format!("{:>TIME$.3}  {text}", at_us / 1e3)
    }
}

/// How long it was under way between the first and the last point that saw it.
fn took(packet: &Carried) -> String {
    let ends = packet.passed.first().zip(packet.passed.last());
    match ends {
        Some((first, last)) if first.point != last.point => {
            format!(" {:+.3}", (last.at_us - first.at_us) / 1e3)
        }
        _ => String::new(),
    }
}

fn put(canvas: &mut [char], start: usize, text: &str) {
    text.chars().zip(canvas.iter_mut().skip(start)).for_each(|(letter, place)| *place = letter);
}

enum Row<'a> {
    Packet(&'a Carried),
    State(Side, String),
}

/// Packets and changes of state, in order of time.
fn rows(merged: &Merged) -> Vec<(f64, Row<'_>)> {
    let packets = merged.packets.iter().map(|packet| {
        let at = packet.passed.first().map_or(0.0, |pass| pass.at_us);
        (at, Row::Packet(packet))
    });
    let states = merged
        .states
        .iter()
        .map(|change| (change.at_us, Row::State(change.side, change.to.to_string())));
    let mut rows: Vec<_> = packets.chain(states).collect();
    rows.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    rows
}

/// The width of a time, and of a delay.
const TIME: usize = 11;
const DELAY: usize = 12;

/// More are no ladder but a list.
const MOST_ROWS: usize = 60;

/// Where next to nothing is known of a drift, nothing is said.
const DRIFT_WORTH_TELLING: f64 = 100.0;
