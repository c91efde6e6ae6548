//! The peer keys of a ring: one for each generation, by which the nodes know each other.
//!
//! Invariants
//! - There is one for each generation that the ring holds and that is still where it came from: the ring adds and
//!   withdraws them, and whoever holds this follows it. They open nothing that is stored.
//! - A handshake names its generation in the clear, and is made and answered under that alone. Whoever begins one tries
//!   the generation that seals first, which all members have, and then the others, the newest first.

use super::{HelloError, Me, PeerInfo, PeerKey, SessionKeys, generation_of};
use crate::base::KekId;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// All peer keys of a ring. Shared by it and by whoever talks to peers.
#[derive(Debug, Default)]
pub struct PeerKeys(RwLock<Held>);

#[derive(Debug, Default)]
struct Held {
    /// With the numbers of their generations, the newest first.
    keys: Vec<(u32, Arc<PeerKey>)>,
    /// The generation that seals.
    sealing: Option<KekId>,
}

impl PeerKeys {
    /// Takes in the key of a generation with that number.
    pub(in crate::seal) fn add(&self, number: u32, key: PeerKey) {
        let mut held = self.held_mut();
        held.keys.push((number, Arc::new(key)));
        held.keys.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    }

    /// Withdraws the key of a generation: no handshake is made or answered under it, and no session of it goes on.
    pub(in crate::seal) fn withdraw(&self, kek: KekId) {
        self.held_mut().keys.retain(|(_, key)| key.generation() != kek);
    }

    /// Whether there is a key of that generation.
    pub fn holds(&self, kek: KekId) -> bool {
        self.held().keys.iter().any(|(_, key)| key.generation() == kek)
    }

    /// That generation seals from now on.
    pub(in crate::seal) fn seals(&self, kek: KekId) {
        self.held_mut().sealing = Some(kek);
    }

    /// All of them, in the order in which a peer is offered them.
    pub fn offers(&self) -> Vec<Arc<PeerKey>> {
        let held = self.held();
        let mut keys: Vec<_> = held.keys.iter().map(|(_, key)| Arc::clone(key)).collect();
        // Stable: the others stay as they are.
        keys.sort_by_key(|key| Some(key.generation()) != held.sealing);
        keys
    }

    /// The responder's side of a handshake, under the generation that the hello names.
    pub fn answer(&self, me: Me<'_>, hello: &[u8]) -> Result<(Vec<u8>, PeerInfo, SessionKeys), HelloError> {
        self.of_message(hello)?.answer(me, hello)
    }

    /// The key that a message names.
    pub(super) fn of_message(&self, message: &[u8]) -> Result<Arc<PeerKey>, HelloError> {
        let kek = generation_of(message)?;
        let held = self.held();
        let found = held.keys.iter().find(|(_, key)| key.generation() == kek);
        found.map(|(_, key)| Arc::clone(key)).ok_or(HelloError::ForeignRing)
    }

    // No panic leaves a state half changed behind this lock.
    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_mut(&self) -> RwLockWriteGuard<'_, Held> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
