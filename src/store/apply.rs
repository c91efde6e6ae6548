//! What a commit has made durable becomes visible.
//!
//! Invariant: a new epoch is seen last: whoever sees it sees what was dropped before it as gone.

use super::core::Core;
use super::entry::{NodeRecord, Op};
use super::voting::Voting;
use crate::base::names::RegisterName;
use crate::base::{RegisterKey, State};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

impl Core {
    /// Makes durable operations visible.
    pub(super) fn apply(&self, ops: Vec<Op>, log_end: u64) {
        for op in &ops {
            match op {
                Op::Forget { key, .. } => self.forgotten(key),
                Op::Clear { .. } => self.cleared(),
                Op::Memory(kept) => self.memory().saved(kept),
                Op::Record { .. } | Op::Mark { .. } | Op::Node(_) | Op::Cursor { .. } => {}
            }
            let (Op::Record { key, held } | Op::Mark { key, held: Some(held), .. }) = op else { continue };
            // The settler looks here for what somebody left behind before it was known to be chosen.
            if held.chosen {
                self.tentative().remove(key);
            } else {
                self.tentative().insert(key.clone(), Instant::now());
            }
            // It has its record: from now on whatever replaces that may take it away.
            for blob in held.record.blobs() {
                self.blobs.settle(blob.body);
            }
            let Some(RegisterName::Bucket(bucket)) = key.name() else { continue };
            if held.record.state == State::Bucket {
                self.buckets_mut().insert(bucket, held.record.written_ms);
            } else {
                self.buckets_mut().remove(&bucket);
            }
        }
        let voting = ops.iter().rev().find_map(|op| if let Op::Node(node) = op { Some(node.clone()) } else { None });
        {
            let mut overlay = self.overlay_mut();
            overlay.active.log_end = log_end;
            let remembers = ops.iter().any(|op| matches!(op, Op::Memory(_)));
            ops.into_iter().for_each(|op| overlay.active.apply(op));
            // More may have been heard since that was decided.
            if remembers {
                self.memory_changed(&mut overlay);
            }
        }
        // Last: whoever sees the new epoch sees what was dropped before it as gone.
        if let Some(node) = voting {
            self.set_voting(&node);
        }
    }

    fn set_voting(&self, node: &NodeRecord) {
        let voting = Arc::new(Voting::of(node.clone()));
        let mut known = self.voting.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, Arc::clone(&voting));
        drop(known);
        if before.node.start != voting.node.start {
            self.unbegun.store(false, Ordering::Release);
        }
        if let Some(roster) = voting.node.roster.as_ref().filter(|_| before.list != voting.list) {
            self.memory().keep(roster);
            self.judge(&voting);
        }
    }

    /// A register has been forgotten, durably.
    fn forgotten(&self, key: &RegisterKey) {
        self.tentative().remove(key);
        if let Some(RegisterName::Bucket(bucket)) = key.name() {
            self.buckets_mut().remove(&bucket);
        }
        self.counters.buried.fetch_add(1, Ordering::Relaxed);
    }

    /// All registers have been forgotten, durably.
    fn cleared(&self) {
        self.log.forgive();
        self.tentative().clear();
        self.buckets_mut().clear();
    }
}
