//! Orphans: bodies that have places and no record, since the node was given its place anew, or since what waited in a
//! process that ended otherwise than in order is forgotten.
//!
//! Invariants
//! - What lay here before a node is given its place anew still lies here: records that come again find their bodies,
//!   as they find files. It may be the only good copy.
//! - A body is an orphan no longer than `orphan_grace` behind that, or behind a start: then it loses its place, unless a
//!   record refers to it by the end of the batch in which it does.
//! - That there may be some is told by the index until none is left: `Marks::orphans`, `Marks::counted`.

use super::batch::Batch;
use super::core::Core;
use super::decider::Decider;
use super::entry::Op;
use super::error::StoreError;
use super::waiting::{DELAY, Orphaned};
use crate::base::{BodyId, Mark};
use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

/// Places that are looked at in one step.
const STEP: usize = 512;

/// What a step over the places has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Bodies that no record refers to.
    pub bodies: Vec<BodyId>,
    /// Where the next step begins; none at the end.
    pub next: Option<BodyId>,
}

impl Core {
    /// Why there may be orphans, and since when.
    pub(super) fn orphans(&self) -> MutexGuard<'_, Option<(Orphaned, Instant)>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether their time has come.
    pub(super) fn are_orphans_due(&self) -> bool {
        let waited = match *self.orphans() {
            Some((Orphaned::Cleared, since)) => since.elapsed() >= self.options.orphan_grace,
            Some((Orphaned::Left, since)) => since.elapsed() >= DELAY || self.lacks_room_now(),
            None => return false,
        };
        let overlay = self.overlay();
        // Those are counted that the index has: it has to know that it was cleared, and what a start read in the log.
        let is_behind = overlay.retired == 0 && !(overlay.active.is_empty() && overlay.frozen.is_none());
        waited && !is_behind && !overlay.layers().any(|layer| layer.cleared) && self.index.are_counts_sure()
    }

    /// All were looked at.
    pub(super) fn orphans_are_gone(&self) {
        // Unless there are others since.
        if self.are_orphans_due() {
            *self.orphans() = None;
        }
    }

    /// The time has come of those that were forgotten. For tests.
    pub(super) fn hasten_orphans(&self) {
        if let Some((Orphaned::Left, since)) = &mut *self.orphans() {
            *since = since.checked_sub(DELAY).unwrap_or(*since);
        }
    }

    /// Looks at the next places for orphans.
    pub(super) fn find_orphans(&self, after: Option<BodyId>) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let places = self.index.places_behind(after, STEP)?;
        found.next = places.last().map(|(body, _)| *body).filter(|_| places.len() == STEP);
        for (body, _) in places {
            // Wherever it lies by now: one that was moved since the index took its place in is looked at no other time.
            if self.named_place(body)?.is_some() && !self.refers_to(body)? {
                found.bodies.push(body);
            }
        }
        Ok(found)
    }
}

impl Decider {
    /// Takes the places of bodies that nothing refers to. When all else is decided.
    pub(super) fn release_bodies(&self, batch: &mut Batch) {
        let released: BTreeSet<_> = std::mem::take(&mut batch.released).into_iter().collect();
        for body in released {
            // What cannot be told now is told when they are looked at again.
            if self.is_released(batch, body).unwrap_or(false) {
                Mark::OrphanReleased.hit();
                batch.push(Op::Unplace { body });
            }
        }
    }

    /// Whether a body has a place, and no record refers to it by the end of the batch.
    fn is_released(&self, batch: &Batch, body: BodyId) -> Result<bool, StoreError> {
        let core = &self.core;
        if !core.index.are_counts_sure() || core.named_place(body)?.is_none() || core.holds.keep(body) {
            return Ok(false);
        }
        let before = if batch.cleared { Some(0) } else { core.references(body)? };
        Ok(before.is_some_and(|before| before + batch.references.of(body) <= 0))
    }
}
