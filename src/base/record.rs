//! A record: the metadata of one state of a register, as disks and peers keep it.
//!
//! Invariants
//! - `decode(encode(r)) == r`, and every decoded record satisfies the limits below.
//! - A record alone opens its body, given the KEK ring: wrap, body id, digest and lengths are in it.
//!
//! Layout: docs/format.md, "Record". Records never lie anywhere in the clear: the log, the index
//! pages and the peer frames that hold them are sealed.

use super::ballot::{Ballot, Stamp};
use super::blob_ref::BlobRef;
use super::codec::{CodecError, Reader, Writer};
use super::head::{CONTENT_TYPE_BYTES_MAX, META_BYTES_MAX, ObjectHead};
use super::ids::{BodyId, BucketId, Incarnation, KekId};
use super::lineage::Lineage;
use bytes::Bytes;

/// Most plaintext bytes that a record may carry inline, whatever the setting says.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;
/// Most sealed bytes of an inline body: the plaintext, a header, and a tag per smallest chunk.
pub const INLINE_SEALED_BYTES_MAX: usize = INLINE_BYTES_MAX + 4096;
/// Most bytes of a member list.
pub const MEMBERS_BYTES_MAX: usize = 4096;
/// Most bytes of an encoded record.
pub const RECORD_BYTES_MAX: usize = INLINE_SEALED_BYTES_MAX + META_BYTES_MAX + CONTENT_TYPE_BYTES_MAX + 4096;
/// Least bytes of a commit log that takes whatever may have to be written at once: what is asked in one peer frame,
/// beside an eighth of it for what waited before, a quarter for what is skipped at its end, and the frames' own bytes.
pub const LOG_BYTES_MIN: u64 = 8 << 20;

const VERSION: u8 = 4;
/// The layout of a bucket within a record.
const BUCKET_VERSION: u8 = 1;

/// One state of one register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Orders it among the states of its key.
    pub ballot: Ballot,
    /// The writes that led to it, its own first.
    pub lineage: Lineage,
    /// When it was written, in milliseconds since 1970, see [`written_after`]: `Last-Modified`. Nothing is decided by
    /// it.
    pub written_ms: u64,
    /// What the register holds.
    pub state: State,
}

/// How far the time of a state may stand before its writer's clock, for the sake of the second that it is told in.
const AHEAD_MS_MAX: u64 = 60_000;

/// The time of a state that replaces one of `before_ms`, by a clock that says `now_ms`.
///
/// It grows with each write, also where the clock of the node that wrote before was ahead, and if it can by a second,
/// since HTTP tells no less: who holds what was replaced is not told that nothing has changed. Of a register that is
/// written more often than that for long, or by a clock that is far ahead, it grows by what it can.
pub fn written_after(before_ms: Option<u64>, now_ms: u64) -> u64 {
    let Some(before_ms) = before_ms else { return now_ms };
    let next_second = (before_ms / 1000).saturating_add(1).saturating_mul(1000);
    if next_second <= now_ms.saturating_add(AHEAD_MS_MAX) {
        now_ms.max(next_second)
    } else {
        now_ms.max(before_ms.saturating_add(1))
    }
}

/// What a register holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As if it had never been written: voted on like any other, when a dropped tombstone leaves it behind.
    Nothing,
    /// A tombstone: deleted, and remembered until all members hold that.
    Deleted,
    /// A bucket that exists.
    Bucket(BucketRecord),
    /// A member list, as `register` writes it.
    Members(Bytes),
    /// An object: its metadata, and its body or where that is.
    Object(Box<ObjectRecord>),
}

/// A bucket, in the register of its name. See docs/adr/0030-fence.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRecord {
    /// This life of it: its objects lie under that.
    pub id: BucketId,
    /// Counted up by every change in this life; 1 at first.
    pub generation: u64,
    /// Whether it takes objects; else it is being deleted.
    pub is_open: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

impl BucketRecord {
    /// A bucket that is made now.
    pub fn made(id: BucketId, now_ms: u64) -> Self {
        BucketRecord { id, generation: 1, is_open: true, created_ms: now_ms }
    }
}

