//! The votes lane: carries the messages of this node's coordinators to one peer.
//!
//! Invariants
//! - What waits for the peer at the same moment travels in one frame; at most `FRAMES_MAX` are under way.
//! - What needs no answer (marks) waits up to `MARKS_WAIT` for a frame that is sent anyway.
//! - A message is sent once. One that got lost, for whatever reason, drops its reply: its coordinator
//!   decides what to do, since it alone knows whether it still matters.
//! - Whatever counts for one life of the peer is asked of that life: who was wiped does not answer for who it was.
//! - Nothing that counts is asked in a session in which the two have not told each other how they stand.
//! - Votes that a peer refuses for its member list are lost too, but the one of the two that is behind has the
//!   other's list before the next ones go.
//! - A peer that does not answer costs its first askers `VOTE_MAX`, and everybody else nothing until it is
//!   tried again. Who waits for a majority may have it tried at any time (`Errand::Probe`).

use super::conn::{Conn, may_be_forgotten};
use super::error::LinkError;
use super::gate::Counts;
use super::lists;
use super::messages::{OpenOutgoing, Reply};
use super::recipients::ask;
use super::records_lane::heartbeat::meet;
use super::replica::{Own, Plan, ReplicaActor, spawn};
use super::streams::NewStream;
use crate::base::{BodyId, Class, Incarnation};
use crate::register::{ListMark, Slot};
use crate::wire::votes::Vote;
use crate::wire::{Answer, BlobHead, Call, ENTRIES_MAX, LEARN_BYTES_MAX, Pulse, Scan, Scanned};
use actix::{AsyncContext, Context, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most frames under way to one peer: what comes meanwhile goes in the next one. More were measured: smaller
/// frames, more of them, and fewer requests a second at 64 connections.
const FRAMES_MAX: usize = 1;
/// Most messages that wait; more are lost.
const QUEUE_MAX: usize = 16 * 1024;
/// How long what needs no answer waits for a frame that something else asks for.
const MARKS_WAIT: Duration = Duration::from_millis(50);
/// Longest wait for the answer to a frame.
const VOTE_MAX: Duration = Duration::from_secs(3);
/// Pause after a peer did not answer.
const DOWN_FOR: Duration = Duration::from_millis(300);
/// Least pause between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// What coordinators and listings ask of a peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Errand {
    /// A vote.
    Cast(Box<Cast>),
    /// Registers of a range, as that life of the peer holds them.
    Scan(Incarnation, Scan, oneshot::Sender<Vec<Scanned>>),
    /// Any other call to that life of the peer.
    Ask(Incarnation, Box<Call>, oneshot::Sender<Answer>),
    /// Takes the blob of a record to that life of the peer; answered when it is durable and checked.
    Ship(Incarnation, BlobHead, oneshot::Sender<()>),
    /// Takes a blob there while it is made.
    Stream(NewStream),
    /// A blob that was taken there was taken in vain.
    Discard(Incarnation, BodyId),
    /// Looks whether the peer answers, also while it is not asked for anything since it did not; the answer comes
    /// when that is known, or is dropped.
    Probe(oneshot::Sender<()>),
}

/// A message of a coordinator to the replica at the peer.
#[derive(Debug)]
pub struct Cast {
    /// To which life of the peer.
    pub to: Incarnation,
    /// Under which list.
    pub mark: ListMark,
    /// What.
    pub vote: Vote,
    /// The slot that `vote.have` names.
    pub have: Option<Slot<Arc<crate::base::Record>>>,
    /// Where the answer goes; none for what needs none.
    pub reply: Option<oneshot::Sender<Reply>>,
}

/// The state of a votes lane.
#[derive(Default)]
pub(super) struct VoteLane {
    queue: VecDeque<Cast>,
    /// How many of the queue want an answer.
    urgent: usize,
    marks: Marks,
    conns: Vec<Conn>,
    frames: usize,
    down_until: Option<Instant>,
    /// Who waits for the probe that is under way.
    probing: Vec<oneshot::Sender<()>>,
    probed: Option<Instant>,
}

