//! Namespaces, wires between them and packets, for the tests.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use tso_probe::os::{
    capture::Capture,
    clock,
    link::{self, Via},
    netns::Namespace,
    poll::{self, Interest, Waker},
    privilege,
    states::SocketStates,
    sysctl,
    tun::Tun,
};

/// A test: a sentence, what it needs, and what it does.
pub struct Case {
    pub name: &'static str,
    pub needs: &'static [Needs],
    pub run: fn(),
}

/// What a machine must have for a test.
#[derive(Clone, Copy)]
pub enum Needs {
    Root,
    Tun,
    TunForAll,
    Nft,
    UserNamespaces,
    SocketStates,
}

impl Needs {
    pub fn missing(self) -> Option<&'static str> {
        let (there, why) = match self {
            Self::Root => (privilege::is_root(), "must run as root"),
            Self::Tun => (std::path::Path::new("/dev/net/tun").exists(), "no /dev/net/tun"),
            Self::TunForAll => (tun_for_all(), "/dev/net/tun is closed to users"),
            Self::Nft => (output("nft", &["--version"]).is_some(), "no `nft` to check against"),
            Self::SocketStates => {
                (SocketStates::watch().is_ok(), "socket states cannot be watched")
            }
            Self::UserNamespaces => (user_namespaces(), "user namespaces are forbidden here"),
        };
        (!there).then_some(why)
    }
}

fn tun_for_all() -> bool {
    let device = std::fs::metadata("/dev/net/tun");
    device.is_ok_and(|device| device.permissions().mode() & 0o006 == 0o006)
}

fn user_namespaces() -> bool {
    let reads = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    reads("/proc/sys/user/max_user_namespaces").trim() != "0"
        && reads("/proc/sys/kernel/unprivileged_userns_clone").trim() != "0"
        && reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() != "1"
}

/// Runs a program in the calling thread's namespace; panics if it fails.
pub fn sh(script: &str) -> String {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{script}\n{text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

fn output(program: &str, arguments: &[&str]) -> Option<Output> {
    Command::new(program).args(arguments).output().ok().filter(|o| o.status.success())
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn in_ms(ms: u64) -> Duration {
    clock::monotonic() + Duration::from_millis(ms)
}

/// Asks again every millisecond until it is true; false after `ms`.
pub fn within_ms(ms: u64, mut is_true: impl FnMut() -> bool) -> bool {
    let until = in_ms(ms);
    loop {
        if is_true() {
            return true;
        }
        if clock::monotonic() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A namespace with one TUN whose other end the test holds: the test is the
/// network that this host is attached to.
pub struct Host {
    pub namespace: Namespace,
    pub tun: Tun,
}

impl Host {
    /// Interface `t0` with 10.0.0.1/24 and fd00::1/64, and all routes by it.
    pub fn new() -> Self {
        let namespace = Namespace::create().unwrap();
        let tun = namespace.run(|| interface("t0", &["10.0.0.1/24", "fd00::1/64"])).unwrap();
        namespace
            .run(|| {
                link::add_route(ip("0.0.0.0"), 0, Via::Interface("t0")).unwrap();
                link::add_route(ip("::"), 0, Via::Interface("t0")).unwrap();
            })
            .unwrap();
        Self { namespace, tun }
    }

    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work).unwrap()
    }

    /// The next TCP segment that the host sends within `ms`.
    pub fn segment_within(&self, ms: u64) -> Option<Segment> {
        let until = in_ms(ms);
        let mut buffer = [0; 2048];
        loop {
            if let Some(length) = self.tun.read(&mut buffer).unwrap() {
                match Segment::parse(&buffer[..length]) {
                    Some(segment) => return Some(segment),
                    None => continue,
                }
            }
            if poll::wait(&[Interest::read(&self.tun)], Some(until)).unwrap().is_empty() {
                return None;
            }
        }
    }
}

/// A TUN that is up and has these addresses, in the calling thread's namespace.
pub fn interface(name: &str, addresses: &[&str]) -> Tun {
    let tun = Tun::create(name).unwrap();
    sysctl::write(&format!("ipv6/conf/{name}/router_solicitations"), "0").unwrap();
    sysctl::write(&format!("ipv6/conf/{name}/addr_gen_mode"), "1").unwrap();
    link::up(name).unwrap();
    for address in addresses {
        let (address, prefix) = address.split_once('/').unwrap();
        link::add_address(name, ip(address), prefix.parse().unwrap()).unwrap();
    }
    tun
}

/// A thread that carries packets between two TUNs until it is dropped.
pub struct Wire {
    stop: Arc<(Waker, AtomicBool)>,
    carrier: Option<thread::JoinHandle<[Tun; 2]>>,
}

impl Wire {
    pub fn new(left: Tun, right: Tun) -> Self {
        Self::with_delay(left, right, Duration::ZERO)
    }

    pub fn with_delay(left: Tun, right: Tun, delay: Duration) -> Self {
        let stop = Arc::new((Waker::new().unwrap(), AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let carrier = thread::spawn(move || {
            let ends = [left, right];
            carry(&ends, delay, &told);
            ends
        });
        Self { stop, carrier: Some(carrier) }
    }

    /// Carries nothing from now on; the interfaces stay up.
    pub fn cut(mut self) -> [Tun; 2] {
        self.halt().unwrap()
    }

    fn halt(&mut self) -> Option<[Tun; 2]> {
        self.stop.1.store(true, Ordering::Relaxed);
        self.stop.0.wake();
        self.carrier.take().map(|carrier| carrier.join().unwrap())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.halt();
    }
}

fn carry(ends: &[Tun; 2], delay: Duration, stop: &(Waker, AtomicBool)) {
    let mut under_way: VecDeque<(Duration, usize, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; 65536];
    while !stop.1.load(Ordering::Relaxed) {
        let until = under_way.front().map(|(due, ..)| *due);
        let interests =
            [Interest::read(&ends[0]), Interest::read(&ends[1]), Interest::read(&stop.0)];
        poll::wait(&interests, until).unwrap();
        for (from, end) in ends.iter().enumerate() {
            while let Some(length) = end.read(&mut buffer).unwrap() {
                let due = clock::monotonic() + delay;
                under_way.push_back((due, 1 - from, buffer[..length].to_vec()));
            }
        }
        while under_way.front().is_some_and(|(due, ..)| *due <= clock::monotonic()) {
            let (_, to, packet) = under_way.pop_front().unwrap();
            ends[to].write(&packet).unwrap();
        }
    }
}

/// What the tests look at in a TCP segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// After packetdrill: `S`, `S.`, `R.`, `.` …
    pub flags: String,
    pub mss: Option<u16>,
}

impl Segment {
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            return None;
        };
        let (from, to) = match sliced.net? {
            etherparse::NetSlice::Ipv4(v4) => (
                IpAddr::from(v4.header().source_addr()),
                IpAddr::from(v4.header().destination_addr()),
            ),
            etherparse::NetSlice::Ipv6(v6) => (
                IpAddr::from(v6.header().source_addr()),
                IpAddr::from(v6.header().destination_addr()),
            ),
            etherparse::NetSlice::Arp(_) => return None,
        };
        let named = [(tcp.syn(), 'S'), (tcp.fin(), 'F'), (tcp.rst(), 'R'), (tcp.psh(), 'P')];
        let mut flags: String = named.iter().filter(|(set, _)| *set).map(|(_, c)| c).collect();
        if tcp.ack() {
            flags.push('.');
        }
        let mss = tcp.options_iterator().flatten().find_map(|option| match option {
            etherparse::TcpOptionElement::MaximumSegmentSize(mss) => Some(mss),
            _ => None,
        });
        Some(Self {
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            flags,
            mss,
        })
    }
}

/// A SYN from one endpoint to another.
pub fn syn(from: &str, to: &str) -> Vec<u8> {
    crafted(from, to, false)
}

/// A SYN,ACK that answers nothing.
pub fn syn_ack(from: &str, to: &str) -> Vec<u8> {
    crafted(from, to, true)
}

fn crafted(from: &str, to: &str, ack: bool) -> Vec<u8> {
    let (from, to) = (at(from), at(to));
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(f), IpAddr::V4(t)) => PacketBuilder::ipv4(f.octets(), t.octets(), 64),
        (IpAddr::V6(f), IpAddr::V6(t)) => PacketBuilder::ipv6(f.octets(), t.octets(), 64),
        _ => panic!("one address family"),
    };
    let builder = builder.tcp(from.port(), to.port(), 1000, 65000).syn();
    let builder = if ack { builder.ack(1) } else { builder };
    let mut packet = Vec::new();
    builder.write(&mut packet, &[]).unwrap();
    packet
}

