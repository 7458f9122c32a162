//! Requests, done.

use std::net::ToSocketAddrs;
use std::path::Path;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::{finish, show};
use super::request::{Classify, Form, Host, Modelled, Request, Serve, Source};
use super::screen::{Progress, Screen};
use crate::capture::{self, Evidence};
use crate::engine::{Fact, Run};
use crate::lab::{self, Lab};
use crate::live::{self, Live, Stop};
use crate::nat::{Behaviour, Device, Nat};
use crate::os::signals::Signals;
use crate::os::{clock, entropy, privilege};
use crate::rendezvous::Business;
use crate::report;
use crate::serve::{self, Hospitality, Site};
use crate::sim::{self, Layout};
use crate::time::Duration;
use crate::verdict::judge;
use crate::wire::Endpoint;

/// Does what is asked for, and says how it ended.
///
/// # Errors
/// If it could not be done.
pub fn dispatch(request: &Request) -> Result<Exit, Failure> {
    match request {
        Request::Classify(request) => return classify(request),
        Request::Stun(request) => return super::stun::stun(request),
        Request::Punch(request) => return super::punch::punch(request),
        Request::PunchSchema => show(&format!("{:#}\n", report::punch_schema())),
        Request::CrossingWindows(request) => return super::timing::crossing_windows(request),
        Request::TimingSchema => show(&format!("{:#}\n", report::timing_schema())),
        Request::Doctor(request) => return super::doctor::doctor(request),
        Request::DoctorSchema => show(&format!("{:#}\n", report::doctor_schema())),
        Request::LabRun(request) => return super::lab_run::lab_run(request),
        Request::LabRunSchema => show(&format!("{:#}\n", report::lab_run_schema())),
        Request::Analyze(request) => return super::analyze::analyze(request),
        Request::AnalyzeSchema => show(&format!("{:#}\n", report::analyze_schema())),
        Request::Ports(request) => return super::ports::ports(request),
        Request::PortsSchema => show(&format!("{:#}\n", report::ports_schema())),
        Request::LabPlacements(request) => return super::placements::placements(request),
        Request::LabPlacementsSchema => show(&format!("{:#}\n", report::placements_schema())),
        Request::StunSchema => show(&format!("{:#}\n", report::stun_schema())),
        Request::LabOsTable(args) => return super::os_table::os_table(args),
        Request::LabOsTableSchema => show(&format!("{:#}\n", report::os_table_schema())),
        Request::Proxy(args) => return super::proxy::proxy(args),
        Request::Serve(request) => serve(request)?,
        Request::ClassifySchema => show(&format!("{:#}\n", report::schema())),
        Request::LabList(Form::Json) => show(&format!("{:#}\n", report::presets_json())),
        Request::LabList(Form::Text) => {
            show(&report::presets_table(Screen::of_stdout().width));
        }
        Request::LabShell(request) => return super::shell::shell(request),
        Request::Completions(shell) => super::completions(*shell),
        Request::Man(command) => super::man(command.as_deref())?,
    }
    Ok(Exit::Answered)
}

fn classify(request: &Classify) -> Result<Exit, Failure> {
    if let Some(path) = &request.output.evidence {
        super::check_evidence(path)?;
    }
    let evidence = match &request.source {
        Source::Sim(modelled) => simulated(request, modelled)?,
        Source::File(path) => from_file(path)?,
        Source::Lab(modelled) => {
            real(request, |seed, signals, watch| in_lab(request, modelled, seed, signals, watch))?
        }
        Source::Stun(servers) => real(request, |seed, signals, watch| {
            let servers = resolved(servers, "server")?;
            Ok(live::classify_by_stun(&servers, seed, signals, watch)?)
        })?,
        Source::Live { reflectors, second_internal } => real(request, |seed, signals, watch| {
            if reflectors.is_empty() {
                return Ok(live::alone()?);
            }
            let reflectors = resolved(reflectors, "reflector")?;
            let (second_internal, effort) = (*second_internal, request.effort);
            let live = Live { reflectors, second_internal, effort, seed };
            Ok(live::classify(&live, signals, watch)?)
        })?,
    };
    let verdict = judge(&evidence.run);
    Ok(finish(&request.output, evidence, verdict))
}

type Watch<'a> = &'a mut (dyn FnMut(&Fact) + Send);

