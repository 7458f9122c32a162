//! A run, indexed for judging.

use std::net::IpAddr;

use super::finding::{Frame, Unknown};
use crate::engine::{Effort, Fact, Place, Question, Record, Remotes, Run, Trouble};
use crate::time::Instant;
use crate::wire::control::ProbeId;
use crate::wire::{Endpoint, Segment};

/// A run with its packets by probe and its facts by what they say.
pub struct View<'a> {
    asked: Vec<Asked>,
    /// By the probe's number.
    by_probe: Vec<Packets<'a>>,
    pub remotes: Option<Remotes>,
    pub effort: Effort,
    pub internal: Vec<IpAddr>,
    /// Whether every reflector has reported all that it saw.
    pub complete: bool,
    /// Until when answers to unsolicited SYNs were listened for.
    pub listened: Option<Instant>,
    /// Whether STUN servers were asked instead of reflectors.
    pub stun: bool,
    swallowed: bool,
    alone: bool,
}

/// The packets of one probe.
#[derive(Default)]
struct Packets<'a> {
    frames: Vec<(Frame, &'a Record)>,
    /// Its segments by where they were seen.
    sights: [Vec<Sight<'a>>; 4],
}

/// A probe and what it asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub probe: ProbeId,
    pub question: Question,
    pub internal: Vec<Endpoint>,
}

/// Where a segment was seen, and which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    LeftProber,
    ReachedProber,
    LeftReflector,
    ReachedReflector,
}

/// A segment that was seen.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    pub frame: Frame,
    pub record: &'a Record,
    pub from: Endpoint,
    pub to: Endpoint,
    pub segment: &'a Segment,
}

impl<'a> View<'a> {
    pub fn new(run: &'a Run) -> Self {
        let mut view = Self {
            asked: Vec::new(),
            by_probe: Vec::new(),
            remotes: None,
            effort: Effort::default(),
            internal: Vec::new(),
            complete: false,
            listened: None,
            stun: false,
            swallowed: false,
            alone: false,
        };
        run.facts.iter().for_each(|(_, fact)| view.take(fact));
        for (place, record) in run.trace.iter().enumerate() {
            if let Some(probe) = record.probe {
                view.packets_of(probe).add(place + 1, record);
            }
        }
        view
    }

    fn packets_of(&mut self, probe: ProbeId) -> &mut Packets<'a> {
        let place = usize::from(probe.0);
        if self.by_probe.len() <= place {
            self.by_probe.resize_with(place + 1, Packets::default);
        }
        &mut self.by_probe[place]
    }

    fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Planned { effort, internal, .. } => {
                self.effort = *effort;
                self.internal.clone_from(internal);
            }
            Fact::Alone { internal, stun, .. } => {
                self.alone = true;
                self.stun = !stun.is_empty();
                self.internal.clone_from(internal);
            }
            Fact::Chose(remotes) => self.remotes = Some(*remotes),
            Fact::Asked { probe, question, internal } => {
                let (probe, question, internal) = (*probe, *question, internal.clone());
                self.asked.push(Asked { probe, question, internal });
            }
            Fact::ListenedUntil { until } => self.listened = Some(*until),
            Fact::Complete => self.complete = true,
            Fact::Trouble(Trouble::HostFirewall { .. }) => self.swallowed = true,
            _ => {}
        }
    }

    /// The probes that asked this.
    pub fn asked(&self, question: Question) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(move |asked| asked.question == question)
    }

    /// All probes.
    pub fn probes(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter()
    }

    /// The frames of a probe, with their records.
    pub fn frames(&self, probe: ProbeId) -> &[(Frame, &'a Record)] {
        self.by_probe.get(usize::from(probe.0)).map_or(&[], |packets| &packets.frames)
    }

    /// The segments of a probe that were seen there.
    pub fn sights(&self, probe: ProbeId, at: At) -> &[Sight<'a>] {
        self.by_probe.get(usize::from(probe.0)).map_or(&[], |packets| &packets.sights[at as usize])
    }

    /// The bare SYNs among them.
    pub fn syns(&self, probe: ProbeId, at: At) -> impl Iterator<Item = Sight<'a>> {
        self.sights(probe, at).iter().filter(|sight| sight.segment.is_bare_syn()).copied()
    }

    /// The SYNs that went to external endpoints of our own.
    pub fn knocks(&self) -> impl Iterator<Item = Sight<'a>> {
        let probes =
            self.asked(Question::Hairpinning).chain(self.asked(Question::HairpinningPredicted));
        let left = probes.flat_map(|asked| self.syns(asked.probe, At::LeftProber));
        left.filter(|syn| !self.is_reflector(syn.to.ip()))
    }

    /// Whether this address is that of a reflector.
    pub fn is_reflector(&self, address: IpAddr) -> bool {
        self.remotes.iter().flat_map(Remotes::addresses).any(|other| other == address)
    }

    /// Why something that had to arrive did not, as far as this host knows.
    pub const fn no_answer(&self) -> Unknown {
        match (self.alone, self.swallowed) {
            (true, _) => Unknown::NeedsReflector,
            (_, true) => Unknown::HostFirewall,
            _ => Unknown::NoAnswer,
        }
    }

    /// The external endpoint that a probe's SYNs to `remote` were seen from, and the frames that show
    /// it; an error if they were seen from two.
    pub fn external(
        &self,
        asked: &Asked,
        internal: Endpoint,
        remote: Endpoint,
    ) -> Result<Option<(Endpoint, Vec<Frame>)>, Unknown> {
        let several = asked.internal.len() > 1;
        let seen = self
            .syns(asked.probe, At::ReachedReflector)
            .filter(|sight| sight.to == remote)
            .filter(|sight| !several || self.came_from(asked.probe, internal, sight));
        let seen: Vec<_> = seen.collect();
        let Some(first) = seen.first() else { return Ok(None) };
        if seen.iter().any(|sight| sight.from != first.from) {
            return Err(Unknown::Contradicted);
        }
        Ok(Some((first.from, seen.iter().map(|sight| sight.frame).collect())))
    }

    /// The internal endpoint that a SYN seen outside left from.
    pub fn internal_of(&self, asked: &Asked, seen: &Sight<'_>) -> Option<Endpoint> {
        match asked.internal[..] {
            [only] => Some(only),
            _ => {
                let mut ends = asked.internal.iter();
                ends.find(|end| self.came_from(asked.probe, **end, seen)).copied()
            }
        }
    }

    /// Whether a SYN seen outside left from this internal endpoint, by its marks.
    fn came_from(&self, probe: ProbeId, internal: Endpoint, seen: &Sight<'_>) -> bool {
        let mut own = self.syns(probe, At::LeftProber).filter(|sight| sight.from == internal);
        own.any(|sight| is_same(&sight, seen))
    }
}

