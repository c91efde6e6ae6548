//! Bodies on their way to a peer: large ones when they are whole, while they are made, and taken back.
//!
//! Invariants
//! - A body is taken back behind all that is on its way of it: what comes after its end would stay.
//! - A body waits for its turn without a session; who asks for one that is under way hears what becomes of it.
//! - A peer that takes no more at the moment is asked again, for `BUSY_MAX`.

use super::{Done, Idle, call, is_with, on_session};
use crate::actors::body_streams::LAG_MAX;
use crate::actors::messages::OpenOutgoing;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::patience::BUSY_MAX;
use crate::actors::peer::peer_request::NewStream;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::ask;
use crate::actors::peer::transfers::{Carried, Kind, Part, Sent, ended, unless_left};
use crate::actors::replication::actor::LaneContext;
use crate::actors::replication::carry;
use crate::base::{BlobRef, BodyId, Incarnation};
use crate::seal::random;
use crate::wire::{Call, Refusal};
use actix_rt::time::{Instant, timeout};
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Carries a large body to the peer, or waits for whoever does.
pub(super) async fn ship_one(
    own: LaneContext,
    idle: Idle,
    to: Incarnation,
    head: BlobRef,
    mut done: oneshot::Sender<Carried>,
) -> Done {
    let plan: &Plan = &own.plan;
    let lead = loop {
        let ending = match plan.transfers.join(to, head.body, head.sealed_len) {
            Part::Lead(lead) => break lead,
            Part::Follow(ending) => ending,
        };
        match unless_left(ended(ending), done.closed()).await {
            Some(Some(carried)) => {
                let _ = done.send(carried);
                return Done::Idle;
            }
            // Whoever carried it gave it up: somebody else does.
            Some(None) => {}
            None => return Done::Idle,
        }
    };
    let _turn = match unless_left(plan.transfers.turn_of(&lead), done.closed()).await {
        Some(Some(turn)) => turn,
        Some(None) => {
            lead.end(Carried::Not);
            return Done::Idle;
        }
        // Others may wait for it still.
        None => return Done::Idle,
    };
    let shipped = carry(&own, &idle, to, head, lead.sent()).await;
    let carried = Carried::by(&shipped);
    lead.end(carried);
    let _ = done.send(carried);
    match shipped {
        Ok(()) => {
            plan.tally.shipped_bytes.fetch_add(head.sealed_len, Ordering::Relaxed);
            Done::Answered
        }
        Err(error) => Done::Failed(error),
    }
}

async fn carry(own: &LaneContext, idle: &Idle, to: Incarnation, head: BlobRef, sent: &Sent) -> Result<(), LinkError> {
    let plan: &Plan = &own.plan;
    let until = Instant::now() + BUSY_MAX;
    loop {
        let shipped = on_session(own, idle, async |session| {
            is_with(session, to)?;
            let blob = ask(&plan.store.open_outgoing, OpenOutgoing { body: head.body }).await?;
            carry::carry(plan, session, head, blob, sent).await
        })
        .await;
        match shipped {
            Err(LinkError::Refused(Refusal::Busy)) if Instant::now() < until => {}
            done => return done,
        }
    }
}

/// A stream cannot begin anew, and is not missed: whoever made it ships the blob when it is whole. So it says
/// nothing of the link either, and waits for its turn no longer than a client waits for it.
pub(super) async fn stream_one(own: LaneContext, idle: Idle, stream: NewStream) {
    let plan: &Plan = &own.plan;
    let NewStream { to, head, pieces, sent, whole, mut done } = stream;
    let turn = timeout(LAG_MAX, unless_left(plan.transfers.turn(Kind::Stream), done.closed())).await;
    let Ok(Some(Some(_turn))) = turn else { return };
    if pieces.is_closed() && !whole.load(Ordering::Acquire) {
        return;
    }
    let mut pieces = Some(pieces);
    let streamed = on_session(&own, &idle, async |session| {
        is_with(session, to)?;
        let pieces = pieces.take().ok_or(LinkError::Silent)?;
        Counts::add(&plan.tally.sent.blobs);
        session.stream(head, pieces, &sent).await
    })
    .await;
    match streamed {
        Ok(()) => drop(done.send(Carried::There)),
        Err(error) => log::debug!(peer:% = plan.peer, error:% = error; "a body is sent again when it is whole"),
    }
}

/// Asks whether the peer has room for a body of that length; it is not sent.
pub(super) async fn room_one(
    own: LaneContext,
    idle: Idle,
    to: Incarnation,
    bytes: u64,
    mut has: oneshot::Sender<bool>,
) -> Done {
    let turn = unless_left(own.plan.transfers.turn(Kind::Call), has.closed()).await;
    let Some(Some(_turn)) = turn else { return Done::Idle };
    let head = BlobRef { body: BodyId(random()), sealed_len: bytes, digest: random() };
    let asked = on_session(&own, &idle, async |session| {
        is_with(session, to)?;
        call(session, &Call::Bring(head)).await.map(drop)
    })
    .await;
    match Carried::by(&asked) {
        Carried::There => drop(has.send(true)),
        Carried::NoRoom => drop(has.send(false)),
        Carried::Not => {}
    }
    asked.map_or_else(Done::Failed, |()| Done::Answered)
}

pub(super) async fn discard_one(own: LaneContext, idle: Idle, to: Incarnation, body: BodyId) -> Done {
    // The peer may still be making it durable: it would say that there is none, and have it a moment later.
    own.plan.transfers.over(to, body).await;
    let Some(_turn) = own.plan.transfers.turn(Kind::Call).await else { return Done::Idle };
    let discarded = on_session(&own, &idle, async |session| {
        is_with(session, to)?;
        call(session, &Call::Discard(body)).await
    })
    .await;
    discarded.map_or_else(Done::Failed, |_| Done::Answered)
}

#[cfg(test)]
mod tests;
