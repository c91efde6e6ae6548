//! The pair that new connections are shown, and how another one takes its place.
//!
//! Invariants
//! - A connection keeps the pair that it began with; nothing is closed, and nothing restarts.
//! - A pair that does not load takes no place: the one before is shown on, and what is wrong is told once for each
//!   state of the files.
//! - No lock is held while a file is read but that of the look itself: a handshake never waits for a disk.

use super::error::TlsError;
use super::pair::{Files, Pair};
use super::validity::NotAfter;
use crate::disk::mounted::{Stamp, stamp};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The pair of a node's ports.
#[derive(Debug)]
pub struct Kept {
    files: Files,
    shown: RwLock<Pair>,
    seen: Mutex<Seen>,
}

/// How the files looked. Locked during a look.
#[derive(Debug)]
struct Seen {
    /// Read, and done with, whether the pair was taken or refused.
    taken: Stamps,
    /// Refused once: somebody may have been about to write the other one of them.
    suspect: Option<Stamps>,
}

/// How both files look from outside.
type Stamps = [Option<Stamp>; 2];

/// What a look found.
#[derive(Debug)]
pub enum Looked {
    /// Nothing new.
    Same,
    /// Another pair is shown from now on.
    Taken(NotAfter),
    /// There is another pair, and it cannot be used.
    Refused(TlsError),
}

impl Kept {
    /// The pair of these files.
    pub fn load(files: Files) -> Result<Arc<Self>, TlsError> {
        let taken = look(&files);
        let shown = RwLock::new(files.load()?);
        Ok(Arc::new(Kept { files, shown, seen: Mutex::new(Seen { taken, suspect: None }) }))
    }

    /// Until when what is shown holds.
    pub fn not_after(&self) -> NotAfter {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).not_after
    }

    /// Where the pair comes from.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Looks at the files, through links, and takes another pair if there is one. `at_once`: what is wrong is told now,
    /// and else when it looks the same at the next look. It reads files.
    pub fn look(&self, at_once: bool) -> Looked {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before they are read: what is written meanwhile makes another state, and is read with the next look.
        let now = look(&self.files);
        if now == seen.taken && !at_once {
            return Looked::Same;
        }
        let is_new = now != seen.taken;
        let looked = match self.files.load() {
            Ok(pair) => {
                let not_after = pair.not_after;
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = pair;
                if is_new { Looked::Taken(not_after) } else { Looked::Same }
            }
            Err(_) if !at_once && seen.suspect.as_ref() != Some(&now) => {
                seen.suspect = Some(now);
                return Looked::Same;
            }
            Err(error) => Looked::Refused(error),
        };
        *seen = Seen { taken: now, suspect: None };
        looked
    }
}

impl ResolvesServerCert for Kept {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner).key))
    }
}

fn look(files: &Files) -> Stamps {
    [stamp(&files.cert), stamp(&files.key)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// Puts a file in the place of another in one step, as those do who renew.
    fn put(file: &Path, text: &str) {
        let staged = file.with_extension("staged");
        fs::write(&staged, text).expect("written");
        fs::set_permissions(&staged, Permissions::from_mode(0o600)).expect("it is ours");
        fs::rename(&staged, file).expect("moved");
    }

    #[test]
    fn what_does_not_load_takes_no_place_and_is_told_once_for_each_state() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files { cert: dir.path().join("c"), key: dir.path().join("k") };
        let (cert, key) = (include_str!("testing/node.crt"), include_str!("testing/node.key"));
        put(&files.cert, cert);
        put(&files.key, key);
        let kept = Kept::load(files.clone()).expect("a pair");
        let shown = || Arc::as_ptr(&kept.shown.read().expect("whole").key);
        let first = shown();
        assert!(matches!(kept.look(false), Looked::Same));

        // Somebody renews: for a moment the two do not fit.
        put(&files.key, include_str!("testing/other.key"));
        assert!(matches!(kept.look(false), Looked::Same), "the other file may be under way");
        assert!(matches!(kept.look(false), Looked::Refused(TlsError::Mismatch { .. })));
        assert!(matches!(kept.look(false), Looked::Same), "told once");
        assert!(matches!(kept.look(true), Looked::Refused(_)), "and to who asks");
        put(&files.cert, "");
        assert!(matches!(kept.look(true), Looked::Refused(TlsError::NoCertificate { .. })));
        assert_eq!(shown(), first);

        put(&files.key, key);
        assert!(matches!(kept.look(false), Looked::Same));
        put(&files.cert, cert);
        assert!(matches!(kept.look(false), Looked::Taken(_)), "it fits, and needs no second look");
        assert_ne!(shown(), first);
        assert!(matches!(kept.look(true), Looked::Same), "it is shown already");
    }
}
