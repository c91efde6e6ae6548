//! Lists: the parts of an upload, and the uploads of a bucket that are open.
//!
//! Invariant: what is on a page was open when it was made, as a majority says of each key; what ends meanwhile may be on it.

use super::names::Naming;
use super::{Coordinator, Fate, kind_of};
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{BucketId, ObjectKey, RegisterKey, UploadId, Uploads};
use actix_rt::time::Instant;
use futures::stream::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Registers of a step through uploads: the parts of the last one are passed over.
const STEP: usize = 128;
/// Keys that are asked for their open uploads at once. Those of one moment travel in one frame.
const READ_AT_ONCE: usize = 256;

/// The uploads that are open for some keys.
type Open = BTreeMap<ObjectKey, Uploads>;

impl Coordinator {
    /// One page of the parts of an upload that is open.
    pub(in crate::actors::coordinator) async fn list_parts(&self, msg: ListParts) -> Result<PartPage, ObjectError> {
        let ListParts { at, upload, after, limit } = msg;
        let deadline = self.deadline();
        let (home, fate) = self.fate(&at, upload, deadline).await?;
        let Fate::Open = fate else { return Err(StoreError::NoSuchUpload.into()) };
        let upload = self.described(&home, &at, upload, deadline).await?;
        let of = RegisterKey::upload(home.id, &at.key, upload.id);
        let behind = if after == 0 { of.clone() } else { RegisterKey::part(home.id, &at.key, upload.id, after) };
        let (end, mut next, mut parts) = (of.parts_end(), Some(Bound::Excluded(behind)), Vec::new());
        while let Some(from) = next.filter(|_| parts.len() <= limit) {
            let page = self.step(&of, from, &end, limit - parts.len() + 1, deadline).await?;
            next = page.complete.next();
            parts.extend(page.entries.iter().filter_map(|(key, record)| match key.name()? {
                RegisterName::Part(.., number) => part_of(number, record),
                _ => None,
            }));
        }
        let is_truncated = parts.len() > limit;
        parts.truncate(limit);
        Ok(PartPage { upload, parts, is_truncated })
    }

    /// One page of the uploads of a bucket that are open. What is on it was there, so its bucket was alive; of an empty
    /// one that is asked behind it.
    pub(in crate::actors::coordinator) async fn list_uploads(
        &self,
        msg: ListUploads,
    ) -> Result<UploadPage, ObjectError> {
        let (early, deadline) = (self.page_deadline(), self.deadline());
        let mut home = self.home(&msg.bucket, deadline).await?;
        if msg.prefix.len() > ObjectKey::BYTES_MAX {
            return Ok(UploadPage::default());
        }
        loop {
            let page = self.uploads_in(&msg, home.id, early, deadline).await?;
            if !page.uploads.is_empty() || !page.prefixes.is_empty() || self.is_by_itself() {
                return Ok(page);
            }
            let now = self.confirmed(&home, deadline).await?;
            if now.id == home.id {
                return Ok(page);
            }
            home = now;
        }
    }

    /// One page of the uploads in a life of a bucket.
    async fn uploads_in(
        &self,
        msg: &ListUploads,
        id: BucketId,
        early: Instant,
        deadline: Instant,
    ) -> Result<UploadPage, ObjectError> {
        let mut naming = Naming::new(id, msg);
        while let Some(from) = naming.next() {
            let page = self.step(naming.prefix(), from, naming.end(), STEP, deadline).await?;
            let keys = page.entries.iter().filter_map(|(key, _)| match key.name()? {
                RegisterName::Upload(_, key, _) => Some(key),
                _ => None,
            });
            let open = self.open_for(id, keys.collect(), deadline).await?;
            naming.take(page.map(|(key, record)| match key.name()? {
                RegisterName::Upload(_, name, id) if is_open(&open, &name, id) => {
                    let (begun_ms, checksum) = (record.written_ms, record.object().and_then(kind_of));
                    Some((key, Some(UploadInfo { key: name, id, begun_ms, checksum })))
                }
                _ => Some((key, None)),
            }));
            if Instant::now() >= early && naming.stop() {
                break;
            }
        }
        Ok(naming.page())
    }

    /// The uploads that are open for these keys.
    pub(super) async fn open_for(
        &self,
        bucket: BucketId,
        keys: BTreeSet<ObjectKey>,
        deadline: Instant,
    ) -> Result<Open, ObjectError> {
        let asked = keys.into_iter().map(|key| async move {
            let register = RegisterKey::object(bucket, &key);
            let open = match self.state_of(&register, deadline).await {
                Ok(record) => record.map(|record| record.uploads().clone()).unwrap_or_default(),
                // Its bucket is gone, and what was never settled with it.
                Err(ObjectError::Store(StoreError::NoSuchBucket)) => Uploads::NONE,
                Err(error) => return Err(error),
            };
            Ok((key, open))
        });
        futures::stream::iter(asked).buffer_unordered(READ_AT_ONCE).try_collect().await
    }
}

fn is_open(open: &Open, key: &ObjectKey, upload: UploadId) -> bool {
    open.get(key).is_some_and(|open| open.has(upload))
}

fn part_of(number: u16, record: &crate::base::Record) -> Option<PartInfo> {
    let object = record.object()?;
    Some(PartInfo {
        number,
        len: object.len,
        etag: object.etag(),
        checksum: object.checksum,
        written_ms: record.written_ms,
    })
}
