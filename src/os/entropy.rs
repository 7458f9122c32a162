//! Randomness from the kernel.

use std::fs::File;
use std::io::Read;

use super::{Error, Result};

/// A seed that nobody can guess.
///
/// # Errors
/// When the kernel gives none, as in a chroot without devices.
pub fn seed() -> Result<u64> {
    let mut octets = [0; 8];
    let read = File::open(SOURCE).and_then(|mut source| source.read_exact(&mut octets));
    read.map_err(|e| Error::kernel("read randomness from", SOURCE, e))?;
    Ok(u64::from_le_bytes(octets))
}

const SOURCE: &str = "/dev/urandom";
