//! A record: the metadata of one state of a register, as disks and peers keep it.
//!
//! Invariants
//! - `decode(encode(r)) == r`, and every decoded record satisfies the limits below.
//! - A record alone opens its body, given the KEK ring: wrap, body id, digest and lengths are in it.
//!
//! Layout: docs/format.md, "Record", and `layout`. Records never lie anywhere in the clear: the log, the index
//! pages and the peer frames that hold them are sealed.

use super::access::AccessRecord;
use super::ballot::{Ballot, Stamp};
use super::blob_ref::BlobRef;
use super::checksum::{Checksum, Etag, EtagMode};
use super::codec::{CodecError, Reader, Writer};
use super::head::ObjectHead;
use super::ids::{BodyId, BucketId, Incarnation, KekId, UploadId, WriteId};
use super::lineage::Lineage;
use super::public::PublicGrants;
use super::quota::Quota;
use super::settings::SettingsRecord;
use super::upload::{Parts, Uploads};
use bytes::Bytes;

mod layout;

/// Most plaintext bytes of a small body, whatever the setting says.
pub const SMALL_BYTES_MAX: usize = 256 * 1024;
/// Most sealed bytes of a small body: the plaintext, a header, and a tag per smallest chunk.
pub const SMALL_SEALED_BYTES_MAX: usize = SMALL_BYTES_MAX + 4096;
/// Most bytes of a member list.
pub const MEMBERS_BYTES_MAX: usize = 4096;
/// Most bytes of an encoded record: of an object of ten thousand parts, and whatever else its layout has room for.
pub const RECORD_BYTES_MAX: usize = 1088 * 1024;
const _: () = assert!(Parts::BYTES_MAX + layout::ENTRY_BYTES_MAX + 16 * Uploads::MAX + 4096 < RECORD_BYTES_MAX);
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
    /// No object, and uploads in parts that may become one: what is left of an object that was deleted meanwhile, too.
    /// There is one at least.
    Uploads(Uploads),
    /// An access key.
    AccessKey(Box<AccessRecord>),
    /// The settings of the cluster.
    Settings(Box<SettingsRecord>),
}

/// A bucket, in the register of its name. See docs/adr/0030-fence.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRecord {
    /// This life of it: its objects lie under that.
    pub id: BucketId,
    /// Counted up by every change in this life; 1 at first.
    pub generation: u64,
    /// Whether it takes objects; else it is being deleted.
    pub is_open: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// How much it may hold.
    pub quota: Quota,
    /// What its objects are known by that clients of S3 write.
    pub etag: EtagMode,
    /// What of it is open to everybody.
    pub public: PublicGrants,
}

impl BucketRecord {
    /// A bucket that is made now.
    pub fn made(id: BucketId, now_ms: u64) -> Self {
        let (quota, public) = (Quota::NONE, PublicGrants::NONE);
        BucketRecord { id, generation: 1, is_open: true, created_ms: now_ms, quota, etag: EtagMode::Md5, public }
    }
}

/// The metadata of an object's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Which version of its key it is: counted up by every write, from 1 where there was no object.
    pub number: u64,
    /// Bytes of the body as clients see it.
    pub len: u64,
    /// Which of its sums clients know it by; see [`ObjectRecord::etag`].
    pub etag: Etag,
    /// The sum over its plaintext that clients are told.
    pub checksum: Option<Checksum>,
    /// What its writer said of it.
    pub head: ObjectHead,
    /// Names the sealed body.
    pub body: BodyId,
    /// Bytes of the sealed body.
    pub sealed_len: u64,
    /// BLAKE3 of the sealed body: what replicas compare.
    pub digest: [u8; 32],
    /// The body's data key, sealed.
    pub wrap: Wrap,
    /// Where the sealed body lies.
    pub at: BodyAt,
    /// The uploads in parts for its key that are open.
    pub uploads: Uploads,
}

