//! What this process may do, and the way to a lab without root.

use std::fs;

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use super::{Error, Kind, Result, link};

/// A right that the kernel grants apart from being root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// `CAP_NET_ADMIN`: links, addresses, routes, packet filter, TUN.
    NetAdmin = 12,
    /// `CAP_NET_RAW`: raw sockets and capture.
    NetRaw = 13,
    /// `CAP_SYS_ADMIN`: namespaces.
    SysAdmin = 21,
}

impl Capability {
    /// Whether the calling thread has it in effect, in its user namespace.
    pub fn is_held(self) -> bool {
        effective_set().is_some_and(|set| set >> (self as u8) & 1 == 1)
    }

    /// Fails unless it is held, naming what it is needed for.
    ///
    /// # Errors
    /// [`Kind::Privilege`] with the hint that fits.
    pub fn require(self, tried: &'static str) -> Result<()> {
        if self.is_held() {
            return Ok(());
        }
        let hint = match self {
            Self::NetAdmin | Self::NetRaw => super::error::PRIVILEGE_HINT,
            Self::SysAdmin => "run with sudo",
        };
        Err(Error::privilege(tried, hint))
    }
}

/// Whether the effective user is root (in its user namespace).
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Makes this process root of a user and a network namespace of its own, with
/// `lo` up: all that a lab needs, without any right on the host.
///
/// To be called before any other thread starts.
///
/// # Errors
/// [`Kind::Unsupported`] when this machine forbids user namespaces, with what
/// forbids it; [`Kind::Other`] when other threads run.
pub fn become_root_in_user_namespace() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    single_threaded()?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|e| forbidden(Error::kernel(TRIED, "", e)))?;
    // Since Linux 3.19 an unprivileged process may map its group only once it
    // has given up setgroups(2) (user_namespaces(7)).
    write_map("/proc/self/setgroups", "deny")?;
    write_map("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write_map("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    // A security module may let the namespace be and take its rights away.
    link::up("lo").map_err(forbidden)
}

fn single_threaded() -> Result<()> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        let why = format!("{threads} threads run, and the kernel allows it to one alone");
        return Err(Error::text(TRIED, "", why));
    }
    Ok(())
}

fn write_map(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| forbidden(Error::kernel("write", path, e)))
}

fn forbidden(error: Error) -> Error {
    let hint = format!("{}; {RUN_AS_ROOT}", what_forbids());
    error.of_kind(Kind::Unsupported).with_hint(hint)
}

/// The first setting of this machine found to forbid user namespaces.
fn what_forbids() -> String {
    let forbidding = FORBIDDING
        .iter()
        .find(|(path, value)| fs::read_to_string(path).is_ok_and(|found| found.trim() == *value));
    match forbidding {
        Some((path, value)) => format!("{path} is {value}"),
        None => "this machine or container forbids user namespaces".to_owned(),
    }
}

fn effective_set() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let set = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

const TRIED: &str = "make a user namespace";
const RUN_AS_ROOT: &str = "run the lab with sudo instead";

/// Settings, and the value with which each forbids user namespaces.
const FORBIDDING: [(&str, &str); 3] = [
    ("/proc/sys/user/max_user_namespaces", "0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
];
