//! Group commit: one thread decides, one frame and one fsync carry all requests that wait.
//!
//! Invariants
//! - Requests are decided in the order in which they are taken, each upon those before it.
//! - Nothing is visible or answered before the frames that hold it are durable. Whoever waits for a batch that failed is
//!   told that its outcome is unknown: the next start may find it.
//! - Ballots are given here, above everything seen: of two writes on this node the later one wins.
//! - Marks, for which nobody waits, have no commit of their own while others come soon: see `marks`.

use super::core::Core;
use super::download::etag;
use super::entry::{Encoded, Held, NodeRecord, Op};
use super::error::StoreError;
use super::log::{Appended, Writer};
use super::marks::Marks;
use super::tree::Counted;
use super::votes::{Reply, Seating, Vote, VotesTo, acceptor_of};
use crate::base::names::RegisterName;
use crate::base::record::{ObjectRecord, written_after};
use crate::base::{
    Ballot, BodyId, BucketName, Condition, Epoch, Incarnation, Lineage, ObjectName, Record, RegisterKey, Shortage,
    Stamp, State, WriteId,
};
use crate::register::{Acceptor, ListMark, Remembered};
use crate::seal::random;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::oneshot;

/// Most requests of one batch.
const BATCH_REQUESTS_MAX: usize = 1024;
/// A batch takes no further request once it fills this part of a frame. One request may be longer than a frame: then its
/// batch takes several.
const BATCH_PART: usize = 2;

/// What a request wants to become true.
#[derive(Debug)]
pub enum Intent {
    /// An object with this body; its bucket must exist.
    Put {
        /// Which object.
        at: ObjectName,
        /// What must hold of the present state.
        condition: Condition,
        /// Its metadata, with its body inline or in a durable blob.
        object: Box<ObjectRecord>,
    },
    /// No object of that name.
    Delete {
        /// Which object.
        at: ObjectName,
        /// What must hold of the present state.
        condition: Condition,
    },
    /// A bucket.
    CreateBucket {
        /// The bucket that is to be there.
        bucket: BucketName,
        /// Made by the store itself: loses to whatever the cluster knows of it.
        first_start: bool,
    },
    /// No bucket of that name; it must be empty.
    DeleteBucket {
        /// Its name.
        bucket: BucketName,
    },
    /// A peer's records, where they are newer.
    Learn {
        /// Keys with their records.
        records: Vec<(RegisterKey, Record)>,
        /// The peer that sent them; its feed is not offered them back.
        from: Incarnation,
        /// Its epoch before it read them.
        epoch: Epoch,
    },
    /// Tombstones go, where they are what these registers hold.
    Bury {
        /// The member list under which that was found to be safe.
        list: ListMark,
        /// Registers with the ballots of their tombstones.
        graves: Vec<(RegisterKey, Ballot)>,
    },
    /// A peer's copy of a record, in place of the same one that is damaged here.
    Restore {
        /// Which register.
        key: RegisterKey,
        /// Its record, checked: its body opens.
        record: Record,
        /// The peer whose copy it is.
        from: Incarnation,
    },
    /// What is remembered of the other nodes.
    Remember,
    /// A peer has acknowledged this much.
    Cursor {
        /// Which life of the peer.
        peer: Incarnation,
        /// The highest number below which all is acknowledged.
        seq: u64,
    },
    /// Everything before this is durable.
    Barrier,
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Ballot of the key's state; zero where none applies.
    pub ballot: Ballot,
    /// Whether the name held something before.
    pub existed: bool,
}

/// Where the answer to an intent goes.
pub type ReplyTo = oneshot::Sender<Result<Outcome, StoreError>>;

/// What is asked of the committer, and where its answer goes.
#[derive(Debug)]
pub enum Request {
    /// A write that this node decides alone.
    Write(Intent, ReplyTo),
    /// Votes of a coordinator, here or at a peer.
    Vote(Vec<Vote>, VotesTo),
    /// The node's part in its cluster changes.
    Seat(Seating, ReplyTo),
    /// Votes that nobody waits for: what this node holds was chosen.
    Marks(Vec<Vote>),
}

