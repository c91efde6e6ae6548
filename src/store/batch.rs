//! A batch while it is being decided: what it will write, what it will say then, and what it has decided so far.
//!
//! Invariant: what is decided later in a batch is decided upon what was decided earlier in it: see `latest`.

use super::counted::Counted;
use super::entry::{Encoded, Held, NodeRecord, Op};
use super::error::StoreError;
use super::filling::Filling;
use super::intent::{Decided, Outcome, ReplyTo};
use super::places::BODY_BYTES_MAX;
use super::references::{References, blobs_only_in};
use super::segments::Claim;
use super::voting::{Reply, VotesTo};
use crate::base::{BlobRef, BodyId, BucketId, Epoch, Incarnation, ObjectRecord, Record, RegisterKey, RegisterKind};
use std::collections::HashMap;
use std::sync::Arc;

/// What is answered once the batch is durable. A refusal too: it may rest on what was decided earlier in the batch.
pub(super) enum Pending {
    Write(ReplyTo, Result<Outcome, StoreError>),
    Mutate(ReplyTo<Decided>, Result<Decided, StoreError>),
    Vote(VotesTo, Vec<Option<Reply>>),
}

/// A batch while it is being decided.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) ops: Vec<Op>,
    pub(super) encoded: Encoded,
    /// What was decided lately; `None`: the register holds nothing any more.
    pub(super) latest: HashMap<RegisterKey, Option<Arc<Held>>>,
    /// Whether it has decided on a bucket.
    pub(super) on_buckets: bool,
    /// Lives of buckets that were decided on, and their registers: `latest` says whether they hold them still.
    pub(super) lives: HashMap<BucketId, RegisterKey>,
    /// Whether nothing counts that was there before the batch and is not in `latest`.
    pub(super) cleared: bool,
    pub(super) replies: Vec<Pending>,
    /// What the node keeps for its votes, if it changed.
    pub(super) node: Option<NodeRecord>,
    /// Since which epoch what was said before counts for nothing, if that is decided here: see `register::memory`.
    pub(super) outgrows: Option<Epoch>,
    /// What it changes of references.
    pub(super) references: References,
    /// Bodies that have a place or a file, and that these records have left: if nothing else refers to them they wait, and
    /// go.
    pub(super) dead: Vec<BlobRef>,
    /// Bodies that these registers refer to and whose places the log is to name, if it does not yet.
    pub(super) named: Vec<(RegisterKey, BodyId)>,
    /// Small bodies that these registers do not refer to any more.
    pub(super) left: Vec<(RegisterKey, BodyId)>,
    /// Bodies that may lose their places, if nothing refers to them when all else is decided.
    pub(super) released: Vec<BodyId>,
    /// Claims that stand for what is named here, until that is visible.
    pub(super) claims: Vec<Claim>,
    /// What each operation replaces, for the tree.
    pub(super) moved: Vec<(RegisterKey, Option<Counted>, Option<Counted>)>,
    /// What it changes of what buckets hold.
    pub(super) usage: Filling,
    /// Whether that puts right what a recount has found.
    pub(super) puts_right: bool,
    pub(super) seq: u64,
}

impl Batch {
    /// A register has a new state.
    pub(super) fn store(
        &mut self,
        key: RegisterKey,
        old: Option<Arc<Held>>,
        record: impl Into<Arc<Record>>,
        chosen: bool,
        from: Option<Incarnation>,
    ) -> Outcome {
        let record = record.into();
        self.seq += 1;
        let existed = old.as_ref().is_some_and(|h| h.record.is_present());
        let outcome = Outcome { ballot: record.ballot, existed };
        let was = old.as_deref().map(|old| Counted::of(&key, old));
        self.leaves(&key, old.as_ref(), Some(&record));
        // One that comes with its record has no place to be named yet.
        if record.in_hand().is_none() {
            self.names(&key, record.bodies());
        }
        let held = Arc::new(Held::new(record, chosen, self.seq, from));
        self.moves(&key, was, Some(Counted::of(&key, &held)));
        self.keep(&key, Some(Arc::clone(&held)));
        self.push(Op::Record { key, held });
        outcome
    }

