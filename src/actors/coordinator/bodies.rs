//! Large bodies on their way to the voters: while they arrive, when they are whole, and taken back.
//!
//! Invariants
//! - A replica counts as holding a blob only when it said that it has it, durable and checked.
//! - A write ends as soon as those that are left make no majority; and as one for want of room, where a majority would
//!   hold the blob if all had it. Nobody is left to whom it has stood still for as long as a decision may take
//!   (`limit`).
//! - A blob is taken back only for a record that was never voted on, or lost for good; who refers to it keeps it.

use super::drive::{carried, carry_to};
use super::limit::Limit;
use super::{Coordinator, Patience, Value};
use crate::actors::body_streams::{BodyStreams, Streamed};
use crate::actors::messages::*;
use crate::actors::peer::peer_request::PeerRequest;
use crate::actors::peer::transfers::{Carried, Far, SMALL_BYTES_MAX, Transfers};
use crate::base::{BlobRef, BodyId, Incarnation};
use crate::register::{Event, Votes};
use crate::store::voting::Voting;
use crate::wire::StreamHead;
use actix::Recipient;
use actix_rt::time::{Instant, timeout};
use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How the large body of a record comes to those who vote on that.
pub(super) enum Coming {
    /// It is new, and on this node by now: it is taken to them, or is on its way by these streams.
    Anew(Option<BodyStreams>),
    /// Records that were chosen refer to it, and this node holds it: whoever lacks it says so, and is brought it.
    Shared,
}

impl Coordinator {
    /// Ways of a body to who is to hold it and answered lately: short ones go once they are whole. None where there is no
    /// room for what they hold.
    pub(in crate::actors) fn streams(&self, head: StreamHead) -> Option<BodyStreams> {
        let (voting, members) = self.holders(head.body).ok()?;
        // Nobody waits for memory here: without it the body goes to the peers afterwards, from this node's copy.
        let permit = self.0.streams.try_claim(BodyStreams::HOLDS_BYTES.min(head.bytes_max))?;
        let takes = members
            .voters()
            .iter()
            .copied()
            .filter(|to| *to != self.0.me && self.is_up(&voting, *to) && !self.takes_no_body(&voting, *to));
        let lanes = takes.filter_map(|to| Some((to, self.lane(&voting, to)?)));
        if head.bytes_max <= SMALL_BYTES_MAX {
            return Some(BodyStreams::later(head, permit, lanes.collect()));
        }
        let mut streams = BodyStreams::new(head, permit);
        for (to, lane) in lanes {
            lane.do_send(PeerRequest::Stream(streams.to(to)));
        }
        Some(streams)
    }

    pub(super) fn is_up(&self, voting: &Voting, node: Incarnation) -> bool {
        let name = voting.node.roster.as_ref().and_then(|roster| roster.name_of(node));
        name.is_some_and(|name| self.answers(name))
    }

