//! What on this machine would spoil a measurement or a punch, and how to mend each.
//!
//! [`examine`] looks at the machine and concludes nothing; [`diagnose`] concludes from what was seen
//! and looks at nothing.

mod clock;
mod cpu;
mod facts;
mod filter;
mod firewall;
mod ports;
mod privilege;
mod route;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

pub use facts::{Facts, Lateness, Path, Question, Rights, Seen, Settings, Unseen, examine};

/// What the doctor says.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// The peer that was asked about.
    pub towards: Option<Peer>,
    /// The interface that packets leave by, towards the peer or into the Internet.
    pub interface: Option<String>,
    /// The source address that they get.
    pub source: Option<IpAddr>,
    /// The worst state of all checks.
    pub worst: State,
    /// Every check, always in the same order.
    pub checks: Vec<Check>,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its port, if that is known.
    pub port: Option<u16>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Check {
    /// What was looked at.
    pub name: Name,
    /// What it came to.
    pub state: State,
    /// Why it is unknown, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<WhyUnknown>,
    /// What was seen, in sentences.
    pub seen: Vec<String>,
    /// Why it matters.
    pub matters: &'static str,
    /// Commands that mend it; words in capitals are to be filled in. Empty while it is fine.
    pub mend: Vec<String>,
    /// The numbers in what was seen.
    pub numbers: Numbers,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// What this process may do.
    Privilege,
    /// This host's packet filter.
    Firewall,
    /// Who keeps the clock.
    Clock,
    /// The way to the peer.
    Route,
    /// What the interface merges and cuts.
    Offloads,
    /// Whether this machine gets its time.
    Cpu,
    /// Who has the local ports.
    LocalPorts,
    /// The kernel's settings for TCP.
    TcpSettings,
}

/// What a check came to, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing spoils anything.
    Fine,
    /// It could not be seen.
    Unknown,
    /// It may spoil a measurement or a punch.
    Warning,
    /// It does.
    Failing,
}

/// Why a check is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhyUnknown {
    /// The kernel tells it to the privileged alone.
    NeedsPrivilege,
    /// The kernel or the driver does not tell it.
    NotTold,
    /// It depends on something that is not looked into.
    NotLookedInto,
    /// There is no way to the peer to look at.
    NoRoute,
}

/// Numbers of all checks; each has those that it saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Numbers {
    /// How far off the clock is likely to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_error_us: Option<u64>,
    /// How far off the clock is at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_error_us: Option<u64>,
    /// The number of the routing table that the route stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_table: Option<u32>,
    /// The share of the CPUs' time that was stolen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stolen_percent: Option<f64>,
    /// How late half of all timed waits ended at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_p50_us: Option<u64>,
    /// How late 99 of 100 timed waits ended at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_p99_us: Option<u64>,
    /// The ports that the kernel chooses from, first and last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_ports: Option<[u16; 2]>,
    /// `net.ipv4.tcp_syncookies`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_syncookies: Option<u64>,
    /// `net.ipv4.tcp_syn_retries`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_syn_retries: Option<u64>,
}

/// What follows from what was seen.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let checks = vec![
        privilege::check(facts),
        firewall::check(facts),
        clock::check(facts),
        route::check(facts),
        route::check_offloads(facts),
        cpu::check(facts),
        ports::check(facts),
        settings::check(facts),
    ];
    let path = facts.path.as_ref().ok();
    Diagnosis {
        towards: facts.question.towards,
        interface: path.map(|path| path.route.interface.clone()),
        source: path.map(|path| path.route.source),
        worst: checks.iter().map(|check| check.state).max().unwrap_or(State::Fine),
        checks,
    }
}

impl Check {
    /// A check that has seen nothing yet, and nothing wrong.
    fn new(name: Name, matters: &'static str) -> Self {
        let (unknown, seen, mend) = (None, Vec::new(), Vec::new());
        Self { name, state: State::Fine, unknown, seen, matters, mend, numbers: Numbers::default() }
    }

    fn sees(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }

    /// It is at least as bad as this, as seen, and this mends it.
    fn finds(&mut self, state: State, what: impl Into<String>, mend: impl Into<String>) {
        self.state = self.state.max(state);
        self.sees(what);
        let mend = mend.into();
        if !mend.is_empty() && !self.mend.contains(&mend) {
            self.mend.push(mend);
        }
    }

    /// Something of it could not be seen.
    fn misses(&mut self, unseen: &Unseen) {
        self.finds(State::Unknown, &unseen.told, unseen.mend.clone());
        self.unknown = self.unknown.or(Some(unseen.why));
    }

    /// A finding outranks what could not be seen, which then stands among what was seen.
    fn done(mut self) -> Self {
        self.unknown = self.unknown.filter(|_| self.state == State::Unknown);
        self
    }
}
