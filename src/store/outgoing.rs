//! A blob on its way to a peer: the sealed bytes as they lie on the disk.

use super::core::Core;
use super::error::{DiskOp, StoreError};
use crate::base::{BlobRef, BodyId};
use crate::disk::DiskFile;
use bytes::Bytes;
use std::sync::Arc;

const PIECE_BYTES: u64 = crate::base::PIECE_BYTES as u64;

/// A blob that is being read for a peer.
#[derive(Debug)]
pub struct Outgoing {
    core: Arc<Core>,
    body: BodyId,
    file: Box<dyn DiskFile>,
    len: u64,
    next: u64,
}

impl Outgoing {
    /// Opens a blob that is in place, durably. One whose name may still go counts as missing: it comes again then, and
    /// is put in place once more.
    pub(super) fn open(core: &Arc<Core>, body: BodyId) -> Result<Self, StoreError> {
        if !core.has_body(body)? {
            return Err(StoreError::NoSuchKey);
        }
        let file = core.read_body(body)?.ok_or(StoreError::NoSuchKey)?;
        let path = || core.path_of(body);
        let len = file.len().map_err(|source| StoreError::Disk { op: DiskOp::Measure, path: path(), source })?;
        Ok(Outgoing { core: Arc::clone(core), body, file, len, next: 0 })
    }

    /// Bytes of the sealed body.
    pub fn sealed_len(&self) -> u64 {
        self.len
    }

    /// All of it, if it has that length.
    pub(super) fn whole(core: &Arc<Core>, blob: &BlobRef) -> Result<Bytes, StoreError> {
        let body = Self::open(core, blob.body)?;
        if body.len != blob.sealed_len {
            return Err(StoreError::Corrupt { what: "blob length" });
        }
        let mut whole = vec![0; usize::try_from(body.len).map_err(|_| StoreError::Corrupt { what: "blob length" })?];
        let read = body.file.read_at(0, &mut whole);
        read.map_err(|source| StoreError::Disk { op: DiskOp::Read, path: core.path_of(blob.body), source })?;
        Ok(whole.into())
    }

    /// The next bytes; empty at the end.
    pub fn read(&mut self) -> Result<Bytes, StoreError> {
        let len = (self.len - self.next).min(PIECE_BYTES);
        let mut piece = vec![0; usize::try_from(len).unwrap_or(0)];
        let path = || self.core.path_of(self.body);
        let read = self.file.read_at(self.next, &mut piece);
        read.map_err(|source| StoreError::Disk { op: DiskOp::Read, path: path(), source })?;
        self.next += len;
        Ok(piece.into())
    }
}
