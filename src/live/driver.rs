//! The loop.

use std::collections::VecDeque;

use super::control::{Control, patient};
use super::flows::Flows;
use super::kernel::Kernel;
use super::station::Station;
use crate::engine::{Bind, Event, Fact, Party, Run, Step, Witness};
use crate::os::poll::{self, Interest, Waker};
use crate::os::signals::Signals;
use crate::os::{self, clock};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// Runs a party on a station.
pub struct Driver<'a> {
    party: &'a mut dyn Party,
    station: Station,
    control: Control,
    flows: Flows,
    stop: Stop<'a>,
    /// Sees every fact as it is noted.
    watch: &'a mut dyn FnMut(&Fact),
    kernel: Option<Kernel>,
    claims: Vec<Endpoint>,
    pending: VecDeque<(Instant, Event)>,
    run: Run,
}

/// What ends a run from outside.
#[derive(Clone, Copy)]
pub enum Stop<'a> {
    /// Ctrl-C or a termination.
    Signals(&'a Signals),
    /// Another thread.
    Waker(&'a Waker),
}

impl Stop<'_> {
    /// What to wait for.
    pub fn interest(&self) -> Interest<'_> {
        match self {
            Self::Signals(signals) => Interest::read(*signals),
            Self::Waker(waker) => Interest::read(*waker),
        }
    }

    /// Whether it has come since it was last asked.
    pub fn has_come(&self) -> bool {
        match self {
            // A signal of unknown kind ends the run as well.
            Self::Signals(signals) => !matches!(signals.read(), Ok(None)),
            Self::Waker(waker) => waker.clear(),
        }
    }
}

impl<'a> Driver<'a> {
    /// Drives this party.
    pub fn new(
        party: &'a mut dyn Party,
        station: Station,
        control: Control,
        stop: Stop<'a>,
        watch: &'a mut dyn FnMut(&Fact),
    ) -> Self {
        let (claims, pending, run) = (Vec::new(), VecDeque::new(), Run::default());
        let flows = Flows::default();
        let kernel = None;
        Self { party, station, control, flows, stop, watch, kernel, claims, pending, run }
    }

    /// With endpoints that are listened on already: whoever connects there is told to the party.
    #[must_use]
    pub fn with(self, flows: Flows) -> Self {
        Self { flows, ..self }
    }

    /// Until the party is done. What fails on this host is told to the party, which then ends.
    ///
    /// # Errors
    /// When the host fails before the party has begun: a claim that cannot be met, an endpoint that
    /// cannot be listened on.
    pub fn run(self) -> os::Result<Run> {
        self.run_keeping().map(|(run, _)| run)
    }

    /// The same; what connections are left are handed over.
    ///
    /// # Errors
    /// As for [`Driver::run`].
    pub fn run_keeping(mut self) -> os::Result<(Run, Flows)> {
        loop {
            let now = self.station.now();
            match self.party.poll(now) {
                Step::Done => break,
                Step::Claim(endpoint) => self.claims.push(endpoint),
                Step::Listen { on, reader } => self.flows.listen(on, reader)?,
                step => {
                    self.claim()?;
                    self.perform(now, step);
                }
            }
        }
        self.flows.finish_writing(clock::monotonic() + FAREWELL)?;
        self.run.settle();
        Ok((self.run, self.flows))
    }

    /// Claims come in rows; one row is one change to the guard.
    fn claim(&mut self) -> os::Result<()> {
        let claims = std::mem::take(&mut self.claims);
        if claims.is_empty() { Ok(()) } else { self.station.claim(&claims) }
    }

    fn perform(&mut self, now: Instant, step: Step) {
        match step {
            Step::Send(packet) => {
                let sent = self.station.send(&packet);
                self.happened(sent.map(|()| Vec::new()));
            }
            Step::Tell(name, message) => {
                let lost = self.control.tell(name, &message);
                self.pending.extend(lost.map(|event| (now, event)));
            }
            Step::HangUp(name) => self.control.hang_up(name),
            Step::Open { flow, from, to, at: None, reader } => {
                let opened = self.flows.open(flow, from, to, reader, &patient());
                self.happened(opened.map(|()| Vec::new()));
            }
            Step::Open { flow, from, to, at: Some(at), reader } => {
                let at = self.station.monotonic(at);
                let aimed = self.flows.aim((at, flow), from, to, reader, &patient());
                self.happened(aimed.map(|()| Vec::new()));
            }
            Step::Write(flow, octets) => {
                let lost = self.flows.write(flow, &octets);
                self.pending.extend(lost.map(|event| (now, event)));
            }
            Step::Close(flow, how) => self.flows.close(flow, how),
            Step::Note(fact) => {
                (self.watch)(&fact);
                self.run.note(now, *fact);
            }
            Step::Wait(until) => self.wait(until),
            Step::Watch { local, towards } => self.look(now, local, towards),
            Step::Claim(_) | Step::Listen { .. } | Step::Done => {}
        }
    }

