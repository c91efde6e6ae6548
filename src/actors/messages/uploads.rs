//! Uploads in parts, as clients ask for them (docs/adr/0048-uploads.md). All of it is the coordinator's, whoever votes.
//!
//! A part is stored by `BeginUpload` with `part`, and what follows on that: it is an object of its own until then.

use super::{ObjectError, Written};
use crate::base::{BucketName, Checksum, Condition, ObjectHead, ObjectKey, ObjectName, Permit, UploadId, Wrap};
use actix::Message;

pub use crate::base::{ChecksumKind, PartOf};

/// An upload that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its id.
    pub id: UploadId,
    /// The key that it is for.
    pub at: ObjectName,
    /// What its object will say of itself.
    pub head: ObjectHead,
    /// Which checksum it has; none where its writer named none.
    pub checksum: Option<ChecksumKind>,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// The data key of its parts, sealed.
    pub wrap: Wrap,
}

/// Begins an upload. Answered when a majority knows that it is open.
#[derive(Debug, Message)]
#[rtype(result = "Result<UploadId, ObjectError>")]
pub struct CreateUpload {
    /// The key that it is for.
    pub at: ObjectName,
    /// What its object will say of itself.
    pub head: ObjectHead,
    /// Which checksum it has.
    pub checksum: Option<ChecksumKind>,
}

/// Looks up an upload that is open: `NoSuchUpload` where it is not.
#[derive(Debug, Message)]
#[rtype(result = "Result<OpenUpload, ObjectError>")]
pub struct FindUpload {
    /// The key that it is for.
    pub at: ObjectName,
    /// Its id.
    pub upload: UploadId,
}

/// A part as whoever completes an upload names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPart {
    /// Its number.
    pub number: u16,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its checksum, where it is named: that must be the part's.
    pub checksum: Option<Checksum>,
}

/// Has an open upload become an object. `NoSuchUpload`, `WrongParts`, `SumMismatch`, `Precondition`, and what a write may
/// meet; whatever it is, the upload stays open. One that has become an object answers as it did then, whatever the
/// condition is.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, ObjectError>")]
pub struct CompleteUpload {
    /// The key that it is for.
    pub at: ObjectName,
    /// Its id.
    pub upload: UploadId,
    /// Of which parts, in order.
    pub parts: Vec<NamedPart>,
    /// What must hold of the object that it replaces.
    pub condition: Condition,
    /// What the checksum of all must come to: the client's own.
    pub checksum: Option<Checksum>,
    /// How long the object must be: the client's own count.
    pub len: Option<u64>,
    /// Freed when it is answered.
    pub permit: Option<Permit>,
}

/// Ends an open upload without an object. `NoSuchUpload` where it is not open.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ObjectError>")]
pub struct AbortUpload {
    /// The key that it is for.
    pub at: ObjectName,
    /// Its id.
    pub upload: UploadId,
}

/// One page of the parts of an open upload, by their numbers.
#[derive(Debug, Message)]
#[rtype(result = "Result<PartPage, ObjectError>")]
pub struct ListParts {
    /// The key that it is for.
    pub at: ObjectName,
    /// Its id.
    pub upload: UploadId,
    /// Only numbers greater than this.
    pub after: u16,
    /// Most parts, 1 to 1000.
    pub limit: usize,
}

/// Parts of an upload.
#[derive(Clone, Debug)]
pub struct PartPage {
    /// The upload.
    pub upload: OpenUpload,
    /// Its parts, by their numbers.
    pub parts: Vec<PartInfo>,
    /// Whether there are more behind the last of them.
    pub is_truncated: bool,
}

/// A part that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number.
    pub number: u16,
    /// Bytes of it.
    pub len: u64,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// When it was stored, in milliseconds since 1970.
    pub written_ms: u64,
}

/// One page of the uploads of a bucket that are open, by key and id.
#[derive(Debug, Message)]
#[rtype(result = "Result<UploadPage, ObjectError>")]
pub struct ListUploads {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that hold this after the prefix are folded into one common prefix.
    pub delimiter: Option<String>,
    /// Only what stands behind this key (and, where an upload is named, behind that upload of the key); it may be a common
    /// prefix.
    pub after: Option<(String, Option<UploadId>)>,
    /// Most uploads and common prefixes together, 1 to 1000.
    pub limit: usize,
}

/// Uploads of a bucket.
#[derive(Clone, Debug, Default)]
pub struct UploadPage {
    /// Them, by key and id.
    pub uploads: Vec<UploadInfo>,
    /// Common prefixes, in order.
    pub prefixes: Vec<String>,
    /// What the next page begins behind; none at the end.
    pub next: Option<(String, Option<UploadId>)>,
}

/// An upload in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// The key that it is for.
    pub key: ObjectKey,
    /// Its id.
    pub id: UploadId,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// Which checksum it has.
    pub checksum: Option<ChecksumKind>,
}
