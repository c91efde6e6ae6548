//! Seats: how the node's part in its cluster changes.
//!
//! Invariants
//! - Nobody votes without a member list, or in an epoch whose list is not kept here.
//! - A list is taken over once, in the order of epochs, and in one life of the cluster only.

use super::batch::Batch;
use super::decider::Decider;
use super::entry::NodeRecord;
use super::error::StoreError;
use super::voting::Seating;
use crate::base::{Ballot, BucketName, Epoch, Incarnation, Lineage, Record, RegisterKey, Stamp, State, WriteId};
use crate::register::{Acceptor, Limits, NodeState, Roster, Seat, Start};
use std::sync::Arc;

/// The id of the write that makes the first bucket, the same on all nodes.
const FIRST_BUCKET: WriteId = WriteId(*b"cargas/1");

impl Decider {
    /// Changes the node's part in its cluster.
    pub(super) fn seat(&self, batch: &mut Batch, seating: Seating) -> Result<(), StoreError> {
        let mut acceptor = self.acceptor.borrow_mut();
        match seating {
            Seating::Adopt(roster) => {
                let known = self.roster(batch);
                let ours = acceptor.node().epoch;
                if known.as_ref().is_some_and(|known| *known == roster) {
                    return Ok(());
                }
                // Lists of two lives of a cluster never follow each other, whatever their epochs.
                if known.as_ref().is_some_and(|known| known.life != roster.life) {
                    return Err(StoreError::OtherList);
                }
                if roster.epoch <= ours || roster.members().is_none() {
                    return Err(StoreError::Mismatch("a member list of an epoch that has one"));
                }
                let was = acceptor.node();
                if roster.begins_anew(self.core.incarnation, ours) {
                    self.clear(batch, roster.epoch)?;
                }
                batch.outgrows |= roster.outgrows();
                let state = NodeState { epoch: roster.epoch, ..was };
                *acceptor = Acceptor::new(self.core.incarnation, state, Limits::STANDARD);
                if roster.epoch == Epoch(1) {
                    self.first_bucket(batch, &roster)?;
                }
                batch.node = Some(NodeRecord { state, roster: Some(roster), ..self.node(batch) });
            }
            Seating::Begin { draw, name } => {
                let node = self.node(batch);
                let start = Start { number: node.start.number.saturating_add(1), draw };
                batch.node = Some(NodeRecord { start, name: name.or(node.name), ..node });
            }
            Seating::Leave { life, name } => {
                let was = acceptor.node();
                let me = Seat { name: name.clone(), incarnation: self.core.incarnation };
                let roster = Roster::alone(was.epoch, life, (self.core.options.now_ms)(), me);
                let state = NodeState { epoch: roster.epoch, votes: true, ..was };
                *acceptor = Acceptor::new(self.core.incarnation, state, Limits::STANDARD);
                drop(acceptor);
                // The list is a register too: what follows it is decided upon it.
                let key = RegisterKey::members();
                let old = self.current(batch, &key)?;
                self.write_state(batch, key, old, State::Members(roster.encode().into()));
                let roster = Some(Arc::new(roster));
                batch.node = Some(NodeRecord { state, roster, name: Some(name), ..self.node(batch) });
            }
        }
        Ok(())
    }

    /// A member list that was chosen is taken over with the commit that says so.
    pub(super) fn adopt_chosen(&self, batch: &mut Batch, key: &RegisterKey) -> Result<(), StoreError> {
        if *key != RegisterKey::members() {
            return Ok(());
        }
        let Some(held) = self.current(batch, key)?.filter(|held| held.chosen) else { return Ok(()) };
        let State::Members(list) = &held.record.state else { return Ok(()) };
        let roster = Roster::decode(list).map_err(|_| StoreError::Corrupt { what: "member list" })?;
        if roster.epoch > self.acceptor.borrow().node().epoch {
            self.seat(batch, Seating::Adopt(Arc::new(roster)))?;
        }
        Ok(())
    }

    /// The bucket that every cluster has from the start: the same record on every founder, so that it is
    /// chosen as soon as the list is.
    fn first_bucket(&self, batch: &mut Batch, roster: &Roster) -> Result<(), StoreError> {
        let key = RegisterKey::bucket(&BucketName::cargas());
        if self.current(batch, &key)?.is_some() {
            return Ok(());
        }
        let ballot = Ballot { stamp: Stamp(1), node: roster.seats.first().map_or(Incarnation(0), |s| s.incarnation) };
        let lineage = Lineage::NOTHING.then(FIRST_BUCKET, Lineage::IDS_MAX);
        let record = Record { ballot, lineage, written_ms: roster.made_ms, state: State::Bucket };
        batch.store(key, None, record, true, None);
        Ok(())
    }
}
