//! Hosts and the NATs that they are behind: trees, each with its root on the links.
//!
//! ```text
//!  links ── NAT ─┬─ host           Behind a NAT there is one more link, which takes no time: from
//!                └─ NAT ─┬─ host   what is behind it, a packet goes to another address there, or to
//!                        └─ host   the NAT.
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::nat::{Fate, Side, Translator};
use crate::os::tun::Tun;
use crate::os::{self, Kind};
use crate::time::Instant;
use crate::wire::{Packet, decode, encode};

/// A host or a NAT.
pub struct Site {
    /// What it is reached by from the side of the links.
    addresses: BTreeSet<IpAddr>,
    node: Node,
}

enum Node {
    /// A host's interface.
    Host(Tun),
    /// A modelled NAT.
    Modelled { translator: Box<Translator>, behind: Vec<Site> },
    /// A router that the kernel is: its interfaces, and what its inner one leads to.
    Kernel { inner: Tun, outer: Tun, behind: Vec<Site> },
}

/// Packets that have left a site towards the links, each with its moment.
pub type Left = Vec<(Instant, Packet)>;

impl Site {
    /// A host that has these addresses.
    pub fn host(device: Tun, addresses: &[IpAddr]) -> Self {
        Self { addresses: addresses.iter().copied().collect(), node: Node::Host(device) }
    }

    /// A modelled NAT with these external addresses.
    pub fn modelled(translator: Translator, addresses: &[IpAddr], behind: Vec<Self>) -> Self {
        let translator = Box::new(translator);
        let node = Node::Modelled { translator, behind };
        Self { addresses: addresses.iter().copied().collect(), node }
    }

    /// A router with these external addresses.
    pub fn kernel([inner, outer]: [Tun; 2], addresses: &[IpAddr], behind: Vec<Self>) -> Self {
        let node = Node::Kernel { inner, outer, behind };
        Self { addresses: addresses.iter().copied().collect(), node }
    }

    /// What it is reached by from the side of the links.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    /// Whether it is reached by this address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Takes a packet from the side of the links. What goes back there is given back.
    ///
    /// # Errors
    /// When a device fails.
    pub fn arrive(&mut self, now: Instant, packet: Packet) -> os::Result<Option<Packet>> {
        let is_its = self.has(packet.destination);
        match &mut self.node {
            Node::Host(device) | Node::Kernel { outer: device, .. } => {
                write(device, &packet).map(|()| None)
            }
            Node::Modelled { translator, .. } if is_its => {
                let fate = translator.take(now, Side::Outside, packet);
                self.onward(now, Side::Outside, fate)
            }
            Node::Modelled { .. } => Ok(None),
        }
    }

    /// Takes what all devices have to send: of each only so much that the others are not kept waiting.
    ///
    /// # Errors
    /// When a device fails.
    pub fn read(
        &mut self,
        clock: &dyn Fn() -> Instant,
        buffer: &mut [u8],
        left: &mut Left,
    ) -> os::Result<()> {
        for place in 0..self.behind().len() {
            let mut came = Left::new();
            self.behind()[place].read(clock, buffer, &mut came)?;
            for (now, packet) in came {
                left.extend(self.depart(now, packet)?.map(|packet| (now, packet)));
            }
        }
        match &mut self.node {
            Node::Host(device) => read(device, clock, buffer, left),
            Node::Modelled { .. } => Ok(()),
            Node::Kernel { inner, outer, .. } => {
                let mut inward = Left::new();
                read(inner, clock, buffer, &mut inward)?;
                read(outer, clock, buffer, left)?;
                inward.into_iter().try_for_each(|(now, packet)| self.inward(now, packet).map(drop))
            }
        }
    }

