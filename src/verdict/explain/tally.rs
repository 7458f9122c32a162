//! How many connections went which way.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::case::post;
use super::{Brief, Connection, ConnectionOutcome, Diagnosed, OpeningCause};
use crate::capture;
use crate::tcp::{Opening, Post, Side};

/// Counts of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tally {
    /// All of them.
    pub connections: u64,
    /// By how they were opened, of those that were.
    pub openings: BTreeMap<&'static str, u64>,
    /// By what came of them.
    pub outcomes: BTreeMap<ConnectionOutcome, u64>,
    /// By what was wrong or strange.
    pub causes: BTreeMap<OpeningCause, u64>,
}

impl Tally {
    /// Counts an opening that went as nearly all do; false if it is none, and then it is not counted.
    pub fn add_plain(&mut self, opening: &capture::Opening) -> bool {
        if !opening.is_plain() {
            return false;
        }
        let opened = match post(opening) {
            Post::At(Side::B) => Opening::Accepted,
            Post::At(Side::A) | Post::Between => Opening::ThreeWayOrHalfCrossed,
        };
        self.count(opened, ConnectionOutcome::Open);
        true
    }

    /// Counts a connection.
    pub fn add(&mut self, connection: &Connection) {
        self.count_all(connection.opening, connection.outcome, &connection.diagnosis);
    }

    /// Counts a connection of which no more is wanted.
    pub fn add_brief(&mut self, brief: &Brief) {
        self.count_all(brief.opening, brief.outcome, &brief.diagnosis);
    }

    fn count_all(&mut self, opening: Opening, outcome: ConnectionOutcome, all: &[Diagnosed]) {
        self.count(opening, outcome);
        for found in all {
            *self.causes.entry(found.cause).or_default() += 1;
        }
    }

    fn count(&mut self, opening: Opening, outcome: ConnectionOutcome) {
        self.connections += 1;
        *self.outcomes.entry(outcome).or_default() += 1;
        if outcome == ConnectionOutcome::Open {
            *self.openings.entry(word(opening)).or_default() += 1;
        }
    }
}

/// The word that the JSON has for it.
const fn word(opening: Opening) -> &'static str {
    match opening {
        Opening::Crossed => "crossed",
        Opening::HalfCrossed { .. } => "half-crossed",
        Opening::CrossedOrHalfCrossed { .. } => "crossed-or-half-crossed",
        Opening::ThreeWay => "three-way",
        Opening::ThreeWayOrHalfCrossed => "three-way-or-half-crossed",
        Opening::Accepted => "accepted",
        Opening::SelfConnect => "self-connect",
        Opening::SplitHandshake => "split-handshake",
        Opening::Unknown => "unknown",
        Opening::None => "none",
    }
}
