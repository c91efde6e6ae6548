//! What lies in a segment by the index and the log: for one that cannot be gone through by reading.
//!
//! Invariants
//! - Nothing rests on what a segment says of itself: a body is found by its place, and held to what its record says.
//! - All places and all registers are read for it, once for a segment: it is for damage alone.

use super::core::Core;
use super::error::StoreError;
use super::places::{Place, SegmentId};
use super::segments::Walk;
use crate::base::{BlobRef, BodyId, RegisterKey};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering;

/// Places, or registers, that are read at once.
const STEP: usize = 512;

impl Core {
    /// A walk over the bodies that are named in a segment and have a record. `None`: there is no such segment.
    pub(super) fn walk_by_places(&self, segment: SegmentId) -> Result<Option<Walk>, StoreError> {
        let places = self.places_in(segment)?;
        let mut entries = Vec::new();
        let mut next = Some(Bound::Included(RegisterKey::first()));
        while let Some(from) = next {
            self.check_open()?;
            let page = self.scan(from.as_ref(), &RegisterKey::end(), STEP)?;
            next = page.complete.next();
            let blobs = page.entries.iter().flat_map(|(_, held)| held.record.bodies());
            entries.extend(blobs.filter_map(|blob: BlobRef| places.get(&blob.body).map(|place| (*place, blob))));
        }
        entries.sort_unstable_by_key(|(place, _)| *place);
        self.segments.walk_listed(segment, entries)
    }

    /// Bodies that have a place in a segment.
    fn places_in(&self, segment: SegmentId) -> Result<BTreeMap<BodyId, Place>, StoreError> {
        let (mut found, mut after) = (BTreeMap::new(), None);
        loop {
            self.check_open()?;
            let step = self.index.places_behind(after, STEP)?;
            let Some((last, _)) = step.last() else { break };
            after = Some(*last);
            found.extend(step.into_iter().filter(|(_, place)| place.segment == segment));
        }
        let overlay = self.overlay();
        let recent = overlay.layers().flat_map(|layer| &layer.places);
        found.extend(recent.filter_map(|(body, place)| Some((*body, (*place).filter(|p| p.segment == segment)?))));
        Ok(found)
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.closing.load(Ordering::Acquire) { Err(StoreError::ShuttingDown) } else { Ok(()) }
    }
}
