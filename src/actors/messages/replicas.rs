//! What lanes and the peer listener ask of the store.

use super::{Change, Grave, Incoming, ListMark, Offer, Outgoing, Purpose, StoreError, Want};
use crate::base::{BlobRef, BodyId, Epoch, Incarnation, Page, Record, RegisterKey, Sum};
use actix::Message;
use bytes::Bytes;
use std::sync::Arc;

/// Entries of the feed with `seq > after`, in order, at most `limit`; keys that changed again appear
/// only at their latest number, so numbers have gaps.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Change>, StoreError>")]
pub struct ChangesAfter {
    /// The last number already seen.
    pub after: u64,
    /// Most entries of the answer; fewer do not mean that the feed ends.
    pub limit: usize,
}

/// The present records of some registers (missing ones are left out), until `bytes_max` is reached.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<(RegisterKey, Arc<Record>)>, StoreError>")]
pub struct FetchRecords {
    /// Which registers; those that hold nothing are left out of the answer.
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
    /// The peer that sent them.
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
    /// Registers with the ballots of their tombstones; what holds something else by then is left.
    pub graves: Vec<Grave>,
}

/// Begins to receive a sealed blob from a peer.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Incoming, StoreError>")]
pub struct BeginIncoming {
    /// Names the blob that is to come.
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
    /// The transfer, which comes back with the answer.
    pub incoming: Incoming,
    /// Sealed bytes in order.
    pub data: Vec<Bytes>,
}

/// Checks length and digest and makes the blob durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct FinishIncoming {
    /// The transfer, with all of its bytes.
    pub incoming: Incoming,
    /// What it has to be: a body that does not match is refused and removed.
    pub announced: BlobRef,
    /// The register whose body it is, where that was damaged or missing here: it is held from then on, over a restart
    /// too. Else a record follows, and says so.
    pub mends: Option<RegisterKey>,
}

/// Checks bodies that came together, and makes them durable with one sync, as far as they are short enough. What
/// became of each, in the same order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Result<(), StoreError>>, StoreError>")]
pub struct TakeBodies {
    /// What each of them has to be, and all of its bytes.
    pub bodies: Vec<(BlobRef, Bytes)>,
}

/// Reads short bodies whole, to be sent together; each `NoSuchKey` when it is gone. In the same order.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Result<Bytes, StoreError>>, StoreError>")]
pub struct ReadBodies {
    /// What each of them is: one of another length is damaged.
    pub bodies: Vec<BlobRef>,
}

/// Removes a blob that was sent here for a record that will not come. One that a record refers to stays.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct DiscardBlob {
    /// Names the blob that was sent in vain; no blob of that name is no error.
    pub body: BodyId,
}

/// Opens a blob for shipping, as sealed bytes. `NoSuchKey` when it is gone: a newer record is in the feed.
#[derive(Debug, Message)]
#[rtype(result = "Result<Outgoing, StoreError>")]
pub struct OpenOutgoing {
    /// Names the blob of a change that was offered and is wanted.
    pub body: BodyId,
}

/// The next sealed bytes of a blob, up to `PIECE_BYTES`; empty at the end.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Outgoing, Bytes), StoreError>")]
pub struct ReadOutgoing {
    /// The transfer, which comes back with the answer.
    pub outgoing: Outgoing,
}

/// Sealed bytes of a blob for a peer whose copy is damaged; fewer at the blob's end. `NoSuchKey` when it is gone.
#[derive(Debug, Message)]
#[rtype(result = "Result<Bytes, StoreError>")]
pub struct ReadSealed {
    /// Names the blob; whether this node's copy is good is for the peer to find.
    pub body: BodyId,
    /// The first byte of the sealed blob.
    pub from: u64,
    /// Bytes from there on; fewer come where the blob ends.
    pub len: u32,
}

/// The sums below some branches of this node's tree, or of all branches; empty until they are counted.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Sum>, StoreError>")]
pub struct ReadSums {
    /// The branches whose leaves are wanted; none for the sums of all branches.
    pub branches: Vec<u8>,
}

/// Of a page of registers, those of some leaves of the tree.
#[derive(Debug, Message)]
#[rtype(result = "Result<Page<Change>, StoreError>")]
pub struct ChangesIn {
    /// Leaves of the tree, of 4,096.
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

/// Keeps a cursor. Answered once durable. Nothing is kept of a peer that has yet to enter the epoch of its place, and
/// drops there what it has acknowledged.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct SaveCursor {
    /// Which life of the peer.
    pub peer: Incarnation,
    /// The highest number below which everything is acknowledged.
    pub seq: u64,
    /// The epoch of its list, as it told last.
    pub heard_in: Epoch,
}
