//! Segments: append-only files of many sealed bodies, each at a place that it keeps until it is moved or dropped.
//!
//! Invariants
//! - A body has a place for whoever asked only once it is durable there: bytes, length of the file, and its name.
//! - What waits when a write begins is written together, with one sync.
//! - Places are given once: nothing is written over a body that has one. So a place that a failed write left half
//!   written is given again only if no body ever got it; after a failed sync the segment takes nothing any more.
//! - A segment with a claim, a place that nothing durable may name yet, stays.
//! - A number is given once, also over restarts, for as long as something may name it.
//! - What is in the folder and is no segment of this directory is never touched, whatever its name.
//! - At open what lies behind the last place that something names is cut: nobody was told of it.
//!
//! Which body lies where is not known here: the log and the index keep that. Entries describe themselves all
//! the same, so that it can be found again by reading (`walk`). Layout: docs/format.md, "Segments".
//!
//! | file | job |
//! |---|---|
//! | here | opening, files for reading, removal |
//! | `append` | what waits, written together |
//! | `entry` | the bytes of a segment |
//! | `walk` | reading a segment from its beginning |
//! | `part` `memory` | a body in a segment, or in none yet, as a file of its own |

use super::error::{DiskOp, StoreError};
use super::places::{Place, SegmentId, Usages};
use super::room::Room;
use crate::base::BlobRef;
use crate::disk::{Disk, DiskFile};
use crate::seal::SealingKey;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod append;
mod entry;
mod memory;
mod part;
mod walk;

pub use append::{Claim, NewBody, Placed};
pub use memory::InMemory;
pub use walk::Walk;

use append::{Queue, Writing};
use part::Part;

/// The folder of the segments in a data directory.
pub const FOLDER: &str = "segments";
/// Segments that are kept open for reading.
const OPEN_MAX: usize = 64;

/// The segments of one store.
#[derive(Debug)]
pub struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    room: Arc<Room>,
    key: SealingKey,
    /// Most bytes of a segment.
    bytes_max: u32,
    /// The number of the next one.
    next: AtomicU32,
    queue: Queue,
    /// Whether a thread writes what waits; else whoever queues something does.
    threaded: AtomicBool,
    writing: Mutex<Writing>,
    /// Bytes of each file.
    files: Mutex<BTreeMap<SegmentId, u64>>,
    /// Those whose heads were found damaged.
    damaged: Mutex<BTreeSet<SegmentId>>,
    /// Files that are open for reading.
    open: quick_cache::sync::Cache<SegmentId, Arc<dyn DiskFile>>,
}

