//! In which order the points lie between the two ends.

use std::cmp::Reverse;

use super::alike;
use super::point::{Here, Point};
use crate::tcp::Side;

/// The points, from the end called a to the end called b.
///
/// Every router takes something off the TTL, and a packet from a passes the points in their order, one from
/// b in the opposite one. Where no router is between two of them, the time from a packet of a's to one of
/// b's tells: it is the longer, the nearer a point is to a, by each clock. What neither tells stays in the
/// order of the captures.
pub fn points(mut points: Vec<Point<'_>>) -> Vec<Point<'_>> {
    let nothing = || vec![0; points.len()];
    let routed = ttls(&points).unwrap_or_else(nothing);
    let spans = spans(&points).unwrap_or_else(nothing);
    let mut all: Vec<_> = routed.into_iter().zip(spans).zip(points.drain(..)).collect();
    all.sort_by_key(|((routed, span), _)| (Reverse(*routed), Reverse(*span)));
    all.into_iter().map(|(_, point)| point).collect()
}

/// At each point the nanoseconds from a packet of a's to one of b's, both of which passed all points.
fn spans(points: &[Point<'_>]) -> Option<Vec<i128>> {
    let at_all = |side| {
        let first = points.first()?;
        first.sent(side).find_map(|here| everywhere(here, points, side))
    };
    let (from_a, from_b) = (at_all(Side::A)?, at_all(Side::B)?);
    let spans = from_a.iter().zip(from_b);
    Some(spans.map(|(a, b)| i128::from(b.own) - i128::from(a.own)).collect())
}

/// A packet of the first point's, at each of them.
fn everywhere<'a>(here: &'a Here, points: &'a [Point<'_>], side: Side) -> Option<Vec<&'a Here>> {
    let first = &points[0];
    let others = points[1..].iter().map(|other| {
        let mut pairs = alike::certain_pairs(first, other, side).into_iter();
        pairs.find(|(one, _)| one.frame == here.frame).map(|(_, there)| there)
    });
    [Some(here)].into_iter().chain(others).collect()
}

/// The TTL that packets from a have at each point, less that of those from b, as far as either was seen at all
/// of them.
fn ttls(points: &[Point<'_>]) -> Option<Vec<i128>> {
    let of = |side| {
        let ttls = points.iter().map(|point| {
            let mut sent = point.sent(side).filter(|here| here.segment().is_some());
            sent.next().map(|here| i128::from(here.packet.ttl))
        });
        ttls.collect::<Option<Vec<_>>>()
    };
    match (of(Side::A), of(Side::B)) {
        (Some(a), Some(b)) => Some(a.into_iter().zip(b).map(|(a, b)| a - b).collect()),
        (Some(a), None) => Some(a),
        (None, Some(b)) => Some(b.into_iter().map(|ttl| -ttl).collect()),
        (None, None) => None,
    }
}
