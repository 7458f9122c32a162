//! Moves packets between TUN devices in real time, through links and modelled NATs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::nat::{Fate, Side, Translator};
use crate::os::poll::{self, Interest, Waker};
use crate::os::tun::Tun;
use crate::os::{self, clock};
use crate::sim::Link;
use crate::time::Instant;
use crate::wire::{Packet, decode, encode};

/// A row of NATs between an inside and an outside device. Without any, packets pass as they are.
pub struct Row {
    inside: Tun,
    outside: Tun,
    nats: Vec<(Translator, BTreeSet<IpAddr>)>,
    /// The way out and the way in.
    links: [Link; 2],
    /// Packets under way: out of the row to this side, or into it from this side.
    under_way: BTreeMap<(Instant, u64), (Side, Packet)>,
    carried: u64,
}

impl Row {
    /// A row of these NATs, the innermost first, each with its external addresses.
    pub fn new(
        [inside, outside]: [Tun; 2],
        nats: Vec<(Translator, BTreeSet<IpAddr>)>,
        links: [Link; 2],
    ) -> Self {
        Self { inside, outside, nats, links, under_way: BTreeMap::new(), carried: 0 }
    }

    /// Takes what has come from either side.
    fn read(&mut self, now: Instant, buffer: &mut [u8]) -> os::Result<()> {
        while let Some(length) = self.inside.read(buffer)? {
            if let Ok(packet) = decode(&buffer[..length]) {
                self.translate(now, 0, Side::Inside, packet)?;
            }
        }
        while let Some(length) = self.outside.read(buffer)? {
            if let Ok(packet) = decode(&buffer[..length]) {
                self.send_off(now, Side::Inside, packet);
            }
        }
        Ok(())
    }

    /// Passes a packet through the NAT at this place in the row, and on.
    fn translate(
        &mut self,
        now: Instant,
        place: usize,
        from: Side,
        packet: Packet,
    ) -> os::Result<()> {
        let (mut place, mut from, mut packet) = (place, from, packet);
        while let Some((translator, addresses)) = self.nats.get_mut(place) {
            if from == Side::Outside && !addresses.contains(&packet.destination) {
                return Ok(());
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
                Fate::Drop => return Ok(()),
            };
            from = to.opposite();
            match (to, place) {
                (Side::Inside, 0) => return self.inside.write(&encode(&packet)),
                (Side::Inside, _) => place -= 1,
                (Side::Outside, _) => place += 1,
            }
        }
        match from {
            // Past the last NAT.
            Side::Inside => self.send_off(now, Side::Outside, packet),
            Side::Outside => return self.inside.write(&encode(&packet)),
        }
        Ok(())
    }

    /// Sends a packet over the link outside the last NAT.
    fn send_off(&mut self, now: Instant, to: Side, packet: Packet) {
        let link = &mut self.links[usize::from(to == Side::Inside)];
        for at in link.pass(now, &packet).into_iter().flatten() {
            self.carried += 1;
            self.under_way.insert((at, self.carried), (to, packet.clone()));
        }
    }

    /// Delivers what has arrived, and lets NATs act on their own.
    fn deliver(&mut self, now: Instant) -> os::Result<()> {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                (Side::Outside, packet) => self.outside.write(&encode(&packet))?,
                (Side::Inside, packet) => match self.nats.len().checked_sub(1) {
                    Some(last) => self.translate(now, last, Side::Outside, packet)?,
                    None => self.inside.write(&encode(&packet))?,
                },
            }
        }
        for place in 0..self.nats.len() {
            while let Some(packet) = self.nats[place].0.due(now) {
                self.translate(now, place + 1, Side::Inside, packet)?;
            }
        }
        Ok(())
    }

    fn wakes(&self) -> Option<Instant> {
        let arrival = self.under_way.keys().next().map(|(at, _)| *at);
        let due = self.nats.iter().filter_map(|(translator, _)| translator.wakes());
        arrival.into_iter().chain(due).min()
    }
}

/// Moves packets along all rows until it is woken.
///
/// # Errors
/// When a device fails.
pub fn forward(mut rows: Vec<Row>, stop: &Waker) -> os::Result<()> {
    let begun = clock::monotonic();
    let now = || Instant::START + clock::monotonic().saturating_sub(begun);
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        for row in &mut rows {
            row.deliver(now())?;
            row.read(now(), &mut buffer)?;
        }
        let wakes = rows.iter().filter_map(Row::wakes).min();
        let devices = rows.iter().flat_map(|row| [&row.inside, &row.outside]);
        let interests: Vec<_> = devices.map(Interest::read).chain([Interest::read(stop)]).collect();
        poll::wait(&interests, wakes.map(|at| begun + at.since_start()))?;
        if stop.clear() {
            return Ok(());
        }
    }
}

const LARGEST_PACKET: usize = 65_536;
