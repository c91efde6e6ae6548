//! The votes lane: carries the messages of this node's coordinators to one peer.
//!
//! Invariants
//! - What waits for the peer at the same moment travels in one frame; at most `FRAMES_MAX` are under way.
//! - What waits and what is under way is bounded in bytes (`Plan::votes_bytes`) and in number; what is too much is
//!   lost.
//! - What needs no answer (marks) waits up to `MARKS_WAIT` for a frame that is sent anyway.
//! - A message is sent once. One that got lost, for whatever reason, drops its reply: its coordinator
//!   decides what to do, since it alone knows whether it still matters.
//! - Whatever counts for one life of the peer is asked of that life: who was wiped does not answer for who it was.
//! - Nothing that counts is asked in a session in which the two have not told each other how they stand.
//! - Votes that a peer refuses for its member list are lost too, but the one of the two that is behind has the
//!   other's list before the next ones go.
//! - A peer that does not answer costs its first askers `VOTE_MAX`, and everybody else nothing until it is
//!   tried again. Who waits for a majority may have it tried at any time (`PeerRequest::Probe`).
//!
//! | file | job |
//! |---|---|
//! | here | what waits, frames of votes, the link to the peer |
//! | `bodies` | bodies on their way to the peer: large ones, streams, and what is taken back |
//! | `parcels` | short bodies on their way to it |

mod bodies;
mod parcels;

use crate::actors::peer::conn::{Conn, may_be_forgotten};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::list_exchange;
use crate::actors::peer::meeting::meet;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::patience::DOWN_FOR;
use crate::actors::peer::patience::PROBE_EVERY;
use crate::actors::peer::patience::VOTE_MAX;
use crate::actors::peer::peer_request::{Cast, PeerRequest};
use crate::actors::peer::plan::Plan;
use crate::actors::peer::transfers::{Kind, unless_left};
use crate::actors::replication::actor::{Lane, LaneContext, ReplicaActor, spawn};
use crate::base::{Class, Incarnation, Page};
use crate::wire::{Answer, Call, ENTRIES_MAX, LEARN_BYTES_MAX, Pulse, Scan, Scanned, Show, Shown};
use actix::{AsyncContext, Context, Handler};
use parcels::{Parcels, Shipping};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most frames under way to one peer: what comes meanwhile goes in the next one. More were measured: smaller
/// frames, more of them, and fewer requests a second at 64 connections.
const FRAMES_MAX: usize = 1;
/// Most messages that wait; more are lost.
const QUEUE_MAX: usize = 16 * 1024;
/// How long what needs no answer waits for a frame that something else asks for.
const MARKS_WAIT: Duration = Duration::from_millis(50);

/// The state of a votes lane.
#[derive(Default)]
pub struct VotesLane {
    queue: VecDeque<Cast>,
    /// How many of the queue want an answer.
    urgent: usize,
    /// Bytes of the messages that wait or are under way.
    held: u64,
    marks: Marks,
    idle: Idle,
    parcels: Parcels,
    frames: usize,
    down_until: Option<Instant>,
    /// Who waits for the probe that is under way.
    probing: Vec<oneshot::Sender<()>>,
    probed: Option<Instant>,
}

/// Sessions that are not in use. Who waits for his turn holds none.
#[derive(Clone, Default)]
struct Idle(Rc<RefCell<Vec<Conn>>>);

impl Idle {
    fn take(&self) -> Option<Conn> {
        self.0.borrow_mut().pop()
    }

    fn put(&self, session: Conn) {
        self.0.borrow_mut().push(session);
    }
}

/// What needs no answer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Marks {
    /// There is none, or it has just begun to wait.
    #[default]
    Fresh,
    /// They wait for votes to travel with, until a timer ends.
    Waiting,
    /// It has waited long enough.
    Due,
}

impl Lane for VotesLane {
    fn new(_: &Plan) -> Self {
        VotesLane::default()
    }
}

impl Handler<PeerRequest> for ReplicaActor<VotesLane> {
    type Result = ();
    fn handle(&mut self, request: PeerRequest, ctx: &mut Context<Self>) {
        self.with(|lane, own| lane.take(request, own, ctx));
    }
}

