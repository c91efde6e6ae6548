//! What may be said to the StoreActor. Handlers and replicators know these and nothing behind them.
//!
//! Bodies travel in hand-over-hand style: an opaque `Upload` or `Download` goes into a message and
//! comes back with its answer. Whoever drops it, on purpose or because a client left, ends it: a
//! dropped upload removes its staged file. So there is no table of open transfers to leak.

use super::seats::Unseatable;
use super::status::MembersStatus;
use super::streams::BodyStreams;
use crate::base::{
    BodyId, BucketName, Condition, Epoch, Incarnation, NodeName, ObjectName, ObjectRecord, Page, Permit, Record,
    RegisterKey, Sum,
};
use actix::Message;
use bytes::Bytes;
use std::sync::Arc;

pub use crate::register::{ListMark, Roster};
pub use crate::store::StoreError;
pub use crate::store::download::Download;
pub use crate::store::graves::Grave;
pub use crate::store::incoming::{Announced, Incoming, Purpose};
pub use crate::store::mend::Ailment;
pub use crate::store::outgoing::Outgoing;
pub use crate::store::scrub::{Part, Round, Seen};
pub use crate::store::scrub_place::Place;
pub use crate::store::status::StoreStatus;
pub use crate::store::tree::LEAVES_PER_BRANCH;
pub use crate::store::types::{Change, ListPage, NewObject, ObjectInfo, Offer, Want, Written};
pub use crate::store::upload::{Landed, Sealed, Upload as StoreUpload};
pub use crate::store::votes::{Reply, Seating, Vote};

/// What a replica keeps of a register.
pub type RegisterSlot = crate::register::Slot<Arc<Record>>;

/// What a read rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What a majority holds: every write that was answered before the read began.
    #[default]
    Majority,
    /// What this node holds: it answers without the others, and may be behind them.
    Local,
}

/// Most bytes that an open upload of that many holds beside what it was sent.
pub fn upload_holds(len: Option<u64>) -> u64 {
    crate::store::upload::holds(len)
}

/// Bytes of a body in one message, but for those of a large upload; senders gather about this much before they send.
pub const PIECE_BYTES: usize = 1024 * 1024;

/// Stores a small object (at most `inline_max` bytes) in one message. Answered once durable here.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct PutSmall {
    /// Which object.
    pub at: ObjectName,
    /// What must hold of the state that it replaces.
    pub condition: Condition,
    /// What the client said of it.
    pub head: NewObject,
    /// All its bytes, in pieces as they arrived.
    pub body: Vec<Bytes>,
    /// Freed when the write is answered.
    pub permit: Option<Permit>,
}

/// An upload as it goes to and fro: what the store has of it, and its way to the other nodes of a cluster.
#[derive(Debug)]
pub struct Upload {
    pub(super) body: StoreUpload,
    pub(super) streams: Option<BodyStreams>,
}

/// Begins an object that does not fit `PutSmall`. Nothing is visible before `FinishUpload`.
/// Fails early with `NoSuchBucket` or `Full`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Upload, StoreError>")]
pub struct BeginUpload {
    /// Which object.
    pub at: ObjectName,
    /// What must hold of the state that it replaces, when it is finished.
    pub condition: Condition,
    /// What the client said of it.
    pub head: NewObject,
    /// Bytes announced by the client, if it did: refused early when they cannot fit.
    pub len_hint: Option<u64>,
    /// Freed when the upload ends, however it ends.
    pub permit: Option<Permit>,
}

/// The same without asking for the bucket: whoever decides with other nodes has, and this node may not know it yet.
#[derive(Debug, Message)]
#[rtype(result = "Result<StoreUpload, StoreError>")]
pub struct StageUpload(pub BeginUpload);

/// Seals and stages more bytes. The upload comes back when they are written (not yet durable).
#[derive(Debug, Message)]
#[rtype(result = "Result<Upload, StoreError>")]
pub struct AppendUpload {
    /// The open upload.
    pub upload: Upload,
    /// Some MiB at most. What lies in whole chunks in one stretch of memory is sealed without being copied.
    pub data: Vec<Bytes>,
}

/// Makes the body durable, then the record; answered after both.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct FinishUpload {
    /// The open upload.
    pub upload: Upload,
}

/// Looks an object up; `NoSuchBucket` and `NoSuchKey` are told apart.
#[derive(Debug, Message)]
#[rtype(result = "Result<(ObjectInfo, Download), StoreError>")]
pub struct OpenObject {
    /// Which object.
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
    /// The open download.
    pub download: Download,
}

/// Deletes an object: leaves a tombstone. A missing key writes nothing and answers `existed: false`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct DeleteObject {
    /// Which object.
    pub at: ObjectName,
    /// What must hold of the present state.
    pub condition: Condition,
}

/// Creates a bucket; creating one that exists changes nothing (`existed: true`).
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct CreateBucket {
    /// Its name.
    pub bucket: BucketName,
}

/// Deletes a bucket that holds nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct DeleteBucket {
    /// Its name.
    pub bucket: BucketName,
}

