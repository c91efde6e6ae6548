//! ReplicaActor: carries everything to one peer. One type, three roles: a lane for records, one for votes,
//! the others for blobs.
//!
//! Invariants
//! - An actor holds no work that cannot be found again: the records lane reads behind the durable
//!   cursor, a blob lane gives its lease back by dropping it.
//! - Each life has a number of its own; a reply for an earlier life is counted and dropped.
//! - Errors of the link are states (`records_lane::Link`), never a reason to stop. An actor stops, and
//!   is restarted by its Supervisor, when its own store is gone or somebody kills it; a panic ends it,
//!   and the keeper builds another.

use super::blob_lane::BlobLane;
use super::conn::Dialer;
use super::gate::{Counts, Vitals};
use super::guard::{Died, PanicGuard};
use super::lease::{LeaseEnded, ShipBlob};
use super::recipients::StoreRecipients;
use super::records_lane::RecordsLane;
use super::seats::Seats;
use super::status::{CompareStatus, ReplicaStatus, Restarts};
use super::transfers::Transfers;
use super::vote_lane::{Errand, VoteLane};
use crate::base::{Backoff, NodeName};
use crate::seal::session::PeerKey;
use actix::fut::wrap_future;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
    Supervised, WeakAddr, WeakRecipient,
};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The lane that carries records, heartbeats and the cursor; all others carry blobs.
pub const RECORDS_LANE: usize = 0;

/// The lane that carries votes.
pub const VOTES_LANE: usize = 1;

/// The first of the lanes that carry blobs.
pub const FIRST_BLOB_LANE: usize = 2;

/// Pauses and periods of replication.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// After a failed try.
    pub backoff: Backoff,
    /// Between tries at a peer that refuses, or is refused.
    pub refused_retry: Duration,
    /// At least between two saved cursors.
    pub save_cursor: Duration,
    /// How often the clock is looked at.
    pub tick: Duration,
    /// Between comparisons of everything.
    pub compare: Duration,
    /// How long a difference must last to be one.
    pub settle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_secs(5),
            backoff: Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(10) },
            refused_retry: Duration::from_secs(30),
            save_cursor: Duration::from_secs(1),
            tick: Duration::from_millis(200),
            compare: Duration::from_secs(60),
            settle: Duration::from_secs(5),
        }
    }
}

/// What all lanes of one peer share.
pub struct Plan {
    /// The peer's configured name.
    pub peer: NodeName,
    /// Its configured address.
    pub url: String,
    /// How this node is.
    pub vitals: Vitals,
    /// Opens sessions.
    pub key: Arc<PeerKey>,
    /// This node's store.
    pub store: StoreRecipients,
    /// Pauses and periods.
    pub timing: Timing,
    /// Where coordinators find the votes lane.
    pub door: Door,
    /// How the cluster comes to its member list; none where nobody votes.
    pub seats: Option<Arc<Mutex<Seats>>>,
    /// Which bodies are on their way, by whichever lane.
    pub transfers: Arc<Transfers>,
    /// Most bytes of votes that wait for the peer and are under way.
    pub votes_bytes: u64,
    /// Counters that outlive the actors.
    pub tally: Tally,
}

/// The way to the votes lane of a peer, whichever actor it is at the moment.
#[derive(Default)]
pub struct Door {
    lane: Mutex<Option<WeakAddr<ReplicaActor>>>,
    /// Whether it said, with its last heartbeat, that its disk is full down to the reserve.
    pub full: AtomicBool,
    /// Bytes that it has above its reserve, as it said then; more than anything before it said so.
    pub room: RoomSaid,
    /// Whether it said that it takes no writes.
    pub read_only: AtomicBool,
}

/// Bytes that a peer said it has room for; the largest number before it said anything.
pub struct RoomSaid(AtomicU64);

impl Default for RoomSaid {
    fn default() -> Self {
        RoomSaid(AtomicU64::new(u64::MAX))
    }
}

