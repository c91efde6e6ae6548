//! The bytes of a file of the audit log. Layout: docs/format.md, "Audit log".
//!
//! Invariants
//! - Decoding never panics, and takes no memory before a length was checked.
//! - A file's key opens with its header as it was written: its number, its id and where the file before ended.
//! - A line opens only in its file, under its number, behind the hash that it names.
//! - The hash of a line is over its sealed bytes and over the hash before: nobody changes one and keeps those behind.
//! - A header has room for its box twice: it is sealed anew without a moment in which none of the two opens.

use crate::base::audit::HASH_BYTES;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{AuditHead, KekId};
use crate::seal::digest::BodyDigest;
use crate::seal::keyring::{BoxError, Keyring};
use crate::seal::{KEY_BYTES, NONCE_BYTES, OpenError, SealingKey, TAG_BYTES, random};

/// What a file begins with.
pub const MAGIC: [u8; 4] = *b"BVA1";
/// Bytes of what the header says in the clear.
pub const FIXED_BYTES: usize = 4 + 8 + 16 + 8 + AuditHead::BYTES;
/// Where the first of the two boxes stands, each in a sector of its own.
pub const BOX_OFFSETS: [usize; 2] = [512, 1024];
/// Bytes of a box: its head, a key, a tag.
pub const BOX_BYTES: usize = 1 + 16 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// Bytes of a header, where the first line begins.
pub const HEADER_BYTES: usize = 1536;
/// Bytes in front of the sealed text of a line.
pub const RECORD_HEAD_BYTES: usize = 4 + 8 + HASH_BYTES + NONCE_BYTES;
/// Most bytes of a line before it is sealed: the grants of a key, before and after a change, with room to spare.
pub const LINE_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(FIXED_BYTES <= BOX_OFFSETS[0] && BOX_OFFSETS[1] + BOX_BYTES <= HEADER_BYTES);

const BOX_PLACE: &[u8] = b"boveda/audit/v1";
const LINE_PLACE: &[u8] = b"boveda/audit-line/v1";
const HASH_LABEL: &[u8] = b"boveda/audit-hash/v1";

/// What a header says in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the file; the first one has 1.
    pub number: u64,
    /// Names the file to its lines.
    pub id: [u8; 16],
    /// When it was begun, in milliseconds since 1970.
    pub began_ms: u64,
    /// Where the file before ended.
    pub before: AuditHead,
}

impl Header {
    /// A header for a file that begins now.
    pub fn begin(number: u64, began_ms: u64, before: AuditHead) -> Self {
        Header { number, id: random(), began_ms, before }
    }

    /// The bytes in the clear.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.raw(&MAGIC).u64(self.number).raw(&self.id).u64(self.began_ms);
        self.before.write(&mut w);
        w.0
    }

    /// Reads what `encode` made; what follows is passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        if r.array()? != MAGIC {
            return Err(CodecError::Value("magic of an audit file"));
        }
        Ok(Header { number: r.u64()?, id: r.array()?, began_ms: r.u64()?, before: AuditHead::read(&mut r)? })
    }

    /// A whole header, with a new key in its first box.
    pub fn seal(&self, ring: &Keyring) -> (Vec<u8>, SealingKey) {
        let key = zeroize::Zeroizing::new(random::<KEY_BYTES>());
        let mut bytes = self.encode();
        bytes.resize(HEADER_BYTES, 0);
        let sealed = ring.seal_box(&self.place(), &key[..]);
        bytes[BOX_OFFSETS[0]..BOX_OFFSETS[0] + BOX_BYTES].copy_from_slice(&sealed);
        (bytes, SealingKey::new(&key))
    }

    /// The file's key, out of whichever of the two boxes opens.
    pub fn open(&self, ring: &Keyring, bytes: &[u8]) -> Result<SealingKey, BoxError> {
        self.key_bytes(ring, bytes).map(|key| SealingKey::new(&key))
    }

    /// The box of the same key under the generation that seals by now.
    pub fn seal_again(&self, ring: &Keyring, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
        let key = self.key_bytes(ring, bytes)?;
        Ok(ring.seal_box(&self.place(), &key[..]))
    }

    fn key_bytes(&self, ring: &Keyring, bytes: &[u8]) -> Result<zeroize::Zeroizing<[u8; KEY_BYTES]>, BoxError> {
        let mut failed = BoxError::Short;
        for (_, sealed) in boxes(bytes) {
            match ring.open_box(&self.place(), sealed) {
                Ok(plain) => {
                    let plain = zeroize::Zeroizing::new(plain);
                    let key = <[u8; KEY_BYTES]>::try_from(&plain[..]).map_err(|_| BoxError::Open)?;
                    return Ok(zeroize::Zeroizing::new(key));
                }
                // That a generation is missing says more than that the other box was torn.
                Err(error) if !matches!(failed, BoxError::UnknownKey { .. }) => failed = error,
                Err(_) => {}
            }
        }
        Err(failed)
    }

    fn place(&self) -> Vec<u8> {
        [BOX_PLACE, &self.encode()].concat()
    }
}

