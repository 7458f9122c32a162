//! What goes along to prove the path alive: segments in that are known to pass, beside those whose
//! silence would count, and SYNs out at a steady beat.

use std::collections::VecDeque;

use super::Probe;
use super::outreach::Outreach;
use super::patience::{BEAT, OVERDUE, QUICK_BEAT};
use super::volley::{Aim, Block};
use crate::engine::{Event, Party, Step};
use crate::time::{Duration, Instant};
use crate::wire::control::{Expectation, Message, ProbeId};
use crate::wire::{Endpoint, Packet};

/// An outreach that goes on to send SYNs once it was seen: the beat, which quickens for good when one
/// of them was lost, so that the loss is measured on more of them.
#[derive(Debug)]
pub struct Companion {
    outreach: Outreach,
    beats: u32,
    due: Instant,
    pace: Duration,
    /// Beats that were not reported yet: their identification, and when each is overdue.
    unreported: VecDeque<(u16, Instant)>,
}

impl Companion {
    /// Accompanies with this outreach.
    pub const fn new(outreach: Outreach) -> Self {
        let unreported = VecDeque::new();
        Self { outreach, beats: 0, due: Instant::START, pace: BEAT, unreported }
    }
}

impl Party for Companion {
    fn poll(&mut self, now: Instant) -> Step {
        let step = self.outreach.poll(now);
        let Step::Wait(until) = step else { return step };
        if !self.is_open() {
            return Step::Wait(until);
        }
        let due = (self.due <= now).then(|| self.beat(now)).flatten();
        due.map_or(Step::Wait(until.min(self.due)), Step::Send)
    }

    fn handle(&mut self, now: Instant, event: Event) {
        if let Event::Told(_, Message::Saw { packet, .. }) = &event {
            self.unreported.retain(|(id, _)| *id != packet.0.id);
        }
        self.outreach.handle(now, event);
    }
}

impl Probe for Companion {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        self.outreach.asks()
    }

    fn expectations(&self) -> Vec<Expectation> {
        self.outreach.expectations()
    }

    fn aims(&self, block: Block) -> Vec<Aim> {
        self.outreach.aims(block)
    }

    fn beat(&mut self, now: Instant) -> Option<Packet> {
        let beat = self.outreach.contacts().beat(self.beats + 1).filter(|_| self.is_open())?;
        self.beats += 1;
        if self.unreported.front().is_some_and(|(_, overdue)| *overdue <= now) {
            self.pace = QUICK_BEAT;
        }
        self.unreported.push_back((beat.id, now + OVERDUE));
        self.due = now + self.pace;
        Some(beat)
    }

    fn is_open(&self) -> bool {
        self.outreach.is_open()
    }
}
