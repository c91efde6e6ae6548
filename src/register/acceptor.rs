//! Acceptor: what a replica promises and stores, and its answers.
//!
//! It does no I/O. The caller reads what the node keeps of a key, passes it in, and makes durable
//! what the decision says **before** the answer goes out.
//!
//! Invariants
//! - `floor <= reserved`, and no promise is above `reserved`: after a restart the floor refuses
//!   everything that may have been promised before, without an fsync per promise.
//! - A promise is kept until a record at its ballot or higher is stored, or until the floor covers it.
//! - The epoch never falls. Nothing is answered without a member list, or in an epoch whose list is not here yet.
//! - At most `promises_max` promises are remembered.
//!
//! The caller keeps the order: it passes in the newest *decided* slot of a key, and an answer waits
//! until everything decided before it for that key, and for the node, is durable. One committer does
//! both. When a commit fails, the node must not answer any more; a restart begins from what is durable.

use super::message::{Answer, Message, Refusal, Reply, Request};
use super::rules::Rules;
use super::slot::{Slot, Traced, Value};
use crate::base::{Ballot, Epoch, Incarnation, Stamp};
use std::collections::BTreeMap;

/// What a replica keeps for all keys together, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// No promise is above this stamp.
    pub reserved: Stamp,
    /// The latest epoch that the node has entered, with the member list of it; 0 of a node without a list.
    pub epoch: Epoch,
}

impl NodeState {
    /// What a node begins with: nothing promised, and no list.
    pub const NEW: NodeState = NodeState { reserved: Stamp(0), epoch: Epoch(0) };
}

/// How much a replica reserves and remembers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far `reserved` goes beyond the promise that needs it, as a difference of stamps.
    pub reserve_step: u64,
    /// Most promises in memory; when they are reached the floor is raised over them.
    pub promises_max: usize,
}

impl Limits {
    /// One durable step a minute under load, and 64 Ki writes in flight.
    pub const STANDARD: Limits = Limits { reserve_step: (60 * 1000) << Stamp::SUB_BITS, promises_max: 64 * 1024 };
}

/// A decision: what must be durable before the answer goes out, and the answer.
#[must_use]
#[derive(Clone, Debug)]
pub struct Decision<R> {
    /// The node's new state, if it changed.
    pub node: Option<NodeState>,
    /// The key's new slot, if it changed. In one commit with `node`.
    pub slot: Option<Slot<R>>,
    /// The answer, to go out only when `node` and `slot` are durable.
    pub reply: Reply<R>,
}

/// A replica's votes, for all its keys.
#[derive(Clone, Debug)]
pub struct Acceptor<K> {
    me: Incarnation,
    node: NodeState,
    floor: Stamp,
    promised: BTreeMap<K, Ballot>,
    limits: Limits,
    rules: Rules,
}

impl<K: Ord + Clone> Acceptor<K> {
    /// A replica that starts, from what is durable.
    pub fn new(me: Incarnation, node: NodeState, limits: Limits) -> Self {
        Self::with_rules(me, node, limits, Rules::CONTRACT)
    }

    /// As `new`, with weakened rules: for the model's own tests.
    #[doc(hidden)]
    pub fn with_rules(me: Incarnation, node: NodeState, limits: Limits, rules: Rules) -> Self {
        let floor = if rules.floor_on_restart { node.reserved } else { Stamp(0) };
        Acceptor { me, node, floor, promised: BTreeMap::new(), limits, rules }
    }

    /// The node's state as decided: what is durable, or will be before the next answer.
    pub fn node(&self) -> NodeState {
        self.node
    }

    /// Every ballot with a stamp up to this one is refused.
    pub fn floor(&self) -> Stamp {
        self.floor
    }

    /// How many promises are remembered.
    pub fn promises(&self) -> usize {
        self.promised.len()
    }

    /// Whether a message of that epoch is decided on and answered: without its list nobody can say whose votes count.
    /// A node whose disk was lost has no list until the others have given it a place.
    pub fn answers(&self, epoch: Epoch) -> bool {
        epoch <= self.node.epoch && self.node.epoch > Epoch(0)
    }

    /// Decides on a message of an epoch that it `answers`. `held` is what the node keeps of the key (`Slot::default()`
    /// when it has none); `has_blob` says whether the blob of the record in a `Store` is here, durable and checked.
    pub fn decide<R: Value>(&mut self, key: &K, held: &Slot<R>, has_blob: bool, message: &Message<R>) -> Decision<R> {
        assert!(self.answers(message.epoch), "no list of {:?}", message.epoch);
        let before = self.node;
        let (answer, slot) = if message.epoch < self.node.epoch && self.rules.epoch_refused {
            (Answer::Refused(Refusal::Epoch), None)
        } else {
            match &message.request {
                Request::Learn(ballot, state) => (Answer::Learned, self.learn(key, held, *ballot, Some(state))),
                Request::Mark(ballot) => (Answer::Learned, self.learn(key, held, *ballot, None)),
                Request::Query => (Answer::Held(held.clone(), self.to_beat(key, held)), None),
                Request::Prepare(ballot) => (self.prepare(key, held, *ballot), None),
                Request::Store(ballot, state, _) => self.store(key, held, has_blob, *ballot, state),
            }
        };
        let node = (self.node != before).then_some(self.node);
        let epoch = if self.rules.epoch_refused { self.node.epoch } else { message.epoch };
        Decision { node, slot, reply: Reply { from: self.me, epoch, attempt: message.attempt, answer } }
    }

