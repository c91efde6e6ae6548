//! The mover, for compaction: what is alive moves out of segments that hold much else, and segments that hold nothing
//! go.
//!
//! Invariants
//! - A body is moved only with the bytes that its entry was written with; one that reads otherwise stays for mending.
//! - A segment goes when neither the index nor what the log holds beside it names a place there, and nobody claims one:
//!   within the gate, so that no batch names one meanwhile. Who reads it reads on.
//! - Room for what is moved comes out of the half of the reserve that is kept for what must go on.
//!
//! How much is dead is what files hold beside what is named, or was named since the last checkpoint: rather too little
//! than too much. A segment that was gone through is not looked at again: what is left there is damaged.

use super::claims::Move;
use super::core::Core;
use super::error::StoreError;
use super::intent::{Answer, Intent, Request};
use super::places::{Place, SEGMENT_HEAD_BYTES, SegmentId};
use super::segments::{NewBody, Placed, Walk};
use crate::base::{BodyId, Mark};
use crate::seal::digest::digest_of;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What is moved at once, in bytes.
const STEP_BYTES: u64 = 1 << 20;
/// Bytes that it holds, at most: a step, and a body more, of the largest that the setting allows.
pub const HOLDS_BYTES_MAX: usize = 2 * STEP_BYTES as usize + 64 * 1024;
/// Most bodies of a step: their moves are one batch.
const STEP_BODIES_MAX: usize = 512;
/// Segments are gone through when more than one part in so many of what they hold is dead,
const DEAD_PART: u64 = 6;
/// or one in so many where the disk is short of room.
const DEAD_PART_SHORT: u64 = 10;
/// Above one part in so many nothing waits for anybody.
const DEAD_PART_URGENT: u64 = 3;
/// Less than this part of one segment is not worth it.
const DEAD_LEAST_PART: u64 = 16;
/// How often it looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long it rests after something failed.
const REST: Duration = Duration::from_secs(10);

/// Moves what is alive together. One for a store.
#[derive(Debug)]
pub struct Mover {
    core: Arc<Core>,
    queue: Sender<Request>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: Option<Asked>,
    work: Option<(SegmentId, Walk)>,
    /// What was gone through and is not gone yet.
    done: BTreeSet<SegmentId>,
}

/// What the committer was asked.
#[derive(Debug)]
struct Asked {
    answer: Answer,
    /// Places that were found wrong, of which it hears.
    wrong: Vec<(BodyId, Place)>,
    /// The segment that is gone through with these moves.
    ends: Option<SegmentId>,
}

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

impl Core {
    /// What the segments hold; `without`: but for these.
    pub(super) fn segment_sums(&self, without: impl Fn(SegmentId) -> bool) -> Sums {
        let mut sums = Sums::default();
        for (segment, bytes) in self.segments.files() {
            if !without(segment) {
                sums.files += 1;
                sums.bytes += bytes;
                sums.dead += self.dead_in(segment, bytes);
            }
        }
        sums
    }

    /// Bytes of a segment's file that nothing names, behind its head.
    fn dead_in(&self, segment: SegmentId, bytes: u64) -> u64 {
        // In this order: see `usages`.
        let overlay = self.overlay();
        let live = self.usages().get(&segment).map_or(0, |usage| usage.live);
        bytes.saturating_sub(SEGMENT_HEAD_BYTES + live + overlay.placed_in(segment))
    }

