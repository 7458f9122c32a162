//! Networks of this machine's own kernel, made with `ip` and `nft`, and the program run in them.
//! Nothing here is the program's own code.

#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// A test and its name, which is a sentence.
pub type Test = (String, fn());

/// Runs the tests, many at once since they hardly compute; then nothing of them may be left.
pub fn run(tests: Vec<Test>, programs: &[&str]) -> ! {
    run_all(vec![(tests, programs)])
}

/// The same for tests that need different programs.
pub fn run_all(all: Vec<(Vec<Test>, &[&str])>) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let trials = all.into_iter().flat_map(|(tests, programs)| {
        let lacking = missing(programs);
        tests.into_iter().map(move |test| trial(test, lacking.clone()))
    });
    let trials = trials.collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let left = left_behind();
    assert!(left.is_empty(), "left behind: {left:#?}");
    conclusion.exit();
}

fn trial((name, test): Test, lacking: Option<String>) -> Trial {
    Trial::ignorable_test(name.clone(), move || match lacking {
        Some(why) => {
            eprintln!("SKIPPED: {name}: {why}");
            Ok(Completion::ignored_with(why))
        }
        None => {
            test();
            Ok::<_, Failed>(Completion::Completed)
        }
    })
}

/// A network: hosts that are namespaces of one name, which goes with it.
///
/// ```text
/// in 192.168.1.2, .3 ── edge 198.51.100.1, .2 ── core ─┬─ a 203.0.113.10, .11
///                                                      └─ b 192.0.2.10
/// ```
pub struct Network {
    prefix: String,
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// A process of ours: it ends with this, whatever becomes of the test.
pub struct Running {
    child: Child,
    since: Instant,
}

impl Network {
    /// The network that everything is tested in, its router without rules.
    pub fn new() -> Self {
        Self::with(ONE_ROUTER)
    }

    /// The same with one more router between the inside and the edge.
    pub fn with_two_routers() -> Self {
        Self::with(TWO_ROUTERS)
    }

    /// The same with a second inside, `far`, behind the host `b`, which is a router then.
    pub fn with_two_insides() -> Self {
        let network = Self::new();
        network.sh(&format!("{HELPERS}{SECOND_INSIDE}"));
        network
    }

    fn with(inside: &str) -> Self {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let network = Self { prefix: format!("{}x{number}", family()) };
        network.sh(&format!("{HELPERS}{OUTSIDE}{inside}"));
        network
    }

    /// The name of the namespace of a host.
    pub fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Runs a script; `$P-in` names the namespace of the host `in`. Panics if it fails.
    pub fn sh(&self, script: &str) -> String {
        sh_with(&format!("P={}\n{script}", self.prefix))
    }

    /// Makes these nftables rules a host's.
    pub fn rules(&self, host: &str, rules: &str) {
        self.sh(&format!("ip netns exec $P-{host} nft -f - <<'RULES'\n{rules}\nRULES"));
    }

    /// The packet filter tables of a host.
    pub fn tables(&self, host: &str) -> Vec<String> {
        let listed = self.sh(&format!("ip netns exec $P-{host} nft list tables"));
        listed.lines().map(str::to_owned).collect()
    }

    /// A program to be run on a host.
    pub fn command(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host), program]);
        marked(command)
    }

    /// The program to be run on a host.
    pub fn tso_probe(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(host, PROGRAM);
        command.args(arguments);
        command
    }

    /// Starts a reflector and waits until it says that it serves.
    pub fn serve(&self, host: &str, arguments: &[&str]) -> Running {
        let all: Vec<_> = ["serve"].iter().chain(arguments).copied().collect();
        let mut running = Running::start(self.tso_probe(host, &all));
        let said = running.line();
        assert!(
            !said.is_empty(),
            "the reflector does not serve: {}",
            running.wait(PATIENCE).stderr
        );
        running
    }

    /// Classifies from the inside, to the end.
    pub fn classify(&self, arguments: &[&str]) -> Answer {
        self.classifying("in", arguments).wait(PATIENCE)
    }

    /// Begins to classify from this host.
    pub fn classifying(&self, host: &str, arguments: &[&str]) -> Running {
        let all: Vec<_> = ["classify", "--json"].iter().chain(arguments).copied().collect();
        Running::start(self.tso_probe(host, &all))
    }
}

/// A certificate that an address has signed for itself.
pub struct Papers {
    pub certificate: String,
    pub key: String,
    _scratch: Scratch,
}

impl Papers {
    pub fn of(address: &str) -> Self {
        Self::with(address, "FALSE")
    }

