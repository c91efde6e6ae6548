//! Key derivation: one secret, one label, one purpose.
//!
//! Invariants
//! - No two purposes share a label, so no two purposes share a key.
//! - Derived bytes are wiped when they go out of use.
//!
//! Long-lived secrets go through the whole HKDF (RFC 5869); data keys, which are uniformly random
//! and fresh for each body, through its expand step alone, because it runs for every body.

use hkdf::hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::Zeroizing;

const HASH_BYTES: usize = 64;
const EXTRACT_SALT: &[u8] = b"boveda/v1";

/// HKDF-SHA-512 with our salt: `secret` and the parts of `info`, concatenated, give `N` bytes.
pub(super) fn derive<const N: usize>(secret: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let prk = hmac(EXTRACT_SALT, &[secret]);
    expand(&prk[..], info)
}

/// The expand step alone. `key` is uniformly random.
pub(super) fn expand<const N: usize>(key: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * HASH_BYTES) };
    let keyed = keyed(key);
    let mut out = Zeroizing::new([0; N]);
    let mut block: Option<Zeroizing<[u8; HASH_BYTES]>> = None;
    for (number, part) in (1..=u8::MAX).zip(out.chunks_mut(HASH_BYTES)) {
        let mut mac = keyed.clone();
        if let Some(previous) = &block {
            mac.update(&previous[..]);
        }
        info.iter().for_each(|i| mac.update(i));
        mac.update(&[number]);
        let next: Zeroizing<[u8; HASH_BYTES]> = Zeroizing::new(mac.finalize().into_bytes().into());
        part.copy_from_slice(&next[..part.len()]);
        block = Some(next);
    }
    out
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; HASH_BYTES]> {
    let mut mac = keyed(key);
    parts.iter().for_each(|p| mac.update(p));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8]) -> Hmac<Sha512> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `hkdf` crate is the oracle: same bytes for every length around the block borders.
    #[test]
    fn agrees_with_the_library() {
        fn check<const N: usize>() {
            let secret = [0x5a; 32];
            let oracle = hkdf::Hkdf::<Sha512>::new(Some(EXTRACT_SALT), &secret);
            let mut expected = [0; N];
            oracle.expand(b"label|more", &mut expected).unwrap();
            assert_eq!(*derive::<N>(&secret, &[b"label|", b"more"]), expected, "{N} bytes");
            let prk = [0xc3; 64];
            hkdf::Hkdf::<Sha512>::from_prk(&prk).unwrap().expand(b"x", &mut expected).unwrap();
            assert_eq!(*expand::<N>(&prk, &[b"x"]), expected, "{N} bytes");
        }
        check::<1>();
        check::<63>();
        check::<64>();
        check::<65>();
        check::<76>();
        check::<128>();
        check::<129>();
    }
}
