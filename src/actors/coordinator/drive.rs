//! Driving: carries a write or a read of the register to its end, message by message.
//!
//! What is to be done, and when, is decided by `register::drive`; here are the clock, the lanes and the store beside.
//!
//! Invariants
//! - Every message that wants an answer ends in an event: the answer, or that there is none. So does every body.
//! - A decision that waits for a body goes on as long as that moves (`limit`).
//! - Where the fence of its bucket refused something, a majority is asked for the bucket before the next round; meanwhile
//!   the decision waits. Who is behind is told the bucket, and asked again right behind that.
//! - A message to a replica names its incarnation; whoever lives under the same name now does not answer for it.

use super::homes::Behind;
use super::limit::Limit;
use super::quotas::Late;
use super::{Coordinator, Patience, Value};
use crate::actors::messages::*;
use crate::actors::peer::peer_request::{Cast, PeerRequest};
use crate::actors::peer::transfers::{Carried, Far};
use crate::base::{BlobRef, BodyId, Epoch, Incarnation, Record, RegisterKey, WriteId};
use crate::register::{Answer, Attempt, Do, Drive, Event, Fresh, ListMark, Machine, Message, Refusal, Request, Slot};
use crate::seal::random;
use crate::wire::votes::Vote as WireVote;
use actix::Recipient;
use actix_rt::time::{Instant, sleep_until};
use futures::future::LocalBoxFuture;
use futures::stream::{self, StreamExt};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::oneshot;

/// Bodies of one record that are brought to one replica at once.
const SHIP_AT_ONCE: usize = 4;

/// A decision on its way: what `register::drive` says is to be done is done here.
struct Driver<'a, M: Machine<Value>> {
    coordinator: &'a Coordinator,
    key: &'a RegisterKey,
    drive: Drive<Value, M>,
    behind: Behind,
    began: Instant,
    limit: Limit,
    /// Answers and bodies that are waited for.
    pending: Late,
}

