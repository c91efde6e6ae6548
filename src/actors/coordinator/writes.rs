//! What clients want to become of a register (`store::mutation`), brought about: by this node alone where nobody else
//! has a vote, else by vote, in the bucket that a majority has by then.
//!
//! Invariants
//! - This node decides alone only by its member list, or without one where the configuration says that it does not
//!   vote. The committer judges that again, by the list as it stands then: who is refused there goes the long way.
//! - A vote on a large body begins when a majority holds it. One that is shared is taken to be held until somebody says
//!   that it is not.

use super::bodies::Coming;
use super::homes::{Behind, Home};
use super::takers::New;
use super::{Coordinator, Value, no_majority};
use crate::actors::body_streams::BodyStreams;
use crate::actors::coordinator::turns::Turn;
use crate::actors::messages::*;
use crate::base::{Ballot, BucketId, BucketName, BucketRecord, Condition, ObjectName, RegisterKey};
use crate::register::fence::Change;
use crate::register::{Event, Machine, Traced, Write, WriteOutcome};
use crate::seal::random;
use crate::store::buckets::id_of_name;
use crate::store::mutation::Mutation;
use crate::store::system_ms;
use actix_rt::time::Instant;

impl Coordinator {
    /// Whether no other node has a vote, as this one knows.
    pub(super) fn decides_alone(&self) -> bool {
        match &self.0.ballots.voting().node.roster {
            Some(list) => list.is_of(self.0.me),
            None => !self.0.votes,
        }
    }

    /// The same, for the background.
    pub(in crate::actors) fn is_alone(&self) -> bool {
        self.decides_alone()
    }

    /// Brings about what is wanted of an object. `new`: what it brings that takes room; a body in a blob is on this node by
    /// now, and on its way to others by `streams`.
    pub(super) async fn change(
        &self,
        mutation: Mutation,
        new: Option<New>,
        streams: Option<BodyStreams>,
    ) -> Result<Written, ObjectError> {
        let mutation = match self.alone(mutation).await? {
            Decided::Alone(written) => return Ok(written),
            Decided::ForVote(mutation) | Decided::Closing(mutation) => mutation,
        };
        let deadline = self.deadline();
        self.reachable().await?;
        let home = self.home_for(&mutation, deadline).await?;
        self.check_takers(&RegisterKey::object_prefix(home.id, ""), new).await?;
        self.vote(mutation, home, Coming::Anew(streams), deadline).await
    }

    /// Brings about what became of an object whose body came with its record, when that was sealed. `home`: where it was
    /// admitted, if it was not to be decided alone.
    pub(super) async fn change_sealed(
        &self,
        sealed: Decided<Written>,
        home: Option<Home>,
        new: Option<New>,
        deadline: Instant,
    ) -> Result<Written, ObjectError> {
        match (sealed, home) {
            (Decided::Alone(written), _) => Ok(written),
            (Decided::ForVote(put), Some(home)) => self.vote(put, home, Coming::Anew(None), deadline).await,
            // Others have a vote since a moment ago; or a deletion of its bucket is to be ended.
            (Decided::ForVote(put) | Decided::Closing(put), _) => self.change(put, new, None).await,
        }
    }

    /// Brings about what is wanted of a bucket.
    pub(super) async fn create_bucket(&self, bucket: &BucketName) -> Result<Written, ObjectError> {
        // One that is there already takes no room.
        let new = if self.held_bucket(bucket).await.is_some() { None } else { Some(New::Record(0)) };
        let id = self.new_id(bucket);
        let create = Mutation::create_bucket(bucket, id, system_ms());
        let create = match self.alone(create).await? {
            Decided::Alone(written) => return Ok(written),
            Decided::ForVote(create) | Decided::Closing(create) => create,
        };
        self.reachable().await?;
        self.check_takers(&RegisterKey::bucket(bucket), new).await?;
        ended(self.change_by_vote(bucket, Change::Create { id }, self.deadline()).await?, &create)
    }

