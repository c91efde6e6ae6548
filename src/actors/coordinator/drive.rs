//! Driving: carries a write or a read of the register to its end, message by message.
//!
//! Invariants
//! - Every message that wants an answer ends in an event: the answer, or that there is none.
//! - A decision that waits for a body goes on as long as that moves (`limit`); whenever one waits, a round of it runs.
//! - A message to a replica names its incarnation; whoever lives under the same name now does not answer for it.

use super::limit::Limit;
use super::{Coordinator, Patience, Value};
use crate::actors::messages::*;
use crate::actors::peer::errand::{Cast, Errand};
use crate::actors::peer::transfers::{Carried, Far};
use crate::base::{BlobRef, BodyId, Epoch, Incarnation, RegisterKey, WriteId};
use crate::register::{
    Action, Answer, Attempt, Event, Fresh, Intent, ListMark, Members, Message, Read, ReadOutcome, Refusal, Request,
    Slot, Write, WriteOutcome,
};
use crate::seal::random;
use crate::wire::votes::Vote as WireVote;
use actix::Recipient;
use actix_rt::time::{Instant, sleep_until};
use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a coordinator drives: a write or a read of the register.
pub(super) trait Machine {
    type End;
    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<Value, Self::End>>);
    fn on(&mut self, event: Event<Value>, out: &mut Vec<Action<Value, Self::End>>);
    fn renew(&mut self, members: Arc<Members>);
    fn deadline(&mut self, out: &mut Vec<Action<Value, Self::End>>);
    /// Whether something was sent to be stored whose end it does not know.
    fn at_stake(&self) -> bool;
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
    fn at_stake(&self) -> bool {
        self.sent()
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
    fn at_stake(&self) -> bool {
        false
    }
}

/// Bodies on their way to those that lack them, and their sealed lengths.
type Carrying = RefCell<BTreeMap<(Incarnation, BodyId), u64>>;

