//! Scrubbing: every record and every body behind a place is read from the disk and opened, a piece at a time.
//! What is read when, and what becomes of damage, is decided above.
//!
//! Invariants
//! - A body is right only when its digest is the record's and every chunk opens: all of it was read. So are all parts of
//!   an object that came in parts.
//! - What was replaced while it was read is no damage.
//! - Nothing here changes anything, and nothing is read while the store is poisoned or closing.
//! - A piece takes at most `LIST_MAX` records and about `PIECE_BYTES` of bodies into memory.

use super::core::Core;
use super::download::open_chunks;
use super::entry::Held;
use super::error::{DiskOp, StoreError};
use super::section::Section;
use super::store::Store;
use crate::base::RegisterKey;
use crate::base::record::ObjectRecord;
use crate::disk::DiskFile;
use crate::seal::body::{BodyOpener, HEADER_BYTES, TAG_BYTES};
use crate::seal::digest::BodyDigest;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// About how many bytes of bodies one `read` takes.
const PIECE_BYTES: u64 = crate::base::PIECE_BYTES as u64;
/// Most registers that one look into the index takes.
const LIST_MAX: usize = 32;

/// Which registers to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All behind this one; without one, all.
    Behind(Option<RegisterKey>),
    /// This one alone: one that was mended is looked at again.
    Only(RegisterKey),
}

/// What one piece has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Registers that were looked at whole.
    pub registers: u64,
    /// Those of them that are objects.
    pub objects: u64,
    /// Bytes of sealed bodies that were read.
    pub bytes: u64,
    /// Objects whose body could not be looked at; their copies are neither right nor wrong.
    pub unread: u64,
    /// The last register done with, if it is damaged: a piece ends there.
    pub damaged: Option<RegisterKey>,
    /// The last register done with since the round began.
    pub after: Option<RegisterKey>,
    /// Whether there is nothing more.
    pub done: bool,
}

/// A reading of some part of the store. Whoever drops it ends it.
#[derive(Debug)]
pub struct Round {
    core: Arc<Core>,
    next: Listing,
    after: Option<RegisterKey>,
    queue: VecDeque<(RegisterKey, Arc<Held>)>,
    /// Which section of the first in the queue is read: all before it are right.
    section: usize,
    blob: Option<Blob>,
}

/// What is to be listed next.
#[derive(Debug)]
enum Listing {
    From(Bound<RegisterKey>),
    Only(RegisterKey),
    Nothing,
}

/// A body in a file, in the midst of being read.
#[derive(Debug)]
struct Blob {
    section: Section,
    file: Box<dyn DiskFile>,
    opener: BodyOpener,
    digest: BodyDigest,
    next_chunk: u64,
    at: u64,
}

impl Store {
    /// A round over a part of the store.
    pub fn scrub(&self, part: Part) -> Round {
        let (next, after) = match part {
            Part::Behind(Some(after)) => (Listing::From(Bound::Excluded(after.clone())), Some(after)),
            Part::Behind(None) => (Listing::From(Bound::Included(RegisterKey::first())), None),
            Part::Only(key) => (Listing::Only(key), None),
        };
        Round { core: Arc::clone(self.core()), next, after, queue: VecDeque::new(), section: 0, blob: None }
    }
}

impl Round {
    /// Reads on. An error is of the index or of the whole store; what was read of a body is then read again.
    pub fn read(&mut self) -> Result<Seen, StoreError> {
        self.core.check_writable()?;
        if self.core.closing.load(Ordering::Acquire) {
            return Err(StoreError::ShuttingDown);
        }
        if self.queue.is_empty() {
            self.list()?;
        }
        let mut seen = Seen::default();
        while let Some((key, held)) = self.queue.front().cloned() {
            let whole = self.read_body(&held, &mut seen.bytes);
            let ended = match whole {
                Ok(whole) => whole,
                Err(error) => {
                    self.blob = None;
                    self.judge(&key, &held, &error, &mut seen)?;
                    true
                }
            };
            if ended {
                seen.registers += 1;
                seen.objects += u64::from(key.is_object() && held.record.object().is_some());
                self.after = Some(key);
                self.queue.pop_front();
                self.section = 0;
            }
            // A piece ends with what is damaged, so that it is mended before anything else is read.
            if seen.bytes >= PIECE_BYTES || seen.damaged.is_some() {
                break;
            }
        }
        seen.after.clone_from(&self.after);
        seen.done = self.queue.is_empty() && matches!(self.next, Listing::Nothing);
        Ok(seen)
    }

