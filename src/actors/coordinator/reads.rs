//! What clients read, as a majority holds it: objects, buckets, lists of them.
//!
//! Invariants
//! - A read sees every write that was answered before it.
//! - A walk that has to see a range as a whole ends in time, and says so when it did not come to its end.

use super::Coordinator;
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{BucketId, Class, Epoch, Folds, ObjectKey, ObjectName, Page, Record, RegisterKey};
use crate::store::listing::Folding;
use crate::store::voting::record_of;
use actix_rt::time::Instant;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// How long a walk over a range may take that has to be seen as a whole.
const WALK_TIME: Duration = Duration::from_secs(60);
pub(super) const MUCH_DELETED: &str =
    "the names of what was deleted take too long to look through; nothing was changed, try again later";
/// Registers of a step that looks whether there is any.
const FEW: usize = 16;
/// How often a reader looks again for an object that was replaced while it was being opened.
pub(super) const REPLACED_MAX: usize = 8;

/// Whether whoever walks goes on.
pub(super) enum Seen {
    /// It does.
    Some,
    /// It has seen enough.
    Enough,
}

impl Coordinator {
    /// One page of a bucket's objects. What is on it was chosen, so its bucket was alive; of an empty one that is asked
    /// behind it.
    pub(super) async fn list(&self, msg: &ListObjects) -> Result<ListPage, ObjectError> {
        let (early, deadline) = (self.page_deadline(), self.deadline());
        let mut home = self.home(&msg.bucket, deadline).await?;
        // No key begins with what is longer than a key; and what lies behind it lies behind its beginning.
        if msg.prefix.len() > ObjectKey::BYTES_MAX {
            return Ok(ListPage::default());
        }
        loop {
            let page = self.list_life(msg, home.id, early, deadline).await?;
            if !page.entries.is_empty() || !page.prefixes.is_empty() {
                return Ok(page);
            }
            let now = self.confirmed(&home, deadline).await?;
            if now.id == home.id {
                return Ok(page);
            }
            home = now;
        }
    }

    /// One page of what lies in a life of a bucket.
    async fn list_life(
        &self,
        msg: &ListObjects,
        id: BucketId,
        early: Instant,
        deadline: Instant,
    ) -> Result<ListPage, ObjectError> {
        let after = msg.after.as_deref().map(|after| &after[..after.floor_char_boundary(ObjectKey::BYTES_MAX)]);
        let mut folding = Folding::new(id, &msg.prefix, msg.delimiter.as_deref(), after, msg.limit);
        while let Some(from) = folding.next() {
            let step = self.shown(folding.folds(), from, folding.end(), folding.wanted(), deadline).await?;
            let entries = step.found.into_iter().filter_map(|(key, slot)| Some((key, slot.state.value?))).collect();
            folding.take(Page { entries, complete: step.complete });
            if Instant::now() >= early && folding.stop() {
                break;
            }
        }
        Ok(folding.page())
    }

    /// All buckets, by name, each with what this node holds of it.
    pub(super) async fn list_buckets(&self) -> Result<Vec<BucketInfo>, ObjectError> {
        let mut found = Vec::new();
        self.walk(RegisterKey::buckets().0, usize::MAX, |key, record| {
            if let (Some(RegisterName::Bucket(name)), Some(bucket)) = (key.name(), record.bucket()) {
                found.push(BucketInfo::of(&name, bucket, self.0.ballots.usage(bucket.id)));
            }
            Seen::Some
        })
        .await?;
        Ok(found)
    }

    /// Whether a majority holds no object of the bucket in this life.
    pub(super) async fn is_empty(&self, bucket: BucketId) -> Result<bool, ObjectError> {
        let mut empty = true;
        self.walk(RegisterKey::object_prefix(bucket, ""), FEW, |_, _| {
            empty = false;
            Seen::Enough
        })
        .await?;
        Ok(empty)
    }

