//! A rendezvous server of a test, and clients of it that say what a test wants.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::network::{Answer, PATIENCE, PROGRAM, Running, marked};

/// `serve --rendezvous-only` at an address of its own on loopback.
pub struct Server {
    address: String,
    running: Running,
}

impl Server {
    /// The address ends in this number.
    pub fn start(number: u8, more: &[&str]) -> Self {
        Self::start_at(&format!("127.53.85.{number}"), more)
    }

    pub fn start_at(address: &str, more: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--rendezvous-only", "--listen", address]).args(more);
        let mut running = Running::start(marked(command));
        assert_eq!(running.line(), format!("serving: rendezvous at {address}:5386"));
        Self { address: address.to_owned(), running }
    }

    pub fn at(&self) -> String {
        format!("{}:5386", self.address)
    }

    pub fn other(&self) -> String {
        format!("{}:5387", self.address)
    }

    pub fn signal(&self, signal: &str) {
        self.running.signal(signal);
    }

    /// Kills it, and says where it was.
    pub fn killed(self) -> String {
        self.running.signal("KILL");
        self.running.wait(PATIENCE);
        self.address
    }

    pub fn stopped(self, signal: &str) -> Answer {
        self.running.signal(signal);
        self.running.wait(PATIENCE)
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it has resident, in KiB.
    pub fn memory_kib(&self) -> u64 {
        resident_kib(self.pid())
    }

    /// What it says of itself, line by line.
    pub fn progress(mut self) -> impl Iterator<Item = String> {
        let lines = self.running.progress();
        // It lives as long as it is listened to.
        lines.inspect(move |_| _ = &self)
    }
}

/// What a process has resident, in KiB.
pub fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A client, one line after the other.
pub struct Client {
    stream: BufReader<TcpStream>,
    pub welcome: Value,
    pub room: u64,
}

impl Client {
    pub fn connect(to: &str) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), welcome: Value::Null, room: 0 }
    }

    /// One that says this as it is.
    pub fn says(server: &Server, octets: &[u8]) -> Self {
        let mut client = Self::connect(&server.at());
        // The server may have heard enough already.
        let _ = client.stream.get_mut().write_all(octets);
        client
    }

    pub fn greeted(server: &Server) -> Self {
        let mut client = Self::connect(&server.at());
        client.say(&json!({"type": "hello", "version": 1}));
        client.welcome = client.hear();
        assert_eq!(client.welcome["type"], "welcome");
        client
    }

    /// Two in a room.
    pub fn pair(server: &Server) -> (Self, Self) {
        let (mut waiter, mut joiner) = (Self::greeted(server), Self::greeted(server));
        waiter.waits();
        joiner.say(&json!({"type": "join", "room": waiter.room}));
        for client in [&mut waiter, &mut joiner] {
            assert_eq!(client.hear()["type"], "paired");
        }
        (waiter, joiner)
    }

    /// Opens a room: what the server says of it.
    pub fn waits(&mut self) -> Value {
        self.say(&json!({"type": "wait"}));
        let room = self.hear();
        self.room = room["room"].as_u64().unwrap_or_else(|| panic!("{room}"));
        room
    }

    pub fn port(&self) -> u16 {
        self.stream.get_ref().local_addr().unwrap().port()
    }

    pub fn say(&mut self, message: &Value) {
        self.stream.get_mut().write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    /// The next message that is no ping; those are answered.
    pub fn hear(&mut self) -> Value {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
            if message["type"] != "ping" {
                return message;
            }
            self.say(&json!({"type": "pong", "id": message["id"]}));
        }
    }

    /// The last message that comes until then; pings are answered.
    pub fn hear_until(&mut self, end: Instant) -> Option<Value> {
        let mut last = None;
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            let rest = rest.max(Duration::from_millis(1));
            self.stream.get_ref().set_read_timeout(Some(rest)).unwrap();
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                read => assert_ne!(read.unwrap(), 0),
            }
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["type"] == "ping" {
                self.say(&json!({"type": "pong", "id": message["id"]}));
            } else {
                last = Some(message);
            }
        }
        last
    }

    /// Whether the server ends this connection, by whatever means.
    pub fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}
