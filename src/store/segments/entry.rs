//! The bytes of a segment: its head, and the heads of the bodies in it.
//!
//! Invariants
//! - Whatever bytes stand there, reading them panics at nothing and takes no memory.
//! - A head of an entry is one only at the place where it was written: what was moved is none.
//!
//! Nothing of an entry's head is secret: all of it follows from the sealed body, which is ciphertext behind random ids.
//! So it is not sealed; what its check is good for is finding entries by reading. Layout: docs/format.md, "Segments".

use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{BlobRef, BodyId};
use crate::seal::digest::digest_of;
use crate::seal::{NONCE_BYTES, SealingKey, TAG_BYTES, random};
use crate::store::places::{BODY_BYTES_MAX, ENTRY_HEAD_BYTES, Place, SEGMENT_HEAD_BYTES, SegmentId};

/// What groups of entries are written at multiples of.
pub const ALIGN: u32 = 4096;
/// Bytes before the first group.
pub const HEAD_BYTES: usize = SEGMENT_HEAD_BYTES as usize;

const MAGIC: [u8; 8] = *b"BVSG\x01\0\0\0";
const ENTRY_MAGIC: [u8; 4] = *b"BVSE";
const CLEAR_BYTES: usize = 8 + NONCE_BYTES + TAG_BYTES;
const CHECKED_BYTES: usize = ENTRY_HEAD_BYTES - 8;

/// The head of a segment.
pub fn encode_head(key: &SealingKey, segment: SegmentId) -> Vec<u8> {
    let mut w = Writer::default();
    w.u32(segment.0);
    let mut text = w.0;
    text.resize(HEAD_BYTES - CLEAR_BYTES, 0);
    let nonce: [u8; NONCE_BYTES] = random();
    let tag = key.seal(&nonce, &place_of_head(segment), &mut text);
    [&MAGIC[..], &nonce, &tag, &text].concat()
}

/// Whether that is the head of this segment, made in this data directory.
pub fn is_head_of(key: &SealingKey, segment: SegmentId, head: &mut [u8; HEAD_BYTES]) -> bool {
    opened_head(key, segment, head).is_ok_and(|number| number == segment.0)
}

/// Whether that may be what a crash has left of a head that was being written: no more of it than there is, or zeros.
pub fn may_be_torn(begin: &[u8]) -> bool {
    let first = &begin[..begin.len().min(MAGIC.len())];
    first.iter().all(|byte| *byte == 0) || MAGIC.starts_with(first)
}

fn opened_head(key: &SealingKey, segment: SegmentId, head: &mut [u8; HEAD_BYTES]) -> Result<u32, CodecError> {
    const BAD: CodecError = CodecError::Value("head of a segment");
    let (clear, text) = head.split_at_mut_checked(CLEAR_BYTES).ok_or(BAD)?;
    let mut r = Reader(clear);
    if r.array::<8>()? != MAGIC {
        return Err(BAD);
    }
    let (nonce, tag) = (r.array::<NONCE_BYTES>()?, r.array::<TAG_BYTES>()?);
    key.open(&nonce, &place_of_head(segment), text, &tag).map_err(|_| BAD)?;
    Reader(text).u32()
}

fn place_of_head(segment: SegmentId) -> Vec<u8> {
    let mut w = Writer::default();
    w.raw(b"boveda/segment").u32(segment.0);
    w.0
}

/// The head of an entry that is written at `place`.
pub fn encode_entry_head(place: Place, blob: &BlobRef) -> [u8; ENTRY_HEAD_BYTES] {
    let mut w = Writer(Vec::with_capacity(ENTRY_HEAD_BYTES));
    w.raw(&ENTRY_MAGIC).u32(place.len).raw(&blob.body.0).raw(&blob.digest);
    let check = check_of(&w.0, place.segment, place.offset);
    let mut head = [0; ENTRY_HEAD_BYTES];
    head[..CHECKED_BYTES].copy_from_slice(&w.0);
    head[CHECKED_BYTES..].copy_from_slice(&check);
    head
}

