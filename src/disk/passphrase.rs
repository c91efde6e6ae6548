//! The passphrase of a ring whose key files are wrapped: out of a file, out of a pipe that somebody holds open, or out of
//! the environment. Never out of an argument, which every user of the machine can see.
//!
//! Invariants
//! - A file that others can read is refused. What a pipe or the environment gave is kept, and wiped at the end.
//! - One line end behind it is no part of it, since editors and `echo` leave one. Nothing else is taken off.

use super::secret_file::{self, SecretFileError};
use crate::base::Secret;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The variable of the environment that may hold it.
pub const VARIABLE: &str = "BOVEDA_KEY_PASSPHRASE";

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] SecretFileError),
    /// The pipe cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Pipe {
        /// Its path, as `/dev/fd/3`.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It holds nothing, or more than a passphrase.
    #[error("{0} holds no passphrase: it is one line of at most 4096 bytes")]
    Content(String),
}

/// Where the passphrase comes from.
#[derive(Debug)]
pub enum Passphrase {
    /// There is none.
    None,
    /// A file, which is read whenever it is needed: it may be replaced.
    File(PathBuf),
    /// What could be read once.
    Kept(Secret<Vec<u8>>),
}

impl Passphrase {
    /// The passphrase that this file holds; without one, that of the environment, if there is one.
    pub fn of(file: Option<&Path>, variable: Option<&str>) -> Result<Self, PassphraseError> {
        let Some(path) = file else {
            return match variable {
                None => Ok(Passphrase::None),
                Some(text) => one_line(VARIABLE, text.as_bytes().to_vec()).map(Passphrase::Kept),
            };
        };
        let source = Passphrase::File(path.to_owned());
        let is_pipe = fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
        if !is_pipe {
            source.get()?;
            return Ok(source);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(secret_file::BYTES_MAX).unwrap_or(usize::MAX) + 1);
        let read = File::open(path).and_then(|pipe| pipe.take(secret_file::BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|source| PassphraseError::Pipe { path: path.to_owned(), source })?;
        one_line(&path.display().to_string(), bytes).map(Passphrase::Kept)
    }

    /// The passphrase; none where there is none.
    pub fn get(&self) -> Result<Option<Secret<Vec<u8>>>, PassphraseError> {
        match self {
            Passphrase::None => Ok(None),
            Passphrase::File(path) => {
                let bytes = secret_file::read(path)?.expose().clone();
                one_line(&path.display().to_string(), bytes).map(Some)
            }
            Passphrase::Kept(kept) => Ok(Some(Secret::new(kept.expose().clone()))),
        }
    }
}

fn one_line(from: &str, mut bytes: Vec<u8>) -> Result<Secret<Vec<u8>>, PassphraseError> {
    const { assert!(secret_file::BYTES_MAX == 4096, "the text above says so") };
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    let is_long = bytes.len() as u64 > secret_file::BYTES_MAX;
    let bytes = Secret::new(bytes);
    match bytes.expose().is_empty() || is_long || bytes.expose().contains(&b'\n') {
        true => Err(PassphraseError::Content(from.to_owned())),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn shown(passphrase: &Passphrase) -> Option<Vec<u8>> {
        passphrase.get().expect("readable").map(|bytes| bytes.expose().clone())
    }

    #[test]
    fn it_is_one_line_of_a_file_or_of_the_environment() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("passphrase");
        let put = |text: &[u8]| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        };
        put(b" a line \n");
        let passphrase = Passphrase::of(Some(&path), Some("another")).expect("readable");
        assert_eq!(shown(&passphrase).as_deref(), Some(&b" a line "[..]), "the file counts");
        put(b"replaced");
        assert_eq!(shown(&passphrase).as_deref(), Some(&b"replaced"[..]));
        for bad in [&b""[..], b"\n", b"two\nlines", b"one\n\n", &[b'x'; 4097]] {
            put(bad);
            assert!(Passphrase::of(Some(&path), None).is_err(), "{} bytes", bad.len());
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(Passphrase::of(Some(&path), None).is_err_and(|error| error.to_string().contains("chmod 0400")));
        assert!(Passphrase::of(Some(&dir.path().join("none")), None).is_err());
        assert_eq!(shown(&Passphrase::of(None, Some("a line")).expect("there")).as_deref(), Some(&b"a line"[..]));
        assert!(Passphrase::of(None, Some("")).is_err());
        assert_eq!(shown(&Passphrase::of(None, None).expect("none")), None);
    }
}
