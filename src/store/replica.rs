//! The store as a replica: what coordinators and peers ask of this node's votes and of its memory of the others.
//!
//! Invariant: what is answered here at once rests on what is durable.

use super::entry::Held;
use super::error::StoreError;
use super::intent::{Answer, Intent, Request};
use super::store::Store;
use super::types::Doubt;
use super::voting::{Listed, Reply, Seating, Vote, Votes, Voting};
use crate::base::{Ballot, Epoch, Folds, Incarnation, NodeName, Page, RegisterKey, Stamp};
use crate::register::{Answer as Granted, Heard, Remembered, Slot, Standing, Start};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

impl Store {
    /// Votes as a replica; answered when durable.
    pub fn vote(&self, votes: Vec<Vote>) -> Votes {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Vote(votes, reply));
        answer
    }

    /// Takes note of what was chosen, with one of the next commits.
    pub fn mark(&self, marks: Vec<Vote>) {
        self.ask(Request::Marks(marks));
    }

    /// Changes the node's part in its cluster; answered when durable.
    pub fn seat(&self, seating: Seating) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Seat(seating, reply));
        answer
    }

    /// A ballot above all that this node has seen.
    pub fn fresh_ballot(&self) -> Ballot {
        Ballot { stamp: self.core().clock.next((self.core().options.now_ms)()), node: self.core().incarnation }
    }

    /// Takes note of a stamp that came in.
    pub fn observe(&self, stamp: Stamp) {
        self.core().clock.observe(stamp);
    }

    /// Answers a `Query` from what is durable, without the committer: as if it had come before whatever is
    /// being committed. `cached`: only if no disk has to be asked, else `None`.
    pub fn query(&self, vote: &Vote, cached: bool) -> Result<Option<Reply>, StoreError> {
        let core = self.core();
        let state = core.voting().node.state;
        if !core.may_vote() || !vote.is_query() || vote.message.epoch != state.epoch || state.epoch == Epoch(0) {
            return Ok(None);
        }
        let (from, epoch, attempt) = (core.incarnation, state.epoch, vote.message.attempt);
        let reply = |answer| Ok(Some(Reply { from, epoch, attempt, answer }));
        let held = match cached {
            true => match core.lookup_now(&vote.key) {
                Some(held) => held,
                None => return Ok(None),
            },
            false => core.lookup(&vote.key)?,
        };
        let slot = held.as_deref().map_or_else(Slot::default, Held::slot);
        let beat = slot.accepted;
        reply(Granted::Held(slot, beat))
    }

    /// At most `limit` registers of a range, as replicas see them.
    pub fn scan_slots(
        &self,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Page<Listed>, StoreError> {
        Ok(self.core().scan(from, to, limit)?.map(|(key, held)| Some((key, held.slot()))))
    }

    /// At most `limit` registers of what a list shows of a range, as replicas see them.
    pub fn show_slots(
        &self,
        folds: &Folds,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Page<Listed>, StoreError> {
        Ok(self.core().shown(folds, from, to, limit)?.map(|(key, held)| Some((key, held.slot()))))
    }

    /// Gives this start of the node its number, durably; until then it does not vote. `name`: what it is called among
    /// others, if there are others.
    pub fn begin(&self, draw: u64, name: Option<NodeName>) -> Answer {
        self.core().unbegun.store(true, Ordering::Release);
        self.seat(Seating::Begin { draw, name })
    }

    /// The node leaves a cluster that is lost: see `Seating::Leave`.
    pub fn leave(&self, life: u64, name: NodeName) -> Answer {
        self.seat(Seating::Leave { life, name })
    }

    /// What is remembered of the other nodes becomes durable.
    pub fn remember(&self) -> Answer {
        self.submit(Intent::Remember)
    }

    /// The node's votes, as far as they are durable.
    pub fn voting(&self) -> Arc<Voting> {
        self.core().voting()
    }

    /// Up to `limit` registers that have not been known to be chosen for longer than `age`.
    pub fn tentative_for(&self, age: Duration, limit: usize) -> Vec<RegisterKey> {
        self.core().tentative_for(age, limit)
    }

    /// How this node stands. Durable, all of it.
    pub fn standing(&self) -> Standing {
        self.core().standing()
    }

    /// What is remembered of the other nodes.
    pub fn remembered(&self) -> Remembered {
        self.core().remembered()
    }

    /// Whether votes may pass to and from this start of a node.
    pub fn is_met(&self, node: Incarnation, start: Start) -> bool {
        self.core().is_met(node, start)
    }

    /// Another node, whose list is of that epoch, says how it stands, and what it remembers of everybody.
    pub fn hear(&self, from: Incarnation, epoch: Epoch, now: Standing, told: &[(Incarnation, Standing)]) -> Heard {
        self.core().hear(from, epoch, now, told)
    }

    /// Whether this node may have forgotten what it had promised and stored.
    pub fn doubts(&self) -> bool {
        self.core().doubts()
    }

    /// Why, as soon as it doubts.
    pub fn doubted(&self) -> watch::Receiver<Option<Doubt>> {
        self.core().doubt.subscribe()
    }

    /// Whether this start has its number, and no doubt is left or to be judged: else the node answers no vote.
    pub fn may_vote(&self) -> bool {
        self.core().may_vote()
    }

    /// Whether this start has its number, or needs none.
    pub fn has_begun(&self) -> bool {
        self.core().has_begun()
    }

    /// Whether frames of its log that had been durable are gone from its end: see `Core::tail_was_cut`.
    pub fn tail_was_cut(&self) -> bool {
        self.core().tail_was_cut()
    }
}
