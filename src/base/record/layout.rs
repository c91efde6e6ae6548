//! The layout of a record, version 7: docs/format.md, "Record".
//!
//! Invariants
//! - A record has one encoding: what is decoded is encoded to the same bytes. Its body is no part of it.
//! - What this release does not act on (older versions, delete markers, retention, tags) has its place in
//!   the layout and is refused where it is anything but absent: a node must not judge by the rest of a record.

use super::{
    AccessRecord, Ballot, BodyAt, BodyId, BucketId, BucketRecord, Checksum, CodecError, Etag, EtagMode, InHand,
    Incarnation, KekId, Lineage, MEMBERS_BYTES_MAX, ObjectHead, ObjectRecord, Parts, PublicGrants, Quota, Reader,
    Record, SMALL_SEALED_BYTES_MAX, SettingsRecord, Stamp, State, UploadId, Uploads, VERSION_MAX, Wrap, WriteId,
    Writer,
};
use crate::base::upload::PART_NUMBER_MAX;
use bytes::Bytes;

const VERSION: u8 = 7;
/// The layout of a bucket within a record.
const BUCKET_VERSION: u8 = 2;
/// Which of the settings that stand behind its fields a bucket has: the two numbers of its quota.
const BUCKET_QUOTA: u8 = 1 | 2;
/// The same: something is open to everybody.
const BUCKET_PUBLIC: u8 = 4;
/// The same: its ETags are fast. It has no field.
const BUCKET_FAST: u8 = 8;

/// Most bytes of a version entry, without the list of its parts.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// The version is shown as `null`: its bucket had no versions when it was written.
const FLAG_NULL: u16 = 2;
const CONTENT_SMALL: u8 = 0;
const CONTENT_BLOB: u8 = 1;
const CONTENT_PARTS: u8 = 2;
const CONTENT_PART: u8 = 3;

mod state {
    pub const DELETED: u8 = 0;
    pub const BUCKET: u8 = 1;
    pub const OBJECT: u8 = 2;
    pub const NOTHING: u8 = 3;
    pub const MEMBERS: u8 = 4;
    pub const ACCESS_KEY: u8 = 5;
    pub const SETTINGS: u8 = 6;
    pub const UPLOADS: u8 = 7;
}

