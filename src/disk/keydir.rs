//! The key directory: one file per generation of the KEK, `kek-0001` onwards: 32 raw bytes, or those wrapped under a
//! passphrase, which the caller opens, since only `seal` names a cipher.
//!
//! Invariants
//! - No other code reads a key file, and nothing here prints a byte of one.
//! - A key that others than its owner and group can read is refused, not used with a warning.
//! - A key file appears whole and durable or not at all, and never replaces another.
//!
//! The real file system, always: keys are not part of the data directory that the simulated disk
//! stands in for. Secrets mounted by Kubernetes are symbolic links into a directory that begins with a
//! dot, so links are followed, names with a leading dot are skipped, and the mode that counts is the
//! target's; that of the directory does not count, it is world-writable there (on a read-only mount).

use super::mounted::{MODE_MAX, Stamp, stamp};
use crate::base::Secret;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a key file.
pub const KEY_BYTES: usize = 32;

const PREFIX: &str = "kek-";

/// Why keys could not be read or made: one line with the file, the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyDirError {
    /// The directory is missing or holds no key.
    #[error("no key in {}: make one with 'boveda key new --key-dir {}' or mount the cluster's keys there", .dir.display(), .dir.display())]
    NoKeys {
        /// The key directory that was looked into.
        dir: PathBuf,
    },
    /// Others can read or change the file.
    #[error("{} has mode {mode:04o}: others could read or change the key; run 'chmod 0400 {}'", .file.display(), .file.display())]
    Mode {
        /// The file whose mode is too open.
        file: PathBuf,
        /// Its permission bits, of which some are open to others.
        mode: u32,
    },
    /// It is wrapped, and does not open.
    #[error("{} holds {why}", .file.display())]
    Wrapped {
        /// The file.
        file: PathBuf,
        /// What the caller said of it.
        why: String,
    },
    /// Not 32 raw bytes.
    #[error("{} holds {found} rather than {KEY_BYTES} raw bytes: put back the original file; only if it never sealed anything, remove it and run 'boveda key new'", .file.display())]
    Content {
        /// The file that holds no key.
        file: PathBuf,
        /// What it holds instead, without showing it.
        found: &'static str,
    },
    /// A name that is no key's.
    #[error("{} is not a key file (those are named kek-0001, kek-0002 and so on): move it out of the key directory", .file.display())]
    Name {
        /// The file that has no place there.
        file: PathBuf,
    },
    /// Generations count from 1.
    #[error("{generation} is no generation of a key: take a number from 1 on")]
    Generation {
        /// What was asked for.
        generation: u32,
    },
    /// That generation exists already; it is never overwritten.
    #[error("{} exists already and is never replaced: take the next generation", .file.display())]
    Exists {
        /// The file that is there already.
        file: PathBuf,
    },
    /// The system refused an operation.
    #[error("cannot {op} {}: {source}; check that it exists and that this user may do so", .path.display())]
    Io {
        /// The operation, as the text names it.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Generations with their keys.
pub type Keys = Vec<(u32, Secret<[u8; KEY_BYTES]>)>;

/// A key file that holds more than a key, for the caller to open; on an error why it does not.
pub type Open<'a> = &'a dyn Fn(&[u8]) -> Result<Secret<[u8; KEY_BYTES]>, String>;

/// Which key files are wrapped: what they begin with, and their length.
#[derive(Clone, Copy, Debug)]
pub struct WrappedAs {
    /// The first bytes.
    pub magic: [u8; 4],
    /// All bytes.
    pub len: usize,
}

/// All generations in a key directory, in rising order; at least one.
pub fn load(dir: &Path, wrapped: WrappedAs, open: Open<'_>) -> Result<Keys, KeyDirError> {
    let mut keys = Vec::new();
    for (generation, file) in generations(dir)? {
        keys.push((generation, read_key(&file, wrapped, open)?));
    }
    if keys.is_empty() {
        return Err(KeyDirError::NoKeys { dir: dir.to_owned() });
    }
    keys.sort_by_key(|(generation, _)| *generation);
    Ok(keys)
}

/// How a key directory looks from outside, to tell whether it has to be read again. What cannot be looked at is part of
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(Vec<(PathBuf, Option<Stamp>)>);

/// Looks at a directory. Links are followed, so another target is seen, as is another mode.
pub fn look(dir: &Path) -> Look {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let mut seen: Vec<_> = visible.map(|entry| (entry.path(), stamp(&entry.path()))).collect();
    seen.sort();
    Look(seen)
}

/// The number that the next new key gets: 1 where there is no key yet.
pub fn next_generation(dir: &Path) -> Result<u32, KeyDirError> {
    let highest = generations(dir)?.into_iter().map(|(generation, _)| generation).max().unwrap_or(0);
    highest.checked_add(1).ok_or(KeyDirError::Generation { generation: highest })
}

/// Puts a new key into the directory (made with mode 0700 if missing) and returns its file.
///
/// The caller draws the key, or wraps it, because only `seal` names the random source and a cipher.
pub fn create(dir: &Path, generation: u32, key: &[u8]) -> Result<PathBuf, KeyDirError> {
    if generation == 0 {
        return Err(KeyDirError::Generation { generation });
    }
    make_dir(dir)?;
    let file = dir.join(file_name(generation));
    // Written under another name and linked into place, so that neither a crash nor a second process
    // that does the same at this moment leaves a key that is not whole.
    let staged = dir.join(staged_name(generation));
    let placed = write_new(&staged, key).and_then(|()| {
        fs::hard_link(&staged, &file).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyDirError::Exists { file: file.clone() },
            _ => io_error("create", &file)(source),
        })
    });
    let removed = fs::remove_file(&staged).map_err(io_error("remove", &staged));
    placed.and(removed)?;
    sync_dir(dir)?;
    Ok(file)
}

