//! A mutation: what a client wants of one register, and what must hold beside it. The one rule for every write of an
//! object or of a bucket, whoever decides it: a node alone in its committer, a coordinator by vote.
//!
//! Invariants
//! - What becomes of the register rests on the state that was found in it and on nothing else, so that it may be asked
//!   anew in every round of a vote.
//! - What must hold beside it (`Needs`) is for whoever decides to ask. A node alone asks in the order of its commits, a
//!   coordinator before the vote: those are two decisions then (README, "Limits").

use super::error::StoreError;
use crate::base::record::written_after;
use crate::base::{Ballot, BucketName, Condition, Lineage, ObjectName, ObjectRecord, Record, RegisterKey, State};
use crate::register::{Choice, Intent};
use std::sync::Arc;

/// What must hold beside the register itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing else is asked.
    Nothing,
    /// The bucket is there: `NoSuchBucket` otherwise.
    Bucket(BucketName),
    /// The same, unless the register holds something: what has lost its bucket meanwhile can be deleted all the same.
    BucketOrObject(BucketName),
    /// The bucket is there and holds no object: `BucketNotEmpty` otherwise.
    EmptyBucket(BucketName),
}

/// What a client wants of one register. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// The register that is to change.
    pub key: RegisterKey,
    /// What must hold beside it.
    pub needs: Needs,
    condition: Condition,
    /// The new state; none to delete what is there.
    new: Option<Arc<Record>>,
    /// When it was asked for, in milliseconds since 1970.
    asked_ms: u64,
}

impl Mutation {
    /// An object with this body, inline or in a blob that is durable on this node; its bucket must be there.
    pub fn put(at: &ObjectName, condition: Condition, object: Box<ObjectRecord>, now_ms: u64) -> Self {
        let needs = Needs::Bucket(at.bucket.clone());
        let new = Some(proposed(State::Object(object), now_ms));
        Mutation { key: RegisterKey::object(at), needs, condition, new, asked_ms: now_ms }
    }

    /// No object of that name.
    pub fn delete(at: &ObjectName, condition: Condition, now_ms: u64) -> Self {
        let needs = Needs::BucketOrObject(at.bucket.clone());
        Mutation { key: RegisterKey::object(at), needs, condition, new: None, asked_ms: now_ms }
    }

    /// A bucket; one that is there is left as it is.
    pub fn create_bucket(bucket: &BucketName, now_ms: u64) -> Self {
        let new = Some(proposed(State::Bucket, now_ms));
        let (key, needs) = (RegisterKey::bucket(bucket), Needs::Nothing);
        Mutation { key, needs, condition: Condition::NONE, new, asked_ms: now_ms }
    }

    /// No bucket of that name; it must be there, and empty.
    pub fn delete_bucket(bucket: &BucketName, now_ms: u64) -> Self {
        let (key, needs) = (RegisterKey::bucket(bucket), Needs::EmptyBucket(bucket.clone()));
        Mutation { key, needs, condition: Condition::NONE, new: None, asked_ms: now_ms }
    }

    /// The object that is to be stored.
    pub fn object(&self) -> Option<&ObjectRecord> {
        self.new.as_ref().and_then(|record| record.object())
    }

    /// What becomes of a register that holds this, without the record that is put: see `into_record`.
    pub fn choose(&self, found: Option<&Arc<Record>>) -> Choice<()> {
        if !holds(&self.condition, found) {
            return Choice::Refuse;
        }
        let is_there = found.is_some_and(|record| record.is_present());
        match &self.new {
            Some(new) if is_there && new.state == State::Bucket => Choice::Keep,
            Some(_) => Choice::Put(()),
            None if is_there => Choice::Put(()),
            // It was there when it was asked whether it is empty, or is said to be gone.
            None if matches!(self.needs, Needs::EmptyBucket(_)) => Choice::Refuse,
            None => Choice::Keep,
        }
    }

    /// The register and what is put into it, for whoever decides once: where nobody else holds the mutation, nobody
    /// else holds the record, and its ballot is set without a copy.
    pub fn into_record(self, found: Option<&Arc<Record>>) -> (RegisterKey, Arc<Record>) {
        (self.key, put_upon(found, self.new, self.asked_ms))
    }

    /// Whether the client has set a condition.
    pub fn is_conditional(&self) -> bool {
        !self.condition.is_none()
    }

    /// What a client is told where `decide` refuses.
    pub fn refusal(&self) -> StoreError {
        match self.needs {
            Needs::EmptyBucket(_) => StoreError::NoSuchBucket,
            Needs::Nothing | Needs::Bucket(_) | Needs::BucketOrObject(_) => StoreError::Precondition,
        }
    }
}