impl Record {
    /// The record in its newest version, without its body.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(384));
        let tag = match &self.state {
            State::Deleted => state::DELETED,
            State::Bucket(_) => state::BUCKET,
            State::Object(_) => state::OBJECT,
            State::Nothing => state::NOTHING,
            State::Members(_) => state::MEMBERS,
            State::AccessKey(_) => state::ACCESS_KEY,
            State::Settings(_) => state::SETTINGS,
            State::Uploads(_) => state::UPLOADS,
        };
        w.u8(VERSION).u8(tag).u64(self.ballot.stamp.0).u64(self.ballot.node.0);
        self.lineage.write(&mut w);
        w.u64(self.written_ms);
        match &self.state {
            State::Deleted | State::Nothing => {}
            State::Members(list) => {
                w.bytes(list);
            }
            State::Bucket(bucket) => write_bucket(&mut w, bucket),
            State::Object(object) => self.write_object(&mut w, object),
            State::AccessKey(key) => key.write(&mut w),
            State::Settings(settings) => settings.write(&mut w),
            State::Uploads(uploads) => uploads.write(&mut w),
        }
        w.0
    }

    fn write_object(&self, w: &mut Writer, object: &ObjectRecord) {
        w.u64(object.number.saturating_add(1));
        // The entry's length is known when it is written.
        let at = w.0.len();
        w.u32(0);
        self.write_entry(w, object);
        let len = u32::try_from(w.0.len() - at - 4).expect("an entry is bounded where requests are checked");
        w.0[at..at + 4].copy_from_slice(&len.to_le_bytes());
        // No older entries, no history pages.
        w.u8(0).u16(0);
        object.uploads.write(w);
        // Behind all that a list looks at.
        if let BodyAt::Parts(parts) = &object.at {
            w.bytes(parts.as_bytes());
        }
    }

    fn write_entry(&self, w: &mut Writer, object: &ObjectRecord) {
        w.u64(object.number).raw(&self.lineage.own().0).u16(FLAG_NULL).u64(self.written_ms);
        w.u64(object.len);
        object.etag.write(w);
        let kind = match object.at {
            BodyAt::Small(_) => CONTENT_SMALL,
            BodyAt::Blob => CONTENT_BLOB,
            BodyAt::Part { .. } => CONTENT_PART,
            BodyAt::Parts(_) => CONTENT_PARTS,
        };
        w.u8(kind);
        if let BodyAt::Part { upload, number } = &object.at {
            w.raw(&upload.0).u16(*number);
        }
        w.raw(&object.body.0).u64(object.sealed_len).raw(&object.digest);
        w.raw(&object.wrap.to_bytes());
        Checksum::write(object.checksum.as_ref(), w);
        object.head.write(w);
        // No tags.
        w.u8(0);
    }

    /// Reads a record. Its small body, if it has one, is not at hand then.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let (tag, mut record) = read_front(&mut r)?;
        record.state = match tag {
            state::DELETED => State::Deleted,
            state::BUCKET => State::Bucket(read_bucket(&mut r)?),
            state::OBJECT => State::Object(Box::new(read_object(&mut r, &record)?)),
            state::NOTHING => State::Nothing,
            state::MEMBERS => State::Members(Bytes::copy_from_slice(r.bytes(MEMBERS_BYTES_MAX, "member list")?)),
            state::ACCESS_KEY => State::AccessKey(Box::new(AccessRecord::read(&mut r)?)),
            state::UPLOADS => match Uploads::read(&mut r)? {
                uploads if uploads.is_empty() => return Err(CodecError::Value("count of uploads")),
                uploads => State::Uploads(uploads),
            },
            state::SETTINGS => State::Settings(Box::new(SettingsRecord::read(&mut r)?)),
            _ => return Err(CodecError::Value("record state")),
        };
        r.end()?;
        Ok(record)
    }
}

/// What stands before all states: the state's tag, and a record without it.
fn read_front(r: &mut Reader<'_>) -> Result<(u8, Record), CodecError> {
    if r.u8()? != VERSION {
        return Err(CodecError::Value("record version"));
    }
    let tag = r.u8()?;
    let ballot = Ballot { stamp: Stamp(r.u64()?), node: Incarnation(r.u64()?) };
    let lineage = Lineage::read(r)?;
    Ok((tag, Record { ballot, lineage, written_ms: r.u64()?, state: State::Nothing }))
}

fn write_bucket(w: &mut Writer, bucket: &BucketRecord) {
    let BucketRecord { id, generation, is_open, created_ms, quota, etag, public } = bucket;
    w.u8(BUCKET_VERSION).u64(id.0).u64(*generation).u8(if *is_open { 1 } else { 2 }).u64(*created_ms);
    // Which settings follow, each in the order of its flag.
    let fast = if *etag == EtagMode::Fast { BUCKET_FAST } else { 0 };
    w.u8(quota.flags() | if public.is_empty() { 0 } else { BUCKET_PUBLIC } | fast);
    quota.write(w);
    if !public.is_empty() {
        public.write(w);
    }
}

/// What a later layout says of a bucket is not passed over: a node that does not know it must not judge by the rest.
fn read_bucket(r: &mut Reader<'_>) -> Result<BucketRecord, CodecError> {
    if r.u8()? != BUCKET_VERSION {
        return Err(CodecError::Value("bucket version"));
    }
    let (id, generation) = (BucketId(r.u64()?), r.u64()?);
    let is_open = match r.u8()? {
        1 => true,
        2 => false,
        _ => return Err(CodecError::Value("bucket state")),
    };
    let (created_ms, settings) = (r.u64()?, r.u8()?);
    if settings & !(BUCKET_QUOTA | BUCKET_PUBLIC | BUCKET_FAST) != 0 {
        return Err(CodecError::Value("bucket settings"));
    }
    let quota = Quota::read(r, settings)?;
    let public = if settings & BUCKET_PUBLIC == 0 { PublicGrants::NONE } else { PublicGrants::read(r)? };
    let etag = if settings & BUCKET_FAST == 0 { EtagMode::Md5 } else { EtagMode::Fast };
    Ok(BucketRecord { id, generation, is_open, created_ms, quota, etag, public })
}

