//! What one end of a punch tells the other once it is over, and what it makes of what it is told.

use super::signal::{Clocks, Signal};
use crate::engine::{Change, Fact, Place, Punched, Record};
use crate::tcp::Side;
use crate::time::Instant;
use crate::wire::control::PacketText;
use crate::wire::printable;

/// What is to be told, and how much was heard.
#[derive(Debug)]
pub struct Journal {
    side: Side,
    clocks: Clocks,
    notes: Vec<Signal>,
    heard: usize,
}

impl Default for Journal {
    fn default() -> Self {
        Self { side: Side::A, clocks: Clocks::default(), notes: Vec::new(), heard: 0 }
    }
}

impl Journal {
    /// From now on it is known which end this is, and how the clocks stand.
    pub fn agree(&mut self, side: Side, clocks: Clocks) {
        (self.side, self.clocks) = (side, clocks);
    }

    /// Keeps what happened here.
    pub fn keep(&mut self, fact: &Fact) {
        match fact {
            Fact::Seen(Record { at, inbound, packet, .. }) => {
                let packet = PacketText(packet.clone());
                self.notes.push(Signal::Saw { at: *at, inbound: *inbound, packet });
            }
            Fact::Punch { what, .. } => self.notes.push(Signal::Told { what: what.clone() }),
            _ => {}
        }
    }

    /// All that was kept; at most so much of it: the beginning, which has the plan, and the end, which has
    /// the opening.
    pub fn take(&mut self, most: usize) -> Vec<Signal> {
        let mut notes = std::mem::take(&mut self.notes);
        if let Some(superfluous) = notes.len().checked_sub(most) {
            let first = most / 4;
            notes.drain(first..first + superfluous);
        }
        notes
    }

    /// What the other end tells, on our clock; nothing beyond what a punch can leave.
    pub fn hear(&mut self, signal: Signal) -> Option<Fact> {
        self.heard += 1;
        if self.heard > MOST_HEARD {
            return None;
        }
        let side = self.side.opposite();
        match signal {
            Signal::Saw { at, inbound, packet: PacketText(packet) } => {
                let (at, place) = (self.on_ours(at), Place::End(side));
                let record = Record { at, place, inbound, probe: None, volley: None, packet };
                Some(Fact::Seen(record))
            }
            // The measurement is one, and known.
            Signal::Told { what: Punched::Synchronised { .. } } => None,
            Signal::Told { what } => Some(Fact::Punch { side, what: self.moved(what) }),
            _ => None,
        }
    }

    /// The same with the moments in it on our clock, and texts that do not steer a terminal.
    fn moved(&self, what: Punched) -> Punched {
        match what {
            Punched::Aimed { local, remote, also, first, give_up } => {
                let (first, give_up) = (self.on_ours(first), self.on_ours(give_up));
                Punched::Aimed { local, remote, also, first, give_up }
            }
            Punched::Tried { attempt, at } => Punched::Tried { attempt, at: self.on_ours(at) },
            Punched::Changed(change) => {
                Punched::Changed(Change { at: self.on_ours(change.at), ..change })
            }
            Punched::Unwatched { witness, why } => {
                Punched::Unwatched { witness, why: printable(&why) }
            }
            Punched::Foresaw { own, peer, steady, chance, rule } => {
                let rule = rule.map(|rule| printable(&rule));
                Punched::Foresaw { own, peer, steady, chance, rule }
            }
            other => other,
        }
    }

    fn on_ours(&self, at: Instant) -> Instant {
        match self.side {
            Side::A => at.shifted(self.clocks.ahead_ns.saturating_neg()),
            Side::B => at.shifted(self.clocks.ahead_ns),
        }
    }
}

/// A punch of ten seconds leaves a few hundred packets and facts.
const MOST_HEARD: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_much_the_beginning_and_the_end_are_told() {
        let mut journal = Journal::default();
        for attempt in 0..10 {
            let what = Punched::Tried { attempt, at: Instant::START };
            journal.keep(&Fact::Punch { side: Side::A, what });
        }
        let told = journal.take(4).into_iter().map(|signal| match signal {
            Signal::Told { what: Punched::Tried { attempt, .. } } => attempt,
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [0, 7, 8, 9]);
    }

    #[test]
    fn what_one_end_tells_the_other_hears_on_its_own_clock() {
        // B's clock is three seconds ahead.
        let clocks = Clocks { ahead_ns: 3_000_000_000, ..Clocks::default() };
        let (mut a, mut b) = (Journal::default(), Journal::default());
        a.agree(Side::A, clocks);
        b.agree(Side::B, clocks);
        let tried = |side, at| {
            let what = Punched::Tried { attempt: 1, at: Instant::from_millis(at) };
            Fact::Punch { side, what }
        };
        a.keep(&tried(Side::A, 1_000));
        b.keep(&tried(Side::B, 4_001));
        let heard: Vec<_> = b.take(9).into_iter().filter_map(|signal| a.hear(signal)).collect();
        assert_eq!(heard, [tried(Side::B, 1_001)]);
        let heard: Vec<_> = a.take(9).into_iter().filter_map(|signal| b.hear(signal)).collect();
        assert_eq!(heard, [tried(Side::A, 4_000)]);
    }
}
