//! Where bodies meet whose bytes wait for their MD5: up to `LANES_MAX` of them are advanced together, by the thread of
//! one, while those of the others do something else.
//!
//! Invariants
//! - Nobody waits for company: who comes for an MD5 that nobody works at does so itself, with whatever waits beside it.
//! - Who works stops once its own MD5 is whole. What it leaves is taken up by whose it is, or by the next.
//! - What is given up is worked at no more, and its memory goes with it.

use super::lanes::{LANES_MAX, advance};
use super::{Md5, Work};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Most blocks that are taken in before others may join: 64 KiB of each body.
const STEP_BLOCKS: usize = 1024;

/// The place; one for a store.
#[derive(Debug, Default)]
pub struct Lockstep {
    waiting: Mutex<VecDeque<Job>>,
    /// Told when one is whole, or waits again.
    changed: Condvar,
}

/// What becomes of a job; changed only while the lock of those that wait is held.
#[derive(Debug, Default)]
enum Fate {
    #[default]
    Open,
    Whole(Md5),
    /// Nobody wants it any more.
    GivenUp,
}

type Slot = Arc<Mutex<Fate>>;

#[derive(Debug)]
struct Job {
    work: Work,
    slot: Slot,
}

impl Job {
    fn is_of(&self, slot: &Slot) -> bool {
        Arc::ptr_eq(&self.slot, slot)
    }

    fn is_wanted(&self) -> bool {
        !matches!(*lock(&self.slot), Fate::GivenUp)
    }
}

/// Bytes that were handed in; dropped, they are given up.
#[derive(Debug)]
pub struct Handed<'a> {
    lockstep: &'a Lockstep,
    slot: Slot,
}

/// A panic while one of these locks is held leaves no half-made state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lockstep {
    /// Hands in what an MD5 is to take in next. Whoever works may do so from now on.
    pub fn hand_in(&self, md5: Md5, pieces: &[Bytes]) -> Handed<'_> {
        let slot = Slot::default();
        lock(&self.waiting).push_back(Job { work: Work::new(md5, pieces), slot: Arc::clone(&slot) });
        Handed { lockstep: self, slot }
    }

    /// Bytes that each job has left of those that nobody works at.
    #[cfg(test)]
    pub(super) fn left(&self) -> Vec<usize> {
        let bytes_of = |job: &Job| job.work.pieces.iter().map(Bytes::len).sum();
        lock(&self.waiting).iter().map(bytes_of).collect()
    }

    /// Works at these until the one of that slot is whole.
    fn work(&self, mut jobs: Vec<Job>, own: &Slot) {
        while jobs.iter().any(|job| job.is_of(own)) {
            let mut works: Vec<&mut Work> = jobs.iter_mut().map(|job| &mut job.work).collect();
            advance(&mut works, STEP_BLOCKS);
            self.rearrange(&mut jobs);
        }
        if !jobs.is_empty() {
            let mut waiting = lock(&self.waiting);
            jobs.into_iter().rev().filter(Job::is_wanted).for_each(|job| waiting.push_front(job));
            self.changed.notify_all();
        }
    }

    /// Tells which are whole, and lets others join.
    fn rearrange(&self, jobs: &mut Vec<Job>) {
        let mut waiting = lock(&self.waiting);
        let mut is_whole = false;
        for mut job in std::mem::take(jobs).into_iter().filter(Job::is_wanted) {
            if job.work.ready() > 0 {
                jobs.push(job);
                continue;
            }
            *lock(&job.slot) = Fate::Whole(job.work.finish());
            is_whole = true;
        }
        if is_whole {
            self.changed.notify_all();
        }
        let room = LANES_MAX.saturating_sub(jobs.len()).min(waiting.len());
        jobs.extend(waiting.drain(..room));
    }
}

impl Handed<'_> {
    /// The MD5 with all of them.
    pub fn finish(self) -> Md5 {
        let mut waiting = lock(&self.lockstep.waiting);
        loop {
            if let Fate::Whole(md5) = std::mem::take(&mut *lock(&self.slot)) {
                return md5;
            }
            let Some(at) = waiting.iter().position(|job| job.is_of(&self.slot)) else {
                // Somebody works at it.
                waiting = self.lockstep.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let mut jobs: Vec<Job> = waiting.remove(at).into_iter().collect();
            drop(waiting);
            self.lockstep.rearrange(&mut jobs);
            self.lockstep.work(jobs, &self.slot);
            waiting = lock(&self.lockstep.waiting);
        }
    }
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.lockstep.waiting);
        *lock(&self.slot) = Fate::GivenUp;
        waiting.retain(|job| !job.is_of(&self.slot));
    }
}