/// Where a sealed body lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyAt {
    /// A small one, up to `store.inline_max`: it travels and is logged with its record, and lies in a segment at rest.
    Small(InHand),
    /// In a segment or a blob, named by the body id, before there is a record of it.
    Blob,
    /// The same, of a part of an upload: sealed under the data key of the upload, which its wrap holds.
    Part {
        /// Which upload: what the wrap is bound to.
        upload: UploadId,
        /// Which part of it: what the key of its body is derived for.
        number: u16,
    },
    /// In parts, each a body as of `Part`. `body` is the id of the upload then, `digest` over the list of parts, and
    /// `sealed_len` the sum of theirs: no body has that id.
    Parts(Parts),
}

/// The sealed bytes of a small body while they are at hand beside its record: on their way, in the log, in the cache.
///
/// They are no part of the record: it is the same record with them and without, and is encoded without.
#[derive(Clone, Debug, Default)]
pub struct InHand(Option<Bytes>);

impl PartialEq for InHand {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for InHand {}

impl From<Bytes> for InHand {
    fn from(sealed: Bytes) -> Self {
        InHand(Some(sealed))
    }
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

impl Wrap {
    /// Bytes of a wrap.
    pub const BYTES: usize = 16 + 12 + 48;

    /// Its bytes: the generation's id, the nonce, the sealed key.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.kek.0);
        bytes[16..28].copy_from_slice(&self.nonce);
        bytes[28..].copy_from_slice(&self.sealed);
        bytes
    }

    /// Reads what `to_bytes` made; `None` of other bytes than so many.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let wrap = Wrap { kek: KekId(r.array().ok()?), nonce: r.array().ok()?, sealed: r.array().ok()? };
        r.end().ok().map(|()| wrap)
    }
}

impl ObjectRecord {
    /// The object's ETag as clients see it, without quotes.
    pub fn etag(&self) -> String {
        self.etag.to_text(&self.digest)
    }

    /// The body, where it has to be here before the record; none of a small one, which comes with it. Of an object in
    /// parts it stands for all of them: see [`ObjectRecord::bodies`].
    pub fn blob(&self) -> Option<BlobRef> {
        (!self.is_small()).then_some(self.body_ref())
    }

    /// Whether its body comes with its record.
    pub fn is_small(&self) -> bool {
        matches!(self.at, BodyAt::Small(_))
    }

    /// What the sealed body has to be, wherever it lies. Of an object in parts: what stands for all of them.
    pub fn body_ref(&self) -> BlobRef {
        BlobRef { body: self.body, sealed_len: self.sealed_len, digest: self.digest }
    }

    /// The sealed bodies that it is made of: one, or its parts in their order.
    pub fn bodies(&self) -> impl Iterator<Item = BlobRef> + Clone + '_ {
        let parts = self.parts();
        let only = parts.is_none().then(|| self.body_ref());
        only.into_iter().chain(parts.into_iter().flat_map(|parts| parts.iter().map(|part| part.blob)))
    }

    /// The parts that it is made of, where it came in parts.
    pub fn parts(&self) -> Option<&Parts> {
        if let BodyAt::Parts(parts) = &self.at { Some(parts) } else { None }
    }

    /// What its wrap is bound to.
    pub fn wrap_of(&self) -> BodyId {
        if let BodyAt::Part { upload, .. } = self.at { upload.as_body() } else { self.body }
    }

    /// Whether it is what that upload became.
    pub fn is_made_of(&self, upload: UploadId) -> bool {
        self.parts().is_some() && self.body == upload.as_body()
    }

    /// The sealed body, where it is small and at hand.
    pub fn in_hand(&self) -> Option<&Bytes> {
        match &self.at {
            BodyAt::Small(InHand(sealed)) => sealed.as_ref(),
            BodyAt::Blob | BodyAt::Part { .. } | BodyAt::Parts(_) => None,
        }
    }

    /// Puts the sealed body beside it, or takes it away. Refused where it is no small one, or not of that length.
    pub fn set_in_hand(&mut self, sealed: Option<Bytes>) -> Result<(), CodecError> {
        if sealed.as_ref().is_some_and(|sealed| sealed.len() as u64 != self.sealed_len) {
            return Err(CodecError::Value("small body length"));
        }
        match &mut self.at {
            BodyAt::Small(InHand(at)) => *at = sealed,
            BodyAt::Blob | BodyAt::Part { .. } | BodyAt::Parts(_) if sealed.is_some() => {
                return Err(CodecError::Value("small body"));
            }
            BodyAt::Blob | BodyAt::Part { .. } | BodyAt::Parts(_) => {}
        }
        Ok(())
    }
}

