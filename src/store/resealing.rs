//! What is sealed under which generation of the key ring: what is known of it beside the index, and the part of the
//! committer in having it sealed anew. Who walks over it all is `reseal`.
//!
//! Invariants
//! - Nobody votes on it, no body is touched, no number is given: a register holds the same state afterwards.
//! - A generation is told to be free only when nothing that lies here was sealed under it: no key in the index, none in a
//!   frame of the log that is not zero, no small file; and nothing is left to be looked through.

use super::batch::Batch;
use super::core::Core;
use super::decider::Decider;
use super::entry::Op;
use super::error::StoreError;
use super::index::keks::{KeyCounts, KeyDifference};
use super::intent::Resealed;
use super::overlay::Overlay;
use super::sealed_keys::has_other;
use super::sealed_under::Resealing;
use super::walk_place::WalkPlace;
use crate::base::{KekId, RegisterKey};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

/// What is sealed under a generation, on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Which generation.
    pub kek: KekId,
    /// Keys in records that are sealed under it, as of the last checkpoint.
    pub references: u64,
    /// Whether nothing here needs it any more.
    pub is_free: bool,
}

impl Core {
    pub(super) fn resealing(&self) -> MutexGuard<'_, Resealing> {
        self.resealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what durable operations hold. Before they become visible: who sees no stray sees no such state.
    pub(super) fn note_keys(&self, ops: &[Op], log_end: u64) {
        self.resealing().logged(ops, self.ring.active(), log_end);
    }

    /// What an opened directory has under which generation: what is lacking is told, and what the log has brought is to be
    /// sealed anew.
    pub(super) fn look_at_keys(&self) {
        self.index.key_counts().keys().for_each(|kek| _ = self.ring.opens(*kek));
        let strays = strays_of(&self.overlay(), self.ring.active());
        let mut resealing = self.resealing();
        strays.into_iter().for_each(|key| resealing.stray(key));
        drop(resealing);
        self.look_at_scrub_place();
    }

    /// Whether the index counts a key under another generation than this.
    pub(super) fn is_other_indexed(&self, active: KekId) -> bool {
        self.index.key_counts().keys().any(|kek| *kek != active)
    }

    /// Counts the keys of each generation anew, between two commits of the index, and takes that over where it differs:
    /// such a count is told, and was wrong.
    pub(super) fn set_key_counts_right(&self) -> Result<(), StoreError> {
        let _between_commits = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_writable()?;
        let differences = self.index.recount_keys()?;
        for KeyDifference { kek, counted, records } in &differences {
            log::error!(kek:%, counted, records; "keys were counted under a generation that are not: what the records say is taken over");
        }
        self.counters.miscounted.fetch_add(differences.len() as u64, Ordering::Relaxed);
        if differences.is_empty() { Ok(()) } else { self.index.take_keys_over(&differences) }
    }

    /// Whether all that is missing for another generation to be free is that the log holds it still.
    pub(super) fn is_log_to_be_freed(&self) -> bool {
        let active = self.ring.active();
        let resealing = self.resealing();
        !self.is_poisoned() && resealing.is_done(active) && resealing.is_other_logged(active, self.log.start())
    }

    /// How far a walk has come goes to the index with the next checkpoint; `None`: there is none any more.
    pub(super) fn keep_walk(&self, place: Option<WalkPlace>) {
        self.overlay_mut().active.resealing = Some(place);
    }

    /// What this node has of each generation: of those of the ring, and of those that something here was sealed under
    /// besides.
    pub(super) fn key_uses(&self) -> Vec<KeyUse> {
        let active = self.ring.active();
        // In this order: what comes to the index leaves the log afterwards.
        let resealing = self.resealing();
        let log_start = self.log.start();
        let counts: KeyCounts = self.index.key_counts();
        let by_scrubber = self.scrub_kek();
        let beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: BTreeSet<KekId> = counts.keys().copied().collect();
        all.extend(self.ring.generations().into_iter().map(|(_, kek)| kek));
        all.extend(resealing.all_logged(log_start));
        all.extend(by_scrubber.into_iter().chain(beside.iter().copied()));
        let is_done = resealing.is_done(active);
        let of = |kek: KekId| {
            let references = counts.get(&kek).copied().unwrap_or(0);
            let is_in_files = by_scrubber == Some(kek) || beside.contains(&kek);
            let is_elsewhere = kek == active || is_in_files || resealing.is_logged(kek, log_start);
            KeyUse { kek, references, is_free: references == 0 && is_done && !is_elsewhere }
        };
        all.into_iter().map(of).collect()
    }
}

/// Registers that a log which was read back leaves with keys under another generation.
fn strays_of(overlay: &Overlay, active: KekId) -> Vec<RegisterKey> {
    let all = overlay.layers().flat_map(|layer| &layer.records);
    all.filter(|(_, held)| has_other(&held.record, active)).map(|(key, _)| key.clone()).collect()
}

impl Decider {
    /// The keys in these registers are sealed anew, where they hold what was looked at.
    pub(super) fn reseal(&self, batch: &mut Batch, resealed: Vec<Resealed>) -> Result<(), StoreError> {
        let active = self.core.ring.active();
        for Resealed { key, ballot, seals } in resealed {
            let Some(held) = self.current(batch, &key)?.filter(|held| held.record.ballot == ballot) else { continue };
            // Somebody's better copy may have come meanwhile.
            if !has_other(&held.record, active) {
                continue;
            }
            if let Some(anew) = held.resealed(&seals) {
                batch.reseal(key, seals, anew);
            }
        }
        Ok(())
    }
}
