//! `analyze` on octets that do not come as those of a whole file do: packed and cut, in several parts,
//! without an end, or still being written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

#[test]
fn of_a_packed_capture_that_is_cut_short_the_rest_is_analysed_and_one_warning_says_so() {
    let packed = packed(&capture(2_000));
    let output = analyzed("cut.pcap.gz", &packed[..packed.len() / 2]);
    let answer = answer(&output);
    let read = answer["tally"]["connections"].as_u64().unwrap();
    assert!((500..1_500).contains(&read), "{read} of 2000 connections");
    let at = answer["captures"][0]["truncated"]["at_octet"].as_u64().unwrap();
    assert_eq!(at, HEADER + read * FRAME, "the octet behind the last frame");
    let warning = format!("nothing behind octet {at} was read: the packed file is cut short\n");
    assert_eq!(warnings(&output).len(), 1, "{:?}", warnings(&output));
    assert!(warnings(&output)[0].ends_with(&warning), "{:?}", warnings(&output));
}

#[test]
fn packed_in_several_parts_it_is_one_capture() {
    let octets = capture(100);
    // In the middle of a frame.
    let (one, other) = octets.split_at(octets.len() / 2 + 5);
    let parts = [packed(one), packed(&[]), packed(other)].concat();
    let output = analyzed("parts.pcap.gz", &parts);
    assert_eq!(answer(&output)["tally"]["connections"], 100);
    assert_eq!(warnings(&output), [""; 0]);

    let output = analyzed("behind.pcap.gz", &[&parts[..], b"no part of it"].concat());
    assert_eq!(answer(&output)["tally"]["connections"], 100);
    assert_eq!(warnings(&output).len(), 1);
    let what = "what stands behind the packed capture is not packed";
    assert!(warnings(&output)[0].contains(what), "{:?}", warnings(&output));
}

#[test]
fn a_capture_that_is_damaged_right_behind_its_header_is_one_without_packets() {
    let mut octets = capture(2);
    // The first frame claims more octets than any has.
    octets[32..40].fill(0xff);
    let output = analyzed("bad.pcap", &octets);
    assert_eq!(answer(&output)["tally"]["connections"], 0);
    assert_eq!(warnings(&output).len(), 1);
    assert!(warnings(&output)[0].contains("nothing behind octet 24"), "{:?}", warnings(&output));
    let output = analyzed("cut.pcap", &octets[..13]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("cut short at octet 13"), "{complaint}");
}

#[test]
fn what_cannot_be_read_of_a_frame_is_counted_and_named() {
    let ethernet = |ether_type: [u8; 2], packet: &[u8]| {
        let frame = [&[0; 12][..], &ether_type, packet].concat();
        let length = u32::try_from(frame.len()).unwrap();
        [[1_700_000_000, 0, length, length].map(u32::to_le_bytes).concat(), frame].concat()
    };
    let mut header = capture(0);
    header[20] = 1;
    let short = [&[0x44, 0, 0, 40, 0, 0, 0, 0, 60, 6][..], &[0; 30]].concat();
    let options = [60, 0, 0, 0, 0, 0, 0, 0].repeat(9);
    let many = [&[0x60, 0, 0, 0, 0, 92, 60, 64][..], &[0; 32], &options, &[0; 20]].concat();
    let frames = [
        ethernet([8, 0], &short),
        ethernet([0x86, 0xdd], &many),
        ethernet([0x88, 0x47], &[0; 40]),
        ethernet([8, 6], &[0; 28]),
    ];
    let output = analyzed("odd.pcap", &[header, frames.concat()].concat());
    let said = warnings(&output);
    assert_eq!(
        (&answer(&output)["captures"][0]["cut"], said.len()),
        (&Value::from(2), 2),
        "{said:?}"
    );
    assert!(said[0].contains("2 packets skipped: the headers"), "{said:?}");
    assert!(said[1].contains("1 frame skipped: the packet is behind MPLS"), "{said:?}");
}

#[test]
fn what_is_packed_but_no_capture_is_an_error_with_a_hint() {
    let flood_of_nothing = packed(&vec![0; 1 << 20]);
    let no_capture = [&flood_of_nothing[..], &packed(b"")[..15], &[0x1f, 0x8b]];
    for octets in no_capture {
        let output = analyzed("none.pcap.gz", octets);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains("error:") && complaint.contains("hint:"), "{complaint}");
    }
}

