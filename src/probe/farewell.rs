//! Gives a NAT its bindings back: a reset on every connection that was begun. Else a busy table
//! carries them for days, and a later run that draws one of these ports again meets what is left of
//! this one (RFC 7857 §2.2: a reset ends a session early).

use std::collections::BTreeMap;

use crate::engine::Step;
use crate::wire::{Endpoint, Packet, Segment, Seq};

/// The connections begun: by their internal and remote endpoint, the number that comes next.
#[derive(Debug, Default)]
pub struct Begun(BTreeMap<(Endpoint, Endpoint), Seq>);

impl Begun {
    /// Takes note of a packet that goes out.
    pub fn sent(&mut self, packet: &Packet) {
        let syn = packet.segment().filter(|segment| segment.is_bare_syn() || segment.is_syn_ack());
        if let (Some(segment), Some(ends)) = (syn, packet.endpoints()) {
            self.0.insert(ends, segment.seq + 1);
        }
    }

    /// Resets for all of them, once.
    pub fn resets(&mut self) -> impl Iterator<Item = Step> + use<> {
        let begun = std::mem::take(&mut self.0).into_iter();
        begun.map(|((internal, remote), next)| {
            // RFC 9293 §3.10.7.1: where nothing is acknowledged, a reset carries its number alone.
            let reset = Segment::ack(Seq(0), next).reset_in_answer();
            Step::Send(Packet::tcp(internal, remote, reset))
        })
    }
}
