//! Connections by the host's own TCP, for a loop that never blocks.

mod link;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::engine::{Bind, End, Event, Flow, How, Reader};
use crate::os;
use crate::os::poll::{self, Interest};
use crate::os::shot::Marksman;
use crate::os::tcp::{self, Listener, Options, Prepared, Stream};
use crate::os::tls::Trust;
use crate::os::{clock, cpu};
use crate::tcp::State;
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, Packet, Segment};
use link::Link;

/// All connections of a party.
#[derive(Default)]
pub struct Flows {
    listeners: Vec<(Listener, Reader)>,
    links: BTreeMap<Flow, Link>,
    accepted: u32,
    /// Connections whose SYN is to leave at a moment of the kernel's monotonic clock.
    aimed: BTreeMap<(Duration, Flow), (Prepared, Reader)>,
    marksman: Option<Marksman>,
    /// Shots whose SYN has not been seen yet.
    fired: Vec<Shot>,
    samples: bool,
    /// What connections speak that the party opens and reads itself, if it is TLS.
    tls: Option<Trust>,
    /// How ports are chosen for connections that do not, if not by the host.
    choice: Option<PortChoice>,
}

/// Chooses a port for a connection that leads there.
pub type PortChoice = Box<dyn FnMut(Endpoint) -> u16 + Send>;

/// A SYN that was to leave this socket at a moment of the kernel's monotonic clock.
struct Shot {
    at: Duration,
    local: Endpoint,
    remote: Endpoint,
}

impl Flows {
    /// Begins to open a connection.
    ///
    /// # Errors
    /// When the local endpoint is taken or not this host's.
    pub fn open(
        &mut self,
        flow: Flow,
        from: Bind,
        to: Endpoint,
        reader: Reader,
        options: &Options,
    ) -> os::Result<()> {
        let tls = self.tls.as_ref().filter(|_| reader == Reader::Party);
        let tls = tls.map(Trust::session).transpose()?;
        let from = self.bind(from, to);
        let link = Link::new(tcp::connect(from, to, options)?, reader);
        self.links.insert(flow, Link { tls, ..link });
        Ok(())
    }

    /// Opens a connection by a SYN that leaves at a moment of the kernel's monotonic clock.
    ///
    /// # Errors
    /// As for [`Flows::open`].
    pub fn aim(
        &mut self,
        (at, flow): (Duration, Flow),
        from: Bind,
        to: Endpoint,
        reader: Reader,
        options: &Options,
    ) -> os::Result<()> {
        self.prepare(from)?;
        let from = self.bind(from, to);
        let prepared = tcp::prepare(from, to, options)?;
        self.aimed.insert((at, flow), (prepared, reader));
        Ok(())
    }

    /// When the next shot has to be seen to, by the kernel's monotonic clock.
    pub fn next_shot(&self) -> Option<Duration> {
        self.aimed.keys().next().map(|(at, _)| Marksman::ready_by(*at))
    }

    /// Fires the shots that are due; each takes until its moment.
    pub fn shoot(&mut self, now: Duration) -> Vec<Event> {
        let Some(marksman) = &self.marksman else { return Vec::new() };
        let is_due = |at| Marksman::ready_by(at) <= now;
        let mut events = Vec::new();
        while let Some(entry) = self.aimed.first_entry().filter(|entry| is_due(entry.key().0)) {
            let ((at, flow), (prepared, reader)) = entry.remove_entry();
            let before = cpu::time();
            let stream = marksman.fire(at, prepared);
            let times = before.and_then(|before| Ok((before, cpu::time()?))).ok();
            let stolen = times.map(|(before, after)| after.stolen_time_since(before));
            let (local, remote) = (stream.local().ok(), stream.remote());
            events.push(Event::Fired { flow, stolen, local });
            self.fired.extend(local.map(|local| Shot { at, local, remote }));
            self.links.insert(flow, Link::new(stream, reader));
        }
        events
    }

    /// Learns from a packet that left the interface at this moment, if it is the SYN of a shot.
    pub fn left(&mut self, packet: &Packet, at: Duration) {
        let is_syn = packet.segment().is_some_and(Segment::is_bare_syn);
        let ends = packet.endpoints().filter(|_| is_syn);
        let is_its = |shot: &Shot| ends == Some((shot.local, shot.remote));
        let Some(place) = self.fired.iter().position(is_its) else { return };
        let aimed = self.fired.swap_remove(place).at;
        if let Some(marksman) = &self.marksman {
            marksman.learn(aimed, at);
        }
    }

