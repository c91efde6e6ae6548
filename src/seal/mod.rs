//! Bytes in, sealed bytes out. The only room that names a cipher, a hash or the random source.
//!
//! Layouts: docs/format.md. Rule one: nothing of a key or a plaintext leaves this room except to
//! the caller who sealed it. Rule two: a byte that changed, moved or is missing is noticed before
//! any byte of its chunk is handed out.
//!
//! | file | job |
//! |---|---|
//! | `key` | one symmetric key and its two operations |
//! | `keyring` `derive` | the KEK generations of a cluster; all keys that are derived from one |
//! | `passphrase` | a key of the ring wrapped under a passphrase |
//! | `body` `layout` | a sealed body, and where its chunks lie |
//! | `digest` | the hash over sealed bytes, for which no key is needed |
//! | `hmac` | what requests are signed with |
//! | `mark` | keyed sums of register states, which the nodes of a ring compare |
//! | `md5` | MD5, of one body or of several side by side |
//! | `origin` | what a cluster is known by for as long as it lives |
//! | `sums` | sums over plaintext, which clients know a body by |
//! | `session` | handshake and frames between two nodes of one ring; how one is told of its cluster |

pub mod body;
mod derive;
pub mod digest;
pub mod hmac;
pub mod key;
pub mod keyring;
pub mod layout;
pub mod mark;
pub mod md5;
pub mod origin;
pub mod passphrase;
pub mod session;
pub mod sums;

pub use body::{BodyOpener, BodySealer, PartPlace};
pub use key::{KEY_BYTES, NONCE_BYTES, OpenError, SealingKey, TAG_BYTES};
pub use keyring::{BoxError, Dek, GrowError, Keyring, SealError};
pub use layout::{CHUNK_BYTES, HEADER_BYTES, Layout};
pub use mark::MarkKey;
pub use origin::Origin;
pub use session::{Hello, HelloError, Me, PeerInfo, PeerKey, PeerKeys, PendingHello, SessionKey, SessionKeys};

/// `N` bytes from the operating system's random source.
///
/// # Panics
/// When the operating system has none to give: nothing here is safe without it.
pub fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).expect("the operating system's random source works");
    out
}
