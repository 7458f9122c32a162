//! The same over TLS, against OpenSSL as Python has it.

use std::process::Command;

use serde_json::Value;

use super::client::{Client, Server};
use super::network::{PATIENCE, PROGRAM, Papers, Running, marked};

pub const TESTS: &[(&str, fn())] = &[
    ("over_tls_it_is_the_same", encrypted),
    ("whoever_speaks_no_tls_where_it_is_wanted_is_shown_out", plain),
    ("what_is_no_identity_is_an_error_with_a_hint", no_identity),
];

fn encrypted() {
    let papers = Papers::of("127.53.85.30");
    let _server = Server::start(30, &papers.options());
    let program = "
import json, socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    context.minimum_version = context.maximum_version = version
    stream = context.wrap_socket(socket.create_connection((sys.argv[1], 5386)), server_hostname=sys.argv[1])
    stream.sendall(b'{\"type\":\"hello\",\"version\":1}\\n{\"type\":\"wait\"}\\n{\"type\":\"sing\"}\\n')
    for line in stream.makefile():
        print(line, end='')
";
    let mut command = Command::new("python3");
    command.args(["-c", program, "127.53.85.30", &papers.certificate]);
    let answer = Running::start(marked(command)).wait(PATIENCE);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let heard: Vec<Value> =
        answer.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = heard.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["welcome", "room", "error", "welcome", "room", "error"]);
    assert_eq!(heard[5]["code"], "malformed");
}

fn plain() {
    let papers = Papers::of("127.53.85.31");
    let server = Server::start(31, &papers.options());
    let mut client = Client::says(&server, b"{\"type\":\"hello\",\"version\":1}\n");
    assert!(client.has_ended());
    let mut silent = Client::says(&server, b"");
    assert!(silent.has_ended());
}

fn no_identity() {
    let (papers, other) = (Papers::of("127.53.85.32"), Papers::of("127.53.85.32"));
    for (certificate, key, wanted) in [
        ("/nonexistent", papers.key.as_str(), "/nonexistent"),
        ("Cargo.toml", &papers.key, "Cargo.toml"),
        (&papers.certificate, "Cargo.toml", "Cargo.toml"),
        (&papers.certificate, &other.key, &papers.certificate),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--rendezvous-only", "--listen", "127.53.85.32"]);
        command.args(["--tls-cert", certificate, "--tls-key", key]);
        Running::start(marked(command)).wait(PATIENCE).expect_error(wanted);
    }
}