/// The metadata of an object's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Bytes of the body as clients see it.
    pub len: u64,
    /// What its writer said of it.
    pub head: ObjectHead,
    /// Names the sealed body.
    pub body: BodyId,
    /// Bytes of the sealed body.
    pub sealed_len: u64,
    /// BLAKE3 of the sealed body; see [`ObjectRecord::etag`].
    pub digest: [u8; 32],
    /// The body's data key, sealed.
    pub wrap: Wrap,
    /// Where the sealed body lies.
    pub at: BodyAt,
}

/// Where a sealed body lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyAt {
    /// In the record itself, sealed: bodies up to `store.inline_max`.
    Inline(Bytes),
    /// In a blob named by the body id.
    Blob,
}

/// A data-encryption key sealed under a KEK generation; opened by `seal` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// Which generation sealed it.
    pub kek: KekId,
    /// The nonce it was sealed with.
    pub nonce: [u8; 12],
    /// 32 bytes of key and a 16-byte tag.
    pub sealed: [u8; 48],
}

impl ObjectRecord {
    /// The object's ETag, without quotes.
    pub fn etag(&self) -> String {
        etag_of(&self.digest)
    }

    /// The blob that holds the body; none where the record does.
    pub fn blob(&self) -> Option<BlobRef> {
        (self.at == BodyAt::Blob).then_some(self.blob_ref())
    }

    /// What a blob with the body has to be, wherever the body lies.
    pub fn blob_ref(&self) -> BlobRef {
        BlobRef { body: self.body, sealed_len: self.sealed_len, digest: self.digest }
    }
}

/// The ETag of a body by the digest of its sealed bytes: that in hex, without quotes.
pub fn etag_of(digest: &[u8; 32]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    digest.iter().flat_map(|b| [HEX[usize::from(b >> 4)] as char, HEX[usize::from(b & 15)] as char]).collect()
}

impl Record {
    /// The object, when the register holds one.
    pub fn object(&self) -> Option<&ObjectRecord> {
        match &self.state {
            State::Object(object) => Some(object),
            State::Nothing | State::Deleted | State::Bucket(_) | State::Members(_) => None,
        }
    }

    /// The bucket, when the register holds one.
    pub fn bucket(&self) -> Option<&BucketRecord> {
        match &self.state {
            State::Bucket(bucket) => Some(bucket),
            State::Nothing | State::Deleted | State::Object(_) | State::Members(_) => None,
        }
    }

    /// Whether there is something of that name: an object or a bucket.
    pub fn is_present(&self) -> bool {
        match self.state {
            State::Object(_) | State::Bucket(_) | State::Members(_) => true,
            State::Nothing | State::Deleted => false,
        }
    }

    /// The blobs that hold what the record describes: none where the body lies in the record, or is none.
    pub fn blobs(&self) -> impl Iterator<Item = BlobRef> + Clone {
        self.object().and_then(ObjectRecord::blob).into_iter()
    }

    /// Whether the record refers to this blob.
    pub fn refers_to(&self, body: BodyId) -> bool {
        self.blobs().any(|blob| blob.body == body)
    }

    /// Bytes of the body that the record itself carries, sealed.
    pub fn inline_len(&self) -> usize {
        match self.object().map(|object| &object.at) {
            Some(BodyAt::Inline(sealed)) => sealed.len(),
            Some(BodyAt::Blob) | None => 0,
        }
    }

