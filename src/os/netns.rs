//! Network namespaces held by file descriptors alone: they have no name, and
//! the kernel removes them with the last descriptor or thread.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic, thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use super::{Error, Result, link};

/// A network namespace, alive as long as this value or anything made in it.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
}

impl Namespace {
    /// A new namespace with nothing in it but `lo`, which is up.
    ///
    /// # Errors
    /// [`super::Kind::Privilege`] without `CAP_SYS_ADMIN`.
    pub fn create() -> Result<Self> {
        // The namespace is born with a scratch thread, so that the caller's
        // thread stays where it is.
        scoped(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|e| Error::kernel("create", "a network namespace", e))?;
            link::up("lo")?;
            Self::current()
        })
    }

    /// The namespace that the calling thread stands in.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        let file = File::open(OWN).map_err(|e| Error::kernel("open", OWN, e))?;
        Ok(Self { fd: file.into() })
    }

    /// Runs `work` on a thread of its own inside this namespace and waits for
    /// it. A panic inside goes on in the caller.
    ///
    /// # Errors
    /// [`super::Kind::Privilege`] without `CAP_SYS_ADMIN`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        scoped(|| {
            self.enter_thread()?;
            Ok(work())
        })
    }

    /// Moves the calling thread into this namespace for good. Threads that it
    /// starts from then on begin there too.
    ///
    /// # Errors
    /// [`super::Kind::Privilege`] without `CAP_SYS_ADMIN`.
    pub fn enter_thread(&self) -> Result<()> {
        setns(&self.fd, CloneFlags::CLONE_NEWNET)
            .map_err(|e| Error::kernel("enter", "a network namespace", e))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn scoped<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|e| panic::resume_unwind(e))
}

const OWN: &str = "/proc/thread-self/ns/net";
