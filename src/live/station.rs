//! Where a party's packets leave and arrive: raw sending, capture, and claimed ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::engine::Event;
use crate::os::capture::Capture;
use crate::os::clock::{self, Timeline};
use crate::os::guard::PortGuard;
use crate::os::link;
use crate::os::raw::RawSender;
use crate::os::reserve::{self, Reserved};
use crate::os::{self, Kind};
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, Packet, decode, encode};

/// A host's end of a run: what it sends, what it sees, which ports it holds.
pub struct Station {
    begun: Duration,
    timeline: Timeline,
    interfaces: Vec<String>,
    /// None on a station that sends nothing of its own making.
    sender: Option<RawSender>,
    captures: Vec<Capture>,
    guard: Option<PortGuard>,
    /// Ports held for claims to come.
    reserved: BTreeMap<Endpoint, Reserved>,
    /// Its own endpoints. One with port 0 stands for all ports of its address, towards some peers.
    claims: BTreeSet<Endpoint>,
    /// Whom endpoints with port 0 have to do with.
    peers: BTreeSet<IpAddr>,
    /// Packets that the captures had missed when it was last asked.
    missed: u32,
}

impl Station {
    /// A station on these interfaces of the calling thread's namespace.
    ///
    /// # Errors
    /// Without the privilege to send raw packets.
    pub fn open(interfaces: impl IntoIterator<Item = String>) -> os::Result<Self> {
        let interfaces: BTreeSet<_> = interfaces.into_iter().collect();
        let interfaces = interfaces.into_iter().collect();
        Ok(Self { interfaces, sender: Some(RawSender::new()?), ..Self::plain() })
    }

    /// A station that neither sends nor captures packets, and needs no privilege: for what the
    /// host's own TCP does.
    pub fn plain() -> Self {
        Self {
            begun: clock::monotonic(),
            timeline: Timeline::new(),
            interfaces: Vec::new(),
            sender: None,
            captures: Vec::new(),
            guard: None,
            reserved: BTreeMap::new(),
            claims: BTreeSet::new(),
            peers: BTreeSet::new(),
            missed: 0,
        }
    }

    /// The moment it is.
    pub fn now(&self) -> Instant {
        self.moment(clock::monotonic())
    }

    /// With the moments of a run that began then, by the kernel's monotonic clock.
    #[must_use]
    pub fn since(self, begun: Duration) -> Self {
        Self { begun, ..self }
    }

    /// The moment of the run at a time of the kernel's monotonic clock.
    pub fn moment(&self, monotonic: Duration) -> Instant {
        Instant::START + monotonic.saturating_sub(self.begun)
    }

    /// A moment of the run on the kernel's monotonic clock.
    pub fn monotonic(&self, at: Instant) -> Duration {
        self.begun.saturating_add(at.since_start())
    }

