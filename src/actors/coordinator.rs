//! The coordinator: carries out the register's decisions for the requests of one HTTP worker.
//!
//! Invariants
//! - What is decided is `register`'s alone; here are the clock, the sockets and the patience.
//! - A request ends by its deadline, with an answer that says what is known: never a guess.
//! - It holds no key and no file: bodies are sealed and opened by the StoreActor beside it.

use super::gate::Ballots;
use super::healer::FetchBody;
use super::listing::{self, Merged};
use super::messages::*;
use super::replica::{Plan, ReplicaActor};
use super::store_actor::StoreActor;
use super::vote_lane::{Cast, Errand};
use crate::base::record::Record;
use crate::base::{
    Backoff, Ballot, BodyId, BucketName, Condition, Epoch, Incarnation, Lineage, NodeName, ObjectName, ObjectRecord,
    RegisterKey, State, WriteId,
};
use crate::register::{
    Action, Attempt, Choice, Event, Fresh, Intent, ListMark, Members, Message, Read, ReadOutcome, Request, Roster,
    Seat, Slot, Traced, Write, WriteOutcome,
};
use crate::seal::random;
use crate::store::download::etag;
use crate::store::votes::Voting;
use crate::wire::votes::Vote as WireVote;
use crate::wire::{BlobHead, Scan, Scanned};
use actix::{Addr, Message as ActorMessage, Recipient};
use actix_rt::time::{Instant, sleep_until};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::cell::Cell;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

type Value = Arc<Record>;

/// Most changes of the member list that one call sees through.
const CHANGES_MAX: usize = 8;
/// How long a step of a change waits for a majority of both lists.
const CHANGE_PATIENCE: Duration = Duration::from_secs(120);
/// Reads that ask one peer before it is the next one's turn: what goes to one travels together.
const TURN: usize = 32;
/// Registers of a step, and how many of them are stored at once.
const STORE_STEP: usize = 256;
const STORE_AT_ONCE: usize = 16;

/// Pauses of coordinators.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest time for a decision: then the client hears 503. Shipping a body is not counted.
    pub decide: Duration,
    /// Longest time of one round.
    pub round: Duration,
    /// Between rounds that lost against others.
    pub backoff: Backoff,
}

impl Patience {
    /// Rounds in proportion to the whole.
    pub fn within(decide: Duration) -> Self {
        let backoff = Backoff { base: Duration::from_millis(4), cap: Duration::from_millis(250) };
        Patience { decide, round: (decide / 5).max(Duration::from_millis(200)), backoff }
    }
}

/// A peer as coordinators see it.
#[derive(Clone)]
pub struct PeerDoor {
    /// Its configured name.
    pub name: NodeName,
    /// The plan of its lanes, which knows the way to its votes lane.
    pub plan: Arc<Plan>,
}

/// Coordinates for one arbiter. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator(Rc<Inner>);

struct Inner {
    me: Incarnation,
    ballots: Arc<dyn Ballots>,
    store: Addr<StoreActor>,
    peers: Vec<PeerDoor>,
    patience: Patience,
    fetch: Recipient<FetchBody>,
    /// Which peer the next read asks first.
    turn: Cell<usize>,
}

/// What a coordinator drives: a write or a read of the register.
trait Machine {
    type End;
    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<Value, Self::End>>);
    fn on(&mut self, event: Event<Value>, out: &mut Vec<Action<Value, Self::End>>);
    fn renew(&mut self, members: Arc<Members>);
    fn deadline(&mut self, out: &mut Vec<Action<Value, Self::End>>);
}

impl<I: Intent<Value>> Machine for Write<Value, I> {
    type End = WriteOutcome<Value>;
    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<Value, Self::End>>) {
        Write::begin(self, fresh, out);
    }
    fn on(&mut self, event: Event<Value>, out: &mut Vec<Action<Value, Self::End>>) {
        Write::on(self, event, out);
    }
    fn renew(&mut self, members: Arc<Members>) {
        Write::renew(self, members);
    }
    fn deadline(&mut self, out: &mut Vec<Action<Value, Self::End>>) {
        Write::deadline(self, out);
    }
}

