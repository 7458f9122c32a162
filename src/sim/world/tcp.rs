//! Where the hosts' own TCP meets their parties and the network.

use super::World;
use crate::engine::{Event, Step, Unreached};
use crate::nat::{Fate, Side};
use crate::sim::host::NEVER;
use crate::sim::tcp::Outcome;
use crate::time::Instant;
use crate::wire::{Endpoint, Packet, Segment, Seq};

impl World<'_> {
    /// What a party wants of its host's TCP. A host without one finds no way to anybody.
    pub(super) fn use_tcp(&mut self, host: usize, step: Step) {
        let now = self.now;
        match (&mut self.hosts[host].tcp, step) {
            (Some(tcp), step) => {
                let outcome = tcp.perform(now, step);
                self.settle_tcp(host, outcome);
            }
            (None, Step::Open { flow, .. }) => {
                self.hosts[host].pending.push_back(Event::Failed(flow, Unreached::NoWay));
            }
            (None, _) => {}
        }
    }

    /// A party is done; what stands of its connections lives on.
    pub(super) fn end(&mut self, host: usize) {
        self.hosts[host].done = true;
        if let Some(tcp) = &mut self.hosts[host].tcp {
            tcp.abandon();
            self.hosts[host].wakes = NEVER;
        }
    }

    pub(super) fn act_tcp(&mut self, host: usize) {
        let now = self.now;
        if let Some(outcome) = self.hosts[host].tcp.as_mut().map(|tcp| tcp.act(now)) {
            self.settle_tcp(host, outcome);
        }
    }

    pub(super) fn receive_tcp(&mut self, host: usize, packet: Packet) {
        let now = self.now;
        if !self.hosts[host].addresses.contains(&packet.destination) {
            return;
        }
        if let Some(outcome) = self.hosts[host].tcp.as_mut().map(|tcp| tcp.take(now, packet)) {
            self.settle_tcp(host, outcome);
        }
    }

    fn settle_tcp(&mut self, host: usize, outcome: Outcome) {
        self.hosts[host].pending.extend(outcome.events);
        outcome.packets.into_iter().for_each(|packet| self.depart(host, packet));
        self.set_alarm(host);
    }

    /// The external endpoint of `local`, at one end of the row, as a server sees it that this end is
    /// connected with from now on, beside whatever happens in the run; none where a NAT lets no
    /// connection out.
    pub fn external_of(
        &mut self,
        end: Side,
        local: Endpoint,
        server: Endpoint,
    ) -> Option<Endpoint> {
        let syn = Packet::tcp(local, server, Segment::syn(Seq(1), 1));
        let (external, _) = self.pass(end, Side::Inside, syn)?.endpoints()?;
        let syn_ack = Segment::syn_ack(Seq(1), Seq(2), 1, 1);
        self.pass(end, Side::Outside, Packet::tcp(server, external, syn_ack))?;
        self.pass(end, Side::Inside, Packet::tcp(local, server, Segment::ack(Seq(2), Seq(2))))?;
        Some(external)
    }

    /// What comes out of a packet that passes all NATs of this end, from their inside or outside.
    fn pass(&mut self, end: Side, from: Side, packet: Packet) -> Option<Packet> {
        let mut own: Vec<_> =
            self.nats.iter_mut().filter(|nat| nat.side(Side::Inside) == end).collect();
        // The row begins at the one inside: its NATs come innermost first, those of the other last.
        if from != end {
            own.reverse();
        }
        own.into_iter().try_fold(packet, |packet, nat| {
            match nat.translator.take(Instant::START, from, packet) {
                Fate::Forward(_, packet) => Some(packet),
                Fate::Answer(_) | Fate::Drop => None,
            }
        })
    }
}
