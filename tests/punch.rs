//! `punch` over networks built here with `ip` and `nft` alone: what the two ends say of one opening
//! must fit together, and be what the network made of it.
//!
//! These networks have no delay, so that nothing here rests on two SYNs meeting in time: crossings
//! by chance are allowed for, and certain ones are made by dropping what would open it otherwise.

#![allow(clippy::unwrap_used)]

mod network;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use network::{Answer, Network, PATIENCE, Running, Scratch, Test, within};
use serde_json::Value;

fn main() {
    let tests: Vec<Test> = TESTS.iter().map(|(name, test)| ((*name).to_owned(), *test)).collect();
    network::run(tests, &["setpriv", "python3"]);
}

const TESTS: &[(&str, fn())] = &[
    ("two_ends_open_and_say_what_fits_together", together),
    ("over_ipv6_as_well", ipv6),
    ("the_late_end_accepts_the_early_one", late),
    ("a_syn_that_is_dropped_makes_a_half_crossing", half_crossed),
    ("behind_a_nat_that_remaps_the_port_the_peer_accepts", remapped),
    ("a_syn_ack_that_is_dropped_is_named", syn_ack_dropped),
    ("a_router_that_resets_is_named_with_its_distance", reset_by_a_router),
    ("a_router_that_rejects_with_icmp_is_named", rejected),
    ("a_dead_peer_is_silence", silence),
    ("a_syn_that_does_not_leave_is_this_hosts_fault", own_firewall),
    ("a_connection_that_is_there_already_is_named", there_already),
    ("a_port_that_somebody_listens_on_is_an_error", taken),
    ("a_connection_with_oneself_is_none", oneself),
    ("the_next_hop_is_met_before_the_shot", next_hop),
    ("without_privilege_it_opens_and_says_what_it_did_not_see", unprivileged),
    ("ends_that_agree_by_their_clocks_say_the_same", || agreed("clock")),
    ("ends_that_agree_by_half_a_round_trip_say_the_same", || agreed("rtt")),
    ("an_end_that_says_its_external_endpoint_is_aimed_at_there", external),
    ("with_nobody_to_agree_with_it_is_an_error", nobody),
    ("with_somebody_else_to_agree_with_it_is_an_error", somebody_else),
    ("a_pipe_carries_both_ways_and_keeps_the_half_close", pipe),
    ("a_command_has_the_connection", exec),
    ("an_interrupt_ends_it_with_nothing_left", interrupted),
    ("killed_at_any_moment_it_leaves_nothing", killed),
    ("addresses_are_masked_in_all_that_is_written", masked),
];

/// The peers of most tests: `in` behind a router without rules, and `a`.
const INSIDE: &str = "192.168.1.2:7000";
const OUTSIDE: &str = "203.0.113.10:7000";

/// Routed both ways, without a NAT.
fn routed() -> Network {
    let network = Network::new();
    network.sh("ip -n $P-core route add 192.168.1.0/24 via 198.51.100.1");
    network
}

/// So much later than now, as both ends can be told.
fn moment(after: Duration) -> String {
    let at = SystemTime::now() + after;
    humantime::format_rfc3339_nanos(at).to_string()
}

fn punching(network: &Network, host: &str, peer: &str, at: &str, more: &[&str]) -> Running {
    punching_from(network, host, peer, at, &[&["--local-port", "7000"], more].concat())
}

fn punching_from(network: &Network, host: &str, peer: &str, at: &str, more: &[&str]) -> Running {
    let all = [&["punch", "--json", "--peer", peer, "--at", at], more].concat();
    Running::start(network.tso_probe(host, &all))
}

/// Else the SYN would wait in this host for the answer of the router.
fn next_hop() {
    let network = routed();
    network.sh("ip -n $P-in neigh flush all");
    let neighbours = || network.sh("ip -n $P-in neigh show 192.168.1.1");
    assert_eq!(neighbours(), "");
    let waits = punching(&network, "in", OUTSIDE, "+1h", &[]);
    let met = within(PATIENCE, || neighbours().contains("REACHABLE"));
    assert!(met, "{}", neighbours());
    drop(waits);
}

