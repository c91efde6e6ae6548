//! The overlay: what the log holds and the index does not yet, ordered for lookups and listings.
//!
//! Invariants
//! - A read that finds a key here needs nothing else: the overlay is always newer than the index.
//! - `frozen` is dropped only after the index has it durably.

use super::entry::{Held, NodeRecord, Op};
use crate::base::{BodyId, Incarnation, RegisterKey};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// One generation of not yet indexed commits.
#[derive(Debug, Default)]
pub struct Layer {
    /// The latest state of each register.
    pub records: BTreeMap<RegisterKey, Arc<Held>>,
    /// The change feed's view of the same.
    pub by_seq: BTreeMap<u64, RegisterKey>,
    /// Blobs that the records refer to.
    pub blobs: HashSet<BodyId>,
    /// Cursors of peers.
    pub cursors: BTreeMap<Incarnation, u64>,
    /// What the node keeps for its votes, if it changed.
    pub node: Option<NodeRecord>,
    /// The log position behind the last frame in it.
    pub log_end: u64,
    /// Memory, roughly, in bytes.
    pub weight: u64,
}

impl Layer {
    /// Takes one operation in.
    pub fn apply(&mut self, op: Op) {
        match op {
            // Nothing is marked that is not in the log or the index: see `open`.
            Op::Mark { held: None, .. } => {}
            Op::Node(node) => self.node = Some(node),
            Op::Record { key, held } | Op::Mark { key, held: Some(held), .. } => {
                if let Some(id) = held.record.blob() {
                    self.blobs.insert(id);
                }
                self.weight += held.weight() + key.as_bytes().len() as u64;
                self.by_seq.insert(held.seq, key.clone());
                if let Some(old) = self.records.insert(key, Arc::clone(&held)) {
                    self.by_seq.remove(&old.seq);
                    self.weight = self.weight.saturating_sub(old.weight());
                    let old_blob = old.record.blob();
                    if let Some(id) = old_blob.filter(|_| old_blob != held.record.blob()) {
                        self.blobs.remove(&id);
                    }
                }
            }
            Op::Cursor { peer, seq } => {
                let kept = self.cursors.entry(peer).or_default();
                *kept = seq.max(*kept);
            }
        }
    }

    /// Whether there is nothing to bring to the index.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.cursors.is_empty() && self.node.is_none()
    }
}

/// The layer that grows and the one that is being brought to the index.
#[derive(Debug, Default)]
pub struct Overlay {
    /// Takes new commits.
    pub active: Layer,
    /// Being applied.
    pub frozen: Option<Arc<Layer>>,
    /// Counts retired layers, so that a slow reader does not cache what has been replaced meanwhile.
    pub retired: u64,
}

impl Overlay {
    /// The latest state of a register, if it is here.
    pub fn get(&self, key: &RegisterKey) -> Option<&Arc<Held>> {
        self.active.records.get(key).or_else(|| self.frozen.as_ref()?.records.get(key))
    }

    /// Whether a record here refers to the blob. A frozen record that was superseded counts too.
    pub fn refers_to(&self, blob: BodyId) -> bool {
        self.active.blobs.contains(&blob) || self.frozen.as_ref().is_some_and(|f| f.blobs.contains(&blob))
    }

    /// A peer's cursor, if it moved lately.
    pub fn cursor(&self, peer: Incarnation) -> Option<u64> {
        let frozen = self.frozen.as_ref().and_then(|f| f.cursors.get(&peer));
        self.active.cursors.get(&peer).or(frozen).copied()
    }

    /// The layers, newest first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.active).chain(self.frozen.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Ballot, BucketName, Lineage, Record, Stamp, State};

    fn op(name: &str, seq: u64) -> Op {
        let ballot = Ballot { stamp: Stamp(seq), node: Incarnation(1) };
        let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 0, state: State::Bucket };
        let key = RegisterKey::bucket(&BucketName::parse(name).unwrap());
        Op::Record { key, held: Arc::new(Held::new(record, true, seq, None)) }
    }

    #[test]
    fn a_key_keeps_only_its_latest_number() {
        let mut layer = Layer::default();
        for (name, seq) in [("aaa", 1), ("bbb", 2), ("aaa", 3)] {
            layer.apply(op(name, seq));
        }
        assert_eq!(layer.by_seq.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(layer.records.len(), 2);
    }

    #[test]
    fn the_active_layer_hides_the_frozen_one() {
        let mut overlay = Overlay::default();
        overlay.active.apply(op("aaa", 1));
        overlay.frozen = Some(Arc::new(std::mem::take(&mut overlay.active)));
        overlay.active.apply(op("aaa", 5));
        let key = RegisterKey::bucket(&BucketName::parse("aaa").unwrap());
        assert_eq!(overlay.get(&key).map(|h| h.seq), Some(5));
    }
}