#[test]
fn a_connection_through_a_pipe_without_end_is_told_once_it_is_decided() {
    let mut child =
        tool(&["--ndjson", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (told, heard) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in lines.by_ref() {
            told.send(line.unwrap()).unwrap();
        }
    });
    // A SYN that nobody answers, and much later other packets; octet by octet for a part of it.
    let octets = [capture(1), frames(200, 2)].concat();
    for octet in &octets[..50] {
        pipe.write_all(&[*octet]).unwrap();
    }
    pipe.write_all(&octets[50..octets.len() - 3]).unwrap();
    let line = heard.recv_timeout(PATIENCE).expect("it is told while the pipe is open");
    let connection: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(connection["outcome"], "timed-out");
    drop(pipe);
    reader.join().unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_capture_that_grows_while_it_is_read_is_read_as_far_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing.pcap");
    let mut file = File::create(&path).unwrap();
    file.write_all(&capture(500)).unwrap();
    let is_enough = AtomicBool::new(false);
    let runs: Vec<Output> = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            // Bounded, should the other thread fail.
            for number in 0..20_000 {
                let frame = frames(500 + number, 1);
                let (some, rest) = frame.split_at(7);
                file.write_all(some).unwrap();
                file.write_all(rest).unwrap();
                if is_enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let runs = (0..3).map(|_| tool(&["--json"]).arg(&path).output().unwrap()).collect();
        is_enough.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        runs
    });
    for output in runs {
        assert!(answer(&output)["tally"]["connections"].as_u64().unwrap() >= 500);
        for warning in warnings(&output) {
            assert!(warning.ends_with("the file ends inside a frame\n"), "{warning}");
        }
    }
}

#[test]
fn nothing_at_all_is_an_error_with_a_hint() {
    for file in ["/dev/null", "-"] {
        let output = tool(&[file]).stdin(Stdio::null()).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains("the file is empty"), "{complaint}");
    }
}

#[test]
fn a_capture_that_describes_interfaces_without_end_is_left_at_that() {
    let header: [&[u8]; 5] = [
        &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0],
        &[0x4d, 0x3c, 0x2b, 0x1a],
        &[1, 0, 0, 0],
        &[0xff; 8],
        &[28, 0, 0, 0],
    ];
    let interface = [&[1, 0, 0, 0, 20, 0, 0, 0], &[101, 0, 0, 0, 0, 0, 0, 0][..], &[20, 0, 0, 0]];
    let octets = [header.concat(), interface.concat().repeat(200_000)].concat();
    let output = analyzed("interfaces.pcapng", &octets);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("too many interfaces"), "{complaint}");
}

/// A capture of so many SYNs, each of another connection, a second apart.
fn capture(connections: u32) -> Vec<u8> {
    let header: [u8; 24] =
        [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 101, 0, 0, 0];
    [&header[..], &frames(0, connections)].concat()
}

/// Its frames alone, from the one of that number.
fn frames(first: u32, count: u32) -> Vec<u8> {
    let all = (first..first + count).flat_map(|number| {
        let [_, x, y, z] = number.to_be_bytes();
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 60, 6, 0, 0];
        packet.extend([10, x, y, z, 192, 0, 2, 1]);
        packet.extend([4, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        let words = [1_700_000_000 + number, 0, 40, 40].map(u32::to_le_bytes);
        [words.concat(), packet].concat()
    });
    all.collect()
}

/// As gzip packs it, though no smaller, so that half of it is half of it.
fn packed(octets: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::none());
    packer.write_all(octets).unwrap();
    packer.finish().unwrap()
}

fn analyzed(name: &str, octets: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, octets).unwrap();
    tool(&["--json"]).arg(Path::new(&path)).output().unwrap()
}

fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso-probe"));
    command.arg("analyze").args(args).env_remove("COLUMNS");
    command
}

fn answer(output: &Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn warnings(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// The octets of the capture's header, and of each frame of it.
const HEADER: u64 = 24;
const FRAME: u64 = 56;

/// Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
