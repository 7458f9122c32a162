//! A probability for every port.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ports::Ports;

/// Probabilities of all ports, summed up from points and from whole sets.
#[derive(Clone, Debug)]
pub struct Density {
    points: Vec<f64>,
    /// What is added from here on to every second port.
    from_here: Vec<f64>,
}

impl Density {
    pub fn new() -> Self {
        Self { points: vec![0.0; PORTS], from_here: vec![0.0; PORTS + 2] }
    }

    pub fn add(&mut self, port: u16, probability: f64) {
        self.points[usize::from(port)] += probability;
    }

    /// Adds it to each port of a set.
    pub fn add_to_each(&mut self, ports: Ports, probability: f64) {
        let (first, last) = (usize::from(ports.first()), usize::from(ports.last()));
        if ports.is_range() {
            // The even and the odd ones begin at the first two, and end before the next two.
            self.from_here[first] += probability;
            self.from_here[first + 1] += probability;
            self.from_here[last + 1] -= probability;
            self.from_here[last + 2] -= probability;
        } else if ports.is_parity() {
            self.from_here[first] += probability;
            self.from_here[last + 2] -= probability;
        } else {
            ports.iter().for_each(|port| self.add(port, probability));
        }
    }

    /// The probability of each port, by its number. Sums of differences leave rounding errors, some
    /// of them below zero, which count as zero.
    pub fn probabilities(mut self) -> Vec<f64> {
        let mut sums = [0.0; 2];
        for (port, point) in self.points.iter_mut().enumerate() {
            sums[port % 2] += self.from_here[port];
            *point = (*point + sums[port % 2]).max(0.0);
        }
        self.points
    }
}

/// The likeliest ports, the likeliest first, and among equals the lowest.
pub fn ranked(probabilities: &[f64], most: usize) -> Vec<(u16, f64)> {
    // Probabilities are not negative, so their bits are in the order of their values.
    let mut best: BinaryHeap<Reverse<(u64, Reverse<u16>)>> = BinaryHeap::with_capacity(most + 1);
    for (port, probability) in (0..=u16::MAX).zip(probabilities) {
        let this = Reverse((probability.to_bits(), Reverse(port)));
        if best.len() < most {
            best.push(this);
        } else if best.peek().is_some_and(|worst| this < *worst) {
            best.pop();
            best.push(this);
        }
    }
    let best = best.into_sorted_vec().into_iter();
    best.map(|Reverse((bits, Reverse(port)))| (port, f64::from_bits(bits))).collect()
}

const PORTS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::super::ports::Division;
    use super::*;

    #[test]
    fn what_is_added_to_a_set_is_added_to_each_of_it() {
        let range = Ports::range(100, 65_535);
        let sets = Division::Sets { offset: 4, length: 4 }.part(5_000);
        for ports in [range, range.of_parity(1), range.of_parity(2), sets, Ports::range(7, 7)] {
            let mut density = Density::new();
            density.add_to_each(ports, 0.5);
            let expected = |port| if ports.place(port).is_some() { 0.5 } else { 0.0 };
            let probabilities = density.probabilities();
            assert!((0..=u16::MAX).zip(&probabilities).all(|(port, p)| *p == expected(port)));
        }
    }

    #[test]
    fn the_likeliest_come_first_and_equals_upwards() {
        let mut density = Density::new();
        density.add_to_each(Ports::range(10, 20), 0.01);
        density.add(15, 0.5);
        let ranked = ranked(&density.probabilities(), 4);
        assert_eq!(ranked.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [15, 10, 11, 12]);
    }
}
