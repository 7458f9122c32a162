//! The ICMP errors that a NAT or router sends about a TCP segment (RFC 792; RFC 4443 for IPv6).

use super::{Endpoint, Seq};

/// An ICMP error with what it tells of the packet that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// The type: 3 for destination unreachable, 11 for time exceeded (IPv4's numbers).
    pub kind: u8,
    /// The code within the type.
    pub code: u8,
    /// The packet quoted.
    pub quote: Quote,
}

/// The part of a quoted packet that every router has to send back: the IP header and the first
/// eight octets of TCP (RFC 792; RFC 1812 §4.3.2.3 asks for more, none may be counted on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Who sent the quoted segment.
    pub source: Endpoint,
    /// Where it was going.
    pub destination: Endpoint,
    /// Its sequence number.
    pub seq: Seq,
    /// Its time to live when it was given up.
    pub ttl: u8,
}
