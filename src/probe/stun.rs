//! What do STUN servers see of one local port (RFC 8489), and of a server with two addresses, what
//! does each of its four endpoints see (RFC 5780 §4.3)?
//!
//! All connections lead from one local port, or from each of several, and stay open until every answer
//! is in: a mapping lasts as long as a connection holds it. Each server is asked twice on its
//! connection, since one that makes its answers up seldom makes up the same one twice.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::NEVER;
use crate::engine::{
    Bind, Event, Fact, Flow, How, Party, Reader, Step, StunAnswer, StunAsked, StunOutcome, Trouble,
    Unreached,
};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use crate::wire::stun::{Attribute, Class, Message, Transaction};

/// What to ask, from where, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StunSetting {
    /// The servers.
    pub servers: Vec<Endpoint>,
    /// The local endpoints; connections to all servers share each one of their family.
    pub local: Vec<Endpoint>,
    /// How long each server may take, connection included.
    pub patience: Duration,
    /// What transactions are drawn from.
    pub seed: u64,
}

/// A party that asks STUN servers.
pub struct StunProbe {
    setting: StunSetting,
    random: Xoshiro256PlusPlus,
    asked: BTreeMap<Flow, Server>,
    /// Endpoints that were asked, each once from each local endpoint.
    known: Vec<(Option<Endpoint>, Endpoint)>,
    steps: VecDeque<Step>,
    over: bool,
    /// Whether connections with servers that answered are left open at the end.
    holds: bool,
}

/// One endpoint of a server, while it is being asked.
struct Server {
    endpoint: Endpoint,
    named_by: Option<Endpoint>,
    /// The local endpoint that it is asked from, if that is laid down.
    from: Option<Endpoint>,
    /// Those not answered yet.
    transactions: Vec<Transaction>,
    first: Option<StunAnswer>,
    local: Option<Endpoint>,
    requested: Instant,
    deadline: Instant,
    incoming: Vec<u8>,
    done: bool,
    answered: bool,
}

impl StunProbe {
    /// A probe that has not begun.
    pub fn new(setting: StunSetting) -> Self {
        let mut probe = Self {
            random: Xoshiro256PlusPlus::seed_from_u64(setting.seed),
            setting,
            asked: BTreeMap::new(),
            known: Vec::new(),
            steps: VecDeque::new(),
            over: false,
            holds: false,
        };
        for server in probe.setting.servers.clone() {
            for from in probe.locals(server) {
                probe.ask(Instant::START, from, server, None);
            }
        }
        probe
    }

    /// The same, that leaves connections with servers that answered open for whoever needs their
    /// mappings.
    #[must_use]
    pub fn holding(self) -> Self {
        Self { holds: true, ..self }
    }

    /// The connections that it has left open, with the servers at their other ends.
    pub fn held(&self) -> BTreeMap<Flow, Endpoint> {
        let held = self.asked.iter().filter(|(_, server)| self.holds && server.answered);
        held.map(|(flow, server)| (*flow, server.endpoint)).collect()
    }

    /// Where a server is asked from: from the host's choice if nothing is laid down for its family.
    fn locals(&self, server: Endpoint) -> Vec<Option<Endpoint>> {
        let fits = |local: &&Endpoint| local.is_ipv4() == server.is_ipv4();
        let locals: Vec<_> = self.setting.local.iter().filter(fits).copied().map(Some).collect();
        if locals.is_empty() { vec![None] } else { locals }
    }

    /// Asks an endpoint, unless that was done already from there.
    fn ask(
        &mut self,
        now: Instant,
        from: Option<Endpoint>,
        endpoint: Endpoint,
        named_by: Option<Endpoint>,
    ) {
        if self.known.contains(&(from, endpoint)) {
            return;
        }
        let flow = Flow(u32::try_from(self.known.len()).unwrap_or(u32::MAX));
        self.known.push((from, endpoint));
        let mut transaction = || {
            let [a, b] = [self.random.next_u64(), self.random.next_u64()];
            Transaction::new(u128::from(a) << 64 | u128::from(b))
        };
        let server = Server {
            endpoint,
            named_by,
            from,
            transactions: vec![transaction(), transaction()],
            first: None,
            local: None,
            requested: now,
            deadline: now + self.setting.patience,
            incoming: Vec::new(),
            done: false,
            answered: false,
        };
        self.asked.insert(flow, server);
        let from = from.map_or(Bind::Kernel, Bind::Shared);
        self.steps.push_back(Step::Open {
            flow,
            from,
            to: endpoint,
            at: None,
            reader: Reader::Party,
        });
    }

    fn opened(&mut self, now: Instant, flow: Flow, local: Endpoint) {
        let Some(server) = self.asked.get_mut(&flow) else { return };
        (server.local, server.requested) = (Some(local), now);
        let requests = server.transactions.iter();
        let requests: Vec<_> = requests.map(|one| Message::request(*one).write()).collect();
        self.steps.push_back(Step::Write(flow, requests.concat()));
    }

