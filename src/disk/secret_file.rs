//! Small files with a secret in them: a root key, a profile.
//!
//! Invariants
//! - One that others than its owner and group can read is refused, not used with a warning.
//! - One that is made appears whole and durable or not at all, is its owner's alone, and never replaces another.
//!
//! The real file system, always. Links are followed, since Secrets that Kubernetes mounts are some.

use super::place::parent;
use crate::base::Secret;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of such a file.
pub const BYTES_MAX: u64 = 4096;
/// Owner may write and read, group may read, nobody else anything.
const MODE_MAX: u32 = 0o640;

/// Why such a file could not be read or made: one line with the file, the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// Others can read or change it.
    #[error("{} has mode {mode:04o}: others could read or change the secret; run 'chmod 0400 {}'", .file.display(), .file.display())]
    Mode {
        /// The file whose mode is too open.
        file: PathBuf,
        /// Its permission bits, of which some are open to others.
        mode: u32,
    },
    /// It is no file, or longer than any such file.
    #[error("{} is no file of at most {BYTES_MAX} bytes", .file.display())]
    Content {
        /// What was to be read.
        file: PathBuf,
    },
    /// The system refused an operation.
    #[error("cannot {op} {}: {source}", .path.display())]
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

impl SecretFileError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, SecretFileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// All bytes of the file.
pub fn read(path: &Path) -> Result<Secret<Vec<u8>>, SecretFileError> {
    let wrong = || SecretFileError::Content { file: path.to_owned() };
    // Asked before opening: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(io_error("read", path))?.is_file() {
        return Err(wrong());
    }
    let file = File::open(path).map_err(io_error("read", path))?;
    let meta = file.metadata().map_err(io_error("read", path))?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o777 & !MODE_MAX != 0 {
        return Err(SecretFileError::Mode { file: path.to_owned(), mode });
    }
    // Grown in one step: no copy is left behind by a buffer that moves.
    let mut bytes = Vec::with_capacity(usize::try_from(BYTES_MAX).unwrap_or(usize::MAX) + 1);
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    let bytes = Secret::new(bytes);
    if bytes.expose().len() as u64 > BYTES_MAX { Err(wrong()) } else { Ok(bytes) }
}

/// Makes the file, for its owner alone. One that is there already is an error.
pub fn create(path: &Path, bytes: &Secret<Vec<u8>>) -> Result<(), SecretFileError> {
    // Linked into place: neither a crash nor a second process leaves one that is not whole.
    let staged = path.with_extension("new");
    remove(&staged)?;
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
        file.write_all(bytes.expose())?;
        file.sync_all()?;
        fs::hard_link(&staged, path)
    };
    let placed = written().map_err(io_error("write", path));
    let removed = remove(&staged);
    placed.and(removed)?;
    sync_dir(path)
}

/// Removes the file, durably; one that is not there is a success.
pub fn remove(path: &Path) -> Result<(), SecretFileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(io_error("remove", path)).and_then(|()| sync_dir(path)),
    }
}

fn sync_dir(path: &Path) -> Result<(), SecretFileError> {
    let dir = parent(path);
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))
}

fn io_error(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SecretFileError {
    move |source| SecretFileError::Io { op, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn secret(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_file_is_its_owners_alone_and_never_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("root-key");
        assert!(read(&path).is_err_and(|error| error.is_missing()));
        // What a crash left of another one is in nobody's way.
        fs::write(path.with_extension("new"), b"half").expect("a file");
        create(&path, &secret("one")).expect("it is made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
        assert!(create(&path, &secret("two")).is_err());
        assert_eq!(read(&path).expect("readable").expose(), b"one");
        assert_eq!(fs::read_dir(dir.path()).expect("ours").count(), 1, "nothing staged stays");
        remove(&path).and_then(|()| remove(&path)).expect("gone, and gone already");
        assert!(read(&path).is_err_and(|error| error.is_missing()));
    }

    #[test]
    fn what_others_can_read_or_what_is_no_such_file_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("profile");
        create(&path, &secret("one")).expect("it is made");
        for (mode, fits) in
            [(0o400, true), (0o440, true), (0o640, true), (0o644, false), (0o660, false), (0o604, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            match read(&path) {
                Ok(_) => assert!(fits, "{mode:o}"),
                Err(error) => assert!(!fits && error.to_string().contains("chmod 0400"), "{mode:o}: {error}"),
            }
        }
        assert!(matches!(read(dir.path()), Err(SecretFileError::Content { .. })));
        let long = dir.path().join("long");
        create(&long, &Secret::new(vec![b'x'; 4097])).expect("it is made");
        assert!(matches!(read(&long), Err(SecretFileError::Content { .. })));
    }
}
