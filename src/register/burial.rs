//! Burial: when a tombstone may be dropped.
//!
//! A dropped tombstone leaves *nothing* behind, so nothing older than it may come back: every member
//! held it as chosen before an epoch began, has entered that epoch since, and so refuses all that
//! was sent before. An absent member blocks this until a majority retires it.

use super::members::{Members, Votes};
use super::slot::{Slot, Value};
use crate::base::{Ballot, Epoch, Incarnation};
use std::sync::Arc;

/// One tombstone on its way out, or one of a batch that shares its epoch.
#[derive(Debug)]
pub struct Burial {
    members: Arc<Members>,
    ballot: Ballot,
    held: Votes,
    entered: Votes,
}

impl Burial {
    /// The tombstone at `ballot`, to be dropped in the epoch of these members.
    pub fn new(members: Arc<Members>, ballot: Ballot) -> Self {
        Burial { members, ballot, held: Votes::default(), entered: Votes::default() }
    }

    /// A member answered a `Query` while in `epoch`.
    pub fn held<R: Value>(&mut self, from: Incarnation, epoch: Epoch, slot: &Slot<R>) {
        let this = slot.accepted == self.ballot && slot.state.value.as_ref().is_some_and(Value::tombstone);
        if this && slot.chosen && epoch < self.members.epoch() {
            self.held = self.held.with(self.members.only(from));
        }
    }

    /// Whether every member held it as chosen: the epoch may begin.
    pub fn may_begin(&self) -> bool {
        self.held == self.members.all()
    }

    /// A member is durably in `epoch`.
    pub fn entered(&mut self, from: Incarnation, epoch: Epoch) {
        if epoch >= self.members.epoch() {
            self.entered = self.entered.with(self.members.only(from));
        }
    }

    /// Whether the members may drop it: `Acceptor::drop_tombstone`. That it is old enough is for whoever picks it: no
    /// clock makes this safe or unsafe.
    pub fn may_drop(&self) -> bool {
        self.may_begin() && self.entered == self.members.all()
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::Traced;
    use super::*;
    use crate::base::{BodyId, Lineage, Stamp, WriteId};

    #[derive(Clone)]
    struct Gone(bool);
    impl Value for Gone {
        fn blob(&self) -> Option<BodyId> {
            None
        }
        fn tombstone(&self) -> bool {
            self.0
        }

        fn ended(&self) -> Self {
            unreachable!("no bucket ends here")
        }
    }

    #[test]
    fn everybody_held_it_chosen_before_and_has_entered_since() {
        let nodes = [Incarnation(1), Incarnation(2)];
        let ballot = Ballot { stamp: Stamp(5), node: Incarnation(1) };
        let lineage = Lineage::NOTHING.then(WriteId([1; 8]), 8);
        let slot = |chosen, gone| Slot { accepted: ballot, chosen, state: Traced { lineage, value: Some(Gone(gone)) } };
        let mut burial = Burial::new(Arc::new(Members::new(Epoch(3), &nodes).unwrap()), ballot);
        burial.held(nodes[0], Epoch(2), &slot(true, true));
        burial.held(nodes[1], Epoch(2), &slot(false, true));
        burial.held(nodes[1], Epoch(2), &slot(true, false));
        burial.held(nodes[1], Epoch(3), &slot(true, true));
        burial.held(nodes[1], Epoch(2), &Slot { accepted: Ballot::ZERO, ..slot(true, true) });
        assert!(!burial.may_begin());
        burial.held(nodes[1], Epoch(1), &slot(true, true));
        assert!(burial.may_begin() && !burial.may_drop());
        burial.entered(nodes[0], Epoch(3));
        burial.entered(nodes[1], Epoch(2));
        assert!(!burial.may_drop());
        burial.entered(nodes[1], Epoch(4));
        assert!(burial.may_drop());
    }
}
