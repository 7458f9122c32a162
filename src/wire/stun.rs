//! STUN messages over TCP (RFC 8489), with the attributes of behaviour discovery (RFC 5780).
//!
//! On a connection of its own STUN has no framing: a message's header says how long it is
//! (RFC 8489 §6.2.2).

use std::fmt;

use stun_types::attribute::{
    Attribute as _, AttributeType, AttributeWrite, ErrorCode, MappedSocketAddr, RawAttribute,
    Software, UnknownAttributes, XorMappedAddress,
};
use stun_types::message::{
    BINDING, Message as Stun, MessageClass, MessageHeader, MessageType, MessageWrite,
    MessageWriteExt, MessageWriteVec, StunParseError, TransactionId,
};

use super::Endpoint;

/// Tells a response's request: 96 random bits (RFC 8489 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transaction(u128);

/// A message of the Binding method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub class: Class,
    /// The transaction that it belongs to.
    pub transaction: Transaction,
    /// What it carries, in order; a FINGERPRINT has been checked and is not among them.
    pub attributes: Vec<Attribute>,
}

/// What a message is (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Class {
    Request,
    Success,
    Error,
    Indication,
}

/// Part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// MAPPED-ADDRESS: the client's endpoint as the server saw it, in the clear (RFC 8489 §14.1).
    Mapped(Endpoint),
    /// XOR-MAPPED-ADDRESS: the same so that a NAT that rewrites payloads does not recognise it
    /// (RFC 8489 §14.2).
    XorMapped(Endpoint),
    /// RESPONSE-ORIGIN: whence the server sent this (RFC 5780 §7.3).
    ResponseOrigin(Endpoint),
    /// OTHER-ADDRESS: the server's other address and other port (RFC 5780 §7.4).
    OtherAddress(Endpoint),
    /// PADDING, this many octets of it (RFC 5780 §7.6).
    Padding(u16),
    /// RESPONSE-PORT (RFC 5780 §7.5).
    ResponsePort(u16),
    /// SOFTWARE: the maker's own words (RFC 8489 §14.14).
    Software(String),
    /// ERROR-CODE (RFC 8489 §14.8).
    ErrorCode {
        /// From 300 to 699.
        code: u16,
        /// In words.
        reason: String,
    },
    /// UNKNOWN-ATTRIBUTES: what the server does not understand (RFC 8489 §14.13).
    UnknownAttributes(Vec<u16>),
    /// One of another type, without what it holds.
    Other(u16),
}

/// Why octets are no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StunError {
    /// They begin as no STUN message does.
    NotStun,
    /// They claim to be longer than this.
    TooLong(usize),
    /// They are a STUN message of another method than Binding.
    NotBinding(u16),
    /// FINGERPRINT does not fit the message.
    Fingerprint,
    /// An attribute is malformed: its type, where that is known, and what is wrong.
    Attribute(Option<u16>, String),
}

/// The longest message that is read, in octets. RFC 8489 §6.1 keeps messages below a packet's size;
/// PADDING may bring one to two of them.
pub const LONGEST: usize = 4_096;

impl Transaction {
    /// The low 96 bits of `number`.
    pub const fn new(number: u128) -> Self {
        Self(number & (u128::MAX >> 32))
    }
}

impl Message {
    /// A Binding request.
    pub const fn request(transaction: Transaction) -> Self {
        Self { class: Class::Request, transaction, attributes: Vec::new() }
    }

    /// A Binding indication, which nobody answers.
    pub const fn indication(transaction: Transaction) -> Self {
        Self { class: Class::Indication, transaction, attributes: Vec::new() }
    }

    /// A response to `request`.
    pub const fn response(request: &Self, class: Class, attributes: Vec<Attribute>) -> Self {
        Self { class, transaction: request.transaction, attributes }
    }