    fn read(&mut self, now: Instant, flow: Flow, octets: &[u8]) {
        let Some(server) = self.asked.get_mut(&flow).filter(|server| !server.done) else { return };
        server.incoming.extend(octets);
        if let Some(outcome) = server.heard(now) {
            self.conclude(now, flow, outcome);
        }
    }

    /// Notes what became of a server, and asks the other endpoints that it names.
    fn conclude(&mut self, now: Instant, flow: Flow, outcome: StunOutcome) {
        let Some(server) = self.asked.get_mut(&flow).filter(|server| !server.done) else { return };
        server.done = true;
        server.answered = matches!(outcome, StunOutcome::Answered(_));
        let (endpoint, named_by, from) = (server.endpoint, server.named_by, server.from);
        let other = match &outcome {
            StunOutcome::Answered(answer) if named_by.is_none() => answer.other,
            _ => None,
        };
        let asked = StunAsked { server: endpoint, named_by, outcome };
        self.steps.push_back(Step::Note(Fact::Stun(asked).into()));
        for other in other.into_iter().flat_map(|other| others(endpoint, other)) {
            self.ask(now, from, other, Some(endpoint));
        }
    }

    fn expire(&mut self, now: Instant) {
        let late = |server: &Server| !server.done && server.deadline <= now;
        let late: Vec<_> = self.asked.iter().filter(|(_, server)| late(server)).collect();
        let late: Vec<_> = late.into_iter().map(|(flow, server)| (*flow, server.local)).collect();
        for (flow, local) in late {
            let why = Unreached::TimedOut;
            let silent = local.map_or(StunOutcome::Unreached { why }, |_| StunOutcome::Silent);
            self.end(now, flow, silent);
        }
    }

    /// Nothing more comes: one answer is enough.
    fn end(&mut self, now: Instant, flow: Flow, otherwise: StunOutcome) {
        let first = self.asked.get_mut(&flow).and_then(|server| server.first.take());
        self.conclude(
            now,
            flow,
            first.map_or(otherwise, |answer| StunOutcome::Answered(answer.into())),
        );
    }

    fn is_done(&self) -> bool {
        self.asked.values().all(|server| server.done)
    }

    fn fail(&mut self, trouble: Trouble) {
        self.steps.push_back(Step::Note(Fact::Trouble(trouble).into()));
        self.holds = false;
        self.finish();
    }

    /// Ends all connections whose mappings nobody needs.
    fn finish(&mut self) {
        self.over = true;
        let held = self.held();
        let ends = self.asked.keys().filter(|flow| !held.contains_key(flow));
        self.steps.extend(ends.map(|flow| Step::Close(*flow, How::Fin)));
        self.steps.push_back(Step::Done);
    }

    fn wakes(&self) -> Instant {
        let waiting = self.asked.values().filter(|server| !server.done);
        waiting.map(|server| server.deadline).min().unwrap_or(NEVER)
    }
}

impl Server {
    /// What has been heard so far makes of this server, if that is enough.
    fn heard(&mut self, now: Instant) -> Option<StunOutcome> {
        loop {
            let length = match Message::length(&self.incoming) {
                Ok(length) => length.filter(|length| *length <= self.incoming.len())?,
                Err(error) => return Some(nonsense(error)),
            };
            let rest = self.incoming.split_off(length);
            let message = Message::read(&std::mem::replace(&mut self.incoming, rest));
            match message.map_err(nonsense).and_then(|message| self.answer(now, &message)) {
                Ok(answer) => match self.first.take() {
                    None => self.first = Some(answer),
                    Some(first) => return Some(agreed(first, &answer)),
                },
                Err(outcome) => return Some(outcome),
            }
        }
    }

    fn answer(&mut self, now: Instant, message: &Message) -> Result<StunAnswer, StunOutcome> {
        let place = self.transactions.iter().position(|one| *one == message.transaction);
        let place = place.ok_or_else(|| nonsense("it answers what was not asked"))?;
        self.transactions.remove(place);
        match message.class {
            Class::Success => {}
            Class::Error => return Err(refused(message)),
            _ => return Err(nonsense("it is no response")),
        }
        let local = self.local.ok_or_else(|| nonsense("it came before the connection"))?;
        let end = |pick: fn(&Attribute) -> Option<Endpoint>| message.find(pick);
        let external = end(|a| if let Attribute::XorMapped(end) = a { Some(*end) } else { None });
        let external = external.ok_or_else(|| nonsense("it names no external endpoint"))?;
        if external.is_ipv4() != self.endpoint.is_ipv4() || external.port() == 0 {
            return Err(nonsense(format!("{external} cannot be our external endpoint")));
        }
        Ok(StunAnswer {
            local,
            external,
            mapped: end(|a| if let Attribute::Mapped(end) = a { Some(*end) } else { None }),
            origin: end(|a| if let Attribute::ResponseOrigin(end) = a { Some(*end) } else { None }),
            other: end(|a| if let Attribute::OtherAddress(end) = a { Some(*end) } else { None }),
            software: message.find(|a| {
                if let Attribute::Software(name) = a { Some(name.clone()) } else { None }
            }),
            round_trip: now.since(self.requested),
        })
    }
}

