//! What coordinators ask of the store beside them.

use super::{
    BeginUpload, BodyHold, ChecksumKind, Decided, Download, Landed, ObjectInfo, RegisterSlot, Reply, Sealed,
    StoreError, StoreUpload, Vote, Written,
};
use crate::base::{
    BlobRef, BucketId, BucketName, Condition, ExpectedSums, Folds, ObjectHead, ObjectName, ObjectRecord, Page, Permit,
    Record, RegisterKey, UploadId, WantedSums,
};
use crate::store::mutation::Mutation;
use crate::wire::Closed;
use actix::Message;
use bytes::Bytes;
use std::sync::Arc;

/// Votes of this node as a replica. Answered in order, when durable; marks alone are not answered for.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Option<Reply>>, StoreError>")]
pub struct CastHere {
    /// The votes, answered in their order.
    pub votes: Vec<Vote>,
}

/// What this node holds of a register, if it is in memory.
#[derive(Debug, Message)]
#[rtype(result = "Option<RegisterSlot>")]
pub struct Peek {
    /// The register that is looked up in memory.
    pub key: RegisterKey,
}

/// Begins an upload without asking for its bucket: the coordinator has asked, and this node may not know it yet.
#[derive(Debug, Message)]
#[rtype(result = "Result<StoreUpload, StoreError>")]
pub struct StageUpload(pub BeginUpload);

/// Seals what is said of an upload in parts: an object without a byte, with the data key of its parts.
#[derive(Debug, Message)]
#[rtype(result = "Result<Box<ObjectRecord>, StoreError>")]
pub struct SealUpload {
    /// The upload.
    pub upload: UploadId,
    /// What its object will say of itself.
    pub head: ObjectHead,
    /// Which checksum it has.
    pub checksum: Option<ChecksumKind>,
}

/// What a client wants, decided by this node alone; answered when durable. Where others have a vote too nothing is
/// done, and it comes back.
#[derive(Debug, Message)]
#[rtype(result = "Result<Decided<Written>, StoreError>")]
pub struct MutateHere(pub Mutation);

/// Seals a small body; where this node decides alone, its record is decided with the same message. Else it comes back
/// for the vote.
#[derive(Debug, Message)]
#[rtype(result = "Result<Decided<Written>, StoreError>")]
pub struct SealSmall {
    /// The object's bucket and key.
    pub at: ObjectName,
    /// What must hold of the state that it replaces.
    pub condition: Condition,
    /// What the client said of it.
    pub head: ObjectHead,
    /// The whole body, in pieces as it came.
    pub body: Vec<Bytes>,
    /// Which sums of it are computed.
    pub sums: WantedSums,
    /// What those must come to.
    pub expected: ExpectedSums,
    /// Whether this node decides alone, as the coordinator knows.
    pub alone: bool,
}

/// Seals and stages more bytes; they come back sealed, as they lie in the blob, where a copy is wanted.
#[derive(Debug, Message)]
#[rtype(result = "Result<(StoreUpload, Bytes), StoreError>")]
pub struct SealPieces {
    /// The upload, which comes back with the answer.
    pub upload: StoreUpload,
    /// Some MiB at most, and about `PIECE_BYTES` where a copy is wanted.
    pub data: Vec<Bytes>,
    /// Whether somebody takes the sealed bytes; else none come back.
    pub copy: bool,
}

/// Seals an upload's last bytes; they come back where a copy is wanted.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Sealed, Bytes), StoreError>")]
pub struct SealLast {
    /// The upload, which comes back with the answer.
    pub upload: StoreUpload,
    /// What the sums of the whole body must come to.
    pub expected: ExpectedSums,
    /// Whether somebody takes the sealed bytes; else none come back.
    pub copy: bool,
}

/// Makes an upload's body durable, without a record.
#[derive(Debug, Message)]
#[rtype(result = "Result<Landed, StoreError>")]
pub struct LandUpload {
    /// The upload, with all of its bytes.
    pub upload: StoreUpload,
    /// What its sums must come to.
    pub expected: ExpectedSums,
}

/// Makes a body durable whose last bytes `SealLast` has sealed, without a record.
#[derive(Debug, Message)]
#[rtype(result = "Result<Landed, StoreError>")]
pub struct LandSealed {
    /// The body, written to its end and not durable yet.
    pub sealed: Sealed,
}

/// Holds a body that is here, so that a record may refer to it anew; none where it is not here.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<BodyHold>, StoreError>")]
pub struct HoldBody(pub BlobRef);

/// Reads a small body and seals it anew for another object; where this node decides alone, the record of that is decided
/// with the same message. Else it comes back for the vote.
#[derive(Debug, Message)]
#[rtype(result = "Result<Decided<Written>, StoreError>")]
pub struct CopySmall {
    /// The register of the source.
    pub key: RegisterKey,
    /// The record of it, which was chosen, whatever this node holds of the register.
    pub record: Arc<Record>,
    /// The bucket and key of the copy.
    pub at: ObjectName,
    /// What must hold of the state that it replaces.
    pub condition: Condition,
    /// What is said of it.
    pub head: ObjectHead,
    /// Whether this node decides alone, as the coordinator knows.
    pub alone: bool,
}

/// Opens the body of a record that was chosen.
#[derive(Debug, Message)]
#[rtype(result = "Result<(ObjectInfo, Download), StoreError>")]
pub struct OpenRecord {
    /// The register that the record is of.
    pub key: RegisterKey,
    /// The chosen record whose body is to be read, whatever this node holds of the register.
    pub record: Arc<Record>,
    /// Freed when the download is dropped.
    pub permit: Option<Permit>,
}

/// A page of registers as replicas see them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Page<(RegisterKey, RegisterSlot)>, StoreError>")]
pub struct ScanSlots {
    /// Where the range begins.
    pub from: std::ops::Bound<RegisterKey>,
    /// Where to end, itself not included.
    pub to: RegisterKey,
    /// Most registers of the page.
    pub limit: usize,
}

/// What a list shows of a range, as replicas see it: of each common prefix the first that is present; and tombstones that
/// are not known to be chosen.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Page<(RegisterKey, RegisterSlot)>, StoreError>")]
pub struct ShowSlots {
    /// What the list is of.
    pub folds: Folds,
    /// Where the range begins.
    pub from: std::ops::Bound<RegisterKey>,
    /// Where to end, itself not included.
    pub to: RegisterKey,
    /// Most registers of the page.
    pub limit: usize,
}

/// What this node holds of a bucket's register, if it holds a bucket there.
#[derive(Debug, Message)]
#[rtype(result = "Option<RegisterSlot>")]
pub struct KnowsBucket {
    /// The bucket that is asked for.
    pub bucket: BucketName,
}

/// The name of a bucket, if this node holds that life of it.
#[derive(Debug, Message)]
#[rtype(result = "Option<BucketName>")]
pub struct NameOfBucket {
    /// The life that is asked for.
    pub id: BucketId,
}

/// Whether this node holds a bucket as a deletion closed it. Asked before it is asked what it shows of that bucket.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct HoldsClosed(pub Closed);

/// Buckets that this node holds as being deleted, with the generations under which they were closed.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<(BucketName, u64)>, StoreError>")]
pub struct FindClosing;
