//! The records lane: reads the change feed behind the peer's cursor, offers, sends records, hands
//! blobs to the other lanes, keeps the cursor, and holds the state of the link.
//!
//! Invariants
//! - The cursor that is saved is the window's: below everything not acknowledged. A restart, a panic or
//!   a power loss costs repetition, never a change.
//! - One request is in flight; one read of the own feed may run beside it.
//! - A node that the peer takes nothing from, since it has no place in the list, keeps no window: when it is given
//!   one it begins again behind the durable cursor.
//! - A peer that is given a place drops what it had, and what it acknowledged before counts for nothing: its feed
//!   begins at the front when it is seen in the epoch of its place.
//! - An idle lane sends heartbeats and nothing else. Time is looked at whenever anything happens, and
//!   at least once a tick.
//!
//! | file | | what |
//! |---|---|---|
//! | `messages` | does | what the lane is told and asked |
//! | `link` `dialing` | decides, does | where the link is between a failed try and a session; getting one, losing one |
//! | `window` | decides | what is in flight to the peer, and what comes next |
//! | `offer_step` | does | offers a batch, sends what is wanted |
//! | `heartbeat` | does | what two nodes tell each other when nothing else is to be said |
//! | `compare` | decides | when everything is compared, and which differences last |
//! | `compare_step` `tree_walk` | does | one look at the differences between two trees |
//! | `cleared_peer` | decides | whether the peer has dropped what it had acknowledged |

mod cleared_peer;
pub mod compare;
mod compare_step;
mod dialing;
pub(in crate::actors) mod heartbeat;
mod link;
pub mod messages;
mod offer_step;
mod tree_walk;
pub mod window;

use self::cleared_peer::ClearedPeer;
use self::link::Link;
use crate::actors::messages::{Change, ChangesAfter, SaveCursor};
use crate::actors::peer::conn::Conn;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::list_exchange;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::ask;
use crate::actors::replication::actor::{Lane, LaneContext, ReplicaActor, spawn};
use crate::actors::replication::lease::{Lease, ShipBlobs};
use crate::actors::replication::parcel::Filling;
use crate::actors::replication::records::compare::Compare;
use crate::actors::replication::records::offer_step::{BATCH_MAX, Report, send};
use crate::actors::replication::records::window::Window;
use crate::actors::status::LinkState;
use crate::base::{Epoch, Incarnation};
use crate::seal;
use crate::wire::Pulse;
use actix::{ActorContext, AsyncContext, Context, Recipient};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

struct BlobSlot {
    lane: Recipient<ShipBlobs>,
    /// Leases that it has.
    lent: usize,
}

/// The state of the records lane.
pub struct RecordsLane {
    link: Link,
    /// Who is at the other end.
    peer: Option<Incarnation>,
    window: Option<Window>,
    cleared_peer: ClearedPeer,
    slots: Vec<BlobSlot>,
    head: watch::Receiver<u64>,
    reading: bool,
    /// The head at which the feed had nothing new, and when: no need to ask again soon before it moves.
    dry: Option<(u64, Instant)>,
    not_read_before: Option<Instant>,
    saved: u64,
    saving: bool,
    saved_at: Option<Instant>,
    beat_at: Option<Instant>,
    heard: Option<(Instant, Pulse)>,
    compare: Compare,
    draining: Vec<oneshot::Sender<()>>,
    drained: bool,
    last_error: Option<String>,
    /// The state that was logged last: each change is logged once.
    logged: Option<LinkState>,
}

impl Lane for RecordsLane {
    fn new(plan: &Plan) -> Self {
        RecordsLane {
            link: Link::Down { tries: 0, until: Instant::now() },
            peer: None,
            window: None,
            cleared_peer: ClearedPeer::default(),
            slots: Vec::new(),
            head: plan.node_view.head.clone(),
            reading: false,
            dry: None,
            not_read_before: None,
            saved: 0,
            saving: false,
            saved_at: None,
            beat_at: None,
            heard: None,
            compare: Compare::new(plan.timing.compare, plan.timing.settle, Instant::now()),
            draining: Vec::new(),
            drained: false,
            last_error: None,
            logged: None,
        }
    }

