//! What the two ends of a punch say to each other over a byte stream: one JSON object a line.
//!
//! ```text
//!  via:     hello        ping … ping           go ········ saw, told … done
//!  listens:       hello       pong … pong         ········ saw, told … done
//! ```
//!
//! An end that has nothing to open says done in place of its first ping.

use serde::{Deserialize, Serialize};

use super::prospect::Prospect;
use crate::engine::Punched;
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use crate::wire::control::PacketText;
use crate::wire::printable;

/// The version that both ends must speak; raised by every change that an older peer would misread.
pub const VERSION: u16 = 1;

/// A longer line is nonsense.
pub const LONGEST_LINE: usize = 16 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "signal", rename_all = "kebab-case")]
pub enum Signal {
    /// The first message of either end.
    Hello {
        /// The version that it speaks.
        version: u16,
        /// The local port that it punches from.
        port: u16,
        /// Its external endpoint, if it knows it; else whoever reads this takes the address that the
        /// stream comes from, and that port.
        external: Option<Endpoint>,
        /// Where it will be seen from, if a server has helped it to find out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prospect: Option<Prospect>,
    },
    /// The end that decides asks for the other's clock.
    Ping {
        /// Which question.
        number: u32,
    },
    /// The answer.
    Pong {
        /// To which question.
        number: u32,
        /// When the question came, on the clock of who answers.
        received: Instant,
        /// When this left, on the same clock.
        answered: Instant,
    },
    /// The end that decides has decided.
    Go {
        /// When the reader's first SYN is to leave, on the reader's clock; none for at once.
        at: Option<Instant>,
        /// How the reader's clock stands to the writer's.
        clocks: Clocks,
        /// One SYN of each end is to leave, and no second one: so long may it take to see what comes
        /// of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trial: Option<Duration>,
    },
    /// A packet of this end's.
    Saw {
        /// When, on this end's clock.
        at: Instant,
        /// Whether it came in.
        inbound: bool,
        /// The packet.
        packet: PacketText,
    },
    /// What else happened to this end.
    Told {
        /// What, with the moments in it on this end's clock.
        what: Punched,
    },
    /// All has been told.
    Done,
    /// What a later peer says and this one does not know; never sent.
    #[serde(other)]
    Other,
}

/// How the clock of the end that listens stands to that of the end that decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// By how much it is ahead, in nanoseconds.
    pub ahead_ns: i64,
    /// How far off that can be.
    pub error: Duration,
    /// The shortest round trip that was measured.
    pub round_trip: Duration,
}

/// The line that carries a signal, its end included.
pub fn to_line(signal: &Signal) -> Vec<u8> {
    let mut line = serde_json::to_vec(signal).expect("a signal has string keys alone");
    line.push(b'\n');
    line
}

/// Lines as they come out of a stream.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes octets as they come.
    pub fn take(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
    }

    /// The next signal, once its line is whole.
    ///
    /// # Errors
    /// Says what is wrong with a line; nothing that follows it can be trusted.
    pub fn next(&mut self) -> Result<Option<Signal>, String> {
        let Some(end) = self.pending.iter().position(|octet| *octet == b'\n') else {
            let too_long = self.pending.len() > LONGEST_LINE;
            return if too_long { Err("a line without end".to_owned()) } else { Ok(None) };
        };
        let line: Vec<_> = self.pending.drain(..=end).collect();
        serde_json::from_slice(&line).or_else(|why| unheeded(&line, &why)).map(Some)
    }
}

/// What a later peer tells of its run may be of a kind that is not known here, and may be left unread.
fn unheeded(line: &[u8], why: &serde_json::Error) -> Result<Signal, String> {
    #[derive(Deserialize)]
    #[serde(tag = "signal", rename_all = "kebab-case")]
    enum Report {
        Saw,
        Told,
    }
    let is_report = serde_json::from_slice::<Report>(line).is_ok();
    if is_report { Ok(Signal::Other) } else { Err(printable(&why.to_string())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8)) {
            let mut lines = Lines::default();
            for part in parts {
                lines.take(&part);
                while let Ok(Some(_)) = lines.next() {}
            }
        }
    }

    #[test]
    fn a_signal_comes_out_as_it_went_in_whatever_the_parts() {
        let signal = Signal::Hello { version: VERSION, port: 7000, external: None, prospect: None };
        let line = to_line(&signal);
        let mut lines = Lines::default();
        for octet in [&line[..], &line[..]].concat() {
            lines.take(&[octet]);
        }
        assert_eq!(lines.next(), Ok(Some(signal.clone())));
        assert_eq!(lines.next(), Ok(Some(signal)));
        assert_eq!(lines.next(), Ok(None));
    }

    #[test]
    fn signals_are_as_documented() {
        let page = include_str!("../../docs/protocol.md");
        let examples = page.lines().filter_map(|line| line.split_once(" | `{\"signal\""));
        let mut count = 0;
        for (_, rest) in examples {
            let text = format!("{{\"signal\"{}", rest.trim_end_matches("` |"));
            let signal: Signal = serde_json::from_str(&text).expect(&text);
            assert_eq!(serde_json::to_string(&signal).expect("a signal is JSON"), text);
            count += 1;
        }
        assert_eq!(count, 5);
    }

    #[test]
    fn what_a_later_peer_adds_is_ignored() {
        let hear = |text: &str| {
            let mut lines = Lines::default();
            lines.take(format!("{text}\n").as_bytes());
            lines.next()
        };
        let hello = r#"{"signal":"hello","version":1,"port":7,"external":null,"mood":"good","prospect":
            {"external":[],"first":1,"any":2,"steady":true,"within":null,"without":3}}"#;
        let heard = hear(&hello.replace('\n', "")).expect("it is a hello");
        assert!(matches!(heard, Some(Signal::Hello { port: 7, .. })), "{heard:?}");
        for other in [
            r#"{"signal":"song","verse":1}"#,
            r#"{"signal":"told","what":{"punch":"sang"}}"#,
            r#"{"signal":"saw","at":"noon"}"#,
        ] {
            assert_eq!(hear(other), Ok(Some(Signal::Other)), "{other}");
        }
        for nonsense in [r#"{"signal":"ping"}"#, r#"{"verse":1}"#, "[]", "\"\\u001b\""] {
            let why = hear(nonsense).expect_err(nonsense);
            assert!(!why.contains('\u{1b}'), "{why:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.take(&vec![b'{'; LONGEST_LINE + 1]);
        assert!(lines.next().is_err());
    }
}