impl RoomSaid {
    /// What it said last.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// It says so.
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl Door {
    /// The actor; none while it is being built anew.
    pub fn address(&self) -> Option<Addr<ReplicaActor>> {
        let lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        lane.as_ref().and_then(WeakAddr::upgrade).filter(Addr::connected)
    }

    /// There is a new actor.
    pub fn open(&self, lane: &Addr<ReplicaActor>) {
        *self.lane.lock().unwrap_or_else(PoisonError::into_inner) = Some(lane.downgrade());
    }
}

/// Counters of one peer's lanes.
#[derive(Default)]
pub struct Tally {
    /// Actors built anew after a panic.
    pub panics: AtomicU64,
    /// Actors restarted after an error.
    pub errors: AtomicU64,
    /// Of both, those that were asked for.
    pub kills: AtomicU64,
    /// Replies for an earlier life, or for what the peer was offered before it began anew.
    pub late_replies: AtomicU64,
    /// Bytes of blobs on their way.
    pub in_flight_bytes: AtomicU64,
    /// Bytes of blobs that arrived.
    pub shipped_bytes: AtomicU64,
    /// Records that were acknowledged.
    pub shipped_records: AtomicU64,
    /// Comparisons of everything that came to an end.
    pub compared: AtomicU64,
    /// Leaves that differed for good.
    pub differing_leaves: AtomicU64,
    /// Changes offered again because of that.
    pub doubted: AtomicU64,
    /// Of these, what the peer lacked and has now.
    pub repaired: AtomicU64,
    /// When the last comparison came to its end, and how many leaves differed then.
    pub last_round: Mutex<Option<(Instant, u64)>>,
    /// What was sent.
    pub sent: Counts,
    lives: AtomicU64,
}

impl Tally {
    /// A number for a new life, or for a window of one.
    pub fn new_life(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds the counters to a snapshot.
    pub fn show(&self, status: &mut ReplicaStatus) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        status.restarts = Restarts { panics: read(&self.panics), errors: read(&self.errors), kills: read(&self.kills) };
        status.late_replies = read(&self.late_replies);
        status.in_flight_bytes = read(&self.in_flight_bytes);
        status.shipped_bytes = read(&self.shipped_bytes);
        status.shipped_records = read(&self.shipped_records);
        let last = *self.last_round.lock().unwrap_or_else(PoisonError::into_inner);
        status.compare = CompareStatus {
            rounds: read(&self.compared),
            differing_leaves: read(&self.differing_leaves),
            offered: read(&self.doubted),
            repaired: read(&self.repaired),
            equal: last.is_some_and(|(_, leaves)| leaves == 0),
            last_leaves: last.map(|(_, leaves)| leaves),
            last_age_s: last.map(|(at, _)| at.elapsed().as_secs()),
        };
        status.sent = self.sent.read();
    }
}

/// What a lane's role needs of its actor.
#[derive(Clone)]
pub(super) struct Own {
    pub plan: Arc<Plan>,
    pub lane: usize,
    pub life: u64,
    pub dialer: Dialer,
}

/// Runs `work` beside the mailbox of an actor, then `then` with the actor. A restart or a death drops both.
pub(super) fn spawn<F: Future + 'static>(
    ctx: &mut Context<ReplicaActor>,
    work: F,
    then: impl FnOnce(F::Output, &mut ReplicaActor, &mut Context<ReplicaActor>) + 'static,
) {
    ctx.spawn(wrap_future::<_, ReplicaActor>(work).map(then));
}

/// Replicates to one peer, in one of its roles.
pub struct ReplicaActor {
    own: Own,
    role: Role,
    _guard: PanicGuard,
}

#[allow(clippy::large_enum_variant)] // one per lane, never moved in bulk
enum Role {
    Records(Box<RecordsLane>),
    Votes(VoteLane),
    Blobs(BlobLane),
}

/// Asks an actor how it is.
#[derive(Debug, Message)]
#[rtype(result = "ReplicaStatus")]
pub struct Observe;

/// Tells the records lane which blob lanes there are.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetLanes(pub Vec<Recipient<ShipBlob>>);

/// Nothing new is sent; `done` hears when what was sent is answered and the cursor is saved.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainLane {
    /// Dropped unanswered when the actor dies before.
    pub done: oneshot::Sender<()>,
}

/// How to kill an actor, to see it come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It stops, as after an error.
    Error,
    /// It panics.
    Panic,
}

/// Kills an actor. There is no way to send this from outside the process.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Kill(pub How);

