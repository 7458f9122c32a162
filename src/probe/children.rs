//! The probes of a running plan: who is polled when, and who gets what.

use std::collections::BTreeMap;

use super::NEVER;
use super::questions::Asked;
use super::volley::{Aim, Block, Turn};
use crate::engine::{Event, Question, Step};
use crate::time::Instant;
use crate::wire::Endpoint;
use crate::wire::control::{Expectation, ProbeId};

/// A probe's question, one of its numbers, and the internal endpoints under that number.
pub type Woken = (Question, ProbeId, Vec<Endpoint>);

/// Probes by number and by internal endpoint.
#[derive(Default)]
pub struct Children {
    list: Vec<Child>,
    /// No later than the first of them wants to be polled.
    soonest: Instant,
    by_probe: BTreeMap<ProbeId, usize>,
    by_internal: BTreeMap<Endpoint, (usize, ProbeId)>,
    /// Whether a SYN is to go out behind those of this moment, to show whether they got through.
    owes_beat: bool,
}

struct Child {
    asked: Asked,
    /// When to poll it next; never while it sleeps.
    wakes: Instant,
}

impl Children {
    /// Adds probes that sleep until they are woken.
    pub fn add(&mut self, asked: Vec<Asked>) {
        for asked in asked {
            let place = self.list.len();
            for (probe, internal) in asked.probe.asks() {
                self.by_probe.insert(probe, place);
                self.by_internal.extend(internal.into_iter().map(|end| (end, (place, probe))));
            }
            self.list.push(Child { asked, wakes: NEVER });
        }
    }

    /// Wakes those that ask a question that is wanted; with each its numbers and endpoints.
    pub fn wake(&mut self, now: Instant, wanted: impl Fn(Question) -> bool) -> Vec<Woken> {
        self.wake_from(now, 0, wanted)
    }

    /// Adds probes and wakes them at once.
    pub fn add_awake(&mut self, now: Instant, asked: Vec<Asked>) -> Vec<Woken> {
        let first = self.list.len();
        self.add(asked);
        self.wake_from(now, first, |_| true)
    }

    fn wake_from(
        &mut self,
        now: Instant,
        first: usize,
        wanted: impl Fn(Question) -> bool,
    ) -> Vec<Woken> {
        self.soonest = now;
        let woken = self.list[first..].iter_mut().filter(|child| wanted(child.asked.question));
        let asks = woken.flat_map(|child| {
            child.wakes = now;
            let question = child.asked.question;
            let asks = child.asked.probe.asks();
            asks.into_iter().map(move |(probe, internal)| (question, probe, internal))
        });
        asks.collect()
    }

    /// What they want next; none while all wait.
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.soonest <= now {
            for child in self.list.iter_mut().filter(|child| child.wakes <= now) {
                match child.asked.probe.poll(now) {
                    Step::Wait(until) => child.wakes = until,
                    step => return Some(step),
                }
            }
            self.soonest = self.list.iter().map(|child| child.wakes).min().unwrap_or(NEVER);
        }
        let owes = std::mem::take(&mut self.owes_beat);
        self.list
            .iter_mut()
            .filter(|_| owes)
            .find_map(|child| child.asked.probe.beat(now).map(Step::Send))
    }

    /// Has a SYN go out behind those of this moment. A limiter that lets it through had room for
    /// those before it.
    pub const fn owe_beat(&mut self) {
        self.owes_beat = true;
    }

    /// When one of them wants to be polled.
    pub const fn wakes(&self) -> Instant {
        self.soonest
    }

    /// What the probe with this number asks.
    pub fn question(&self, probe: ProbeId) -> Option<Question> {
        self.by_probe.get(&probe).map(|place| self.list[*place].asked.question)
    }

    /// Whose endpoint this is.
    pub fn at(&self, internal: Endpoint) -> Option<ProbeId> {
        self.by_internal.get(&internal).map(|(_, probe)| *probe)
    }

    /// Hands an event to the probe with this number.
    pub fn handle(&mut self, now: Instant, probe: ProbeId, event: Event) {
        let Some(place) = self.by_probe.get(&probe) else { return };
        let child = &mut self.list[*place];
        child.asked.probe.handle(now, event);
        child.wakes = now;
        self.soonest = now;
    }

    /// All SYNs that reflectors should expect.
    pub fn expectations(&self) -> impl Iterator<Item = Expectation> {
        self.list.iter().flat_map(|child| child.asked.probe.expectations())
    }

    /// What volleys of this block should carry for those that ask a question that is wanted, and
    /// which of them.
    pub fn aims(
        &self,
        block: Block,
        wanted: impl Fn(Question) -> bool,
    ) -> impl Iterator<Item = (Turn, (ProbeId, Aim))> {
        let asking = self.list.iter().filter(move |child| wanted(child.asked.question));
        asking.flat_map(move |Child { asked, .. }| {
            let asks = asked.probe.asks();
            let probe = asks.first().map_or(ProbeId::default(), |(probe, _)| *probe);
            let aims = asked.probe.aims(block).into_iter();
            aims.map(move |aim| (asked.turn, (probe, aim)))
        })
    }

    /// Whether all mappings are known that volleys need.
    pub fn are_open(&self) -> bool {
        self.list.iter().all(|child| child.asked.probe.is_open())
    }

    /// Whether those that ask a question that is wanted need no more time.
    pub fn are_done(&self, wanted: impl Fn(Question) -> bool) -> bool {
        let mut asking = self.list.iter().filter(|child| wanted(child.asked.question));
        asking.all(|child| child.asked.probe.is_done())
    }
}
