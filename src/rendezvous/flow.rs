//! One connection that a probe concerns, as the reflector sees it.

use crate::engine::Name;
use crate::wire::control::{Answer, ProbeId};
use crate::wire::{Endpoint, Packet, Segment, Seq};

/// One connection that a probe concerns.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub client: Name,
    pub probe: ProbeId,
    pub answer: Answer,
    /// Our initial sequence number.
    pub isn: Seq,
}

impl Flow {
    /// The answer to a segment, if it is to be answered. It repeats the segment's identification and
    /// timestamp, so that the prober knows which of several it answers.
    pub fn answer_to(&self, packet: &Packet) -> Option<Packet> {
        let segment = packet.segment()?;
        let wanted = match self.answer {
            Answer::Nothing => false,
            Answer::SynAck => segment.is_bare_syn(),
            Answer::Cross => segment.is_syn_ack(),
        };
        let echo = segment.options.timestamps().map_or(0, |(value, _)| value);
        let (remote, own) = packet.endpoints().filter(|_| wanted)?;
        let answer = Segment::syn_ack(self.isn, segment.seq + 1, self.isn.0, echo);
        Some(Packet { id: packet.id, ..Packet::marked(own, remote, answer) })
    }
}

/// The remote and own endpoint that an arriving packet concerns.
pub fn conversation(packet: &Packet) -> Option<(Endpoint, Endpoint)> {
    match packet.icmp_error() {
        Some(icmp) => Some((icmp.quote.destination, icmp.quote.source)),
        None => packet.endpoints(),
    }
}
