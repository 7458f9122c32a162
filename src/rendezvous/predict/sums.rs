//! Sums of random steps (RFC 6056 §3.3.5).

use std::f64::consts::PI;
use std::ops::RangeInclusive;

/// How likely so many numbers, each drawn evenly from 1 to `most`, have this sum; from three on by the
/// normal law of the same mean and variance.
pub fn sums_to(numbers: usize, most: usize, sum: usize) -> f64 {
    let (n, m, s) = (numbers as f64, most as f64, sum as f64);
    if sum < numbers || sum > numbers * most {
        return 0.0;
    }
    match numbers {
        0 => 1.0,
        1 => 1.0 / m,
        2 => (m - (s - m - 1.0).abs()) / (m * m),
        _ => {
            let (mean, variance) = (n * (m + 1.0) / 2.0, n * (m * m - 1.0) / 12.0);
            let normal = (-(s - mean).powi(2) / (2.0 * variance)).exp();
            normal / (2.0 * PI * variance).sqrt()
        }
    }
}

/// The sums that are not far from all others.
pub fn likely_sums(numbers: usize, most: usize) -> RangeInclusive<usize> {
    let (n, m) = (numbers as f64, most as f64);
    let (mean, spread) = (n * (m + 1.0) / 2.0, 4.0 * (n * (m * m - 1.0) / 12.0).sqrt());
    let (least, greatest) = ((mean - spread).max(n) as usize, (mean + spread).ceil() as usize);
    least..=greatest.min(numbers * most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_sums_hold_nearly_all_there_are() {
        for most in [8, 500] {
            for numbers in 1..6 {
                let whole: f64 =
                    likely_sums(numbers, most).map(|sum| sums_to(numbers, most, sum)).sum();
                assert!((whole - 1.0).abs() < 0.02, "{numbers} up to {most}: {whole}");
            }
        }
    }
}