/// The next TCP segment that a capture shows within `ms`.
pub fn seen_within(capture: &mut Capture, ms: u64) -> Option<Segment> {
    let until = in_ms(ms);
    loop {
        if let Some(captured) = capture.next_packet().unwrap() {
            match Segment::parse(captured.packet) {
                Some(segment) => return Some(segment),
                None => continue,
            }
        }
        if poll::wait(&[Interest::read(capture)], Some(until)).unwrap().is_empty() {
            return None;
        }
    }
}

/// A client behind a router, and a server outside.
///
/// client 192.168.0.2 — `lan` 192.168.0.1 router 203.0.113.1 `wan` — server 203.0.113.9
pub struct Routed {
    pub client: Namespace,
    pub router: Namespace,
    pub server: Namespace,
    _wires: [Wire; 2],
}

impl Routed {
    pub fn new() -> Self {
        let [client, router, server] = [0; 3].map(|_| Namespace::create().unwrap());
        let up = |namespace: &Namespace, name: &str, address: &str| {
            namespace.run(|| interface(name, &[address])).unwrap()
        };
        let inner = [up(&client, "c0", "192.168.0.2/24"), up(&router, "lan", "192.168.0.1/24")];
        let outer = [up(&router, "wan", "203.0.113.1/24"), up(&server, "s0", "203.0.113.9/24")];
        client
            .run(|| link::add_route(ip("0.0.0.0"), 0, Via::Gateway(ip("192.168.0.1"))).unwrap())
            .unwrap();
        router.run(|| sysctl::write("ipv4/ip_forward", "1").unwrap()).unwrap();
        let wires = [inner, outer].map(|[left, right]| Wire::new(left, right));
        Self { client, router, server, _wires: wires }
    }
}

/// How many milliseconds something may outlive its drop here: a child process
/// that another test starts holds our descriptors until its exec.
pub const FORKED: u64 = 3000;

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
pub const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

pub fn v4(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(ip, port))
}
