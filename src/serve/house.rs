//! The rendezvous server on sockets. tokio carries it: most of its connections wait, and there may be
//! tens of thousands of them.

mod talk;
mod tls;

use std::collections::BTreeMap;
use std::net::TcpListener;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::engine::{End, Event, Flow, Party, Step};
use crate::os::{self, clock, descriptors, entropy, tcp};
use crate::rendezvous::introducer::{Introducer, IntroducerLimits, Status};
use crate::rendezvous::{Business, Tally};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use talk::{Heard, Table, Talk};

pub use tls::Identity;

/// How clients are received.
#[derive(Clone, Copy)]
pub struct Hospitality<'a> {
    /// How much is done for them.
    pub limits: IntroducerLimits,
    /// How often the host wants to know how busy the house is.
    pub every: Duration,
    /// The host.
    pub report: &'a (dyn Fn(&Business) + Sync),
    /// What it speaks TLS with, if it does.
    pub identity: Option<&'a Identity>,
}

/// Sockets that wait for clients.
pub struct House<'a> {
    listeners: Vec<TcpListener>,
    endpoints: Vec<Endpoint>,
    hospitality: Hospitality<'a>,
    /// What the reflector and the STUN server do meanwhile, if they serve as well.
    beside: Option<&'a [Tally; 2]>,
    tls: Option<TlsAcceptor>,
    seed: [u8; 32],
}

impl<'a> House<'a> {
    /// Listens on these endpoints.
    ///
    /// # Errors
    /// When one is taken or not this host's, or the identity is none.
    pub fn open(
        endpoints: Vec<Endpoint>,
        hospitality: Hospitality<'a>,
        beside: Option<&'a [Tally; 2]>,
    ) -> os::Result<Self> {
        let descriptors = descriptors::allow_as_many_as_possible()?;
        let most = descriptors.saturating_sub(OTHER_DESCRIPTORS);
        let connections = hospitality.limits.connections.min(most);
        let limits = IntroducerLimits { connections, ..hospitality.limits };
        let hospitality = Hospitality { limits, ..hospitality };
        let listen = |on: &Endpoint| tcp::listen(tcp::Bind::Exact(*on), MOST_WAITING);
        let listeners = endpoints.iter().map(|on| listen(on).map(TcpListener::from));
        let listeners = listeners.collect::<os::Result<_>>()?;
        let tls = hospitality.identity.map(Identity::acceptor).transpose()?;
        Ok(Self { listeners, endpoints, hospitality, beside, tls, seed: entropy::secret()? })
    }

    /// Introduces clients to each other until the other end of `stop` is gone.
    ///
    /// # Errors
    /// When this host cannot wait for connections.
    pub fn run(self, stop: oneshot::Receiver<()>) -> os::Result<()> {
        let failed = |e| os::Error::kernel("serve", "rendezvous", e);
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            let (heard, inbox) = mpsc::channel(INBOX);
            for listener in self.listeners {
                let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
                tokio::spawn(accept(listener, heard.clone()));
            }
            let limits = self.hospitality.limits;
            let introducer = Introducer::new(self.endpoints, limits, self.seed);
            let table = Table::new(heard, self.tls, limits.greeting);
            let report = |rendezvous| {
                let beside = self.beside.map(|tallies| tallies.each_ref().map(Tally::figures));
                (self.hospitality.report)(&Business { rendezvous, beside });
            };
            let every = self.hospitality.every;
            Hub::new(introducer, limits, table).run(inbox, stop, every, &report).await;
            Ok(())
        })
    }
}

/// Between the party and the connections.
struct Hub {
    introducer: Introducer,
    limits: IntroducerLimits,
    begun: Duration,
    talks: BTreeMap<Flow, Talk>,
    table: Table,
    accepted: u32,
    /// Clients that took too little, of which the party does not know yet.
    abandoned: Vec<Flow>,
}

