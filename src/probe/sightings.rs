//! What reflectors have reported of our external endpoints: what a plan needs to know to ask on.

use std::collections::BTreeMap;

use crate::engine::Question;
use crate::wire::Endpoint;
use crate::wire::control::ProbeId;

/// External endpoints as reflectors reported them.
#[derive(Debug, Default)]
pub struct Sightings {
    /// In order of first sight.
    pub externals: Vec<Endpoint>,
    /// The first external endpoint of each probe that asks for its mapping.
    firsts: BTreeMap<ProbeId, Endpoint>,
    /// Whether one of them was seen elsewhere too.
    diverging: bool,
    /// The lowest and the highest port.
    span: Option<(u16, u16)>,
    /// Whether a SYN of ours came back to another internal endpoint.
    pub hairpinned: bool,
}

impl Sightings {
    pub fn add(&mut self, question: Option<Question>, probe: ProbeId, external: Endpoint) {
        if !self.externals.contains(&external) {
            let port = external.port();
            let (lowest, highest) = self.span.unwrap_or((port, port));
            self.span = Some((lowest.min(port), highest.max(port)));
            self.externals.push(external);
        }
        if question == Some(Question::Mapping) {
            self.diverging |= *self.firsts.entry(probe).or_insert(external) != external;
        }
    }

    /// Whether ports differ by the remote and lie close together: worth trying to predict them.
    pub fn look_sequential(&self) -> bool {
        self.diverging && self.span.is_some_and(|(lowest, highest)| highest - lowest < CLOSE)
    }
}

/// Random ports seldom all lie within a sixteenth of the range.
const CLOSE: u16 = 4_096;
