//! Randomness from the kernel.

use std::fs::File;
use std::io::Read;

use super::{Error, Result};

/// A seed that nobody can guess.
///
/// # Errors
/// When the kernel gives none, as in a chroot without devices.
pub fn seed() -> Result<u64> {
    octets().map(u64::from_le_bytes)
}

/// So much that what is drawn from it cannot be guessed either, however much of it others see.
///
/// # Errors
/// As for [`seed`].
pub fn secret() -> Result<[u8; 32]> {
    octets()
}

fn octets<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut octets = [0; COUNT];
    let read = File::open(SOURCE).and_then(|mut source| source.read_exact(&mut octets));
    read.map_err(|e| Error::kernel("read randomness from", SOURCE, e))?;
    Ok(octets)
}

const SOURCE: &str = "/dev/urandom";
