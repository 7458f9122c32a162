//! A STUN server over TCP (RFC 8489 §6.3), with behaviour discovery (RFC 5780 §6).
//!
//! It never opens a connection towards a client (RFC 8489 §6.2.2), so whoever asks for an answer from
//! elsewhere is told that this is not understood here.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::engine::{Event, Flow, How, Party, Step};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use crate::wire::stun::{Attribute, Class, LONGEST, Message};

/// A party that answers Binding requests at every port of every address of its own.
#[derive(Debug)]
pub struct StunServer {
    addresses: Vec<IpAddr>,
    ports: [u16; 2],
    clients: BTreeMap<Flow, Client>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Client {
    local: Endpoint,
    remote: Endpoint,
    /// The start of a message whose rest has not come.
    incoming: Vec<u8>,
    /// When it last asked, or came.
    heard: Instant,
}

impl StunServer {
    /// A server at these two ports of one address or two. Behaviour discovery takes two.
    pub fn new(addresses: Vec<IpAddr>, ports: [u16; 2]) -> Self {
        Self { addresses, ports, clients: BTreeMap::new(), steps: VecDeque::new() }
    }

    /// The other address and the other port of an endpoint of ours (RFC 5780 §6.1, table 1).
    fn other(&self, local: Endpoint) -> Option<Endpoint> {
        let address = self.addresses.iter().find(|address| **address != local.ip())?;
        let port = self.ports.iter().find(|port| **port != local.port())?;
        Some(Endpoint::new(*address, *port))
    }

    /// Makes room by showing out whoever has been silent longest: newcomers are always served.
    fn accepted(&mut self, now: Instant, flow: Flow, local: Endpoint, remote: Endpoint) {
        let neighbours = |client: &Client| client.remote.ip() == remote.ip();
        let near = self.clients.values().filter(|client| neighbours(client)).count();
        if near >= MOST_OF_ONE_ADDRESS {
            self.show_out_silent(neighbours);
        } else if self.clients.len() >= MOST_CLIENTS {
            self.show_out_silent(|_| true);
        }
        self.clients.insert(flow, Client { local, remote, incoming: Vec::new(), heard: now });
    }

    fn show_out_silent(&mut self, among: impl Fn(&Client) -> bool) {
        let candidates = self.clients.iter().filter(|(_, client)| among(client));
        let silent = candidates.min_by_key(|(_, client)| client.heard).map(|(flow, _)| *flow);
        silent.into_iter().for_each(|flow| self.show_out(flow));
    }

    fn show_out(&mut self, flow: Flow) {
        self.clients.remove(&flow);
        self.steps.push_back(Step::Close(flow, How::Reset));
    }

    fn read(&mut self, now: Instant, flow: Flow, octets: &[u8]) {
        let Some(client) = self.clients.get_mut(&flow) else { return };
        client.incoming.extend(octets);
        let (local, remote) = (client.local, client.remote);
        let mut incoming = std::mem::take(&mut client.incoming);
        while let Ok(length) = Message::length(&incoming) {
            let Some(length) = length.filter(|length| *length <= incoming.len()) else {
                return self.keep(flow, incoming);
            };
            let rest = incoming.split_off(length);
            let Ok(request) = Message::read(&incoming) else { break };
            self.answer(now, flow, &request, local, remote);
            incoming = rest;
        }
        // Behind what is no message nothing can be found any more.
        self.show_out(flow);
    }

