//! How much of each segment is alive, and which of them nothing names any more.
//!
//! Invariants
//! - What is alive in a segment is what the index has there, without what the layers beside it have elsewhere, and what
//!   those have there. It is never counted too low: what was not looked up yet counts.
//! - A layer that found no room for its small bodies keeps nothing from being counted dead: that may make the room.
//! - A segment goes when nothing is named there by that count, and nobody claims a place there: decided within the gate,
//!   so that no batch names one meanwhile. It waits for no checkpoint: all that is counted is durable in the log. A start
//!   then finds places in the index that the log takes away again. Who reads it reads on.

use super::core::Core;
use super::error::StoreError;
use super::overlay::Lies;
use super::places::{SEGMENT_HEAD_BYTES, SegmentId};
use crate::base::{BodyId, Mark};
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, TryLockError};

/// Bodies whose places in the index are looked up at once, at most.
const LOOKS_MAX: usize = 1024;

/// How much of the segments is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Segments, as files.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Those of them that nothing names.
    pub dead: u64,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Which one.
    pub segment: SegmentId,
    /// Bytes of its file.
    pub bytes: u64,
    /// Bytes of what is named there.
    pub live: u64,
}

impl Filled {
    /// Bytes that nothing names, behind its head.
    pub fn dead(&self) -> u64 {
        self.bytes.saturating_sub(SEGMENT_HEAD_BYTES + self.live)
    }
}

impl Sums {
    /// Of all of these.
    pub fn of<'a>(filled: impl IntoIterator<Item = &'a Filled>) -> Self {
        filled.into_iter().fold(Sums::default(), |sums, one| Sums {
            files: sums.files + 1,
            bytes: sums.bytes + one.bytes,
            dead: sums.dead + one.dead(),
        })
    }
}

impl Core {
    /// All segments, as they are now.
    pub(super) fn filled(&self) -> Vec<Filled> {
        let files = self.segments.files();
        // In this order: see `usages`.
        let overlay = self.overlay();
        let usages = self.usages();
        let filled = |(segment, bytes)| {
            let indexed = usages.get(&segment).map_or(0, |usage| usage.live);
            Filled { segment, bytes, live: overlay.live_in(segment, indexed) }
        };
        files.into_iter().map(filled).collect()
    }

    /// Bytes of what is named in a segment.
    pub(super) fn live_in(&self, segment: SegmentId) -> u64 {
        let overlay = self.overlay();
        let indexed = self.usages().get(&segment).map_or(0, |usage| usage.live);
        overlay.live_in(segment, indexed)
    }

    /// Looks up where some of what was changed beside the index lay before; whether nothing is left to be looked up.
    /// `moved`: also of what has a new place, most of which was nowhere before.
    pub(super) fn look_up_dropped(&self, moved: bool) -> Result<bool, StoreError> {
        // What the index has does not change meanwhile, nor does the frozen layer.
        let _still = match self.checkpointing.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => PoisonError::into_inner(held),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        Ok(self.look_up_below(true, moved)? && self.look_up_below(false, moved)?)
    }

    /// Does that for one of the two layers.
    fn look_up_below(&self, of_frozen: bool, moved: bool) -> Result<bool, StoreError> {
        let (bodies, between) = {
            let mut overlay = self.overlay_mut();
            let between = overlay.frozen.clone().filter(|_| !of_frozen);
            (overlay.dropped(of_frozen).take(moved, LOOKS_MAX), between)
        };
        let look = |body: &BodyId| match between.as_ref().and_then(|layer| layer.lies(*body)) {
            Some(lies) => Ok(lies),
            None => self.index.place(*body).map(|place| place.map_or(Lies::Nowhere, Lies::At)),
        };
        let looked: Result<Vec<_>, _> = bodies.iter().map(look).collect();
        let mut overlay = self.overlay_mut();
        let dropped = overlay.dropped(of_frozen);
        let looked = match looked {
            Ok(looked) => looked,
            Err(error) => {
                dropped.put_back(bodies);
                return Err(error);
            }
        };
        for (body, lies) in bodies.into_iter().zip(looked) {
            match lies {
                Lies::At(place) => dropped.lay_at(place),
                Lies::Coming => dropped.waits(body),
                Lies::Nowhere => {}
            }
        }
        Ok(dropped.is_known(moved))
    }

    /// Removes segments in which nothing has a place; how many.
    pub(super) fn remove_empty_segments(&self) -> usize {
        let mut removed = 0;
        for filled in self.filled().into_iter().filter(|filled| filled.live == 0) {
            let segment = filled.segment;
            let is_out = {
                let _gate = self.blobs.gate();
                self.live_in(segment) == 0 && self.segments.give_up(segment)
            };
            // Commits do not wait for the disk to do it.
            match is_out.then(|| self.segments.remove(segment, filled.bytes)) {
                Some(Ok(())) => {
                    Mark::SegmentRemoved.hit();
                    removed += 1;
                }
                Some(Err(error)) => log::warn!(error:% = error; "a segment in which nothing lies could not be removed"),
                None => {}
            }
        }
        if removed > 0 {
            // Whoever waits for room need not wait for the next look. A failure is told there.
            let _ = self.refresh_space();
        }
        removed
    }

    /// Whether the disk is nearly down to the reserve.
    pub(super) fn is_short_of_room(&self) -> bool {
        self.is_low() || self.room() < 2 * u64::from(self.options.segment_bytes)
    }

    /// Whether the index is to be brought up before its time: what it may need for what the log holds is kept from moves,
    /// and the disk is short of room; or that is what moves lack.
    pub(super) fn is_checkpoint_due_for_room(&self) -> bool {
        let (owed, lacks) = (self.owed_to_index(), self.counters.lacks_room.load(Ordering::Relaxed));
        (lacks > 0 && owed >= lacks) || (owed > u64::from(self.options.segment_bytes) && self.is_short_of_room())
    }
}