fn nonsense(what: impl ToString) -> StunOutcome {
    StunOutcome::Nonsense { what: what.to_string() }
}

fn refused(message: &Message) -> StunOutcome {
    let code = message.find(|attribute| match attribute {
        Attribute::ErrorCode { code, reason } => Some((*code, reason.clone())),
        _ => None,
    });
    match code {
        Some((code, reason)) => StunOutcome::Refused { code, reason },
        None => nonsense("an error response without a code"),
    }
}

/// Two answers on one connection: the mapping cannot have changed between them.
fn agreed(first: StunAnswer, second: &StunAnswer) -> StunOutcome {
    if first.external == second.external {
        return StunOutcome::Answered(first.into());
    }
    nonsense(format!("asked twice, it saw {} and {}", first.external, second.external))
}

/// The three endpoints besides its own of a server that names another address and port; none if what
/// it names is no other, or no address that a server on the Internet has.
fn others(own: Endpoint, other: Endpoint) -> Vec<Endpoint> {
    if !is_another(own, other) {
        return Vec::new();
    }
    let (address, port) = (other.ip(), other.port());
    [(own.ip(), port), (address, own.port()), (address, port)].map(Endpoint::from).to_vec()
}

/// Whether this can be the other address and port of a server at `own`. A server must not have us
/// knock at our own doors.
pub fn is_another(own: Endpoint, other: Endpoint) -> bool {
    let differs = own.ip() != other.ip() && own.port() != other.port() && other.port() != 0;
    let same_family = own.is_ipv4() == other.is_ipv4();
    differs && same_family && reach(other.ip()) >= reach(own.ip())
}

/// From how far away an address can be spoken to: from nowhere, this host, its site, everywhere.
fn reach(address: IpAddr) -> u8 {
    match address {
        address if address.is_unspecified() || address.is_multicast() => 0,
        IpAddr::V4(address) if address.is_broadcast() => 0,
        address if address.is_loopback() => 1,
        IpAddr::V4(address) if address.is_private() || address.is_link_local() => 2,
        IpAddr::V6(address) if address.is_unique_local() || address.is_unicast_link_local() => 2,
        _ => 3,
    }
}

