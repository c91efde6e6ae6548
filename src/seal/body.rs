//! A sealed body: a header that commits to its key, then chunks that open one by one.
//!
//! Invariants
//! - No chunk opens before the header was checked against the wrap, the cluster and the body id.
//! - A chunk opens only under its own index in its own body, whole.
//! - Sealers and openers hold no position: threads share them by reference.
//! - A part of an upload opens only as that part of that upload, though all parts share the upload's data key.
//!
//! The cipher does not commit to its key, and wraps live apart from bodies: without the header's
//! commitment, one body could be made to open under two keys. Layout: docs/format.md, "Sealed body".

use super::derive::expand;
use super::digest::{constant_time_eq, digest_of};
use super::key::{KEY_BYTES, NONCE_BYTES, OpenError, SealingKey};
use super::keyring::{Dek, Keyring};
use super::random;
use crate::base::codec::Reader;
use crate::base::{BodyId, ClusterId, UploadId, Wrap};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt;

pub use super::key::TAG_BYTES;
pub use super::layout::{CHUNK_BYTES, HEADER_BYTES, Layout};

const MAGIC: [u8; 4] = *b"BVD1";
const SUITE: u8 = 1;
const SALT_BYTES: usize = 24;
const COMMITMENT_BYTES: usize = 32;
const LABEL: &[u8] = b"boveda/body/v1";
/// What a body is for: the whole body of one object version, or a part of an upload. It goes into the derivation of the
/// body's key with the number of the part, so that one never passes for the other.
const WHOLE: u8 = 1;
const PART: u8 = 2;

/// A part of an upload: what its wrap is bound to, and what its key is derived for.
#[derive(Clone, Copy, Debug)]
pub struct PartPlace {
    /// The upload whose data key it is sealed under.
    pub upload: UploadId,
    /// Its number: 1 to 10,000.
    pub number: u16,
}

/// What goes into the derivation of a body's key: its purpose, and the number of a part, 0 of a whole body.
fn context(part: Option<PartPlace>) -> [u8; 5] {
    let (purpose, number) = part.map_or((WHOLE, 0), |part| (PART, part.number));
    let [low, high] = number.to_le_bytes();
    [purpose, low, high, 0, 0]
}

// Where the header's fields lie.
const CLUSTER_AT: usize = 8;
const BODY_AT: usize = 24;
const SALT_AT: usize = 40;
const COMMITMENT_AT: usize = 64;
const _: () = assert!(SALT_AT + SALT_BYTES == COMMITMENT_AT && COMMITMENT_AT + COMMITMENT_BYTES == HEADER_BYTES);

/// Seals the chunks of one new body, in any order, each index once.
#[derive(Debug)]
pub struct BodySealer(Chunks);

/// Opens the chunks of one body, in any order.
#[derive(Debug)]
pub struct BodyOpener(Chunks);

/// What both sides hold: the header and what it and the data key imply.
struct Chunks {
    header: [u8; HEADER_BYTES],
    layout: Layout,
    key: SealingKey,
    base_nonce: [u8; NONCE_BYTES],
    header_hash: [u8; 32],
}

impl BodySealer {
    /// A new body with a fresh key; the wrap belongs into the record, the header in front of the body.
    pub fn new(ring: &Keyring, cluster: ClusterId, body: BodyId) -> (Self, Wrap) {
        // One draw for all three: each is a system call, and small bodies feel it.
        let fresh = zeroize::Zeroizing::new(random::<{ KEY_BYTES + SALT_BYTES + NONCE_BYTES }>());
        let mut fresh = Reader(&fresh[..]);
        let dek = Dek::from_bytes(field(&mut fresh));
        let salt = field(&mut fresh);
        let wrap = ring.wrap_with(cluster, body, &dek, field(&mut fresh));
        (Self::with(cluster, body, None, &dek, salt, Layout::default()), wrap)
    }

    /// A new body that is a part of an upload, sealed under the data key in the upload's wrap.
    pub fn of_part(
        ring: &Keyring,
        cluster: ClusterId,
        part: PartPlace,
        wrap: &Wrap,
        body: BodyId,
    ) -> Result<Self, OpenError> {
        let dek = ring.unwrap(cluster, part.upload.as_body(), wrap)?;
        Ok(Self::with(cluster, body, Some(part), &dek, random(), Layout::default()))
    }

