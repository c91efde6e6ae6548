//! Who refers to a body, whether it may go, and what holds it.
//!
//! Invariants
//! - Nothing is removed for its count before that is sure: see `index::references`.
//! - Whoever removes a body asks within the gate: nothing is decided meanwhile that would rest on it.
//! - A body is held from a look within the gate that has found it here, durably. From then on nothing removes it, and no
//!   place of it is given up, until it is let go; what was to go meanwhile is looked at again then.
//! - A body that is read while it goes is read on: its file, or its segment, stays open. Parts that a reader has yet to
//!   come to are held for it.

use super::blobs::Blobs;
use super::core::Core;
use super::error::StoreError;
use super::waiting::{Orphaned, Waiting};
use crate::base::{BlobRef, BodyId};
use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

/// What became of a body that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is gone, or something refers to it: it need not be looked at again.
    Done,
    /// It has a place, which the log has to take first.
    Placed,
    /// Nobody can tell now.
    Later,
}

/// Bodies that are looked for in one go: no commit comes in between.
const AT_ONCE: usize = 256;

/// Holds a body, for whoever is about to have another record refer to it. The hold ends when this is dropped.
#[must_use]
pub struct BodyHold {
    core: Arc<Core>,
    blob: BlobRef,
}

impl std::fmt::Debug for BodyHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyHold({})", self.blob.body)
    }
}

impl BodyHold {
    /// Holds those of these bodies that are here; `None` for each that is not. Waits for the commit that is under way,
    /// once for `AT_ONCE` of them.
    pub(super) fn of(core: &Arc<Core>, blobs: &[BlobRef]) -> Result<Vec<Option<Self>>, StoreError> {
        let mut held = Vec::with_capacity(blobs.len());
        for blobs in blobs.chunks(AT_ONCE) {
            let _gate = core.blobs.gate();
            for blob in blobs {
                let is_here = core.has_body(blob.body)?;
                held.push(is_here.then(|| {
                    core.holds.add(blob.body);
                    BodyHold { core: Arc::clone(core), blob: *blob }
                }));
            }
        }
        Ok(held)
    }
}

impl BodyHold {
    /// Holds a body for a reader that has yet to come to it, whether or not it is still here: that is found when it is
    /// opened.
    pub(super) fn for_reader(core: &Arc<Core>, blob: BlobRef) -> Self {
        core.holds.add(blob.body);
        BodyHold { core: Arc::clone(core), blob }
    }
}

impl Drop for BodyHold {
    fn drop(&mut self) {
        if self.core.holds.release(self.blob.body) {
            // A record may refer to it by now: whoever takes it from there asks.
            self.core.waiting().push(&self.blob, Instant::now());
        }
    }
}

impl Core {
    /// What waits before it goes.
    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record, here or in the index, refers to a body. One that was replaced lately may count too.
    pub(super) fn refers_to(&self, body: BodyId) -> Result<bool, StoreError> {
        Ok(self.overlay().adds(body) || self.index.references(body)? > 0)
    }

    /// Whether a body may go that no record was replaced for. Within the gate.
    pub(super) fn may_go(&self, body: BodyId) -> Result<bool, StoreError> {
        Ok(!self.holds.keep(body) && self.index.are_counts_sure() && !self.refers_to(body)?)
    }

    /// How many records refer to a body. Nothing while a layer is being brought to the index, nor after that has failed:
    /// it would count twice, or not at all.
    pub(super) fn references(&self, body: BodyId) -> Result<Option<i64>, StoreError> {
        let _still = match self.checkpointing.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => PoisonError::into_inner(held),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        if self.is_poisoned() {
            return Ok(None);
        }
        let (more, is_upon_index) = self.overlay().references(body);
        let indexed = if is_upon_index { self.index.references(body)? } else { 0 };
        Ok(Some(i64::from(indexed) + more))
    }

    /// Whether the counts are sure, and say that no record refers to a body. Nothing where nobody can tell, nor while it is
    /// held.
    fn is_free(&self, body: BodyId) -> Result<Option<bool>, StoreError> {
        match self.index.are_counts_sure() && !self.holds.keep(body) {
            true => Ok(self.references(body)?.map(|count| count <= 0)),
            false => Ok(None),
        }
    }

    /// Whether what could go is to go at once: the disk is nearly down to the reserve, or something found no room lately.
    pub(super) fn lacks_room_now(&self) -> bool {
        self.is_short_of_room() || self.unflushed.load(Ordering::Acquire) || self.unfit().is_some()
    }

    /// Removes a body that a record has left, if nothing refers to it and nobody is about to.
    pub(super) fn remove_left(&self, body: BodyId) -> Result<Removal, StoreError> {
        match self.is_free(body)? {
            None => return Ok(Removal::Later),
            Some(false) => return Ok(Removal::Done),
            Some(true) if self.named_place(body)?.is_some() => return Ok(Removal::Placed),
            Some(true) => {}
        }
        // Anew, now that nothing is being decided.
        let told = Cell::new(true);
        let is_free = || {
            let free = self.is_free(body)?;
            told.set(free.is_some());
            Ok(free == Some(true))
        };
        self.drop_claim(body, is_free)?;
        // It may have come back meanwhile: an older state that is stored again brings its body along.
        self.blobs.remove_if(body, |blobs: &Blobs| Ok(!blobs.is_landed(body) && is_free()?))?;
        Ok(if told.get() { Removal::Done } else { Removal::Later })
    }

    /// Whether nothing is left that a next start would have to look for, and the counts are sure.
    pub(super) fn is_all_found(&self) -> bool {
        let is_forgotten = matches!(*self.orphans(), Some((Orphaned::Left, _)));
        !is_forgotten && self.waiting().is_empty() && self.index.are_counts_sure()
    }
}

#[cfg(test)]
mod tests;
