//! The coordinator: carries out the register's decisions, for the requests of one HTTP worker or for the background.
//!
//! Invariants
//! - What is decided is `register`'s alone; here are the clock, the ways to the peers and the patience.
//! - A request ends by its deadline, with an answer that says what is known: never a guess.
//! - It holds no key and no file: bodies are sealed and opened by the StoreActor beside it.
//!
//! | file | | what |
//! |---|---|---|
//! | `actor` | does | takes what clients ask of objects and buckets, one kind after the other |
//! | `members_actor` | does | takes what operators ask of the member list |
//! | `writes` | does | brings about what clients want to become of a register |
//! | `copies` | does | objects written anew from others, without a byte that moves where that can be |
//! | `uploads` | does | uploads in parts, from their beginning to their end |
//! | `uploads_actor` | does | takes what clients ask of uploads in parts |
//! | `reads` | does | objects and lists as a majority holds them |
//! | `access` | does | access keys made, changed, compared and listed |
//! | `keys` | does | the key generation that seals, decided; what was long on its way sealed under it |
//! | `homes` | does | the one door from the name of a bucket to the registers of its objects |
//! | `quotas` | does | asks whether a bucket has room by its quota (`underway` beside decides), and sets quotas |
//! | `deletion` | does | a bucket closed, counted, and gone or open again |
//! | `drive` | does | what `register::drive` says for one write or read of a register |
//! | `limit` | decides | until when one goes on that waits for a body |
//! | `bodies` | does | the body of a new record on its way to who votes on it |
//! | `takers` | decides | who has room for a body or a record |
//! | `majority` | decides | whether a majority can be reached at all |
//! | `members` | does | a change of the member list |
//! | `pages` `shown` | decides | registers of all nodes merged: all of a range, or what a list shows |
//! | `scan` | does | asking for them |
//! | `tombstones` | does | drops tombstones at all nodes |
//! | `turns` | decides | the writers of one key at one node queue up |
//! | `store` | | what a coordinator may ask of the StoreActor beside it |

mod access;
pub mod actor;
mod bodies;
mod copies;
mod deletion;
mod drive;
mod homes;
mod keys;
mod limit;
mod majority;
pub mod members;
pub mod members_actor;
pub mod pages;
mod quotas;
mod reads;
mod scan;
pub mod shown;
pub mod store;
pub mod takers;
mod tombstones;
pub mod turns;
pub(in crate::actors) mod uploads;
mod uploads_actor;
mod writes;

use self::homes::{Behind, Lives};
use self::members::Far;
use self::store::StoreBeside;
use crate::actors::coordinator::turns::Turns;
use crate::actors::messages::FetchBody;
use crate::actors::messages::*;
use crate::actors::peer::arrivals::Arrivals;
use crate::actors::peer::key_watch::KeyWatch;
use crate::actors::peer::node_view::Ballots;
use crate::actors::peer::peer_request::PeerRequest;
use crate::actors::peer::plan::Plan;
use crate::actors::underway::Underway;
use crate::base::{Backoff, Ballot, BodyId, Budget, Epoch, Incarnation, Record, RegisterKey};
use crate::register::{Attempt, Members, Message, Placement, Read, ReadOutcome, Request, Roster, Slot, Traced};
use crate::store::voting::Voting;
use actix::{Message as ActorMessage, Recipient};
use actix_rt::time::Instant;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

type Value = Arc<Record>;

/// Reads that ask one peer before it is the next one's turn: what goes to one travels together.
const TURN: usize = 32;

/// How long a coordinator goes on, and how long it pauses.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest time for a decision: then the client hears 503. Shipping a body is not counted.
    pub decide: Duration,
    /// Longest time of one round.
    pub round: Duration,
    /// Between looks at what changes elsewhere, and between listings that found no majority.
    pub backoff: Backoff,
}

impl Patience {
    /// Rounds in proportion to the whole.
    pub fn within(decide: Duration) -> Self {
        let backoff = Backoff { base: Duration::from_millis(4), cap: Duration::from_millis(250) };
        Patience { decide, round: (decide / 5).max(Duration::from_millis(200)), backoff }
    }
}