    /// How many octets the message has that begins here; none while that cannot be told.
    ///
    /// # Errors
    /// If no message begins here, or one that is longer than [`LONGEST`].
    pub fn length(octets: &[u8]) -> Result<Option<usize>, StunError> {
        if octets.len() < MessageHeader::LENGTH {
            return if may_begin(octets) { Ok(None) } else { Err(StunError::NotStun) };
        }
        let header = MessageHeader::from_bytes(octets).map_err(|_| StunError::NotStun)?;
        let length = MessageHeader::LENGTH + usize::from(header.data_length());
        if length > LONGEST { Err(StunError::TooLong(length)) } else { Ok(Some(length)) }
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// If it is none, or one that is malformed.
    pub fn read(octets: &[u8]) -> Result<Self, StunError> {
        let stun = Stun::from_bytes(octets).map_err(StunError::of)?;
        if stun.method() != BINDING {
            return Err(StunError::NotBinding(stun.method().value()));
        }
        let class = match stun.class() {
            MessageClass::Request => Class::Request,
            MessageClass::Success => Class::Success,
            MessageClass::Error => Class::Error,
            MessageClass::Indication => Class::Indication,
        };
        let transaction = Transaction::new(stun.transaction_id().into());
        let attributes = stun.iter_attributes().map(|(_, raw)| raw);
        let attributes = attributes.filter(|raw| kind(raw) != FINGERPRINT);
        let attributes = attributes.map(|raw| Attribute::read(&raw, stun.transaction_id()));
        Ok(Self { class, transaction, attributes: attributes.collect::<Result<_, _>>()? })
    }

    /// The octets of this message, with FINGERPRINT behind all else.
    ///
    /// # Panics
    /// If a text is longer than its attribute may be.
    pub fn write(&self) -> Vec<u8> {
        let class = match self.class {
            Class::Request => MessageClass::Request,
            Class::Success => MessageClass::Success,
            Class::Error => MessageClass::Error,
            Class::Indication => MessageClass::Indication,
        };
        let transaction = TransactionId::from(self.transaction.0);
        let kind = MessageType::from_class_method(class, BINDING);
        let mut message = Stun::builder(kind, transaction, MessageWriteVec::new());
        for attribute in &self.attributes {
            message
                .add_attribute(&attribute.write(transaction))
                .expect("no FINGERPRINT stands yet");
        }
        message.add_fingerprint().expect("no FINGERPRINT stands yet");
        message.finish()
    }

    /// What `pick` makes of the first attribute that it makes something of.
    pub fn find<'a, T>(&'a self, pick: impl Fn(&'a Attribute) -> Option<T>) -> Option<T> {
        self.attributes.iter().find_map(pick)
    }
}

/// Whether these first octets may be those of a message: two zero bits, and the magic cookie
/// (RFC 8489 §5).
fn may_begin(octets: &[u8]) -> bool {
    let cookie = octets.iter().skip(4).zip(MAGIC_COOKIE).all(|(octet, wanted)| *octet == wanted);
    cookie && octets.first().is_none_or(|first| first >> 6 == 0)
}

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

impl Attribute {
    fn read(raw: &RawAttribute<'_>, transaction: TransactionId) -> Result<Self, StunError> {
        let wrong = |error| StunError::Attribute(Some(kind(raw)), detail(error));
        let endpoint = || MappedSocketAddr::from_raw(raw).map(|read| read.addr()).map_err(wrong);
        Ok(match kind(raw) {
            MAPPED_ADDRESS => Self::Mapped(endpoint()?),
            RESPONSE_ORIGIN => Self::ResponseOrigin(endpoint()?),
            OTHER_ADDRESS | CHANGED_ADDRESS => Self::OtherAddress(endpoint()?),
            PADDING => Self::Padding(u16::try_from(raw.value.len()).unwrap_or(u16::MAX)),
            RESPONSE_PORT => match raw.value[..] {
                [high, low, ..] => Self::ResponsePort(u16::from_be_bytes([high, low])),
                _ => return Err(wrong(StunParseError::InvalidAttributeData)),
            },
            XOR_MAPPED_ADDRESS => {
                let read = XorMappedAddress::try_from(raw).map_err(wrong)?;
                Self::XorMapped(read.addr(transaction))
            }
            ERROR_CODE => {
                let read = ErrorCode::try_from(raw).map_err(wrong)?;
                Self::ErrorCode { code: read.code(), reason: read.reason().to_owned() }
            }
            UNKNOWN_ATTRIBUTES => {
                let kinds =
                    raw.value.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
                Self::UnknownAttributes(kinds.collect())
            }
            // What a maker says of itself is no reason to refuse the rest.
            SOFTWARE => Self::Software(String::from_utf8_lossy(&raw.value).into_owned()),
            other => Self::Other(other),
        })
    }

