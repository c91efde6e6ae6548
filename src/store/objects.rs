//! Objects and buckets: their bodies in and out, and what a node alone decides of them.

use super::download::Download;
use super::entry::Held;
use super::error::StoreError;
use super::intent::{Answer, Decided, Intent, Request};
use super::mutation::Mutation;
use super::removal::BodyHold;
use super::store::Store;
use super::types::ObjectInfo;
use super::upload::Upload;
use crate::base::record::{ObjectRecord, SMALL_BYTES_MAX};
use crate::base::{
    BlobRef, BodyAt, BodyId, ChecksumKind, Condition, ExpectedSums, InHand, ObjectHead, ObjectName, PartOf, Permit,
    Record, RegisterKey, UploadId, Uploads, WantedSums,
};
use crate::seal::body;
use crate::seal::sums::{Computed, Sums};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Store {
    /// Seals a small body of which no sums are wanted; what is left is to have its record decided.
    pub fn seal_small(&self, head: ObjectHead, pieces: &[Bytes]) -> Result<Box<ObjectRecord>, StoreError> {
        self.seal_of(head, pieces, &Computed::default())
    }

    /// The same with sums, and refused where they are not those that are expected.
    pub fn seal_summed(
        &self,
        head: ObjectHead,
        pieces: &[Bytes],
        wanted: WantedSums,
        expected: &ExpectedSums,
    ) -> Result<Box<ObjectRecord>, StoreError> {
        let mut sums = Sums::new(wanted);
        pieces.iter().for_each(|piece| sums.update(piece));
        let sums = sums.finish();
        sums.check(expected).map_err(StoreError::SumMismatch)?;
        self.seal_of(head, pieces, &sums)
    }

    fn seal_of(&self, head: ObjectHead, pieces: &[Bytes], sums: &Computed) -> Result<Box<ObjectRecord>, StoreError> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        if len > self.core().options.inline_max {
            return Err(StoreError::Mismatch("a body is too long to come with its record"));
        }
        self.core().check_room(len as u64)?;
        let body = BodyId::timed(self.now_ms(), crate::seal::random());
        Ok(self.sealed_as(body, head, pieces, sums))
    }

    fn sealed_as(&self, body: BodyId, head: ObjectHead, pieces: &[Bytes], sums: &Computed) -> Box<ObjectRecord> {
        let (sealed, wrap, digest) = body::seal_whole(&self.core().ring, self.core().cluster, body, pieces);
        Box::new(ObjectRecord {
            number: 1,
            len: pieces.iter().map(|piece| piece.len() as u64).sum(),
            etag: sums.etag(),
            checksum: sums.checksum,
            head,
            body,
            sealed_len: sealed.len() as u64,
            digest,
            wrap,
            at: BodyAt::Small(InHand::from(Bytes::from(sealed))),
            uploads: Uploads::NONE,
        })
    }

    /// Seals the body of another object anew, a small one: small bodies are not shared, each register has its own. What was
    /// small where it was written is so here, whatever is set here. All else that its record says goes along, but for the
    /// head.
    pub fn seal_copy(
        &self,
        source: &ObjectRecord,
        head: ObjectHead,
        pieces: &[Bytes],
    ) -> Result<Box<ObjectRecord>, StoreError> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        if len > SMALL_BYTES_MAX || len as u64 != source.len {
            return Err(StoreError::Mismatch("a body to be copied is not as long as its record says"));
        }
        self.core().check_room(len as u64)?;
        let body = BodyId::timed(self.now_ms(), crate::seal::random());
        let (sealed, wrap, digest) = body::seal_whole(&self.core().ring, self.core().cluster, body, pieces);
        let (sealed_len, at) = (sealed.len() as u64, BodyAt::Small(InHand::from(Bytes::from(sealed))));
        Ok(Box::new(ObjectRecord { head, body, sealed_len, digest, wrap, at, ..source.clone() }))
    }

    /// Holds a body that is here, so that another record may come to refer to it; `None` where it is not here. On a thread
    /// that may wait: for the commit that is under way. Refused where no record would be taken.
    pub fn hold_body(&self, blob: BlobRef) -> Result<Option<BodyHold>, StoreError> {
        Ok(self.hold_bodies(&[blob])?.into_iter().flatten().next())
    }

    /// The same of many: one answer for each, in their order.
    pub fn hold_bodies(&self, blobs: &[BlobRef]) -> Result<Vec<Option<BodyHold>>, StoreError> {
        self.core().check_writable()?;
        self.core().check_room(0)?;
        BodyHold::of(self.core(), blobs)
    }

    /// Has this node alone decide what a client wants; answered when durable. Where others have a vote too, or this
    /// node has none, nothing is done, and the mutation comes back.
    pub fn mutate(&self, mutation: Mutation) -> Answer<Decided> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Mutate(mutation, reply));
        answer
    }

    /// Begins a body that does not come with its record: its bytes gather in a staged file until it lands. Whether its bucket
    /// is there is not asked here.
    pub fn begin_upload(
        &self,
        at: ObjectName,
        condition: Condition,
        head: ObjectHead,
        len_hint: Option<u64>,
        permit: Option<Permit>,
    ) -> Result<Upload, StoreError> {
        Upload::begin(self.core(), at, condition, head, len_hint, permit)
    }

    /// The same of a part of an upload that is for the key `at`. Whether the upload is open is not asked here.
    pub fn begin_part(
        &self,
        at: ObjectName,
        part: PartOf,
        len_hint: Option<u64>,
        permit: Option<Permit>,
    ) -> Result<Upload, StoreError> {
        Upload::begin_part(self.core(), at, part, len_hint, permit)
    }

    /// What is said of an upload in parts: an object without a byte, named like the upload, whose data key its parts are
    /// sealed under. What is left is to have it decided, under `Target::Upload`, and then the upload opened for its key.
    pub fn seal_upload(
        &self,
        upload: UploadId,
        head: ObjectHead,
        checksum: Option<ChecksumKind>,
    ) -> Result<Box<ObjectRecord>, StoreError> {
        self.core().check_room(0)?;
        let sums = Computed { md5: None, checksum: checksum.map(ChecksumKind::as_checksum), ..Computed::default() };
        Ok(self.sealed_as(upload.as_body(), head, &[], &sums))
    }

    /// Opens an object if no disk is waited for. `None` is no error: `open_object` tells.
    pub fn open_cached(&self, at: &ObjectName) -> Option<(ObjectInfo, Download)> {
        let key = self.core().register_of(at)?;
        self.open_held_cached(&key, &self.core().lookup_now(&key)??)
    }

    fn open_held_cached(&self, key: &RegisterKey, held: &Arc<Held>) -> Option<(ObjectInfo, Download)> {
        Some((ObjectInfo::of(&held.record)?, Download::open_cached(self.core(), key, held)?))
    }

    /// Opens an object as this node holds it.
    pub fn open_object(&self, at: &ObjectName) -> Result<(ObjectInfo, Download), StoreError> {
        let key = self.register_of(at)?;
        let held = self.core().lookup(&key)?.filter(|h| h.record.object().is_some()).ok_or(StoreError::NoSuchKey)?;
        match self.open_held(&key, Arc::clone(&held)) {
            // Replaced between the lookup and the opening of its blob: the new one is there by now.
            Err(StoreError::Corrupt { .. }) => match self.core().lookup(&key)? {
                Some(newer) if newer.seq != held.seq => {
                    if newer.record.object().is_none() {
                        return Err(StoreError::NoSuchKey);
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

    /// Opens a body by its record if no disk is waited for. `None` is no error: `open_record` tells.
    pub fn open_record_cached(&self, key: &RegisterKey, record: &Arc<Record>) -> Option<(ObjectInfo, Download)> {
        self.open_held_cached(key, &self.kept(key, Arc::clone(record)))
    }

    /// What is in memory of a record: its body's keys may be expanded already.
    fn kept(&self, key: &RegisterKey, record: Arc<Record>) -> Arc<Held> {
        let kept = self.core().lookup_cached(key).filter(|held| held.record.ballot == record.ballot);
        kept.unwrap_or_else(|| Arc::new(Held::new(record, true, 0, None)))
    }

    /// Creates the bucket that every new data directory has.
    pub(super) fn first_bucket(&self) -> Answer {
        self.submit(Intent::FirstBucket)
    }

    /// The store's clock, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        (self.core().options.now_ms)()
    }
}
