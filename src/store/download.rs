//! A download: a range of an object's plaintext, opened chunk by chunk.
//!
//! Invariants
//! - Only whole, authenticated chunks are handed out, cut to the range.
//! - The version that was looked up is the version that is read, whatever is written meanwhile: an
//!   open file outlives its name. Of an object in parts one part is open at a time, and those that are to come are held
//!   from the first read on.

use super::core::Core;
use super::damage::Ailment;
use super::entry::Held;
use super::error::{DiskOp, StoreError};
use super::removal::BodyHold;
use super::section::Section;
use super::segments::InMemory;
use crate::base::record::ObjectRecord;
use crate::base::{BodyId, Buffer, BufferPool, Permit, RegisterKey};
use crate::disk::DiskFile;
use crate::seal::body::{BodyOpener, HEADER_BYTES, TAG_BYTES};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most plaintext bytes of one `read`.
const PIECE_BYTES: u64 = crate::base::PIECE_BYTES as u64;

/// Most plaintext bytes of one `read_cached`. A client that reads as fast as it gets sleeps while a piece is opened, so
/// larger pieces wake it less often; but all others on the arbiter wait, some 0.3 ms for this.
const CACHED_PIECE_BYTES: u64 = 512 * 1024;

/// Blobs up to this many sealed bytes are read and opened whole when they are opened: one trip to a
/// thread in place of two, or none when they are in memory.
const WHOLE_BYTES_MAX: u64 = 128 * 1024;

const SHORT: StoreError = StoreError::Corrupt { what: "object body (cut short)" };

/// An open download. Opaque to those who carry it.
#[derive(Debug)]
pub struct Download {
    core: Arc<Core>,
    key: RegisterKey,
    held: Arc<Held>,
    /// What is open of it.
    blob: Blob,
    /// The parts that are to be read, from the first read on: the object may be replaced meanwhile.
    ahead: Option<Vec<BodyHold>>,
    /// All chunks of a small blob, until they are asked for.
    opened: Vec<Bytes>,
    /// The memory of pieces, which comes back when whoever took one has let go of it. There is none before the first.
    memory: Option<BufferPool>,
    next: u64,
    end: u64,
    _permit: Option<Permit>,
}

/// Sealed chunks that lie one behind the other.
struct Extent {
    /// The first chunk's number.
    first: u64,
    /// Where it begins in the blob.
    from: u64,
    /// Bytes of all of them.
    len: usize,
}

/// A section of the object, open.
#[derive(Debug)]
struct Blob {
    section: Section,
    file: Box<dyn DiskFile>,
    /// Whether it is in memory for as long as it is open.
    in_memory: bool,
    opener: Arc<BodyOpener>,
}

impl Download {
    /// Opens what a record holds. Does not touch the disk when the body is in memory.
    pub(super) fn open(core: &Arc<Core>, key: RegisterKey, held: Arc<Held>) -> Result<Self, StoreError> {
        let object = held.record.object().ok_or(StoreError::NoSuchKey)?;
        let blob = Blob::open(core, &held, object, 0)?;
        let (end, small) = (object.len, is_opened_whole(object) && !blob.in_memory);
        let mut download = Download::new(core, key, held, blob, end);
        if small {
            download.opened = download.read()?;
            download.next = 0;
        }
        Ok(download)
    }

    /// Opens a body if no disk is waited for. `None` is no error: `open` tells.
    pub(super) fn open_cached(core: &Arc<Core>, key: &RegisterKey, held: &Arc<Held>) -> Option<Self> {
        let object = held.record.object()?;
        let blob = Blob::open_cached(core, held, object, 0)?;
        let (end, small) = (object.len, is_opened_whole(object) && !blob.in_memory);
        let mut download = Download::new(core, key.clone(), Arc::clone(held), blob, end);
        if small {
            download.opened = download.read_cached()?;
            download.next = 0;
        }
        Some(download)
    }

    fn new(core: &Arc<Core>, key: RegisterKey, held: Arc<Held>, blob: Blob, end: u64) -> Self {
        let (core, opened) = (Arc::clone(core), Vec::new());
        Download { core, key, held, blob, ahead: None, opened, memory: None, next: 0, end, _permit: None }
    }

    /// Holds a permit for as long as the download is open.
    pub fn hold(&mut self, permit: Option<Permit>) {
        self._permit = permit;
    }

    /// Which register it reads.
    pub fn key(&self) -> &RegisterKey {
        &self.key
    }