/// The fields of a version entry up to its digest.
struct EntryFront {
    number: u64,
    write: WriteId,
    written_ms: u64,
    len: u64,
    etag: Etag,
    content: Content,
    body: BodyId,
    sealed_len: u64,
    digest: [u8; 32],
}

/// What kind of content an entry has.
enum Content {
    Small,
    Blob,
    Part {
        upload: UploadId,
        number: u16,
    },
    /// The list of them stands behind the entries.
    Parts,
}

impl Content {
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            CONTENT_SMALL => Ok(Content::Small),
            CONTENT_BLOB => Ok(Content::Blob),
            CONTENT_PARTS => Ok(Content::Parts),
            CONTENT_PART => {
                let (upload, number) = (UploadId(r.array()?), r.u16()?);
                let is_one = (1..=PART_NUMBER_MAX).contains(&number);
                if is_one { Ok(Content::Part { upload, number }) } else { Err(CodecError::Value("number of a part")) }
            }
            _ => Err(CodecError::Value("content kind")),
        }
    }
}

impl EntryFront {
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (number, write) = (r.u64()?, WriteId(r.array()?));
        if r.u16()? != FLAG_NULL {
            return Err(CodecError::Value("version flags"));
        }
        let (written_ms, len) = (r.u64()?, r.u64()?);
        let etag = Etag::read(r)?;
        let content = Content::read(r)?;
        let (body, sealed_len, digest) = (BodyId(r.array()?), r.u64()?, r.array()?);
        Ok(EntryFront { number, write, written_ms, len, etag, content, body, sealed_len, digest })
    }
}

/// Refuses what this release has no use for.
fn absent(count: usize, field: &'static str) -> Result<(), CodecError> {
    if count == 0 { Ok(()) } else { Err(CodecError::Value(field)) }
}

fn read_object(r: &mut Reader<'_>, record: &Record) -> Result<ObjectRecord, CodecError> {
    let next = r.u64()?;
    let mut entry = Reader(r.bytes(ENTRY_BYTES_MAX, "version entry")?);
    let front = EntryFront::read(&mut entry)?;
    if front.number > VERSION_MAX || next != front.number + 1 {
        return Err(CodecError::Value("next version"));
    }
    // The current version was made by the write that made the state.
    if front.write != record.lineage.own() || front.written_ms != record.written_ms {
        return Err(CodecError::Value("write of a version"));
    }
    let wrap = Wrap { kek: KekId(entry.array()?), nonce: entry.array()?, sealed: entry.array()? };
    let checksum = Checksum::read(&mut entry)?;
    let head = ObjectHead::read(&mut entry)?;
    absent(usize::from(entry.u8()?), "tags")?;
    entry.end()?;
    absent(usize::from(r.u8()?), "older versions")?;
    absent(usize::from(r.u16()?), "history pages")?;
    let uploads = Uploads::read(r)?;
    let EntryFront { number, len, etag, content, body, sealed_len, digest, .. } = front;
    let at = match content {
        Content::Small if sealed_len > SMALL_SEALED_BYTES_MAX as u64 => {
            return Err(CodecError::Value("small body length"));
        }
        Content::Small => BodyAt::Small(InHand::default()),
        Content::Blob => BodyAt::Blob,
        Content::Part { upload, number } => BodyAt::Part { upload, number },
        Content::Parts => {
            let parts = Parts::decode(r.bytes(Parts::BYTES_MAX, "parts")?)?;
            if parts.len() != len || parts.sealed_len() != sealed_len {
                return Err(CodecError::Value("length of parts"));
            }
            BodyAt::Parts(parts)
        }
    };
    Ok(ObjectRecord { number, len, etag, checksum, head, body, sealed_len, digest, wrap, at, uploads })
}