impl Hub {
    fn new(introducer: Introducer, limits: IntroducerLimits, table: Table) -> Self {
        Self {
            introducer,
            limits,
            begun: clock::monotonic(),
            talks: BTreeMap::new(),
            table,
            accepted: 0,
            abandoned: Vec::new(),
        }
    }

    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Heard>,
        mut stop: oneshot::Receiver<()>,
        every: Duration,
        report: &dyn Fn(Status),
    ) {
        let mut looks = looks(every);
        while let Some(until) = self.perform() {
            let rest = until.since_start().saturating_sub(self.now().since_start());
            tokio::select! {
                // None cannot come: the hub has a sender of its own.
                Some(heard) = inbox.recv() => self.take(heard),
                () = sleep(rest) => self.introducer.handle(self.now(), Event::DeadlinePassed),
                _ = &mut stop => {
                    self.introducer.handle(self.now(), Event::Interrupted);
                    // What is left to do is to end.
                    self.perform();
                    break;
                }
                _ = looks.tick() => report(self.introducer.status()),
                Some(_) = self.table.tasks.join_next() => {}
            }
        }
        drop(inbox);
        // Whoever does not read what is said at the end does not hold it up.
        let _ = timeout(FAREWELL, async { while self.table.tasks.join_next().await.is_some() {} })
            .await;
    }

    /// Does what the party wants, until it waits: until when.
    fn perform(&mut self) -> Option<Instant> {
        loop {
            match self.introducer.poll(self.now()) {
                Step::Write(flow, line) => self.say(flow, line),
                // With its sender gone, the connection says what is left and ends.
                Step::Close(flow, _) => drop(self.talks.remove(&flow)),
                Step::Wait(until) if self.abandoned.is_empty() => return Some(until),
                Step::Wait(_) => self.tell_of_abandoned(),
                Step::Done => return None,
                step => debug_assert!(false, "a rendezvous server never wants {step:?}"),
            }
        }
    }

    fn say(&mut self, flow: Flow, line: Vec<u8>) {
        let Some(talk) = self.talks.get(&flow) else { return };
        let fits = self.table.unread() + line.len() <= self.limits.unread_in_total;
        if !(fits && talk.say(line, self.limits.unread)) {
            talk.abandon();
            self.talks.remove(&flow);
            self.abandoned.push(flow);
        }
    }

    fn tell_of_abandoned(&mut self) {
        let now = self.now();
        for flow in self.abandoned.drain(..) {
            self.introducer.handle(now, Event::Ended(flow, End::Abandoned));
        }
    }

    fn take(&mut self, heard: Heard) {
        let event = match heard {
            Heard::Came(stream) => {
                // Whoever has gone already needs no answer.
                let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else {
                    return;
                };
                let flow = Flow(Flow::FIRST_ACCEPTED + self.accepted);
                self.accepted = (self.accepted + 1) % Flow::FIRST_ACCEPTED;
                self.talks.insert(flow, self.table.talk(flow, stream));
                Event::Accepted { flow, local, remote }
            }
            Heard::Said(flow, octets) => Event::Read(flow, octets),
            Heard::Ended(flow, end) => Event::Ended(flow, end),
        };
        self.introducer.handle(self.now(), event);
    }

    fn now(&self) -> Instant {
        Instant::START + clock::monotonic().saturating_sub(self.begun)
    }
}

async fn accept(listener: tokio::net::TcpListener, hub: mpsc::Sender<Heard>) {
    loop {
        match listener.accept().await {
            // Lines are short and each matters at once. One socket without that is no loss.
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                if hub.send(Heard::Came(stream)).await.is_err() {
                    return;
                }
            }
            // Too many descriptors, most likely: others have to go first.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

fn looks(every: Duration) -> Interval {
    let mut looks = interval_at(tokio::time::Instant::now() + every, every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    looks
}

/// As in a listener's second argument: a storm of clients that come back waits there.
const MOST_WAITING: u16 = 4_096;

/// What this process has open beside its clients.
const OTHER_DESCRIPTORS: usize = 256;

/// What may come at once before those who send wait.
const INBOX: usize = 1_024;

const PAUSE: Duration = Duration::from_millis(50);

const FAREWELL: Duration = Duration::from_secs(1);