    /// Removes segments in which nothing has a place; how many.
    fn remove_empty_segments(&self) -> Result<usize, StoreError> {
        let is_named = |segment: &SegmentId| {
            let overlay = self.overlay();
            self.usages().get(segment).is_some_and(|usage| usage.live > 0) || overlay.names(*segment)
        };
        let mut removed = 0;
        for segment in self.segments.files().into_keys().filter(|segment| !is_named(segment)) {
            let _gate = self.blobs.gate();
            if !is_named(&segment) && self.segments.remove(segment)? {
                Mark::SegmentRemoved.hit();
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Whether the disk is nearly down to the reserve.
    fn is_short_of_room(&self) -> bool {
        self.is_low() || self.room() < 2 * u64::from(self.options.segment_bytes)
    }
}

impl Mover {
    pub(super) fn new(core: Arc<Core>, queue: Sender<Request>) -> Self {
        Mover { core, queue, state: RefCell::default() }
    }

    /// Moves what there is to move until the sender of `stopped` is gone. On a thread of its own.
    pub(super) fn run(&self, stopped: &Receiver<()>) {
        loop {
            let begun = Instant::now();
            let wait = match self.turn() {
                // Others have as much of the disk as it has, unless it falls behind.
                Ok(true) if self.is_urgent() => Duration::ZERO,
                Ok(true) => begun.elapsed(),
                Ok(false) => LOOK_EVERY,
                Err(error) => {
                    log::debug!(error:% = error; "bodies could not be moved out of a segment");
                    REST
                }
            };
            if !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                return;
            }
            let asked = self.state.borrow_mut().asked.take();
            if let Some(Asked { answer, wrong, ends }) = asked {
                let done = answer.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown));
                self.heard(&mut self.state.borrow_mut(), done.map(|_| ()), &wrong, ends);
            }
        }
    }

    /// Does one piece of what there is to do; whether there was something. For tests that bring their own clockwork.
    pub fn turn(&self) -> Result<bool, StoreError> {
        if self.core.closing.load(Ordering::Acquire) || self.core.is_poisoned() {
            return Ok(false);
        }
        let mut state = self.state.borrow_mut();
        if let Some(Asked { mut answer, wrong, ends }) = state.asked.take() {
            let done = match answer.try_recv() {
                Ok(done) => done,
                Err(oneshot::error::TryRecvError::Closed) => Err(StoreError::ShuttingDown),
                Err(oneshot::error::TryRecvError::Empty) => {
                    state.asked = Some(Asked { answer, wrong, ends });
                    return Ok(false);
                }
            };
            self.heard(&mut state, done.map(|_| ()), &wrong, ends);
        }
        let wrong = self.core.claims.wrong();
        if !wrong.is_empty() {
            let answer = self.ask(Intent::Lose(wrong.clone()));
            state.asked = Some(Asked { answer, wrong, ends: None });
            return Ok(true);
        }
        let removed = self.core.remove_empty_segments()?;
        let files = self.core.segments.files();
        state.done.retain(|segment| files.contains_key(segment));
        if state.work.is_none() {
            state.work = self.choose(&mut state.done)?;
        }
        let Some((segment, walk)) = state.work.take() else { return Ok(removed > 0) };
        self.core.counters.compacting.store(true, Ordering::Relaxed);
        // What fails ends the work on this segment until the next look.
        let stepped = self.step(walk);
        let (moves, walk) = stepped.inspect_err(|_| self.core.counters.compacting.store(false, Ordering::Relaxed))?;
        let ends = walk.is_none().then_some(segment);
        state.work = walk.map(|walk| (segment, walk));
        match moves.is_empty() {
            true => self.heard(&mut state, Ok(()), &[], ends),
            false => state.asked = Some(Asked { answer: self.ask(Intent::Move(moves)), wrong: Vec::new(), ends }),
        }
        Ok(true)
    }

    fn ask(&self, intent: Intent) -> Answer {
        let (reply, answer) = oneshot::channel();
        // A send fails only when the committer is gone.
        let _ = self.queue.send(Request::Write(intent, reply));
        answer
    }

    /// The log has heard, or it has not: then the segment is gone through again.
    fn heard(
        &self,
        state: &mut State,
        done: Result<(), StoreError>,
        wrong: &[(BodyId, Place)],
        ends: Option<SegmentId>,
    ) {
        if let Err(error) = done {
            log::debug!(error:% = error; "where bodies lie could not be told to the log");
            state.work = None;
        } else if let Some(segment) = ends {
            state.done.insert(segment);
            Mark::SegmentCompacted.hit();
            // What was moved is counted, and the segment goes, after a checkpoint. A full channel means that it has
            // been told.
            let _ = self.core.nudge.0.try_send(());
        } else {
            self.core.claims.forget_wrong(wrong);
        }
        self.core.counters.compacting.store(state.work.is_some(), Ordering::Relaxed);
    }

