//! A node of the model: a disk with two registers, a replica, and ballots.
//!
//! Decisions are durable when their group is committed, and only then do their answers leave.

use super::net::Packet;
use super::value::Val;
use boveda::base::{Ballot, Epoch, Incarnation, StampClock};
use boveda::register::{Acceptor, Decision, Limits, Message, NodeState, Reply, Rules, Slot};

/// Which register: what clients write, or the member list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reg {
    Object,
    List,
}

/// What a node keeps: of each register, of its votes, and which of the world's lists is its own.
#[derive(Clone, Debug)]
pub struct Disk {
    slots: [Slot<Val>; 2],
    pub state: NodeState,
    pub list: Option<usize>,
}

impl Disk {
    /// A disk with nothing on it.
    pub fn empty() -> Self {
        Disk { slots: [Slot::default(), Slot::default()], state: NodeState::NEW, list: None }
    }

    /// A disk with nothing but a list on it, which is of that epoch.
    pub fn with_list(epoch: Epoch, list: usize) -> Self {
        Disk { state: NodeState { epoch, ..NodeState::NEW }, list: Some(list), ..Self::empty() }
    }

    /// What it holds of a register.
    pub fn slot(&self, reg: Reg) -> &Slot<Val> {
        &self.slots[reg as usize]
    }
}

/// One node. `disk` is as decided; durable is what was committed last, and blobs.
pub struct Node {
    pub inc: Incarnation,
    pub disk: Disk,
    pub blobs: u32,
    committed: Disk,
    waiting: Vec<Packet>,
    pub acceptor: Acceptor<Reg>,
    pub clock: StampClock,
    limits: Limits,
    rules: Rules,
}

impl Node {
    pub fn new(inc: Incarnation, disk: Disk, reserve_step: u64, rules: Rules) -> Self {
        let limits = Limits { reserve_step, promises_max: 4 };
        let acceptor = Acceptor::with_rules(inc, disk.state, limits, rules);
        let clock = StampClock::above(disk.state.reserved);
        let committed = disk.clone();
        Node { inc, disk, blobs: 0, committed, waiting: Vec::new(), acceptor, clock, limits, rules }
    }

    /// What it holds of a register, as decided.
    pub fn slot(&self, reg: Reg) -> &Slot<Val> {
        self.disk.slot(reg)
    }

    /// A register holds this now, as decided.
    pub fn hold(&mut self, reg: Reg, slot: Slot<Val>) {
        self.disk.slots[reg as usize] = slot;
    }

    /// It was given its place anew: what it held counts for nothing, but for a list that was chosen.
    pub fn clear(&mut self) {
        let list = self.slot(Reg::List).clone();
        let list = if list.chosen { list } else { Slot::default() };
        self.disk.slots = [Slot::default(), list];
    }

    /// What is durable of a register.
    pub fn durable(&self, reg: Reg) -> &Slot<Val> {
        self.committed.slot(reg)
    }

    /// The list that it goes by: a durable one.
    pub fn list(&self) -> Option<usize> {
        self.committed.list
    }

    /// All that was decided is durable; the answers that may leave now.
    pub fn commit(&mut self) -> impl Iterator<Item = Packet> + '_ {
        self.committed = self.disk.clone();
        self.waiting.drain(..)
    }

    /// A ballot above all that it has seen. Its time stands still.
    pub fn fresh_ballot(&self) -> Ballot {
        Ballot { stamp: self.clock.next(0), node: self.inc }
    }

    /// An answer that waits for the commit of all that was decided before it.
    pub fn answer(&mut self, packet: Packet) {
        self.waiting.push(packet);
    }

    /// What was not committed is gone. The clock stands still, so ballots may come again.
    pub fn restart(&mut self) {
        self.disk = self.committed.clone();
        self.waiting.clear();
        self.acceptor = Acceptor::with_rules(self.inc, self.disk.state, self.limits, self.rules);
        self.clock = StampClock::above(self.disk.state.reserved);
    }

    /// Another disk is put in, with this on it, and the node is another incarnation.
    pub fn replace_disk(&mut self, inc: Incarnation, disk: Disk) {
        (self.inc, self.committed, self.blobs) = (inc, disk, 0);
        self.restart();
    }

    /// Handles a message as a node does: decide, and let the answer wait for the commit.
    pub fn handle(&mut self, reg: Reg, message: &Message<Val>, has_blob: bool) -> Reply<Val> {
        self.clock.observe(message.stamp());
        let Decision { node, slot, reply } = self.acceptor.decide(&reg, self.disk.slot(reg), has_blob, message);
        self.disk.state = node.unwrap_or(self.disk.state);
        if let Some(slot) = slot {
            self.hold(reg, slot);
        }
        assert!(!self.rules.floor_on_restart || self.acceptor.floor() <= self.disk.state.reserved);
        reply
    }
}
