//! How fast `analyze` is beside other tools, on a capture that is drawn from a seed; see
//! docs/benchmarks.md.
//!
//! `cargo bench --bench analyze` takes a small one; `-- --full` the one that docs/benchmarks.md has, and
//! `-- --generate FILE` writes one and its truth.

#[path = "analyze/compare.rs"]
mod compare;
#[path = "analyze/traffic.rs"]
mod traffic;

use std::fs::File;
use std::path::Path;

use traffic::Traffic;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let number =
        |name: &str, usual| value(name).map_or(usual, |text| text.parse().expect("a number"));
    let (connections, most_data) = if has("--full") { (520_000, 92) } else { (40_000, 40) };
    let traffic = Traffic {
        connections: number("--connections", connections),
        most_data: number("--data", most_data),
        flood: number("--flood", 0),
        seed: u64::from(number("--seed", 1)),
    };
    if let Some(path) = value("--generate") {
        return generate(traffic, Path::new(&path));
    }
    compare::run(traffic, has("--full"));
}

fn generate(traffic: Traffic, path: &Path) {
    let file = File::create(path).expect("a file that can be written");
    let truth = traffic::write(traffic, file).expect("room on the disk");
    println!(
        "{} packets, {} octets, {} connections",
        truth.packets, truth.octets, truth.connections
    );
    println!("{:?}\n{:?}", truth.outcomes, truth.openings);
}
