//! Whether this node should get traffic, and if not, what is missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A handle that everybody who has something to wait for may hold; clones are the same handle.
/// A node is ready while nothing is missing.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Readiness {
    /// Something is missing, and why (for the operator, without names of objects).
    pub fn missing(&self, what: &'static str, why: impl Into<String>) {
        self.table().insert(what, why.into());
    }

    /// It is there now.
    pub fn present(&self, what: &'static str) {
        self.table().remove(what);
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.table().is_empty()
    }

    pub(super) fn all_missing(&self) -> BTreeMap<&'static str, String> {
        self.table().clone()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
