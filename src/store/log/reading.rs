//! Reading a log at open: what the disk has, what of it counts, and what is known to be missing.
//!
//! Invariants
//! - Everything is read from the disk, not from what an earlier process left in memory: that may be marked clean and
//!   never have been written (a sync that failed).
//! - Frames that are known to have been durable and do not open any more are noticed, with one exception: the very
//!   newest one, damaged so that it looks torn, after a crash that came before the mark behind it. See docs/format.md.
//! - Nothing is changed on the disk before `Tail::accept`.

use super::frame::{self, ALIGN, FRAME_BYTES_MAX, SECTOR, Unopened};
use super::head::{HEAD_BYTES, Head};
use super::{CAPACITY_MIN, Log, Place, Writing, ZERO_STEP, zero};
use crate::base::Incarnation;
use crate::disk::{Disk, DiskFile};
use crate::seal::SealingKey;
use crate::store::error::{DiskOp, StoreError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// A log that is being read.
#[derive(Debug)]
pub struct LogReader {
    file: Box<dyn DiskFile>,
    key: SealingKey,
    place: Place,
    head: Head,
    /// Whether both copies of the head open.
    both: bool,
}

/// What stood at a position.
enum Found {
    Frame { payload: Vec<u8>, total: u64 },
    Nothing,
}

/// A log that was read to its end, and not changed yet.
#[derive(Debug)]
pub struct Tail {
    reader: LogReader,
    start: u64,
    /// Behind the last frame of the last whole batch.
    end: u64,
    /// The newest frame that counts: where, and its bytes on disk.
    newest: Option<(u64, u64)>,
    lost: bool,
}

impl LogReader {
    /// Opens the file and reads its head.
    pub fn open(disk: &dyn Disk, path: &Path, key: SealingKey) -> Result<Self, StoreError> {
        let fail = |op: DiskOp| move |source| StoreError::Disk { op, path: path.to_owned(), source };
        let file = disk.open(path).map_err(fail(DiskOp::OpenLog))?;
        file.settle().map_err(fail(DiskOp::SyncLog))?;
        let len = file.len().map_err(fail(DiskOp::MeasureLog))?;
        let head = Head::read(file.as_ref(), &key).map_err(fail(DiskOp::ReadLog))?;
        let (head, both) =
            head.ok_or(StoreError::Corrupt { what: "commit log (its head, or it is of another version)" })?;
        let capacity = head.capacity;
        if capacity < CAPACITY_MIN || !capacity.is_multiple_of(ALIGN) || capacity.checked_add(HEAD_BYTES) != Some(len) {
            return Err(StoreError::Corrupt { what: "commit log (its length)" });
        }
        Ok(LogReader { file, key, place: Place { path: path.to_owned(), capacity }, head, both })
    }

    /// Bytes of the ring.
    pub fn capacity(&self) -> u64 {
        self.place.capacity
    }

    /// The payload of the newest frame that opens, wherever the ring begins. It is asked before the
    /// index is, and tells how new the index must be.
    pub fn newest(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut positions = Vec::new();
        let mut head = [0u8; SECTOR];
        for at in (0..self.place.capacity).step_by(ALIGN as usize) {
            self.read(at, &mut head)?;
            let position = frame::position_in(&head);
            if position % self.place.capacity == at && frame::header(&head, position).is_some() {
                positions.push(position);
            }
        }
        positions.sort_unstable();
        for position in positions.into_iter().rev() {
            match self.read_frame(position) {
                Ok(Found::Frame { payload, .. }) if !payload.is_empty() => return Ok(Some(payload)),
                // Torn, damaged or a skip: reading the log tells them apart.
                Ok(_) | Err(StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Hands every frame behind `start` to `replay`, in order. It tells whether a batch ends with that frame: of a
    /// batch that does not end, nothing counts.
    pub fn replay(
        self,
        start: u64,
        mut replay: impl FnMut(&[u8]) -> Result<bool, StoreError>,
    ) -> Result<Tail, StoreError> {
        if !start.is_multiple_of(ALIGN) {
            return Err(StoreError::Corrupt { what: "index (its place in the log)" });
        }
        let limit = start.checked_add(self.place.capacity);
        let limit = limit.ok_or(StoreError::Corrupt { what: "index (its place in the log)" })?;
        let (mut at, mut end, mut newest, mut whole) = (start, start, None, true);
        while at < limit {
            let Found::Frame { payload, total } = self.read_frame(at)? else { break };
            // A skip frame holds nothing and is part of whatever it stands in.
            if !payload.is_empty() {
                whole = replay(&payload)?;
            }
            if whole {
                (end, newest) = (at + total, Some((at, total)));
            }
            at += total;
        }
        // What is missing in the middle is told first.
        let begun = self.begun_behind(at, limit)?;
        let lost = begun || self.head.durable > at || !self.leads_to(start)?;
        Ok(Tail { reader: self, start, end, newest, lost })
    }

    /// Whether the index rests on frames of this log: it takes in what is durable alone, so a head that says less was
    /// written before the newest frame that the index holds, and that is still there. Otherwise the log is an older
    /// one.
    fn leads_to(&self, start: u64) -> Result<bool, StoreError> {
        let mut at = self.head.durable;
        // An older head says less, and its frames may be gone.
        while at < start && self.both {
            match self.read_frame(at) {
                Ok(Found::Frame { total, .. }) => at += total,
                Ok(Found::Nothing) | Err(StoreError::Corrupt { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(at >= start || !self.both)
    }

    /// Whether a frame behind the end was begun: then what stands before it was durable. One that opens means that
    /// something is missing in the middle.
    fn begun_behind(&self, end: u64, limit: u64) -> Result<bool, StoreError> {
        let mut head = [0u8; SECTOR];
        let mut begun = false;
        for position in (end..limit).step_by(ALIGN as usize).skip(1) {
            self.read(position, &mut head)?;
            if frame::header(&head, position).is_none() {
                continue;
            }
            if matches!(self.read_frame(position), Ok(Found::Frame { .. })) {
                return Err(StoreError::Corrupt { what: "commit log (a frame is missing before others)" });
            }
            begun = true;
        }
        Ok(begun)
    }

    /// What stands at a position. Nothing is taken for missing or damaged because of one read that went wrong.
    fn read_frame(&self, position: u64) -> Result<Found, StoreError> {
        match self.read_frame_once(position) {
            Ok(found @ Found::Frame { .. }) => Ok(found),
            _ => {
                self.file.forget(self.place.of(position), self.place.run(position, position + FRAME_BYTES_MAX));
                self.read_frame_once(position)
            }
        }
    }

    fn read_frame_once(&self, position: u64) -> Result<Found, StoreError> {
        let mut head = [0u8; SECTOR];
        self.read(position, &mut head)?;
        if head.iter().all(|&b| b == 0) {
            return Ok(Found::Nothing);
        }
        let left = self.place.capacity - position % self.place.capacity;
        let Some(total) = frame::header(&head, position).filter(|&total| total <= left) else {
            return Err(StoreError::Corrupt { what: "commit log (frame header)" });
        };
        let mut bytes = vec![0u8; usize::try_from(total).map_err(|_| StoreError::Corrupt { what: "commit log" })?];
        self.read(position, &mut bytes)?;
        match frame::open(&self.key, position, &mut bytes) {
            Ok(payload) => Ok(Found::Frame { payload: payload.to_vec(), total }),
            Err(Unopened::Torn) => Ok(Found::Nothing),
            Err(Unopened::Damaged) => Err(StoreError::Corrupt { what: "commit log (frame)" }),
        }
    }

    fn read(&self, position: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_at(self.place.of(position), out).map_err(|e| self.place.fail(DiskOp::ReadLog, e))
    }
}

impl Tail {
    /// Whether frames that had been durable are gone from the end, as far as can be known.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Position behind the last batch that counts.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Takes the log as it was read. `life`: of the data directory. `anew`: the log says that the node was given its
    /// place anew since it lost any.
    ///
    /// What it is taken for is durable before anything is appended: the newest frame may lie in memory alone, where a
    /// process was killed between write and sync, on a file system that keeps its memory when told to drop it.
    pub fn accept(self, disk: &dyn Disk, life: Incarnation, anew: bool) -> Result<Log, StoreError> {
        let Tail { reader, start, end, newest, lost } = self;
        let LogReader { file, key, place, head, .. } = reader;
        let cut = lost || (head.cut == life.0 && !anew);
        let fail = |op: DiskOp| {
            let place = &place;
            move |source| place.fail(op, source)
        };
        // Before anything is zeroed: a mark above the end would tell of lost frames, the next time.
        let first = Head { sequence: head.sequence + 1, durable: end, cut: if cut { life.0 } else { 0 }, ..head };
        first.write(file.as_ref(), &key).map_err(fail(DiskOp::MarkLog))?;
        if let Some((at, total)) = newest {
            let mut bytes = vec![0u8; usize::try_from(total).map_err(|_| StoreError::Corrupt { what: "commit log" })?];
            file.read_at(place.of(at), &mut bytes).map_err(fail(DiskOp::ReadLog))?;
            // A read that goes wrong now must not be written.
            if frame::open(&key, at, &mut bytes.clone()).is_err() {
                return Err(StoreError::Corrupt { what: "commit log (its newest frame, read once more)" });
            }
            file.write_at(place.of(at), &bytes).map_err(fail(DiskOp::AppendToLog))?;
        }
        file.sync_data().map_err(fail(DiskOp::SyncLog))?;
        clean(file.as_ref(), &place, end, start + place.capacity)?;
        // In both slots: the older one may say more.
        let second = Head { sequence: first.sequence + 1, ..first };
        second.write(file.as_ref(), &key).map_err(fail(DiskOp::MarkLog))?;
        file.sync_data().map_err(fail(DiskOp::SyncLog))?;
        let releases = disk.open(&place.path).map_err(|e| place.fail(DiskOp::OpenLog, e))?;
        Ok(Log {
            appends: file,
            releases,
            key,
            place,
            start: AtomicU64::new(start),
            end: AtomicU64::new(end),
            life,
            cut: AtomicBool::new(cut),
            failed: AtomicBool::new(false),
            writing: std::sync::Mutex::new(Writing { buffer: Vec::new(), head: second }),
        })
    }
}

/// Zeroes what a torn write or an interrupted release left between `from` and `to`.
fn clean(file: &dyn DiskFile, place: &Place, from: u64, to: u64) -> Result<(), StoreError> {
    let mut step = vec![0u8; ZERO_STEP];
    let mut position = from;
    let mut dirty = false;
    while position < to {
        let len = place.run(position, to).min(ZERO_STEP as u64);
        let piece = &mut step[..usize::try_from(len).unwrap_or(ZERO_STEP)];
        file.read_at(place.of(position), piece).map_err(|e| place.fail(DiskOp::ReadLog, e))?;
        if piece.iter().any(|&b| b != 0) {
            zero(file, place.of(position), len).map_err(|e| place.fail(DiskOp::ZeroLog, e))?;
            dirty = true;
        }
        position += len;
    }
    if dirty {
        file.sync_data().map_err(|e| place.fail(DiskOp::SyncLog, e))?;
    }
    Ok(())
}
