//! Meetings of two ends in the lab, by a code, many times over.

use crate::engine::Trouble;
use crate::lab::{self, HostPorts, Introducing, Pair, PairPlan};
use crate::live::Stop;
use crate::os;
use crate::report::Meetings;
use crate::time::Duration;
use crate::verdict::judge_punch;

/// Which ends meet, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Arrangement {
    /// How each host chooses ports.
    pub hosts: [HostPorts; 2],
    /// Whether the ends bind ports of their own.
    pub binds: bool,
    /// How often they meet.
    pub trials: u16,
    /// How many attempts each meeting has.
    pub attempts: u32,
}

impl Arrangement {
    /// Lets them meet in this lab; none if it was interrupted.
    ///
    /// # Errors
    /// When the lab fails.
    pub fn meet(
        &self,
        pair: &Pair,
        plan: &PairPlan,
        stop: Stop<'_>,
    ) -> os::Result<Option<Meetings>> {
        let mut meetings = Meetings::default();
        for trial in 0..self.trials {
            // What two ends have tried before is not tried again in the same lab.
            let ports = self.binds.then(|| [7_001, 7_002].map(|port| port + 2 * trial));
            let introducing = Introducing {
                hosts: self.hosts,
                ports,
                attempts: self.attempts,
                patience: 4 * plan.weather.delay + ANSWER,
                seed: plan.seed.wrapping_add(u64::from(trial)),
            };
            let came = lab::meet(pair, plan, &introducing, stop)?;
            let verdicts: Vec<_> = came.runs.iter().map(judge_punch).collect();
            if verdicts.iter().any(|verdict| verdict.trouble.contains(&Trouble::Interrupted)) {
                return Ok(None);
            }
            let foreseen = verdicts.iter().filter_map(|verdict| verdict.foreseen.as_ref());
            let chances: Vec<_> = foreseen.map(|foreseen| foreseen.chance).collect();
            meetings.take(&chances, came.carries == Some(true));
        }
        Ok(Some(meetings))
    }
}

/// So many labs at once: each waits most of the time.
pub const AT_ONCE: usize = 6;

/// For an answer, beyond the ways of packets, and for a SYN that is sent again.
const ANSWER: Duration = Duration::from_millis(1_200);
