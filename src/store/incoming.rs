//! A blob that a peer sends, or many short ones at once: sealed bytes, checked against the reference in its record.
//!
//! Invariant: what does not have the announced length and digest never gets a place or a blob's name.

use super::bodies::Placing;
use super::core::Core;
use super::error::{DiskOp, StoreError};
use super::segments::NewBody;
use crate::base::{BlobRef, BodyId};
use crate::disk::StreamFile;
use crate::seal::digest::BodyDigest;
use bytes::Bytes;
use std::sync::Arc;

/// What a blob comes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept: refused when the disk is full down to the reserve.
    #[default]
    Copy,
    /// A reader waits for it: it may use half of the reserve.
    Reader,
}

/// An open transfer. Dropping it removes the staged file, if there is one.
pub struct Incoming {
    core: Arc<Core>,
    body: BodyId,
    transfer: BodyId,
    file: StreamFile,
    /// Most bytes that it may have.
    bytes_max: u64,
    purpose: Purpose,
    digest: BodyDigest,
    landed: bool,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Incoming({}, {} bytes)", self.body, self.file.len())
    }
}

impl Incoming {
    pub(super) fn begin(
        core: &Arc<Core>,
        body: BodyId,
        bytes_max: Option<u64>,
        purpose: Purpose,
    ) -> Result<Self, StoreError> {
        match purpose {
            Purpose::Copy => {
                core.check_writable()?;
                core.check_fits(bytes_max.unwrap_or(0))?;
            }
            // Reads go on when writes do not: a blob has nothing to do with the log and the index that failed.
            Purpose::Reader => core.room.check_there()?,
        }
        let transfer = BodyId(crate::seal::random());
        let file = core.blobs.stage(transfer, bytes_max, core.options.segment_sealed_max())?;
        let core = Arc::clone(core);
        let digest = BodyDigest::new();
        let bytes_max = bytes_max.unwrap_or(u64::MAX);
        Ok(Incoming { core, body, transfer, file, bytes_max, purpose, digest, landed: false })
    }

    /// Writes more sealed bytes.
    pub fn append(&mut self, data: &[Bytes]) -> Result<(), StoreError> {
        let body = self.body;
        let bytes = data.iter().map(|piece| piece.len() as u64).sum();
        match self.purpose {
            Purpose::Copy => self.core.check_room(bytes)?,
            Purpose::Reader => self.core.check_room_for_reader(bytes)?,
        }
        for piece in data {
            if self.file.len() + piece.len() as u64 > self.bytes_max {
                return Err(StoreError::Mismatch("a blob is longer than announced"));
            }
            let Incoming { core, file, digest, .. } = self;
            file.push(piece, |block| digest.update(block))
                .map_err(|source| core.blobs.refused(DiskOp::Write, core.blobs.path(body), source))?;
        }
        Ok(())
    }

    /// Checks the whole against what was announced, and puts it in place, durably. On a thread that may wait.
    pub fn finish(self, announced: BlobRef) -> Result<(), StoreError> {
        self.place(announced)?.wait()
    }

    /// Checks the whole against what was announced, and puts it in place; one that is short waits in line with others
    /// for its place in a segment.
    pub fn place(mut self, announced: BlobRef) -> Result<Placing<()>, StoreError> {
        if self.body != announced.body {
            return Err(StoreError::Mismatch("a blob ends as another than it began"));
        }
        if self.file.len() != announced.sealed_len {
            return Err(StoreError::Mismatch("a blob is not as long as announced"));
        }
        self.digest.update(self.file.rest());
        let digest = std::mem::replace(&mut self.digest, BodyDigest::new()).finalize();
        if digest != announced.digest {
            return Err(StoreError::Mismatch("a blob does not have the announced digest"));
        }
        if let Some(sealed) = self.file.whole() {
            // Nothing is staged.
            self.landed = true;
            // It may have come twice.
            if self.core.make_way(&announced)? {
                return Ok(Placing::done(()));
            }
            let placed = self.core.segments.append(NewBody { blob: announced, sealed });
            return Ok(Placing::coming(Arc::clone(&self.core), self.body, placed, ()));
        }
        let blobs = &self.core.blobs;
        self.file.finish().map_err(|source| blobs.refused(DiskOp::Write, blobs.path(self.body), source))?;
        // Whatever stands there under the name of what was just checked: a second transfer of the same, or damage.
        self.core.make_way(&announced)?;
        self.core.blobs.land(self.transfer, self.body)?;
        self.landed = true;
        Ok(Placing::done(()))
    }
}

/// Takes bodies that came together and whole, each checked against what it has to be. Those for segments are queued at
/// once: what waits together is written with one sync.
pub(super) fn take_all(core: &Arc<Core>, bodies: Vec<(BlobRef, Bytes)>) -> Vec<Result<Placing<()>, StoreError>> {
    let (mut placings, mut queued) = (Vec::with_capacity(bodies.len()), Vec::new());
    for (blob, sealed) in bodies {
        placings.push(match short_enough(core, blob, sealed) {
            Ok(Checked::Queue(body)) => {
                queued.push((placings.len(), body));
                // Until its place in line is known.
                Ok(Placing::done(()))
            }
            Ok(Checked::Placed(placing)) => Ok(placing),
            Err(error) => Err(error),
        });
    }
    let (ats, queued): (Vec<_>, Vec<_>) = queued.into_iter().unzip();
    let names: Vec<_> = queued.iter().map(|body| body.blob.body).collect();
    for ((at, body), placed) in ats.into_iter().zip(names).zip(core.segments.append_all(queued)) {
        if let Some(placing) = placings.get_mut(at) {
            *placing = Ok(Placing::coming(Arc::clone(core), body, placed, ()));
        }
    }
    placings
}

/// A body that is what it has to be.
enum Checked {
    /// It is to have a place in a segment.
    Queue(NewBody),
    /// It is here, or has a file.
    Placed(Placing<()>),
}

fn short_enough(core: &Arc<Core>, blob: BlobRef, sealed: Bytes) -> Result<Checked, StoreError> {
    let len = sealed.len() as u64;
    if len > core.options.segment_sealed_max() {
        let mut incoming = Incoming::begin(core, blob.body, Some(blob.sealed_len), Purpose::Copy)?;
        incoming.append(&[sealed])?;
        return incoming.place(blob).map(Checked::Placed);
    }
    core.check_writable()?;
    core.check_fits(len)?;
    core.check_room(len)?;
    let mut digest = BodyDigest::new();
    digest.update(&sealed);
    if len != blob.sealed_len || digest.finalize() != blob.digest {
        return Err(StoreError::Mismatch("a blob is not what was announced"));
    }
    // It may have come twice.
    match core.make_way(&blob)? {
        true => Ok(Checked::Placed(Placing::done(()))),
        false => Ok(Checked::Queue(NewBody { blob, sealed })),
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

#[cfg(test)]
mod tests;
