//! From names to registers, as this node holds the buckets: what clients are told of it alone, and what coordinators and
//! peers ask.
//!
//! Invariant: see `buckets`; all of it is durable.

use super::buckets::fenced;
use super::core::Core;
use super::error::StoreError;
use super::store::Store;
use super::types::BucketInfo;
use crate::base::names::RegisterName;
use crate::base::{BucketId, BucketName, ObjectName, Record, RegisterKey};
use crate::register::{Fence, Slot};
use std::ops::Bound;
use std::sync::Arc;

/// Registers looked at in one step of reading the buckets.
const STEP: usize = 256;

impl Store {
    /// What this node holds of a bucket's register, if that holds a bucket.
    pub fn bucket_slot(&self, name: &BucketName) -> Option<Slot<Arc<Record>>> {
        self.core().buckets().get(name).map(|held| held.slot())
    }

    /// Whether the bucket is known here.
    pub fn has_bucket(&self, bucket: &BucketName) -> bool {
        self.core().buckets().get(bucket).is_some()
    }

    /// The name of the bucket whose life this is, if this node holds that life.
    pub fn name_of_bucket(&self, id: BucketId) -> Option<BucketName> {
        self.core().buckets().by_id(id).map(|(name, _)| name.clone())
    }

    /// Whether this node holds the bucket as a deletion closed it: then what it shows of it counts.
    pub fn holds_closed(&self, id: BucketId, generation: u64) -> bool {
        let held = self.core().buckets().by_id(id).and_then(|(_, held)| fenced(held));
        Fence::CONTRACT.counts(held.map(|(bucket, _)| bucket), generation)
    }

    /// Buckets that are being deleted, with the generations under which they were closed.
    pub fn closing_buckets(&self) -> Vec<(BucketName, u64)> {
        let buckets = self.core().buckets();
        let closing = buckets.iter().filter(|(_, bucket)| !bucket.is_open);
        closing.map(|(name, bucket)| (name.clone(), bucket.generation)).collect()
    }

    /// All buckets, sorted by name, each with what this node holds of it.
    pub fn list_buckets(&self) -> Vec<BucketInfo> {
        let (buckets, filling) = (self.core().buckets(), self.core().filling());
        buckets.iter().map(|(name, bucket)| BucketInfo::of(name, bucket, filling.of(bucket.id))).collect()
    }

    /// The register of an object, as this node holds its bucket. `NoSuchBucket` where it holds none.
    pub fn register_of(&self, at: &ObjectName) -> Result<RegisterKey, StoreError> {
        self.core().register_of(at).ok_or(StoreError::NoSuchBucket)
    }
}

impl Core {
    /// The id of a bucket that this node holds.
    pub(super) fn bucket_id(&self, name: &BucketName) -> Option<BucketId> {
        self.buckets().get(name).and_then(|held| held.record.bucket()).map(|bucket| bucket.id)
    }

    pub(super) fn register_of(&self, at: &ObjectName) -> Option<RegisterKey> {
        self.bucket_id(&at.bucket).map(|id| RegisterKey::object(id, &at.key))
    }
}

/// Reads the buckets from the index; at open.
pub(super) fn load_buckets(core: &Core) -> Result<(), StoreError> {
    let (first, end) = RegisterKey::buckets();
    let mut next = Some(Bound::Included(first));
    while let Some(from) = next {
        let page = core.scan(from.as_ref(), &end, STEP)?;
        next = page.complete.next();
        let (mut buckets, mut public) = (core.buckets_mut(), core.public());
        for (key, held) in page.entries {
            if let Some(RegisterName::Bucket(name)) = key.name() {
                public.set(&name, Some(&held));
                buckets.set(name, Some(&held));
            }
        }
    }
    Ok(())
}