    fn with(
        cluster: ClusterId,
        body: BodyId,
        part: Option<PartPlace>,
        dek: &Dek,
        salt: [u8; SALT_BYTES],
        layout: Layout,
    ) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = SUITE;
        header[5] = layout.chunk_log2();
        header[CLUSTER_AT..BODY_AT].copy_from_slice(&cluster.0);
        header[BODY_AT..SALT_AT].copy_from_slice(&body.0);
        header[SALT_AT..COMMITMENT_AT].copy_from_slice(&salt);
        let (key, base_nonce, commitment) = derive_body(dek, &header, part);
        header[COMMITMENT_AT..].copy_from_slice(&commitment);
        BodySealer(Chunks { layout, key, base_nonce, header_hash: Sha256::digest(header).into(), header })
    }

    /// The first bytes of the sealed body.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.0.header
    }

    /// How the body is cut.
    pub fn layout(&self) -> Layout {
        self.0.layout
    }

    /// Encrypts a chunk in place; its tag follows it in the sealed body.
    ///
    /// # Panics
    /// When `text` is longer than a chunk.
    pub fn seal_chunk(&self, index: u64, text: &mut [u8]) -> [u8; TAG_BYTES] {
        let chunks = &self.0;
        assert!(text.len() <= chunks.layout.chunk_bytes(), "a chunk of {} bytes", text.len());
        chunks.key.seal(&chunks.nonce(index), &chunks.place(index), text)
    }

    /// Encrypts a chunk to where it belongs: `out` has room for `text` and, after it, the tag.
    ///
    /// # Panics
    /// When `text` is longer than a chunk, or `out` is not as long as both.
    pub fn seal_chunk_to(&self, index: u64, text: &[u8], out: &mut [u8]) {
        let chunks = &self.0;
        assert!(text.len() <= chunks.layout.chunk_bytes(), "a chunk of {} bytes", text.len());
        let (sealed, tag) = out.split_at_mut(text.len());
        tag.copy_from_slice(&chunks.key.seal_to(&chunks.nonce(index), &chunks.place(index), text, sealed));
    }
}

impl BodyOpener {
    /// Checks a body's first bytes (all of it may be given) against its wrap, cluster and id.
    pub fn new(
        ring: &Keyring,
        cluster: ClusterId,
        body: BodyId,
        wrap: &Wrap,
        header: &[u8],
    ) -> Result<Self, OpenError> {
        Self::checked(cluster, body, None, header, || ring.unwrap(cluster, body, wrap))
    }

    /// The same of a part of an upload, against the upload's wrap and the part's number.
    pub fn of_part(
        ring: &Keyring,
        cluster: ClusterId,
        part: PartPlace,
        wrap: &Wrap,
        body: BodyId,
        header: &[u8],
    ) -> Result<Self, OpenError> {
        Self::checked(cluster, body, Some(part), header, || ring.unwrap(cluster, part.upload.as_body(), wrap))
    }

    fn checked(
        cluster: ClusterId,
        body: BodyId,
        part: Option<PartPlace>,
        header: &[u8],
        unwrap: impl FnOnce() -> Result<Dek, OpenError>,
    ) -> Result<Self, OpenError> {
        let header = *header.first_chunk::<HEADER_BYTES>().ok_or(OpenError)?;
        let fits = header[..4] == MAGIC
            && header[4] == SUITE
            && header[6..8] == [0, 0]
            && header[CLUSTER_AT..BODY_AT] == cluster.0
            && header[BODY_AT..SALT_AT] == body.0;
        let layout = Layout::from_log2(header[5]).filter(|_| fits).ok_or(OpenError)?;
        let (key, base_nonce, commitment) = derive_body(&unwrap()?, &header, part);
        if !constant_time_eq(&commitment, &header[COMMITMENT_AT..]) {
            return Err(OpenError);
        }
        Ok(BodyOpener(Chunks { layout, key, base_nonce, header_hash: Sha256::digest(header).into(), header }))
    }

    /// Plaintext bytes of a full chunk.
    pub fn chunk_bytes(&self) -> usize {
        self.0.layout.chunk_bytes()
    }

    /// How the body is cut.
    pub fn layout(&self) -> Layout {
        self.0.layout
    }

    /// Decrypts a chunk in place; on an error `text` holds no plaintext.
    ///
    /// Only the caller knows the body's length: a last chunk that is not the last, or is full, is
    /// found by computing positions and lengths from `layout`, never from what was read.
    pub fn open_chunk(&self, index: u64, text: &mut [u8], tag: &[u8; TAG_BYTES]) -> Result<(), OpenError> {
        let chunks = &self.0;
        if text.len() > chunks.layout.chunk_bytes() {
            return Err(OpenError);
        }
        chunks.key.open(&chunks.nonce(index), &chunks.place(index), text, tag)
    }
}

