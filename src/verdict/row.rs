//! How external ports lie that were given out one after the other: in a row, here and there, or so
//! that neither is to be told.

/// How external ports lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// In a row, later ones farther along by this step each.
    Along(i32),
    /// In a row, but which way is not to be seen.
    Near,
    /// Too close together to be here and there, too far apart or too few to be in a row.
    Disordered,
    /// Here and there.
    Scattered,
}

/// How ports lie that come in the order in which they were asked for. They are in a row if they lie
/// as close together as their number and their common step explain. The order in which they were
/// given out may differ by as much as the path to the NAT reorders; and the row may go past the end
/// of the range and on from its start.
pub fn row(ports: &[u16]) -> Row {
    let lots = lots(ports);
    let mut step = 0;
    let (mut steps, mut span) = (0, 0);
    for lot in &lots {
        let mut sorted: Vec<_> = lot.iter().map(|port| i32::from(*port)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let gaps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
        step = gaps.fold(step, greatest_common_divisor);
        steps += i32::try_from(sorted.len()).unwrap_or(i32::MAX);
        span += sorted[sorted.len() - 1] - sorted[0];
    }
    let most = |gaps: i32| step.saturating_mul(steps).saturating_mul(gaps);
    if steps < FEWEST_IN_A_ROW {
        Row::Disordered
    } else if span > most(SCATTERED_GAPS) {
        // In order all the same, they are no work of chance.
        match order(&lots, span) {
            (share, order) if share.abs() >= IN_ORDER && order.abs() >= UNLIKELY => Row::Disordered,
            _ if stay_near(ports, span, STRANGE) => Row::Disordered,
            // Of a sequence whose step parity bends, of which most was lost, this is what is left.
            _ if ports.len() < MANY_PORTS && span < CLOSE => Row::Disordered,
            _ => Row::Scattered,
        }
    } else if span > most(MOST_GAPS) {
        // Others took what lies between, or a step that parity bends, or a small range.
        match order(&lots, span).1 {
            order if order >= STRICTLY => Row::Along(step),
            order if order <= -STRICTLY => Row::Along(-step),
            order if order.abs() >= LOOSELY || !are_uneven(&lots) => Row::Disordered,
            _ if stay_near(ports, span, UNLIKELY) => Row::Disordered,
            _ => Row::Scattered,
        }
    } else {
        match order(&lots, span).1 {
            order if order >= ORDERLY => Row::Along(step),
            order if order <= -ORDERLY => Row::Along(-step),
            _ if span <= most(NEAR_GAPS) => Row::Near,
            _ => Row::Disordered,
        }
    }
}

/// Ports on both sides of the widest gap: a row may have gone past the end of its range there. All in
/// one lot where no gap stands out.
pub fn lots(ports: &[u16]) -> Vec<Vec<u16>> {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let gaps = || sorted.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0]));
    let (widest, least) = (gaps().max().unwrap_or(0), gaps().min().unwrap_or(0));
    let place = gaps().position(|gap| gap == widest && gap > least * MOST_GAPS);
    let last_low = place.map(|place| sorted[place]);
    let (low, high): (Vec<_>, Vec<_>) =
        ports.iter().partition(|port| last_low.is_some_and(|last| **port <= last));
    [low, high].into_iter().filter(|lot| !lot.is_empty()).collect()
}

