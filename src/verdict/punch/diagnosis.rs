//! Why a punch did not open, as far as one end or both can know, and what to do about it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::ends::{End, Ends, side_of};
use super::punched;
use crate::engine::{Fact, Miss, Punched, Record, Run, Trouble, Unreached};
use crate::tcp::{Outcome, Side};
use crate::verdict::Frame;
use crate::wire::{Endpoint, Packet};

/// Why it did not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// The cause.
    pub cause: Cause,
    /// The end that saw it.
    pub side: Side,
    /// What was seen.
    pub because: String,
    /// What to do.
    pub advice: String,
    /// The frames that show it.
    pub frames: Vec<Frame>,
}

/// What kept a connection from opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was interrupted, or this host failed.
    Interrupted,
    /// The peer is gone, by the word of the rendezvous server: it ended, or its host stopped.
    PeerGone,
    /// Both endpoints are the same: a connection with oneself is none.
    SelfConnect,
    /// Our SYN did not leave this host: its own firewall, most likely.
    NotSent,
    /// This host still has a connection between these endpoints.
    LocalTaken,
    /// The peer's SYN came from another port than was aimed at: its NAT remapped it.
    OtherPort,
    /// The SYNs crossed, and no answer to our SYN,ACK came.
    SynAckLost,
    /// Both ends are behind one NAT, which does not turn packets around as it should.
    SameNat,
    /// A reset answered our SYN.
    Reset,
    /// An ICMP error answered our SYN.
    IcmpError,
    /// Nothing came back at all.
    NothingArrived,
    /// The packets were not captured, so nobody knows.
    Unseen,
}

/// The first cause that was seen, in the order of what explains most.
pub fn diagnosis(ends: &Ends, run: &Run, outcome: Outcome) -> Option<Diagnosis> {
    if outcome == Outcome::Open && !ends.is_self_connect() {
        return None;
    }
    ends.all.iter().find_map(|(side, end)| {
        let peer = ends.all.get(&side.opposite());
        of_end(View { side: *side, end, peer, run })
    })
}

fn of_end(view: View<'_>) -> Option<Diagnosis> {
    let causes = [
        View::self_connect,
        View::interrupted,
        View::peer_gone,
        View::local_taken,
        View::unseen,
        View::not_sent,
        View::other_port,
        View::syn_ack_lost,
        View::same_nat,
        View::reset,
        View::icmp_error,
        View::nothing_arrived,
    ];
    causes.iter().find_map(|cause| cause(&view))
}

struct View<'a> {
    side: Side,
    end: &'a End,
    /// The other end, if it was run as well or has told what it saw.
    peer: Option<&'a End>,
    run: &'a Run,
}

impl<'a> View<'a> {
    fn told(
        &self,
        cause: Cause,
        frames: Vec<Frame>,
        because: String,
        advice: impl Into<String>,
    ) -> Option<Diagnosis> {
        Some(Diagnosis { cause, side: self.side, because, advice: advice.into(), frames })
    }

    fn records(&self, inbound: bool) -> impl DoubleEndedIterator<Item = (Frame, &'a Record)> {
        let side = self.side;
        let all = self.run.trace.iter().enumerate().map(|(index, record)| (index + 1, record));
        all.filter(move |(_, record)| side_of(record) == Some(side) && record.inbound == inbound)
    }

    /// Packets from the endpoint that was aimed at, or to it.
    fn aimed(&self, inbound: bool) -> impl DoubleEndedIterator<Item = (Frame, &'a Packet)> {
        let (local, remote) = (self.end.local, self.end.aimed_at);
        let ends = if inbound { (remote, local) } else { (local, remote) };
        let aimed = self.records(inbound).map(|(frame, record)| (frame, &record.packet));
        aimed.filter(move |(_, packet)| packet.endpoints() == Some(ends))
    }

    fn syns_left(&self) -> Vec<Frame> {
        let bare = |packet: &Packet| packet.segment().is_some_and(|sent| sent.is_bare_syn());
        self.aimed(false).filter(|(_, packet)| bare(packet)).map(|(frame, _)| frame).collect()
    }