impl ReplicaActor {
    /// A new actor for a lane. `keeper` hears when it panics. Runs on the arbiter that it will live
    /// on: its HTTP client belongs to that thread.
    pub fn new(plan: Arc<Plan>, lane: usize, life: u64, keeper: WeakRecipient<Died>) -> Self {
        let dialer = Dialer::new(&plan.url, plan.peer.clone(), Arc::clone(&plan.vitals.me), Arc::clone(&plan.key));
        let role = match lane {
            RECORDS_LANE => Role::Records(Box::new(RecordsLane::new(&plan))),
            VOTES_LANE => Role::Votes(VoteLane::default()),
            _ => Role::Blobs(BlobLane::default()),
        };
        let guard = PanicGuard::tell(keeper, Died { lane, life });
        ReplicaActor { own: Own { plan, lane, life, dialer }, role, _guard: guard }
    }

    /// Runs `work` if this is the records lane.
    pub(super) fn records<T>(&mut self, work: impl FnOnce(&mut RecordsLane, &Own) -> T) -> Option<T> {
        match &mut self.role {
            Role::Records(lane) => Some(work(lane, &self.own)),
            Role::Blobs(_) | Role::Votes(_) => None,
        }
    }

    /// Runs `work` if this is the votes lane.
    pub(super) fn votes<T>(&mut self, work: impl FnOnce(&mut VoteLane, &Own) -> T) -> Option<T> {
        match &mut self.role {
            Role::Votes(lane) => Some(work(lane, &self.own)),
            Role::Records(_) | Role::Blobs(_) => None,
        }
    }

    /// Runs `work` if this is a blob lane.
    pub(super) fn blobs<T>(&mut self, work: impl FnOnce(&mut BlobLane, &Own) -> T) -> Option<T> {
        match &mut self.role {
            Role::Records(_) | Role::Votes(_) => None,
            Role::Blobs(lane) => Some(work(lane, &self.own)),
        }
    }
}

impl Actor for ReplicaActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.records(|lane, own| lane.started(own, ctx));
    }
}

impl Supervised for ReplicaActor {
    /// Futures in flight are gone with their connections; the same value begins a new life, with the
    /// pauses that its failures have earned it.
    fn restarting(&mut self, _: &mut Context<Self>) {
        Counts::add(&self.own.plan.tally.errors);
        self.own.life = self.own.plan.tally.new_life();
        match &mut self.role {
            Role::Records(lane) => lane.restarting(&self.own),
            Role::Votes(lane) => *lane = VoteLane::default(),
            Role::Blobs(lane) => *lane = BlobLane::default(),
        }
    }
}

impl Handler<SetLanes> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, SetLanes(lanes): SetLanes, ctx: &mut Context<Self>) {
        self.records(|lane, own| lane.set_lanes(lanes, own, ctx));
    }
}

impl Handler<ShipBlob> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, ShipBlob(lease): ShipBlob, ctx: &mut Context<Self>) {
        // At the records lane the lease would be dropped, and so return: nobody sends it there.
        self.blobs(|lane, own| lane.take(lease, own, ctx));
    }
}

impl Handler<Errand> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, errand: Errand, ctx: &mut Context<Self>) {
        self.votes(|lane, own| lane.take(errand, own, ctx));
    }
}

impl Handler<LeaseEnded> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, ended: LeaseEnded, ctx: &mut Context<Self>) {
        self.records(|lane, own| lane.lease_ended(ended, own, ctx));
    }
}

impl Handler<Observe> for ReplicaActor {
    type Result = MessageResult<Observe>;
    fn handle(&mut self, _: Observe, _: &mut Context<Self>) -> Self::Result {
        let status = self.records(|lane, own| lane.status(own));
        MessageResult(status.unwrap_or_default())
    }
}

impl Handler<DrainLane> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, DrainLane { done }: DrainLane, ctx: &mut Context<Self>) {
        self.records(|lane, own| lane.drain(done, own, ctx));
    }
}

impl Handler<Kill> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, Kill(how): Kill, ctx: &mut Context<Self>) {
        Counts::add(&self.own.plan.tally.kills);
        match how {
            How::Error => ctx.stop(),
            How::Panic => panic!("lane {} killed on request", self.own.lane),
        }
    }
}
