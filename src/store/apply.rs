//! What a commit has made durable becomes visible.
//!
//! Invariant: a new epoch is seen last: whoever sees it sees what was dropped before it as gone.

use super::core::Core;
use super::entry::{Held, NodeRecord, Op};
use super::references::References;
use super::voting::Voting;
use super::waiting::Orphaned;
use crate::base::names::RegisterName;
use crate::base::{AccessKeyId, BucketName, RegisterKey, RegisterKind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

impl Core {
    /// Makes durable operations visible, and what they change of references.
    pub(super) fn apply(&self, ops: Vec<Op>, references: References, log_end: u64) {
        self.note_keys(&ops, log_end);
        for op in &ops {
            match op {
                Op::Forget { key, .. } => self.forgotten(key),
                Op::Clear { .. } => self.cleared(),
                Op::Memory(kept) => self.memory().saved(kept),
                Op::Record { .. } | Op::Mark { .. } | Op::Node(_) | Op::Cursor { .. } => {}
                Op::Place { .. } | Op::Unplace { .. } | Op::Reseal { .. } | Op::Usage { .. } => {}
            }
            let (Op::Record { key, held } | Op::Mark { key, held: Some(held), .. }) = op else { continue };
            // The settler looks here for what somebody left behind before it was known to be chosen.
            if held.chosen {
                self.tentative().remove(key);
            } else {
                self.tentative().insert(key.clone(), Instant::now());
            }
            // It has its record: from now on whatever replaces that may take it away.
            for blob in held.record.bodies() {
                self.blobs.settle(blob.body);
            }
        }
        self.fill(&ops);
        let cleared = ops.iter().rposition(|op| matches!(op, Op::Clear { .. })).map_or(0, |at| at + 1);
        let buckets: Vec<_> = ops.iter().skip(cleared).filter_map(bucket_of).collect();
        let access: Vec<_> = ops.iter().skip(cleared).filter_map(access_key_of).collect();
        let ops_on_settings = ops.iter().any(|op| change_in(op, RegisterKind::Settings).is_some());
        let placed = |op: &Op| if let Op::Place { body, place } = op { Some((*body, *place)) } else { None };
        let placed: Vec<_> = ops.iter().filter_map(placed).collect();
        let voting = ops.iter().rev().find_map(|op| if let Op::Node(node) = op { Some(node.clone()) } else { None });
        {
            let mut overlay = self.overlay_mut();
            overlay.active.log_end = log_end;
            let remembers = ops.iter().any(|op| matches!(op, Op::Memory(_)));
            overlay.active.take(ops, references);
            // More may have been heard since that was decided.
            if remembers {
                self.memory_changed(&mut overlay);
            }
        }
        // After the overlay: see `buckets`.
        let mut tells = !access.is_empty();
        for (bucket, held) in buckets {
            tells |= self.public().set(&bucket, held.as_ref());
            self.buckets_mut().set(bucket, held.as_ref());
        }
        if ops_on_settings {
            self.settings_changed.send_replace(());
        }
        access.iter().for_each(|(id, held)| self.access().set(*id, held.as_ref()));
        if tells {
            self.access_changed.send_replace(());
        }
        // Whoever looks for these bodies finds them there by now.
        placed.into_iter().for_each(|(body, place)| self.claims.named(body, place));
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
        self.counters.buried.fetch_add(1, Ordering::Relaxed);
    }

    /// All registers have been forgotten, durably.
    fn cleared(&self) {
        self.log.forgive();
        *self.orphans() = Some((Orphaned::Cleared, Instant::now()));
        self.tentative().clear();
        self.buckets_mut().clear();
        self.access().clear();
        self.public().clear();
        self.access_changed.send_replace(());
    }
}

/// The bucket whose register an operation changes, and what that holds then.
fn bucket_of(op: &Op) -> Option<(BucketName, Option<Arc<Held>>)> {
    match change_in(op, RegisterKind::Bucket)? {
        (RegisterName::Bucket(bucket), held) => Some((bucket, held)),
        (RegisterName::Object(..) | RegisterName::Members, _) => None,
        (RegisterName::Upload(..) | RegisterName::Part(..), _) => None,
        (RegisterName::AccessKey(_) | RegisterName::Settings, _) => None,
    }
}

/// The access key whose register an operation changes, and what that holds then.
fn access_key_of(op: &Op) -> Option<(AccessKeyId, Option<Arc<Held>>)> {
    match change_in(op, RegisterKind::AccessKey)? {
        (RegisterName::AccessKey(id), held) => Some((id, held)),
        (RegisterName::Object(..) | RegisterName::Members, _) => None,
        (RegisterName::Upload(..) | RegisterName::Part(..), _) => None,
        (RegisterName::Bucket(_) | RegisterName::Settings, _) => None,
    }
}

/// The register of a kind that an operation changes, and what that holds then.
fn change_in(op: &Op, kind: RegisterKind) -> Option<(RegisterName, Option<Arc<Held>>)> {
    let (key, held) = match op {
        Op::Record { key, held } | Op::Mark { key, held: Some(held), .. } => (key, Some(Arc::clone(held))),
        Op::Reseal { key, held: Some(held), .. } => (key, Some(Arc::clone(held))),
        Op::Forget { key, .. } => (key, None),
        Op::Mark { held: None, .. } | Op::Clear { .. } | Op::Memory(_) | Op::Node(_) | Op::Cursor { .. } => {
            return None;
        }
        Op::Place { .. } | Op::Unplace { .. } | Op::Reseal { held: None, .. } | Op::Usage { .. } => return None,
    };
    // Nearly all are of objects, whose names need not be read for that.
    (key.kind() == Some(kind)).then(|| key.name())?.map(|name| (name, held))
}
