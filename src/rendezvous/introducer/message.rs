//! What clients and the rendezvous server say to each other: one JSON object a line.
//!
//! `docs/protocol.md` is the page for whoever writes a client; a test holds each example there
//! against these types.

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::time::Instant;
use crate::wire::Endpoint;

/// The version that both ends must speak; raised by every change that an older one would misread.
pub const VERSION: u16 = 1;

/// The most octets of a line, its end included.
pub const LONGEST_LINE: usize = 4 * 1024;

/// What a client says. Fields that are unknown are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Request {
    /// The first message of a client.
    Hello {
        /// The version that it speaks.
        version: u16,
        /// How it will prove to its peer that it knows the words of the code.
        #[serde(default)]
        proof: Proof,
        /// The local port of this connection, if the client can tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        internal: Option<u16>,
    },
    /// The only message of a connection that was opened to show its mapping.
    Show {
        /// Of the client that it belongs to.
        ticket: Ticket,
        /// The local port of this connection, if the client can tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        internal: Option<u16>,
    },
    /// Opens a room, or claims the one that the client had before it lost the server.
    Wait {
        /// The number of the room that it had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<u32>,
        /// The ticket that came with that room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<Ticket>,
    },
    /// Enters a room where somebody waits.
    Join {
        /// Its number.
        room: u32,
    },
    /// For the peer.
    Relay {
        /// What; the server does not look into it.
        text: String,
    },
    /// Asks for the server's clock, and shows that the client is alive.
    Ping {
        /// Comes back in the answer.
        #[serde(default)]
        id: u64,
    },
    /// Answers the server's ping.
    Pong {
        /// That of the ping.
        #[serde(default)]
        id: u64,
    },
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Answer {
    /// Answers `hello`.
    Welcome {
        /// The version that the server speaks.
        version: u16,
        /// The client's endpoint as the server sees it.
        observed: Endpoint,
        /// Where connections may be opened to show their mappings.
        probes: Vec<Endpoint>,
        /// What such connections show, so that they count for this client.
        ticket: Ticket,
        /// The server's clock.
        time_us: u64,
    },
    /// Answers `show`, on the same connection.
    Shown {
        /// The endpoint of this connection as the server sees it.
        observed: Endpoint,
    },
    /// All mappings that a client has shown, the newest last.
    Seen {
        /// Them.
        mappings: Vec<Seen>,
    },
    /// Answers `wait`.
    Room {
        /// The room's number.
        room: u32,
        /// What the room may be claimed with later.
        ticket: Ticket,
    },
    /// Two are in a room now.
    Paired {
        /// The room's number.
        room: u32,
        /// What the reader is in it.
        role: Role,
        /// How the other says that it will prove itself.
        proof: Proof,
    },
    /// From the peer.
    Relay {
        /// What.
        text: String,
    },
    /// The peer is gone, and with it the room.
    Gone {
        /// Why.
        why: Why,
    },
    /// Asks for a sign of life.
    Ping {
        /// Comes back in the answer.
        id: u64,
        /// The server's clock.
        time_us: u64,
    },
    /// Answers the client's ping.
    Pong {
        /// That of the ping.
        id: u64,
        /// The server's clock.
        time_us: u64,
    },
    /// Something was not done.
    Error {
        /// What kind of thing, for programs.
        code: Code,
        /// What, for people.
        #[serde(default)]
        text: String,
    },
    /// What a later server says and this client does not know; never sent.
    #[serde(other)]
    Other,
}

/// One mapping as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When the connection came, on the server's clock.
    pub time_us: u64,
    /// The endpoint of the server's that it came to.
    pub server: Endpoint,
    /// The endpoint that it came from.
    pub external: Endpoint,
    /// The local port, if the client could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<u16>,
}

/// How a client proves that it knows the words of a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// By SPAKE2 (RFC 9382's scheme, as the crate `spake2` speaks it), and a MAC on every message.
    Spake2,
    /// Not at all, or in a way that the reader does not know: the peer takes it only if its user allowed
    /// that.
    #[default]
    #[serde(other)]
    None,
}

/// What a client is in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It opened the room.
    Waiter,
    /// It entered.
    Joiner,
}

/// Why a peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It answered no ping: its host has stopped, or is out of reach.
    Silent,
    /// The server showed it out, for a message that makes no sense or for too many of them.
    Refused,
    /// Its connection ended, for a reason that the reader may not know.
    #[serde(other)]
    Left,
}

/// What kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A line is no message.
    Malformed,
    /// A line is too long.
    TooLong,
    /// A version that the server does not speak.
    Version,
    /// A message that has no place there.
    OutOfTurn,
    /// Too many connections.
    Busy,
    /// More messages a second than anybody needs.
    TooFast,
    /// Nothing was heard for too long.
    Silent,
    /// A room was open for too long.
    WaitedTooLong,
    /// The client came again by its ticket, over another connection.
    Replaced,
    /// The server ends.
    Stopping,
    /// Nobody waits in that room.
    NoSuchRoom,
    /// Somebody else has that room.
    RoomTaken,
    /// Too many rooms.
    TooManyRooms,
    /// Too many attempts to enter rooms.
    TooManyJoins,
    /// No client of this server has that ticket.
    NoSuchTicket,
    /// One that a later server has and this client does not know; never sent.
    #[serde(other)]
    Other,
}

