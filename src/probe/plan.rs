//! The plan of a classification: an ordered, printable set of probes, run side by side.
//!
//! ```text
//! join ─> greet ─> announce ─> check ─> open ─> try (volleys, clashes, hairpins, listening) ─> finish
//! ```
//!
//! Each stage ends as soon as it has what it needs, and at its deadline at the latest; so the plan
//! keeps the longest duration that it promises before it starts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::children::Children;
use super::farewell::Begun;
use super::patience::{ANNOUNCE, CHECK, FINISH, GREET, JOIN, OPEN, Patience};
use super::preflight::Preflight;
use super::questions::Questions;
use super::setting::Setting;
use super::sightings::Sightings;
use super::volley::{Block, Targets, Volleys};
use super::{NEVER, Probe};
use crate::engine::{Fact, Name, Question, Step, Trouble, Unreached};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use crate::wire::control::{Message, ProbeId, Shot, VERSION};

/// A classification, as a party.
pub struct Plan {
    pub(super) setting: Setting,
    patience: Patience,
    pub(super) stage: Stage,
    pub(super) deadline: Instant,
    pub(super) reflectors: BTreeMap<Name, Reflector>,
    /// Their addresses.
    pub(super) outside: Vec<IpAddr>,
    questions: Option<Questions>,
    pub(super) preflight: Option<Preflight>,
    pub(super) children: Children,
    pub(super) sightings: Sightings,
    /// Whether sequential ports are being, or have been, predicted.
    sequencing: bool,
    pub(super) volleys: Option<Volleys>,
    /// Segments sent and not yet seen to leave.
    pub(super) unseen: u32,
    /// To be ended when it leaves.
    pub(super) begun: Begun,
    pub(super) steps: VecDeque<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Joining,
    Greeting,
    Announcing,
    Checking,
    Opening,
    Trying,
    Finishing,
    Over,
}

/// A reflector, as far as it has answered.
#[derive(Debug, Default)]
pub struct Reflector {
    pub local: Option<Endpoint>,
    pub greeted: Instant,
    pub endpoints: Vec<Endpoint>,
    pub clock_offset_ns: i64,
    pub expecting: bool,
    pub finished: bool,
    /// Our external addresses that it has seen.
    pub proven: BTreeSet<IpAddr>,
    pub round_trip: Duration,
    /// Octets that we hold of what it said.
    held: usize,
}

impl Reflector {
    /// Counts what it said; whether that is more than any run has use for.
    pub fn overwhelms(&mut self, message: &Message) -> bool {
        let payload = match message {
            Message::Saw { packet, .. } | Message::Sent { packet, .. } => {
                packet.0.segment().map_or(0, |segment| segment.payload.len())
            }
            _ => 0,
        };
        self.held += MESSAGE + payload;
        self.held > MOST_HELD
    }
}

impl Plan {
    /// A plan that has not begun.
    pub fn new(setting: Setting) -> Self {
        let patience = Patience::of(setting.effort);
        let planned = Fact::Planned {
            effort: setting.effort,
            longest: patience.longest(),
            internal: setting.internal.clone(),
            seed: setting.seed,
            round_trips: ROUND_TRIPS,
        };
        let names = (0..setting.reflectors).map(|number| Name(number.into()));
        Self {
            patience,
            stage: Stage::Joining,
            deadline: Instant::START + JOIN,
            reflectors: names.map(|name| (name, Reflector::default())).collect(),
            outside: Vec::new(),
            questions: None,
            preflight: None,
            children: Children::default(),
            sightings: Sightings::default(),
            sequencing: false,
            volleys: None,
            unseen: 0,
            begun: Begun::default(),
            steps: VecDeque::from([Step::Note(planned.into())]),
            setting,
        }
    }

    /// The longest that it can take.
    pub fn longest(&self) -> Duration {
        self.patience.longest()
    }

    pub(super) fn may_advance(&self, now: Instant) -> bool {
        let mut reflectors = self.reflectors.values();
        match self.stage {
            Stage::Joining => reflectors.all(|reflector| reflector.local.is_some()),
            Stage::Greeting => reflectors.all(|reflector| !reflector.endpoints.is_empty()),
            Stage::Announcing => reflectors.all(|reflector| reflector.expecting),
            Stage::Checking => self.preflight.as_ref().is_none_or(Probe::is_done),
            Stage::Opening => self.children.are_open(),
            Stage::Trying => {
                let busy = |question| self.sequencing || question != Question::HairpinningPredicted;
                let calm = self.volleys.as_ref().is_none_or(|volleys| volleys.are_over(now));
                calm && !self.wants_sequence() && self.children.are_done(busy)
            }
            Stage::Finishing => reflectors.all(|reflector| reflector.finished),
            Stage::Over => false,
        }
    }

