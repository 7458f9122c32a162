//! The wish to end a run, as a descriptor that can be waited for.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::{
    signal::{SigSet, Signal as Number},
    signalfd::{SfdFlags, SignalFd},
};

use super::{Error, Result};

/// Takes SIGINT, SIGTERM and SIGHUP away from their default of killing the
/// process and makes them readable.
///
/// Threads inherit the block from the thread that starts them, so this is made
/// before any other thread. Child processes inherit it as well.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// What was blocked before.
    pub(super) before: SigSet,
}

/// A wish to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C (SIGINT), or Ctrl-\ (SIGQUIT) where that is blocked as well.
    Interrupt,
    /// `kill` (SIGTERM), or the terminal is gone (SIGHUP).
    Terminate,
}

impl Signals {
    /// Blocks the signals in the calling thread, and thereby in all threads
    /// that it starts, until this value is dropped in the same thread.
    ///
    /// # Errors
    /// When the process has too many open descriptors.
    pub fn block() -> Result<Self> {
        Self::blocking(&ENDING)
    }

    /// The same with SIGQUIT as well: for a process whose terminal is another program's for now.
    ///
    /// # Errors
    /// As for [`Signals::block`].
    pub fn block_every_key() -> Result<Self> {
        Self::blocking(&[&ENDING[..], &[Number::SIGQUIT]].concat())
    }

    fn blocking(signals: &[Number]) -> Result<Self> {
        let mut set = SigSet::empty();
        signals.iter().for_each(|signal| set.add(*signal));
        let before = set
            .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)
            .map_err(|e| Error::kernel("block", "signals", e))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|e| Error::kernel("open", "a signal descriptor", e))?;
        Ok(Self { fd, before })
    }

    /// The next signal that came, if any.
    ///
    /// # Errors
    /// When the kernel tells of a signal in a way unknown to us.
    pub fn read(&self) -> Result<Option<Signal>> {
        let is_key = |number| matches!(number, Number::SIGINT | Number::SIGQUIT);
        Ok(self.number()?.map(|number| match is_key(number) {
            true => Signal::Interrupt,
            false => Signal::Terminate,
        }))
    }

    /// The number of the next signal that came, if any.
    pub(super) fn number(&self) -> Result<Option<Number>> {
        let failed = |e| Error::kernel("read", "a signal", e);
        let Some(info) = self.fd.read_signal().map_err(failed)? else { return Ok(None) };
        // A number that no int holds is none of ours.
        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
        Number::try_from(number).map(Some).map_err(failed)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // A mask that was in force once is valid.
        let _ = self.before.thread_set_mask();
    }
}

const ENDING: [Number; 3] = [Number::SIGINT, Number::SIGTERM, Number::SIGHUP];
