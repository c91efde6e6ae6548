//! Checks a whole data directory: every record, every body, every file that nothing refers to.
//!
//! Invariant: it changes nothing, given a disk whose changes stay in memory, and it reads every
//! sealed byte of every body: digest first (what replicas compare), then every chunk (what a reader
//! gets).

use super::counted::Counted;
use super::damage::digest_of_file;
use super::download::Download;
use super::entry::Held;
use super::error::{DiskOp, StoreError};
use super::filling::Filling;
use super::index::keks::KeyDifference;
use super::index::references::Difference;
use super::places::SegmentId;
use super::store::Store;
use crate::base::names::RegisterName;
use crate::base::record::ObjectRecord;
use crate::base::{BlobRef, BodyId, BucketId, BucketUsage, Class, KekId, ObjectKey, RegisterKey, State};
use serde::Serialize;
use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

const STEP: usize = 256;

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// An object that opens, with its plaintext bytes.
    Object {
        /// Its bucket and key.
        name: String,
        /// Bytes as clients see them.
        len: u64,
    },
    /// An object that does not open.
    Damaged {
        /// Its bucket and key.
        name: String,
        /// What does not check.
        why: String,
    },
    /// A body that no record refers to. The next start removes a file; a place goes when it has waited.
    Orphan {
        /// Its id, and the name of its file.
        body: BodyId,
    },
    /// A body that is counted for other records than refer to it. A start recounts, tells it and puts it right.
    Miscounted {
        /// Its id.
        body: BodyId,
        /// Records that refer to it, by the index.
        counted: u64,
        /// Records that do.
        records: u64,
    },
    /// A key generation that is counted for other keys than are sealed under it.
    MiscountedKeys {
        /// Its id.
        generation: KekId,
        /// Keys under it, by the index.
        counted: u64,
        /// Keys that are sealed under it, by the records.
        records: u64,
    },
    /// A bucket that holds something else than is told of it. A start recounts, tells it and puts it right.
    Misfilled {
        /// Its name, or its id where that has none here.
        name: String,
        /// What is told of it.
        told: BucketUsage,
        /// What its objects come to.
        found: BucketUsage,
    },
    /// A bucket that is there.
    Bucket {
        /// Its name, as clients use it.
        name: String,
    },
}

/// The sums of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Objects whose whole body opens.
    pub objects: u64,
    /// Bytes of these, as clients see them.
    pub bytes: u64,
    /// Buckets that are there, not those that were deleted.
    pub buckets: u64,
    /// Deleted names that are still remembered.
    pub tombstones: u64,
    /// Objects that do not open.
    pub damaged: u64,
    /// Bodies that no record refers to.
    pub orphans: u64,
    /// Bodies that are counted for other records than refer to them, key generations for other keys than are sealed under
    /// them, and buckets that hold something else than is told.
    pub miscounted: u64,
    /// Damaged files that were set aside by healing, and are kept for people to look at.
    pub quarantined: u64,
    /// Files under `blobs/` and `segments/` that Boveda did not make.
    pub strangers: u64,
}