/// Reads the head of the entry at that offset of a segment.
pub fn decode_entry_head(
    segment: SegmentId,
    offset: u32,
    head: &[u8; ENTRY_HEAD_BYTES],
) -> Result<(Place, BlobRef), CodecError> {
    const BAD: CodecError = CodecError::Value("head of an entry");
    let mut r = Reader(head);
    if r.array::<4>()? != ENTRY_MAGIC {
        return Err(BAD);
    }
    let (len, body, digest) = (r.u32()?, BodyId(r.array()?), r.array()?);
    let (checked, _) = head.split_at(CHECKED_BYTES);
    if r.array::<8>()? != check_of(checked, segment, offset) || len > BODY_BYTES_MAX {
        return Err(BAD);
    }
    Ok((Place { segment, offset, len }, BlobRef { body, sealed_len: u64::from(len), digest }))
}

fn check_of(checked: &[u8], segment: SegmentId, offset: u32) -> [u8; 8] {
    let whole = [checked, &segment.0.to_le_bytes(), &offset.to_le_bytes()].concat();
    let digest = digest_of(&whole);
    let (first, _) = digest.split_first_chunk().expect("32 bytes hold 8");
    *first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(len: u32) -> BlobRef {
        BlobRef { body: BodyId([7; 16]), sealed_len: u64::from(len), digest: [9; 32] }
    }

    #[test]
    fn an_entry_is_found_where_it_was_written_and_nowhere_else() {
        let place = Place { segment: SegmentId(3), offset: 8192, len: 777 };
        let head = encode_entry_head(place, &blob(777));
        assert_eq!(decode_entry_head(SegmentId(3), 8192, &head), Ok((place, blob(777))));
        assert!(
            decode_entry_head(SegmentId(4), 8192, &head).is_err() && decode_entry_head(SegmentId(3), 0, &head).is_err()
        );
        for bit in 0..head.len() * 8 {
            let mut bad = head;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_entry_head(SegmentId(3), 8192, &bad).is_err(), "bit {bit}");
        }
        let long = Place { len: BODY_BYTES_MAX + 1, ..place };
        assert!(decode_entry_head(SegmentId(3), 8192, &encode_entry_head(long, &blob(1))).is_err(), "beyond the limit");
    }

    #[test]
    fn what_the_format_page_says_is_what_is_read_and_written() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/segment-v1.json")).expect("the fixture is JSON");
        let bytes = |value: &serde_json::Value| -> Vec<u8> {
            let hex = value.as_str().expect("a text");
            let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            (0..hex.len()).step_by(2).map(digits).collect()
        };
        let number = |value: &serde_json::Value| u32::try_from(value.as_u64().expect("a number")).expect("a small one");
        let key = SealingKey::new(&bytes(&fixture["key"]).try_into().expect("a key"));
        let segment = SegmentId(number(&fixture["segment"]));
        let mut head = bytes(&fixture["head"]).try_into().expect("a whole block");
        assert!(is_head_of(&key, segment, &mut head));
        let (entry, sealed) = (&fixture["entry"], bytes(&fixture["entry"]["sealed"]));
        let place =
            Place { segment, offset: number(&entry["offset"]), len: u32::try_from(sealed.len()).expect("short") };
        let body = BodyId(bytes(&entry["body"]).try_into().expect("an id"));
        let blob = BlobRef { body, sealed_len: u64::from(place.len), digest: digest_of(&sealed) };
        let written = encode_entry_head(place, &blob);
        assert_eq!(written.to_vec(), bytes(&entry["head"]));
        assert_eq!(decode_entry_head(segment, place.offset, &written), Ok((place, blob)));
    }

    #[test]
    fn a_head_opens_as_that_of_its_own_segment() {
        let key = SealingKey::new(&[5; 32]);
        let head: [u8; HEAD_BYTES] = encode_head(&key, SegmentId(3)).try_into().expect("a whole block");
        let opens = |key: &SealingKey, id, head: &[u8; HEAD_BYTES]| is_head_of(key, SegmentId(id), &mut head.clone());
        assert!(opens(&key, 3, &head) && !opens(&key, 4, &head) && !opens(&SealingKey::new(&[6; 32]), 3, &head));
        for byte in 0..HEAD_BYTES {
            let mut bad = head;
            bad[byte] ^= 1;
            assert!(!opens(&key, 3, &bad), "byte {byte}");
        }
    }
}