    fn keep(&mut self, flow: Flow, incoming: Vec<u8>) {
        if let Some(client) = self.clients.get_mut(&flow) {
            client.incoming = incoming;
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        flow: Flow,
        request: &Message,
        local: Endpoint,
        remote: Endpoint,
    ) {
        if let Some(client) = self.clients.get_mut(&flow) {
            client.heard = now;
        }
        let answer = answer(request, local, remote, self.other(local));
        self.steps.extend(answer.map(|answer| Step::Write(flow, answer.write())));
    }

    fn silent_since(&self, now: Instant) -> Vec<Flow> {
        let silent = self.clients.iter().filter(|(_, client)| client.heard + PATIENCE <= now);
        silent.map(|(flow, _)| *flow).collect()
    }

    fn wakes(&self) -> Instant {
        self.clients.values().map(|client| client.heard + PATIENCE).min().unwrap_or(NEVER)
    }
}

/// What a server at `local` answers `remote`, if anything: only requests are answered
/// (RFC 8489 §6.3).
fn answer(
    request: &Message,
    local: Endpoint,
    remote: Endpoint,
    other: Option<Endpoint>,
) -> Option<Message> {
    if request.class != Class::Request {
        return None;
    }
    let software = Attribute::Software(SOFTWARE.to_owned());
    let padded = request.attributes.iter().any(|a| matches!(a, Attribute::Padding(_)));
    let elsewhere = request.attributes.iter().any(|a| matches!(a, Attribute::ResponsePort(_)));
    let unknown: Vec<_> =
        request.attributes.iter().filter_map(Attribute::must_be_understood).collect();
    // RFC 5780 §6.1: the two together are a bad request.
    if padded && elsewhere {
        return Some(refusal(request, 400, "Bad Request", vec![software]));
    }
    if !unknown.is_empty() {
        let unknown = Attribute::UnknownAttributes(unknown);
        return Some(refusal(request, 420, "Unknown Attribute", vec![unknown, software]));
    }
    let mut attributes = vec![
        Attribute::XorMapped(remote),
        // RFC 5780 §6.1: both, so that a NAT that rewrites payloads shows.
        Attribute::Mapped(remote),
        Attribute::ResponseOrigin(local),
    ];
    attributes.extend(other.map(Attribute::OtherAddress));
    attributes.extend(padded.then_some(Attribute::Padding(PADDING)));
    attributes.push(software);
    Some(Message::response(request, Class::Success, attributes))
}

fn refusal(request: &Message, code: u16, reason: &str, more: Vec<Attribute>) -> Message {
    let mut attributes = vec![Attribute::ErrorCode { code, reason: reason.to_owned() }];
    attributes.extend(more);
    Message::response(request, Class::Error, attributes)
}

impl Party for StunServer {
    fn poll(&mut self, now: Instant) -> Step {
        if self.steps.is_empty() {
            self.silent_since(now).into_iter().for_each(|flow| self.show_out(flow));
        }
        self.steps.pop_front().unwrap_or_else(|| Step::Wait(self.wakes()))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Accepted { flow, local, remote } => self.accepted(now, flow, local, remote),
            Event::Read(flow, octets) => self.read(now, flow, &octets),
            Event::Ended(flow, _) => {
                // What was asked before the end is answered first.
                self.clients.remove(&flow);
                self.steps.push_back(Step::Close(flow, How::Fin));
            }
            Event::Interrupted | Event::HostFailed(_) => self.steps.push_back(Step::Done),
            _ => {}
        }
    }
}

const SOFTWARE: &str = concat!("tso-probe ", env!("CARGO_PKG_VERSION"));

/// RFC 5780 §7.6: the size of a packet on most paths, a multiple of four.
const PADDING: u16 = 1_500;

/// A client that punches keeps its connection, and with it its mapping, this long without a word;
/// RFC 8489 §6.2.2 lets the client close.
const PATIENCE: Duration = Duration::from_secs(600);

/// So many connections fit the descriptors that a process commonly has. Each holds no more than one
/// message.
const MOST_CLIENTS: usize = 512;

/// Behind one address may be a large NAT; one hostile host must not fill the house.
const MOST_OF_ONE_ADDRESS: usize = 128;

const NEVER: Instant = Instant::from_nanos(u64::MAX);

const _: () = assert!(LONGEST >= PADDING as usize, "an answer can be read by its like");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stun::Transaction;

    const OWN: &str = "203.0.113.10:3478";
    const CLIENT: &str = "198.51.100.1:40000";

    #[test]
    fn a_request_is_answered_with_everything_that_behaviour_discovery_needs() {
        let other = Some(end("203.0.113.11:3479"));
        let answer = answered(Vec::new(), other).expect("an answer");
        assert_eq!((answer.class, answer.transaction), (Class::Success, Transaction::new(7)));
        let expected = [
            Attribute::XorMapped(end(CLIENT)),
            Attribute::Mapped(end(CLIENT)),
            Attribute::ResponseOrigin(end(OWN)),
            Attribute::OtherAddress(end("203.0.113.11:3479")),
            Attribute::Software(SOFTWARE.to_owned()),
        ];
        assert_eq!(answer.attributes, expected);
    }