/// Whether a header has zeros where nothing stands.
pub fn is_padded(header: &[u8]) -> bool {
    let gaps = [
        FIXED_BYTES..BOX_OFFSETS[0],
        BOX_OFFSETS[0] + BOX_BYTES..BOX_OFFSETS[1],
        BOX_OFFSETS[1] + BOX_BYTES..HEADER_BYTES,
    ];
    gaps.into_iter().all(|gap| header.get(gap).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)))
}

/// The boxes that a header holds, with their places: by number, 0 or 1.
pub fn boxes(header: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let there = BOX_OFFSETS.into_iter().enumerate();
    there.filter_map(|(at, offset)| {
        let sealed = header.get(offset..offset + BOX_BYTES)?;
        sealed.iter().any(|byte| *byte != 0).then_some((at, sealed))
    })
}

/// Under which generation a box was sealed.
pub fn box_kek(sealed: &[u8]) -> Option<KekId> {
    Keyring::box_key(sealed)
}

/// A line as it lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its number.
    pub sequence: u64,
    /// The hash of the line before, as this one says it.
    pub before: [u8; HASH_BYTES],
    nonce: [u8; NONCE_BYTES],
    sealed: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
    whole: &'a [u8],
}

/// Why there is no line at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLine {
    /// It begins, and goes on behind the last of these bytes.
    Cut,
    /// No line has such a length.
    Length,
}

impl<'a> Raw<'a> {
    /// The line at the beginning of these bytes.
    pub fn read(bytes: &'a [u8]) -> Result<Self, NoLine> {
        let mut r = Reader(bytes);
        let len = r.u32().ok().and_then(|len| usize::try_from(len).ok()).ok_or(NoLine::Cut)?;
        if len == 0 || len > LINE_BYTES_MAX {
            return Err(NoLine::Length);
        }
        let mut read = || -> Result<Raw<'a>, CodecError> {
            let (sequence, before, nonce) = (r.u64()?, r.array()?, r.array()?);
            let (sealed, tag) = (r.raw(len)?, r.raw(TAG_BYTES)?);
            let whole = &bytes[..RECORD_HEAD_BYTES + len + TAG_BYTES];
            Ok(Raw { sequence, before, nonce, sealed, tag: tag.try_into().map_err(|_| CodecError::Short)?, whole })
        };
        read().map_err(|_| NoLine::Cut)
    }

    /// Bytes of the whole of it.
    pub fn size(&self) -> usize {
        self.whole.len()
    }

    /// The end of the log behind it.
    pub fn head(&self) -> AuditHead {
        AuditHead { sequence: self.sequence, hash: hash(&self.before, self.whole) }
    }

    /// Its text, in the file of that id and key.
    pub fn open(&self, key: &SealingKey, file: &[u8; 16]) -> Result<Vec<u8>, OpenError> {
        let mut text = self.sealed.to_vec();
        key.open(&self.nonce, &place(file, self.sequence, &self.before, text.len()), &mut text, self.tag)?;
        Ok(text)
    }
}