    /// Makes ready to let SYNs leave at a moment, which takes a while. Where the host is to choose their
    /// ports, nothing is bound for that either.
    ///
    /// # Errors
    /// When no port on loopback is to be had.
    pub fn prepare(&mut self, from: Bind) -> os::Result<()> {
        if self.marksman.is_none() {
            self.marksman = Some(match from {
                Bind::Kernel => Marksman::without_binding(),
                Bind::Shared(_) => Marksman::new()?,
            });
        }
        Ok(())
    }

    /// Whether to tell of the sockets' states by looking at them from time to time: for want of a
    /// better witness.
    pub fn samples(&mut self, samples: bool) {
        self.samples = samples;
    }

    /// Whether a state may change unseen if nobody looks.
    pub fn needs_samples(&self) -> bool {
        self.samples && self.links.values().any(|link| !link.stands)
    }

    /// Hands a connection over to whoever goes on with it.
    pub fn take(&mut self, flow: Flow) -> Option<Stream> {
        self.links.remove(&flow).map(|link| link.stream)
    }

    /// Whether a connection stands, both ways.
    pub fn stands(&self, flow: Flow) -> bool {
        let link = self.links.get(&flow);
        link.is_some_and(|link| link.stream.state().is_ok_and(|state| state == State::Established))
    }

    /// Whatever connects to these endpoints.
    ///
    /// # Errors
    /// When one is taken or not this host's.
    pub fn listening(endpoints: impl IntoIterator<Item = Endpoint>) -> os::Result<Self> {
        let mut flows = Self::default();
        for on in endpoints {
            let listener = tcp::listen(tcp::Bind::Exact(on), MOST_WAITING)?;
            flows.listeners.push((listener, Reader::Party));
        }
        Ok(flows)
    }

    /// Whatever connects to this endpoint, beside connections from it that are bound as shared. What
    /// is listened on already goes on as it is.
    ///
    /// # Errors
    /// When it is taken or not this host's.
    pub fn listen(&mut self, on: Endpoint, reader: Reader) -> os::Result<()> {
        if self.listeners.iter().any(|(listener, _)| listener.is_on(on)) {
            return Ok(());
        }
        self.listeners.push((tcp::listen(tcp::Bind::Shared(on), MOST_WAITING)?, reader));
        Ok(())
    }

    /// With TLS on all connections that the party opens and reads itself.
    #[must_use]
    pub fn sealed(self, tls: Option<Trust>) -> Self {
        Self { tls, ..self }
    }

    /// With ports chosen so for connections that do not.
    #[must_use]
    pub fn choosing(self, choice: Option<PortChoice>) -> Self {
        Self { choice, ..self }
    }

    fn bind(&mut self, from: Bind, to: Endpoint) -> tcp::Bind {
        match (from, &mut self.choice) {
            (Bind::Shared(local), _) => tcp::Bind::Shared(local),
            (Bind::Kernel, None) => tcp::Bind::Kernel,
            (Bind::Kernel, Some(choose)) => {
                let any = match to.ip() {
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                };
                tcp::Bind::Shared(Endpoint::new(any, choose(to)))
            }
        }
    }

    /// Without what is listened on.
    #[must_use]
    pub fn deaf(self) -> Self {
        Self { listeners: Vec::new(), ..self }
    }

    /// Of all these, the listener on an endpoint: whoever has come to it meanwhile waits there.
    #[must_use]
    pub fn door(self, on: Endpoint) -> Self {
        let mut listeners = self.listeners;
        listeners.retain(|(listener, _)| listener.is_on(on));
        Self { listeners, ..Self::default() }
    }

    /// Sends these octets as soon as the peer takes them. One who does not read loses the
    /// connection.
    pub fn write(&mut self, flow: Flow, octets: &[u8]) -> Option<Event> {
        let link = self.links.get_mut(&flow)?;
        link.say(octets);
        let full = link.outgoing.len() > MOST_UNREAD;
        let end = link.flush().or(full.then_some(End::Abandoned))?;
        self.links.remove(&flow);
        Some(Event::Ended(flow, end))
    }

