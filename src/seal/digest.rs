//! The keyless digest of sealed bytes, and comparison without a clock to read.
//!
//! Replicas and the scrubber check sealed bytes by it without holding a key. It says nothing about
//! authenticity: who can write a body can write its digest.

pub use super::md5::{MD5_BYTES, Md5};
use subtle::ConstantTimeEq;

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;

/// BLAKE3 of bytes that arrive in pieces; how they are cut makes no difference.
#[derive(Clone, Debug, Default)]
pub struct BodyDigest(blake3::Hasher);

impl BodyDigest {
    /// The digest of nothing, so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    pub fn finalize(self) -> [u8; DIGEST_BYTES] {
        self.0.finalize().into()
    }
}

/// The digest of bytes that are all here.
pub fn digest_of(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    blake3::hash(bytes).into()
}

/// Whether two byte strings are equal, in a time that depends on their lengths alone.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_no_difference() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for cut in [0, 1, 63, 64, 65, 1024, 9_999, 10_000] {
            let mut digest = BodyDigest::new();
            digest.update(&bytes[..cut]);
            digest.update(&bytes[cut..]);
            assert_eq!(digest.finalize(), digest_of(&bytes), "cut at {cut}");
        }
    }

    #[test]
    fn known_answer() {
        // BLAKE3 of the empty string, as the reference implementation prints it.
        let hex: String = digest_of(b"").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }

    #[test]
    fn equality() {
        assert!(constant_time_eq(b"", b"") && constant_time_eq(b"abc", b"abc"));
        for other in [&b""[..], b"ab", b"abd", b"abcd"] {
            assert!(!constant_time_eq(b"abc", other));
        }
    }
}
