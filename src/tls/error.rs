//! What is wrong with a file of certificates or keys, or with who answers: one line with the remedy.

use rustls::CertificateError;
use std::io;
use std::path::PathBuf;

/// Why there is no TLS to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The system refused to read a file.
    #[error("cannot read {}: {source}; check that it exists and that this user may read it", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no file, or far larger than a chain of certificates is.
    #[error("{} is not a PEM file: {found}", .path.display())]
    NoPem {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// Others can read or change a key.
    #[error("{} has mode {mode:04o}: others could read or change the key; run 'chmod 0600 {}' (a Secret of Kubernetes: defaultMode: 0440 in its volume)", .path.display(), .path.display())]
    Mode {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No certificate in it.
    #[error("{} holds no certificate: it takes PEM (-----BEGIN CERTIFICATE-----), the node's own first and then those that lead to its authority", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in it cannot be read.
    #[error("{} holds a certificate that cannot be used ({why}): write it anew, as PEM of an X.509 certificate of version 3", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// No key in it.
    #[error("{} holds no private key: it takes PEM (-----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY)", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key behind a passphrase.
    #[error("{} holds a private key behind a passphrase, which a node cannot be asked for: write it without one ('openssl pkey -in FILE -out FILE')", .path.display())]
    LockedKey {
        /// The file.
        path: PathBuf,
    },
    /// A key that cannot sign here.
    #[error("{} holds a private key that cannot be used ({why}): it takes RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, and Ed25519", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// The two do not belong together.
    #[error("the key in {} does not fit the certificate in {}: the first certificate there has to be the one that was made with this key; put both of one issue in place", .key.display(), .cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The algorithms do not come together; no file can cause it.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// Nobody's word is known to be taken.
    #[error(
        "no certificates of authorities on this machine (/etc/ssl, /etc/pki): name the authority of the node with --cacert FILE"
    )]
    NoAuthorities,
    /// Who answers is not who it should be, or does not speak TLS.
    #[error("{0}")]
    FarEnd(String),
    /// A name that no certificate can be for.
    #[error("{0:?} is no name that a certificate can be for: write the node's name or address")]
    Name(String),
}

/// What the far end of a connection did wrong, in words for who asked. None where it is not about TLS.
pub(super) fn of_the_far_end(error: &io::Error) -> Option<String> {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        InvalidCertificate(what) => certificate_refused(what),
        InvalidMessage(_) => "it does not speak TLS there: write http://, or the port that has TLS".to_owned(),
        AlertReceived(what) => format!("it refused the connection ({what:?})"),
        other => other.to_string(),
    })
}

fn certificate_refused(what: &CertificateError) -> String {
    use CertificateError as E;
    match what {
        // Of an authority that has the name of one that is trusted, and another key.
        E::UnknownIssuer | E::BadSignature => {
            "its certificate is by nobody who is trusted here: name its authority with --cacert FILE".to_owned()
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            format!("its certificate is for somebody else: ask by a name that stands in it ({what})")
        }
        E::Expired | E::ExpiredContext { .. } => format!("its certificate has expired: renew it ({what})"),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet: compare the clocks ({what})")
        }
        E::Other(_) if format!("{what:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority: have one made for the node, by that authority (docs/operations.md)"
                .to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}
