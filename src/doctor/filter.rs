//! What a packet filter does with a packet of which only some is known: that it passes, that it is
//! blocked, or that it may be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::os::firewall::{Chain, Comparison, HookPoint, Key, Ruleset, Step, Verdict};

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No rule blocks it.
    Passes,
    /// Something blocks it.
    Blocked {
        /// The chain, and what in it.
        by: Culprit,
        /// Whether rules that may match let it through before.
        may_pass: bool,
    },
    /// A rule blocks it that may match.
    MayBeBlocked {
        /// The chain, and what in it.
        by: Culprit,
    },
}

/// What blocks a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// `family table chain`, as `nft list chain` wants it.
    pub chain: String,
    /// The rule's place in its chain, from 1; none if it is the chain's policy.
    pub rule: Option<usize>,
    /// Whether its sender is told.
    pub rejects: bool,
}

/// A TCP segment that does not exist, on its way into or out of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imagined {
    /// Where it goes.
    pub way: Way,
    /// The remote address, if it is known.
    pub remote: Option<IpAddr>,
    /// This host's address.
    pub local: IpAddr,
    /// The remote port, if it is known.
    pub remote_port: Option<u16>,
    /// This host's port.
    pub local_port: u16,
    /// The interface that it passes.
    pub interface: String,
    /// Its flags.
    pub flags: u8,
    /// What connection tracking says of it, in the bits of [`Key::CtState`].
    pub state: u32,
}

/// Into this host or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In.
    In,
    /// Out.
    Out,
}

/// States of connection tracking (linux/netfilter/nf_conntrack_common.h).
pub const INVALID: u32 = 1;
pub const ESTABLISHED: u32 = 2;
pub const NEW: u32 = 8;
pub const UNTRACKED: u32 = 64;

/// What this packet filter does with that segment.
pub fn fate(ruleset: &Ruleset, packet: &Imagined) -> Fate {
    let points: &[HookPoint] = match packet.way {
        Way::In => &[HookPoint::Prerouting, HookPoint::Input],
        Way::Out => &[HookPoint::Output, HookPoint::Postrouting],
    };
    let family = if packet.local.is_ipv4() { "ip" } else { "ip6" };
    let mut found = Fate::Passes;
    for point in points {
        let mut chains: Vec<_> = ruleset.chains.iter().collect();
        chains.retain(|chain| chain.family == "inet" || chain.family == family);
        chains.retain(|chain| chain.hook.is_some_and(|hook| hook.point == *point));
        chains.sort_by_key(|chain| chain.hook.map(|hook| hook.priority));
        for chain in chains {
            match (Walk::new(ruleset, packet).base(chain), &found) {
                (blocked @ Fate::Blocked { may_pass: false, .. }, _) => return blocked,
                (Fate::Passes, _) | (Fate::MayBeBlocked { .. }, Fate::Blocked { .. }) => {}
                (worse, _) => found = worse,
            }
        }
    }
    found
}

/// A way through one chain and those that it jumps to.
struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Imagined,
    state: u32,
    /// The first rule that may have blocked it.
    may_block: Option<Culprit>,
    /// Whether a rule before may have let it through.
    may_pass: bool,
}

/// How a chain was left.
enum Left {
    Accepted,
    Blocked(Culprit),
    /// Without a decision.
    Open,
}

/// Whether a rule matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Maybe,
}

impl<'a> Walk<'a> {
    fn new(ruleset: &'a Ruleset, packet: &'a Imagined) -> Self {
        Self { ruleset, packet, state: packet.state, may_block: None, may_pass: false }
    }

    fn base(mut self, chain: &Chain) -> Fate {
        let drops = chain.hook.is_some_and(|hook| hook.drops);
        let policy = || Culprit { chain: name_of(chain), rule: None, rejects: false };
        let left = match self.chain(chain, 0) {
            Left::Open if drops => Left::Blocked(policy()),
            left => left,
        };
        match (left, self.may_block) {
            (Left::Blocked(by), _) => Fate::Blocked { by, may_pass: self.may_pass },
            (_, Some(by)) => Fate::MayBeBlocked { by },
            _ => Fate::Passes,
        }
    }

    fn chain(&mut self, chain: &Chain, depth: usize) -> Left {
        let mut may_return = false;
        let left = self.rules(chain, depth, &mut may_return);
        match left {
            // It may have left before, without a decision.
            Left::Accepted if may_return => self.may_pass = true,
            Left::Blocked(by) if may_return => {
                self.may_block.get_or_insert(by);
            }
            left => return left,
        }
        Left::Open
    }