    fn self_connect(&self) -> Option<Diagnosis> {
        let because = format!("{} is this end's own endpoint", self.end.aimed_at);
        let advice = "give the peer's external endpoint, which `tso-probe stun` tells the peer";
        (self.end.local == self.end.aimed_at)
            .then(|| self.told(Cause::SelfConnect, Vec::new(), because, advice))?
    }

    fn interrupted(&self) -> Option<Diagnosis> {
        let trouble = self.run.facts.iter().find_map(|(_, fact)| fact.trouble())?;
        let advice = match trouble {
            Trouble::Interrupted => "run it again and let it come to its end",
            _ => "see what is wrong with this host, then run it again",
        };
        self.told(Cause::Interrupted, Vec::new(), trouble.to_string(), advice)
    }

    fn peer_gone(&self) -> Option<Diagnosis> {
        let mut facts = self.run.facts.iter().filter_map(|(_, fact)| punched(fact));
        let how = facts.find_map(|(side, what)| match what {
            Punched::PeerGone { how } if side == self.side => Some(*how),
            _ => None,
        })?;
        let because = format!("{}; that was before anything opened", how.in_words());
        let advice = "see what has become of the peer, and run both ends again";
        self.told(Cause::PeerGone, Vec::new(), because, advice)
    }

    fn local_taken(&self) -> Option<Diagnosis> {
        let taken = Miss::Unreached(Unreached::LocalTaken);
        let all =
            !self.end.missed.is_empty() && self.end.missed.iter().all(|(_, why)| *why == taken);
        let End { local, aimed_at, .. } = self.end;
        let mut facts = self.run.facts.iter().filter_map(|(_, fact)| punched(fact));
        let state = facts.find_map(|(side, what)| match what {
            Punched::Taken { state } if side == self.side => Some(format!(", in {state}")),
            _ => None,
        });
        let because = format!(
            "this host has a connection between {local} and {aimed_at} already{}",
            state.unwrap_or_default()
        );
        let advice = format!(
            "take another local port, or wait a minute if it lingers in TIME-WAIT: \
             ss -tanp 'sport = :{}'",
            local.port()
        );
        all.then(|| self.told(Cause::LocalTaken, Vec::new(), because, advice))?
    }

    fn unseen(&self) -> Option<Diagnosis> {
        let last = self.end.missed.last().map_or("nothing answered", |(_, why)| in_words(*why));
        let because = format!("the packets were not captured; the sockets say: {last}");
        let look = "run it with sudo, so that it can see what arrives and what does not";
        let advice = self.long_odds().unwrap_or_else(|| look.to_owned());
        (!self.end.has_wire).then(|| self.told(Cause::Unseen, Vec::new(), because, advice))?
    }

    fn not_sent(&self) -> Option<Diagnosis> {
        let because = format!("no SYN towards {} left this host's interface", self.end.aimed_at);
        let advice = "see what this host's own firewall does with it (nft list ruleset), and, if the \
                      peer is on this very network, whether its address answers there (ip neigh)";
        let is_silent = self.syns_left().is_empty() && !self.end.tried.is_empty();
        is_silent.then(|| self.told(Cause::NotSent, Vec::new(), because, advice))?
    }

    fn other_port(&self) -> Option<Diagnosis> {
        let peer = self.end.aimed_at;
        let came: Vec<_> = self
            .records(true)
            .filter_map(|(frame, record)| {
                let (from, to) = record.packet.endpoints()?;
                let is_syn = record.packet.segment()?.is_bare_syn();
                let is_foreseen = from == peer || self.end.also.contains(&from);
                let is_other = from.ip() == peer.ip() && !is_foreseen;
                (is_syn && is_other && to == self.end.local).then_some((frame, from))
            })
            .collect();
        let (_, from) = came.last()?;
        let delta = i32::from(from.port()) - i32::from(peer.port());
        let because = format!(
            "the peer's SYN came from {from}, not from {peer}: its NAT has mapped it {delta:+} ports \
             away, so its mapping depends on whom it talks to"
        );
        let advice = format!("aim at {from}, or have the peer's next port predicted");
        self.told(Cause::OtherPort, came.iter().map(|(frame, _)| *frame).collect(), because, advice)
    }

