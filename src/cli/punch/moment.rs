//! The moment that two ends agree on.

use std::str::FromStr;

use crate::time::Duration;

/// When a SYN is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// As the next minute begins.
    NextMinute,
    /// So long after the program was started.
    After(Duration),
    /// At this time since 1970-01-01 UTC.
    At(Duration),
}

impl Moment {
    /// The moment, since 1970-01-01 UTC, if it is `now`. A minute that begins within a second is too
    /// close to be prepared for: the one after is taken.
    pub fn since_epoch(self, now: Duration) -> Duration {
        match self {
            Self::NextMinute => {
                let minutes = (now + SOON).as_secs() / 60 + 1;
                Duration::from_secs(minutes * 60)
            }
            Self::After(delay) => now + delay,
            Self::At(moment) => moment,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "next-minute" {
            return Ok(Self::NextMinute);
        }
        if let Some(delay) = text.strip_prefix('+') {
            let delay = humantime::parse_duration(delay).map_err(|why| format!("{why}"))?;
            let longest = "no more than a day is waited";
            return if delay > LONGEST { Err(longest.to_owned()) } else { Ok(Self::After(delay)) };
        }
        let moment = humantime::parse_rfc3339_weak(text).map_err(|_| WANTED.to_owned())?;
        let moment = moment.duration_since(std::time::UNIX_EPOCH).map_err(|_| WANTED.to_owned())?;
        Ok(Self::At(moment))
    }
}

/// A moment as people write it, in UTC.
pub fn in_words(since_epoch: Duration) -> String {
    let moment = std::time::UNIX_EPOCH + since_epoch;
    humantime::format_rfc3339_millis(moment).to_string()
}

const WANTED: &str = "next-minute, +3s, or a time such as 2026-01-31T12:00:00Z is wanted";
const SOON: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_minute_a_delay_or_an_instant() {
        let minute = Duration::from_secs(60);
        assert_eq!("next-minute".parse(), Ok(Moment::NextMinute));
        assert_eq!("+1500ms".parse(), Ok(Moment::After(Duration::from_millis(1500))));
        assert_eq!("1970-01-01T00:01:00Z".parse(), Ok(Moment::At(minute)));
        assert_eq!("1970-01-01 00:01:00".parse(), Ok(Moment::At(minute)));
        for bad in ["", "soon", "3s", "+", "+2days", "12:00", "1969-01-01T00:00:00Z", "+-1s"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_minute_that_is_about_to_begin_is_left_out() {
        let at = |now| Moment::NextMinute.since_epoch(Duration::from_secs_f64(now)).as_secs();
        assert_eq!(at(0.0), 60);
        assert_eq!(at(58.9), 60);
        assert_eq!(at(59.1), 120);
    }
}
