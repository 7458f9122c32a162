//! In which order the points lie between the two ends.

use super::alike;
use super::point::{Here, Point};
use crate::tcp::Side;

/// The points, from the end called a to the end called b.
///
/// A packet from a passes the points in their order, and one from b in the opposite one. So the time from
/// the former to the latter is the longer, the nearer a point is to a: each clock tells its own. Where no
/// two packets passed all points the TTLs tell, of which every router takes one; else the points stay
/// in the order of their captures.
pub fn points(mut points: Vec<Point<'_>>) -> Vec<Point<'_>> {
    if let Some(spans) = spans(&points) {
        sort_by_falling(&mut points, &spans);
    } else if let Some(ttls) = ttls(&points) {
        sort_by_falling(&mut points, &ttls);
    }
    points
}

fn sort_by_falling(points: &mut Vec<Point<'_>>, keys: &[i128]) {
    let mut all: Vec<_> = keys.iter().copied().zip(std::mem::take(points)).collect();
    all.sort_by_key(|(key, _)| -key);
    points.extend(all.into_iter().map(|(_, point)| point));
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

/// The TTL that packets from a have at each point, or what those from b have lost.
fn ttls(points: &[Point<'_>]) -> Option<Vec<i128>> {
    let of = |side| {
        let ttls = points.iter().map(|point| {
            let mut sent = point.sent(side).filter(|here| here.segment().is_some());
            sent.next().map(|here| i128::from(here.packet.ttl))
        });
        let ttls: Vec<_> = ttls.collect::<Option<_>>()?;
        let is_told = ttls.windows(2).any(|pair| pair[0] != pair[1]);
        is_told.then_some(ttls)
    };
    let of_b = || Some(of(Side::B)?.into_iter().map(|ttl| -ttl).collect());
    of(Side::A).or_else(of_b)
}