    /// Opens the same version anew, to read on where it stopped: its copy was mended meanwhile.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        const REPLACED: StoreError = StoreError::Corrupt { what: "object body (replaced while it was mended)" };
        let body = self.held.record.body();
        // The client has the beginning of this version: the rest of another one must not follow it.
        let same = self.core.lookup(&self.key)?.filter(|now| now.record.body() == body).ok_or(REPLACED)?;
        let anew = Download::open(&self.core, self.key.clone(), same)?;
        *self = Download { next: self.next, end: self.end, _permit: self._permit.take(), ..anew };
        Ok(())
    }

    /// Opens all sections once, without reading them: whether the record fits what is here.
    pub(super) fn open_all(&self) -> Result<(), StoreError> {
        let object = self.held.record.object().ok_or(StoreError::NoSuchKey)?;
        for section in Section::all(object).skip(1) {
            Blob::open(&self.core, &self.held, object, section.offset)?;
        }
        Ok(())
    }

    /// What has to be fetched so that it can be read on, of an object in parts: see `Core::missing`.
    pub fn missing(&self) -> Option<Ailment> {
        let object = self.held.record.object().filter(|object| object.parts().is_some())?;
        self.core.missing(object, self.next)
    }

    /// Narrows the download to `len` bytes from `start`, cut to the object's length.
    pub fn set_range(&mut self, start: u64, len: u64) {
        let object_len = self.held.record.object().map_or(0, |o| o.len);
        self.next = start.min(object_len);
        self.end = start.saturating_add(len).min(object_len);
        self.ahead = None;
    }

    /// Whether the body is in memory, so that a read waits for no disk.
    pub fn is_in_memory(&self) -> bool {
        self.blob.in_memory || !self.opened.is_empty() || self.next >= self.end
    }

    /// The next piece of plaintext, in slices of chunks; empty when the range is done.
    pub fn read(&mut self) -> Result<Vec<Bytes>, StoreError> {
        if self.next >= self.end {
            return Ok(Vec::new());
        }
        let result = self.read_piece();
        if let Err(error) = &result
            && error.is_damage()
        {
            self.report_damage(error);
        }
        result
    }

    fn read_piece(&mut self) -> Result<Vec<Bytes>, StoreError> {
        if !self.opened.is_empty() {
            let all = std::mem::take(&mut self.opened);
            return self.cut(0, self.blob.opener.chunk_bytes() as u64, all);
        }
        self.hold_ahead();
        if !self.blob.section.holds(self.next) {
            let object = self.held.record.object().ok_or(StoreError::NoSuchKey)?;
            self.blob = Blob::open(&self.core, &self.held, object, self.next)?;
        }
        let opener = Arc::clone(&self.blob.opener);
        let extent = self.extent(PIECE_BYTES)?;
        let mut memory = self.memory(extent.len);
        self.fill(extent.from, &mut memory[..extent.len])?;
        self.open_extent(&opener, &extent, memory)
    }

    /// The next piece if it is in the system's memory, so that a read waits for no disk. `None` is no error: `read`
    /// tells.
    pub fn read_cached(&mut self) -> Option<Vec<Bytes>> {
        if self.next >= self.end {
            return None;
        }
        self.hold_ahead();
        if !self.blob.section.holds(self.next) {
            self.blob = Blob::open_cached(&self.core, &self.held, self.held.record.object()?, self.next)?;
        }
        let opener = Arc::clone(&self.blob.opener);
        let extent = self.extent(CACHED_PIECE_BYTES).ok()?;
        let mut memory = self.memory(extent.len);
        if !self.blob.file.read_cached_at(extent.from, &mut memory[..extent.len]) {
            return None;
        }
        self.open_extent(&opener, &extent, memory).ok()
    }

    /// Holds what is to be read behind the section that is open.
    fn hold_ahead(&mut self) {
        if self.ahead.is_some() || self.end <= self.blob.section.end() {
            return;
        }
        let Some(object) = self.held.record.object() else { return };
        let sections = Section::among(object, self.next, self.end);
        self.ahead = Some(sections.map(|section| BodyHold::for_reader(&self.core, section.blob)).collect());
    }

    /// Where the next chunks lie that hold at most about `most` bytes.
    fn extent(&self, most: u64) -> Result<Extent, StoreError> {
        let Blob { section, opener, .. } = &self.blob;
        let chunk = opener.chunk_bytes() as u64;
        let stride = chunk + TAG_BYTES as u64;
        // By the bytes of the section.
        let (next, end) = (self.next - section.offset, self.end.min(section.end()) - section.offset);
        let first = next / chunk;
        let last = (end - 1).min(next.saturating_add(most - 1)) / chunk;
        let last = last.max(first).min(first + (most / chunk).max(1) - 1);
        let from = HEADER_BYTES as u64 + first * stride;
        let to = (HEADER_BYTES as u64 + (last + 1) * stride).min(section.blob.sealed_len);
        let len = to.checked_sub(from).and_then(|len| usize::try_from(len).ok()).ok_or(SHORT)?;
        Ok(Extent { first, from, len })
    }

    /// Memory for at least `len` bytes, whatever it holds.
    fn memory(&mut self, len: usize) -> Buffer {
        match &self.memory {
            Some(pool) if pool.buffer_bytes() >= len => pool.lend(),
            _ => self.memory.insert(BufferPool::new(len)).lend(),
        }
    }

    /// Opens what was read of an extent, where it lies.
    fn open_extent(
        &mut self,
        opener: &BodyOpener,
        extent: &Extent,
        mut memory: Buffer,
    ) -> Result<Vec<Bytes>, StoreError> {
        let chunk = opener.chunk_bytes();
        let texts = open_chunks(opener, extent.first, chunk + TAG_BYTES, &mut memory[..extent.len])?;
        let all = Bytes::from_owner(memory);
        let opened = texts.into_iter().map(|text| all.slice(text)).collect();
        self.cut(extent.first, chunk as u64, opened)
    }

    /// Of consecutive chunks, `first` the first of them, what lies in the range.
    fn cut(&mut self, first: u64, chunk: u64, opened: Vec<Bytes>) -> Result<Vec<Bytes>, StoreError> {
        let mut pieces = Vec::with_capacity(opened.len());
        let (from, end) = (self.blob.section.offset, self.end.min(self.blob.section.end()));
        for (i, bytes) in (first..).zip(opened) {
            let at = from + i * chunk;
            let skip = self.next.saturating_sub(at).min(bytes.len() as u64);
            let stop = end.saturating_sub(at).min(bytes.len() as u64);
            if stop > skip {
                self.next = at + stop;
                let span = |v: u64| usize::try_from(v).unwrap_or(0);
                pieces.push(bytes.slice(span(skip)..span(stop)));
            }
        }
        // An empty piece means to the caller that the range is done.
        if pieces.is_empty() {
            return Err(StoreError::Corrupt { what: "object body (shorter than its record says)" });
        }
        Ok(pieces)
    }

    /// Reads sealed bytes of the section that is open.
    fn fill(&self, from: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let Blob { section, file, .. } = &self.blob;
        file.read_at(from, out).map_err(|source| unread(&self.core, section.blob.body, source))
    }

    /// Counts the damage. What becomes of the copy is decided where it is mended.
    fn report_damage(&self, why: &StoreError) {
        self.core.counters.damaged_reads.fetch_add(1, Ordering::Relaxed);
        let Some(body) = self.next_body() else { return };
        log::error!(body:% = body, error:% = why; "object body cannot be had as it was written");
        if let Err(error) = self.core.diagnose_body(&self.key, body) {
            log::error!(error:% = error; "damage could not be looked into");
        }
    }

    /// The body that the next byte lies in.
    fn next_body(&self) -> Option<BodyId> {
        Section::at(self.held.record.object()?, self.next).map(|section| section.blob.body)
    }
}

