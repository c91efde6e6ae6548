//! An upload: plaintext in, sealed chunks to memory and to a staged file. Invisible until it is finished.
//!
//! Invariants
//! - At most one chunk of plaintext is held back; a full chunk is sealed at once, since the last
//!   chunk is always shorter than a full one. It is sealed to where it will be written from: what comes in whole
//!   chunks is not copied.
//! - What may be short enough for a segment is held whole, and has no file; see `StreamFile::whole`.
//! - A body whose sums are not those that are expected is not sealed to its end.
//! - Dropping an unfinished upload removes its file.
//! - What `append` and `seal` tell, one after the other, is the blob byte by byte: peers may take it on the way.

use super::bodies::Placing;
use super::core::Core;
use super::error::{DiskOp, StoreError};
use super::mutation::{Mutation, Target};
use super::options::Options;
use super::segments::NewBody;
use crate::base::record::ObjectRecord;
use crate::base::{
    BodyAt, BodyId, Condition, ExpectedSums, ObjectHead, ObjectName, PartOf, Permit, Uploads, WantedSums, Wrap,
};
use crate::disk::StreamFile;
use crate::seal::body::{BodySealer, CHUNK_BYTES, PartPlace, TAG_BYTES};
use crate::seal::digest::BodyDigest;
use crate::seal::layout::{HEADER_BYTES, Layout};
use crate::seal::sums::Sums;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An open upload. Opaque to those who carry it.
pub struct Upload {
    core: Arc<Core>,
    aim: Aim,
    body: BodyId,
    sealer: BodySealer,
    wrap: Wrap,
    file: StreamFile,
    /// Plaintext bytes of the chunk that is not full yet; they lie in the file's tail.
    open: usize,
    chunks: u64,
    len: u64,
    digest: BodyDigest,
    /// Over the plaintext, of what clients know it by.
    sums: Sums,
    staged: Staged,
    _permit: Option<Permit>,
}

/// What a body is to become.
struct Aim {
    /// An object, or a part of an upload.
    target: Target,
    /// What must hold of the object that it replaces.
    condition: Condition,
    /// What is said of the object. A part says nothing.
    head: ObjectHead,
}

impl Aim {
    /// Where the record says that the body is, and what its wrap is bound to.
    fn place(&self, body: BodyId) -> (BodyAt, BodyId) {
        match self.target {
            Target::Part(_, upload, number) => (BodyAt::Part { upload, number }, upload.as_body()),
            _ => (BodyAt::Blob, body),
        }
    }
}

/// Removes the staged file, if there is one, unless told that it has landed.
struct Staged {
    core: Arc<Core>,
    body: BodyId,
    landed: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.core.counters.uploads_open.fetch_sub(1, Ordering::Relaxed);
        if self.landed {
            return;
        }
        if let Err(error) = self.core.blobs.discard(self.body) {
            log::warn!(error:% = error; "staged file stays until the next start");
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({}, {} bytes)", self.body, self.len)
    }
}

/// Most bytes that an upload of that many holds beside what it is given: see `StreamFile::holds`. `segment_max`: see
/// `Options`.
pub fn holds(len: Option<u64>, segment_max: usize) -> u64 {
    let sealed = len.map(|len| Layout::default().sealed_len(len).unwrap_or(u64::MAX));
    let whole_max = Options { segment_max, ..Options::default() }.segment_sealed_max();
    StreamFile::holds(sealed, (HEADER_BYTES + CHUNK_BYTES + TAG_BYTES) as u64, whole_max)
}

impl Upload {
    pub(super) fn begin(
        core: &Arc<Core>,
        at: ObjectName,
        condition: Condition,
        head: ObjectHead,
        len_hint: Option<u64>,
        permit: Option<Permit>,
    ) -> Result<Self, StoreError> {
        let aim = Aim { target: Target::Object(at), condition, head };
        Self::begin_as(core, aim, len_hint, permit, |body| Ok(BodySealer::new(&core.ring, core.cluster, body)))
    }

    /// The same of a part of an upload that is for the key `at`. A generation that this node lacks is no damage.
    pub(super) fn begin_part(
        core: &Arc<Core>,
        at: ObjectName,
        PartOf { upload, number, wrap }: PartOf,
        len_hint: Option<u64>,
        permit: Option<Permit>,
    ) -> Result<Self, StoreError> {
        let target = Target::Part(at, upload, number);
        let aim = Aim { target, condition: Condition::NONE, head: ObjectHead::default() };
        if !core.ring.opens(wrap.kek) {
            return Err(StoreError::KeyMissing { kek: wrap.kek });
        }
        Self::begin_as(core, aim, len_hint, permit, |body| {
            let sealer = BodySealer::of_part(&core.ring, core.cluster, PartPlace { upload, number }, &wrap, body);
            Ok((sealer.map_err(|_| StoreError::Corrupt { what: "wrap of an upload" })?, wrap))
        })
    }