    /// Leaves a stage that has what it needs, or whose deadline has passed.
    // Not worth a place in `poll`, which is called for every packet.
    #[cold]
    pub(super) fn advance(&mut self, now: Instant) {
        match self.stage {
            Stage::Joining => self.greet(now),
            Stage::Greeting => self.announce(now),
            Stage::Announcing => self.check(now),
            Stage::Checking => self.open(now),
            Stage::Opening => self.begin_trying(now),
            Stage::Trying => self.finish(now),
            Stage::Finishing => self.complete(),
            Stage::Over => {}
        }
    }

    fn enter(&mut self, stage: Stage, deadline: Instant) {
        (self.stage, self.deadline) = (stage, deadline);
    }

    /// Tells a reflector something; the steps keep their order.
    fn tell(&mut self, name: Name, message: Message) {
        self.steps.push_back(Step::Tell(name, message));
    }

    fn tell_all(&mut self, message: &Message) {
        let names: Vec<_> = self.reflectors.keys().copied().collect();
        names.into_iter().for_each(|name| self.tell(name, message.clone()));
    }

    pub(super) fn note(&mut self, fact: Fact) {
        self.steps.push_back(Step::Note(fact.into()));
    }

    /// Ends the run early: what is known so far stays known.
    pub(super) fn fail(&mut self, troubles: impl IntoIterator<Item = Trouble>) {
        troubles.into_iter().for_each(|trouble| self.note(Fact::Trouble(trouble)));
        self.leave();
    }

    fn leave(&mut self) {
        let names: Vec<_> = self.reflectors.keys().copied().collect();
        self.steps.extend(names.into_iter().map(Step::HangUp));
        self.steps.extend(self.begun.resets());
        self.steps.push_back(Step::Done);
        self.enter(Stage::Over, NEVER);
    }

    /// The reflectors of which `lacks` holds.
    fn lacking(&self, lacks: impl Fn(&Reflector) -> bool) -> Vec<u8> {
        let lacking = self.reflectors.iter().filter(|(_, reflector)| lacks(reflector));
        lacking.map(|(name, _)| number(*name)).collect()
    }

    fn greet(&mut self, now: Instant) {
        let missing = self.lacking(|reflector| reflector.local.is_none());
        if !missing.is_empty() {
            let why = Unreached::TimedOut;
            let unreachable = |reflector| Trouble::Unreachable { reflector, why };
            return self.fail(missing.into_iter().map(unreachable));
        }
        self.reflectors.values_mut().for_each(|reflector| reflector.greeted = now);
        self.tell_all(&Message::Hello { version: VERSION });
        self.enter(Stage::Greeting, now + GREET);
    }

    /// Chooses the endpoints' roles and tells reflectors what will come.
    fn announce(&mut self, now: Instant) {
        let missing = self.lacking(|reflector| reflector.endpoints.is_empty());
        if !missing.is_empty() {
            return self.fail(missing.into_iter().map(|reflector| Trouble::Silent { reflector }));
        }
        let remotes = self.remotes();
        let Setting { internal, ports, seed, .. } = &self.setting;
        let mut questions = Questions::new(remotes, self.patience, internal, ports, *seed);
        let preflight = questions.preflight();
        let mut expectations = preflight.expectations();
        self.children.add(questions.opening());
        self.children.add(vec![questions.sequence(self.round_trip(now))]);
        expectations.extend(self.children.expectations());
        self.claim();
        self.note(Fact::Chose(remotes));
        for (name, of_this) in self.by_owner(expectations, |expected| expected.on) {
            self.tell(name, Message::Expect { expectations: of_this });
        }
        (self.questions, self.preflight) = (Some(questions), Some(preflight));
        self.enter(Stage::Announcing, now + ANNOUNCE);
    }

    fn claim(&mut self) {
        let Setting { internal, ports, .. } = &self.setting;
        let ends = internal.iter().flat_map(|address| {
            ports.iter().map(move |port| Step::Claim(Endpoint::new(*address, *port)))
        });
        self.steps.extend(ends);
    }

    fn check(&mut self, now: Instant) {
        let missing = self.lacking(|reflector| !reflector.expecting);
        if !missing.is_empty() {
            return self.fail(missing.into_iter().map(|reflector| Trouble::Silent { reflector }));
        }
        let asks = self.preflight.iter().flat_map(Probe::asks);
        let facts: Vec<_> = asks.map(|asks| asked((Question::Preflight, asks.0, asks.1))).collect();
        facts.into_iter().for_each(|fact| self.note(fact));
        self.enter(Stage::Checking, now + CHECK);
    }

