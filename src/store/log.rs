//! The commit log: a ring of sealed frames in one prezeroed file, behind a head that says how far it is durable.
//!
//! Invariants
//! - A batch is one frame, or several where it is longer than one, each with an fsync of its own. A frame is written
//!   only after the one before it is durable, and with it a mark that says so.
//! - Nothing is written that does not fit: neither the ring's room nor what the reader takes.
//! - What lies outside the live frames is zero, on disk, before anything is appended there.
//! - So a bad frame with an untouched (zero) sector was torn by a crash and was never answered for, if nothing says
//!   that it was durable. One without such a sector was complete once, and is damage: the log refuses to open instead
//!   of forgetting it. The same holds when a good frame stands behind a bad one.
//! - Appends and the zeroing of what is released have a file handle each: the system tells of a failed write once for
//!   each handle, and neither may hear it in the other's place. After any failure nothing is written any more.
//!
//! Positions are logical and never wrap: the place in the ring is `position % capacity`. A frame
//! never spans the end of the ring; a skip frame fills what is left. Layout: docs/format.md,
//! "Commit log". Limits: `FRAME_BYTES_MAX`, `LOG_BYTES_MIN`.
//!
//! | file | job |
//! |---|---|
//! | here | appending, and freeing what the index holds |
//! | `frame` `head` | the bytes of a frame; the head that says how far the ring is durable |
//! | `reading` | a log at open: what of it counts, and what is known to be missing |

use super::error::{DiskOp, StoreError};
use crate::base::Incarnation;
use crate::disk::{Disk, DiskFile, place};
use crate::seal::SealingKey;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

mod frame;
mod head;
mod reading;

pub use frame::{ALIGN, FRAME_BYTES_MAX};
pub use head::HEAD_BYTES;
pub use reading::{LogReader, Tail};

use head::Head;

/// Kept free of batches: a checkpoint appends a frame of its own before it frees any room, and may
/// do so between a batch that found no room and its next try.
const CHECKPOINT_RESERVE: u64 = 2 * ALIGN;
const ZERO_STEP: usize = 1024 * 1024;

/// Least capacity of a log that can be read.
pub const CAPACITY_MIN: u64 = 64 * 1024;
/// A frame takes at most this part of the ring, so that one and its skip always fit an empty ring.
const FRAMES_PER_RING: u64 = 4;

/// The open log. `release` may run beside `append`.
#[derive(Debug)]
pub struct Log {
    appends: Box<dyn DiskFile>,
    releases: Box<dyn DiskFile>,
    key: SealingKey,
    place: Place,
    /// Everything below is in the index and zeroed.
    start: AtomicU64,
    /// The next frame's position.
    end: AtomicU64,
    life: Incarnation,
    /// Whether this life of the directory may have forgotten what it answered for.
    cut: AtomicBool,
    /// Whether a write or a sync failed, on either handle.
    failed: AtomicBool,
    /// Held while appending: the committer appends batches, a checkpoint its sequence.
    writing: Mutex<Writing>,
}

/// What an append needs.
#[derive(Debug)]
struct Writing {
    buffer: Vec<u8>,
    head: Head,
}

/// Where positions lie in the file.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    capacity: u64,
}

impl Place {
    fn of(&self, position: u64) -> u64 {
        HEAD_BYTES + position % self.capacity
    }

    /// Bytes from `position` to `to` that lie in one piece.
    fn run(&self, position: u64, to: u64) -> u64 {
        (to - position).min(self.capacity - position % self.capacity)
    }

    fn fail(&self, op: DiskOp, source: std::io::Error) -> StoreError {
        StoreError::Disk { op, path: self.path.clone(), source }
    }
}

/// What became of a batch that was to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// Every frame of it is on the disk, synced.
    Durable,
    /// It does not fit, and nothing was written.
    NoRoom,
}

/// The two who append frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The committer: a checkpoint's room is not its own.
    Batch,
    /// A checkpoint, which makes room.
    Checkpoint,
}

impl Log {
    /// Creates the file, a ring of `capacity` bytes of zeros (down to a multiple of `ALIGN`) and its head, durable
    /// under its name.
    pub fn create(disk: &dyn Disk, path: &Path, key: &SealingKey, capacity: u64) -> Result<(), StoreError> {
        let fail = |op: DiskOp| move |source| StoreError::Disk { op, path: path.to_owned(), source };
        let capacity = capacity - capacity % ALIGN;
        let staged = place::staged(path);
        let file = disk.create_new(&staged).map_err(fail(DiskOp::CreateLog))?;
        zero(file.as_ref(), HEAD_BYTES, capacity).map_err(fail(DiskOp::PrezeroLog))?;
        for sequence in [1, 2] {
            let head = Head { sequence, capacity, durable: 0, cut: 0 };
            head.write(file.as_ref(), key).map_err(fail(DiskOp::MarkLog))?;
        }
        file.sync_data().map_err(fail(DiskOp::SyncLog))?;
        disk.rename(&staged, path).map_err(fail(DiskOp::PublishLog))?;
        disk.sync_dir(place::parent(path)).map_err(fail(DiskOp::SyncLogFolder))
    }