/// Decides and commits. There is one per store.
#[derive(Debug)]
pub struct Committer {
    pub(super) core: Arc<Core>,
    queue: Receiver<Request>,
    reaper: Sender<(RegisterKey, BodyId)>,
    /// The votes as decided: durable, or in the batch that is being decided.
    pub(super) acceptor: RefCell<Acceptor<RegisterKey>>,
    /// What waits for a commit that is made anyway.
    pub(super) marks: RefCell<Marks>,
}

/// What is answered once the batch is durable.
enum Pending {
    Write(ReplyTo, Outcome),
    Vote(VotesTo, Vec<Option<Reply>>),
}

/// A batch while it is being decided.
#[derive(Default)]
pub(super) struct Batch {
    ops: Vec<Op>,
    encoded: Encoded,
    /// What was decided lately; `None`: the register holds nothing any more.
    pub(super) latest: HashMap<RegisterKey, Option<Arc<Held>>>,
    /// Whether nothing counts that was there before the batch and is not in `latest`.
    pub(super) cleared: bool,
    replies: Vec<Pending>,
    /// What the node keeps for its votes, if it changed.
    pub(super) node: Option<NodeRecord>,
    /// Whether what was said before counts for nothing any more: see `register::memory`.
    pub(super) outgrows: bool,
    dead: Vec<(RegisterKey, BodyId)>,
    /// What each operation replaces, for the tree.
    pub(super) moved: Vec<(RegisterKey, Option<Counted>, Option<Counted>)>,
    seq: u64,
}

impl Committer {
    pub(super) fn new(core: Arc<Core>, queue: Receiver<Request>, reaper: Sender<(RegisterKey, BodyId)>) -> Self {
        let acceptor = RefCell::new(acceptor_of(&core));
        Committer { core, queue, reaper, acceptor, marks: RefCell::default() }
    }

