//! Connections kept open for the mapping that they hold (RFC 8489 §6.2.2).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::flows::Flows;
use crate::engine::{Flow, How};
use crate::os::poll::{self, Interest};
use crate::os::signals::Signals;
use crate::os::{self, clock};
use crate::time::Duration;
use crate::wire::Endpoint;
use crate::wire::stun::{Message, Transaction};

/// The connections with the servers that answered.
pub struct Held {
    flows: Flows,
    servers: BTreeMap<Flow, Endpoint>,
    random: Xoshiro256PlusPlus,
}

/// Who says when it is enough.
pub struct Caller<'a> {
    /// Ctrl-C or a termination.
    pub signals: &'a Signals,
    /// A pipe: it is enough once its other end is closed.
    pub pipe: Option<File>,
}

impl Held {
    pub(super) fn new(flows: Flows, servers: BTreeMap<Flow, Endpoint>, seed: u64) -> Self {
        Self { flows, servers, random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The servers at their other ends.
    pub fn servers(&self) -> impl Iterator<Item = Endpoint> {
        self.servers.values().copied()
    }

    /// Keeps them until the caller is done or none is left, then closes them. `closed` is told of each
    /// server that ends its connection before.
    ///
    /// # Errors
    /// When this host cannot wait.
    pub fn hold(mut self, caller: Caller<'_>, closed: &mut dyn FnMut(Endpoint)) -> os::Result<()> {
        let Caller { signals, mut pipe } = caller;
        let mut speaks = clock::monotonic() + SILENCE;
        loop {
            self.look(closed);
            if self.servers.is_empty() {
                return Ok(());
            }
            let always = pipe.iter().map(Interest::read).chain([Interest::read(signals)]);
            let interests: Vec<_> = always.chain(self.flows.interests()).collect();
            let ready = poll::wait(&interests, Some(speaks))?;
            let heard = pipe.is_some() && ready.iter().any(|ready| ready.index == 0);
            let is_closed = heard && pipe.as_mut().is_some_and(is_at_its_end);
            // A signal of unknown kind is a wish to end as well.
            if is_closed || !matches!(signals.read(), Ok(None)) {
                self.servers.keys().for_each(|flow| self.flows.close(*flow, How::Fin));
                return Ok(());
            }
            if speaks <= clock::monotonic() {
                self.speak();
                speaks = clock::monotonic() + SILENCE;
            }
        }
    }

    /// Tells of the connections that have ended, and lets go of them. What servers say is of no interest.
    fn look(&mut self, closed: &mut dyn FnMut(Endpoint)) {
        self.flows.happened();
        let flows = &mut self.flows;
        self.servers.retain(|flow, server| {
            let stands = flows.stands(*flow);
            if !stands {
                flows.close(*flow, How::Fin);
                closed(*server);
            }
            stands
        });
    }

    /// A Binding indication to each: servers close what is silent for long (RFC 8489 §6.3.2 has them
    /// answer nothing).
    fn speak(&mut self) {
        for flow in self.servers.keys() {
            let number =
                u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64());
            let indication = Message::indication(Transaction::new(number)).write();
            // That a connection broke is seen at the next look.
            let _ = self.flows.write(*flow, &indication);
        }
    }
}

/// Whether nobody is left to write into a pipe; what is written is passed over.
fn is_at_its_end(pipe: &mut File) -> bool {
    match pipe.read(&mut [0; 4096]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// RFC 8445 §11: no keepalives in shorter intervals.
const SILENCE: Duration = Duration::from_secs(15);