    fn started(&mut self, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        ctx.run_interval(own.plan.timing.tick, |actor, ctx| {
            actor.with(|lane, own| lane.pump(own, ctx));
        });
        watch_head(self.head.clone(), ctx);
        self.pump(own, ctx);
    }

    /// What was in flight is gone with its futures: everything is found again behind the cursor.
    fn restarting(&mut self, own: &LaneContext) {
        let tries = self.link.tries() + 1;
        self.link = Link::Down { tries, until: Instant::now() + pause(&own.plan, tries) };
        self.window = None;
        self.reading = false;
        self.saving = false;
        self.dry = None;
        self.compare.failed(Instant::now());
    }
}

impl RecordsLane {
    /// Starts whatever can be started now. Called after every event.
    fn pump(&mut self, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        // Timers and waits keep an actor alive that nobody can reach any more.
        if !ctx.connected() {
            ctx.terminate();
            return;
        }
        let now = Instant::now();
        self.save_cursor(now, own, ctx);
        if self.drained {
            self.finish_drain();
            return;
        }
        // It may hold what everybody else has deleted and forgotten. (Without a member list nothing is forgotten.)
        let ballots = &own.plan.node_view.ballots;
        if ballots.doubts() && ballots.voting().node.roster.is_some() {
            return;
        }
        match &self.link {
            Link::Down { until, .. } if *until <= now || own.plan.node_view.reach.knocked(&own.plan.peer) => {
                self.dial(own, ctx);
            }
            Link::Refused { until } if *until <= now => self.dial(own, ctx),
            Link::Down { .. } | Link::Refused { .. } | Link::Dialing { .. } => {}
            Link::Up { .. } if self.is_unheard(own) => {
                self.window = None;
                self.step(now, own, ctx);
            }
            Link::Up { conn, .. } if self.window.is_none() => {
                if conn.is_some() {
                    self.dial(own, ctx);
                }
            }
            Link::Up { .. } => {
                self.read_feed(now, own, ctx);
                self.compare_all(now, own, ctx);
                self.lend_blobs(now, own.plan.transfers.parcel_bytes(), ctx);
                self.step(now, own, ctx);
            }
        }
    }

    /// Whether the peer is a member and takes nothing from this node, which is none.
    fn is_unheard(&self, own: &LaneContext) -> bool {
        let voting = own.plan.node_view.ballots.voting();
        let (Some(list), Some(peer)) = (&voting.node.roster, self.peer) else { return false };
        list.is_stranger(peer, own.plan.node_view.me.incarnation)
    }

    fn read_feed(&mut self, now: Instant, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let Some(window) = &self.window else { return };
        let head = *self.head.borrow();
        let wait = self.not_read_before.is_some_and(|at| at > now);
        let dry = self.dry.is_some_and(|(at, when)| at == head && now.duration_since(when) < own.plan.timing.heartbeat);
        if self.reading || wait || dry || head <= window.read_to() || window.room() == 0 {
            return;
        }
        self.reading = true;
        let limit = window.room().min(BATCH_MAX);
        let (after, number) = (window.read_to(), window.number());
        let feed = own.plan.store.changes_after.clone();
        let work = async move { ask(&feed, ChangesAfter { after, limit }).await };
        spawn(ctx, work, move |read, actor, ctx| {
            actor.with(|lane, own| {
                lane.reading = false;
                match read {
                    Ok(changes) => {
                        // Where nodes vote, the votes have brought it already, as a rule: what is left to say of
                        // it is said of many at once.
                        let gathers = own.plan.seats.is_some() && changes.len() < limit;
                        lane.not_read_before = gathers.then(|| Instant::now() + own.plan.timing.tick);
                        lane.dry = changes.is_empty().then(|| (head, Instant::now()));
                        lane.admit(number, changes, own);
                    }
                    Err(error) => lane.own_store_failed(&error, own, ctx),
                }
                lane.pump(own, ctx);
            });
        });
    }