/// What needs no answer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Marks {
    /// There is none, or it has just begun to wait.
    #[default]
    Fresh,
    /// A timer runs.
    Waiting,
    /// It has waited long enough.
    Due,
}

impl VoteLane {
    pub fn take(&mut self, errand: Errand, own: &Own, ctx: &mut Context<ReplicaActor>) {
        if let Errand::Probe(done) = errand {
            return self.probe(done, own, ctx);
        }
        if self.is_down() {
            return;
        }
        match errand {
            Errand::Probe(_) => {}
            Errand::Cast(cast) if self.queue.len() < QUEUE_MAX => {
                self.urgent += usize::from(cast.reply.is_some());
                self.queue.push_back(*cast);
                if self.urgent == 0 && self.marks == Marks::Fresh {
                    self.marks = Marks::Waiting;
                    ctx.run_later(MARKS_WAIT, |actor, ctx| {
                        actor.votes(|lane, own| {
                            lane.marks = Marks::Due;
                            lane.pump(own, ctx);
                        });
                    });
                }
                self.pump(own, ctx);
            }
            Errand::Cast(_) => {}
            Errand::Scan(to, scan, reply) => {
                let work = scan_one(own.clone(), self.conns.pop(), to, scan, reply);
                spawn(ctx, work, |(conn, failed), actor, _| {
                    actor.votes(|lane, own| lane.give_back(conn, failed, own));
                });
            }
            Errand::Ask(to, asked, reply) => {
                let work = ask_one(own.clone(), self.conns.pop(), to, asked, reply);
                spawn(ctx, work, |(conn, failed), actor, _| {
                    actor.votes(|lane, own| lane.give_back(conn, failed, own));
                });
            }
            Errand::Stream(stream) => {
                let work = stream_one(own.clone(), self.conns.pop(), stream);
                spawn(ctx, work, |conn, actor, _| {
                    actor.votes(|lane, _| lane.conns.extend(conn));
                });
            }
            Errand::Discard(to, body) => {
                let work = discard_one(own.clone(), self.conns.pop(), to, body);
                spawn(ctx, work, |(conn, failed), actor, _| {
                    actor.votes(|lane, own| lane.give_back(conn, failed, own));
                });
            }
            Errand::Ship(to, head, done) => {
                let work = ship_one(own.clone(), self.conns.pop(), to, head, done);
                spawn(ctx, work, |(conn, failed), actor, _| {
                    actor.votes(|lane, own| lane.give_back(conn, failed, own));
                });
            }
        }
    }

    /// One probe at a time: whoever asks meanwhile waits for it too.
    fn probe(&mut self, done: oneshot::Sender<()>, own: &Own, ctx: &mut Context<ReplicaActor>) {
        self.probing.push(done);
        let recent = self.probed.is_some_and(|at| at.elapsed() < PROBE_EVERY);
        if self.probing.len() > 1 {
            return;
        }
        if recent {
            self.probing.clear();
            return;
        }
        spawn(ctx, probe_one(own.clone(), self.conns.pop()), |(conn, failed), actor, _| {
            actor.votes(|lane, own| {
                lane.probed = Some(Instant::now());
                lane.give_back(conn, failed, own);
                // Whoever waited may have given up.
                for done in lane.probing.drain(..) {
                    let _ = done.send(());
                }
            });
        });
    }

    fn is_down(&mut self) -> bool {
        self.down_until.is_some_and(|until| until > Instant::now())
    }

