//! A blob that a peer sends: sealed bytes, checked against the digest in its record.
//!
//! Invariant: what does not have the announced length and digest never gets a blob's name.

use super::blobs::refused;
use super::core::Core;
use super::error::StoreError;
use crate::base::BodyId;
use crate::disk::StreamFile;
use crate::seal::digest::BodyDigest;
use bytes::Bytes;
use std::sync::Arc;

/// An open transfer. Dropping it removes the staged file.
pub struct Incoming {
    core: Arc<Core>,
    body: BodyId,
    transfer: BodyId,
    file: StreamFile,
    sealed_len: u64,
    expected: [u8; 32],
    digest: BodyDigest,
    landed: bool,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Incoming({}, {} of {} bytes)", self.body, self.file.len(), self.sealed_len)
    }
}

impl Incoming {
    pub(super) fn begin(
        core: &Arc<Core>,
        body: BodyId,
        sealed_len: u64,
        expected: [u8; 32],
    ) -> Result<Self, StoreError> {
        core.check_writable()?;
        core.check_fits(sealed_len)?;
        let transfer = BodyId(crate::seal::random());
        let file = core.blobs.stage(transfer, Some(sealed_len))?;
        let core = Arc::clone(core);
        let digest = BodyDigest::new();
        Ok(Incoming { core, body, transfer, file, sealed_len, expected, digest, landed: false })
    }

    /// Writes more sealed bytes.
    pub fn append(&mut self, data: &[Bytes]) -> Result<(), StoreError> {
        let path = || self.core.blobs.path(self.body);
        self.core.check_room(data.iter().map(|piece| piece.len() as u64).sum())?;
        for piece in data {
            if self.file.len() + piece.len() as u64 > self.sealed_len {
                return Err(StoreError::Mismatch("a blob is longer than announced"));
            }
            self.digest.update(piece);
            self.file.push(piece).map_err(|source| refused("write", path(), source))?;
        }
        Ok(())
    }

    /// Checks the whole and puts it in place, durably.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if self.file.len() != self.sealed_len {
            return Err(StoreError::Mismatch("a blob is shorter than announced"));
        }
        let digest = std::mem::replace(&mut self.digest, BodyDigest::new()).finalize();
        if digest != self.expected {
            return Err(StoreError::Mismatch("a blob does not have the announced digest"));
        }
        let path = || self.core.blobs.path(self.body);
        self.file.finish().map_err(|source| refused("write", path(), source))?;
        // Whatever stands there under the name of what was just checked: a second transfer of the same, or damage.
        self.core.set_aside_if_damaged(self.body, self.sealed_len, &self.expected)?;
        self.core.blobs.land(self.transfer, self.body)?;
        self.landed = true;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        if let Err(error) = self.core.blobs.discard(self.transfer) {
            log::warn!(error:% = error; "staged file stays until the next start");
        }
    }
}
