//! A node of the model: a disk with one key, a replica, and ballots.
//!
//! Decisions are durable when their group is committed, and only then do their answers leave.

use super::value::Val;
use super::world::Packet;
use boveda::base::{Ballot, Incarnation, Stamp, StampClock};
use boveda::register::{Acceptor, Decision, Limits, Message, NodeState, Reply, Rules, Slot};

/// One node. `slot` and `state` are as decided; on its disk are those of the last commit, and blobs.
pub struct Node {
    pub inc: Incarnation,
    pub slot: Slot<Val>,
    pub state: NodeState,
    pub blobs: u32,
    committed: (Slot<Val>, NodeState),
    waiting: Vec<Packet>,
    pub acceptor: Acceptor<()>,
    pub clock: StampClock,
    limits: Limits,
    rules: Rules,
}

impl Node {
    pub fn new(inc: Incarnation, state: NodeState, reserve_step: u64, rules: Rules) -> Self {
        let limits = Limits { reserve_step, promises_max: 4 };
        let acceptor = Acceptor::with_rules(inc, state, limits, rules);
        let clock = StampClock::above(state.reserved);
        let committed = (Slot::default(), state);
        let slot = Slot::default();
        Node { inc, slot, state, blobs: 0, committed, waiting: Vec::new(), acceptor, clock, limits, rules }
    }

    /// All that was decided is durable; the answers that may leave now.
    pub fn commit(&mut self) -> impl Iterator<Item = Packet> + '_ {
        self.committed = (self.slot.clone(), self.state);
        self.waiting.drain(..)
    }

    /// A ballot above all that it has seen. Its time stands still.
    pub fn fresh_ballot(&self) -> Ballot {
        Ballot { stamp: self.clock.next(0), node: self.inc }
    }

    /// What is durable.
    pub fn durable(&self) -> &Slot<Val> {
        &self.committed.0
    }

    /// An answer that waits for the commit of all that was decided before it.
    pub fn answer(&mut self, packet: Packet) {
        self.waiting.push(packet);
    }

    /// What was not committed is gone. The clock stands still, so ballots may come again.
    pub fn restart(&mut self) {
        (self.slot, self.state) = self.committed.clone();
        self.waiting.clear();
        self.acceptor = Acceptor::with_rules(self.inc, self.state, self.limits, self.rules);
        self.clock = StampClock::above(self.state.reserved);
    }

    /// An empty disk, another incarnation.
    pub fn wipe(&mut self, inc: Incarnation, state: NodeState) {
        (self.inc, self.committed, self.blobs) = (inc, (Slot::default(), state), 0);
        self.restart();
    }

    /// Handles a message as a node does: decide, and let the answer wait for the commit.
    pub fn handle(&mut self, message: &Message<Val>, has_blob: bool) -> Reply<Val> {
        self.clock.observe(message.stamp());
        let Decision { node, slot, reply } = self.acceptor.decide(&(), &self.slot, has_blob, message);
        self.state = node.unwrap_or(self.state);
        self.slot = slot.unwrap_or_else(|| self.slot.clone());
        assert!(!self.rules.floor_on_restart || self.acceptor.floor() <= self.state.reserved);
        reply
    }

    /// The highest stamp that it has reserved, refuses or stores.
    pub fn highest(&self) -> Stamp {
        self.state.reserved.max(self.acceptor.floor()).max(self.slot.accepted.stamp)
    }
}
