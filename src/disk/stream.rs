//! A new file written once, from front to back: bodies on their way to their blobs.
//!
//! Invariants
//! - Bytes reach the file in whole blocks, from a buffer on a block's boundary, at a block's offset: what
//!   a file that bypasses the page cache asks for. Only the last write is padded, and then cut off.
//! - `finish` answers only after everything is durable.
//! - What `tail` gave stays where it is until `advance` has taken it.
//! - What is to be had whole (`whole`) has no file before it is known to be too long for that.
//!
//! Why past the page cache: a body is rarely read right after it was written; its pages would push out
//! those that are, and filling them costs more CPU than sealing what goes into them.

use super::{Disk, DiskFile};
use crate::base::{Buffer, LARGE_PAGE_BYTES, Permit};
use bytes::Bytes;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What offsets, lengths and addresses of unbuffered writes are multiples of, on every common disk.
const BLOCK_BYTES: usize = 4096;
/// Bytes of one write.
const WRITE_BYTES: usize = 512 * 1024;
/// Bytes of one write where there is memory for it: less CPU for each byte, and more of them a second
/// (docs/adr/0016-large-bodies.md).
pub const LARGE_WRITE_BYTES: usize = LARGE_PAGE_BYTES;
/// Bytes of memory for large writes: one, and what is made beyond its end before it is written.
pub const LARGE_BUFFER_BYTES: usize = LARGE_WRITE_BYTES + 128 * 1024;
/// Bytes that are shown at once: soon enough to be in the processor's cache still, and a power of two, which digests
/// are fastest with.
const BLOCK_SHOWN_BYTES: usize = 256 * 1024;
/// Files below this are small enough to be read again soon: the page cache may have them.
const UNCACHED_MIN: u64 = 1024 * 1024;

/// Memory for large writes.
#[derive(Debug)]
pub struct LargeBuffer {
    /// `LARGE_BUFFER_BYTES`. What it holds does not matter.
    pub memory: Buffer,
    /// The right to it.
    pub permit: Permit,
}

/// A file under construction.
#[derive(Debug)]
pub struct StreamFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// None before the first write of what may come to an end without one.
    file: Option<Box<dyn DiskFile>>,
    /// Most bytes of what is to be had whole.
    whole_max: u64,
    /// Made with the first bytes, but for a large one: many open uploads wait for theirs. The blocks begin at `start`,
    /// since memory does not lie on a boundary by itself.
    buffer: Buffer,
    start: usize,
    room: usize,
    held: usize,
    /// How much of what is held was shown.
    shown: usize,
    written: u64,
    unsynced: u64,
    uncached: bool,
    _permit: Option<Permit>,
}

impl StreamFile {
    /// Most bytes that a file of that length holds in memory, where it is made in its tail `ahead` bytes at a time;
    /// without large memory, which has its own permit. `None`: nobody knows the length. `whole_max`: see `create`.
    pub fn holds(len: Option<u64>, ahead: u64, whole_max: u64) -> u64 {
        let held = match len {
            Some(len) if len <= whole_max => len + 1,
            Some(len) => len.min(WRITE_BYTES as u64),
            None => (whole_max + 1).max(WRITE_BYTES as u64),
        };
        held.next_multiple_of(BLOCK_BYTES as u64) + ahead + BLOCK_BYTES as u64
    }

    /// Bytes after which a cached file is sent to the disk, so that `finish` has little left to do.
    const SYNC_EVERY: u64 = 32 << 20;

    /// Creates the file, which must not exist yet. `expected` is its length, where it is known; with `large`, it is
    /// written `LARGE_WRITE_BYTES` at a time. What may end with at most `whole_max` bytes is held in memory as long as
    /// it may, and has no file before.
    pub fn create(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        expected: Option<u64>,
        large: Option<LargeBuffer>,
        whole_max: u64,
    ) -> io::Result<Self> {
        let uncached = expected.is_none_or(|len| len >= UNCACHED_MIN);
        let is_held = whole_max > 0 && expected.is_none_or(|len| len <= whole_max);
        // With a byte more: what is as long as it may be is not written yet.
        let least = if is_held { usize::try_from(whole_max).unwrap_or(usize::MAX - 1) + 1 } else { 0 };
        let most = if large.is_some() { LARGE_WRITE_BYTES } else { WRITE_BYTES }.max(least);
        let wanted = expected.and_then(|len| usize::try_from(len).ok()).unwrap_or(most);
        let wanted = wanted.saturating_add(usize::from(is_held));
        let room = wanted.clamp(1, most).next_multiple_of(BLOCK_BYTES);
        let (buffer, permit) = large.map_or_else(Default::default, |large| (large.memory, Some(large.permit)));
        let mut stream = StreamFile {
            disk,
            path,
            file: None,
            whole_max: if is_held { whole_max } else { 0 },
            start: boundary_in(&buffer),
            buffer,
            room,
            held: 0,
            shown: 0,
            written: 0,
            unsynced: 0,
            uncached,
            _permit: permit,
        };
        if !is_held {
            stream.make()?;
        }
        Ok(stream)
    }

