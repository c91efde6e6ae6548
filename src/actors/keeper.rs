//! The keeper of one peer: builds its lanes, and builds a new one when one has panicked.
//!
//! Invariants
//! - A lane that panics is back after a pause that grows with each panic; it is a new value, whose work
//!   is found again behind the cursor.
//! - Nobody else holds the lanes' addresses for long, so that they end with their keeper.
//! - If the keeper itself panics the process ends: nobody would build anything anew.

use super::guard::{Died, PanicGuard};
use super::lease::ShipBlob;
use super::replica::{DrainLane, FIRST_BLOB_LANE, Kill, Observe, Plan, ReplicaActor, SetLanes, VOTES_LANE};
use super::status::ReplicaStatus;
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

/// Builds and holds the lanes to one peer.
pub struct Keeper {
    plan: Arc<Plan>,
    lanes: Vec<Lane>,
    drained: bool,
}

#[derive(Default)]
struct Lane {
    address: Option<Addr<ReplicaActor>>,
    /// The life that was built last.
    life: u64,
    born: Option<Instant>,
    panics: u32,
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
    /// Which.
    pub lane: usize,
    /// How.
    pub kill: Kill,
}

impl Keeper {
    /// A keeper of `pool` lanes. There is a lane for records, one for votes and at least one for blobs, since
    /// none must stop the others: the smallest pool has three.
    pub fn new(plan: Arc<Plan>, pool: usize) -> Self {
        let lanes = (0..pool.max(FIRST_BLOB_LANE + 1)).map(|_| Lane::default()).collect();
        Keeper { plan, lanes, drained: false }
    }

    fn build(&mut self, at: usize, ctx: &mut Context<Self>) {
        // A local guard acts on a panic in here alone, not on one that merely drops the keeper.
        let _guard = PanicGuard::abort();
        let Some(lane) = self.lanes.get_mut(at).filter(|_| !self.drained) else { return };
        let plan = Arc::clone(&self.plan);
        let keeper: WeakRecipient<Died> = ctx.address().downgrade().recipient();
        let life = plan.tally.new_life();
        lane.life = life;
        lane.born = Some(Instant::now());
        let address = Supervisor::start(move |_| ReplicaActor::new(plan, at, life, keeper));
        if at == VOTES_LANE {
            self.plan.door.open(&address);
        }
        lane.address = Some(address);
    }

    fn introduce(&self) {
        let _guard = PanicGuard::abort();
        let Some(records) = self.lanes.first().and_then(|lane| lane.address.as_ref()) else { return };
        // A lane that is dead keeps its place: leases name their lane by it. Its closed address says so.
        let blobs: Option<Vec<Recipient<ShipBlob>>> =
            self.lanes[FIRST_BLOB_LANE..].iter().map(|lane| lane.address.clone().map(Addr::recipient)).collect();
        if let Some(blobs) = blobs {
            records.do_send(SetLanes(blobs));
        }
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for at in 0..self.lanes.len() {
            self.build(at, ctx);
        }
        self.introduce();
    }
}

impl Handler<Died> for Keeper {
    type Result = ();

    fn handle(&mut self, Died { lane: at, life }: Died, ctx: &mut Context<Self>) {
        let _guard = PanicGuard::abort();
        let Some(lane) = self.lanes.get_mut(at).filter(|lane| lane.life == life) else { return };
        self.plan.tally.panics.fetch_add(1, Ordering::Relaxed);
        if lane.born.is_some_and(|born| born.elapsed() >= FORGIVEN_AFTER) {
            lane.panics = 0;
        }
        let wait = self.plan.timing.backoff.delay(lane.panics, u64::from_le_bytes(seal::random()));
        lane.panics = lane.panics.saturating_add(1);
        log::error!(peer:% = self.plan.peer, lane = at, wait_ms = wait.as_millis() as u64; "replicator panicked, built anew");
        ctx.run_later(wait, move |keeper, ctx| {
            keeper.build(at, ctx);
            keeper.introduce();
        });
    }
}

impl Handler<ObservePeer> for Keeper {
    type Result = ResponseFuture<Option<ReplicaStatus>>;

    fn handle(&mut self, _: ObservePeer, _: &mut Context<Self>) -> Self::Result {
        let records = self.lanes.first().and_then(|lane| lane.address.clone());
        Box::pin(async move { records?.send(Observe).await.ok() })
    }
}

impl Handler<DrainPeer> for Keeper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: DrainPeer, ctx: &mut Context<Self>) -> Self::Result {
        self.drained = true;
        let (done, drained) = oneshot::channel();
        if let Some(records) = self.lanes.first().and_then(|lane| lane.address.as_ref()) {
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
        for lane in &mut self.lanes {
            lane.address = None;
        }
    }
}

impl Handler<KillLane> for Keeper {
    type Result = ();
    fn handle(&mut self, KillLane { lane, kill }: KillLane, _: &mut Context<Self>) {
        if let Some(address) = self.lanes.get(lane).and_then(|lane| lane.address.as_ref()) {
            address.do_send(kill);
        }
    }
}