    fn begin_as(
        core: &Arc<Core>,
        aim: Aim,
        len_hint: Option<u64>,
        permit: Option<Permit>,
        sealer: impl FnOnce(BodyId) -> Result<(BodySealer, Wrap), StoreError>,
    ) -> Result<Self, StoreError> {
        core.check_writable()?;
        // Refused before its first byte: a body that has no room need not be sent.
        core.check_fits(len_hint.unwrap_or(0))?;
        let body = BodyId(crate::seal::random());
        let (sealer, wrap) = sealer(body)?;
        let sealed_len = len_hint.and_then(|len| Layout::default().sealed_len(len));
        let file = core.blobs.stage(body, sealed_len, core.options.segment_sealed_max())?;
        core.counters.uploads_open.fetch_add(1, Ordering::Relaxed);
        let staged = Staged { core: Arc::clone(core), body, landed: false };
        Ok(Upload {
            core: Arc::clone(core),
            aim,
            body,
            sealer,
            wrap,
            file,
            open: 0,
            chunks: 0,
            len: 0,
            digest: BodyDigest::new(),
            sums: Sums::default(),
            staged,
            _permit: permit,
        })
    }

    /// The id of the body that is being made.
    pub fn body(&self) -> BodyId {
        self.body
    }

    /// The same upload with sums over its bytes, before the first of them.
    pub fn with_sums(self, wanted: WantedSums) -> Self {
        Upload { sums: Sums::new(wanted), ..self }
    }

    /// Seals and writes `data`. Tells what was sealed now, as it lies in the blob. After an error the upload is good for
    /// nothing but to be dropped.
    pub fn append(&mut self, data: &[Bytes], mut sealed: impl FnMut(&[u8])) -> Result<(), StoreError> {
        let incoming = data.iter().map(|piece| piece.len() as u64).sum();
        // Counted as it comes: without a length nobody knows how much that will be.
        self.core.check_room(incoming)?;
        self.ensure_header(&mut sealed)?;
        let core = Arc::clone(&self.core);
        let md5 = self.sums.lend_md5().map(|md5| core.md5s.hand_in(md5, data));
        for piece in data {
            let mut piece = &piece[..];
            self.sums.update(piece);
            while !piece.is_empty() {
                // A chunk that comes whole is sealed from where it lies.
                if self.open == 0
                    && let Some((chunk, later)) = piece.split_at_checked(CHUNK_BYTES)
                {
                    self.seal_chunk_of(chunk, &mut sealed)?;
                    piece = later;
                    continue;
                }
                let (now, later) = piece.split_at(piece.len().min(CHUNK_BYTES - self.open));
                let chunk = self.file.tail(CHUNK_BYTES + TAG_BYTES);
                chunk[self.open..self.open + now.len()].copy_from_slice(now);
                self.open += now.len();
                piece = later;
                if self.open == CHUNK_BYTES {
                    self.close_chunk(&mut sealed)?;
                }
            }
        }
        // Others may have worked at it meanwhile, together with theirs.
        if let Some(md5) = md5 {
            self.sums.take_back(md5.finish());
        }
        self.len += incoming;
        Ok(())
    }

    /// Seals the last chunk and makes the body durable, whatever it is. It has no record yet.
    pub fn land(self) -> Result<Landed, StoreError> {
        self.seal(&ExpectedSums::default(), |_| {})?.land()
    }

    /// Seals and writes the last chunk of a body that has these sums; `SumMismatch` ends the upload. Tells what was sealed
    /// now.
    pub fn seal(mut self, expected: &ExpectedSums, mut sealed: impl FnMut(&[u8])) -> Result<Sealed, StoreError> {
        let sums = std::mem::take(&mut self.sums).finish();
        sums.check(expected).map_err(StoreError::SumMismatch)?;
        self.ensure_header(&mut sealed)?;
        self.close_chunk(&mut sealed)?;
        self.digest.update(self.file.rest());
        let digest = self.digest.finalize();
        // It may have been long on its way: what is stored from now on is sealed under the generation that seals now.
        let (at, bound_to) = self.aim.place(self.body);
        let anew = self.core.ring.rewrap(self.core.cluster, bound_to, &self.wrap);
        let wrap = anew.ok().flatten().unwrap_or(self.wrap);
        let object = ObjectRecord {
            number: 1,
            len: self.len,
            etag: sums.etag(),
            checksum: sums.checksum,
            head: std::mem::take(&mut self.aim.head),
            body: self.body,
            sealed_len: self.file.len(),
            digest,
            wrap,
            at,
            uploads: Uploads::NONE,
        };
        let landed =
            Landed { core: self.core, aim: self.aim, body: self.body, object: Box::new(object), _permit: self._permit };
        let whole = self.file.whole();
        Ok(Sealed { landed, whole, file: self.file, staged: self.staged })
    }