impl VotesLane {
    fn take(&mut self, request: PeerRequest, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        if let PeerRequest::Probe(done) = request {
            return self.probe(done, own, ctx);
        }
        // What was to be answered is dropped, reply and all: its coordinator hears at once that nobody answers.
        if self.is_down() {
            return;
        }
        let (own_now, idle) = (own.clone(), self.idle.clone());
        match request {
            PeerRequest::Probe(_) => {}
            PeerRequest::Cast(cast) => self.queue_up(*cast, own, ctx),
            PeerRequest::Scan(to, scan, reply) => run(ctx, scan_one(own_now, idle, to, scan, reply)),
            PeerRequest::Show(to, show, reply) => run(ctx, show_one(own_now, idle, to, show, reply)),
            PeerRequest::Ask(to, asked, reply) => run(ctx, ask_one(own_now, idle, to, asked, reply)),
            PeerRequest::Discard(to, body) => run(ctx, bodies::discard_one(own_now, idle, to, body)),
            PeerRequest::Room(to, bytes, has) => run(ctx, bodies::room_one(own_now, idle, to, bytes, has)),
            PeerRequest::Ship(to, blob, given, done) => self.ship(Shipping { to, blob, given, done }, own, ctx),
            PeerRequest::Stream(stream) => {
                // From now on: one that is taken back is taken back behind it, also where it has not begun.
                let streaming = own.plan.transfers.streams(stream.to, stream.head.body);
                spawn(ctx, bodies::stream_one(own_now, idle, stream), |(), _, _| drop(streaming));
            }
        }
    }

    /// One probe at a time: whoever asks meanwhile waits for it too.
    fn probe(&mut self, done: oneshot::Sender<()>, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        self.probing.push(done);
        let recent = self.probed.is_some_and(|at| at.elapsed() < PROBE_EVERY);
        if self.probing.len() > 1 {
            return;
        }
        if recent {
            self.probing.clear();
            return;
        }
        spawn(ctx, probe_one(own.clone(), self.idle.clone()), |failed, actor, _| {
            actor.with(|lane, own| {
                lane.probed = Some(Instant::now());
                lane.ended(failed, own);
                // Whoever waited may have given up.
                for done in lane.probing.drain(..) {
                    let _ = done.send(());
                }
            });
        });
    }

    fn queue_up(&mut self, cast: Cast, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let held = self.held + cast.weight();
        // A coordinator that hears nothing tries again; memory that is full does not.
        if held > own.plan.votes_bytes || self.queue.len() >= QUEUE_MAX {
            return;
        }
        self.held = held;
        self.urgent += usize::from(cast.reply.is_some());
        self.queue.push_back(cast);
        if self.urgent == 0 && self.marks == Marks::Fresh {
            self.marks = Marks::Waiting;
            ctx.run_later(MARKS_WAIT, |actor, ctx| {
                actor.with(|lane, own| {
                    lane.marks = Marks::Due;
                    lane.pump(own, ctx);
                });
            });
        }
        self.pump(own, ctx);
    }

    fn is_down(&mut self) -> bool {
        self.down_until.is_some_and(|until| until > Instant::now())
    }

    fn pump(&mut self, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        while self.frames < FRAMES_MAX && (self.urgent > 0 || self.marks == Marks::Due) {
            let frame = self.next_frame();
            if self.queue.is_empty() && self.marks == Marks::Due {
                self.marks = Marks::Fresh;
            }
            if frame.is_empty() {
                return;
            }
            self.urgent -= frame.iter().filter(|cast| cast.reply.is_some()).count();
            self.frames += 1;
            let weight: u64 = frame.iter().map(Cast::weight).sum();
            let work = send(own.clone(), self.idle.clone(), frame);
            spawn(ctx, work, move |failed, actor, ctx| {
                actor.with(|lane, own| {
                    lane.frames -= 1;
                    lane.held -= weight;
                    lane.ended(failed, own);
                    lane.pump(own, ctx);
                });
            });
        }
    }

    /// As much as fits of what waits, all of one list and for one life of the peer.
    fn next_frame(&mut self) -> Vec<Cast> {
        let Some(first) = self.queue.front() else { return Vec::new() };
        let (to, mark) = (first.to, first.mark);
        let (mut room, mut frame) = (LEARN_BYTES_MAX, Vec::new());
        while let Some(next) = self.queue.front().filter(|next| next.to == to && next.mark == mark) {
            let weight = next.vote.weight();
            if frame.len() == ENTRIES_MAX || (!frame.is_empty() && weight > room) {
                break;
            }
            room = room.saturating_sub(weight);
            frame.extend(self.queue.pop_front());
        }
        frame
    }

    fn is_done(&mut self, done: Done, own: &LaneContext) {
        match done {
            Done::Idle => {}
            Done::Answered => self.ended(None, own),
            Done::Failed(error) => self.ended(Some(error), own),
        }
    }

