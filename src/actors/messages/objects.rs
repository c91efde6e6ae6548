//! What clients ask: objects, buckets, lists; and how the store is, and its end.
//!
//! HTTP handlers send these to the CoordinatorActor. What reads goes to the StoreActor itself on a node that decides
//! alone by its configuration, and is answered there with what that node holds.

use super::{
    BucketInfo, BucketSetting, Consistency, Download, ListPage, ObjectError, ObjectInfo, PartOf, StoreError,
    StoreStatus, StoreUpload, Written,
};
use crate::actors::body_streams::BodyStreams;
use crate::actors::underway::Counted;
use crate::base::{BucketName, BucketRecord, Condition, ExpectedSums, ObjectHead, ObjectName, Permit, WantedSums};
use actix::Message;
use bytes::Bytes;

/// Stores a small object (at most `inline_max` bytes) in one message. Answered once a majority holds it durably; where
/// nobody else has a vote, that is this node.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, ObjectError>")]
pub struct PutSmall {
    /// The object's bucket and key.
    pub at: ObjectName,
    /// What must hold of the state that it replaces.
    pub condition: Condition,
    /// What the client said of it.
    pub head: ObjectHead,
    /// All its bytes, in pieces as they arrived.
    pub body: Vec<Bytes>,
    /// Which sums of them are computed.
    pub sums: WantedSums,
    /// What those must come to: else `SumMismatch`, and nothing is stored.
    pub expected: ExpectedSums,
    /// Freed when the write is answered.
    pub permit: Option<Permit>,
}

/// An upload as it goes to and fro: what the store has of it, and its way to the other nodes of a cluster.
#[derive(Debug)]
pub struct Upload {
    pub(in crate::actors) body: StoreUpload,
    pub(in crate::actors) streams: Option<BodyStreams>,
    /// Counted in its bucket, where that has a quota and the client said how long it is.
    pub(in crate::actors) announced: Option<Counted>,
}

/// Begins an object that does not fit `PutSmall`. Nothing is visible before `FinishUpload`.
/// Fails early with `NoSuchBucket` or `Full`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Upload, ObjectError>")]
pub struct BeginUpload {
    /// The object's bucket and key.
    pub at: ObjectName,
    /// What must hold of the state that it replaces, when it is finished.
    pub condition: Condition,
    /// What the client said of it.
    pub head: ObjectHead,
    /// Which part of an upload it is, if it is one: no object then, and `condition` and `head` are not looked at.
    pub part: Option<PartOf>,
    /// Bytes announced by the client, if it did: refused early when they cannot fit.
    pub len_hint: Option<u64>,
    /// Which sums of its bytes are computed.
    pub sums: WantedSums,
    /// Freed when the upload ends, however it ends.
    pub permit: Option<Permit>,
}

/// Seals and stages more bytes. The upload comes back when they are written (not yet durable).
#[derive(Debug, Message)]
#[rtype(result = "Result<Upload, ObjectError>")]
pub struct AppendUpload {
    /// The upload, which comes back with the answer.
    pub upload: Upload,
    /// Some MiB at most. What lies in whole chunks in one buffer is sealed without being copied.
    pub data: Vec<Bytes>,
}

/// Makes the body durable, then the record; answered once a majority holds both.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, ObjectError>")]
pub struct FinishUpload {
    /// The upload, with all of its bytes.
    pub upload: Upload,
    /// What its sums must come to: else `SumMismatch`, and nothing becomes visible.
    pub expected: ExpectedSums,
}

/// Writes an object anew under another name, or under its own with another head. A large body is shared: none of its
/// bytes moves. What the record of the source says of its body goes along. Answered as `PutSmall` is.
///
/// `Precondition` where the source is another one than was judged, or the condition does not hold. Onto itself it
/// replaces what was judged and nothing else. `NoMajority` where nobody who was reached has the body: nothing was written.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, ObjectError>")]
pub struct CopyObject {
    /// The object that is copied.
    pub from: ObjectName,
    /// The ETag of it that was judged, without quotes.
    pub from_etag: String,
    /// Where it is to be.
    pub to: ObjectName,
    /// What must hold of the state that it replaces there.
    pub condition: Condition,
    /// What the client says of it; none: what is said of the source.
    pub head: Option<ObjectHead>,
    /// Freed when the copy is answered.
    pub permit: Option<Permit>,
}

/// Looks an object up; `NoSuchBucket` and `NoSuchKey` are told apart.
#[derive(Debug, Message)]
#[rtype(result = "Result<(ObjectInfo, Download), ObjectError>")]
pub struct OpenObject {
    /// The object's bucket and key.
    pub at: ObjectName,
    /// Whether to ask the other nodes for anything newer.
    pub consistency: Consistency,
    /// Freed when the download is dropped.
    pub permit: Option<Permit>,
}

/// Opens the next plaintext of a download (set its range with `Download::set_range` first): up to
/// `PIECE_BYTES`, in slices of whole chunks. An empty answer means the range is done.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Download, Vec<Bytes>), StoreError>")]
pub struct ReadDownload {
    /// The download, which comes back with the answer.
    pub download: Download,
}

/// Deletes an object: leaves a tombstone. A missing key writes nothing and answers `existed: false`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, ObjectError>")]
pub struct DeleteObject {
    /// The object's bucket and key.
    pub at: ObjectName,
    /// What must hold of the present state.
    pub condition: Condition,
}

/// Creates a bucket; creating one that exists changes nothing (`existed: true`).
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, ObjectError>")]
pub struct CreateBucket {
    /// The bucket to be there.
    pub bucket: BucketName,
}

/// Deletes a bucket that holds nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, ObjectError>")]
pub struct DeleteBucket {
    /// The bucket to be gone.
    pub bucket: BucketName,
}

/// Changes what a bucket is set to, a part of it. `NoSuchBucket` where there is none.
#[derive(Debug, Message)]
#[rtype(result = "Result<BucketSet, ObjectError>")]
pub struct SetBucket {
    /// The bucket that is set.
    pub bucket: BucketName,
    /// What of it.
    pub setting: BucketSetting,
}

/// A bucket that was set.
#[derive(Debug)]
pub struct BucketSet {
    /// The write.
    pub written: Written,
    /// What it was set to before; of a node that decides alone, when it was asked.
    pub was: Option<BucketRecord>,
}

/// All buckets, sorted by name, each with what the node holds of it that is asked.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<BucketInfo>, ObjectError>")]
pub struct ListBuckets {
    /// Whether to ask the other nodes for anything newer.
    pub consistency: Consistency,
}

/// One page of a bucket's objects, sorted by key in byte order.
#[derive(Debug, Message)]
#[rtype(result = "Result<ListPage, ObjectError>")]
pub struct ListObjects {
    /// The bucket whose objects are listed.
    pub bucket: BucketName,
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that hold this after the prefix are folded into one common prefix.
    pub delimiter: Option<String>,
    /// Only keys (and common prefixes) greater than this.
    pub after: Option<String>,
    /// Most entries and common prefixes together, 1 to 1000.
    pub limit: usize,
    /// Whether to ask the other nodes for anything newer.
    pub consistency: Consistency,
}

/// The state of the store, for status, metrics and readiness.
#[derive(Debug, Message)]
#[rtype(result = "StoreStatus")]
pub struct ObserveStore;

/// Answered when everything begun is durable and the index holds all of the log. No writes after.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct DrainStore;
