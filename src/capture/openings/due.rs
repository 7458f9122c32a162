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
    /// How many entries there have been: an entry of a flow that is gone is of no other one.
    turns: u32,
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
        self.put(slot, flow);
        flow.born = flow.turn;
    }

    /// A flow is due at another time than before. Its entry is moved once its turn comes, unless it now
    /// waits for the other span.
    pub fn renew(&mut self, slot: u32, due: u64, before: Phase, flow: &mut Flow) {
        flow.due = due;
        if flow.phase != before {
            self.put(slot, flow);
        }
    }

    fn put(&mut self, slot: u32, flow: &mut Flow) {
        self.turns = self.turns.wrapping_add(1);
        flow.turn = self.turns;
        let entry = Entry { slot, turn: flow.turn, due: flow.due };
        match flow.phase {
            Phase::Opening => self.opening.push_back(entry),
            Phase::Settled => self.settled.push_back(entry),
        }
    }

    /// A flow is watched until then.
    pub fn watch(&mut self, slot: u32, until: u64, flow: &mut Flow) {
        flow.watched_until = until;
        if !flow.has_watch_entry {
            flow.has_watch_entry = true;
            self.watched.push_back(Entry { slot, turn: flow.born, due: until });
        }
    }

    /// Forgets entries of flows that are gone, once these are most.
    pub fn tidy(&mut self, table: &Table) {
        let enough = 2 * table.len() + FEW;
        let has_turn =
            |entry: &Entry| table.flow(entry.slot).is_some_and(|flow| flow.turn == entry.turn);
        for queue in [&mut self.opening, &mut self.settled] {
            if queue.len() > enough {
                queue.retain(has_turn);
            }
        }
        if self.watched.len() > enough {
            let is_of =
                |flow: &Flow, entry: &Entry| flow.born == entry.turn && flow.has_watch_entry;
            let is_there =
                |entry: &Entry| table.flow(entry.slot).is_some_and(|flow| is_of(flow, entry));
            self.watched.retain(is_there);
        }
    }

    /// A flow that need not be watched any more, if there is one.
    pub fn next_unwatched(&mut self, now: u64, table: &mut Table) -> Option<u32> {
        loop {
            let entry = *self.watched.front().filter(|entry| entry.due <= now)?;
            self.watched.pop_front();
            let Some(flow) = table.get_mut(entry.slot).filter(|flow| flow.born == entry.turn)
            else {
                continue;
            };
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
        next(&mut self.settled, now, table, is_due)
            .or_else(|| next(&mut self.opening, now, table, is_due))
    }

    /// Who will be due next, so many at most.
    pub fn due_soon(&self, most: usize) -> impl Iterator<Item = u32> {
        self.settled.iter().take(most).map(|entry| entry.slot)
    }

    /// The flow that is due next, whenever that is.
    pub fn quietest(&mut self, table: &Table) -> Option<u32> {
        let is_first = |flow: &Flow, entry: &Entry| flow.due <= entry.due;
        // Where each was renewed, all are moved once before one of them is next.
        let mut queues = [&mut self.settled, &mut self.opening];
        queues.iter_mut().find_map(|queue| {
            next(queue, u64::MAX, table, is_first)
                .or_else(|| next(queue, u64::MAX, table, is_first))
        })
    }
}

/// The first flow whose entry is due and for which that holds; those for which it does not hold are moved.
fn next(
    queue: &mut VecDeque<Entry>,
    now: u64,
    table: &Table,
    is_wanted: impl Fn(&Flow, &Entry) -> bool,
) -> Option<u32> {
    // Each entry is looked at once, lest one that is moved comes round again.
    for _ in 0..queue.len() {
        let entry = *queue.front().filter(|entry| entry.due <= now)?;
        queue.pop_front();
        let Some(flow) = table.flow(entry.slot).filter(|flow| flow.turn == entry.turn) else {
            continue;
        };
        if is_wanted(flow, &entry) {
            return Some(entry.slot);
        }
        queue.push_back(Entry { due: flow.due, ..entry });
    }
    None
}

/// Fewer are not worth the work.
const FEW: usize = 1_024;
