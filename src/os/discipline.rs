//! What the kernel knows of its own clock's accuracy (adjtimex(2)).

use std::time::Duration;

use nix::libc;

use super::{Error, Result};

/// How well `CLOCK_REALTIME` is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discipline {
    /// Whether somebody keeps it: an NTP or PTP daemon that says so to the kernel.
    pub is_kept: bool,
    /// How far off it is likely to be.
    pub estimated_error: Duration,
    /// How far off it can be at most. It grows by itself between corrections.
    pub maximum_error: Duration,
}

/// Asks the kernel and changes nothing.
///
/// # Errors
/// [`super::Kind::Privilege`] in containers that forbid the call.
pub fn discipline() -> Result<Discipline> {
    // SAFETY: timex is integers alone, for which zeros are valid; no mode set means to read only.
    #[allow(unsafe_code)]
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a timex of ours that outlives the call, which fills it in.
    #[allow(unsafe_code)]
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state == -1 {
        let why = std::io::Error::last_os_error();
        return Err(Error::kernel("ask for the accuracy of", "the clock", why));
    }
    let microseconds = |n: libc::c_long| Duration::from_micros(u64::try_from(n).unwrap_or(0));
    Ok(Discipline {
        is_kept: timex.status & libc::STA_UNSYNC == 0,
        estimated_error: microseconds(timex.esterror),
        maximum_error: microseconds(timex.maxerror),
    })
}