impl Blob {
    /// The section that holds a byte of an object.
    fn open(core: &Arc<Core>, held: &Held, object: &ObjectRecord, byte: u64) -> Result<Self, StoreError> {
        let gone = StoreError::Corrupt { what: "object body (its blob is missing)" };
        let section = Section::at(object, byte).ok_or(SHORT)?;
        let body = section.blob.body;
        let (file, in_memory) = match object.in_hand() {
            Some(sealed) => (in_memory(sealed), true),
            None => (core.read_body(body)?.ok_or(gone)?, false),
        };
        let opener = match held.opener.get() {
            Some(opener) => Arc::clone(opener),
            None => {
                let mut header = [0u8; HEADER_BYTES];
                file.read_at(0, &mut header).map_err(|source| unread(core, body, source))?;
                core.opener(held, &section, &header)?
            }
        };
        Ok(Blob { section, file, in_memory, opener })
    }

    fn open_cached(core: &Core, held: &Held, object: &ObjectRecord, byte: u64) -> Option<Self> {
        let section = Section::at(object, byte)?;
        let (file, in_memory) = match object.in_hand() {
            Some(sealed) => (in_memory(sealed), true),
            None => (core.read_body_cached(section.blob.body)?, false),
        };
        let mut header = [0u8; HEADER_BYTES];
        let opener = match held.opener.get() {
            Some(opener) => Arc::clone(opener),
            None if file.read_cached_at(0, &mut header) => core.opener(held, &section, &header).ok()?,
            None => return None,
        };
        Some(Blob { section, file, in_memory, opener })
    }
}

/// Whether all of an object is opened with it.
fn is_opened_whole(object: &ObjectRecord) -> bool {
    object.sealed_len <= WHOLE_BYTES_MAX && object.parts().is_none()
}

fn in_memory(sealed: &Bytes) -> Box<dyn DiskFile> {
    Box::new(InMemory(sealed.clone()))
}

