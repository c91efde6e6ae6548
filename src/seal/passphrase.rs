//! A key of the ring wrapped under a passphrase: what a key file holds where it must not hold the key itself.
//!
//! Invariants
//! - A passphrase becomes a key by Argon2id alone, whose memory and time are what a guess costs; both stand in the file,
//!   and are bounded before any memory is taken.
//! - Each file has a salt of its own: no two of them share a key.
//!
//! Layout: docs/format.md, "Keys".

use super::derive::derive;
use super::key::{KEY_BYTES, NONCE_BYTES, SealingKey, TAG_BYTES};
use super::random;
use crate::base::Secret;
use crate::base::codec::{CodecError, Reader, Writer};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

/// What a wrapped key begins with.
pub const MAGIC: [u8; 4] = *b"BVK1";
/// Bytes of a wrapped key.
pub const WRAPPED_BYTES: usize = 4 + 4 + 3 * 4 + SALT_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

const SALT_BYTES: usize = 16;
/// The version of the layout and the function: Argon2id, version 1.3.
const KIND: u32 = 1;
/// What is authenticated beside the key: all that stands in front of the nonce.
const PLACE_BYTES: usize = 4 + 4 + 3 * 4 + SALT_BYTES;

/// What turning a passphrase into a key costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The second choice of RFC 9106, on one lane: 64 MiB, and some tenths of a second, for each key file at a start.
const COST: Cost = Cost { memory_kib: 64 << 10, passes: 3, lanes: 1 };
/// Most that a file may ask for: 1 GiB.
const COST_MAX: Cost = Cost { memory_kib: 1 << 20, passes: 64, lanes: 16 };

/// Why a wrapped key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Another layout, or a cost that is out of range.
    #[error("a wrapped key that this release does not know")]
    Unknown,
    /// Another passphrase, or changed bytes.
    #[error("a wrapped key that does not open: the passphrase is another one, or the file was changed")]
    Closed,
}

impl From<CodecError> for UnwrapError {
    fn from(_: CodecError) -> Self {
        UnwrapError::Unknown
    }
}

/// Wraps a key under a passphrase.
///
/// # Panics
/// When the system has no memory for it.
pub fn wrap(passphrase: &[u8], key: &Secret<[u8; KEY_BYTES]>) -> Vec<u8> {
    wrap_at(COST, passphrase, key, random(), random())
}

fn wrap_at(
    cost: Cost,
    passphrase: &[u8],
    key: &Secret<[u8; KEY_BYTES]>,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(WRAPPED_BYTES));
    w.raw(&MAGIC).u32(KIND).u32(cost.memory_kib).u32(cost.passes).u32(cost.lanes).raw(&salt);
    let place = w.0.clone();
    let mut text = Zeroizing::new(*key.expose());
    let tag = key_of(cost, passphrase, &salt).expect("the cost is in range").seal(&nonce, &place, &mut text[..]);
    w.raw(&nonce).raw(&text[..]).raw(&tag);
    w.0
}

/// Opens a wrapped key.
pub fn unwrap(passphrase: &[u8], wrapped: &[u8]) -> Result<Secret<[u8; KEY_BYTES]>, UnwrapError> {
    let mut r = Reader(wrapped);
    if r.array()? != MAGIC || r.u32()? != KIND {
        return Err(UnwrapError::Unknown);
    }
    let cost = Cost { memory_kib: r.u32()?, passes: r.u32()?, lanes: r.u32()? };
    let (salt, nonce) = (r.array::<SALT_BYTES>()?, r.array()?);
    let (mut text, tag) = (Zeroizing::new(r.array::<KEY_BYTES>()?), r.array()?);
    r.end()?;
    let key = key_of(cost, passphrase, &salt).ok_or(UnwrapError::Unknown)?;
    let place = wrapped.get(..PLACE_BYTES).ok_or(UnwrapError::Unknown)?;
    key.open(&nonce, place, &mut text[..], &tag).map_err(|_| UnwrapError::Closed)?;
    Ok(Secret::new(*text))
}

/// The key that a passphrase makes with that salt; none when the cost is out of range.
fn key_of(cost: Cost, passphrase: &[u8], salt: &[u8; SALT_BYTES]) -> Option<SealingKey> {
    let Cost { memory_kib, passes, lanes } = cost;
    let fits = memory_kib <= COST_MAX.memory_kib && passes <= COST_MAX.passes && lanes <= COST_MAX.lanes;
    // The function's own limits, from below.
    let params = Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).ok().filter(|_| fits)?;
    let mut made = Zeroizing::new([0; KEY_BYTES]);
    let function = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    function.hash_password_into(passphrase, salt, &mut made[..]).ok()?;
    Some(SealingKey::new(&derive(&made[..], &[b"boveda/key-file/v1"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn key() -> Secret<[u8; KEY_BYTES]> {
        Secret::new([7; KEY_BYTES])
    }

    /// RFC 9106, 5.3, has a secret and associated data; without both, by the reference program:
    /// `printf password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -r`.
    #[test]
    fn the_function_is_argon2id() {
        let params = Params::new(1 << 16, 2, 1, Some(32)).unwrap();
        let mut made = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"password", b"somesalt", &mut made)
            .unwrap();
        let hex: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn a_wrapped_key_opens_by_its_passphrase_alone() {
        let wrapped = wrap(b"a passphrase", &key());
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        assert_eq!(unwrap(b"a passphrase", &wrapped).unwrap().expose(), key().expose());
        assert_eq!(unwrap(b"A passphrase", &wrapped).unwrap_err(), UnwrapError::Closed);
        assert_ne!(wrap(b"a passphrase", &key()), wrapped, "another salt");
    }

    #[test]
    fn every_changed_bit_and_every_other_length_is_refused() {
        let wrapped = wrap_at(CHEAP, b"p", &key(), [1; SALT_BYTES], [2; NONCE_BYTES]);
        assert!(unwrap(b"p", &wrapped).is_ok());
        for bit in 0..wrapped.len() * 8 {
            // Refused like all others, once some hundred MiB were taken for it.
            if (8 * 8 + 12..8 * 8 + 20).contains(&bit) {
                continue;
            }
            let mut bad = wrapped.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unwrap(b"p", &bad).is_err(), "bit {bit}");
        }
        for end in 0..wrapped.len() {
            assert_eq!(unwrap(b"p", &wrapped[..end]).unwrap_err(), UnwrapError::Unknown, "{end} bytes");
        }
        assert_eq!(unwrap(b"p", &[&wrapped[..], &[0]].concat()).unwrap_err(), UnwrapError::Unknown);
    }

    #[test]
    fn a_cost_beyond_all_measure_is_refused_before_it_is_paid() {
        for cost in [
            Cost { memory_kib: u32::MAX, ..CHEAP },
            Cost { memory_kib: COST_MAX.memory_kib + 1, ..CHEAP },
            Cost { passes: COST_MAX.passes + 1, ..CHEAP },
            Cost { memory_kib: 1 << 10, lanes: COST_MAX.lanes + 1, ..CHEAP },
            Cost { memory_kib: 0, ..CHEAP },
            Cost { passes: 0, ..CHEAP },
            Cost { lanes: 0, ..CHEAP },
        ] {
            assert!(key_of(cost, b"p", &[1; SALT_BYTES]).is_none(), "{cost:?}");
        }
    }
}
