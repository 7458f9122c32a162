//! How many descriptors this process may hold.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Error, Result};

/// Raises the limit on open descriptors as far as this process may, and gives it back.
///
/// # Errors
/// When the kernel does not tell.
pub fn allow_as_many_as_possible() -> Result<usize> {
    let failed = |e| Error::kernel("raise the limit on", "open descriptors", e);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(failed)?;
    Ok(usize::try_from(most).unwrap_or(usize::MAX))
}
