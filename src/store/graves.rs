//! Graves: how tombstones go, and who may still teach this node something.
//! Whether a tombstone may go is decided by `register::Burial` and told under the list of its epoch.
//!
//! Invariants
//! - A tombstone goes only when it is exactly the one that was told, and known to be chosen; its register holds nothing
//!   then, and the floor lies above it in the same commit.
//! - Nothing that was read in an earlier epoch comes in, nor anything from a node without a place: only members
//!   are asked whether a tombstone may go.
//! - A node that is given its place anew begins with nothing.

use super::batch::Batch;
use super::decider::Decider;
use super::entry::NodeRecord;
use super::error::StoreError;
use super::types::Grave;
use super::voting::mark_of;
use crate::base::{Epoch, Incarnation, Mark, RegisterKey};
use crate::register::ListMark;
use std::sync::Arc;

impl Decider {
    /// Whether a peer may teach this node what it read in that epoch.
    pub(super) fn check_teacher(&self, batch: &Batch, from: Incarnation, epoch: Epoch) -> Result<(), StoreError> {
        let stale = epoch < self.acceptor.borrow().node().epoch;
        let roster = self.roster(batch);
        let stranger = roster.is_some_and(|list| list.is_stranger(self.core.incarnation, from));
        if stale || stranger { Err(StoreError::OtherList) } else { Ok(()) }
    }

    /// Drops these tombstones, where they are what the registers hold.
    pub(super) fn bury(&self, batch: &mut Batch, list: ListMark, graves: Vec<Grave>) -> Result<(), StoreError> {
        self.roster(batch).filter(|roster| mark_of(roster) == list).ok_or(StoreError::OtherList)?;
        for (key, ballot) in graves {
            let Some(held) = self.current(batch, &key)? else { continue };
            let mut acceptor = self.acceptor.borrow_mut();
            let before = acceptor.node();
            let Some(state) = acceptor.drop_tombstone(&held.slot(), ballot) else { continue };
            if state != before {
                batch.node = Some(NodeRecord { state, ..self.node(batch) });
            }
            batch.forget(key, &held);
        }
        Ok(())
    }

    /// Forgets all registers but that of the member list, which is never dropped.
    pub(super) fn clear(&self, batch: &mut Batch, epoch: Epoch) -> Result<(), StoreError> {
        let list = RegisterKey::members();
        let kept = self.current(batch, &list)?.filter(|held| held.chosen);
        batch.clear(epoch);
        if let Some(held) = kept {
            batch.store(list, None, Arc::clone(&held.record), true, held.learned_from);
        }
        Mark::BeganAnew.hit();
        log::info!(epoch = epoch.0; "this node was given its place anew, and begins with nothing");
        Ok(())
    }
}
