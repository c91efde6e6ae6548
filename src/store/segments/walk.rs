//! Reading a segment from its beginning: which bodies lie in it, and where.
//!
//! Invariant: an entry whose head is whole is found, whatever became of those before it. An entry begins right behind
//! the one before it, or at the next multiple of `ALIGN`.

use super::entry::{ALIGN, HEAD_BYTES, decode_entry_head};
use crate::base::BlobRef;
use crate::disk::DiskFile;
use crate::store::places::{ENTRY_HEAD_BYTES, Place, SegmentId};
use std::io;
use std::sync::Arc;

/// A walk over the entries of a segment. The bodies themselves are not read.
#[derive(Debug)]
pub struct Walk {
    file: Arc<dyn DiskFile>,
    segment: SegmentId,
    bytes: u64,
    at: u64,
}

impl Walk {
    pub(super) fn new(file: Arc<dyn DiskFile>, segment: SegmentId, bytes: u64) -> Self {
        Walk { file, segment, bytes, at: HEAD_BYTES as u64 }
    }

    /// Which segment it goes through.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// The next entry: its place, and what its body has to be.
    pub fn next_entry(&mut self) -> io::Result<Option<(Place, BlobRef)>> {
        while self.at + ENTRY_HEAD_BYTES as u64 <= self.bytes {
            let mut head = [0; ENTRY_HEAD_BYTES];
            self.file.read_at(self.at, &mut head)?;
            let offset = u32::try_from(self.at).map_err(|_| io::ErrorKind::InvalidData)?;
            match decode_entry_head(self.segment, offset, &head) {
                Ok(found) if found.0.end() <= self.bytes => {
                    self.at = found.0.end();
                    return Ok(Some(found));
                }
                // The end of a group, or damage.
                _ => self.at = (self.at + 1).next_multiple_of(u64::from(ALIGN)),
            }
        }
        Ok(None)
    }

    /// Has the entry at that place come again.
    pub fn again(&mut self, place: Place) {
        self.at = u64::from(place.offset);
    }

    /// The sealed body of an entry that was found. It is not checked.
    pub fn body(&self, place: Place) -> io::Result<Vec<u8>> {
        let len = usize::try_from(place.len).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut body = vec![0; len];
        self.file.read_at(place.body_at(), &mut body)?;
        Ok(body)
    }
}
