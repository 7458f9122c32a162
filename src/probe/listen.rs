//! What a plan hears: packets on its own interface, and what its reflectors say.

use std::net::IpAddr;

use super::plan::{Plan, Stage, number};
use super::volley::Volleys;
use super::{NEVER, Probe};
use crate::engine::{Event, Fact, Name, Party, Place, Record, Step, Trouble};
use crate::time::Instant;
use crate::wire::control::{Message, PacketText, ProbeId, Refusal, VERSION, Volley};
use crate::wire::{Endpoint, Packet};

impl Plan {
    fn record(&mut self, record: Record) {
        self.note(Fact::Seen(record));
    }

    fn arrived(&mut self, now: Instant, packet: Packet) {
        let probe = self.probe_at(packet.receiver());
        let (place, inbound, volley) = (Place::Prober, true, None);
        self.record(Record { at: now, place, inbound, probe, volley, packet: packet.clone() });
        let from_reflector = self.is_reflector(packet.source);
        let syn = packet.segment().is_some_and(|segment| segment.is_bare_syn());
        self.sightings.hairpinned |= syn && !from_reflector;
        if let Some(probe) = probe {
            if let Some(volleys) = &mut self.volleys {
                volleys.arrived(probe, &packet);
            }
            self.pass_on(now, probe, Event::Arrived(packet));
        }
    }

    fn left(&mut self, now: Instant, packet: Packet) {
        self.unseen = self.unseen.saturating_sub(1);
        let source = packet.endpoints().map(|(source, _)| source);
        let probe = source.and_then(|source| self.probe_at(source));
        if let Some(preflight) = &mut self.preflight {
            preflight.handle(now, Event::Left(packet.clone()));
        }
        let (place, inbound, volley) = (Place::Prober, false, None);
        self.record(Record { at: now, place, inbound, probe, volley, packet });
    }

    fn probe_at(&self, internal: Endpoint) -> Option<ProbeId> {
        let preflight = self.preflight.iter().flat_map(Probe::asks);
        let own = preflight.filter(|(_, ends)| ends.contains(&internal)).map(|(probe, _)| probe);
        self.children.at(internal).or_else(|| own.into_iter().next())
    }

    fn pass_on(&mut self, now: Instant, probe: ProbeId, event: Event) {
        match &mut self.preflight {
            Some(preflight) if self.stage == Stage::Checking => preflight.handle(now, event),
            _ => self.children.handle(now, probe, event),
        }
    }

    fn told(&mut self, now: Instant, name: Name, message: Message) {
        let reflector = self.reflectors.get_mut(&name);
        if reflector.is_some_and(|reflector| reflector.overwhelms(&message)) {
            return self.fail([Trouble::Nonsense { reflector: number(name) }]);
        }
        match message {
            Message::Welcome { version, observed, endpoints, now: theirs } => {
                self.welcomed(now, name, version, observed, endpoints, theirs);
            }
            Message::Expecting => self.with(name, |reflector| reflector.expecting = true),
            Message::Finished => self.with(name, |reflector| reflector.finished = true),
            Message::Refused { why: Refusal::Version } => {
                self.fail([Trouble::Version { reflector: number(name), theirs: None }]);
            }
            Message::Refused { why } => {
                self.note(Fact::Trouble(Trouble::Refused { reflector: number(name), why }));
            }
            Message::Saw { probe, at, ref packet } => {
                self.reported(name, probe, at, true, None, packet);
                self.sighted(name, probe, &packet.0);
                self.pass_on(now, probe, Event::Told(name, message));
            }
            Message::Sent { probe, volley, at, ref packet } => {
                self.reported(name, probe, at, false, volley, packet);
                self.pass_on(now, probe, Event::Told(name, message));
            }
            _ => self.fail([Trouble::Nonsense { reflector: number(name) }]),
        }
    }

    fn with(&mut self, name: Name, change: impl FnOnce(&mut super::plan::Reflector)) {
        if let Some(reflector) = self.reflectors.get_mut(&name) {
            change(reflector);
        }
    }

