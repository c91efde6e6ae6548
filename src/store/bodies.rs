//! The one door to sealed bodies: claimed, in memory with the log, named at a place, or a file.
//!
//! Invariants
//! - A body is looked for where it was put last: at a claim, in the log, where log and index say, then as a file.
//! - What has a place is durable there: see `segments`.
//! - Nothing is taken away that a batch which is being decided may rest on: see `Blobs::gate`.

use super::blobs::Blobs;
use super::core::Core;
use super::error::StoreError;
use super::places::Place;
use super::segments::{InMemory, Placed};
use crate::base::{BlobRef, BodyId, ObjectRecord, Record};
use crate::disk::DiskFile;
use crate::seal::digest::digest_of;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A body that is open for reading, and its place if it is in a segment.
pub(super) type Found = (Box<dyn DiskFile>, Option<Place>);

/// A body may move while it is opened, once for each compaction that meets it.
const MOVES_MAX: usize = 8;

impl Core {
    /// Where the log and the index say that a body lies, if it is in a segment.
    pub(super) fn named_place(&self, body: BodyId) -> Result<Option<Place>, StoreError> {
        let recent = self.overlay().place(body);
        recent.map_or_else(|| self.index.place(body), Ok)
    }

    /// Where a body lies, if it is in a segment and was not found wrong there.
    fn place(&self, body: BodyId) -> Result<Option<Place>, StoreError> {
        let claimed = self.claims.place(body);
        let place = claimed.map_or_else(|| self.named_place(body), |claimed| Ok(Some(claimed)))?;
        Ok(place.filter(|place| !self.claims.is_wrong(body, *place)))
    }