    fn ended(&mut self, failed: Option<LinkError>, own: &LaneContext) {
        let reach = &own.plan.node_view.reach;
        match failed {
            Some(error) if error.breaks_link() => {
                reach.broke(&own.plan.peer);
                self.down_until = Some(Instant::now() + DOWN_FOR);
                own.plan.transfers.lost();
                self.idle.0.borrow_mut().clear();
                // All that waits is lost with the link, now: each of them would wait in vain for as long as the first.
                self.held -= self.queue.drain(..).map(|cast| cast.weight()).sum::<u64>();
                self.urgent = 0;
                self.parcels.lost();
            }
            Some(error) => log::debug!(peer:% = own.plan.peer, error:% = error; "votes were not taken"),
            None => self.down_until = None,
        }
    }
}

/// Runs `work` beside the mailbox; what it ends with is said of the link.
fn run(ctx: &mut Context<ReplicaActor<VotesLane>>, work: impl Future<Output = Done> + 'static) {
    spawn(ctx, work, |done, actor, _| {
        actor.with(|lane, own| lane.is_done(done, own));
    });
}

/// What a request says of the link.
enum Done {
    /// Nothing: the peer was not asked.
    Idle,
    Answered,
    Failed(LinkError),
}

/// Runs `work` on a session, on a fresh one when the old one was forgotten by the peer.
async fn on_session<T>(
    own: &LaneContext,
    idle: &Idle,
    mut work: impl AsyncFnMut(&mut Conn) -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    let mut used = idle.take();
    loop {
        let reused = used.is_some();
        let mut session = match used.take() {
            Some(session) => session,
            None => {
                Counts::add(&own.plan.tally.sent.hellos);
                let dialed = actix_rt::time::timeout(VOTE_MAX, own.dialer.dial()).await;
                match dialed.unwrap_or(Err(LinkError::Silent)) {
                    Ok(session) => session,
                    Err(error) => {
                        if error.is_absence() {
                            own.plan.node_view.reach.failed(&own.plan.peer, Instant::now());
                        }
                        return Err(error);
                    }
                }
            }
        };
        match work(&mut session).await {
            // The peer may have restarted since this session was used: a fresh handshake tells.
            Err(error) if reused && may_be_forgotten(&error) => {}
            Err(error) if error.breaks_link() => return Err(error),
            done => {
                if done.is_ok() {
                    own.plan.node_view.reach.answered(&own.plan.peer, session.info.incarnation);
                }
                idle.put(session);
                return done;
            }
        }
    }
}

async fn call(session: &mut Conn, call: &Call) -> Result<Answer, LinkError> {
    actix_rt::time::timeout(VOTE_MAX, session.call(call)).await.map_err(|_| LinkError::Silent)?
}

/// What one life of a peer holds or promises says nothing of another life of the same name.
fn is_with(session: &Conn, to: Incarnation) -> Result<(), LinkError> {
    if session.info.incarnation == to { Ok(()) } else { Err(LinkError::OtherList) }
}

/// Before anything that counts is asked: the two tell each other how they stand and what they remember, once in a
/// session. A peer of another list is asked without that, and refuses.
async fn is_heard(plan: &Plan, session: &mut Conn, to: Incarnation) -> Result<(), LinkError> {
    is_with(session, to)?;
    if has_met(plan, session, to).is_ok() {
        return Ok(());
    }
    let told = meet_soon(plan, session).await?;
    let own = plan.node_view.ballots.voting().list;
    match own != told.list {
        true => Ok(()),
        false => has_met(plan, session, to),
    }
}

async fn meet_soon(plan: &Plan, session: &mut Conn) -> Result<Pulse, LinkError> {
    actix_rt::time::timeout(VOTE_MAX, meet(plan, session)).await.map_err(|_| LinkError::Silent)?
}

/// Whether what the peer answers counts.
fn has_met(plan: &Plan, session: &Conn, to: Incarnation) -> Result<(), LinkError> {
    match session.start.is_some_and(|start| plan.node_view.ballots.is_met(to, start)) {
        true => Ok(()),
        false => Err(LinkError::NotMet),
    }
}

async fn send(own: LaneContext, idle: Idle, frame: Vec<Cast>) -> Option<LinkError> {
    let (to, mark) = frame.first().map(|first| (first.to, first.mark))?;
    let (votes, replies): (Vec<_>, Vec<_>) = frame.into_iter().map(|cast| (cast.vote, (cast.have, cast.reply))).unzip();
    let votes = Call::Vote(mark, votes);
    let plan: &Plan = &own.plan;
    let sent = on_session(&own, &idle, async |session| {
        is_heard(plan, session, to).await?;
        Counts::add(&plan.tally.sent.votes);
        match call(session, &votes).await? {
            // Behind the answer once more: a peer that has turned out to be an older copy does not count.
            Answer::Voted(voted) => has_met(plan, session, to).map(|()| voted),
            _ => Err(LinkError::Unfitting),
        }
    })
    .await;
    match sent {
        Ok(voted) if voted.len() == replies.len() => {
            for (voted, (have, reply)) in voted.into_iter().zip(replies) {
                let answer = voted.and_then(|voted| voted.reply(to, have.as_ref()));
                if let (Some(reply), Some(answer)) = (reply, answer) {
                    // A coordinator that has ended needs no answer.
                    let _ = reply.send(answer);
                }
            }
            None
        }
        Ok(_) => Some(LinkError::Unfitting),
        Err(error) => Some(after_refusal(plan, &idle, error).await),
    }
}

