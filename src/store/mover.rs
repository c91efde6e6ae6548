//! The mover, for compaction: what is alive moves out of segments that hold much else.
//!
//! Invariants
//! - A body is moved only with the bytes that its entry was written with; one that reads otherwise stays for mending.
//! - Room for what is moved comes out of the half of the reserve that is kept for what must go on. Where the disk is short
//!   of room, the segment with the least alive comes first, and none is begun whose bodies have no room. A segment has at
//!   most a quarter of that half (`Options::bound_segments`): while it is free, each segment that is gone through gives
//!   back more than it took.
//! - Where there is no such room, status and the log say so.
//!
//! A segment is gone through by reading it, and once more by the places that are named in it where it says of itself other
//! than they do. Then it is not looked at again: what is left there is damaged bodies.

use super::claims::Move;
use super::core::Core;
use super::error::StoreError;
use super::intent::{Answer, Intent, Request};
use super::places::{Place, SegmentId};
use super::segments::{NewBody, Placed, Walk};
use crate::base::{BodyId, Mark};
use crate::seal::digest::digest_of;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

mod choice;

/// What is moved at once, in bytes.
const STEP_BYTES: u64 = 1 << 20;
/// Bytes that it holds, at most: a step, and a body more, of the largest that the setting allows.
pub const HOLDS_BYTES_MAX: usize = 2 * STEP_BYTES as usize + 64 * 1024;
/// Most bodies of a step: their moves are one batch.
const STEP_BODIES_MAX: usize = 512;
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
    work: Option<Work>,
    /// What was gone through and is not gone yet.
    done: BTreeMap<SegmentId, Done>,
    /// Segments whose heads were looked at.
    looked: BTreeSet<SegmentId>,
    /// Where the next look for orphans begins.
    orphans: Option<BodyId>,
}

/// A segment that was gone through.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    /// Bytes of what does not check, and stays.
    damaged: u64,
    /// Whether that was by the places that are named, and not by reading.
    listed: bool,
}

/// The segment that is gone through.
#[derive(Debug)]
struct Work {
    walk: Walk,
    /// Bytes of what did not check.
    damaged: u64,
}

/// What the committer was asked.
#[derive(Debug)]
struct Asked {
    answer: Answer,
    then: Then,
}

