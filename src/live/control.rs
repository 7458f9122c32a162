//! Control connections: lines of JSON over the host's own TCP.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use crate::engine::{Event, Name, Unreached};
use crate::os;
use crate::os::poll::{Interest, Want};
use crate::os::tcp::{self, Bind, Listener, Options, Progress, Stream};
use crate::wire::Endpoint;
use crate::wire::control::{LONGEST_LINE, Message, from_line, to_line};

/// All control connections of a host.
#[derive(Default)]
pub struct Control {
    listeners: Vec<Listener>,
    links: Vec<Link>,
    named: u32,
}

struct Link {
    name: Name,
    stream: Stream,
    joined: bool,
    hearing: Hearing,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// Whether a peer is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Open,
    /// What it said last was nonsense: nothing that follows can be trusted.
    Closed,
}

/// Whether a link is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stands,
    Gone,
    /// It never came to be.
    Unjoined(Unreached),
}

impl Control {
    /// Connections to these reflectors, named in their order.
    ///
    /// # Errors
    /// When this host cannot even begin.
    pub fn dialling(reflectors: &[Endpoint], options: &Options) -> os::Result<Self> {
        let mut control = Self::default();
        for remote in reflectors {
            let stream = tcp::connect(Bind::Kernel, *remote, options)?;
            control.add(stream);
        }
        Ok(control)
    }

    /// Whatever connects to this port of these addresses.
    ///
    /// # Errors
    /// When one is taken.
    pub fn listening(addresses: &[IpAddr], port: u16) -> os::Result<Self> {
        let listen = |address: &IpAddr| {
            tcp::listen(Bind::Exact(Endpoint::new(*address, port)), MOST_WAITING)
        };
        let listeners = addresses.iter().map(listen).collect::<os::Result<_>>()?;
        Ok(Self { listeners, ..Self::default() })
    }

    fn add(&mut self, stream: Stream) {
        let name = Name(self.named);
        self.named += 1;
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        let (joined, hearing) = (false, Hearing::Open);
        self.links.push(Link { name, stream, joined, hearing, incoming, outgoing });
    }

    /// Says something to a peer. One who does not read loses the connection.
    pub fn tell(&mut self, name: Name, message: &Message) -> Option<Event> {
        let link = self.links.iter_mut().find(|link| link.name == name)?;
        link.outgoing.extend(to_line(message));
        let full = link.outgoing.len() > MOST_UNREAD;
        if full || link.flush() == Fate::Gone {
            return self.lose(name);
        }
        None
    }

    /// Ends the connection with a peer, once what was said has left.
    pub fn hang_up(&mut self, name: Name) {
        if let Some(place) = self.links.iter().position(|link| link.name == name) {
            let mut link = self.links.remove(place);
            link.flush();
            // A peer who has gone already needs no goodbye.
            let _ = link.stream.finish();
        }
    }

    fn lose(&mut self, name: Name) -> Option<Event> {
        self.links.retain(|link| link.name != name);
        Some(Event::Lost(name))
    }

    /// What to wait for.
    pub fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        let listeners = self.listeners.iter().map(Interest::read);
        listeners.chain(self.links.iter().filter_map(Link::interest))
    }

    /// What has happened on all connections.
    pub fn happened(&mut self) -> Vec<Event> {
        self.accept();
        let mut events = Vec::new();
        let mut ends = Vec::new();
        self.links.retain_mut(|link| {
            let fate = link.happened(&mut events);
            ends.extend(match fate {
                Fate::Stands => None,
                Fate::Gone => Some(Event::Lost(link.name)),
                Fate::Unjoined(why) => Some(Event::Unjoined(link.name, why)),
            });
            fate == Fate::Stands
        });
        events.extend(ends);
        events
    }

    /// More connections than a reflector would serve are not even accepted for long.
    fn accept(&mut self) {
        let options = Options::default();
        let mut accepted = Vec::new();
        for listener in &self.listeners {
            while let Ok(Some(stream)) = listener.accept(&options) {
                accepted.push(stream);
            }
        }
        for stream in accepted {
            if self.links.len() < MOST_LINKS {
                self.add(stream);
            } else {
                stream.reset();
            }
        }
    }
}

