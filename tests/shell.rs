//! `lab shell` as it is run: what a program finds in it, how it ends, and that nothing is left.

#![allow(clippy::unwrap_used)]

mod network;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use network::{Answer, PATIENCE, PROGRAM, Running, Scratch, Test, holders, marked, within};

fn main() {
    let tests: Vec<Test> = TESTS.iter().map(|(name, test)| ((*name).to_owned(), *test)).collect();
    network::run(tests, &["nsenter"]);
}

const TESTS: &[(&str, fn())] = &[
    ("a_stun_server_names_the_external_address_of_a_modelled_nat", || expect_stun("openwrt")),
    ("a_stun_server_names_the_external_address_of_a_kernels_nat", || expect_stun("linux-kernel")),
    ("a_stun_server_names_the_outer_of_two_nats", || expect_stun("double-nat")),
    ("a_bare_classify_finds_the_reflector", classified),
    ("addresses_are_in_the_greeting_and_in_the_environment", addresses),
    ("a_command_runs_on_the_server", on_server),
    ("the_exit_code_is_the_programs", exit_codes),
    ("without_a_command_the_users_shell_is_run", users_shell),
    ("an_unknown_nat_is_an_error_with_the_known_ones", || {
        shell(&["opnwrt", "--", "true"]).expect_error("no NAT is called 'opnwrt'");
    }),
    ("an_unknown_program_is_an_error_that_names_it", || {
        shell(&["openwrt", "--", "no-such-program"]).expect_error("cannot run no-such-program");
    }),
    ("a_file_that_is_no_program_is_an_error_that_names_it", || {
        shell(&["openwrt", "--", "/etc/passwd"]).expect_error("cannot run /etc/passwd");
    }),
    ("without_privilege_there_is_a_user_namespace_or_a_hint", unprivileged),
    ("what_the_terminal_sends_on_a_key_is_the_programs_own_business", keys),
    ("a_request_to_end_is_passed_on", terminated),
    ("what_runs_in_the_background_ends_with_the_program", background),
    ("a_kill_takes_the_program_and_its_network_along", killed),
];

fn expect_stun(nat: &str) {
    let answer = shell(&[nat, "--delay", "20ms", "--", PROGRAM, "stun", "--json", "203.0.113.10"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let found = answer.json();
    assert_eq!(found["translated"]["value"], true, "{found:#}");
    for server in found["servers"].as_array().unwrap() {
        assert!(server["external"].as_str().unwrap().starts_with("198.51.100.1:"), "{server}");
        assert!(server["round_trip_ms"].as_f64().unwrap() >= 40.0, "{server}");
    }
    assert_eq!(found["servers"].as_array().unwrap().len(), 4);
}

fn classified() {
    let answer = shell(&["openwrt-kernel", "--", PROGRAM, "classify", "--quick", "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let findings = &answer.json()["findings"];
    assert_eq!(findings["filtering"]["value"], "address-and-port-dependent");
    assert_eq!(findings["unsolicited_syn"]["value"], "reset");
}

fn addresses() {
    let answer =
        script("openwrt", "echo $TSO_PROBE_INTERNAL $TSO_PROBE_EXTERNAL $TSO_PROBE_SERVER");
    assert_eq!(answer.stdout, "192.168.1.2 198.51.100.1 203.0.113.10\n");
    for address in answer.stdout.split_whitespace() {
        assert!(answer.stderr.contains(address), "{}", answer.stderr);
    }
}

fn on_server() {
    let own = script("openwrt", "ip -o -4 address");
    assert!(own.stdout.contains("192.168.1.2/") && !own.stdout.contains("203.0.113.10/"));
    let there = script("openwrt", "$TSO_PROBE_ON_SERVER ip -o -4 address");
    assert!(there.stdout.contains("203.0.113.10/") && !there.stdout.contains("192.168.1.2/"));
    // The greeting has the same command, ready to be copied.
    let told = script("openwrt", "echo $TSO_PROBE_ON_SERVER");
    let command = told.stdout.trim_end();
    assert!(!command.is_empty() && told.stderr.contains(&format!("{command} COMMAND")), "{told:?}");
}

fn exit_codes() {
    for (program, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)] {
        assert_eq!(script("openwrt", program).code, Some(code), "{program}");
    }
}

fn users_shell() {
    let mut command = command(&["openwrt"]);
    command.env("SHELL", "/bin/pwd").current_dir("/");
    let answer = Running::start(command).wait(PATIENCE);
    assert_eq!((answer.stdout.as_str(), answer.code), ("/\n", Some(0)), "{answer:?}");
}

fn unprivileged() {
    let scratch = Scratch::new();
    let program = scratch.path("tso-probe");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program]);
    command.args(["lab", "shell", "openwrt", "--", "sh", "-c", "exit 7"]);
    let answer = Running::start(marked(command)).wait(PATIENCE);
    if answer.code != Some(7) {
        answer.expect_error("ermi");
        assert!(answer.stderr.contains("sudo"), "{}", answer.stderr);
    }
}

fn keys() {
    // On a terminal the whole foreground group gets them.
    let both = waiting("trap 'exit 3' INT");
    both.signal_group("INT");
    assert_eq!(both.wait(PATIENCE).code, Some(3));
    let mut alone = waiting("trap 'exit 9' TERM");
    for key in ["INT", "QUIT"] {
        alone.signal(key);
    }
    assert!(!alone.has_ended());
    alone.signal("TERM");
    assert_eq!(alone.wait(PATIENCE).code, Some(9));
}

fn terminated() {
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let running = waiting(":");
        running.signal(signal);
        assert_eq!(running.wait(PATIENCE).code, Some(code));
    }
}