    #[test]
    fn whoever_asks_for_an_answer_from_elsewhere_is_told_what_is_not_understood() {
        for (asked, kind) in [(Attribute::Other(3), 3), (Attribute::ResponsePort(9), 0x27)] {
            let answer = answered(vec![asked], None).expect("an answer");
            assert_eq!(answer.class, Class::Error);
            assert!(matches!(answer.attributes[0], Attribute::ErrorCode { code: 420, .. }));
            assert_eq!(answer.attributes[1], Attribute::UnknownAttributes(vec![kind]));
        }
    }

    #[test]
    fn padding_is_given_back_but_not_with_another_port() {
        let padding = || Attribute::Padding(8);
        let padded = answered(vec![padding()], None).expect("an answer");
        assert!(padded.attributes.contains(&Attribute::Padding(PADDING)));
        let both = answered(vec![padding(), Attribute::ResponsePort(9)], None);
        let both = both.expect("an answer").attributes;
        assert!(matches!(both[0], Attribute::ErrorCode { code: 400, .. }));
    }

    #[test]
    fn what_is_optional_or_no_request_gets_no_error() {
        let optional = answered(vec![Attribute::Other(0x8030)], None).expect("an answer");
        assert_eq!(optional.class, Class::Success);
        let indication = Message { class: Class::Indication, ..request(Vec::new()) };
        assert_eq!(answer(&indication, end(OWN), end(CLIENT), None), None);
    }

    #[test]
    fn requests_that_come_in_pieces_and_together_are_all_answered() {
        let mut server = server();
        let two = [request(Vec::new()).write(), request(Vec::new()).write()].concat();
        for octet in two {
            server.handle(Instant::START, Event::Read(Flow(1), vec![octet]));
        }
        let steps = settled(&mut server);
        assert_eq!(steps.len(), 2);
        assert!(steps.iter().all(|step| matches!(step, Step::Write(Flow(1), _))));
    }

    #[test]
    fn who_says_something_else_is_shown_out() {
        let mut server = server();
        server.handle(Instant::START, Event::Read(Flow(1), b"GET / HTTP/1.1".to_vec()));
        assert_eq!(settled(&mut server), [Step::Close(Flow(1), How::Reset)]);
    }

    #[test]
    fn newcomers_are_served_and_whoever_was_silent_longest_goes() {
        let mut server = StunServer::new(vec![end(OWN).ip()], [3478, 3479]);
        for number in 0..MOST_OF_ONE_ADDRESS + 3 {
            let flow = Flow(u32::try_from(number).expect("few"));
            let now = Instant::from_millis(number as u64);
            let (local, remote) = (end(OWN), end(CLIENT));
            server.handle(now, Event::Accepted { flow, local, remote });
        }
        let shown_out: Vec<_> = (0..3).map(|flow| Step::Close(Flow(flow), How::Reset)).collect();
        assert_eq!(settled(&mut server), shown_out);
        assert_eq!(server.clients.len(), MOST_OF_ONE_ADDRESS);
    }

    #[test]
    fn who_is_silent_too_long_goes() {
        let mut server = server();
        let late = Instant::START + PATIENCE;
        assert_eq!(server.poll(late), Step::Close(Flow(1), How::Reset));
        assert_eq!(server.poll(late), Step::Wait(NEVER));
    }

    fn answered(attributes: Vec<Attribute>, other: Option<Endpoint>) -> Option<Message> {
        answer(&request(attributes), end(OWN), end(CLIENT), other)
    }

    fn request(attributes: Vec<Attribute>) -> Message {
        Message { attributes, ..Message::request(Transaction::new(7)) }
    }

    fn server() -> StunServer {
        let mut server = StunServer::new(vec![end(OWN).ip()], [3478, 3479]);
        let (flow, local, remote) = (Flow(1), end(OWN), end(CLIENT));
        server.handle(Instant::START, Event::Accepted { flow, local, remote });
        server
    }

    fn settled(server: &mut StunServer) -> Vec<Step> {
        let steps = std::iter::from_fn(|| match server.poll(Instant::START) {
            Step::Wait(_) => None,
            step => Some(step),
        });
        steps.collect()
    }

    fn end(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }
}
