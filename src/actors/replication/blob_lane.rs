//! A blob lane: ships one blob at a time, or several short ones together, and then their records. Of an object in parts it
//! ships one part after the other, and then its record. It dials when it has work, and an idle one sends nothing. A blob
//! that another lane carries already is not sent twice: its record follows when that has arrived.

use crate::actors::messages::{Change, FetchRecords, OpenOutgoing};
use crate::actors::peer::conn::{Conn, may_be_forgotten};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::meeting::meet;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::ask;
use crate::actors::peer::transfers::{Carried, Kind, Part, ended};
use crate::actors::replication::actor::{Lane, LaneContext, ReplicaActor, spawn};
use crate::actors::replication::carry::carry;
use crate::actors::replication::lease::{Fate, Lease, ShipBlobs};
use crate::actors::replication::parcel::{self, Item, Outcome};
use crate::base::{BlobRef, BodyId};
use crate::store::StoreError;
use crate::wire::{Answer, Call, LEARN_BYTES_MAX};
use actix::{Context, Handler};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is shown of a body that the peer did not take among others.
const REFUSED: &str = "the peer did not take the body";

/// The state of a blob lane.
#[derive(Default)]
pub struct BlobLane {
    conn: Option<Conn>,
    busy: bool,
    /// A records lane lends again when all that it lent is back; more comes from a records lane built anew.
    queue: VecDeque<Vec<Lease>>,
}

impl Lane for BlobLane {
    fn new(_: &Plan) -> Self {
        BlobLane::default()
    }
}

impl Handler<ShipBlobs> for ReplicaActor<BlobLane> {
    type Result = ();
    fn handle(&mut self, ShipBlobs(leases): ShipBlobs, ctx: &mut Context<Self>) {
        self.with(|lane, own| lane.take(leases, own, ctx));
    }
}

impl BlobLane {
    fn take(&mut self, leases: Vec<Lease>, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        self.queue.push_back(leases);
        self.next(own, ctx);
    }

    fn next(&mut self, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        if self.busy {
            return;
        }
        let Some(leases) = self.queue.pop_front() else { return };
        self.busy = true;
        let work = run(own.clone(), self.conn.take(), leases);
        spawn(ctx, work, |conn, actor, ctx| {
            actor.with(|lane, own| {
                lane.conn = conn;
                lane.busy = false;
                lane.next(own, ctx);
            });
        });
    }
}

/// Ships what is lent, and returns the session when it can be used again.
async fn run(own: LaneContext, mut conn: Option<Conn>, leases: Vec<Lease>) -> Option<Conn> {
    let mut left = VecDeque::from(leases);
    while left.front().is_some_and(|lease| short(&lease.change).is_some()) {
        let reused = conn.is_some();
        match together(&own, &mut conn, &mut left).await {
            Ok(()) => break,
            // The peer may have restarted since this session was used: that is no failure yet.
            Err(error) if reused && may_be_forgotten(&error) => conn = None,
            Err(error) => {
                if error.breaks_link() {
                    conn = None;
                }
                left.drain(..).for_each(|lease| lease.end(failed(&error)));
            }
        }
    }
    while let Some(lease) = left.pop_front() {
        conn = one(&own, conn, lease).await;
    }
    conn
}

/// The body of a change that has one, and a short one.
fn short(change: &Change) -> Option<BlobRef> {
    change.blob.filter(|blob| !change.in_parts && parcel::is_short(blob))
}

fn failed(error: &LinkError) -> Fate {
    Fate::Failed { class: error.class(), text: error.to_string() }
}

/// Ships the bodies that nobody else carries in one request, and their records in another. What remains is to be tried
/// by itself: what somebody else carries, and what has another body or record by now.
async fn together(own: &LaneContext, conn: &mut Option<Conn>, left: &mut VecDeque<Lease>) -> Result<(), LinkError> {
    let conn = session(own, conn).await?;
    let became = ship_together(&own.plan, conn, left).await?;
    let of = |lease: &Lease| lease.change.blob.and_then(|blob| became.get(&blob.body).copied());
    let mut shipped = Vec::new();
    for lease in std::mem::take(left) {
        match of(&lease) {
            Some(Outcome::There) => shipped.push(lease),
            Some(Outcome::Refused(class)) => lease.end(Fate::Failed { class, text: REFUSED.to_owned() }),
            Some(Outcome::NotSent) | None => left.push_back(lease),
        }
    }
    let taught = match teach_together(&own.plan, conn, &shipped).await {
        Ok(taught) => taught,
        Err(error) => {
            // One of the records may be why: each is tried by itself, but for a link that is lost.
            left.extend(shipped);
            return if error.breaks_link() { Err(error) } else { Ok(()) };
        }
    };
    own.plan.tally.shipped_records.fetch_add(taught.len() as u64, Ordering::Relaxed);
    for lease in shipped {
        match taught.contains(&lease.change.seq) {
            true => lease.end(Fate::Acked),
            false => left.push_back(lease),
        }
    }
    Ok(())
}

