//! What can go wrong in the store, and what it means to the caller.

use crate::base::checksum::Sum;
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
    /// No such upload in parts is open: there was none, or it was completed or aborted. Nothing was written.
    #[error("no such upload is open")]
    NoSuchUpload,
    /// So many uploads in parts are open for one key that no other one is begun. Nothing was written.
    #[error("too many uploads are open for this key")]
    TooManyUploads,
    /// What an upload is to be completed with is not what its parts are; says how. Nothing was written.
    #[error("the parts are not those of the upload: {0}")]
    WrongParts(WrongParts),
    /// The bucket would hold more than its quota. Nothing was written.
    #[error("the bucket's quota would be exceeded")]
    QuotaExceeded,
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
    /// A body does not have the sum that its sender expects of it. Nothing was written.
    #[error("the body does not have the {0} that was announced")]
    SumMismatch(Sum),
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
    /// The data directory was written by another release.
    #[error(
        "the data directory has format {found}, and this release knows format {ours} alone: start it with an empty data directory, and bring what is needed over with a client while the other release still serves it"
    )]
    OtherFormat {
        /// The format of the directory.
        found: u64,
        /// The one that is read and written here.
        ours: u64,
    },
    /// The store is closing.
    #[error("store is shutting down")]
    ShuttingDown,
    /// The index engine failed.
    #[error("index: {0}")]
    Index(#[source] Box<redb::Error>),
    /// Bytes of the index are not what was written: from the first of them on the engine reads nothing any more.
    #[error("the index on the disk is damaged: {0}")]
    IndexDamaged(#[source] Box<redb::Error>),
    /// A disk operation failed.
    #[error("{op} {}: {source}", .path.display())]
    Disk {
        /// The operation that failed.
        op: DiskOp,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with the parts that an upload is to be completed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongParts {
    /// One is not there, or has another ETag or checksum.
    Other,
    /// Their numbers do not grow.
    Order,
    /// One that is not the last has less than 5 MiB.
    Small,
    /// There are none, or more than ten thousand.
    Count,
    /// Together they have another length than was announced.
    Length,
}

impl std::fmt::Display for WrongParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WrongParts::Other => "one is not there, or is another one",
            WrongParts::Order => "their numbers do not grow",
            WrongParts::Small => "one that is not the last is too small",
            WrongParts::Count => "there are none, or too many",
            WrongParts::Length => "together they have another length",
        })
    }
}

/// What was tried on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// What each one is stands in its word, below.
#[allow(missing_docs)]
pub enum DiskOp {
    AppendToLog,
    Create,
    CreateLog,
    List,
    LookAt,
    LookFor,
    LookInto,
    MarkFirstStart,
    MarkLog,
    Measure,
    MeasureFreeSpace,
    MeasureLog,
    Open,
    OpenLog,
    PrezeroLog,
    Publish,
    PublishLog,
    Quarantine,
    Read,
    ReadLog,
    Remove,
    Rename,
    StartThread,
    Sweep,
    Sync,
    SyncFolder,
    SyncLog,
    SyncLogFolder,
    TakeAway,
    UnmarkFirstStart,
    Write,
    WriteIdentity,
    ZeroLog,
}

impl DiskOp {
    /// Whether it asks for bytes of a body or of a small file that were stored before, so that a failure says of them
    /// that they are not to be had. Of the log's own bytes there is no other copy.
    fn asks_for_stored_bytes(self) -> bool {
        matches!(self, DiskOp::Read | DiskOp::Measure)
    }

    /// What operators read before the name of the file.
    fn word(self) -> &'static str {
        match self {
            DiskOp::AppendToLog => "append to log",
            DiskOp::Create => "create",
            DiskOp::CreateLog => "create log",
            DiskOp::List => "list",
            DiskOp::LookAt => "look at",
            DiskOp::LookFor => "look for",
            DiskOp::LookInto => "look into",
            DiskOp::MarkFirstStart => "mark the first start in",
            DiskOp::MarkLog => "mark log",
            DiskOp::Measure => "measure",
            DiskOp::MeasureFreeSpace => "measure free space of",
            DiskOp::MeasureLog => "measure log",
            DiskOp::Open => "open",
            DiskOp::OpenLog => "open log",
            DiskOp::PrezeroLog => "prezero log",
            DiskOp::Publish => "publish",
            DiskOp::PublishLog => "publish log",
            DiskOp::Quarantine => "quarantine",
            DiskOp::Read => "read",
            DiskOp::ReadLog => "read log",
            DiskOp::Remove => "remove",
            DiskOp::Rename => "rename",
            DiskOp::StartThread => "start a thread for",
            DiskOp::Sweep => "sweep",
            DiskOp::Sync => "sync",
            DiskOp::SyncFolder => "sync the directory of",
            DiskOp::SyncLog => "sync log",
            DiskOp::SyncLogFolder => "sync directory of log",
            DiskOp::TakeAway => "take away",
            DiskOp::UnmarkFirstStart => "unmark the first start in",
            DiskOp::Write => "write",
            DiskOp::WriteIdentity => "write identity in",
            DiskOp::ZeroLog => "zero log",
        }
    }
}

impl std::fmt::Display for DiskOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl StoreError {
    /// Whether stored bytes could not be had as they were written: another copy would help.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Corrupt { .. } => true,
            StoreError::Disk { op, .. } => op.asks_for_stored_bytes(),
            _ => false,
        }
    }

    /// Whether a body may be had from a peer where it is not to be had here, by a record that is known.
    pub fn is_of_this_copy(&self) -> bool {
        self.is_damage() || matches!(self, StoreError::IndexDamaged(_))
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
            StoreError::NoSuchKey | StoreError::NoSuchBucket | StoreError::NoSuchUpload => Class::Missing,
            StoreError::WrongParts(_) => Class::Invalid,
            StoreError::BucketNotEmpty
            | StoreError::TooManyUploads
            | StoreError::Precondition
            | StoreError::QuotaExceeded
            | StoreError::OtherList => Class::Conflict,
            StoreError::UnknownOutcome => Class::Busy,
            StoreError::Corrupt { .. } | StoreError::IndexDamaged(_) => Class::Corrupt,
            StoreError::Mismatch(_) | StoreError::SumMismatch(_) => Class::Invalid,
            StoreError::Full | StoreError::Short(Shortage::Inodes | Shortage::FileSize | Shortage::SmallVolume) => {
                Class::Full
            }
            StoreError::Short(Shortage::OpenFiles) => Class::Busy,
            StoreError::Short(Shortage::Volume) => Class::Internal,
            StoreError::ShuttingDown | StoreError::KeyMissing { .. } => Class::Busy,
            StoreError::ForeignKey { .. }
            | StoreError::ForeignCluster { .. }
            | StoreError::ForeignDirectory { .. }
            | StoreError::SmallLog { .. }
            | StoreError::OtherFormat { .. } => Class::Permanent,
            StoreError::Poisoned | StoreError::Index(_) | StoreError::Disk { .. } => Class::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_read_is_damage_and_a_log_or_a_write_that_fails_is_none() {
        let failed = |op| StoreError::Disk { op, path: "/data/x".into(), source: io::Error::other("no") };
        assert!(failed(DiskOp::Read).is_damage() && failed(DiskOp::Measure).is_damage());
        for op in [DiskOp::ReadLog, DiskOp::MeasureLog, DiskOp::Open, DiskOp::LookFor, DiskOp::Write, DiskOp::Sync] {
            assert!(!failed(op).is_damage(), "{op}");
        }
        assert_eq!(failed(DiskOp::MeasureFreeSpace).to_string(), "measure free space of /data/x: no");
    }
}
