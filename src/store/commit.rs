//! Group commit: one thread takes what waits and has it decided (`decider`); one frame and one fsync carry all of it.
//!
//! Invariants
//! - Requests are decided in the order in which they are taken, each upon those before it.
//! - Nothing is visible or answered before the frames that hold it are durable. Whoever waits for a batch that failed
//!   is told that its outcome is unknown: the next start may find it.
//! - Marks, for which nobody waits, have no commit of their own while others come soon: see `marks`.

use super::batch::{Batch, Pending};
use super::core::Core;
use super::decider::Decider;
use super::entry::Op;
use super::error::StoreError;
use super::intent::Request;
use super::log::{Appended, Writer};
use crate::base::Shortage;
use crate::register::Kept;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Most requests of one batch.
const BATCH_REQUESTS_MAX: usize = 1024;
/// A batch takes no further request once it fills this part of a frame. One request may be longer than a frame: then
/// its batch takes several.
const BATCH_PART: usize = 2;

/// Decides and commits. There is one per store.
#[derive(Debug)]
pub struct Committer {
    core: Arc<Core>,
    decider: Decider,
    queue: Receiver<Request>,
}

impl Committer {
    pub(super) fn new(core: Arc<Core>, queue: Receiver<Request>) -> Self {
        let decider = Decider::new(Arc::clone(&core));
        Committer { core, decider, queue }
    }

    /// Waits for requests and commits them until all senders are gone.
    pub fn run(&self) {
        loop {
            let due = self.decider.marks.borrow().due();
            let next = match due {
                // Without marks nothing is due: the thread sleeps until somebody asks.
                None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.queue.recv_deadline(due),
            };
            match next {
                Ok(first) => {
                    // What comes meanwhile shares the fsync.
                    self.core.index.pacing.wait(self.core.log.end());
                    let due = self.decider.marks.borrow().are_due(Instant::now());
                    self.commit(Some(first), due);
                }
                Err(RecvTimeoutError::Timeout) => self.commit(None, true),
                // Marks that still wait go with a last commit: no reader has to settle their records.
                Err(RecvTimeoutError::Disconnected) => return self.commit(None, true),
            }
        }
    }

    /// Commits what waits at this moment, in one batch; with nothing else waiting, the marks. Whether there was
    /// anything. For tests that bring their own clockwork.
    pub fn turn(&self) -> bool {
        let first = self.queue.try_recv().ok();
        let due = first.is_none();
        let any = first.is_some() || self.decider.marks.borrow().due().is_some();
        if any {
            self.commit(first, due);
        }
        any
    }

    /// One batch: `first` and what waits behind it. With the marks if they are due, or if it is written anyway.
    fn commit(&self, first: Option<Request>, due: bool) {
        // No blob goes away between a decision that needs it and the commit.
        let _blobs = self.core.blobs.gate();
        // Numbers go on behind the last durable one: those of a batch that failed are given again.
        let mut batch = Batch { seq: *self.core.head.borrow(), ..Batch::default() };
        if due || self.decider.marks.borrow().are_many() {
            self.take_marks(&mut batch);
        }
        let mut next = first;
        // Whatever waits by now shares this fsync.
        while let Some(request) = next.take() {
            self.take(&mut batch, request);
            let many = batch.replies.len() >= BATCH_REQUESTS_MAX || self.decider.marks.borrow().are_many();
            if self.has_room(&batch) && !many {
                next = self.queue.try_recv().ok();
            }
        }
        // A commit that is made anyway carries marks at no cost.
        if !batch.ops.is_empty() || batch.node.is_some() {
            self.take_marks(&mut batch);
        }
        self.decider.name_places(&mut batch);
        if !batch.dead.is_empty() && self.core.lacks_room_now() {
            // Their room is needed now, and no checkpoint may come in between.
            batch.released.extend(batch.dead.iter().map(|blob| blob.body));
        }
        self.decider.release_bodies(&mut batch);
        self.decider.say_usage(&mut batch);
        // The reserve becomes durable with the promises that rest on it, once for all of the batch.
        if let Some(node) = batch.node.clone() {
            batch.push(Op::Node(node));
        }
        if let Some(since) = batch.outgrows {
            batch.push(Op::Memory(Kept { since, ..Kept::default() }));
        }
        match self.write(&batch) {
            Ok(()) => self.publish(batch),
            // Nothing was begun. What was decided is not so: the votes begin again from what is durable, as after a
            // restart.
            Err(Unwritten::Short(what)) => {
                self.decider.begin_again();
                refuse(batch, || what.map_or(StoreError::Full, StoreError::Short));
            }
            Err(Unwritten::TooLong) => {
                self.decider.begin_again();
                refuse(batch, || StoreError::Mismatch("a write is longer than the commit log takes"));
            }
            Err(Unwritten::Not) => refuse(batch, || StoreError::Poisoned),
            // The next start may find it.
            Err(Unwritten::Perhaps(error)) => {
                self.core.poison("commit", &error);
                refuse(batch, || StoreError::UnknownOutcome);
            }
        }
    }

    fn has_room(&self, batch: &Batch) -> bool {
        batch.encoded.size() < self.core.log.payload_max() / BATCH_PART
    }

