//! A record: the metadata of one state of a register, as disks and peers keep it.
//!
//! Invariants
//! - `decode(encode(r)) == r`, and every decoded record satisfies the limits below.
//! - A record alone opens its body, given the KEK ring: wrap, body id, digest and lengths are in it.
//!
//! Layout: docs/format.md, "Record", and `layout`. Records never lie anywhere in the clear: the log, the index
//! pages and the peer frames that hold them are sealed.

use super::ballot::{Ballot, Stamp};
use super::blob_ref::BlobRef;
use super::codec::{CodecError, Reader, Writer};
use super::head::ObjectHead;
use super::ids::{BodyId, BucketId, Incarnation, KekId, WriteId};
use super::lineage::Lineage;
use bytes::Bytes;

mod layout;

pub use layout::ListedHead;

/// Most plaintext bytes that a record may carry inline, whatever the setting says.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;
/// Most sealed bytes of an inline body: the plaintext, a header, and a tag per smallest chunk.
pub const INLINE_SEALED_BYTES_MAX: usize = INLINE_BYTES_MAX + 4096;
/// Most bytes of a member list.
pub const MEMBERS_BYTES_MAX: usize = 4096;
/// Most bytes of an encoded record.
pub const RECORD_BYTES_MAX: usize = INLINE_SEALED_BYTES_MAX + layout::ENTRY_BYTES_MAX + 4096;
/// The highest number of a version: the next one has room behind it.
pub const VERSION_MAX: u64 = u64::MAX - 1;
/// Least bytes of a commit log that takes whatever may have to be written at once: what is asked in one peer frame,
/// beside an eighth of it for what waited before, a quarter for what is skipped at its end, and the frames' own bytes.
pub const LOG_BYTES_MIN: u64 = 8 << 20;

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
    /// Which version of its key it is: counted up by every write, from 1 where there was no object.
    pub number: u64,
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
}

#[cfg(test)]
mod tests;
