//! One packet ↔ one line of text, after packetdrill:
//! `192.0.2.1:443 > 198.51.100.1:7000 S. 0:0(0) ack 1 win 65535 <mss 1460,nop> ttl 64 id 0`.
//!
//! Every header field that a [`Packet`] keeps is in the line, so it reads back to the same packet;
//! payload octets alone are counted, not shown, and read back as zeros.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::{Body, Endpoint, Flags, Icmp, Options, Packet, Quote, Segment, Seq, TcpOption};

/// A line that is no packet: the word that could not be read, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What was expected.
    pub expected: &'static str,
    /// The word found; empty at the end of the line.
    pub found: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found '{}'", self.expected, self.found)
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Tcp(segment) => {
                let source = Endpoint::new(self.source, segment.source_port);
                let destination = Endpoint::new(self.destination, segment.destination_port);
                write!(f, "{source} > {destination} {segment}")?;
            }
            Body::Icmp(icmp) => write!(f, "{} > {} {icmp}", self.source, self.destination)?,
        }
        write!(f, " ttl {} id {}", self.ttl, self.id)?;
        write!(f, "{}", if self.dont_fragment { "" } else { " fragmentable" })?;
        if self.traffic_class != 0 {
            write!(f, " class {}", self.traffic_class)?;
        }
        Ok(())
    }
}

/// Flags, `first:last(length)`, and what else is set; ports are the packet's to show.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.payload.len();
        let end = self.seq + u32::try_from(length).unwrap_or(u32::MAX);
        write!(f, "{} {}:{end}({length})", self.flags, self.seq)?;
        if self.flags.contains(Flags::ACK) || self.ack != Seq(0) {
            write!(f, " ack {}", self.ack)?;
        }
        write!(f, " win {}", self.window)?;
        if self.urgent != 0 {
            write!(f, " urg {}", self.urgent)?;
        }
        if !self.options.is_empty() {
            write!(f, " <{}>", self.options)?;
        }
        Ok(())
    }
}

/// The options by name when that says all, else their octets in hexadecimal.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.iter().map(|option| option.to_string()).collect();
        let line = named.join(",");
        if parse_options(&line).as_ref() == Ok(self) {
            return f.write_str(&line);
        }
        let hexadecimal = self.octets().iter().fold(String::from("0x"), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        });
        f.write_str(&hexadecimal)
    }
}

impl fmt::Display for TcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nop => f.write_str("nop"),
            Self::MaximumSegmentSize(octets) => write!(f, "mss {octets}"),
            Self::WindowScale(shift) => write!(f, "wscale {shift}"),
            Self::SackPermitted => f.write_str("sackOK"),
            Self::Timestamps { value, echo } => write!(f, "TS val {value} ecr {echo}"),
            Self::Other { kind, length } => write!(f, "kind {kind} len {length}"),
        }
    }
}

impl fmt::Display for Icmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quote { source, destination, seq, ttl } = &self.quote;
        write!(f, "icmp {}/{} [{source} > {destination} seq {seq} ttl {ttl}]", self.kind, self.code)
    }
}

impl FromStr for Packet {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let mut words = Words { rest: line };
        let (source, destination) = (words.next(), words.after(">", "'>'")?.next());
        let mut packet = if words.rest.trim_start().starts_with("icmp") {
            let (source, destination) =
                (read(source, "an address")?, read(destination, "an address")?);
            Self::icmp(source, destination, words.icmp()?)
        } else {
            let (source, destination) =
                (read(source, "address:port")?, read(destination, "address:port")?);
            Self::tcp(source, destination, words.segment()?)
        };
        packet.ttl = read(words.after("ttl", "'ttl'")?.next(), "a number of hops")?;
        packet.id = read(words.after("id", "'id'")?.next(), "an identification")?;
        packet.dont_fragment = !words.take("fragmentable");
        if words.take("class") {
            packet.traffic_class = read(words.next(), "a traffic class")?;
        }
        Ok(packet)
    }
}

/// The words of a line, taken from the left.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let (word, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        self.rest = rest;
        word
    }

    fn take(&mut self, word: &str) -> bool {
        let mut ahead = Words { rest: self.rest };
        let found = ahead.next() == word;
        if found {
            self.rest = ahead.rest;
        }
        found
    }

    fn after(&mut self, word: &str, expected: &'static str) -> Result<&mut Self, ParseError> {
        if self.take(word) {
            return Ok(self);
        }
        Err(ParseError { expected, found: self.next().to_owned() })
    }

    fn segment(&mut self) -> Result<Segment, ParseError> {
        let flags = parse_flags(self.next())?;
        let (seq, payload) = parse_range(self.next())?;
        let mut segment = Segment { flags, seq, payload, ..Segment::default() };
        if self.take("ack") {
            segment.ack = Seq(read(self.next(), "an acknowledgement number")?);
        }
        segment.window = read(self.after("win", "'win'")?.next(), "a window")?;
        if self.take("urg") {
            segment.urgent = read(self.next(), "an urgent pointer")?;
        }
        if let Some(inside) = self.rest.trim_start().strip_prefix('<') {
            let (options, rest) = inside.split_once('>').ok_or_else(|| missing("'>'", inside))?;
            (segment.options, self.rest) = (parse_options(options)?, rest);
        }
        Ok(segment)
    }

    fn icmp(&mut self) -> Result<Icmp, ParseError> {
        let word = self.after("icmp", "'icmp'")?.next();
        let (kind, code) = word.split_once('/').ok_or_else(|| missing("type/code", word))?;
        let (kind, code) = (read(kind, "a type")?, read(code, "a code")?);
        let source = self.next().trim_start_matches("[");
        let source = read_bracketed(source)?;
        let destination = read(self.after(">", "'>'")?.next(), "address:port")?;
        let seq = Seq(read(self.after("seq", "'seq'")?.next(), "a sequence number")?);
        let ttl = self.after("ttl", "'ttl'")?.next().trim_end_matches(']');
        let quote = Quote { source, destination, seq, ttl: read(ttl, "a number of hops")? };
        Ok(Icmp { kind, code, quote })
    }
}

