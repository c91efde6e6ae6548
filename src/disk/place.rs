//! The one way to put a file in place: staged, synced, renamed, directory synced.
//!
//! Invariants
//! - A reader of `path`, before and after any crash, finds the whole old file or the whole new one.
//! - A leftover staged file is never read; whoever owns the directory sweeps it at start.

use super::Disk;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What the name of a staged file ends with.
const STAGED_SUFFIX: &str = ".staged";

/// The name under which `path` is written before it is put in place: in the same directory, so
/// that the rename is atomic.
pub fn staged(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(STAGED_SUFFIX);
    PathBuf::from(name)
}

/// Whether `path` is a name that `staged` gives: left by a crash when nobody is writing it.
pub fn is_staged(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(STAGED_SUFFIX.as_bytes()))
}

/// The directory that holds `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        Some(dir) => dir,
        None => path,
    }
}

/// Puts `bytes` in place of whatever `path` held, durable when it returns. Two writers of one path
/// collide loudly; a staged file of an earlier crash must have been swept (`sweep`).
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = staged(path);
    let file = disk.create_new(&staged)?;
    let written = file.write_at(0, bytes).and_then(|()| file.sync_data()).and_then(|()| disk.rename(&staged, path));
    if let Err(error) = written {
        // Best effort: the error that counts is the first one, and a leftover is swept at start.
        let _ = disk.remove(&staged);
        return Err(error);
    }
    disk.sync_dir(parent(path))
}

/// Removes the staged files that crashes left in `dir`; how many there were. For the owner of the
/// directory at start, before anybody writes in it.
pub fn sweep(disk: &dyn Disk, dir: &Path) -> io::Result<u64> {
    let mut swept = 0;
    for path in disk.list(dir)?.into_iter().filter(|path| is_staged(path)) {
        disk.remove(&path)?;
        swept += 1;
    }
    if swept > 0 {
        disk.sync_dir(dir)?;
    }
    Ok(swept)
}
