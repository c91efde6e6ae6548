//! A replica of the model: the product's acceptor and fence over slots in memory.
//!
//! What it decides is durable at once: what is lost otherwise is `model_register`'s subject.

use super::value::{Key, Val, bucket_of};
use super::world::EPOCH;
use boveda::base::{Ballot, Incarnation, Stamp, StampClock};
use boveda::register::{
    Acceptor, Answer, Bucket, Fence, Known, Limits, Message, NodeState, Reply, Request, Slot, Value,
};
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { reserve_step: 1000, promises_max: 4 };

/// One replica with its disk.
pub struct Node {
    pub inc: Incarnation,
    slots: BTreeMap<Key, Slot<Val>>,
    state: NodeState,
    acceptor: Acceptor<Key>,
    clock: StampClock,
}

impl Node {
    /// So many, which hold nothing.
    pub fn some(count: usize) -> Vec<Self> {
        (1..=count as u64).map(|n| Node::new(Incarnation(n))).collect()
    }

    fn new(inc: Incarnation) -> Self {
        let state = NodeState { epoch: EPOCH, ..NodeState::NEW };
        let acceptor = Acceptor::new(inc, state, LIMITS);
        Node { inc, slots: BTreeMap::new(), state, acceptor, clock: StampClock::above(Stamp(0)) }
    }

    /// What it holds of a register.
    pub fn slot(&self, key: Key) -> Slot<Val> {
        self.slots.get(&key).cloned().unwrap_or_default()
    }

    /// All registers that hold something, or did.
    pub fn slots(&self) -> Vec<(Key, Slot<Val>)> {
        self.slots.iter().map(|(key, slot)| (*key, slot.clone())).collect()
    }

    /// Whether it holds the bucket as a deletion closed it.
    pub fn holds_closed(&self, id: u8, generation: u64, fence: Fence) -> bool {
        fence.counts(self.bucket(id).map(|(bucket, _)| bucket), generation)
    }

    /// A ballot above all that it has seen.
    pub fn fresh_ballot(&self) -> Ballot {
        Ballot { stamp: self.clock.next(0), node: self.inc }
    }

    /// A stamp came in.
    pub fn observe(&self, stamp: Stamp) {
        self.clock.observe(stamp);
    }

    /// It starts again, from what is durable.
    pub fn restart(&mut self) {
        self.acceptor = Acceptor::new(self.inc, self.state, LIMITS);
        self.clock = StampClock::above(self.state.reserved);
        let highest = self.slots.values().map(|slot| slot.accepted.stamp).max().unwrap_or(Stamp(0));
        self.clock.observe(highest);
    }

    /// What it holds of the bucket of this very id.
    fn bucket(&self, of: u8) -> Option<(Bucket, Known)> {
        let slot = self.slot(Key::Bucket);
        let (id, bucket) = bucket_of(slot.state.value.as_ref())?;
        (id == of).then_some((bucket, Known { ballot: slot.accepted, chosen: slot.chosen }))
    }

    /// Its answer to a message.
    pub fn handle(&mut self, key: Key, message: &Message<Val>, fence: Fence) -> Reply<Val> {
        self.clock.observe(message.stamp());
        let is_new = self.acceptor.would_take(&key, &self.slot(key), message);
        if let (Key::Object(id), Request::Store(_, state, under), true) = (key, &message.request, is_new) {
            let is_present = state.value.as_ref().is_some_and(Value::present);
            if let Err(refusal) = fence.check(self.bucket(id), *under, is_present) {
                let (from, epoch, attempt) = (self.inc, self.state.epoch, message.attempt);
                return Reply { from, epoch, attempt, answer: Answer::Refused(refusal) };
            }
        }
        let decision = self.acceptor.decide(&key, &self.slot(key), true, message);
        self.state = decision.node.unwrap_or(self.state);
        if let Some(slot) = decision.slot {
            self.slots.insert(key, slot);
        }
        decision.reply
    }
}
