//! What is said on the way, with addresses masked the same way everywhere if they are to be.

use std::cell::RefCell;

use super::super::screen::Progress;
use crate::engine::{Fact, Run};
use crate::report::{self, Masker};
use crate::tcp::Side;

/// Says what goes on.
pub struct Teller {
    progress: Progress,
    masker: Option<RefCell<Masker>>,
}

impl Teller {
    /// One that masks addresses, or does not.
    pub fn new(progress: Progress, masks: bool) -> Self {
        Self { progress, masker: masks.then(RefCell::default) }
    }

    /// Says what goes on now.
    pub fn say(&self, what: &str) {
        match &self.masker {
            Some(masker) => self.progress.say(&masker.borrow_mut().prose(what)),
            None => self.progress.say(what),
        }
    }

    /// Wipes the line of progress.
    pub fn end(&self) {
        self.progress.end();
    }

    /// The run as it may be shown.
    pub fn masked(&self, run: &Run) -> Run {
        let mut run = run.clone();
        if let Some(masker) = &self.masker {
            let mut masker = masker.borrow_mut();
            run.facts.iter().for_each(|(_, fact)| masker.learn(fact));
            masker.run(&mut run);
        }
        run
    }

    /// Says what goes on at this end, whose facts come first: the peer's, told afterwards, are no
    /// progress.
    pub fn watch(&self) -> impl FnMut(&Fact) {
        let (mut own, mut said): (Option<Side>, _) = (None, None);
        move |fact| {
            if let Some(masker) = &self.masker {
                masker.borrow_mut().learn(fact);
            }
            if matches!(fact, Fact::Punch { side, .. } if *own.get_or_insert(*side) != *side) {
                return;
            }
            if let Some(what) = report::progress(fact).filter(|what| said.as_ref() != Some(what)) {
                self.say(&what);
                said = Some(what);
            }
        }
    }
}