    /// Lets NATs act on their own.
    ///
    /// # Errors
    /// When a device fails.
    pub fn act(&mut self, now: Instant, left: &mut Left) -> os::Result<()> {
        for place in 0..self.behind().len() {
            let mut came = Left::new();
            self.behind()[place].act(now, &mut came)?;
            for (_, packet) in came {
                left.extend(self.depart(now, packet)?.map(|packet| (now, packet)));
            }
        }
        if let Node::Modelled { translator, .. } = &mut self.node {
            left.extend(std::iter::from_fn(|| translator.due(now)).map(|packet| (now, packet)));
        }
        Ok(())
    }

    /// When one of its NATs will act of itself.
    pub fn wakes(&self) -> Option<Instant> {
        let own = match &self.node {
            Node::Modelled { translator, .. } => translator.wakes(),
            Node::Host(_) | Node::Kernel { .. } => None,
        };
        self.within().iter().filter_map(Self::wakes).chain(own).min()
    }

    /// All devices, to wait for.
    pub fn devices(&self) -> Vec<&Tun> {
        let own = match &self.node {
            Node::Host(device) => vec![device],
            Node::Modelled { .. } => Vec::new(),
            Node::Kernel { inner, outer, .. } => vec![inner, outer],
        };
        self.within().iter().flat_map(Self::devices).chain(own).collect()
    }

    /// Takes a packet from what is behind. What leaves towards the links is given back.
    fn depart(&mut self, now: Instant, packet: Packet) -> os::Result<Option<Packet>> {
        if self.within().iter().any(|site| site.has(packet.destination)) {
            return self.inward(now, packet);
        }
        match &mut self.node {
            Node::Host(_) => Ok(Some(packet)),
            Node::Modelled { translator, .. } => {
                let fate = translator.take(now, Side::Inside, packet);
                self.onward(now, Side::Inside, fate)
            }
            Node::Kernel { inner, .. } => write(inner, &packet).map(|()| None),
        }
    }

    /// Does with a packet from one side what the translator says.
    fn onward(&mut self, now: Instant, from: Side, fate: Fate) -> os::Result<Option<Packet>> {
        let (to, packet) = match fate {
            Fate::Forward(to, packet) => (to, packet),
            Fate::Answer(packet) => (from, packet),
            Fate::Drop => return Ok(None),
        };
        match to {
            Side::Outside => Ok(Some(packet)),
            Side::Inside => self.inward(now, packet),
        }
    }

    /// Hands a packet to what is behind; what that answers departs in turn.
    fn inward(&mut self, now: Instant, packet: Packet) -> os::Result<Option<Packet>> {
        let mut behind = self.behind().iter_mut();
        let Some(site) = behind.find(|site| site.has(packet.destination)) else { return Ok(None) };
        let answer = site.arrive(now, packet)?;
        answer.map_or(Ok(None), |answer| self.depart(now, answer))
    }

    fn behind(&mut self) -> &mut [Self] {
        match &mut self.node {
            Node::Host(_) => &mut [],
            Node::Modelled { behind, .. } | Node::Kernel { behind, .. } => behind,
        }
    }

    fn within(&self) -> &[Self] {
        match &self.node {
            Node::Host(_) => &[],
            Node::Modelled { behind, .. } | Node::Kernel { behind, .. } => behind,
        }
    }
}

fn read(
    device: &Tun,
    clock: &dyn Fn() -> Instant,
    buffer: &mut [u8],
    left: &mut Left,
) -> os::Result<()> {
    for _ in 0..MOST_AT_ONCE {
        let Some(length) = device.read(buffer)? else { break };
        let Ok(packet) = decode(&buffer[..length]) else { continue };
        // Asked after the packet was sent, so that no link is faster than its delay.
        left.push((clock(), packet));
    }
    Ok(())
}

/// An interface that is down loses what comes. One that is gone fails when it is read.
fn write(device: &Tun, packet: &Packet) -> os::Result<()> {
    match device.write(&encode(packet)) {
        Err(error) if error.kind == Kind::Gone => Ok(()),
        written => written,
    }
}

/// Packets of one device before the next one's turn: some hundred microseconds.
const MOST_AT_ONCE: usize = 64;
