//! The KEK ring: every generation of the cluster's key, and what is done with it.
//!
//! Invariants
//! - The raw KEKs are gone once the ring is built; what stays are the keys derived from them, each
//!   expanded once and used for one purpose.
//! - A wrap opens only for the cluster and the body it was made for; a box only at its place.
//! - Nothing that outlives a generation is derived from it, but what a new cluster begins with (`origin`).
//! - A ring only grows: whatever it opens once it opens for as long as it lives. Which generation seals is decided by all
//!   nodes together (`store::cluster_settings`), and never goes back.
//!
//! Layout: docs/format.md, "Keys", "Wrap" and "Box".

use super::derive::derive;
use super::key::{KEY_BYTES, NONCE_BYTES, OpenError, SealingKey, TAG_BYTES};
use super::origin::Origin;
use super::random;
use super::session::{PeerKey, PeerKeys};
use crate::base::codec::Reader;
use crate::base::{BodyId, ClusterId, KekId, Secret, Wrap};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

const BOX_VERSION: u8 = 1;
const BOX_HEAD_BYTES: usize = 1 + 16 + NONCE_BYTES;
const WRAP_PLACE_BYTES: usize = 14 + 16 + 16;
/// Most generations that are remembered as missing: they are for people, who need one name at a time.
const MISSED_MAX: usize = 16;

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

