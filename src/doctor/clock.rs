//! Whether the clock can be trusted to leave at the time that was agreed upon.

use super::{Check, Facts, Name, State};
use crate::time::Duration;

pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new(Name::Clock, MATTERS);
    let discipline = match &facts.clock {
        Ok(discipline) => discipline,
        Err(unseen) => {
            check.misses(unseen);
            return check.done();
        }
    };
    let (estimated, maximum) = (discipline.estimated_error, discipline.maximum_error);
    check.numbers.estimated_error_us = u64::try_from(estimated.as_micros()).ok();
    check.numbers.maximum_error_us = u64::try_from(maximum.as_micros()).ok();
    let errors = format!(
        "the kernel puts its error at {}, {} at most",
        milliseconds(estimated),
        milliseconds(maximum)
    );
    if !discipline.is_kept {
        let seen = format!("nobody keeps the clock; {errors}");
        check.finds(State::Warning, seen, "sudo timedatectl set-ntp true");
    } else if estimated > TOLERABLE {
        let seen = format!("the clock is kept, but badly: {errors}");
        check.finds(State::Warning, seen, "chronyc tracking");
    } else {
        check.sees(format!("the clock is kept; {errors}"));
    }
    check.done()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// The one-way delay of a short path through the Internet.
const TOLERABLE: Duration = Duration::from_millis(10);

const MATTERS: &str = "With punch --at, both sides must leave within the one-way delay of each \
                       other, each by its own clock.";
