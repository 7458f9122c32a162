//! A one-way path: delay, jitter, loss in several shapes, duplication. Reordering follows from
//! jitter.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::time::{Duration, Instant};
use crate::wire::Packet;

/// What a path does to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// How long every packet takes.
    pub delay: Duration,
    /// How much longer it may take, evenly spread.
    pub jitter: Duration,
    /// Which packets are lost.
    pub loss: Loss,
    /// The share of packets that arrive twice.
    pub duplicated: f64,
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this chance.
    Independent(f64),
    /// All, for a while, now and then.
    Bursts {
        /// The share of time that is lossy.
        share: f64,
        /// How long such a while lasts on average.
        length: Duration,
    },
    /// Each bare SYN with this chance.
    Syns(f64),
    /// Every bare SYN beyond a rate, as OpenWrt's `syn_flood` does.
    SynLimit {
        /// The rate.
        per_second: u32,
        /// How many may come at once.
        burst: u32,
    },
}

/// A one-way path with its own luck.
#[derive(Clone, Debug)]
pub struct Link {
    weather: Weather,
    random: Xoshiro256PlusPlus,
    /// Until when the present spell lasts, and whether it is a lossy one.
    spell: (Instant, bool),
    /// The limiter's tokens, and when they were counted.
    tokens: (f64, Instant),
}

impl Link {
    /// A path in this weather.
    pub fn new(weather: Weather, seed: u64) -> Self {
        let tokens = match weather.loss {
            Loss::SynLimit { burst, .. } => f64::from(burst),
            _ => 0.0,
        };
        Self {
            weather,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            spell: (Instant::START, true),
            tokens: (tokens, Instant::START),
        }
    }

    /// When a packet that enters now comes out: never, once, or twice.
    pub fn pass(&mut self, now: Instant, packet: &Packet) -> [Option<Instant>; 2] {
        if self.loses(now, packet) {
            return [None, None];
        }
        let again =
            self.weather.duplicated > 0.0 && self.random.random_bool(self.weather.duplicated);
        [Some(self.arrival(now)), again.then(|| self.arrival(now))]
    }

    fn arrival(&mut self, now: Instant) -> Instant {
        let Weather { delay, jitter, .. } = self.weather;
        if jitter.is_zero() {
            return now + delay;
        }
        now + delay + jitter.mul_f64(self.random.random::<f64>())
    }

    fn loses(&mut self, now: Instant, packet: &Packet) -> bool {
        let syn = || packet.segment().is_some_and(|segment| segment.is_bare_syn());
        match self.weather.loss {
            Loss::None => false,
            Loss::Independent(chance) => self.random.random_bool(chance),
            Loss::Bursts { share, length } => self.in_lossy_spell(now, share, length),
            Loss::Syns(chance) => syn() && self.random.random_bool(chance),
            Loss::SynLimit { per_second, burst } => {
                syn() && !self.has_token(now, per_second, burst)
            }
        }
    }

    /// Spells follow each other, lossy and not, each of random length about its mean.
    fn in_lossy_spell(&mut self, now: Instant, share: f64, length: Duration) -> bool {
        while self.spell.0 <= now {
            let lossy = !self.spell.1;
            let mean = if lossy { length } else { length.mul_f64((1.0 - share) / share) };
            // An exponential length: spells end without memory of when they began.
            let stretch = -f64::ln(1.0 - self.random.random::<f64>());
            self.spell = (self.spell.0 + mean.mul_f64(stretch).max(SHORTEST_SPELL), lossy);
        }
        self.spell.1
    }

    fn has_token(&mut self, now: Instant, per_second: u32, burst: u32) -> bool {
        let (tokens, counted) = self.tokens;
        let earned = now.since(counted).as_secs_f64() * f64::from(per_second);
        let tokens = (tokens + earned).min(f64::from(burst));
        let has = tokens >= 1.0;
        self.tokens = (if has { tokens - 1.0 } else { tokens }, now);
        has
    }
}

const SHORTEST_SPELL: Duration = Duration::from_micros(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Segment, Seq};

    fn syn() -> Packet {
        let end = |text: &str| text.parse().expect("an endpoint");
        Packet::tcp(end("192.0.2.1:1"), end("192.0.2.2:2"), Segment::syn(Seq(1), 0))
    }

    fn lost(loss: Loss, packets: u64, every: Duration) -> u64 {
        let mut link = Link::new(Weather { loss, ..Weather::default() }, 7);
        let at = |number: u64| Instant::START + every * u32::try_from(number).expect("few");
        (0..packets).filter(|number| link.pass(at(*number), &syn())[0].is_none()).count() as u64
    }

    #[test]
    fn each_shape_of_loss_loses_about_its_share() {
        let every = Duration::from_millis(1);
        assert!((1_700..2_300).contains(&lost(Loss::Independent(0.2), 10_000, every)));
        let bursts = Loss::Bursts { share: 0.2, length: Duration::from_millis(20) };
        assert!((1_500..2_500).contains(&lost(bursts, 10_000, every)));
        let limit = Loss::SynLimit { per_second: 25, burst: 50 };
        assert!((9_650..=9_750).contains(&lost(limit, 10_000, every)));
    }

    #[test]
    fn a_link_delays() {
        let delay = Duration::from_millis(50);
        let mut link = Link::new(Weather { delay, ..Weather::default() }, 7);
        assert_eq!(link.pass(Instant::START, &syn()), [Some(Instant::from_millis(50)), None]);
    }
}