    /// The record in its newest version.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(256));
        let tag = match &self.state {
            State::Deleted => 0,
            State::Bucket(_) => 1,
            State::Object(_) => 2,
            State::Nothing => 3,
            State::Members(_) => 4,
        };
        w.u8(VERSION).u8(tag).u64(self.ballot.stamp.0).u64(self.ballot.node.0);
        self.lineage.write(&mut w);
        w.u64(self.written_ms);
        if let State::Members(list) = &self.state {
            w.bytes(list);
        }
        if let State::Bucket(BucketRecord { id, generation, is_open, created_ms }) = &self.state {
            w.u8(BUCKET_VERSION).u64(id.0).u64(*generation).u8(if *is_open { 1 } else { 2 }).u64(*created_ms);
        }
        if let State::Object(o) = &self.state {
            w.u64(o.len).u64(o.sealed_len).raw(&o.body.0).raw(&o.digest);
            w.raw(&o.wrap.kek.0).raw(&o.wrap.nonce).raw(&o.wrap.sealed);
            o.head.write(&mut w);
            match &o.at {
                BodyAt::Blob => w.u8(0),
                BodyAt::Inline(bytes) => w.u8(1).bytes(bytes),
            };
        }
        w.0
    }

    /// Reads a record. An inline body is copied out, so the input need not live on.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        // Each version that a release has written keeps its reader here, and its known answers in `tests/fixtures/`.
        match r.u8()? {
            VERSION => Self::decode_v4(r),
            _ => Err(CodecError::Value("record version")),
        }
    }

    fn decode_v4(mut r: Reader<'_>) -> Result<Self, CodecError> {
        let tag = r.u8()?;
        let ballot = Ballot { stamp: Stamp(r.u64()?), node: Incarnation(r.u64()?) };
        let lineage = Lineage::read(&mut r)?;
        let written_ms = r.u64()?;
        let state = match tag {
            0 => State::Deleted,
            1 => State::Bucket(decode_bucket_v4(&mut r)?),
            2 => State::Object(Box::new(decode_object_v4(&mut r)?)),
            3 => State::Nothing,
            4 => State::Members(Bytes::copy_from_slice(r.bytes(MEMBERS_BYTES_MAX, "member list")?)),
            _ => return Err(CodecError::Value("record state")),
        };
        r.end()?;
        Ok(Record { ballot, lineage, written_ms, state })
    }
}

/// What a later layout says of a bucket is not passed over: a node that does not know it must not judge by the rest.
fn decode_bucket_v4(r: &mut Reader<'_>) -> Result<BucketRecord, CodecError> {
    if r.u8()? != BUCKET_VERSION {
        return Err(CodecError::Value("bucket version"));
    }
    let (id, generation) = (BucketId(r.u64()?), r.u64()?);
    let is_open = match r.u8()? {
        1 => true,
        2 => false,
        _ => return Err(CodecError::Value("bucket state")),
    };
    Ok(BucketRecord { id, generation, is_open, created_ms: r.u64()? })
}

fn decode_object_v4(r: &mut Reader<'_>) -> Result<ObjectRecord, CodecError> {
    let (len, sealed_len) = (r.u64()?, r.u64()?);
    let (body, digest) = (BodyId(r.array()?), r.array()?);
    let wrap = Wrap { kek: KekId(r.array()?), nonce: r.array()?, sealed: r.array()? };
    let head = ObjectHead::read_v4(r)?;
    let at = match r.u8()? {
        0 => BodyAt::Blob,
        1 => BodyAt::Inline(Bytes::copy_from_slice(r.bytes(INLINE_SEALED_BYTES_MAX, "inline body")?)),
        _ => return Err(CodecError::Value("body place")),
    };
    if matches!(&at, BodyAt::Inline(b) if b.len() as u64 != sealed_len) {
        return Err(CodecError::Value("inline body length"));
    }
    Ok(ObjectRecord { len, head, body, sealed_len, digest, wrap, at })
}

#[cfg(test)]
mod tests {
    use super::super::ids::WriteId;
    use super::*;

    fn sample(at: BodyAt) -> Record {
        let sealed_len = if let BodyAt::Inline(b) = &at { b.len() as u64 } else { 1 << 40 };
        Record {
            ballot: Ballot { stamp: Stamp(7 << 16), node: Incarnation(9) },
            lineage: Lineage::NOTHING.then(WriteId([6; 8]), 8),
            written_ms: 7,
            state: State::Object(Box::new(ObjectRecord {
                len: 3,
                head: ObjectHead {
                    content_type: "text/plain".into(),
                    meta: vec![("a".into(), "á".into()), ("b".into(), String::new())],
                },
                body: BodyId([1; 16]),
                sealed_len,
                digest: [2; 32],
                wrap: Wrap { kek: KekId([3; 16]), nonce: [4; 12], sealed: [5; 48] },
                at,
            })),
        }
    }

    const BUCKET: BucketRecord =
        BucketRecord { id: BucketId(0x0123_4567_89ab_cdef), generation: 5, is_open: true, created_ms: 9 };

