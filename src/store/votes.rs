//! Votes: the replica's side of the register, carried out by the committer.
//!
//! Invariants
//! - A vote is decided on the newest decided state, and answered when all that it rests on is durable.
//!   A mark has no answer and rests on nothing: it becomes durable some time.
//! - A record with a blob is granted only while the blob is here; it cannot be removed in between.
//! - Nobody votes without a member list, or in an epoch whose list is not kept here.
//! - After a failed commit nothing is answered: the votes begin again from what is durable.

use super::commit::{Batch, Committer, Request};
use super::core::Core;
use super::entry::{Held, NodeRecord};
use super::error::StoreError;
use super::store::{Answer, Store};
use crate::base::{
    Ballot, BodyAt, BucketName, Class, Epoch, Incarnation, Lineage, Mark, NodeName, Page, Record, RegisterKey, Stamp,
    State, WriteId,
};
use crate::register::{Acceptor, Limits, ListMark, Members, NodeState, Refusal, Roster, Seat, Slot, Start};
use crate::register::{Answer as Granted, Message as AnyMessage, Reply as AnyReply, Request as Asked};
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message about a register of this store.
pub type Message = AnyMessage<Arc<Record>>;
/// The answer to one.
pub type Reply = AnyReply<Arc<Record>>;
/// Where the answers to votes go: `None` for one that this node could not carry out.
pub type VotesTo = oneshot::Sender<Result<Vec<Option<Reply>>, StoreError>>;
/// Where they arrive.
pub type Votes = oneshot::Receiver<Result<Vec<Option<Reply>>, StoreError>>;

/// The id of the write that makes the first bucket, the same on all nodes.
const FIRST_BUCKET: WriteId = WriteId(*b"cargas/1");

/// A register of a range, with what is kept of it.
pub type Listed = (RegisterKey, Slot<Arc<Record>>);

/// What is asked of this node as a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The register that is voted on.
    pub key: RegisterKey,
    /// What is asked, under which epoch and for which attempt.
    pub message: Message,
}

impl Vote {
    /// Whether it says that something was chosen, which nobody waits for.
    pub fn is_mark(&self) -> bool {
        matches!(self.message.request, Asked::Mark(_))
    }

    /// Whether it asks and changes nothing.
    pub fn is_query(&self) -> bool {
        self.message.request == Asked::Query
    }
}

/// How the node's part in its cluster changes.
#[derive(Clone, Debug)]
pub enum Seating {
    /// A member list is taken over.
    Adopt(Arc<Roster>),
    /// The node starts, and is called so if it is among others.
    Begin {
        /// A word drawn at random: two copies of one directory may start with the same number.
        draw: u64,
        /// What it is called.
        name: Option<NodeName>,
    },
    /// The node leaves a cluster that is lost, for good: it goes on alone, with what it holds.
    Leave {
        /// Names the life of its cluster from now on; drawn at random.
        life: u64,
        /// What it is called.
        name: NodeName,
    },
}

/// What everybody may know of the node's votes: all of it durable.
#[derive(Clone, Debug)]
pub struct Voting {
    /// What the node keeps for its votes, durably.
    pub node: NodeRecord,
    /// The majorities of the list.
    pub members: Option<Arc<Members>>,
    /// Names the list: epoch and a digest of all of it; zero without one.
    pub list: ListMark,
}

impl Voting {
    /// What is kept, with what follows from it.
    pub fn of(node: NodeRecord) -> Self {
        let members = node.roster.as_ref().and_then(|roster| roster.members()).map(Arc::new);
        let list = node.roster.as_deref().map(mark_of).unwrap_or_default();
        Voting { node, members, list }
    }
}

/// Names a member list.
pub fn mark_of(roster: &Roster) -> ListMark {
    let digest = crate::seal::digest::digest_of(&roster.encode());
    let (half, _) = digest.split_first_chunk::<8>().expect("32 bytes hold 8");
    ListMark { epoch: roster.epoch, digest: u64::from_le_bytes(*half) }
}

pub(super) fn acceptor_of(core: &Core) -> Acceptor<RegisterKey> {
    Acceptor::new(core.incarnation, core.voting().node.state, Limits::STANDARD)
}

