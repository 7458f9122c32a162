//! A whole classification on virtual time.

use std::net::IpAddr;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::addresses::{HOME_A, INTERNAL, REFLECTOR, probe_endpoints};
use super::host::Host;
use super::link::Weather;
use super::world::World;
use crate::engine::{Effort, Run};
use crate::nat::Behaviour;
use crate::probe::{Plan, Setting};
use crate::rendezvous::{CONTROL_PORT, Limits, Reflector};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// What stands around the NATs, and what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// How much patience the plan has.
    pub effort: Effort,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Whether there is a second internal address.
    pub second_internal: bool,
    /// Where reflectors stand.
    pub reflectors: Reflectors,
    /// The path outward, and the path inward, outside the outermost NAT.
    pub weather: [Weather; 2],
    /// The same between the prober and the innermost NAT.
    pub inner_weather: [Weather; 2],
    /// What goes wrong, if anything does.
    pub fault: Option<Fault>,
}

/// Where reflectors stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reflectors {
    /// One host with one address.
    OneAddress,
    /// One host with two addresses.
    TwoAddresses,
    /// Two hosts with one address each.
    TwoHosts,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub what: Broken,
    /// From which moment on.
    pub at: Instant,
}

/// What breaks. Reflectors are numbered from 0; one that does not exist breaks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// This reflector goes dark.
    Reflector(usize),
    /// The path swallows the control connection with this reflector, both ways and nothing else, as
    /// where a NAT has forgotten its binding.
    ControlPath(usize),
    /// The control connection with this reflector is reset at the prober's end.
    Control(usize),
    /// The user interrupts the run.
    Patience,
}

impl Fault {
    /// When this breaks, if it does.
    fn when(self, what: Broken) -> Option<Instant> {
        Some(self.at).filter(|_| self.what == what)
    }
}

impl Layout {
    /// All that a plan can wish for, `delay` each way, and fair weather.
    pub fn fair(effort: Effort, seed: u64, delay: Duration) -> Self {
        let weather = Weather { delay, ..Weather::default() };
        Self {
            effort,
            seed,
            second_internal: true,
            reflectors: Reflectors::TwoAddresses,
            weather: [weather; 2],
            inner_weather: [Weather::default(); 2],
            fault: None,
        }
    }
}

/// Classifies this row of NATs, the innermost first.
pub fn classify(nats: &[Behaviour], layout: &Layout) -> Run {
    let count = if layout.second_internal { 2 } else { 1 };
    let internal: Vec<_> = INTERNAL[..count].to_vec();
    let addresses: Vec<Vec<IpAddr>> = match layout.reflectors {
        Reflectors::OneAddress => vec![REFLECTOR[..1].to_vec()],
        Reflectors::TwoAddresses => vec![REFLECTOR.to_vec()],
        Reflectors::TwoHosts => REFLECTOR.map(|address| vec![address]).to_vec(),
    };
    let setting = Setting {
        effort: layout.effort,
        seed: layout.seed,
        internal: internal.clone(),
        ports: ports(Setting::ports_needed(layout.effort), layout.seed),
        reflectors: u8::try_from(addresses.len()).expect("one or two"),
    };
    let dials = addresses.iter().zip(CONTROL_PORTS).map(|(of_host, port)| {
        (Endpoint::new(internal[0], port), Endpoint::new(of_host[0], CONTROL_PORT))
    });
    let breaks = |what| layout.fault.and_then(|fault| fault.when(what));
    let mut prober = Host::new(internal.clone(), Box::new(Plan::new(setting)), dials.collect());
    prober.interrupted = breaks(Broken::Patience);
    for (number, port) in CONTROL_PORTS.into_iter().enumerate() {
        let end = Endpoint::new(internal[0], port);
        prober.cut = prober.cut.or(breaks(Broken::ControlPath(number)).map(|at| (end, at)));
        prober.resets = prober.resets.or(breaks(Broken::Control(number)).map(|at| (end, at)));
    }
    let mut hosts = vec![prober];
    hosts.extend(
        addresses.into_iter().enumerate().map(|(number, own)| reflector(number, own, layout)),
    );
    let nats: Vec<_> =
        HOME_A.externals(nats).map(|(nat, own)| (nat.clone(), own.to_vec())).collect();
    World::new(hosts, &nats, &links(nats.len(), layout), layout.seed).run()
}

fn reflector(number: usize, addresses: Vec<IpAddr>, layout: &Layout) -> Host<'static> {
    let endpoints = probe_endpoints(&addresses);
    let seed = layout.seed.rotate_left(17) ^ number as u64;
    let party = Box::new(Reflector::new(endpoints, Limits::default(), seed));
    let mut host = Host::new(addresses, party, Vec::new());
    host.dies = layout.fault.and_then(|fault| fault.when(Broken::Reflector(number)));
    host
}

fn links(nats: usize, layout: &Layout) -> Vec<[Weather; 2]> {
    let mut links = vec![[Weather::default(); 2]; nats + 1];
    // What is lost on the inner link never meets a NAT; what is lost on the outer one was translated,
    // and what hairpins never sees that. Without a NAT there is one link.
    links[0] = layout.inner_weather;
    links[nats] = layout.weather;
    links
}

/// Distinct ports, as a host that picks free ones at random would have them.
fn ports(count: usize, seed: u64) -> Vec<u16> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x706f_7274);
    let first = random.random_range(32_768..=60_000 - STRIDE * u16::try_from(count).unwrap_or(0));
    let mut ports: Vec<u16> = (0..u16::try_from(count).unwrap_or(0))
        .map(|number| first + number * STRIDE + random.random_range(0..STRIDE))
        .collect();
    ports.shuffle(&mut random);
    ports
}

const STRIDE: u16 = 97;

/// Where control connections come from.
const CONTROL_PORTS: [u16; 2] = [61_001, 61_002];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_run() {
        let nat = crate::nat::Knobs::rfc5382();
        let nat = [Behaviour::try_from(nat).expect("possible")];
        let layout = Layout::fair(Effort::Default, 7, Duration::from_millis(50));
        let run = classify(&nat, &layout);
        assert_eq!(run, classify(&nat, &layout));
    }
}
