//! Wireshark's own tools read an evidence file as we do, and what they leave of one still reads.
//!
//! Skipped, and counted as skipped, where they are not installed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use tso_probe::capture::{self, Evidence};
use tso_probe::engine::{Fact, Place, Record, Run, Trouble};
use tso_probe::time::{Duration, Instant};
use tso_probe::wire::control::{ProbeId, Volley};
use tso_probe::wire::{Endpoint, Icmp, Packet, Quote, Segment, Seq};

fn main() -> ExitCode {
    let trials = [
        trial("tshark shows every frame as it was written", "tshark", tshark_agrees),
        trial("tshark shows the facts nowhere among the frames", "tshark", facts_are_no_frames),
        trial("frames taken out by tshark leave a run", "tshark", tshark_leaves_a_run),
        trial("frames taken out by editcap leave a run", "editcap", editcap_leaves_a_run),
        trial("what mergecap writes is still the run", "mergecap", mergecap_leaves_a_run),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// A test that is skipped aloud where its tool is missing.
fn trial(name: &str, tool: &'static str, test: fn() -> Result<(), Box<dyn Error>>) -> Trial {
    let missing = Command::new(tool).arg("--version").output().is_err();
    let trial = Trial::test(name, move || test().map_err(Failed::from)).with_ignored_flag(missing);
    if missing {
        trial.with_kind(format!("skipped: no {tool}; apt-get install tshark"))
    } else {
        trial
    }
}

fn tshark_agrees() -> Result<(), Box<dyn Error>> {
    let file = Scratch::new("agrees", &evidence())?;
    let shown = tshark(&file.path, &FIELDS)?;
    let expected = [
        "1|[probe 3 volley 7] frame 1|prober|0x0002|1000||1|1|10.0.0.2|",
        "2|[probe 3]|reflector-0|0x0012|4000000000||1|1|198.51.100.7|",
        "3||reflector-1|0x0002|7|||1||2001:db8::7",
        "4|[probe 4] frame 4|prober|||3|1,1||192.0.2.1,10.0.0.2|",
    ];
    assert_lines(&shown, &expected)
}

fn facts_are_no_frames() -> Result<(), Box<dyn Error>> {
    let evidence = evidence();
    let file = Scratch::new("frames", &evidence)?;
    let frames =
        tshark(&file.path, &["-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch"])?;
    let last = frames.lines().last().ok_or("no frames")?;
    match last == "4\t1700000000.000000004" && frames.lines().count() == evidence.run.trace.len() {
        true => Ok(()),
        false => Err(format!("unexpected frames:\n{frames}").into()),
    }
}

fn tshark_leaves_a_run() -> Result<(), Box<dyn Error>> {
    let (file, out) = (Scratch::new("tshark-in", &evidence())?, Scratch::empty("tshark-out"));
    let to = out.path.to_str().ok_or("a path in UTF-8")?;
    tshark(&file.path, &["-Y", "frame.number != 2", "-w", to])?;
    assert_left(&out, &[0, 2, 3])
}

fn editcap_leaves_a_run() -> Result<(), Box<dyn Error>> {
    let (file, out) = (Scratch::new("editcap-in", &evidence())?, Scratch::empty("editcap-out"));
    run(Command::new("editcap").args([&file.path, &out.path]).args(["1", "4"]))?;
    assert_left(&out, &[1, 2])
}

fn mergecap_leaves_a_run() -> Result<(), Box<dyn Error>> {
    let (file, out) = (Scratch::new("mergecap-in", &evidence())?, Scratch::empty("mergecap-out"));
    run(Command::new("mergecap").arg("-w").args([&out.path, &file.path]))?;
    assert_left(&out, &[0, 1, 2, 3])
}

/// The file holds all facts, and of the frames these.
fn assert_left(file: &Scratch, indices: &[usize]) -> Result<(), Box<dyn Error>> {
    let mut expected = evidence();
    expected.run.trace = indices.iter().map(|index| expected.run.trace[*index].clone()).collect();
    let read = capture::read(&std::fs::read(&file.path)?)?;
    match read == expected {
        true => Ok(()),
        false => Err(format!("read     {read:#?}\nexpected {expected:#?}").into()),
    }
}

fn assert_lines(shown: &str, expected: &[&str]) -> Result<(), Box<dyn Error>> {
    match shown.lines().eq(expected.iter().copied()) {
        true => Ok(()),
        false => Err(format!("shown:\n{shown}\nexpected:\n{}", expected.join("\n")).into()),
    }
}

/// Number, comment, place, flags, sequence number, ICMP type, whether the IP and the TCP checksums
/// hold (1: yes), source. tshark shows a quoted packet's fields behind the outer one's, and nothing
/// of a quoted segment that is cut to eight octets.
const FIELDS: [&str; 32] = [
    "-o",
    "tcp.check_checksum:TRUE",
    "-o",
    "ip.check_checksum:TRUE",
    "-T",
    "fields",
    "-E",
    "separator=|",
    "-E",
    "occurrence=a",
    "-e",
    "frame.number",
    "-e",
    "frame.comment",
    "-e",
    "frame.interface_name",
    "-e",
    "tcp.flags",
    "-e",
    "tcp.seq_raw",
    "-e",
    "icmp.type",
    "-e",
    "ip.checksum.status",
    "-e",
    "tcp.checksum.status",
    "-e",
    "ip.src",
    "-e",
    "ipv6.src",
    "-o",
    "tcp.relative_sequence_numbers:FALSE",
];

fn tshark(file: &Path, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    run(Command::new("tshark").arg("-n").arg("-r").arg(file).args(arguments))
}

fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A SYN out, a SYN,ACK back at a reflector, an IPv6 SYN and an ICMP error; facts that need three
/// comments.
fn evidence() -> Evidence {
    let trace = vec![
        record(
            1,
            Place::Prober,
            (Some(3), Some(7)),
            packet("10.0.0.2:5000", "192.0.2.1:443", Segment::syn(Seq(1000), 9)),
        ),
        record(
            2,
            Place::Reflector(0),
            (Some(3), None),
            packet(
                "198.51.100.7:443",
                "192.0.2.9:5000",
                Segment::syn_ack(Seq(4_000_000_000), Seq(1001), 1, 9),
            ),
        ),
        record(
            3,
            Place::Reflector(1),
            (None, None),
            packet("[2001:db8::7]:443", "[2001:db8::1]:80", Segment::syn(Seq(7), 0)),
        ),
        record(4, Place::Prober, (Some(4), None), unreachable()),
    ];
    let what = "the interface went away – ".repeat(5_000);
    let facts = vec![
        (Instant::START, Fact::ListenedUntil { until: Instant::from_nanos(9) }),
        (Instant::from_nanos(5), Fact::Trouble(Trouble::Host { what })),
        (Instant::from_nanos(6), Fact::Complete),
    ];
    Evidence { run: Run { trace, facts }, started: Duration::from_secs(1_700_000_000) }
}

fn record(at: u64, place: Place, cause: (Option<u16>, Option<u16>), packet: Packet) -> Record {
    let (probe, volley) = (cause.0.map(ProbeId), cause.1.map(Volley));
    Record {
        at: Instant::from_nanos(at),
        place,
        inbound: at.is_multiple_of(2),
        probe,
        volley,
        packet,
    }
}

fn packet(source: &str, destination: &str, segment: Segment) -> Packet {
    Packet::tcp(endpoint(source), endpoint(destination), segment)
}

fn unreachable() -> Packet {
    let (source, destination) = (endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:443"));
    let quote = Quote { source, destination, seq: Seq(5), ttl: 63 };
    Packet::icmp(destination.ip(), source.ip(), Icmp { kind: 3, code: 3, quote })
}

fn endpoint(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

/// A file that goes when the test does.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn empty(name: &str) -> Self {
        let name = format!("tso-probe-{}-{name}.pcapng", std::process::id());
        Self { path: std::env::temp_dir().join(name) }
    }

    fn new(name: &str, evidence: &Evidence) -> Result<Self, Box<dyn Error>> {
        let file = Self::empty(name);
        let note = |index: usize| index.is_multiple_of(3).then(|| format!("frame {}", index + 1));
        std::fs::write(&file.path, capture::write(evidence, &note))?;
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that failed before the tool wrote leaves nothing to remove.
        let _ = std::fs::remove_file(&self.path);
    }
}
