//! Whether this machine gets the time that it counts on.

use super::{Check, Facts, Name, State};
use crate::time::Duration;

pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new(Name::Cpu, MATTERS);
    match &facts.stolen {
        Err(unseen) => check.misses(unseen),
        Ok(share) => {
            let percent = (share * 1000.0).round() / 10.0;
            check.numbers.stolen_percent = Some(percent);
            let seen = format!("{percent:.1} % of the CPU time went to others on the same host");
            if *share > TOLERABLE_SHARE {
                check.finds(State::Warning, seen, ELSEWHERE)
            } else {
                check.sees(seen)
            }
        }
    }
    match &facts.lateness {
        Err(unseen) => check.misses(unseen),
        Ok(late) => {
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            check.numbers.late_p50_us = Some(micros(late.p50));
            check.numbers.late_p99_us = Some(micros(late.p99));
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let (half, most) = (ms(late.p50), ms(late.p99));
            let seen = format!("timed waits end {half:.2} ms late (p50), {most:.2} ms (p99)");
            if late.p99 > TOLERABLE_LATENESS {
                check.finds(State::Warning, seen, FIRST)
            } else {
                check.sees(seen)
            }
        }
    }
    check.done()
}

/// A tenth.
const TOLERABLE_SHARE: f64 = 0.1;

/// As much as the one-way delay of a short path through the Internet.
const TOLERABLE_LATENESS: Duration = Duration::from_millis(10);

const MATTERS: &str = "A process that is not run when its time has come sends late: delays are \
                       measured too long, and SYNs miss each other.";
/// Nothing on this machine mends it.
const ELSEWHERE: &str = "vmstat 1  # column st; run it on a host that is less busy";
const FIRST: &str = "sudo chrt --fifo 50 tso-probe COMMAND";
