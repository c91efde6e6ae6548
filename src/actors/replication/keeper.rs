//! The keeper of one peer: builds its lanes, and builds a new one when one has panicked.
//!
//! Invariants
//! - A lane that panics is back after a pause that grows with each panic; it is a new value, whose work
//!   is found again behind the cursor.
//! - Nobody else holds the lanes' addresses for long, so that they end with their keeper.
//! - If the keeper itself panics the process ends: nobody would build anything anew.

use crate::actors::guard::{Died, PanicGuard};
use crate::actors::peer::plan::Plan;
use crate::actors::replication::actor::{Kill, Lane, ReplicaActor};
use crate::actors::replication::blob_lane::BlobLane;
use crate::actors::replication::lease::ShipBlobs;
use crate::actors::replication::records::RecordsLane;
use crate::actors::replication::records::messages::{DrainLane, Observe, SetLanes};
use crate::actors::replication::votes_lane::VotesLane;
use crate::actors::status::ReplicaStatus;
use crate::seal;
use actix::{
    Actor, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture, Supervisor, WeakRecipient,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A lane that has lived for so long has its panics forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The lane that carries records, heartbeats and the cursor.
pub const RECORDS_LANE: usize = 0;

/// The lane that carries votes.
pub const VOTES_LANE: usize = 1;

/// The first of the lanes that carry blobs.
const FIRST_BLOB_LANE: usize = 2;

/// Builds and holds the lanes to one peer.
pub struct Keeper {
    plan: Arc<Plan>,
    records: Built<RecordsLane>,
    votes: Built<VotesLane>,
    blobs: Vec<Built<BlobLane>>,
    drained: bool,
}

/// A lane as its keeper sees it.
struct Built<L: Lane> {
    address: Option<Addr<ReplicaActor<L>>>,
    past: Past,
}

#[derive(Default)]
struct Past {
    /// The life that was built last.
    life: u64,
    born: Option<Instant>,
    panics: u32,
}

impl<L: Lane> Default for Built<L> {
    fn default() -> Self {
        Built { address: None, past: Past::default() }
    }
}

impl<L: Lane> Built<L> {
    /// Begins a new life, as the lane of that number.
    fn build(&mut self, plan: &Arc<Plan>, number: usize, keeper: WeakRecipient<Died>) -> &Addr<ReplicaActor<L>> {
        let plan = Arc::clone(plan);
        let life = plan.tally.new_life();
        self.past.life = life;
        self.past.born = Some(Instant::now());
        self.address.insert(Supervisor::start(move |_| ReplicaActor::new(plan, number, life, keeper)))
    }

    fn kill(&self, kill: Kill) {
        if let Some(address) = &self.address {
            address.do_send(kill);
        }
    }
}

/// Asks how replication to this peer is; `None` while the records lane is being built anew.
#[derive(Debug, Message)]
#[rtype(result = "Option<ReplicaStatus>")]
pub struct ObservePeer;

/// Answered when nothing is in flight to this peer and its cursor is saved. The lanes end then.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainPeer;

/// Kills one lane, to see it come back.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct KillLane {
    /// The number of the lane: 0 records, 1 votes, then blobs.
    pub lane: usize,
    /// Whether it stops or panics.
    pub kill: Kill,
}

impl Keeper {
    /// A keeper of `pool` lanes. There is a lane for records, one for votes and at least one for blobs, since
    /// none must stop the others: the smallest pool has three.
    pub fn new(plan: Arc<Plan>, pool: usize) -> Self {
        let blobs = (FIRST_BLOB_LANE..pool.max(FIRST_BLOB_LANE + 1)).map(|_| Built::default()).collect();
        Keeper { plan, records: Built::default(), votes: Built::default(), blobs, drained: false }
    }