    /// Waits for requests and commits them until all senders are gone.
    pub fn run(&self) {
        loop {
            let due = self.marks.borrow().due();
            let next = match due {
                // Without marks nothing is due: the thread sleeps until somebody asks.
                None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.queue.recv_deadline(due),
            };
            match next {
                Ok(first) => {
                    let due = self.marks.borrow().are_due(Instant::now());
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
        let any = first.is_some() || self.marks.borrow().due().is_some();
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
        if due || self.marks.borrow().are_many() {
            self.take_marks(&mut batch);
        }
        let mut next = first;
        // Whatever waits by now shares this fsync.
        while let Some(request) = next.take() {
            self.take(&mut batch, request);
            let many = batch.replies.len() >= BATCH_REQUESTS_MAX || self.marks.borrow().are_many();
            if self.has_room(&batch) && !many {
                next = self.queue.try_recv().ok();
            }
        }
        // A commit that is made anyway carries marks at no cost.
        if !batch.ops.is_empty() || batch.node.is_some() {
            self.take_marks(&mut batch);
        }
        // The reserve becomes durable with the promises that rest on it, once for all of the batch.
        if let Some(node) = batch.node.clone() {
            batch.push(Op::Node(node));
        }
        if batch.outgrows {
            batch.push(Op::Memory(Remembered::new()));
        }
        match self.write(&batch) {
            Ok(()) => self.publish(batch),
            // Nothing was begun. What was decided is not so: the votes begin again from what is durable, as after a
            // restart.
            Err(Unwritten::Short(what)) => {
                *self.acceptor.borrow_mut() = acceptor_of(&self.core);
                refuse(batch, || what.map_or(StoreError::Full, StoreError::Short));
            }
            Err(Unwritten::TooLong) => {
                *self.acceptor.borrow_mut() = acceptor_of(&self.core);
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
            let Some(mark) = self.marks.borrow_mut().next() else { return };
            if let Err(error) = self.core.check_writable().and_then(|()| self.vote(batch, vec![mark])) {
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
            Request::Write(intent, reply) => match writable.and_then(|()| self.decide(batch, intent)) {
                Ok(outcome) => batch.replies.push(Pending::Write(reply, outcome)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Request::Seat(seating, reply) => match writable.and_then(|()| self.seat(batch, seating)) {
                Ok(()) => batch.replies.push(Pending::Write(reply, self.no_outcome())),
                Err(error) => drop(reply.send(Err(error))),
            },
            Request::Vote(votes, reply) => match writable.and_then(|()| self.vote(batch, votes)) {
                Ok(replies) => batch.replies.push(Pending::Vote(reply, replies)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Request::Marks(marks) => self.marks.borrow_mut().add(marks, Instant::now()),
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
        if self.core.log.used() > self.core.options.checkpoint_bytes {
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
            self.core.apply(batch.ops, self.core.log.end());
            if batch.cleared {
                tree.clear();
            }
            batch.moved.iter().for_each(|(key, from, to)| tree.moved(key, *from, *to));
        }
        // Replicators wake by this number: not for a batch that changed no register.
        if batch.seq > *self.core.head.borrow() {
            self.core.head.send_replace(batch.seq);
        }
        // Answers come last: whoever hears of a write can read it.
        for pending in batch.replies {
            match pending {
                Pending::Write(reply, outcome) => drop(reply.send(Ok(outcome))),
                Pending::Vote(reply, replies) => drop(reply.send(Ok(replies))),
            }
        }
        for dead in batch.dead {
            // Gone only when the store is closing; the next start sweeps what stays.
            let _ = self.reaper.send(dead);
        }
    }

    fn decide(&self, batch: &mut Batch, intent: Intent) -> Result<Outcome, StoreError> {
        match intent {
            Intent::Put { at, condition, object } => {
                // Asked in the order of commits: a bucket that this batch has deleted takes nothing any more.
                if !self.bucket_exists(batch, &at.bucket) {
                    return Err(StoreError::NoSuchBucket);
                }
                let key = RegisterKey::object(&at);
                let old = self.current(batch, &key)?;
                check(&condition, old.as_deref())?;
                Ok(self.write_state(batch, key, old, State::Object(object)))
            }
            Intent::Delete { at, condition } => {
                let key = RegisterKey::object(&at);
                let old = self.current(batch, &key)?;
                // What has lost its bucket meanwhile can be deleted all the same.
                let there = old.as_ref().is_some_and(|held| held.record.is_present());
                if !there && !self.bucket_exists(batch, &at.bucket) {
                    return Err(StoreError::NoSuchBucket);
                }
                check(&condition, old.as_deref())?;
                Ok(self.delete_state(batch, key, old))
            }
            Intent::CreateBucket { bucket, first_start } => {
                let key = RegisterKey::bucket(&bucket);
                let old = self.current(batch, &key)?;
                match &old {
                    Some(held) if held.record.is_present() => Ok(Outcome { ballot: held.record.ballot, existed: true }),
                    _ if first_start => {
                        // The lowest of ballots: a bucket that the cluster has deleted must not
                        // come back because a wiped node starts afresh.
                        let ballot = Ballot { stamp: Stamp(1), node: self.core.incarnation };
                        let written_ms = (self.core.options.now_ms)();
                        let (lineage, state) =
                            (Lineage::NOTHING.then(WriteId::drawn(random()), Lineage::IDS_MAX), State::Bucket);
                        let record = Record { ballot, lineage, written_ms, state };
                        Ok(batch.store(key, old, record, true, None))
                    }
                    _ => {
                        self.core.check_room(0)?;
                        Ok(self.write_state(batch, key, old, State::Bucket))
                    }
                }
            }
            Intent::DeleteBucket { bucket } => {
                if !self.bucket_exists(batch, &bucket) {
                    return Err(StoreError::NoSuchBucket);
                }
                if !self.bucket_is_empty(batch, &bucket)? {
                    return Err(StoreError::BucketNotEmpty);
                }
                let key = RegisterKey::bucket(&bucket);
                let old = self.current(batch, &key)?;
                Ok(self.delete_state(batch, key, old))
            }
            Intent::Learn { records, from, epoch } => {
                // Judged in the order of commits: a member list that came earlier in this batch counts already.
                self.check_teacher(batch, from, epoch)?;
                for (key, record) in records {
                    self.learn(batch, key, record, from)?;
                }
                Ok(self.no_outcome())
            }
            Intent::Bury { list, graves } => {
                self.bury(batch, list, graves)?;
                Ok(self.no_outcome())
            }
            Intent::Restore { key, record, from } => {
                let old = self.current(batch, &key)?;
                // The peer's copy was checked before it was queued: the register may have moved on since.
                match old.filter(|old| old.record.ballot == record.ballot) {
                    Some(old) => {
                        let chosen = old.chosen;
                        Ok(batch.store(key, Some(old), record, chosen, Some(from)))
                    }
                    None => Err(StoreError::Mismatch("the register has changed meanwhile")),
                }
            }
            Intent::Cursor { peer, seq } => {
                batch.push(Op::Cursor { peer, seq });
                Ok(self.no_outcome())
            }
            Intent::Remember => {
                // Read now, not when it was asked for: what was heard meanwhile becomes durable with it.
                let remembered = self.core.remembered();
                batch.push(Op::Memory(remembered));
                Ok(self.no_outcome())
            }
            Intent::Barrier => Ok(self.no_outcome()),
        }
    }

    fn learn(&self, batch: &mut Batch, key: RegisterKey, record: Record, from: Incarnation) -> Result<(), StoreError> {
        let old = self.current(batch, &key)?;
        // A later write of this node must lie above what is known to be chosen.
        self.core.clock.observe(record.ballot.stamp);
        if let Some(old) = old.as_ref().filter(|old| old.record.ballot >= record.ballot) {
            if old.record.ballot == record.ballot && !old.chosen {
                let old = Arc::clone(old);
                // The record is here already, and the peer knows that it was chosen: a mark is all that is written.
                batch.mark(key.clone(), &old);
                return self.adopt_chosen(batch, &key);
            }
            // Came too late: its blob, if it brought one of its own, has no owner.
            batch.dead.extend(record.blob().filter(|id| old.record.blob() != Some(*id)).map(|id| (key, id)));
            return Ok(());
        }
        batch.store(key.clone(), old, record, true, Some(from));
        self.adopt_chosen(batch, &key)
    }

    pub(super) fn write_state(
        &self,
        batch: &mut Batch,
        key: RegisterKey,
        old: Option<Arc<Held>>,
        state: State,
    ) -> Outcome {
        let now_ms = (self.core.options.now_ms)();
        let ballot = Ballot { stamp: self.core.clock.next(now_ms), node: self.core.incarnation };
        let written_ms = written_after(old.as_ref().map(|held| held.record.written_ms), now_ms);
        let base = old.as_ref().map_or(Lineage::NOTHING, |held| held.record.lineage);
        let lineage = base.then(WriteId::drawn(random()), Lineage::IDS_MAX);
        batch.store(key, old, Record { ballot, lineage, written_ms, state }, true, None)
    }

    fn delete_state(&self, batch: &mut Batch, key: RegisterKey, old: Option<Arc<Held>>) -> Outcome {
        match old {
            Some(held) if held.record.is_present() => self.write_state(batch, key, Some(held), State::Deleted),
            // Nothing to delete: nothing is written.
            Some(held) => Outcome { ballot: held.record.ballot, existed: false },
            None => Outcome { ballot: self.no_ballot(), existed: false },
        }
    }

    pub(super) fn current(&self, batch: &Batch, key: &RegisterKey) -> Result<Option<Arc<Held>>, StoreError> {
        match batch.latest.get(key) {
            Some(held) => Ok(held.clone()),
            None if batch.cleared => Ok(None),
            None => self.core.lookup(key),
        }
    }

    fn bucket_exists(&self, batch: &Batch, bucket: &BucketName) -> bool {
        match batch.latest.get(&RegisterKey::bucket(bucket)) {
            Some(held) => held.as_ref().is_some_and(|held| held.record.state == State::Bucket),
            None if batch.cleared => false,
            None => self.core.buckets().contains_key(bucket),
        }
    }

    fn bucket_is_empty(&self, batch: &Batch, bucket: &BucketName) -> Result<bool, StoreError> {
        let (first, end) = (RegisterKey::object_prefix(bucket, ""), RegisterKey::objects_end(bucket));
        let is_object = |held: &Option<Arc<Held>>| held.as_ref().is_some_and(|held| held.record.object().is_some());
        // What this batch decided stands in no index yet.
        if batch.latest.iter().any(|(k, h)| *k >= first && *k < end && is_object(h)) {
            return Ok(false);
        }
        if batch.cleared {
            return Ok(true);
        }
        let mut next = Some(Bound::Included(first));
        while let Some(from) = next {
            let page = self.core.scan(from.as_ref(), &end, 256)?;
            next = page.complete.next();
            // What the batch has deleted meanwhile does not count.
            if page.entries.iter().any(|(key, held)| held.record.object().is_some() && !batch.latest.contains_key(key))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn no_outcome(&self) -> Outcome {
        Outcome { ballot: self.no_ballot(), existed: false }
    }

    fn no_ballot(&self) -> Ballot {
        Ballot { stamp: Stamp(0), node: self.core.incarnation }
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
            Pending::Vote(reply, _) => drop(reply.send(Err(why()))),
        }
    }
}

fn check(condition: &Condition, held: Option<&Held>) -> Result<(), StoreError> {
    let object = held.and_then(|held| held.record.object());
    match condition.holds(object.map(|object| etag(&object.digest)).as_deref()) {
        true => Ok(()),
        false => Err(StoreError::Precondition),
    }
}

impl Batch {
    pub(super) fn store(
        &mut self,
        key: RegisterKey,
        old: Option<Arc<Held>>,
        record: Record,
        chosen: bool,
        from: Option<Incarnation>,
    ) -> Outcome {
        self.seq += 1;
        let existed = old.as_ref().is_some_and(|h| h.record.is_present());
        let outcome = Outcome { ballot: record.ballot, existed };
        let blob = record.blob();
        let was = old.as_deref().map(Counted::of);
        // A state that is stored again keeps its blob.
        let dead = old.and_then(|h| h.record.blob()).filter(|id| blob != Some(*id));
        self.dead.extend(dead.map(|id| (key.clone(), id)));
        let held = Arc::new(Held::new(record, chosen, self.seq, from));
        self.moved.push((key.clone(), was, Some(Counted::of(&held))));
        self.latest.insert(key.clone(), Some(Arc::clone(&held)));
        self.push(Op::Record { key, held });
        outcome
    }
}

impl Batch {
    /// Takes an operation in.
    pub(super) fn push(&mut self, op: Op) {
        self.encoded.push(&op);
        self.ops.push(op);
    }

    /// What a register holds has become chosen.
    pub(super) fn mark(&mut self, key: RegisterKey, old: &Held) {
        self.seq += 1;
        let held = Arc::new(old.marked(self.seq));
        self.latest.insert(key.clone(), Some(Arc::clone(&held)));
        self.push(Op::Mark { key, ballot: old.record.ballot, seq: self.seq, held: Some(held) });
    }
}

impl Core {
    /// Makes durable operations visible.
    pub(super) fn apply(&self, ops: Vec<Op>, log_end: u64) {
        for op in &ops {
            match op {
                Op::Forget { key, .. } => self.forgotten(key),
                Op::Clear { .. } => self.cleared(),
                Op::Memory(remembered) => self.memory().saved(remembered),
                Op::Record { .. } | Op::Mark { .. } | Op::Node(_) | Op::Cursor { .. } => {}
            }
            let (Op::Record { key, held } | Op::Mark { key, held: Some(held), .. }) = op else { continue };
            // The settler looks here for what somebody left behind before it was known to be chosen.
            if held.chosen {
                self.tentative().remove(key);
            } else {
                self.tentative().insert(key.clone(), Instant::now());
            }
            // It has its record: from now on whatever replaces that may take it away.
            if let Some(body) = held.record.blob() {
                self.blobs.settle(body);
            }
            let Some(RegisterName::Bucket(bucket)) = key.name() else { continue };
            if held.record.state == State::Bucket {
                self.buckets_mut().insert(bucket, held.record.written_ms);
            } else {
                self.buckets_mut().remove(&bucket);
            }
        }
        let voting = ops.iter().rev().find_map(|op| if let Op::Node(node) = op { Some(node.clone()) } else { None });
        if let Some(list) = voting.as_ref().and_then(|node| self.outgrown_by(node)) {
            self.memory().begin_anew(&list);
        }
        {
            let mut overlay = self.overlay_mut();
            overlay.active.log_end = log_end;
            let remembers = ops.iter().any(|op| matches!(op, Op::Memory(_)));
            ops.into_iter().for_each(|op| overlay.active.apply(op));
            // More may have been heard since that was decided.
            if remembers {
                self.memory_changed(&mut overlay);
            }
        }
        // Last: whoever sees the new epoch sees what was dropped before it as gone.
        if let Some(node) = voting {
            self.set_voting(&node);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
