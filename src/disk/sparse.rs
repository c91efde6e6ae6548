//! The bytes of a simulated file: pages that copies share until one of them writes.
//!
//! Invariants
//! - What was never written reads as zeros, also after a cut and a new extension.
//! - A copy costs a pointer for each page, so that a crash test can keep many states of one file.

use std::io;
use std::sync::Arc;

/// Bytes of a page, the unit of sharing.
const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];

/// A growing array of bytes; `None` is a page of zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    len: u64,
    pages: Vec<Option<Arc<Page>>>,
}

impl Sparse {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `out` from `offset`, all of it or nothing.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|&end| end <= self.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        for (page, at, piece) in Pieces::of(offset, out.len())? {
            let target = &mut out[piece];
            match self.pages.get(page).and_then(Option::as_ref) {
                Some(bytes) => target.copy_from_slice(&bytes[at..at + target.len()]),
                None => target.fill(0),
            }
        }
        Ok(())
    }

    /// Writes `data` at `offset`, growing when needed.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(data.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        for (page, at, piece) in Pieces::of(offset, data.len())? {
            let source = &data[piece];
            if self.pages.len() <= page {
                self.pages.resize(page + 1, None);
            }
            match &mut self.pages[page] {
                None if source.iter().all(|&b| b == 0) => {}
                slot => Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; PAGE_BYTES])))[at..at + source.len()]
                    .copy_from_slice(source),
            }
        }
        self.len = self.len.max(end);
        Ok(())
    }

    /// Cuts, or extends with zeros.
    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len < self.len {
            let (page, at) = place(len)?;
            self.pages.truncate(page + 1);
            if let Some(Some(last)) = self.pages.get_mut(page) {
                Arc::make_mut(last)[at..].fill(0);
            }
        }
        self.len = len;
        Ok(())
    }

    /// All of it, for greps.
    pub(super) fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut all = vec![0; usize::try_from(self.len).map_err(|_| io::ErrorKind::FileTooLarge)?];
        self.read(0, &mut all)?;
        Ok(all)
    }
}

fn place(offset: u64) -> io::Result<(usize, usize)> {
    let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
    Ok((offset / PAGE_BYTES, offset % PAGE_BYTES))
}

/// Cuts a range at page borders: page, place in it, and range of the caller's buffer.
struct Pieces {
    page: usize,
    at: usize,
    done: usize,
    len: usize,
}

impl Pieces {
    fn of(offset: u64, len: usize) -> io::Result<Self> {
        let (page, at) = place(offset)?;
        Ok(Pieces { page, at, done: 0, len })
    }
}

impl Iterator for Pieces {
    type Item = (usize, usize, std::ops::Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.len {
            return None;
        }
        let step = (PAGE_BYTES - self.at).min(self.len - self.done);
        let piece = (self.page, self.at, self.done..self.done + step);
        self.page += 1;
        self.at = 0;
        self.done += step;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_vector() {
        let mut rng = crate::disk::crash::Rng::new(7);
        let (mut sparse, mut model) = (Sparse::default(), Vec::new());
        for _ in 0..2_000 {
            let offset = rng.below(40_000);
            match rng.below(4) {
                0 => {
                    let len = rng.below(40_000);
                    sparse.set_len(len).expect("sets");
                    model.resize(usize::try_from(len).expect("small"), 0);
                }
                _ => {
                    let data = vec![u8::try_from(rng.below(3)).expect("small"); rng.below(9_000) as usize];
                    sparse.write(offset, &data).expect("writes");
                    let (from, to) = (offset as usize, offset as usize + data.len());
                    model.resize(model.len().max(to), 0);
                    model[from..to].copy_from_slice(&data);
                }
            }
            assert_eq!(sparse.to_vec().expect("reads"), model);
        }
        assert!(sparse.read(sparse.len(), &mut [0]).is_err());
    }
}