    /// Takes a blob to who is to hold it, or waits for its streams. Ends when a majority holds it; the others go on in
    /// `rest`.
    pub(super) async fn ship(
        &self,
        head: BlobRef,
        mut streams: Option<BodyStreams>,
        rest: &mut Vec<LocalBoxFuture<'static, Event<Value>>>,
    ) -> Result<Vec<Incarnation>, ObjectError> {
        let (voting, members) = self.holders(head.body)?;
        let mut holders = Vec::new();
        // This node has it, durable: that counts as far as it has a vote.
        let mut held = members.only(self.0.me);
        if held.count() > 0 {
            holders.push(self.0.me);
        }
        let mut under_way: FuturesUnordered<LocalBoxFuture<'static, (Incarnation, Carried)>> = FuturesUnordered::new();
        let (mut awaited, mut no_room) = (Votes::default(), Votes::default());
        for to in members.voters().iter().copied().filter(|to| *to != self.0.me) {
            let says = self.says(&voting, to);
            if says.full {
                no_room = no_room.with(members.only(to));
            }
            let Some(peer) = self.peer(&voting, to).filter(|_| !says.full && !says.read_only) else { continue };
            let Some(lane) = peer.lane.address() else { continue };
            awaited = awaited.with(members.only(to));
            let streamed = streams.as_mut().and_then(|streams| streams.take(to));
            let way = Way { lane, transfers: Arc::clone(&peer.transfers), to, head, patience: self.0.patience };
            under_way.push(way.go(streamed).map(move |became| (to, became)).boxed_local());
        }
        while !members.majority(held) {
            // Once those that are left make no majority, nobody is waited for.
            let next = if members.majority(held.with(awaited)) { under_way.next().await } else { None };
            match next {
                Some((node, Carried::There)) => {
                    held = held.with(members.only(node));
                    holders.push(node);
                }
                Some((node, became)) => {
                    awaited = awaited.without(members.only(node));
                    if became == Carried::NoRoom {
                        no_room = no_room.with(members.only(node));
                    }
                }
                None if members.majority(held.with(awaited).with(no_room)) => return Err(StoreError::Full.into()),
                None => return Err(ObjectError::NoMajority("a majority of the nodes did not take the body")),
            }
        }
        let event = move |(node, became)| carried(node, head.body, became);
        // A majority is enough to vote. Who has the blob later is sent the record then.
        rest.extend(
            under_way.into_iter().map(|carrying| -> LocalBoxFuture<'static, _> { carrying.map(event).boxed_local() }),
        );
        Ok(holders)
    }

    /// Tells who was to hold a body that it came in vain. Lazily: what one of them does not hear, it sweeps some day.
    pub(in crate::actors) fn take_back(&self, body: BodyId) {
        let Ok((voting, members)) = self.holders(body) else { return };
        for to in members.voters().iter().filter(|to| **to != self.0.me) {
            if let Some(lane) = self.lane(&voting, *to) {
                lane.do_send(PeerRequest::Discard(*to, body));
            }
        }
    }
}

/// The way of a body to one voter.
struct Way {
    lane: Recipient<PeerRequest>,
    transfers: Arc<Transfers>,
    to: Incarnation,
    head: BlobRef,
    patience: Patience,
}

impl Way {
    /// What becomes of the body. A stream that came whole is the blob; a peer that fell behind is sent this node's
    /// copy.
    async fn go(self, streamed: Option<Streamed>) -> Carried {
        let decide = self.patience.decide;
        let mut limit = Limit::new(Instant::now() + decide, decide);
        if let Some(Streamed { done, sent }) = streamed {
            let far = || match &sent {
                Some(sent) => Some(Far::Sent(sent.load(Ordering::Relaxed))),
                None => self.transfers.far(self.to, self.head.body),
            };
            match self.while_it_moves(done, far, &mut limit).await {
                Some(Ok(carried @ (Carried::There | Carried::NoRoom))) => return carried,
                // What was seen of the stream says nothing of how far the copy is.
                Some(Ok(Carried::Not) | Err(_)) => limit = Limit::new(limit.at(), decide),
                None => return Carried::Not,
            }
        }
        let far = || self.transfers.far(self.to, self.head.body);
        let carrying = carry_to(&self.lane, self.to, self.head);
        self.while_it_moves(carrying, far, &mut limit).await.unwrap_or(Carried::Not)
    }

    /// Waits for `work`; none when its body has stood still until the limit.
    async fn while_it_moves<T>(
        &self,
        work: impl Future<Output = T>,
        far: impl Fn() -> Option<Far>,
        limit: &mut Limit,
    ) -> Option<T> {
        let (mut work, of) = (pin!(work), (self.to, self.head.body));
        loop {
            // As often as a decision looks, so that what moved last is known in time.
            let look = self.patience.round.min(limit.at().saturating_duration_since(Instant::now()));
            if let Ok(done) = timeout(look, work.as_mut()).await {
                return Some(done);
            }
            let now = Instant::now();
            if let Some(far) = far() {
                limit.saw(now, of, far, self.head.sealed_len);
            }
            if limit.is_over(now) {
                return None;
            }
        }
    }
}