impl Committer {
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
        self.decide_vote(batch, vote)
    }

    fn decide_vote(&self, batch: &mut Batch, Vote { key, message }: Vote) -> Result<Option<Reply>, StoreError> {
        let mut acceptor = self.acceptor.borrow_mut();
        if !self.core.may_vote() {
            return Ok(None);
        }
        // Without the list of that epoch nobody can say whose votes count.
        if message.epoch > acceptor.node().epoch || acceptor.node().epoch == Epoch(0) {
            return Ok(None);
        }
        self.core.observe(message.stamp());
        let held = self.current(batch, &key)?;
        let slot = held.as_ref().map_or_else(Slot::default, |held| held.slot());
        let mut has_blob = true;
        if let Asked::Store(ballot, state) = &message.request {
            // A record that is here already takes no more room when it is stored again.
            if *ballot != slot.accepted && state.id() != slot.state.id() && !self.has_room_for(state.value.as_deref()) {
                let (from, epoch, attempt) = (self.core.incarnation, acceptor.node().epoch, message.attempt);
                return Ok(Some(Reply { from, epoch, attempt, answer: Granted::Refused(Refusal::NoRoom) }));
            }
            if let Some(body) = state.blob() {
                has_blob = self.core.blobs.exists(body)?;
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
                batch.store(key.clone(), held, record_of(&new), new.chosen, None);
                self.adopt_chosen(batch, &key)?;
            }
            None => {}
        }
        Ok(Some(decision.reply))
    }

    /// Whether a record may be stored on a disk that may be full down to the reserve. What makes room goes on, and so
    /// does what takes none: a tombstone, a member list, the record of a blob that was let in before. They stop only
    /// when the index might not take in any more what the log holds (`Core::checkpoint`).
    fn has_room_for(&self, record: Option<&Record>) -> bool {
        match record.map(|record| &record.state) {
            Some(State::Object(object)) => match &object.at {
                BodyAt::Inline(bytes) => self.core.check_room(bytes.len() as u64).is_ok(),
                BodyAt::Blob => true,
            },
            Some(State::Bucket) => self.core.check_room(0).is_ok(),
            Some(State::Deleted | State::Members(_) | State::Nothing) | None => true,
        }
    }

    pub(super) fn seat(&self, batch: &mut Batch, seating: Seating) -> Result<(), StoreError> {
        let mut acceptor = self.acceptor.borrow_mut();
        match seating {
            Seating::Adopt(roster) => {
                let known = self.roster(batch);
                let ours = acceptor.node().epoch;
                if known.as_ref().is_some_and(|known| *known == roster) {
                    return Ok(());
                }
                // Lists of two lives of a cluster never follow each other, whatever their epochs.
                if known.as_ref().is_some_and(|known| known.life != roster.life) {
                    return Err(StoreError::OtherList);
                }
                if roster.epoch <= ours || roster.members().is_none() {
                    return Err(StoreError::Mismatch("a member list of an epoch that has one"));
                }
                let was = acceptor.node();
                if begins_anew(self.core.incarnation, ours, &roster) {
                    self.clear(batch, roster.epoch)?;
                }
                batch.outgrows |= roster.outgrows();
                let state = NodeState { epoch: roster.epoch, ..was };
                *acceptor = Acceptor::new(self.core.incarnation, state, Limits::STANDARD);
                if roster.epoch == Epoch(1) {
                    self.first_bucket(batch, &roster)?;
                }
                batch.node = Some(NodeRecord { state, roster: Some(roster), ..self.node(batch) });
            }
            Seating::Begin { draw, name } => {
                let node = self.node(batch);
                let start = Start { number: node.start.number.saturating_add(1), draw };
                batch.node = Some(NodeRecord { start, name: name.or(node.name), ..node });
            }
            Seating::Leave { life, name } => {
                let was = acceptor.node();
                let me = Seat { name: name.clone(), incarnation: self.core.incarnation };
                let roster = Roster::alone(was.epoch, life, (self.core.options.now_ms)(), me);
                let state = NodeState { epoch: roster.epoch, votes: true, ..was };
                *acceptor = Acceptor::new(self.core.incarnation, state, Limits::STANDARD);
                drop(acceptor);
                // The list is a register too: what follows it is decided upon it.
                let key = RegisterKey::members();
                let old = self.current(batch, &key)?;
                self.write_state(batch, key, old, State::Members(roster.encode().into()));
                let roster = Some(Arc::new(roster));
                batch.node = Some(NodeRecord { state, roster, name: Some(name), ..self.node(batch) });
            }
        }
        Ok(())
    }

    /// A member list that was chosen is taken over with the commit that says so.
    pub(super) fn adopt_chosen(&self, batch: &mut Batch, key: &RegisterKey) -> Result<(), StoreError> {
        if *key != RegisterKey::members() {
            return Ok(());
        }
        let Some(held) = self.current(batch, key)?.filter(|held| held.chosen) else { return Ok(()) };
        let State::Members(list) = &held.record.state else { return Ok(()) };
        let roster = Roster::decode(list).map_err(|_| StoreError::Corrupt { what: "member list" })?;
        if roster.epoch > self.acceptor.borrow().node().epoch {
            self.seat(batch, Seating::Adopt(Arc::new(roster)))?;
        }
        Ok(())
    }

    /// The bucket that every cluster has from the start: the same record on every founder, so that it is
    /// chosen as soon as the list is.
    fn first_bucket(&self, batch: &mut Batch, roster: &Roster) -> Result<(), StoreError> {
        let key = RegisterKey::bucket(&BucketName::cargas());
        if self.current(batch, &key)?.is_some() {
            return Ok(());
        }
        let ballot = Ballot { stamp: Stamp(1), node: roster.seats.first().map_or(Incarnation(0), |s| s.incarnation) };
        let lineage = Lineage::NOTHING.then(FIRST_BUCKET, Lineage::IDS_MAX);
        let record = Record { ballot, lineage, written_ms: roster.made_ms, state: State::Bucket };
        batch.store(key, None, record, true, None);
        Ok(())
    }

    pub(super) fn roster(&self, batch: &Batch) -> Option<Arc<Roster>> {
        match &batch.node {
            Some(node) => node.roster.clone(),
            None => self.core.voting().node.roster.clone(),
        }
    }

    /// What the node keeps for its votes, as decided.
    pub(super) fn node(&self, batch: &Batch) -> NodeRecord {
        batch.node.clone().unwrap_or_else(|| self.core.voting().node.clone())
    }
}

