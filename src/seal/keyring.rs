//! The KEK ring: every generation of the cluster's key, and what is done with it.
//!
//! Invariants
//! - The raw KEKs are gone once the ring is built; what stays are the keys derived from them, each
//!   expanded once and used for one purpose.
//! - A wrap opens only for the cluster and the body it was made for; a box only at its place.
//! - The cluster id, the peer key and the mark key come from the first generation, so rotation changes neither.
//!
//! Layout: docs/format.md, "Keys", "Wrap" and "Box".

use super::derive::derive;
use super::key::{KEY_BYTES, NONCE_BYTES, OpenError, SealingKey, TAG_BYTES};
use super::mark::MarkKey;
use super::random;
use super::session::PeerKey;
use crate::base::codec::Reader;
use crate::base::{BodyId, ClusterId, KekId, Secret, Wrap};

const BOX_VERSION: u8 = 1;
const BOX_HEAD_BYTES: usize = 1 + 16 + NONCE_BYTES;
const WRAP_PLACE_BYTES: usize = 14 + 16 + 16;

/// Why keys do not make a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A ring has at least one generation.
    #[error("a key ring needs at least one generation")]
    NoKeys,
    /// Two keys claim one generation.
    #[error("generation {0} is there twice")]
    DuplicateGeneration(u32),
    /// One key stands under two generations: a file was copied where a new key was meant.
    #[error("generations {0} and {1} hold the same key")]
    SameKey(u32, u32),
}

/// Why a box does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoxError {
    /// Too few bytes for a box.
    #[error("sealed box is cut short")]
    Short,
    /// It was sealed under a key that is not in the ring.
    #[error("sealed under key {kek}, which is not in the key directory")]
    UnknownKey {
        /// Names that key.
        kek: KekId,
    },
    /// Changed bytes, another place, or a version of the box that is not known here.
    #[error("sealed box does not open")]
    Open,
}

/// The key of one body: random, sealed by the ring, wiped on drop.
#[derive(Debug)]
pub struct Dek(Secret<[u8; KEY_BYTES]>);

impl Dek {
    /// A new random key.
    pub fn generate() -> Self {
        Dek(Secret::new(random()))
    }

    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Dek(Secret::new(bytes))
    }

    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose()
    }
}

/// All generations of the KEK, ready for use. Shared as an `Arc`, never cloned.
#[derive(Debug)]
pub struct Keyring {
    /// In rising order, never empty.
    generations: Vec<Generation>,
    cluster: ClusterId,
    peer: Secret<[u8; KEY_BYTES]>,
    marks: Secret<[u8; KEY_BYTES]>,
}

#[derive(Debug)]
struct Generation {
    number: u32,
    id: KekId,
    wraps: SealingKey,
    boxes: SealingKey,
}

impl Generation {
    fn new(number: u32, kek: &[u8; KEY_BYTES]) -> Self {
        Generation {
            number,
            id: KekId(*derive(kek, &[b"boveda/kek-id/v1"])),
            wraps: SealingKey::new(&derive(kek, &[b"boveda/wrap-key/v1"])),
            boxes: SealingKey::new(&derive(kek, &[b"boveda/box-key/v1"])),
        }
    }
}

impl Keyring {
    /// Builds the ring from numbered KEKs, in any order. The highest generation seals.
    pub fn new(mut keys: Vec<(u32, Secret<[u8; KEY_BYTES]>)>) -> Result<Self, SealError> {
        keys.sort_by_key(|(number, _)| *number);
        let first = keys.first().ok_or(SealError::NoKeys)?.1.expose();
        let cluster = ClusterId(*derive(first, &[b"boveda/cluster-id/v1"]));
        let peer = Secret::new(*derive(first, &[b"boveda/peer-key/v1"]));
        let marks = Secret::new(*derive(first, &[b"boveda/mark-key/v1"]));
        let mut generations: Vec<Generation> = Vec::with_capacity(keys.len());
        for (number, kek) in &keys {
            let next = Generation::new(*number, kek.expose());
            if generations.last().is_some_and(|g| g.number == next.number) {
                return Err(SealError::DuplicateGeneration(next.number));
            }
            if let Some(same) = generations.iter().find(|g| g.id == next.id) {
                return Err(SealError::SameKey(same.number, next.number));
            }
            generations.push(next);
        }
        Ok(Keyring { generations, cluster, peer, marks })
    }

