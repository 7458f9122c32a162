//! One point's view of a connection, with the ends called alike at all points, on one clock.

use std::collections::BTreeMap;

use super::clock::{Ahead, Clocks};
use super::pair::MatchedBy;
use super::{Part, Span};
use crate::tcp::{Passing, Post, Side, Transition, onlooker};
use crate::time::{Duration, Instant};
use crate::verdict::explain::{Case, Seen};
use crate::wire::{Endpoint, Flags, Packet, Segment};

/// What one point saw of a connection.
pub struct Point<'a> {
    pub part: &'a Part,
    /// What the connection is there as well, from other external endpoints, in order of time.
    pub later: Vec<&'a Part>,
    /// Whether the ends are called the other way round there.
    pub is_flipped: bool,
    pub matched_by: MatchedBy,
    /// The ends, as they are known here.
    pub a: Endpoint,
    pub b: Endpoint,
    pub post: Post,
    pub packets: Vec<Here>,
    /// From when to when the capture was made.
    pub span: [Instant; 2],
}

/// A packet at a point.
#[derive(Clone, Debug)]
pub struct Here {
    pub frame: u64,
    /// In nanoseconds since 1970, on the clock of the capture.
    pub own: u64,
    /// On the clock of the first point, after the first packet at any point.
    pub at: Instant,
    pub from: Side,
    pub packet: Packet,
    /// Whether the capture kept all of its TCP options.
    pub is_whole: bool,
}

impl Here {
    pub fn segment(&self) -> Option<&Segment> {
        self.packet.segment()
    }
}

impl<'a> Point<'a> {
    pub fn new(part: &'a Part, is_flipped: bool, matched_by: MatchedBy) -> Self {
        let opening = &part.opening;
        let case = Case::of(opening);
        let side = |side: Side| if is_flipped { side.opposite() } else { side };
        let post = match case.post {
            Post::At(at) => Post::At(side(at)),
            Post::Between => Post::Between,
        };
        let packets = packets(part, &case, is_flipped);
        let (a, b) = if is_flipped { (opening.b, opening.a) } else { (opening.a, opening.b) };
        let span = [Instant::START; 2];
        let later = Vec::new();
        Self { part, later, is_flipped, matched_by, a, b, post, packets, span }
    }

    /// Whether an opening came before all that is known here, or after it.
    pub fn is_apart_from(&self, part: &Part) -> bool {
        let span = |part: &Part| {
            let times = || part.opening.packets.iter().map(|kept| kept.at);
            (times().min().unwrap_or_default(), times().max().unwrap_or_default())
        };
        let (first, last) = span(part);
        [self.part].into_iter().chain(self.later.iter().copied()).all(|known| {
            let (begin, end) = span(known);
            last.saturating_add(LEAST_GAP) < begin || end.saturating_add(LEAST_GAP) < first
        })
    }

    /// The connection goes on here as another opening.
    pub fn goes_on(&mut self, part: &'a Part, is_flipped: bool) {
        self.packets.extend(packets(part, &Case::of(&part.opening), is_flipped));
        self.packets.sort_by_key(|here| here.own);
        let begin = |part: &Part| part.opening.packets.first().map(|kept| kept.at);
        self.later.push(part);
        self.later.sort_by_key(|part| begin(part));
        if begin(self.later[0]) < begin(self.part) {
            std::mem::swap(&mut self.part, &mut self.later[0]);
            let opening = &self.part.opening;
            self.is_flipped = is_flipped;
            (self.a, self.b) =
                if is_flipped { (opening.b, opening.a) } else { (opening.a, opening.b) };
        }
    }

    pub fn is_by_ports(&self) -> bool {
        self.matched_by == MatchedBy::Ports
    }

    /// The packets that an end sent.
    pub fn sent(&self, side: Side) -> impl DoubleEndedIterator<Item = &Here> {
        self.packets.iter().filter(move |here| here.from == side)
    }

    /// Whether a packet like this one would be among those that are known of this point, had it come by
    /// about then: a capture may begin late and end early, and what is no SYN is kept only while the
    /// connection opens.
    pub fn would_know(&self, here: &Here) -> bool {
        let at = here.at;
        let [first, last] = self.span;
        let times = || self.packets.iter().map(|here| here.at);
        let is_full = self.part.opening.left_out > 0
            || self.later.iter().any(|part| part.opening.left_out > 0);
        let has_room = !is_full || times().max().is_some_and(|newest| at < newest);
        let has_begun = times().min().is_some_and(|oldest| oldest <= at);
        let goes_on = || times().any(|later| later >= at);
        let has_gone_on = || times().any(|earlier| earlier <= at && at.since(earlier) < WATCHED);
        let is_kept = match here.segment() {
            Some(segment) if segment.flags.contains(Flags::SYN) => true,
            Some(segment) if segment.is_reset() => has_begun,
            Some(_) => goes_on() && has_gone_on(),
            None => has_begun,
        };
        // What was sent later has come: the capture went on, and nothing is overtaken by so much.
        let has_passed = || self.sent(here.from).any(|later| at + DISORDER < later.at);
        let is_over = at + LATEST <= last || has_passed();
        first <= at && is_over && has_room && is_kept
    }