impl<M: Machine<Value>> Driver<'_, M> {
    async fn run(mut self) -> (M::End, Late) {
        loop {
            match self.drive.step() {
                Do::Begin if self.drive.take_fenced() => self.look_at_bucket().await,
                Do::Begin => {
                    let have = self.coordinator.peek(self.key).await;
                    let generation = self.behind.home.as_ref().map_or(0, |home| home.generation);
                    let (fresh, now) = (self.coordinator.fresh(generation), self.began.elapsed());
                    self.drive.begin(fresh, have, now);
                }
                Do::Send { to, message } if to == self.coordinator.0.me => self.send_here(message).await,
                Do::Send { to, message } => {
                    let have = self.drive.have_for(&message).cloned();
                    self.pending.extend(self.coordinator.there(self.key, to, message, have));
                }
                Do::Ship { to, body, record } => match self.coordinator.ship_again(to, body, &record) {
                    Some(shipping) => self.pending.push(shipping),
                    // No way leads there: the round counts a refusal.
                    None => self.drive.on(Event::Lacks { node: to, body }),
                },
                Do::Teach { to, known, attempt } => {
                    let home = self.behind.home.as_ref();
                    let taught = home.is_some_and(|home| self.coordinator.teaches(home, to, known));
                    self.drive.on(match taught {
                        true => Event::Taught { node: to, attempt },
                        false => Event::Fenced { node: to, attempt },
                    });
                }
                Do::Wait { until } | Do::Pause { until } => self.wait(until).await,
                Do::Lost => self.drive.retry(self.began.elapsed(), self.coordinator.is_cut_off()),
                Do::Renew { epoch } => {
                    // The later list comes by itself.
                    self.coordinator.wait_for(epoch, self.limit.at()).await;
                    if let Ok((_, members)) = self.coordinator.members(self.key) {
                        self.drive.renew(members);
                    }
                    self.tick();
                }
                Do::Done(end) => return (end, self.pending),
            }
        }
    }

    /// The fence refused: what the bucket is by now says how this goes on.
    async fn look_at_bucket(&mut self) {
        let Some(id) = self.key.bucket_id() else { return };
        let looked = match &self.behind.home {
            // Another life of that name is none of this one.
            Some(home) => {
                let name = home.name.clone();
                let now = self.coordinator.asked_home(&name, self.limit.at()).await;
                now.map(|home| home.filter(|home| home.id == id))
            }
            None => self.coordinator.home_of(id, self.behind.seen, self.limit.at()).await,
        };
        let now = self.began.elapsed();
        match looked {
            Ok(Some(home)) if home.is_open => self.behind.home = Some(home),
            Ok(Some(home)) if !self.behind.ends => {
                self.behind.home = Some(home);
                self.drive.put_off(now + self.coordinator.0.patience.backoff.cap);
            }
            Ok(_) => self.drive.shut(),
            // Nobody says what becomes of it: it ends with what is known.
            Err(_) => self.drive.tick(now, now),
        }
    }

    async fn send_here(&mut self, message: Message<Value>) {
        let (is_answered, is_query) = (message.request.is_answered(), message.request == Request::Query);
        let vote = Vote { key: self.key.clone(), message };
        if !is_answered {
            self.coordinator.0.store.cast_here.do_send(CastHere { votes: vec![vote] });
            return;
        }
        let answer = self.coordinator.here(vote);
        // A query is in memory, as a rule, and nobody else is asked before it is answered.
        match is_query {
            true => self.hear(answer.await),
            false => self.pending.push(Box::pin(answer)),
        }
    }

    /// Until something comes, or until that time, or until the decision has to end as things are.
    async fn wait(&mut self, until: Duration) {
        let until = (self.began + until).min(self.limit.at());
        tokio::select! {
            // An answer that is there counts, also when the time is up at the same moment.
            biased;
            Some(event) = self.pending.next(), if !self.pending.is_empty() => self.hear(event),
            () = sleep_until(until) => self.tick(),
        }
    }

    fn hear(&mut self, event: Event<Value>) {
        match &event {
            // The next ballot has to lie above all that was heard, or it is refused as well.
            Event::Reply(reply) => {
                self.coordinator.0.ballots.observe(reply.stamp());
                if reply.answer == Answer::Refused(Refusal::NoRoom) {
                    self.coordinator.is_full_now(reply.from);
                }
            }
            Event::Holds { node, body } => self.limit.saw(Instant::now(), (*node, *body), Far::Sent(u64::MAX), 0),
            Event::Silent { .. } | Event::Expired { .. } | Event::Lacks { .. } => {}
            Event::Taught { .. } | Event::Fenced { .. } => {}
        }
        self.drive.on(event);
    }

    /// Time has passed. The bodies that are waited for say whether the decision has more of it.
    fn tick(&mut self) {
        let (now, voting) = (Instant::now(), self.coordinator.0.ballots.voting());
        for (to, _, record) in self.drive.carrying() {
            let transfers = self.coordinator.peer(&voting, to).map(|peer| &peer.transfers);
            // Of an object in parts those count that are on their way.
            for BlobRef { body, sealed_len, .. } in record.bodies() {
                if let Some(far) = transfers.and_then(|transfers| transfers.far(to, body)) {
                    self.limit.saw(now, (to, body), far, sealed_len);
                }
                // Where this node lacks it too, it has to come here first.
                if let Some(bytes) = self.coordinator.0.arrivals.of(body) {
                    self.limit.saw(now, (self.coordinator.0.me, body), Far::Sent(bytes), sealed_len);
                }
            }
        }
        let at_the_latest = if self.limit.is_over(now) { now } else { self.limit.at() };
        self.drive.tick(now - self.began, at_the_latest - self.began);
    }
}

impl Coordinator {
    /// Drives a decision to its end. `under_way`: bodies that are on their way to replicas. `behind`: what is known of the
    /// bucket that the register lies under, if it is one of an object.
    pub(super) async fn drive<M: Machine<Value>>(
        &self,
        key: &RegisterKey,
        machine: M,
        under_way: Vec<LocalBoxFuture<'static, Event<Value>>>,
        deadline: Instant,
        behind: Behind,
    ) -> M::End {
        self.drive_on(key, machine, under_way, deadline, behind).await.0
    }

    /// The same; with the answers that the end did not wait for.
    pub(super) async fn drive_on<M: Machine<Value>>(
        &self,
        key: &RegisterKey,
        machine: M,
        under_way: Vec<LocalBoxFuture<'static, Event<Value>>>,
        deadline: Instant,
        behind: Behind,
    ) -> (M::End, Late) {
        let Patience { round, decide, .. } = self.0.patience;
        let driver = Driver {
            coordinator: self,
            key,
            drive: Drive::new(self.0.me, machine, round),
            behind,
            began: Instant::now(),
            limit: Limit::new(deadline, decide),
            pending: under_way.into_iter().collect(),
        };
        driver.run().await
    }

