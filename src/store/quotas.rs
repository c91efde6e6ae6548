//! Quotas and usage in the order of commits: what a node that decides alone lets into a bucket, and what a batch says that
//! buckets hold.
//!
//! Invariants
//! - A node alone never goes beyond a quota: it counts what its batch has decided so far.
//! - What a batch has changed of a bucket is said in that batch, once, as the sum that it comes to.

use super::batch::Batch;
use super::decider::Decider;
use super::entry::Op;
use super::error::StoreError;
use crate::base::{BucketId, BucketUsage, Quota, Record};

impl Decider {
    /// What a bucket holds, as decided.
    fn usage_of(&self, batch: &Batch, bucket: BucketId) -> BucketUsage {
        let durable = if batch.cleared { BucketUsage::NOTHING } else { self.core.filling().of(bucket) };
        durable.plus(batch.usage.of(bucket))
    }

    /// Refuses a write that would bring a bucket above its quota.
    pub(super) fn check_quota(
        &self,
        batch: &Batch,
        (bucket, quota): (BucketId, Quota),
        old: Option<&Record>,
        len: u64,
    ) -> Result<(), StoreError> {
        if quota.is_none() {
            return Ok(());
        }
        let now = self.usage_of(batch, bucket);
        let then = now.plus(BucketUsage::of_object(len)).minus(usage_of(old));
        if quota.allows(now, then) { Ok(()) } else { Err(StoreError::QuotaExceeded) }
    }

    /// Says in the batch what the buckets hold that it has changed.
    pub(super) fn say_usage(&self, batch: &mut Batch) {
        if batch.ops.is_empty() {
            return;
        }
        // Of a node that forgets all it holds there is nothing to put right.
        if !batch.cleared {
            let uncounted = self.core.uncounted().clone();
            batch.puts_right = !uncounted.is_empty();
            uncounted.iter().for_each(|(bucket, by)| batch.usage.add(bucket, by));
        }
        let changed: Vec<_> = batch.usage.iter().map(|(bucket, _)| (bucket, self.usage_of(batch, bucket))).collect();
        changed.into_iter().for_each(|(bucket, usage)| batch.push(Op::Usage { bucket, usage }));
    }
}

/// What a register counts for that holds this.
fn usage_of(record: Option<&Record>) -> BucketUsage {
    let object = record.and_then(Record::object);
    object.map_or(BucketUsage::NOTHING, |object| BucketUsage::of_object(object.len))
}
