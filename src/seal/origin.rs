//! What a cluster is known by for as long as it lives: its id, and the secret of its marks.
//!
//! Invariants
//! - All nodes of a cluster have the same, and it never changes: bodies are bound to the id, and sums that nodes compare
//!   are made with the secret.
//! - It outlives every key generation. It is derived once, from the first generation of a node that begins a cluster,
//!   and stands in the identity of each data directory from then on; a node that never had that generation is told it
//!   by another one.

use super::derive::derive;
use super::key::KEY_BYTES;
use super::mark::MarkKey;
use crate::base::{ClusterId, Secret};

/// The id of a cluster, and the secret of its marks.
#[derive(Debug)]
pub struct Origin {
    /// The cluster's id; it stands in the clear in front of every body.
    pub cluster: ClusterId,
    marks: Secret<[u8; KEY_BYTES]>,
}

impl Origin {
    /// What somebody else has kept, or told.
    pub fn new(cluster: ClusterId, marks: Secret<[u8; KEY_BYTES]>) -> Self {
        Origin { cluster, marks }
    }

    /// What a cluster begins with whose first generation that is.
    pub(super) fn derived(kek: &[u8; KEY_BYTES]) -> Self {
        let cluster = ClusterId(*derive(kek, &[b"boveda/cluster-id/v1"]));
        Origin { cluster, marks: Secret::new(*derive(kek, &[b"boveda/mark-key/v1"])) }
    }

    /// The same, under an id that somebody has set; a second value of it, for whoever keeps one.
    pub fn copy_as(&self, cluster: Option<ClusterId>) -> Self {
        Origin { cluster: cluster.unwrap_or(self.cluster), marks: Secret::new(*self.marks.expose()) }
    }

    /// The key by which the nodes of the cluster compare what they hold.
    pub fn mark_key(&self) -> MarkKey {
        MarkKey::new(*self.marks.expose())
    }

    /// The secret of the marks, for whoever seals it.
    pub fn marks(&self) -> &Secret<[u8; KEY_BYTES]> {
        &self.marks
    }
}