    /// A message to the replica on this node.
    pub(super) fn here(&self, vote: Vote) -> impl Future<Output = Event<Value>> + 'static {
        let (from, attempt) = (self.0.me, vote.message.attempt);
        let sent = self.0.store.cast_here.send(CastHere { votes: vec![vote] });
        async move {
            let replies = sent.await.unwrap_or(Err(StoreError::ShuttingDown)).unwrap_or_default();
            match replies.into_iter().next().flatten() {
                Some(reply) => Event::Reply(reply),
                None => Event::Silent { from, attempt },
            }
        }
    }

    /// A message to a replica on another node; its answer, if it has one.
    pub(super) fn there(
        &self,
        key: &RegisterKey,
        to: Incarnation,
        message: Message<Value>,
        have: Option<Slot<Value>>,
    ) -> Option<LocalBoxFuture<'static, Event<Value>>> {
        let voting = self.0.ballots.voting();
        let silent = Event::Silent { from: to, attempt: message.attempt };
        let is_answered = message.request.is_answered();
        // The peer refuses votes under another list: nobody could say whose votes count.
        let mark: ListMark = voting.list;
        let (reply, answer) = oneshot::channel();
        let vote = WireVote { key: key.clone(), message, have: have.as_ref().map(|slot| slot.accepted) };
        let cast = Cast { to, mark, vote, have, reply: is_answered.then_some(reply) };
        // Without a lane the cast is dropped here, and its reply with it: that is heard as silence.
        if let Some(lane) = self.lane(&voting, to) {
            lane.do_send(PeerRequest::Cast(Box::new(cast)));
        }
        is_answered.then(|| -> LocalBoxFuture<'static, _> {
            Box::pin(async move { answer.await.map_or(silent, Event::Reply) })
        })
    }

    /// Takes the bodies of a record to a replica that lacks one of them. `body`: what stands for them in votes.
    fn ship_again(
        &self,
        to: Incarnation,
        body: BodyId,
        record: &Record,
    ) -> Option<LocalBoxFuture<'static, Event<Value>>> {
        let bodies: Vec<BlobRef> = record.bodies().collect();
        let fetch = self.0.fetch.clone();
        // A round may store what it found at others again: then it is this node that lacks the blob.
        let lane = match to == self.0.me {
            true => None,
            false => Some(self.lane(&self.0.ballots.voting(), to)?),
        };
        Some(Box::pin(async move {
            let bringing = stream::iter(bodies).map(|head| bring(&fetch, lane.as_ref(), to, head));
            let mut bringing = pin!(bringing.buffer_unordered(SHIP_AT_ONCE));
            while let Some(became) = bringing.next().await {
                // All of them have to be there.
                if became != Carried::There {
                    return carried(to, body, became);
                }
            }
            carried(to, body, Carried::There)
        }))
    }

    fn fresh(&self, generation: u64) -> Fresh {
        let attempt = Attempt(u64::from_le_bytes(random()));
        Fresh { ballot: self.0.ballots.fresh(), attempt, write: WriteId::drawn(random()), generation }
    }

    pub(super) async fn wait_for(&self, epoch: Epoch, deadline: Instant) {
        while self.0.ballots.voting().list.epoch < epoch && Instant::now() < deadline {
            sleep_until((Instant::now() + self.0.patience.backoff.cap).min(deadline)).await;
        }
    }
}

/// Takes a body to a replica, or has it come here where there is no lane.
async fn bring(
    fetch: &Recipient<FetchBody>,
    lane: Option<&Recipient<PeerRequest>>,
    to: Incarnation,
    head: BlobRef,
) -> Carried {
    let fetched = async || fetch.send(FetchBody(head)).await.unwrap_or(false);
    match lane {
        None if fetched().await => Carried::There,
        None => Carried::Not,
        Some(lane) => match carry_to(lane, to, head).await {
            // Perhaps it is not here either: then it is fetched first.
            Carried::Not if fetched().await => carry_to(lane, to, head).await,
            done => done,
        },
    }
}

/// Takes a blob to a replica; what became of it.
pub(super) fn carry_to(
    lane: &Recipient<PeerRequest>,
    to: Incarnation,
    head: BlobRef,
) -> impl Future<Output = Carried> + 'static {
    let (done, carried) = oneshot::channel();
    lane.do_send(PeerRequest::Ship(to, head, None, done));
    async move { carried.await.unwrap_or(Carried::Not) }
}

/// What a write hears of it.
pub(super) fn carried(node: Incarnation, body: BodyId, carried: Carried) -> Event<Value> {
    match carried {
        Carried::There => Event::Holds { node, body },
        Carried::NoRoom | Carried::Not => Event::Lacks { node, body },
    }
}
