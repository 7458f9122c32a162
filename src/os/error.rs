//! What went wrong between us and the kernel: what was tried, on what, why it
//! failed and what to do about it.

use std::{fmt, io};

use nix::errno::Errno;

/// Result of a call into the kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// A call into the kernel failed.
///
/// Reads as `cannot <tried> <on>: <why>`; the hint is shown apart from it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {tried}{}{on}: {why}", if on.is_empty() { "" } else { " " })]
pub struct Error {
    /// What sort of failure it is, for those who act on it.
    pub kind: Kind,
    /// What was tried, as a verb phrase: `open a raw socket`.
    pub tried: &'static str,
    /// On what: an interface, an address, a file. May be empty.
    pub on: String,
    /// Why it failed.
    pub why: Why,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// Sorts of failure that a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The process lacks a capability.
    Privilege,
    /// The kernel lacks a feature or forbids it to everybody.
    Unsupported,
    /// Somebody else holds the address or port.
    Taken,
    /// The interface or process went away.
    Gone,
    /// This host's own packet filter refused the packet.
    Blocked,
    /// This host has no route there.
    Unroutable,
    /// Anything else.
    Other,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// The kernel said so.
    #[error(transparent)]
    Kernel(#[from] io::Error),
    /// A library or a check of ours said so.
    #[error("{0}")]
    Text(String),
}

impl Error {
    /// The kernel's answer to `tried on`; a privilege error brings its hint.
    pub fn kernel(tried: &'static str, on: impl fmt::Display, why: impl Into<io::Error>) -> Self {
        let why = why.into();
        let kind = kind_of(&why);
        Self::build(kind, tried, on, Why::Kernel(why))
    }

    /// A failure told in words, of kind [`Kind::Other`].
    pub fn text(tried: &'static str, on: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::build(Kind::Other, tried, on, Why::Text(why.to_string()))
    }

    /// The process may not do what it tried.
    pub fn privilege(tried: &'static str, hint: impl Into<String>) -> Self {
        Self::text(tried, "", "not permitted").of_kind(Kind::Privilege).with_hint(hint)
    }

    /// The same error as another kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error with this advice in place of any other.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with the reason told in these words.
    pub(super) fn because(mut self, words: String) -> Self {
        self.why = Why::Text(words);
        self
    }

    /// The kernel's error number, if it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match &self.why {
            Why::Kernel(error) => error.raw_os_error(),
            Why::Text(_) => None,
        }
    }

    /// The sort of failure in the words of [`std::io`].
    pub fn io_kind(&self) -> io::ErrorKind {
        match &self.why {
            Why::Kernel(error) => error.kind(),
            Why::Text(_) => io::ErrorKind::Other,
        }
    }

    fn build(kind: Kind, tried: &'static str, on: impl fmt::Display, why: Why) -> Self {
        let hint = (kind == Kind::Privilege).then(|| PRIVILEGE_HINT.to_owned());
        let on = on.to_string();
        Self { kind, tried, on, why, hint }
    }
}

fn kind_of(error: &io::Error) -> Kind {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => Kind::Privilege,
        Some(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPROTONOSUPPORT) => Kind::Unsupported,
        Some(Errno::EADDRINUSE) => Kind::Taken,
        Some(Errno::ENODEV | Errno::ENXIO | Errno::ENETDOWN) => Kind::Gone,
        _ => Kind::Other,
    }
}

/// What helps when a capability is missing.
pub const PRIVILEGE_HINT: &str = "run with sudo, or: \
    sudo setcap cap_net_raw,cap_net_admin=ep $(command -v tso-probe)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_on_what_and_why() {
        let error = Error::kernel("bring up", "tun0", Errno::ENODEV);
        assert_eq!(error.to_string(), "cannot bring up tun0: No such device (os error 19)");
        assert_eq!(error.kind, Kind::Gone);
        assert_eq!(error.errno(), Some(Errno::ENODEV as i32));
        assert_eq!(error.hint, None);
    }

    #[test]
    fn a_missing_privilege_brings_the_way_out() {
        let error = Error::kernel("open a raw socket", "", Errno::EPERM);
        assert_eq!(error.kind, Kind::Privilege);
        assert!(error.hint.is_some_and(|hint| hint.contains("setcap")));
        assert!(error.why.to_string().contains("not permitted"));
    }
}