/// Both ends to their end, a's departure and b's.
fn both(network: &Network, [at_in, at_a]: [&str; 2], more: &[&str]) -> [Answer; 2] {
    let inside = punching(network, "in", OUTSIDE, at_in, more);
    let outside = punching(network, "a", INSIDE, at_a, more);
    [inside.wait(PATIENCE), outside.wait(PATIENCE)]
}

/// One end alone.
fn alone(network: &Network, more: &[&str]) -> Answer {
    let all = [&["--timeout", "1500ms"], more].concat();
    punching(network, "in", OUTSIDE, "+200ms", &all).wait(PATIENCE)
}

fn expect_open(answer: &Answer) -> Value {
    assert_eq!(answer.code, Some(0), "{}\n{}", answer.stdout, answer.stderr);
    let json = answer.json();
    expect_schema(&json);
    assert_eq!(json["outcome"], "open", "{json:#}");
    assert_ne!(json["witnesses"]["agree"], false, "{json:#}");
    assert!(json["greeting"].as_str().unwrap().starts_with("Hello from tso-probe"), "{json:#}");
    json
}

fn expect_not_open(answer: &Answer, cause: &str) -> Value {
    assert_eq!(answer.code, Some(1), "{}\n{}", answer.stdout, answer.stderr);
    let json = answer.json();
    expect_schema(&json);
    assert_eq!(json["diagnosis"]["cause"], cause, "{json:#}");
    json
}

fn expect_schema(json: &Value) {
    let schema = include_str!("../docs/punch.schema.json");
    let schema = jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap()).unwrap();
    let broken: Vec<_> = schema.iter_errors(json).map(|e| e.to_string()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What the truth may be, as an end tells it that calls itself a.
fn truths(json: &Value) -> Vec<&'static str> {
    let all = ["crossed", "mine crossed", "yours crossed", "i connected", "you connected"];
    let places: &[usize] = match (opening(json), json["crossed_syn"].as_str()) {
        ("crossed", _) => &[0],
        ("half-crossed", Some("a")) => &[1],
        ("half-crossed", Some("b")) => &[2],
        ("crossed-or-half-crossed", Some("a")) => &[0, 1],
        ("crossed-or-half-crossed", Some("b")) => &[0, 2],
        // The end whose SYN was answered cannot know more.
        ("three-way-or-half-crossed", _) => &[1, 3],
        ("accepted", _) => &[4],
        // Where the packets were not captured.
        ("unknown", _) => &[0, 1, 2, 3, 4],
        _ => &[],
    };
    places.iter().map(|place| all[*place]).collect()
}

/// Whether what two ends say of one opening can both be true.
fn fit(one: &Value, other: &Value) -> bool {
    let others: Vec<_> = truths(other).into_iter().map(turned).collect();
    truths(one).iter().any(|truth| others.contains(truth))
}