fn file_name(generation: u32) -> String {
    format!("{PREFIX}{generation:04}")
}

fn staged_name(generation: u32) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!(".{}.{}-{now}.staged", file_name(generation), std::process::id())
}

/// The key files by name; none when the directory is missing.
fn generations(dir: &Path) -> Result<Vec<(u32, PathBuf)>, KeyDirError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(io_error("read", dir))?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let file = dir.join(&name);
        match name.to_str().and_then(generation_of) {
            Some(generation) => found.push((generation, file)),
            None => return Err(KeyDirError::Name { file }),
        }
    }
    Ok(found)
}

/// The number in a name, if `file_name` could have made it: so no two names mean one generation.
pub(super) fn generation_of(name: &str) -> Option<u32> {
    let generation = name.strip_prefix(PREFIX)?.parse().ok()?;
    (generation > 0 && file_name(generation) == name).then_some(generation)
}

/// The generations whose files are wrapped.
pub fn wrapped(dir: &Path, wrapped: WrappedAs) -> Result<BTreeSet<u32>, KeyDirError> {
    let found = generations(dir)?.into_iter();
    Ok(found.filter(|(_, file)| is_wrapped(file, wrapped)).map(|(generation, _)| generation).collect())
}

fn is_wrapped(file: &Path, wrapped: WrappedAs) -> bool {
    let mut begins = [0; 4];
    let fits = |meta: fs::Metadata| meta.is_file() && usize::try_from(meta.len()) == Ok(wrapped.len);
    fs::metadata(file).is_ok_and(fits)
        && File::open(file).and_then(|mut file| file.read_exact(&mut begins)).is_ok()
        && begins == wrapped.magic
}

fn read_key(path: &Path, wrapped: WrappedAs, open: Open<'_>) -> Result<Secret<[u8; KEY_BYTES]>, KeyDirError> {
    let wrong = |found| KeyDirError::Content { file: path.to_owned(), found };
    // Asked before opening: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(io_error("read", path))?.is_file() {
        return Err(wrong("something that is no file"));
    }
    let mut file = File::open(path).map_err(io_error("read", path))?;
    let meta = file.metadata().map_err(io_error("read", path))?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o777 & !MODE_MAX != 0 {
        return Err(KeyDirError::Mode { file: path.to_owned(), mode });
    }
    if is_wrapped(path, wrapped) {
        let mut bytes = Vec::with_capacity(wrapped.len);
        file.take(wrapped.len as u64).read_to_end(&mut bytes).map_err(io_error("read", path))?;
        return open(&bytes).map_err(|why| KeyDirError::Wrapped { file: path.to_owned(), why });
    }
    if meta.len() != KEY_BYTES as u64 {
        return Err(wrong(if meta.len() == 0 {
            "nothing"
        } else if meta.len() < KEY_BYTES as u64 {
            "fewer bytes"
        } else {
            "more bytes (text such as hex or base64, or a line end?)"
        }));
    }
    let mut bytes = [0; KEY_BYTES];
    file.read_exact(&mut bytes).map_err(io_error("read", path))?;
    if bytes == [0; KEY_BYTES] {
        return Err(wrong("zeros"));
    }
    let key = Secret::new(bytes);
    // `Secret` wiped nothing of the copy here; the black box keeps this from being optimised away.
    bytes.fill(0);
    std::hint::black_box(&bytes);
    Ok(key)
}

/// Makes the directory and its missing parents, each durable in its own parent.
fn make_dir(dir: &Path) -> Result<(), KeyDirError> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("create", dir))?;
    missing.into_iter().rev().try_for_each(|made| sync_dir(parent(made)))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyDirError> {
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(io_error("write", path))
}

fn sync_dir(dir: &Path) -> Result<(), KeyDirError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("sync", dir))
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn io_error(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyDirError {
    move |source| KeyDirError::Io { op, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
