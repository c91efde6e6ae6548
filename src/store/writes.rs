//! Writes that this node decides alone: clients' on a node alone, peers' records, and what the store asks of itself.
//!
//! Invariant: ballots are given here, above everything seen: of two writes on this node the later one wins.

use super::batch::Batch;
use super::decider::Decider;
use super::entry::{Held, Op};
use super::error::StoreError;
use super::intent::{Intent, Outcome};
use crate::base::{
    Ballot, BucketName, Condition, Incarnation, Lineage, ObjectRecord, Record, RegisterKey, Stamp, State, WriteId,
};
use crate::seal::random;
use std::ops::Bound;
use std::sync::Arc;

impl Decider {
    /// Decides a write.
    pub(super) fn decide(&self, batch: &mut Batch, intent: Intent) -> Result<Outcome, StoreError> {
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
            Intent::CreateBucket { bucket, first_start } => self.create_bucket(batch, &bucket, first_start),
            Intent::DeleteBucket { bucket } => self.delete_bucket(batch, &bucket),
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
            Intent::Restore { key, record, from } => self.restore(batch, key, record, from),
            Intent::Cursor { peer, seq, heard_in } => {
                // It drops what it has acknowledged: the list has set its cursor back already (`seats`).
                if !self.roster(batch).is_some_and(|list| list.begins_anew(peer, heard_in)) {
                    batch.push(Op::Cursor { peer, seq });
                }
                Ok(self.no_outcome())
            }
            Intent::Remember => {
                // Read now, not when it was asked for: what was heard meanwhile becomes durable with it.
                let kept = self.core.memory().kept();
                batch.push(Op::Memory(kept));
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

    fn create_bucket(&self, batch: &mut Batch, bucket: &BucketName, first_start: bool) -> Result<Outcome, StoreError> {
        let key = RegisterKey::bucket(bucket);
        let old = self.current(batch, &key)?;
        match &old {
            Some(held) if held.record.is_present() => Ok(Outcome { ballot: held.record.ballot, existed: true }),
            _ if first_start => {
                // The lowest of ballots: a bucket that the cluster has deleted must not
                // come back because a wiped node starts afresh.
                let ballot = Ballot { stamp: Stamp(1), node: self.core.incarnation };
                let written_ms = (self.core.options.now_ms)();
                let lineage = Lineage::NOTHING.then(WriteId::drawn(random()), Lineage::IDS_MAX);
                let record = Record { ballot, lineage, written_ms, state: State::Bucket };
                Ok(batch.store(key, old, record, true, None))
            }
            _ => {
                self.core.check_room(0)?;
                Ok(self.write_state(batch, key, old, State::Bucket))
            }
        }
    }

    fn delete_bucket(&self, batch: &mut Batch, bucket: &BucketName) -> Result<Outcome, StoreError> {
        if !self.bucket_exists(batch, bucket) {
            return Err(StoreError::NoSuchBucket);
        }
        if !self.bucket_is_empty(batch, bucket)? {
            return Err(StoreError::BucketNotEmpty);
        }
        let key = RegisterKey::bucket(bucket);
        let old = self.current(batch, &key)?;
        Ok(self.delete_state(batch, key, old))
    }

    fn restore(
        &self,
        batch: &mut Batch,
        key: RegisterKey,
        record: Record,
        from: Incarnation,
    ) -> Result<Outcome, StoreError> {
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

    fn delete_state(&self, batch: &mut Batch, key: RegisterKey, old: Option<Arc<Held>>) -> Outcome {
        match old {
            Some(held) if held.record.is_present() => self.write_state(batch, key, Some(held), State::Deleted),
            // Nothing to delete: nothing is written.
            Some(held) => Outcome { ballot: held.record.ballot, existed: false },
            None => Outcome { ballot: self.no_ballot(), existed: false },
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
}

fn check(condition: &Condition, held: Option<&Held>) -> Result<(), StoreError> {
    let object = held.and_then(|held| held.record.object());
    match condition.holds(object.map(ObjectRecord::etag).as_deref()) {
        true => Ok(()),
        false => Err(StoreError::Precondition),
    }
}