impl<'a> Packets<'a> {
    fn add(&mut self, frame: Frame, record: &'a Record) {
        self.frames.push((frame, record));
        let (Some((from, to)), Some(segment)) =
            (record.packet.endpoints(), record.packet.segment())
        else {
            return;
        };
        let at = match (record.place, record.inbound) {
            (Place::Prober, false) => At::LeftProber,
            (Place::Prober, true) => At::ReachedProber,
            (Place::Reflector(_), false) => At::LeftReflector,
            (Place::Reflector(_), true) => At::ReachedReflector,
            (Place::End(_), _) => return,
        };
        self.sights[at as usize].push(Sight { frame, record, from, to, segment });
    }
}

/// Whether two sights are of one SYN: a NAT may have rewritten its number, its timestamp or its
/// identification.
pub fn is_same(one: &Sight<'_>, other: &Sight<'_>) -> bool {
    let stamps = (one.segment.options.timestamps(), other.segment.options.timestamps());
    let stamped = matches!(stamps, (Some((one, _)), Some((other, _))) if one == other);
    one.segment.seq == other.segment.seq
        || stamped
        || one.record.packet.id == other.record.packet.id
}

/// Whether two sights are of one among several SYNs with the same number.
pub fn is_repeated(one: &Sight<'_>, other: &Sight<'_>) -> bool {
    let stamps = (one.segment.options.timestamps(), other.segment.options.timestamps());
    let stamped = matches!(stamps, (Some((one, _)), Some((other, _))) if one == other);
    stamped || one.record.packet.id == other.record.packet.id
}

/// What at least three repetitions agree on, with the frames that show it.
pub fn agreed<T: PartialEq>(
    answers: impl IntoIterator<Item = Result<Option<(T, Vec<Frame>)>, Unknown>>,
    no_answer: Unknown,
) -> Result<(T, Vec<Frame>), Unknown> {
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let given: Vec<_> = answers.into_iter().flatten().collect();
    if given.len() < REPETITIONS {
        return Err(no_answer);
    }
    let mut given = given.into_iter();
    let (value, mut frames) = given.next().ok_or(no_answer)?;
    for (other, more) in given {
        if other != value {
            return Err(Unknown::Contradicted);
        }
        frames.extend(more);
    }
    frames.sort_unstable();
    Ok((value, frames))
}

/// Each finding stands on fresh ports, and again on at least two more.
pub const REPETITIONS: usize = 3;
