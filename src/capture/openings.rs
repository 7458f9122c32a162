//! Packets → openings: which belong to which attempt to open a connection, in bounded memory however
//! many openings are under way.

mod due;
mod flow;
mod kept;
mod recent;
mod table;

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::hint::black_box;

pub use flow::{Ending, Opening};
pub use kept::Kept;
pub use recent::{Burst, Call, Hearsay};

use super::screen::{Batch, Item, salt};
use crate::wire::decode_lax;
use crate::wire::glance::{self, Ends, Glance, RST, SYN, Segment, glance};
use due::Queues;
use flow::Flow;
use recent::{Place, Recent};
use table::{Key, Table};

/// The openings of a capture. Hand in its packets, and take out what is decided.
#[derive(Debug)]
pub struct Openings {
    /// What was seen of the next few packets.
    looked: Vec<Looked>,
    /// What the batches have yet to take back to the [`Screen`](super::Screen).
    unwatched: Vec<u64>,
    table: Table,
    queues: Queues,
    /// Who called whom of late: a punch that aims at the wrong port is two connections.
    recent: Recent,
    ready: VecDeque<Opening>,
    /// Once the capture has ended: who is left, the last first.
    left: Vec<u32>,
    /// Room for the packets of openings to come.
    spare: Vec<Vec<Kept>>,
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
            looked: Vec::new(),
            unwatched: Vec::new(),
            table: Table::default(),
            queues: Queues::default(),
            recent: Recent::default(),
            ready: VecDeque::new(),
            left: Vec::new(),
            spare: Vec::new(),
            strays: 0,
            unfinished: 0,
            most,
            kept: 0,
            now: 0,
        }
    }

    /// Takes packets. The batch is to go back to whoever picked them out.
    pub fn take(&mut self, batch: &mut Batch) {
        let mut looked = std::mem::take(&mut self.looked);
        for items in batch.items.chunks(AHEAD) {
            looked.extend(items.iter().map(|item| self.look(item, batch.packet(item))));
            for (item, looked) in items.iter().zip(looked.drain(..)) {
                match looked {
                    Looked::Segment(seen, hash, key) => {
                        self.take_segment(item, batch.packet(item), seen, hash, key);
                    }
                    Looked::Other => self.take_icmp(item, batch.packet(item)),
                }
            }
        }
        self.looked = looked;
        batch.unwatched.append(&mut self.unwatched);
    }

    /// Looks at a packet, and at its flow: what is neither in this core's cache comes there for several
    /// packets at a time, which takes no longer than for one.
    #[inline]
    fn look(&self, item: &Item, packet: &[u8]) -> Looked {
        let Glance::Tcp(seen) = glance(packet) else { return Looked::Other };
        let key = Key { ends: Ends::of(seen.source, seen.destination), interface: item.interface };
        let hash = glance::hash(seen.source, seen.destination) ^ salt(item.interface);
        let slot = self.table.find(hash, key);
        black_box(slot.and_then(|slot| self.table.flow(slot)).and_then(Flow::last_frame));
        Looked::Segment(seen, hash, key)
    }

    /// So much time has passed, with or without packets that may matter: what has been quiet for long
    /// enough is decided. Of a file, whose end will come, nobody need call this; what is a little out of
    /// order would then depend on when it is called.
    pub fn time_goes_on(&mut self, latest: u64) {
        self.pass(latest.saturating_sub(DISORDER));
    }

    /// What is decided by now: an opening once nothing of it has come for a while.
    pub fn decided(&mut self) -> Option<Opening> {
        if self.ready.is_empty() {
            // One after the other: all at once would take as much memory again.
            let slot = self.left.pop()?;
            let flow = self.table.remove(slot);
            self.ready_with(flow, Ending::CaptureEnded);
        }
        self.ready.pop_front()
    }

    /// Takes back an opening that has been dealt with, for the room that it has.
    pub fn take_back(&mut self, opening: Opening) {
        let mut room = opening.packets;
        if self.spare.len() < MOST_SPARE {
            room.clear();
            self.spare.push(room);
        }
    }

    /// The capture has ended, then, and no packets come any more: all that is left is decided, in the
    /// order in which it began.
    pub fn end(&mut self, last: u64) {
        self.now = self.now.max(last);
        let table = &self.table;
        self.left = table.slots().collect();
        self.left.sort_by_key(|slot| Reverse(table.flow(*slot).map(Flow::first_frame)));
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

    fn take_segment(&mut self, item: &Item, packet: &[u8], seen: Segment, hash: u64, key: Key) {
        let is_syn = seen.flags & SYN != 0;
        let mut slot = self.table.find(hash, key);
        // Which other packets come depends on how late the watch is, what is made of them must not: one
        // that is not wanted does not even tell the time.
        let is_wanted = seen.flags & (SYN | RST) != 0 || self.wants(slot);
        if !is_wanted {
            return;
        }
        if self.pass(item.at) {
            slot = self.table.find(hash, key);
            if seen.flags & (SYN | RST) == 0 && !self.wants(slot) {
                return;
            }
        }
        if is_syn {
            self.recent.heard(seen.source, glance::ttl(packet));
        }
        match slot {
            Some(slot) => {
                let kept = Kept::segment(item, packet, seen);
                let is_over = self.table.flow_mut(slot).is_over_by(&kept);
                if is_over {
                    let ended = self.table.remove(slot);
                    self.ready_with(ended, Ending::Decided);
                    self.begin(item, hash, key, seen, kept);
                    return;
                }
                self.go_on(slot, kept, seen);
            }
            None if is_syn => {
                self.begin(item, hash, key, seen, Kept::segment(item, packet, seen));
            }
            None => self.strays += u64::from(seen.flags & RST != 0),
        }
    }

    /// Whether segments of the connection in that slot are wanted that have neither SYN nor RST.
    fn wants(&self, slot: Option<u32>) -> bool {
        slot.and_then(|slot| self.table.flow(slot)).is_some_and(|flow| flow.is_watched)
    }

    fn go_on(&mut self, slot: u32, kept: Kept, seen: Segment) {
        let at = kept.at;
        let flow = self.table.flow_mut(slot);
        let before = flow.phase;
        if let Some(since) = flow.first_answer(&kept, seen.source) {
            self.recent.answered(flow.a(), flow.b(), flow.place);
            if seen.flags & SYN != 0 {
                self.recent.timed(seen.source, since);
            }
        }
        self.kept += usize::from(flow.take(kept, seen.source));
        self.queues.renew(slot, flow.due_after(at), before, flow);
        if seen.flags & SYN != 0 {
            // It was counted when it was read; a flow counts once.
            if std::mem::replace(&mut flow.is_watched, true) {
                self.unwatched.push(flow.hash);
            }
            self.queues.watch(slot, at.saturating_add(WATCHED), flow);
        }
        if flow.is_done_for_now(seen.flags & RST != 0) {
            unwatch(&mut self.unwatched, flow);
        }
        self.make_room();
    }

    /// The SYN that begins it counts in the watch from now on as an opening under way.
    fn begin(&mut self, item: &Item, hash: u64, key: Key, seen: Segment, kept: Kept) {
        let place = match kept.is_bare_syn() {
            true => self.recent.called(seen.source, seen.destination, kept.number(), item),
            false => Place::default(),
        };
        // Of most that are given up in a flood there is one packet.
        let room = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(1));
        self.kept += 1;
        let slot = self.table.insert(Flow::begin(hash, key, seen, kept, room));
        let flow = self.table.flow_mut(slot);
        flow.place = place;
        self.queues.begin(slot, flow.due_after(item.at), flow);
        self.queues.watch(slot, item.at.saturating_add(WATCHED), flow);
        self.queues.tidy(&self.table);
        self.make_room();
    }

    /// An ICMP error is of the connection whose packet it quotes.
    fn take_icmp(&mut self, item: &Item, packet: &[u8]) {
        let Ok(error) = decode_lax(packet, item.length as usize) else { return };
        let Some(icmp) = error.icmp_error() else { return };
        self.pass(item.at);
        let (from, to) = (icmp.quote.source.into(), icmp.quote.destination.into());
        let hash = glance::hash(from, to) ^ salt(item.interface);
        let key = Key { ends: Ends::of(from, to), interface: item.interface };
        let Some(slot) = self.table.find(hash, key) else {
            self.strays += 1;
            return;
        };
        let flow = self.table.flow_mut(slot);
        let before = flow.phase;
        self.kept += usize::from(flow.take(Kept::icmp(item, packet, icmp), to));
        self.queues.renew(slot, flow.due_after(item.at), before, flow);
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
            let flow = self.table.remove(slot);
            self.ready_with(flow, Ending::Decided);
            was_due = true;
        }
        was_due
    }

    /// Gives up openings of which nothing has come for longest, as long as there is too much.
    fn make_room(&mut self) {
        while self.table.len() > self.most || self.kept > self.most.saturating_mul(KEPT_EACH) {
            let Some(slot) = self.queues.quietest(&self.table) else { return };
            let flow = self.table.remove(slot);
            let ending = if flow.has_end() { Ending::Decided } else { Ending::Unfinished };
            self.unfinished += u64::from(ending == Ending::Unfinished);
            self.ready_with(flow, ending);
        }
    }

    fn ready_with(&mut self, mut flow: Flow, ending: Ending) {
        unwatch(&mut self.unwatched, &mut flow);
        self.kept -= flow.kept();
        let related = if flow.may_be_related() {
            self.recent.of(flow.a(), flow.b(), flow.key.interface, flow.began())
        } else {
            Vec::new()
        };
        let hearsay = [self.recent.hearsay(flow.a()), self.recent.hearsay(flow.b())];
        let place = flow.may_be_limited().then_some(flow.place);
        let burst = place.and_then(|place| self.recent.burst(flow.a(), flow.b(), place));
        let opening = flow.into_opening(ending, related, self.now);
        self.ready.push_back(Opening { hearsay, burst, ..opening });
    }
}

/// A packet at a glance, and by what its flow is found.
#[derive(Debug)]
enum Looked {
    Segment(Segment, u64, Key),
    Other,
}

/// So many that the first is still in the cache when its turn comes.
const AHEAD: usize = 16;

/// Packets for each of the most openings: where that many are under way, most have sent a SYN or two.
const KEPT_EACH: usize = 2;

/// As many as are decided at a time.
const MOST_SPARE: usize = 1_024;

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
