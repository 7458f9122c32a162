//! A connection that several captures saw, as a picture (SVG): a line for each point, and each packet on its
//! way across them.

use svg::node::element::{Group, Line, Rectangle};

use super::merged::{merged_outcome, own_ends};
use crate::report::ladder::label;
use crate::report::picture::{LEFT, MIDDLE, RIGHT, TOP, WIDTH, arrow, class, places, sheet, text};
use crate::tcp::Side;
use crate::verdict::{Carried, Merged, PacketFate};

/// The connection as an SVG document.
pub fn merged_picture(merged: &Merged) -> String {
    let scale = Scale::of(merged);
    let bottom = scale.bottom() + 40.0;
    let ends = own_ends(merged);
    let headline = format!("{} to {}: {}", ends[0], ends[1], merged_outcome(merged));
    let mut drawing = sheet(bottom, &headline);
    for place in 1..=merged.points.len() {
        drawing = drawing.add(lifeline(merged, place, &scale, bottom));
    }
    for packet in &merged.packets {
        drawing = drawing.add(carried(packet, &scale, merged.points.len()));
    }
    let caption = "times in ms after the first packet, on the clock of point 1";
    drawing.add(text(MIDDLE, bottom + 22.0, "middle", "faint", caption)).to_string()
}

/// Where moments are drawn: further apart the more time lies between them, within limits.
struct Scale {
    /// A moment in microseconds, and its place.
    places: Vec<(f64, f64)>,
    points: usize,
}

impl Scale {
    fn of(merged: &Merged) -> Self {
        let passed =
            merged.packets.iter().flat_map(|packet| packet.passed.iter().map(|pass| pass.at_us));
        let mut moments: Vec<f64> =
            passed.chain(merged.states.iter().map(|change| change.at_us)).collect();
        moments.sort_by(f64::total_cmp);
        moments.dedup();
        let places = places(&moments);
        Self { places: moments.into_iter().zip(places).collect(), points: merged.points.len() }
    }

    fn y(&self, at_us: f64) -> f64 {
        let place = self.places.partition_point(|(at, _)| *at < at_us);
        self.places.get(place).map_or(TOP, |(_, y)| *y)
    }

    fn x(&self, point: usize) -> f64 {
        let gaps = self.points.saturating_sub(1).max(1);
        (point - 1) as f64 * (RIGHT - LEFT) / gaps as f64 + LEFT
    }

    fn bottom(&self) -> f64 {
        self.places.last().map_or(TOP, |(_, y)| *y)
    }
}

/// A point: its name, its line, and at an end the states that it went through.
fn lifeline(merged: &Merged, place: usize, scale: &Scale, bottom: f64) -> Group {
    let x = scale.x(place);
    let ends = own_ends(merged);
    let last = merged.points.len();
    let (name, anchor, name_x, side) = match place {
        1 => (format!("1 · a {}", ends[0]), "start", 20.0, Some(Side::A)),
        _ if place == last => {
            (format!("{place} · b {}", ends[1]), "end", WIDTH - 20.0, Some(Side::B))
        }
        _ => (place.to_string(), "middle", x, None),
    };
    let line = Line::new().set("x1", x).set("x2", x).set("y1", TOP).set("y2", bottom);
    let line = line.set("class", if side.is_some() { "life" } else { "life unseen" });
    let mut group = Group::new().add(text(name_x, 56.0, anchor, "end", &name)).add(line);
    let changes: Vec<_> = merged.states.iter().filter(|change| Some(change.side) == side).collect();
    // Beyond the times of packets.
    let outward = if side == Some(Side::A) { x - 74.0 } else { x + 74.0 };
    let beside = if side == Some(Side::A) { "end" } else { "start" };
    for (nth, change) in changes.iter().enumerate() {
        let y = scale.y(change.at_us);
        let until = changes.get(nth + 1).map_or(bottom, |next| scale.y(next.at_us));
        let band = Rectangle::new().set("x", x - 4.0).set("y", y).set("width", 8);
        let band = band.set("height", until - y).set("class", class(change.to)).set("rx", 2);
        let state = text(outward, y + 4.0, beside, class(change.to), &change.to.to_string());
        group = group.add(band).add(state);
    }
    group
}

/// A packet, from point to point; where it died a cross.
fn carried(packet: &Carried, scale: &Scale, points: usize) -> Group {
    let mut group = Group::new();
    let Some(first) = packet.passed.first() else { return group };
    let last = packet.passed.last().unwrap_or(first);
    let sign = if packet.from == Side::A { 1.0 } else { -1.0 };
    let near = |point: usize, at_us: f64, before: bool| {
        let x = scale.x(point) + if before { -6.0 } else { 6.0 } * sign;
        [x, scale.y(at_us)]
    };
    if let Some([one, other]) = packet.made_between {
        let begin = [scale.x(one).midpoint(scale.x(other)), scale.y(first.at_us) - 12.0];
        group = group.add(arrow(begin, near(first.point, first.at_us, true), true));
    }
    for pair in packet.passed.windows(2) {
        let from = near(pair[0].point, pair[0].at_us, false);
        group = group.add(arrow(from, near(pair[1].point, pair[1].at_us, true), true));
    }
    let beyond = if packet.from == Side::A { last.point + 1 } else { last.point.saturating_sub(1) };
    let ends_here = !(1..=points).contains(&beyond);
    if !ends_here {
        let [x, y] = near(last.point, last.at_us, false);
        let arrives = packet.fate == PacketFate::ArrivedUnseen;
        let half = (scale.x(beyond) - scale.x(last.point)) / 2.0;
        group = group.add(arrow([x, y], [x + half, y + 12.0], arrives));
    }
    let [x, y] = near(first.point, first.at_us, false);
    let outward = scale.x(first.point) - sign * 14.0;
    let beside = if packet.from == Side::A { "end" } else { "start" };
    let when = format!("{:.3}", first.at_us / 1e3);
    let group = group.add(text(outward, y + 4.0, beside, "faint", &when));
    group.add(text(x + sign * 54.0, y - 4.0, "middle", "packet", &label(&packet.packet.body)))
}
