//! Uploads in parts: which of them a key has open, and what an object is made of that came in parts
//! (docs/adr/0048-uploads.md).
//!
//! Invariants
//! - The uploads of a key are in the order of their ids, each once, and at most `Uploads::MAX`.
//! - The parts of an object are in the order of their numbers, each once; none is empty but an only one.
//! - A list of parts has one encoding, and where a part begins is found without reading those before it.

use super::blob_ref::BlobRef;
use super::checksum::{Algorithm, Value};
use super::codec::{CodecError, Reader, Writer};
use super::ids::{BodyId, UploadId};
use super::record::Wrap;
use bytes::Bytes;
use std::sync::Arc;

/// The highest number of a part, and the most parts of an object: S3's limit.
pub const PART_NUMBER_MAX: u16 = 10_000;
/// Most plaintext bytes of a part: S3's limit.
pub const PART_BYTES_MAX: u64 = 5 << 30;
/// Least plaintext bytes of a part that is not the last: S3's limit.
pub const PART_BYTES_MIN: u64 = 5 << 20;

/// The uploads of one key that are open: neither completed nor aborted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uploads(Option<Arc<[UploadId]>>);

impl Uploads {
    /// Most uploads of one key that are open at once.
    pub const MAX: usize = 1000;
    /// None of them.
    pub const NONE: Uploads = Uploads(None);

    /// Their ids, in order.
    pub fn ids(&self) -> &[UploadId] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this one is open.
    pub fn has(&self, upload: UploadId) -> bool {
        self.ids().binary_search(&upload).is_ok()
    }

    /// The same with one more; `None` where there is no room for it.
    pub fn with(&self, upload: UploadId) -> Option<Self> {
        let Err(at) = self.ids().binary_search(&upload) else { return Some(self.clone()) };
        if self.ids().len() >= Self::MAX {
            return None;
        }
        let (before, behind) = self.ids().split_at(at);
        Some(Uploads(Some([before, &[upload], behind].concat().into())))
    }

    /// The same without one.
    pub fn without(&self, upload: UploadId) -> Self {
        let left: Vec<_> = self.ids().iter().copied().filter(|id| *id != upload).collect();
        if left.is_empty() { Uploads::NONE } else { Uploads(Some(left.into())) }
    }

    /// Appends them: their count in two bytes, then 16 bytes each.
    pub(super) fn write(&self, w: &mut Writer) {
        w.u16(u16::try_from(self.ids().len()).expect("there are at most a thousand"));
        for id in self.ids() {
            w.raw(&id.0);
        }
    }

    /// Reads what `write` appended.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let count = usize::from(r.u16()?);
        if count == 0 {
            return Ok(Uploads::NONE);
        }
        if count > Self::MAX {
            return Err(CodecError::Value("count of uploads"));
        }
        let ids = r.raw(count * 16)?.chunks_exact(16).map(|id| Reader(id).array().map(UploadId));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        if ids.windows(2).any(|two| two[0] >= two[1]) {
            return Err(CodecError::Value("order of uploads"));
        }
        Ok(Uploads(Some(ids.into())))
    }
}

/// Which part of which upload a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOf {
    /// The upload.
    pub upload: UploadId,
    /// Its number, 1 to `PART_NUMBER_MAX`. One that is there is replaced.
    pub number: u16,
    /// The upload's data key, sealed for it: as its own record has it.
    pub wrap: Wrap,
}

/// One part of an object that came in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number: 1 to `PART_NUMBER_MAX`.
    pub number: u16,
    /// Where it begins in the object's plaintext.
    pub offset: u64,
    /// Bytes of its plaintext.
    pub len: u64,
    /// Its sealed body.
    pub blob: BlobRef,
    /// Its checksum, of the algorithm of the whole list.
    pub checksum: Option<Value>,
}

/// The parts that an object is made of, as they are encoded: a list of ten thousand is not taken apart to read one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    encoded: Bytes,
    algorithm: Option<Algorithm>,
}

/// Bytes before the first part: the algorithm of their checksums.
const FRONT_BYTES: usize = 1;
/// Bytes of a part without its checksum: number, end, sealed length, body, digest.
const PART_BYTES: usize = 2 + 8 + BlobRef::BYTES;

