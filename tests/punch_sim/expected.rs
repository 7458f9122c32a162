//! How a punch through two NATs must open, from the definitions of RFC 4787 and RFC 5382 and the
//! moments of the SYNs alone: nothing here runs a NAT or a TCP.

use tso_probe::nat::{Answer, Assignment, Filtering, Knobs, Mapping, Sharing};
use tso_probe::punch::Schedule;
use tso_probe::sim::{Aiming, PunchLayout, attempts_seed};
use tso_probe::tcp::{Opening, Outcome, Profile, Side};
use tso_probe::time::{Duration, Instant};
use tso_probe::verdict::{PunchVerdict, Socket};

/// What lies between the two, and when they begin.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub delay: Duration,
    /// By how much the first SYN of `late` leaves after the other's.
    pub skew: Duration,
    pub late: Side,
    pub aiming: Aiming,
}

/// How it opens, and from which sockets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    pub opening: Opening,
    pub is_open: bool,
    pub by: [Option<Socket>; 2],
}

impl Expected {
    pub fn of(verdict: &PunchVerdict) -> Self {
        let by = |side| verdict.ends.iter().find(|end| end.side == side).and_then(|end| end.by);
        let by = [by(Side::A), by(Side::B)];
        Self { opening: verdict.opening, is_open: verdict.outcome == Outcome::Open, by }
    }

    /// Nobody gets through.
    const NONE: Self = Self { opening: Opening::None, is_open: false, by: [None; 2] };

    /// This opening by both sockets that connect.
    fn connected(opening: Opening) -> Self {
        Self { opening, is_open: true, by: [Some(Socket::Connect); 2] }
    }

    /// The other side connects to this one.
    fn accepted(by: Side) -> Self {
        let socket = |side| Some(if side == by { Socket::Accept } else { Socket::Connect });
        let by = [socket(Side::A), socket(Side::B)];
        Self { opening: Opening::ThreeWay, is_open: true, by }
    }
}

/// One end with its NAT.
#[derive(Clone, Copy)]
struct Party<'a> {
    side: Side,
    knobs: Option<&'a Knobs>,
    aiming: Aiming,
}

impl Party<'_> {
    /// Whether its SYNs come from where the peer aims: a mapping that does not depend on the remote
    /// gives them the endpoint that the server saw, one that does only if ports may overlap. Where
    /// nobody was contacted before, any that preserves ports does.
    fn is_aimed_at(&self) -> bool {
        let Some(knobs) = self.knobs else { return true };
        let independent = knobs.mapping == Mapping::EndpointIndependent;
        match (self.aiming, knobs.ports) {
            (Aiming::AsPreserved, Assignment::Preservation(_) | Assignment::Overloading) => true,
            (Aiming::AsPreserved, _) => false,
            (Aiming::AsSeen, Assignment::Preservation(Sharing::Exclusive)) => independent,
            (Aiming::AsSeen, Assignment::Preservation(_)) => true,
            (Aiming::AsSeen, _) => independent,
        }
    }

    /// Whether anybody gets in where the peer aims, before anything was sent to the peer.
    fn is_open_to_all(&self) -> bool {
        let filters = |knobs: &Knobs| knobs.filtering != Filtering::EndpointIndependent;
        !self.knobs.is_some_and(|knobs| filters(knobs) || self.aiming == Aiming::AsPreserved)
    }

    /// Whether the peer gets in from a port that was not sent to, once another of its was.
    fn admits_other_ports(&self) -> bool {
        self.knobs.is_none_or(|knobs| knobs.filtering != Filtering::AddressAndPortDependent)
    }

    fn answers_at_once(&self) -> bool {
        self.knobs.is_some_and(|knobs| {
            knobs.unsolicited.answer != Answer::Silence && knobs.unsolicited.after.is_zero()
        })
    }
}