/// Appends a line behind `before`, and says where the log ends then.
///
/// # Panics
/// On a text that is longer than `LINE_BYTES_MAX`, or empty: whoever writes has cut it.
pub fn seal(key: &SealingKey, file: &[u8; 16], before: AuditHead, text: &[u8], out: &mut Vec<u8>) -> AuditHead {
    assert!((1..=LINE_BYTES_MAX).contains(&text.len()), "a line of {} bytes", text.len());
    let (sequence, nonce, from) = (before.sequence + 1, random::<NONCE_BYTES>(), out.len());
    out.extend_from_slice(&u32::try_from(text.len()).expect("it is short").to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&before.hash);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(text);
    let sealed = &mut out[from + RECORD_HEAD_BYTES..];
    let tag = key.seal(&nonce, &place(file, sequence, &before.hash, text.len()), sealed);
    out.extend_from_slice(&tag);
    AuditHead { sequence, hash: hash(&before.hash, &out[from..]) }
}

fn place(file: &[u8; 16], sequence: u64, before: &[u8; HASH_BYTES], len: usize) -> Vec<u8> {
    [LINE_PLACE, file, &sequence.to_le_bytes(), before, &len.to_le_bytes()].concat()
}

fn hash(before: &[u8; HASH_BYTES], line: &[u8]) -> [u8; HASH_BYTES] {
    let mut digest = BodyDigest::new();
    [HASH_LABEL, before, line].iter().for_each(|part| digest.update(part));
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    fn ring(numbers: &[u8]) -> Keyring {
        Keyring::new(numbers.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect()).expect("a ring")
    }

    #[test]
    fn a_line_opens_in_its_place_alone_and_no_bit_of_it_changes_unseen() {
        let (key, file) = (SealingKey::new(&[7; 32]), [3; 16]);
        let before = AuditHead { sequence: 8, hash: [9; 32] };
        let mut bytes = Vec::new();
        let head = seal(&key, &file, before, b"text", &mut bytes);
        let raw = Raw::read(&bytes).expect("a line");
        assert_eq!((raw.size(), raw.head(), raw.sequence, raw.before), (bytes.len(), head, 9, before.hash));
        assert_eq!(raw.open(&key, &file).as_deref(), Ok(&b"text"[..]));
        assert!(raw.open(&key, &[4; 16]).is_err() && raw.open(&SealingKey::new(&[8; 32]), &file).is_err());
        for end in 0..bytes.len() {
            assert_eq!(Raw::read(&bytes[..end]), Err(NoLine::Cut), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opens = Raw::read(&bad).is_ok_and(|raw| raw.open(&key, &file).is_ok());
            assert!(!opens, "bit {bit}");
        }
        assert_eq!(Raw::read(&[0; 100]), Err(NoLine::Length));
    }

    #[test]
    fn a_header_opens_by_either_box_and_only_as_it_was_written() {
        let (one, both) = (ring(&[1]), ring(&[1, 2]));
        let header = Header::begin(4, 5, AuditHead { sequence: 6, hash: [7; 32] });
        let (mut bytes, _) = header.seal(&one);
        assert_eq!(Header::decode(&bytes), Ok(header.clone()));
        assert!(header.open(&both, &bytes).is_ok());
        let second = header.seal_again(&both, &bytes).expect("it opens");
        bytes[BOX_OFFSETS[1]..BOX_OFFSETS[1] + BOX_BYTES].copy_from_slice(&second);
        assert_eq!(boxes(&bytes).count(), 2);
        for torn in BOX_OFFSETS {
            let mut bytes = bytes.clone();
            bytes[torn + 40] ^= 1;
            assert!(header.open(&both, &bytes).is_ok(), "the box at {torn} is torn, the other one is not");
        }
        bytes[BOX_OFFSETS[0]..BOX_OFFSETS[0] + BOX_BYTES].fill(0);
        assert!(matches!(header.open(&one, &bytes), Err(BoxError::UnknownKey { .. })));
        for byte in 4..FIXED_BYTES {
            let mut bad = bytes.clone();
            bad[byte] ^= 1;
            let other = Header::decode(&bad).expect("it reads");
            assert!(other.open(&both, &bad).is_err(), "byte {byte}");
        }
    }
}