/// The same from the other end.
fn turned(truth: &'static str) -> &'static str {
    match truth {
        "mine crossed" => "yours crossed",
        "yours crossed" => "mine crossed",
        "i connected" => "you connected",
        "you connected" => "i connected",
        same => same,
    }
}

fn opening(json: &Value) -> &str {
    json["opening"].as_str().unwrap()
}

fn expect_fit([one, other]: &[Answer; 2]) -> [Value; 2] {
    let jsons = [expect_open(one), expect_open(other)];
    let [one, other] = &jsons;
    assert!(fit(one, other), "{one:#}\n{other:#}");
    jsons
}

fn together() {
    let network = routed();
    let at = moment(Duration::from_secs(1));
    // The kernel tells of sockets in every namespace: no other test has these endpoints.
    let ends = [("in", "203.0.113.10:7001"), ("a", "192.168.1.2:7001")];
    let port = ["--local-port", "7001"];
    let running = ends.map(|(host, peer)| punching_from(&network, host, peer, &at, &port));
    for json in &expect_fit(&running.map(|end| end.wait(PATIENCE))) {
        assert_eq!(json["witnesses"]["agree"], true, "{json:#}");
        let steps = states(json, "kernel");
        assert!(steps.iter().any(|step| step == "ESTABLISHED"), "{json:#}");
    }
}

fn ipv6() {
    let network = routed();
    network.sh(
        "ip -n $P-core addr add 2001:db8:c::1/64 dev neta nodad; ip -n $P-a addr add 2001:db8:c::a/64 dev eth0 nodad",
    );
    let at = moment(Duration::from_secs(1));
    let ends = [("core", "[2001:db8:c::a]:7000"), ("a", "[2001:db8:c::1]:7000")];
    let running = ends.map(|(host, peer)| punching(&network, host, peer, &at, &[]));
    expect_fit(&running.map(|end| end.wait(PATIENCE)));
}

fn late() {
    let network = routed();
    let [early, late] = [moment(Duration::from_secs(1)), moment(Duration::from_millis(2500))];
    let [inside, outside] = expect_fit(&both(&network, [&early, &late], &[]));
    assert_eq!(opening(&inside), "three-way-or-half-crossed");
    assert_eq!((opening(&outside), &outside["ends"][0]["by"]), ("accepted", &"accept".into()));
}

fn half_crossed() {
    let network = routed();
    // Bare SYNs from inside are dropped: the peer's arrives in SYN-SENT, ours never there.
    network.rules("core", &dropping("ip saddr 192.168.1.2 tcp flags & (syn|ack) == syn"));
    let [early, late] = [moment(Duration::from_secs(1)), moment(Duration::from_millis(1500))];
    let [inside, outside] = expect_fit(&both(&network, [&early, &late], &[]));
    assert_eq!(opening(&outside), "three-way-or-half-crossed", "{outside:#}");
    assert!(opening(&inside).contains("half-crossed"), "{inside:#}");
    assert_eq!(inside["crossed_syn"], "b", "{inside:#}");
    let steps: Vec<_> = states(&inside, "kernel");
    assert_eq!(steps[..3], ["SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"], "{inside:#}");
}

fn states(json: &Value, source: &str) -> Vec<String> {
    let all = json["states"].as_array().unwrap().iter();
    let of = all.filter(|step| step["source"] == source);
    of.map(|step| step["to"].as_str().unwrap().to_owned()).collect()
}

fn dropping(what: &str) -> String {
    format!(
        "table inet f {{ chain f {{ type filter hook forward priority 0
           {what} drop
         }}
         }}"
    )
}

fn remapped() {
    let network = Network::new();
    network.rules(
        "edge",
        "table ip nat { chain p { type nat hook postrouting priority 100
           oifname wan masquerade random,fully-random
         }
         }
         table ip f { chain i { type filter hook input priority 0
           iifname wan tcp flags & (syn|ack) == syn drop
         }
         }",
    );
    let at = moment(Duration::from_secs(1));
    let inside = punching(&network, "in", OUTSIDE, &at, &[]);
    let outside = punching(&network, "a", "198.51.100.1:7000", &at, &[]);
    let jsons = expect_fit(&[inside.wait(PATIENCE), outside.wait(PATIENCE)]);
    let end = &jsons[1]["ends"][0];
    assert_eq!((opening(&jsons[1]), &end["by"]), ("accepted", &"accept".into()));
    assert_ne!(end["remote"], "198.51.100.1:7000", "{end:#}");
}

fn syn_ack_dropped() {
    let network = routed();
    network.rules(
        "core",
        &dropping("tcp dport 7000 tcp flags & (syn|ack) == (syn|ack)")
            .replace("drop\n", "drop\n ip saddr 192.168.1.2 tcp flags & (syn|ack) == syn drop\n"),
    );
    let [early, late] = [moment(Duration::from_secs(1)), moment(Duration::from_millis(1500))];
    let [inside, _] = both(&network, [&early, &late], &["--timeout", "3s"]);
    let json = expect_not_open(&inside, "syn-ack-lost");
    assert!(json["diagnosis"]["frames"].as_array().unwrap().len() >= 2, "{json:#}");
}

