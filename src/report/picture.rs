//! The ladder as a picture (SVG).

use svg::Document;
use svg::node::element::{Group, Line, Polygon, Rectangle, Style, Text};

use super::ladder::{Ladder, Row, What};
use super::punch;
use crate::tcp::{Side, State};

/// A ladder as an SVG document, between a headline and a caption.
pub fn picture(ladder: &Ladder, headline: &str, caption: &str) -> String {
    let moments: Vec<_> = ladder.rows.iter().map(|row| row.at_us).collect();
    let places = places(&moments);
    let bottom = places.last().copied().unwrap_or(TOP) + 50.0;
    let mut drawing = sheet(bottom, headline);
    for side in [Side::A, Side::B] {
        drawing = drawing.add(lifeline(ladder, side, &places, bottom));
    }
    for (row, y) in ladder.rows.iter().zip(&places) {
        drawing = drawing.add(drawn(row, *y, ladder, &places));
    }
    drawing.add(text(MIDDLE, bottom + 22.0, "middle", "faint", caption)).to_string()
}

/// An empty drawing of that height under its headline.
pub fn sheet(bottom: f64, headline: &str) -> Document {
    Document::new()
        .set("viewBox", (0, 0, WIDTH as i32, (bottom + 40.0) as i32))
        .set("width", WIDTH)
        .set("font-family", "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace")
        .set("font-size", 13)
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("width", "100%").set("height", "100%").set("class", "ground"))
        .add(Group::new().add(text(MIDDLE, 26.0, "middle", "title", headline)))
}

/// Where moments, in order, are drawn: further apart the more time lies between them, within limits.
pub fn places(moments_us: &[f64]) -> Vec<f64> {
    let ends = moments_us.last().zip(moments_us.first());
    let scale = 260.0 / ends.map_or(1.0, |(last, first)| last - first).max(1.0);
    let mut y = TOP;
    let mut before: Option<f64> = None;
    let place = |at_us: &f64| {
        y += before.map_or(30.0, |before| ((at_us - before) * scale).clamp(NEAREST, FARTHEST));
        before = Some(*at_us);
        y
    };
    moments_us.iter().map(place).collect()
}

const fn x_of(side: Side) -> f64 {
    match side {
        Side::A => LEFT,
        Side::B => RIGHT,
    }
}

/// An end: its name, its line, and on it the states that it went through.
fn lifeline(ladder: &Ladder, side: Side, places: &[f64], bottom: f64) -> Group {
    let x = x_of(side);
    let own = ladder.ends.iter().find(|(of, _)| *of == side).map(|(_, end)| end.clone());
    let is_seen = own.is_some();
    let name = own.or_else(|| ladder.peer.clone()).unwrap_or_default();
    let anchor = if side == Side::A { "start" } else { "end" };
    let name_x = if side == Side::A { 20.0 } else { WIDTH - 20.0 };
    let name = format!("{} {name}", punch::name(side));
    let line = Line::new().set("x1", x).set("x2", x).set("y1", TOP).set("y2", bottom);
    let line = line.set("class", if is_seen { "life" } else { "life unseen" });
    let mut group = Group::new().add(text(name_x, 56.0, anchor, "end", &name)).add(line);
    let changes: Vec<_> = ladder
        .rows
        .iter()
        .zip(places)
        .filter_map(|(row, y)| match row.what {
            What::Became(state) if row.side == side => Some((state, *y)),
            _ => None,
        })
        .collect();
    for (place, (state, y)) in changes.iter().enumerate() {
        let until = changes.get(place + 1).map_or(bottom, |(_, next)| *next);
        let band = Rectangle::new().set("x", x - 4.0).set("y", *y).set("width", 8);
        let band = band.set("height", until - y).set("class", class(*state)).set("rx", 2);
        group = group.add(band);
    }
    group
}

pub const fn class(state: State) -> &'static str {
    match state {
        State::SynSent => "sent",
        State::SynReceived => "received",
        State::Established => "established",
        _ => "closed",
    }
}

