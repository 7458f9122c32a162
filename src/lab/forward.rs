//! Moves packets between TUN devices in real time: through NATs, and over links by their destination.
//!
//! ```text
//!  ═ host ── NAT ──┐         ┌── NAT ── host ═        a site each;
//!                  ├── link ─┤                        a link from each to each other one
//!  ═ host ─────────┘         └───────── host ═
//! ```

use std::collections::BTreeMap;

use super::site::{Left, Site};
use crate::os::poll::{self, Interest, Waker};
use crate::os::{self, clock};
use crate::sim::{Link, Weather};
use crate::time::{Duration, Instant};
use crate::wire::Packet;

/// Sites, and the links between them.
pub struct Network {
    sites: Vec<Site>,
    /// By the numbers of the sites that they lead from and to.
    links: BTreeMap<(usize, usize), Link>,
    /// Packets on a link, by when they come out and in which order they went in, with the number of
    /// the site that they come out at.
    under_way: BTreeMap<(Instant, u64), (usize, Packet)>,
    carried: u64,
}

impl Network {
    /// These sites with a link of this weather from each to each other one.
    pub fn new(sites: Vec<Site>, weather: Weather, seed: u64) -> Self {
        let pairs = (0..sites.len()).flat_map(|high| (0..high).map(move |low| (low, high)));
        let links = (0..).zip(pairs).flat_map(|(number, (low, high))| {
            let luck = seed.wrapping_add(SPREAD.wrapping_mul(number));
            let link = |luck| Link::new(weather, luck);
            [((low, high), link(luck)), ((high, low), link(!luck))]
        });
        let links = links.collect();
        Self { sites, links, under_way: BTreeMap::new(), carried: 0 }
    }

    /// Takes what devices have to send.
    fn read(&mut self, clock: &dyn Fn() -> Instant, buffer: &mut [u8]) -> os::Result<()> {
        for number in 0..self.sites.len() {
            let mut left = Left::new();
            self.sites[number].read(clock, buffer, &mut left)?;
            self.send_off(number, left);
        }
        Ok(())
    }

    /// Sends what leaves a site towards the one that has its destination, if any has.
    fn send_off(&mut self, from: usize, left: impl IntoIterator<Item = (Instant, Packet)>) {
        for (now, packet) in left {
            let to = self.sites.iter().position(|site| site.has(packet.destination));
            let link = to.and_then(|to| Some((to, self.links.get_mut(&(from, to))?)));
            let Some((to, link)) = link else { continue };
            for at in link.pass(now, &packet).into_iter().flatten() {
                self.carried += 1;
                self.under_way.insert((at, self.carried), (to, packet.clone()));
            }
        }
    }

    /// Delivers what has arrived, and lets NATs act on their own.
    fn deliver(&mut self, now: Instant) -> os::Result<()> {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let (to, packet) = entry.remove();
            let back = self.sites[to].arrive(now, packet)?;
            self.send_off(to, back.map(|packet| (now, packet)));
        }
        for number in 0..self.sites.len() {
            let mut left = Left::new();
            self.sites[number].act(now, &mut left)?;
            self.send_off(number, left);
        }
        Ok(())
    }

    /// When something will happen of itself.
    fn wakes(&self) -> Option<Instant> {
        let arrival = self.under_way.keys().next().map(|(at, _)| *at);
        self.sites.iter().filter_map(Site::wakes).chain(arrival).min()
    }
}

/// Moves packets until it is woken.
///
/// # Errors
/// When a device fails.
pub fn forward(mut network: Network, stop: &Waker) -> os::Result<()> {
    clock::sharpen_timers()?;
    let begun = clock::monotonic();
    let now = || Instant::START + clock::monotonic().saturating_sub(begun);
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        network.deliver(now())?;
        network.read(&now, &mut buffer)?;
        let devices = network.sites.iter().flat_map(Site::devices).map(Interest::read);
        let interests: Vec<_> = devices.chain([Interest::read(stop)]).collect();
        let wakes: Option<Duration> = network.wakes().map(|at| begun + at.since_start());
        poll::wait(&interests, wakes)?;
        if stop.clear() {
            return Ok(());
        }
    }
}

const LARGEST_PACKET: usize = 65_536;

/// Spreads seeds that differ by one over all of them (the golden ratio of 2⁶⁴).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
