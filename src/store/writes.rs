//! Writes that this node decides alone: clients' on a node alone, peers' records, and what the store asks of itself.
//!
//! Invariants
//! - What a client wants is decided here only where no other node has a vote, by the member list as decided in the
//!   batch.
//! - Ballots are given here, above everything seen: of two writes on this node the later one wins.

use super::batch::Batch;
use super::decider::Decider;
use super::entry::{Held, Op};
use super::error::StoreError;
use super::intent::{Decided, Intent, Outcome};
use super::mutation::{Mutation, Target, proposed, put_upon};
use super::references::{Bodies, blobs_only_in};
use crate::base::{Ballot, BucketId, BucketName, BucketRecord, Incarnation, Record, RegisterKey, State, WriteId};
use crate::register::{Choice, Slot};
use crate::seal::random;
use std::ops::Bound;
use std::sync::Arc;

impl Decider {
    /// Decides what an intent writes, upon what the batch has decided so far.
    pub(super) fn decide(&self, batch: &mut Batch, intent: Intent) -> Result<Outcome, StoreError> {
        match intent {
            Intent::FirstBucket => {
                let (me, now_ms) = (self.core.incarnation, (self.core.options.now_ms)());
                self.first_bucket(batch, me, WriteId::drawn(random()), now_ms)?;
                Ok(self.no_outcome())
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
            Intent::Restore { key, record, from } => self.restore(batch, key, *record, from),
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
            Intent::Name { key } => self.name_bodies(batch, key).map(|()| self.no_outcome()),
            Intent::Move(moves) => self.move_bodies(batch, moves).map(|()| self.no_outcome()),
            Intent::Lose(wrong) => self.lose_bodies(batch, wrong).map(|()| self.no_outcome()),
            Intent::Reseal(resealed) => self.reseal(batch, resealed).map(|()| self.no_outcome()),
            Intent::Release(bodies) => {
                batch.released.extend(bodies);
                Ok(self.no_outcome())
            }
            Intent::Barrier => Ok(self.no_outcome()),
        }
    }

    /// Decides what a client wants, where nobody else has a vote: what a coordinator prepares and stores in two steps.
    /// Elsewhere the mutation goes back to who asked, for the vote.
    pub(super) fn mutate(&self, batch: &mut Batch, mutation: Mutation) -> Result<Decided, StoreError> {
        if !self.is_alone(batch) {
            return Ok(Decided::ForVote(mutation));
        }
        let mut limit = None;
        let key = match mutation.target() {
            Target::Bucket(bucket) => RegisterKey::bucket(bucket),
            Target::AccessKey(id) => RegisterKey::access_key(*id),
            Target::Settings => RegisterKey::settings(),
            Target::Left(key) => {
                // What lies under a bucket that is there is its own.
                if key.bucket_id().is_none_or(|id| self.bucket_of(batch, id).is_some()) {
                    return Err(StoreError::Precondition);
                }
                key.clone()
            }
            Target::Object(_) | Target::Upload(..) | Target::Part(..) => {
                let (bucket, key) = self.bucket_under(batch, mutation.target())?;
                if mutation.puts() && !bucket.is_open {
                    return Ok(Decided::Closing(mutation));
                }
                // What an upload has is counted when it has become an object.
                limit = key.is_object().then_some((bucket.id, bucket.quota));
                key
            }
        };
        let old = self.current(batch, &key)?;
        if let Some(begun) = mutation.empties() {
            return self.end_bucket(batch, key, old, begun).map(Decided::Alone);
        }
        let slot = old.as_deref().map_or_else(Slot::default, Held::slot);
        let found = slot.state.value.as_ref();
        let existed = found.is_some_and(|record| record.is_present());
        match mutation.choose(found) {
            Choice::Put(()) => {
                if let (Some(limit), Some(object)) = (limit, mutation.object()) {
                    self.check_quota(batch, limit, found.map(|record| &**record), object.len)?;
                }
                // One that another record had may be gone by now.
                if let Some(object) = mutation.object()
                    && self.core.has_lost(object)?
                {
                    return Err(StoreError::Mismatch("a body is not here any more"));
                }
                let record = mutation.into_record(found);
                // The bytes of an object were let in when it was sealed.
                if record.bucket().is_some_and(|bucket| bucket.generation == 1) {
                    self.core.check_room(0)?;
                }
                Ok(Decided::Alone(self.write(batch, key, old, record)))
            }
            Choice::Keep => Ok(Decided::Alone(Outcome { ballot: self.rest_on(batch, key, old), existed })),
            Choice::Refuse => {
                let refusal = mutation.refusal(found);
                self.rest_on(batch, key, old);
                Err(refusal)
            }
        }
    }

    /// The bucket that a target lies under, as decided, and its register there.
    fn bucket_under(&self, batch: &Batch, target: &Target) -> Result<(BucketRecord, RegisterKey), StoreError> {
        let (name, register) = target.under().ok_or(StoreError::NoSuchBucket)?;
        let held = self.bucket_named(batch, name)?.ok_or(StoreError::NoSuchBucket)?;
        let bucket = held.record.bucket().ok_or(StoreError::NoSuchBucket)?.clone();
        let key = register(bucket.id);
        Ok((bucket, key))
    }

    /// A bucket goes if nothing is in it, as this batch has decided so far: asked and done in one commit. One that was
    /// closed, by nodes that decided together once, is open again otherwise. `begun`: only one that was closed goes.
    fn end_bucket(
        &self,
        batch: &mut Batch,
        key: RegisterKey,
        old: Option<Arc<Held>>,
        begun: bool,
    ) -> Result<Outcome, StoreError> {
        let now_ms = (self.core.options.now_ms)();
        let Some(bucket) = old.as_ref().and_then(|held| held.record.bucket()).cloned() else {
            self.rest_on(batch, key, old);
            return Err(StoreError::NoSuchBucket);
        };
        if begun && bucket.is_open {
            return Ok(Outcome { ballot: self.rest_on(batch, key, old), existed: true });
        }
        if self.bucket_is_empty(batch, bucket.id)? {
            let gone = put_upon(old.as_ref().map(|held| &held.record), None, now_ms);
            return Ok(self.write(batch, key, old, gone));
        }
        if bucket.is_open {
            self.rest_on(batch, key, old);
        } else {
            let generation = bucket.generation.saturating_add(1);
            let open = BucketRecord { generation, is_open: true, ..bucket };
            let open = proposed(State::Bucket(open), now_ms);
            let open = put_upon(old.as_ref().map(|held| &held.record), Some(open), now_ms);
            self.write(batch, key, old, open);
        }
        Err(StoreError::BucketNotEmpty)
    }

    /// Whether nobody else has a vote. Judged in the order of commits: a member list that came earlier in this batch
    /// counts already. Without a list nobody votes, and then the coordinators of a node that is to vote ask for
    /// nothing.
    fn is_alone(&self, batch: &Batch) -> bool {
        self.roster(batch).is_none_or(|list| list.is_of(self.core.incarnation) && self.core.may_vote())
    }

    /// An answer without a write rests on what is known to be chosen: what is not is stored again. The ballot of it.
    fn rest_on(&self, batch: &mut Batch, key: RegisterKey, old: Option<Arc<Held>>) -> Ballot {
        match old {
            None => self.no_ballot(),
            Some(held) if held.chosen => held.record.ballot,
            Some(held) => {
                let record = Record { ballot: self.fresh_ballot(), ..(*held.record).clone() };
                let record = self.without_known_body(Some(&held), record);
                batch.store(key, Some(held), record, true, None).ballot
            }
        }
    }

    fn learn(&self, batch: &mut Batch, key: RegisterKey, record: Record, from: Incarnation) -> Result<(), StoreError> {
        let old = self.current(batch, &key)?;
        // A later write of this node must lie above what is known to be chosen.
        self.core.clock.observe(record.ballot.stamp);
        if let Some(old) = old.as_ref().filter(|old| old.record.ballot >= record.ballot) {
            if old.record.ballot == record.ballot && self.lacks_what_came(old, &record)? {
                // It is here without its body: a lesson of a vote brings none.
                batch.store(key.clone(), Some(Arc::clone(old)), record, true, Some(from));
                return self.adopt_chosen(batch, &key);
            }
            if old.record.ballot == record.ballot && !old.chosen {
                let old = Arc::clone(old);
                // The record is here already, and the peer knows that it was chosen: a mark is all that is written, and
                // where its body is, if that was missing.
                batch.mark(key.clone(), &old);
                batch.names(&key, old.record.bodies());
                return self.adopt_chosen(batch, &key);
            }
            // Came too late, but what was missing here may have come with it.
            let brought = Bodies::of(Some(&record));
            batch.names(&key, old.record.bodies().filter(|blob| brought.has(blob.body)));
            // The blobs that it brought for itself, if it did, have no owner.
            if record.object().is_some_and(|object| !object.is_small()) {
                batch.dead.extend(blobs_only_in(Some(&record), Some(&old.record)));
            }
            return Ok(());
        }
        // They were here when the record came.
        if let Some(object) = record.object()
            && self.core.has_lost(object)?
        {
            return Err(StoreError::Mismatch("a record came before its body"));
        }
        batch.store(key.clone(), old, record, true, Some(from));
        self.adopt_chosen(batch, &key)
    }

    /// A record that is stored again, without the small body that is here already: that is not written once more.
    pub(super) fn without_known_body(&self, old: Option<&Arc<Held>>, mut record: Record) -> Record {
        self.leave_known_body(old, &mut record);
        record
    }

    /// The same of a record that is being made.
    pub(super) fn leave_known_body(&self, old: Option<&Arc<Held>>, record: &mut Record) {
        let at_hand = record.object().filter(|object| object.in_hand().is_some()).map(|object| object.body);
        // What cannot be told is written.
        if let (Some(body), Some(old)) = (at_hand, old)
            && old.record.refers_to(body)
            && self.core.has_body(body).unwrap_or(false)
        {
            let _ = record.set_in_hand(None);
        }
    }

    /// Whether a record came again with a small body that is not here.
    fn lacks_what_came(&self, old: &Held, record: &Record) -> Result<bool, StoreError> {
        let Some(object) = record.object().filter(|object| object.in_hand().is_some()) else { return Ok(false) };
        Ok(old.record.refers_to(object.body) && !self.core.has_body(object.body)?)
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

    /// What the register of that name holds, as decided: a bucket that this batch has deleted takes nothing any more.
    fn bucket_named(&self, batch: &Batch, bucket: &BucketName) -> Result<Option<Arc<Held>>, StoreError> {
        // Nearly always no batch has changed one.
        if !batch.on_buckets && !batch.cleared {
            return Ok(self.core.buckets().get(bucket).map(Arc::clone));
        }
        self.current(batch, &RegisterKey::bucket(bucket))
    }

    fn bucket_is_empty(&self, batch: &Batch, bucket: BucketId) -> Result<bool, StoreError> {
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