    fn syn_ack_lost(&self) -> Option<Diagnosis> {
        let is = |packet: &Packet, wanted: fn(&crate::wire::Segment) -> bool| {
            packet.segment().is_some_and(wanted)
        };
        let came = self.aimed(true).find(|(_, packet)| is(packet, |s| s.is_bare_syn()))?.0;
        let sent = self.aimed(false).filter(|(_, packet)| is(packet, |s| s.is_syn_ack()));
        let sent: Vec<_> = sent.map(|(frame, _)| frame).collect();
        let answered = self.aimed(true).any(|(_, packet)| is(packet, |s| !s.is_bare_syn()));
        let because =
            "the peer's SYN crossed ours and was answered with a SYN,ACK; nothing came back \
                       that answers it, nor the peer's own SYN,ACK"
                .to_owned();
        let advice = "a NAT on the way drops SYN,ACKs that go out (RFC 5382 REQ-2a): `tso-probe \
                      classify` at either end tells which";
        let frames = [vec![came], sent.clone()].concat();
        (!sent.is_empty() && !answered)
            .then(|| self.told(Cause::SynAckLost, frames, because, advice))?
    }

    fn same_nat(&self) -> Option<Diagnosis> {
        let (local, aimed_at, peer) = (self.end.local, self.end.aimed_at, self.peer?);
        let is_shared = peer.aimed_at.ip() == aimed_at.ip() && local.ip() != aimed_at.ip();
        let came = self.records(true).filter(|(_, record)| {
            let is_syn = record.packet.segment().is_some_and(|came| came.is_bare_syn());
            is_syn && record.packet.endpoints() == Some((peer.local, local))
        });
        let came: Vec<_> = came.map(|(frame, _)| frame).collect();
        let how = match came.is_empty() {
            true => "does not turn their packets around".to_owned(),
            false => {
                format!("turns their packets around with their internal source, {}", peer.local)
            }
        };
        let because = format!(
            "both ends are behind one NAT, {}, which {how} (RFC 5382 REQ-8)",
            aimed_at.ip()
        );
        let advice = format!(
            "aim at the peer's internal endpoint, {}, if it is to be reached from \
                              this network; else a NAT with hairpinning is needed",
            peer.local
        );
        let frames = if came.is_empty() { self.syns_left() } else { came };
        is_shared.then(|| self.told(Cause::SameNat, frames, because, advice))?
    }

    fn reset(&self) -> Option<Diagnosis> {
        let is_reset = |packet: &Packet| packet.segment().is_some_and(|came| came.is_reset());
        let resets: Vec<_> = self.aimed(true).filter(|(_, packet)| is_reset(packet)).collect();
        let (_, last) = resets.last()?;
        let theirs =
            self.aimed(true).find(|(_, packet)| !is_reset(packet)).map(|(_, packet)| packet.ttl);
        let by = match theirs.map(|ttl| (hops(ttl), hops(last.ttl))) {
            Some((host, sender)) if sender < host => {
                format!("a box {sender} hops away, before the peer's host ({host} hops)")
            }
            Some((host, _)) => format!("the peer's own host or NAT, {host} hops away"),
            None => format!("something {} hops away (TTL {})", hops(last.ttl), last.ttl),
        };
        let because = format!("our SYN was answered with a reset, by {by}");
        let advice = "the SYNs did not cross in time: start both ends on one clock, closer together \
                      than the one-way delay; if it stays so, the peer is not there or its NAT has \
                      another mapping";
        let frames = resets.iter().map(|(frame, _)| *frame).collect();
        self.told(Cause::Reset, frames, because, advice)
    }