    #[test]
    fn times_grow_with_each_write_whatever_the_clocks_say() {
        let now = 1_000_000_500;
        for (before, after) in [
            (None, now),
            (Some(0), now),
            (Some(now - 2000), now),
            (Some(now - 600), now),
            (Some(now - 500), 1_000_001_000),
            (Some(now), 1_000_001_000),
            (Some(now + 59_000), 1_000_060_000),
            (Some(now + 60_000), now + 60_001),
            (Some(now + 9_000_000), now + 9_000_001),
            (Some(u64::MAX), u64::MAX),
        ] {
            assert_eq!(written_after(before, now), after, "{before:?}");
        }
    }

    #[test]
    fn round_trip() {
        let plain = |state| Record { written_ms: 1, state, ..sample(BodyAt::Blob) };
        let all = [
            sample(BodyAt::Blob),
            sample(BodyAt::Inline(Bytes::from_static(b"sealed"))),
            plain(State::Deleted),
            plain(State::Bucket(BUCKET)),
            plain(State::Bucket(BucketRecord { is_open: false, ..BUCKET })),
            plain(State::Nothing),
            plain(State::Members(Bytes::from_static(b"list"))),
        ];
        for record in all {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn what_the_format_page_says_is_what_is_read_and_written() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/record-v4.json")).expect("the fixture is JSON");
        let plain = |state| Record { state, ..sample(BodyAt::Blob) };
        let expected = [
            ("deleted", plain(State::Deleted)),
            ("bucket", plain(State::Bucket(BUCKET))),
            ("bucket-closing", plain(State::Bucket(BucketRecord { generation: 6, is_open: false, ..BUCKET }))),
            ("nothing", Record { lineage: Lineage::NOTHING, ..plain(State::Nothing) }),
            ("members", plain(State::Members(Bytes::from_static(b"list")))),
            ("object-in-a-blob", sample(BodyAt::Blob)),
            ("object-inline", sample(BodyAt::Inline(Bytes::from_static(b"sealed")))),
        ];
        for (name, record) in expected {
            let hex = fixture["records"][name].as_str().expect("a record of that name");
            let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
            assert_eq!(Record::decode(&bytes).as_ref(), Ok(&record), "{name}");
            assert_eq!(record.encode(), bytes, "{name}");
        }
    }

    #[test]
    fn a_record_says_what_it_carries_itself_and_what_lies_in_blobs() {
        let inline = sample(BodyAt::Inline(Bytes::from_static(b"sealed")));
        assert_eq!((inline.inline_len(), inline.blobs().count()), (6, 0));
        let blob = sample(BodyAt::Blob);
        let of = BlobRef { body: BodyId([1; 16]), sealed_len: 1 << 40, digest: [2; 32] };
        assert_eq!((blob.inline_len(), blob.blobs().collect::<Vec<_>>()), (0, vec![of]));
        assert!(blob.refers_to(of.body) && !blob.refers_to(BodyId([2; 16])) && !inline.refers_to(of.body));
        let deleted = Record { state: State::Deleted, ..blob };
        assert_eq!((deleted.inline_len(), deleted.blobs().count()), (0, 0));
    }

    #[test]
    fn every_prefix_and_every_extension_is_refused() {
        let bytes = sample(BodyAt::Inline(Bytes::from_static(b"sealed"))).encode();
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert_eq!(Record::decode(&[&bytes[..], b"x"].concat()), Err(CodecError::Trailing));
    }

    #[test]
    fn what_is_not_known_of_a_bucket_is_refused() {
        let bytes = Record { state: State::Bucket(BUCKET), ..sample(BodyAt::Blob) }.encode();
        let version = bytes.len() - 26;
        for (at, value, error) in [(version, 2, "bucket version"), (version + 17, 3, "bucket state")] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert_eq!(Record::decode(&bad), Err(CodecError::Value(error)));
        }
        assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), Err(CodecError::Trailing));
    }

    #[test]
    fn a_length_beyond_the_limit_takes_no_memory() {
        let mut bytes = sample(BodyAt::Inline(Bytes::from_static(b"sealed"))).encode();
        let at = bytes.len() - 6 - 4;
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Record::decode(&bytes), Err(CodecError::Value("inline body")));
    }
}
