//! A certificate and its key, out of two files.
//!
//! Invariants
//! - A pair that was loaded fits: the key is the one that the first certificate was made with.
//! - A key that others than its owner and group can read is refused, not used with a warning, as one of the ring is.
//! - Links are followed: a Secret of Kubernetes consists of them.

use super::error::TlsError;
use super::provider;
use super::validity::NotAfter;
use crate::base::Secret;
use crate::disk::mounted::{self, Unread};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the two are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate of the node, and behind it those that lead to its authority, as PEM.
    pub cert: PathBuf,
    /// The private key of the first of them, as PEM.
    pub key: PathBuf,
}

/// Both, as a connection needs them.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_after: NotAfter,
}

impl Files {
    /// Reads the pair and looks that it fits, without using it; until when it holds.
    pub fn check(&self) -> Result<NotAfter, TlsError> {
        self.load().map(|pair| pair.not_after)
    }

    pub(super) fn load(&self) -> Result<Pair, TlsError> {
        let chain = certificates(&self.cert)?;
        let unusable = |why: String| TlsError::Certificate { path: self.cert.clone(), why };
        let first = chain.first().ok_or_else(|| TlsError::NoCertificate { path: self.cert.clone() })?;
        let not_after =
            NotAfter::of(first).ok_or_else(|| unusable("it does not say until when it holds".to_owned()))?;
        let signs = provider()
            .key_provider
            .load_private_key(private_key(&self.key)?)
            .map_err(|error| TlsError::Key { path: self.key.clone(), why: error.to_string() })?;
        let key = CertifiedKey::new(chain, signs);
        key.keys_match().map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { cert: self.cert.clone(), key: self.key.clone() }
            }
            other => unusable(other.to_string()),
        })?;
        Ok(Pair { key: Arc::new(key), not_after })
    }
}

/// All certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path, false)?;
    let all: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(text.expose()).collect();
    let all = all.map_err(|error| TlsError::Certificate { path: path.to_owned(), why: error.to_string() })?;
    if all.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path, true)?;
    let locked = |text: &[u8]| text.windows(9).any(|part| part == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(text.expose()).map_err(|error| match error {
        _ if locked(text.expose()) => TlsError::LockedKey { path: path.to_owned() },
        PemError::NoItemsFound => TlsError::NoKey { path: path.to_owned() },
        other => TlsError::Key { path: path.to_owned(), why: other.to_string() },
    })
}

fn read(path: &Path, secret: bool) -> Result<Secret<Vec<u8>>, TlsError> {
    let path = path.to_owned();
    mounted::read(&path, secret).map_err(|error| match error {
        Unread::Io(source) => TlsError::Read { path, source },
        Unread::Mode(mode) => TlsError::Mode { path, mode },
        Unread::NoFile => TlsError::NoPem { path, found: "it is no file" },
        Unread::Long => TlsError::NoPem { path, found: "it is far too long" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    const CERT: &str = include_str!("testing/node.crt");
    const KEY: &str = include_str!("testing/node.key");

    /// What is said of a certificate and a key with these texts.
    fn said(cert: &str, key: &str, mode: u32) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files { cert: dir.path().join("c"), key: dir.path().join("k") };
        fs::write(&files.cert, cert).expect("written");
        fs::write(&files.key, key).expect("written");
        fs::set_permissions(&files.key, Permissions::from_mode(mode)).expect("it is ours");
        let said = files.check().map_or_else(|error| error.to_string(), |ends| ends.to_string());
        said.replace(dir.path().to_str().expect("UTF-8"), "")
    }

    #[test]
    fn a_pair_that_fits_is_taken_and_any_other_refused_with_its_file_and_the_remedy() {
        assert_eq!(said(CERT, KEY, 0o600), include_str!("testing/ends").trim());
        // An authority behind it, text between them, both in one file.
        assert_eq!(said(&format!("a text\n{CERT}more\n{CERT}"), KEY, 0o400), include_str!("testing/ends").trim());
        assert_eq!(said(&format!("{KEY}{CERT}"), &format!("{CERT}{KEY}"), 0o640), include_str!("testing/ends").trim());
        let broken = CERT.replace("-----BEGIN CERTIFICATE-----\nM", "-----BEGIN CERTIFICATE-----\nA");
        for (cert, key, mode, parts) in [
            ("", KEY, 0o600, ["/c holds no certificate", "BEGIN CERTIFICATE"]),
            (KEY, KEY, 0o600, ["/c holds no certificate", "BEGIN CERTIFICATE"]),
            (broken.as_str(), KEY, 0o600, ["/c holds a certificate that cannot be used", "version 3"]),
            (
                "-----BEGIN CERTIFICATE-----\n!\n",
                KEY,
                0o600,
                ["/c holds a certificate that cannot be used", "version 3"],
            ),
            (CERT, "", 0o600, ["/k holds no private key", "BEGIN PRIVATE KEY"]),
            (CERT, CERT, 0o600, ["/k holds no private key", "BEGIN PRIVATE KEY"]),
            (
                CERT,
                include_str!("testing/locked.key"),
                0o600,
                ["/k holds a private key behind a passphrase", "openssl pkey"],
            ),
            (CERT, include_str!("testing/small.key"), 0o600, ["/k holds a private key that cannot be used", "2048"]),
            (
                CERT,
                include_str!("testing/other.key"),
                0o600,
                ["the key in /k does not fit the certificate in /c", "put both"],
            ),
            (CERT, KEY, 0o644, ["/k has mode 0644", "chmod 0600 /k"]),
        ] {
            let said = said(cert, key, mode);
            assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
            assert!(!said.contains("MIG") && !said.contains("MC4C"), "no byte of a key: {said}");
        }
        let none = Files { cert: "/nowhere/c".into(), key: "/nowhere/k".into() };
        assert!(none.check().is_err_and(|error| error.to_string().starts_with("cannot read /nowhere/c: ")));
    }
}
