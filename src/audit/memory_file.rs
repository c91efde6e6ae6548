//! The file of what a node remembers of the audit logs of others.

use super::error::AuditError;
use super::memory::Memory;
use crate::disk::Disk;
use crate::seal::keyring::Keyring;
use std::path::Path;

/// The file of what is remembered, in the directory of the log.
pub const MEMORY: &str = "heads";
/// Most bytes of it.
const MEMORY_BYTES_MAX: u64 = 1 << 20;

/// Reads what was remembered; none where nothing was.
pub fn read_memory(disk: &dyn Disk, dir: &Path, ring: &Keyring) -> Result<Option<Memory>, AuditError> {
    let path = dir.join(MEMORY);
    if !disk.exists(&path).map_err(AuditError::disk("look for", &path))? {
        return Ok(None);
    }
    let file = disk.open(&path).map_err(AuditError::disk("open", &path))?;
    let len = file.len().map_err(AuditError::disk("measure", &path))?.min(MEMORY_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_at(0, &mut bytes).map_err(AuditError::disk("read", &path))?;
    Memory::open(ring, &bytes).map(Some).map_err(|error| AuditError::header(&path, &error))
}
