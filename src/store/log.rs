//! The commit log: a ring of sealed frames in one prezeroed file.
//!
//! Invariants
//! - One frame is one batch is one fsync: a frame is written only after the one before it is durable.
//! - What lies outside the live frames is zero, on disk, before anything is appended there.
//! - So a bad frame with an untouched (zero) sector was torn by a crash and was never answered for;
//!   one without was complete once, and is damage: the log refuses to open instead of forgetting it.
//!   The same holds when a good frame stands behind a bad one.
//!
//! Positions are logical and never wrap: the place in the file is `position % capacity`. A frame
//! never spans the end of the file; a skip frame fills what is left. Layout: docs/format.md,
//! "Commit log". Limits: `FRAME_BYTES_MAX`.

use super::error::StoreError;
use crate::disk::{Disk, DiskFile, place};
use crate::seal::{NONCE_BYTES, SealingKey, TAG_BYTES, digest, random};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Frames begin at multiples of this.
pub const ALIGN: u64 = 4096;
/// Most bytes of one frame on disk.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What the device writes whole or not at all.
const SECTOR: usize = 512;
/// Kept free of batches: a checkpoint appends a frame of its own before it frees any room, and may
/// do so between a batch's question for room and its append.
const CHECKPOINT_RESERVE: u64 = 2 * ALIGN;
const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"BVL1";
const ZERO_STEP: usize = 1024 * 1024;

/// Least capacity of a log.
pub const CAPACITY_MIN: u64 = 64 * 1024;
/// A frame takes at most this part of the ring, so that one and its skip always fit an empty ring.
const FRAMES_PER_RING: u64 = 4;

/// The open log. `release` may run beside `append`.
#[derive(Debug)]
pub struct Log {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    key: SealingKey,
    capacity: u64,
    /// Everything below is in the index and zeroed.
    start: AtomicU64,
    /// The next frame's position.
    end: AtomicU64,
    /// Held while appending: the committer appends batches, a checkpoint its sequence.
    buffer: std::sync::Mutex<Vec<u8>>,
}

/// What stood at a position.
enum Found {
    Frame { payload: Vec<u8>, total: u64 },
    Nothing,
}

impl Log {
    /// Creates the file, `capacity` bytes of zeros, durable under its name.
    pub fn create(disk: &dyn Disk, path: &Path, capacity: u64) -> Result<(), StoreError> {
        let fail = |op: &'static str| move |source| StoreError::Disk { op, path: path.to_owned(), source };
        let staged = place::staged(path);
        let file = disk.create_new(&staged).map_err(fail("create log"))?;
        zero(file.as_ref(), 0, capacity).map_err(fail("prezero log"))?;
        file.sync_data().map_err(fail("sync log"))?;
        disk.rename(&staged, path).map_err(fail("publish log"))?;
        disk.sync_dir(place::parent(path)).map_err(fail("sync directory of log"))
    }

    /// Opens the log and hands every frame behind `start` to `replay`, in order.
    pub fn open(
        disk: &dyn Disk,
        path: &Path,
        key: SealingKey,
        start: u64,
        mut replay: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let log = Log::map(disk, path, key, start)?;
        let mut end = start;
        while end - start < log.capacity {
            match log.read_frame(end)? {
                Found::Frame { payload, total } => {
                    replay(&payload)?;
                    end += total;
                }
                Found::Nothing => break,
            }
        }
        log.nothing_behind(end, start + log.capacity)?;
        log.end.store(end, Ordering::Release);
        log.clean(end, start + log.capacity)?;
        Ok(log)
    }

    /// Appends one batch and makes it durable. Returns the position behind it.
    ///
    /// The caller has asked `room_for` before. After an error the log must not be used again.
    pub fn append(&self, payload: &[u8]) -> Result<u64, StoreError> {
        let mut buffer = self.buffer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let total = frame_bytes(payload.len());
        let mut end = self.end.load(Ordering::Acquire);
        let left = self.capacity - end % self.capacity;
        if left < total {
            // Its own fsync: otherwise a frame could be durable behind a skip that is not.
            end = self.write_frame(&mut buffer, end, left, &[])?;
        }
        self.write_frame(&mut buffer, end, total, payload)
    }

