//! Gives a NAT its bindings back: a reset on every connection that was begun. Else a busy table
//! carries them for days, and a later run that draws one of these ports again meets what is left of
//! this one (RFC 7857 §2.2: a reset ends a session early).

use crate::engine::Step;
use crate::wire::{Endpoint, Packet, Segment, Seq};

/// The connections begun: their internal and remote endpoint and the number that comes next, once for
/// every segment that says so.
#[derive(Debug, Default)]
pub struct Begun(Vec<((Endpoint, Endpoint), Seq)>);

impl Begun {
    /// Takes note of a packet that goes out.
    pub fn sent(&mut self, packet: &Packet) {
        let syn = packet.segment().filter(|segment| segment.is_bare_syn() || segment.is_syn_ack());
        if let (Some(segment), Some(ends)) = (syn, packet.endpoints()) {
            self.0.push((ends, segment.seq + 1));
        }
    }

    /// Resets for all of them, once.
    pub fn resets(&mut self) -> impl Iterator<Item = Step> + use<> {
        let mut begun = std::mem::take(&mut self.0);
        // The latest number of each connection comes first.
        begun.reverse();
        begun.sort_by_key(|(ends, _)| *ends);
        begun.dedup_by_key(|(ends, _)| *ends);
        begun.into_iter().map(|((internal, remote), next)| {
            // RFC 9293 §3.10.7.1: where nothing is acknowledged, a reset carries its number alone.
            let reset = Segment::ack(Seq(0), next).reset_in_answer();
            Step::Send(Packet::tcp(internal, remote, reset))
        })
    }
}