/// Whether a node was given its place after the last list that it knows: then it begins with nothing. While it had no
/// place others may have decided under lower ballots than those it holds, or have dropped the tombstone of what it
/// holds. It may vote at once, since a place is only given by way of an epoch of both lists (`register::members`).
pub fn begins_anew(node: Incarnation, known: Epoch, roster: &Roster) -> bool {
    roster.since(node).is_some_and(|since| since > known.max(Epoch(1)))
}

/// The record of a slot, under the slot's ballot.
pub fn record_of(slot: &Slot<Arc<Record>>) -> Record {
    let (ballot, lineage) = (slot.accepted, slot.state.lineage);
    match &slot.state.value {
        Some(record) => Record { ballot, lineage, ..(**record).clone() },
        None => Record { ballot, lineage, written_ms: 0, state: State::Nothing },
    }
}

impl Core {
    /// A ballot above all that this node has seen.
    pub fn fresh_ballot(&self) -> Ballot {
        Ballot { stamp: self.clock.next((self.options.now_ms)()), node: self.incarnation }
    }

    /// Takes note of a stamp that came in.
    pub fn observe(&self, stamp: Stamp) {
        self.clock.observe(stamp);
    }

    /// Answers a `Query` from what is durable, without the committer: as if it had come before whatever is
    /// being committed. `cached`: only if no disk has to be asked, else `None`.
    pub fn query(&self, vote: &Vote, cached: bool) -> Result<Option<Reply>, StoreError> {
        let state = self.voting().node.state;
        if !self.may_vote() || !vote.is_query() || vote.message.epoch != state.epoch || state.epoch == Epoch(0) {
            return Ok(None);
        }
        let (from, epoch, attempt) = (self.incarnation, state.epoch, vote.message.attempt);
        let reply = |answer| Ok(Some(Reply { from, epoch, attempt, answer }));
        if !state.votes {
            return reply(Granted::Refused(Refusal::NoVote));
        }
        let held = match (self.lookup_cached(&vote.key), cached) {
            (Some(held), _) => Some(held),
            (None, true) => return Ok(None),
            (None, false) => self.lookup(&vote.key)?,
        };
        let slot = held.as_deref().map_or_else(Slot::default, Held::slot);
        let beat = slot.accepted;
        reply(Granted::Held(slot, beat))
    }
}

impl Core {
    /// At most `limit` registers of a range, as replicas see them.
    pub fn scan_slots(
        &self,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Page<Listed>, StoreError> {
        Ok(self.scan(from, to, limit)?.map(|(key, held)| Some((key, held.slot()))))
    }

    /// Whether the bucket is known here.
    pub fn has_bucket(&self, bucket: &BucketName) -> bool {
        self.buckets().contains_key(bucket)
    }
}

impl Store {
    /// Votes as a replica; answered when durable.
    pub fn vote(&self, votes: Vec<Vote>) -> Votes {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Vote(votes, reply));
        answer
    }

    /// Takes note of what was chosen, with one of the next commits.
    pub fn mark(&self, marks: Vec<Vote>) {
        self.ask(Request::Marks(marks));
    }

    /// Changes the node's part in its cluster; answered when durable.
    pub fn seat(&self, seating: Seating) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Seat(seating, reply));
        answer
    }
}

/// Waits for votes; a queue that is gone means that the store is closing.
pub async fn wait_votes(votes: Votes) -> Result<Vec<Option<Reply>>, StoreError> {
    votes.await.unwrap_or(Err(StoreError::ShuttingDown))
}