/// What became of the bodies that this lane carries.
async fn ship_together(
    plan: &Arc<Plan>,
    session: &mut Conn,
    leases: &VecDeque<Lease>,
) -> Result<HashMap<BodyId, Outcome>, LinkError> {
    let to = session.info.incarnation;
    let mut items = Vec::new();
    for blob in leases.iter().filter_map(|lease| short(&lease.change)) {
        if let Part::Lead(lead) = plan.transfers.join(to, blob.body, blob.sealed_len) {
            items.push(Item { blob, sealed: None, lead });
        }
    }
    let _turn = plan.transfers.turn(Kind::Parcel(parcel::to_read(&items))).await.ok_or(LinkError::NotMoved)?;
    items.iter().for_each(|item| item.lead.has_turn());
    parcel::read(plan, &mut items).await?;
    let _in_flight = InFlight::new(plan, parcel::to_send(&items));
    let outcomes = parcel::ship(plan, session, &items).await?;
    let mut became = HashMap::new();
    for (item, outcome) in items.into_iter().zip(outcomes) {
        became.insert(item.blob.body, outcome);
        // Of one that was not sent nothing is told: who waits for it carries it himself.
        if outcome != Outcome::NotSent {
            item.lead.end(outcome.carried());
        }
    }
    Ok(became)
}

/// Teaches the records that are what was offered, in one call. The numbers of those changes.
async fn teach_together(plan: &Plan, conn: &mut Conn, leases: &[Lease]) -> Result<HashSet<u64>, LinkError> {
    // Before the records are read: see `register::Request::Learn`.
    let epoch = plan.node_view.ballots.voting().list.epoch;
    let keys = leases.iter().map(|lease| lease.change.key.clone()).collect();
    let fetch = FetchRecords { keys, bytes_max: LEARN_BYTES_MAX };
    let mut found: HashMap<_, _> = ask(&plan.store.fetch_records, fetch).await?.into_iter().collect();
    let (mut records, mut taught) = (Vec::new(), HashSet::new());
    for Change { key, ballot, seq, .. } in leases.iter().map(|lease| &lease.change) {
        if found.get(key).is_some_and(|record| record.ballot == *ballot) {
            records.extend(found.remove_entry(key));
            taught.insert(*seq);
        }
    }
    if records.is_empty() {
        return Ok(taught);
    }
    Counts::add(&plan.tally.sent.learns);
    match conn.call(&Call::Learn(epoch, records)).await? {
        Answer::Done => Ok(taught),
        _ => Err(LinkError::Unfitting),
    }
}

/// A session in which the two have met.
async fn session<'a>(own: &LaneContext, conn: &'a mut Option<Conn>) -> Result<&'a mut Conn, LinkError> {
    let conn = match conn {
        Some(conn) => conn,
        None => {
            Counts::add(&own.plan.tally.sent.hellos);
            conn.insert(own.dialer.dial().await?)
        }
    };
    // Nothing counts between two nodes that have not told each other how they stand.
    if conn.start.is_none() {
        meet(&own.plan, conn).await?;
    }
    Ok(conn)
}

/// Ships one lease, and returns the session when it can be used again.
async fn one(own: &LaneContext, mut conn: Option<Conn>, lease: Lease) -> Option<Conn> {
    loop {
        let reused = conn.is_some();
        let done = attempt(own, &mut conn, &lease.change).await;
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
                failed(&error)
            }
        };
        lease.end(fate);
        return conn;
    }
}

async fn attempt(own: &LaneContext, conn: &mut Option<Conn>, change: &Change) -> Result<Fate, LinkError> {
    let Some(bodies) = bodies_of(&own.plan, change).await? else { return Ok(Fate::Superseded) };
    let conn = session(own, conn).await?;
    for blob in bodies {
        if !ship(&own.plan, conn, change, blob).await? {
            return Ok(Fate::Superseded);
        }
    }
    teach(&own.plan, conn, change).await
}

/// The bodies of a change; none where its register holds another state by now.
async fn bodies_of(plan: &Plan, change: &Change) -> Result<Option<Vec<BlobRef>>, LinkError> {
    if !change.in_parts {
        return Ok(change.blob.map(|blob| vec![blob]));
    }
    let record = plan.store.record(&change.key).await?.filter(|record| record.ballot == change.ballot);
    Ok(record.map(|record| record.bodies().collect()))
}

/// Ships one body of a change, unless somebody else does. False where its register does not refer to it any more.
async fn ship(plan: &Arc<Plan>, conn: &mut Conn, change: &Change, blob: BlobRef) -> Result<bool, LinkError> {
    let BlobRef { body, sealed_len, .. } = blob;
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
            Err(LinkError::Store(StoreError::NoSuchKey)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let in_flight = InFlight::new(plan, sealed_len);
        let shipped = carry(plan, conn, blob, outgoing, lead.sent()).await;
        lead.end(Carried::by(&shipped));
        shipped?;
        drop(in_flight);
        plan.tally.shipped_bytes.fetch_add(sealed_len, Ordering::Relaxed);
    }
    Ok(true)
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