impl Intent<Arc<Record>> for Mutation {
    fn decide(&self, found: Option<&Arc<Record>>) -> Choice<Arc<Record>> {
        match self.choose(found) {
            Choice::Put(()) => Choice::Put(put_upon(found, self.new.clone(), self.asked_ms)),
            Choice::Keep => Choice::Keep,
            Choice::Refuse => Choice::Refuse,
        }
    }
}

/// Whether a condition holds of what was found.
pub fn holds(condition: &Condition, found: Option<&Arc<Record>>) -> bool {
    condition.is_none() || condition.holds(found.and_then(|record| record.object()).map(ObjectRecord::etag).as_deref())
}

/// A record to be decided on: its ballot and lineage are those of the slot that it comes to.
pub fn proposed(state: State, now_ms: u64) -> Arc<Record> {
    Arc::new(Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: now_ms, state })
}

/// The new record, or a tombstone, written later than the record that it replaces.
fn put_upon(found: Option<&Arc<Record>>, new: Option<Arc<Record>>, asked_ms: u64) -> Arc<Record> {
    let mut new = new.unwrap_or_else(|| proposed(State::Deleted, asked_ms));
    let written_ms = written_after(found.map(|record| record.written_ms), new.written_ms);
    if written_ms != new.written_ms {
        Arc::make_mut(&mut new).written_ms = written_ms;
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BodyAt, BodyId, KekId, ObjectHead, ObjectKey, Tags, Wrap};

    fn name() -> ObjectName {
        ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse("k").expect("a key") }
    }

    fn object(n: u8) -> Box<ObjectRecord> {
        Box::new(ObjectRecord {
            len: 1,
            head: ObjectHead::default(),
            body: BodyId([n; 16]),
            sealed_len: 17,
            digest: [n; 32],
            wrap: Wrap { kek: KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] },
            at: BodyAt::Blob,
        })
    }

    fn differs_from_all() -> Condition {
        Condition { matches: None, differs: Some(Tags::Any) }
    }

    fn matches(n: u8) -> Condition {
        Condition { matches: Some(Tags::OneOf(vec![object(n).etag()])), differs: None }
    }

    /// What becomes of a register that holds nothing, a tombstone, and what these mutations are about.
    fn decided(mutation: &Mutation, there: State) -> [Choice<State>; 3] {
        let found = [None, Some(proposed(State::Deleted, 5_000)), Some(proposed(there, 5_000))];
        found.map(|found| match mutation.decide(found.as_ref()) {
            Choice::Put(record) => Choice::Put(record.state.clone()),
            Choice::Keep => Choice::Keep,
            Choice::Refuse => Choice::Refuse,
        })
    }

    #[test]
    fn one_rule_says_what_becomes_of_a_register() {
        use Choice::{Keep, Put, Refuse};
        let here = || State::Object(object(1));
        let new = || Put(State::Object(object(2)));
        let gone = || Put(State::Deleted);
        let put = |condition| Mutation::put(&name(), condition, object(2), 9);
        assert_eq!(decided(&put(Condition::NONE), here()), [new(), new(), new()]);
        assert_eq!(decided(&put(differs_from_all()), here()), [new(), new(), Refuse]);
        assert_eq!(decided(&put(matches(1)), here()), [Refuse, Refuse, new()]);
        assert_eq!(decided(&put(matches(3)), here()), [Refuse, Refuse, Refuse]);
        let delete = |condition| Mutation::delete(&name(), condition, 9);
        assert_eq!(decided(&delete(Condition::NONE), here()), [Keep, Keep, gone()]);
        assert_eq!(decided(&delete(matches(1)), here()), [Refuse, Refuse, gone()]);
        assert!(matches!(delete(matches(1)).refusal(), StoreError::Precondition));
        let bucket = BucketName::cargas();
        let made = || Put(State::Bucket);
        assert_eq!(decided(&Mutation::create_bucket(&bucket, 9), State::Bucket), [made(), made(), Keep]);
        let delete = Mutation::delete_bucket(&bucket, 9);
        assert_eq!(decided(&delete, State::Bucket), [Refuse, Refuse, gone()]);
        assert!(matches!(delete.refusal(), StoreError::NoSuchBucket));
    }

    #[test]
    fn a_record_is_written_later_than_the_one_that_it_replaces() {
        let found = proposed(State::Object(object(1)), 5_000);
        for mutation in [
            Mutation::put(&name(), Condition::NONE, object(2), 4_000),
            Mutation::delete(&name(), Condition::NONE, 4_000),
        ] {
            let Choice::Put(record) = mutation.decide(Some(&found)) else { panic!("{mutation:?} writes") };
            assert_eq!(record.written_ms, 6_000);
        }
    }
}
