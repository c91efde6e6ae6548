//! One frame: its bytes on disk, and what they say when they are read again. Layout: docs/format.md, "Commit log".

use crate::seal::{NONCE_BYTES, SealingKey, TAG_BYTES, digest, random};

/// Frames begin at multiples of this.
pub const ALIGN: u64 = 4096;
/// Most bytes of one frame on disk, for the writer and the reader.
pub const FRAME_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// What the device writes whole or not at all.
pub const SECTOR: usize = 512;
const HEADER_BYTES: usize = 64;
/// The payload's length stands before it.
const LENGTH_BYTES: usize = 4;
const MAGIC: [u8; 4] = *b"BVL1";

/// Most bytes of the payload of a frame of `bytes` on disk.
pub fn payload_in(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(HEADER_BYTES + LENGTH_BYTES)
}

/// Bytes on disk of a frame with this payload.
pub fn bytes_of(payload: usize) -> u64 {
    ((HEADER_BYTES + LENGTH_BYTES + payload) as u64).next_multiple_of(ALIGN)
}

/// Makes the frame of `total` bytes, at most `FRAME_BYTES_MAX`, in `buffer`.
pub fn seal(key: &SealingKey, buffer: &mut Vec<u8>, position: u64, total: u64, payload: &[u8]) {
    assert!(total <= FRAME_BYTES_MAX && payload.len() <= payload_in(total), "a frame holds its payload");
    buffer.clear();
    buffer.resize(HEADER_BYTES, 0);
    buffer.extend_from_slice(&u32::try_from(payload.len()).expect("frames are bounded").to_le_bytes());
    buffer.extend_from_slice(payload);
    buffer.resize(usize::try_from(total).expect("frames are bounded"), 0);
    let (head, text) = buffer.split_at_mut(HEADER_BYTES);
    let nonce: [u8; NONCE_BYTES] = random();
    head[..4].copy_from_slice(&MAGIC);
    head[4..8].copy_from_slice(&u32::try_from(total).expect("frames are bounded").to_le_bytes());
    head[8..16].copy_from_slice(&position.to_le_bytes());
    head[16..28].copy_from_slice(&nonce);
    let tag = key.seal(&nonce, &head[..16], text);
    head[28..44].copy_from_slice(&tag);
    let check = digest::digest_of(&head[..44]);
    head[44..64].copy_from_slice(&check[..20]);
}

/// Why a frame with a good header does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// A sector of it was never written.
    Torn,
    /// It was complete once.
    Damaged,
}

/// Opens a whole frame of this position in place; its payload.
pub fn open<'a>(key: &SealingKey, position: u64, frame: &'a mut [u8]) -> Result<&'a [u8], Unopened> {
    // The header was read before, by another read: this one may have brought another frame.
    if header(frame, position) != Some(frame.len() as u64) {
        return Err(Unopened::Damaged);
    }
    let torn = frame.chunks(SECTOR).any(|sector| sector.iter().all(|&b| b == 0));
    let why = if torn { Unopened::Torn } else { Unopened::Damaged };
    let (head, text) = frame.split_at_mut_checked(HEADER_BYTES).ok_or(why)?;
    let (mut nonce, mut tag) = ([0u8; NONCE_BYTES], [0u8; TAG_BYTES]);
    nonce.copy_from_slice(&head[16..28]);
    tag.copy_from_slice(&head[28..44]);
    key.open(&nonce, &head[..16], text, &tag).map_err(|_| why)?;
    let text: &[u8] = text;
    let (len, rest) = text.split_first_chunk::<LENGTH_BYTES>().ok_or(Unopened::Damaged)?;
    usize::try_from(u32::from_le_bytes(*len)).ok().and_then(|len| rest.get(..len)).ok_or(Unopened::Damaged)
}

/// The position that a header names, whether or not it is one.
pub fn position_in(head: &[u8]) -> u64 {
    head.get(8..16).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// The total length, when the header is whole and belongs to `position`.
pub fn header(head: &[u8], position: u64) -> Option<u64> {
    let fits = head.get(..4)? == MAGIC
        && head.get(8..16)? == position.to_le_bytes()
        && head.get(44..64)? == &digest::digest_of(head.get(..44)?)[..20];
    let total = u64::from(u32::from_le_bytes(*head.get(4..8)?.first_chunk::<4>()?));
    (fits && total >= ALIGN && total.is_multiple_of(ALIGN) && total <= FRAME_BYTES_MAX).then_some(total)
}