/// What all coordinators of a node have in common. Cheap to clone.
#[derive(Clone)]
pub struct Common {
    /// Which life of the node.
    pub me: Incarnation,
    /// Whether it decides with others once there is a member list; else, without one, it decides alone.
    pub votes: bool,
    /// This node's part in the votes: member list, ballots, what it remembers of others.
    pub ballots: Arc<dyn Ballots>,
    /// The configured peers, members or not.
    pub peers: Vec<Arc<Plan>>,
    /// How long a decision may take.
    pub patience: Patience,
    /// Who gets the body of a record from a peer.
    pub fetch: Recipient<FetchBody>,
    /// Which bodies are on their way here.
    pub arrivals: Arc<Arrivals>,
    /// What may wait for peers of bodies that arrive.
    pub streams: Budget,
    /// Who writes which key.
    pub turns: Turns,
    /// Which key generations the nodes open.
    pub keys: Arc<KeyWatch>,
    /// What is on its way into buckets with quotas.
    pub underway: Underway,
    /// How far a change of the member list has come.
    pub far: Arc<Far>,
}

/// Coordinates for one arbiter. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator(Rc<Inner>);

struct Inner {
    me: Incarnation,
    votes: bool,
    ballots: Arc<dyn Ballots>,
    store: StoreBeside,
    peers: Vec<Arc<Plan>>,
    patience: Patience,
    fetch: Recipient<FetchBody>,
    arrivals: Arc<Arrivals>,
    /// What may wait for peers of bodies that arrive.
    streams: Budget,
    /// Of all coordinators of this node.
    turns: Turns,
    /// Which key generations the nodes open.
    keys: Arc<KeyWatch>,
    /// What is on its way into buckets with quotas, through all of them.
    underway: Underway,
    /// How far a change of the member list has come.
    far: Arc<Far>,
    /// Uploads that are cleared up behind their end.
    clearing: Semaphore,
    /// Which peer the next read asks first.
    turn: Cell<usize>,
    /// The lives of buckets, from the last time when all of them were looked through.
    lives: RefCell<Option<Rc<Lives>>>,
}

fn no_list() -> ObjectError {
    ObjectError::NoMajority("the cluster has not formed yet: all its nodes must be reachable once")
}

impl Coordinator {
    /// A coordinator beside a StoreActor.
    pub fn new(common: Common, store: StoreBeside) -> Self {
        let Common { me, votes, ballots, peers, patience, fetch, arrivals, streams, turns, keys, underway, far } =
            common;
        let turn = Cell::new(0);
        Coordinator(Rc::new(Inner {
            me,
            votes,
            ballots,
            store,
            peers,
            patience,
            fetch,
            arrivals,
            streams,
            turns,
            keys,
            underway,
            far,
            clearing: Semaphore::new(uploads::CLEARED_AT_ONCE),
            turn,
            lives: RefCell::default(),
        }))
    }

    /// Asks the StoreActor beside it.
    pub(in crate::actors) async fn ask<M, T, E>(&self, message: M) -> Result<T, ObjectError>
    where
        M: ActorMessage<Result = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        ObjectError: From<E>,
        StoreBeside: Knows<M>,
    {
        let answered = Knows::<M>::recipient(&self.0.store).send(message).await;
        Ok(answered.map_err(|_| StoreError::ShuttingDown)??)
    }

    /// The epoch of this node's list.
    pub(in crate::actors) fn epoch(&self) -> Epoch {
        self.0.ballots.voting().list.epoch
    }

    async fn peek(&self, key: &RegisterKey) -> Option<Slot<Value>> {
        self.0.store.peek.send(Peek { key: key.clone() }).await.ok().flatten()
    }

