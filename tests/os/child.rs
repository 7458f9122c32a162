//! What only another process can show: sudden death, missing privileges,
//! signals.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal as Number, kill},
    unistd::Pid,
};
use tso_probe::os::{
    Error, Kind,
    capture::Capture,
    guard::PortGuard,
    nat::KernelNat,
    netns::Namespace,
    poll::{self, Interest},
    privilege::{self, Capability},
    raw::RawSender,
    signals::{Signal, Signals},
    tun::Tun,
};

use super::support::{Case, Host, Needs, at, in_ms, seen_within, sh, syn, within_ms};

/// Names the role that this binary plays as a child.
pub const ROLE: &str = "TSO_PROBE_TEST_ROLE";

pub const CASES: &[Case] = &[
    Case {
        name: "sigkill_takes_guard_nat_and_tun_along_and_leaves_a_foreign_table",
        needs: &[Needs::Root, Needs::Tun, Needs::Nft],
        run: killed,
    },
    Case {
        name: "without_privileges_every_error_says_so_and_how_to_get_them",
        needs: &[Needs::Root],
        run: unprivileged,
    },
    Case {
        name: "a_user_namespace_gives_a_whole_lab_without_any_right_on_the_host",
        needs: &[Needs::Root, Needs::Tun, Needs::UserNamespaces],
        run: user_namespace,
    },
    Case {
        name: "a_user_namespace_makes_any_user_root_of_its_networks",
        needs: &[Needs::Root, Needs::UserNamespaces],
        run: user_namespace_without_tun,
    },
    Case {
        name: "a_user_namespace_gives_a_whole_lab_to_any_user",
        needs: &[Needs::Root, Needs::TunForAll, Needs::UserNamespaces],
        run: user_namespace_of_nobody,
    },
    Case {
        name: "a_user_namespace_asked_for_with_threads_running_is_a_clear_error",
        needs: &[],
        run: threads_running,
    },
    Case { name: "ctrl_c_and_kill_end_a_wait_and_can_be_told_apart", needs: &[], run: signals },
];

/// Plays a role and prints what came of it.
pub fn play(role: &str) {
    match role {
        "guard" => hold_everything(),
        "unprivileged" => try_everything(),
        "own network" => rule_an_own_network(),
        "lab" => build_a_lab(),
        "signals" => wait_for_signals(),
        unknown => panic!("no role {unknown}"),
    }
}

fn killed() {
    let host = Host::new();
    host.run(|| {
        sh("nft add table inet foreign");
        let mut child = start("guard", None);
        assert_eq!(line(&mut child), "ready");
        let held = sh("nft list tables");
        assert!(held.contains("tso-probe-guard-") && held.contains("tso-probe-nat-"), "{held}");
        assert!(sh("ip -o link").contains("held"));
        host.tun.write(&syn("10.0.0.2:5000", "10.0.0.1:4000")).unwrap();
        assert_eq!(host.segment_within(200), None);

        child.kill().unwrap();
        child.wait().unwrap();
        // Other descriptors of the dead may be closed a moment later.
        let left = || sh("nft list tables") == "table inet foreign\n";
        assert!(within_ms(2000, left), "{}", sh("nft list tables"));
        assert!(within_ms(2000, || !sh("ip -o link").contains("held")));
        host.tun.write(&syn("10.0.0.2:5000", "10.0.0.1:4000")).unwrap();
        assert_eq!(host.segment_within(1000).unwrap().flags, "R.");
    });
}

fn hold_everything() {
    let _guard = PortGuard::new(&[at("10.0.0.1:4000")]).unwrap();
    let _nat = KernelNat::openwrt("t0").apply().unwrap();
    let _tun = Tun::create("held").unwrap();
    println!("ready");
    std::thread::sleep(Duration::from_secs(60));
}

fn unprivileged() {
    let host = Host::new();
    let said = host.run(|| finish(start("unprivileged", Some(NOBODY))));
    assert_eq!(said, "done\n");
}

fn try_everything() {
    fn refused<T>(tried: Result<T, Error>) {
        let error = tried.err().expect("it must not work");
        assert_eq!(error.kind, Kind::Privilege, "{error}");
        assert!(error.hint.as_ref().is_some_and(|h| h.contains("sudo")), "{error:?}");
    }
    assert!(!privilege::is_root());
    assert!(!Capability::NetRaw.is_held());
    refused(Capability::NetRaw.require("open a raw socket"));
    refused(RawSender::new());
    refused(Capture::open("t0", ""));
    refused(PortGuard::new(&[]));
    refused(KernelNat::linux("t0").apply());
    refused(Tun::create("t1"));
    refused(Namespace::create());
    refused(tso_probe::os::link::up("t0"));
    refused(tso_probe::os::sysctl::write("ipv4/ip_forward", "1"));
    println!("done");
}

