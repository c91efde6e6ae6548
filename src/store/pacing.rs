//! Pacing: the committer waits as long as `pace` says, and hears of every step of the checkpoint under way.
//!
//! Invariant: whoever began a checkpoint ends it, however it ends: the guard does.

use super::pace::{Pace, Step, WAIT_MAX};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pace of one store, for those who commit and for who brings the index up.
#[derive(Debug, Default)]
pub struct Pacing {
    pace: Mutex<Pace>,
    moved: Condvar,
}

/// A checkpoint under way. Dropped before it was `whole`, it has failed.
#[derive(Debug)]
pub struct UnderWay<'a> {
    pacing: &'a Pacing,
    is_whole: bool,
}

impl Pacing {
    /// A checkpoint begins, when the log ends there and has so many bytes free.
    pub fn begin(&self, end: u64, free: u64) -> UnderWay<'_> {
        self.pace().begin(Instant::now(), end, free);
        UnderWay { pacing: self, is_whole: false }
    }

    /// So many of so many parts of the step are done.
    pub fn came(&self, done: u64, of: u64) {
        self.pace().came(done, of);
    }

    /// The next step begins.
    pub fn goes_on(&self, step: Step) {
        self.pace().goes_on(Instant::now(), step);
        self.moved.notify_all();
    }

    /// Waits until there is room at this pace for more in a log that ends there, for `WAIT_MAX` at most. How long.
    pub fn wait(&self, end: u64) -> Duration {
        let began = Instant::now();
        let mut pace = self.pace();
        loop {
            let now = Instant::now();
            let waited = now.saturating_duration_since(began);
            let wait = pace.wait(now, end).min(WAIT_MAX.saturating_sub(waited));
            if wait.is_zero() {
                return waited;
            }
            pace = self.moved.wait_timeout(pace, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// It has ended, and the room is free.
    pub fn whole(mut self) {
        self.is_whole = true;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.pacing.pace().ended(Instant::now(), self.is_whole);
        self.pacing.moved.notify_all();
    }
}