    fn write(&self, transaction: TransactionId) -> RawAttribute<'static> {
        let fits = "the text fits its attribute";
        match self {
            Self::Mapped(end) => endpoint(MAPPED_ADDRESS, *end),
            Self::ResponseOrigin(end) => endpoint(RESPONSE_ORIGIN, *end),
            Self::OtherAddress(end) => endpoint(OTHER_ADDRESS, *end),
            Self::XorMapped(end) => XorMappedAddress::new(*end, transaction).to_raw().into_owned(),
            Self::Padding(length) => octets(PADDING, &vec![0; usize::from(*length)]),
            Self::ResponsePort(port) => {
                octets(RESPONSE_PORT, &[port.to_be_bytes(), [0, 0]].concat())
            }
            Self::Software(name) => Software::new(name).expect(fits).to_raw().into_owned(),
            Self::ErrorCode { code, reason } => {
                ErrorCode::new(*code, reason).expect(fits).to_raw().into_owned()
            }
            Self::UnknownAttributes(kinds) => {
                let kinds: Vec<_> = kinds.iter().copied().map(AttributeType::new).collect();
                UnknownAttributes::new(&kinds).to_raw().into_owned()
            }
            Self::Other(kind) => octets(*kind, &[]),
        }
    }

    /// Its type, if a receiver must understand it or refuse the message (RFC 8489 §14).
    pub const fn must_be_understood(&self) -> Option<u16> {
        match self {
            Self::Other(kind) if *kind < 0x8000 => Some(*kind),
            Self::ResponsePort(_) => Some(RESPONSE_PORT),
            _ => None,
        }
    }
}

fn kind(raw: &RawAttribute<'_>) -> u16 {
    raw.get_type().value()
}

fn endpoint(kind: u16, end: Endpoint) -> RawAttribute<'static> {
    MappedSocketAddr::new(end).to_raw(AttributeType::new(kind)).into_owned()
}

fn octets(kind: u16, value: &[u8]) -> RawAttribute<'static> {
    RawAttribute::new(AttributeType::new(kind), value).into_owned()
}

fn detail(error: StunParseError) -> String {
    match error {
        StunParseError::Truncated { expected, actual } => {
            format!("needed {expected} octets, got {actual}")
        }
        StunParseError::TooLarge { expected, actual } => {
            format!("takes at most {expected} octets, got {actual}")
        }
        _ => "what it holds makes no sense".to_owned(),
    }
}

impl StunError {
    fn of(error: StunParseError) -> Self {
        match error {
            StunParseError::NotStun => Self::NotStun,
            StunParseError::FingerprintMismatch => Self::Fingerprint,
            error => Self::Attribute(None, detail(error)),
        }
    }
}

impl fmt::Display for StunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStun => f.write_str("it is no STUN"),
            Self::TooLong(length) => write!(f, "a message of {length} octets is too long"),
            Self::NotBinding(method) => write!(f, "method {method:#05x} is not Binding"),
            Self::Fingerprint => f.write_str("its FINGERPRINT is wrong"),
            Self::Attribute(Some(kind), what) => write!(f, "attribute {kind:#06x}: {what}"),
            Self::Attribute(None, what) => write!(f, "an attribute: {what}"),
        }
    }
}

impl std::error::Error for StunError {}

/// RFC 8489 §18.3, and CHANGED-ADDRESS of RFC 3489 §11.2.3, which older servers say instead of
/// OTHER-ADDRESS.
const MAPPED_ADDRESS: u16 = 0x0001;
const CHANGED_ADDRESS: u16 = 0x0005;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE: u16 = 0x8022;
const FINGERPRINT: u16 = 0x8028;

