//! What a command costs: its wall time, its CPU time and its peak memory.
//!
//! The kernel counts a child's memory from before it became the program, when it still was its parent,
//! so a small process of our own stands between: this program again, with `--measure`.

use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

/// What one run of a command cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub wall_s: f64,
    /// Of all its threads, in user and kernel mode.
    pub cpu_s: f64,
    pub peak_kib: u64,
}

/// The first argument of the process in between.
pub const FLAG: &str = "--measure";

/// Runs a command to its end; what it prints goes nowhere.
pub fn cost(command: &[String]) -> Cost {
    let itself = env::current_exe().expect("this program has a path");
    let output = Command::new(itself)
        .arg(FLAG)
        .args(command)
        .stderr(Stdio::inherit())
        .output()
        .expect("this program can be started again");
    assert!(output.status.success(), "{} failed", command.join(" "));
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut words = text.split_whitespace();
    let mut next = || words.next().expect("three numbers");
    Cost {
        wall_s: next().parse().expect("seconds"),
        cpu_s: next().parse().expect("seconds"),
        peak_kib: next().parse().expect("KiB"),
    }
}

/// In the process in between: runs the command, and prints what it cost.
pub fn run(command: &[String]) {
    let begun = Instant::now();
    let status = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("the command can be started");
    let wall_s = begun.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("there was a child");
    let times = [usage.user_time(), usage.system_time()];
    let micros: i64 = times.map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).iter().sum();
    #[allow(clippy::cast_precision_loss, reason = "some seconds")]
    let cpu_s = micros as f64 / 1e6;
    println!("{wall_s} {cpu_s} {}", usage.max_rss());
    std::process::exit(i32::from(!status.success()));
}
