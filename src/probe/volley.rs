//! Volleys: unsolicited segments shot back to back with companions that are known to pass.
//!
//! A NAT that filters and a path that loses look alike. A companion that left beside a shot and
//! arrived shows that the path was alive just then; how many companions did not arrive measures the
//! loss that the silence has to be weighed against.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::patience::Patience;
use crate::time::Duration;
use crate::wire::control::{ProbeId, Shot, Volley};
use crate::wire::{Endpoint, Seq};

/// A segment that volleys should carry for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The reflector's endpoint that it comes from.
    pub from: Endpoint,
    /// Where it goes.
    pub to: Endpoint,
    /// Its sequence number, if it must be the same in every volley.
    pub seq: Option<Seq>,
    /// What it acknowledges: a SYN,ACK if anything, else a bare SYN.
    pub ack: Option<Seq>,
}

/// What to shoot at, and with what beside it.
#[derive(Debug, Default)]
pub struct Targets {
    /// The aims of each repetition: its volleys carry them.
    pub tests: Vec<Vec<(ProbeId, Aim)>>,
    /// What every volley carries in addition.
    pub companions: Vec<(ProbeId, Aim)>,
}

/// The shots of one block of volleys that begins `start` from now; volley numbers from `first` on.
pub fn block(
    targets: &Targets,
    patience: &Patience,
    start: Duration,
    first: u16,
    random: &mut Xoshiro256PlusPlus,
) -> Vec<Shot> {
    let repetitions = targets.tests.len();
    let volleys = usize::from(patience.tries) * repetitions;
    let mut shots = Vec::with_capacity(volleys * 8);
    for number in 0..u16::try_from(volleys).unwrap_or(u16::MAX) {
        let tests = &targets.tests[usize::from(number) % repetitions];
        let at = start + patience.gap * u32::from(number);
        let after_ms = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
        for (probe, aim) in mixed(tests, &targets.companions, random) {
            let seq = aim.seq.unwrap_or_else(|| Seq(random.next_u32()));
            let volley = Volley(first + number);
            let Aim { from, to, ack, .. } = aim;
            shots.push(Shot { probe, volley, after_ms, from, to, seq, ack });
        }
    }
    shots
}

/// Tests and companions in random order: a limiter that passes the first SYNs of each volley must
/// not pass every companion and no test.
fn mixed(
    tests: &[(ProbeId, Aim)],
    companions: &[(ProbeId, Aim)],
    random: &mut Xoshiro256PlusPlus,
) -> Vec<(ProbeId, Aim)> {
    let mut all = [tests, companions].concat();
    all.shuffle(random);
    all
}