    fn icmp_error(&self) -> Option<Diagnosis> {
        let errors: Vec<_> = self
            .records(true)
            .filter_map(|(frame, record)| {
                let icmp = record.packet.icmp_error()?;
                let about_us = icmp.quote.destination == self.end.aimed_at;
                about_us.then_some((frame, record.packet.source, icmp.kind, icmp.code))
            })
            .collect();
        let &(_, by, kind, code) = errors.last()?;
        let because = format!(
            "{by} answered our SYN with an ICMP error ({kind}/{code}{})",
            meaning(by, kind, code)
        );
        let advice = "whoever sent it does not let the SYN through: see whether it is your NAT, the \
                      peer's, or a firewall between";
        self.told(Cause::IcmpError, errors.iter().map(|error| error.0).collect(), because, advice)
    }

    fn nothing_arrived(&self) -> Option<Diagnosis> {
        let because = format!(
            "{} SYNs left for {}, and nothing came back, not even a reset",
            self.syns_left().len(),
            self.end.aimed_at
        );
        let elsewhere = "the peer's NAT maps it elsewhere, or did not run at that time: have the peer \
                         check its external endpoint with `tso-probe stun` from that very port, and \
                         its mapping with `tso-probe classify`";
        let mut advice = self.long_odds().unwrap_or_else(|| elsewhere.to_owned());
        if let Some(stranger) = self.stranger() {
            advice += &format!("; a SYN did come from {stranger}, which may be the peer");
        }
        self.told(Cause::NothingArrived, self.syns_left(), because, advice)
    }

    /// What to do where a server has helped, and the ports were hardly to be foreseen all the same.
    fn long_odds(&self) -> Option<String> {
        let mut facts = self.run.facts.iter().filter_map(|(_, fact)| punched(fact));
        let chance = facts.find_map(|(side, what)| match what {
            Punched::Foresaw { chance, .. } if side == self.side => *chance,
            _ => None,
        });
        let chance = f64::from(chance.filter(|chance| *chance < LONG_ODDS)?) / 10.0;
        Some(format!(
            "the ports could hardly be foreseen (the chance was {chance:.1} %): if --connect-only is given \
             at either end, leave it away, or let programs through 'tso-probe proxy', which binds; behind \
             a NAT that gives ports at random only a relay will do"
        ))
    }

    fn stranger(&self) -> Option<Endpoint> {
        let facts = self.run.facts.iter().filter_map(|(_, fact): &(_, Fact)| punched(fact));
        let mut strangers = facts.filter_map(|(side, what)| match what {
            Punched::Stranger { remote } if side == self.side => Some(*remote),
            _ => None,
        });
        strangers.next()
    }
}

/// With a chance of less than so many thousandths it is no wonder that nothing came.
const LONG_ODDS: u16 = 100;

/// Hosts send with a TTL of 64, 128 or 255: so many routers have taken one off.
const fn hops(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64 - ttl,
        65..=128 => 128 - ttl,
        _ => 255 - ttl,
    }
}

const fn in_words(why: Miss) -> &'static str {
    match why {
        Miss::Unreached(Unreached::Refused) => "a reset answered the SYN",
        Miss::Unreached(Unreached::TimedOut) => "nothing answered",
        Miss::Unreached(Unreached::NoWay) => "there is no way there, or an ICMP error said so",
        Miss::Unreached(Unreached::LocalTaken) => "the same connection is there already",
        Miss::Unreached(Unreached::Unsaid) => "this host refused to send",
        Miss::Ended(_) => "the SYNs crossed, then a reset came",
    }
}

/// What an ICMP error means, in words (RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3.1).
pub const fn meaning(by: IpAddr, kind: u8, code: u8) -> &'static str {
    match (by.is_ipv4(), kind, code) {
        (true, 3, 0) | (false, 1, 0) => ", network unreachable",
        (true, 3, 1) | (false, 1, 3) => ", host unreachable",
        (true, 3, 3) | (false, 1, 4) => ", port unreachable",
        (true, 3, 9 | 10 | 13) | (false, 1, 1) => ", prohibited by an administrator",
        (true, 11, _) | (false, 3, _) => ", its TTL ran out",
        _ => "",
    }
}
