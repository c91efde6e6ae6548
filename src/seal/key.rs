//! One symmetric key and its two operations. The cipher is named here and in `body`.
//!
//! AES-256-GCM-SIV (RFC 8452): a repeated nonce, which restored snapshots and crashes make real,
//! reveals equality of two plaintexts and nothing else.

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Key, Nonce, Tag};
use std::fmt;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;

/// Sealed bytes did not open. It says nothing of the cause: wrong key, wrong place, changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open")]
pub struct OpenError;

/// A key that seals and opens. Expanded once, wiped on drop, without `Clone` or `Serialize`.
pub struct SealingKey(Aes256GcmSiv);

impl SealingKey {
    /// Expands 32 bytes of key material.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        SealingKey(Aes256GcmSiv::new(&Key::<Aes256GcmSiv>::from(*bytes)))
    }

    /// Encrypts `text` in place and returns the tag over it and `place`.
    ///
    /// # Panics
    /// When `text` is longer than RFC 8452 allows (64 GiB); every caller seals far smaller units.
    pub fn seal(&self, nonce: &[u8; NONCE_BYTES], place: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        self.seal_between(nonce, place, text.into())
    }

    /// Encrypts `text` into `out` and returns the tag over it and `place`: the same bytes as in place, without a copy.
    ///
    /// # Panics
    /// When the two differ in length, and as `seal` does.
    pub fn seal_to(&self, nonce: &[u8; NONCE_BYTES], place: &[u8], text: &[u8], out: &mut [u8]) -> [u8; TAG_BYTES] {
        let between = InOutBuf::new(text, out).expect("as much room as text");
        self.seal_between(nonce, place, between)
    }

    fn seal_between(&self, nonce: &[u8; NONCE_BYTES], place: &[u8], text: InOutBuf<'_, '_, u8>) -> [u8; TAG_BYTES] {
        self.0
            .encrypt_inout_detached(&Nonce::from(*nonce), place, text)
            .expect("units are far below the cipher's limit")
            .into()
    }

    /// Decrypts `text` in place, if the tag fits it and `place`; otherwise `text` holds no plaintext.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        place: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), OpenError> {
        self.0.decrypt_inout_detached(&Nonce::from(*nonce), place, text.into(), &Tag::from(*tag)).map_err(|_| OpenError)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_what_was_sealed_where_it_was_sealed() {
        let key = SealingKey::new(&[7; 32]);
        let mut text = *b"plaintext";
        let tag = key.seal(&[1; 12], b"here", &mut text);
        assert_ne!(&text, b"plaintext");
        let mut apart = [0; 9];
        assert_eq!(key.seal_to(&[1; 12], b"here", b"plaintext", &mut apart), tag);
        assert_eq!(apart, text);
        let opens = |key: &SealingKey, nonce: u8, place: &[u8], text: &[u8], tag: [u8; 16]| {
            let mut copy = text.to_vec();
            key.open(&[nonce; 12], place, &mut copy, &tag).map(|()| copy)
        };
        assert_eq!(opens(&key, 1, b"here", &text, tag).as_deref(), Ok(&b"plaintext"[..]));
        assert!(opens(&key, 2, b"here", &text, tag).is_err());
        assert!(opens(&key, 1, b"there", &text, tag).is_err());
        assert!(opens(&SealingKey::new(&[8; 32]), 1, b"here", &text, tag).is_err());
        for bit in 0..text.len() * 8 {
            let mut bad = text;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(opens(&key, 1, b"here", &bad, tag).is_err(), "bit {bit}");
        }
        for bit in 0..128 {
            let mut bad = tag;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(opens(&key, 1, b"here", &text, bad).is_err(), "tag bit {bit}");
        }
    }
}