    fn pump(&mut self, own: &Own, ctx: &mut Context<ReplicaActor>) {
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
            let work = send(own.clone(), self.conns.pop(), frame);
            spawn(ctx, work, |(conn, failed), actor, ctx| {
                actor.votes(|lane, own| {
                    lane.frames -= 1;
                    lane.give_back(conn, failed, own);
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

    fn give_back(&mut self, conn: Option<Conn>, failed: Option<LinkError>, own: &Own) {
        let (reach, life) = (&own.plan.vitals.reach, conn.as_ref().map(|conn| conn.info.incarnation));
        self.conns.extend(conn);
        match failed {
            Some(error) if error.breaks_link() => {
                reach.broke(&own.plan.peer);
                self.down_until = Some(Instant::now() + DOWN_FOR);
                self.conns.clear();
                self.queue.clear();
                self.urgent = 0;
            }
            Some(error) => log::debug!(peer:% = own.plan.peer, error:% = error; "votes were not taken"),
            None => {
                self.down_until = None;
                life.into_iter().for_each(|life| reach.answered(&own.plan.peer, life));
            }
        }
    }
}

/// Runs `work` on a session, on a fresh one when the old one was forgotten by the peer.
async fn on_session<T>(
    own: &Own,
    mut conn: Option<Conn>,
    mut work: impl AsyncFnMut(&mut Conn) -> Result<T, LinkError>,
) -> (Option<Conn>, Result<T, LinkError>) {
    loop {
        let reused = conn.is_some();
        let mut session = match conn.take() {
            Some(session) => session,
            None => {
                Counts::add(&own.plan.tally.sent.hellos);
                let dialed = actix_rt::time::timeout(VOTE_MAX, own.dialer.dial()).await;
                match dialed.unwrap_or(Err(LinkError::Silent)) {
                    Ok(session) => session,
                    Err(error) => {
                        if error.is_absence() {
                            own.plan.vitals.reach.failed(&own.plan.peer, Instant::now());
                        }
                        return (None, Err(error));
                    }
                }
            }
        };
        match work(&mut session).await {
            Ok(done) => return (Some(session), Ok(done)),
            Err(error) if reused && may_be_forgotten(&error) => {}
            Err(error) if error.breaks_link() => return (None, Err(error)),
            Err(error) => return (Some(session), Err(error)),
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

/// Before anything that counts is asked: the two tell each other how they stand and what they remember, once in a session.
/// A peer of another list is asked without that, and refuses.
async fn is_heard(plan: &Plan, session: &mut Conn, to: Incarnation) -> Result<(), LinkError> {
    is_with(session, to)?;
    if has_met(plan, session, to).is_ok() {
        return Ok(());
    }
    let told = meet_soon(plan, session).await?;
    let own = plan.vitals.ballots.voting().list;
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
    match session.start.is_some_and(|start| plan.vitals.ballots.is_met(to, start)) {
        true => Ok(()),
        false => Err(LinkError::NotMet),
    }
}

async fn send(own: Own, conn: Option<Conn>, frame: Vec<Cast>) -> (Option<Conn>, Option<LinkError>) {
    let Some((to, mark)) = frame.first().map(|first| (first.to, first.mark)) else { return (conn, None) };
    let (votes, replies): (Vec<_>, Vec<_>) = frame.into_iter().map(|cast| (cast.vote, (cast.have, cast.reply))).unzip();
    let votes = Call::Vote(mark, votes);
    let plan: &Plan = &own.plan;
    let (conn, sent) = on_session(&own, conn, async |session| {
        is_heard(plan, session, to).await?;
        Counts::add(&plan.tally.sent.votes);
        match call(session, &votes).await? {
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
            (conn, None)
        }
        Ok(_) => (None, Some(LinkError::Unfitting)),
        Err(error) => after_refusal(plan, conn, error).await,
    }
}

/// A refusal may be for the member list: then that is put right before anything else is asked.
async fn after_refusal(plan: &Plan, conn: Option<Conn>, error: LinkError) -> (Option<Conn>, Option<LinkError>) {
    match conn {
        Some(mut session) if error.class() == Class::Conflict => {
            // Perhaps the peer has not met this node: then it is told anew.
            session.start = None;
            if matches!(error, LinkError::Remote { .. }) {
                plan.vitals.lists.refused_there(&plan.peer);
            }
            match actix_rt::time::timeout(VOTE_MAX, lists::exchange(plan, &mut session)).await {
                Ok(Ok(())) => (Some(session), Some(error)),
                Ok(Err(worse)) if !worse.breaks_link() => (Some(session), Some(worse)),
                Ok(Err(worse)) => (None, Some(worse)),
                Err(_) => (None, Some(LinkError::Silent)),
            }
        }
        conn => (conn, Some(error)),
    }
}

async fn scan_one(
    own: Own,
    conn: Option<Conn>,
    to: Incarnation,
    scan: Scan,
    reply: oneshot::Sender<Vec<Scanned>>,
) -> (Option<Conn>, Option<LinkError>) {
    let asked = Call::Scan(scan);
    let plan: &Plan = &own.plan;
    let (conn, found) = on_session(&own, conn, async |session| {
        is_heard(plan, session, to).await?;
        Counts::add(&plan.tally.sent.scans);
        match call(session, &asked).await? {
            Answer::Scanned(found) => has_met(plan, session, to).map(|()| found),
            _ => Err(LinkError::Unfitting),
        }
    })
    .await;
    match found {
        Ok(found) => {
            let _ = reply.send(found);
            (conn, None)
        }
        Err(error) => after_refusal(plan, conn, error).await,
    }
}

async fn ask_one(
    own: Own,
    conn: Option<Conn>,
    to: Incarnation,
    asked: Box<Call>,
    reply: oneshot::Sender<Answer>,
) -> (Option<Conn>, Option<LinkError>) {
    let plan: &Plan = &own.plan;
    let (conn, answer) = on_session(&own, conn, async |session| {
        is_heard(plan, session, to).await?;
        let answer = call(session, &asked).await?;
        has_met(plan, session, to).map(|()| answer)
    })
    .await;
    match answer {
        Ok(answer) => {
            let _ = reply.send(answer);
            (conn, None)
        }
        Err(error) => after_refusal(&own.plan, conn, error).await,
    }
}

async fn ship_one(
    own: Own,
    conn: Option<Conn>,
    to: Incarnation,
    head: BlobHead,
    done: oneshot::Sender<()>,
) -> (Option<Conn>, Option<LinkError>) {
    let plan: &Plan = &own.plan;
    let body: BodyId = head.body;
    let (conn, shipped) = on_session(&own, conn, async |session| {
        is_with(session, to)?;
        let blob = ask(&plan.store.open_outgoing, OpenOutgoing { body }).await?;
        Counts::add(&plan.tally.sent.blobs);
        session.ship(head, blob, &plan.store).await
    })
    .await;
    match shipped {
        Ok(()) => {
            plan.tally.shipped_bytes.fetch_add(head.sealed_len, Ordering::Relaxed);
            let _ = done.send(());
            (conn, None)
        }
        Err(error) => (conn, Some(error)),
    }
}

/// A stream cannot begin anew, and is not missed: whoever made it ships the blob when it is whole. So it says
/// nothing of the link either.
async fn stream_one(own: Own, conn: Option<Conn>, stream: NewStream) -> Option<Conn> {
    let NewStream { to, body, pieces, done } = stream;
    let plan: &Plan = &own.plan;
    let mut pieces = Some(pieces);
    let (conn, streamed) = on_session(&own, conn, async |session| {
        is_with(session, to)?;
        let pieces = pieces.take().ok_or(LinkError::Silent)?;
        Counts::add(&plan.tally.sent.blobs);
        session.stream(body, pieces).await
    })
    .await;
    match streamed {
        Ok(()) => drop(done.send(())),
        Err(error) => log::debug!(peer:% = plan.peer, error:% = error; "a body is sent again when it is whole"),
    }
    conn
}

async fn probe_one(own: Own, conn: Option<Conn>) -> (Option<Conn>, Option<LinkError>) {
    let (conn, beaten) = on_session(&own, conn, async |session| meet_soon(&own.plan, session).await).await;
    (conn, beaten.err())
}

async fn discard_one(own: Own, conn: Option<Conn>, to: Incarnation, body: BodyId) -> (Option<Conn>, Option<LinkError>) {
    let (conn, discarded) = on_session(&own, conn, async |session| {
        is_with(session, to)?;
        call(session, &Call::Discard(body)).await
    })
    .await;
    (conn, discarded.err())
}
