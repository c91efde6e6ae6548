//! What clients read, as a majority holds it: objects, buckets, lists of them.
//!
//! Invariants
//! - A read sees every write that was answered before it.
//! - A walk that has to see a range as a whole ends in time, and says so when it did not come to its end.

use super::Coordinator;
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{BodyAt, BucketName, Class, Folds, ObjectKey, ObjectName, Page, Record, RegisterKey, State};
use crate::store::listing::Folding;
use crate::store::voting::record_of;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a walk over a range may take that has to be seen as a whole.
const WALK_TIME: Duration = Duration::from_secs(60);
const MUCH_DELETED: &str =
    "the names of what was deleted take too long to look through; nothing was changed, try again later";
/// Registers of a step that looks whether there is any.
const FEW: usize = 16;
/// How often a reader looks again for an object that was replaced while it was being opened.
const REPLACED_MAX: usize = 8;

/// Whether whoever walks goes on.
enum Seen {
    Some,
    Enough,
}

impl Coordinator {
    /// `NoSuchBucket` unless the bucket is there. What this node knows is enough for "yes"; where no list says who
    /// decides, for "no" as well.
    pub(super) async fn check_bucket(&self, bucket: &BucketName) -> Result<(), ObjectError> {
        if self.knows(bucket).await {
            return Ok(());
        }
        // A bucket that was made through another node may have yet to come here.
        let is_alone = self.decides_alone() && self.roster().is_none();
        match !is_alone && self.holds(&RegisterKey::bucket(bucket)).await? {
            true => Ok(()),
            false => Err(StoreError::NoSuchBucket.into()),
        }
    }

    /// One page of a bucket's objects.
    pub(super) async fn list(&self, msg: &ListObjects) -> Result<ListPage, ObjectError> {
        let (early, deadline) = (self.page_deadline(), self.deadline());
        self.check_bucket(&msg.bucket).await?;
        // No key begins with what is longer than a key; and what lies behind it lies behind its beginning.
        if msg.prefix.len() > ObjectKey::BYTES_MAX {
            return Ok(ListPage::default());
        }
        let after = msg.after.as_deref().map(|after| &after[..after.floor_char_boundary(ObjectKey::BYTES_MAX)]);
        let mut folding = Folding::new(&msg.bucket, &msg.prefix, msg.delimiter.as_deref(), after, msg.limit);
        while let Some(from) = folding.next() {
            let step = self.shown(folding.folds(), from, folding.end(), folding.wanted(), deadline).await?;
            let entries = step.found.into_iter().filter_map(|(key, slot)| Some((key, slot.state.value?))).collect();
            folding.take(Page { entries, complete: step.complete });
            if actix_rt::time::Instant::now() >= early && folding.stop() {
                break;
            }
        }
        Ok(folding.page())
    }

    /// All buckets with their creation time in milliseconds since 1970, by name.
    pub(super) async fn list_buckets(&self) -> Result<Vec<(BucketName, u64)>, ObjectError> {
        let mut found = Vec::new();
        self.walk(RegisterKey::buckets().0, usize::MAX, |key, record| {
            if let (Some(RegisterName::Bucket(name)), State::Bucket) = (key.name(), &record.state) {
                found.push((name, record.written_ms));
            }
            Seen::Some
        })
        .await?;
        Ok(found)
    }

    /// Whether a majority holds no object of the bucket.
    pub(super) async fn is_empty(&self, bucket: &BucketName) -> Result<bool, ObjectError> {
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
    async fn walk(
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

    /// The record of an object as a majority holds it.
    async fn find(&self, at: &ObjectName) -> Result<(RegisterKey, Arc<Record>), ObjectError> {
        let key = RegisterKey::object(at);
        // Before the read: in a later epoch what was read may have been dropped by all, and must not be learned here.
        let epoch = self.epoch();
        let (ballot, state) = self.read(&key).await?;
        let slot = RegisterSlot { accepted: ballot, chosen: true, state };
        let present = slot.state.value.as_ref().is_some_and(|record| record.object().is_some());
        if !present {
            // Only now: an object that is there needs no second question.
            self.check_bucket(&at.bucket).await?;
            return Err(StoreError::NoSuchKey.into());
        }
        let record = match &slot.state.value {
            Some(record) if record.ballot == ballot => Arc::clone(record),
            _ => Arc::new(record_of(&slot)),
        };
        // A body that is fetched from a peer is mended by what this node holds of the key.
        if record.object().is_some_and(|object| object.at == BodyAt::Blob) {
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