/// A panic while one of these locks is held leaves no half-made state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Segments {
    /// Opens the folder, making it when it is missing. `usages`: what is named of each segment. One that is not among
    /// them holds nothing that counts, and goes.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        room: Arc<Room>,
        key: SealingKey,
        bytes_max: u32,
        usages: &Usages,
    ) -> Result<Self, StoreError> {
        let dir = dir.join(FOLDER);
        disk.create_dir_all(&dir).map_err(|source| StoreError::Disk {
            op: DiskOp::Create,
            path: dir.clone(),
            source,
        })?;
        let segments = Segments {
            disk,
            dir,
            room,
            key,
            bytes_max,
            next: AtomicU32::new(1),
            queue: Queue::default(),
            threaded: AtomicBool::new(false),
            writing: Mutex::default(),
            files: Mutex::default(),
            damaged: Mutex::default(),
            open: quick_cache::sync::Cache::new(OPEN_MAX),
        };
        segments.take_stock(usages)?;
        Ok(segments)
    }

    /// Looks at what is there, and goes on with the newest where it is left off.
    fn take_stock(&self, usages: &Usages) -> Result<(), StoreError> {
        let mut highest = usages.last_key_value().map_or(SegmentId(0), |(segment, _)| *segment);
        for segment in self.names()?.0 {
            if !usages.contains_key(&segment) {
                if self.is_left_behind(segment) {
                    highest = highest.max(segment);
                    self.unlink(segment)?;
                } else {
                    log::warn!(path:% = self.path(segment).display(); "this is no segment of this directory: it is left alone");
                }
                continue;
            }
            let file = match self.disk.open(&self.path(segment)) {
                Err(e) if e.kind() == std::io::ErrorKind::IsADirectory => {
                    log::error!(path:% = self.path(segment).display(); "a directory stands in the place of a segment");
                    continue;
                }
                opened => opened.map_err(|e| self.failed(DiskOp::Open, segment, e))?,
            };
            let bytes = file.len().map_err(|e| self.failed(DiskOp::Measure, segment, e))?;
            lock(&self.files).insert(segment, bytes);
        }
        self.next.store(highest.0.saturating_add(1), Ordering::Relaxed);
        match usages.last_key_value() {
            Some((newest, usage)) if lock(&self.files).contains_key(newest) => self.resume(*newest, usage.end),
            _ => Ok(()),
        }
    }

    /// Whether a file in which nothing was ever named is a segment of this directory, or what a crash has left of one
    /// that was being made: its head, or some of it, or zeros. Nothing else is removed.
    fn is_left_behind(&self, segment: SegmentId) -> bool {
        let Ok(file) = self.disk.open(&self.path(segment)) else { return false };
        let Ok(bytes) = file.len() else { return false };
        let mut head = [0; entry::HEAD_BYTES];
        let there = usize::try_from(bytes).map_or(entry::HEAD_BYTES, |bytes| bytes.min(entry::HEAD_BYTES));
        if file.read_at(0, &mut head[..there]).is_err() {
            return false;
        }
        let is_torn = bytes <= entry::HEAD_BYTES as u64 && entry::may_be_torn(&head[..there]);
        is_torn || entry::is_head_of(&self.key, segment, &mut head)
    }

    /// Cuts what nobody was told of, so that the newest segment takes more. One that is shorter than what is named in
    /// it is damaged, and left as it is.
    fn resume(&self, segment: SegmentId, end: u64) -> Result<(), StoreError> {
        let bytes = lock(&self.files).get(&segment).copied().unwrap_or(0);
        if bytes < end {
            return Ok(());
        }
        let file = self.disk.open(&self.path(segment)).map_err(|e| self.failed(DiskOp::Open, segment, e))?;
        if bytes > end {
            file.set_len(end).map_err(|e| self.failed(DiskOp::Write, segment, e))?;
            // The first may tell of a failure before this process: only what fails now counts.
            let synced = file.sync_data().or_else(|_| file.sync_data());
            synced.map_err(|e| self.failed(DiskOp::Sync, segment, e))?;
            lock(&self.files).insert(segment, end);
        }
        lock(&self.writing).resume(file, segment, end);
        Ok(())
    }

    /// A segment for reading; `None` when there is none of that number.
    pub fn read(&self, segment: SegmentId) -> Result<Option<Arc<dyn DiskFile>>, StoreError> {
        if let Some(file) = self.open.get(&segment) {
            return Ok(Some(file));
        }
        match self.disk.open(&self.path(segment)) {
            Ok(file) => Ok(Some(self.keep_open(segment, file))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.room.check_there().map(|()| None),
            Err(e) => Err(self.failed(DiskOp::Open, segment, e)),
        }
    }

    /// A segment for reading if no disk is waited for. `None` says nothing.
    pub fn read_cached(&self, segment: SegmentId) -> Option<Arc<dyn DiskFile>> {
        let open = self.open.get(&segment);
        open.or_else(|| Some(self.keep_open(segment, self.disk.open_cached(&self.path(segment))?)))
    }

    fn keep_open(&self, segment: SegmentId, file: Box<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let file: Arc<dyn DiskFile> = Arc::from(file);
        self.open.insert(segment, Arc::clone(&file));
        // One that was removed meanwhile would keep its room on the disk for as long as it is kept open.
        if !lock(&self.files).contains_key(&segment) {
            self.open.remove(&segment);
        }
        file
    }

    /// What lies at a place, as a file of its own; `None` when its segment is not there.
    pub fn read_part(&self, place: Place) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        let part = |file| -> Box<dyn DiskFile> { Box::new(Part::new(file, place)) };
        Ok(self.read(place.segment)?.map(part))
    }

    /// The same if no disk is waited for. `None` says nothing.
    pub fn read_part_cached(&self, place: Place) -> Option<Box<dyn DiskFile>> {
        Some(Box::new(Part::new(self.read_cached(place.segment)?, place)))
    }

    /// Gives up a segment in which nothing names a place any more; whether it did. Not one that takes more bodies, nor
    /// one with claims. From then on nothing can name a place there; its file is to be removed.
    pub fn give_up(&self, segment: SegmentId) -> bool {
        // No claim comes meanwhile: they are given by who writes.
        let writing = lock(&self.writing);
        !writing.needs(segment) && lock(&self.files).remove(&segment).is_some()
    }

    /// Removes the file of a segment that was given up, of so many bytes. Who reads it reads on. After a failure it may
    /// be given up again.
    pub fn remove(&self, segment: SegmentId, bytes: u64) -> Result<(), StoreError> {
        self.open.remove(&segment);
        lock(&self.damaged).remove(&segment);
        let removed = self.unlink(segment);
        if removed.is_err() {
            lock(&self.files).insert(segment, bytes);
        }
        removed
    }

    /// Whether bodies are appended to a segment, or have places in it that nothing names yet.
    pub fn needs(&self, segment: SegmentId) -> bool {
        lock(&self.writing).needs(segment)
    }

    /// Has a segment that takes bodies take no more: the next one is begun. Not one with claims. Whether nothing needs it
    /// now.
    pub fn close(&self, segment: SegmentId) -> bool {
        lock(&self.writing).close(segment)
    }

    /// The segments, with the bytes of their files.
    pub fn files(&self) -> BTreeMap<SegmentId, u64> {
        lock(&self.files).clone()
    }

    /// A walk over the entries of a segment; `None` when there is none of that number, `Corrupt` when its head is not
    /// that of this segment.
    pub fn walk(&self, segment: SegmentId) -> Result<Option<Walk>, StoreError> {
        let Some(file) = self.read(segment)? else { return Ok(None) };
        let is_right = || {
            let mut head = [0; entry::HEAD_BYTES];
            // What lies on the disk is asked for, not what is still remembered of it.
            file.forget(0, head.len() as u64);
            file.read_at(0, &mut head).is_ok() && entry::is_head_of(&self.key, segment, &mut head)
        };
        // What came wrong once may have been spoilt on its way.
        if !is_right() && !is_right() {
            if lock(&self.damaged).insert(segment) {
                log::error!(segment = segment.0; "the head of a segment is damaged: what is in it is moved out");
            }
            return Err(StoreError::Corrupt { what: "segment (its head)" });
        }
        let bytes = file.len().map_err(|e| self.failed(DiskOp::Measure, segment, e))?;
        Ok(Some(Walk::new(file, segment, bytes)))
    }

    /// A walk over these bodies of a segment, whatever it says of itself. `None` when there is none of that number.
    pub fn walk_listed(&self, segment: SegmentId, entries: Vec<(Place, BlobRef)>) -> Result<Option<Walk>, StoreError> {
        Ok(self.read(segment)?.map(|file| Walk::listed(file, segment, entries)))
    }

    /// Segments whose heads were found damaged.
    pub fn damaged(&self) -> BTreeSet<SegmentId> {
        lock(&self.damaged).clone()
    }

    /// The numbers of the segments, and how much else lies in their folder.
    pub fn list(&self) -> Result<(Vec<SegmentId>, usize), StoreError> {
        let (names, others) = self.names()?;
        let files = lock(&self.files);
        let (ours, strange): (Vec<_>, Vec<_>) = names.into_iter().partition(|segment| files.contains_key(segment));
        Ok((ours, others + strange.len()))
    }

    /// The names in the folder that are numbers, and how many are not.
    fn names(&self) -> Result<(Vec<SegmentId>, usize), StoreError> {
        let (mut ids, mut others) = (Vec::new(), 0);
        let paths = self.disk.list(&self.dir);
        for path in paths.map_err(|source| self.room.refused(DiskOp::List, self.dir.clone(), source))? {
            match path.file_name().and_then(|n| n.to_str()).and_then(SegmentId::from_file_name) {
                Some(id) => ids.push(id),
                None => others += 1,
            }
        }
        ids.sort_unstable();
        Ok((ids, others))
    }

    /// Where a segment lies.
    pub fn path(&self, segment: SegmentId) -> PathBuf {
        self.dir.join(segment.file_name())
    }

    fn unlink(&self, segment: SegmentId) -> Result<(), StoreError> {
        match self.disk.remove(&self.path(segment)) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::Disk { op: DiskOp::Remove, path: self.path(segment), source }),
        }
    }

    /// What an operation on a segment came to: see `Room::refused`.
    fn failed(&self, op: DiskOp, segment: SegmentId, source: std::io::Error) -> StoreError {
        self.room.refused(op, self.path(segment), source)
    }
}

#[cfg(test)]
mod tests;
