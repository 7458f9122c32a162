//! The kernel's word on the sockets of one party.
//!
//! The tracepoint tells of every socket of the machine and names no namespace: another namespace may
//! have a connection between the same endpoints. A socket that connects is ours if our thread made it
//! leave CLOSED, since `connect(2)` does that. One that was accepted is made by whatever the CPU was
//! doing, so all that look like it are told of, under numbers of their own.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use crate::engine::{Change, Source};
use crate::os;
use crate::os::states::{self, SocketStates};
use crate::tcp::State;
use crate::time::Instant;
use crate::wire::Endpoint;

/// A witness of the states of our sockets.
pub struct Kernel {
    states: SocketStates,
    /// The kernel's names of sockets, and the numbers that they have got.
    known: BTreeMap<u64, u32>,
    numbers: u32,
    /// So many changes were lost when it was last asked.
    lost: u64,
}

impl Kernel {
    /// Watches the sockets of the calling thread from now on.
    ///
    /// # Errors
    /// Without the privilege to.
    pub fn watch() -> os::Result<Self> {
        Ok(Self { states: SocketStates::watch()?, known: BTreeMap::new(), numbers: 0, lost: 0 })
    }

    /// What has changed at local endpoints that are ours.
    pub fn changes(
        &mut self,
        is_ours: impl Fn(&Endpoint) -> bool,
        moment: impl Fn(std::time::Duration) -> Instant,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(change) = self.states.next_change() {
            if let Some(socket) = self.number(&change).filter(|_| is_ours(&change.local)) {
                let states::Change { at, local, remote, from, to, .. } = change;
                let (at, source) = (moment(at), Source::Kernel);
                changes.push(Change { at, source, socket, local, remote, from, to });
            }
        }
        changes
    }

    /// How many changes are known to have been lost since it was last asked, if any.
    pub fn newly_lost(&mut self) -> Option<u64> {
        let lost = self.states.lost() - std::mem::replace(&mut self.lost, self.states.lost());
        (lost > 0).then_some(lost)
    }

    fn number(&mut self, change: &states::Change) -> Option<u32> {
        let begins = match (change.from, change.to) {
            (State::Closed, State::SynSent) => change.made_here,
            (State::Listen, State::SynReceived) => true,
            _ => false,
        };
        if begins {
            self.numbers += 1;
            self.known.insert(change.socket, self.numbers);
        } else if change.from == State::Closed {
            self.known.remove(&change.socket);
        }
        let known = self.known.get(&change.socket).copied();
        if change.to == State::Closed {
            // The kernel may give its name to another.
            self.known.remove(&change.socket);
        }
        known
    }
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.states.as_fd()
    }
}