    /// Ports that are free at all of these addresses, held until they are claimed.
    ///
    /// # Errors
    /// When so many are not to be had.
    pub fn free_ports(
        &mut self,
        addresses: &[IpAddr],
        count: usize,
        seed: u64,
    ) -> os::Result<Vec<u16>> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut ports = BTreeSet::new();
        for _ in 0..count * TRIES_FOR_EACH_PORT {
            if ports.len() == count {
                break;
            }
            let port = random.random_range(DYNAMIC_PORTS);
            if self.hold(addresses, port)? {
                ports.insert(port);
            }
        }
        if ports.len() < count {
            let why = format!("only {} of {count} were free", ports.len());
            return Err(os::Error::text("hold ports", "for probes", why));
        }
        Ok(ports.into_iter().collect())
    }

    /// Holds this port at all of these addresses, unless it is taken at one.
    fn hold(&mut self, addresses: &[IpAddr], port: u16) -> os::Result<bool> {
        let mut held = BTreeMap::new();
        for endpoint in addresses.iter().map(|address| Endpoint::new(*address, port)) {
            if self.reserved.contains_key(&endpoint) {
                return Ok(false);
            }
            match reserve::reserve(endpoint) {
                Ok(reserved) => held.insert(endpoint, reserved),
                Err(error) if error.kind == Kind::Taken => return Ok(false),
                Err(error) => return Err(error),
            };
        }
        self.reserved.append(&mut held);
        Ok(true)
    }

    /// Holds, guards and captures these endpoints from now on.
    ///
    /// # Errors
    /// When one is taken, or without the privilege to guard or capture.
    pub fn claim(&mut self, endpoints: &[Endpoint]) -> os::Result<()> {
        for endpoint in endpoints {
            if !self.reserved.contains_key(endpoint) {
                self.reserved.insert(*endpoint, reserve::reserve(*endpoint)?);
            }
        }
        self.claims.extend(endpoints);
        match &mut self.guard {
            Some(guard) => guard.add_all(endpoints)?,
            None => self.guard = Some(PortGuard::new(endpoints)?),
        }
        let filter = self.filter();
        let open = |interface: &String| Capture::open(interface, &filter);
        self.captures = self.interfaces.iter().map(open).collect::<os::Result<_>>()?;
        Ok(())
    }

    /// Captures the packets of this endpoint, which the host's own TCP has. It counts as one of the
    /// station's own even if that fails. With port 0 all ports are meant that have to do with
    /// this peer.
    ///
    /// # Errors
    /// Without the privilege to capture.
    pub fn watch(&mut self, endpoint: Endpoint, towards: Endpoint) -> os::Result<()> {
        self.claims.insert(endpoint);
        if endpoint.port() == 0 {
            self.peers.insert(towards.ip());
        }
        let route = link::route_to(towards.ip())?;
        // Without the privilege the first packet may be late, which its own time stamp then says.
        let _ = link::meet_next_hop(&route, towards.ip());
        let interface = route.interface;
        self.captures = vec![Capture::open(&interface, &self.filter())?];
        self.interfaces = vec![interface];
        Ok(())
    }

    /// Whether an endpoint is one of its own.
    pub fn watches(&self, endpoint: &Endpoint) -> bool {
        is_among(&self.claims, endpoint)
    }

    /// Our ports alone, and ICMP: a busy host's other packets must not fill the ring.
    fn filter(&self) -> String {
        let ports: BTreeSet<_> = self.claims.iter().map(Endpoint::port).collect();
        let ports = ports.into_iter().filter(|port| *port != 0).map(|port| format!("port {port}"));
        let peers = self.peers.iter().map(|peer| format!("host {peer}"));
        let all: Vec<_> = ports.chain(peers).collect();
        format!("icmp or icmp6 or (tcp and ({}))", all.join(" or "))
    }

    /// Puts a packet on the wire. A host firewall that swallows it is no error here: the packet is
    /// then not seen to leave.
    ///
    /// # Errors
    /// When this host cannot send at all.
    pub fn send(&mut self, packet: &Packet) -> os::Result<()> {
        let Some(sender) = &mut self.sender else {
            return Err(os::Error::text("send", "a crafted packet", "this run has no raw socket"));
        };
        match sender.send(&encode(packet)) {
            Err(error) if error.kind == Kind::Blocked => Ok(()),
            sent => sent,
        }
    }

    /// What has been captured since, each with its moment.
    ///
    /// # Errors
    /// When an interface went down or away.
    pub fn seen(&mut self) -> os::Result<Vec<(Instant, Event)>> {
        let mut seen = Vec::new();
        for capture in &mut self.captures {
            while let Some(captured) = capture.next_packet()? {
                let at = self.timeline.monotonic_of(captured.at_realtime);
                let at = Instant::START + at.saturating_sub(self.begun);
                let packet = decode(captured.packet).ok();
                seen.extend(packet.and_then(|packet| event(&self.claims, packet)).map(|e| (at, e)));
            }
        }
        seen.sort_by_key(|(at, _)| *at);
        Ok(seen)
    }

    /// How many packets the captures have missed since it was last asked, if any.
    pub fn newly_missed(&mut self) -> Option<u32> {
        let statistics = self.captures.iter_mut().filter_map(|capture| capture.statistics().ok());
        let missed = statistics.map(|told| told.dropped).sum();
        let newly = missed - std::mem::replace(&mut self.missed, missed).min(missed);
        (newly > 0).then_some(newly)
    }

    /// The captures, to wait for.
    pub fn captures(&self) -> &[Capture] {
        &self.captures
    }
}

/// What a captured packet means. One from a claimed endpoint to another has come back in with its
/// internal source: our own packets to ourselves never pass an interface.
fn event(claims: &BTreeSet<Endpoint>, packet: Packet) -> Option<Event> {
    let source = packet.endpoints().map(|(source, _)| source);
    if is_among(claims, &packet.receiver()) {
        Some(Event::Arrived(packet))
    } else if source.is_some_and(|source| is_among(claims, &source)) {
        Some(Event::Left(packet))
    } else {
        None
    }
}

fn is_among(claims: &BTreeSet<Endpoint>, endpoint: &Endpoint) -> bool {
    claims.contains(endpoint) || claims.contains(&Endpoint::new(endpoint.ip(), 0))
}

/// RFC 6335 §6: ports that nobody is assigned.
pub const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

const TRIES_FOR_EACH_PORT: usize = 10;
