//! TLS: what the ports for clients show of themselves, and whom the commands believe.
//!
//! | file | job |
//! |---|---|
//! | `pair` | a certificate and its key, out of two files |
//! | `validity` | until when a certificate holds: the one field that is read of it here |
//! | `kept` | the pair that new connections are shown, and how another one takes its place |
//! | `server` | the other side of one connection to a port |
//! | `client` | a connection to a port, and whose word is taken for who it is |
//! | `error` | what is wrong with a file, or with who answers |
//!
//! Invariants
//! - No other room names `rustls`; both sides have one set of algorithms, that of `provider`, and TLS 1.2 and 1.3.
//! - What is agreed upon is HTTP/1.1 or 1.0, which are all that a port speaks.
//! - Nothing here prints a byte of a key.

mod client;
mod error;
mod kept;
mod pair;
mod server;
mod validity;

pub use client::{Secured, Trust};
pub use error::TlsError;
pub use kept::{Kept, Looked};
pub use pair::Files;
pub use server::{Server, Stream, may_be_read};
pub use validity::NotAfter;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

/// Both versions that are spoken; the older ones are broken, and `rustls` does not have them.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The algorithms, for both sides: named here, so that no feature of another crate chooses them.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}
