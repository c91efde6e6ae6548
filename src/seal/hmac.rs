//! SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104), as requests are signed with.
//!
//! Invariant: what an HMAC comes to is as secret as its key: it is wiped when it goes out of use.

use crate::base::Secret;
use hkdf::hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Bytes of a SHA-256, and of an HMAC by it.
pub const SHA256_BYTES: usize = 32;

/// SHA-256 of bytes that are all here.
pub fn sha256(bytes: &[u8]) -> [u8; SHA256_BYTES] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct Sha256Stream(Sha256);

impl std::fmt::Debug for Sha256Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256Stream(..)")
    }
}

impl Sha256Stream {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The SHA-256 of everything appended; begins anew.
    pub fn take(&mut self) -> [u8; SHA256_BYTES] {
        self.0.finalize_reset().into()
    }
}

/// HMAC-SHA-256 of a message under a key of any length.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Secret<[u8; SHA256_BYTES]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    Secret::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn known_answers() {
        // FIPS 180-4 and RFC 4231, test case 2.
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(mac.expose()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
