//! What a layer of the overlay has taken out of segments, as far as it was looked up where that lay.
//!
//! Invariants
//! - What is counted lay below the layer, and lies there until the layer is brought to the index: it is never too much.
//! - A body is looked up once, when it is known where it lies below.

use super::places::{Place, SegmentId};
use crate::base::BodyId;
use std::collections::BTreeMap;

/// Of one layer.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Of each segment: bytes of what lies there below the layer, and elsewhere by the layer.
    bytes: BTreeMap<SegmentId, u64>,
    /// Not looked up yet, of those that had lost their place when they were changed first: nearly all of them lie below.
    lost: Vec<BodyId>,
    /// Not looked up yet, of those that had a new place then: those that were moved lie below.
    placed: Vec<BodyId>,
    /// Small bodies of the layer below, which get their places when that is brought to the index.
    coming: Vec<BodyId>,
}

impl Dropped {
    /// A layer changes the place of a body for the first time: it has a new one there, or none any more.
    pub fn changed(&mut self, body: BodyId, is_placed: bool) {
        if is_placed { &mut self.placed } else { &mut self.lost }.push(body);
    }

    /// Some of the bodies that are to be looked up, so many at most. `moved`: also of what has a new place.
    pub fn take(&mut self, moved: bool, max: usize) -> Vec<BodyId> {
        let from = if self.lost.is_empty() && moved { &mut self.placed } else { &mut self.lost };
        from.split_off(from.len().saturating_sub(max))
    }

    /// They could not be looked up.
    pub fn put_back(&mut self, bodies: Vec<BodyId>) {
        self.lost.extend(bodies);
    }

    /// One of them lay there.
    pub fn lay_at(&mut self, place: Place) {
        *self.bytes.entry(place.segment).or_default() += place.bytes();
    }

    /// One of them lies nowhere below yet, and will once the layer there is brought to the index.
    pub fn waits(&mut self, body: BodyId) {
        self.coming.push(body);
    }

    /// The layer below is in the index.
    pub fn came(&mut self) {
        self.lost.append(&mut self.coming);
    }

    /// Whether all that can be looked up was.
    pub fn is_known(&self, moved: bool) -> bool {
        self.lost.is_empty() && (!moved || self.placed.is_empty())
    }

    /// Bytes that the layer has taken out of a segment.
    pub fn of(&self, segment: SegmentId) -> u64 {
        self.bytes.get(&segment).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::overlay::Overlay;
    use super::*;

    #[test]
    fn a_small_body_of_the_layer_below_is_looked_up_once_that_is_in_the_index() {
        let body = BodyId([3; 16]);
        let mut overlay = Overlay::default();
        overlay.active.dropped.changed(body, false);
        assert_eq!(overlay.active.dropped.take(false, 9), [body]);
        overlay.active.dropped.waits(body);
        assert!(overlay.active.dropped.is_known(true) && overlay.active.dropped.take(true, 9).is_empty());
        overlay.retire();
        assert!(!overlay.active.dropped.is_known(false));
        assert_eq!(overlay.active.dropped.take(false, 9), [body]);
    }

    #[test]
    fn what_was_moved_is_looked_up_after_what_was_lost_and_when_it_is_asked_for() {
        let [lost, other, moved] = [1, 2, 3].map(|n| BodyId([n; 16]));
        let mut dropped = Dropped::default();
        dropped.changed(lost, false);
        dropped.changed(moved, true);
        dropped.changed(other, false);
        let mut take = |moved, max| dropped.take(moved, max);
        assert_eq!([take(true, 1), take(true, 9), take(false, 9), take(true, 9)].concat(), [other, lost, moved]);
        let place = Place { segment: SegmentId(4), offset: 4096, len: 36 };
        dropped.lay_at(place);
        dropped.lay_at(place);
        assert_eq!((dropped.of(SegmentId(4)), dropped.of(SegmentId(5))), (2 * place.bytes(), 0));
        dropped.put_back(vec![lost]);
        assert!(!dropped.is_known(false));
    }
}