impl Machine for Read<Value> {
    type End = ReadOutcome<Value>;
    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<Value, Self::End>>) {
        Read::begin(self, fresh, out);
    }
    fn on(&mut self, event: Event<Value>, out: &mut Vec<Action<Value, Self::End>>) {
        Read::on(self, event, out);
    }
    fn renew(&mut self, members: Arc<Members>) {
        Read::renew(self, members);
    }
    fn deadline(&mut self, out: &mut Vec<Action<Value, Self::End>>) {
        Read::deadline(self, out);
    }
}

/// What a client wants to become of a register.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    condition: Condition,
    /// The new state; none to delete what is there.
    new: Option<Value>,
    /// Whether something that is there is left as it is: a bucket.
    keep: bool,
}

impl Intent<Value> for Wish {
    fn decide(&self, found: Option<&Value>) -> Choice<Value> {
        let present = found.filter(|record| record.is_present());
        let tag = present.and_then(|record| record.object()).map(|object| etag(&object.digest));
        if !self.condition.holds(tag.as_deref()) {
            return Choice::Refuse;
        }
        match (&self.new, present) {
            (None, None) => Choice::Keep,
            (Some(_), Some(_)) if self.keep => Choice::Keep,
            (None, Some(_)) => Choice::Put(value(State::Deleted)),
            (Some(new), _) => Choice::Put(Arc::clone(new)),
        }
    }
}

/// A record to be voted on; its ballot and lineage are those of the slot that it comes to.
fn value(state: State) -> Value {
    let written_ms = crate::store::core::system_ms();
    Arc::new(Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms, state })
}

fn no_list() -> StoreError {
    StoreError::NoMajority("the cluster has not formed yet: all its nodes must be reachable once")
}

impl Coordinator {
    /// A coordinator beside a StoreActor.
    pub fn new(
        me: Incarnation,
        ballots: Arc<dyn Ballots>,
        store: Addr<StoreActor>,
        peers: Vec<PeerDoor>,
        patience: Patience,
        fetch: Recipient<FetchBody>,
    ) -> Self {
        Coordinator(Rc::new(Inner { me, ballots, store, peers, patience, fetch, turn: Cell::new(0) }))
    }

    /// Asks the StoreActor beside it.
    pub(super) async fn ask<M, T>(&self, message: M) -> Result<T, StoreError>
    where
        M: ActorMessage<Result = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
        StoreActor: actix::Handler<M>,
    {
        self.0.store.send(message).await.unwrap_or(Err(StoreError::ShuttingDown))
    }

    pub(super) async fn knows(&self, bucket: &BucketName) -> bool {
        self.0.store.send(KnowsBucket { bucket: bucket.clone() }).await.unwrap_or(false)
    }

    async fn peek(&self, key: &RegisterKey) -> Option<Slot<Value>> {
        self.0.store.send(Peek { key: key.clone() }).await.ok().flatten()
    }