/// What must come of it; none where one SYN gets in by a binding that the answer does not go out by,
/// and what follows depends on which of several comes first.
pub fn expected(
    nats: [Option<&Knobs>; 2],
    path: &Path,
    layout: &PunchLayout<'_>,
) -> Option<Expected> {
    let aiming = path.aiming;
    let a = Party { side: Side::A, knobs: nats[0], aiming };
    let b = Party { side: Side::B, knobs: nats[1], aiming };
    match (a.is_aimed_at(), b.is_aimed_at()) {
        (true, true) if path.late == Side::B => Some(both_aimed_at([a, b], path, layout)),
        (true, true) => Some(both_aimed_at([b, a], path, layout)),
        (true, false) => one_aimed_at(a, b),
        (false, true) => one_aimed_at(b, a),
        (false, false) => none_aimed_at([a, b]),
    }
}

/// Each one's SYN comes from where the other aims.
fn both_aimed_at([early, late]: [Party<'_>; 2], path: &Path, layout: &PunchLayout<'_>) -> Expected {
    let Path { delay, skew, .. } = *path;
    if skew >= delay && late.is_open_to_all() {
        // The first SYN finds the other end listening.
        return Expected::accepted(late.side);
    }
    // Every SYN that comes before the other has sent its own is kept out. The other's own arrives
    // this long after the early one's first, and it finds one of the early one's under way to it, or
    // none.
    let arrives = skew + delay;
    let departures = departures(early, late, path, layout);
    if departures.iter().any(|left| *left < arrives && *left + delay > skew) {
        Expected::connected(Opening::Crossed)
    } else if late.answers_at_once() {
        // The attempt before has failed, the next one is not begun: it finds the other listening.
        Expected::accepted(early.side)
    } else {
        Expected::connected(Opening::HalfCrossed { crossed_syn: late.side })
    }
}

/// When the SYNs of the early one leave, from its first on, until the other's has come.
fn departures(
    early: Party<'_>,
    late: Party<'_>,
    path: &Path,
    layout: &PunchLayout<'_>,
) -> Vec<Duration> {
    let Path { delay, skew, .. } = *path;
    let place = usize::from(early.side == Side::B);
    if !late.answers_at_once() {
        let repeated: &[u64] = match layout.ends[place].profile {
            Profile::Linux => &[0, 1, 2, 3, 4, 5],
            _ => &[0, 1, 3],
        };
        return repeated.iter().map(|second| Duration::from_secs(*second)).collect();
    }
    let first = layout.ends[place].first;
    let mut schedule = Schedule::new(first, attempts_seed(layout, early.side));
    let mut departures = vec![schedule.next_after(Instant::START).since(first)];
    while let Some(last) = departures.last().copied().filter(|last| *last + delay < skew) {
        // The answer takes as long to come back, and the next attempt follows it.
        departures.push(schedule.next_after(first + last + 2 * delay).since(first));
    }
    departures
}

/// The SYNs of `lost` come from elsewhere than where `found` aims.
fn one_aimed_at(found: Party<'_>, lost: Party<'_>) -> Option<Expected> {
    if lost.is_open_to_all() {
        // They get in by the binding of the server's, and the answer leaves by another.
        return None;
    }
    // Whatever `found` sends is kept out; what comes there comes from another port.
    let gets_in = found.admits_other_ports();
    Some(if gets_in { Expected::accepted(found.side) } else { Expected::NONE })
}

/// The SYNs of both come from elsewhere.
fn none_aimed_at(both: [Party<'_>; 2]) -> Option<Expected> {
    let open: Vec<_> = both.iter().filter(|end| end.is_open_to_all()).collect();
    match open[..] {
        [] => Some(Expected::NONE),
        [one] => {
            // The answer goes out by the binding that let the SYN in, unless another one is for all
            // ports of that address.
            let mapping = one.knobs.map(|knobs| knobs.mapping);
            let by_the_same = mapping == Some(Mapping::AddressAndPortDependent);
            by_the_same.then(|| Expected::accepted(one.side))
        }
        _ => None,
    }
}