impl Code {
    /// All that a server says.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::TooLong,
        Self::Version,
        Self::OutOfTurn,
        Self::Busy,
        Self::TooFast,
        Self::Silent,
        Self::WaitedTooLong,
        Self::Replaced,
        Self::Stopping,
        Self::NoSuchRoom,
        Self::RoomTaken,
        Self::TooManyRooms,
        Self::TooManyJoins,
        Self::NoSuchTicket,
    ];

    /// Whether the connection ends with it.
    pub const fn closes(self) -> bool {
        !matches!(
            self,
            Self::NoSuchRoom | Self::RoomTaken | Self::TooManyRooms | Self::TooManyJoins
        )
    }

    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "this line is no message of the protocol",
            Self::TooLong => "a line may have 4096 octets",
            Self::Version => "this server speaks version 1",
            Self::OutOfTurn => "this message has no place here",
            Self::Busy => "too many connections, from your address or in all",
            Self::TooFast => "too many messages a second",
            Self::Silent => "nothing was heard for too long",
            Self::WaitedTooLong => "nobody came into the room",
            Self::Replaced => "the ticket came again over another connection",
            Self::Stopping => "the server stops; claim the room once it is back",
            Self::NoSuchRoom => "nobody waits in this room",
            Self::RoomTaken => "this room is somebody else's",
            Self::TooManyRooms => "too many rooms, of your address or in all",
            Self::TooManyJoins => "too many attempts from your address; wait a minute",
            Self::NoSuchTicket => "no client here has this ticket",
            Self::Other => "something else",
        }
    }
}

/// As messages have it.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// 128 bits that nobody guesses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Ticket(pub u128);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Whoever knows a ticket may act for its client: it is kept out of logs.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

impl FromStr for Ticket {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_ticket = text.len() == 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_ticket);
        number.map(Self).ok_or("32 hexadecimal digits are wanted")
    }
}

impl From<Ticket> for String {
    fn from(ticket: Ticket) -> Self {
        ticket.to_string()
    }
}

impl TryFrom<String> for Ticket {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The server's clock as messages have it: microseconds since it started.
pub fn micros(now: Instant) -> u64 {
    now.as_nanos() / 1_000
}

/// The line that carries a message, its end included.
pub fn to_line(message: &impl Serialize) -> Vec<u8> {
    // Field names are strings, and numbers are integers: nothing here can fail.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Lines as they come out of a stream. Never holds more than the longest line.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes octets up to the end of a line: what it read, and how many octets are used up.
    ///
    /// # Errors
    /// For a line that is too long or no message. Nothing that follows it can be trusted.
    pub fn take<T: DeserializeOwned>(&mut self, octets: &[u8]) -> Result<(Option<T>, usize), Code> {
        let end = octets.iter().position(|octet| *octet == b'\n');
        let used = end.map_or(octets.len(), |end| end + 1);
        let whole = end.is_some();
        if self.pending.len() + used + usize::from(!whole) > LONGEST_LINE {
            return Err(Code::TooLong);
        }
        self.pending.extend_from_slice(&octets[..used]);
        if !whole {
            return Ok((None, used));
        }
        // Whoever says nothing keeps no memory.
        let line = std::mem::take(&mut self.pending);
        let message = serde_json::from_slice(&line).map_err(|_| Code::Malformed)?;
        Ok((Some(message), used))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic_and_are_never_kept_beyond_a_line(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..6)
        ) {
            let mut lines = Lines::default();
            for part in parts {
                let mut rest = &part[..];
                while !rest.is_empty() {
                    let Ok((_, used)) = lines.take::<Request>(rest) else { return Ok(()) };
                    rest = &rest[used..];
                }
                prop_assert!(lines.pending.len() < LONGEST_LINE);
            }
        }

        #[test]
        fn a_message_comes_out_as_it_went_in_whatever_the_parts(text in ".{0,200}", cut in 1usize..40) {
            let request = Request::Relay { text };
            let (mut lines, mut read) = (Lines::default(), Vec::new());
            for part in to_line(&request).chunks(cut) {
                let (message, used) = lines.take::<Request>(part).expect("it is one of ours");
                prop_assert_eq!(used, part.len());
                read.extend(message);
            }
            prop_assert_eq!(read, [request]);
        }
    }

    #[test]
    fn the_longest_line_is_read_and_one_octet_more_is_not() {
        let around = to_line(&Request::Relay { text: String::new() }).len();
        let line =
            |more| to_line(&Request::Relay { text: "x".repeat(LONGEST_LINE - around + more) });
        assert!(Lines::default().take::<Request>(&line(0)).is_ok_and(|(read, _)| read.is_some()));
        assert_eq!(Lines::default().take::<Request>(&line(1)), Err(Code::TooLong));
        // Nobody waits for the end of a line that is too long already.
        let endless = vec![b'x'; LONGEST_LINE];
        assert_eq!(Lines::default().take::<Request>(&endless), Err(Code::TooLong));
    }

    #[test]
    fn fields_that_are_unknown_are_ignored_and_types_that_are_unknown_are_not() {
        let read = |line: &str| Lines::default().take::<Request>(line.as_bytes());
        let ping = read("{\"type\":\"ping\",\"id\":3,\"mood\":\"good\"}\n").expect("a ping").0;
        assert_eq!(ping, Some(Request::Ping { id: 3 }));
        assert_eq!(read("{\"type\":\"sing\"}\n"), Err(Code::Malformed));
        assert_eq!(read("\n"), Err(Code::Malformed));
    }

    #[test]
    fn a_code_is_called_as_messages_have_it() {
        assert_eq!(Code::WaitedTooLong.to_string(), "waited-too-long");
    }

    #[test]
    fn a_ticket_is_32_digits_and_not_shown_by_accident() {
        let ticket = Ticket(7);
        assert_eq!(ticket.to_string().parse(), Ok(ticket));
        assert!(!format!("{ticket:?}").contains('7'));
        for wrong in ["7", "+0000000000000000000000000000007", ""] {
            assert!(wrong.parse::<Ticket>().is_err());
        }
    }
}
