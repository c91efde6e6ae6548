//! Which generations of the key ring this node needs, as the store tells it.

use super::error::StoreError;
use super::resealing::KeyUse;
use super::store::Store;
use crate::base::{ActiveKey, KekId, ObjectRecord, RegisterKey, Wrap};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use tokio::sync::watch;

impl Store {
    /// What this node has of each generation.
    pub fn key_uses(&self) -> Vec<KeyUse> {
        self.core().key_uses()
    }

    /// Says which generations files beside the store are sealed under, in place of what was said before: none of them is
    /// free here.
    pub fn sealed_beside(&self, keks: BTreeSet<KekId>) {
        *self.core().beside.lock().unwrap_or_else(PoisonError::into_inner) = keks;
    }

    /// The key generation that the nodes have decided on, as far as this one knows that it was chosen.
    pub fn decided_key(&self) -> Result<Option<ActiveKey>, StoreError> {
        let held = self.core().lookup(&RegisterKey::settings())?.filter(|held| held.chosen);
        Ok(held.and_then(|held| held.record.settings().and_then(|settings| settings.active)))
    }

    /// Told whenever what this node holds of the cluster's settings has changed.
    pub fn settings_changes(&self) -> watch::Receiver<()> {
        self.core().settings_changed.subscribe()
    }

    /// The same object, sealed under the generation that seals now: its body was long on its way.
    pub fn fresh_wrap(&self, object: &ObjectRecord) -> Option<Wrap> {
        let core = self.core();
        core.ring.rewrap(core.cluster, object.wrap_of(), &object.wrap).ok().flatten()
    }

    /// The generation that seals.
    pub fn sealing(&self) -> KekId {
        self.core().ring.active()
    }

    /// Whether something that lies here is being sealed anew, or is still to be.
    pub fn is_resealing(&self) -> bool {
        !self.core().resealing().is_done(self.core().ring.active())
    }
}