/// Why a ring does not take what the key directory holds by now. It stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrowError {
    /// These keys are no ring.
    #[error(transparent)]
    NoRing(#[from] SealError),
    /// A generation that is in use is not there any more.
    #[error("generation {0} is gone, and what it sealed needs it: put its file back")]
    Gone(u32),
    /// A generation that is in use has another key.
    #[error("generation {0} holds another key than the one that is in use: put the original file back")]
    Changed(u32),
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
        /// The generation that it was sealed under; its id tells nothing of the key.
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
pub struct Keyring {
    state: RwLock<State>,
    origin: Origin,
    peers: Arc<PeerKeys>,
    /// Generations that something here was sealed under, and that the ring does not hold.
    missed: Mutex<BTreeSet<KekId>>,
}

struct State {
    /// In rising order, never empty.
    generations: Vec<Arc<Generation>>,
    /// The one of them that seals.
    sealing: Arc<Generation>,
}

#[derive(Debug)]
struct Generation {
    number: u32,
    id: KekId,
    wraps: SealingKey,
    boxes: SealingKey,
}

/// The generations of numbered keys, in rising order, each with its peer key.
fn generations_of(mut keys: Keys) -> Result<Vec<(Arc<Generation>, PeerKey)>, SealError> {
    keys.sort_by_key(|(number, _)| *number);
    let mut generations: Vec<(Arc<Generation>, PeerKey)> = Vec::with_capacity(keys.len());
    for (number, kek) in &keys {
        let next = Generation::new(*number, kek.expose());
        if generations.last().is_some_and(|(g, _)| g.number == next.number) {
            return Err(SealError::DuplicateGeneration(next.number));
        }
        if let Some((same, _)) = generations.iter().find(|(g, _)| g.id == next.id) {
            return Err(SealError::SameKey(same.number, next.number));
        }
        let peer = PeerKey::new(next.id, &derive(kek.expose(), &[b"boveda/peer-key/v1"]));
        generations.push((Arc::new(next), peer));
    }
    Ok(generations)
}

/// Generations with their keys, in any order.
type Keys = Vec<(u32, Secret<[u8; KEY_BYTES]>)>;

impl Generation {
    fn new(number: u32, kek: &[u8; KEY_BYTES]) -> Self {
        Generation {
            number,
            id: KekId(*derive(kek, &[b"boveda/kek-id/v1"])),
            wraps: SealingKey::new(&derive(kek, &[b"boveda/wrap-key/v1"])),
            boxes: SealingKey::new(&derive(kek, &[b"boveda/box-key/v1"])),
        }
    }

    fn seal_box(&self, place: &[u8], plain: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let mut out = Vec::with_capacity(BOX_HEAD_BYTES + plain.len() + TAG_BYTES);
        out.push(BOX_VERSION);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = self.boxes.seal(&nonce, &box_place(place), &mut out[BOX_HEAD_BYTES..]);
        out.extend_from_slice(&tag);
        out
    }
}

impl Keyring {
    /// Builds the ring from numbered KEKs, in any order. The highest generation seals, until `seal_with` says
    /// otherwise.
    pub fn new(mut keys: Keys) -> Result<Self, SealError> {
        keys.sort_by_key(|(number, _)| *number);
        let origin = Origin::derived(keys.first().ok_or(SealError::NoKeys)?.1.expose());
        let peers = Arc::new(PeerKeys::default());
        let mut generations = Vec::with_capacity(keys.len());
        for (generation, peer) in generations_of(keys)? {
            peers.add(generation.number, peer);
            generations.push(generation);
        }
        let sealing = Arc::clone(generations.last().ok_or(SealError::NoKeys)?);
        peers.seals(sealing.id);
        let state = RwLock::new(State { generations, sealing });
        Ok(Keyring { state, origin, peers, missed: Mutex::default() })
    }

    /// Takes in what is new among these keys, which are all that the key directory holds by now, and tells what that
    /// is. What seals does not change. `free`: generations that nothing needs any more, whose files may be gone; they open
    /// for as long as the ring lives, but no peer is met under them any more. On an error nothing was taken in.
    pub fn grow(&self, keys: Keys, free: &[KekId]) -> Result<Vec<(u32, KekId)>, GrowError> {
        let found = generations_of(keys)?;
        let (mut state, mut gone) = (self.state_mut(), Vec::new());
        for held in &state.generations {
            match found.iter().find(|(g, _)| g.number == held.number) {
                None if free.contains(&held.id) => gone.push(held.id),
                None => return Err(GrowError::Gone(held.number)),
                Some((now, _)) if now.id != held.id => return Err(GrowError::Changed(held.number)),
                Some(_) => {}
            }
        }
        gone.into_iter().for_each(|kek| self.peers.withdraw(kek));
        let mut new = Vec::new();
        for (next, peer) in found {
            if !self.peers.holds(next.id) {
                self.peers.add(next.number, peer);
            }
            // Of those that are held, the keys in use stay: one seals at this moment, perhaps.
            if !state.generations.iter().any(|g| g.id == next.id) {
                new.push((next.number, next.id));
                state.generations.push(next);
            }
        }
        state.generations.sort_by_key(|g| g.number);
        drop(state);
        self.missed().retain(|kek| !new.iter().any(|(_, id)| id == kek));
        Ok(new)
    }

    /// Seals under that generation from now on; says whether the ring holds it.
    pub fn seal_with(&self, kek: KekId) -> bool {
        let mut state = self.state_mut();
        let Some(sealing) = state.generations.iter().find(|g| g.id == kek).map(Arc::clone) else { return false };
        state.sealing = sealing;
        self.peers.seals(kek);
        true
    }

    /// What a new cluster begins with that has this ring: whoever holds its first generation computes the same.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The generation that seals.
    pub fn active(&self) -> KekId {
        self.state().sealing.id
    }

    /// Whether what that generation sealed opens here. One that is missing is remembered, for `missing`, and logged
    /// once.
    pub fn opens(&self, kek: KekId) -> bool {
        if self.find(kek).is_some() {
            return true;
        }
        let mut missed = self.missed();
        if missed.len() < MISSED_MAX && missed.insert(kek) {
            log::warn!(kek:%; "something here is sealed under a key generation that this node lacks");
        }
        false
    }

    /// A generation that something here was sealed under, and that the ring lacks.
    pub fn missing(&self) -> Option<KekId> {
        // One may have come while it was noted as missing.
        self.missed().iter().copied().find(|kek| self.find(*kek).is_none())
    }

    /// All generations with their ids, in rising order.
    pub fn generations(&self) -> Vec<(u32, KekId)> {
        self.state().generations.iter().map(|g| (g.number, g.id)).collect()
    }

    /// Seals a data key for one body of one cluster, under the active generation.
    pub fn wrap(&self, cluster: ClusterId, body: BodyId, dek: &Dek) -> Wrap {
        self.wrap_with(cluster, body, dek, random())
    }

    pub(super) fn wrap_with(&self, cluster: ClusterId, body: BodyId, dek: &Dek, nonce: [u8; NONCE_BYTES]) -> Wrap {
        let kek = self.sealing();
        let mut sealed = [0; KEY_BYTES + TAG_BYTES];
        let (text, tag) = sealed.split_at_mut(KEY_BYTES);
        text.copy_from_slice(dek.expose());
        tag.copy_from_slice(&kek.wraps.seal(&nonce, &wrap_place(cluster, body), text));
        Wrap { kek: kek.id, nonce, sealed }
    }

    /// The same data key, sealed under the active generation; `None` where it is already.
    pub fn rewrap(&self, cluster: ClusterId, body: BodyId, wrap: &Wrap) -> Result<Option<Wrap>, OpenError> {
        if wrap.kek == self.active() {
            return Ok(None);
        }
        Ok(Some(self.wrap(cluster, body, &self.unwrap(cluster, body, wrap)?)))
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

    /// The keys by which the nodes of this ring know each other. They follow the ring.
    pub fn peer_keys(&self) -> Arc<PeerKeys> {
        Arc::clone(&self.peers)
    }

    /// Seals a few bytes that must open at `place` alone, such as the key of the log or the index.
    pub fn seal_box(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        self.sealing().seal_box(place, plain, random())
    }

    /// Seals such a box under a generation that need not be the one that seals; `None` when the ring lacks it.
    pub fn seal_box_under(&self, kek: KekId, place: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        Some(self.find(kek)?.seal_box(place, plain, random()))
    }

    /// Which generation a box was sealed under, as it says itself.
    pub fn box_key(sealed: &[u8]) -> Option<KekId> {
        sealed.get(1..17).and_then(|id| id.try_into().ok()).map(KekId)
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

    fn sealing(&self) -> Arc<Generation> {
        Arc::clone(&self.state().sealing)
    }

    fn find(&self, kek: KekId) -> Option<Arc<Generation>> {
        self.state().generations.iter().find(|g| g.id == kek).map(Arc::clone)
    }

    // No panic leaves a state half changed behind these locks.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn missed(&self) -> MutexGuard<'_, BTreeSet<KekId>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("generations", &self.state().generations)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
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
