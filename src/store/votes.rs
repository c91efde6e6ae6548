//! Votes: the replica's side of the register, carried out by the committer.
//!
//! Invariants
//! - A vote is decided on the newest decided state, and answered when all that it rests on is durable.
//!   A mark has no answer and rests on nothing: it becomes durable some time.
//! - What lies under a bucket is granted as its fence says (`register::fence`), by what is decided of the bucket.
//! - A record with a body is granted only while the body is here, or comes with it; it cannot be removed in between. One
//!   of several bodies is granted only while all of them are here.
//! - After a failed commit nothing is answered: the votes begin again from what is durable.

use super::batch::Batch;
use super::buckets::fenced;
use super::decider::Decider;
use super::entry::NodeRecord;
use super::error::StoreError;
use super::voting::{Message, Reply, Vote, record_of};
use crate::base::{Class, Mark, Record, RegisterKey, State};
use crate::register::{Answer as Granted, Fence, Refusal, Request as Asked, Slot, Value};

impl Decider {
    pub(super) fn vote(&self, batch: &mut Batch, votes: Vec<Vote>) -> Result<Vec<Option<Reply>>, StoreError> {
        let answered = votes.into_iter().map(|vote| match self.vote_one(batch, vote) {
            // A page of the index that does not open costs its own registers this node's vote, and no others.
            Err(error) if error.class() == Class::Corrupt => {
                Mark::NoVoteForDamage.hit();
                Ok(None)
            }
            done => done,
        });
        answered.collect()
    }

    fn vote_one(&self, batch: &mut Batch, vote: Vote) -> Result<Option<Reply>, StoreError> {
        // What was chosen before is known by the one who promises or stores after it.
        let mark = if vote.is_mark() || vote.is_query() { None } else { self.marks.borrow_mut().take(&vote.key) };
        if let Some(mark) = mark {
            self.decide_vote(batch, mark)?;
        }
        if let Some(mark) = self.mark_of_bucket(batch, &vote) {
            self.decide_vote(batch, mark)?;
        }
        self.decide_vote(batch, vote)
    }

    /// The mark that waits for the bucket of what is to be stored: an opening counts only with it.
    fn mark_of_bucket(&self, batch: &Batch, vote: &Vote) -> Option<Vote> {
        let id = vote.key.bucket_id().filter(|_| matches!(vote.message.request, Asked::Store(..)))?;
        let (key, _) = self.bucket_of(batch, id).filter(|(_, held)| !held.chosen)?;
        self.marks.borrow_mut().take(&key)
    }

    /// What the fence of its bucket says of something that is to be stored.
    fn check_fence(&self, batch: &Batch, key: &RegisterKey, message: &Message) -> Result<(), Refusal> {
        let (Some(id), Asked::Store(_, state, under)) = (key.bucket_id(), &message.request) else { return Ok(()) };
        let held = self.bucket_of(batch, id).and_then(|(_, held)| fenced(&held));
        Fence::CONTRACT.check(held, *under, state.value.as_ref().is_some_and(Value::present))
    }

    fn decide_vote(&self, batch: &mut Batch, Vote { key, message }: Vote) -> Result<Option<Reply>, StoreError> {
        let mut acceptor = self.acceptor.borrow_mut();
        if !self.core.may_vote() {
            return Ok(None);
        }
        if !acceptor.answers(message.epoch) {
            return Ok(None);
        }
        self.core.clock.observe(message.stamp());
        let held = self.current(batch, &key)?;
        let slot = held.as_ref().map_or_else(Slot::default, |held| held.slot());
        let refused = |refusal, epoch| {
            let (from, attempt) = (self.core.incarnation, message.attempt);
            Ok(Some(Reply { from, epoch, attempt, answer: Granted::Refused(refusal) }))
        };
        if acceptor.would_take(&key, &slot, &message)
            && let Err(refusal) = self.check_fence(batch, &key, &message)
        {
            Mark::Fenced.hit();
            return refused(refusal, acceptor.node().epoch);
        }
        let mut has_blob = true;
        if let Asked::Store(ballot, state, under) = &message.request {
            // A record that is here already takes no more room when it is stored again.
            if *ballot != slot.accepted
                && state.id() != slot.state.id()
                && !self.has_room_for(state.value.as_deref(), under.is_new)
            {
                return refused(Refusal::NoRoom, acceptor.node().epoch);
            }
            if let Some((body, record)) = state.blob().zip(state.value.as_ref()) {
                has_blob = !self.core.lacks_bodies(record)?;
                // Of a state that is here already, what it lacked may have come again.
                if let Some(held) = held.as_ref().filter(|held| has_blob && held.record.body() == Some(body)) {
                    batch.names(&key, held.record.bodies());
                }
            }
        }
        let decision = acceptor.decide(&key, &slot, has_blob, &message);
        if let Some(state) = decision.node {
            batch.node = Some(NodeRecord { state, ..self.node(batch) });
        }
        drop(acceptor);
        match decision.slot {
            Some(new) if new.accepted == slot.accepted => {
                if let Some(held) = held.filter(|_| new.chosen) {
                    batch.mark(key.clone(), &held);
                    self.adopt_chosen(batch, &key)?;
                }
            }
            Some(new) => {
                let record = self.without_known_body(held.as_ref(), record_of(&new));
                batch.store(key.clone(), held, record, new.chosen, None);
                self.adopt_chosen(batch, &key)?;
            }
            None => {}
        }
        Ok(Some(decision.reply))
    }

    /// Whether a record may be stored on a disk that may be full down to the reserve. What makes room goes on, and so
    /// does what takes none: a tombstone, a member list, the record of a blob that was let in before. They stop only
    /// when the index might not take in any more what the log holds (`Core::checkpoint`).
    ///
    /// What a reader found and has stored again, so that it may be told, is let into half of the reserve: reads go on
    /// when writes do not.
    fn has_room_for(&self, record: Option<&Record>, is_new: bool) -> bool {
        let Some(record) = record else { return true };
        match &record.state {
            State::Object(object) if object.blob().is_some() => true,
            // One that is closed, or opened again, takes the room that it has.
            State::Bucket(bucket) if bucket.generation > 1 => true,
            State::Object(_) | State::Bucket(_) => self.has_room(record.in_hand_len() as u64, is_new),
            // An upload that is begun, and what is left of it: a few bytes that somebody pays for with its parts.
            State::Uploads(_) => self.has_room(0, is_new),
            // A key that is changed, one that is new, and settings are a few bytes that a full disk must not keep anybody
            // from.
            State::AccessKey(_) | State::Settings(_) => true,
            State::Deleted | State::Members(_) | State::Nothing => true,
        }
    }

    fn has_room(&self, bytes: u64, is_new: bool) -> bool {
        match is_new {
            true => self.core.check_room(bytes).is_ok(),
            // A record is never nothing.
            false => self.core.check_room_for_reader(bytes.max(1)).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