    fn welcomed(
        &mut self,
        now: Instant,
        name: Name,
        version: u16,
        observed: Endpoint,
        endpoints: Vec<Endpoint>,
        theirs: Instant,
    ) {
        let trouble = number(name);
        if version != VERSION {
            return self.fail([Trouble::Version { reflector: trouble, theirs: Some(version) }]);
        }
        if !is_usable(&endpoints) {
            return self.fail([Trouble::Nonsense { reflector: trouble }]);
        }
        let Some(reflector) = self.reflectors.get_mut(&name) else { return };
        if !reflector.endpoints.is_empty() {
            // Welcomed already.
            return self.fail([Trouble::Nonsense { reflector: trouble }]);
        }
        let round_trip = now.since(reflector.greeted);
        // Half a round trip before now is when it read its clock.
        let then = now - round_trip / 2;
        let offset = i128::from(then.as_nanos()) - i128::from(theirs.as_nanos());
        let clock_offset_ns = i64::try_from(offset).unwrap_or_default();
        (reflector.round_trip, reflector.clock_offset_ns) = (round_trip, clock_offset_ns);
        reflector.endpoints.clone_from(&endpoints);
        self.outside.extend(endpoints.iter().map(Endpoint::ip));
        reflector.proven.insert(observed.ip());
        let Some(local) = reflector.local else { return };
        let reflector = trouble;
        self.note(Fact::Welcomed { reflector, local, observed, endpoints, clock_offset_ns });
    }

    fn reported(
        &mut self,
        name: Name,
        probe: ProbeId,
        at: Instant,
        inbound: bool,
        volley: Option<Volley>,
        packet: &PacketText,
    ) {
        let offset = self.reflectors.get(&name).map_or(0, |reflector| reflector.clock_offset_ns);
        let (at, place) = (at.shifted(offset), Place::Reflector(number(name)));
        let (probe, packet) = (Some(probe), packet.0.clone());
        self.record(Record { at, place, inbound, probe, volley, packet });
    }

    fn sighted(&mut self, name: Name, probe: ProbeId, packet: &Packet) {
        let syn = packet.segment().is_some_and(|segment| segment.is_bare_syn());
        let Some((external, _)) = packet.endpoints().filter(|_| syn) else { return };
        let question = self.children.question(probe);
        self.sightings.add(question, probe, external);
        self.with(name, |reflector| {
            reflector.proven.insert(external.ip());
        });
    }

    fn children_step(&mut self, now: Instant) -> Option<Step> {
        match self.stage {
            Stage::Checking => match self.preflight.as_mut()?.poll(now) {
                Step::Wait(_) => None,
                step => Some(step),
            },
            Stage::Opening | Stage::Trying => self.children.poll(now),
            _ => None,
        }
    }

    fn sends(&mut self, step: &Step) {
        let Step::Send(packet) = step else { return };
        self.unseen += 1;
        self.begun.sent(packet);
        if !self.is_reflector(packet.destination) {
            self.children.owe_beat();
        }
    }

    fn is_reflector(&self, address: IpAddr) -> bool {
        self.outside.contains(&address)
    }

    fn wakes(&mut self, now: Instant) -> Instant {
        let own = match self.stage {
            Stage::Checking => match self.preflight.as_mut().map(|preflight| preflight.poll(now)) {
                Some(Step::Wait(until)) => until,
                _ => NEVER,
            },
            Stage::Opening => self.children.wakes(),
            Stage::Trying => {
                let volleys = self.volleys.as_ref().map(Volleys::wakes);
                // What has come is no reason to wake: what is missing then is an event.
                let volleys = volleys.filter(|at| *at > now).unwrap_or(NEVER);
                self.children.wakes().min(volleys)
            }
            _ => NEVER,
        };
        own.min(self.deadline)
    }
}

impl Party for Plan {
    fn poll(&mut self, now: Instant) -> Step {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return step;
            }
            if let Some(step) = self.children_step(now) {
                self.sends(&step);
                return step;
            }
            if self.stage == Stage::Over {
                return Step::Done;
            }
            if self.stage == Stage::Trying && self.order_volleys(now) {
                continue;
            }
            if self.wants_sequence() && self.is_quiet() {
                self.begin_sequence(now);
            } else if self.deadline <= now || self.may_advance(now) {
                self.advance(now);
            } else {
                return Step::Wait(self.wakes(now));
            }
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        if self.stage == Stage::Over {
            return;
        }
        match event {
            Event::Arrived(packet) => self.arrived(now, packet),
            Event::Left(packet) => self.left(now, packet),
            Event::Joined { name, local, .. } => {
                self.with(name, |reflector| reflector.local = Some(local));
            }
            Event::Told(name, message) => self.told(now, name, message),
            Event::Garbled(name) => self.fail([Trouble::Nonsense { reflector: number(name) }]),
            Event::Lost(name) => self.fail([Trouble::Gone { reflector: number(name) }]),
            Event::Unjoined(name, why) => {
                self.fail([Trouble::Unreachable { reflector: number(name), why }]);
            }
            Event::Interrupted => self.fail([Trouble::Interrupted]),
            Event::HostFailed(what) => self.fail([Trouble::Host { what }]),
            // A deadline is looked at when polled; connections of its own it has none.
            _ => {}
        }
    }
}