    /// Brings about what is wanted of a part of a bucket's settings.
    pub(super) async fn set_bucket(&self, SetBucket { bucket, setting }: SetBucket) -> Result<BucketSet, ObjectError> {
        let held = self.held_bucket(&bucket).await;
        let change = match self.alone(Mutation::configure_bucket(&bucket, setting, system_ms())).await? {
            Decided::Alone(written) => {
                return Ok(BucketSet { written, was: held.and_then(|slot| bucket_in(&slot.state)) });
            }
            Decided::ForVote(change) | Decided::Closing(change) => change,
        };
        self.reachable().await?;
        self.check_takers(&RegisterKey::bucket(&bucket), None).await?;
        let outcome = self.vote_on_bucket(&bucket, change.clone(), self.deadline()).await?;
        let was = match &outcome {
            WriteOutcome::Written { replaced: state, .. } | WriteOutcome::Kept(state) => bucket_in(state),
            _ => None,
        };
        Ok(BucketSet { written: ended(outcome, &change)?, was })
    }

    /// The id of a life that may begin. Where nodes decide without each other they must not give different ones.
    fn new_id(&self, bucket: &BucketName) -> BucketId {
        match self.0.votes || self.0.peers.is_empty() || self.roster().is_some() {
            true => BucketId(u64::from_le_bytes(random())),
            false => id_of_name(bucket),
        }
    }

    /// Has this node decide, if nobody else has a vote; else it comes back. A deletion of its bucket that was begun among
    /// others is ended first: nobody else does that any more.
    pub(super) async fn alone(&self, mut mutation: Mutation) -> Result<Decided<Written>, ObjectError> {
        while self.decides_alone() {
            mutation = match self.ask(MutateHere(mutation)).await? {
                Decided::Closing(closing) => {
                    if let Some((bucket, _)) = closing.target().under() {
                        self.end_deletion(bucket).await?;
                    }
                    closing
                }
                decided => return Ok(decided),
            };
        }
        Ok(Decided::ForVote(mutation))
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
        let deadline = self.deadline();
        self.reachable().await?;
        let home = self.home_for(&mutation, deadline).await?;
        self.vote(mutation, home, Coming::Anew(streams), deadline).await
    }

    /// Refuses an object that need not be put to the vote, whose body is not here yet: no majority is to be had, or none
    /// takes it, or its bucket is not there or open by `deadline`.
    pub(super) async fn admit_put(
        &self,
        bucket: &BucketName,
        new: Option<New>,
        deadline: Instant,
    ) -> Result<Home, ObjectError> {
        self.reachable().await?;
        let home = self.open_home(bucket, deadline).await?;
        self.check_takers(&RegisterKey::object_prefix(home.id, ""), new).await?;
        Ok(home)
    }

    /// The bucket that a mutation of an object is begun in. Before something is deleted a majority is asked: a deletion
    /// that takes effect in one life must not do so in the next one.
    async fn home_for(&self, mutation: &Mutation, deadline: Instant) -> Result<Home, ObjectError> {
        let (bucket, _) = mutation.target().under().ok_or(StoreError::NoSuchBucket)?;
        match mutation.puts() {
            true => self.open_home(bucket, deadline).await,
            false => Ok(self.asked_home(bucket, deadline).await?.ok_or(StoreError::NoSuchBucket)?),
        }
    }

    /// Has the nodes vote on what was admitted into this bucket, by `deadline`.
    pub(super) async fn vote(
        &self,
        mut mutation: Mutation,
        mut home: Home,
        coming: Coming,
        mut deadline: Instant,
    ) -> Result<Written, ObjectError> {
        let target = mutation.target().clone();
        let (_, register) = target.under().ok_or(StoreError::NoSuchBucket)?;
        let (mut rest, mut holders) = (Vec::new(), Vec::new());
        if let Some(blob) = mutation.object().and_then(|object| object.blob()) {
            // It would travel in vain.
            self.check_quota(&home, &mutation).await?;
            let holding = match coming {
                Coming::Anew(streams) => self.ship(blob, streams, &mut rest).await?,
                Coming::Shared => self.holders(blob.body)?.1.voters().to_vec(),
            };
            holders.extend(holding.into_iter().map(|node| Event::Holds { node, body: blob.body }));
            // The time for the decision begins behind the body: how long that travels is not the nodes' matter.
            deadline = self.deadline();
            mutation = self.sealed_anew(mutation).await;
        }
        loop {
            let key = register(home.id);
            let (_, members) = self.members(&key)?;
            let mut write = Write::new(members, mutation.clone());
            holders.iter().for_each(|held| write.on(held.clone(), &mut Vec::new()));
            // Two writers of one key at one node would only cost each other rounds.
            let turn = self.turn(&key, &mutation, deadline).await?;
            let counted = self.let_in(&home, &mutation, deadline).await?;
            let behind = Behind::waiting(Some(home.clone()));
            let (outcome, late) = self.drive_on(&key, write, std::mem::take(&mut rest), deadline, behind).await;
            drop(turn);
            self.count_on(counted, late);
            let was = home.id;
            match &outcome {
                WriteOutcome::Gone => {}
                // Nothing was there, by a bucket that this node may have missed the end of.
                WriteOutcome::Refused(state) if mutation.puts() && !is_there(state) => {}
                _ => return ended(outcome, &mutation),
            }
            home = self.confirmed(&home, deadline).await?;
            if home.id == was && matches!(outcome, WriteOutcome::Refused(_)) {
                return ended(outcome, &mutation);
            }
            if Instant::now() >= deadline {
                return Err(crowded(&mutation));
            }
        }
    }

