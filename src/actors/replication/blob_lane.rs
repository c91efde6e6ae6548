//! A blob lane: ships one blob at a time, then its record. It dials when it has work, and an idle one
//! sends nothing. A blob that another lane carries already is not sent twice: its record follows when that has arrived.

use crate::actors::messages::{Change, OpenOutgoing};
use crate::actors::peer::conn::{Conn, may_be_forgotten};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::meeting::meet;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::ask;
use crate::actors::peer::transfers::{Carried, Part, ended};
use crate::actors::replication::actor::{Lane, LaneContext, ReplicaActor, spawn};
use crate::actors::replication::carry::carry;
use crate::actors::replication::lease::{Fate, Lease, ShipBlob};
use crate::base::{BlobRef, BodyId};
use crate::store::StoreError;
use crate::wire::{Answer, Call};
use actix::{Context, Handler};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The state of a blob lane.
#[derive(Default)]
pub struct BlobLane {
    conn: Option<Conn>,
    busy: bool,
    /// A records lane gives one lease at a time; a second one comes from a records lane built anew.
    queue: VecDeque<Lease>,
}

impl Lane for BlobLane {
    fn new(_: &Plan) -> Self {
        BlobLane::default()
    }
}

impl Handler<ShipBlob> for ReplicaActor<BlobLane> {
    type Result = ();
    fn handle(&mut self, ShipBlob(lease): ShipBlob, ctx: &mut Context<Self>) {
        self.with(|lane, own| lane.take(lease, own, ctx));
    }
}

impl BlobLane {
    fn take(&mut self, lease: Lease, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        self.queue.push_back(lease);
        self.next(own, ctx);
    }

    fn next(&mut self, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        if self.busy {
            return;
        }
        let Some(lease) = self.queue.pop_front() else { return };
        self.busy = true;
        let work = run(own.clone(), self.conn.take(), lease);
        spawn(ctx, work, |conn, actor, ctx| {
            actor.with(|lane, own| {
                lane.conn = conn;
                lane.busy = false;
                lane.next(own, ctx);
            });
        });
    }
}

/// Ships one lease, and returns the session when it can be used again.
async fn run(own: LaneContext, mut conn: Option<Conn>, lease: Lease) -> Option<Conn> {
    loop {
        let reused = conn.is_some();
        let done = attempt(&own, &mut conn, &lease.change).await;
        let fate = match done {
            Ok(fate) => fate,
            // The peer may have restarted since this session was used: that is no failure yet.
            Err(error) if reused && may_be_forgotten(&error) => {
                conn = None;
                continue;
            }
            Err(error) => {
                if error.breaks_link() {
                    conn = None;
                }
                Fate::Failed { class: error.class(), text: error.to_string() }
            }
        };
        lease.end(fate);
        return conn;
    }
}

async fn attempt(own: &LaneContext, conn: &mut Option<Conn>, change: &Change) -> Result<Fate, LinkError> {
    let plan = &own.plan;
    let Some(blob) = change.blob else { return Ok(Fate::Superseded) };
    let BlobRef { body, sealed_len, .. } = blob;
    let conn = match conn {
        Some(conn) => conn,
        None => {
            Counts::add(&plan.tally.sent.hellos);
            conn.insert(own.dialer.dial().await?)
        }
    };
    // Nothing counts between two nodes that have not told each other how they stand.
    if conn.start.is_none() {
        meet(plan, conn).await?;
    }
    let lead = loop {
        let ending = match plan.transfers.join(conn.info.incarnation, body, sealed_len) {
            Part::Lead(lead) => break Some(lead),
            Part::Follow(ending) => ending,
        };
        match ended(ending).await {
            Some(Carried::There) => break None,
            Some(Carried::NoRoom | Carried::Not) => return Err(LinkError::NotMoved),
            // Whoever carried it gave it up.
            None => {}
        }
    };
    if let Some(lead) = lead {
        let _turn = plan.transfers.turn_of(&lead).await.ok_or(LinkError::NotMoved)?;
        let outgoing = match ask(&plan.store.open_outgoing, OpenOutgoing { body }).await {
            Ok(outgoing) => outgoing,
            Err(LinkError::Store(StoreError::NoSuchKey)) if still_refers(plan, change, body).await? => {
                return Err(LinkError::BlobMissing);
            }
            Err(LinkError::Store(StoreError::NoSuchKey)) => return Ok(Fate::Superseded),
            Err(error) => return Err(error),
        };
        let in_flight = InFlight::new(plan, sealed_len);
        let shipped = carry(plan, conn, blob, outgoing, lead.sent()).await;
        lead.end(Carried::by(&shipped));
        shipped?;
        drop(in_flight);
        plan.tally.shipped_bytes.fetch_add(sealed_len, Ordering::Relaxed);
    }
    teach(plan, conn, change).await
}

/// The record goes behind its body, if it is still the one that was offered.
async fn teach(plan: &Plan, conn: &mut Conn, change: &Change) -> Result<Fate, LinkError> {
    // Before the record is read: see `register::Request::Learn`.
    let epoch = plan.node_view.ballots.voting().list.epoch;
    let Some(record) = plan.store.record(&change.key).await? else { return Ok(Fate::Superseded) };
    // Another record than the offered one may not be chosen. Its own number comes with the feed.
    if record.ballot != change.ballot {
        return Ok(Fate::Superseded);
    }
    Counts::add(&plan.tally.sent.learns);
    match conn.call(&Call::Learn(epoch, vec![(change.key.clone(), record)])).await? {
        Answer::Done => {
            Counts::add(&plan.tally.shipped_records);
            Ok(Fate::Acked)
        }
        _ => Err(LinkError::Unfitting),
    }
}

async fn still_refers(plan: &Plan, change: &Change, body: BodyId) -> Result<bool, LinkError> {
    Ok(plan.store.record(&change.key).await?.is_some_and(|record| record.refers_to(body)))
}

/// Counts bytes as in flight for as long as it lives.
struct InFlight {
    plan: Arc<Plan>,
    bytes: u64,
}

impl InFlight {
    fn new(plan: &Arc<Plan>, bytes: u64) -> Self {
        plan.tally.in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
        InFlight { plan: Arc::clone(plan), bytes }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.plan.tally.in_flight_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