/// RFC 5780 §9.1.
const PADDING: u16 = 0x0026;
const RESPONSE_PORT: u16 = 0x0027;
const RESPONSE_ORIGIN: u16 = 0x802b;
const OTHER_ADDRESS: u16 = 0x802c;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 5769 §2.2: an IPv4 response. Its MESSAGE-INTEGRITY is of no concern here.
    const IPV4_RESPONSE: [u8; 80] = [
        0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76,
        0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1,
        0x12, 0xa6, 0x43, 0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3,
        0x8c, 0x74, 0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00,
        0x04, 0xc0, 0x7d, 0x4c, 0x96,
    ];

    /// RFC 5769 §2.3: an IPv6 response.
    const IPV6_RESPONSE: [u8; 92] = [
        0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76,
        0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01,
        0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        0x00, 0x08, 0x00, 0x14, 0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9,
        0x7c, 0x82, 0x92, 0xc2, 0x75, 0xbf, 0xe3, 0xed, 0x41, 0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb,
        0x0b, 0x4c,
    ];

    #[test]
    fn the_responses_of_rfc_5769_are_read() {
        for (octets, mapped) in [
            (&IPV4_RESPONSE[..], "192.0.2.1:32853"),
            (&IPV6_RESPONSE[..], "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            assert_eq!(Message::length(octets), Ok(Some(octets.len())));
            let message = Message::read(octets).expect("a test vector");
            assert_eq!(message.class, Class::Success);
            assert_eq!(message.transaction, Transaction::new(0xb7e7_a701_bc34_d686_fa87_dfae));
            let expected = [
                Attribute::Software("test vector".to_owned()),
                Attribute::XorMapped(mapped.parse().expect("an endpoint")),
            ];
            assert_eq!(message.attributes[..2], expected);
        }
    }

    #[test]
    fn one_wrong_bit_of_a_test_vector_is_told_by_its_fingerprint() {
        let mut octets = IPV4_RESPONSE;
        octets[46] ^= 1;
        assert_eq!(Message::read(&octets), Err(StunError::Fingerprint));
    }

    #[test]
    fn what_does_not_begin_as_stun_is_told_at_its_first_octets() {
        assert_eq!(Message::length(b""), Ok(None));
        assert_eq!(Message::length(&IPV4_RESPONSE[..7]), Ok(None));
        for other in [&b"HTTP/1.1 400"[..], b"\x00\x01\x00\x00GET", b"\x16\x03\x01\x02\x00\x01"] {
            assert_eq!(Message::length(other), Err(StunError::NotStun), "{other:?}");
        }
    }

    #[test]
    fn a_message_longer_than_any_of_use_is_refused_by_its_header() {
        let mut octets = IPV4_RESPONSE;
        octets[2] = 0xff;
        assert_eq!(Message::length(&octets), Err(StunError::TooLong(20 + 0xff3c)));
    }

    proptest! {
        #[test]
        fn what_was_written_reads_as_itself(message in any_message()) {
            let octets = message.write();
            prop_assert_eq!(Message::length(&octets), Ok(Some(octets.len())));
            prop_assert_eq!(Message::read(&octets), Ok(message));
        }

        #[test]
        fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::length(&octets);
            let _ = Message::read(&octets);
        }

        #[test]
        fn a_flipped_octet_never_panics(message in any_message(), at in any::<usize>(), to in any::<u8>()) {
            let mut octets = message.write();
            let at = at % octets.len();
            octets[at] = to;
            let _ = Message::length(&octets);
            let _ = Message::read(&octets);
        }
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let class = prop::sample::select(vec![
            Class::Request,
            Class::Success,
            Class::Error,
            Class::Indication,
        ]);
        let attributes = proptest::collection::vec(any_attribute(), 0..6);
        (class, any::<u128>(), attributes).prop_map(|(class, transaction, attributes)| Message {
            class,
            transaction: Transaction::new(transaction),
            attributes,
        })
    }

    fn any_attribute() -> impl Strategy<Value = Attribute> {
        let end =
            || any::<std::net::SocketAddr>().prop_map(|end| Endpoint::new(end.ip(), end.port()));
        prop_oneof![
            end().prop_map(Attribute::Mapped),
            end().prop_map(Attribute::XorMapped),
            end().prop_map(Attribute::ResponseOrigin),
            end().prop_map(Attribute::OtherAddress),
            (0u16..100).prop_map(Attribute::Padding),
            any::<u16>().prop_map(Attribute::ResponsePort),
            "[ -~]{0,40}".prop_map(Attribute::Software),
            (300u16..700, "[ -~]{1,40}")
                .prop_map(|(code, reason)| Attribute::ErrorCode { code, reason }),
            proptest::collection::vec(any::<u16>(), 1..5).prop_map(Attribute::UnknownAttributes),
        ]
    }
}
