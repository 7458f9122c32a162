//! Addresses replaced by ones that are set aside for documentation, the same by the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::{Fact, Punched, Run};
use crate::verdict::Verdict;
use crate::wire::{Endpoint, Packet};

/// Replaces addresses: internal ones by those of 192.0.2.0/24, external ones by those of
/// 198.51.100.0/24, all others by those of 203.0.113.0/24 (RFC 5737), or by those of three networks
/// in 2001:db8::/32 (RFC 3849). Ports stay. No two addresses get the same one.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    masks: BTreeMap<IpAddr, IpAddr>,
    given: BTreeMap<(Role, bool), u16>,
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Internal,
    External,
    Other,
}

impl Masker {
    /// A masker that knows whose addresses the verdict names.
    pub fn new(verdict: &Verdict) -> Self {
        let mut masker = Self::default();
        let vantage = &verdict.vantage;
        vantage.internal.iter().for_each(|address| masker.give(*address, Role::Internal));
        vantage.external.iter().for_each(|address| masker.give(*address, Role::External));
        vantage.reflectors.iter().for_each(|endpoint| masker.give(endpoint.ip(), Role::Other));
        masker
    }

    /// Learns which ends a punch has.
    pub fn learn(&mut self, fact: &Fact) {
        if let Fact::Punch { what: Punched::Aimed { local, remote, also, .. }, .. } = fact {
            self.give(local.ip(), Role::Internal);
            self.give(remote.ip(), Role::Other);
            also.iter().for_each(|end| self.give(end.ip(), Role::Other));
        }
    }

    /// Masks every address in a verdict, in prose too.
    pub fn verdict(&mut self, verdict: &mut Verdict) {
        let vantage = &mut verdict.vantage;
        let addresses = vantage.internal.iter_mut().chain(&mut vantage.external);
        addresses.for_each(|address| *address = self.address(*address));
        vantage.reflectors.iter_mut().for_each(|endpoint| self.endpoint(endpoint));
        let because = verdict.requirements.iter_mut().map(|ruling| &mut ruling.because);
        let prose = because.chain(&mut verdict.troubles).chain([&mut verdict.summary]);
        prose.for_each(|text| *text = self.prose(text));
        verdict.trouble.iter_mut().for_each(|trouble| self.inside(trouble));
    }

    /// Masks every address in a run: in its packets, in what they quote, and in its facts.
    pub fn run(&mut self, run: &mut Run) {
        run.trace.iter_mut().for_each(|record| self.packet(&mut record.packet));
        run.facts.iter_mut().for_each(|(_, fact)| self.inside(fact));
    }