    fn build(&mut self, at: usize, ctx: &mut Context<Self>) {
        // A local guard acts on a panic in here alone, not on one that merely drops the keeper.
        let _guard = PanicGuard::abort();
        if self.drained {
            return;
        }
        let keeper: WeakRecipient<Died> = ctx.address().downgrade().recipient();
        match at {
            RECORDS_LANE => {
                self.records.build(&self.plan, at, keeper);
            }
            VOTES_LANE => {
                let lane = self.votes.build(&self.plan, at, keeper);
                self.plan.lane.open(&lane.clone().recipient());
            }
            _ => {
                if let Some(lane) = self.blobs.get_mut(at - FIRST_BLOB_LANE) {
                    lane.build(&self.plan, at, keeper);
                }
            }
        }
    }

    fn introduce(&self) {
        let _guard = PanicGuard::abort();
        let Some(records) = &self.records.address else { return };
        // A lane that is dead keeps its place: leases name their lane by it. Its closed address says so.
        let blobs: Option<Vec<Recipient<ShipBlobs>>> =
            self.blobs.iter().map(|lane| lane.address.clone().map(Addr::recipient)).collect();
        if let Some(blobs) = blobs {
            records.do_send(SetLanes(blobs));
        }
    }

    fn past(&mut self, at: usize) -> Option<&mut Past> {
        match at {
            RECORDS_LANE => Some(&mut self.records.past),
            VOTES_LANE => Some(&mut self.votes.past),
            _ => self.blobs.get_mut(at - FIRST_BLOB_LANE).map(|lane| &mut lane.past),
        }
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for at in 0..FIRST_BLOB_LANE + self.blobs.len() {
            self.build(at, ctx);
        }
        self.introduce();
    }
}

impl Handler<Died> for Keeper {
    type Result = ();

    fn handle(&mut self, Died { lane: at, life }: Died, ctx: &mut Context<Self>) {
        let _guard = PanicGuard::abort();
        let backoff = self.plan.timing.backoff;
        // A death that is told late is not one of the life that came after.
        let Some(past) = self.past(at).filter(|past| past.life == life) else { return };
        if past.born.is_some_and(|born| born.elapsed() >= FORGIVEN_AFTER) {
            past.panics = 0;
        }
        let wait = backoff.delay(past.panics, u64::from_le_bytes(seal::random()));
        past.panics = past.panics.saturating_add(1);
        self.plan.tally.panics.fetch_add(1, Ordering::Relaxed);
        log::error!(peer:% = self.plan.peer, lane = at, wait_ms = wait.as_millis() as u64; "a lane panicked, and is built anew");
        ctx.run_later(wait, move |keeper, ctx| {
            keeper.build(at, ctx);
            keeper.introduce();
        });
    }
}

impl Handler<ObservePeer> for Keeper {
    type Result = ResponseFuture<Option<ReplicaStatus>>;

    fn handle(&mut self, _: ObservePeer, _: &mut Context<Self>) -> Self::Result {
        let records = self.records.address.clone();
        Box::pin(async move { records?.send(Observe).await.ok() })
    }
}

impl Handler<DrainPeer> for Keeper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: DrainPeer, ctx: &mut Context<Self>) -> Self::Result {
        self.drained = true;
        let (done, drained) = oneshot::channel();
        if let Some(records) = &self.records.address {
            records.do_send(DrainLane { done });
        }
        let me = ctx.address();
        Box::pin(async move {
            // An error means that the lane died meanwhile: then there is nothing to wait for.
            let _ = drained.await;
            me.do_send(LetGo);
        })
    }
}

/// Ends the lanes by letting go of their addresses.
#[derive(Message)]
#[rtype(result = "()")]
struct LetGo;

impl Handler<LetGo> for Keeper {
    type Result = ();
    fn handle(&mut self, _: LetGo, _: &mut Context<Self>) {
        self.records.address = None;
        self.votes.address = None;
        self.blobs.iter_mut().for_each(|lane| lane.address = None);
    }
}

impl Handler<KillLane> for Keeper {
    type Result = ();
    fn handle(&mut self, KillLane { lane, kill }: KillLane, _: &mut Context<Self>) {
        match lane {
            RECORDS_LANE => self.records.kill(kill),
            VOTES_LANE => self.votes.kill(kill),
            _ => self.blobs.get(lane - FIRST_BLOB_LANE).into_iter().for_each(|lane| lane.kill(kill)),
        }
    }
}
