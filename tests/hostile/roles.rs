//! What this binary plays on other hosts: servers that are no reflectors, and attackers of one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::{Network, Running};

/// Names the role.
pub const ROLE: &str = "TSO_PROBE_TEST_ROLE";

/// Starts a role on a host and waits until it is ready.
pub fn start(network: &Network, host: &str, role: &str) -> Running {
    let this = std::env::current_exe().unwrap();
    let mut command = network.command(host, this.to_str().unwrap());
    command.env(ROLE, role);
    let mut running = Running::start(command);
    assert_eq!(running.line(), "ready");
    running
}

pub fn play(role: &str) {
    match role.split_once(' ') {
        Some(("serve", how)) => serve(how),
        Some(("attack", how)) => attack(how),
        _ => panic!("no role {role}"),
    }
}

fn serve(how: &str) {
    let listener = TcpListener::bind("203.0.113.10:5382").unwrap();
    println!("ready");
    for stream in listener.incoming() {
        let (stream, how) = (stream.unwrap(), how.to_owned());
        // Whoever it serves may go away.
        thread::spawn(move || drop(speak(&how, stream)));
    }
}

fn speak(how: &str, mut stream: TcpStream) -> std::io::Result<()> {
    match how {
        "nothing" => {}
        "close" => return Ok(()),
        "garbage" => stream.write_all(b"\xff\x00{]\n")?,
        "http" => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?,
        "endless-line" => loop {
            stream.write_all(&[b'a'; 65_536])?;
        },
        "another-version" => stream.write_all(welcome(9, "").as_bytes())?,
        "another-version-and-shape" => {
            stream.write_all(br#"{"message":"welcome","version":9,"hello":"there"}"#)?;
            stream.write_all(b"\n")?;
        }
        "refuses-version" => {
            stream.write_all(b"{\"message\":\"refused\",\"why\":\"version\"}\n")?;
        }
        "no-endpoints" => stream.write_all(welcome(1, "").as_bytes())?,
        "endless-welcomes" => loop {
            stream.write_all(welcome(1, ENDPOINTS).as_bytes())?;
        },
        "endless-reports" => {
            stream.write_all(welcome(1, ENDPOINTS).as_bytes())?;
            loop {
                stream.write_all(REPORT)?;
            }
        }
        other => panic!("no way to speak {other}"),
    }
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn welcome(version: u16, endpoints: &str) -> String {
    format!(
        r#"{{"message":"welcome","version":{version},"observed":"198.51.100.1:1","endpoints":[{endpoints}],"now":0}}"#
    ) + "\n"
}

const ENDPOINTS: &str = r#""203.0.113.10:5383","203.0.113.10:5384""#;

const REPORT: &[u8] =
    b"{\"message\":\"saw\",\"probe\":1,\"at\":0,\"packet\":\"198.51.100.1:7000 > \
    203.0.113.10:5383 S 0:0(0) win 65535 ttl 64 id 0\"}\n";

/// Attacks the reflector for as long as this process lives.
fn attack(how: &str) {
    println!("ready");
    let mut held = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        match TcpStream::connect("203.0.113.10:5382") {
            Ok(stream) => {
                let how = how.to_owned();
                held.push(thread::spawn(move || drop(abuse(&how, stream))));
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
        held.retain(|thread| !thread.is_finished());
        while held.len() >= CONNECTIONS {
            thread::sleep(Duration::from_millis(1));
            held.retain(|thread| !thread.is_finished());
        }
    }
}

fn abuse(how: &str, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    match how {
        "idle" => drop(stream.read(&mut [0])),
        "giant-lines" => loop {
            stream.write_all(&[b'{'; 65_536])?;
        },
        "empty-lines" => loop {
            stream.write_all(&[b'\n'; 65_536])?;
        },
        "never-reads" => {
            stream.write_all(HELLO)?;
            loop {
                stream.write_all(&b"{\"message\":\"finish\"}\n".repeat(1_000))?;
            }
        }
        "shots-at-strangers" => shoot(stream)?,
        other => panic!("no such abuse: {other}"),
    }
    Ok(())
}

/// Orders shots at addresses that never asked.
fn shoot(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(HELLO)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    for _ in 0..100 {
        for target in ["192.0.2.77:80", "203.0.113.254:80", "198.51.100.1:80"] {
            stream.write_all(shot(target).as_bytes())?;
        }
        for _ in 0..3 {
            lines.next().transpose()?;
        }
    }
    Ok(())
}

fn shot(target: &str) -> String {
    let shot = format!(
        r#"{{"probe":1,"volley":1,"after_ms":0,"from":"203.0.113.10:5383","to":"{target}","seq":1,"ack":null}}"#
    );
    let shots = vec![shot; 50].join(",");
    format!(r#"{{"message":"shoot","shots":[{shots}]}}"#) + "\n"
}

const HELLO: &[u8] = b"{\"message\":\"hello\",\"version\":1}\n";

/// Of one attacker, at once.
const CONNECTIONS: usize = 100;