    /// The member list; none before the cluster has formed.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        self.0.ballots.voting().node.roster.clone()
    }

    /// The nodes that hold a register and vote on it, under the list that is in force now.
    fn members(&self, key: &RegisterKey) -> Result<(Arc<Voting>, Arc<Members>), ObjectError> {
        self.placed(|placement| placement.voters(key))
    }

    /// The nodes that hold a body.
    fn holders(&self, body: BodyId) -> Result<(Arc<Voting>, Arc<Members>), ObjectError> {
        self.placed(|placement| placement.holders(body))
    }

    /// All members: for what is the whole cluster's business.
    fn all_members(&self) -> Result<(Arc<Voting>, Arc<Members>), ObjectError> {
        self.placed(Placement::all)
    }

    fn placed(
        &self,
        which: impl FnOnce(&Placement) -> &Arc<Members>,
    ) -> Result<(Arc<Voting>, Arc<Members>), ObjectError> {
        let voting = self.0.ballots.voting();
        let members = voting.placement.as_ref().map(|placement| Arc::clone(which(placement))).ok_or_else(no_list)?;
        Ok((voting, members))
    }

    pub(in crate::actors) fn deadline(&self) -> Instant {
        Instant::now() + self.0.patience.decide
    }

    /// When a page of a listing that is not full by then ends early: a last step still has its time.
    pub(in crate::actors) fn page_deadline(&self) -> Instant {
        Instant::now() + self.0.patience.decide / 2
    }

    /// What a majority says of a register by `deadline`. `without_me`: this node is known to have no answer.
    async fn read_by(
        &self,
        key: &RegisterKey,
        without_me: bool,
        deadline: Instant,
    ) -> Result<(Ballot, Traced<Value>), ObjectError> {
        self.reachable().await?;
        let (voting, members) = self.members(key)?;
        // This node, and as many peers as make a majority with it: asking all would be work for nothing.
        let mut prefer = if without_me { Vec::new() } else { vec![self.0.me] };
        prefer.extend(self.near(&voting, &members, members.voters().len() / 2 + usize::from(without_me)));
        let read = Read::new(members, &prefer);
        self.finish_read(key, read, Behind::waiting(None), deadline).await
    }

    /// What was read is known here too. `epoch` is that of before the read: see `Request::Learn`.
    pub(in crate::actors) async fn learn(
        &self,
        key: &RegisterKey,
        slot: Slot<Value>,
        epoch: Epoch,
    ) -> Result<(), ObjectError> {
        // It is known here already, as a rule: a lesson would cost a commit.
        if self.peek(key).await.is_some_and(|here| here.accepted >= slot.accepted) {
            return Ok(());
        }
        let message = Message { epoch, attempt: Attempt(0), request: Request::Learn(slot.accepted, slot.state) };
        self.ask(CastHere { votes: vec![Vote { key: key.clone(), message }] }).await.map(|_| ())
    }

    /// Makes what is tentative chosen, or finds that it is. What its bucket does not take any more is deleted, once the
    /// bucket is gone.
    /// `seen`: when it had been found at the latest.
    pub async fn settle(&self, key: &RegisterKey, seen: Instant) -> Result<(), ObjectError> {
        self.reachable().await?;
        let (_, members) = self.members(key)?;
        let read = Read::new(members, &[self.0.me]);
        let gone = match self.finish_read(key, read, Behind::left(seen), self.deadline()).await {
            Err(ObjectError::Store(StoreError::NoSuchBucket)) => key.bucket_id(),
            read => return read.map(|_| ()),
        };
        match gone {
            Some(id) if self.home_of(id, seen, self.deadline()).await?.is_none() => self.clear(key).await,
            // It is being deleted, and whoever does that sees to it.
            Some(_) | None => Ok(()),
        }
    }

    async fn finish_read(
        &self,
        key: &RegisterKey,
        read: Read<Value>,
        behind: Behind,
        deadline: Instant,
    ) -> Result<(Ballot, Traced<Value>), ObjectError> {
        match self.drive(key, read, Vec::new(), deadline, behind).await {
            ReadOutcome::Found { ballot, state } => Ok((ballot, state)),
            ReadOutcome::NoMajority => Err(no_majority()),
            ReadOutcome::Contended => Err(ObjectError::Crowded),
            ReadOutcome::Gone => Err(StoreError::NoSuchBucket.into()),
        }
    }

    /// Peers among these to ask first: those that answered lately, in turn.
    fn near(&self, voting: &Voting, members: &Members, count: usize) -> Vec<Incarnation> {
        let mut others: Vec<_> = members.voters().iter().copied().filter(|node| *node != self.0.me).collect();
        others.sort_unstable();
        let reads = self.0.turn.get();
        self.0.turn.set(reads.wrapping_add(1));
        let turn = reads / TURN;
        let mut order: Vec<_> = (0..others.len()).map(|at| others[(turn.wrapping_add(at)) % others.len()]).collect();
        // A peer that is away would cost the reader a round.
        order.sort_by_key(|node| !self.is_up(voting, *node));
        order.truncate(count);
        order
    }

    fn lane(&self, voting: &Voting, node: Incarnation) -> Option<Recipient<PeerRequest>> {
        self.peer(voting, node)?.lane.address()
    }

    fn peer(&self, voting: &Voting, node: Incarnation) -> Option<&Arc<Plan>> {
        let name = voting.node.roster.as_ref()?.name_of(node)?;
        self.0.peers.iter().find(|peer| peer.peer == *name)
    }
}

/// Time was up before a majority had answered.
fn no_majority() -> ObjectError {
    ObjectError::NoMajority("a majority of the nodes did not answer in time")
}

#[cfg(test)]
mod tests;