    /// The file, made if it was not.
    fn make(&mut self) -> io::Result<&dyn DiskFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None if self.uncached => self.disk.create_uncached(&self.path)?,
            None => self.disk.create_new(&self.path)?,
        };
        Ok(&**self.file.insert(file))
    }

    /// Whether there is a file.
    pub fn is_made(&self) -> bool {
        self.file.is_some()
    }

    /// All of it, out of memory, where it has come to its end with at most `whole_max` bytes: there is no file then, and
    /// nothing more is taken. `None`: it is to be finished.
    pub fn whole(&mut self) -> Option<Bytes> {
        if self.is_made() || self.len() > self.whole_max {
            return None;
        }
        let (start, held) = (self.start, self.held);
        (self.start, self.held, self.shown) = (0, 0, 0);
        Some(Bytes::from_owner(std::mem::take(&mut self.buffer)).slice(start..start + held))
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.written + self.held as u64
    }

    /// Whether nothing was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next bytes. `block`: see `advance`.
    pub fn push(&mut self, mut data: &[u8], mut block: impl FnMut(&[u8])) -> io::Result<()> {
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(self.room - self.held));
            self.reach(self.room, self.room);
            let at = self.start + self.held;
            self.buffer[at..at + now.len()].copy_from_slice(now);
            self.advance(now.len(), &mut block)?;
            data = later;
        }
        Ok(())
    }

    /// The place of the next `len` bytes, to be made right there: what is sealed in it is not copied again. Until
    /// `advance` takes them, the same bytes are given again.
    pub fn tail(&mut self, len: usize) -> &mut [u8] {
        // With room for one more such tail behind a write's worth: it is made before that is written.
        self.reach(self.held + len, self.room + len);
        let at = self.start + self.held;
        &mut self.buffer[at..at + len]
    }

    /// Sees to it that the buffer holds `needed` bytes; if it is too small, it becomes as large as `wanted`, or
    /// `needed`.
    fn reach(&mut self, needed: usize, wanted: usize) {
        if self.buffer.len() >= self.start + needed {
            return;
        }
        // What is beyond `held` was perhaps begun: it comes along.
        let mut grown = Buffer::zeroed(needed.max(wanted) + BLOCK_BYTES);
        let start = boundary_in(&grown);
        let old = self.buffer.get(self.start..).unwrap_or_default();
        let begun = old.len().min(needed);
        grown[start..start + begun].copy_from_slice(&old[..begun]);
        (self.buffer, self.start) = (grown, start);
    }

    /// What was not shown yet: the end of the file, as far as it goes.
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.start + self.shown..self.start + self.held).unwrap_or_default()
    }

    /// Takes the first `len` bytes of the tail, which must have been asked for. `block` is shown everything in order,
    /// in blocks of one length at multiples of it as far as the file is large, but for what `rest` gives.
    pub fn advance(&mut self, len: usize, mut block: impl FnMut(&[u8])) -> io::Result<()> {
        self.held += len;
        loop {
            let full = self.held.min(self.room);
            while self.shown < full && (full == self.room || full - self.shown >= BLOCK_SHOWN_BYTES) {
                let end = full.min(self.shown + BLOCK_SHOWN_BYTES);
                block(&self.buffer[self.start + self.shown..self.start + end]);
                self.shown = end;
            }
            if self.held < self.room {
                return Ok(());
            }
            self.write(self.room)?;
            self.written += self.room as u64;
            self.held -= self.room;
            self.shown = 0;
            let rest = self.start + self.room;
            self.buffer.copy_within(rest..rest + self.held, self.start);
        }
    }

    fn write(&mut self, len: usize) -> io::Result<()> {
        self.make()?;
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_at(self.written, &self.buffer[self.start..self.start + len])?;
        self.unsynced += len as u64;
        if !self.uncached && self.unsynced >= Self::SYNC_EVERY {
            file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Writes what is held back and makes the whole durable.
    pub fn finish(&mut self) -> io::Result<()> {
        let len = self.len();
        if self.held > 0 {
            let padded = self.held.next_multiple_of(BLOCK_BYTES);
            let from = self.start + self.held;
            self.buffer[from..self.start + padded].fill(0);
            self.write(if self.uncached { padded } else { self.held })?;
            if self.uncached && padded != self.held {
                self.make()?.set_len(len)?;
            }
            self.written = len;
            (self.held, self.shown) = (0, 0);
        }
        self.make()?.sync_data()
    }
}

/// Where the first block begins.
fn boundary_in(buffer: &[u8]) -> usize {
    buffer.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Budget, BufferPool};
    use crate::disk::RealDisk;

    #[test]
    fn any_length_in_any_pieces_arrives_whole() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (budget, pool) = (Budget::new(1, LARGE_BUFFER_BYTES as u64), BufferPool::new(LARGE_BUFFER_BYTES));
        let lens = [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, (2 << 20) + 4096, (3 << 20) + 77, (5 << 20) + 1];
        for (n, len) in lens.into_iter().enumerate() {
            let body: Vec<u8> = (0..len).map(|i: usize| (i % 251).to_le_bytes()[0]).collect();
            let ways = [(None, false), (Some(len as u64), false), (None, true), (Some(len as u64), true)];
            for (k, (expected, large)) in ways.into_iter().enumerate() {
                let path = dir.path().join(format!("{n}-{k}"));
                let large = large.then(|| {
                    let mut memory = pool.lend();
                    memory.fill(0xEE);
                    LargeBuffer { memory, permit: budget.try_claim(LARGE_BUFFER_BYTES as u64).expect("room") }
                });
                let disk = Arc::new(RealDisk);
                let mut file = StreamFile::create(disk, path.clone(), expected, large, 0).expect("creates");
                let mut seen = Vec::new();
                for (turn, piece) in body.chunks(70_001 + n).enumerate() {
                    // Given, or made in place by halves.
                    if turn % 2 == k % 2 {
                        file.push(piece, |block| seen.extend_from_slice(block)).expect("takes");
                        continue;
                    }
                    let (early, late) = piece.split_at(piece.len() / 2);
                    file.tail(early.len())[..early.len()].copy_from_slice(early);
                    file.tail(piece.len() + 16)[early.len()..piece.len()].copy_from_slice(late);
                    file.advance(piece.len(), |block| seen.extend_from_slice(block)).expect("takes");
                }
                assert_eq!(file.len(), len as u64);
                seen.extend_from_slice(file.rest());
                assert!(seen == body, "{len} bytes, expected {expected:?}: shown otherwise");
                file.finish().expect("finishes");
                assert!(std::fs::read(&path).expect("reads") == body, "{len} bytes, expected {expected:?}");
            }
        }
    }

    #[test]
    fn what_is_short_is_had_whole_and_has_no_file() {
        const MAX: usize = 70_000;
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("staged");
        for len in [1, 4096, 69_999, MAX, MAX + 1, 75_000, 300_000] {
            let body: Vec<u8> = (0..len).map(|i: usize| (i % 251).to_le_bytes()[0]).collect();
            for expected in [None, Some(len as u64), Some(1)] {
                let disk = Arc::new(RealDisk);
                let create = StreamFile::create(disk, path.clone(), expected, None, MAX as u64);
                let (mut file, mut seen) = (create.expect("creates"), Vec::new());
                for piece in body.chunks(20_001) {
                    file.push(piece, |block| seen.extend_from_slice(block)).expect("takes");
                }
                seen.extend_from_slice(file.rest());
                assert!(seen == body, "{len} bytes, expected {expected:?}");
                if let Some(whole) = file.whole() {
                    assert!(whole == body && !path.exists(), "{len} bytes, expected {expected:?}");
                    continue;
                }
                assert!(len > MAX || expected == Some(1), "{len} bytes, expected {expected:?}");
                file.finish().expect("finishes");
                assert!(std::fs::read(&path).expect("reads") == body, "{len} bytes, expected {expected:?}");
                std::fs::remove_file(&path).expect("removes");
            }
        }
    }
}