    /// Walks over what is present of all that begins so, as a majority holds it, until `see` has seen enough or all of
    /// it.
    pub(super) async fn walk(
        &self,
        first: RegisterKey,
        limit: usize,
        mut see: impl FnMut(RegisterKey, Arc<Record>) -> Seen,
    ) -> Result<(), ObjectError> {
        let until = Instant::now() + WALK_TIME;
        let (folds, end) = (Folds::new(first.clone(), None), first.successor());
        let mut next = Some(Bound::Included(first));
        while let Some(from) = next {
            if Instant::now() >= until {
                return Err(ObjectError::OutOfTime(MUCH_DELETED));
            }
            let step = self.shown(&folds, from, &end, limit, self.deadline()).await?;
            next = step.complete.next();
            for (key, slot) in step.found {
                let Some(record) = slot.state.value.filter(|record| record.is_present()) else { continue };
                if matches!(see(key, record), Seen::Enough) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Opens the object that a majority holds.
    pub(super) async fn open(&self, msg: OpenObject) -> Result<(ObjectInfo, Download), ObjectError> {
        let OpenObject { at, mut permit, .. } = msg;
        let (mut key, mut record) = self.find(&at).await?;
        let mut same_again = true;
        for _ in 0..REPLACED_MAX {
            let (of, permit) = (Arc::clone(&record), permit.take());
            match self.ask(OpenRecord { key: key.clone(), record: of, permit }).await {
                // Its body may be gone because it was replaced in between: then there is a newer one to read.
                Err(error) if error.is_damage() => {
                    let found = self.find(&at).await?;
                    // Or this node forgot it in between, when it was given its place anew: it knows it again now.
                    if found.1.ballot == record.ballot && !std::mem::take(&mut same_again) {
                        return Err(error);
                    }
                    (key, record) = found;
                }
                done => return done,
            }
        }
        Err(ObjectError::Contended)
    }

    /// The register of an object that is there, and what a majority holds in it.
    async fn found(&self, at: &ObjectName) -> Result<(RegisterKey, RegisterSlot, Epoch), ObjectError> {
        let deadline = self.deadline();
        let mut home = self.home(&at.bucket, deadline).await?;
        loop {
            let key = RegisterKey::object(home.id, &at.key);
            // Before the read: in a later epoch what was read may have been dropped by all, and must not be learned here.
            let epoch = self.epoch();
            match self.read_by(&key, false, deadline).await {
                Ok((accepted, state)) if state.value.as_ref().is_some_and(|record| record.object().is_some()) => {
                    return Ok((key, RegisterSlot { accepted, chosen: true, state }, epoch));
                }
                Ok(_) | Err(ObjectError::Store(StoreError::NoSuchBucket)) => {}
                Err(error) => return Err(error),
            }
            // What is not there has to be confirmed: this node may have missed that the bucket was made again.
            let now = self.confirmed(&home, deadline).await?;
            if now.id == home.id {
                return Err(StoreError::NoSuchKey.into());
            }
            home = now;
        }
    }

    /// The record of an object as a majority holds it.
    pub(super) async fn find(&self, at: &ObjectName) -> Result<(RegisterKey, Arc<Record>), ObjectError> {
        let (key, slot, epoch) = self.found(at).await?;
        let ballot = slot.accepted;
        let record = match &slot.state.value {
            Some(record) if record.ballot == ballot => Arc::clone(record),
            _ => Arc::new(record_of(&slot)),
        };
        // A body that is fetched from a peer is mended by what this node holds of the key. Of small ones, which come with
        // their records, that is rare: the reader says what it has to be.
        if record.object().is_some_and(|object| object.blob().is_some()) {
            match self.learn(&key, slot, epoch).await {
                Ok(()) => {}
                // A full, read-only or damaged store learns nothing: then its body is here, or comes from a peer as it
                // is.
                Err(error) if matches!(error.class(), Class::Full | Class::Internal | Class::Corrupt) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((key, record))
    }
}
