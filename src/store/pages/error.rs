//! What can go wrong under the index, and what it means to the store.

use crate::base::Class;
use crate::store::error::{DiskOp, StoreError};
use std::io;
use std::path::PathBuf;

/// Errors of the sealed pages and of opening the index on them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PagesError {
    /// The file is not a file of sealed pages, or one of a version not known here.
    #[error("not a file of index pages: {0}")]
    Format(&'static str),
    /// Nothing of the file opens, or what opens does not fit together.
    #[error("index pages are damaged: {0}")]
    Damaged(&'static str),
    /// The file is whole but older than what is known to have been durable.
    #[error("index is at sync {found}, but sync {expected} was durable")]
    RolledBack {
        /// The sync it is at.
        found: u64,
        /// The sync that was known.
        expected: u64,
    },
    /// The engine panicked over what it read.
    #[error("index engine panicked")]
    Panicked,
    /// The engine refused its file.
    #[error("index engine: {0}")]
    Engine(#[source] Box<redb::Error>),
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

impl PagesError {
    /// What the caller may do about it.
    pub fn class(&self) -> Class {
        match self {
            PagesError::Format(_)
            | PagesError::Damaged(_)
            | PagesError::RolledBack { .. }
            | PagesError::Panicked
            | PagesError::Engine(_) => Class::Corrupt,
            PagesError::Disk { .. } => Class::Internal,
        }
    }
}

impl From<PagesError> for StoreError {
    fn from(error: PagesError) -> Self {
        match error {
            PagesError::Engine(source) if is_damage(&source) => StoreError::IndexDamaged(source),
            PagesError::Engine(source) => StoreError::Index(source),
            PagesError::Disk { op, path, source } => StoreError::Disk { op, path, source },
            PagesError::Format(_) | PagesError::Damaged(_) | PagesError::Panicked => {
                StoreError::Corrupt { what: "index" }
            }
            PagesError::RolledBack { .. } => StoreError::Corrupt { what: "index (older than it was)" },
        }
    }
}

/// Whether the engine met bytes that are wrong, rather than a disk or a caller that is.
pub(in crate::store) fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) => true,
        redb::Error::Io(source) => source.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// A page that does not open; travels inside an `io::Error` through the engine.
#[derive(Debug, thiserror::Error)]
#[error("index page {0} does not open")]
pub(super) struct PageDamaged(pub u64);

/// Why nothing is written any more; travels inside an `io::Error` through the engine.
#[derive(Debug, thiserror::Error)]
#[error("index pages take no writes since an earlier write failed")]
pub(super) struct PagesPoisoned;
