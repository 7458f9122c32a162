//! What two ends say to each other through a server that neither trusts.
//!
//! Both know the words of a code. SPAKE2 (RFC 9382) makes a key of them that nobody else can compute:
//! whoever is in between, the server included, can try one guess of the words for each meeting, and fails
//! with it. Under that key each message is sealed (RFC 8439), by its direction and its number, so that
//! none can be read, changed, left out, repeated or sent back unnoticed.

use data_encoding::BASE64;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::code::Words;
use crate::rendezvous::introducer::Role;

/// A key exchange that has begun.
pub struct Handshake {
    exchange: Spake2<Ed25519Group>,
    role: Role,
}

/// A conversation under a key.
#[derive(Debug)]
pub struct Sealed {
    outgoing: Direction,
    incoming: Direction,
}

#[derive(Debug)]
struct Direction {
    key: LessSafeKey,
    /// How many messages there were.
    count: u64,
}

impl Handshake {
    /// Begins, with 256 random bits: what to say to the peer.
    pub fn begin(words: &Words, role: Role, secret: [u8; 32]) -> (Self, String) {
        let random = ChaCha20Rng::from_seed(secret);
        let (password, [waiter, joiner]) =
            (Password::new(words.as_bytes()), [WAITER, JOINER].map(Identity::new));
        let (exchange, message) = match role {
            Role::Waiter => Spake2::start_a_with_rng(&password, &waiter, &joiner, random),
            Role::Joiner => Spake2::start_b_with_rng(&password, &waiter, &joiner, random),
        };
        (Self { exchange, role }, BASE64.encode(&message))
    }

    /// Takes what the peer said. Whether it knows the words shows with the first message that is opened.
    /// None if that is no such message.
    pub fn finish(self, theirs: &str) -> Option<Sealed> {
        let message = BASE64.decode(theirs.as_bytes()).ok()?;
        let secret = self.exchange.finish(&message).ok()?;
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, PROTOCOL).extract(&secret);
        let direction = |from: &'static [u8]| {
            let key = secret.expand(&[from], &CHACHA20_POLY1305).map(UnboundKey::from).ok()?;
            Some(Direction { key: LessSafeKey::new(key), count: 0 })
        };
        let [waiter, joiner] = [direction(WAITER)?, direction(JOINER)?];
        Some(match self.role {
            Role::Waiter => Sealed { outgoing: waiter, incoming: joiner },
            Role::Joiner => Sealed { outgoing: joiner, incoming: waiter },
        })
    }
}

impl Sealed {
    /// Seals the next message.
    pub fn seal(&mut self, message: &[u8]) -> String {
        let (key, nonce) = self.outgoing.next();
        let mut sealed = message.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .expect("a message is far shorter than 256 GiB, the most that one nonce seals");
        BASE64.encode(&sealed)
    }

    /// Opens the peer's next message; none if it is not that, by the same key.
    pub fn open(&mut self, text: &str) -> Option<Vec<u8>> {
        let mut sealed = BASE64.decode(text.as_bytes()).ok()?;
        let (key, nonce) = self.incoming.next();
        let message = key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(message.to_vec())
    }
}

impl Direction {
    /// The key, and a number that was not used before.
    fn next(&mut self) -> (&LessSafeKey, Nonce) {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.count.to_be_bytes());
        self.count += 1;
        (&self.key, Nonce::assume_unique_for_key(nonce))
    }
}

/// Raised with every change of what is said under the key.
const PROTOCOL: &[u8] = b"tso-probe punch 1";

const WAITER: &[u8] = b"waiter";

const JOINER: &[u8] = b"joiner";

#[cfg(test)]
mod tests {
    use super::super::code::Code;
    use super::*;

    #[test]
    fn who_knows_the_words_is_understood_both_ways() {
        let (mut waiter, mut joiner) = met("7-violin-lagoon", "9-violin-lagoon");
        for word in [&b"one"[..], b"", b"three"] {
            let text = waiter.seal(word);
            assert_eq!(joiner.open(&text).as_deref(), Some(word));
            let text = joiner.seal(word);
            assert_eq!(waiter.open(&text).as_deref(), Some(word));
        }
    }

    #[test]
    fn who_does_not_know_them_is_not() {
        let (mut waiter, mut joiner) = met("7-violin-lagoon", "7-lagoon-violin");
        let text = joiner.seal(b"hello");
        assert_eq!(waiter.open(&text), None);
    }

    #[test]
    fn what_was_changed_repeated_left_out_or_sent_back_is_not_opened() {
        let fresh = || {
            let (mut waiter, joiner) = met("7-violin-lagoon", "7-violin-lagoon");
            let texts = [waiter.seal(b"first"), waiter.seal(b"second")];
            (waiter, joiner, texts)
        };
        let (_, mut joiner, [first, second]) = fresh();
        assert!(joiner.open(&first).is_some() && joiner.open(&first).is_none());
        assert!(fresh().1.open(&second).is_none());
        let (mut waiter, _, [first, _]) = fresh();
        assert!(waiter.open(&first).is_none());
        for place in 0..first.len() {
            let mut changed = first.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(fresh().1.open(&changed), None, "{place}");
        }
    }

    #[test]
    fn nonsense_is_no_key() {
        for nonsense in ["", "?", "QUJD", "AAAA=", &"A".repeat(44), &"/".repeat(44)] {
            let words = "7-violin-lagoon".parse::<Code>().expect("a code").words;
            let (handshake, _) = Handshake::begin(&words, Role::Waiter, [1; 32]);
            assert!(handshake.finish(nonsense).is_none(), "{nonsense}");
        }
    }

    /// A waiter and a joiner who know these codes.
    fn met(waiter: &str, joiner: &str) -> (Sealed, Sealed) {
        let begin = |code: &str, role, secret| {
            Handshake::begin(&code.parse::<Code>().expect("a code").words, role, [secret; 32])
        };
        let (waiter, says) = begin(waiter, Role::Waiter, 1);
        let (joiner, answers) = begin(joiner, Role::Joiner, 2);
        let keys = waiter.finish(&answers).zip(joiner.finish(&says));
        keys.expect("both are messages")
    }
}
