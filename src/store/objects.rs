//! Objects and buckets: their bodies in and out, and the writes that a node alone decides.

use super::download::Download;
use super::entry::Held;
use super::error::StoreError;
use super::intent::{Answer, Intent};
use super::store::Store;
use super::types::{NewObject, ObjectInfo};
use super::upload::{Finishing, Upload};
use crate::base::record::ObjectRecord;
use crate::base::{BodyAt, BodyId, BucketName, Condition, ObjectName, Permit, Record, RegisterKey};
use crate::seal::body;
use bytes::Bytes;
use std::sync::Arc;

impl Store {
    /// Seals a small body; what is left is `put`.
    pub fn seal_small(&self, head: NewObject, pieces: &[Bytes]) -> Result<Box<ObjectRecord>, StoreError> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        if len > self.core().options.inline_max {
            return Err(StoreError::Mismatch("a body is too long for its record"));
        }
        self.core().check_room(len as u64)?;
        let body = BodyId(crate::seal::random());
        let (sealed, wrap, digest) = body::seal_whole(&self.core().ring, self.core().cluster, body, pieces);
        Ok(Box::new(ObjectRecord {
            len: len as u64,
            content_type: head.content_type,
            meta: head.meta,
            body,
            sealed_len: sealed.len() as u64,
            digest,
            wrap,
            at: BodyAt::Inline(sealed.into()),
        }))
    }

    /// Commits an object whose body is in its record.
    pub fn put(&self, at: ObjectName, condition: Condition, object: Box<ObjectRecord>) -> Answer {
        self.submit(Intent::Put { at, condition, object })
    }

    /// Begins an upload.
    pub fn begin_upload(
        &self,
        at: ObjectName,
        condition: Condition,
        head: NewObject,
        len_hint: Option<u64>,
        permit: Option<Permit>,
    ) -> Result<Upload, StoreError> {
        Upload::begin(self.core(), at, condition, head, len_hint, permit)
    }

    /// Makes an upload's body durable and queues its record.
    pub fn finish_upload(&self, upload: Upload) -> Result<Finishing, StoreError> {
        upload.finish(|intent| self.submit(intent))
    }

    /// Opens an object if no disk is waited for. `None` is no error: `open_object` tells.
    pub fn open_cached(&self, at: &ObjectName) -> Option<(ObjectInfo, Download)> {
        let key = RegisterKey::object(at);
        self.open_held_cached(&key, &self.core().lookup_cached(&key)?)
    }

    fn open_held_cached(&self, key: &RegisterKey, held: &Arc<Held>) -> Option<(ObjectInfo, Download)> {
        Some((ObjectInfo::of(&held.record)?, Download::open_cached(self.core(), key, held)?))
    }

    /// Opens an object.
    pub fn open_object(&self, at: &ObjectName) -> Result<(ObjectInfo, Download), StoreError> {
        let missing = || match self.core().buckets().contains_key(&at.bucket) {
            true => StoreError::NoSuchKey,
            false => StoreError::NoSuchBucket,
        };
        let key = RegisterKey::object(at);
        let held = self.core().lookup(&key)?.filter(|h| h.record.object().is_some()).ok_or_else(missing)?;
        match self.open_held(&key, Arc::clone(&held)) {
            // Replaced between the lookup and the opening of its blob: the new one is there by now.
            Err(StoreError::Corrupt { .. }) => match self.core().lookup(&key)? {
                Some(newer) if newer.seq != held.seq => {
                    if newer.record.object().is_none() {
                        return Err(missing());
                    }
                    self.open_held(&key, newer)
                }
                _ => self.open_held(&key, held),
            },
            other => other,
        }
    }

    fn open_held(&self, key: &RegisterKey, held: Arc<Held>) -> Result<(ObjectInfo, Download), StoreError> {
        let info = ObjectInfo::of(&held.record).ok_or(StoreError::NoSuchKey)?;
        Ok((info, Download::open(self.core(), key.clone(), held)?))
    }

    /// Opens a body by a record that was chosen, whatever this node holds of the key by now.
    pub fn open_record(&self, key: RegisterKey, record: Arc<Record>) -> Result<(ObjectInfo, Download), StoreError> {
        let held = self.kept(&key, record);
        self.open_held(&key, held)
    }

    /// The same if no disk is waited for. `None` is no error: `open_record` tells.
    pub fn open_record_cached(&self, key: &RegisterKey, record: &Arc<Record>) -> Option<(ObjectInfo, Download)> {
        self.open_held_cached(key, &self.kept(key, Arc::clone(record)))
    }

    /// What is in memory of a record: its body's keys may be expanded already.
    fn kept(&self, key: &RegisterKey, record: Arc<Record>) -> Arc<Held> {
        let kept = self.core().lookup_cached(key).filter(|held| held.record.ballot == record.ballot);
        kept.unwrap_or_else(|| Arc::new(Held::new(record, true, 0, None)))
    }

    /// Deletes an object.
    pub fn delete(&self, at: ObjectName, condition: Condition) -> Answer {
        self.submit(Intent::Delete { at, condition })
    }

    /// Creates a bucket.
    pub fn create_bucket(&self, bucket: BucketName) -> Answer {
        self.submit(Intent::CreateBucket { bucket, first_start: false })
    }

    /// Creates the bucket that every new data directory has.
    pub(super) fn first_bucket(&self, bucket: BucketName) -> Answer {
        self.submit(Intent::CreateBucket { bucket, first_start: true })
    }

    /// Deletes an empty bucket.
    pub fn delete_bucket(&self, bucket: BucketName) -> Answer {
        self.submit(Intent::DeleteBucket { bucket })
    }

    /// Whether the bucket is known here.
    pub fn has_bucket(&self, bucket: &BucketName) -> bool {
        self.core().buckets().contains_key(bucket)
    }
}
