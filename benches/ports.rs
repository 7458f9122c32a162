//! How often forecasts of ports hit, beside what an oracle hits that knows the rule, its settings and
//! the rate at which others take ports; and how long a forecast takes.
//!
//! `cargo bench --bench ports` prints a table of 80 columns: each cell is the share of hits and that of the
//! oracle. `TSO_PROBE_SEEDS` says how many cases a row has, 1,000 by default.

#[path = "../tests/predict/allocators.rs"]
mod allocators;

use std::time::Instant;

use tso_probe::rendezvous::predict::forecast;

use allocators::{ALL, Case, Scene, Simulated};

fn main() {
    let cases = std::env::var("TSO_PROBE_SEEDS").ok().and_then(|text| text.parse().ok());
    let cases = cases.unwrap_or(1_000);
    line("rule", "rate", ["first 1", "first 4", "first 16"].map(str::to_owned));
    println!("|{:-<29}|{:->6}|{:->13}|{:->13}|{:->13}|", "", ":", ":", ":", ":");
    for rule in ALL {
        for others_per_s in [0.0, 1.0, 5.0, 10.0, 50.0] {
            row(&Scene::new(*rule, others_per_s, 16), cases);
        }
    }
    println!("\nA forecast from 64 observations, median:");
    for rule in [Simulated::Sequential(1), Simulated::LinuxConnect, Simulated::Random] {
        time(&name(rule), &Scene::new(rule, 10.0, 64), |_| {});
    }
    // Bindings may be used again, and what the host's own TCP chooses is forecast as well: the most
    // there is to be weighed.
    time("internal ports told", &Scene::new(Simulated::LinuxConnect, 10.0, 64), |case| {
        for seen in &mut case.observations {
            seen.internal = Some(seen.external / 64);
        }
    });
}

/// In how many of so many cases the port was hit, and in how many an oracle hits it.
fn row(scene: &Scene, cases: u64) {
    let mut hits = [0_u32; COUNTS.len()];
    for seed in 0..cases {
        let case = scene.case(seed);
        let forecast = forecast(&case.observations, &case.question);
        for (hits, count) in hits.iter_mut().zip(COUNTS) {
            let is_hit = forecast.next[..count].iter().any(|next| next.port == case.truth);
            *hits += u32::from(is_hit);
        }
    }
    let cells = std::array::from_fn(|place| {
        let hit = f64::from(hits[place]) * 100.0 / cases as f64;
        format!("{hit:.1}/{:.1}", scene.best(COUNTS[place]) * 100.0)
    });
    line(&name(scene.rule), &scene.others_per_s.to_string(), cells);
}

fn line(rule: &str, rate: &str, [one, four, sixteen]: [String; COUNTS.len()]) {
    println!("| {rule:<27} | {rate:>4} | {one:>11} | {four:>11} | {sixteen:>11} |");
}

fn time(name: &str, scene: &Scene, change: impl Fn(&mut Case)) {
    let mut times: Vec<_> = (0..51)
        .map(|seed| {
            let mut case = scene.case(seed);
            change(&mut case);
            let begun = Instant::now();
            std::hint::black_box(forecast(&case.observations, &case.question));
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("{name}: {:.1} ms", times[times.len() / 2].as_secs_f64() * 1e3);
}

fn name(rule: Simulated) -> String {
    match rule {
        Simulated::Kept(0) => "preservation".to_owned(),
        Simulated::Kept(offset) => format!("preservation {offset:+}"),
        Simulated::Sequential(step) => format!("sequential {step:+}"),
        Simulated::ParityKept => "sequential +2, parity kept".to_owned(),
        Simulated::HashedOffset => "RFC 6056 algorithm 3".to_owned(),
        Simulated::PerAddress => "sequential +1 per address".to_owned(),
        Simulated::PerEndpoint => "RFC 6056 algorithm 4".to_owned(),
        Simulated::RandomIncrements => "RFC 6056 algorithm 5".to_owned(),
        Simulated::LinuxConnect => "Linux connect()".to_owned(),
        Simulated::BlockUpwards(size) => format!("block of {size}, upwards"),
        Simulated::BlockRandom(size) => format!("block of {size}, random"),
        Simulated::SetRandom => "RFC 7597 set of 240, random".to_owned(),
        Simulated::Random => "random".to_owned(),
    }
}

const COUNTS: [usize; 3] = [1, 4, 16];