    /// Whether this is a `Store` that is new to the replica, and that it would grant for all that it has promised and
    /// stores: then what else must hold is to be asked, the fence of its bucket. What is here already was asked before.
    pub fn would_take<R: Value>(&self, key: &K, held: &Slot<R>, message: &Message<R>) -> bool {
        match &message.request {
            Request::Store(ballot, state, _) => {
                message.epoch >= self.node.epoch && *ballot > held.accepted && self.may_store(key, held, *ballot, state)
            }
            _ => false,
        }
    }

    /// Forgets all promises, and refuses from now on whatever they could have been broken by.
    pub fn forget_promises(&mut self) {
        if self.rules.forget_raises_floor {
            self.floor = self.promised.values().map(|b| b.stamp).fold(self.floor, Stamp::max);
        }
        self.promised.clear();
    }

    /// Enters a later epoch, with its list. It begins as after a restart: the floor covers what was promised. The state to
    /// make durable, in one commit with the list, before this is told to anybody.
    pub fn enter(&mut self, epoch: Epoch) -> NodeState {
        self.node.epoch = self.node.epoch.max(epoch);
        if self.rules.floor_on_enter {
            *self = Self::with_rules(self.me, self.node, self.limits, self.rules);
        }
        self.node
    }

    /// Refuses every ballot up to this stamp, after a restart too. The state to make durable first.
    fn raise_floor(&mut self, stamp: Stamp) -> NodeState {
        self.floor = self.floor.max(stamp);
        self.node.reserved = self.node.reserved.max(stamp);
        self.node
    }

    /// Drops a tombstone that every member has held (`Burial` says when). What is durable next, in
    /// one commit with the slot's removal; `None` when the key no longer holds exactly this tombstone.
    ///
    /// The floor goes over the dropped ballot: others may hold the tombstone a while longer, and a
    /// write below it would be hidden by it.
    pub fn drop_tombstone<R: Value>(&mut self, held: &Slot<R>, ballot: Ballot) -> Option<NodeState> {
        let is_tombstone = held.state.value.as_ref().is_some_and(Value::tombstone);
        (is_tombstone && held.chosen && held.accepted == ballot).then(|| self.raise_floor(ballot.stamp))
    }

    fn promise(&self, key: &K) -> Ballot {
        self.promised.get(key).copied().unwrap_or(Ballot::ZERO)
    }

    /// The highest ballot that a proposal for this key must be above.
    fn to_beat<R>(&self, key: &K, held: &Slot<R>) -> Ballot {
        let floor = if self.floor == Stamp(0) { Ballot::ZERO } else { Ballot::last_of(self.floor) };
        floor.max(self.promise(key)).max(held.accepted)
    }

    fn above_floor(&self, ballot: Ballot) -> bool {
        ballot.stamp > self.floor || (!self.rules.floor_strict && ballot.stamp == self.floor)
    }

    fn prepare<R: Value>(&mut self, key: &K, held: &Slot<R>, ballot: Ballot) -> Answer<R> {
        if self.promised.len() >= self.limits.promises_max && !self.promised.contains_key(key) {
            self.forget_promises();
        }
        let promised = self.promise(key);
        let above_promise = ballot > promised || (!self.rules.promise_once && ballot == promised);
        if !(self.above_floor(ballot) && above_promise && ballot > held.accepted) {
            return Answer::Refused(Refusal::Behind(self.to_beat(key, held)));
        }
        if ballot.stamp > self.node.reserved {
            self.node.reserved = Stamp(ballot.stamp.0.saturating_add(self.limits.reserve_step));
        }
        self.promised.insert(key.clone(), ballot);
        Answer::Promised(ballot, held.clone())
    }

    /// Whether a record may be stored, by what was promised and is stored.
    fn may_store<R: Value>(&self, key: &K, held: &Slot<R>, ballot: Ballot, state: &Traced<R>) -> bool {
        let above_floor = self.above_floor(ballot) || !self.rules.floor_in_store;
        let kept_promise = ballot >= self.promise(key) || !self.rules.promise_in_store;
        // One ballot carries one record; another one under the same ballot is nobody's honest proposal.
        let other = ballot == held.accepted && state.lineage != held.state.lineage;
        above_floor && kept_promise && ballot >= held.accepted && !other
    }

    fn store<R: Value>(
        &mut self,
        key: &K,
        held: &Slot<R>,
        has_blob: bool,
        ballot: Ballot,
        state: &Traced<R>,
    ) -> (Answer<R>, Option<Slot<R>>) {
        if !self.may_store(key, held, ballot, state) {
            return (Answer::Refused(Refusal::Behind(self.to_beat(key, held))), None);
        }
        if state.blob().is_some() && !has_blob {
            return (Answer::Refused(Refusal::NoBlob), None);
        }
        // From here on `accepted` says all that the promise said.
        if self.promise(key) <= ballot {
            self.promised.remove(key);
        }
        if ballot == held.accepted {
            return (Answer::Stored(ballot), None);
        }
        let chosen = held.chosen && !self.rules.store_clears_mark;
        (Answer::Stored(ballot), Some(Slot { accepted: ballot, chosen, state: state.clone() }))
    }

    /// Takes in what was chosen at `ballot`: its record, or for `None` the mark alone. The key's new slot, if that
    /// changes it. The promise is neither asked nor changed: every later proposal has seen it.
    pub fn learn<R: Value>(
        &mut self,
        key: &K,
        held: &Slot<R>,
        ballot: Ballot,
        state: Option<&Traced<R>>,
    ) -> Option<Slot<R>> {
        if !self.rules.learn_keeps_promise {
            self.promised.remove(key);
        }
        if ballot == held.accepted {
            return (!held.chosen).then(|| Slot { chosen: true, ..held.clone() });
        }
        let state = state.filter(|_| ballot > held.accepted)?;
        Some(Slot { accepted: ballot, chosen: true, state: state.clone() })
    }
}

#[cfg(test)]
mod tests;