impl Link {
    fn interest(&self) -> Option<Interest<'_>> {
        let writing = !self.joined || !self.outgoing.is_empty();
        let want = match (self.hearing, writing) {
            (Hearing::Open, true) => Want::Both,
            (Hearing::Open, false) => Want::Read,
            (Hearing::Closed, true) => Want::Write,
            (Hearing::Closed, false) => return None,
        };
        Some(Interest { want, ..Interest::read(&self.stream) })
    }

    /// Whatever has happened, until it is no more.
    fn happened(&mut self, events: &mut Vec<Event>) -> Fate {
        let joined = self.join(events);
        if joined != Fate::Stands {
            return joined;
        }
        match self.flush() {
            Fate::Stands => self.read(events),
            ended => ended,
        }
    }

    fn join(&mut self, events: &mut Vec<Event>) -> Fate {
        if self.joined {
            return Fate::Stands;
        }
        match self.stream.progress() {
            Progress::Pending => Fate::Stands,
            Progress::Failed(error) => Fate::Unjoined(unreached(&error)),
            Progress::Established => {
                let Ok(local) = self.stream.local() else { return Fate::Gone };
                let (name, remote) = (self.name, self.stream.remote());
                self.joined = true;
                events.push(Event::Joined { name, local, remote });
                Fate::Stands
            }
        }
    }

    fn flush(&mut self) -> Fate {
        while self.joined && !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(Some(written)) => drop(self.outgoing.drain(..written)),
                Ok(None) => return Fate::Stands,
                Err(_) => return Fate::Gone,
            }
        }
        Fate::Stands
    }

    /// Reads what has come, but no more at a time than others can wait for.
    fn read(&mut self, events: &mut Vec<Event>) -> Fate {
        if !self.joined || self.hearing == Hearing::Closed {
            return Fate::Stands;
        }
        let mut buffer = [0; 8 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(Some(0)) | Err(_) => return Fate::Gone,
            Ok(Some(read)) => self.incoming.extend(&buffer[..read]),
            Ok(None) => {}
        }
        self.take_lines(events);
        Fate::Stands
    }

    fn take_lines(&mut self, events: &mut Vec<Event>) {
        while let Some(end) = self.incoming.iter().position(|octet| *octet == b'\n') {
            let line: Vec<_> = self.incoming.drain(..=end).collect();
            match from_line(&line) {
                Ok(message) => events.push(Event::Told(self.name, message)),
                Err(_) => return self.close_ears(events),
            }
        }
        if self.incoming.len() > LONGEST_LINE {
            self.close_ears(events);
        }
    }

    fn close_ears(&mut self, events: &mut Vec<Event>) {
        self.hearing = Hearing::Closed;
        self.incoming = Vec::new();
        events.push(Event::Garbled(self.name));
    }
}

/// What the host's TCP says of an attempt that failed.
fn unreached(error: &io::Error) -> Unreached {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Unreached::Refused,
        ErrorKind::TimedOut => Unreached::TimedOut,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Unreached::NoWay,
        _ => Unreached::Unsaid,
    }
}

/// How long a connection that a run depends on may be silent before it is dead.
pub fn patient() -> Options {
    Options { user_timeout: std::time::Duration::from_secs(10), ..Options::default() }
}

/// As in a listener's second argument: more than come at once.
const MOST_WAITING: u16 = 64;

/// A reflector's own limit is lower; this one bounds what a flood can hold open.
const MOST_LINKS: usize = 256;

/// What a peer may leave unread: every report of a long run.
const MOST_UNREAD: usize = 1024 * 1024;
