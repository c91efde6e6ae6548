//! Orphans: bodies that have places and no record, since the node was given its place anew.
//!
//! Invariants
//! - What lay here before a node is given its place anew still lies here: records that come again find their bodies,
//!   as they find files. It may be the only good copy.
//! - A body is an orphan no longer than `orphan_grace` behind that, or behind a start: then it loses its place, unless a
//!   record refers to it by the end of the batch in which it does.
//! - That there may be some is told by the index (`Marks::orphans`) until none is left.

use super::batch::Batch;
use super::core::Core;
use super::decider::Decider;
use super::entry::Op;
use super::error::StoreError;
use crate::base::{BodyId, Mark};
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
    /// Since when there may be orphans.
    pub(super) fn orphans(&self) -> MutexGuard<'_, Option<Instant>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether their time has come.
    pub(super) fn are_orphans_due(&self) -> bool {
        let waited = self.orphans().is_some_and(|since| since.elapsed() >= self.options.orphan_grace);
        // Those are counted that the index has: it has to know that it was cleared.
        waited && !self.overlay().layers().any(|layer| layer.cleared)
    }

    /// Looks at the next places for orphans.
    pub(super) fn find_orphans(&self, after: Option<BodyId>) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let places = self.index.places_behind(after, STEP)?;
        found.next = places.last().map(|(body, _)| *body).filter(|_| places.len() == STEP);
        for (body, place) in places {
            if self.named_place(body)? == Some(place) && !self.refers_to(body)? {
                found.bodies.push(body);
            }
        }
        Ok(found)
    }
}

impl Decider {
    /// Takes the places of bodies that nothing refers to. When all else is decided.
    pub(super) fn release_bodies(&self, batch: &mut Batch) {
        for body in std::mem::take(&mut batch.released) {
            let is_free =
                |core: &Core| Ok::<_, StoreError>(!core.refers_to(body)? && core.named_place(body)?.is_some());
            // What cannot be told now is told when they are looked at again.
            if !batch.refers_anywhere(body) && is_free(&self.core).unwrap_or(false) {
                Mark::OrphanReleased.hit();
                batch.push(Op::Unplace { body });
            }
        }
    }
}