impl Party for StunProbe {
    fn poll(&mut self, now: Instant) -> Step {
        if self.steps.is_empty() {
            self.expire(now);
            if self.is_done() && !self.over && self.steps.is_empty() {
                self.finish();
            }
        }
        self.steps.pop_front().unwrap_or_else(|| Step::Wait(self.wakes()))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Opened { flow, local } => self.opened(now, flow, local),
            Event::Read(flow, octets) => self.read(now, flow, &octets),
            Event::Failed(flow, why) => self.conclude(now, flow, StunOutcome::Unreached { why }),
            Event::Ended(flow, how) => self.end(now, flow, StunOutcome::Ended { how }),
            Event::Interrupted => self.fail(Trouble::Interrupted),
            Event::HostFailed(what) => self.fail(Trouble::Host { what }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "203.0.113.10:3478";
    const OTHER: &str = "203.0.113.11:3479";

    #[test]
    fn a_server_that_names_another_address_is_asked_at_all_four_endpoints_at_once() {
        let mut probe = probe();
        assert_eq!(opened(&mut probe), [SERVER]);
        answer(&mut probe, Some(OTHER));
        let rest = ["203.0.113.10:3479", "203.0.113.11:3478", OTHER];
        assert_eq!(opened(&mut probe), rest);
    }

    #[test]
    fn a_server_is_asked_from_each_local_endpoint_of_its_family() {
        let local = ["192.168.1.2:4000", "[2001:db8::1]:4000", "192.168.1.2:4001"].map(end);
        let (servers, local) = (vec![end(SERVER), end(SERVER)], local.to_vec());
        let mut probe = StunProbe::new(StunSetting { servers, local, patience: PATIENCE, seed: 7 });
        let from: Vec<_> = std::iter::from_fn(|| match probe.poll(Instant::START) {
            Step::Open { from, .. } => Some(from),
            _ => None,
        })
        .collect();
        let shared = |local| Bind::Shared(end(local));
        assert_eq!(from, [shared("192.168.1.2:4000"), shared("192.168.1.2:4001")]);
    }

    #[test]
    fn a_server_that_names_none_is_done_with_its_answer() {
        let mut probe = probe();
        opened(&mut probe);
        answer(&mut probe, None);
        assert_eq!(outcomes(&mut probe).len(), 1);
        assert_eq!(probe.poll(Instant::START), Step::Close(Flow(0), How::Fin));
        assert_eq!(probe.poll(Instant::START), Step::Done);
    }

    #[test]
    fn silence_before_and_after_the_connection_is_told_apart() {
        let late = Instant::START + PATIENCE;
        let mut unreached = probe();
        opened(&mut unreached);
        let why = Unreached::TimedOut;
        assert_eq!(outcome(&mut unreached, late), StunOutcome::Unreached { why });
        let mut silent = probe();
        opened(&mut silent);
        connect(&mut silent);
        assert_eq!(outcome(&mut silent, late), StunOutcome::Silent);
    }

    #[test]
    fn a_foreign_transaction_is_nonsense() {
        let mut probe = probe();
        opened(&mut probe);
        connect(&mut probe);
        let foreign = Message::request(Transaction::new(1));
        let answer = Message::response(&foreign, Class::Success, Vec::new()).write();
        probe.handle(Instant::START, Event::Read(Flow(0), answer));
        let outcome = outcome(&mut probe, Instant::START);
        assert!(matches!(outcome, StunOutcome::Nonsense { .. }), "{outcome:?}");
    }

    #[test]
    fn an_interrupted_run_says_so_and_ends() {
        let mut probe = probe();
        opened(&mut probe);
        probe.handle(Instant::START, Event::Interrupted);
        let interrupted = Fact::Trouble(Trouble::Interrupted);
        assert_eq!(probe.poll(Instant::START), Step::Note(interrupted.into()));
    }

    #[test]
    fn another_address_is_one_that_a_server_there_can_have() {
        for (other, is_other) in [
            ("203.0.113.11:3479", true),
            ("203.0.113.10:3479", false),
            ("203.0.113.11:3478", false),
            ("203.0.113.11:0", false),
            ("127.0.0.1:22", false),
            ("192.168.1.1:80", false),
            ("0.0.0.0:80", false),
            ("224.0.0.1:80", false),
            ("255.255.255.255:80", false),
            ("[2001:db8::1]:3479", false),
        ] {
            assert_eq!(is_another(end(SERVER), end(other)), is_other, "{other}");
        }
        assert!(is_another(end("10.0.0.1:1"), end("10.0.0.2:2")), "a server of one's own site");
    }

    fn probe() -> StunProbe {
        let (servers, local) = (vec![end(SERVER)], vec![end("192.168.1.2:4000")]);
        StunProbe::new(StunSetting { servers, local, patience: PATIENCE, seed: 7 })
    }

    /// Where it wants connections to now.
    fn opened(probe: &mut StunProbe) -> Vec<String> {
        let mut opened = Vec::new();
        loop {
            match probe.poll(Instant::START) {
                Step::Open { to, from, .. } => {
                    assert_eq!(from, Bind::Shared(end("192.168.1.2:4000")));
                    opened.push(to.to_string());
                }
                Step::Wait(_) => return opened,
                _ => {}
            }
        }
    }

    fn connect(probe: &mut StunProbe) {
        let local = end("192.168.1.2:4000");
        probe.handle(Instant::START, Event::Opened { flow: Flow(0), local });
        assert!(matches!(probe.poll(Instant::START), Step::Write(Flow(0), _)));
    }

    /// Has the server answer both requests.
    fn answer(probe: &mut StunProbe, other: Option<&str>) {
        connect(probe);
        for transaction in probe.asked[&Flow(0)].transactions.clone() {
            let mut attributes = vec![Attribute::XorMapped(end("198.51.100.1:40000"))];
            attributes.extend(other.map(end).map(Attribute::OtherAddress));
            let request = Message::request(transaction);
            let answer = Message::response(&request, Class::Success, attributes).write();
            probe.handle(Instant::START, Event::Read(Flow(0), answer));
        }
    }

    fn outcomes(probe: &mut StunProbe) -> Vec<StunOutcome> {
        let mut outcomes = Vec::new();
        while let Some(Step::Note(fact)) = probe.steps.front().cloned() {
            probe.steps.pop_front();
            if let Fact::Stun(asked) = *fact {
                outcomes.push(asked.outcome);
            }
        }
        outcomes
    }

    fn outcome(probe: &mut StunProbe, now: Instant) -> StunOutcome {
        loop {
            match probe.poll(now) {
                Step::Note(fact) => match *fact {
                    Fact::Stun(asked) => return asked.outcome,
                    fact => panic!("{fact:?}"),
                },
                Step::Wait(_) | Step::Done => panic!("nothing came of it"),
                _ => {}
            }
        }
    }

    fn end(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }

    const PATIENCE: Duration = Duration::from_secs(5);
}