    fn admit(&mut self, number: u64, changes: Vec<Change>, own: &LaneContext) {
        // The peer may have begun anew while the feed was read for what it had.
        if let Some(window) = self.window.as_mut().filter(|window| window.number() == number) {
            let peer = window.peer();
            window.admit(changes, its_part(&own.plan, peer));
        }
    }

    fn own_store_failed(&mut self, error: &LinkError, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        self.last_error = Some(error.to_string());
        self.not_read_before = Some(Instant::now() + own.plan.timing.backoff.cap);
        if let LinkError::StoreGone(_) = error {
            log::error!(peer:% = own.plan.peer, error:% = error; "the records lane lost its store");
            ctx.stop();
        }
    }

    /// Whether the peer has acknowledged all that the feed holds.
    fn has_all(&self) -> bool {
        let head = *self.head.borrow();
        let read = |w: &Window| w.read_to() >= head || self.dry.is_some_and(|(at, _)| at == head);
        self.window.as_ref().is_some_and(|w| w.open() == 0 && read(w))
    }

    fn lend_blobs(&mut self, now: Instant, bytes_max: u64, ctx: &mut Context<ReplicaActor<Self>>) {
        let Some(window) = &mut self.window else { return };
        let number = window.number();
        for (at, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.lent == 0) {
            // A dead lane's address stays until the keeper gives a new one.
            if !slot.lane.connected() {
                continue;
            }
            let mut filling = Filling::new(bytes_max);
            let changes = window.take_blobs(now, |change| filling.takes(len_of(change)));
            if changes.is_empty() {
                return;
            }
            slot.lent = changes.len();
            let lease = |change| Lease::new(change, number, at, ctx.address().recipient());
            slot.lane.do_send(ShipBlobs(changes.into_iter().map(lease).collect()));
        }
    }

    /// Starts the next request, if none is in flight: a heartbeat when one is due, else a batch.
    fn step(&mut self, now: Instant, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let timing = &own.plan.timing;
        let pause = if self.awaits_news(own) { timing.tick } else { timing.heartbeat };
        let Link::Up { conn, .. } = &mut self.link else { return };
        let Some(mut session) = conn.take() else { return };
        let plan = Arc::clone(&own.plan);
        // The heartbeat goes first: steady traffic would keep it off for ever.
        if self.beat_at.is_none_or(|at| now.duration_since(at) >= pause) {
            self.beat_at = Some(now);
            self.send_beat(session, own, ctx);
            return;
        }
        let batch = self.window.as_mut().map(|window| window.take_offers(now, BATCH_MAX)).unwrap_or_default();
        if batch.is_empty() {
            *conn = Some(session);
            return;
        }
        let work = async move {
            let mut report = Report::default();
            let done = match send(&plan, &mut session, batch, &mut report).await {
                Err(error) => Err(list_exchange::after_refusal(&plan, &mut session, error).await),
                done => done,
            };
            (session, report, done)
        };
        spawn(ctx, work, |(session, report, done), actor, ctx| {
            actor.with(|lane, own| {
                lane.apply(report, own);
                lane.step_ended(session, done, own, ctx);
            });
        });
    }

    fn apply(&mut self, report: Report, own: &LaneContext) {
        let Some(window) = &mut self.window else { return };
        for seq in report.unwanted {
            window.ack(seq);
        }
        for seq in report.acked {
            if window.ack(seq) {
                Counts::add(&own.plan.tally.repaired);
            }
        }
        report.blobs.into_iter().for_each(|seq| window.wants_blob(seq));
        for (seq, error) in report.failed {
            window.failed(seq, Instant::now(), |tries| pause(&own.plan, tries));
            self.last_error = Some(error.to_string());
        }
    }

