//! Small files of the data directory, which are read whole.

use super::error::{DiskOp, StoreError};
use crate::disk::Disk;
use std::path::{Path, PathBuf};

/// Most bytes of one; what is longer is none of them.
const BYTES_MAX: u64 = 4096;

/// The bytes of a small file; `what` names it when it is none.
pub(super) fn read_small(disk: &dyn Disk, path: &Path, what: &'static str) -> Result<Vec<u8>, StoreError> {
    let fail = |op: DiskOp, path: PathBuf| move |source| StoreError::Disk { op, path, source };
    let file = disk.open(path).map_err(fail(DiskOp::Open, path.to_owned()))?;
    let len = file.len().map_err(fail(DiskOp::Measure, path.to_owned()))?;
    if len > BYTES_MAX {
        return Err(StoreError::Corrupt { what });
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_at(0, &mut bytes).map_err(fail(DiskOp::Read, path.to_owned()))?;
    Ok(bytes)
}
