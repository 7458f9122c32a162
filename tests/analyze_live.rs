//! `analyze` on an interface, as packets pass it.

#![allow(clippy::unwrap_used)]

mod network;

use network::{Network, PATIENCE, Running, Test, within};
use serde_json::Value;

fn main() {
    let tests: Vec<Test> = TESTS.iter().map(|(name, test)| ((*name).to_owned(), *test)).collect();
    network::run(tests, &["python3", "setpriv"]);
}

const TESTS: &[(&str, fn())] = &[
    ("a_connection_is_told_soon_after_it_has_opened", told_soon),
    ("what_is_under_way_is_told_at_the_end", told_at_the_end),
    ("without_privilege_or_interface_it_says_what_to_do", refused),
];

fn told_soon() {
    let network = Network::new();
    let mut watch = watching(&network, "--ndjson");
    let python = "import socket\n\
        server = socket.create_server(('127.0.0.1', 7000))\n\
        client = socket.create_connection(('127.0.0.1', 7000))\n\
        there = server.accept()[0]\n\
        client.send(b'ping'); there.recv(9); there.send(b'pong'); client.recv(9)\n\
        there.close(); client.close()";
    // The capture sees nothing before it is open, of which it says nothing: connections until one is seen.
    let line = std::thread::scope(|scope| {
        let line = scope.spawn(|| watch.line());
        let is_told = within(PATIENCE, || {
            let mut command = network.command("in", "python3");
            assert!(command.args(["-c", python]).status().unwrap().success());
            line.is_finished()
        });
        assert!(is_told);
        line.join().unwrap()
    });
    let connection: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(connection["b"], "127.0.0.1:7000");
    assert_eq!(connection["outcome"], "open");
    watch.signal("INT");
    assert_eq!(watch.wait(PATIENCE).code, Some(0));
}

fn told_at_the_end() {
    let network = Network::new();
    let watch = watching(&network, "--json");
    let python = "import socket\n\
        s = socket.socket()\n\
        s.settimeout(0.2)\n\
        s.connect_ex(('127.0.0.1', 7001))";
    // As long as it takes until the capture is open: its descriptor is the last to come.
    let is_open = within(PATIENCE, || {
        let mut command = network.command("in", "sh");
        command.args(["-c", "cat /proc/net/packet | wc -l"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim() == "2"
    });
    assert!(is_open);
    let mut command = network.command("in", "python3");
    assert!(command.args(["-c", python]).status().unwrap().success());
    watch.signal("INT");
    let answer = watch.wait(PATIENCE);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let answer = answer.json();
    assert_eq!(answer["connections"][0]["b"], "127.0.0.1:7001");
    assert_eq!(answer["connections"][0]["outcome"], "refused");
    assert_eq!(answer["captures"][0]["file"], "lo");
}

fn refused() {
    let network = Network::new();
    let nowhere = network.tso_probe("in", &["analyze", "--interface", "nowhere"]);
    Running::start(nowhere).wait(PATIENCE).expect_error("nowhere");
    let mut command = network.command("in", "setpriv");
    let program = env!("CARGO_BIN_EXE_tso-probe");
    command.args(["--bounding-set=-all", "--inh-caps=-all", program]);
    command.args(["analyze", "--interface", "lo"]);
    Running::start(command).wait(PATIENCE).expect_error("capture on");
}

/// Begins to watch the loopback interface of a host.
fn watching(network: &Network, form: &str) -> Running {
    Running::start(network.tso_probe("in", &["analyze", "--interface", "lo", form]))
}
