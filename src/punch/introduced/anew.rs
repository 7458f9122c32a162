//! Where a host chooses ports: since when its choice goes on as it does.

use std::collections::BTreeMap;

use crate::rendezvous::introducer::Seen;
use crate::wire::Endpoint;

/// Forgets what tells nothing of the next mapping.
pub fn forget(seen: &mut Vec<Seen>, unseen: &mut Vec<Seen>) {
    let since = since(seen);
    for mappings in [seen, unseen] {
        mappings.retain(|mapping| mapping.time_us >= since);
    }
}

/// From when on mappings tell something of the next one, in the server's microseconds.
///
/// Linux begins anew every ten seconds, for all remote endpoints at once (docs/decisions/ports.md); what
/// was seen before would make a forecast say nothing. Nobody tells when; but the port towards one remote
/// endpoint then jumps, where it goes on by little otherwise. Only if all jumps may have been at one moment
/// is it that: who draws each port at random jumps all the time, and what shows that is needed.
fn since(seen: &[Seen]) -> u64 {
    let last = seen.iter().map(|seen| seen.time_us).max().unwrap_or_default();
    let oldest = last.saturating_sub(LASTS_US);
    let jumps: Vec<_> = jumps(seen).into_iter().filter(|jump| jump.1 > oldest).collect();
    let begins = jumps.iter().map(|jump| jump.0).max();
    let ends = jumps.iter().map(|jump| jump.1).min();
    let anew = begins.zip(ends).filter(|(begins, ends)| begins < ends);
    anew.map_or(oldest, |(begins, _)| oldest.max(begins + 1))
}

/// Between which two moments ports jumped, for each remote endpoint by itself.
fn jumps(seen: &[Seen]) -> Vec<(u64, u64)> {
    let mut towards: BTreeMap<Endpoint, Vec<(u64, u16)>> = BTreeMap::new();
    for seen in seen {
        let port = seen.internal.unwrap_or(seen.external.port());
        towards.entry(seen.server).or_default().push((seen.time_us, port));
    }
    let mut jumps = Vec::new();
    for mut ports in towards.into_values() {
        ports.sort_unstable();
        let pairs = ports.windows(2).filter(|two| two[1].1.wrapping_sub(two[0].1) > LITTLE);
        jumps.extend(pairs.map(|two| (two[0].0, two[1].0)));
    }
    jumps
}

/// For so many microseconds Linux goes on as it has begun.
const LASTS_US: u64 = 10_000_000;

/// Further than a busy host goes on between two connections to one remote endpoint.
const LITTLE: u16 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_towards_all_at_once_makes_what_was_before_it_worthless() {
        let before = [seen(0, 1, 40_000), seen(10, 2, 50_000), seen(20, 1, 40_008)];
        let after = [seen(900, 2, 33_000), seen(910, 1, 60_000), seen(920, 1, 60_016)];
        assert_eq!(since(&[before, after].concat()), START + 20_001);
        assert_eq!(since(&before), START - LASTS_US + 20_000);
    }

    #[test]
    fn who_jumps_all_the_time_has_not_begun_anew() {
        let ports = [51_234, 1_999, 33_333, 60_001, 12_121];
        let all: Vec<_> = (0..).zip(ports).map(|(n, port)| seen(10 * n, 1, port)).collect();
        assert_eq!(since(&all), START - LASTS_US + 40_000);
    }

    #[test]
    fn what_is_older_than_ten_seconds_is_left_out() {
        assert_eq!(since(&[seen(0, 1, 40_000), seen(20_000, 1, 40_002)]), START + 10_000_000);
        assert_eq!(since(&[]), 0);
    }

    fn seen(at_ms: u64, remote: u16, port: u16) -> Seen {
        let [server, external] = [(9, remote), (7, port)]
            .map(|(host, port)| Endpoint::new([192, 0, 2, host].into(), port));
        Seen { time_us: START + at_ms * 1_000, server, external, internal: Some(port) }
    }

    const START: u64 = 20_000_000;
}
