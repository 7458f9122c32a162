//! Control connections: lines of JSON over the host's own TCP.

use std::net::IpAddr;

use super::flows::Flows;
use crate::engine::{Bind, Event, Flow, How, Name, Reader};
use crate::os;
use crate::os::poll::Interest;
use crate::os::tcp::Options;
use crate::wire::Endpoint;
use crate::wire::control::{LONGEST_LINE, Message, from_line, to_line};

/// All control connections of a host.
#[derive(Default)]
pub struct Control {
    flows: Flows,
    links: Vec<Link>,
    named: u32,
}

struct Link {
    name: Name,
    flow: Flow,
    remote: Endpoint,
    incoming: Vec<u8>,
    /// Whether it is listened to: after nonsense nothing that follows can be trusted.
    hears: bool,
}

impl Control {
    /// Connections to these reflectors, named in their order.
    ///
    /// # Errors
    /// When this host cannot even begin.
    pub fn dialling(reflectors: &[Endpoint], options: &Options) -> os::Result<Self> {
        let mut control = Self::default();
        for (number, remote) in (0..).zip(reflectors) {
            let flow = Flow(number);
            control.flows.open(flow, Bind::Kernel, *remote, Reader::Party, options)?;
            control.add(flow, *remote);
        }
        Ok(control)
    }

    /// Whatever connects to this port of these addresses.
    ///
    /// # Errors
    /// When one is taken.
    pub fn listening(addresses: &[IpAddr], port: u16) -> os::Result<Self> {
        let all = addresses.iter().map(|address| Endpoint::new(*address, port));
        Ok(Self { flows: Flows::listening(all)?, ..Self::default() })
    }

    fn add(&mut self, flow: Flow, remote: Endpoint) -> Name {
        let name = Name(self.named);
        self.named += 1;
        self.links.push(Link { name, flow, remote, incoming: Vec::new(), hears: true });
        name
    }

    /// Says something to a peer. One who does not read loses the connection.
    pub fn tell(&mut self, name: Name, message: &Message) -> Option<Event> {
        let flow = self.links.iter().find(|link| link.name == name)?.flow;
        self.flows.write(flow, &to_line(message))?;
        self.links.retain(|link| link.name != name);
        Some(Event::Lost(name))
    }

    /// Ends the connection with a peer, once what was said has left.
    pub fn hang_up(&mut self, name: Name) {
        if let Some(place) = self.links.iter().position(|link| link.name == name) {
            self.flows.close(self.links.remove(place).flow, How::Fin);
        }
    }

    /// What to wait for.
    pub fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        self.flows.interests()
    }

    /// What has happened on all connections.
    pub fn happened(&mut self) -> Vec<Event> {
        let happened = self.flows.happened();
        happened.into_iter().flat_map(|event| self.take(event)).collect()
    }

    fn take(&mut self, event: Event) -> Vec<Event> {
        match event {
            Event::Opened { flow, local } => {
                let link = self.links.iter().find(|link| link.flow == flow);
                let joined = |link: &Link| {
                    let Link { name, remote, .. } = *link;
                    Event::Joined { name, local, remote }
                };
                link.map(joined).into_iter().collect()
            }
            Event::Accepted { flow, local, remote } => self.accepted(flow, local, remote),
            Event::Read(flow, octets) => self.read(flow, &octets),
            Event::Failed(flow, why) => {
                self.forget(flow).map(|name| Event::Unjoined(name, why)).into_iter().collect()
            }
            Event::Ended(flow, _) => {
                self.flows.close(flow, How::Fin);
                self.forget(flow).map(Event::Lost).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// More connections than a reflector would serve are shown out at once.
    fn accepted(&mut self, flow: Flow, local: Endpoint, remote: Endpoint) -> Vec<Event> {
        if self.links.len() >= MOST_LINKS {
            self.flows.close(flow, How::Reset);
            return Vec::new();
        }
        let name = self.add(flow, remote);
        vec![Event::Joined { name, local, remote }]
    }

    fn forget(&mut self, flow: Flow) -> Option<Name> {
        let place = self.links.iter().position(|link| link.flow == flow)?;
        Some(self.links.remove(place).name)
    }

    fn read(&mut self, flow: Flow, octets: &[u8]) -> Vec<Event> {
        let Some(link) = self.links.iter_mut().find(|link| link.flow == flow) else {
            return Vec::new();
        };
        link.incoming.extend(octets);
        let events = link.take_lines();
        if !link.hears {
            self.flows.close_ears(flow);
        }
        events
    }
}

impl Link {
    fn take_lines(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(end) = self.incoming.iter().position(|octet| *octet == b'\n') {
            let line: Vec<_> = self.incoming.drain(..=end).collect();
            match from_line(&line) {
                Ok(message) => events.push(Event::Told(self.name, message)),
                Err(_) => {
                    events.push(self.close_ears());
                    return events;
                }
            }
        }
        if self.incoming.len() > LONGEST_LINE {
            events.push(self.close_ears());
        }
        events
    }

    fn close_ears(&mut self) -> Event {
        self.hears = false;
        self.incoming = Vec::new();
        Event::Garbled(self.name)
    }
}

/// How long a connection that a run depends on may be silent before it is dead.
pub fn patient() -> Options {
    Options { user_timeout: std::time::Duration::from_secs(10), ..Options::default() }
}

/// A reflector's own limit is lower; this one bounds what a flood can hold open.
const MOST_LINKS: usize = 256;