    /// Appends the frames of one batch, in order, if all of them fit, and makes each durable before the next.
    ///
    /// After an error the log takes nothing any more.
    pub fn append(&self, frames: &[impl AsRef<[u8]>], writer: Writer) -> Result<Appended, StoreError> {
        let mut writing = self.writing();
        self.check_usable()?;
        let reserve = if writer == Writer::Batch { CHECKPOINT_RESERVE } else { 0 };
        let mut end = self.end();
        let mut positions = Vec::with_capacity(frames.len());
        for payload in frames {
            let total = frame::bytes_of(payload.as_ref().len());
            let left = self.place.capacity - end % self.place.capacity;
            if total > FRAME_BYTES_MAX || total > self.place.capacity {
                return Ok(Appended::NoRoom);
            }
            if left < total {
                // Its own fsync: otherwise a frame could be durable behind a skip that is not.
                positions.push((end, left, &[][..]));
                end += left;
            }
            positions.push((end, total, payload.as_ref()));
            end += total;
        }
        if end + reserve > self.start.load(Ordering::Acquire) + self.place.capacity {
            return Ok(Appended::NoRoom);
        }
        for (position, total, payload) in positions {
            self.watch(self.write_frame(&mut writing, position, total, payload))?;
        }
        Ok(Appended::Durable)
    }

    /// Says on the disk that everything up to the end is durable, and whether frames were lost, if that is not said
    /// yet. With each frame the same is said of those before it; this is for a while without any.
    pub fn mark(&self) -> Result<(), StoreError> {
        let mut writing = self.writing();
        let (durable, cut) = (self.end(), self.cut_life());
        if (writing.head.durable, writing.head.cut) == (durable, cut) {
            return Ok(());
        }
        self.check_usable()?;
        self.watch(self.write_head(&mut writing, durable).and_then(|()| self.sync(self.appends.as_ref())))
    }

    /// Whether frames that this node had answered for are gone, and it has not been given its place anew since.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// The node was given its place anew, durably: what it forgot does not matter any more.
    pub fn forgive(&self) {
        self.cut.store(false, Ordering::Release);
    }

    /// Bytes between the index's mark and the end.
    pub fn used(&self) -> u64 {
        self.end() - self.start.load(Ordering::Acquire)
    }

    /// The position of the oldest frame: in front of it everything is zero.
    pub fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    /// Bytes that batches may take before the ring is full.
    pub fn free(&self) -> u64 {
        self.place.capacity.saturating_sub(self.used() + CHECKPOINT_RESERVE)
    }

    /// The position behind the last durable frame.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Most bytes of a frame's payload.
    pub fn payload_max(&self) -> usize {
        let part = self.place.capacity / FRAMES_PER_RING / ALIGN * ALIGN;
        frame::payload_in(part.min(FRAME_BYTES_MAX))
    }

    /// Bytes of the ring.
    pub fn capacity(&self) -> u64 {
        self.place.capacity
    }

    /// Zeroes the frames below `mark`, which the index holds durably by now, and frees their room.
    pub fn release(&self, mark: u64) -> Result<(), StoreError> {
        let start = self.start.load(Ordering::Acquire);
        assert!(mark >= start && mark <= self.end(), "the mark lies within the log");
        if mark == start {
            return Ok(());
        }
        self.check_usable()?;
        let mut position = start;
        while position < mark {
            let len = self.place.run(position, mark);
            let zeroed = zero(self.releases.as_ref(), self.place.of(position), len);
            self.watch(zeroed.map_err(|e| self.place.fail(DiskOp::ZeroLog, e)))?;
            position += len;
        }
        self.watch(self.sync(self.releases.as_ref()))?;
        // Only now is it free: an old frame that came back behind the newest one would read as damage.
        self.start.store(mark, Ordering::Release);
        Ok(())
    }

    fn write_frame(&self, writing: &mut Writing, position: u64, total: u64, payload: &[u8]) -> Result<(), StoreError> {
        frame::seal(&self.key, &mut writing.buffer, position, total, payload);
        let written = self.appends.write_at(self.place.of(position), &writing.buffer);
        written.map_err(|e| self.place.fail(DiskOp::AppendToLog, e))?;
        // In the same sync. It may become durable before the frame does, and says nothing of it.
        self.write_head(writing, position)?;
        self.sync(self.appends.as_ref())?;
        // One long frame must not keep its memory for good.
        if writing.buffer.capacity() > 2 * ZERO_STEP {
            writing.buffer = Vec::new();
        }
        self.end.store(position + total, Ordering::Release);
        Ok(())
    }

    fn write_head(&self, writing: &mut Writing, durable: u64) -> Result<(), StoreError> {
        let head = Head { sequence: writing.head.sequence + 1, durable, cut: self.cut_life(), ..writing.head };
        head.write(self.appends.as_ref(), &self.key).map_err(|e| self.place.fail(DiskOp::MarkLog, e))?;
        writing.head = head;
        Ok(())
    }

    fn sync(&self, file: &dyn DiskFile) -> Result<(), StoreError> {
        file.sync_data().map_err(|e| self.place.fail(DiskOp::SyncLog, e))
    }

    /// The first failure ends all writing: what the disk holds is half known.
    fn watch<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    fn cut_life(&self) -> u64 {
        if self.is_cut() { self.life.0 } else { 0 }
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn zero(file: &dyn DiskFile, from: u64, len: u64) -> std::io::Result<()> {
    static ZEROS: [u8; ZERO_STEP] = [0; ZERO_STEP];
    let mut done = 0;
    while done < len {
        let step = (len - done).min(ZERO_STEP as u64);
        file.write_at(from + done, &ZEROS[..usize::try_from(step).unwrap_or(ZERO_STEP)])?;
        done += step;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
