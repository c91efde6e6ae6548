//! Burying: an epoch of the same member list begins, and tombstones that all members held before go in it.
//!
//! Invariants
//! - What may go is `register::Burial`'s to say. Whatever is lost on the way leaves tombstones where they are.
//! - No epoch begins unless a tombstone may go in it.

use super::{Coordinator, Value, no_list};
use crate::actors::messages::*;
use crate::actors::peer::peer_request::PeerRequest;
use crate::base::{Ballot, Incarnation, RegisterKey};
use crate::register::{Answer as Granted, Attempt, Burial, Event, ListMark, Members, Message, Placement, Request};
use crate::seal::random;
use crate::store::voting::{Voting, mark_of};
use crate::wire::{Answer, Call, ENTRIES_MAX};
use actix_rt::time::{Instant, sleep_until};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Registers that all members are asked for at once.
const ASK_AT_ONCE: usize = 512;
/// How long all members may take to enter the epoch.
const ENTER_PATIENCE: Duration = Duration::from_secs(60);
/// How often a member is told to drop its tombstones, when it does not answer.
const TELL_TRIES: usize = 3;

/// A tombstone on its way out.
struct Leaving {
    key: RegisterKey,
    ballot: Ballot,
    burial: Burial,
}

impl Coordinator {
    /// Has these tombstones dropped by all members. How many could be; fewer when a member does not hold one as
    /// chosen, none when a member is away or the list changes meanwhile.
    pub(in crate::actors) async fn bury(&self, graves: Vec<Grave>) -> Result<usize, ObjectError> {
        let voting = self.0.ballots.voting();
        let roster = voting.node.roster.clone().ok_or_else(no_list)?;
        // A change of the list is under way, with epochs of its own: tombstones wait until it is over.
        if !roster.before.is_empty() {
            return Ok(0);
        }
        let next = roster.next(crate::store::system_ms(), &roster.seats);
        let coming = Placement::of(&next).ok_or_else(no_list)?;
        let leaving = |(key, ballot)| {
            let burial = Burial::new(Arc::clone(coming.voters(&key)), ballot);
            Leaving { key, ballot, burial }
        };
        let mut leaving: Vec<Leaving> = graves.into_iter().map(leaving).collect();
        // All of them enter the epoch: the list is everybody's.
        let coming = coming.all();
        for some in leaving.chunks_mut(ASK_AT_ONCE) {
            self.ask_who_holds(&voting, some).await;
        }
        leaving.retain(|one| one.burial.may_begin());
        if leaving.is_empty() {
            return Ok(0);
        }
        let (epoch, list, until) = (next.epoch, mark_of(&next), Instant::now() + ENTER_PATIENCE);
        self.decide_list(&roster, next).await?;
        self.wait_for(epoch, until).await;
        self.wait_for_all(coming, list, &mut leaving, until).await;
        // A member that is not in the epoch yet may still take in what a tombstone has deleted.
        leaving.retain(|one| one.burial.may_drop());
        let graves: Vec<Grave> = leaving.into_iter().map(|one| (one.key, one.ballot)).collect();
        let count = graves.len();
        let (tell, dropped) = (graves.chunks(ENTRIES_MAX), coming.voters().to_vec());
        for some in tell {
            self.tell_all(&dropped, list, some).await;
        }
        log::info!(epoch = epoch.0, count; "old tombstones are dropped");
        Ok(count)
    }

    /// A query to a member; its answer, if it has one.
    fn query(&self, to: Incarnation, key: &RegisterKey, members: &Members) -> LocalBoxFuture<'static, Event<Value>> {
        let attempt = Attempt(u64::from_le_bytes(random()));
        let message = Message { epoch: members.epoch(), attempt, request: Request::Query };
        if to == self.0.me {
            return Box::pin(self.here(Vote { key: key.clone(), message }));
        }
        let silent = Event::Silent { from: to, attempt };
        self.there(key, to, message, None).unwrap_or_else(|| Box::pin(std::future::ready(silent)))
    }

    /// Asks who holds these registers for them, in the epoch before the one that is to begin.
    async fn ask_who_holds(&self, voting: &Voting, leaving: &mut [Leaving]) {
        let Some(placement) = &voting.placement else { return };
        let mut asked = FuturesUnordered::new();
        for (at, one) in leaving.iter().enumerate() {
            let members = placement.voters(&one.key);
            for to in members.voters() {
                let answer = self.query(*to, &one.key, members);
                asked.push(async move { (at, answer.await) });
            }
        }
        while let Some((at, event)) = asked.next().await {
            let Event::Reply(reply) = event else { continue };
            self.0.ballots.observe(reply.stamp());
            if let (Granted::Held(slot, _), Some(one)) = (&reply.answer, leaving.get_mut(at)) {
                one.burial.held(reply.from, reply.epoch, slot);
            }
        }
    }

    /// Asks every member until it is in the epoch. A later list than this one ends it: nothing may go then.
    async fn wait_for_all(&self, coming: &Arc<Members>, list: ListMark, leaving: &mut [Leaving], until: Instant) {
        let mut missing: Vec<Incarnation> = coming.voters().to_vec();
        while !missing.is_empty() && self.0.ballots.voting().list == list && Instant::now() < until {
            let asked = missing.iter().map(|to| self.query(*to, &RegisterKey::members(), coming));
            for event in futures::future::join_all(asked).await {
                let Event::Reply(reply) = event else { continue };
                leaving.iter_mut().for_each(|one| one.burial.entered(reply.from, reply.epoch));
                missing.retain(|node| *node != reply.from || reply.epoch < coming.epoch());
            }
            if !missing.is_empty() {
                sleep_until((Instant::now() + self.0.patience.backoff.cap).min(until)).await;
            }
        }
    }

    /// Tells these nodes to drop these tombstones. Who does not hear of it has its tombstones for longer.
    async fn tell_all(&self, nodes: &[Incarnation], list: ListMark, graves: &[Grave]) {
        let mut untold = nodes.to_vec();
        for _ in 0..TELL_TRIES {
            let told = untold.iter().map(|node| self.tell(*node, list, graves));
            let told = futures::future::join_all(told).await;
            untold = untold.into_iter().zip(told).filter(|(_, told)| !told).map(|(node, _)| node).collect();
            if untold.is_empty() {
                return;
            }
            sleep_until(Instant::now() + self.0.patience.backoff.cap).await;
        }
        log::warn!(nodes = untold.len(); "members keep some old tombstones for longer: they did not answer");
    }

    async fn tell(&self, node: Incarnation, list: ListMark, graves: &[Grave]) -> bool {
        if node == self.0.me {
            return self.ask(Bury { list, graves: graves.to_vec() }).await.is_ok();
        }
        let Some(lane) = self.lane(&self.0.ballots.voting(), node) else { return false };
        let (reply, answer) = oneshot::channel();
        lane.do_send(PeerRequest::Ask(node, Box::new(Call::Bury(list, graves.to_vec())), reply));
        matches!(answer.await, Ok(Answer::Done))
    }
}
