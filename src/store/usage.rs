//! How much each bucket holds on this node: in memory, in the log with every commit that changes it, and in the index.
//!
//! A batch sums up what it changes, bucket by bucket, and its last frame says what each of them holds then. So neither a
//! start nor a checkpoint has to look anything up: the newest word counts.
//!
//! Invariants
//! - A bucket is counted by the id of its life, as the registers of this node hold it: objects that are not known to be
//!   chosen too.
//! - What a bucket holds becomes durable and visible in one commit with what it counts.
//! - It is recounted at every start by the walk that fills the tree (`counting`), and by `verify`. What differs is told,
//!   and put right with the next commit.

use super::core::Core;
use super::entry::Op;
use super::filling::Filling;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError, RwLockReadGuard, RwLockWriteGuard};

impl Core {
    /// What each bucket holds, as far as it is durable.
    pub(super) fn filling(&self) -> RwLockReadGuard<'_, Filling> {
        self.filling.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn filling_mut(&self) -> RwLockWriteGuard<'_, Filling> {
        self.filling.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a recount has found to be more than is told; the committer has yet to put that right.
    pub(super) fn uncounted(&self) -> MutexGuard<'_, Filling> {
        self.uncounted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what durable operations say. While the tree is held.
    pub(super) fn fill(&self, ops: &[Op]) {
        let said = |op: &&Op| matches!(op, Op::Usage { .. } | Op::Clear { .. });
        if !ops.iter().any(|op| said(&op)) {
            return;
        }
        let mut filling = self.filling_mut();
        for op in ops.iter().filter(said) {
            match op {
                Op::Usage { bucket, usage } => filling.set(*bucket, *usage),
                _ => filling.clear(),
            }
        }
    }

    /// A walk over all registers has come to this. While the tree is held, so that no commit comes in between.
    pub(super) fn recounted(&self, walked: &Filling) {
        let differs = walked.differs_from(&self.filling());
        for (bucket, _) in differs.iter() {
            let (told, found) = (self.filling().of(bucket), walked.of(bucket));
            log::error!(
                bucket:%, objects_told = told.objects, bytes_told = told.bytes, objects = found.objects, bytes = found.bytes;
                "a bucket holds something else than was counted: what it holds is told with the next write"
            );
            self.counters.miscounted.fetch_add(1, Ordering::Relaxed);
        }
        *self.uncounted() = differs;
    }

    /// The batch is durable that put right what a recount had found.
    pub(super) fn is_put_right(&self) {
        self.uncounted().clear();
    }
}

#[cfg(test)]
mod tests;