    /// Opens the eyes for an endpoint, as far as this process may.
    fn look(&mut self, now: Instant, local: Endpoint, towards: Endpoint) {
        let mut missing = Vec::new();
        if let Err(error) = self.station.watch(local, towards) {
            missing.push((Witness::Wire, error));
        }
        if self.kernel.is_none() {
            match Kernel::watch() {
                Ok(kernel) => self.kernel = Some(kernel),
                Err(error) => missing.push((Witness::Kernel, error)),
            }
        }
        self.flows.samples(self.kernel.is_none());
        let from = if local.port() == 0 { Bind::Kernel } else { Bind::Shared(local) };
        let prepared = self.flows.prepare(from);
        self.happened(prepared.map(|()| Vec::new()));
        let unwatched = missing.into_iter();
        let unwatched = unwatched.map(|(witness, why)| Event::Unwatched(witness, why.to_string()));
        self.pending.extend(unwatched.map(|event| (now, event)));
    }

    /// Hands over what has happened, or waits for it.
    fn wait(&mut self, until: Instant) {
        if self.pending.is_empty() {
            let waited = self.sleep(until);
            let fired = self.flows.shoot(clock::monotonic());
            let shot_at = self.station.now();
            self.pending.extend(fired.into_iter().map(|event| (shot_at, event)));
            let changed = self.changed();
            let seen = waited.and_then(|()| self.station.seen());
            self.learn(&seen);
            self.happened(seen);
            self.pending.extend(changed);
            let now = self.station.now();
            let mut happened = self.flows.changed(now);
            happened.extend(self.control.happened());
            happened.extend(self.flows.happened());
            self.pending.extend(happened.into_iter().map(|event| (now, event)));
            let gaps = self.gaps();
            self.pending.extend(gaps.map(|event| (now, event)));
            if self.stop.has_come() {
                self.pending.push_back((now, Event::Interrupted));
            }
            if self.pending.is_empty() && until <= now {
                self.pending.push_back((now, Event::DeadlinePassed));
            }
        }
        if let Some((at, event)) = self.pending.pop_front() {
            self.party.handle(at, event);
        }
    }

    /// Lets shots be aimed better by where the last ones hit.
    fn learn(&mut self, seen: &os::Result<Vec<(Instant, Event)>>) {
        for (at, event) in seen.iter().flatten() {
            if let Event::Left(packet) = event {
                self.flows.left(packet, self.station.monotonic(*at));
            }
        }
    }

    fn sleep(&self, until: Instant) -> os::Result<()> {
        let stop = self.stop.interest();
        let captures = self.station.captures().iter().map(Interest::read);
        let connections = self.control.interests().chain(self.flows.interests());
        let states = self.kernel.iter().map(Interest::read);
        let interests: Vec<_> = captures.chain(connections).chain(states).chain([stop]).collect();
        let sample = self.flows.needs_samples().then(|| clock::monotonic() + BETWEEN_SAMPLES);
        let wakes = [self.flows.next_shot(), sample];
        let until = wakes.into_iter().flatten().fold(self.station.monotonic(until), Duration::min);
        poll::wait(&interests, Some(until)).map(drop)
    }

    /// How sockets at the station's endpoints have changed state, by the kernel.
    fn changed(&mut self) -> Vec<(Instant, Event)> {
        let (station, Some(kernel)) = (&self.station, &mut self.kernel) else { return Vec::new() };
        let changes = kernel.changes(|end| station.watches(end), |at| station.moment(at));
        changes.into_iter().map(|change| (change.at, Event::Changed(change))).collect()
    }

    /// What witnesses have missed since it was last told.
    fn gaps(&mut self) -> impl Iterator<Item = Event> + use<> {
        let lost = self.kernel.as_mut().and_then(Kernel::newly_lost);
        let kernel =
            lost.map(|lost| (Witness::Kernel, format!("{lost} changes of state were lost")));
        let missed = self.kernel.as_ref().and_then(|_| self.station.newly_missed());
        let wire =
            missed.map(|missed| (Witness::Wire, format!("{missed} packets were not captured")));
        kernel.into_iter().chain(wire).map(|(witness, why)| Event::Unwatched(witness, why))
    }

    fn happened(&mut self, seen: os::Result<Vec<(Instant, Event)>>) {
        match seen {
            Ok(seen) => self.pending.extend(seen),
            Err(error) => {
                self.pending.push_back((self.station.now(), Event::HostFailed(error.to_string())));
            }
        }
    }
}

/// How long peers may take for the last that they are told.
const FAREWELL: Duration = Duration::from_secs(2);

/// A crossing seen at an end lasts a round trip in SYN-RECEIVED: shorter ones than this go unseen.
const BETWEEN_SAMPLES: Duration = Duration::from_millis(1);