fn killed() {
    let mut running = Running::start(command(&[
        "openwrt-kernel",
        "--",
        "sh",
        "-c",
        "readlink /proc/$$/ns/net; $TSO_PROBE_ON_SERVER readlink /proc/self/ns/net; exec sleep 1000",
    ]));
    let namespaces = [running.line(), running.line()];
    assert!(namespaces.iter().all(|namespace| !holders(namespace).is_empty()), "{namespaces:?}");
    running.signal("KILL");
    let left = || namespaces.iter().flat_map(|namespace| holders(namespace)).collect::<Vec<_>>();
    assert!(within(PATIENCE, || left().is_empty()), "{:?}", left());
}

fn background() {
    let answer = script(
        "openwrt-kernel",
        "sleep 1000 & trap '' HUP; $TSO_PROBE_ON_SERVER sh -c 'sleep 1000 & sleep 1000' &
         readlink /proc/$$/ns/net; $TSO_PROBE_ON_SERVER readlink /proc/self/ns/net",
    );
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let namespaces: Vec<_> = answer.stdout.lines().collect();
    assert_eq!(namespaces.len(), 2, "{answer:?}");
    for namespace in namespaces {
        assert!(namespace.starts_with("net:["), "{answer:?}");
        assert_eq!(holders(namespace), [""; 0]);
    }
}

/// A script that has set its traps and then waits.
fn waiting(traps: &str) -> Running {
    let script = format!("{traps}; echo ready; while :; do sleep 0.05; done");
    let mut running = Running::start(command(&["openwrt", "--", "sh", "-c", &script]));
    assert_eq!(running.line(), "ready");
    running
}

fn script(nat: &str, script: &str) -> Answer {
    shell(&[nat, "--", "sh", "-c", script])
}

fn shell(arguments: &[&str]) -> Answer {
    Running::start(command(arguments)).wait(PATIENCE)
}

fn command(arguments: &[&str]) -> Command {
    // Whoever starts the tests may ignore signals (nohup does), and what is ignored is inherited.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,QUIT,HUP", PROGRAM, "lab", "shell"]).args(arguments);
    marked(command)
}