fn reset_by_a_router() {
    let network = routed();
    network.rules(
        "core",
        "table inet f { chain f { type filter hook forward priority 0
           tcp dport 7000 tcp flags & (syn|ack) == syn reject with tcp reset
         }
         }",
    );
    let json = expect_not_open(&alone(&network, &[]), "reset");
    assert_eq!(json["outcome"], "refused");
    assert!(json["diagnosis"]["because"].as_str().unwrap().contains("hops away"), "{json:#}");
    assert!(json["attempts"].as_array().unwrap().len() > 2, "{json:#}");
}

fn rejected() {
    let network = routed();
    network.rules(
        "core",
        "table inet f { chain f { type filter hook forward priority 0
           tcp dport 7000 reject with icmp admin-prohibited
         }
         }",
    );
    let json = expect_not_open(&alone(&network, &[]), "icmp-error");
    let because = json["diagnosis"]["because"].as_str().unwrap();
    assert!(because.contains("prohibited by an administrator"), "{because}");
}

fn silence() {
    let network = routed();
    network.rules("core", &dropping("tcp dport 7000"));
    let json = expect_not_open(&alone(&network, &[]), "nothing-arrived");
    assert_eq!(json["outcome"], "timed-out");
}

fn own_firewall() {
    let network = routed();
    network.rules(
        "in",
        "table inet f { chain o { type filter hook output priority 0
           tcp dport 7000 drop
         }
         }",
    );
    expect_not_open(&alone(&network, &[]), "not-sent");
}

fn there_already() {
    let network = routed();
    let listens = "import socket,sys
s=socket.create_server(('203.0.113.10',7000));print('on',flush=True)
c,_=s.accept();sys.stdin.read()";
    let connects = "import socket,sys
s=socket.socket();s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEPORT,1)
s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
s.bind(('192.168.1.2',7000));s.connect(('203.0.113.10',7000));print('on',flush=True)
sys.stdin.read()";
    let script = |host: &str, text: &str| {
        let mut command = network.command(host, "python3");
        command.args(["-c", text]);
        let mut running = Piped::start(command);
        assert_eq!(running.line(), "on");
        running
    };
    let _both = (script("a", listens), script("in", connects));
    let json = expect_not_open(&alone(&network, &[]), "local-taken");
    let because = json["diagnosis"]["because"].as_str().unwrap();
    assert!(because.contains("ESTABLISHED"), "{because}");
}

