//! Short bodies that wait for the peer: many to a request.
//!
//! Invariants
//! - What waits when a request is made goes with it, as far as it fits; at most `UNDER_WAY_MAX` requests are under way.
//! - A body waits without a session; who asks for one that waits or is under way hears what becomes of it.
//! - What nobody waits for any more is not sent.
//! - A peer that takes no more at the moment is asked again, for `BUSY_MAX`.

use super::{Done, Idle, VotesLane, bodies, is_with, on_session, run};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::patience::BUSY_MAX;
use crate::actors::peer::peer_request::Given;
use crate::actors::peer::transfers::{Carried, Kind, Part, ended, unless_left};
use crate::actors::replication::actor::{LaneContext, ReplicaActor, spawn};
use crate::actors::replication::parcel::{self, Filling, Item, Outcome, is_short};
use crate::base::{BlobRef, Incarnation};
use crate::wire::Refusal;
use actix::Context;
use actix_rt::time::Instant;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// Most requests under way to one peer: while it makes one durable the next one travels.
const UNDER_WAY_MAX: usize = 2;

/// A body for the peer.
pub(super) struct Shipping {
    /// To which life of it.
    pub to: Incarnation,
    pub blob: BlobRef,
    /// Its bytes, if they are in memory.
    pub given: Option<Given>,
    /// Who waits for it.
    pub done: oneshot::Sender<Carried>,
}

/// What waits for the peer.
#[derive(Default)]
pub(super) struct Parcels {
    queue: VecDeque<Waiting>,
    under_way: usize,
}

struct Waiting {
    to: Incarnation,
    item: Item,
    /// Stands for the bytes in memory.
    given: Option<Given>,
    done: oneshot::Sender<Carried>,
}

impl Parcels {
    /// The peer is lost: none of what waits gets there.
    pub fn lost(&mut self) {
        self.queue.drain(..).for_each(|waiting| waiting.item.lead.end(Carried::Not));
    }

    /// What goes next, if there is something and one more may.
    fn next(&mut self, bytes_max: u64) -> Option<Vec<Waiting>> {
        if self.under_way == UNDER_WAY_MAX {
            return None;
        }
        self.queue.retain(|waiting| !waiting.done.is_closed());
        let to = self.queue.front()?.to;
        self.under_way += 1;
        let mut filling = Filling::new(bytes_max);
        let stays = |next: &Waiting| next.to != to || !filling.takes(next.item.blob.sealed_len);
        let count = self.queue.iter().position(stays).unwrap_or(self.queue.len());
        Some(self.queue.drain(..count).collect())
    }
}

impl VotesLane {
    /// Takes a body to the peer, with others if it is short, or waits for whoever does.
    pub(super) fn ship(&mut self, shipping: Shipping, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let Shipping { to, blob, given, mut done } = shipping;
        if !is_short(&blob) {
            return run(ctx, bodies::ship_one(own.clone(), self.idle.clone(), to, blob, done));
        }
        match own.plan.transfers.join(to, blob.body, blob.sealed_len) {
            Part::Lead(lead) => {
                let sealed = given.as_ref().map(|given| given.sealed.clone());
                let item = Item { blob, sealed, lead };
                self.parcels.queue.push_back(Waiting { to, item, given, done });
                self.pump_parcels(own, ctx);
            }
            Part::Follow(ending) => {
                let followed = async move {
                    let ended = unless_left(ended(ending), done.closed()).await;
                    (ended, done)
                };
                spawn(ctx, followed, move |(ended, done), actor, ctx| match ended {
                    Some(Some(carried)) => drop(done.send(carried)),
                    // Whoever carried it gave it up: somebody else does.
                    Some(None) => actor.with(|lane, own| lane.ship(Shipping { to, blob, given, done }, own, ctx)),
                    None => {}
                });
            }
        }
    }

    fn pump_parcels(&mut self, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        while let Some(parcel) = self.parcels.next(own.plan.transfers.parcel_bytes()) {
            let work = send(own.clone(), self.idle.clone(), parcel);
            spawn(ctx, work, |done, actor, ctx| {
                actor.with(|lane, own| {
                    lane.parcels.under_way -= 1;
                    lane.is_done(done, own);
                    lane.pump_parcels(own, ctx);
                });
            });
        }
    }
}

/// Sends what goes together, and tells those who wait what became of it.
async fn send(own: LaneContext, idle: Idle, parcel: Vec<Waiting>) -> Done {
    let Some(to) = parcel.first().map(|first| first.to) else { return Done::Idle };
    let (mut items, mut waiting) = (Vec::new(), Vec::new());
    for Waiting { item, given, done, .. } in parcel {
        items.push(item);
        waiting.push((given, done));
    }
    let sent = carry(&own, &idle, to, &mut items).await;
    let mut became = sent.as_ref().ok().and_then(Option::as_ref).cloned().unwrap_or_default().into_iter();
    for (item, (_given, done)) in items.into_iter().zip(waiting) {
        let carried = became.next().map_or(Carried::Not, Outcome::carried);
        item.lead.end(carried);
        // Who waited may have gone.
        let _ = done.send(carried);
    }
    match sent {
        Ok(Some(_)) => Done::Answered,
        Ok(None) => Done::Idle,
        Err(error) => Done::Failed(error),
    }
}

/// What became of each body; none where the peer was lost before it was their turn.
async fn carry(
    own: &LaneContext,
    idle: &Idle,
    to: Incarnation,
    items: &mut [Item],
) -> Result<Option<Vec<Outcome>>, LinkError> {
    let plan = &own.plan;
    let Some(_turn) = plan.transfers.turn(Kind::Parcel(parcel::to_read(items))).await else { return Ok(None) };
    items.iter().for_each(|item| item.lead.has_turn());
    for (_, error) in parcel::read(plan, items).await? {
        log::debug!(peer:% = plan.peer, error:% = error; "a body is not here to be sent");
    }
    let until = Instant::now() + BUSY_MAX;
    let items: &[Item] = items;
    loop {
        let shipped = on_session(own, idle, async |session| {
            is_with(session, to)?;
            parcel::ship(plan, session, items).await
        })
        .await;
        match shipped {
            Err(LinkError::Refused(Refusal::Busy)) if Instant::now() < until => {}
            done => return done.map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
