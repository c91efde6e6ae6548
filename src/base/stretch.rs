//! Large stretches of memory, in large pages where the system has them.
//!
//! Invariants
//! - A stretch keeps its length. It begins as zeros, unless it was lent before.
//! - What a lender lent is lent again only when nobody holds a part of it; whoever lends to two sides lends them what
//!   the other one wrote.
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

/// Bytes of a body in one message, on one way of a disk, or in one call, but for those of a large upload; senders gather
/// about this much before they send.
pub const PIECE_BYTES: usize = 1024 * 1024;

/// A stretch of memory. One that was lent goes back when it is dropped; `Bytes::from_owner` takes it, and drops it with
/// the last slice.
#[derive(Debug, Default)]
pub struct Stretch {
    memory: Memory,
    to: Weak<Mutex<Shelf>>,
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

impl Stretch {
    /// A stretch of `len` bytes, all zero. From a large page on it lies on a page's boundary, and each whole large page
    /// of it is one if the system can; what is beyond the last one takes small pages.
    pub fn zeroed(len: usize) -> Self {
        Stretch { memory: Memory::zeroed(len), to: Weak::new() }
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        if let Some(to) = self.to.upgrade() {
            lock(&to).returned.push(std::mem::take(&mut self.memory));
        }
    }
}

impl Deref for Stretch {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(bytes, len) => &bytes[..*len],
        }
    }
}

impl DerefMut for Stretch {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(bytes, len) => &mut bytes[..*len],
        }
    }
}

impl AsRef<[u8]> for Stretch {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Lends stretches of one length, those that came back last first. Clones lend the same; what comes back when the last
/// one is gone goes to the system.
#[derive(Clone, Debug)]
pub struct Lender {
    len: usize,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    returned: Vec<Memory>,
    /// Fewest that were here since the last trim.
    fewest: usize,
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lender {
    /// Of stretches of `len` bytes; none are made yet.
    pub fn new(len: usize) -> Self {
        Lender { len, shelf: Arc::default() }
    }

    /// The length of its stretches.
    pub fn stretch_bytes(&self) -> usize {
        self.len
    }

    /// A stretch. What it holds is what it held before, or zeros.
    pub fn lend(&self) -> Stretch {
        let again = {
            let mut shelf = self.shelf();
            let again = shelf.returned.pop();
            shelf.fewest = shelf.fewest.min(shelf.returned.len());
            again
        };
        Stretch { memory: again.unwrap_or_else(|| Memory::zeroed(self.len)), to: Arc::downgrade(&self.shelf) }
    }

    /// Gives back to the system what was never lent since the last time.
    pub fn trim(&self) {
        let unused = {
            let mut shelf = self.shelf();
            let Shelf { returned, fewest } = &mut *shelf;
            let unused: Vec<Memory> = returned.drain(..(*fewest).min(returned.len())).collect();
            *fewest = returned.len();
            unused
        };
        // Outside of the lock: it takes the system a while.
        drop(unused);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn any_length_is_zero_and_can_be_written_to_its_end() {
        for len in [0, 1, 4096, LARGE_PAGE_BYTES - 1, LARGE_PAGE_BYTES, LARGE_PAGE_BYTES + 70_001] {
            let mut stretch = Stretch::zeroed(len);
            assert!(stretch.len() == len && stretch.iter().all(|byte| *byte == 0), "{len} bytes");
            stretch.fill(7);
            assert!(stretch.iter().all(|byte| *byte == 7), "{len} bytes");
            let mapped = matches!(stretch.memory, Memory::Mapped(..));
            assert_eq!(mapped, len >= LARGE_PAGE_BYTES, "{len} bytes");
        }
    }

    #[test]
    fn a_stretch_comes_back_with_its_last_slice_and_not_before() {
        let lender = Lender::new(LARGE_PAGE_BYTES);
        let mut lent = lender.lend();
        lent[5] = 1;
        let at = lent.as_ptr();
        let whole = Bytes::from_owner(lent);
        let part = whole.slice(5..6);
        drop(whole);
        let other = lender.lend();
        assert_ne!(other.as_ptr(), at);
        drop(part);
        let again = lender.lend();
        assert_eq!((again.as_ptr(), again.len(), again[5]), (at, LARGE_PAGE_BYTES, 1), "its memory as it was");
        drop(lender);
        drop((other, again));
    }

    #[test]
    fn what_was_not_needed_for_a_while_goes_back_to_the_system() {
        let lender = Lender::new(10);
        let returned = |lender: &Lender| lender.shelf().returned.len();
        let three = [lender.lend(), lender.lend(), lender.lend()];
        drop(three);
        lender.trim();
        assert_eq!(returned(&lender), 3, "all of them were out since the last time");
        let two = [lender.lend(), lender.lend()];
        drop(two);
        lender.trim();
        assert_eq!(returned(&lender), 2, "one never was");
        let one = lender.lend();
        lender.trim();
        assert_eq!(returned(&lender), 0);
        drop(one);
        lender.trim();
        assert_eq!(returned(&lender), 1);
        lender.trim();
        assert_eq!(returned(&lender), 0);
    }
}
