//! What can go wrong in the store, and what it means to the caller.

use crate::base::{Class, ClusterId, KekId, Shortage};
use crate::disk::shortage;
use std::io;
use std::path::PathBuf;

/// The store's errors. Causes stay with them; texts for clients are chosen in `http`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No object of that name.
    #[error("object not found")]
    NoSuchKey,
    /// No bucket of that name.
    #[error("bucket not found")]
    NoSuchBucket,
    /// The bucket still holds objects.
    #[error("bucket is not empty")]
    BucketNotEmpty,
    /// The condition of a write does not hold of the present state. Nothing was written.
    #[error("a condition of the write does not hold")]
    Precondition,
    /// Concurrent writes of the same object kept this one from being decided. Nothing was written.
    #[error("concurrent writes of the same object")]
    Contended,
    /// Too many writes of the same object came at once for this one's time. Nothing was written.
    #[error("too many writes of the same object at once")]
    Crowded,
    /// No majority could be had in time; says why. Nothing was written.
    #[error("no majority: {0}")]
    NoMajority(&'static str),
    /// There is too much to look through in one request; says what. Nothing was changed.
    #[error("there was no time for all of it: {0}")]
    OutOfTime(&'static str),
    /// A write was begun, and then the disk failed or a majority was lost: it may have taken effect, or may yet.
    #[error("the outcome of the write is unknown")]
    UnknownOutcome,
    /// Stored bytes do not open or do not check; says what.
    #[error("{what} is corrupt")]
    Corrupt {
        /// Which kind of thing, without its name.
        what: &'static str,
    },
    /// Bytes from a client or a peer are not what their header announced.
    #[error("{0}")]
    Mismatch(&'static str),
    /// A peer has another member list than this node, or no place in it.
    #[error("the two nodes have different member lists")]
    OtherList,
    /// Writes stop before the disk is full, so that reads, deletes and repair go on.
    #[error("no room for it on the disk above the reserve")]
    Full,
    /// The machine has run out of something else than the room above the reserve. Nothing was written.
    #[error("{0}")]
    Short(Shortage),
    /// A write or fsync failed earlier: no writes until the store is reopened.
    #[error("store takes no writes since an earlier write failed")]
    Poisoned,
    /// The data directory was sealed under another key ring.
    #[error(
        "the data directory was sealed under key {kek}, which is not in the key directory: use the key directory that belongs to it, with all its generations"
    )]
    ForeignKey {
        /// The key that sealed it.
        kek: KekId,
    },
    /// A body was sealed under a generation that this node has not loaded. No copy is damaged.
    #[error("this node lacks key generation {kek}: put its file into the key directory")]
    KeyMissing {
        /// The generation that is missing here.
        kek: KekId,
    },
    /// The data directory belongs to another cluster.
    #[error(
        "the data directory belongs to cluster {theirs}, not {ours}: set cluster.id or use the data directory that belongs here"
    )]
    ForeignCluster {
        /// The cluster that the directory was made in.
        theirs: ClusterId,
        /// The cluster of the configuration, or of the key ring.
        ours: ClusterId,
    },
    /// The directory holds something that Boveda did not make.
    #[error("{} holds other files and no Boveda identity: use an empty directory, or restore its file \"identity\"", .dir.display())]
    ForeignDirectory {
        /// The directory that is somebody else's.
        dir: PathBuf,
    },
    /// The commit log was made too small for what may have to be written at once.
    #[error("the commit log has {bytes} bytes, and {least} are the least: start with an empty data directory")]
    SmallLog {
        /// Bytes of its ring, without the head.
        bytes: u64,
        /// What it would need.
        least: u64,
    },
    /// The store is closing.
    #[error("store is shutting down")]
    ShuttingDown,
    /// The index engine failed.
    #[error("index: {0}")]
    Index(#[source] Box<redb::Error>),
    /// A disk operation failed.
    #[error("{op} {}: {source}", .path.display())]
    Disk {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Whether stored bytes could not be had as they were written: another copy would help.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Corrupt { .. } => true,
            StoreError::Disk { op, .. } => matches!(*op, "read" | "measure"),
            _ => false,
        }
    }

    /// Whether nothing was begun for want of room or of something else: the store is as it was.
    pub fn is_shortage(&self) -> bool {
        matches!(self, StoreError::Full | StoreError::Short(_))
    }

    /// What the machine has run out of.
    pub fn shortage(&self) -> Option<Shortage> {
        match self {
            StoreError::Short(what) => Some(*what),
            StoreError::Disk { source, .. } => shortage::of(source),
            _ => None,
        }
    }

    /// What the caller may do about it.
    pub fn class(&self) -> Class {
        match self {
            StoreError::NoSuchKey | StoreError::NoSuchBucket => Class::Missing,
            StoreError::BucketNotEmpty | StoreError::Precondition | StoreError::OtherList => Class::Conflict,
            StoreError::Contended
            | StoreError::Crowded
            | StoreError::NoMajority(_)
            | StoreError::UnknownOutcome
            | StoreError::OutOfTime(_) => Class::Busy,
            StoreError::Corrupt { .. } => Class::Corrupt,
            StoreError::Mismatch(_) => Class::Invalid,
            StoreError::Full | StoreError::Short(Shortage::Inodes | Shortage::FileSize | Shortage::SmallVolume) => {
                Class::Full
            }
            StoreError::Short(Shortage::OpenFiles) => Class::Busy,
            StoreError::Short(Shortage::Volume) => Class::Internal,
            StoreError::ShuttingDown | StoreError::KeyMissing { .. } => Class::Busy,
            StoreError::ForeignKey { .. }
            | StoreError::ForeignCluster { .. }
            | StoreError::ForeignDirectory { .. }
            | StoreError::SmallLog { .. } => Class::Permanent,
            StoreError::Index(source) if is_damage(source) => Class::Corrupt,
            StoreError::Poisoned | StoreError::Index(_) | StoreError::Disk { .. } => Class::Internal,
        }
    }
}

/// Whether the engine met bytes that are wrong, rather than a disk or a caller that is.
fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) => true,
        redb::Error::Io(source) => source.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}
