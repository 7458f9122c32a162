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
            _ if stay_near(ports, span) => Row::Disordered,
            _ => Row::Scattered,
        }
    } else if span > most(MOST_GAPS) {
        // Others took what lies between, or a step that parity bends, or a small range.
        match order(&lots, span).1 {
            order if order >= STRICTLY => Row::Along(step),
            order if order <= -STRICTLY => Row::Along(-step),
            order if order.abs() < LOOSELY && are_uneven(&lots) && !stay_near(ports, span) => {
                Row::Scattered
            }
            _ => Row::Disordered,
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

/// Whether one port lies near the next far more often than by chance: a row that went around its range
/// more than once, or that parity bends.
fn stay_near(ports: &[u16], span: i32) -> bool {
    let near = |pair: &&[u16]| i32::from(pair[0].abs_diff(pair[1])) <= span / 8;
    let (near, all) = (ports.windows(2).filter(near).count(), ports.len());
    // By chance it is one pair in four.
    all >= MANY_PORTS && near * 5 >= all * 3
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