/// Two ports of one address, then none or two of another.
fn is_usable(endpoints: &[Endpoint]) -> bool {
    match endpoints {
        [a, b] => a.ip() == b.ip() && a != b,
        [a, b, c, d] => {
            a.ip() == b.ip() && a != b && c.ip() == d.ip() && c != d && a.ip() != c.ip()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Effort;
    use crate::probe::Setting;
    use crate::wire::Segment;

    #[test]
    fn a_reflector_that_never_stops_reporting_ends_the_run_as_nonsense() {
        let syn = |port: u16| report(port, Segment::default());
        assert!((2_500 * 5..20_000).contains(&reports_until_the_end(syn)));
    }

    #[test]
    fn fewer_reports_do_if_they_have_a_payload() {
        let full =
            |port: u16| report(port, Segment { payload: vec![0; 60_000], ..Segment::default() });
        assert!(reports_until_the_end(full) < 100);
    }

    #[test]
    fn refusals_count_as_well() {
        let refused = |_| Message::Refused { why: Refusal::Busy };
        assert!(reports_until_the_end(refused) < 20_000);
    }

    #[test]
    fn another_version_ends_the_run_however_the_reflector_says_so() {
        let theirs = VERSION + 1;
        let (observed, endpoints, now) = (at(1), Vec::new(), Instant::START);
        for (message, theirs) in [
            (Message::Welcome { version: theirs, observed, endpoints, now }, Some(theirs)),
            (Message::Refused { why: Refusal::Version }, None),
        ] {
            let mut plan = greeting();
            plan.handle(Instant::START, Event::Told(Name(0), message));
            let steps = settled(&mut plan);
            let trouble = Trouble::Version { reflector: 0, theirs };
            assert_eq!(steps[0], Step::Note(Fact::Trouble(trouble).into()));
            assert_eq!(steps.last(), Some(&Step::Done));
        }
    }

    /// How many of these a plan takes before it ends, which it does by calling them nonsense.
    fn reports_until_the_end(message: impl Fn(u16) -> Message) -> u16 {
        let mut plan = greeting();
        for number in 0..u16::MAX {
            plan.handle(Instant::START, Event::Told(Name(0), message(number)));
            let steps = settled(&mut plan);
            if steps.last() == Some(&Step::Done) {
                let nonsense = Trouble::Nonsense { reflector: 0 };
                assert!(steps.contains(&Step::Note(Fact::Trouble(nonsense).into())), "{steps:?}");
                return number;
            }
        }
        panic!("it goes on for ever");
    }

    /// A plan that has joined its reflector.
    fn greeting() -> Plan {
        let mut plan = Plan::new(Setting {
            effort: Effort::Full,
            seed: 7,
            internal: vec![at(1).ip()],
            ports: (1..=u16::MAX).take(Setting::ports_needed(Effort::Full)).collect(),
            reflectors: 1,
        });
        settled(&mut plan);
        plan.handle(Instant::START, Event::Joined { name: Name(0), local: at(1), remote: at(2) });
        settled(&mut plan);
        plan
    }

    fn settled(plan: &mut Plan) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            match plan.poll(Instant::START) {
                Step::Wait(_) => return steps,
                Step::Done => return [steps, vec![Step::Done]].concat(),
                step => steps.push(step),
            }
        }
    }

    fn report(port: u16, segment: Segment) -> Message {
        let packet = PacketText(Packet::tcp(at(port), at(2), segment));
        Message::Saw { probe: ProbeId(1), at: Instant::START, packet }
    }

    fn at(port: u16) -> Endpoint {
        Endpoint::from(([192, 0, 2, 1], port))
    }
}