    /// Writes the header before anything else.
    fn ensure_header(&mut self, sealed: &mut impl FnMut(&[u8])) -> Result<(), StoreError> {
        if !self.file.is_empty() {
            return Ok(());
        }
        let header = self.sealer.header();
        sealed(header);
        let len = header.len();
        // Asked for with the first chunk, so that the buffer is made for both.
        self.file.tail(len + CHUNK_BYTES + TAG_BYTES)[..len].copy_from_slice(header);
        self.take(len)
    }

    /// Seals a full chunk from where it came to.
    fn seal_chunk_of(&mut self, text: &[u8], sealed: &mut impl FnMut(&[u8])) -> Result<(), StoreError> {
        let chunk = self.file.tail(text.len() + TAG_BYTES);
        self.sealer.seal_chunk_to(self.chunks, text, chunk);
        sealed(chunk);
        let len = chunk.len();
        self.chunks += 1;
        self.take(len)
    }

    fn close_chunk(&mut self, sealed: &mut impl FnMut(&[u8])) -> Result<(), StoreError> {
        let chunk = self.file.tail(self.open + TAG_BYTES);
        let (text, tag) = chunk.split_at_mut(self.open);
        tag.copy_from_slice(&self.sealer.seal_chunk(self.chunks, text));
        sealed(chunk);
        let len = chunk.len();
        self.chunks += 1;
        self.open = 0;
        self.take(len)
    }

    /// Takes what was made in the file's tail. The digest goes by the blocks that are written: at powers of two, which
    /// it is fastest with, and they are in the processor's cache for the write.
    fn take(&mut self, len: usize) -> Result<(), StoreError> {
        let Upload { file, digest, .. } = self;
        let taken = file.advance(len, |block| digest.update(block));
        taken.map_err(|source| self.core.blobs.refused(DiskOp::Write, self.core.blobs.path(self.body), source))
    }
}

/// A body that is written to its end and not durable yet.
pub struct Sealed {
    landed: Landed,
    /// All of it, where it is short enough for a segment.
    whole: Option<Bytes>,
    file: StreamFile,
    staged: Staged,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({})", self.landed.body)
    }
}

impl Sealed {
    /// What its record will say of it.
    pub fn object(&self) -> &ObjectRecord {
        &self.landed.object
    }

    /// All of its bytes, where they are in memory.
    pub fn whole(&self) -> Option<Bytes> {
        self.whole.clone()
    }

    /// Makes the body durable, on a thread that may wait. It has no record yet.
    pub fn land(self) -> Result<Landed, StoreError> {
        self.place()?.wait()
    }

    /// Makes the body durable; one that is short waits in line with others for a place. It has no record yet.
    pub fn place(mut self) -> Result<Placing<Landed>, StoreError> {
        let (core, body) = (&self.landed.core, self.landed.body);
        if let Some(sealed) = self.whole.take() {
            self.staged.landed = true;
            let placed = core.segments.append(NewBody { blob: self.landed.object.body_ref(), sealed });
            return Ok(Placing::coming(Arc::clone(core), body, placed, self.landed));
        }
        self.file.finish().map_err(|source| core.blobs.refused(DiskOp::Write, core.blobs.path(body), source))?;
        core.blobs.land(body, body)?;
        self.staged.landed = true;
        Ok(Placing::done(self.landed))
    }
}

/// A body that is durable here and has no record yet.
pub struct Landed {
    core: Arc<Core>,
    aim: Aim,
    body: BodyId,
    /// What its record will say: lengths, digest, wrapped key, metadata.
    pub object: Box<ObjectRecord>,
    _permit: Option<Permit>,
}

impl std::fmt::Debug for Landed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Landed({})", self.body)
    }
}

impl Landed {
    /// A record refers to it, or may: it stays.
    pub fn settle(&self) {
        self.core.blobs.settle(self.body);
    }

    /// No record comes to refer to it any more. One that was left behind in a bucket that is gone may do so still: then the
    /// body goes with that.
    pub fn remove(&self) {
        if let Err(error) = self.core.discard_body(self.body) {
            log::warn!(error:% = error; "refused body stays until the next start");
        }
    }

    /// What the client wants of it.
    pub fn mutation(&self) -> Mutation {
        let (object, now_ms) = (self.object.clone(), (self.core.options.now_ms)());
        match &self.aim.target {
            Target::Object(at) => Mutation::put(at, self.aim.condition.clone(), object, now_ms),
            part => Mutation::put_part(part.clone(), object, now_ms),
        }
    }
}
