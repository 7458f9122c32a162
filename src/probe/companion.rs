//! What goes along to prove the path alive: segments in that are known to pass, beside those whose
//! silence would count, and SYNs out at a steady beat.

use super::Probe;
use super::outreach::Outreach;
use super::patience::BEAT;
use super::volley::Aim;
use crate::engine::{Event, Party, Step};
use crate::time::Instant;
use crate::wire::control::{Expectation, ProbeId};
use crate::wire::{Endpoint, Packet};

/// An outreach that goes on to send SYNs once it was seen.
#[derive(Debug)]
pub struct Companion {
    outreach: Outreach,
    beats: u32,
    due: Instant,
}

impl Companion {
    /// Accompanies with this outreach.
    pub const fn new(outreach: Outreach) -> Self {
        Self { outreach, beats: 0, due: Instant::START }
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

    fn aims(&self) -> Vec<Aim> {
        self.outreach.aims()
    }

    fn beat(&mut self, now: Instant) -> Option<Packet> {
        let beat = self.outreach.contacts().beat(self.beats + 1).filter(|_| self.is_open())?;
        self.beats += 1;
        self.due = now + BEAT;
        Some(beat)
    }

    fn is_open(&self) -> bool {
        self.outreach.is_open()
    }
}
