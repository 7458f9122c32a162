//! Two internal hosts that want one port: what does the one that comes second get?
//!
//! Order counts. On netfilter a host whose first SYN clashes stays on its changed port towards every
//! remote, while one that clashes last has kept its own port towards all others.

use super::Probe;
use super::contact::{Contact, Contacts};
use crate::engine::{Event, Party, Step};
use crate::time::Instant;
use crate::wire::Endpoint;
use crate::wire::control::{Expectation, Message, ProbeId};

/// A port clash towards the contacted remote.
#[derive(Debug)]
pub struct Clash {
    holder: (ProbeId, Contacts),
    comer: (ProbeId, Contacts),
}

impl Clash {
    /// `holder` takes the port towards its one remote and holds it; then `comer`, from the same port
    /// of another address, contacts its remotes in order.
    pub fn new(
        holder: (ProbeId, Endpoint, Contact),
        comer: (ProbeId, Endpoint, Vec<Contact>),
    ) -> Self {
        let (holding, held, contact) = holder;
        let (coming, wanted, contacts) = comer;
        Self {
            holder: (holding, Contacts::at_once(holding, held, vec![contact])),
            comer: (coming, Contacts::in_order(coming, wanted, contacts)),
        }
    }
}

impl Party for Clash {
    fn poll(&mut self, now: Instant) -> Step {
        let holds = self.holder.1.is_complete();
        let due = self.holder.1.next(now);
        if let Some(syn) = due.or_else(|| self.comer.1.next(now).filter(|_| holds)) {
            return Step::Send(syn);
        }
        let comer = if holds { self.comer.1.wakes() } else { super::NEVER };
        Step::Wait(self.holder.1.wakes().min(comer))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        let Event::Told(_, Message::Saw { probe, packet, .. }) = event else { return };
        let (_, contacts) = if probe == self.holder.0 { &mut self.holder } else { &mut self.comer };
        contacts.saw(now, &packet.0);
    }
}

impl Probe for Clash {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        [&self.holder, &self.comer]
            .map(|(probe, contacts)| (*probe, vec![contacts.internal()]))
            .into()
    }

    fn expectations(&self) -> Vec<Expectation> {
        [self.holder.1.expectations(), self.comer.1.expectations()].concat()
    }

    fn is_done(&self) -> bool {
        self.holder.1.is_complete() && self.comer.1.is_complete()
    }
}
