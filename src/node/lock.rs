//! The lock of a data directory: one process uses it at a time.

use super::error::NodeError;
use crate::disk::{LockGuard, RealDisk};
use std::path::Path;

/// The lock of a data directory.
pub(super) fn lock(dir: &Path) -> Result<LockGuard, NodeError> {
    RealDisk::lock(dir).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => NodeError::Locked(dir.to_owned()),
        _ => NodeError::Data { op: "lock", path: dir.to_owned(), source },
    })
}