    /// The text with every address in it masked.
    pub fn prose(&mut self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_of_address) {
            let (before, word) = rest.split_at(start);
            let end = word.find(|letter| !is_of_address(letter)).unwrap_or(word.len());
            masked.push_str(before);
            masked.push_str(&self.word(&word[..end]));
            rest = &word[end..];
        }
        masked.push_str(rest);
        masked
    }

    /// The address's mask.
    fn address(&mut self, address: IpAddr) -> IpAddr {
        self.give(address, Role::Other);
        self.masks.get(&address).copied().unwrap_or(address)
    }

    fn endpoint(&mut self, endpoint: &mut Endpoint) {
        endpoint.set_ip(self.address(endpoint.ip()));
    }

    fn packet(&mut self, packet: &mut Packet) {
        packet.source = self.address(packet.source);
        packet.destination = self.address(packet.destination);
        if let Some(icmp) = packet.icmp_error_mut() {
            self.endpoint(&mut icmp.quote.source);
            self.endpoint(&mut icmp.quote.destination);
        }
    }

    /// Masks a value in every text of its JSON, which is where addresses stand: a kind of value
    /// that is added later is masked too.
    fn inside<T: Serialize + DeserializeOwned>(&mut self, value: &mut T) {
        let json = serde_json::to_value(&*value).map(|mut json| {
            self.texts(&mut json);
            json
        });
        // A packet among the facts has no JSON; the trace is where packets are kept.
        if let Some(masked) = json.ok().and_then(|json| serde_json::from_value(json).ok()) {
            *value = masked;
        }
    }

    fn texts(&mut self, json: &mut Value) {
        match json {
            Value::String(text) => *text = self.prose(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.texts(value)),
            Value::Object(values) => values.values_mut().for_each(|value| self.texts(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A run of letters that an address may consist of: masked if it is one, or one between
    /// punctuation or before a port.
    fn word(&mut self, word: &str) -> String {
        let bare = word.trim_end_matches(['.', ':']).trim_start_matches(['.', ':']);
        for candidate in [word, bare] {
            let masked = match (candidate.parse::<IpAddr>(), candidate.parse::<SocketAddr>()) {
                (Ok(address), _) => self.address(address).to_string(),
                (_, Ok(mut endpoint)) => {
                    self.endpoint(&mut endpoint);
                    endpoint.to_string()
                }
                _ => continue,
            };
            return word.replacen(candidate, &masked, 1);
        }
        word.to_owned()
    }

    /// Gives an address its mask, unless it has one or needs none.
    fn give(&mut self, address: IpAddr, role: Role) {
        if address.is_loopback() || address.is_unspecified() || self.masks.contains_key(&address) {
            return;
        }
        let count = self.given.entry((role, address.is_ipv4())).or_default();
        *count = count.saturating_add(1);
        let mask =
            if address.is_ipv4() { masked_v4(role, *count) } else { masked_v6(role, *count) };
        self.masks.insert(address, mask);
    }
}

const fn is_of_address(letter: char) -> bool {
    letter.is_ascii_hexdigit() || matches!(letter, ':' | '.')
}

/// The n-th mask of a role, from 1; the 255th and all after it come from the networks for
/// benchmarks, 198.18.0.0/15 (RFC 2544), a /18 for each role.
fn masked_v4(role: Role, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    let address = match (role, high, low) {
        (Role::Internal, 0, 1..=254) => Ipv4Addr::new(192, 0, 2, low),
        (Role::External, 0, 1..=254) => Ipv4Addr::new(198, 51, 100, low),
        (Role::Other, 0, 1..=254) => Ipv4Addr::new(203, 0, 113, low),
        (Role::Internal, ..) => Ipv4Addr::new(198, 18, high & 0x3f, low),
        (Role::External, ..) => Ipv4Addr::new(198, 18, 0x40 | high & 0x3f, low),
        (Role::Other, ..) => Ipv4Addr::new(198, 19, high, low),
    };
    address.into()
}

fn masked_v6(role: Role, number: u16) -> IpAddr {
    let network = match role {
        Role::Internal => 0,
        Role::External => 1,
        Role::Other => 2,
    };
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, number).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{Fact, Place, Record, Trouble};
    use crate::report::testing::known;
    use crate::time::Instant;
    use crate::wire::testing::any_packet;
    use crate::wire::{Segment, Seq};

    #[test]
    fn a_verdict_keeps_its_meaning_and_loses_its_addresses() {
        let mut verdict = known();
        let mut masker = Masker::new(&verdict);
        masker.verdict(&mut verdict);
        assert_eq!(verdict.vantage.internal, ["192.0.2.1".parse::<IpAddr>().expect("an address")]);
        assert!(verdict.summary.contains("towards 198.51.100.1 does"), "{}", verdict.summary);
        assert_eq!(verdict.troubles, ["Reflector 2 (203.0.113.1:5383) went away."]);
        assert_eq!(verdict.vantage.reflectors[1].to_string(), "[2001:db8:2::1]:5384");
    }

    #[test]
    fn a_verdict_and_its_run_agree() {
        let mut verdict = known();
        let source = Endpoint::new(verdict.vantage.internal[0], 5000);
        let packet = Packet::tcp(source, verdict.vantage.reflectors[0], Segment::syn(Seq(1), 0));
        let mut run = Run::default();
        run.note(Instant::START, Fact::Seen(record(packet)));
        let mut masker = Masker::new(&verdict);
        masker.run(&mut run);
        masker.verdict(&mut verdict);
        let masked = Endpoint::new(verdict.vantage.internal[0], 5000);
        assert_eq!(run.trace[0].packet.endpoints(), Some((masked, verdict.vantage.reflectors[0])));
        assert_ne!(masked, source);
    }

    #[test]
    fn prose_keeps_all_but_its_addresses() {
        let mut masker = Masker::default();
        let text = "At 1.5 s 8.8.8.8:53 sent 3/3 to [fe80::1]:80, 8.8.8.8. dead:beef: no, ::1 is us; \
                    10.0.0.256 is none. via 9.9.9.9:";
        let masked = "At 1.5 s 203.0.113.1:53 sent 3/3 to [2001:db8:2::1]:80, 203.0.113.1. dead:beef: \
                      no, ::1 is us; 10.0.0.256 is none. via 203.0.113.2:";
        assert_eq!(masker.prose(text), masked);
    }

    #[test]
    fn facts_are_masked_as_the_trace_is() {
        let endpoint = "8.8.4.4:443".parse().expect("an endpoint");
        let mut run = Run::default();
        run.facts.push((Instant::START, Fact::Trouble(Trouble::Deaf { endpoint })));
        Masker::default().run(&mut run);
        let endpoint = "203.0.113.1:443".parse().expect("an endpoint");
        assert_eq!(run.facts, [(Instant::START, Fact::Trouble(Trouble::Deaf { endpoint }))]);
    }

    proptest! {
        #[test]
        fn packets_with_the_same_addresses_keep_them_the_same(
            packets in proptest::collection::vec(any_packet(), 1..300),
        ) {
            let before = Run { trace: packets.into_iter().map(record).collect(), facts: Vec::new() };
            let mut after = before.clone();
            Masker::default().run(&mut after);
            let addresses = |run: &Run| -> Vec<IpAddr> {
                run.trace.iter().flat_map(|record| [record.packet.source, record.packet.destination]).collect()
            };
            let (before, after) = (addresses(&before), addresses(&after));
            let masks: BTreeMap<_, _> = before.iter().zip(&after).collect();
            let back: BTreeMap<_, _> = after.iter().zip(&before).collect();
            prop_assert!(before.iter().zip(&after).all(|(old, new)| masks[old] == new && back[new] == old));
        }
    }

    fn record(packet: Packet) -> Record {
        let (probe, volley) = (None, None);
        Record { at: Instant::START, place: Place::Prober, inbound: true, probe, volley, packet }
    }
}
