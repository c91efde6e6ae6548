//! What was mended and what was not, counted.

use crate::actors::status::HealingStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters that outlive the actor.
#[derive(Default)]
pub struct HealTally {
    pub(super) open: AtomicU64,
    pub(super) mended_blobs: AtomicU64,
    pub(super) mended_records: AtomicU64,
    pub(super) fetched_bytes: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unmended: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl HealTally {
    /// The counters as they are now.
    pub fn read(&self) -> HealingStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HealingStatus {
            open: read(&self.open),
            mended_blobs: read(&self.mended_blobs),
            mended_records: read(&self.mended_records),
            fetched_bytes: read(&self.fetched_bytes),
            refused: read(&self.refused),
            unmended: read(&self.unmended),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn failed(&self, why: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}