fn user_namespace() {
    assert_eq!(finish(start("lab", None)), "done\n");
}

fn user_namespace_of_nobody() {
    assert_eq!(finish(start("lab", Some(NOBODY))), "done\n");
}

fn user_namespace_without_tun() {
    assert_eq!(finish(start("own network", Some(NOBODY))), "done\n");
}

fn rule_an_own_network() {
    assert!(!privilege::is_root());
    privilege::become_root_in_user_namespace().unwrap();
    assert!(privilege::is_root());
    let namespace = Namespace::create().unwrap();
    let silent = || {
        let _guard = PortGuard::new(&[at("127.0.0.1:4000")]).unwrap();
        let mut capture = Capture::open("lo", "tcp[tcpflags] & tcp-rst != 0").unwrap();
        let probe = syn("127.0.0.1:5000", "127.0.0.1:4000");
        RawSender::new().unwrap().send(&probe).unwrap();
        seen_within(&mut capture, 200).is_none()
    };
    assert!(namespace.run(silent).unwrap());
    println!("done");
}

fn build_a_lab() {
    let outside = std::fs::read_link("/proc/self/ns/user").unwrap();
    privilege::become_root_in_user_namespace().unwrap();
    assert_ne!(std::fs::read_link("/proc/self/ns/user").unwrap(), outside);
    assert!(privilege::is_root() && Capability::SysAdmin.is_held());
    let host = Host::new();
    let _guard = host.run(|| PortGuard::new(&[at("10.0.0.1:4000")]).unwrap());
    let _nat = host.run(|| KernelNat::linux("t0").apply().unwrap());
    let mut sender = host.run(|| RawSender::new().unwrap());
    let _capture = host.run(|| Capture::open("t0", "tcp").unwrap());
    sender.send(&syn("10.0.0.1:4000", "10.0.0.2:80")).unwrap();
    assert_eq!(host.segment_within(1000).unwrap().flags, "S");
    host.tun.write(&syn("10.0.0.2:80", "10.0.0.1:4000")).unwrap();
    assert_eq!(host.segment_within(200), None);
    println!("done");
}

fn threads_running() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || stopped.recv());
    let error = privilege::become_root_in_user_namespace().unwrap_err();
    assert!(error.to_string().contains("threads"), "{error}");
    drop(stop);
    assert!(other.join().unwrap().is_err());
}

fn signals() {
    let mut child = start("signals", None);
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    assert_eq!(line(&mut child), "ready");
    kill(pid, Number::SIGINT).unwrap();
    assert_eq!(line(&mut child), "Interrupt");
    kill(pid, Number::SIGTERM).unwrap();
    assert_eq!(finish(child), "Terminate\nended cleanly\n");
}

fn wait_for_signals() {
    let signals = Signals::block().unwrap();
    // A thread started afterwards must not die of them either.
    let worker = std::thread::spawn(|| std::thread::sleep(Duration::from_millis(100)));
    println!("ready");
    loop {
        assert_eq!(poll::wait(&[Interest::read(&signals)], Some(in_ms(10_000))).unwrap().len(), 1);
        let signal = signals.read().unwrap().unwrap();
        println!("{signal:?}");
        if signal == Signal::Terminate {
            break;
        }
    }
    worker.join().unwrap();
    assert_eq!(signals.read().unwrap(), None);
    println!("ended cleanly");
}

/// Starts this binary in a role, in the calling thread's namespace.
fn start(role: &str, user: Option<u32>) -> Child {
    // By this path it can be started by a user who may not see its directory.
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.spawn().unwrap()
}

fn line(child: &mut Child) -> String {
    let mut byte = [0];
    let mut text = Vec::new();
    let out = child.stdout.as_mut().unwrap();
    while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

fn finish(mut child: Child) -> String {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said: String = lines.map(|line| line.unwrap() + "\n").collect();
    assert!(child.wait().unwrap().success(), "{said}");
    said
}

/// A user without any rights.
const NOBODY: u32 = 65534;
