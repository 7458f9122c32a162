//! Settings of the network namespace that the calling thread stands in.

use std::fs;

use super::{Error, Kind, Result};

/// Sets `net.<name>`, for example `write("ipv4/ip_forward", "1")`.
///
/// # Errors
/// [`Kind::Unsupported`] when this kernel or namespace has no such setting
/// (a module may be missing, for example `nf_conntrack`).
pub fn write(name: &str, value: &str) -> Result<()> {
    let path = path_of(name);
    fs::write(&path, value).map_err(|e| failed("write", &path, e))
}

/// The value of `net.<name>` without the newline.
///
/// # Errors
/// As for [`write()`].
pub fn read(name: &str) -> Result<String> {
    let path = path_of(name);
    let value = fs::read_to_string(&path).map_err(|e| failed("read", &path, e))?;
    Ok(value.trim_end().to_owned())
}

/// `/proc/sys/net` shows each thread the namespace that it stands in.
fn path_of(name: &str) -> String {
    format!("/proc/sys/net/{name}")
}

fn failed(tried: &'static str, path: &str, error: std::io::Error) -> Error {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let error = Error::kernel(tried, path, error);
    if missing { error.of_kind(Kind::Unsupported) } else { error }
}