impl fmt::Debug for Chunks {
    /// The base nonce comes out of the key's derivation, so it is not for logs either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Chunks {
    fn nonce(&self, index: u64) -> [u8; NONCE_BYTES] {
        let mut nonce = self.base_nonce;
        nonce.iter_mut().zip(index.to_le_bytes()).for_each(|(n, i)| *n ^= i);
        nonce
    }

    fn place(&self, index: u64) -> [u8; 40] {
        let mut place = [0; 40];
        place[..32].copy_from_slice(&self.header_hash);
        place[32..].copy_from_slice(&index.to_le_bytes());
        place
    }
}

/// Seals a body that is all here, in one allocation: the sealed bytes, the wrap, the digest.
///
/// # Panics
/// When the pieces are longer than memory can be.
pub fn seal_whole(ring: &Keyring, cluster: ClusterId, body: BodyId, pieces: &[Bytes]) -> (Vec<u8>, Wrap, [u8; 32]) {
    let (sealer, wrap) = BodySealer::new(ring, cluster, body);
    let sealed = seal_pieces(&sealer, pieces);
    let digest = digest_of(&sealed);
    (sealed, wrap, digest)
}

fn seal_pieces(sealer: &BodySealer, pieces: &[Bytes]) -> Vec<u8> {
    let layout = sealer.layout();
    let len = pieces.iter().map(|p| p.len() as u64).sum();
    let room = layout.sealed_len(len).and_then(|n| usize::try_from(n).ok()).expect("what is in memory can be sealed");
    let mut out = Vec::with_capacity(room);
    out.extend_from_slice(sealer.header());
    let (mut index, mut chunk_at) = (0, out.len());
    let mut close_chunk = |out: &mut Vec<u8>, chunk_at: &mut usize| {
        let tag = sealer.seal_chunk(index, &mut out[*chunk_at..]);
        out.extend_from_slice(&tag);
        index += 1;
        *chunk_at = out.len();
    };
    for piece in pieces {
        let mut piece = &piece[..];
        while !piece.is_empty() {
            let room = layout.chunk_bytes() - (out.len() - chunk_at);
            let (now, later) = piece.split_at(room.min(piece.len()));
            out.extend_from_slice(now);
            piece = later;
            if out.len() - chunk_at == layout.chunk_bytes() {
                close_chunk(&mut out, &mut chunk_at);
            }
        }
    }
    close_chunk(&mut out, &mut chunk_at);
    debug_assert_eq!(out.len(), room);
    out
}

/// Opens a body that is all here, in one allocation. All or nothing.
pub fn open_whole(opener: &BodyOpener, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (header, mut rest) = sealed.split_first_chunk::<HEADER_BYTES>().ok_or(OpenError)?;
    let layout = opener.layout();
    let len = layout.plain_len(sealed.len() as u64).and_then(|n| usize::try_from(n).ok()).ok_or(OpenError)?;
    if *header != opener.0.header {
        return Err(OpenError);
    }
    let mut out = Vec::with_capacity(len);
    let mut index = 0;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(rest.len().min(layout.chunk_bytes() + TAG_BYTES));
        let (text, tag) = chunk.split_last_chunk::<TAG_BYTES>().ok_or(OpenError)?;
        let from = out.len();
        out.extend_from_slice(text);
        opener.open_chunk(index, out.get_mut(from..).ok_or(OpenError)?, tag)?;
        rest = later;
        index += 1;
    }
    Ok(out)
}

/// The body's cipher key, base nonce and commitment.
fn derive_body(
    dek: &Dek,
    header: &[u8; HEADER_BYTES],
    part: Option<PartPlace>,
) -> (SealingKey, [u8; NONCE_BYTES], [u8; COMMITMENT_BYTES]) {
    let okm = expand::<{ KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES }>(
        dek.expose(),
        &[LABEL, &header[4..COMMITMENT_AT], &context(part)],
    );
    let mut okm = Reader(&okm[..]);
    let key = zeroize::Zeroizing::new(field::<KEY_BYTES>(&mut okm));
    (SealingKey::new(&key), field(&mut okm), field(&mut okm))
}

/// The next field of bytes that were made here, as long as their fields together.
fn field<const N: usize>(from: &mut Reader<'_>) -> [u8; N] {
    from.array().expect("the widths add up")
}

#[cfg(test)]
mod tests;
