//! When openings are decided, and until when they are watched: a queue for each span that is waited, so
//! that whoever comes later is due later.

use std::collections::VecDeque;

use super::flow::{Flow, Phase};
use super::table::Table;

/// Who is due when.
#[derive(Debug, Default)]
pub struct Queues {
    opening: VecDeque<Entry>,
    settled: VecDeque<Entry>,
    watched: VecDeque<Entry>,
    /// Of each slot. Here and not with the flows, since most entries are of flows that are gone, and what
    /// tells that should be near.
    turns: Vec<Turns>,
    /// The last turn so far.
    turn: u32,
}

/// Which entries of a slot count: zero if it is free.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    /// Where it is due.
    due: u32,
    /// The first one of the flow that it has now.
    born: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    turn: u32,
    due: u64,
}

impl Queues {
    /// A new flow is due then.
    pub fn begin(&mut self, slot: u32, due: u64, flow: &mut Flow) {
        flow.due = due;
        let turns = self.put(slot, flow);
        turns.born = turns.due;
    }

    /// The flow of that slot is gone.
    pub fn forget(&mut self, slot: u32) {
        self.turns[slot as usize] = Turns::default();
    }

    /// A flow is due at another time than before. Its entry is moved once its turn comes, unless it now
    /// waits for the other span.
    pub fn renew(&mut self, slot: u32, due: u64, before: Phase, flow: &mut Flow) {
        flow.due = due;
        if flow.phase != before {
            self.put(slot, flow);
        }
    }

    fn put(&mut self, slot: u32, flow: &Flow) -> &mut Turns {
        self.turn = self.turn.checked_add(1).unwrap_or(1);
        let entry = Entry { slot, turn: self.turn, due: flow.due };
        match flow.phase {
            Phase::Opening => self.opening.push_back(entry),
            Phase::Settled => self.settled.push_back(entry),
        }
        let slot = slot as usize;
        if slot >= self.turns.len() {
            self.turns.resize(slot + 1, Turns::default());
        }
        self.turns[slot].due = self.turn;
        &mut self.turns[slot]
    }

    /// A flow is watched until then.
    pub fn watch(&mut self, slot: u32, until: u64, flow: &mut Flow) {
        flow.watched_until = until;
        if !flow.has_watch_entry {
            flow.has_watch_entry = true;
            self.watched.push_back(Entry {
                slot,
                turn: self.turns[slot as usize].born,
                due: until,
            });
        }
    }

    /// Forgets entries of flows that are gone, once these are most.
    pub fn tidy(&mut self, table: &Table) {
        let enough = 2 * table.len() + FEW;
        let turns = &self.turns;
        for queue in [&mut self.opening, &mut self.settled] {
            if queue.len() > enough {
                queue.retain(|entry| turns[entry.slot as usize].due == entry.turn);
            }
        }
        if self.watched.len() > enough {
            self.watched.retain(|entry| {
                let is_there = turns[entry.slot as usize].born == entry.turn;
                is_there && table.flow(entry.slot).has_watch_entry
            });
        }
    }

    /// A flow that need not be watched any more, if there is one.
    pub fn next_unwatched(&mut self, now: u64, table: &mut Table) -> Option<u32> {
        loop {
            let entry = *self.watched.front().filter(|entry| entry.due <= now)?;
            self.watched.pop_front();
            if self.turns[entry.slot as usize].born != entry.turn {
                continue;
            }
            let flow = table.flow_mut(entry.slot);
            if flow.watched_until <= entry.due {
                flow.has_watch_entry = false;
                return Some(entry.slot);
            }
            self.watched.push_back(Entry { due: flow.watched_until, ..entry });
        }
    }

    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.opening.len() + self.settled.len() + self.watched.len()
    }

    /// A flow that is due, if there is one.
    pub fn next_due(&mut self, now: u64, table: &Table) -> Option<u32> {
        let is_due = |flow: &Flow, _: &Entry| flow.due <= now;
        let Self { opening, settled, turns, .. } = self;
        next(settled, turns, now, table, is_due)
            .or_else(|| next(opening, turns, now, table, is_due))
    }

    /// Who will be due next, so many at most.
    pub fn due_soon(&self, most: usize) -> impl Iterator<Item = u32> {
        self.settled.iter().take(most).map(|entry| entry.slot)
    }

    /// The flow that is due next, whenever that is.
    pub fn quietest(&mut self, table: &Table) -> Option<u32> {
        let is_first = |flow: &Flow, entry: &Entry| flow.due <= entry.due;
        // Where each was renewed, all are moved once before one of them is next.
        let Self { opening, settled, turns, .. } = self;
        [settled, opening].into_iter().find_map(|queue| {
            next(queue, turns, u64::MAX, table, is_first)
                .or_else(|| next(queue, turns, u64::MAX, table, is_first))
        })
    }
}

/// The first flow whose entry is due and for which that holds; those for which it does not hold are moved.
fn next(
    queue: &mut VecDeque<Entry>,
    turns: &[Turns],
    now: u64,
    table: &Table,
    is_wanted: impl Fn(&Flow, &Entry) -> bool,
) -> Option<u32> {
    // Each entry is looked at once, lest one that is moved comes round again.
    for _ in 0..queue.len() {
        let entry = *queue.front().filter(|entry| entry.due <= now)?;
        queue.pop_front();
        if turns[entry.slot as usize].due != entry.turn {
            continue;
        }
        let flow = table.flow(entry.slot);
        if is_wanted(flow, &entry) {
            return Some(entry.slot);
        }
        queue.push_back(Entry { due: flow.due, ..entry });
    }
    None
}

/// Fewer are not worth the work.
const FEW: usize = 1_024;
