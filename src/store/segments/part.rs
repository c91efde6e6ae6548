//! A body in a segment as a file of its own: its first byte is at 0, and it ends where the body ends.
//!
//! Invariant: it is read only, and never beyond the body.

use crate::disk::DiskFile;
use crate::store::places::Place;
use std::io;
use std::sync::Arc;

/// The sealed bytes at a place.
#[derive(Debug)]
pub struct Part {
    segment: Arc<dyn DiskFile>,
    place: Place,
}

impl Part {
    /// What lies at that place of an open segment.
    pub fn new(segment: Arc<dyn DiskFile>, place: Place) -> Self {
        Part { segment, place }
    }

    /// Where these bytes lie in the segment, if the body has them.
    fn place_of(&self, offset: u64, len: usize) -> Option<u64> {
        let end = offset.checked_add(len as u64)?;
        (end <= u64::from(self.place.len)).then_some(self.place.body_at() + offset)
    }
}

impl DiskFile for Part {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = self.place_of(offset, out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.segment.read_at(at, out)
    }

    fn read_cached_at(&self, offset: u64, out: &mut [u8]) -> bool {
        self.place_of(offset, out.len()).is_some_and(|at| self.segment.read_cached_at(at, out))
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::from(self.place.len))
    }

    fn forget(&self, offset: u64, len: u64) {
        let len = len.min(u64::from(self.place.len).saturating_sub(offset));
        self.segment.forget(self.place.body_at() + offset, len);
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