    fn step_ended(
        &mut self,
        conn: Conn,
        done: Result<(), LinkError>,
        own: &LaneContext,
        ctx: &mut Context<ReplicaActor<Self>>,
    ) {
        match done {
            Ok(()) => {
                own.plan.node_view.reach.answered(&own.plan.peer, conn.info.incarnation);
                self.link = Link::Up { conn: Some(conn), tries: 0 };
            }
            Err(error) if error.breaks_link() || matches!(error, LinkError::StoreGone(_)) => {
                own.plan.node_view.reach.broke(&own.plan.peer);
                self.link_lost(error, own, ctx);
            }
            Err(error) => {
                // The link is sound; what a store could not do waits.
                self.link = Link::Up { conn: Some(conn), tries: 0 };
                self.last_error = Some(error.to_string());
                if let Some(window) = &mut self.window {
                    window.step_failed(Instant::now(), |tries| pause(&own.plan, tries));
                }
            }
        }
        self.pump(own, ctx);
    }

    fn save_cursor(&mut self, now: Instant, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let Some(window) = &self.window else { return };
        let (peer, seq) = (window.peer(), window.cursor());
        let pulse = self.heard.as_ref().map(|(_, pulse)| pulse).filter(|pulse| pulse.incarnation == peer);
        let heard_in = pulse.map_or(Epoch(0), |pulse| pulse.list.epoch);
        // Lazily: a cursor that is behind costs a few offers after a restart, a write per batch costs a
        // commit each.
        let due = self.drained || self.saved_at.is_none_or(|at| now.duration_since(at) >= own.plan.timing.save_cursor);
        if self.saving || !due || seq <= self.saved {
            return;
        }
        self.saving = true;
        self.saved_at = Some(now);
        let save = own.plan.store.save_cursor.clone();
        let work = async move { ask(&save, SaveCursor { peer, seq, heard_in }).await };
        spawn(ctx, work, move |saved, actor, ctx| {
            actor.with(|lane, own| {
                lane.saving = false;
                match saved {
                    Ok(()) if lane.window.as_ref().is_some_and(|window| window.peer() == peer) => lane.saved = seq,
                    Ok(()) => {}
                    Err(error) => {
                        // A drain does not wait for a store that cannot: the old cursor is as safe.
                        lane.saved = if lane.drained { u64::MAX } else { lane.saved };
                        lane.own_store_failed(&error, own, ctx);
                    }
                }
                lane.pump(own, ctx);
            });
        });
    }
}

/// Pumps whenever the head moves. The receiver goes round, so that no move is missed in between.
fn watch_head(mut head: watch::Receiver<u64>, ctx: &mut Context<ReplicaActor<RecordsLane>>) {
    let moved = async move { head.changed().await.is_ok().then_some(head) };
    spawn(ctx, moved, |head, actor, ctx| {
        let Some(head) = head else { return };
        watch_head(head, ctx);
        actor.with(|lane, own| lane.pump(own, ctx));
    });
}

/// What a peer is to have of changes, by where they lie: none of registers that others hold, and no body that others keep.
fn its_part(plan: &Plan, peer: Incarnation) -> impl Fn(Change) -> Option<Change> + use<> {
    let voting = plan.node_view.ballots.voting();
    move |change| {
        let blob = change.blob.filter(|blob| voting.keeps(peer, blob.body));
        voting.holds(peer, &change.key).then_some(Change { blob, ..change })
    }
}

/// Bytes of the body of a change, as parcels are filled. What has several goes alone.
fn len_of(change: &Change) -> u64 {
    if change.in_parts { u64::MAX } else { change.blob.map_or(0, |blob| blob.sealed_len) }
}

fn pause(plan: &Plan, tries: u32) -> Duration {
    plan.timing.backoff.delay(tries, u64::from_le_bytes(seal::random()))
}
