//! The probes of a plan: which there are, from which ports they ask, and in what volleys they share.

use std::net::IpAddr;

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Probe;
use super::clash::Clash;
use super::companion::Companion;
use super::contact::Contact;
use super::crossing::Crossing;
use super::established::Established;
use super::hairpin::{Hairpin, Knocks};
use super::outreach::{Back, FromOutside, Kind, Outreach};
use super::patience::{BOTH_BLOCKS, FIRST_BLOCK, Pace, Patience, STRANGERS};
use super::preflight::Preflight;
use super::sequence::{Attempt, Sequence};
use super::volley::{Aim, Block, Turn};
use crate::engine::{Order, Question, Remotes};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use crate::wire::control::{Answer, ProbeId};

/// A probe with the question that it asks, and which volleys carry its segments.
pub struct Asked {
    pub question: Question,
    pub turn: Turn,
    pub probe: Box<dyn Probe>,
}

/// Makes probes, each with numbers, ports and marks of its own.
pub struct Questions {
    remotes: Remotes,
    patience: Patience,
    internal: Vec<IpAddr>,
    /// Those not yet given out, the next one last.
    ports: Vec<u16>,
    probes: u16,
    pub random: Xoshiro256PlusPlus,
}

impl Questions {
    /// Probes from these internal addresses and ports; of the second address, clashes alone.
    pub fn new(
        remotes: Remotes,
        patience: Patience,
        internal: &[IpAddr],
        ports: &[u16],
        seed: u64,
    ) -> Self {
        Self {
            remotes,
            patience,
            internal: internal.to_vec(),
            ports: ports.iter().rev().copied().collect(),
            probes: 0,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// How many ports a plan needs.
    pub const fn ports_needed(patience: &Patience) -> usize {
        // Preflight and companions; each repetition; the attempts in sequence.
        4 + STRANGERS as usize + patience.repetitions as usize * (4 + 2 + 2 + 2) + ATTEMPTS * 5
    }

    /// Openings with every endpoint that the questions need.
    pub fn preflight(&mut self) -> Preflight {
        let Remotes { contacted, other_port, other_address, other_both } = self.remotes;
        let all = [Some(contacted), Some(other_port), other_address, other_both];
        let all: Vec<_> = all.into_iter().flatten().collect();
        let (probe, internal) = (self.number(), self.endpoint());
        let contacts = self.contacts(&all, Answer::SynAck);
        Preflight::new(probe, internal, contacts)
    }

    /// The probes that begin with contacts of their own.
    pub fn opening(&mut self) -> Vec<Asked> {
        let mut all = vec![
            self.companion(Question::CompanionSyn),
            self.companion(Question::CompanionSynAck),
            self.companion(Question::CompanionLateSyn),
        ];
        for repetition in 0..self.patience.repetitions {
            let turn = Turn::of(repetition, self.patience.repetitions, 1);
            let mut ask = |question, probe| all.push(Asked { question, turn, probe });
            ask(Question::Mapping, self.mapping());
            ask(Question::FilteringEstablished, self.established());
            ask(Question::SimultaneousOpen, self.crossing());
            ask(Question::Hairpinning, self.hairpin(repetition));
            for order in [Order::ClashFirst, Order::ClashLast] {
                if let Some(clash) = self.clash(order) {
                    ask(Question::PortClash(order), clash);
                }
            }
        }
        for repetition in 0..STRANGERS {
            let turn = Turn::of(repetition, STRANGERS, self.patience.stride);
            let probe = self.filtering(repetition);
            all.push(Asked { question: Question::Filtering, turn, probe });
        }
        all
    }

    /// The probes that need to know an external address.
    pub fn knowing(&mut self, now: Instant, external: IpAddr, taken: &[Endpoint]) -> Vec<Asked> {
        let mut all = Vec::new();
        for repetition in 0..STRANGERS {
            let turn = Turn::of(repetition, STRANGERS, self.patience.stride);
            let probe = self.unsolicited(external, taken);
            all.push(Asked { question: Question::UnsolicitedSyn, turn, probe });
        }
        for repetition in 0..self.patience.repetitions {
            let probe = self.hairpin_expecting(now, external, repetition);
            all.push(Asked { question: Question::Hairpinning, turn: Turn::ALWAYS, probe });
        }
        all
    }

    /// Hairpinning by prediction of sequential ports.
    pub fn sequence(&mut self, round_trip: Duration) -> Asked {
        let attempts = (0..ATTEMPTS).map(|_| self.attempt()).collect();
        let probe = Box::new(Sequence::new(attempts, round_trip));
        Asked { question: Question::HairpinningPredicted, turn: Turn::ALWAYS, probe }
    }

    fn companion(&mut self, question: Question) -> Asked {
        let remotes = [Some(self.remotes.contacted), self.remotes.other_address];
        let remotes: Vec<_> = remotes.into_iter().flatten().collect();
        let (probe, internal) = (self.number(), self.endpoint());
        let seq = Some(self.random.next_u32().into());
        let (kind, answer) = match question {
            Question::CompanionSynAck => (Kind::SynAck, Answer::Nothing),
            Question::CompanionLateSyn => (Kind::Syn, Answer::SynAck),
            _ => (Kind::Syn, Answer::Nothing),
        };
        let back =
            |remote: &Endpoint| Back { from: *remote, seen_at: *remote, kind, seq, block: None };
        let shots = remotes.iter().map(back).collect();
        let contacts = self.contacts(&remotes, answer);
        let contacts = contacts.into_iter().map(|contact| match answer {
            Answer::SynAck => contact.held(BOTH_BLOCKS),
            _ => contact,
        });
        let outreach = Outreach::new(probe, internal, contacts.collect(), shots);
        let probe: Box<dyn Probe> = match question {
            Question::CompanionSyn => Box::new(Companion::new(outreach)),
            _ => Box::new(outreach),
        };
        Asked { question, turn: Turn::ALWAYS, probe }
    }

    fn mapping(&mut self) -> Box<dyn Probe> {
        let Remotes { contacted, other_port, other_address, .. } = self.remotes;
        let remotes = [Some(contacted), Some(other_port), other_address];
        let remotes: Vec<_> = remotes.into_iter().flatten().collect();
        let (probe, internal) = (self.number(), self.endpoint());
        let contacts = self.contacts(&remotes, Answer::Nothing);
        Box::new(Outreach::new(probe, internal, contacts, Vec::new()))
    }

    /// The first block asks one stranger alone, whose SYNs a NAT may hold; the second asks the other.
    fn filtering(&mut self, repetition: u16) -> Box<dyn Probe> {
        let Remotes { contacted, other_port, other_address, .. } = self.remotes;
        let back = |from, block| {
            let (kind, block) = (Kind::Syn, Some(block));
            Back { from, seen_at: contacted, kind, seq: None, block }
        };
        let mut shots = vec![back(other_address.unwrap_or(other_port), Block::First)];
        if other_address.is_some() && repetition < self.patience.repetitions {
            shots.push(back(other_port, Block::Second));
        }
        let (probe, internal) = (self.number(), self.endpoint());
        let contact = self.contact(contacted, Answer::Nothing).held(BOTH_BLOCKS);
        Box::new(Outreach::new(probe, internal, vec![contact], shots))
    }

    fn established(&mut self) -> Box<dyn Probe> {
        let (probe, internal) = (self.number(), self.endpoint());
        let contact = self.contact(self.remotes.contacted, Answer::SynAck);
        Box::new(Established::new(probe, internal, contact, self.remotes))
    }

    fn crossing(&mut self) -> Box<dyn Probe> {
        let probe = self.number();
        let contact = self.contact(self.remotes.contacted, Answer::Cross).held(FIRST_BLOCK);
        let crossing = (self.endpoint(), contact);
        let beside = (self.endpoint(), self.contact(self.remotes.contacted, Answer::SynAck));
        let peer_isn = self.random.next_u32().into();
        Box::new(Crossing::new(probe, crossing, beside, peer_isn, self.patience.tries))
    }

    fn hairpin(&mut self, repetition: u16) -> Box<dyn Probe> {
        let probe = self.number();
        let ends = [(); 2]
            .map(|()| (self.endpoint(), self.contact(self.remotes.contacted, Answer::Nothing)));
        let isn = self.random.next_u32().into();
        Box::new(Hairpin::contacting(probe, ends, isn, self.patience.knocks.of(repetition)))
    }

    fn hairpin_expecting(
        &mut self,
        now: Instant,
        external: IpAddr,
        repetition: u16,
    ) -> Box<dyn Probe> {
        let probe = self.number();
        let ends = [(); 2].map(|()| self.endpoint());
        let isn = self.random.next_u32().into();
        Box::new(Hairpin::expecting(
            probe,
            ends,
            external,
            isn,
            (now, self.patience.knocks.of(repetition)),
        ))
    }

    fn attempt(&mut self) -> Attempt {
        let probe = self.number();
        let contacts = [(); 3]
            .map(|()| (self.endpoint(), self.contact(self.remotes.contacted, Answer::Nothing)));
        let ends = [(); 2].map(|()| self.endpoint());
        let isn = self.random.next_u32().into();
        Attempt::new(probe, contacts, Knocks::new(ends, isn, SEQUENCE_KNOCKS))
    }

    /// In the one order the clash comes first, in the other last.
    fn clash(&mut self, order: Order) -> Option<Box<dyn Probe>> {
        let second = *self.internal.get(1)?;
        let Remotes { contacted, other_port, other_address, .. } = self.remotes;
        let remotes = [Some(contacted), Some(other_port), other_address];
        let mut remotes: Vec<_> = remotes.into_iter().flatten().collect();
        if order == Order::ClashLast {
            remotes.reverse();
        }
        let held = self.endpoint();
        let wanted = Endpoint::new(second, held.port());
        let contact = self.contact(contacted, Answer::Nothing).held(FIRST_BLOCK);
        let holder = (self.number(), held, contact);
        let comer = (self.number(), wanted, self.contacts(&remotes, Answer::Nothing));
        Some(Box::new(Clash::new(holder, comer)))
    }

    /// A SYN to a port that nothing of ours is mapped to.
    fn unsolicited(&mut self, external: IpAddr, taken: &[Endpoint]) -> Box<dyn Probe> {
        let mut to = Endpoint::new(external, self.random.random_range(UNMAPPED));
        while taken.contains(&to) {
            to.set_port(self.random.random_range(UNMAPPED));
        }
        let aim = Aim { from: self.remotes.contacted, to, seq: None, ack: None };
        Box::new(FromOutside { probe: self.number(), aims: vec![aim] })
    }

    fn contacts(&mut self, remotes: &[Endpoint], answer: Answer) -> Vec<Contact> {
        remotes.iter().map(|remote| self.contact(*remote, answer)).collect()
    }

    fn contact(&mut self, remote: Endpoint, answer: Answer) -> Contact {
        Contact::new(remote, answer, [self.random.next_u32(), self.random.next_u32()])
    }

    fn endpoint(&mut self) -> Endpoint {
        let port = self.ports.pop().expect("a plan is given as many ports as it needs");
        Endpoint::new(self.internal[0], port)
    }

    const fn number(&mut self) -> ProbeId {
        self.probes += 1;
        ProbeId(self.probes)
    }
}

/// Few, and close together: while they last nobody else must take a port.
const SEQUENCE_KNOCKS: Pace =
    Pace { knocks: 14, first: Duration::ZERO, pause: Duration::from_millis(60) };

/// Attempts at predicting sequential ports.
const ATTEMPTS: usize = 3;

/// Ports that a home router seldom forwards and an allocator seldom reaches first.
const UNMAPPED: std::ops::Range<u16> = 2_048..32_768;
