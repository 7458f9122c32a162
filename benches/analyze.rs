//! How fast `analyze` is beside other tools, on a capture that is drawn from a seed; see
//! docs/benchmarks.md.
//!
//! `cargo bench --bench analyze` takes a small one; `-- --full` the one that docs/benchmarks.md has, and
//! `-- --generate FILE` writes one and its truth.

#[path = "analyze/check.rs"]
mod check;
#[path = "analyze/compare.rs"]
mod compare;
#[path = "analyze/measure.rs"]
mod measure;
#[path = "analyze/place.rs"]
mod place;
#[path = "analyze/race.rs"]
mod race;
#[path = "analyze/traffic.rs"]
mod traffic;

use std::fs::File;
use std::path::Path;

use compare::Comparison;
use traffic::Traffic;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(measure::FLAG) => return measure::run(&arguments[1..]),
        Some(place::FLAG) => return place::sweep(Path::new(&arguments[1])),
        _ => {}
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let number =
        |name: &str, usual| value(name).map_or(usual, |text| text.parse().expect("a number"));
    let usual = comparison(has("--full"));
    let traffic = |usual: Traffic| Traffic {
        connections: number("--connections", usual.connections),
        most_data: number("--data", usual.most_data),
        flood: number("--flood", usual.flood),
        seed: u64::from(number("--seed", 1)),
    };
    match value("--generate") {
        Some(path) => generate(traffic(usual.whole), Path::new(&path)),
        None => compare::run(&Comparison { whole: traffic(usual.whole), ..usual }),
    }
}

fn comparison(is_full: bool) -> Comparison {
    let of = |connections, most_data, flood| Traffic { connections, most_data, flood, seed: 1 };
    if is_full {
        Comparison {
            whole: of(520_000, 92, 0),
            sample: of(40_000, 92, 0),
            flood: of(20_000, 40, 5_000_000),
            rounds: 11,
            rounds_of_sample: 3,
            rounds_of_tcptrace: 3,
        }
    } else {
        Comparison {
            whole: of(40_000, 40, 0),
            sample: of(4_000, 40, 0),
            flood: of(2_000, 40, 500_000),
            rounds: 5,
            rounds_of_sample: 2,
            rounds_of_tcptrace: 2,
        }
    }
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