    /// The cluster id that the ring implies: whoever holds the first generation computes the same.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster
    }

    /// The generation that seals.
    pub fn active(&self) -> KekId {
        self.newest().id
    }

    /// All generations with their ids, in rising order.
    pub fn generations(&self) -> Vec<(u32, KekId)> {
        self.generations.iter().map(|g| (g.number, g.id)).collect()
    }

    /// Seals a data key for one body of one cluster, under the active generation.
    pub fn wrap(&self, cluster: ClusterId, body: BodyId, dek: &Dek) -> Wrap {
        self.wrap_with(cluster, body, dek, random())
    }

    pub(super) fn wrap_with(&self, cluster: ClusterId, body: BodyId, dek: &Dek, nonce: [u8; NONCE_BYTES]) -> Wrap {
        let kek = self.newest();
        let mut sealed = [0; KEY_BYTES + TAG_BYTES];
        let (text, tag) = sealed.split_at_mut(KEY_BYTES);
        text.copy_from_slice(dek.expose());
        tag.copy_from_slice(&kek.wraps.seal(&nonce, &wrap_place(cluster, body), text));
        Wrap { kek: kek.id, nonce, sealed }
    }

    /// Opens a data key. The error is the same for an unknown generation, another place and changed bytes.
    pub fn unwrap(&self, cluster: ClusterId, body: BodyId, wrap: &Wrap) -> Result<Dek, OpenError> {
        let kek = self.find(wrap.kek).ok_or(OpenError)?;
        let (text, tag) = wrap.sealed.split_first_chunk::<KEY_BYTES>().ok_or(OpenError)?;
        let tag = tag.first_chunk::<TAG_BYTES>().ok_or(OpenError)?;
        let mut dek = zeroize::Zeroizing::new(*text);
        kek.wraps.open(&wrap.nonce, &wrap_place(cluster, body), &mut dek[..], tag)?;
        Ok(Dek::from_bytes(*dek))
    }

    /// The key by which the nodes of this ring know each other.
    pub fn peer_key(&self) -> PeerKey {
        PeerKey::new(self.peer.expose())
    }

    /// The key by which the nodes of this ring compare what they hold.
    pub fn mark_key(&self) -> MarkKey {
        MarkKey::new(*self.marks.expose())
    }

    /// Seals a few bytes that must open at `place` alone, such as the key of the log or the index.
    pub fn seal_box(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        self.seal_box_with(place, plain, random())
    }

    pub(super) fn seal_box_with(&self, place: &[u8], plain: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let kek = self.newest();
        let mut out = Vec::with_capacity(BOX_HEAD_BYTES + plain.len() + TAG_BYTES);
        out.push(BOX_VERSION);
        out.extend_from_slice(&kek.id.0);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = kek.boxes.seal(&nonce, &box_place(place), &mut out[BOX_HEAD_BYTES..]);
        out.extend_from_slice(&tag);
        out
    }

    /// Opens a box, and tells a foreign key from changed bytes, so that a start can say which it is.
    pub fn open_box(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (head, rest) = sealed.split_first_chunk::<BOX_HEAD_BYTES>().ok_or(BoxError::Short)?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(BoxError::Short)?;
        let mut head = Reader(head);
        let fields = (head.u8(), head.array(), head.array());
        let (Ok(BOX_VERSION), Ok(kek), Ok(nonce)) = fields else { return Err(BoxError::Open) };
        let kek = self.find(KekId(kek)).ok_or(BoxError::UnknownKey { kek: KekId(kek) })?;
        let mut plain = text.to_vec();
        kek.boxes.open(&nonce, &box_place(place), &mut plain, tag).map_err(|OpenError| BoxError::Open)?;
        Ok(plain)
    }

    fn newest(&self) -> &Generation {
        self.generations.last().expect("a ring is never empty")
    }

    fn find(&self, kek: KekId) -> Option<&Generation> {
        self.generations.iter().find(|g| g.id == kek)
    }
}

fn wrap_place(cluster: ClusterId, body: BodyId) -> [u8; WRAP_PLACE_BYTES] {
    let mut place = [0; WRAP_PLACE_BYTES];
    place[..14].copy_from_slice(b"boveda/wrap/v1");
    place[14..30].copy_from_slice(&cluster.0);
    place[30..].copy_from_slice(&body.0);
    place
}

fn box_place(place: &[u8]) -> Vec<u8> {
    [&b"boveda/box/v1"[..], place].concat()
}

#[cfg(test)]
mod tests;