impl Coordinator {
    /// Drives a decision to its end.
    pub(super) async fn drive<M: Machine>(
        &self,
        key: &RegisterKey,
        mut machine: M,
        under_way: Vec<LocalBoxFuture<'static, Event<Value>>>,
        deadline: Instant,
    ) -> M::End {
        let mut limit = Limit::new(deadline, self.0.patience.decide);
        // Who refused for want of room: once these keep a majority from being had, another round helps nothing.
        let mut no_room = BTreeSet::new();
        // The bodies under way, and to whom: a second transfer of one would cost its way twice.
        let carrying = Rc::new(Carrying::default());
        let mut pending: FuturesUnordered<_> = under_way.into_iter().collect();
        // A peer whose record is at the same ballot answers without it: what this node holds need not travel back.
        let mut have = self.peek(key).await;
        // What is being stored, so that a replica that lacks its blob can be sent it.
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
                        // A mark and a lesson have no answer that a decision waits for.
                        if is_news {
                            self.0.store.cast_here.do_send(CastHere { votes: vec![vote] });
                        } else if is_query {
                            // A query is in memory, as a rule, and awaited before the peers are asked: see `have`.
                            let event = self.here(vote).await;
                            have = slot_in(&event).or(have);
                            self.heard(&mut machine, event, &mut out);
                        } else {
                            // A vote has to be durable: the peers' disks work at the same time as this one's.
                            pending.push(Box::pin(self.here(vote)));
                        }
                    }
                    Action::Send { to, message } => {
                        if let Some(event) = self.there(key, to, message, have.as_ref()) {
                            pending.push(event);
                        }
                    }
                    // Whoever is asked again while it travels: the first one's answer is for both.
                    Action::Ship { to, body, .. } if carrying.borrow().contains_key(&(to, body)) => {}
                    Action::Ship { to, body, attempt } => {
                        let sent = self.ship_again(storing.as_ref(), to, body, attempt);
                        match sent {
                            Some((shipping, sealed_len)) => {
                                carrying.borrow_mut().insert((to, body), sealed_len);
                                let under_way = Rc::clone(&carrying);
                                pending.push(Box::pin(shipping.inspect(move |_| {
                                    under_way.borrow_mut().remove(&(to, body));
                                })));
                            }
                            // No way leads there, or the attempt was given up: the round counts a refusal.
                            None => machine.on(Event::Silent { from: to, attempt }, &mut out),
                        }
                    }
                    // Nobody is left to retry with.
                    Action::Retry { .. } if self.is_cut_off() || self.keep_majority(key, &no_room) => {
                        machine.deadline(&mut out);
                    }
                    Action::Retry { tries } => {
                        if tries > 0 {
                            // The pause has a random part: two that come back together outbid each other.
                            let took = self.0.patience.round.saturating_sub(expires - Instant::now());
                            let pause = Patience::pause(tries, took, machine.at_stake(), u64::from_le_bytes(random()));
                            sleep_until((Instant::now() + pause).min(limit.at())).await;
                        }
                        if self.is_over(&mut limit, &carrying) {
                            machine.deadline(&mut out);
                        } else {
                            have = self.peek(key).await;
                            attempt = self.begin(&mut machine, &mut out);
                            expires = Instant::now() + self.0.patience.round;
                        }
                    }
                    Action::Renew { epoch } => {
                        // The later list comes by itself; a round under the older one is refused again.
                        self.wait_for(epoch, limit.at()).await;
                        if let Ok((_, members)) = self.members(key) {
                            machine.renew(members);
                        }
                        if self.is_over(&mut limit, &carrying) {
                            machine.deadline(&mut out);
                        } else {
                            attempt = self.begin(&mut machine, &mut out);
                            expires = Instant::now() + self.0.patience.round;
                        }
                    }
                }
            }
            // Answers of this node may have asked for more already: that goes out before anybody is waited for.
            if !out.is_empty() {
                continue;
            }
            let event = tokio::select! {
                // An answer that is there counts, also when the time is up at the same moment.
                biased;
                Some(event) = pending.next(), if !pending.is_empty() => Some(event),
                () = sleep_until(expires.min(limit.at())) => None,
            };
            match event {
                Some(event) => {
                    no_room.extend(lacks_room(&event));
                    if let Event::Holds { node, body } = event {
                        limit.saw(Instant::now(), (node, body), Far::Sent(u64::MAX), 0);
                    }
                    self.heard(&mut machine, event, &mut out);
                }
                None if self.is_over(&mut limit, &carrying) => machine.deadline(&mut out),
                None if Instant::now() < expires => {}
                None => {
                    expires = Instant::now() + self.0.patience.round;
                    // The round is lost, not the decision: the next one may find a majority.
                    machine.on(Event::Expired { attempt }, &mut out);
                }
            }
        }
    }

    /// Whether a decision has to end now, after a look at what it waits for.
    fn is_over(&self, limit: &mut Limit, carrying: &Carrying) -> bool {
        let now = Instant::now();
        let voting = self.0.ballots.voting();
        for ((to, body), sealed_len) in carrying.borrow().iter() {
            let transfers = self.peer(&voting, *to).map(|peer| &peer.transfers);
            if let Some(far) = transfers.and_then(|transfers| transfers.far(*to, *body)) {
                limit.saw(now, (*to, *body), far, *sealed_len);
            }
            // Where this node lacks it too, it has to come here first.
            if let Some(bytes) = self.0.arrivals.of(*body) {
                limit.saw(now, (self.0.me, *body), Far::Sent(bytes), *sealed_len);
            }
        }
        limit.is_over(now)
    }

    fn begin<M: Machine>(&self, machine: &mut M, out: &mut Vec<Action<Value, M::End>>) -> Attempt {
        let fresh = self.fresh();
        machine.begin(fresh, out);
        fresh.attempt
    }

    fn heard<M: Machine>(&self, machine: &mut M, event: Event<Value>, out: &mut Vec<Action<Value, M::End>>) {
        if let Event::Reply(reply) = &event {
            // The next ballot has to lie above all that was heard, or it is refused as well.
            self.0.ballots.observe(reply.stamp());
        }
        machine.on(event, out);
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
        have: Option<&Slot<Value>>,
    ) -> Option<LocalBoxFuture<'static, Event<Value>>> {
        let attempt = message.attempt;
        let voting = self.0.ballots.voting();
        let silent = Event::Silent { from: to, attempt };
        let wants_answer = !matches!(message.request, Request::Mark(_) | Request::Learn(..));
        let asks = matches!(message.request, Request::Query | Request::Prepare(_));
        // The answers to these two alone carry a record.
        let have = have.filter(|_| asks).cloned();
        // The peer refuses votes under another list: nobody could say whose votes count.
        let mark: ListMark = voting.list;
        let (reply, answer) = oneshot::channel();
        let vote = WireVote { key: key.clone(), message, have: have.as_ref().map(|slot| slot.accepted) };
        let cast = Cast { to, mark, vote, have, reply: wants_answer.then_some(reply) };
        // Without a lane the cast is dropped here, and its reply with it: that is heard as silence.
        if let Some(door) = self.door(&voting, to) {
            door.do_send(Errand::Cast(Box::new(cast)));
        }
        wants_answer.then(|| -> LocalBoxFuture<'static, _> {
            Box::pin(async move { answer.await.map_or(silent, Event::Reply) })
        })
    }

    /// Takes the blob of what is being stored to a replica that lacks it; and its sealed length.
    fn ship_again(
        &self,
        storing: Option<&Value>,
        to: Incarnation,
        body: BodyId,
        attempt: Attempt,
    ) -> Option<(LocalBoxFuture<'static, Event<Value>>, u64)> {
        let head = storing?.object()?.blob().filter(|blob| blob.body == body)?;
        let fetched = {
            let fetch = self.0.fetch.clone();
            async move { fetch.send(FetchBody(head)).await.unwrap_or(false) }
        };
        // A round may store what it found at others again: then it is this node that lacks the blob.
        if to == self.0.me {
            let fetched = async move {
                match fetched.await {
                    true => Event::Holds { node: to, body },
                    false => Event::Silent { from: to, attempt },
                }
            };
            return Some((Box::pin(fetched), head.sealed_len));
        }
        let door = self.door(&self.0.ballots.voting(), to)?;
        let shipped = carry_to(&door, to, head);
        let shipped = async move {
            let became = match shipped.await {
                // Perhaps it is not here either: then it is fetched first.
                Carried::Not if fetched.await => carry_to(&door, to, head).await,
                done => done,
            };
            carried(to, body, became, attempt)
        };
        Some((Box::pin(shipped), head.sealed_len))
    }

    fn fresh(&self) -> Fresh {
        let attempt = Attempt(u64::from_le_bytes(random()));
        Fresh { ballot: self.0.ballots.fresh(), attempt, write: WriteId::drawn(random()) }
    }

    pub(super) async fn wait_for(&self, epoch: Epoch, deadline: Instant) {
        while self.0.ballots.voting().list.epoch < epoch && Instant::now() < deadline {
            sleep_until((Instant::now() + self.0.patience.backoff.cap).min(deadline)).await;
        }
    }
}

