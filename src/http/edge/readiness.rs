//! Whether this node should get traffic, and what is wrong with it that is no reason to send the traffic elsewhere.
//!
//! Invariants
//! - A condition is named once: what is missing is not named as degraded at the same time.
//! - `is_ready` rests on what is missing alone.
//! - Whoever asks is told what holds now, and not what did at the last look: a request that hears why it fails and a
//!   probe that comes after it hear the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A handle that everybody who has something to wait for may hold; clones are the same handle.
/// A node is ready while nothing is missing. It is degraded while something is wrong that reads can do without:
/// a full disk, a majority that was lost since.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Default)]
struct Inner {
    table: Mutex<Conditions>,
    look: OnceLock<Look>,
}

/// Sees to it that the conditions are those of now.
type Look = Box<dyn Fn(&Readiness) + Send + Sync>;

/// The names of the conditions that hold, and why each does (for the operator, without names of objects).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Without these the node should get no traffic.
    pub missing: BTreeMap<&'static str, String>,
    /// These are no reason to take the node out of a Service.
    pub degraded: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// Something is missing, and why: the node should get no traffic.
    pub fn missing(&self, what: &'static str, why: impl Into<String>) {
        let mut table = self.table();
        table.degraded.remove(what);
        table.missing.insert(what, why.into());
    }

    /// Something is wrong, and why; the node should get traffic all the same.
    pub fn degraded(&self, what: &'static str, why: impl Into<String>) {
        let mut table = self.table();
        table.missing.remove(what);
        table.degraded.insert(what, why.into());
    }

    /// It is there, and right, now.
    pub fn present(&self, what: &'static str) {
        let mut table = self.table();
        table.missing.remove(what);
        table.degraded.remove(what);
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.table().missing.is_empty()
    }

    /// Everything that holds now.
    pub fn conditions(&self) -> Conditions {
        if let Some(look) = self.0.look.get() {
            look(self);
        }
        self.table().clone()
    }

    /// How to see what holds now: before each answer of `conditions`. Set once; it keeps nothing alive.
    pub fn looks_by(&self, look: impl Fn(&Readiness) + Send + Sync + 'static) {
        // A second one would be of another node.
        let _ = self.0.look.set(Box::new(look));
    }

    fn table(&self) -> MutexGuard<'_, Conditions> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_degraded_does_not_end_readiness() {
        let readiness = Readiness::default();
        readiness.degraded("disk", "full");
        assert!(readiness.is_ready());
        readiness.missing("disk", "gone");
        assert!(!readiness.is_ready());
        assert!(readiness.conditions().degraded.is_empty(), "named once");
        readiness.present("disk");
        assert_eq!(readiness.conditions(), Conditions::default());
        readiness.looks_by(|readiness| readiness.missing("majority", "away"));
        assert!(readiness.is_ready());
        assert_eq!(readiness.conditions().missing.len(), 1, "whoever asks is told what holds now");
        assert!(!readiness.clone().is_ready());
    }
}
