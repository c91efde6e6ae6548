//! Join: how a node with an empty data directory comes to vote.
//!
//! It has a new incarnation, and an epoch has that incarnation in the place of the old one. Then
//! 1. enough other members durably enter that epoch (`Acceptor::enter`) that no majority without
//!    them is left to the epochs before, and say the highest stamp they know of;
//! 2. the node raises its floor to the highest of those, durably (`Acceptor::raise_floor`);
//! 3. it learns every key: a `Read` in that epoch, which settles what is tentative without this
//!    node's vote, then a `Learn` of the result;
//! 4. it votes (`Acceptor::admit`).
//!
//! The model alone runs this. A node of the product whose directory is empty is given its place by way of an epoch of
//! both lists, in which every register is stored again (`members`), and votes at once: `Roster::begins_anew`. What is
//! shown here is why a list that simply names another incarnation would not do: the rules that the model switches off
//! are its proof.
//!
//! With two members there is no majority without the node: an operator retires the old incarnation
//! first, in an epoch of its own with one voter.

use super::members::{Members, Votes};
use crate::base::{Epoch, Incarnation, Stamp};
use std::sync::Arc;

/// The first two steps of a join: who has entered the epoch, and the floor to begin with.
#[derive(Debug)]
pub struct Join {
    members: Arc<Members>,
    me: Incarnation,
    entered: Votes,
    floor: Stamp,
}

impl Join {
    /// A join of `me`, one of these members.
    pub fn new(members: Arc<Members>, me: Incarnation) -> Self {
        Join { members, me, entered: Votes::default(), floor: Stamp(0) }
    }

    /// A member is durably in `epoch`; `highest` is the highest stamp it has reserved, has as its
    /// floor, or has accepted for any key.
    pub fn entered(&mut self, from: Incarnation, epoch: Epoch, highest: Stamp) {
        if from != self.me && epoch >= self.members.epoch() {
            self.entered = self.entered.with(self.members.only(from));
            self.floor = self.floor.max(highest);
        }
    }

    /// The floor to begin with, once enough members have entered: n - m + 1 of n, m the majority.
    pub fn floor(&self) -> Option<Stamp> {
        self.members.in_every_majority(self.entered).then_some(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_others_must_have_entered() {
        let nodes: Vec<_> = (0..5).map(Incarnation).collect();
        let mut join = Join::new(Arc::new(Members::new(Epoch(4), &nodes).unwrap()), Incarnation(0));
        join.entered(Incarnation(0), Epoch(4), Stamp(99));
        join.entered(Incarnation(1), Epoch(3), Stamp(98));
        join.entered(Incarnation(7), Epoch(4), Stamp(0));
        join.entered(Incarnation(2), Epoch(4), Stamp(6));
        join.entered(Incarnation(2), Epoch(4), Stamp(7));
        join.entered(Incarnation(3), Epoch(5), Stamp(5));
        assert_eq!(join.floor(), None, "itself, an older epoch, a stranger and a repeat count for nothing");
        join.entered(Incarnation(4), Epoch(4), Stamp(1));
        assert_eq!(join.floor(), Some(Stamp(7)));
    }
}