    fn list(&mut self) -> Result<(), StoreError> {
        match &self.next {
            Listing::From(from) => {
                let page = self.core.scan(from.as_ref(), &RegisterKey::end(), LIST_MAX)?;
                self.next = page.complete.next().map_or(Listing::Nothing, Listing::From);
                self.queue = page.entries.into();
            }
            Listing::Only(key) => {
                self.queue.extend(self.core.lookup(key)?.map(|held| (key.clone(), held)));
                self.next = Listing::Nothing;
            }
            Listing::Nothing => {}
        }
        Ok(())
    }

    /// What it means that a body did not check.
    fn judge(&self, key: &RegisterKey, held: &Held, error: &StoreError, seen: &mut Seen) -> Result<(), StoreError> {
        // It was replaced while it was read: nobody needs the old bytes any more.
        if self.core.lookup(key)?.is_none_or(|now| now.record.ballot != held.record.ballot) {
            return Ok(());
        }
        match error.is_damage() {
            true => seen.damaged = Some(key.clone()),
            false => {
                // That a generation is missing was said once, and readiness goes on saying it.
                if !matches!(error, StoreError::KeyMissing { .. }) {
                    log::warn!(error:% = error; "a body could not be scrubbed");
                }
                seen.unread += 1;
            }
        }
        Ok(())
    }

    /// Reads a piece of a body; true when that was the last one of the last body.
    fn read_body(&mut self, held: &Held, bytes: &mut u64) -> Result<bool, StoreError> {
        let Some(object) = held.record.object() else { return Ok(true) };
        let mut blob = match self.blob.take() {
            Some(blob) => blob,
            None => {
                let Some(section) = Section::nth(object, self.section) else { return Ok(true) };
                *bytes += HEADER_BYTES as u64;
                Blob::open(&self.core, object, section)?
            }
        };
        let body = blob.section.blob.body;
        let read = blob.read(bytes).map_err(|error| match error {
            BlobError::Bytes => StoreError::Corrupt { what: "object body" },
            BlobError::Disk(source) => StoreError::Disk { op: DiskOp::Read, path: self.core.path_of(body), source },
        })?;
        if !read {
            self.blob = Some(blob);
            return Ok(false);
        }
        self.section += 1;
        Ok(Section::nth(object, self.section).is_none())
    }
}

enum BlobError {
    Bytes,
    Disk(std::io::Error),
}

impl Blob {
    fn open(core: &Core, object: &ObjectRecord, section: Section) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let (body, sealed_len) = (section.blob.body, section.blob.sealed_len);
        let fail = |op| move |source| StoreError::Disk { op, path: core.path_of(body), source };
        let file = core.read_body(body)?.ok_or(corrupt("object body (its blob is missing)"))?;
        if file.len().map_err(fail(DiskOp::Measure))? != sealed_len {
            return Err(corrupt("object body (its length)"));
        }
        // What lies on the disk is asked for, not what is still remembered of it.
        file.forget(0, sealed_len);
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header).map_err(fail(DiskOp::Read))?;
        let opener = core.open_section(object, &section, &header)?;
        if opener.layout().plain_len(sealed_len) != Some(section.len) {
            return Err(corrupt("object body (its plaintext length)"));
        }
        let mut digest = BodyDigest::new();
        digest.update(&header);
        Ok(Blob { section, file, opener, digest, next_chunk: 0, at: HEADER_BYTES as u64 })
    }

    /// The next chunks; true when they were the last and everything checks.
    fn read(&mut self, bytes: &mut u64) -> Result<bool, BlobError> {
        let blob = self.section.blob;
        let stride = (self.opener.chunk_bytes() + TAG_BYTES) as u64;
        let chunks = (PIECE_BYTES / stride).max(1);
        let len = (blob.sealed_len - self.at).min(chunks * stride);
        let mut sealed = vec![0; usize::try_from(len).map_err(|_| BlobError::Bytes)?];
        self.file.read_at(self.at, &mut sealed).map_err(BlobError::Disk)?;
        *bytes += len;
        self.digest.update(&sealed);
        let stride = usize::try_from(stride).map_err(|_| BlobError::Bytes)?;
        open_chunks(&self.opener, self.next_chunk, stride, &mut sealed).map_err(|_| BlobError::Bytes)?;
        self.next_chunk += chunks;
        self.at += len;
        if self.at < blob.sealed_len {
            return Ok(false);
        }
        match self.digest.clone().finalize() == blob.digest {
            true => Ok(true),
            false => Err(BlobError::Bytes),
        }
    }
}

#[cfg(test)]
mod tests;