/// Whether ports lie as unevenly as by chance: a row that has gone around a small range does not, nor
/// does one with a hole or two.
fn are_uneven(lots: &[Vec<u16>]) -> bool {
    let mut gaps = Vec::new();
    for lot in lots {
        let mut sorted: Vec<_> = lot.iter().map(|port| i32::from(*port)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        gaps.extend(sorted.windows(2).map(|pair| pair[1] - pair[0]));
    }
    let (count, sum) = (gaps.len(), gaps.iter().sum::<i32>());
    let number = i32::try_from(count).unwrap_or(i32::MAX);
    // By chance one gap in seven is twice the mean, and more than one in five a quarter of it.
    let wide = gaps.iter().filter(|gap| **gap * number >= sum * 2).count();
    let narrow = gaps.iter().filter(|gap| **gap * number * 4 <= sum).count();
    wide >= FEW_GAPS.max(count / 16) && narrow >= FEW_GAPS.max(count / 16)
}

/// Whether one port lies near the next so many standard deviations more often than by chance: a row
/// that went around its range more than once, or that parity bends, and that the path to the NAT
/// shuffled in part.
fn stay_near(ports: &[u16], span: i32, unlikely: f64) -> bool {
    let pairs = ports.len().saturating_sub(1) as f64;
    let strange = |part: i32| {
        let near = |pair: &&[u16]| i32::from(pair[0].abs_diff(pair[1])) <= span / part;
        let near = ports.windows(2).filter(near).count() as f64;
        // Two draws from one range lie within a part of it this often.
        let chance = 1.0 - (1.0 - 1.0 / f64::from(part)).powi(2);
        let deviation = (pairs * chance * (1.0 - chance)).sqrt();
        near >= pairs * MOSTLY || near - pairs * chance >= deviation * unlikely
    };
    ports.len() >= MANY_PORTS && [8, 16].into_iter().any(strange)
}

/// How far later ports are the higher ones, from −1 to 1, and how many standard deviations that is
/// from what chance alone would show: Kendall's rank correlation over all pairs of one lot. Nothing
/// if ports close together say otherwise: a row may have gone around its range until it met itself.
fn order(lots: &[Vec<u16>], span: i32) -> (f64, f64) {
    let (mut balance, mut near, mut all) = (0i32, 0i32, 0i32);
    for lot in lots {
        for (place, port) in lot.iter().enumerate() {
            for later in &lot[place + 1..] {
                let up = i32::from(*later) - i32::from(*port);
                all += i32::from(up != 0);
                balance += up.signum();
                near += if up.abs() <= span / 4 { up.signum() } else { 0 };
            }
        }
    }
    if all == 0 || balance.signum() != near.signum() {
        return (0.0, 0.0);
    }
    let n = lots.iter().map(Vec::len).max().unwrap_or_default() as f64;
    let deviation = (2.0 * (2.0 * n + 5.0) / (9.0 * n * (n - 1.0)).max(1.0)).sqrt();
    let share = f64::from(balance) / f64::from(all);
    (share, share / deviation)
}

const fn greatest_common_divisor(a: i32, b: i32) -> i32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Fewer ports may lie near each other by chance.
const MANY_PORTS: usize = 16;

/// Ports at random seldom all lie within a sixteenth of all there are.
const CLOSE: i32 = 4_096;

/// Fewer distinct ports say nothing of a row.
const FEWEST_IN_A_ROW: i32 = 6;

/// Ports that come in no order have to be closer together to be in a row.
const NEAR_GAPS: i32 = 2;

/// Ports in sequence that are this many times as far apart as their number explains may be no
/// sequence, or others take most of them.
const MOST_GAPS: i32 = 4;

/// Ports this many times as far apart are none: others would have to take a port for each
/// millisecond that we look.
const SCATTERED_GAPS: i32 = 16;

/// The standard deviations from chance that the order of a sequence has to show: a burst that the
/// path to the NAT has shuffled shows so many once in 300,000.
const ORDERLY: f64 = 4.5;

/// The same where nothing but their order speaks for a sequence: once in a thousand million.
const STRICTLY: f64 = 6.0;

/// Ports at random seldom show more.
const LOOSELY: f64 = 2.5;

/// Fewer gaps of a kind may be holes in a row.
const FEW_GAPS: usize = 3;

/// Ports here and there come as orderly as this once in four hundred times at most.
const IN_ORDER: f64 = 0.7;
const UNLIKELY: f64 = 3.0;

/// Ports here and there follow each other so closely once in twenty thousand times.
const STRANGE: f64 = 4.5;

/// The share of ports that lie near the next which speaks for itself, however few they are.
const MOSTLY: f64 = 0.6;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Sequences with parity kept that went around a range of 512 ports; the path to the NAT shuffled
    /// what left first.
    const WENT_AROUND: [&[u16]; 3] = [
        &[
            40250, 40242, 40258, 40266, 40308, 40496, 40333, 40487, 40078, 40282, 40036, 40434,
            40104, 40451, 40478, 40383, 40054, 40062, 40045, 40417, 40359, 40291, 40367, 40400,
            40325, 40095, 40317, 40350, 40408, 40009, 40342, 40442, 40504, 40375, 40426, 40000,
            40460, 40087, 40391, 40027, 40018, 40469, 40299, 40070, 40274, 40113, 40122, 40131,
            40139, 40157, 40165, 40216, 40199, 40241, 40225, 40307, 40399, 40425, 40450, 40433,
            40441, 40459, 40467, 40475, 40484,
        ],
        &[
            40294, 40286, 40106, 40408, 40509, 40089, 40468, 40426, 40014, 40364, 40081, 40355,
            40047, 40005, 40442, 40063, 40072, 40373, 40399, 40320, 40337, 40382, 40434, 40450,
            40303, 40417, 40484, 40022, 40038, 40492, 40390, 40500, 40476, 40312, 40328, 40459,
            40030, 40055, 40346, 40097, 40175, 40157, 40140, 40149, 40132, 40124, 40200, 40192,
            40217, 40319, 40336, 40345, 40354, 40362, 40388, 40397, 40406, 40433, 40458, 40467,
            40013,
        ],
        &[
            40227, 40219, 40330, 40254, 40380, 40338, 40424, 40346, 40406, 40492, 40014, 40388,
            40397, 40322, 40263, 40510, 40297, 40475, 40441, 40306, 40031, 40272, 40023, 40236,
            40457, 40245, 40371, 40355, 40501, 40363, 40006, 40040, 40449, 40432, 40466, 40415,
            40289, 40280, 40314, 40483, 40049, 40082, 40091, 40126, 40057, 40074, 40153, 40195,
            40244, 40252, 40261, 40270, 40279, 40287, 40313, 40321, 40354, 40387, 40395, 40404,
            40431,
        ],
    ];

    #[test]
    fn a_row_that_went_around_a_small_range_is_not_called_random() {
        for ports in WENT_AROUND {
            assert_eq!(row(ports), Row::Disordered);
        }
    }

    #[test]
    fn a_few_that_are_left_of_a_bent_sequence_are_not_called_random() {
        let ports = [31501, 31602, 31577, 31629, 31723, 31568, 31594, 31646, 31543, 31689];
        assert_eq!(row(&ports), Row::Disordered);
    }

    #[test]
    fn ports_one_after_the_other_are_a_row() {
        let up: Vec<u16> = (0..20).map(|number| 5_000 + 2 * number).collect();
        let down: Vec<u16> = up.iter().copied().rev().collect();
        assert_eq!([row(&up), row(&down)], [Row::Along(2), Row::Along(-2)]);
    }

    #[test]
    fn ports_at_random_are_called_so_but_for_a_few_in_a_thousand() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut scattered = || {
            let ports: Vec<u16> = (0..64).map(|_| random.random_range(1_024..=65_535)).collect();
            row(&ports) == Row::Scattered
        };
        assert!((0..2_000).filter(|_| !scattered()).count() <= 10);
    }
}
