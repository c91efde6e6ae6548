//! Large buffers of memory, in large pages where the system has them.
//!
//! Invariants
//! - A buffer keeps its length. It begins as zeros, unless it was lent before.
//! - A pool lends a buffer again only when nobody holds a part of it; one that serves two sides gives each of them
//!   what the other has written.
//!
//! Why large pages: a body passes through megabytes of memory, which the processor looks up page by page. A whole piece
//! fits one page of 2 MiB, and the disk takes it from one, where pages of 4 KiB would be hundreds
//! (docs/adr/0016-large-bodies.md). Where the system gives none, the pages are small and nothing else is different.

use memmap2::{Advice, MmapMut, MmapOptions};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Bytes from which on a body is large enough for large pages: below, more memory would be prepared than is used.
pub const LARGE_BODY_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of a large page on most processors: x86-64, and AArch64 with its common pages.
pub const LARGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of a body in one message, on one way of a disk, or in one call, but for those of a large upload; senders
/// gather about this much before they send.
pub const PIECE_BYTES: usize = 1024 * 1024;

/// A buffer. One that was lent goes back when it is dropped; `Bytes::from_owner` takes it, and drops it with
/// the last slice.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Memory,
    to: Weak<Mutex<FreeList>>,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    /// Its first bytes; the rest is address space alone.
    Mapped(MmapMut, usize),
}

impl Default for Memory {
    fn default() -> Self {
        Memory::Heap(Vec::new())
    }
}

impl Memory {
    fn zeroed(len: usize) -> Self {
        let mapped = if len < LARGE_PAGE_BYTES { None } else { map(len) };
        mapped.map_or_else(|| Memory::Heap(vec![0; len]), |mapped| Memory::Mapped(mapped, len))
    }
}

/// Address space for `len` bytes; of its memory only what is used is taken.
fn map(len: usize) -> Option<MmapMut> {
    // Linux puts it on a large page's boundary only if it is a multiple of one.
    let mapped = MmapOptions::new().len(len.checked_next_multiple_of(LARGE_PAGE_BYTES)?).map_anon().ok()?;
    // A system without large pages refuses the advice, and has nothing to be advised about. One that gives them unasked
    // is told not to for the rest.
    let whole = len / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    let _ = mapped.advise_range(Advice::HugePage, 0, whole);
    let _ = mapped.advise_range(Advice::NoHugePage, whole, mapped.len() - whole);
    Some(mapped)
}

impl Buffer {
    /// A buffer of `len` bytes, all zero. From a large page on it lies on a page's boundary, and each whole large page
    /// of it is one if the system can; what is beyond the last one takes small pages.
    pub fn zeroed(len: usize) -> Self {
        Buffer { memory: Memory::zeroed(len), to: Weak::new() }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(to) = self.to.upgrade() {
            lock(&to).returned.push(std::mem::take(&mut self.memory));
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(bytes, len) => &bytes[..*len],
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(bytes, len) => &mut bytes[..*len],
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Lends buffers of one length, those that came back last first. Clones lend the same; what comes back when the last
/// one is gone goes to the system.
#[derive(Clone, Debug)]
pub struct BufferPool {
    len: usize,
    free: Arc<Mutex<FreeList>>,
}

#[derive(Debug, Default)]
struct FreeList {
    returned: Vec<Memory>,
    /// Fewest that were here since the last trim.
    fewest: usize,
}

fn lock(list: &Mutex<FreeList>) -> MutexGuard<'_, FreeList> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BufferPool {
    /// Of buffers of `len` bytes; none are made yet.
    pub fn new(len: usize) -> Self {
        BufferPool { len, free: Arc::default() }
    }

    /// The length of its buffers.
    pub fn buffer_bytes(&self) -> usize {
        self.len
    }

    /// A buffer. What it holds is what it held before, or zeros.
    pub fn lend(&self) -> Buffer {
        let again = {
            let mut list = self.list();
            let again = list.returned.pop();
            list.fewest = list.fewest.min(list.returned.len());
            again
        };
        Buffer { memory: again.unwrap_or_else(|| Memory::zeroed(self.len)), to: Arc::downgrade(&self.free) }
    }

    /// Gives back to the system what was never lent since the last time.
    pub fn trim(&self) {
        let unused = {
            let mut list = self.list();
            let FreeList { returned, fewest } = &mut *list;
            let unused: Vec<Memory> = returned.drain(..(*fewest).min(returned.len())).collect();
            *fewest = returned.len();
            unused
        };
        // Outside of the lock: it takes the system a while.
        drop(unused);
    }

    fn list(&self) -> MutexGuard<'_, FreeList> {
        lock(&self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn any_length_is_zero_and_can_be_written_to_its_end() {
        for len in [0, 1, 4096, LARGE_PAGE_BYTES - 1, LARGE_PAGE_BYTES, LARGE_PAGE_BYTES + 70_001] {
            let mut buffer = Buffer::zeroed(len);
            assert!(buffer.len() == len && buffer.iter().all(|byte| *byte == 0), "{len} bytes");
            buffer.fill(7);
            assert!(buffer.iter().all(|byte| *byte == 7), "{len} bytes");
            let mapped = matches!(buffer.memory, Memory::Mapped(..));
            assert_eq!(mapped, len >= LARGE_PAGE_BYTES, "{len} bytes");
        }
    }

    #[test]
    fn a_stretch_comes_back_with_its_last_slice_and_not_before() {
        let pool = BufferPool::new(LARGE_PAGE_BYTES);
        let mut lent = pool.lend();
        lent[5] = 1;
        let at = lent.as_ptr();
        let whole = Bytes::from_owner(lent);
        let part = whole.slice(5..6);
        drop(whole);
        let other = pool.lend();
        assert_ne!(other.as_ptr(), at);
        drop(part);
        let again = pool.lend();
        assert_eq!((again.as_ptr(), again.len(), again[5]), (at, LARGE_PAGE_BYTES, 1), "its memory as it was");
        drop(pool);
        drop((other, again));
    }

    #[test]
    fn what_was_not_needed_for_a_while_goes_back_to_the_system() {
        let pool = BufferPool::new(10);
        let returned = |pool: &BufferPool| pool.list().returned.len();
        let three = [pool.lend(), pool.lend(), pool.lend()];
        drop(three);
        pool.trim();
        assert_eq!(returned(&pool), 3, "all of them were out since the last time");
        let two = [pool.lend(), pool.lend()];
        drop(two);
        pool.trim();
        assert_eq!(returned(&pool), 2, "one never was");
        let one = pool.lend();
        pool.trim();
        assert_eq!(returned(&pool), 0);
        drop(one);
        pool.trim();
        assert_eq!(returned(&pool), 1);
        pool.trim();
        assert_eq!(returned(&pool), 0);
    }
}