/// All buckets with their creation time (ms since 1970), sorted by name.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<(BucketName, u64)>, StoreError>")]
pub struct ListBuckets {
    /// Whether to ask the other nodes for anything newer.
    pub consistency: Consistency,
}

/// One page of a bucket's objects, sorted by key in byte order.
#[derive(Debug, Message)]
#[rtype(result = "Result<ListPage, StoreError>")]
pub struct ListObjects {
    /// Which bucket.
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

// ---- said by replicators and the peer listener ----

/// Entries of the feed with `seq > after`, in order, at most `limit`; keys that changed again appear
/// only at their latest number, so numbers have gaps.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Change>, StoreError>")]
pub struct ChangesAfter {
    /// The last number already seen.
    pub after: u64,
    /// Most entries.
    pub limit: usize,
}

/// The present records of some registers (missing ones are left out), until `bytes_max` is reached.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<(RegisterKey, Arc<Record>)>, StoreError>")]
pub struct FetchRecords {
    /// Which registers.
    pub keys: Vec<RegisterKey>,
    /// Stop before encoded records exceed this (at least one is returned).
    pub bytes_max: usize,
}

/// Compares offers with what is here; answers in the same order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Want>, StoreError>")]
pub struct CompareOffers {
    /// What the peer offers.
    pub offers: Vec<Offer>,
}

/// Takes over records from a peer where their ballot is higher. Answered once durable here.
/// A record whose blob is not here fails the whole message with `Mismatch`; `OtherList` from an earlier epoch, or from
/// somebody without a place in the member list.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct LearnRecords {
    /// Keys with their records.
    pub records: Vec<(RegisterKey, Record)>,
    /// Who sent them.
    pub from: Incarnation,
    /// Its epoch before it read them.
    pub epoch: Epoch,
}

/// Drops tombstones under this member list, where they are what the registers hold. Answered once durable here.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Bury {
    /// The member list under which that was found to be safe.
    pub list: ListMark,
    /// Which.
    pub graves: Vec<Grave>,
}

/// Of a page of registers, those whose tombstones are older than `age`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Page<Grave>, StoreError>")]
pub struct FindDue {
    /// Behind which register to begin.
    pub after: Option<RegisterKey>,
    /// How old.
    pub age: std::time::Duration,
    /// Most registers to look at.
    pub limit: usize,
}

/// How many registers hold a tombstone; none before all are counted.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<u64>, StoreError>")]
pub struct CountTombstones;

/// Begins to receive a sealed blob from a peer.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Incoming, StoreError>")]
pub struct BeginIncoming {
    /// Its name.
    pub body: BodyId,
    /// Most bytes that it may have, where that is known.
    pub bytes_max: Option<u64>,
    /// What it comes for.
    pub purpose: Purpose,
}

/// Stages more sealed bytes.
#[derive(Debug, Message)]
#[rtype(result = "Result<Incoming, StoreError>")]
pub struct AppendIncoming {
    /// The open transfer.
    pub incoming: Incoming,
    /// Sealed bytes in order.
    pub data: Vec<Bytes>,
}

/// Checks length and digest and makes the blob durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct FinishIncoming {
    /// The open transfer.
    pub incoming: Incoming,
    /// What it has to be: a body that does not match is refused and removed.
    pub announced: Announced,
}

/// Removes a blob that was sent here for a record that will not come. One that a record refers to stays.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct DiscardBlob {
    /// Its name.
    pub body: BodyId,
}

/// Opens a blob for shipping, as sealed bytes. `NoSuchKey` when it is gone: a newer record is in the feed.
#[derive(Debug, Message)]
#[rtype(result = "Result<Outgoing, StoreError>")]
pub struct OpenOutgoing {
    /// Its name.
    pub body: BodyId,
}

/// The next sealed bytes of a blob, up to `PIECE_BYTES`; empty at the end.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Outgoing, Bytes), StoreError>")]
pub struct ReadOutgoing {
    /// The open transfer.
    pub outgoing: Outgoing,
}

/// Sealed bytes of a blob for a peer whose copy is damaged; fewer at the blob's end. `NoSuchKey` when it is gone.
#[derive(Debug, Message)]
#[rtype(result = "Result<Bytes, StoreError>")]
pub struct ReadSealed {
    /// Its name.
    pub body: BodyId,
    /// The first byte.
    pub from: u64,
    /// How many.
    pub len: u32,
}

/// What is wrong with the copy of a register here; `None` when nothing is.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Ailment>, StoreError>")]
pub struct Diagnose {
    /// Which register.
    pub key: RegisterKey,
}

/// Takes a peer's copy of a record in place of the damaged one of the same ballot. Answered once durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Restore {
    /// Which register.
    pub key: RegisterKey,
    /// Its record at the peer.
    pub record: Record,
    /// Who sent it.
    pub from: Incarnation,
}

