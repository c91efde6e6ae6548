//! Naming: the log hears where bodies lie, together with what refers to them, and that they lie nowhere any more.
//!
//! Invariants
//! - A place is named in the batch of the record that refers to its body, or after it; one of a body that nothing
//!   refers to by the end of the batch is not.
//! - A small body loses its place in the batch of the record that leaves it. Others wait first: see `reaper`.
//! - A body that was moved has its new place only if it is still where it was moved from.

use super::batch::Batch;
use super::claims::Move;
use super::decider::Decider;
use super::entry::Op;
use super::error::StoreError;
use super::places::Place;
use crate::base::{BodyId, Mark, RegisterKey};
use std::collections::BTreeSet;

impl Decider {
    /// Names the places of what the batch refers to, and takes those of what it leaves. When all else is decided.
    pub(super) fn name_places(&self, batch: &mut Batch) {
        let named: BTreeSet<_> = std::mem::take(&mut batch.named).into_iter().collect();
        for (key, body) in named {
            let Some(place) = self.core.claims.place(body) else { continue };
            if batch.refers(&key, body).unwrap_or(true) && !self.core.claims.is_wrong(body, place) {
                batch.push(Op::Place { body, place });
            }
        }
        let left: BTreeSet<_> = std::mem::take(&mut batch.left).into_iter().collect();
        for (key, body) in left {
            // Where the register refers to it again, it stays.
            if batch.refers(&key, body) != Some(true) {
                batch.push(Op::Unplace { body });
                batch.left.push((key, body));
            }
        }
    }

    /// The log is to name what a register refers to, which came again.
    pub(super) fn name_bodies(&self, batch: &mut Batch, key: RegisterKey) -> Result<(), StoreError> {
        if let Some(held) = self.current(batch, &key)? {
            batch.names(&key, held.record.bodies());
        }
        Ok(())
    }

    /// Bodies lie elsewhere.
    pub(super) fn move_bodies(&self, batch: &mut Batch, moves: Vec<Move>) -> Result<(), StoreError> {
        for Move { body, from, to } in moves {
            if self.core.named_place(body)? == Some(from) {
                batch.push(Op::Place { body, place: to.place() });
                batch.claims.push(to);
            }
        }
        Ok(())
    }

    /// Bodies are not where they should be.
    pub(super) fn lose_bodies(&self, batch: &mut Batch, wrong: Vec<(BodyId, Place)>) -> Result<(), StoreError> {
        for (body, place) in wrong {
            if self.core.named_place(body)? == Some(place) {
                Mark::BodyUnplaced.hit();
                batch.push(Op::Unplace { body });
            }
        }
        Ok(())
    }
}
