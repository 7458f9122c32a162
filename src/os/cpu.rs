//! How much of the time that this machine's CPUs have is somebody else's (proc_stat(5)).

use std::{fs, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

use super::{Error, Result};

/// Time of all CPUs together since boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime {
    /// All of it.
    pub total: u64,
    /// What a hypervisor gave to others though this machine had work to do.
    pub stolen: u64,
}

/// The time until now.
///
/// # Errors
/// When there is no `/proc/stat`, or it has no steal time in it.
pub fn time() -> Result<CpuTime> {
    let text = fs::read_to_string(FILE).map_err(|e| Error::kernel("read", FILE, e))?;
    parse(&text).ok_or_else(|| Error::text("read", FILE, "its first line is not that of all CPUs"))
}

impl CpuTime {
    /// The share that was stolen since `earlier`, from 0 to 1; none if no tick has passed.
    pub fn stolen_since(self, earlier: Self) -> Option<f64> {
        let total = self.total.checked_sub(earlier.total).filter(|ticks| *ticks > 0)?;
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        Some(stolen as f64 / total as f64)
    }

    /// How much was stolen since `earlier`, to a tick, which is commonly 10 ms.
    pub fn stolen_time_since(self, earlier: Self) -> Duration {
        let ticks = self.stolen.saturating_sub(earlier.stolen);
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        let per_second = per_second.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(USER_HZ);
        Duration::from_secs(ticks) / per_second.max(1)
    }
}

/// Keeps the calling thread on the n-th of the CPUs that it may run on; where there are fewer, or it
/// is forbidden, it runs as before.
pub fn pin_to(nth: usize) {
    let this_thread = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this_thread) else { return };
    let mut cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut only = CpuSet::new();
    if let Some(cpu) = cpus.nth(nth)
        && only.set(cpu).is_ok()
    {
        // Then it runs anywhere.
        let _ = sched_setaffinity(this_thread, &only);
    }
}

/// user nice system idle iowait irq softirq steal guest guest_nice; the guests' time is in user's and
/// nice's already.
fn parse(text: &str) -> Option<CpuTime> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Option<Vec<u64>> =
        line.split_whitespace().take(8).map(|field| field.parse().ok()).collect();
    let fields = fields?;
    Some(CpuTime { total: fields.iter().sum(), stolen: *fields.get(7)? })
}

/// What every architecture in use has (time(7)).
const USER_HZ: u32 = 100;

const FILE: &str = "/proc/stat";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_two_readings_is_that_of_the_time_between() {
        let before = parse("cpu  100 0 50 800 0 0 0 10 60 0\ncpu0 1 2\n").unwrap();
        assert_eq!(before, CpuTime { total: 960, stolen: 10 });
        let after = parse("cpu  110 0 55 840 0 0 0 35 61 0\n").unwrap();
        assert_eq!(after.stolen_since(before), Some(25.0 / 80.0));
        assert_eq!(before.stolen_since(before), None);
        assert_eq!(after.stolen_time_since(before), Duration::from_millis(250));
    }

    #[test]
    fn a_kernel_without_steal_time_is_told_apart() {
        assert_eq!(parse("cpu  100 0 50 800\n"), None);
        assert_eq!(parse("intr 5\n"), None);
    }
}
