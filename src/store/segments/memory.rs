//! A sealed body in memory as a file of its own: a small one that the log holds and no segment does yet.
//!
//! Invariant: it is read only.

use crate::disk::DiskFile;
use bytes::Bytes;
use std::io;

/// The sealed bytes of a body that is in memory.
#[derive(Debug)]
pub struct InMemory(pub Bytes);

impl InMemory {
    fn part(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset).ok()?;
        self.0.get(from..from.checked_add(len)?)
    }
}

impl DiskFile for InMemory {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(self.part(offset, out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn read_cached_at(&self, offset: u64, out: &mut [u8]) -> bool {
        self.read_at(offset, out).is_ok()
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