/// An endpoint behind the quote's bracket, which may have swallowed an IPv6 address's own.
fn read_bracketed(word: &str) -> Result<Endpoint, ParseError> {
    word.parse().or_else(|_| read(&format!("[{word}"), "address:port"))
}

fn read<T: FromStr>(word: &str, expected: &'static str) -> Result<T, ParseError> {
    word.parse().map_err(|_| missing(expected, word))
}

fn missing(expected: &'static str, found: &str) -> ParseError {
    ParseError { expected, found: found.to_owned() }
}

fn parse_flags(word: &str) -> Result<Flags, ParseError> {
    if word == "-" {
        return Ok(Flags::default());
    }
    word.chars().try_fold(Flags::default(), |flags, letter| {
        let known = Flags::LETTERS.iter().find(|(_, known)| *known == letter);
        known.map(|(flag, _)| flags | *flag).ok_or_else(|| missing("flags", word))
    })
}

fn parse_range(word: &str) -> Result<(Seq, Vec<u8>), ParseError> {
    let bad = || missing("first:last(length)", word);
    let (first, rest) = word.split_once(':').ok_or_else(bad)?;
    let (_, length) = rest.split_once('(').ok_or_else(bad)?;
    let length: u16 = read(length.trim_end_matches(')'), "a payload's length")?;
    Ok((Seq(read(first, "a sequence number")?), vec![0; length.into()]))
}

fn parse_options(text: &str) -> Result<Options, ParseError> {
    let mut octets = Vec::with_capacity(40);
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        for pair in hexadecimal.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair).map_err(|_| missing("hexadecimal", text))?;
            octets.push(u8::from_str_radix(pair, 16).map_err(|_| missing("hexadecimal", text))?);
        }
    } else {
        for option in text.split(',').filter(|option| !option.is_empty()) {
            write_option(option, &mut octets)?;
        }
    }
    Options::from_octets(&octets).ok_or_else(|| missing("options in words of four octets", text))
}

fn write_option(option: &str, octets: &mut Vec<u8>) -> Result<(), ParseError> {
    let words: Vec<_> = option.split(' ').collect();
    match words[..] {
        ["nop"] => octets.push(1),
        ["sackOK"] => octets.extend([4, 2]),
        ["mss", size] => {
            octets.extend([2, 4]);
            octets.extend(read::<u16>(size, "a segment size")?.to_be_bytes());
        }
        ["wscale", shift] => octets.extend([3, 3, read(shift, "a shift")?]),
        ["TS", "val", value, "ecr", echo] => {
            octets.extend([8, 10]);
            octets.extend(read::<u32>(value, "a timestamp")?.to_be_bytes());
            octets.extend(read::<u32>(echo, "a timestamp")?.to_be_bytes());
        }
        _ => return Err(missing("an option", option)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::any_packet;

    proptest! {
        #[test]
        fn a_line_reads_back_to_its_packet(packet in any_packet()) {
            let mut packet = packet;
            if let Some(segment) = packet.segment_mut() {
                segment.payload.fill(0);
            }
            prop_assert_eq!(packet.to_string().parse(), Ok(packet));
        }

        #[test]
        fn arbitrary_text_never_panics(line in ".*") {
            let _ = line.parse::<Packet>();
        }
    }

    #[test]
    fn a_syn_ack_reads_like_packetdrill() {
        let segment =
            Segment { options: Options::default(), ..Segment::syn_ack(Seq(0), Seq(1), 0, 0) };
        let packet = Packet::tcp(
            "192.0.2.1:443".parse().expect("an endpoint"),
            "198.51.100.1:7000".parse().expect("an endpoint"),
            segment,
        );
        let line = "192.0.2.1:443 > 198.51.100.1:7000 S. 0:0(0) ack 1 win 65535 ttl 64 id 0";
        assert_eq!(packet.to_string(), line);
    }

    #[test]
    fn a_bad_line_says_what_was_expected() {
        let error = "192.0.2.1:443 > nowhere S".parse::<Packet>().expect_err("nowhere");
        assert_eq!(error.to_string(), "expected address:port, found 'nowhere'");
    }
}