    fn is_urgent(&self) -> bool {
        let sums = self.core.segment_sums(|segment| self.state.borrow().done.contains(&segment));
        sums.dead > sums.bytes / DEAD_PART_URGENT || self.core.is_short_of_room()
    }

    /// The segment to go through next: the one that holds the most dead bytes for its length, if all of them together
    /// hold too many.
    fn choose(&self, done: &mut BTreeSet<SegmentId>) -> Result<Option<(SegmentId, Walk)>, StoreError> {
        let core = &self.core;
        let sums = core.segment_sums(|segment| done.contains(&segment));
        let part = if core.is_short_of_room() { DEAD_PART_SHORT } else { DEAD_PART };
        let least = u64::from(core.options.segment_bytes) / DEAD_LEAST_PART;
        if sums.dead <= sums.bytes / part || sums.dead < least {
            return Ok(None);
        }
        let mut files: Vec<_> =
            core.segments.files().into_iter().filter(|(segment, _)| !done.contains(segment)).collect();
        // As a part of a million: a segment has at most four gigabytes.
        files.sort_by_key(|(segment, bytes)| core.dead_in(*segment, *bytes) * 1_000_000 / (*bytes).max(1));
        for (segment, bytes) in files.into_iter().rev() {
            if core.dead_in(segment, bytes) <= bytes / DEAD_PART_SHORT {
                return Ok(None);
            }
            // One that takes bodies is begun anew for the sake of many dead bytes alone; one with claims is let be.
            let is_needed = core.segments.needs(segment);
            if is_needed && (core.dead_in(segment, bytes) < least || !core.segments.close(segment)) {
                continue;
            }
            match core.segments.walk(segment) {
                Ok(Some(walk)) => return Ok(Some((segment, walk))),
                Ok(None) => {}
                Err(error) if error.is_damage() => {
                    log::error!(segment = segment.0; "the head of a segment is damaged: what is in it stays there");
                    done.insert(segment);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Copies the next bodies that lie in a segment. Their moves, and the rest of the walk if there is any.
    fn step(&self, mut walk: Walk) -> Result<(Vec<Move>, Option<Walk>), StoreError> {
        let (mut copied, mut bodies, mut bytes, mut ended) = (Vec::new(), Vec::new(), 0, false);
        while bytes < STEP_BYTES && copied.len() < STEP_BODIES_MAX {
            let next = walk.next_entry().unwrap_or_else(|error| {
                log::error!(segment = walk.segment().0, error:% = error; "a segment is not read to its end: what is there stays");
                None
            });
            let Some((from, blob)) = next else {
                ended = true;
                break;
            };
            if self.core.named_place(blob.body)? != Some(from) {
                continue;
            }
            let Some(sealed) = walk.body(from).ok().filter(|sealed| digest_of(sealed) == blob.digest) else {
                log::error!(body:% = blob.body; "a damaged body is not moved: it stays until it is mended");
                continue;
            };
            if let Err(refused) = self.core.check_room_for_reader(from.bytes()) {
                walk.again(from);
                if copied.is_empty() {
                    return Err(refused);
                }
                break;
            }
            bytes += from.bytes();
            copied.push((blob.body, from));
            bodies.push(NewBody { blob, sealed: Bytes::from(sealed) });
        }
        let placed = self.core.segments.append_all(bodies);
        let moved = |((body, from), placed): ((_, _), Placed)| {
            let to = placed.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown))?;
            Ok(Move { body, from, to })
        };
        let moves = copied.into_iter().zip(placed).map(moved).collect::<Result<Vec<_>, StoreError>>()?;
        self.core.counters.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok((moves, (!ended).then_some(walk)))
    }
}
