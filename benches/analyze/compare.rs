//! The comparison: the truth first, then the others in turns, then a flood.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::check::check;
use super::place::Place;
use super::race::{FILE, Racer, race};
use super::traffic::{self, Traffic, Truth};

/// How much is compared.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// What the fast ones read.
    pub whole: Traffic,
    /// What those read that need minutes for the whole.
    pub sample: Traffic,
    /// What only `analyze` reads, to see its memory.
    pub flood: Traffic,
    pub rounds: usize,
    pub rounds_of_sample: usize,
    /// How often tcptrace, which is slower the more connections there are, reads the whole.
    pub rounds_of_tcptrace: usize,
}

/// Runs it, and panics if a count is wrong or memory is not bounded: how long anything takes is printed
/// and left to the reader.
pub fn run(comparison: &Comparison) {
    let largest =
        [comparison.whole, comparison.sample, comparison.flood].map(traffic::octets_at_most);
    let place = match Place::with_room(largest.into_iter().max().unwrap_or_default()) {
        Ok(place) => place,
        Err(why) => {
            println!("SKIPPED: {why}");
            return;
        }
    };
    let us = || Racer::new("tso-probe analyze", &[PROGRAM, "analyze", FILE]);
    let tcpdump = ["tcpdump", "-r", FILE, "-w", "/dev/null", FILTER];
    let fast = Racer::installed("tcpdump, filtering", &tcpdump);
    let tcptrace = || Racer::installed("tcptrace -n", &["tcptrace", "-n", FILE]);
    let tshark = ["tshark", "-r", FILE, "-T", "fields", "-e", "frame.number", "-Y", DISPLAY_FILTER];
    let slowest = Racer::installed("tshark -T fields", &tshark);

    let with = |others: Vec<Option<Racer>>| -> Vec<Racer> {
        [us()].into_iter().chain(others.into_iter().flatten()).collect()
    };
    capture("whole", &place, comparison.whole, |file, truth| {
        let peak = race(&with(vec![fast]), file, truth.packets, comparison.rounds);
        println!();
        let all = with(vec![Some(listing()), tcptrace()]);
        peak.max(race(&all, file, truth.packets, comparison.rounds_of_tcptrace))
    });
    capture("sample", &place, comparison.sample, |file, truth| {
        race(&with(vec![tcptrace(), slowest]), file, truth.packets, comparison.rounds_of_sample)
    });
    capture("flood", &place, comparison.flood, |file, truth| {
        race(&[us()], file, truth.packets, comparison.rounds_of_sample)
    });
}

/// The same with every connection written out.
fn listing() -> Racer {
    Racer::new("tso-probe analyze --ndjson", &[PROGRAM, "analyze", "--ndjson", FILE])
}

/// Writes a capture, checks what is said of it, and lets it be read; it is gone afterwards.
fn capture(name: &str, place: &Place, traffic: Traffic, read: impl FnOnce(&Path, &Truth) -> u64) {
    let path: PathBuf = place.file(&format!("{name}.pcap"));
    let file = File::create(&path).expect("a file that can be written");
    let truth = traffic::write(traffic, file).expect("room on the disk");
    println!(
        "\n## {name}: {:.1} M packets, {} MB, {} connections, {} SYNs of a flood, seed {}\n",
        f64::from(u32::try_from(truth.packets).expect("some millions")) / 1e6,
        truth.octets / 1_000_000,
        truth.connections,
        truth.flood,
        traffic.seed
    );
    check(PROGRAM, &path, &truth);
    println!();
    let peak_kib = read(&path, &truth);
    fs::remove_file(&path).expect("it was there");
    assert!(peak_kib <= MOST_MEMORY_KIB, "{peak_kib} KiB are more than {MOST_MEMORY_KIB}");
}

/// As `cargo bench` builds it.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tso-probe");

/// What opens, refuses and resets connections, for tcpdump and for tshark.
const FILTER: &str = "tcp[tcpflags] & (tcp-syn|tcp-rst) != 0";
const DISPLAY_FILTER: &str = "tcp.flags.syn == 1 || tcp.flags.reset == 1";

/// However long a capture is, and whatever is in it.
const MOST_MEMORY_KIB: u64 = 128 * 1024;