impl Store {
    /// Checks everything; `tell` hears of each thing as it is found.
    pub fn verify(&self, tell: &mut dyn FnMut(Finding)) -> Result<Summary, StoreError> {
        let mut sum = Summary { quarantined: self.core().blobs.quarantined()? as u64, ..Summary::default() };
        let (mut referred, mut filling) = (HashSet::new(), Filling::default());
        if self.core().tail_was_cut() {
            sum.damaged += 1;
            let why = "its newest frames are gone: what they held is what the other nodes have".to_owned();
            tell(Finding::Damaged { name: "the commit log".to_owned(), why });
        }
        // Taking in what the log holds touches what no lookup does. A full disk is no damage.
        let index = match self.core().checkpoint() {
            Ok(()) => self.core().index.check(),
            Err(error) if error.is_shortage() => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let is_whole = index.is_ok();
        // They have their time, and go by themselves.
        let waiting: HashSet<_> = self.core().waiting().all().into_iter().collect();
        match index {
            Ok(orphans) => {
                let orphans = orphans.into_iter().filter(|body| !waiting.contains(body));
                orphans.for_each(|body| orphan(body, &mut sum, tell));
            }
            Err(error) => index_is_damaged(&error, &mut sum, tell),
        }
        if is_whole {
            for Difference { body, counted, records } in self.core().recount_all()? {
                sum.miscounted += 1;
                tell(Finding::Miscounted { body, counted, records });
            }
            for KeyDifference { kek, counted, records } in self.core().index.recount_keys()? {
                sum.miscounted += 1;
                tell(Finding::MiscountedKeys { generation: kek, counted, records });
            }
        }
        let (end, mut next) = (RegisterKey::end(), Some(Bound::Included(RegisterKey::first())));
        while let Some(from) = next {
            let page = match self.core().scan(from.as_ref(), &end, STEP) {
                Ok(page) => page,
                // What lies behind it cannot be looked at, nor whether somebody refers to a blob.
                Err(error) if error.class() == Class::Corrupt => {
                    if is_whole {
                        index_is_damaged(&error, &mut sum, tell);
                    }
                    return Ok(sum);
                }
                Err(error) => return Err(error),
            };
            next = page.complete.next();
            for (key, held) in page.entries {
                referred.extend(held.record.bodies().map(|blob| blob.body));
                filling.moved(&key, None, Some(&Counted::of(&key, &held)));
                self.verify_one(&key, &held, &mut sum, tell)?;
            }
        }
        self.verify_filling(&filling, &mut sum, tell);
        let (ids, strangers) = self.core().blobs.all()?;
        let (segments, others) = self.core().segments.list()?;
        sum.strangers = (strangers + others) as u64;
        self.verify_segments(segments, &mut sum, tell)?;
        for body in ids.into_iter().filter(|id| !referred.contains(id) && !waiting.contains(id)) {
            orphan(body, &mut sum, tell);
        }
        Ok(sum)
    }

    /// Looks whether the files of many bodies are those of this directory. What lies in them is looked at by its records.
    fn verify_segments(
        &self,
        segments: Vec<SegmentId>,
        sum: &mut Summary,
        tell: &mut dyn FnMut(Finding),
    ) -> Result<(), StoreError> {
        for segment in segments {
            match self.core().segments.walk(segment) {
                Ok(_) => {}
                Err(error) if error.is_damage() => {
                    sum.damaged += 1;
                    tell(Finding::Damaged { name: format!("segment {}", segment.file_name()), why: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What buckets are told to hold, against what their objects come to.
    fn verify_filling(&self, found: &Filling, sum: &mut Summary, tell: &mut dyn FnMut(Finding)) {
        let told = self.filling();
        for (bucket, _) in found.differs_from(&told).iter() {
            sum.miscounted += 1;
            let name = self.name_of_bucket(bucket).map_or_else(|| bucket.to_string(), |name| name.to_string());
            tell(Finding::Misfilled { name, told: told.of(bucket), found: found.of(bucket) });
        }
    }

    /// An error says that nothing can be said: a key generation is missing.
    fn verify_one(
        &self,
        key: &RegisterKey,
        held: &Arc<Held>,
        sum: &mut Summary,
        tell: &mut dyn FnMut(Finding),
    ) -> Result<(), StoreError> {
        match (key.name(), &held.record.state) {
            (_, State::Deleted | State::Nothing) => sum.tombstones += 1,
            (Some(RegisterName::Bucket(name)), _) => {
                sum.buckets += 1;
                tell(Finding::Bucket { name: name.to_string() });
            }
            (Some(RegisterName::Object(id, name)), State::Object(object)) => {
                let name = self.shown_name(id, &name);
                if self.verify_bodies(key, held, object, &name, sum, tell)? {
                    sum.objects += 1;
                    sum.bytes += object.len;
                    tell(Finding::Object { name, len: object.len });
                }
            }
            (Some(RegisterName::Upload(id, name, upload)), State::Object(object)) => {
                let name = format!("{}, upload {upload}", self.shown_name(id, &name));
                self.verify_bodies(key, held, object, &name, sum, tell)?;
            }
            (Some(RegisterName::Part(id, name, upload, number)), State::Object(object)) => {
                let name = format!("{}, part {number} of upload {upload}", self.shown_name(id, &name));
                self.verify_bodies(key, held, object, &name, sum, tell)?;
            }
            // No object, and uploads that are not ended.
            (Some(RegisterName::Object(..)), State::Uploads(_)) => {}
            (Some(RegisterName::Members), State::Members(_))
            | (Some(RegisterName::AccessKey(_)), State::AccessKey(_))
            | (Some(RegisterName::Settings), State::Settings(_)) => {}
            (name, _) => {
                sum.damaged += 1;
                let why = "a record of another kind than its name".to_owned();
                tell(Finding::Damaged { name: format!("{name:?}"), why });
            }
        }
        Ok(())
    }

    /// An object as it is told to operators: one whose bucket is not known here under the id of that.
    fn shown_name(&self, id: BucketId, key: &ObjectKey) -> String {
        let bucket = self.name_of_bucket(id).map_or_else(|| id.to_string(), |name| name.to_string());
        format!("{bucket}/{key}")
    }

    /// Whether all bodies of a record are right; damage is told. An error says that nothing can be said.
    fn verify_bodies(
        &self,
        key: &RegisterKey,
        held: &Arc<Held>,
        object: &ObjectRecord,
        name: &str,
        sum: &mut Summary,
        tell: &mut dyn FnMut(Finding),
    ) -> Result<bool, StoreError> {
        let sealed = object.bodies().try_for_each(|blob| self.verify_sealed(&blob));
        match sealed.and_then(|()| self.verify_plain(key, held, object)) {
            Ok(()) => Ok(true),
            Err(error @ StoreError::KeyMissing { .. }) => Err(error),
            Err(error) => {
                sum.damaged += 1;
                tell(Finding::Damaged { name: name.to_owned(), why: error.to_string() });
                Ok(false)
            }
        }
    }

    /// Reads a body as replicas compare it.
    fn verify_sealed(&self, blob: &BlobRef) -> Result<(), StoreError> {
        let gone = StoreError::Corrupt { what: "object body (its blob is missing)" };
        let file = self.core().read_body(blob.body)?.ok_or(gone)?;
        let fail = |op| move |source| StoreError::Disk { op, path: self.core().path_of(blob.body), source };
        let len = file.len().map_err(fail(DiskOp::Measure))?;
        if len != blob.sealed_len {
            return Err(StoreError::Corrupt { what: "object body (its length)" });
        }
        let digest = digest_of_file(file.as_ref(), len).map_err(fail(DiskOp::Read))?;
        if digest != blob.digest {
            return Err(StoreError::Corrupt { what: "object body (its digest)" });
        }
        Ok(())
    }

    /// Reads an object as clients do, all of its parts one behind the other.
    fn verify_plain(&self, key: &RegisterKey, held: &Arc<Held>, object: &ObjectRecord) -> Result<(), StoreError> {
        let mut download = Download::open(self.core(), key.clone(), Arc::clone(held))?;
        let mut len = 0;
        loop {
            let pieces = download.read()?;
            if pieces.is_empty() {
                break;
            }
            len += pieces.iter().map(|p| p.len() as u64).sum::<u64>();
        }
        if len == object.len { Ok(()) } else { Err(StoreError::Corrupt { what: "object body (its plaintext length)" }) }
    }
}

fn orphan(body: BodyId, sum: &mut Summary, tell: &mut dyn FnMut(Finding)) {
    sum.orphans += 1;
    tell(Finding::Orphan { body });
}

fn index_is_damaged(error: &StoreError, sum: &mut Summary, tell: &mut dyn FnMut(Finding)) {
    sum.damaged += 1;
    tell(Finding::Damaged { name: "the index".to_owned(), why: error.to_string() });
}
