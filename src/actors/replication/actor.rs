//! ReplicaActor: carries one kind of things to one peer. What it carries, its lane, is its type: a message to the wrong
//! lane does not compile.
//!
//! Invariants
//! - An actor holds no work that cannot be found again: the records lane reads behind the durable
//!   cursor, a blob lane gives its lease back by dropping it.
//! - Each life has a number of its own; a reply for an earlier life is counted and dropped.
//! - Errors of the link are states of a lane, never a reason to stop. An actor stops, and
//!   is restarted by its Supervisor, when its own store is gone or somebody kills it; a panic ends it,
//!   and the keeper builds another.

use crate::actors::guard::{Died, PanicGuard};
use crate::actors::peer::conn::Dialer;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Supervised, WeakRecipient};
use std::future::Future;
use std::sync::Arc;

/// What one ReplicaActor does. Its messages are handled where the lane is written.
pub trait Lane: Sized + Unpin + 'static {
    /// A lane in its first life.
    fn new(plan: &Plan) -> Self;

    /// The actor runs, for the first time or again.
    fn started(&mut self, _: &LaneContext, _: &mut Context<ReplicaActor<Self>>) {}

    /// Futures in flight are gone with their connections: what a lane may keep for its next life is up to it.
    fn restarting(&mut self, own: &LaneContext) {
        *self = Self::new(&own.plan);
    }
}

/// What a lane needs of its actor.
#[derive(Clone)]
pub struct LaneContext {
    /// What is known of the peer.
    pub plan: Arc<Plan>,
    /// Which of the keeper's lanes this is.
    pub lane: usize,
    /// Which life of it.
    pub life: u64,
    /// Opens sessions with the peer; it belongs to the actor's thread.
    pub dialer: Dialer,
}

/// Replicates to one peer, as its lane does.
pub struct ReplicaActor<L> {
    own: LaneContext,
    lane: L,
    _guard: PanicGuard,
}

/// How to kill an actor, to see it come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It stops, as after an error.
    Error,
    /// It panics, and the keeper builds another.
    Panic,
}

/// Kills an actor. There is no way to send this from outside the process.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Kill(pub How);

impl<L: Lane> ReplicaActor<L> {
    /// A new actor for the keeper's lane of that number. `keeper` hears when it panics. Runs on the arbiter that it
    /// will live on: its HTTP client belongs to that thread.
    pub fn new(plan: Arc<Plan>, number: usize, life: u64, keeper: WeakRecipient<Died>) -> Self {
        let dialer = Dialer::new(&plan.url, plan.peer.clone(), Arc::clone(&plan.node_view.me), Arc::clone(&plan.key));
        let lane = L::new(&plan);
        let guard = PanicGuard::tell(keeper, Died { lane: number, life });
        ReplicaActor { own: LaneContext { plan, lane: number, life, dialer }, lane, _guard: guard }
    }

    /// Runs `work` with the lane.
    pub fn with<T>(&mut self, work: impl FnOnce(&mut L, &LaneContext) -> T) -> T {
        work(&mut self.lane, &self.own)
    }
}

/// Runs `work` beside the mailbox of an actor, then `then` with the actor. A restart or a death drops both.
pub fn spawn<L: Lane, F: Future + 'static>(
    ctx: &mut Context<ReplicaActor<L>>,
    work: F,
    then: impl FnOnce(F::Output, &mut ReplicaActor<L>, &mut Context<ReplicaActor<L>>) + 'static,
) {
    ctx.spawn(wrap_future::<_, ReplicaActor<L>>(work).map(then));
}

impl<L: Lane> Actor for ReplicaActor<L> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.lane.started(&self.own, ctx);
    }
}

impl<L: Lane> Supervised for ReplicaActor<L> {
    /// The same value begins a new life, with the pauses that its failures have earned it.
    fn restarting(&mut self, _: &mut Context<Self>) {
        Counts::add(&self.own.plan.tally.errors);
        self.own.life = self.own.plan.tally.new_life();
        self.lane.restarting(&self.own);
    }
}

impl<L: Lane> Handler<Kill> for ReplicaActor<L> {
    type Result = ();
    fn handle(&mut self, Kill(how): Kill, ctx: &mut Context<Self>) {
        Counts::add(&self.own.plan.tally.kills);
        match how {
            How::Error => ctx.stop(),
            How::Panic => panic!("lane {} killed on request", self.own.lane),
        }
    }
}
