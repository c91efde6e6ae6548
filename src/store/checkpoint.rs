//! Checkpoints: the index is brought up to the log, and the log's room is free again.
//!
//! Invariants
//! - A record is found in the overlay until the index has it, and nothing stale stays in the cache.
//! - The index names where a small body lies only once it is durable there: see `flush`.

use super::claims::Flushed;
use super::core::Core;
use super::entry::Encoded;
use super::error::StoreError;
use super::index::Marks;
use super::log::{Appended, Writer};
use super::overlay::Layer;
use super::pace::Step;
use super::waiting::Orphaned;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

impl Core {
    /// Whether the log holds so much that it is time to bring the index up: what the settings say, and half of the ring
    /// at most, since what comes meanwhile needs as much room again.
    pub(super) fn is_index_behind(&self) -> bool {
        self.log.used() > self.options.checkpoint_bytes.min(self.log.capacity() / 2)
    }

    /// Brings everything committed so far to the index and frees its room in the log.
    ///
    /// `Full` when the disk may not have room for that: nothing is begun then, and nothing lost. Any
    /// other failure poisons the store.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_writable()?;
        {
            let overlay = self.overlay();
            if overlay.active.is_empty() && overlay.frozen.is_none() {
                drop(overlay);
                return self.mark_end();
            }
        }
        // A disk that others fill is asked right before: a commit of the index that meets its end
        // half way leaves a state that only a reopening can tell.
        let free = self.refresh_space()?.free;
        if free < self.owed_to_index() {
            return Err(self.room.full());
        }
        self.fill_ballast(free);
        let index_bytes = self.probe.file_bytes().unwrap_or(0);
        self.room.check_len(index_bytes.saturating_add(self.owed_to_index()))?;
        // One whose small bodies found no room comes first.
        if self.overlay().frozen.is_some() {
            self.bring_frozen()?;
        }
        if self.overlay_mut().freeze() { self.bring_frozen() } else { Ok(()) }
    }

    /// Where nothing more is to come, and nothing was left behind, the index says so: the next start need not look for
    /// anything.
    fn mark_end(&self) -> Result<(), StoreError> {
        let is_ended = self.closing.load(Ordering::Acquire) && self.is_all_found();
        match is_ended && !self.ended.swap(true, Ordering::AcqRel) {
            true => self.index.mark_counted(),
            false => Ok(()),
        }
    }

    /// Sets room aside for the index, where there is more than writes need: what others take between the question for
    /// room and the commit is taken from that.
    fn fill_ballast(&self, free: u64) {
        match self.ballast.fill(free.saturating_sub(self.kept_free())) {
            Err(error) if error.kind() != std::io::ErrorKind::Unsupported => {
                log::debug!(error:% = error; "no room could be set aside for the index");
            }
            _ => {}
        }
    }

    /// Says on the disk where the log ends, if that is not said yet.
    pub(super) fn mark_log(&self) -> Result<(), StoreError> {
        self.check_writable()?;
        self.log.mark().inspect_err(|error| self.poison("mark of the log", error))
    }

    /// Brings the frozen layer to the index. It stays where it is when its small bodies find no room: then nothing new is
    /// let in, and what is left of the ring is for deletes.
    fn bring_frozen(&self) -> Result<(), StoreError> {
        let Some(layer) = self.overlay().frozen.clone() else { return Ok(()) };
        // Behind the overlay: what is committed from here on is of the next layer.
        let under_way = self.index.pacing.begin(layer.log_end, self.log.free());
        let flushed = self.flush_small(&layer);
        let has_no_room = flushed.as_ref().is_err_and(StoreError::is_shortage);
        self.unflushed.store(has_no_room, Ordering::Release);
        if has_no_room {
            return flushed.map(drop);
        }
        let result = flushed.and_then(|flushed| self.bring(&layer, &flushed));
        match &result {
            Ok(()) => under_way.whole(),
            Err(error) => self.poison("checkpoint", error),
        }
        result
    }

    fn bring(&self, layer: &Layer, flushed: &Flushed) -> Result<(), StoreError> {
        let newest = layer.by_seq.last_key_value().map_or(0, |(seq, _)| *seq);
        let seq = newest.max(*self.head.borrow());
        // Still told while a layer that was cleared is here: see `are_orphans_due`.
        let orphans = matches!(*self.orphans(), Some((Orphaned::Cleared, _)));
        let counted = self.closing.load(Ordering::Acquire) && self.is_all_found();
        let marks = Marks { log: layer.log_end, seq, stamp: self.clock.highest(), orphans, counted };
        let before = self.usages().clone();
        let files = self.segments.files();
        let gone: Vec<_> = before.keys().filter(|segment| !files.contains_key(segment)).copied().collect();
        let (usages, lacked) = self.index.apply(layer, flushed, marks, &before, &gone)?;
        if lacked > 0 {
            self.tell_lacked(lacked);
        }
        {
            let mut overlay = self.overlay_mut();
            // Together: what is named is seen in one of them, whoever looks.
            *self.usages() = usages;
            overlay.retire();
            if layer.cleared {
                self.cache.clear();
            }
            layer.forgotten.iter().for_each(|key| drop(self.cache.remove(key)));
            for (key, held) in &layer.records {
                // What readers had before is stale; what is hot stays hot.
                if self.cache.remove(key).is_some() {
                    self.cache.insert(key.clone(), Arc::clone(held));
                }
            }
        }
        // Before the frames go: without one that names this state of the index, damage could set
        // the index back to the state before it and nothing would tell.
        self.index.pacing.goes_on(Step::Freeing);
        let named = Encoded::default().frames(self.probe.sequence(), self.log.payload_max());
        if self.log.append(&named, Writer::Checkpoint)? == Appended::NoRoom {
            return Err(StoreError::Full);
        }
        self.log.release(marks.log)?;
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
