//! Packets → openings: which belong to which attempt to open a connection, in bounded memory however
//! many openings are under way.

mod due;
mod flow;
mod index;
mod recent;
mod table;

use std::cmp::Reverse;

pub use flow::{Ending, Opening};
pub use recent::{Burst, Call, Hearsay};

use super::batch::{Batch, Item};
use super::kept::Kept;
use crate::wire::glance::{RST, SYN};
use due::Queues;
use flow::Flow;
use recent::{Place, Recent};
use table::{AHEAD, Table};

/// The openings of a capture. Hand in its packets, and take out what is decided.
#[derive(Debug)]
pub struct Openings {
    /// What the batches have yet to take back to the [`Screen`](super::Screen).
    unwatched: Vec<u64>,
    table: Table,
    queues: Queues,
    /// Who called whom of late: a punch that aims at the wrong port is two connections.
    recent: Recent,
    ready: Ready,
    /// Once the capture has ended: who is left, the last first.
    left: Vec<u32>,
    /// How many of those that are due next are in this core's cache.
    touched: usize,
    strays: u64,
    unfinished: u64,
    most: usize,
    /// Packets of all openings under way.
    kept: usize,
    /// The latest time of a packet.
    now: u64,
}

impl Openings {
    /// No openings yet, of which at most so many may be under way at once, with twice as many packets in
    /// all.
    pub fn new(most: usize) -> Self {
        Self {
            unwatched: Vec::new(),
            table: Table::default(),
            queues: Queues::default(),
            recent: Recent::default(),
            ready: Ready::default(),
            left: Vec::new(),
            touched: 0,
            strays: 0,
            unfinished: 0,
            most,
            kept: 0,
            now: 0,
        }
    }

    /// Takes packets. The batch is to go back to whoever picked them out.
    pub fn take(&mut self, batch: &mut Batch) {
        for items in batch.items().chunks_mut(AHEAD) {
            self.table.touch(items.iter().map(Item::touch));
            for item in items {
                match item.kept.is_icmp() {
                    true => self.take_icmp(item),
                    false => self.take_segment(item),
                }
            }
        }
        batch.unwatched.append(&mut self.unwatched);
    }

    /// So much time has passed, with or without packets that may matter: what has been quiet for long
    /// enough is decided. Of a file, whose end will come, nobody need call this; what is a little out of
    /// order would then depend on when it is called.
    pub fn time_goes_on(&mut self, latest: u64) {
        self.pass(latest.saturating_sub(DISORDER));
    }

    /// What is decided by now: an opening once nothing of it has come for a while.
    pub fn decided(&mut self) -> Option<&Opening> {
        if self.ready.is_empty() {
            // One after the other: all at once would take as much memory again.
            let slot = self.left.pop()?;
            self.decide(slot, Ending::CaptureEnded);
        }
        self.ready.next()
    }

    /// The capture has ended, then, and no packets come any more: all that is left is decided, in the
    /// order in which it began.
    pub fn end(&mut self, last: u64) {
        self.now = self.now.max(last);
        let table = &self.table;
        self.left = table.slots().collect();
        self.left.sort_by_cached_key(|slot| Reverse(table.flow(*slot).first_frame()));
    }

    /// How many resets and ICMP errors there were of connections whose opening is not in the capture.
    pub const fn strays(&self) -> u64 {
        self.strays
    }

    /// How many openings were given up since too many were under way.
    pub const fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// How many openings are under way.
    pub fn under_way(&self) -> usize {
        self.table.len()
    }

    /// How many packets are kept of them.
    pub const fn kept(&self) -> usize {
        self.kept
    }

    fn take_segment(&mut self, item: &mut Item) {
        let flags = item.kept.flags;
        let mut slot = self.table.find(item);
        // Which other packets come depends on how late the watch is, what is made of them must not: one
        // that is not wanted does not even tell the time.
        if flags & (SYN | RST) == 0 && !self.wants(slot) {
            return;
        }
        if self.pass(item.kept.at) {
            slot = self.table.find(item);
            if flags & (SYN | RST) == 0 && !self.wants(slot) {
                return;
            }
        }
        match slot {
            // It is decided before the SYN is heard, which tells nothing of it.
            Some(slot) if self.table.flow_mut(slot).is_over_by(&item.kept) => {
                self.decide(slot, Ending::Decided);
                self.begin(item);
            }
            Some(slot) => self.go_on(slot, item),
            None if flags & SYN != 0 => self.begin(item),
            None => self.strays += u64::from(flags & RST != 0),
        }
    }

    /// Whether segments of the connection in that slot are wanted that have neither SYN nor RST.
    fn wants(&self, slot: Option<u32>) -> bool {
        slot.is_some_and(|slot| self.table.flow(slot).is_watched)
    }

    fn go_on(&mut self, slot: u32, item: &mut Item) {
        let Kept { at, flags, .. } = item.kept;
        let flow = self.table.flow_mut(slot);
        let (before, from_a) = (flow.phase, flow.is_from_a(item));
        let since = flow.first_answer(&item.kept, from_a);
        if since.is_some() {
            self.recent.answered(flow.a, flow.b, flow.place);
        }
        if flags & SYN != 0 {
            self.recent.heard(item.source, item.kept.ttl(), since);
        }
        self.kept += usize::from(flow.take(&mut item.kept, from_a));
        self.queues.renew(slot, flow.due_after(at), before, flow);
        if flags & SYN != 0 {
            // It was counted when it was read; a flow counts once.
            if std::mem::replace(&mut flow.is_watched, true) {
                self.unwatched.push(flow.hash);
            }
            self.queues.watch(slot, at.saturating_add(WATCHED), flow);
        }
        if flow.is_done_for_now(flags & RST != 0) {
            unwatch(&mut self.unwatched, flow);
        }
        self.make_room();
    }