/// A run with real packets, on this machine's clock.
fn real(
    request: &Classify,
    ask: impl FnOnce(u64, &Signals, Watch<'_>) -> Result<Run, Failure>,
) -> Result<Evidence, Failure> {
    let seed = request.seed.map_or_else(entropy::seed, Ok)?;
    let signals = Signals::block()?;
    let progress = Progress::new(request.output.verbosity);
    let started = clock::realtime();
    let mut watch = |fact: &Fact| report::progress(fact).iter().for_each(|what| progress.say(what));
    let asked = ask(seed, &signals, &mut watch);
    progress.end();
    Ok(Evidence { run: asked?, started })
}

fn in_lab(
    request: &Classify,
    modelled: &Modelled,
    seed: u64,
    signals: &Signals,
    watch: Watch<'_>,
) -> Result<Run, Failure> {
    let delay = modelled.delay.unwrap_or(LAB_DELAY);
    let lab = Lab { nat: nat(&modelled.nat)?, delay, effort: request.effort, seed };
    if !privilege::is_root() {
        privilege::become_root_in_user_namespace()?;
    }
    Ok(lab::classify(&lab, signals, watch)?)
}

/// The IPv4 addresses of these hosts: NATs of RFC 5382 translate IPv4.
fn resolved(hosts: &[Host], what: &str) -> Result<Vec<Endpoint>, Failure> {
    hosts.iter().map(|host| resolve(host, what)).collect()
}

fn resolve(host: &Host, what: &str) -> Result<Endpoint, Failure> {
    let all = look_up(host, what)?;
    all.into_iter().find(Endpoint::is_ipv4).ok_or_else(|| {
        let hint = "RFC 5382 is about NATs between IPv4 addresses: give an IPv4 address";
        Failure::new(format!("{} has no IPv4 address", host.name), hint)
    })
}

/// All endpoints of a host.
///
/// # Errors
/// When its name is not to be looked up.
pub fn look_up(host: &Host, what: &str) -> Result<Vec<Endpoint>, Failure> {
    let all = (host.name.as_str(), host.port).to_socket_addrs().map_err(|error| {
        let hint = format!("check the {what}'s name, and that this host can look it up");
        Failure::new(format!("cannot look up {}: {error}", host.name), hint)
    })?;
    Ok(all.collect())
}

/// The first endpoint of a host.
///
/// # Errors
/// When its name is not to be looked up, or has no address.
pub fn first_of(host: &Host, what: &str) -> Result<Endpoint, Failure> {
    let hint = format!("give the {what}'s address");
    let none = || Failure::new(format!("{} has no address", host.name), hint);
    look_up(host, what)?.into_iter().next().ok_or_else(none)
}

fn serve(request: &Serve) -> Result<(), Failure> {
    let listen = request.listen.map_or_else(serve::own_address, Ok)?;
    let site = Site {
        addresses: [Some(listen), request.alternate].into_iter().flatten().collect(),
        control_port: request.control_port,
        probe_ports: request.probe_ports,
        stun_ports: request.stun_ports,
        rendezvous_ports: request.rendezvous_ports,
    };
    let signals = Signals::block()?;
    let report = |business: &Business| Progress::Lines.say(&report::busy(business));
    let (limits, every) = (request.limits, request.status_every);
    let hospitality =
        Hospitality { limits, every, report: &report, identity: request.identity.as_ref() };
    let mut places = Vec::new();
    if !request.rendezvous_only {
        places.push(("control connections", vec![site.control()]));
        places.extend([("probes", site.probes()), ("STUN", site.stun())]);
    }
    places.push(("rendezvous", site.rendezvous()));
    let say = || show(&report::serving(&places));
    let serve = if request.rendezvous_only { serve::introduce } else { serve::serve };
    Ok(serve(&site, hospitality, Stop::Signals(&signals), &say)?)
}

/// A run on virtual time.
fn simulated(request: &Classify, modelled: &Modelled) -> Result<Evidence, Failure> {
    let behaviours = behaviours(&modelled.nat)?;
    let delay = modelled.delay.unwrap_or(SIMULATED_DELAY);
    let layout = Layout::fair(request.effort, request.seed.unwrap_or_default(), delay);
    Ok(Evidence { run: sim::classify(&behaviours, &layout), started: Duration::ZERO })
}

/// The NAT of this description.
///
/// # Errors
/// When there is none such.
pub fn nat(name: &str) -> Result<Nat, Failure> {
    name.parse::<Nat>().map_err(|bad| Failure::new(bad.what, bad.hint))
}

/// The NATs in a row that a name stands for, to be simulated.
///
/// # Errors
/// If it names none, or the kernel's own.
pub fn behaviours(name: &str) -> Result<Vec<Behaviour>, Failure> {
    match nat(name)?.device {
        Device::Modelled(behaviours) => Ok(behaviours),
        Device::Kernel(_) => Err(Failure::new(
            format!("'{name}' is a kernel's own NAT, which cannot be simulated"),
            "use --lab for the kernel's, or simulate its model: 'linux' or 'openwrt'",
        )),
    }
}

fn from_file(path: &Path) -> Result<Evidence, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::new(format!("cannot read {}: {error}", path.display()), "check the file's name")
    })?;
    capture::read(&bytes).map_err(|error| {
        Failure::new(format!("cannot judge {}: {error}", path.display()), error.hint())
    })
}

/// As on a short path through the Internet.
const SIMULATED_DELAY: Duration = Duration::from_millis(10);

/// Long enough that packets cross, short enough not to wait for.
pub const LAB_DELAY: Duration = Duration::from_millis(5);