impl Record {
    /// The object, when the register holds one.
    pub fn object(&self) -> Option<&ObjectRecord> {
        match &self.state {
            State::Object(object) => Some(object),
            State::Nothing | State::Deleted | State::Bucket(_) | State::Members(_) => None,
            State::AccessKey(_) | State::Settings(_) | State::Uploads(_) => None,
        }
    }

    /// The uploads in parts that are open for an object's key.
    pub fn uploads(&self) -> &Uploads {
        match &self.state {
            State::Object(object) => &object.uploads,
            State::Uploads(uploads) => uploads,
            State::Nothing | State::Deleted | State::Bucket(_) | State::Members(_) => &Uploads::NONE,
            State::AccessKey(_) | State::Settings(_) => &Uploads::NONE,
        }
    }

    /// The bucket, when the register holds one.
    pub fn bucket(&self) -> Option<&BucketRecord> {
        match &self.state {
            State::Bucket(bucket) => Some(bucket),
            State::Nothing | State::Deleted | State::Object(_) | State::Uploads(_) | State::Members(_) => None,
            State::AccessKey(_) | State::Settings(_) => None,
        }
    }

    /// The access key, when the register holds one.
    pub fn access_key(&self) -> Option<&AccessRecord> {
        match &self.state {
            State::AccessKey(key) => Some(key),
            State::Nothing | State::Deleted | State::Object(_) | State::Uploads(_) | State::Members(_) => None,
            State::Bucket(_) | State::Settings(_) => None,
        }
    }

    /// The settings of the cluster, when the register holds them.
    pub fn settings(&self) -> Option<&SettingsRecord> {
        match &self.state {
            State::Settings(settings) => Some(settings),
            State::Nothing | State::Deleted | State::Object(_) | State::Uploads(_) | State::Members(_) => None,
            State::Bucket(_) | State::AccessKey(_) => None,
        }
    }

    /// Whether there is something of that name: an object, a bucket, an access key.
    pub fn is_present(&self) -> bool {
        match self.state {
            State::Object(_) | State::Bucket(_) | State::Members(_) => true,
            State::AccessKey(_) | State::Settings(_) => true,
            State::Nothing | State::Deleted | State::Uploads(_) => false,
        }
    }

    /// The bodies of what the record describes, wherever they lie.
    pub fn bodies(&self) -> impl Iterator<Item = BlobRef> + Clone + '_ {
        self.object().into_iter().flat_map(ObjectRecord::bodies)
    }

    /// The id that its object goes by: that of its one body, or what stands for its parts. Two records of one key with
    /// the same one have the same bodies.
    pub fn body(&self) -> Option<BodyId> {
        self.object().map(|object| object.body)
    }

    /// Bytes that what has no fixed length takes of its encoding, at most: an object's head, its list of parts, and the
    /// uploads that are open for its key. A small body is not counted, nor what the other kinds hold.
    pub fn variable_len(&self) -> usize {
        let object = self
            .object()
            .map_or(0, |object| object.head.weight() + object.parts().map_or(0, |parts| 4 + parts.as_bytes().len()));
        object + 16 * self.uploads().ids().len()
    }

    /// Whether the record refers to this body.
    pub fn refers_to(&self, body: BodyId) -> bool {
        self.bodies().any(|of| of.body == body)
    }

    /// The sealed bytes of its small body, where they are at hand.
    pub fn in_hand(&self) -> Option<&Bytes> {
        self.object().and_then(ObjectRecord::in_hand)
    }

    /// Puts the sealed bytes of its small body beside it, or takes them away. Refused where it has no such body.
    pub fn set_in_hand(&mut self, sealed: Option<Bytes>) -> Result<(), CodecError> {
        match &mut self.state {
            State::Object(object) => object.set_in_hand(sealed),
            _ if sealed.is_some() => Err(CodecError::Value("small body")),
            _ => Ok(()),
        }
    }

    /// Bytes of the small body that is at hand, sealed.
    pub fn in_hand_len(&self) -> usize {
        self.in_hand().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests;
