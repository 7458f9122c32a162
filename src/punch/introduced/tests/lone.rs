//! One end alone, whose server says what a test wants.

use super::super::*;
use super::world::*;

/// An end whose server says what a test wants.
pub struct Lone {
    pub party: Introduced,
    pub troubles: Vec<String>,
}

impl Lone {
    pub fn new(introduction: Introduction) -> Self {
        let mut lone = Self { party: Introduced::new(introduction), troubles: Vec::new() };
        lone.says();
        lone
    }

    /// It is given a room: what it asked for.
    pub fn waits(&mut self) -> String {
        let asked = self.hears(WELCOME).concat();
        self.hears(&format!(r#"{{"type":"room","room":1,"ticket":"{}"}}"#, "0".repeat(32)));
        assert!(matches!(self.party.stage, Stage::Waiting));
        asked
    }

    /// What it says to that.
    pub fn hears(&mut self, line: &str) -> Vec<String> {
        let flow = self.party.server.expect("it is with a server");
        self.party.handle(Instant::START, Event::Read(flow, format!("{line}\n").into_bytes()));
        self.says()
    }

    pub fn says(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            match self.party.poll(Instant::START) {
                Step::Wait(_) | Step::Done => return said,
                Step::Write(_, octets) => said.push(String::from_utf8(octets).expect("text")),
                Step::Note(fact) => {
                    self.troubles.extend(fact.trouble().map(|told| told.to_string()))
                }
                _ => {}
            }
        }
    }
}
