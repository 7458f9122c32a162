//! How often forecasts of ports hit, beside what an oracle hits that knows the rule, its settings and
//! the rate at which others take ports; and how long a forecast takes.
//!
//! `cargo bench --bench ports` prints the table (1,000 cases a row; `TSO_PROBE_CASES` says otherwise).

#[path = "../tests/predict/allocators.rs"]
mod allocators;

use std::time::{Duration, Instant};

use tso_probe::rendezvous::predict::forecast;

use allocators::{ALL, Scene, Simulated};

fn main() {
    let cases = std::env::var("TSO_PROBE_CASES").ok().and_then(|text| text.parse().ok());
    let cases = cases.unwrap_or(1_000);
    println!("| rule | others, ports/s | first 1, % | first 4, % | first 16, % |");
    println!("|---|---|---|---|---|");
    for rule in ALL {
        for others_per_s in [0.0, 1.0, 10.0, 50.0] {
            row(&Scene::new(*rule, others_per_s, 16), cases);
        }
    }
    for rule in [Simulated::Sequential(1), Simulated::LinuxConnect, Simulated::Random] {
        let took = median_time(&Scene::new(rule, 10.0, 64));
        println!("\n{}, 64 observations: {:.1} ms", name(rule), took.as_secs_f64() * 1e3);
    }
}

/// What was hit, what an oracle hits, and what was said before.
fn row(scene: &Scene, cases: u64) {
    let (mut hits, mut said) = ([0_u32; 3], [0.0; 3]);
    for seed in 0..cases {
        let case = scene.case(seed);
        let forecast = forecast(&case.observations, &case.question);
        for (place, count) in COUNTS.into_iter().enumerate() {
            let is_hit = forecast.next[..count].iter().any(|next| next.port == case.truth);
            hits[place] += u32::from(is_hit);
            said[place] += forecast.chance(count);
        }
    }
    print!("| {} | {} ", name(scene.rule), scene.others_per_s);
    for (place, count) in COUNTS.into_iter().enumerate() {
        let share = |sum: f64| sum * 100.0 / cases as f64;
        let (hit, best) = (share(hits[place].into()), scene.best(count) * 100.0);
        print!("| {hit:.1} of {best:.1}, said {:.1} ", share(said[place]));
    }
    println!("|");
}

fn median_time(scene: &Scene) -> Duration {
    let mut times: Vec<_> = (0..51)
        .map(|seed| {
            let case = scene.case(seed);
            let begun = Instant::now();
            std::hint::black_box(forecast(&case.observations, &case.question));
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn name(rule: Simulated) -> String {
    match rule {
        Simulated::Kept(0) => "preservation".to_owned(),
        Simulated::Kept(offset) => format!("preservation with an offset of {offset:+}"),
        Simulated::Sequential(step) => format!("sequential {step:+}"),
        Simulated::ParityKept => "sequential +2, parity kept".to_owned(),
        Simulated::HashedOffset => "RFC 6056 algorithm 3 (hash, one counter)".to_owned(),
        Simulated::PerAddress => "sequential +1 per remote address".to_owned(),
        Simulated::PerEndpoint => "RFC 6056 algorithm 4 (a counter per remote)".to_owned(),
        Simulated::RandomIncrements => "RFC 6056 algorithm 5 (random increments)".to_owned(),
        Simulated::LinuxConnect => "Linux connect()".to_owned(),
        Simulated::BlockUpwards(size) => format!("block of {size}, upwards"),
        Simulated::BlockRandom(size) => format!("block of {size}, random"),
        Simulated::SetRandom => "RFC 7597 set of 240, random".to_owned(),
        Simulated::Random => "random".to_owned(),
    }
}

const COUNTS: [usize; 3] = [1, 4, 16];
