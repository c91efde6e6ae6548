//! Why the audit log does not do what it should.

use crate::base::Class;
use crate::disk::shortage;
use crate::seal::keyring::BoxError;
use std::io;
use std::path::PathBuf;

/// Why a line was not written, or a file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// There is no room on the disk for a line.
    #[error("no room for a line of the audit log")]
    Full,
    /// The file system failed.
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
    /// The header of a file does not open.
    #[error("the header of {}: {why}", .path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Whether it is sealed under a generation that the ring lacks.
        foreign: bool,
    },
    /// The log was closed, or its thread has ended.
    #[error("the audit log is closed")]
    Closed,
    /// A line was not written, together with others.
    #[error("{0}")]
    Unwritten(String),
}

impl AuditError {
    /// What the caller may do about it.
    pub fn class(&self) -> Class {
        match self {
            AuditError::Full => Class::Full,
            AuditError::Closed => Class::Busy,
            AuditError::Disk { .. } | AuditError::Unwritten(_) => Class::Internal,
            AuditError::Header { foreign: true, .. } => Class::Permanent,
            AuditError::Header { .. } => Class::Corrupt,
        }
    }

    /// Of an operation on a file.
    pub(super) fn disk(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match shortage::is_no_room(&source) {
            true => AuditError::Full,
            false => AuditError::Disk { op, path, source },
        }
    }

    pub(super) fn header(path: impl Into<PathBuf>, error: &BoxError) -> Self {
        let foreign = matches!(error, BoxError::UnknownKey { .. });
        AuditError::Header { path: path.into(), why: error.to_string(), foreign }
    }
}