    fn rules(&mut self, chain: &Chain, depth: usize, may_return: &mut bool) -> Left {
        for (index, rule) in chain.rules.iter().enumerate() {
            let (matched, verdict) = self.rule(rule);
            let culprit =
                |rejects| Culprit { chain: name_of(chain), rule: Some(index + 1), rejects };
            let (left, returns) = match verdict {
                _ if matched == Match::No => continue,
                Verdict::Continue => continue,
                Verdict::Accept => (Left::Accepted, false),
                Verdict::Drop => (Left::Blocked(culprit(false)), false),
                Verdict::Reject => (Left::Blocked(culprit(true)), false),
                Verdict::Return => (Left::Open, true),
                Verdict::Jump(name) => (self.into(chain, &name, depth, matched), false),
                Verdict::Goto(name) => (self.into(chain, &name, depth, matched), true),
                // Somebody else decides: a program behind a queue, a map that was not read.
                Verdict::Other => {
                    self.may_block.get_or_insert(culprit(false));
                    self.may_pass = true;
                    continue;
                }
            };
            match (matched, left) {
                (Match::Yes, Left::Open) if !returns => {}
                (Match::Yes, left) => return left,
                (_, Left::Accepted) => self.may_pass = true,
                (_, Left::Blocked(by)) => {
                    self.may_block.get_or_insert(by);
                }
                (_, Left::Open) => *may_return |= returns,
            }
        }
        Left::Open
    }

    /// Through the chain of that name in the same table. What it does to the packet in case the jump
    /// is not taken at all is left undone.
    fn into(&mut self, from: &Chain, name: &str, depth: usize, matched: Match) -> Left {
        let same = |c: &&Chain| c.family == from.family && c.table == from.table && c.name == name;
        let state = self.state;
        let left = match self.ruleset.chains.iter().find(same) {
            // The kernel allows 16 jumps (NFT_JUMP_STACK_SIZE).
            Some(chain) if depth < 16 => self.chain(chain, depth + 1),
            _ => Left::Open,
        };
        if matched != Match::Yes {
            self.state = state;
        }
        left
    }

    /// Whether it matches, and how it ends.
    fn rule(&mut self, rule: &[Step]) -> (Match, Verdict) {
        let mut registers = BTreeMap::new();
        let mut matched = Match::Yes;
        for step in rule {
            let next = match step {
                Step::End(verdict) => return (matched, verdict.clone()),
                Step::Map { register, entries } => {
                    match mapped(registers.get(register), entries.as_deref()) {
                        Ok(Verdict::Continue) => Match::Yes,
                        Ok(verdict) => return (matched, verdict),
                        // Any of its verdicts is possible, so a blocking one is.
                        Err(()) => return (Match::Maybe, Verdict::Other),
                    }
                }
                Step::Untrack if matched == Match::Yes => {
                    self.state = UNTRACKED;
                    Match::Yes
                }
                step => self.step(step, &mut registers),
            };
            match (matched, next) {
                (_, Match::No) => return (Match::No, Verdict::Continue),
                (_, Match::Maybe) => matched = Match::Maybe,
                _ => {}
            }
        }
        (matched, Verdict::Continue)
    }

    fn step(&self, step: &Step, registers: &mut BTreeMap<u32, Vec<u8>>) -> Match {
        match step {
            Step::Load { key, register } => {
                set(registers, *register, self.value(*key));
                Match::Yes
            }
            Step::Mask { from, to, mask, xor } => {
                let masked = registers.get(from).and_then(|value| masked(value, mask, xor));
                set(registers, *to, masked);
                Match::Yes
            }
            Step::Compare { register, with, value } => {
                registers.get(register).map_or(Match::Maybe, |have| compared(have, *with, value))
            }
            Step::Among { register, members, negated } => {
                let known = registers.get(register).zip(members.as_ref());
                known.map_or(Match::Maybe, |(value, members)| {
                    yes_or_no(members.contains(value) != *negated)
                })
            }
            Step::CtState { states, negated } => yes_or_no((self.state & states != 0) != *negated),
            Step::Other { writes: Some(register), .. } => {
                registers.remove(register);
                Match::Maybe
            }
            Step::Other { .. } => Match::Maybe,
            Step::Untrack | Step::Passive | Step::End(_) | Step::Map { .. } => Match::Yes,
        }
    }

