//! What clients want to become of a register (`store::mutation`), brought about: by this node alone where nobody else
//! has a vote, else by vote.
//!
//! Invariants
//! - This node decides alone only by its member list, or without one where the configuration says that it does not
//!   vote. The committer judges that again, by the list as it stands then: who is refused there goes the long way.
//! - A vote on a large body begins when a majority holds it.

use super::takers::New;
use super::{Coordinator, Value, no_majority};
use crate::actors::body_streams::BodyStreams;
use crate::actors::coordinator::turns::Turn;
use crate::actors::messages::*;
use crate::base::record::etag_of;
use crate::base::{Ballot, Condition, RegisterKey};
use crate::register::{Event, Machine, Traced, Write, WriteOutcome};
use crate::store::mutation::{Mutation, Needs};
use actix_rt::time::Instant;

impl Coordinator {
    /// Whether no other node has a vote, as this one knows.
    pub(super) fn decides_alone(&self) -> bool {
        match &self.0.ballots.voting().node.roster {
            Some(list) => list.is_of(self.0.me),
            None => !self.0.votes,
        }
    }

    /// Brings a mutation about. `new`: what it brings that takes room; a body in a blob is on this node by now, and on
    /// its way to others by `streams`.
    pub(super) async fn change(
        &self,
        mut mutation: Mutation,
        new: Option<New>,
        streams: Option<BodyStreams>,
    ) -> Result<Written, ObjectError> {
        if self.decides_alone() {
            mutation = match self.ask(MutateHere(mutation)).await? {
                Decided::Alone(written) => return Ok(written),
                // Others have a vote since a moment ago.
                Decided::ForVote(mutation) => mutation,
            };
        }
        self.admit(&mutation.key, &mutation.needs, new).await?;
        self.vote(mutation, streams).await
    }

    /// Brings about what was admitted when its body began to arrive.
    pub(super) async fn finish(
        &self,
        mutation: Mutation,
        streams: Option<BodyStreams>,
    ) -> Result<Written, ObjectError> {
        if self.decides_alone() {
            return self.change(mutation, None, streams).await;
        }
        self.reachable().await?;
        self.vote(mutation, streams).await
    }

    /// Refuses what need not be put to the vote: no majority is to be had, or none takes it, or what it needs is not
    /// there. Looking and deciding are two steps: an object that comes into a bucket in between stays behind (README,
    /// "Limits").
    pub(super) async fn admit(&self, key: &RegisterKey, needs: &Needs, new: Option<New>) -> Result<(), ObjectError> {
        self.reachable().await?;
        match needs {
            Needs::Nothing => {}
            Needs::Bucket(bucket) => self.check_bucket(bucket).await?,
            Needs::BucketOrObject(bucket) => match self.check_bucket(bucket).await {
                Err(ObjectError::Store(StoreError::NoSuchBucket)) if self.holds(key).await? => {}
                checked => checked?,
            },
            Needs::EmptyBucket(bucket) => {
                self.check_bucket(bucket).await?;
                if !self.is_empty(bucket).await? {
                    return Err(StoreError::BucketNotEmpty.into());
                }
            }
        }
        self.check_takers(key, new).await
    }

    /// Has the nodes vote on what was admitted.
    pub(super) async fn vote(&self, mutation: Mutation, streams: Option<BodyStreams>) -> Result<Written, ObjectError> {
        let (_, members) = self.members(&mutation.key)?;
        let mut write = Write::new(members, mutation.clone());
        let mut rest = Vec::new();
        if let Some(blob) = mutation.object().and_then(|object| object.blob()) {
            for node in self.ship(blob, streams, &mut rest).await? {
                write.on(Event::Holds { node, body: blob.body }, &mut Vec::new());
            }
        }
        // The time for the decision begins behind the body: how long that travels is not the nodes' matter.
        let deadline = self.deadline();
        // Two writers of one key at one node would only cost each other rounds.
        let _turn = self.turn(&mutation).await?;
        ended(self.drive(&mutation.key, write, rest, deadline).await, &mutation)
    }

    /// Waits until no other writer of that key at this node is at it. Who goes without has sent nothing; who has its
    /// turn has half of its time left at least, since a write that runs out of time is an unknown outcome.
    async fn turn(&self, mutation: &Mutation) -> Result<Turn, ObjectError> {
        let turn = self.0.turns.take(&mutation.key, Instant::now() + self.0.patience.decide / 2).await;
        turn.ok_or_else(|| if self.sees_majority() { crowded(mutation) } else { no_majority() })
    }

