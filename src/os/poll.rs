//! Waiting for descriptors until a deadline, to the nanosecond.

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        time::TimeSpec,
    },
};

use super::{Error, Result, clock};

/// A descriptor, and what is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Interest<'fd> {
    /// The descriptor.
    pub fd: BorrowedFd<'fd>,
    /// What is waited for.
    pub want: Want,
}

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Something to read, or its end.
    Read,
    /// Room to write; also the end of a pending connection attempt.
    Write,
    /// Either.
    Both,
}

/// A descriptor that need not be waited for any longer. An error or a hang-up
/// shows as both readable and writable: the next read or write tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Its place in the list that was waited for.
    pub index: usize,
    /// A read will not block.
    pub readable: bool,
    /// A write will not block.
    pub writable: bool,
}

impl<'fd> Interest<'fd> {
    /// Waits for something to read.
    pub fn read(fd: &'fd impl AsFd) -> Self {
        Self { fd: fd.as_fd(), want: Want::Read }
    }

    /// Waits for room to write.
    pub fn write(fd: &'fd impl AsFd) -> Self {
        Self { fd: fd.as_fd(), want: Want::Write }
    }
}

/// Waits until a descriptor is ready or [`clock::monotonic`] has reached
/// `until` (then the answer is empty); without it, for as long as it takes. A
/// deadline in the past only looks. Signals do not cut it short.
///
/// See [`clock::sharpen_timers`] for how late a deadline may be met.
///
/// # Errors
/// Only for more descriptors than the process may have.
pub fn wait(interests: &[Interest<'_>], until: Option<Duration>) -> Result<Vec<Ready>> {
    let mut fds: Vec<_> = interests.iter().map(to_poll).collect();
    loop {
        let left = until.map(|until| until.saturating_sub(clock::monotonic()));
        match ppoll(&mut fds, left.map(TimeSpec::from_duration), None) {
            Ok(_) => return Ok(fds.iter().enumerate().filter_map(ready).collect()),
            Err(Errno::EINTR) => {}
            Err(e) => {
                let on = format!("{} descriptors", interests.len());
                return Err(Error::kernel("wait for", on, e));
            }
        }
    }
}

/// Ends another thread's [`wait`]. Share it by reference or `Arc`.
#[derive(Debug)]
pub struct Waker {
    event: EventFd,
}

impl Waker {
    /// A waker that nobody has called yet.
    ///
    /// # Errors
    /// When the process has too many open descriptors.
    pub fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_flags(flags)
            .map_err(|e| Error::kernel("create", "an event descriptor", e))?;
        Ok(Self { event })
    }

    /// Makes it readable until [`Waker::clear`].
    pub fn wake(&self) {
        // The one failure is a count about to overflow: it is readable then.
        let _ = self.event.write(1);
    }

    /// Wakes when the value that this gives goes, by a panic as well: so whoever waits for another
    /// thread that was to be woken never waits for ever.
    pub fn at_end(&self) -> WakesAtEnd<'_> {
        WakesAtEnd(self)
    }

    /// Takes all wake-ups so far back; whether there were any.
    pub fn clear(&self) -> bool {
        self.event.read().is_ok()
    }
}

/// Wakes when it goes.
#[must_use = "it wakes at once unless it is kept"]
#[derive(Debug)]
pub struct WakesAtEnd<'a>(&'a Waker);

impl Drop for WakesAtEnd<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

fn to_poll<'fd>(interest: &Interest<'fd>) -> PollFd<'fd> {
    let events = match interest.want {
        Want::Read => PollFlags::POLLIN,
        Want::Write => PollFlags::POLLOUT,
        Want::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
    };
    PollFd::new(interest.fd, events)
}

fn ready((index, fd): (usize, &PollFd<'_>)) -> Option<Ready> {
    let seen = fd.revents().unwrap_or(PollFlags::POLLERR);
    let broken = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    let readable = seen.intersects(broken | PollFlags::POLLIN);
    let writable = seen.intersects(broken | PollFlags::POLLOUT);
    (!seen.is_empty()).then_some(Ready { index, readable, writable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let waker = Waker::new().unwrap();
        let until = clock::monotonic() + Duration::from_millis(20);
        let ready = wait(&[Interest::read(&waker)], Some(until)).unwrap();
        assert_eq!(ready, []);
        assert!(clock::monotonic() >= until);
    }

    #[test]
    fn a_deadline_in_the_past_only_looks() {
        let waker = Waker::new().unwrap();
        waker.wake();
        let ready = wait(&[Interest::read(&waker)], Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, [Ready { index: 0, readable: true, writable: false }]);
    }

    #[test]
    fn a_panic_wakes_who_waits_for_the_end() {
        let waker = Waker::new().unwrap();
        let panicked = std::panic::catch_unwind(|| {
            let _end = waker.at_end();
            assert!(!waker.clear());
            panic!("on purpose");
        });
        assert!(panicked.is_err() && waker.clear());
    }

    #[test]
    fn another_thread_ends_a_wait_without_deadline() {
        let waker = Waker::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            assert_eq!(wait(&[Interest::read(&waker)], None).unwrap().len(), 1);
        });
        assert!(waker.clear());
        assert!(!waker.clear());
    }
}