/// Why a blob could not be read. A file that is too short is damage, which a peer's copy mends; anything else is the
/// disk's matter, and says nothing of the bytes.
fn unread(core: &Core, body: BodyId, source: std::io::Error) -> StoreError {
    match source.kind() {
        std::io::ErrorKind::UnexpectedEof => SHORT,
        _ => StoreError::Disk { op: DiskOp::Read, path: core.path_of(body), source },
    }
}

/// Opens consecutive sealed chunks where they lie, and tells where their texts are.
pub(super) fn open_chunks(
    opener: &BodyOpener,
    first: u64,
    stride: usize,
    sealed: &mut [u8],
) -> Result<Vec<Range<usize>>, StoreError> {
    const DAMAGED: StoreError = StoreError::Corrupt { what: "object body" };
    let mut texts = Vec::with_capacity(sealed.len() / stride + 1);
    let mut at = 0;
    for (index, part) in (first..).zip(sealed.chunks_mut(stride)) {
        let split = part.len().checked_sub(TAG_BYTES).ok_or(DAMAGED)?;
        let whole = part.len();
        let (text, tag) = part.split_at_mut(split);
        let tag: [u8; TAG_BYTES] = (&*tag).try_into().map_err(|_| DAMAGED)?;
        opener.open_chunk(index, text, &tag).map_err(|_| DAMAGED)?;
        texts.push(at..at + split);
        at += whole;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use crate::store::mend::tests::{name, put, store};

    #[test]
    fn a_small_blob_is_opened_without_the_disk_or_not_at_all() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = store(dir.path());
        let body: Vec<u8> = (0..100_000u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
        let record = put(&store, "small", &body);
        let id = record.object().expect("an object").body;
        let path = store.core().blobs.path(id);
        let whole = std::fs::read(&path).expect("is there");
        // Not every file system tells what it has in memory.
        let tells = store.core().blobs.read_cached(id).is_some_and(|file| file.read_cached_at(0, &mut [0; 100]));
        for _ in 0..2 {
            let opened = store.open_cached(&name("small"));
            assert_eq!(opened.is_some(), tells);
            if let Some((info, mut download)) = opened {
                assert!(download.is_in_memory() && info.len == body.len() as u64);
                download.set_range(65_000, 1000);
                assert!(download.read().expect("reads").concat() == body[65_000..66_000]);
            }
        }
        let mut damaged = whole.clone();
        damaged[70_000] ^= 1;
        std::fs::write(&path, damaged).expect("writes");
        assert!(store.open_cached(&name("small")).is_none(), "nothing of a body with damage");
        std::fs::write(&path, &whole[..90_000]).expect("writes");
        assert!(store.open_cached(&name("small")).is_none(), "nothing of a body that is cut short");
        std::fs::remove_file(&path).expect("removes");
        assert!(store.open_cached(&name("small")).is_none(), "its blob is gone");
        assert!(store.open_object(&name("small")).is_err());
    }

    #[test]
    fn what_is_in_memory_is_read_without_the_disk_and_is_the_same() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = store(dir.path());
        let body: Vec<u8> = (0..1_700_001u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
        let record = put(&store, "large", &body);
        let path = store.core().blobs.path(record.object().expect("an object").body);
        let whole = std::fs::read(&path).expect("is there");
        let file = store.core().blobs.read(record.object().expect("an object").body).expect("opens").expect("is there");
        // Just read, so in memory; but not every file system tells.
        let (tells, mut hits) = (file.read_cached_at(0, &mut [0; 100]), 0);
        for (start, len) in [(0, body.len()), (1, 10), (65_535, 2), (262_143, 900_000), (1_699_999, 100)] {
            let (_, mut download) = store.open_object(&name("large")).expect("opens");
            download.set_range(start as u64, len as u64);
            let (mut bytes, mut turn) = (Vec::new(), 0);
            loop {
                turn += 1;
                let cached = if turn % 3 > 0 { download.read_cached() } else { None };
                hits += u32::from(cached.is_some());
                let pieces = cached.unwrap_or_else(|| download.read().expect("reads"));
                if pieces.is_empty() {
                    break;
                }
                pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
            }
            assert!(bytes == body[start..body.len().min(start + len)], "{len} bytes from {start}");
        }
        assert!(hits >= 5 || !tells, "{hits} pieces came from memory");
        let mut damaged = whole;
        damaged[100_000] ^= 1;
        std::fs::write(&path, damaged).expect("writes");
        let (_, mut download) = store.open_object(&name("large")).expect("opens");
        assert!(download.read_cached().is_none(), "nothing of a piece with damage");
        assert!(download.read().expect_err("does not open").is_damage());
    }
}
