//! The peer, as it is talked to through the server: by a key that the words of the code make.

use super::super::code::Words;
use super::super::sealed::{Handshake, Sealed};
use crate::rendezvous::introducer::Role;

/// Who is in the room, if somebody is.
pub struct Peer {
    words: Words,
    secret: [u8; 32],
    meetings: u8,
    role: Role,
    handshake: Option<Handshake>,
    sealed: Option<Sealed>,
    /// Our proof, as long as the other has to prove itself first.
    proof: Option<String>,
    /// What was said that nobody has taken yet.
    early: Vec<u8>,
    /// What is to be said.
    outgoing: Vec<u8>,
}

/// What a text from the peer turned out to be.
pub enum Heard {
    /// Its part of the key.
    Key,
    /// Proof of its key, or something that it says.
    Words(Vec<u8>),
    /// Not what it was to be under this key.
    Nonsense,
}

impl Peer {
    /// Nobody is there yet.
    pub fn new(words: Words, secret: [u8; 32]) -> Self {
        let (early, outgoing) = (Vec::new(), Vec::new());
        let (role, handshake, sealed, proof) = (Role::Waiter, None, None, None);
        Self { words, secret, meetings: 0, role, handshake, sealed, proof, early, outgoing }
    }

    /// Somebody came: what to say first. Each meeting has a key of its own.
    pub fn meet(&mut self, role: Role) -> String {
        self.part();
        self.role = role;
        self.meetings = self.meetings.wrapping_add(1);
        let mut secret = self.secret;
        secret[0] ^= self.meetings;
        let (handshake, text) = Handshake::begin(&self.words, role, secret);
        self.handshake = Some(handshake);
        text
    }

    /// How many keys were begun.
    #[cfg(test)]
    pub const fn meetings(&self) -> u8 {
        self.meetings
    }

    /// Takes what the peer says.
    pub fn hear(&mut self, text: &str) -> Heard {
        if let Some(handshake) = self.handshake.take() {
            self.sealed = handshake.finish(text);
            self.proof = self.sealed.as_mut().map(|sealed| sealed.seal(b""));
            return if self.sealed.is_some() { Heard::Key } else { Heard::Nonsense };
        }
        let opened = self.sealed.as_mut().and_then(|sealed| sealed.open(text));
        opened.map_or(Heard::Nonsense, Heard::Words)
    }

    /// The proof of our key, if it is time for it and was not given yet. Whoever joins gives it first: one
    /// who guesses at the words learns nothing without being seen to guess.
    pub fn proof(&mut self, is_proven: bool) -> Option<String> {
        let is_time = is_proven || self.role == Role::Joiner;
        if is_time { self.proof.take() } else { None }
    }

    /// Whether somebody is there who knows the words, or is about to show it.
    pub const fn is_there(&self) -> bool {
        self.sealed.is_some()
    }

    /// Nobody is there any more.
    pub fn part(&mut self) {
        (self.handshake, self.sealed, self.proof) = (None, None, None);
        self.early.clear();
        self.outgoing.clear();
    }

    /// Keeps what it is too early for. False if that is more than makes sense.
    pub fn keep(&mut self, octets: &[u8]) -> bool {
        self.early.extend(octets);
        self.early.len() <= MOST_EARLY
    }

    /// What was kept.
    pub fn kept(&mut self) -> Option<Vec<u8>> {
        let early = std::mem::take(&mut self.early);
        (!early.is_empty()).then_some(early)
    }

    /// Is to be said, with all else that is.
    pub fn say(&mut self, octets: Vec<u8>) {
        self.outgoing.extend(octets);
    }

    /// All that is to be said, sealed, in parts that the server takes.
    pub fn said(&mut self) -> Vec<String> {
        let outgoing = std::mem::take(&mut self.outgoing);
        let sealed = self.sealed.iter_mut();
        sealed
            .flat_map(|sealed| {
                let parts = outgoing.chunks(LONGEST_PART);
                parts.map(|part| sealed.seal(part)).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// A hello and the questions that follow it are far less.
const MOST_EARLY: usize = 64 * 1024;

/// So many octets, sealed and in base64, are a line that the server takes.
const LONGEST_PART: usize = 2_800;