fn taken() {
    let network = routed();
    let other = "import socket,sys\ns=socket.socket();s.bind(('192.168.1.2',7000));s.listen();print('on',flush=True);sys.stdin.read()";
    let mut command = network.command("in", "python3");
    command.args(["-c", other]);
    let mut holder = Piped::start(command);
    assert_eq!(holder.line(), "on");
    let answer = alone(&network, &[]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    answer.expect_error("bind 192.168.1.2:7000");
}

fn oneself() {
    let network = routed();
    let answer = punching(&network, "in", INSIDE, "+200ms", &["--timeout", "1s"]).wait(PATIENCE);
    let json = expect_not_open(&answer, "self-connect");
    assert_eq!(opening(&json), "self-connect");
}

fn unprivileged() {
    let network = routed();
    let at = moment(Duration::from_secs(1));
    let privileged = punching(&network, "a", INSIDE, &at, &[]);
    let mut command = network.command("in", "setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    command.args([network::PROGRAM, "punch", "--json", "--local-port", "7000"]);
    command.args(["--peer", OUTSIDE, "--at", &at]);
    let unprivileged = Running::start(command);
    let jsons = expect_fit(&[unprivileged.wait(PATIENCE), privileged.wait(PATIENCE)]);
    let witnesses = &jsons[0]["witnesses"];
    for witness in ["wire", "kernel"] {
        assert_eq!(witnesses[witness]["gaps"].as_array().unwrap().len(), 1, "{witnesses:#}");
    }
    assert_eq!(states(&jsons[0], "kernel"), [""; 0]);
    assert_eq!(states(&jsons[0], "sampled").last().unwrap(), "ESTABLISHED");
}

fn agreeing(network: &Network, how: &[&str]) -> [Answer; 2] {
    let listen =
        ["punch", "--json", "-v", "--local-port", "7000", "--listen-control", "203.0.113.10"];
    let mut outside = Running::start(network.tso_probe("a", &listen));
    let mut said = outside.progress();
    assert!(said.next().unwrap().contains("waiting for the peer at 203.0.113.10:5385"));
    let via = ["punch", "--json", "--local-port", "7000", "--via", "203.0.113.10"];
    let inside = Running::start(network.tso_probe("in", &[&via, how].concat()));
    let answers = [inside.wait(PATIENCE), outside.wait(PATIENCE)];
    // Its stderr is read to the end, lest it waits for a reader.
    drop(said);
    answers
}

fn agreed(sync: &str) {
    let network = routed();
    let answers = agreeing(&network, &["--sync", sync]);
    let [inside, outside] = answers.map(|answer| expect_open(&answer));
    // Both saw both ends.
    for key in ["opening", "crossed_syn", "outcome"] {
        assert_eq!(inside[key], outside[key], "{inside:#}\n{outside:#}");
    }
    for json in [&inside, &outside] {
        let ends = json["ends"].as_array().unwrap();
        assert_eq!(ends.len(), 2, "{json:#}");
        assert_eq!(ends[0]["local"], INSIDE, "{json:#}");
        assert_eq!(ends[1]["local"], OUTSIDE, "{json:#}");
        assert!(json["clock_error_us"].as_f64().unwrap() > 0.0, "{json:#}");
    }
}

fn external() {
    let network = Network::new();
    network.rules(
        "edge",
        "table ip nat { chain o { type nat hook postrouting priority 100
           oifname wan tcp sport 7000 snat to 198.51.100.1:4444
           oifname wan masquerade
         }
         }",
    );
    let answers = agreeing(&network, &["--external", "198.51.100.1:4444"]);
    let [_, outside] = answers.map(|answer| expect_open(&answer));
    assert_eq!(outside["ends"][1]["aimed_at"], "198.51.100.1:4444", "{outside:#}");
}

fn via(network: &Network) -> Answer {
    let via = ["punch", "--local-port", "7000", "--via", "203.0.113.10", "--timeout", "2s"];
    Running::start(network.tso_probe("in", &via)).wait(PATIENCE)
}

fn nobody() {
    let network = routed();
    via(&network).expect_error("not to be reached");
}

fn somebody_else() {
    let network = routed();
    let web = "import socket
s=socket.create_server(('203.0.113.10',5385));print('on',flush=True)
c,_=s.accept();c.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n');c.recv(999)";
    let mut command = network.command("a", "python3");
    command.args(["-c", web]);
    let mut running = Piped::start(command);
    assert_eq!(running.line(), "on");
    via(&network).expect_error("makes no sense");
}

fn pipe() {
    let network = routed();
    let at = moment(Duration::from_secs(1));
    let start = |host: &str, peer: &str| {
        let arguments = ["punch", "--pipe", "--local-port", "7000", "--peer", peer, "--at", &at];
        Piped::start(network.tso_probe(host, &arguments))
    };
    let (mut inside, mut outside) = (start("in", OUTSIDE), start("a", INSIDE));
    let large = vec![b'x'; 1 << 20];
    inside.say(&large);
    // It has said all, and still hears what the other says afterwards.
    inside.hang_up();
    assert_eq!(outside.hear(large.len()), large);
    outside.say(b"after the half-close");
    outside.hang_up();
    assert_eq!(inside.rest(), b"after the half-close");
    assert_eq!(outside.rest(), b"");
    assert_eq!([inside.code(), outside.code()], [Some(0), Some(0)]);
}

