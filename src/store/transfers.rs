//! Blobs from peers and to them, and those that nobody refers to.

use super::blobs::Blobs;
use super::bodies::Placing;
use super::error::{DiskOp, StoreError};
use super::incoming::{Incoming, Purpose, take_all};
use super::outgoing::Outgoing;
use super::store::Store;
use crate::base::{BlobRef, BodyId};
use bytes::Bytes;
use std::sync::atomic::Ordering;

impl Store {
    /// Begins to receive a peer's blob; how long it will be may show only at its end.
    pub fn begin_incoming(
        &self,
        body: BodyId,
        bytes_max: Option<u64>,
        purpose: Purpose,
    ) -> Result<Incoming, StoreError> {
        Incoming::begin(self.core(), body, bytes_max, purpose)
    }

    /// Takes bodies that a peer sent together. All that are short enough wait in line for their places at once, so that
    /// one sync does for them.
    pub fn take_bodies(&self, bodies: Vec<(BlobRef, Bytes)>) -> Vec<Result<Placing<()>, StoreError>> {
        take_all(self.core(), bodies)
    }

    /// All of a short body, for a peer.
    pub fn read_body(&self, blob: &BlobRef) -> Result<Bytes, StoreError> {
        Outgoing::whole(self.core(), blob)
    }

    /// Opens a blob for a peer.
    pub fn open_outgoing(&self, body: BodyId) -> Result<Outgoing, StoreError> {
        Outgoing::open(self.core(), body)
    }

    /// Sealed bytes of a blob for a peer whose copy is damaged; fewer than `len` at its end. They are
    /// not checked here: the peer does, against the digest in its record.
    pub fn read_sealed(&self, body: BodyId, from: u64, len: u32) -> Result<Bytes, StoreError> {
        let file = self.core().read_body(body)?.ok_or(StoreError::NoSuchKey)?;
        let fail = |op| move |source| StoreError::Disk { op, path: self.core().path_of(body), source };
        let whole = file.len().map_err(fail(DiskOp::Measure))?;
        let len = whole.saturating_sub(from).min(u64::from(len));
        let mut piece = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_at(from, &mut piece).map_err(fail(DiskOp::Read))?;
        Ok(piece.into())
    }

    /// Removes a blob that landed here for a record that will never come.
    pub fn discard_blob(&self, body: BodyId) -> Result<(), StoreError> {
        self.core().discard_body(body)
    }

    /// Removes blobs that no record refers to and that nobody is about to refer to. References that are to be recounted
    /// are so first.
    pub fn sweep_orphans(&self) -> Result<usize, StoreError> {
        while self.core().recount()? {
            if self.core().closing.load(Ordering::Acquire) {
                return Err(StoreError::ShuttingDown);
            }
        }
        // The index may still refer to what the overlay has replaced.
        self.core().checkpoint()?;
        let (ids, strangers) = self.core().blobs.all()?;
        if strangers > 0 {
            log::warn!(strangers; "files under blobs/ that Boveda did not make were left alone");
        }
        let mut swept = 0;
        for body in ids {
            // Asked within the gate: a vote may have been granted on it a moment ago. In this order: a blob stops being
            // "landed" only after its record is visible.
            let free = |blobs: &Blobs| Ok(!blobs.is_landed(body) && self.core().may_go(body)?);
            swept += usize::from(self.core().blobs.remove_if(body, free)?);
        }
        self.core().counters.swept.fetch_add(swept as u64, Ordering::Relaxed);
        Ok(swept)
    }
}