    /// The member list; none before the cluster has formed.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        self.0.ballots.voting().node.roster.clone()
    }

    fn members(&self) -> Result<(Arc<Voting>, Arc<Members>), StoreError> {
        let voting = self.0.ballots.voting();
        let members = voting.members.clone().ok_or_else(no_list)?;
        Ok((voting, members))
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.0.patience.decide
    }

    /// Brings a bucket about or away, or deletes an object.
    pub(super) async fn change(&self, key: RegisterKey, wish: Wish) -> Result<WriteOutcome<Value>, StoreError> {
        let (_, members) = self.members()?;
        let write = Write::new(members, wish);
        Ok(self.drive(&key, write, Vec::new(), self.deadline()).await)
    }

    /// Stores an object whose body is in its record, or in a blob on this node.
    pub(super) async fn store(
        &self,
        at: &ObjectName,
        condition: Condition,
        object: Box<ObjectRecord>,
    ) -> Result<Written, StoreError> {
        let (voting, members) = self.members()?;
        let (key, digest) = (RegisterKey::object(at), object.digest);
        let conditional = !condition.is_none();
        let head = BlobHead { body: object.body, sealed_len: object.sealed_len, digest };
        let blob = object.at == crate::base::BodyAt::Blob;
        if blob && conditional && !self.holds(&key, &condition).await? {
            return Err(StoreError::Precondition);
        }
        let new = Some(value(State::Object(object)));
        let mut write = Write::new(Arc::clone(&members), Wish { condition, new, keep: false });
        let mut rest = Vec::new();
        if blob {
            for node in self.ship(&voting, &members, head, &mut rest).await? {
                write.on(Event::Holds { node, body: head.body }, &mut Vec::new());
            }
        }
        let outcome = self.drive(&key, write, rest, self.deadline()).await;
        ended(outcome, conditional && self.sees_majority()).map(|written| Written { etag: etag(&digest), ..written })
    }

    /// Whether a condition holds at this moment. A large body that would be refused need not travel.
    async fn holds(&self, key: &RegisterKey, condition: &Condition) -> Result<bool, StoreError> {
        let (_, state) = self.read(key).await?;
        let found = state.value.as_ref().and_then(|record| record.object());
        Ok(condition.holds(found.map(|object| etag(&object.digest)).as_deref()))
    }

    /// Takes a blob to the voters. Ends when a majority holds it; the others go on in `rest`.
    async fn ship(
        &self,
        voting: &Voting,
        members: &Members,
        head: BlobHead,
        rest: &mut Vec<LocalBoxFuture<'static, Event<Value>>>,
    ) -> Result<Vec<Incarnation>, StoreError> {
        let mut holders = Vec::new();
        let mut held = members.only(self.0.me);
        if held.count() > 0 {
            holders.push(self.0.me);
        }
        let mut under_way: FuturesUnordered<LocalBoxFuture<'static, Event<Value>>> = FuturesUnordered::new();
        for to in members.voters().iter().filter(|to| **to != self.0.me) {
            let Some(door) = self.door(voting, *to) else { continue };
            under_way.push(ship_to(&door, *to, head, Attempt(0)));
        }
        while !members.majority(held) {
            match under_way.next().await {
                Some(Event::Holds { node, .. }) => {
                    held = held.with(members.only(node));
                    holders.push(node);
                }
                Some(_) => {}
                None => return Err(StoreError::NoMajority("a majority of the nodes did not take the body")),
            }
        }
        rest.extend(under_way);
        Ok(holders)
    }

    /// What a majority says of a register.
    pub(super) async fn read(&self, key: &RegisterKey) -> Result<(Ballot, Traced<Value>), StoreError> {
        let (voting, members) = self.members()?;
        let mut prefer = vec![self.0.me];
        prefer.extend(self.near(&voting, members.voters().len() / 2));
        let read = Read::new(members, &prefer);
        self.finish_read(key, read).await
    }

    /// What was read is known here too.
    pub(super) async fn learn(&self, key: &RegisterKey, slot: Slot<Value>) -> Result<(), StoreError> {
        if self.peek(key).await.is_some_and(|here| here.accepted >= slot.accepted) {
            return Ok(());
        }
        let epoch = self.0.ballots.voting().list.epoch;
        let message = Message { epoch, attempt: Attempt(0), request: Request::Learn(slot.accepted, slot.state) };
        self.ask(CastHere { votes: vec![Vote { key: key.clone(), message }] }).await.map(|_| ())
    }

    /// Whether a majority answered lately: what failed then did not fail for want of one.
    pub(super) fn sees_majority(&self) -> bool {
        let voting = self.0.ballots.voting();
        let Some(members) = &voting.members else { return false };
        let up = |node: &Incarnation| {
            let name = voting.node.roster.as_ref().and_then(|roster| roster.name_of(*node));
            *node == self.0.me
                || self.0.peers.iter().any(|p| Some(&p.name) == name && p.plan.door.up.load(Ordering::Relaxed))
        };
        let votes = members.voters().iter().filter(|node| up(node)).map(|node| members.only(*node));
        members.majority(votes.fold(crate::register::Votes::default(), crate::register::Votes::with))
    }

    /// Makes what is tentative chosen, or finds that it is.
    pub async fn settle(&self, key: &RegisterKey) -> Result<(), StoreError> {
        self.read(key).await.map(|_| ())
    }

    async fn finish_read(&self, key: &RegisterKey, read: Read<Value>) -> Result<(Ballot, Traced<Value>), StoreError> {
        match self.drive(key, read, Vec::new(), self.deadline()).await {
            ReadOutcome::Found { ballot, state } => Ok((ballot, state)),
            ReadOutcome::NoMajority => Err(StoreError::NoMajority("a majority of the nodes did not answer in time")),
        }
    }

    /// Peers to ask first: those that answered lately, in turn.
    fn near(&self, voting: &Voting, count: usize) -> Vec<Incarnation> {
        let Some(roster) = &voting.node.roster else { return Vec::new() };
        let up = |name: &NodeName| {
            let door = self.0.peers.iter().find(|peer| peer.name == *name);
            door.is_some_and(|door| door.plan.door.up.load(Ordering::Relaxed))
        };
        let mut others: Vec<_> =
            roster.seats.iter().chain(&roster.before).filter(|seat| seat.incarnation != self.0.me).collect();
        others.sort_by_key(|seat| seat.incarnation);
        others.dedup();
        let turn = self.0.turn.get() / TURN;
        self.0.turn.set(self.0.turn.get().wrapping_add(1));
        let mut order: Vec<_> = (0..others.len()).map(|at| others[(turn.wrapping_add(at)) % others.len()]).collect();
        order.sort_by_key(|seat| !up(&seat.name));
        order.into_iter().take(count).map(|seat| seat.incarnation).collect()
    }

    fn door(&self, voting: &Voting, node: Incarnation) -> Option<Addr<ReplicaActor>> {
        let name = voting.node.roster.as_ref()?.name_of(node)?;
        self.0.peers.iter().find(|peer| peer.name == *name)?.plan.door.address()
    }

    fn fresh(&self) -> Fresh {
        let attempt = Attempt(u64::from_le_bytes(random()));
        Fresh { ballot: self.0.ballots.fresh(), attempt, write: WriteId::drawn(random()) }
    }

    /// Drives a decision to its end.
    async fn drive<M: Machine>(
        &self,
        key: &RegisterKey,
        mut machine: M,
        under_way: Vec<LocalBoxFuture<'static, Event<Value>>>,
        deadline: Instant,
    ) -> M::End {
        let mut pending: FuturesUnordered<_> = under_way.into_iter().collect();
        let mut have = self.peek(key).await;
        let mut storing: Option<Value> = None;
        let mut out = Vec::new();
        let mut attempt = self.begin(&mut machine, &mut out);
        let mut expires = Instant::now() + self.0.patience.round;
        loop {
            for action in in_order(std::mem::take(&mut out), self.0.me) {
                if let Action::Send { message: Message { request: Request::Store(_, state), .. }, .. } = &action {
                    storing.clone_from(&state.value);
                }
                match action {
                    Action::Done(end) => return end,
                    Action::Send { to, message } if to == self.0.me => {
                        let is_query = message.request == Request::Query;
                        let is_news = matches!(message.request, Request::Mark(_) | Request::Learn(..));
                        let vote = Vote { key: key.clone(), message };
                        if is_news {
                            self.0.store.do_send(CastHere { votes: vec![vote] });
                        } else if is_query {
                            let event = self.here(vote).await;
                            have = slot_in(&event).or(have);
                            self.heard(&mut machine, event, &mut out);
                        } else {
                            pending.push(Box::pin(self.here(vote)));
                        }
                    }
                    Action::Send { to, message } => {
                        if let Some(event) = self.there(key, to, message, have.as_ref()) {
                            pending.push(event);
                        }
                    }
                    Action::Ship { to, body, attempt } => {
                        let sent = self.ship_again(storing.as_ref(), to, body, attempt);
                        match sent {
                            Some(shipping) => pending.push(shipping),
                            None => machine.on(Event::Silent { from: to, attempt }, &mut out),
                        }
                    }
                    Action::Retry { tries } => {
                        if tries > 0 {
                            let pause = self.0.patience.backoff.delay(tries, u64::from_le_bytes(random()));
                            sleep_until((Instant::now() + pause).min(deadline)).await;
                        }
                        if Instant::now() < deadline {
                            have = self.peek(key).await;
                            attempt = self.begin(&mut machine, &mut out);
                            expires = Instant::now() + self.0.patience.round;
                        }
                    }
                    Action::Renew { epoch } => {
                        self.wait_for(epoch, deadline).await;
                        if let Some(members) = self.0.ballots.voting().members.clone() {
                            machine.renew(members);
                        }
                        if Instant::now() < deadline {
                            attempt = self.begin(&mut machine, &mut out);
                            expires = Instant::now() + self.0.patience.round;
                        }
                    }
                }
            }
            if !out.is_empty() {
                continue;
            }
            let event = tokio::select! {
                biased;
                Some(event) = pending.next(), if !pending.is_empty() => Some(event),
                () = sleep_until(expires.min(deadline)) => None,
            };
            match event {
                Some(event) => self.heard(&mut machine, event, &mut out),
                None if Instant::now() >= deadline => machine.deadline(&mut out),
                None => {
                    expires = Instant::now() + self.0.patience.round;
                    machine.on(Event::Expired { attempt }, &mut out);
                }
            }
        }
    }

    fn begin<M: Machine>(&self, machine: &mut M, out: &mut Vec<Action<Value, M::End>>) -> Attempt {
        let fresh = self.fresh();
        machine.begin(fresh, out);
        fresh.attempt
    }

    fn heard<M: Machine>(&self, machine: &mut M, event: Event<Value>, out: &mut Vec<Action<Value, M::End>>) {
        if let Event::Reply(reply) = &event {
            self.0.ballots.observe(reply.stamp());
        }
        machine.on(event, out);
    }

    /// A message to the replica on this node.
    fn here(&self, vote: Vote) -> impl Future<Output = Event<Value>> + 'static {
        let (from, attempt) = (self.0.me, vote.message.attempt);
        let sent = self.0.store.send(CastHere { votes: vec![vote] });
        async move {
            let replies = sent.await.unwrap_or(Err(StoreError::ShuttingDown)).unwrap_or_default();
            match replies.into_iter().next().flatten() {
                Some(reply) => Event::Reply(reply),
                None => Event::Silent { from, attempt },
            }
        }
    }

    /// A message to a replica on another node; its answer, if it has one.
    fn there(
        &self,
        key: &RegisterKey,
        to: Incarnation,
        message: Message<Value>,
        have: Option<&Slot<Value>>,
    ) -> Option<LocalBoxFuture<'static, Event<Value>>> {
        let attempt = message.attempt;
        let voting = self.0.ballots.voting();
        let silent = Event::Silent { from: to, attempt };
        let wants_answer = !matches!(message.request, Request::Mark(_) | Request::Learn(..));
        let asks = matches!(message.request, Request::Query | Request::Prepare(_));
        let have = have.filter(|_| asks).cloned();
        let mark: ListMark = voting.list;
        let (reply, answer) = oneshot::channel();
        let vote = WireVote { key: key.clone(), message, have: have.as_ref().map(|slot| slot.accepted) };
        let cast = Cast { to, mark, vote, have, reply: wants_answer.then_some(reply) };
        if let Some(door) = self.door(&voting, to) {
            door.do_send(Errand::Cast(Box::new(cast)));
        }
        wants_answer.then(|| -> LocalBoxFuture<'static, _> {
            Box::pin(async move { answer.await.map_or(silent, Event::Reply) })
        })
    }

    /// Takes the blob of what is being stored to a replica that lacks it.
    fn ship_again(
        &self,
        storing: Option<&Value>,
        to: Incarnation,
        body: BodyId,
        attempt: Attempt,
    ) -> Option<LocalBoxFuture<'static, Event<Value>>> {
        let object = storing?.object().filter(|object| object.body == body)?;
        let head = BlobHead { body, sealed_len: object.sealed_len, digest: object.digest };
        let fetched = {
            let (fetch, BlobHead { body, sealed_len, digest }) = (self.0.fetch.clone(), head);
            async move { fetch.send(FetchBody { body, sealed_len, digest }).await.unwrap_or(false) }
        };
        if to == self.0.me {
            return Some(Box::pin(async move {
                match fetched.await {
                    true => Event::Holds { node: to, body },
                    false => Event::Silent { from: to, attempt },
                }
            }));
        }
        let door = self.door(&self.0.ballots.voting(), to)?;
        let shipped = ship_to(&door, to, head, attempt);
        Some(Box::pin(async move {
            match shipped.await {
                // Perhaps it is not here either: then it is fetched first.
                Event::Silent { .. } if fetched.await => ship_to(&door, to, head, attempt).await,
                done => done,
            }
        }))
    }

    async fn wait_for(&self, epoch: Epoch, deadline: Instant) {
        while self.0.ballots.voting().list.epoch < epoch && Instant::now() < deadline {
            sleep_until((Instant::now() + self.0.patience.backoff.cap).min(deadline)).await;
        }
    }

    /// Brings the cluster to this member list, by way of an epoch of both lists. Goes on with a change that
    /// somebody else has begun, before its own. With `since`, it begins nothing that does not follow the list of
    /// that epoch at once: what somebody else has decided meanwhile stays.
    pub async fn change_members(&self, seats: &[Seat], since: Option<Epoch>) -> Result<Arc<Roster>, StoreError> {
        for _ in 0..CHANGES_MAX {
            let voting = self.0.ballots.voting();
            let roster = voting.node.roster.clone().ok_or_else(no_list)?;
            let epoch = Epoch(roster.epoch.0.saturating_add(1));
            let made_ms = crate::store::core::system_ms();
            let next = if !roster.before.is_empty() {
                self.store_all_again().await?;
                Roster { epoch, made_ms, seats: roster.seats.clone(), before: Vec::new() }
            } else if same_seats(&roster.seats, seats) || since.is_some_and(|since| roster.epoch != since) {
                return Ok(roster);
            } else {
                Roster { epoch, made_ms, seats: seats.to_vec(), before: roster.seats.clone() }
            };
            log::info!(epoch = epoch.0, voters = next.seats.len(), joint = !next.before.is_empty(); "member list changes");
            self.decide_list(&roster, next).await?;
            self.wait_for(epoch, self.deadline()).await;
        }
        Err(StoreError::Contended)
    }

    /// A later list in the place of the present one, unless somebody else was faster.
    async fn decide_list(&self, present: &Roster, next: Roster) -> Result<(), StoreError> {
        if next.members().is_none() {
            return Err(StoreError::Mismatch("a member list names nobody, somebody twice, or too many"));
        }
        let (_, members) = self.members()?;
        let write = Write::new(members, Succession { present: present.epoch, next });
        match self.drive(&RegisterKey::members(), write, Vec::new(), self.deadline()).await {
            WriteOutcome::Written { .. } | WriteOutcome::Kept(_) => Ok(()),
            // The other one's list shows itself soon; the caller looks again.
            WriteOutcome::Refused(_) => Ok(()),
            WriteOutcome::Unknown => Err(StoreError::UnknownOutcome),
            WriteOutcome::NoMajority => Err(StoreError::NoMajority("a majority of both lists did not answer in time")),
        }
    }

    /// Stores every register again, in the present epoch: nothing rests on the old list alone any more.
    async fn store_all_again(&self) -> Result<(), StoreError> {
        let end = RegisterKey::end();
        let mut from = Some(Bound::Included(RegisterKey::buckets().0));
        let mut stored = 0u64;
        while let Some(next) = from.take() {
            let step = self.again(async || self.merged(next.clone(), &end, STORE_STEP).await).await?;
            from = step.end.map(Bound::Excluded);
            let keys: Vec<RegisterKey> = step.found.into_keys().collect();
            let all = futures::stream::iter(keys)
                .map(|key| async move { self.again(async || self.store_again(&key).await).await });
            let mut all = std::pin::pin!(all.buffer_unordered(STORE_AT_ONCE));
            while let Some(done) = all.next().await {
                done?;
                stored += 1;
            }
        }
        log::info!(stored; "every register is stored again under the new member list");
        Ok(())
    }

    async fn store_again(&self, key: &RegisterKey) -> Result<(), StoreError> {
        let (_, members) = self.members()?;
        self.finish_read(key, Read::settle(members)).await.map(|_| ())
    }

    /// Tries for as long as only a majority is missing, within bounds.
    async fn again<T>(&self, mut work: impl AsyncFnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let until = Instant::now() + CHANGE_PATIENCE;
        loop {
            match work().await {
                Err(StoreError::NoMajority(_)) if Instant::now() < until => {
                    sleep_until(Instant::now() + self.0.patience.backoff.cap).await;
                }
                done => return done,
            }
        }
    }

    /// A step of a listing: what a majority holds of a range, in order, and where it ends. Tried on until the
    /// time for a decision is over: nodes that come back, or come to a later member list, answer then.
    pub(super) async fn merged(
        &self,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Merged, StoreError> {
        let deadline = self.deadline();
        let mut tries = 0;
        loop {
            let done = self.merge(from.clone(), to, limit, deadline).await;
            tries += 1;
            let next = Instant::now() + self.0.patience.backoff.delay(tries, u64::from_le_bytes(random()));
            match done {
                Err(StoreError::NoMajority(_)) if next < deadline => sleep_until(next).await,
                done => return done,
            }
        }
    }

    async fn merge(
        &self,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Merged, StoreError> {
        let (voting, members) = self.members()?;
        let own = self.ask(ScanSlots { from: from.clone(), to: to.clone(), limit }).await?;
        let mut votes = match voting.node.state.votes {
            true => members.only(self.0.me),
            false => crate::register::Votes::default(),
        };
        let mut pages: Vec<Vec<Scanned>> = Vec::new();
        let (start, inclusive) = match &from {
            Bound::Included(key) => (key.clone(), true),
            Bound::Excluded(key) => (key.clone(), false),
            Bound::Unbounded => (RegisterKey::buckets().0, true),
        };
        let mut asked: FuturesUnordered<LocalBoxFuture<'static, (Incarnation, Option<Vec<Scanned>>)>> =
            FuturesUnordered::new();
        let mut order = self.near(&voting, members.voters().len()).into_iter();
        while !members.majority(votes) {
            if asked.is_empty() {
                let Some(node) = order.next() else {
                    return Err(StoreError::NoMajority("a majority of the nodes did not answer in time"));
                };
                let Some(door) = self.door(&voting, node) else { continue };
                let limit = u32::try_from(limit).unwrap_or(u32::MAX);
                let scan = Scan { mark: voting.list, from: start.clone(), inclusive, to: to.clone(), limit };
                let (reply, answer) = oneshot::channel();
                door.do_send(Errand::Scan(scan, reply));
                asked.push(Box::pin(async move { (node, answer.await.ok()) }));
            }
            tokio::select! {
                Some((node, page)) = asked.next() => {
                    if let Some(page) = page {
                        votes = votes.with(members.only(node));
                        pages.push(page);
                    }
                }
                () = sleep_until(deadline) => {
                    return Err(StoreError::NoMajority("a majority of the nodes did not answer in time"));
                }
            }
        }
        let mut merged = listing::merge(own, &pages, limit);
        for key in std::mem::take(&mut merged.unsure) {
            let (ballot, state) = self.read(&key).await?;
            merged.found.insert(key, Slot { accepted: ballot, chosen: true, state });
        }
        Ok(merged)
    }
}

/// The next member list, where the present one still holds.
#[derive(Clone, Debug)]
struct Succession {
    present: Epoch,
    next: Roster,
}

impl Intent<Value> for Succession {
    fn decide(&self, found: Option<&Value>) -> Choice<Value> {
        let found = match found.map(|record| &record.state) {
            // The first list is founded, not voted on.
            None | Some(State::Nothing) => Some(Epoch(1)),
            Some(State::Members(list)) => Roster::decode(list).ok().map(|roster| roster.epoch),
            Some(State::Deleted | State::Bucket | State::Object(_)) => None,
        };
        match found == Some(self.present) {
            true => Choice::Put(value(State::Members(self.next.encode().into()))),
            false => Choice::Refuse,
        }
    }
}

fn same_seats(a: &[Seat], b: &[Seat]) -> bool {
    a.len() == b.len() && a.iter().all(|seat| b.contains(seat))
}

/// This node first: what it says is at hand, and the others need not repeat it.
fn in_order<E>(mut actions: Vec<Action<Value, E>>, me: Incarnation) -> Vec<Action<Value, E>> {
    actions.sort_by_key(|action| !matches!(action, Action::Send { to, .. } if *to == me));
    actions.sort_by_key(|action| matches!(action, Action::Done(_)));
    actions
}

fn slot_in(event: &Event<Value>) -> Option<Slot<Value>> {
    match event {
        Event::Reply(reply) => match &reply.answer {
            crate::register::Answer::Held(slot, _) => Some(slot.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn ship_to(
    door: &Addr<ReplicaActor>,
    to: Incarnation,
    head: BlobHead,
    attempt: Attempt,
) -> LocalBoxFuture<'static, Event<Value>> {
    let (done, shipped) = oneshot::channel();
    door.do_send(Errand::Ship(head, done));
    Box::pin(async move {
        match shipped.await {
            Ok(()) => Event::Holds { node: to, body: head.body },
            Err(_) => Event::Silent { from: to, attempt },
        }
    })
}

/// What a client is told of a write.
pub(super) fn ended(outcome: WriteOutcome<Value>, conditional: bool) -> Result<Written, StoreError> {
    let present = |state: &Traced<Value>| state.value.as_ref().is_some_and(|record| record.is_present());
    let written = |ballot, existed, replicas| Written { ballot, etag: String::new(), existed, replicas };
    match outcome {
        WriteOutcome::Written { replaced, ballot, replicas, .. } => Ok(written(ballot, present(&replaced), replicas)),
        WriteOutcome::Kept(state) => Ok(written(Ballot::ZERO, present(&state), 0)),
        WriteOutcome::Refused(_) => Err(StoreError::Precondition),
        WriteOutcome::Unknown => Err(StoreError::UnknownOutcome),
        WriteOutcome::NoMajority if conditional => Err(StoreError::Contended),
        WriteOutcome::NoMajority => Err(StoreError::NoMajority("a majority of the nodes did not answer in time")),
    }
}

impl Wish {
    /// A bucket, unless it is there.
    pub(super) fn bucket() -> Self {
        Wish { condition: Condition::NONE, new: Some(value(State::Bucket)), keep: true }
    }

    /// Nothing of that name.
    pub(super) fn gone(condition: Condition) -> Self {
        Wish { condition, new: None, keep: false }
    }
}
