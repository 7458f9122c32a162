//! Programs that read the same capture, in turns.

use std::path::Path;
use std::process::{Command, Stdio};

use super::measure::{Cost, cost};

/// One who takes part.
pub struct Racer {
    pub name: &'static str,
    command: Vec<String>,
}

impl Racer {
    pub fn new(name: &'static str, command: &[&str]) -> Self {
        Self { name, command: command.iter().map(|&word| word.to_owned()).collect() }
    }

    /// One who takes part if the program is installed; says aloud if it is not.
    pub fn installed(name: &'static str, command: &[&str]) -> Option<Self> {
        let found = Command::new(command[0])
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            println!("SKIPPED: {name} is not installed; the package is called {}", command[0]);
        }
        found.is_ok().then(|| Self::new(name, command))
    }

    /// The command for that file.
    fn on(&self, file: &Path) -> Vec<String> {
        let file = file.to_str().expect("our own paths are text");
        self.command.iter().map(|word| word.replace(FILE, file)).collect()
    }
}

/// Lets them run in turns, so many times, each time in the other order, and prints what each cost. The
/// first is the one whose speed is asked for; at most how many KiB it had.
pub fn race(racers: &[Racer], file: &Path, packets: u64, rounds: usize) -> u64 {
    let mut costs: Vec<Vec<Cost>> = racers.iter().map(|_| Vec::new()).collect();
    // Once before it counts, for the page cache.
    cost(&racers[0].on(file));
    for round in 0..rounds {
        let mut order: Vec<_> = (0..racers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            costs[place].push(cost(&racers[place].on(file)));
        }
    }
    print(racers, &costs, packets);
    costs[0].iter().map(|cost| cost.peak_kib).max().unwrap_or_default()
}

fn print(racers: &[Racer], costs: &[Vec<Cost>], packets: u64) {
    println!(
        "| program | wall s: min | median | M packets/s | CPU s: median | MiB at most | times ours: min | median |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let walls = |costs: &[Cost]| sorted(costs.iter().map(|cost| cost.wall_s));
    let ours = walls(&costs[0]);
    for (racer, costs) in racers.iter().zip(costs) {
        let (walls, cpu) = (walls(costs), sorted(costs.iter().map(|cost| cost.cpu_s)));
        let peak = costs.iter().map(|cost| cost.peak_kib).max().unwrap_or_default();
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {:.2} |",
            racer.name,
            walls[0],
            median(&walls),
            f64::from(u32::try_from(packets).expect("some millions")) / 1e6 / median(&walls),
            median(&cpu),
            peak.div_ceil(1024),
            walls[0] / ours[0],
            median(&walls) / median(&ours),
        );
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// Stands for the capture in a command.
pub const FILE: &str = "{file}";