/// What follows when the log has heard.
#[derive(Debug)]
enum Then {
    /// Places are wrong.
    Lost(Vec<(BodyId, Place)>),
    /// Bodies lie elsewhere; with that their segment is gone through, if it is named.
    Moved(Option<(SegmentId, Done)>),
    /// Orphans are gone; the next ones are behind this one, if there are any.
    Released(Option<BodyId>),
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
            if let Some(Asked { answer, then }) = asked {
                let done = answer.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown));
                self.heard(&mut self.state.borrow_mut(), done.map(|_| ()), then);
            }
        }
    }

    /// Does one piece of what there is to do; whether there was something. For tests that bring their own clockwork.
    pub fn turn(&self) -> Result<bool, StoreError> {
        let core = &self.core;
        if core.closing.load(Ordering::Acquire) || core.is_poisoned() {
            return Ok(false);
        }
        let is_counting = core.recount_on();
        let mut state = self.state.borrow_mut();
        if let Some(Asked { mut answer, then }) = state.asked.take() {
            let done = match answer.try_recv() {
                Ok(done) => done,
                Err(oneshot::error::TryRecvError::Closed) => Err(StoreError::ShuttingDown),
                Err(oneshot::error::TryRecvError::Empty) => {
                    state.asked = Some(Asked { answer, then });
                    return Ok(is_counting);
                }
            };
            self.heard(&mut state, done.map(|_| ()), then);
        }
        let wrong = core.claims.wrong();
        if !wrong.is_empty() {
            state.asked = Some(self.ask(Intent::Lose(wrong.clone()), Then::Lost(wrong)));
            return Ok(true);
        }
        let is_known = core.look_up_dropped(!state.done.is_empty() || core.is_short_of_room())?;
        let removed = core.remove_empty_segments();
        if is_known {
            self.look_for_more(&mut state)?;
        }
        if core.are_orphans_due() {
            let found = core.find_orphans(state.orphans)?;
            state.asked = Some(self.ask(Intent::Release(found.bodies), Then::Released(found.next)));
            return Ok(true);
        }
        let moved = self.go_on(&mut state)?;
        Ok(moved || removed > 0 || self.look_at_heads(&mut state)? || is_counting)
    }

    /// Moves the next bodies, of the segment that was begun or of another one. Whether there were any.
    fn go_on(&self, state: &mut State) -> Result<bool, StoreError> {
        let files = self.core.segments.files();
        state.done.retain(|segment, _| files.contains_key(segment));
        state.looked.retain(|segment| files.contains_key(segment));
        if state.work.is_none() {
            let walk = self.damaged(&state.done)?.map_or_else(|| self.choose(&state.done), |walk| Ok(Some(walk)))?;
            state.work = walk.map(|walk| Work { walk, damaged: 0 });
        }
        let Some(work) = state.work.take() else { return Ok(false) };
        self.core.counters.compacting.store(true, Ordering::Relaxed);
        // What fails ends the work on this segment until the next look.
        let stepped = self.step(work);
        let end = || self.core.counters.compacting.store(false, Ordering::Relaxed);
        let Some((moves, work, is_end)) = stepped.inspect_err(|_| end())? else {
            end();
            return Ok(false);
        };
        let done = Done { damaged: work.damaged, listed: work.walk.is_listed() };
        let ends = is_end.then_some((work.walk.segment(), done));
        state.work = (!is_end).then_some(work);
        match moves.is_empty() {
            true => self.heard(state, Ok(()), Then::Moved(ends)),
            false => state.asked = Some(self.ask(Intent::Move(moves), Then::Moved(ends))),
        }
        Ok(true)
    }

    fn ask(&self, intent: Intent, then: Then) -> Asked {
        let (reply, answer) = oneshot::channel();
        // A send fails only when the committer is gone.
        let _ = self.queue.send(Request::Write(intent, reply));
        Asked { answer, then }
    }

    /// The log has heard, or it has not: then the segment is gone through again.
    fn heard(&self, state: &mut State, done: Result<(), StoreError>, then: Then) {
        match (done, then) {
            (Err(error), _) => {
                log::debug!(error:% = error; "where bodies lie could not be told to the log");
                state.work = None;
            }
            (Ok(()), Then::Lost(wrong)) => self.core.claims.forget_wrong(&wrong),
            (Ok(()), Then::Released(next)) => {
                state.orphans = next;
                if next.is_none() {
                    self.core.orphans_are_gone();
                }
            }
            (Ok(()), Then::Moved(ends)) => {
                if let Some((segment, done)) = ends {
                    state.done.insert(segment, done);
                    Mark::SegmentCompacted.hit();
                }
            }
        }
        self.core.counters.compacting.store(state.work.is_some(), Ordering::Relaxed);
    }

    /// Copies the next bodies that lie in a segment. Their moves, and whether those were the last; nothing if there is no
    /// room for them.
    fn step(&self, mut work: Work) -> Result<Option<(Vec<Move>, Work, bool)>, StoreError> {
        let walk = &mut work.walk;
        let (mut copied, mut bodies, mut bytes, mut ended) = (Vec::new(), Vec::new(), 0, false);
        while bytes < STEP_BYTES && copied.len() < STEP_BODIES_MAX {
            let next = walk.next_entry().unwrap_or_else(|error| {
                log::error!(segment = walk.segment().0, error:% = error; "a segment is not read to its end");
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
                work.damaged += from.bytes();
                continue;
            };
            if !self.core.admits_move(from.bytes()) {
                // Anew: what was admitted before may be written by now. A failure is told elsewhere.
                let _ = self.core.refresh_space();
                self.tell_lack(self.lack_for(from.bytes()));
                if copied.is_empty() && !self.core.admits_move(from.bytes()) {
                    return Ok(None);
                }
                walk.again((from, blob));
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
        Ok(Some((moves, work, ended)))
    }
}
