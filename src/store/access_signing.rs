//! What access keys sign with: made of their secrets for a day, a region and a service, and remembered, since a request
//! would have it made anew each time, and half of the work of judging a signature is that.
//!
//! Invariants
//! - It stands beside the keys that it was made of (`AccessKeys`), which never change: after a rotation, a revocation or
//!   any other change there are others, which remember nothing of these. What goes is wiped.
//! - At most `REMEMBERED_MAX` are remembered; whoever asks for more makes them anew.
//! - Whether there is a key of an id makes no difference: what is made of nobody's secrets is remembered as well, and
//!   whether a signature fits decides nothing.

use crate::base::{AccessKeyId, Secret};
use crate::seal::hmac::SHA256_BYTES;
use std::sync::Arc;

/// Keys and scopes of which it is remembered what they sign with.
pub const REMEMBERED_MAX: usize = 1024;

/// A signature: an HMAC-SHA-256.
pub type Signature = [u8; SHA256_BYTES];
/// What a secret signs with for a scope.
pub type SigningKey = Secret<[u8; SHA256_BYTES]>;

/// A signature that somebody brings, and how one is made.
pub struct SignatureCheck<'a> {
    /// What somebody brings.
    pub signature: &'a Signature,
    /// What it is for: the day, the region and the service, as one text.
    pub scope: &'a str,
    /// What a secret signs with for that.
    pub derive: &'a dyn Fn(&[u8]) -> SigningKey,
    /// What that makes of the request.
    pub sign: &'a dyn Fn(&SigningKey) -> Signature,
}

/// What both secrets of a key sign with, the newest first.
pub(super) type Pair = [Arc<SigningKey>; 2];

/// What the keys of an `AccessKeys` sign with, as far as somebody has asked.
pub(super) struct SigningKeys(quick_cache::sync::Cache<String, Pair>);

impl SigningKeys {
    /// None yet. It takes no memory before it is asked.
    pub fn new() -> Self {
        SigningKeys(quick_cache::sync::Cache::new(REMEMBERED_MAX))
    }

    /// What the secrets of that id sign with for a scope; made by `make` where it is not remembered.
    pub fn of(&self, id: AccessKeyId, scope: &str, make: impl FnOnce() -> Pair) -> Pair {
        let name = format!("{id}/{scope}");
        self.0.get(name.as_str()).unwrap_or_else(|| {
            let made = make();
            self.0.insert(name, made.clone());
            made
        })
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_was_made_is_remembered_by_id_and_scope_and_no_more_than_so_many() {
        let (keys, made) = (SigningKeys::new(), Cell::new(0_u32));
        let of = |n: u8, scope: &str| {
            let pair = keys.of(AccessKeyId::drawn([n; 20]), scope, || {
                made.set(made.get() + 1);
                let mut bytes = [0; SHA256_BYTES];
                bytes[..4].copy_from_slice(&made.get().to_be_bytes());
                [bytes, [9; SHA256_BYTES]].map(|bytes| Arc::new(Secret::new(bytes)))
            });
            (pair[0].expose()[3], pair[1].expose()[3])
        };
        assert_eq!([of(1, "a"), of(1, "b"), of(2, "a")], [(1, 9), (2, 9), (3, 9)]);
        assert_eq!([of(2, "a"), of(1, "a"), of(1, "b")], [(3, 9), (1, 9), (2, 9)]);
        assert_eq!(made.get(), 3);
        (0..4 * REMEMBERED_MAX).for_each(|n| {
            of(3, &n.to_string());
        });
        assert!(keys.0.len() <= REMEMBERED_MAX, "{keys:?}");
        assert!(keys.0.len() > REMEMBERED_MAX / 2, "{keys:?}");
    }
}
