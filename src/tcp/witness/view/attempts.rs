//! Which segments are of which attempt, at one end and across both: one end makes several, one after
//! the other, and what is left of one may come while the next is under way.

use super::{Seen, Syn, View};
use crate::wire::{Flags, Seq};

impl<'a> View<'a> {
    /// This side's last SYN that the other acknowledged, else its last one.
    pub(super) fn last_own(&self) -> Option<Syn> {
        let all = self.syns(false);
        let is_acknowledged =
            |syn: &&Syn| self.way(true).any(|seen| syn.is_acknowledged_by(seen.segment));
        all.iter().rev().find(is_acknowledged).or(all.last()).copied()
    }

    /// The same, of another attempt of this side's.
    pub(super) fn of_attempt(mut self, own: Option<Syn>) -> Self {
        self.own = own;
        self.peer = self.answered();
        self
    }

    /// Whether this side became established in the last of its attempts: it cannot stand in an earlier
    /// one, since there are no two connections between the same endpoints.
    pub fn stands(&self) -> bool {
        let last = self.syns(false).pop();
        self.is_open() && last.map(|syn| syn.iss) == self.own.map(|own| own.iss)
    }

    /// What this interface saw of the attempt that the other end's view is of, if that can be told.
    pub fn of_the_attempt_of(&self, other: &Self) -> Option<Self> {
        let mut own = self.syns(false);
        own.dedup_by_key(|syn| syn.iss);
        let others = own.into_iter().rev().map(|own| self.clone().of_attempt(Some(own)));
        [self.clone()].into_iter().chain(others).find(|view| Self::are_one_attempt(view, other))
    }

    /// What this side sent in this attempt: from its SYN on, until that of its next attempt.
    pub(super) fn sent(&self) -> impl Iterator<Item = Seen<'a>> {
        let own = self.own.map(|own| own.iss);
        let is_syn = |seen: &Seen<'_>| seen.segment.flags.contains(Flags::SYN);
        let is_own = move |seen: &Seen<'_>| Some(seen.segment.seq) == own;
        self.way(false)
            .skip_while(move |seen| !(is_syn(seen) && is_own(seen)))
            .take_while(move |seen| !is_syn(seen) || is_own(seen))
    }

    /// The other's SYN that this side acknowledged in this attempt, else the last one: what is left of
    /// earlier attempts has other numbers (RFC 9293 §3.4.1).
    fn answered(&self) -> Option<Syn> {
        let all = self.syns(true);
        let is_answered = |syn: &&Syn| self.sent().any(|seen| syn.is_acknowledged_by(seen.segment));
        all.iter().rev().find(is_answered).or(all.last()).copied()
    }

    /// Whether both ends saw the same SYNs: by their numbers, or where a NAT rewrites those, by their
    /// timestamps. A SYN that did not arrive contradicts nothing.
    ///
    /// Where neither tells, two that opened are one if an end made no other attempt: it took part in
    /// both, and a socket synchronises with one attempt of the peer's alone.
    fn are_one_attempt(a: &Self, b: &Self) -> bool {
        let is_matched = a.sent_what_came_to(b) && b.sent_what_came_to(a);
        is_matched || a.is_open() && b.is_open() && (a.is_the_only_one() || b.is_the_only_one())
    }

    fn is_the_only_one(&self) -> bool {
        let own = self.own.map(|own| own.iss);
        self.syns(false).iter().all(|syn| Some(syn.iss) == own)
    }

    fn sent_what_came_to(&self, receiver: &Self) -> bool {
        match (self.own, receiver.peer) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(sent), Some(came)) => {
                let came_stamps: Vec<_> = receiver.stamps(true, came.iss).collect();
                sent.iss == came.iss
                    || self.stamps(false, sent.iss).any(|stamp| came_stamps.contains(&stamp))
            }
        }
    }

    /// The TSvals of the SYNs this way; zero marks nothing.
    fn stamps(&self, inbound: bool, iss: Seq) -> impl Iterator<Item = u32> {
        let syns = self
            .way(inbound)
            .filter(move |seen| seen.segment.flags.contains(Flags::SYN) && seen.segment.seq == iss);
        let values = syns.filter_map(|seen| seen.segment.options.timestamps());
        values.map(|(value, _)| value).filter(|value| *value != 0)
    }

    /// All SYNs this way, repetitions too.
    fn syns(&self, inbound: bool) -> Vec<Syn> {
        let syns = || self.way(inbound).filter(|seen| seen.segment.flags.contains(Flags::SYN));
        let with_length = |iss| {
            let same = syns().filter(|seen| seen.segment.seq == iss);
            Syn { iss, length: same.map(|seen| seen.segment.length()).max().unwrap_or(1) }
        };
        syns().map(|seen| with_length(seen.segment.seq)).collect()
    }
}