    fn open(&mut self, now: Instant) {
        let troubles = self.preflight.as_ref().map(Preflight::troubles).unwrap_or_default();
        if !troubles.is_empty() {
            return self.fail(troubles);
        }
        self.wake(now, |question| question != Question::HairpinningPredicted);
        self.enter(Stage::Opening, now + OPEN);
    }

    fn wake(&mut self, now: Instant, wanted: impl Fn(Question) -> bool) {
        let woken = self.children.wake(now, wanted);
        woken.into_iter().for_each(|asks| self.note(asked(asks)));
    }

    /// Adds what needs to know an external address, and orders the volleys.
    fn begin_trying(&mut self, now: Instant) {
        let known: BTreeSet<_> = self.sightings.externals.iter().copied().collect();
        if let (Some(questions), Some(external)) = (&mut self.questions, known.first()) {
            let taken: Vec<_> = known.iter().copied().collect();
            let knowing = questions.knowing(now, external.ip(), &taken);
            let woken = self.children.add_awake(now, knowing);
            woken.into_iter().for_each(|asks| self.note(asked(asks)));
        }
        self.volleys = Some(Volleys::new(now, self.patience, self.round_trip(now)));
        self.enter(Stage::Trying, now + self.patience.trying());
    }

    /// Orders the volleys that are due; whether any were.
    pub(super) fn order_volleys(&mut self, now: Instant) -> bool {
        let Some(volleys) = &mut self.volleys else { return false };
        let Some(wave) = volleys.next(now) else { return false };
        let targets = targets(&self.children, volleys, wave.block);
        volleys.accompany(&targets.companions);
        let Some(questions) = &mut self.questions else { return false };
        let shots = wave.shots(&targets, &mut questions.random);
        for (name, of_this) in self.by_owner(shots, |shot| shot.from) {
            let proven = self.reflectors.get(&name).map(|reflector| &reflector.proven);
            let shots = of_this.into_iter();
            let shots: Vec<Shot> = shots
                .filter(|shot| proven.is_some_and(|own| own.contains(&shot.to.ip())))
                .collect();
            self.tell(name, Message::Shoot { shots });
        }
        true
    }

    /// Sequential ports take quiet to predict: everything that takes ports must be done.
    pub(super) fn wants_sequence(&self) -> bool {
        !self.sequencing && self.sightings.look_sequential() && !self.sightings.hairpinned
    }

    pub(super) fn begin_sequence(&mut self, now: Instant) {
        self.sequencing = true;
        self.wake(now, |question| question == Question::HairpinningPredicted);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.stage == Stage::Trying
            && self.children.are_done(|question| question != Question::HairpinningPredicted)
    }

    fn finish(&mut self, now: Instant) {
        self.note(Fact::ListenedUntil { until: now });
        self.tell_all(&Message::Finish);
        self.enter(Stage::Finishing, now + FINISH);
    }

    fn complete(&mut self) {
        let silent = self.lacking(|reflector| !reflector.finished);
        if silent.is_empty() {
            self.note(Fact::Complete);
        }
        for reflector in silent {
            self.note(Fact::Trouble(Trouble::Silent { reflector }));
        }
        if self.unseen > 0 {
            self.note(Fact::Trouble(Trouble::HostFirewall { packets: self.unseen }));
        }
        self.leave();
    }
}

pub const fn number(name: Name) -> u8 {
    (name.0 & 0xff) as u8
}

fn asked((question, probe, internal): (Question, ProbeId, Vec<Endpoint>)) -> Fact {
    Fact::Asked { probe, question, internal }
}

/// What volleys of a block carry: every test, and of the companions no more than what shows the path
/// alive.
fn targets(children: &Children, volleys: &Volleys, block: Block) -> Targets {
    let tests = children.aims(block, |question| !question.accompanies()).collect();
    let companions = |wanted: fn(Question) -> bool| -> Vec<_> {
        children.aims(block, wanted).map(|(_, aim)| aim).collect()
    };
    let syns = companions(|question| question == Question::CompanionSyn);
    // The tests are SYNs: where SYNs are known to pass, nothing else has to.
    let companions = if volleys.pass(&syns) { syns } else { companions(Question::accompanies) };
    Targets { tests, companions }
}

/// What we hold of a message, beside its packet's payload, in octets.
const MESSAGE: usize = 256;

/// What one reflector may have us hold, in octets: some 16,000 reports. With full effort over a bad
/// path it has 2,500 to make, and none of our segments has a payload.
const MOST_HELD: usize = 4 * 1024 * 1024;

/// Connecting, greeting, announcing, checking, opening, each block of volleys and finishing take one.
const ROUND_TRIPS: u32 = 8;
