//! Whose SYN is this? A NAT may rewrite any one of the marks that a SYN is known by.

use crate::wire::control::Expectation;
use crate::wire::{Endpoint, Packet, Seq, identification};

/// What a SYN can be known by, beside the address that it comes from: five marks in all.
///
/// Address and port alone are two that can be guessed, but then the address is that of the control
/// connection; any other two contain a number that only the prober knows.
#[derive(Clone, Copy)]
pub struct Marks {
    port: u16,
    isn: Seq,
    timestamp: Option<u32>,
    id: u16,
}

impl Marks {
    /// Those of a packet, if it is a bare SYN.
    pub fn of(remote: Endpoint, packet: &Packet) -> Option<Self> {
        let segment = packet.segment().filter(|segment| segment.is_bare_syn())?;
        let timestamp = segment.options.timestamps().map(|(value, _)| value);
        Some(Self { port: remote.port(), isn: segment.seq, timestamp, id: packet.id })
    }

    /// How many of them are those of a SYN that is expected.
    pub fn that_fit(self, expected: &Expectation) -> u8 {
        u8::from(expected.port == self.port)
            + u8::from(expected.isn == self.isn)
            + u8::from(Some(expected.timestamp) == self.timestamp)
            + u8::from(identification(expected.timestamp) == self.id)
    }
}
