//! Which segment is gone through next, and whether there is room for what is alive in it.
//!
//! Invariant: none is begun whose bodies have no room, by the disk as it is then; that is told once.

use super::super::alive::{Filled, Sums};
use super::super::error::StoreError;
use super::super::places::{SEGMENT_HEAD_BYTES, SegmentId};
use super::super::segments::Walk;
use super::{Done, Mover, State, Work};
use crate::base::Mark;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Segments are gone through when more than one part in so many of what they hold is dead,
const DEAD_PART: u64 = 6;
/// or one in so many where the disk is short of room.
const DEAD_PART_SHORT: u64 = 10;
/// Above one part in so many nothing waits for anybody.
const DEAD_PART_URGENT: u64 = 3;
/// Less than this part of one segment is not worth it.
const DEAD_LEAST_PART: u64 = 16;

impl Mover {
    /// What is not gone through yet.
    pub(super) fn filled_but(&self, done: &BTreeMap<SegmentId, Done>) -> Vec<Filled> {
        let mut filled = self.core.filled();
        filled.retain(|one| !done.contains_key(&one.segment));
        filled
    }

    pub(super) fn is_urgent(&self) -> bool {
        let sums = Sums::of(&self.filled_but(&self.state.borrow().done));
        sums.dead > sums.bytes / DEAD_PART_URGENT || self.core.is_short_of_room()
    }

    /// The segment to go through next, if all of them together hold too much that is dead: the one that holds the most
    /// for its length, or that with the least alive where the disk is short of room.
    pub(super) fn choose(&self, done: &BTreeMap<SegmentId, Done>) -> Result<Option<Walk>, StoreError> {
        let core = &self.core;
        let is_short = core.is_short_of_room();
        let (mut filled, least) = (self.filled_but(done), u64::from(core.options.segment_bytes) / DEAD_LEAST_PART);
        let (sums, part) = (Sums::of(&filled), if is_short { DEAD_PART_SHORT } else { DEAD_PART });
        if sums.dead <= sums.bytes / part || sums.dead < least {
            self.tell_lack(None);
            return Ok(None);
        }
        filled.retain(|one| one.dead() > one.bytes / DEAD_PART_SHORT);
        // As a part of a million: a segment has at most four gigabytes.
        let alive = |one: &Filled| 1_000_000 - one.dead() * 1_000_000 / one.bytes.max(1);
        filled.sort_by_key(|one| if is_short { one.live } else { alive(one) });
        let mut lacks = None;
        for one in filled {
            if let Some(lack) = self.lack_for(one.live) {
                lacks = lacks.or(Some(lack));
                continue;
            }
            // One that takes bodies is begun anew for the sake of many dead bytes alone; one with claims is let be.
            let is_needed = core.segments.needs(one.segment);
            if is_needed && (one.dead() < least || !core.segments.close(one.segment)) {
                continue;
            }
            match core.segments.walk(one.segment) {
                Ok(Some(walk)) => {
                    self.tell_lack(None);
                    return Ok(Some(walk));
                }
                // Of one whose head is damaged it is known from now on: see `damaged`.
                Ok(None) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        self.tell_lack(lacks);
        Ok(None)
    }

    /// The next segment whose head is damaged, by the places that are named in it: it is emptied whatever is dead in it.
    pub(super) fn damaged(&self, done: &BTreeMap<SegmentId, Done>) -> Result<Option<Walk>, StoreError> {
        let segments = &self.core.segments;
        for segment in segments.damaged().into_iter().filter(|segment| !done.contains_key(segment)) {
            if segments.close(segment) && self.lack_for(self.core.live_in(segment)).is_none() {
                Mark::SegmentListed.hit();
                return self.core.walk_by_places(segment);
            }
        }
        Ok(None)
    }

    /// What was gone through by reading and still holds something else than damage has heads that reading does not find:
    /// it is gone through once more, by the places that are named in it.
    pub(super) fn look_for_more(&self, state: &mut State) -> Result<(), StoreError> {
        if state.work.is_some() {
            return Ok(());
        }
        for (segment, done) in &mut state.done {
            let live = self.core.live_in(*segment);
            if !done.listed && live > done.damaged && self.lack_for(live).is_none() {
                Mark::SegmentListed.hit();
                log::warn!(segment = segment.0; "heads in a segment are damaged: its bodies are found by their places");
                done.listed = true;
                state.work = self.core.walk_by_places(*segment)?.map(|walk| Work { walk, damaged: 0 });
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks at the head of one segment that was not looked at since the start. Whether there was one that is damaged.
    pub(super) fn look_at_heads(&self, state: &mut State) -> Result<bool, StoreError> {
        let files = self.core.segments.files();
        let Some(segment) = files.into_keys().find(|segment| !state.looked.contains(segment)) else { return Ok(false) };
        match self.core.segments.walk(segment) {
            Err(error) if !error.is_damage() => Err(error),
            looked => {
                state.looked.insert(segment);
                Ok(looked.is_err())
            }
        }
    }

    /// How much room is lacking for so many bytes of bodies; nothing if there is enough. A step wastes a block.
    pub(super) fn lack_for(&self, live: u64) -> Option<u64> {
        let needed = live + live / 64 + SEGMENT_HEAD_BYTES;
        let kept = || needed.saturating_add(self.core.kept_from_moves());
        let lack = || Some(kept().saturating_sub(self.core.space().free)).filter(|lack| *lack > 0);
        lack()?;
        // What was read of the disk may be older than what was removed. A failure is told elsewhere.
        let _ = self.core.refresh_space();
        lack()
    }

    /// Says once that room is lacking, or that it is not any more.
    pub(super) fn tell_lack(&self, lack: Option<u64>) {
        let was = self.core.counters.lacks_room.swap(lack.unwrap_or(0), Ordering::Relaxed);
        match lack {
            Some(lacks) if was == 0 => {
                Mark::NoRoomForMoves.hit();
                log::warn!(
                    lacks; "no room to move bodies together: the space of what was deleted or replaced does not come \
                     back until that many bytes more are free"
                );
            }
            None if was > 0 => log::info!("bodies can be moved together again"),
            _ => {}
        }
    }
}