    /// The first packet's time, in seconds since 1970.
    #[allow(clippy::cast_precision_loss, reason = "to a microsecond, which is what captures have")]
    pub fn first_s(&self) -> f64 {
        let first = self.packets.iter().map(|here| here.own).min().unwrap_or_default();
        (first / 1_000) as f64 / 1e6
    }

    /// By when the ends had changed state, as far as what passed here shows.
    pub fn shown_states(&self) -> Vec<Transition> {
        let passed: Vec<_> = self
            .packets
            .iter()
            .map(|here| Passing { at: here.at, from: here.from, packet: &here.packet })
            .collect();
        onlooker(&passed, self.a, self.b, self.post).states
    }
}

/// The packets of an opening, with the ends called as the group has them.
fn packets(part: &Part, case: &Case<'_>, is_flipped: bool) -> Vec<Here> {
    let kept = &part.opening.packets;
    let here = |seen: &Seen| Here {
        frame: seen.frame,
        own: case.first + seen.at.as_nanos(),
        at: Instant::START,
        from: if is_flipped { seen.from.opposite() } else { seen.from },
        packet: seen.packet.clone(),
        is_whole: kept.iter().any(|kept| kept.frame == seen.frame && kept.is_whole()),
    };
    case.packets.iter().map(here).collect()
}

/// Gives the packets of all points a time on the clock of the first one. How far each clock is ahead of it;
/// none where that is not known, and then the clock is taken to be as far ahead as the fastest packet
/// allows.
pub fn put_on_one_clock(
    points: &mut [Point<'_>],
    clocks: &Clocks,
    spans: &BTreeMap<usize, Span>,
) -> Vec<Option<Ahead>> {
    let reference = points.first().map_or(0, |point| point.part.capture);
    let hands: Vec<_> = points.iter().map(|point| Hand::of(point, clocks, reference)).collect();
    let all = points.iter().zip(&hands);
    let all = all.flat_map(|(point, hand)| point.packets.iter().map(|here| hand.moved(here.own)));
    let origin = all.min().unwrap_or_default();
    for (point, hand) in points.iter_mut().zip(&hands) {
        let moment = |own: u64| {
            let after = hand.moved(own) - origin;
            Instant::from_nanos(u64::try_from(after.max(0)).unwrap_or(u64::MAX))
        };
        point.packets.iter_mut().for_each(|here| here.at = moment(here.own));
        let span = spans.get(&point.part.capture);
        point.span = span.map_or([Instant::START; 2], |span| [span.first, span.last].map(moment));
    }
    hands.into_iter().map(|hand| hand.known).collect()
}

/// A clock against that of the reference, while a connection lasts.
struct Hand {
    /// At its first packet.
    known: Option<Ahead>,
    /// By how many nanoseconds it is ahead, at its first packet and at its last.
    ahead: [i128; 2],
    /// When these were seen, on that clock.
    own: [u64; 2],
}

impl Hand {
    fn of(point: &Point<'_>, clocks: &Clocks, reference: usize) -> Self {
        let capture = point.part.capture;
        let times = || point.packets.iter().map(|here| here.own);
        let own = [times().min(), times().max()].map(Option::unwrap_or_default);
        let guess = clocks.guess(reference, capture).unwrap_or_default();
        // Bounds stand at moments of the reference's clock.
        let on_reference = |at: u64| u64::try_from(i128::from(at) - guess).unwrap_or_default();
        let known = own.map(|at| clocks.ahead(reference, capture, on_reference(at)));
        let ahead = known.map(|known| known.map_or(guess, |known| known.nanos));
        Self { known: known[0], ahead, own }
    }

    /// A moment of that clock, on the reference's.
    fn moved(&self, own: u64) -> i128 {
        let [first, last] = self.own.map(i128::from);
        let [from, to] = self.ahead;
        let gained = (to - from) * (i128::from(own) - first) / (last - first).max(1);
        i128::from(own) - from - gained
    }
}

/// Nothing is under way for longer between two points, or is as good as lost.
const LATEST: Duration = Duration::from_secs(1);

/// How far a packet may overtake another.
const DISORDER: Duration = Duration::from_millis(10);

/// Less than how long after a SYN every segment is kept.
const WATCHED: Duration = Duration::from_millis(2_500);

/// No NAT gives a mapping up sooner: in nanoseconds.
const LEAST_GAP: u64 = 500_000_000;