    fn value(&self, key: Key) -> Option<Vec<u8>> {
        let packet = self.packet;
        let name = |is_it: bool| if is_it { padded(&packet.interface) } else { [0; 16] };
        match key {
            Key::CtState => Some(self.state.to_ne_bytes().to_vec()),
            Key::NfProto => Some(vec![if packet.local.is_ipv4() { 2 } else { 10 }]),
            Key::L4Proto => Some(vec![6]),
            Key::Iifname => Some(name(packet.way == Way::In).to_vec()),
            Key::Oifname => Some(name(packet.way == Way::Out).to_vec()),
            Key::Network { offset, bytes } => cut(&packet.network_header(), offset, bytes),
            Key::Transport { offset, bytes } => cut(&packet.transport_header(), offset, bytes),
            Key::Other => None,
        }
    }
}

impl Imagined {
    /// Its IP header, as far as it is known: the protocol and the addresses.
    fn network_header(&self) -> Vec<Option<u8>> {
        let (length, at) = if self.local.is_ipv4() { (20, 12) } else { (40, 8) };
        let mut header = vec![None; length];
        let protocol = if self.local.is_ipv4() { 9 } else { 6 };
        header[protocol] = Some(6);
        let width = (length - at) / 2;
        let (local, remote) = match self.way {
            Way::In => (at + width, at),
            Way::Out => (at, at + width),
        };
        put(&mut header, local, &octets(self.local));
        if let Some(ip) = self.remote.filter(|ip| ip.is_ipv4() == self.local.is_ipv4()) {
            put(&mut header, remote, &octets(ip));
        }
        header
    }

    /// Its TCP header, as far as it is known: ports and flags.
    fn transport_header(&self) -> Vec<Option<u8>> {
        let mut header = vec![None; 20];
        let (local, remote) = match self.way {
            Way::In => (2, 0),
            Way::Out => (0, 2),
        };
        put(&mut header, local, &self.local_port.to_be_bytes());
        if let Some(port) = self.remote_port {
            put(&mut header, remote, &port.to_be_bytes());
        }
        header[13] = Some(self.flags);
        header
    }
}

fn name_of(chain: &Chain) -> String {
    format!("{} {} {}", chain.family, chain.table, chain.name)
}

/// The verdict for a value; none if it cannot be told.
fn mapped(value: Option<&Vec<u8>>, entries: Option<&[(Vec<u8>, Verdict)]>) -> Result<Verdict, ()> {
    let (value, entries) = value.zip(entries).ok_or(())?;
    let found = entries.iter().find(|(key, _)| key == value);
    // Without an entry the rule does not match.
    Ok(found.map_or(Verdict::Continue, |(_, verdict)| verdict.clone()))
}

fn masked(value: &[u8], mask: &[u8], xor: &[u8]) -> Option<Vec<u8>> {
    let is_whole = value.len() == mask.len() && value.len() == xor.len();
    let bytes = value.iter().zip(mask).zip(xor).map(|((value, mask), xor)| (value & mask) ^ xor);
    is_whole.then(|| bytes.collect())
}

fn compared(have: &[u8], with: Comparison, value: &[u8]) -> Match {
    // A comparison with fewer bytes looks at the first of them: a name with a wildcard.
    let Some(have) = have.get(..value.len()) else { return Match::Maybe };
    yes_or_no(match with {
        Comparison::Equal => have == value,
        Comparison::Different => have != value,
        Comparison::Less => have < value,
        Comparison::AtMost => have <= value,
        Comparison::Greater => have > value,
        Comparison::AtLeast => have >= value,
    })
}

const fn yes_or_no(is_so: bool) -> Match {
    if is_so { Match::Yes } else { Match::No }
}

fn set(registers: &mut BTreeMap<u32, Vec<u8>>, register: u32, value: Option<Vec<u8>>) {
    match value {
        Some(value) => registers.insert(register, value),
        None => registers.remove(&register),
    };
}

fn put(header: &mut [Option<u8>], at: usize, bytes: &[u8]) {
    for (to, from) in header.iter_mut().skip(at).zip(bytes) {
        *to = Some(*from);
    }
}

fn cut(header: &[Option<u8>], offset: u32, bytes: u32) -> Option<Vec<u8>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(bytes).ok()?)?;
    header.get(start..end)?.iter().copied().collect()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An interface's name as the kernel compares it.
fn padded(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    padded
}