/// A refusal may be for the member list: then that is put right before anything else is asked.
async fn after_refusal(plan: &Plan, idle: &Idle, error: LinkError) -> LinkError {
    if error.class() != Class::Conflict {
        return error;
    }
    let Some(mut session) = idle.take() else { return error };
    // Perhaps the peer has not met this node: then it is told anew.
    session.start = None;
    if matches!(error, LinkError::Remote { .. }) {
        plan.node_view.lists.refused_there(&plan.peer);
    }
    match actix_rt::time::timeout(VOTE_MAX, list_exchange::exchange(plan, &mut session)).await {
        Ok(Err(worse)) if worse.breaks_link() => worse,
        Ok(exchanged) => {
            idle.put(session);
            exchanged.err().unwrap_or(error)
        }
        Err(_) => LinkError::Silent,
    }
}

async fn scan_one(
    own: LaneContext,
    idle: Idle,
    to: Incarnation,
    scan: Scan,
    reply: oneshot::Sender<Page<Scanned>>,
) -> Done {
    let from = if scan.inclusive { Bound::Included(scan.from.clone()) } else { Bound::Excluded(scan.from.clone()) };
    // Whoever goes on where a page ends must get on.
    page_one(own, idle, to, Call::Scan(scan), reply, |answer| match answer {
        Answer::Scanned(page) if page.complete.is_behind(&from) => Some(page),
        _ => None,
    })
    .await
}

async fn show_one(own: LaneContext, idle: Idle, to: Incarnation, show: Show, reply: oneshot::Sender<Shown>) -> Done {
    let from = if show.inclusive { Bound::Included(show.from.clone()) } else { Bound::Excluded(show.from.clone()) };
    let (in_items, closed) = (show.folds.delimiter().is_some() || show.closed.is_some(), show.closed.is_some());
    page_one(own, idle, to, Call::Show(show), reply, |answer| match answer {
        Answer::Shown(Shown::Open) if closed => Some(Shown::Open),
        Answer::Shown(shown) if matches!(shown, Shown::Items(_)) == in_items => {
            shown.complete().is_some_and(|complete| complete.is_behind(&from)).then_some(shown)
        }
        _ => None,
    })
    .await
}

/// Asks for a page of registers.
async fn page_one<T>(
    own: LaneContext,
    idle: Idle,
    to: Incarnation,
    asked: Call,
    mut reply: oneshot::Sender<T>,
    fits: impl Fn(Answer) -> Option<T>,
) -> Done {
    let plan: &Plan = &own.plan;
    let Some(Some(_turn)) = unless_left(plan.transfers.turn(Kind::Call), reply.closed()).await else {
        return Done::Idle;
    };
    let found = on_session(&own, &idle, async |session| {
        is_heard(plan, session, to).await?;
        Counts::add(&plan.tally.sent.scans);
        let page = fits(call(session, &asked).await?).ok_or(LinkError::Unfitting)?;
        has_met(plan, session, to).map(|()| page)
    })
    .await;
    match found {
        Ok(found) => {
            let _ = reply.send(found);
            Done::Answered
        }
        Err(error) => Done::Failed(after_refusal(plan, &idle, error).await),
    }
}

async fn ask_one(
    own: LaneContext,
    idle: Idle,
    to: Incarnation,
    asked: Box<Call>,
    mut reply: oneshot::Sender<Answer>,
) -> Done {
    let plan: &Plan = &own.plan;
    let Some(Some(_turn)) = unless_left(plan.transfers.turn(Kind::Call), reply.closed()).await else {
        return Done::Idle;
    };
    let answer = on_session(&own, &idle, async |session| {
        is_heard(plan, session, to).await?;
        let answer = call(session, &asked).await?;
        has_met(plan, session, to).map(|()| answer)
    })
    .await;
    match answer {
        Ok(answer) => {
            let _ = reply.send(answer);
            Done::Answered
        }
        Err(error) => Done::Failed(after_refusal(plan, &idle, error).await),
    }
}

async fn probe_one(own: LaneContext, idle: Idle) -> Option<LinkError> {
    on_session(&own, &idle, async |session| meet_soon(&own.plan, session).await).await.err()
}

#[cfg(test)]
mod tests;