    /// The SYN that begins it counts in the watch from now on as an opening under way.
    fn begin(&mut self, item: &mut Item) {
        self.recent.heard(item.source, item.kept.ttl(), None);
        let place = match item.kept.is_bare_syn() {
            true => self.recent.called(item),
            false => Place::default(),
        };
        let at = item.kept.at;
        self.kept += 1;
        let slot = self.table.insert(item.hash);
        let flow = self.table.flow_mut(slot);
        flow.begin(place, item);
        self.queues.begin(slot, flow.due_after(at), flow);
        self.queues.watch(slot, at.saturating_add(WATCHED), flow);
        self.queues.tidy(&self.table);
        self.make_room();
    }

    /// An ICMP error is of the connection whose packet it quotes.
    fn take_icmp(&mut self, item: &mut Item) {
        let at = item.kept.at;
        self.pass(at);
        let Some(slot) = self.table.find(item) else {
            self.strays += 1;
            return;
        };
        let flow = self.table.flow_mut(slot);
        let before = flow.phase;
        let is_to_a = item.destination == flow.a;
        self.kept += usize::from(flow.take(&mut item.kept, is_to_a));
        self.queues.renew(slot, flow.due_after(at), before, flow);
        self.make_room();
    }

    /// Time goes on: what has been quiet for long enough is decided. Whether there was any such.
    fn pass(&mut self, at: u64) -> bool {
        self.now = self.now.max(at);
        let mut was_due = false;
        while let Some(slot) = self.queues.next_unwatched(self.now, &mut self.table) {
            unwatch(&mut self.unwatched, self.table.flow_mut(slot));
            was_due = true;
        }
        while let Some(slot) = self.queues.next_due(self.now, &self.table) {
            self.decide(slot, Ending::Decided);
            was_due = true;
            self.touched = match self.touched.checked_sub(1) {
                Some(left) => left,
                None => self.table.touch_whole(self.queues.due_soon(AHEAD)),
            };
        }
        was_due
    }

    /// Gives up openings of which nothing has come for longest, as long as there is too much.
    fn make_room(&mut self) {
        while self.table.len() > self.most || self.kept > self.most.saturating_mul(KEPT_EACH) {
            let Some(slot) = self.queues.quietest(&self.table) else { return };
            let has_end = self.table.flow_mut(slot).has_end();
            let ending = if has_end { Ending::Decided } else { Ending::Unfinished };
            self.unfinished += u64::from(!has_end);
            self.decide(slot, ending);
        }
    }

    /// An opening is over.
    fn decide(&mut self, slot: u32, ending: Ending) {
        let room = if self.table.len() > CROWD { 1 } else { MOST_ROOM };
        let flow = self.table.flow_mut(slot);
        unwatch(&mut self.unwatched, flow);
        self.kept -= flow.kept();
        flow.conclude(self.ready.room(), ending, &self.recent, self.now);
        flow.keep_room(room);
        self.queues.forget(slot);
        self.table.remove(slot);
    }
}

/// Packets for each of the most openings: where that many are under way, most have sent a SYN or two.
const KEPT_EACH: usize = 2;

/// Most openings have no more packets than that, and the next one in a slot uses the room again.
const MOST_ROOM: usize = 8;

/// Where more than that are under way, as in a flood, each has as much room as it needs.
const CROWD: usize = 1 << 14;

/// Openings that are decided, each in the place of one that has been dealt with.
#[derive(Debug, Default)]
struct Ready {
    openings: Vec<Opening>,
    /// How many of them have been handed out.
    handed: usize,
    /// How many are decided, with those that have been handed out.
    ready: usize,
}

impl Ready {
    const fn is_empty(&self) -> bool {
        self.handed == self.ready
    }

    /// Where the next one is to be written.
    fn room(&mut self) -> &mut Opening {
        if self.is_empty() {
            self.openings.truncate(MOST_PLACES);
            (self.handed, self.ready) = (0, 0);
        }
        if self.ready == self.openings.len() {
            self.openings.push(Opening::blank());
        }
        self.ready += 1;
        &mut self.openings[self.ready - 1]
    }

    fn next(&mut self) -> Option<&Opening> {
        let next = self.openings[..self.ready].get(self.handed)?;
        self.handed += 1;
        Some(next)
    }
}

/// So many places are kept; when time has passed by a leap, more are decided at once.
const MOST_PLACES: usize = 1_024;

fn unwatch(unwatched: &mut Vec<u64>, flow: &mut Flow) {
    if std::mem::replace(&mut flow.is_watched, false) {
        unwatched.push(flow.hash);
    }
}

/// What answers a SYN or a SYN,ACK without being one comes as soon as that; what comes later tells
/// nothing of the opening.
const WATCHED: u64 = 3_000_000_000;

/// Captures of several queues or cores are out of order by milliseconds.
const DISORDER: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;
