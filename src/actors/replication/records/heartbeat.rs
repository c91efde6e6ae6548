//! Heartbeats: what two nodes tell each other when nothing else is to be said, and what follows from it.

use super::RecordsLane;
use crate::actors::peer::conn::Conn;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::meeting::meet;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::{forming, list_exchange};
use crate::actors::replication::actor::{LaneContext, ReplicaActor, spawn};
use crate::actors::replication::records::window::Window;
use crate::wire::Pulse;
use actix::Context;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

impl RecordsLane {
    /// Sends one over the session; the step ends with its answer.
    pub(super) fn send_beat(&mut self, mut session: Conn, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let plan = Arc::clone(&own.plan);
        Counts::add(&plan.tally.sent.heartbeats);
        let work = async move {
            let answer = beat(&plan, &mut session).await;
            (session, answer)
        };
        spawn(ctx, work, |(session, answer), actor, ctx| {
            actor.with(|lane, own| {
                let done = answer.map(|pulse| {
                    let now = Instant::now();
                    // Where one of the two has no place they hold different things, and rightly so.
                    let own_root = (own.plan.node_view.root)().filter(|_| shares_list(own, &pulse));
                    if lane.compare.heard(now, own_root, pulse.root) {
                        lane.round_ended(0, own);
                    }
                    lane.see_epoch(&pulse, own);
                    own.plan.lane.full.store(pulse.health.full, Ordering::Relaxed);
                    own.plan.lane.room.set(pulse.free);
                    own.plan.lane.read_only.store(pulse.health.poisoned, Ordering::Relaxed);
                    lane.heard = Some((now, pulse));
                });
                lane.step_ended(session, done, own, ctx);
            });
        });
    }

    /// Whether to look oftener how the peer is: the cluster has yet to form, the peer has yet to enter the epoch in
    /// which it was given its place, has another list than this node, or has yet to be ready.
    pub(super) fn awaits_news(&self, own: &LaneContext) -> bool {
        let voting = own.plan.node_view.ballots.voting();
        match (&voting.node.roster, &self.heard) {
            (None, _) => own.plan.seats.is_some(),
            (Some(list), Some((_, pulse))) => {
                let since = list.since(pulse.incarnation);
                let news = since.is_some_and(|since| since > pulse.list.epoch)
                    || (since.is_some() && (pulse.list != voting.list || !pulse.health.ready));
                self.peer == Some(pulse.incarnation) && news
            }
            (Some(_), None) => false,
        }
    }

    /// Begins the feed anew when the peer has entered the epoch of its place since the window began.
    fn see_epoch(&mut self, pulse: &Pulse, own: &LaneContext) {
        let Some(peer) = self.window.as_ref().map(Window::peer).filter(|peer| *peer == pulse.incarnation) else {
            return;
        };
        let voting = own.plan.node_view.ballots.voting();
        if self.cleared_peer.is_lost(peer, pulse.list.epoch, voting.node.roster.as_deref()) {
            log::info!(peer:% = own.plan.peer; "peer was given its place: all changes are offered again");
            // Its cursor is at the front since the list came into force here (`store::seats`).
            self.window = None;
        }
    }
}

/// Whether what the peer holds is to be the same as here. A node without a place in the member list may hold what the
/// members have dropped; it begins with nothing when it is given one.
fn shares_list(own: &LaneContext, pulse: &Pulse) -> bool {
    let voting = own.plan.node_view.ballots.voting();
    let me = own.plan.node_view.me.incarnation;
    let Some(roster) = &voting.node.roster else { return true };
    roster.seats_node(me) == roster.seats_node(pulse.incarnation)
}

/// A heartbeat, and what follows from it for the member list.
async fn beat(plan: &Plan, session: &mut Conn) -> Result<Pulse, LinkError> {
    let pulse = meet(plan, session).await?;
    // Another life answered than the one that the session is with: nothing of it counts.
    if session.start.is_none() {
        return Ok(pulse);
    }
    let voting = plan.node_view.ballots.voting();
    plan.node_view.lists.heard(&plan.peer, voting.list, pulse.list);
    plan.node_view.keys.heard(&plan.peer, pulse.incarnation, pulse.keys.clone());
    let Some(seats) = &plan.seats else { return Ok(pulse) };
    let next = {
        let mut seats = seats.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = crate::store::system_ms();
        seats.heard(Instant::now(), now_ms, &pulse, voting.list, (plan.node_view.root)())
    };
    match next {
        forming::Next::Wait => {}
        forming::Next::Found(roster) => list_exchange::adopt(&plan.store, Arc::new(roster)).await?,
        forming::Next::Fetch => list_exchange::fetch(plan, session).await?,
    }
    Ok(pulse)
}