impl Parts {
    /// Most bytes of a list.
    pub const BYTES_MAX: usize =
        FRONT_BYTES + PART_NUMBER_MAX as usize * (PART_BYTES + super::checksum::VALUE_BYTES_MAX);

    /// A list of these parts, their checksums by that algorithm. `offset` is not looked at: each begins where the one
    /// before it ends. `None` where that is no list: see the invariants.
    pub fn new(algorithm: Option<Algorithm>, parts: impl IntoIterator<Item = Part>) -> Option<Self> {
        let mut w = Writer(vec![algorithm.map_or(0, Algorithm::number)]);
        let mut end = 0u64;
        for part in parts {
            end = end.checked_add(part.len)?;
            w.u16(part.number).u64(end);
            part.blob.write(&mut w);
            match (algorithm, part.checksum) {
                (None, None) => {}
                (Some(_), Some(value)) => drop(w.raw(value.as_bytes())),
                _ => return None,
            }
        }
        Parts::decode(&w.0).ok()
    }

    /// Reads a list.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let bad = CodecError::Value("parts");
        let algorithm = match *bytes.first().ok_or(CodecError::Short)? {
            0 => None,
            number => Some(Algorithm::of_number(number).ok_or(bad)?),
        };
        let parts = Parts { encoded: Bytes::copy_from_slice(bytes), algorithm };
        let len = bytes.len() - FRONT_BYTES;
        if len == 0 || !len.is_multiple_of(parts.stride()) || bytes.len() > Self::BYTES_MAX {
            return Err(bad);
        }
        let mut before = None;
        for part in parts.iter() {
            let is_behind = before.is_none_or(|before| part.number > before);
            let fits = (1..=PART_NUMBER_MAX).contains(&part.number) && part.len <= PART_BYTES_MAX;
            // An end before its beginning comes out as a length that no part has.
            if !is_behind || !fits || (part.len == 0 && parts.count() > 1) {
                return Err(bad);
            }
            before = Some(part.number);
        }
        Ok(parts)
    }

    /// The list as it stands in a record.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// What their checksums are computed by.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    fn stride(&self) -> usize {
        PART_BYTES + self.algorithm.map_or(0, Algorithm::bytes)
    }

    /// How many there are: one at least.
    pub fn count(&self) -> usize {
        (self.encoded.len() - FRONT_BYTES) / self.stride()
    }

    /// Bytes of the object.
    pub fn len(&self) -> u64 {
        self.end(self.count() - 1)
    }

    /// Whether the object is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all sealed bodies.
    pub fn sealed_len(&self) -> u64 {
        self.iter().fold(0, |all, part| all.saturating_add(part.blob.sealed_len))
    }

    fn raw(&self, at: usize) -> Reader<'_> {
        let from = FRONT_BYTES + at * self.stride();
        Reader(self.encoded.get(from..from + self.stride()).unwrap_or_default())
    }

    /// Where a part ends, by its place in the list.
    fn end(&self, at: usize) -> u64 {
        let mut r = self.raw(at);
        r.u16().and_then(|_| r.u64()).unwrap_or(0)
    }

    /// A part by its place in the list, from 0.
    pub fn get(&self, at: usize) -> Option<Part> {
        let offset = if at == 0 { 0 } else { self.end(at - 1) };
        let mut r = self.raw(at);
        let (number, end) = (r.u16().ok()?, r.u64().ok()?);
        // What does not add up is refused where the list is read.
        let len = end.checked_sub(offset).unwrap_or(u64::MAX);
        let blob = BlobRef::read(&mut r).ok()?;
        Some(Part { number, offset, len, blob, checksum: self.algorithm.and_then(|_| Value::new(r.0)) })
    }

    /// A part by its number.
    pub fn of_number(&self, number: u16) -> Option<Part> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.raw(middle).u16().ok()? < number { low = middle + 1 } else { high = middle }
        }
        self.get(low).filter(|part| part.number == number)
    }

    /// The place of the part that holds a byte of the object; `None` behind its end.
    pub fn place_of(&self, byte: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.end(middle) > byte { high = middle } else { low = middle + 1 }
        }
        (low < self.count()).then_some(low)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Part> + Clone + '_ {
        (0..self.count()).filter_map(|at| self.get(at))
    }

    /// Whether one of them is this body.
    pub fn refers_to(&self, body: BodyId) -> bool {
        self.iter().any(|part| part.blob.body == body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> UploadId {
        UploadId([n; 16])
    }

    fn part(number: u16, len: u64) -> Part {
        let n = number.to_le_bytes()[0];
        let blob = BlobRef { body: BodyId([n; 16]), sealed_len: len + 100, digest: [n; 32] };
        Part { number, offset: 0, len, blob, checksum: None }
    }

    #[test]
    fn uploads_are_in_order_each_once_and_bounded() {
        let mut uploads = Uploads::NONE;
        for n in [3, 1, 2, 3] {
            uploads = uploads.with(id(n)).expect("room");
        }
        assert_eq!(uploads.ids(), [id(1), id(2), id(3)]);
        assert!(uploads.has(id(2)) && !uploads.without(id(2)).has(id(2)));
        assert_eq!(uploads.without(id(1)).without(id(2)).without(id(3)), Uploads::NONE);
        let many = (0..1000u32).try_fold(Uploads::NONE, |all, n| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            all.with(UploadId(id))
        });
        let many = many.expect("so many fit");
        assert_eq!((many.ids().len(), many.with(id(0xff))), (1000, None));
        assert_eq!(many.with(many.ids()[7]).as_ref(), Some(&many), "one that is there takes no room");
        for uploads in [Uploads::NONE, uploads, many] {
            let mut w = Writer::default();
            uploads.write(&mut w);
            assert_eq!(Uploads::read(&mut Reader(&w.0)), Ok(uploads));
        }
        for bad in [&[2u16.to_le_bytes().to_vec(), vec![2; 16], vec![1; 16]].concat()[..], &1001u16.to_le_bytes()] {
            assert!(Uploads::read(&mut Reader(bad)).is_err());
        }
    }

    #[test]
    fn a_part_is_found_by_its_bytes_and_a_list_reads_back() {
        let parts = Parts::new(None, [part(1, 10), part(3, 5), part(10_000, 1)]).expect("a list");
        assert_eq!((parts.count(), parts.len(), parts.sealed_len()), (3, 16, 316));
        let places: Vec<_> = [0, 9, 10, 14, 15, 16].iter().map(|byte| parts.place_of(*byte)).collect();
        assert_eq!(places, [Some(0), Some(0), Some(1), Some(1), Some(2), None]);
        let by_number: Vec<_> =
            [0, 1, 2, 3, 4, 9_999, 10_000, u16::MAX].map(|n| parts.of_number(n).map(|p| p.offset)).into();
        assert_eq!(by_number, [None, Some(0), None, Some(10), None, None, Some(15), None]);
        let third = parts.get(2).expect("the third");
        assert_eq!((third.number, third.offset, third.len), (10_000, 15, 1));
        assert!(parts.refers_to(BodyId([3; 16])) && !parts.refers_to(BodyId([4; 16])));
        assert_eq!(Parts::decode(parts.as_bytes()), Ok(parts.clone()));
        for end in 0..parts.as_bytes().len() {
            let whole = (end > FRONT_BYTES && (end - FRONT_BYTES).is_multiple_of(PART_BYTES)).then_some(end);
            assert_eq!(Parts::decode(&parts.as_bytes()[..end]).is_ok(), whole.is_some(), "{end}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let sum = |n: u8| Value::new(&[n; 4]);
        let with = |number, checksum| Part { checksum, ..part(number, 1) };
        assert!(Parts::new(Some(Algorithm::Crc32), [with(1, sum(1)), with(2, sum(2))]).is_some());
        assert_eq!(Parts::new(Some(Algorithm::Crc32), [with(1, sum(1)), with(2, None)]), None);
        assert_eq!(Parts::new(None, [with(1, sum(1))]), None);
        for bad in [
            vec![],
            vec![part(0, 1)],
            vec![part(10_001, 1)],
            vec![part(2, 1), part(2, 1)],
            vec![part(2, 1), part(1, 1)],
            vec![part(1, 0), part(2, 1)],
            vec![part(1, PART_BYTES_MAX + 1)],
        ] {
            assert_eq!(Parts::new(None, bad.clone()), None, "{bad:?}");
        }
        assert!(Parts::new(None, [part(1, 0)]).is_some_and(|parts| parts.is_empty()), "an empty object is one part");
    }
}