    /// Opens a body for reading; `None` when there is none.
    pub(super) fn read_body(&self, body: BodyId) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        Ok(self.find_body(body)?.map(|(file, _)| file))
    }

    /// A small body that is in the log and has no place yet.
    fn small_body(&self, body: BodyId) -> Option<Box<dyn DiskFile>> {
        // A claim came after it: somebody had a reason to send it again.
        if self.claims.place(body).is_some() {
            return None;
        }
        let sealed = self.overlay().small(body)?.clone();
        Some(Box::new(InMemory(sealed)))
    }

    /// Opens a body for reading, and tells its place if it is in a segment.
    pub(super) fn find_body(&self, body: BodyId) -> Result<Option<Found>, StoreError> {
        let mut last = None;
        for _ in 0..MOVES_MAX {
            if let Some(file) = self.small_body(body) {
                return Ok(Some((file, None)));
            }
            let place = match self.place(body) {
                // Where it lies in a segment nobody can tell. What is a file is found without.
                Err(error @ StoreError::IndexDamaged(_)) => {
                    let file = self.blobs.read(body)?.map(|file| (file, None));
                    return file.map_or(Err(error), |file| Ok(Some(file)));
                }
                place => place?,
            };
            let Some(place) = place else { break };
            if let Some(part) = self.segments.read_part(place)? {
                return Ok(Some((part, Some(place))));
            }
            // Its segment is gone: the body was moved before, or is lost.
            if last.replace(place) == Some(place) {
                break;
            }
        }
        Ok(self.blobs.read(body)?.map(|file| (file, None)))
    }

    /// Opens a body if no disk is waited for. `None` says nothing.
    pub(super) fn read_body_cached(&self, body: BodyId) -> Option<Box<dyn DiskFile>> {
        if let Some(file) = self.small_body(body) {
            return Some(file);
        }
        let place = match self.claims.place(body) {
            Some(place) => Some(place),
            None => {
                let recent = self.overlay().place(body);
                recent.or_else(|| self.index.place_now(body))?
            }
        };
        match place {
            Some(place) if self.claims.is_wrong(body, place) => None,
            Some(place) => self.segments.read_part_cached(place),
            None => self.blobs.read_cached(body),
        }
    }

    /// A record with its small body at hand, if it has one that is here and is right.
    pub(super) fn with_small_body(&self, record: &Arc<Record>) -> Result<Arc<Record>, StoreError> {
        let small = record.object().filter(|object| object.blob().is_none() && object.in_hand().is_none());
        let Some(object) = small else { return Ok(Arc::clone(record)) };
        let Some(file) = self.read_body(object.body)? else { return Ok(Arc::clone(record)) };
        let mut sealed = vec![0; usize::try_from(object.sealed_len).unwrap_or(0)];
        if file.read_at(0, &mut sealed).is_err() || digest_of(&sealed) != object.digest {
            return Ok(Arc::clone(record));
        }
        let mut record = Record::clone(record);
        // It has the length that the record says.
        let put = record.set_in_hand(Some(sealed.into()));
        put.map_err(|_| StoreError::Corrupt { what: "object body (its length)" })?;
        Ok(Arc::new(record))
    }

    /// Whether a body is here, durably.
    pub(super) fn has_body(&self, body: BodyId) -> Result<bool, StoreError> {
        if self.small_body(body).is_some() {
            return Ok(true);
        }
        match self.place(body)? {
            Some(place) if self.segments.read(place.segment)?.is_some() => Ok(true),
            _ => self.blobs.exists(body),
        }
    }

    /// Whether this node is to have a body and has not, durably: what refers to it is not taken then.
    pub(super) fn lacks_body(&self, body: BodyId) -> Result<bool, StoreError> {
        Ok(self.voting().keeps(self.incarnation, body) && !self.has_body(body)?)
    }

    /// The same of one of the bodies of a record: it is here with all of them, or not at all.
    pub(super) fn lacks_bodies(&self, record: &Record) -> Result<bool, StoreError> {
        any(record.bodies(), |blob| self.lacks_body(blob.body))
    }

    /// The same of what may have been here when it was asked for, and may have gone since. What has just come is not
    /// looked for; a small body comes along.
    pub(super) fn has_lost(&self, object: &ObjectRecord) -> Result<bool, StoreError> {
        any(object.bodies().filter(|_| !object.is_small()), |blob| {
            let has_come = self.claims.place(blob.body).is_some() || self.blobs.has_landed(blob.body);
            Ok(!has_come && self.lacks_body(blob.body)?)
        })
    }

    /// The file in which a body lies, for messages.
    pub(super) fn path_of(&self, body: BodyId) -> PathBuf {
        match self.place(body) {
            Ok(Some(place)) => self.segments.path(place.segment),
            _ => self.blobs.path(body),
        }
    }

    /// Removes a body that came for a record, unless a record refers to it.
    pub(super) fn discard_body(&self, body: BodyId) -> Result<(), StoreError> {
        if !self.drop_claim(body, || self.may_go(body))? {
            let free = |blobs: &Blobs| Ok(blobs.is_landed(body) && self.may_go(body)?);
            self.blobs.remove_if(body, free)?;
        }
        Ok(())
    }

    /// Gives up claims that are older than `grace`: of bodies that nothing refers to, or that have a place by now.
    pub(super) fn sweep_claims(&self, grace: Duration) -> Result<(), StoreError> {
        for body in self.claims.older_than(grace) {
            let is_needless = || Ok(self.named_place(body)?.is_some() || self.may_go(body)?);
            self.drop_claim(body, is_needless)?;
        }
        Ok(())
    }

    /// Gives up the claim of a body, if it has one and `free` says so. Whether it had one.
    pub(super) fn drop_claim(
        &self,
        body: BodyId,
        free: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        if self.claims.place(body).is_none() {
            return Ok(false);
        }
        let _gate = self.blobs.gate();
        if free()? {
            self.claims.drop(body);
        }
        Ok(true)
    }
}

/// Whether `is` says so of one of them.
fn any(
    blobs: impl Iterator<Item = BlobRef>,
    is: impl Fn(BlobRef) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    for blob in blobs {
        if is(blob)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A body on its way to where it will lie. What it is good for is had once it is durable there.
#[derive(Debug)]
#[must_use]
pub struct Placing<T> {
    good_for: T,
    /// None where it is durable already.
    coming: Option<(Arc<Core>, BodyId, Placed)>,
}

impl<T> Placing<T> {
    /// One that is durable.
    pub(super) fn done(good_for: T) -> Self {
        Placing { good_for, coming: None }
    }

    /// One that waits for its place in a segment.
    pub(super) fn coming(core: Arc<Core>, body: BodyId, placed: Placed, good_for: T) -> Self {
        Placing { good_for, coming: Some((core, body, placed)) }
    }

    /// Waits until it is durable.
    pub async fn ended(self) -> Result<T, StoreError> {
        if let Some((core, body, placed)) = self.coming {
            core.claims.hold(body, placed.await.unwrap_or(Err(StoreError::ShuttingDown))?);
        }
        Ok(self.good_for)
    }

    /// Waits until it is durable, on a thread that may wait.
    pub fn wait(self) -> Result<T, StoreError> {
        if let Some((core, body, placed)) = self.coming {
            core.claims.hold(body, placed.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown))?);
        }
        Ok(self.good_for)
    }
}