/// This node first: what it says is at hand, and the others need not repeat it.
fn in_order<E>(mut actions: Vec<Action<Value, E>>, me: Incarnation) -> Vec<Action<Value, E>> {
    actions.sort_by_key(|action| !matches!(action, Action::Send { to, .. } if *to == me));
    // `Done` ends the loop: the marks of the same step are told before.
    actions.sort_by_key(|action| matches!(action, Action::Done(_)));
    actions
}

/// Who said, with this, that it has no room for what was to be stored.
fn lacks_room(event: &Event<Value>) -> Option<Incarnation> {
    match event {
        Event::Reply(reply) if reply.answer == Answer::Refused(Refusal::NoRoom) => Some(reply.from),
        _ => None,
    }
}

fn slot_in(event: &Event<Value>) -> Option<Slot<Value>> {
    match event {
        Event::Reply(reply) => match &reply.answer {
            Answer::Held(slot, _) => Some(slot.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Takes a blob to a replica; what became of it.
pub(super) fn carry_to(
    door: &Recipient<Errand>,
    to: Incarnation,
    head: BlobRef,
) -> impl Future<Output = Carried> + 'static {
    let (done, carried) = oneshot::channel();
    door.do_send(Errand::Ship(to, head, done));
    async move { carried.await.unwrap_or(Carried::Not) }
}

/// What a write hears of it.
pub(super) fn carried(node: Incarnation, body: BodyId, carried: Carried, attempt: Attempt) -> Event<Value> {
    match carried {
        Carried::There => Event::Holds { node, body },
        Carried::NoRoom | Carried::Not => Event::Silent { from: node, attempt },
    }
}
