//! Recounts: whether the counts of references are right is found out beside the traffic, after a stop that was none in
//! order, and where a count could not fall.
//!
//! Invariants
//! - Until a recount has ended nothing is removed for its count.
//! - Counts that differ are told before the recount is taken over, and are counted once more then.

use super::core::Core;
use super::error::StoreError;
use super::index::references::{Difference, Recounted};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Room that taking a recount over may need in the index, beside what that is owed: pages for so many rows.
const TAKES_BYTES: u64 = 4 << 20;
/// Differences that are named in the log, of one recount.
const NAMED_MAX: usize = 16;

impl Core {
    /// Goes on with a recount that is due; whether there is more to do.
    pub(super) fn recount(&self) -> Result<bool, StoreError> {
        match self.index.recount_step()? {
            Recounted::More => Ok(true),
            Recounted::Sure => Ok(false),
            Recounted::Differs(differences) => {
                self.tell_differences(&differences);
                self.take_recount_over().map(|()| true)
            }
        }
    }

    /// Goes on with it, where a failure is no reason to end: it is tried again.
    pub(super) fn recount_on(&self) -> bool {
        let more = self.recount().unwrap_or_else(|error| {
            if !self.counters.recount_failed.swap(true, Ordering::Relaxed) {
                log::warn!(error:% = error; "references cannot be recounted now: until they are, no body is removed");
            }
            false
        });
        if more {
            self.counters.recount_failed.store(false, Ordering::Relaxed);
        }
        more
    }

    /// Recounts all of the index, now. What differs.
    pub(super) fn recount_all(&self) -> Result<Vec<Difference>, StoreError> {
        {
            let _between_commits = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
            self.index.begin_recount();
        }
        loop {
            match self.index.recount_step()? {
                Recounted::More => {}
                Recounted::Sure => return Ok(Vec::new()),
                Recounted::Differs(differences) => return Ok(differences),
            }
        }
    }

    /// References were to be taken away that were not counted.
    pub(super) fn tell_lacked(&self, lacked: u64) {
        self.counters.miscounted.fetch_add(lacked, Ordering::Relaxed);
        log::error!(
            lacked;
            "records were replaced whose bodies were not counted as referred to: nothing is removed until all references are counted anew"
        );
    }

    /// Once for each recount that differs.
    fn tell_differences(&self, differences: &[Difference]) {
        if self.counters.told_differences.swap(true, Ordering::Relaxed) {
            return;
        }
        self.counters.miscounted.fetch_add(differences.len() as u64, Ordering::Relaxed);
        for Difference { body, counted, records } in differences.iter().take(NAMED_MAX) {
            log::error!(body:%, counted, records; "a body is counted for other records than refer to it");
        }
        log::error!(
            bodies = differences.len();
            "the counts of references differ from the records: nothing was removed since this was begun to be looked at, and what the records say is taken over"
        );
    }

    fn take_recount_over(&self) -> Result<(), StoreError> {
        let _between_commits = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_writable()?;
        if self.refresh_space()?.free < self.owed_to_index() + TAKES_BYTES {
            return Err(self.room.full());
        }
        self.index.take_recount_over()?;
        self.counters.told_differences.store(false, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
