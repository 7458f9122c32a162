//! One connection by the host's own TCP.

use std::io::{self, ErrorKind};

use crate::engine::{Change, End, Event, Flow, Reader, Source, Unreached};
use crate::os::poll::{Interest, Want};
use crate::os::tcp::{Progress, Stream};
use crate::os::tls::Session;
use crate::tcp::State;
use crate::time::Instant;

/// A connection, or the attempt at one.
pub struct Link {
    pub stream: Stream,
    /// Whether it was seen to stand.
    pub stands: bool,
    /// Whether more may come, and is of interest.
    pub hears: bool,
    /// What the host's TCP has not taken yet.
    pub outgoing: Vec<u8>,
    /// What it is sealed with, if it is.
    pub tls: Option<Session>,
    /// As it was when it was last looked at.
    pub state: State,
}

impl Link {
    /// One that has just begun.
    pub fn new(stream: Stream, reader: Reader) -> Self {
        let hears = matches!(reader, Reader::Party);
        let (outgoing, tls, state) = (Vec::new(), None, State::Closed);
        Self { stream, stands: false, hears, outgoing, tls, state }
    }

    /// Says something, as soon as the host's TCP takes it.
    pub fn say(&mut self, octets: &[u8]) {
        match &mut self.tls {
            Some(tls) => {
                tls.say(octets);
                self.outgoing.extend(tls.outgoing());
            }
            None => self.outgoing.extend(octets),
        }
    }

    /// What has become of its state since it was last looked at.
    pub fn sample(&mut self, Flow(socket): Flow, at: Instant) -> Option<Change> {
        let to = self.stream.state().ok()?;
        let local = self.stream.local().ok()?;
        let from = std::mem::replace(&mut self.state, to);
        let remote = self.stream.remote();
        let change = Change { at, source: Source::Sampled, socket, local, remote, from, to };
        (from != to).then_some(change)
    }

    /// Whether there is something that the host's TCP has not taken yet.
    pub fn is_behind(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whoever does not take what it is told is not asked for more.
    fn is_heard(&self) -> bool {
        self.hears && self.outgoing.len() < ENOUGH
    }

    /// What to wait for.
    pub fn interest(&self) -> Option<Interest<'_>> {
        let writing = !self.stands || self.is_behind();
        let want = match (self.is_heard(), writing) {
            (true, true) => Want::Both,
            (true, false) => Want::Read,
            (false, true) => Want::Write,
            (false, false) => return None,
        };
        Some(Interest { want, ..Interest::read(&self.stream) })
    }

    /// Whatever has happened; the last of it, if this is the end.
    pub fn happened(&mut self, flow: Flow, events: &mut Vec<Event>) -> Option<Event> {
        if !self.stands {
            match self.stream.progress() {
                Progress::Pending => return None,
                Progress::Failed(error) => return Some(failed(flow, &error)),
                Progress::Established => {}
            }
            let Ok(local) = self.stream.local() else {
                return Some(Event::Failed(flow, Unreached::Unsaid));
            };
            self.stands = true;
            self.outgoing.extend(self.tls.iter_mut().flat_map(Session::outgoing));
            events.push(Event::Opened { flow, local });
        }
        let end = self.flush().or_else(|| self.read(flow, events)).or_else(|| self.vanished());
        end.map(|end| Event::Ended(flow, end))
    }

    /// Whether a connection that nobody reads yet is gone all the same.
    fn vanished(&self) -> Option<End> {
        let is_gone = !self.hears && self.stream.state().is_ok_and(|state| state == State::Closed);
        is_gone.then_some(End::Reset)
    }

    /// Hands over what is to be sent, as far as the host's TCP takes it.
    pub fn flush(&mut self) -> Option<End> {
        while self.stands && self.is_behind() {
            match self.stream.write(&self.outgoing) {
                Ok(Some(written)) => drop(self.outgoing.drain(..written)),
                Ok(None) => return None,
                Err(error) => return Some(end(&error)),
            }
        }
        None
    }

    /// Reads what has come, but no more at a time than others can wait for.
    fn read(&mut self, flow: Flow, events: &mut Vec<Event>) -> Option<End> {
        if !self.is_heard() {
            return None;
        }
        let mut buffer = [0; 8 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(Some(0)) => {
                self.hears = false;
                Some(End::Finished)
            }
            Ok(Some(read)) => self.heard(flow, &buffer[..read], events),
            Ok(None) => None,
            Err(error) => Some(end(&error)),
        }
    }
}

impl Link {
    /// What came, out of its seal.
    fn heard(&mut self, flow: Flow, octets: &[u8], events: &mut Vec<Event>) -> Option<End> {
        let Some(tls) = &mut self.tls else {
            events.push(Event::Read(flow, octets.to_vec()));
            return None;
        };
        let said = tls.read(octets);
        self.outgoing.extend(tls.outgoing());
        match said {
            Ok(said) if said.is_empty() => None,
            Ok(said) => {
                events.push(Event::Read(flow, said));
                None
            }
            Err(why) => {
                let what = format!("TLS with {} failed: {why}", self.stream.remote());
                events.push(Event::HostFailed(what));
                Some(End::Abandoned)
            }
        }
    }
}

/// An attempt that failed. A reset is said of what had stood already, if only for a moment: in SYN-SENT
/// it would have been a refusal.
fn failed(flow: Flow, error: &io::Error) -> Event {
    match error.kind() {
        ErrorKind::ConnectionReset => Event::Ended(flow, End::Reset),
        _ => Event::Failed(flow, unreached(error)),
    }
}

/// What the host's TCP says of an attempt that failed.
fn unreached(error: &io::Error) -> Unreached {
    match error.kind() {
        ErrorKind::ConnectionRefused => Unreached::Refused,
        ErrorKind::TimedOut => Unreached::TimedOut,
        ErrorKind::AddrNotAvailable => Unreached::LocalTaken,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Unreached::NoWay,
        _ => Unreached::Unsaid,
    }
}

/// What it says of a connection that ended.
fn end(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
        ErrorKind::TimedOut => End::TimedOut,
        _ => End::Abandoned,
    }
}

/// What a peer may leave unread and still be read.
const ENOUGH: usize = 32 * 1024;
