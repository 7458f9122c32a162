//! Threads whose ends are waited for.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::os::poll::Waker;

/// Counts a thread's end, by a panic as well, and wakes whoever waits for it.
pub struct Ending<'a> {
    count: &'a AtomicUsize,
    waker: &'a Waker,
}

impl<'a> Ending<'a> {
    /// Counts it here.
    pub const fn new(count: &'a AtomicUsize, waker: &'a Waker) -> Self {
        Self { count, waker }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.count.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }
}