    /// Waits until no other writer of that key at this node is at it. Who goes without has sent nothing; who has its
    /// turn has half of its time left at least, since a write that runs out of time is an unknown outcome.
    pub(super) async fn turn(
        &self,
        key: &RegisterKey,
        mutation: &Mutation,
        deadline: Instant,
    ) -> Result<Turn, ObjectError> {
        let turn = self.0.turns.take(key, deadline - self.0.patience.decide / 2).await;
        turn.ok_or_else(|| if self.sees_majority() { crowded(mutation) } else { no_majority() })
    }

    /// Refuses a large body whose condition does not hold before it begins to arrive: it need not travel.
    pub(super) async fn check_condition(
        &self,
        home: &Home,
        at: &ObjectName,
        wanted: &Condition,
        deadline: Instant,
    ) -> Result<(), ObjectError> {
        if wanted.is_none() {
            return Ok(());
        }
        let (_, state) = self.read_by(&RegisterKey::object(home.id, &at.key), false, deadline).await?;
        if crate::store::mutation::holds(wanted, state.value.as_ref()) {
            return Ok(());
        }
        // What is not there may be there in another life of the bucket: then that is asked when it is decided.
        let is_refused =
            is_there(&state) || self.asked_home(&home.name, deadline).await?.is_some_and(|now| now.id == home.id);
        if is_refused { Err(StoreError::Precondition.into()) } else { Ok(()) }
    }
}

fn bucket_in(state: &Traced<Value>) -> Option<BucketRecord> {
    state.value.as_ref()?.bucket().cloned()
}

fn is_there(state: &Traced<Value>) -> bool {
    state.value.as_ref().is_some_and(|record| record.is_present())
}

/// What a client is told of a write.
pub(super) fn ended(outcome: WriteOutcome<Value>, mutation: &Mutation) -> Result<Written, ObjectError> {
    let (etag, checksum) = mutation.sums();
    match outcome {
        WriteOutcome::Written { replaced, ballot, replicas, .. } => {
            Ok(Written { ballot, etag, checksum, existed: is_there(&replaced), replicas })
        }
        WriteOutcome::Kept(state) => {
            // What an upload has become is told as it is there: somebody may have completed it of other parts.
            let there = state.value.as_ref().and_then(|record| record.object()).filter(|_| mutation.object().is_some());
            let (etag, checksum) = there.map_or((etag, checksum), |object| (object.etag(), object.checksum));
            Ok(Written { ballot: Ballot::ZERO, etag, checksum, existed: is_there(&state), replicas: 0 })
        }
        WriteOutcome::Refused(found) => Err(mutation.refusal(found.value.as_ref()).into()),
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
    use crate::base::{Incarnation, Lineage, ObjectKey, Stamp, State, Tags, WriteId};
    use crate::store::mutation::proposed;

    #[test]
    fn what_a_client_is_told_of_a_write() {
        let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse("k").expect("a key") };
        let ballot = Ballot { stamp: Stamp(7), node: Incarnation(1) };
        let slot =
            |state: Option<State>| Traced { lineage: Lineage::NOTHING, value: state.map(|state| proposed(state, 1)) };
        let there = || slot(Some(State::Bucket(BucketRecord::made(BucketId(1), 1))));
        let (delete, make) =
            (Mutation::delete(&at, Condition::NONE, 1), Mutation::create_bucket(&BucketName::cargas(), BucketId(1), 1));
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
