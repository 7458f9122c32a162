//! Several labs at once: most of what happens in one is waiting.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::ending::Ending;
use crate::live::Stop;
use crate::os;
use crate::os::poll::{self, Interest, Waker};
use crate::os::signals::Signals;

/// Does these jobs, so many at once, and says what came of each, in their order: none of those that an
/// interruption has kept from being begun. A job that is under way then is told to stop.
///
/// # Errors
/// What the first job fails with that does, once all others have ended.
pub fn at_once<J: Sync, T: Send>(
    jobs: &[J],
    workers: usize,
    signals: &Signals,
    work: &(dyn Fn(&J, Stop<'_>) -> os::Result<T> + Sync),
) -> os::Result<Vec<Option<T>>> {
    let done = jobs.iter().map(|_| Mutex::new(None)).collect::<Vec<_>>();
    let next = AtomicUsize::new(0);
    let stops = (0..workers).map(|_| Waker::new()).collect::<os::Result<Vec<_>>>()?;
    let (gone, ended) = (AtomicUsize::new(0), Waker::new()?);
    thread::scope(|scope| {
        for stop in &stops {
            scope.spawn(|| {
                let _ending = Ending::new(&gone, &ended);
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(place) else { return };
                    let came = work(job, Stop::Waker(stop));
                    if came.is_err() {
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                    if let Ok(mut done) = done[place].lock() {
                        *done = Some(came);
                    }
                }
            });
        }
        while gone.load(Ordering::Acquire) < workers {
            poll::wait(&[Interest::read(signals), Interest::read(&ended)], None)?;
            ended.clear();
            if signals.read()?.is_some() {
                next.store(jobs.len(), Ordering::Relaxed);
                stops.iter().for_each(Waker::wake);
            }
        }
        Ok(())
    })?;
    done.into_iter().map(|done| done.into_inner().ok().flatten().transpose()).collect()
}
