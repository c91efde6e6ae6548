//! An open file of a simulated disk.
//!
//! Invariant: a handle hears once of each failure of its file's writing, whoever's sync met it.

use super::bytes::{Bytes, Change};
use super::course::Step;
use super::weather::{AtSync, Misread};
use super::{CrashDisk, State};
use crate::disk::DiskFile;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The unit that goes bad.
const SECTOR_BYTES: usize = 512;

/// An open file of a simulated disk.
#[derive(Debug)]
pub(super) struct CrashFile {
    pub disk: CrashDisk,
    pub file: usize,
    /// The failures that this handle was told of.
    pub heard: AtomicU64,
}

impl DiskFile for CrashFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.powered()?;
        let wrong = state.weather.misread();
        let bytes = &state.files[self.file];
        bytes.seen.read(offset, out)?;
        wrong.map_or(Ok(()), |how| misread(bytes, how, offset, out))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut state, struck) = self.disk.begun()?;
        let grows = (offset + data.len() as u64).saturating_sub(state.files[self.file].seen.len());
        if grows > 0 && state.left().is_some_and(|left| grows > left) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let allowed = struck.map_or_else(|| state.may_write(), Err);
        let written = if allowed.is_ok() { data } else { &data[..data.len() / 2] };
        if !written.is_empty() {
            state.course.note(Step::Write { file: self.file, offset, len: written.len() });
            state.files[self.file].change(Change::Write(offset, written.to_vec()))?;
        }
        allowed
    }

    fn sync_data(&self) -> io::Result<()> {
        let first = self.disk.state().weather.before_sync();
        if let Some(AtSync(what)) = first {
            what();
        }
        let (mut state, struck) = self.disk.begun()?;
        if let Some(error) = struck {
            let State { files, rng, .. } = &mut *state;
            files[self.file].fail(rng);
            self.hear(&mut files[self.file]);
            return Err(error);
        }
        state.sync()?;
        state.course.note(Step::Sync { file: self.file });
        if state.weather.lies() {
            let State { files, rng, .. } = &mut *state;
            files[self.file].lose(rng);
            return Ok(());
        }
        let bytes = &mut state.files[self.file];
        bytes.sync()?;
        if self.hear(bytes) { Err(io::Error::other("an earlier write of this file failed")) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.powered()?.files[self.file].seen.len())
    }

    fn forget(&self, offset: u64, len: u64) {
        let forgotten = self.disk.state().files[self.file].forget(offset, len);
        debug_assert!(forgotten.is_ok(), "it was applied once before");
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.powered()?;
        let grows = len.saturating_sub(state.files[self.file].seen.len());
        if state.left().is_some_and(|left| grows > left) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.may_write()?;
        state.course.note(Step::SetLen { file: self.file, len });
        state.files[self.file].change(Change::SetLen(len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.powered()?;
        state.may_write()?;
        state.course.note(Step::SetLen { file: self.file, len });
        state.files[self.file].change(Change::SetLen(len))
    }
}

impl CrashFile {
    /// Whether this handle is now told of a failure.
    fn hear(&self, bytes: &mut Bytes) -> bool {
        bytes.untold = false;
        self.heard.swap(bytes.failures, Ordering::Relaxed) != bytes.failures
    }
}

/// Puts something else in place of what was read.
fn misread(bytes: &Bytes, how: Misread, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let middle = out.len() / 2 / SECTOR_BYTES * SECTOR_BYTES;
    let sector = middle..out.len().min(middle + SECTOR_BYTES);
    match how {
        Misread::Short => {
            out[middle..].fill(0);
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Misread::Refused => return Err(io::Error::other("the simulated disk cannot read this")),
        Misread::Zeroed => out[sector].fill(0),
        Misread::Rotten => out[sector].iter_mut().for_each(|byte| *byte ^= 0x5A),
        // Where there was nothing yet, nothing is stale.
        Misread::Stale => drop(bytes.before.read(offset, out)),
        Misread::Misdirected => {
            let other = if offset >= out.len() as u64 { offset - out.len() as u64 } else { offset + out.len() as u64 };
            drop(bytes.seen.read(other, out));
        }
    }
    Ok(())
}
