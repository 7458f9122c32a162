//! Moves packets between TUN devices in real time: through modelled NATs, and over links by their
//! destination.
//!
//! ```text
//!  ═ device ── NATs ──┐         ┌── NATs ── device ═        a site each;
//!                     ├── link ─┤                           a link from each to each other one;
//!  ═ device ──────────┘         └────────── device ═        no NATs where there is none to model
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::nat::{Fate, Side, Translator};
use crate::os::poll::{self, Interest, Waker};
use crate::os::tun::Tun;
use crate::os::{self, Kind, clock};
use crate::sim::{Link, Weather};
use crate::time::{Duration, Instant};
use crate::wire::{Packet, decode, encode};

/// Sites, and the links between them.
pub struct Network {
    sites: Vec<Site>,
    wires: Vec<[Tun; 2]>,
    /// By the numbers of the sites that they lead from and to.
    links: BTreeMap<(usize, usize), Link>,
    /// Packets on a link, by when they come out and in which order they went in, with the number of
    /// the site that they come out at.
    under_way: BTreeMap<(Instant, u64), (usize, Packet)>,
    carried: u64,
}

/// A device, and the modelled NATs between it and the links.
pub struct Site {
    device: Tun,
    /// The innermost first.
    nats: Vec<(Translator, BTreeSet<IpAddr>)>,
    /// What others reach it by.
    addresses: BTreeSet<IpAddr>,
}

impl Network {
    /// These sites with a link of this weather from each to each other one, and wires: two devices
    /// that are joined as if they were one.
    pub fn new(sites: Vec<Site>, wires: Vec<[Tun; 2]>, weather: Weather, seed: u64) -> Self {
        let pairs = (0..sites.len()).flat_map(|high| (0..high).map(move |low| (low, high)));
        let links = (0..).zip(pairs).flat_map(|(number, (low, high))| {
            let luck = seed.wrapping_add(SPREAD.wrapping_mul(number));
            let link = |luck| Link::new(weather, luck);
            [((low, high), link(luck)), ((high, low), link(!luck))]
        });
        let links = links.collect();
        Self { sites, wires, links, under_way: BTreeMap::new(), carried: 0 }
    }

    /// Takes what devices have to send: of each only so much that the others are not kept waiting.
    fn read(&mut self, clock: &Clock, buffer: &mut [u8]) -> os::Result<()> {
        for number in 0..self.sites.len() {
            for _ in 0..MOST_AT_ONCE {
                let Some(length) = self.sites[number].device.read(buffer)? else { break };
                let Ok(packet) = decode(&buffer[..length]) else { continue };
                // Asked after the packet was sent, so that no link is faster than its delay.
                let now = clock.now();
                let leaves = self.sites[number].pass(now, 0, Side::Inside, packet)?;
                self.send_off(now, number, leaves);
            }
        }
        self.wires.iter().try_for_each(|[one, other]| {
            carry(one, other, buffer)?;
            carry(other, one, buffer)
        })
    }

    /// Sends what leaves a site towards the one that has its destination, if any has.
    fn send_off(&mut self, now: Instant, from: usize, leaves: Option<Packet>) {
        let Some(packet) = leaves else { return };
        let mut sites = self.sites.iter();
        let to = sites.position(|site| site.addresses.contains(&packet.destination));
        let Some((to, link)) = to.and_then(|to| Some((to, self.links.get_mut(&(from, to))?)))
        else {
            return;
        };
        for at in link.pass(now, &packet).into_iter().flatten() {
            self.carried += 1;
            self.under_way.insert((at, self.carried), (to, packet.clone()));
        }
    }

    /// Delivers what has arrived, and lets NATs act on their own.
    fn deliver(&mut self, now: Instant) -> os::Result<()> {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let (to, packet) = entry.remove();
            let leaves = self.sites[to].arrive(now, packet)?;
            self.send_off(now, to, leaves);
        }
        for number in 0..self.sites.len() {
            while let Some((place, packet)) = self.sites[number].due(now) {
                let leaves = self.sites[number].pass(now, place + 1, Side::Inside, packet)?;
                self.send_off(now, number, leaves);
            }
        }
        Ok(())
    }

    /// When something will happen of itself.
    fn wakes(&self) -> Option<Instant> {
        let arrival = self.under_way.keys().next().map(|(at, _)| *at);
        let due = self.sites.iter().filter_map(Site::wakes);
        arrival.into_iter().chain(due).min()
    }

    fn devices(&self) -> impl Iterator<Item = &Tun> {
        self.sites.iter().map(|site| &site.device).chain(self.wires.iter().flatten())
    }
}