    /// As `openssl req -x509` makes them if it is not told otherwise.
    pub fn of_an_authority(address: &str) -> Self {
        Self::with(address, "TRUE")
    }

    fn with(address: &str, is_authority: &str) -> Self {
        let scratch = Scratch::new();
        let (certificate, key) = (scratch.path("certificate.pem"), scratch.path("key.pem"));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-nodes", "-days", "2", "-subj", "/CN=rendezvous"]);
        command.args([
            "-addext",
            &format!("basicConstraints=critical,CA:{is_authority}"),
            "-addext",
            &format!("subjectAltName=IP:{address}"),
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
        let answer = Running::start(marked(command)).wait(PATIENCE);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        Self { certificate, key, _scratch: scratch }
    }

    pub fn options(&self) -> [&str; 4] {
        ["--tls-cert", &self.certificate, "--tls-key", &self.key]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in
            namespaces().iter().filter(|name| name.starts_with(&format!("{}-", self.prefix)))
        {
            let deleted = Command::new("ip").args(["netns", "del", name]).status();
            if !deleted.is_ok_and(|status| status.success()) {
                eprintln!("could not delete the namespace {name}");
            }
        }
    }
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), since: Instant::now() }
    }

    /// The same with a pipe at its stdin, which stays open until [`Running::close_stdin`].
    pub fn start_with_stdin(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), since: Instant::now() }
    }

    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stdout; nothing once it has ended.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut octet = [0];
        let out = self.child.stdout.as_mut().unwrap();
        while out.read(&mut octet).unwrap() == 1 && octet[0] != b'\n' {
            line.push(octet[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Lines on stderr, as they come.
    pub fn progress(&mut self) -> impl Iterator<Item = String> + use<> {
        let err: ChildStderr = self.child.stderr.take().unwrap();
        BufReader::new(err).lines().map_while(Result::ok)
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Signals everything in its process group, as a terminal does.
    pub fn signal_group(&self, signal: &str) {
        let group = format!("-{}", self.pid());
        let sent = Command::new("kill").args(["-s", signal, "--", &group]).status();
        assert!(sent.unwrap().success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it came to, within this time.
    pub fn wait(mut self, most: Duration) -> Answer {
        let stdout = self.child.stdout.take().map(collected);
        let stderr = self.child.stderr.take().map(collected);
        let status = self.ended_within(most);
        let took = self.since.elapsed();
        if status.is_none() {
            self.end();
        }
        let text = |pipe: Option<thread::JoinHandle<String>>| {
            pipe.map(|pipe| pipe.join().unwrap()).unwrap_or_default()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        let Some(status) = status else { panic!("it did not end in {most:?}: {stderr}") };
        Answer { code: status.code(), stdout, stderr, took }
    }

    fn ended_within(&mut self, most: Duration) -> Option<ExitStatus> {
        let mut status = None;
        within(most, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// It could not ask, and says why and what to do.
    pub fn expect_error(&self, error: &str) {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        let (first, hint) = self.stderr.split_once('\n').unwrap_or_default();
        assert!(first.starts_with("error: ") && first.contains(error), "{}", self.stderr);
        assert!(hint.starts_with("hint: ") && hint.len() > 10, "{}", self.stderr);
    }

    /// No finding is known.
    pub fn expect_nothing_found(&self) {
        let findings = &self.json()["findings"];
        for (name, finding) in findings.as_object().unwrap() {
            assert_eq!(finding["value"], Value::Null, "{name}: {}", self.stdout);
        }
    }

    pub fn expect_within(&self, most: Duration) {
        assert!(self.took <= most, "took {:?}, more than {most:?}", self.took);
    }
}

/// Whether something becomes true in time.
pub fn within(most: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + most;
    loop {
        if is_true() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A directory for files of one test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{}-{number}", family()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whatever keeps a network namespace alive, which is named as its link in `/proc` says:
/// `net:[4026531840]`.
pub fn holders(namespace: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let processes = all.filter(|path| path.join("task").is_dir());
    let links = processes.flat_map(|process| {
        let listed = |part: &str| {
            let entries = std::fs::read_dir(process.join(part)).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let threads = listed("task").into_iter().map(|thread| thread.join("ns/net"));
        threads.chain(listed("fd")).collect::<Vec<_>>()
    });
    let holds =
        |link: &PathBuf| std::fs::read_link(link).is_ok_and(|to| to.to_string_lossy() == namespace);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(namespace)).map(str::to_owned);
    links.filter(holds).map(|link| link.display().to_string()).chain(mounts).collect()
}

/// Why no network can be made here, if none can.
fn missing(programs: &[&str]) -> Option<String> {
    let lacks = |program: &&&str| !sh_succeeds(&format!("command -v {program}"));
    if !sh_succeeds("[ $(id -u) = 0 ]") {
        return Some("must run as root".to_owned());
    }
    if let Some(program) = ["ip", "nft"].iter().chain(programs).find(lacks) {
        return Some(format!("there is no `{program}`"));
    }
    let probe = format!("{}-probe", family());
    let tried = format!("ip netns add {probe} && ip netns del {probe}");
    (!sh_succeeds(&tried)).then(|| "network namespaces are forbidden here".to_owned())
}

/// Everything of this process that has outlived its tests; there should be nothing.
fn left_behind() -> Vec<String> {
    let ours = |name: &String| name.starts_with(&family());
    let files = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let files = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let left: Vec<_> = namespaces().into_iter().chain(files).filter(ours).collect();
    // A process that was killed takes a moment to be gone.
    within(Duration::from_secs(5), || processes().is_empty());
    left.into_iter().chain(processes()).collect()
}

/// The processes that tests have started, by the mark in their environment.
fn processes() -> Vec<String> {
    let mark = format!("{MARK}={}", family()).into_bytes();
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let ours = all.filter(|path| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        environment.split(|octet| *octet == 0).any(|variable| variable == mark)
    });
    ours.map(|path| command_line(&path)).collect()
}

fn command_line(process: &Path) -> String {
    let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
    format!("{}: {}", process.display(), String::from_utf8_lossy(&words).replace('\0', " "))
}

pub fn marked(mut command: Command) -> Command {
    command.env(MARK, family()).env_remove("TSO_PROBE_REFLECTOR").env("HOME", "/nonexistent");
    command.env_remove("SUDO_USER");
    // Ctrl-C on a terminal is for this process, which then ends them itself.
    command.process_group(0);
    command
}

fn namespaces() -> Vec<String> {
    let all = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    all.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn collected(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        // What ends early has said what it had to.
        let _ = pipe.read_to_string(&mut text);
        text
    })
}

fn sh_with(script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]);
    let out = marked(command).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{script}\n{text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

fn sh_succeeds(script: &str) -> bool {
    let out = Command::new("sh").args(["-c", script]).output();
    out.is_ok_and(|out| out.status.success())
}

/// What names of this process begin with.
fn family() -> String {
    format!("tsoprobe{}", std::process::id())
}

const AT_ONCE: usize = 8;

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// Marks the processes that tests start.
const MARK: &str = "TSO_PROBE_TEST_OF";

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tso-probe");

/// The longest that any run promises, and what a busy machine may add.
pub const PATIENCE: Duration = Duration::from_secs(90);

const HELPERS: &str = r#"
host() { ip netns add $P-$1; ip -n $P-$1 link set lo up; }
wire() {
    ip link add name $2 netns $P-$1 type veth peer name $4 netns $P-$3
    ip -n $P-$1 link set $2 up; ip -n $P-$3 link set $4 up
}
addr() { for each in $3; do ip -n $P-$1 addr add $each/24 dev $2; done; }
via() { ip -n $P-$1 route add default via $2; }
router() { ip netns exec $P-$1 sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'; }
"#;

const OUTSIDE: &str = "
for each in in edge core a b; do host $each; done
wire edge wan core wan; wire core neta a eth0; wire core netb b eth0
addr edge wan '198.51.100.1 198.51.100.2'; addr core wan 198.51.100.254
addr core neta 203.0.113.254; addr a eth0 '203.0.113.10 203.0.113.11'
addr core netb 192.0.2.254; addr b eth0 192.0.2.10
via edge 198.51.100.254; via a 203.0.113.254; via b 192.0.2.254
router edge; router core
";

const ONE_ROUTER: &str = "
wire in eth0 edge lan
addr in eth0 '192.168.1.2 192.168.1.3'; addr edge lan 192.168.1.1
via in 192.168.1.1
";

const SECOND_INSIDE: &str = "
host far; wire far eth0 b lan
addr far eth0 '192.168.2.2 192.168.2.3'; addr b lan 192.168.2.1
via far 192.168.2.1; router b
";

const TWO_ROUTERS: &str = "
host home; wire in eth0 home lan; wire home wan edge lan
addr in eth0 '192.168.1.2 192.168.1.3'; addr home lan 192.168.1.1
addr home wan 100.64.0.2; addr edge lan 100.64.0.1
via in 192.168.1.1; via home 100.64.0.1; router home
";
