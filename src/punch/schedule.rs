//! When to try.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::time::{Duration, Instant};

/// The moments of a punch's attempts, the same at both ends but for those that wander.
///
/// The first is the one agreed on, and every second one after it keeps its beat: whatever the clocks
/// agree on, they agree on there. Those between wander: where the clocks are off by more than the
/// crossing window, and NATs answer early SYNs with a reset, only a chance meeting is left.
#[derive(Clone, Debug)]
pub struct Schedule {
    first: Instant,
    random: Xoshiro256PlusPlus,
    next: u32,
}

impl Schedule {
    /// Attempts from this moment on.
    pub fn new(first: Instant, seed: u64) -> Self {
        Self { first, random: Xoshiro256PlusPlus::seed_from_u64(seed), next: 0 }
    }

    /// The next moment after `now`; the first of all even if it has passed.
    pub fn next_after(&mut self, now: Instant) -> Instant {
        loop {
            let at = self.draw();
            if now < at || at == self.first {
                return at;
            }
        }
    }

    fn draw(&mut self) -> Instant {
        let beat = self.first + HALF_BEAT * self.next;
        let keeps_beat = self.next.is_multiple_of(2);
        self.next += 1;
        if keeps_beat {
            return beat;
        }
        let astray = self.random.random_range(0..2 * ASTRAY.as_nanos() as u64);
        beat - ASTRAY + Duration::from_nanos(astray)
    }
}

/// Half the time between two attempts on the beat: longer than a reset takes to come back on most
/// paths, short enough for many attempts in ten seconds.
const HALF_BEAT: Duration = Duration::from_millis(250);

/// How far an attempt off the beat may lie from the middle.
const ASTRAY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Instant = Instant::from_millis(1_000);

    #[test]
    fn two_ends_meet_on_every_second_attempt_whatever_their_seeds() {
        let [mut a, mut b] = [Schedule::new(FIRST, 1), Schedule::new(FIRST, 2)];
        for place in 0..20 {
            let (one, other) = (a.draw(), b.draw());
            assert_eq!(one == other, place % 2 == 0, "attempt {place}: {one} and {other}");
        }
    }

    #[test]
    fn attempts_follow_each_other() {
        let mut schedule = Schedule::new(FIRST, 3);
        let all: Vec<_> = (0..40).map(|_| schedule.draw()).collect();
        assert!(all.is_sorted());
    }

    #[test]
    fn the_first_is_not_missed_for_being_late_and_others_are() {
        let mut schedule = Schedule::new(FIRST, 4);
        let late = Instant::from_millis(1_900);
        assert_eq!(schedule.next_after(late), FIRST);
        assert!(schedule.next_after(late) > late);
    }
}