impl Site {
    /// A device that has these addresses.
    pub fn new(device: Tun, addresses: &[IpAddr]) -> Self {
        Self { device, nats: Vec::new(), addresses: addresses.iter().copied().collect() }
    }

    /// A device behind these NATs, the innermost first, each with its external addresses.
    pub fn behind(device: Tun, nats: Vec<(Translator, BTreeSet<IpAddr>)>) -> Self {
        let addresses = nats.last().map(|(_, addresses)| addresses.clone()).unwrap_or_default();
        Self { device, nats, addresses }
    }

    /// Takes a packet off a link. What leaves by a link in turn is given back.
    fn arrive(&mut self, now: Instant, packet: Packet) -> os::Result<Option<Packet>> {
        let outermost = self.nats.len().saturating_sub(1);
        self.pass(now, outermost, Side::Outside, packet)
    }

    /// Passes a packet through the NAT at this place in the row, and on. What leaves by a link is
    /// given back.
    fn pass(
        &mut self,
        now: Instant,
        mut place: usize,
        mut from: Side,
        mut packet: Packet,
    ) -> os::Result<Option<Packet>> {
        while let Some((translator, addresses)) = self.nats.get_mut(place) {
            if from == Side::Outside && !addresses.contains(&packet.destination) {
                return Ok(None);
            }
            let to = match translator.take(now, from, packet) {
                Fate::Forward(to, translated) => {
                    packet = translated;
                    to
                }
                Fate::Answer(answer) => {
                    packet = answer;
                    from
                }
                Fate::Drop => return Ok(None),
            };
            from = to.opposite();
            match (to, place) {
                (Side::Inside, 0) => break,
                (Side::Inside, _) => place -= 1,
                (Side::Outside, _) => place += 1,
            }
        }
        match from {
            // Past the last NAT.
            Side::Inside => Ok(Some(packet)),
            Side::Outside => write(&self.device, &encode(&packet)).map(|()| None),
        }
    }

    /// What one of its NATs sends outward on its own, with that NAT's place in the row.
    fn due(&mut self, now: Instant) -> Option<(usize, Packet)> {
        let mut nats = self.nats.iter_mut().enumerate();
        nats.find_map(|(place, (translator, _))| translator.due(now).map(|packet| (place, packet)))
    }

    fn wakes(&self) -> Option<Instant> {
        self.nats.iter().filter_map(|(translator, _)| translator.wakes()).min()
    }
}

/// Moves packets until it is woken.
///
/// # Errors
/// When a device fails.
pub fn forward(mut network: Network, stop: &Waker) -> os::Result<()> {
    clock::sharpen_timers()?;
    let clock = Clock { begun: clock::monotonic() };
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        network.deliver(clock.now())?;
        network.read(&clock, &mut buffer)?;
        let devices = network.devices().map(Interest::read);
        let interests: Vec<_> = devices.chain([Interest::read(stop)]).collect();
        poll::wait(&interests, network.wakes().map(|at| clock.monotonic(at)))?;
        if stop.clear() {
            return Ok(());
        }
    }
}

/// The time since packets began to be moved.
struct Clock {
    begun: Duration,
}

impl Clock {
    fn now(&self) -> Instant {
        Instant::START + clock::monotonic().saturating_sub(self.begun)
    }

    fn monotonic(&self, at: Instant) -> Duration {
        self.begun + at.since_start()
    }
}

/// Carries whatever one end of a wire has to send to the other.
fn carry(from: &Tun, to: &Tun, buffer: &mut [u8]) -> os::Result<()> {
    for _ in 0..MOST_AT_ONCE {
        let Some(length) = from.read(buffer)? else { break };
        write(to, &buffer[..length])?;
    }
    Ok(())
}

/// An interface that is down loses what comes. One that is gone fails when it is read.
fn write(device: &Tun, packet: &[u8]) -> os::Result<()> {
    match device.write(packet) {
        Err(error) if error.kind == Kind::Gone => Ok(()),
        written => written,
    }
}

const LARGEST_PACKET: usize = 65_536;

/// Packets of one device before the next one's turn: some hundred microseconds.
const MOST_AT_ONCE: usize = 64;

/// Spreads seeds that differ by one over all of them (the golden ratio of 2⁶⁴).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