/// The sums below some branches of this node's tree, or of all branches; empty until they are counted.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Sum>, StoreError>")]
pub struct ReadSums {
    /// Which branches.
    pub branches: Vec<u8>,
}

/// Of a page of registers, those of some leaves of the tree.
#[derive(Debug, Message)]
#[rtype(result = "Result<Page<Change>, StoreError>")]
pub struct ChangesIn {
    /// Which leaves.
    pub leaves: Vec<u16>,
    /// Behind which register to begin.
    pub after: Option<RegisterKey>,
    /// Most registers to look at.
    pub limit: usize,
}

/// How far a peer incarnation has durably acknowledged this node's feed; 0 when never heard of.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, StoreError>")]
pub struct LoadCursor {
    /// Which life of the peer.
    pub peer: Incarnation,
}

/// Keeps a cursor. Answered once durable; it only moves forward.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct SaveCursor {
    /// Which life of the peer.
    pub peer: Incarnation,
    /// The highest number below which everything is acknowledged.
    pub seq: u64,
}

// ---- said by coordinators ----

/// Votes of this node as a replica. Answered in order, when durable; marks alone are not answered for.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Option<Reply>>, StoreError>")]
pub struct CastHere {
    /// What is asked.
    pub votes: Vec<Vote>,
}

/// What this node holds of a register, if it is in memory.
#[derive(Debug, Message)]
#[rtype(result = "Option<RegisterSlot>")]
pub struct Peek {
    /// Which.
    pub key: RegisterKey,
}

/// Seals a small body, without a record.
#[derive(Debug, Message)]
#[rtype(result = "Result<Box<ObjectRecord>, StoreError>")]
pub struct SealSmall {
    /// What the client said of it.
    pub head: NewObject,
    /// All its bytes.
    pub body: Vec<Bytes>,
}

/// Seals and stages more bytes; they come back sealed, as they lie in the blob, where a copy is wanted.
#[derive(Debug, Message)]
#[rtype(result = "Result<(StoreUpload, Bytes), StoreError>")]
pub struct SealPieces {
    /// The open upload.
    pub upload: StoreUpload,
    /// Some MiB at most, and about `PIECE_BYTES` where a copy is wanted.
    pub data: Vec<Bytes>,
    /// Whether somebody takes the sealed bytes; else none come back.
    pub copy: bool,
}

/// Seals an upload's last bytes; they come back.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Sealed, Bytes), StoreError>")]
pub struct SealLast {
    /// The open upload.
    pub upload: StoreUpload,
}

/// Makes an upload's body durable, without a record.
#[derive(Debug, Message)]
#[rtype(result = "Result<Landed, StoreError>")]
pub struct LandUpload {
    /// All its bytes.
    pub sealed: Sealed,
}

/// Opens the body of a record that was chosen.
#[derive(Debug, Message)]
#[rtype(result = "Result<(ObjectInfo, Download), StoreError>")]
pub struct OpenRecord {
    /// Of which register.
    pub key: RegisterKey,
    /// Its record.
    pub record: Arc<Record>,
    /// Freed when the download is dropped.
    pub permit: Option<Permit>,
}

/// A page of registers as replicas see them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Page<(RegisterKey, RegisterSlot)>, StoreError>")]
pub struct ScanSlots {
    /// Where to begin.
    pub from: std::ops::Bound<RegisterKey>,
    /// Where to end, itself not included.
    pub to: RegisterKey,
    /// Most registers.
    pub limit: usize,
}

/// Whether this node knows of a bucket.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct KnowsBucket {
    /// Its name.
    pub bucket: BucketName,
}

/// Changes the node's part in its cluster. Answered when durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Seat {
    /// How.
    pub seating: Seating,
}

/// Registers whose records have not been known to be chosen for long.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<RegisterKey>, StoreError>")]
pub struct FindTentative {
    /// For how long.
    pub age: std::time::Duration,
    /// Most registers.
    pub limit: usize,
}

/// Brings the cluster to a member list; answered when it is in force.
#[derive(Debug, Message)]
#[rtype(result = "Result<Roster, Unseatable>")]
pub struct ChangeMembers {
    /// The names of its nodes. All of them must have been heard lately.
    pub names: Vec<NodeName>,
    /// The epoch of the list that this is a change of; none: of whichever there is.
    pub since: Option<Epoch>,
}

/// Who has a place, who is there, and who waits for one.
#[derive(Debug, Message)]
#[rtype(result = "MembersStatus")]
pub struct ShowMembers;

// ---- said by the scrubber ----

/// Reads on in a round, or begins one; the round comes back with what was seen.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Round, Seen), StoreError>")]
pub struct Scrutinize {
    /// Which part of the store.
    pub part: Part,
    /// The round over it, if it has begun.
    pub round: Option<Round>,
}

/// How far the scrubber had come when that was kept last.
#[derive(Debug, Message)]
#[rtype(result = "Result<Place, StoreError>")]
pub struct LoadScrubPlace;

/// Keeps how far the scrubber has come. Answered once durable; one at a time.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct SaveScrubPlace(pub Place);