    /// Refuses a large body whose condition does not hold before it begins to arrive: it need not travel.
    pub(super) async fn refuse_early(&self, key: &RegisterKey, condition: &Condition) -> Result<(), ObjectError> {
        if condition.is_none() {
            return Ok(());
        }
        let (_, state) = self.read(key).await?;
        match crate::store::mutation::holds(condition, state.value.as_ref()) {
            true => Ok(()),
            false => Err(StoreError::Precondition.into()),
        }
    }
}

/// What a client is told of a write.
fn ended(outcome: WriteOutcome<Value>, mutation: &Mutation) -> Result<Written, ObjectError> {
    let present = |state: &Traced<Value>| state.value.as_ref().is_some_and(|record| record.is_present());
    let etag = mutation.object().map(|object| etag_of(&object.digest)).unwrap_or_default();
    match outcome {
        WriteOutcome::Written { replaced, ballot, replicas, .. } => {
            Ok(Written { ballot, etag, existed: present(&replaced), replicas })
        }
        WriteOutcome::Kept(state) => Ok(Written { ballot: Ballot::ZERO, etag, existed: present(&state), replicas: 0 }),
        WriteOutcome::Refused(_) => Err(mutation.refusal().into()),
        WriteOutcome::Unknown => Err(StoreError::UnknownOutcome.into()),
        WriteOutcome::Contended => Err(crowded(mutation)),
        WriteOutcome::NoMajority => Err(no_majority()),
        WriteOutcome::Gone => Err(StoreError::NoSuchBucket.into()),
    }
}

/// Others came first until the time was up.
fn crowded(mutation: &Mutation) -> ObjectError {
    if mutation.is_conditional() { ObjectError::Contended } else { ObjectError::Crowded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketName, Incarnation, Lineage, ObjectKey, ObjectName, Stamp, State, Tags, WriteId};
    use crate::store::mutation::proposed;

    #[test]
    fn what_a_client_is_told_of_a_write() {
        let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse("k").expect("a key") };
        let ballot = Ballot { stamp: Stamp(7), node: Incarnation(1) };
        let slot =
            |state: Option<State>| Traced { lineage: Lineage::NOTHING, value: state.map(|state| proposed(state, 1)) };
        let there = || slot(Some(State::Bucket));
        let (delete, make) =
            (Mutation::delete(&at, Condition::NONE, 1), { Mutation::create_bucket(&BucketName::cargas(), 1) });
        let only_new = Condition { differs: Some(Tags::Any), ..Condition::NONE };
        let conditional = Mutation::delete(&at, only_new, 1);
        let empty = Mutation::delete_bucket(&BucketName::cargas(), 1);
        let written = |replaced| WriteOutcome::Written { id: WriteId([1; 8]), replaced, ballot, replicas: 2 };
        for (replaced, existed) in [(there(), true), (slot(Some(State::Deleted)), false), (slot(None), false)] {
            let told = ended(written(replaced), &make).expect("written");
            assert_eq!((told.ballot, told.existed, told.replicas), (ballot, existed, 2));
        }
        let kept = ended(WriteOutcome::Kept(there()), &make).expect("kept");
        assert_eq!((kept.ballot, kept.existed, kept.replicas), (Ballot::ZERO, true, 0), "nothing was written");
        assert!(!ended(WriteOutcome::Kept(slot(None)), &delete).expect("kept").existed);
        let told = |outcome, mutation| ended(outcome, mutation).expect_err("it is no success");
        let refused = || WriteOutcome::Refused(there());
        assert!(matches!(told(refused(), &conditional), ObjectError::Store(StoreError::Precondition)));
        assert!(matches!(told(refused(), &empty), ObjectError::Store(StoreError::NoSuchBucket)));
        assert!(matches!(told(WriteOutcome::Unknown, &delete), ObjectError::Store(StoreError::UnknownOutcome)));
        assert!(matches!(told(WriteOutcome::Contended, &delete), ObjectError::Crowded));
        assert!(matches!(told(WriteOutcome::Contended, &conditional), ObjectError::Contended));
        assert!(matches!(told(WriteOutcome::NoMajority, &delete), ObjectError::NoMajority(_)));
    }
}
