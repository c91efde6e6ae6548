//! Comparing everything with the peer: which leaves differ, and offering again what belongs to them.

use super::{Link, RecordsLane, its_part};
use crate::actors::messages::ChangesIn;
use crate::actors::peer::store::ask;
use crate::actors::replication::actor::{LaneContext, ReplicaActor, spawn};
use crate::actors::replication::records::compare::Next;
use crate::actors::replication::records::offer_step::BATCH_MAX;
use crate::actors::replication::records::tree_walk::walk;
use crate::actors::replication::records::window::Window;
use actix::Context;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl RecordsLane {
    /// Goes on with comparing everything: looks which leaves differ, or offers again what belongs to them.
    pub(super) fn compare_all(&mut self, now: Instant, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let Link::Up { conn: Some(_), .. } = &self.link else { return };
        // What is offered again must not crowd out the feed.
        let Some(room) = self.window.as_ref().map(Window::room).filter(|room| *room >= BATCH_MAX) else { return };
        // A change on its way would show as a difference.
        let drained = self.has_all();
        match self.compare.next(now, drained) {
            Next::Wait => {}
            Next::Walk => {
                let Link::Up { conn, .. } = &mut self.link else { return };
                let Some(mut session) = conn.take() else { return };
                let plan = std::sync::Arc::clone(&own.plan);
                let work = async move {
                    let differing = walk(&plan, &mut session).await;
                    (session, differing)
                };
                spawn(ctx, work, |(session, differing), actor, ctx| {
                    actor.with(|lane, own| {
                        let done = differing.map(|differing| {
                            if let Some(leaves) = lane.compare.walked(Instant::now(), differing) {
                                lane.round_ended(leaves, own);
                            }
                        });
                        if done.is_err() {
                            lane.compare.failed(Instant::now());
                        }
                        lane.step_ended(session, done, own, ctx);
                    });
                });
            }
            Next::Find { leaves, after } => {
                let find = own.plan.store.changes_in.clone();
                let limit = room.min(BATCH_MAX);
                let work = async move { ask(&find, ChangesIn { leaves, after, limit }).await };
                spawn(ctx, work, |found, actor, ctx| {
                    actor.with(|lane, own| {
                        match (found, &mut lane.window) {
                            (Ok(page), Some(window)) => {
                                let its = its_part(&own.plan, window.peer());
                                let taken = u64::try_from(window.doubt(page.entries, its)).unwrap_or(u64::MAX);
                                own.plan.tally.doubted.fetch_add(taken, Ordering::Relaxed);
                                lane.compare.found(Instant::now(), page.complete);
                            }
                            (Ok(_), None) => lane.compare.failed(Instant::now()),
                            (Err(error), _) => {
                                lane.compare.failed(Instant::now());
                                lane.own_store_failed(&error, own, ctx);
                            }
                        }
                        lane.pump(own, ctx);
                    });
                });
            }
        }
    }

    pub(super) fn round_ended(&mut self, leaves: usize, own: &LaneContext) {
        let tally = &own.plan.tally;
        tally.compared.fetch_add(1, Ordering::Relaxed);
        let count = u64::try_from(leaves).unwrap_or(u64::MAX);
        *tally.last_round.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), count));
        if leaves > 0 {
            tally.differing_leaves.fetch_add(count, Ordering::Relaxed);
            log::warn!(peer:% = own.plan.peer, leaves; "peer differs beyond what is on its way: offered again");
        }
    }
}