    /// The payload of the newest frame that opens, wherever the ring begins. It is asked before the
    /// index is, and tells how new the index must be.
    pub fn newest(disk: &dyn Disk, path: &Path, key: SealingKey) -> Result<Option<Vec<u8>>, StoreError> {
        let log = Log::map(disk, path, key, 0)?;
        let mut positions = Vec::new();
        let mut head = [0u8; HEADER_BYTES];
        for at in (0..log.capacity).step_by(ALIGN as usize) {
            log.file.read_at(at, &mut head).map_err(|e| log.fail("read log", e))?;
            let position = head.get(8..16).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b));
            if position % log.capacity == at && frame_header(&head, position).is_some() {
                positions.push(position);
            }
        }
        positions.sort_unstable();
        for position in positions.into_iter().rev() {
            match log.read_frame(position) {
                Ok(Found::Frame { payload, .. }) if !payload.is_empty() => return Ok(Some(payload)),
                // Torn, damaged or a skip: opening the log tells them apart.
                Ok(_) | Err(StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn map(disk: &dyn Disk, path: &Path, key: SealingKey, start: u64) -> Result<Self, StoreError> {
        let fail = |op: &'static str| move |source| StoreError::Disk { op, path: path.to_owned(), source };
        let file = disk.open(path).map_err(fail("open log"))?;
        let capacity = file.len().map_err(fail("measure log"))?;
        if capacity < CAPACITY_MIN || !capacity.is_multiple_of(ALIGN) || !start.is_multiple_of(ALIGN) {
            return Err(StoreError::Corrupt { what: "commit log (its length)" });
        }
        Ok(Log {
            file,
            path: path.to_owned(),
            key,
            capacity,
            start: AtomicU64::new(start),
            end: AtomicU64::new(start),
            buffer: std::sync::Mutex::default(),
        })
    }

    /// Whether a batch of `payload` bytes fits before something is released.
    pub fn room_for(&self, payload: usize) -> bool {
        let total = frame_bytes(payload);
        let (start, end) = (self.start.load(Ordering::Acquire), self.end.load(Ordering::Acquire));
        let left = self.capacity - end % self.capacity;
        let needed = if left < total { left + total } else { total };
        end + needed + CHECKPOINT_RESERVE <= start + self.capacity
    }

    /// Bytes between the index's mark and the end.
    pub fn used(&self) -> u64 {
        self.end.load(Ordering::Acquire) - self.start.load(Ordering::Acquire)
    }

    /// The position behind the last durable frame.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Most bytes of a batch's payload.
    pub fn payload_max(&self) -> usize {
        let part = usize::try_from(self.capacity / FRAMES_PER_RING).unwrap_or(FRAME_BYTES_MAX);
        part.min(FRAME_BYTES_MAX) - ALIGN as usize
    }

    /// Bytes of the ring.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Zeroes the frames below `mark`, which the index holds durably by now, and frees their room.
    pub fn release(&self, mark: u64) -> Result<(), StoreError> {
        let start = self.start.load(Ordering::Acquire);
        assert!(mark >= start && mark <= self.end.load(Ordering::Acquire), "the mark lies within the log");
        if mark == start {
            return Ok(());
        }
        self.zero_ring(start, mark)?;
        self.file.sync_data().map_err(|e| self.fail("sync log", e))?;
        self.start.store(mark, Ordering::Release);
        Ok(())
    }

    fn write_frame(&self, buffer: &mut Vec<u8>, position: u64, total: u64, payload: &[u8]) -> Result<u64, StoreError> {
        let total_bytes = usize::try_from(total).expect("frames are bounded");
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
        buffer.extend_from_slice(&u32::try_from(payload.len()).expect("frames are bounded").to_le_bytes());
        buffer.extend_from_slice(payload);
        buffer.resize(total_bytes, 0);
        let (head, text) = buffer.split_at_mut(HEADER_BYTES);
        let nonce: [u8; NONCE_BYTES] = random();
        head[..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&u32::try_from(total).expect("frames are bounded").to_le_bytes());
        head[8..16].copy_from_slice(&position.to_le_bytes());
        head[16..28].copy_from_slice(&nonce);
        let tag = self.key.seal(&nonce, &head[..16], text);
        head[28..44].copy_from_slice(&tag);
        let check = digest::digest_of(&head[..44]);
        head[44..64].copy_from_slice(&check[..20]);
        self.file.write_at(position % self.capacity, buffer).map_err(|e| self.fail("append to log", e))?;
        self.file.sync_data().map_err(|e| self.fail("sync log", e))?;
        if buffer.capacity() > 2 * ZERO_STEP {
            *buffer = Vec::new();
        }
        self.end.store(position + total, Ordering::Release);
        Ok(position + total)
    }

    fn read_frame(&self, position: u64) -> Result<Found, StoreError> {
        let at = position % self.capacity;
        let mut head = [0u8; SECTOR];
        self.file.read_at(at, &mut head).map_err(|e| self.fail("read log", e))?;
        if head.iter().all(|&b| b == 0) {
            return Ok(Found::Nothing);
        }
        let Some(total) = frame_header(&head, position).filter(|&t| t <= self.capacity - at) else {
            return Err(StoreError::Corrupt { what: "commit log (frame header)" });
        };
        let mut frame = vec![0u8; usize::try_from(total).map_err(|_| StoreError::Corrupt { what: "commit log" })?];
        self.file.read_at(at, &mut frame).map_err(|e| self.fail("read log", e))?;
        let torn = frame.chunks(SECTOR).any(|s| s.iter().all(|&b| b == 0));
        let (head, text) = frame.split_at_mut(HEADER_BYTES);
        let (mut nonce, mut tag) = ([0u8; NONCE_BYTES], [0u8; TAG_BYTES]);
        nonce.copy_from_slice(&head[16..28]);
        tag.copy_from_slice(&head[28..44]);
        match self.key.open(&nonce, &head[..16], text, &tag) {
            Ok(()) => {}
            Err(_) if torn => return Ok(Found::Nothing),
            Err(_) => return Err(StoreError::Corrupt { what: "commit log (frame)" }),
        }
        let payload = text
            .split_first_chunk::<4>()
            .and_then(|(len, rest)| rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?))
            .ok_or(StoreError::Corrupt { what: "commit log (frame length)" })?
            .to_vec();
        Ok(Found::Frame { payload, total })
    }

    /// A good frame behind the end means that an answered one before it was lost.
    fn nothing_behind(&self, end: u64, limit: u64) -> Result<(), StoreError> {
        let mut head = [0u8; SECTOR];
        let mut position = end + ALIGN;
        while position < limit {
            self.file.read_at(position % self.capacity, &mut head).map_err(|e| self.fail("read log", e))?;
            if frame_header(&head, position).is_some() && matches!(self.read_frame(position), Ok(Found::Frame { .. })) {
                return Err(StoreError::Corrupt { what: "commit log (a frame is missing before others)" });
            }
            position += ALIGN;
        }
        Ok(())
    }

    /// Zeroes what a torn write or an interrupted release left between `from` and `to`.
    fn clean(&self, from: u64, to: u64) -> Result<(), StoreError> {
        let mut step = vec![0u8; ZERO_STEP];
        let mut position = from;
        let mut dirty = false;
        while position < to {
            let at = position % self.capacity;
            let len = (to - position).min(self.capacity - at).min(ZERO_STEP as u64);
            let piece = &mut step[..usize::try_from(len).unwrap_or(ZERO_STEP)];
            self.file.read_at(at, piece).map_err(|e| self.fail("read log", e))?;
            if piece.iter().any(|&b| b != 0) {
                zero(self.file.as_ref(), at, len).map_err(|e| self.fail("zero log", e))?;
                dirty = true;
            }
            position += len;
        }
        if dirty {
            self.file.sync_data().map_err(|e| self.fail("sync log", e))?;
        }
        Ok(())
    }

    fn zero_ring(&self, from: u64, to: u64) -> Result<(), StoreError> {
        let mut position = from;
        while position < to {
            let at = position % self.capacity;
            let len = (to - position).min(self.capacity - at);
            zero(self.file.as_ref(), at, len).map_err(|e| self.fail("zero log", e))?;
            position += len;
        }
        Ok(())
    }

    fn fail(&self, op: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Disk { op, path: self.path.clone(), source }
    }
}

/// Bytes on disk of a frame with this payload.
fn frame_bytes(payload: usize) -> u64 {
    ((HEADER_BYTES + 4 + payload) as u64).next_multiple_of(ALIGN)
}

/// The total length, when the header is whole and belongs to `position`.
fn frame_header(head: &[u8], position: u64) -> Option<u64> {
    let fits = head.get(..4)? == MAGIC
        && head.get(8..16)? == position.to_le_bytes()
        && head.get(44..64)? == &digest::digest_of(head.get(..44)?)[..20];
    let total = u64::from(u32::from_le_bytes(*head.get(4..8)?.first_chunk::<4>()?));
    (fits && total >= ALIGN && total.is_multiple_of(ALIGN) && total <= 2 * FRAME_BYTES_MAX as u64).then_some(total)
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
