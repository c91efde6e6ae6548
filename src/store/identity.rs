//! The identity of a data directory: which cluster with which secret of its marks, which life, and the keys of its log
//! and index.
//!
//! Invariants
//! - It is written last at first start: a directory with an identity is complete. Each start puts it in place anew
//!   before anything rests on it (`open`).
//! - It is sealed under the KEK ring: another ring cannot even start.
//! - What outlives every key generation stands here, and nowhere else: none is needed but the one that sealed it.
//! - The generation that sealed it is the one that seals here, over restarts too: it is sealed anew before a newer
//!   one seals anything else, so a start without that one fails and says so.

use super::error::StoreError;
use super::index::FORMAT;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{ClusterId, Incarnation, KekId, Secret};
use crate::seal::Origin;
use crate::seal::keyring::{BoxError, Keyring};
use crate::seal::{KEY_BYTES, SealingKey, random};

/// The file's name in the data directory.
pub const FILE: &str = "identity";
const PLACE: &[u8] = b"boveda/identity/v1";
const VERSION: u8 = 3;
/// The last format of a directory whose identity had the version before.
const LAST_OTHER: u64 = 10;
/// What the file holds.
#[derive(Debug)]
pub struct Identity {
    /// The cluster that the data belongs to, and the secret of its marks.
    pub origin: Origin,
    /// This life of the directory.
    pub incarnation: Incarnation,
    /// The life before, if this one was begun because that one may have forgotten what it had promised.
    pub former: Option<Incarnation>,
    /// Names the index file in its pages' associated data.
    pub index_id: [u8; 16],
    log_key: Secret<[u8; KEY_BYTES]>,
    index_key: Secret<[u8; KEY_BYTES]>,
}

impl Identity {
    /// A new life, with keys of its own.
    pub fn generate(origin: Origin) -> Self {
        Identity {
            origin,
            incarnation: new_incarnation(),
            former: None,
            index_id: random(),
            log_key: Secret::new(random()),
            index_key: Secret::new(random()),
        }
    }

    /// The same directory in another life.
    pub fn reborn(self) -> Self {
        let former = Some(self.incarnation);
        Identity { incarnation: new_incarnation(), former, ..self }
    }

    /// The key of the commit log.
    pub fn log_key(&self) -> SealingKey {
        SealingKey::new(self.log_key.expose())
    }

    /// The key of the index pages.
    pub fn index_key(&self) -> SealingKey {
        SealingKey::new(self.index_key.expose())
    }

    /// The bytes of the identity file, sealed.
    pub fn seal(&self, ring: &Keyring) -> Vec<u8> {
        ring.seal_box(PLACE, &self.plain())
    }

    /// The file's bytes under a generation that does not seal yet; `None` when the ring lacks it.
    pub fn seal_under(&self, ring: &Keyring, kek: KekId) -> Option<Vec<u8>> {
        ring.seal_box_under(kek, PLACE, &self.plain())
    }

    fn plain(&self) -> zeroize::Zeroizing<Vec<u8>> {
        // Room for all of it: memory that it outgrew would keep its keys.
        let mut w = Writer(Vec::with_capacity(256));
        w.u8(VERSION).raw(&self.origin.cluster.0).raw(self.origin.marks().expose()).u64(self.incarnation.0);
        w.u64(self.former.map_or(0, |life| life.0)).raw(&self.index_id);
        w.raw(self.log_key.expose()).raw(self.index_key.expose());
        zeroize::Zeroizing::new(w.0)
    }

    /// Reads the file's bytes.
    pub fn open(ring: &Keyring, sealed: &[u8]) -> Result<Self, StoreError> {
        let plain = ring.open_box(PLACE, sealed).map_err(|error| match error {
            BoxError::UnknownKey { kek } => StoreError::ForeignKey { kek },
            _ => StoreError::Corrupt { what: "identity of the data directory" },
        })?;
        let plain = zeroize::Zeroizing::new(plain);
        // It is read before the index is, which tells the format otherwise.
        if plain.first() == Some(&(VERSION - 1)) {
            return Err(StoreError::OtherFormat { found: LAST_OTHER, ours: FORMAT });
        }
        decode(&plain).map_err(|_| StoreError::Corrupt { what: "identity of the data directory" })
    }
}

fn new_incarnation() -> Incarnation {
    loop {
        let drawn = u64::from_le_bytes(random());
        if drawn != 0 {
            return Incarnation(drawn); // zero means "nobody" in the index
        }
    }
}

fn decode(plain: &[u8]) -> Result<Identity, CodecError> {
    let mut r = Reader(plain);
    if r.u8()? != VERSION {
        return Err(CodecError::Value("identity version"));
    }
    let identity = Identity {
        origin: Origin::new(ClusterId(r.array()?), Secret::new(r.array()?)),
        incarnation: Incarnation(r.u64()?),
        former: Some(Incarnation(r.u64()?)).filter(|life| life.0 != 0),
        index_id: r.array()?,
        log_key: Secret::new(r.array()?),
        index_key: Secret::new(r.array()?),
    };
    r.end()?;
    Ok(identity)
}
