//! What a records lane is told and asked: by its keeper, by the blob lanes, by whoever wants to see how it is.
//!
//! Invariant: after each of these the lane looks at what can be started now.

use super::link::Link;
use super::window::Window;
use super::{BlobSlot, RecordsLane, pause};
use crate::actors::messages::Change;
use crate::actors::peer::node_view::Counts;
use crate::actors::replication::actor::{LaneContext, ReplicaActor};
use crate::actors::replication::lease::{Fate, LeaseEnded, ShipBlobs};
use crate::actors::status::ReplicaStatus;
use actix::{Context, Handler, Message, MessageResult, Recipient};
use std::time::{Instant, SystemTime};
use tokio::sync::oneshot;

/// Asks a records lane how it is.
#[derive(Debug, Message)]
#[rtype(result = "ReplicaStatus")]
pub struct Observe;

/// Tells the records lane which blob lanes there are.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetLanes(pub Vec<Recipient<ShipBlobs>>);

/// Nothing new is sent; `done` hears when what was sent is answered and the cursor is saved.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainLane {
    /// Dropped unanswered when the actor dies before.
    pub done: oneshot::Sender<()>,
}

impl Handler<SetLanes> for ReplicaActor<RecordsLane> {
    type Result = ();
    fn handle(&mut self, SetLanes(lanes): SetLanes, ctx: &mut Context<Self>) {
        self.with(|lane, own| lane.set_lanes(lanes, own, ctx));
    }
}

impl Handler<LeaseEnded> for ReplicaActor<RecordsLane> {
    type Result = ();
    fn handle(&mut self, ended: LeaseEnded, ctx: &mut Context<Self>) {
        self.with(|lane, own| lane.lease_ended(ended, own, ctx));
    }
}

impl Handler<Observe> for ReplicaActor<RecordsLane> {
    type Result = MessageResult<Observe>;
    fn handle(&mut self, _: Observe, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.with(|lane, own| lane.status(own)))
    }
}

impl Handler<DrainLane> for ReplicaActor<RecordsLane> {
    type Result = ();
    fn handle(&mut self, DrainLane { done }: DrainLane, ctx: &mut Context<Self>) {
        self.with(|lane, own| lane.drain(done, own, ctx));
    }
}

impl RecordsLane {
    fn set_lanes(
        &mut self,
        lanes: Vec<Recipient<ShipBlobs>>,
        own: &LaneContext,
        ctx: &mut Context<ReplicaActor<Self>>,
    ) {
        let before = std::mem::take(&mut self.slots);
        let lent =
            |lane: &Recipient<ShipBlobs>| before.iter().find(|slot| slot.lane == *lane).map_or(0, |slot| slot.lent);
        self.slots = lanes.into_iter().map(|lane| BlobSlot { lent: lent(&lane), lane }).collect();
        self.pump(own, ctx);
    }

    fn lease_ended(&mut self, ended: LeaseEnded, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let LeaseEnded { window: number, lane, seq, fate } = ended;
        if let Some(slot) = self.slots.get_mut(lane) {
            slot.lent = slot.lent.saturating_sub(1);
        }
        match self.window.as_mut().filter(|window| window.number() == number) {
            None => Counts::add(&own.plan.tally.late_replies),
            Some(window) => match fate {
                Fate::Acked => {
                    if window.ack(seq) {
                        Counts::add(&own.plan.tally.repaired);
                    }
                }
                Fate::Superseded => {
                    window.ack(seq);
                }
                Fate::Lost => window.failed(seq, Instant::now(), |tries| pause(&own.plan, tries)),
                Fate::Failed { text, .. } => {
                    window.failed(seq, Instant::now(), |tries| pause(&own.plan, tries));
                    self.last_error = Some(text);
                }
            },
        }
        self.pump(own, ctx);
    }

    fn drain(&mut self, done: oneshot::Sender<()>, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        self.drained = true;
        self.draining.push(done);
        self.pump(own, ctx);
    }

    /// Tells whoever waits for the drain, once nothing is in flight and the cursor is saved.
    pub(super) fn finish_drain(&mut self) {
        let in_flight = match &self.link {
            Link::Up { conn, .. } => conn.is_none(),
            Link::Down { .. } | Link::Dialing { .. } | Link::Refused { .. } => false,
        };
        let unsaved = self.window.as_ref().is_some_and(|window| window.is_busy() || window.cursor() > self.saved);
        if !in_flight && !unsaved && !self.saving {
            for done in self.draining.drain(..) {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }

    fn status(&self, own: &LaneContext) -> ReplicaStatus {
        let head = *self.head.borrow();
        let window = self.window.as_ref();
        let acked = window.map_or(0, Window::cursor);
        let has_all = self.has_all() || self.is_unheard(own);
        let oldest = window.and_then(Window::oldest);
        let pulse = self.heard.as_ref().map(|(_, pulse)| pulse);
        let mut status = ReplicaStatus {
            peer: own.plan.peer.to_string(),
            url: own.plan.url.clone(),
            link: self.link.state(),
            tries: self.link.tries(),
            incarnation: self.peer,
            changes_behind: if has_all { 0 } else { head.saturating_sub(acked) },
            in_flight: window.map_or(0, Window::open),
            oldest_change_age_s: oldest.map_or(0, age_s),
            acked_seq: acked,
            last_error: self.last_error.clone(),
            last_heartbeat_age_s: self.heard.as_ref().map(|(at, _)| at.elapsed().as_secs()),
            peer_free: pulse.map(|pulse| pulse.free),
            peer_version: pulse.map(|pulse| pulse.version.clone()),
            peer_starts: pulse.map(|pulse| pulse.standing.start.number),
            peer_head: pulse.map(|pulse| pulse.standing.head),
            health: pulse.map(|pulse| pulse.health),
            ..ReplicaStatus::default()
        };
        own.plan.tally.show(&mut status);
        status
    }
}

/// By the writer's clock, so for people only.
fn age_s(change: &Change) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs().saturating_sub(change.ballot.stamp.clock_ms() / 1000)
}