fn drawn(row: &Row, y: f64, ladder: &Ladder, places: &[f64]) -> Group {
    let (x, sign) = (x_of(row.side), if row.side == Side::A { 1.0 } else { -1.0 });
    let outward = x - sign * 14.0;
    let anchor = if row.side == Side::A { "end" } else { "start" };
    let when = format!("{:.3}", row.at_us / 1_000.0);
    let group = Group::new();
    match &row.what {
        What::Became(state) => {
            group.add(text(outward, y + 4.0, anchor, class(*state), &state.to_string()))
        }
        What::Left(what) => {
            let group = group.add(text(outward, y + 4.0, anchor, "faint", &when));
            let (to_x, to_y, arrives) = goal(row, y, what, ladder, places);
            let group = group.add(arrow([x + sign * 6.0, y], [to_x, to_y], arrives));
            group.add(text(x + sign * 60.0, y - 4.0, "middle", "packet", what))
        }
        What::Came(what) => {
            let group = group.add(text(outward, y + 4.0, anchor, "faint", &when));
            if ladder.peer.is_none() {
                return group;
            }
            let from = [x_of(row.side.opposite()) - sign * 6.0, y - SLANT];
            let group = group.add(arrow(from, [x + sign * 6.0, y], true));
            group.add(text(x + sign * 60.0, y - 10.0, "middle", "packet", what))
        }
    }
}

/// Where an arrow ends: at the other end if the packet was seen to arrive there; otherwise, if that
/// end was watched, on the way.
fn goal(row: &Row, y: f64, what: &str, ladder: &Ladder, places: &[f64]) -> (f64, f64, bool) {
    let other = row.side.opposite();
    let sign = if row.side == Side::A { 1.0 } else { -1.0 };
    let near = x_of(other) - sign * 6.0;
    if ladder.peer.is_some() {
        return (near, y + SLANT, true);
    }
    let nth = nth_of_its_kind(row, what, ladder);
    let mut arrivals = ladder.rows.iter().zip(places).filter(|(arrival, _)| {
        arrival.side == other && arrival.what == What::Came(what.to_owned())
    });
    match arrivals.nth(nth) {
        Some((_, arrival)) => (near, *arrival, true),
        None => (MIDDLE + sign * 60.0, y + SLANT, false),
    }
}

/// How many packets that look like this one left the same end before it.
fn nth_of_its_kind(row: &Row, what: &str, ladder: &Ladder) -> usize {
    let before = ladder.rows.iter().take_while(|other| !std::ptr::eq(*other, row));
    before
        .filter(|other| other.side == row.side && other.what == What::Left(what.to_owned()))
        .count()
}

pub fn arrow([x1, y1]: [f64; 2], [x2, y2]: [f64; 2], arrives: bool) -> Group {
    let line = Line::new().set("x1", x1).set("y1", y1).set("x2", x2).set("y2", y2);
    let group = Group::new().add(line.set("class", if arrives { "arrow" } else { "arrow lost" }));
    let angle = (y2 - y1).atan2(x2 - x1).to_degrees();
    let turn = format!("translate({x2:.1} {y2:.1}) rotate({angle:.1})");
    match arrives {
        true => group.add(
            Polygon::new()
                .set("points", "0,0 -9,-4 -9,4")
                .set("transform", turn)
                .set("class", "head"),
        ),
        false => group.add(text(x2, y2 + 5.0, "middle", "lost", "✕")),
    }
}

pub fn text(x: f64, y: f64, anchor: &str, class: &str, what: &str) -> Text {
    Text::new(what).set("x", x).set("y", y).set("text-anchor", anchor).set("class", class)
}

pub const WIDTH: f64 = 860.0;
pub const MIDDLE: f64 = WIDTH / 2.0;
pub const LEFT: f64 = 190.0;
pub const RIGHT: f64 = WIDTH - LEFT;
pub const TOP: f64 = 76.0;
const NEAREST: f64 = 22.0;
const FARTHEST: f64 = 110.0;

/// How far an arrow falls whose other end has no time.
const SLANT: f64 = 12.0;

/// Readable on paper and on a dark screen.
const STYLE: &str = "
.ground{fill:#fff}text{fill:#1f2328}.title{font-weight:600;font-size:15px}.end{font-weight:600}
.faint{fill:#59636e;font-size:12px}.life{stroke:#8c959f;stroke-width:2}.unseen{stroke-dasharray:4 5}
.arrow{stroke:#1f2328;stroke-width:1.4}.head{fill:#1f2328}.packet{font-size:12px}
.lost{stroke-dasharray:5 4;fill:#cf222e}
rect.closed{fill:#8c959f}rect.sent{fill:#bf8700}rect.received{fill:#0969da}rect.established{fill:#1a7f37}
text.closed{fill:#59636e}text.sent{fill:#9a6700}text.received{fill:#0969da}text.established{fill:#1a7f37}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117}text,.head{fill:#e6edf3}.arrow{stroke:#e6edf3}
.faint,text.closed{fill:#9198a1}.lost{fill:#f85149}text.sent{fill:#d29922}text.received{fill:#58a6ff}
text.established{fill:#3fb950}}";