fn exec() {
    let network = routed();
    let at = moment(Duration::from_secs(1));
    let start = |host: &str, peer: &str, command: &str| {
        let arguments =
            ["punch", "--exec", command, "--local-port", "7000", "--peer", peer, "--at", &at];
        Running::start(network.tso_probe(host, &arguments))
    };
    let inside = start("in", OUTSIDE, "echo question; read answer; echo \"heard: $answer\" >&2");
    let outside = start("a", INSIDE, "read question; echo \"$question answered\"");
    let (inside, outside) = (inside.wait(PATIENCE), outside.wait(PATIENCE));
    assert_eq!([inside.code, outside.code], [Some(0), Some(0)], "{inside:?} {outside:?}");
    assert!(inside.stderr.contains("heard: question answered"), "{}", inside.stderr);
}

fn interrupted() {
    let network = routed();
    let mut end = punching(&network, "in", OUTSIDE, "+20s", &["-v"]);
    assert!(end.progress().next().unwrap().contains("leaves at"));
    end.signal("INT");
    let answer = end.wait(PATIENCE);
    expect_not_open(&answer, "interrupted");
    answer.expect_within(Duration::from_secs(5));
    assert!(within(Duration::from_secs(1), || network.tables("in").is_empty()));
}

/// `TSO_PROBE_KILLS` times, 20 unless it says more.
fn killed() {
    let kills = std::env::var("TSO_PROBE_KILLS").ok().and_then(|text| text.parse().ok());
    let before = Traces::of_host();
    let network = routed();
    for kill in 0..kills.unwrap_or(20_u64) {
        let moment = Duration::from_micros((kill * 618_034) % 1_000_000);
        let mut running = if kill % 2 == 0 {
            let nats = ["lab", "run", "A=openwrt-kernel", "B=openwrt", "--delay", "60ms"];
            Running::start(network.tso_probe("in", &nats))
        } else {
            punching(&network, "in", OUTSIDE, "+500ms", &["--timeout", "1s"])
        };
        // The moment is what is tested, whatever has happened by then.
        within(moment, || running.has_ended());
        drop(running);
        assert!(network.tables("in").is_empty(), "after {moment:?}");
    }
    assert_eq!(Traces::of_host(), before);
}

/// What a program could leave on the host.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    tables: Vec<u8>,
    interfaces: Vec<String>,
    instances: Vec<String>,
    ours_in_tmp: Vec<String>,
}

impl Traces {
    fn of_host() -> Self {
        let names = |folder: &str| {
            let all = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut names: Vec<_> =
                all.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let listed = Command::new("nft").args(["list", "tables"]).output().unwrap();
        let mut ours_in_tmp = names("/tmp");
        ours_in_tmp.retain(|name| name.contains("tso-probe") && !name.contains(".d"));
        Self {
            tables: listed.stdout,
            interfaces: names("/sys/class/net"),
            instances: names("/sys/kernel/tracing/instances"),
            ours_in_tmp,
        }
    }
}

fn masked() {
    let network = routed();
    let scratch = Scratch::new();
    let (svg, evidence) = (scratch.path("ladder.svg"), scratch.path("evidence.pcapng"));
    let answer = alone(&network, &["--mask", "--svg", &svg, "--evidence", &evidence]);
    let picture = std::fs::read_to_string(svg).unwrap();
    let octets = std::fs::read(evidence).unwrap();
    let facts = String::from_utf8_lossy(&octets);
    for text in [&answer.stdout, &picture, facts.as_ref()] {
        assert!(text.contains("192.0.2.") && !text.contains("192.168.1."), "{text}");
    }
    let outside = [203, 0, 113, 10];
    assert!(!octets.windows(4).any(|octets| octets == outside), "an address is left in a packet");
}

/// A program with a pipe to its stdin.
struct Piped {
    child: Child,
}

impl Piped {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap() }
    }

    fn say(&mut self, octets: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(octets).unwrap();
    }

    fn hang_up(&mut self) {
        self.child.stdin = None;
    }

    fn hear(&mut self, length: usize) -> Vec<u8> {
        let mut octets = vec![0; length];
        std::io::Read::read_exact(self.child.stdout.as_mut().unwrap(), &mut octets).unwrap();
        octets
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(self.hear(1));
        }
        String::from_utf8(line).unwrap().trim().to_owned()
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        std::io::Read::read_to_end(self.child.stdout.as_mut().unwrap(), &mut octets).unwrap();
        octets
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
