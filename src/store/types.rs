//! What is said to the store and by it, in plain values.

use super::entry::Held;
use crate::base::{
    Ballot, BlobRef, BodyAt, BodyId, BucketName, BucketRecord, BucketUsage, Checksum, EtagMode, Incarnation,
    ObjectHead, Parts, PublicGrants, Quota, Record,
};
use crate::base::{RegisterKey, Stamp};
use crate::register::Standing;

/// A write that is durable on this node.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its place in the order of the key's states.
    pub ballot: Ballot,
    /// The ETag of the object, without quotes. Empty for buckets and deletes.
    pub etag: String,
    /// The sum that is kept with the object.
    pub checksum: Option<Checksum>,
    /// Whether the name held something before: 200 rather than 201; for deletes, whether it was there.
    pub existed: bool,
    /// Replicas that are known to hold it.
    pub replicas: u32,
}

/// What readers are told about an object.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    /// Bytes as clients see them.
    pub len: u64,
    /// What its writer said of it.
    pub head: ObjectHead,
    /// Its ETag, without the quotes that heads put around it.
    pub etag: String,
    /// The sum over its bytes that is kept with it.
    pub checksum: Option<Checksum>,
    /// `Last-Modified`, milliseconds since 1970.
    pub written_ms: u64,
    /// The parts that it came in, if it came in parts.
    pub parts: Option<Parts>,
}

impl ObjectInfo {
    /// What readers are told of a record; `None` when it is no object's.
    pub(super) fn of(record: &Record) -> Option<Self> {
        record.object().map(|object| ObjectInfo {
            len: object.len,
            head: object.head.clone(),
            etag: object.etag(),
            checksum: object.checksum,
            written_ms: record.written_ms,
            parts: if let BodyAt::Parts(parts) = &object.at { Some(parts.clone()) } else { None },
        })
    }
}

/// What is told about a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: BucketName,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// How much it may hold.
    pub quota: Quota,
    /// What the node holds of it that was asked.
    pub usage: BucketUsage,
    /// What of it is open to everybody.
    pub public: PublicGrants,
    /// What its objects are known by that clients of S3 write.
    pub etag: EtagMode,
}

impl BucketInfo {
    /// What is told of a bucket of which a node holds that.
    pub fn of(name: &BucketName, bucket: &BucketRecord, usage: BucketUsage) -> Self {
        let BucketRecord { created_ms, quota, public, etag, .. } = bucket.clone();
        BucketInfo { name: name.clone(), created_ms, quota, usage, public, etag }
    }
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Keys with what is known of them.
    pub entries: Vec<(String, ObjectInfo)>,
    /// Common prefixes, each with its delimiter at the end.
    pub prefixes: Vec<String>,
    /// Pass as `after` for the following page; `None` when this was the last. It need not be on the page: a page that
    /// ended early, for want of time, may even be empty.
    pub next: Option<String>,
}

/// One entry of the change feed: this key's latest commit on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node's own commit number.
    pub seq: u64,
    /// The register that has changed.
    pub key: RegisterKey,
    /// Its ballot at that commit.
    pub ballot: Ballot,
    /// The body that has to be there before the record; none of a small one, which comes with it.
    pub blob: Option<BlobRef>,
    /// Whether that stands for several bodies: those of an object in parts, which its record names.
    pub in_parts: bool,
    /// The peer incarnation it was learned from; offering it back would be a circle.
    pub learned_from: Option<Incarnation>,
}

impl Change {
    /// The feed's entry for a record.
    pub(super) fn of(key: RegisterKey, held: &Held) -> Self {
        Change {
            seq: held.seq,
            ballot: held.record.ballot,
            blob: held.record.object().and_then(|object| object.blob()),
            in_parts: held.record.object().is_some_and(|object| object.parts().is_some()),
            learned_from: held.learned_from,
            key,
        }
    }
}

/// What a peer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The register that is offered.
    pub key: RegisterKey,
    /// The ballot of the offered state.
    pub ballot: Ballot,
    /// The blob it refers to.
    pub blob: Option<BodyId>,
}

/// What this node wants of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing: it has that ballot or a higher one.
    Nothing,
    /// The record (its blob, if any, is here already).
    Record,
    /// The blob, then the record.
    BlobAndRecord,
}

/// A register with the ballot of its tombstone.
pub type Grave = (RegisterKey, Ballot);

/// Why a node may have forgotten what it had promised and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Another node remembers more of it.
    OlderCopy {
        /// What the other node remembers.
        remembered: Standing,
        /// What this node knows of itself.
        here: Standing,
    },
    /// The end of its commit log is gone.
    TailCut,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stamp = |Stamp(stamp): Stamp| stamp;
        match self {
            Doubt::OlderCopy { remembered, here } => write!(
                f,
                "the data directory is an older copy of itself, or its disk forgot: a peer remembers start {}, \
                 change {} and reserve {}, here are start {}, change {} and reserve {}",
                remembered.start.number,
                remembered.head,
                stamp(remembered.reserved),
                here.start.number,
                here.head,
                stamp(here.reserved)
            ),
            Doubt::TailCut => f.write_str("the end of the commit log is gone"),
        }
    }
}
