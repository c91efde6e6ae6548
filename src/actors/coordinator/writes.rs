//! What clients want to become of a register (`store::mutation`), brought about: by this node alone where nobody else has
//! a vote, else by vote.
//!
//! Invariants
//! - This node decides alone only by its member list, or without one where the configuration says that it does not vote.
//!   The committer judges that again, by the list as it stands then: who is refused there goes the long way.
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

    /// Brings a mutation about. `new`: what it brings that takes room; a body in a blob is on this node by now, and on its
    /// way to others by `streams`.
    pub(super) async fn change(
        &self,
        mutation: Mutation,
        new: Option<New>,
        streams: Option<BodyStreams>,
    ) -> Result<Written, ObjectError> {
        if self.decides_alone() {
            match self.ask(MutateHere(mutation.clone())).await {
                // Others have a vote since a moment ago.
                Err(ObjectError::Store(StoreError::OtherList)) => {}
                done => return done,
            }
        }
        self.admit(&mutation.key, &mutation.needs, new).await?;
        self.vote(mutation, streams).await
    }

    /// Refuses what need not be put to the vote: no majority is to be had, or none takes it, or what it needs is not there.
    /// Looking and deciding are two steps: an object that comes into a bucket in between stays behind (README, "Limits").
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
    }
}

/// Others came first until the time was up.
fn crowded(mutation: &Mutation) -> ObjectError {
    if mutation.is_conditional() { ObjectError::Contended } else { ObjectError::Crowded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::coordinator::actor::CoordinatorActor;
    use crate::actors::coordinator::store::StoreBeside;
    use crate::actors::coordinator::turns::Turns;
    use crate::actors::coordinator::{Common, Patience};
    use crate::actors::peer::vitals::Ballots;
    use crate::actors::store_actor::StoreActor;
    use crate::actors::store_actor::threads::Threads;
    use crate::base::{BucketName, Budget, Epoch, Incarnation, NodeName, ObjectKey, ObjectName, Stamp};
    use crate::disk::RealDisk;
    use crate::register::{Heard, Remembered, Roster, Seat as Place, Standing, Start};
    use crate::store::voting::Voting;
    use crate::store::{Answer, Options, Store, open, wait};
    use actix::{Actor, Context, Handler};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// A node's votes as a coordinator sees them who is a moment late.
    struct Late {
        store: Arc<Store>,
        /// What it sees once more.
        seen: Mutex<Option<Arc<Voting>>>,
    }

    impl Ballots for Late {
        fn voting(&self) -> Arc<Voting> {
            self.seen.lock().expect("no panic").take().unwrap_or_else(|| self.store.voting())
        }
        fn fresh(&self) -> Ballot {
            self.store.fresh_ballot()
        }
        fn observe(&self, stamp: Stamp) {
            self.store.observe(stamp);
        }
        fn standing(&self) -> Standing {
            self.store.standing()
        }
        fn remembered(&self) -> Remembered {
            self.store.remembered()
        }
        fn hear(&self, from: Incarnation, epoch: Epoch, now: Standing, told: &[(Incarnation, Standing)]) -> Heard {
            self.store.hear(from, epoch, now, told)
        }
        fn remember(&self) -> Answer {
            self.store.remember()
        }
        fn is_met(&self, node: Incarnation, start: Start) -> bool {
            self.store.is_met(node, start)
        }
    }

    /// Nobody has a body.
    struct Nobody;

    impl Actor for Nobody {
        type Context = Context<Self>;
    }

    impl Handler<FetchBody> for Nobody {
        type Result = bool;
        fn handle(&mut self, _: FetchBody, _: &mut Context<Self>) -> bool {
            false
        }
    }

    struct Node {
        late: Arc<Late>,
        coordinator: Coordinator,
        _dir: tempfile::TempDir,
    }

    /// A node whose coordinator votes, if there is a list.
    fn node(votes: bool) -> Node {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
        let ring = Arc::new(crate::actors::testing::ring(7));
        let (store, work) = open(Arc::new(RealDisk), dir.path(), ring, None, options).expect("it opens");
        let store = store.start(work, || std::process::abort()).expect("it starts");
        let threads = Threads::start(1, || std::process::abort()).expect("a thread");
        let actor = StoreActor::new(Arc::clone(&store), threads).start();
        let late = Arc::new(Late { store: Arc::clone(&store), seen: Mutex::default() });
        let common = Common {
            me: store.incarnation(),
            votes,
            ballots: Arc::clone(&late) as Arc<dyn Ballots>,
            peers: Vec::new(),
            patience: Patience::within(Duration::from_millis(300)),
            fetch: Nobody.start().recipient(),
            arrivals: Arc::default(),
            streams: Budget::new(0, 0),
            turns: Turns::default(),
            far: Arc::default(),
        };
        Node { late, coordinator: Coordinator::new(common, StoreBeside::of(&actor)), _dir: dir }
    }

    impl Node {
        fn seat(&self, n: u64, incarnation: Incarnation) -> Place {
            Place { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation }
        }

        async fn adopt(&self, list: &Roster) {
            let seating = Seating::Adopt(Arc::new(list.clone()));
            wait(self.late.store.seat(seating)).await.expect("a healthy disk");
        }

        async fn put(&self, key: &str) -> Result<Written, ObjectError> {
            let put = PutSmall {
                at: name(key),
                condition: Condition::NONE,
                head: NewObject::default(),
                body: vec![bytes::Bytes::from_static(b"small")],
                permit: None,
            };
            CoordinatorActor::new(self.coordinator.clone()).start().send(put).await.expect("an answer")
        }

        async fn delete(&self, key: &str) -> Result<Written, ObjectError> {
            self.coordinator.change(Mutation::delete(&name(key), Condition::NONE, 1), None, None).await
        }

        fn holds(&self, key: &str) -> bool {
            self.late.store.open_object(&name(key)).is_ok()
        }
    }

    fn name(key: &str) -> ObjectName {
        ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
    }

    #[actix_rt::test]
    async fn a_coordinator_that_looked_before_the_list_grew_asks_the_others_after_all() {
        let node = node(true);
        let me = node.seat(1, node.late.store.incarnation());
        let list = Roster::founding(1, vec![me.clone()]);
        node.adopt(&list).await;
        let before = node.late.store.status().commits;
        node.put("a").await.expect("nobody else has a vote");
        assert_eq!(node.late.store.status().commits - before, 1, "one commit");
        let seen = node.late.store.voting();
        node.adopt(&list.next(2, &[me, node.seat(2, Incarnation(77))])).await;
        for late in [true, false] {
            let look = || *node.late.seen.lock().expect("no panic") = late.then(|| Arc::clone(&seen));
            look();
            assert!(matches!(node.put("b").await, Err(ObjectError::NoMajority(_))), "nobody else is there");
            assert!(node.late.seen.lock().expect("no panic").is_none(), "it has looked");
            look();
            assert!(matches!(node.delete("a").await, Err(ObjectError::NoMajority(_))));
            assert!(node.holds("a") && !node.holds("b"));
        }
    }

    #[actix_rt::test]
    async fn without_a_list_only_a_node_that_is_not_to_vote_decides_alone() {
        let alone = node(false);
        assert!(!alone.put("a").await.expect("it decides alone").existed);
        assert!(alone.delete("a").await.expect("it decides alone").existed);
        let voter = node(true);
        assert!(matches!(voter.put("a").await, Err(ObjectError::NoMajority(_))), "it waits for its list");
        assert!(!voter.holds("a"));
    }
}
