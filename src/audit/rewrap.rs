//! Key rotation: the boxes of the log are sealed anew, in place, while the log is written.
//!
//! Invariants
//! - At each moment, after a kill or a loss of power too, one box of a file opens: the new one is durable in the place that
//!   is free before the old one is wiped out.
//! - No line is touched, and so no hash.

use super::error::AuditError;
use super::layout::{BOX_BYTES, BOX_OFFSETS, box_kek, boxes};
use super::memory_file::MEMORY;
use super::reading::{files, open_header, read_header};
use crate::base::KekId;
use crate::disk::Disk;
use crate::seal::keyring::Keyring;
use std::collections::BTreeMap;
use std::path::Path;

/// How many boxes of the log in `dir` are sealed under each generation: what a recount is to come to.
pub fn generations(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<KekId, u64>, AuditError> {
    let mut counts = BTreeMap::new();
    for (_, path) in files(disk, dir)? {
        let file = disk.open(&path).map_err(AuditError::disk("open", &path))?;
        let header = read_header(file.as_ref(), &path)?;
        boxes(&header).filter_map(|(_, sealed)| box_kek(sealed)).for_each(|kek| *counts.entry(kek).or_default() += 1);
    }
    memory_kek(disk, dir)?.into_iter().for_each(|kek| *counts.entry(kek).or_default() += 1);
    Ok(counts)
}

/// The generation that what is remembered is sealed under; none where nothing is, or nothing that could be a box.
pub fn memory_kek(disk: &dyn Disk, dir: &Path) -> Result<Option<KekId>, AuditError> {
    let memory = dir.join(MEMORY);
    if !disk.exists(&memory).map_err(AuditError::disk("look for", &memory))? {
        return Ok(None);
    }
    let file = disk.open(&memory).map_err(AuditError::disk("open", &memory))?;
    let mut head = [0; 17];
    if file.len().map_err(AuditError::disk("measure", &memory))? < head.len() as u64 {
        return Ok(None);
    }
    file.read_at(0, &mut head).map_err(AuditError::disk("read", &memory))?;
    Ok(box_kek(&head))
}

/// Seals every box of the log in `dir` that is under another generation than the one that seals under that one; how many
/// there were. A file whose header does not open is left as it is, and told as an error when all others are done.
///
/// A node that runs may call it at any time, from the moment on from which it seals under the new generation: files that
/// begin later are under that one. It is one job: two at once could wipe out each other's box.
pub fn rewrap(disk: &dyn Disk, dir: &Path, ring: &Keyring) -> Result<u64, AuditError> {
    let (mut done, mut failed) = (0, None);
    for (_, path) in files(disk, dir)? {
        match rewrap_file(disk, &path, ring) {
            Ok(changed) => done += u64::from(changed),
            Err(error @ AuditError::Header { .. }) => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    failed.map_or(Ok(done), Err)
}

fn rewrap_file(disk: &dyn Disk, path: &Path, ring: &Keyring) -> Result<bool, AuditError> {
    let file = disk.open(path).map_err(AuditError::disk("open", path))?;
    let bytes = read_header(file.as_ref(), path)?;
    let (header, _) = open_header(ring, path, &bytes)?;
    let there: Vec<(usize, Option<KekId>)> = boxes(&bytes).map(|(at, sealed)| (at, box_kek(sealed))).collect();
    let active = Some(ring.active());
    if there.iter().all(|(_, kek)| *kek == active) && there.len() == 1 {
        return Ok(false);
    }
    // One that was begun before may be whole, or torn: it is written once more, and counts only when it opens.
    let keeps = |at: usize| {
        let mut alone = bytes.clone();
        (0..BOX_OFFSETS.len()).filter(|other| *other != at).for_each(|other| wipe(&mut alone, other));
        header.open(ring, &alone).is_ok()
    };
    let good = there.iter().map(|(at, _)| *at).find(|at| keeps(*at)).unwrap_or_default();
    let free = 1 - good;
    let sealed = header.seal_again(ring, &bytes).map_err(|error| AuditError::header(path, &error))?;
    let write = |at: usize, bytes: &[u8]| {
        let written = file.write_at(BOX_OFFSETS[at] as u64, bytes).and_then(|()| file.sync_data());
        written.map_err(AuditError::disk("write", path))
    };
    write(free, &sealed)?;
    write(good, &[0; BOX_BYTES])?;
    Ok(true)
}

fn wipe(header: &mut [u8], at: usize) {
    if let Some(sealed) = header.get_mut(BOX_OFFSETS[at]..BOX_OFFSETS[at] + BOX_BYTES) {
        sealed.fill(0);
    }
}

#[cfg(test)]
mod tests;
