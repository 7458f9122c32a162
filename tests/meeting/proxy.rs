//! `proxy`: programs that can only connect, Python's and a real browser, reach a service behind another
//! NAT.

use std::process::Stdio;

use serde_json::Value;

use super::network::{Answer, Network, PATIENCE, Running, Scratch};
use super::{PLAIN, SERVER, behind, serving};

pub const TESTS: &[(&str, fn())] = &[
    ("a_forwarded_port_leads_to_a_service_behind_another_nat", forward),
    ("a_code_is_a_host_name_to_socks", socks),
    ("socks_says_what_it_cannot_reach", socks_refuses),
    ("several_programs_at_once_have_a_connection_each", several),
    ("a_proxy_outlasts_its_rendezvous_server", server_restarts),
];

/// They need a browser, and its driver.
pub const BROWSER_TESTS: &[(&str, fn())] = &[("a_browser_reaches_a_peer_through_a_page", browser)];

/// Two insides, and a service at the far one that a code leads to.
struct Scene {
    network: Network,
    server: Option<Running>,
    _service: Running,
    accepting: Running,
    code: String,
}

impl Scene {
    fn new() -> Self {
        let network = behind([PLAIN, PLAIN]);
        let server = Some(serving(&network));
        let mut service = script(&network, "far", &["tests/meeting/service.py"]);
        assert_eq!(service.line(), "serving");
        let mut accepting = proxy(&network, "far", &["--accept", "127.0.0.1:8000"]);
        let code = accepting.line();
        Self { network, server, _service: service, accepting, code }
    }

    /// The near proxy, once it takes programs in.
    fn near(&self, door: &[&str]) -> Running {
        let mut near = proxy(&self.network, "in", door);
        assert!(near.progress().any(|line| line.contains("Ctrl-C")));
        near
    }

    fn program(&self, arguments: &[&str]) -> Running {
        script(&self.network, "in", &[&["tests/meeting/program.py"], arguments].concat())
    }
}

fn proxy(network: &Network, host: &str, more: &[&str]) -> Running {
    Running::start(network.tso_probe(host, &[&["proxy", "--rendezvous", SERVER], more].concat()))
}

fn script(network: &Network, host: &str, arguments: &[&str]) -> Running {
    let mut command = network.command(host, "python3");
    command.args(arguments).stdin(Stdio::null());
    Running::start(command)
}

fn heard(answer: &Answer) -> &str {
    assert_eq!(answer.code, Some(0), "{answer:?}");
    &answer.stdout
}

fn forward() {
    let scene = Scene::new();
    let near = scene.near(&["--forward", &format!("2222:{}", scene.code)]);
    for word in ["first", "second"] {
        let answer = scene.program(&["2222", word]).wait(PATIENCE);
        assert_eq!(heard(&answer), format!("{}\n", word.to_uppercase()));
    }
    for end in [near, scene.accepting] {
        end.signal("INT");
        assert_eq!(end.wait(PATIENCE).code, Some(0));
    }
}

fn socks() {
    let scene = Scene::new();
    let _near = scene.near(&["--socks", "1080"]);
    let name = format!("{}.TSO", scene.code.to_uppercase());
    let answer = scene.program(&["1080", "word", &name]).wait(PATIENCE);
    assert_eq!(heard(&answer), "WORD\n");
}

fn socks_refuses() {
    let scene = Scene::new();
    let _near = scene.near(&["--socks", "127.0.0.1:1080", "--attempts", "1", "--timeout", "1s"]);
    // RFC 1928 §6: not allowed, host unreachable.
    for (name, reply) in [("www.example.net", 2), ("7-violin.tso", 2), ("99-violin-lagoon.tso", 4)]
    {
        let answer = scene.program(&["1080", "word", name]).wait(PATIENCE);
        assert_eq!(answer.stderr, format!("reply {reply}\n"), "{name}");
    }
    let answer = scene.program(&["1080", "word"]).wait(PATIENCE);
    assert_eq!(answer.stdout, "", "what is no SOCKS is shown out: {answer:?}");
}

fn several() {
    let scene = Scene::new();
    let _near = scene.near(&["--forward", &format!("2222:{}", scene.code)]);
    // More than can be opened at once, and more than the server would let in a minute, counted one by one
    // with those who come too early.
    let words: Vec<_> = (0..16).map(|number| format!("word {number}")).collect();
    let programs: Vec<_> = words.iter().map(|word| scene.program(&["2222", word])).collect();
    for (program, word) in programs.into_iter().zip(&words) {
        let answer = program.wait(4 * PATIENCE);
        assert_eq!(heard(&answer), format!("{}\n", word.to_uppercase()));
    }
}

fn server_restarts() {
    let mut scene = Scene::new();
    let _near = scene.near(&["--forward", &format!("2222:{}", scene.code)]);
    let server = scene.server.take().unwrap();
    server.signal("KILL");
    server.wait(PATIENCE);
    scene.server = Some(serving(&scene.network));
    // The service's side comes back by itself; a program asks for as long as that takes.
    let answer = scene.program(&["2222", "again"]).wait(PATIENCE);
    assert_eq!(heard(&answer), "AGAIN\n");
}

fn browser() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let _near = scene.near(&["--websocket", "8080"]);
    let arguments = ["tests/meeting/browser.py", &scene.code, &scratch.path("page.png")];
    let answer = script(&scene.network, "in", &arguments).wait(4 * PATIENCE);
    let shown: Value = serde_json::from_str(heard(&answer)).unwrap();
    let text = |name: &str| shown[name].as_str().unwrap().to_owned();
    assert!(text("state").starts_with("open"), "{shown:#}");
    for state in ["CLOSED \u{2192} SYN-SENT", "ESTABLISHED"] {
        assert!(text("states").contains(state), "{shown:#}");
    }
    // The peer's own states are in the ladder alone.
    assert_eq!(text("states").matches("CLOSED").count(), 1, "{shown:#}");
    assert!(text("said").contains("HELLO FROM A PAGE"), "{shown:#}");
    assert!(shown["ladder"].as_u64().is_some_and(|width| width > 100), "{shown:#}");
    assert_eq!(text("elsewhere"), "refused");
}