    /// Waits until peers have taken what was written, but no longer than to this moment of the kernel's
    /// monotonic clock.
    ///
    /// # Errors
    /// When this host cannot wait.
    pub fn finish_writing(&mut self, until: Duration) -> os::Result<()> {
        loop {
            // Whoever has gone takes nothing more.
            self.links.retain(|_, link| link.flush().is_none());
            let behind = self.links.values().filter(|link| link.stands && link.is_behind());
            let interests: Vec<_> = behind.map(|link| Interest::write(&link.stream)).collect();
            if interests.is_empty() || clock::monotonic() >= until {
                return Ok(());
            }
            poll::wait(&interests, Some(until))?;
        }
    }

    /// Reads nothing more from a peer.
    pub fn close_ears(&mut self, flow: Flow) {
        if let Some(link) = self.links.get_mut(&flow) {
            link.hears = false;
        }
    }

    /// Ends a connection.
    pub fn close(&mut self, flow: Flow, how: How) {
        self.aimed.retain(|(_, aimed), _| *aimed != flow);
        let Some(mut link) = self.links.remove(&flow) else { return };
        if how == How::Reset {
            return link.stream.reset();
        }
        link.flush();
        // A peer who has gone already needs no goodbye.
        let _ = link.stream.finish();
    }

    /// What to wait for.
    pub fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        let listeners = self.listeners.iter().map(|(listener, _)| Interest::read(listener));
        listeners.chain(self.links.values().filter_map(Link::interest))
    }

    /// How sockets have changed state since they were last looked at, if they are to be sampled.
    pub fn changed(&mut self, now: Instant) -> Vec<Event> {
        let links = self.links.iter_mut().filter(|_| self.samples);
        links.filter_map(|(flow, link)| link.sample(*flow, now)).map(Event::Changed).collect()
    }

    /// What has happened on all connections.
    pub fn happened(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.accept(&mut events);
        let mut ends = Vec::new();
        self.links.retain(|flow, link| {
            let end = link.happened(*flow, &mut events);
            // Whoever has said all may still be answered.
            let goes_on = matches!(end, None | Some(Event::Ended(_, End::Finished)));
            ends.extend(end);
            goes_on
        });
        events.extend(ends);
        events
    }

    /// Whoever comes when there are too many already is shown out at once.
    fn accept(&mut self, events: &mut Vec<Event>) {
        let options = Options::default();
        let mut accepted = Vec::new();
        for (listener, reader) in &self.listeners {
            while let Ok(Some(stream)) = listener.accept(&options) {
                accepted.push((stream, *reader));
            }
        }
        for (stream, reader) in accepted {
            let Ok(local) = stream.local() else { continue };
            if self.links.len() >= MOST_LINKS {
                stream.reset();
                continue;
            }
            let flow = Flow(Flow::FIRST_ACCEPTED + self.accepted);
            self.accepted = (self.accepted + 1) % Flow::FIRST_ACCEPTED;
            let remote = stream.remote();
            let (stands, state) = (true, State::Listen);
            self.links.insert(flow, Link { stands, state, ..Link::new(stream, reader) });
            events.push(Event::Accepted { flow, local, remote });
        }
    }
}

/// As in a listener's second argument: more than come at once.
const MOST_WAITING: u16 = 64;

/// What parties allow is lower; this bounds what a flood can hold open, and stays below the number
/// of descriptors that a process commonly has.
const MOST_LINKS: usize = 640;

/// What a peer may leave unread: every report of a long run.
const MOST_UNREAD: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    #[test]
    fn what_was_written_is_taken_before_the_end_even_by_a_slow_reader() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let to = listener.local_addr().expect("it has an address");
        let (word, flow) = (vec![7; MOST_UNREAD / 4], Flow(1));
        let mut flows = Flows::default();
        let options = Options::default();
        flows.open(flow, Bind::Kernel, to, Reader::Party, &options).expect("a socket");
        let (mut peer, _) = listener.accept().expect("it comes");
        while flows.happened().is_empty() {}
        let mut written = 0;
        // Until it is more than the kernel takes.
        while !flows.links[&flow].is_behind() {
            assert_eq!(flows.write(flow, &word), None);
            written += word.len();
        }
        let reader = thread::spawn(move || {
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).expect("it reads");
            heard
        });
        flows.finish_writing(clock::monotonic() + Duration::from_secs(60)).expect("it waits");
        drop(flows);
        assert_eq!(reader.join().expect("it ends").len(), written);
    }
}