    /// A register held `old`, and holds `now`. A state that is stored again keeps its body.
    fn leaves(&mut self, key: &RegisterKey, old: Option<&Arc<Held>>, now: Option<&Record>) {
        let was = old.map(|old| &*old.record);
        self.references.replaced(was, now);
        let Some(was) = was else { return };
        let is_small = was.object().is_some_and(ObjectRecord::is_small);
        for blob in blobs_only_in(Some(was), now) {
            // A small one belongs to one register, and loses its place at once. It is no file, as a rule: the next start
            // sweeps one that is.
            match is_small {
                true => self.left.push((key.clone(), blob.body)),
                false => self.dead.push(blob),
            }
        }
    }

    fn moves(&mut self, key: &RegisterKey, from: Option<Counted>, to: Option<Counted>) {
        self.usage.moved(key, from.as_ref(), to.as_ref());
        self.moved.push((key.clone(), from, to));
    }

    fn keep(&mut self, key: &RegisterKey, held: Option<Arc<Held>>) {
        self.on_buckets |= key.kind() == Some(RegisterKind::Bucket);
        if let Some(bucket) = held.as_ref().and_then(|held| held.record.bucket()) {
            self.lives.insert(bucket.id, key.clone());
        }
        self.latest.insert(key.clone(), held);
    }

    /// A register refers to these bodies: the log is to name their places.
    pub(super) fn names(&mut self, key: &RegisterKey, blobs: impl Iterator<Item = BlobRef>) {
        let small = blobs.filter(|blob| blob.sealed_len <= u64::from(BODY_BYTES_MAX));
        self.named.extend(small.map(|blob| (key.clone(), blob.body)));
    }

    /// Whether a register that was decided lately refers to a body.
    pub(super) fn refers(&self, key: &RegisterKey, body: BodyId) -> Option<bool> {
        let latest = self.latest.get(key)?;
        Some(latest.as_ref().is_some_and(|held| held.record.refers_to(body)))
    }

    /// Takes an operation in.
    pub(super) fn push(&mut self, op: Op) {
        self.encoded.push(&op);
        self.ops.push(op);
    }

    /// What a register holds has become chosen.
    pub(super) fn mark(&mut self, key: RegisterKey, old: &Held) {
        self.seq += 1;
        let held = Arc::new(old.marked(self.seq));
        self.keep(&key, Some(Arc::clone(&held)));
        self.push(Op::Mark { key, ballot: old.record.ballot, seq: self.seq, held: Some(held) });
    }

    /// The keys in what a register holds are sealed anew: the same state, under the same number.
    pub(super) fn reseal(&mut self, key: RegisterKey, seals: Vec<Box<[u8]>>, held: Held) {
        let (ballot, held) = (held.record.ballot, Arc::new(held));
        self.keep(&key, Some(Arc::clone(&held)));
        self.push(Op::Reseal { key, ballot, seals, held: Some(held) });
    }

    /// A register holds nothing any more: its tombstone is dropped.
    pub(super) fn forget(&mut self, key: RegisterKey, held: &Held) {
        self.moves(&key, Some(Counted::of(&key, held)), None);
        self.references.replaced(Some(&held.record), None);
        self.keep(&key, None);
        self.push(Op::Forget { key, ballot: held.record.ballot });
    }

    /// No register holds anything any more.
    pub(super) fn clear(&mut self, epoch: Epoch) {
        self.moved.clear();
        self.latest.clear();
        self.lives.clear();
        self.usage.clear();
        (self.named, self.left, self.references) = Default::default();
        self.cleared = true;
        self.push(Op::Clear { epoch });
    }
}
