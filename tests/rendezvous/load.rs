//! Many at once, who say a line each. `TSO_PROBE_WAITING` says how many wait; the numbers are printed, for they are of this
//! machine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime;

use super::client::Server;

pub const TESTS: &[(&str, fn())] = &[("under_load_everybody_meets_who_is_wanted", load)];

/// So many wait, and most of them for nothing: two hundred a second are joined.
fn load() {
    let (waiting, pairs) = counts();
    let server = Server::start(20, &["--max-per-address", "20000"]);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let empty = server.memory_kib();
    runtime.block_on(async {
        let mut waiters = Vec::new();
        for number in 0..waiting {
            waiters.push(Guest::waiting(&server, number).await);
        }
        let each = (server.memory_kib() - empty) as f64 / waiting as f64;
        let (mut latencies, mut pings): (Vec<_>, Vec<_>) =
            meet(&server, waiters, pairs).await.into_iter().unzip();
        latencies.sort();
        pings.sort();
        let at = |share: f64| quantile(&latencies, share);
        println!(
            "{waiting} waiting, {each:.1} KiB each; {pairs} pairs at 200/s, from join to both paired: \
             p50 {:?}, p99 {:?}, max {:?}",
            at(0.5),
            at(0.99),
            at(1.0),
        );
        // A pairing is one message in and two out; a ping, asked of the same server at the same time, is one
        // each way. That it costs no search among all who wait is what the bound shows.
        let ping = quantile(&pings, 0.99);
        assert!(at(0.99) < 10 * ping, "p99 of a pairing {:?}, of a ping {ping:?}", at(0.99));
        // Sockets are the kernel's; what a waiting client takes here is its state, task and buffers.
        assert!(each < 16.0, "{each} KiB for each who waits");
    });
}

/// How many wait, and how many of them are joined; with room for all their sockets.
pub fn counts() -> (usize, usize) {
    let waiting = std::env::var("TSO_PROBE_WAITING").ok().and_then(|text| text.parse().ok());
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    (waiting.unwrap_or(500), waiting.map_or(200, |waiting: usize| waiting / 2))
}

/// What that share of them, the shortest first, took at most.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Pairs come together at two hundred a second: how long each took, and a ping just before.
async fn meet(server: &Server, waiters: Vec<Guest>, pairs: usize) -> Vec<(Duration, Duration)> {
    let begun = tokio::time::Instant::now();
    let mut all = tokio::task::JoinSet::new();
    let mut rooms = BTreeSet::new();
    let address = server.at();
    let mut left = waiters.into_iter();
    for (number, waiter) in left.by_ref().take(pairs).enumerate() {
        assert!(rooms.insert(waiter.room), "two have room {}", waiter.room);
        let address = address.clone();
        let at = begun + Duration::from_millis(5) * u32::try_from(number).unwrap();
        all.spawn(async move {
            tokio::time::sleep_until(at).await;
            one_pair(&address, waiter, number).await
        });
    }
    all.join_all().await
}

/// What one says, the other hears, and nobody else can: each says something of its own.
async fn one_pair(address: &str, mut waiter: Guest, number: usize) -> (Duration, Duration) {
    // Another address for each, or all would be over the limit of joins a minute.
    let mut joiner = Guest::greeted(address, 100_000 + number).await;
    let begun = Instant::now();
    joiner.say(json!({"type": "ping", "id": number})).await;
    assert_eq!(joiner.hear().await["type"], "pong");
    let ping = begun.elapsed();
    let begun = Instant::now();
    joiner.say(json!({"type": "join", "room": waiter.room})).await;
    let (to_joiner, to_waiter) = (joiner.hear().await, waiter.hear().await);
    assert_eq!(
        (&to_joiner["room"], &to_waiter["room"]),
        (&waiter.room.into(), &waiter.room.into())
    );
    let latency = begun.elapsed();
    joiner.say(json!({"type": "relay", "text": format!("to {number}")})).await;
    waiter.say(json!({"type": "relay", "text": format!("from {number}")})).await;
    assert_eq!(waiter.hear().await["text"], format!("to {number}"));
    assert_eq!(joiner.hear().await["text"], format!("from {number}"));
    (latency, ping)
}

/// A client from an address of its own.
struct Guest {
    stream: BufReader<TcpStream>,
    room: u64,
}

impl Guest {
    async fn greeted(address: &str, number: usize) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        let source = Ipv4Addr::from_bits(0x7f40_0000 + u32::try_from(number).unwrap());
        socket.bind((source, 0).into()).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let mut guest = Self { stream: BufReader::with_capacity(512, stream), room: 0 };
        guest.say(json!({"type": "hello", "version": 1})).await;
        assert_eq!(guest.hear().await["type"], "welcome");
        guest
    }

    async fn waiting(server: &Server, number: usize) -> Self {
        let mut guest = Self::greeted(&server.at(), number).await;
        guest.say(json!({"type": "wait"})).await;
        guest.room = guest.hear().await["room"].as_u64().unwrap();
        guest
    }

    async fn say(&mut self, message: Value) {
        self.stream.get_mut().write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["type"] != "ping" {
                return message;
            }
            self.say(json!({"type": "pong", "id": message["id"]})).await;
        }
    }
}
