//! What each bucket holds, as a plain value; or by how much that changes.
//!
//! Invariant: a bucket that holds nothing, or does not change, takes no memory.

use super::counted::Counted;
use crate::base::{BucketId, BucketUsage, RegisterKey};
use std::collections::BTreeMap;

/// Buckets with what they hold, or by how much that changes. Those with nothing are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filling(BTreeMap<BucketId, BucketUsage>);

impl Filling {
    /// What a bucket holds.
    pub fn of(&self, bucket: BucketId) -> BucketUsage {
        self.0.get(&bucket).copied().unwrap_or_default()
    }

    /// A bucket holds that now.
    pub fn set(&mut self, bucket: BucketId, usage: BucketUsage) {
        if usage == BucketUsage::NOTHING {
            self.0.remove(&bucket);
        } else {
            self.0.insert(bucket, usage);
        }
    }

    /// A register went from one state to another; none: it held nothing, or does so now.
    pub fn moved(&mut self, key: &RegisterKey, from: Option<&Counted>, to: Option<&Counted>) {
        let of = |counted: Option<&Counted>| counted.map_or(BucketUsage::NOTHING, |counted| counted.tally.usage());
        let by = of(to).minus(of(from));
        if by != BucketUsage::NOTHING
            && let Some(bucket) = key.bucket_id()
        {
            self.add(bucket, by);
        }
    }

    /// A bucket holds so much more, modulo 2^64.
    pub fn add(&mut self, bucket: BucketId, by: BucketUsage) {
        let now = self.of(bucket).plus(by);
        self.set(bucket, now);
    }

    /// By how much each bucket holds more here than there.
    pub fn differs_from(&self, other: &Filling) -> Filling {
        let mut by = self.clone();
        other.iter().for_each(|(bucket, usage)| by.add(bucket, BucketUsage::NOTHING.minus(usage)));
        by
    }

    /// All buckets that hold something, by id.
    pub fn iter(&self) -> impl Iterator<Item = (BucketId, BucketUsage)> {
        self.0.iter().map(|(bucket, usage)| (*bucket, *usage))
    }

    /// Whether none holds anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// None holds anything any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
