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

#[cfg(test)]
mod tests {
    use super::super::contact::Contact;
    use super::*;
    use crate::engine::Name;
    use crate::wire::control::{Answer, PacketText};

    /// How many beats go out in so many seconds, if those of which `reported` holds are reported.
    fn beats(seconds: u64, reported: impl Fn(usize) -> bool) -> usize {
        let internal = "192.168.1.2:5000".parse().expect("an endpoint");
        let remote = "203.0.113.10:5383".parse().expect("an endpoint");
        let contact = Contact::new(remote, Answer::Nothing, [7, 8]);
        let outreach = Outreach::new(ProbeId(1), internal, vec![contact], Vec::new());
        let mut companion = Companion::new(outreach);
        let (mut now, mut sent) = (Instant::START, 0);
        while now < Instant::START + Duration::from_secs(seconds) {
            match companion.poll(now) {
                Step::Send(syn) => {
                    if reported(sent) {
                        let saw =
                            Message::Saw { probe: ProbeId(1), at: now, packet: PacketText(syn) };
                        companion.handle(now, Event::Told(Name(0), saw));
                    }
                    sent += 1;
                }
                Step::Wait(until) => now = until,
                step => panic!("a companion does not want {step:?}"),
            }
        }
        // The first SYN is no beat.
        sent - 1
    }

    #[test]
    fn the_beat_is_steady_while_every_one_is_reported() {
        assert_eq!(beats(6, |_| true), 60);
    }

    #[test]
    fn one_lost_beat_quickens_it_for_good_though_no_faster_than_a_limiter_allows() {
        let number = beats(6, |number| number != 10);
        assert!((100..=25 * 6).contains(&number), "{number} beats in 6 s");
    }
}
