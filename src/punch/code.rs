//! The code that one user tells the other: a room of the server's, and two words that the server never
//! learns.

use std::fmt;
use std::str::FromStr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A code such as `7-violin-lagoon`: two words, or more where it stays for long.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// The room.
    pub room: u32,
    /// The words.
    pub words: Words,
}

/// Words that prove to each end who the other is. Of two, one guess in 60 million is right, and each
/// guess takes a pairing.
#[derive(Clone, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// Two words, drawn from 256 random bits: for a code that is used once.
    pub fn two(secret: [u8; 32]) -> Self {
        Self::random(secret, 2)
    }

    /// Four, for a code that stays: nobody ever guesses them, however often they try.
    pub fn four(secret: [u8; 32]) -> Self {
        Self::random(secret, 4)
    }

    fn random(secret: [u8; 32], count: usize) -> Self {
        let mut random = StdRng::from_seed(secret);
        let known: Vec<_> = known().collect();
        let draw = || known[random.random_range(0..known.len())];
        Self(std::iter::repeat_with(draw).take(count).collect::<Vec<_>>().join("-"))
    }

    /// As octets, all that two ends need to have in common.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// All words that codes are made of, in their order.
fn known() -> impl Iterator<Item = &'static str> {
    WORDS.lines().filter(|line| !line.starts_with('#'))
}

/// Of the few that a word may have been meant for.
fn meant(word: &str) -> String {
    let alike = |length: usize| {
        let begin = word.get(..length).filter(|_| word.len() >= length);
        begin.map(|begin| known().filter(|known| known.starts_with(begin)).collect::<Vec<_>>())
    };
    let mut fewest = (3..=word.len()).rev().filter_map(alike);
    let found = fewest.find(|found| (1..=SUGGESTED).contains(&found.len()));
    found.map(|found| format!("; is it {}?", found.join(" or "))).unwrap_or_default()
}

impl FromStr for Code {
    type Err = String;

    /// As people type it: in letters of either case, with spaces for hyphens.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        let parts: Vec<_> =
            text.split(['-', ' ', '_', '.']).filter(|part| !part.is_empty()).collect();
        let [room, words @ ..] = &parts[..] else { return Err(SHAPE.to_owned()) };
        let room = room.parse().map_err(|_| SHAPE.to_owned())?;
        if !WORDS_OF_A_CODE.contains(&words.len()) {
            return Err(SHAPE.to_owned());
        }
        for word in words {
            if !known().any(|known| known == *word) {
                return Err(format!("no code has the word '{word}'{}", meant(word)));
            }
        }
        Ok(Self { room, words: Words(words.join("-")) })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.room, self.words.0)
    }
}

/// Whoever knows the words may pass for the peer: they are kept out of logs.
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(…)")
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-…)", self.room)
    }
}

const WORDS: &str = include_str!("code/words.txt");

const WORDS_OF_A_CODE: std::ops::RangeInclusive<usize> = 2..=4;

const SHAPE: &str = "a code is a number and two words: 7-violin-lagoon";

/// More words than these help nobody.
const SUGGESTED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_words_and_each_is_one() {
        let all: Vec<_> = known().collect();
        assert!(all.len() > 7_000, "{}", all.len());
        assert!(all.is_sorted() && all.windows(2).all(|two| two[0] != two[1]));
        assert!(all.iter().all(|word| word.bytes().all(|letter| letter.is_ascii_lowercase())));
    }

    #[test]
    fn a_code_is_read_as_it_was_written_and_as_people_type_it() {
        let code = Code { room: 7, words: Words::four([5; 32]) };
        assert_eq!(code.to_string().parse(), Ok(code));
        let code: Code = "7-violin-lagoon".parse().expect("a code");
        for typed in ["  7 Violin Lagoon", "7-VIOLIN-LAGOON", "7_violin.lagoon\n"] {
            assert_eq!(typed.parse(), Ok(code.clone()));
        }
    }

    #[test]
    fn what_is_no_code_is_explained() {
        for wrong in ["", "7", "violin-lagoon", "7-violin", "7-violin-violin-violin-violin-violin"]
        {
            assert!(wrong.parse::<Code>().is_err(), "{wrong}");
        }
        let told = "7-violin-lagon".parse::<Code>().expect_err("no word");
        assert!(told.contains("'lagon'") && told.contains("lagoon"), "{told}");
    }

    #[test]
    fn words_differ_from_secret_to_secret_and_are_not_shown_by_accident() {
        assert_ne!(Words::two([1; 32]), Words::two([2; 32]));
        let code: Code = "7-violin-lagoon".parse().expect("a code");
        assert!(!format!("{code:?}").contains("violin"));
    }
}