    fn take_marks(&self, batch: &mut Batch) {
        while self.has_room(batch) {
            let Some(mark) = self.decider.marks.borrow_mut().next() else { return };
            if let Err(error) = self.core.check_writable().and_then(|()| self.decider.vote(batch, vec![mark])) {
                log::debug!(error:% = error; "a mark was not taken");
            }
        }
    }

    fn take(&self, batch: &mut Batch, request: Request) {
        if !matches!(request, Request::Vote(..) | Request::Marks(_)) {
            // It may look at any register. Only a vote names the one that it rests on.
            self.take_marks(batch);
        }
        let writable = self.core.check_writable();
        // Whoever asked and has gone needs no answer.
        match request {
            Request::Write(intent, reply) => {
                let decided = writable.and_then(|()| self.decider.decide(batch, intent));
                batch.replies.push(Pending::Write(reply, decided));
            }
            Request::Mutate(mutation, reply) => {
                let decided = writable.and_then(|()| self.decider.mutate(batch, mutation));
                batch.replies.push(Pending::Mutate(reply, decided));
            }
            Request::Seat(seating, reply) => {
                let seated = writable.and_then(|()| self.decider.seat(batch, seating));
                batch.replies.push(Pending::Write(reply, seated.map(|()| self.decider.no_outcome())));
            }
            Request::Vote(votes, reply) => match writable.and_then(|()| self.decider.vote(batch, votes)) {
                Ok(replies) => batch.replies.push(Pending::Vote(reply, replies)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Request::Marks(marks) => self.decider.marks.borrow_mut().add(marks, Instant::now()),
        }
    }

    fn write(&self, batch: &Batch) -> Result<(), Unwritten> {
        if batch.ops.is_empty() {
            return Ok(());
        }
        let log = &self.core.log;
        // Frames name the newest state of the index, and a checkpoint between two tries makes a newer one.
        let frames = || batch.encoded.frames(self.core.probe.sequence(), log.payload_max());
        let mut appended = log.append(&frames(), Writer::Batch).map_err(Unwritten::Perhaps)?;
        if appended == Appended::NoRoom {
            // The ring is full of what the index has not taken in yet: a checkpoint frees it.
            self.core.checkpoint().map_err(|error| match error {
                error if error.is_shortage() => Unwritten::Short(error.shortage()),
                // It has poisoned the store, and told why.
                _ => Unwritten::Not,
            })?;
            appended = log.append(&frames(), Writer::Batch).map_err(Unwritten::Perhaps)?;
        }
        if appended == Appended::NoRoom {
            return Err(Unwritten::TooLong);
        }
        // What another thread met meanwhile may have been this frame's failure.
        if self.core.is_poisoned() {
            return Err(Unwritten::Perhaps(StoreError::Poisoned));
        }
        if self.core.is_index_behind() {
            // A full channel means that it has been told.
            let _ = self.core.nudge.0.try_send(());
        }
        self.core.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.core.counters.committed_ops.fetch_add(batch.ops.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn publish(&self, batch: Batch) {
        {
            // The tree is held until all is visible, so that its walk counts each register in one state.
            let mut tree = self.core.tree();
            self.core.apply(batch.ops, batch.references, self.core.log.end());
            // Visible where the log names it, or gone.
            batch.left.iter().for_each(|(_, body)| self.core.claims.drop(*body));
            if batch.cleared {
                tree.clear();
            }
            if batch.puts_right || batch.cleared {
                self.core.is_put_right();
            }
            batch.moved.iter().for_each(|(key, from, to)| tree.moved(key, *from, *to));
        }
        // Records lanes wake by this number: not for a batch that changed no register.
        if batch.seq > *self.core.head.borrow() {
            self.core.head.send_replace(batch.seq);
        }
        // Answers come last: whoever hears of a write can read it.
        for pending in batch.replies {
            match pending {
                Pending::Write(reply, decided) => drop(reply.send(decided)),
                Pending::Mutate(reply, decided) => drop(reply.send(decided)),
                Pending::Vote(reply, replies) => drop(reply.send(Ok(replies))),
            }
        }
        if !batch.dead.is_empty() {
            let (now, mut waiting) = (Instant::now(), self.core.waiting());
            batch.dead.iter().for_each(|blob| waiting.push(blob, now));
            let is_due = waiting.is_due(now);
            drop(waiting);
            if is_due || self.core.lacks_room_now() {
                // A full channel means that it has been told.
                let _ = self.core.reap.0.try_send(());
            }
        }
    }
}

/// Why a batch is not known to be durable.
enum Unwritten {
    /// Nothing of it was written, for want of something that the system gives: the store is well.
    Short(Option<Shortage>),
    /// Nothing of it was written: the whole log does not hold it.
    TooLong,
    /// Nothing of it was written, and nothing will be.
    Not,
    /// Some of it was, or all.
    Perhaps(StoreError),
}

fn refuse(batch: Batch, why: impl Fn() -> StoreError) {
    // A client that has gone needs no answer.
    for pending in batch.replies {
        match pending {
            Pending::Write(reply, _) => drop(reply.send(Err(why()))),
            Pending::Mutate(reply, _) => drop(reply.send(Err(why()))),
            Pending::Vote(reply, _) => drop(reply.send(Err(why()))),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
