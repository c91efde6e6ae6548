//! Reading a segment from its beginning: which bodies lie in it, and where.
//!
//! Invariant: an entry whose head is whole is found, whatever became of those before it. An entry begins right behind
//! the one before it, or at the next multiple of `ALIGN`. So one whose head is damaged, and those behind it in its group,
//! are not found by reading: they are by their places, which whoever walks has to give then.

use super::entry::{ALIGN, HEAD_BYTES, decode_entry_head};
use crate::base::BlobRef;
use crate::disk::DiskFile;
use crate::store::places::{ENTRY_HEAD_BYTES, Place, SegmentId};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// A walk over the entries of a segment. The bodies themselves are not read.
#[derive(Debug)]
pub struct Walk {
    file: Arc<dyn DiskFile>,
    segment: SegmentId,
    bytes: u64,
    at: u64,
    /// What is to be found, where that is not known by reading.
    listed: Option<VecDeque<(Place, BlobRef)>>,
}

impl Walk {
    pub(super) fn new(file: Arc<dyn DiskFile>, segment: SegmentId, bytes: u64) -> Self {
        Walk { file, segment, bytes, at: HEAD_BYTES as u64, listed: None }
    }

    pub(super) fn listed(file: Arc<dyn DiskFile>, segment: SegmentId, entries: Vec<(Place, BlobRef)>) -> Self {
        Walk { file, segment, bytes: 0, at: 0, listed: Some(entries.into()) }
    }

    /// Which segment it goes through.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// The next entry: its place, and what its body has to be.
    pub fn next_entry(&mut self) -> io::Result<Option<(Place, BlobRef)>> {
        if let Some(listed) = &mut self.listed {
            return Ok(listed.pop_front());
        }
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

    /// Has the entry that was found last come again.
    pub fn again(&mut self, (place, blob): (Place, BlobRef)) {
        match &mut self.listed {
            Some(listed) => listed.push_front((place, blob)),
            None => self.at = u64::from(place.offset),
        }
    }

    /// Whether it goes by places that were given.
    pub fn is_listed(&self) -> bool {
        self.listed.is_some()
    }

    /// The sealed body of an entry that was found. It is not checked.
    pub fn body(&self, place: Place) -> io::Result<Vec<u8>> {
        let len = usize::try_from(place.len).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut body = vec![0; len];
        self.file.read_at(place.body_at(), &mut body)?;
        Ok(body)
    }
}
