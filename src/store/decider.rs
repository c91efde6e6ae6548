//! The decider: what a batch has decided so far, upon what is durable. The rules stand in `votes`, `seats`, `graves`
//! and `writes`, each with its own `impl`.
//!
//! Invariant: after a failed commit nothing that was decided counts: see `begin_again`.

use super::batch::Batch;
use super::core::Core;
use super::entry::{Held, NodeRecord};
use super::error::StoreError;
use super::intent::Outcome;
use super::marks::Marks;
use crate::base::{Ballot, BucketId, Lineage, Record, RegisterKey, Stamp, WriteId};
use crate::register::{Acceptor, Limits, Roster};
use crate::seal::random;
use std::cell::RefCell;
use std::sync::Arc;

/// Decides what is asked of the committer, in the order in which it comes.
#[derive(Debug)]
pub(super) struct Decider {
    pub(super) core: Arc<Core>,
    /// The votes as decided: durable, or in the batch that is being decided.
    pub(super) acceptor: RefCell<Acceptor<RegisterKey>>,
    /// What waits for a commit that is made anyway.
    pub(super) marks: RefCell<Marks>,
}

impl Decider {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let acceptor = RefCell::new(acceptor_of(&core));
        Decider { core, acceptor, marks: RefCell::default() }
    }

    /// The votes begin again from what is durable, as after a restart.
    pub(super) fn begin_again(&self) {
        *self.acceptor.borrow_mut() = acceptor_of(&self.core);
    }

    /// What a register holds, as decided.
    pub(super) fn current(&self, batch: &Batch, key: &RegisterKey) -> Result<Option<Arc<Held>>, StoreError> {
        match batch.latest.get(key) {
            Some(held) => Ok(held.clone()),
            None if batch.cleared => Ok(None),
            None => self.core.lookup(key),
        }
    }

    /// The life of a bucket with this id, as decided, and its register; none where that holds another one, or none.
    pub(super) fn bucket_of(&self, batch: &Batch, id: BucketId) -> Option<(RegisterKey, Arc<Held>)> {
        if let Some(key) = batch.lives.get(&id)
            && let Some(Some(held)) = batch.latest.get(key)
            && held.record.bucket().is_some_and(|bucket| bucket.id == id)
        {
            return Some((key.clone(), Arc::clone(held)));
        }
        if batch.cleared {
            return None;
        }
        let buckets = self.core.buckets();
        let (name, held) = buckets.by_id(id)?;
        let key = RegisterKey::bucket(name);
        // What the batch has changed is not what it was.
        (!batch.latest.contains_key(&key)).then(|| (key, Arc::clone(held)))
    }

    /// The member list, as decided.
    pub(super) fn roster(&self, batch: &Batch) -> Option<Arc<Roster>> {
        match &batch.node {
            Some(node) => node.roster.clone(),
            None => self.core.voting().node.roster.clone(),
        }
    }

    /// What the node keeps for its votes, as decided.
    pub(super) fn node(&self, batch: &Batch) -> NodeRecord {
        batch.node.clone().unwrap_or_else(|| self.core.voting().node.clone())
    }

    /// A new state of this node's own, chosen by it alone: the record gets its ballot and its lineage here.
    pub(super) fn write(
        &self,
        batch: &mut Batch,
        key: RegisterKey,
        old: Option<Arc<Held>>,
        mut record: Arc<Record>,
    ) -> Outcome {
        let base = old.as_ref().map_or(Lineage::NOTHING, |held| held.record.lineage);
        let new = Arc::make_mut(&mut record);
        new.ballot = self.fresh_ballot();
        new.lineage = base.then(WriteId::drawn(random()), Lineage::IDS_MAX);
        self.leave_known_body(old.as_ref(), new);
        batch.store(key, old, record, true, None)
    }

    /// A ballot of this node's own, above all that it has seen, promised or refuses.
    pub(super) fn fresh_ballot(&self) -> Ballot {
        self.core.clock.observe(self.acceptor.borrow().floor());
        Ballot { stamp: self.core.clock.next((self.core.options.now_ms)()), node: self.core.incarnation }
    }

    pub(super) fn no_outcome(&self) -> Outcome {
        Outcome { ballot: self.no_ballot(), existed: false }
    }

    pub(super) fn no_ballot(&self) -> Ballot {
        Ballot { stamp: Stamp(0), node: self.core.incarnation }
    }
}

fn acceptor_of(core: &Core) -> Acceptor<RegisterKey> {
    Acceptor::new(core.incarnation, core.voting().node.state, Limits::STANDARD)
}
