//! Graves: tombstones that are old enough to go, their going, and who may still teach this node something.
//! Whether a tombstone may go is decided by `register::Burial` and told under the list of its epoch.
//!
//! Invariants
//! - What goes is exactly the tombstone that was told, known to be chosen; its register holds nothing then, and the
//!   floor lies above it in the same commit.
//! - Nothing that was read in an earlier epoch comes in, nor anything from a node without a place: only members
//!   are asked whether a tombstone may go.
//! - A node that is given its place anew begins with nothing.
//! - The first bucket keeps its tombstone: a node that decides alone would make the bucket anew.

use super::commit::{Batch, Committer, Intent};
use super::core::Core;
use super::entry::{Held, NodeRecord, Op};
use super::error::StoreError;
use super::store::{Answer, Store};
use super::tree::Counted;
use super::votes::mark_of;
use crate::base::names::RegisterName;
use crate::base::{Ballot, BucketName, Epoch, Incarnation, Mark, Page, RegisterKey, State};
use crate::register::{ListMark, Roster};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A register with the ballot of its tombstone.
pub type Grave = (RegisterKey, Ballot);

impl Core {
    /// Of a page of registers behind `after`, those whose tombstones are known to be chosen and were written longer ago
    /// than `age`.
    pub fn due_tombstones(
        &self,
        after: Option<&RegisterKey>,
        age: Duration,
        limit: usize,
    ) -> Result<Page<Grave>, StoreError> {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let now_ms = (self.options.now_ms)();
        let kept = RegisterKey::bucket(&BucketName::cargas());
        let first = RegisterKey::first();
        let page = self.scan(after.map_or(Bound::Included(&first), Bound::Excluded), &RegisterKey::end(), limit)?;
        let due = |(key, held): &(RegisterKey, Arc<Held>)| {
            let gone = held.chosen && held.record.state == State::Deleted && *key != kept;
            gone && now_ms.saturating_sub(held.record.written_ms) > age_ms
        };
        Ok(page.map(|one| due(&one).then_some((one.0, one.1.record.ballot))))
    }

    /// A register has been forgotten, durably.
    pub(super) fn forgotten(&self, key: &RegisterKey) {
        self.tentative().remove(key);
        if let Some(RegisterName::Bucket(bucket)) = key.name() {
            self.buckets_mut().remove(&bucket);
        }
        self.counters.buried.fetch_add(1, Ordering::Relaxed);
    }

    /// All registers have been forgotten, durably.
    pub(super) fn cleared(&self) {
        self.log.forgive();
        self.tentative().clear();
        self.buckets_mut().clear();
    }
}

/// Whether a member takes nothing from this node: it may hold what the members have dropped the tombstone of. In the
/// first epoch none has been dropped yet.
pub fn is_stranger(list: &Roster, me: Incarnation, from: Incarnation) -> bool {
    list.epoch > Epoch(1) && list.seats_node(me) && !list.seats_node(from)
}

impl Committer {
    /// Whether a peer may teach this node what it read in that epoch.
    pub(super) fn check_teacher(&self, batch: &Batch, from: Incarnation, epoch: Epoch) -> Result<(), StoreError> {
        let stale = epoch < self.acceptor.borrow().node().epoch;
        let roster = self.roster(batch);
        let stranger = roster.is_some_and(|list| is_stranger(&list, self.core.incarnation, from));
        if stale || stranger { Err(StoreError::OtherList) } else { Ok(()) }
    }

    /// Drops these tombstones, where they are what the registers hold.
    pub(super) fn bury(&self, batch: &mut Batch, list: ListMark, graves: Vec<Grave>) -> Result<(), StoreError> {
        self.roster(batch).filter(|roster| mark_of(roster) == list).ok_or(StoreError::OtherList)?;
        for (key, ballot) in graves {
            let Some(held) = self.current(batch, &key)? else { continue };
            let mut acceptor = self.acceptor.borrow_mut();
            let before = acceptor.node();
            let Some(state) = acceptor.drop_tombstone(&held.slot(), ballot) else { continue };
            if state != before {
                batch.node = Some(NodeRecord { state, ..self.node(batch) });
            }
            batch.forget(key, &held);
        }
        Ok(())
    }

    /// Forgets all registers but that of the member list, which is never dropped.
    pub(super) fn clear(&self, batch: &mut Batch, epoch: Epoch) -> Result<(), StoreError> {
        let list = RegisterKey::members();
        let kept = self.current(batch, &list)?.filter(|held| held.chosen);
        batch.clear(epoch);
        if let Some(held) = kept {
            batch.store(list, None, (*held.record).clone(), true, held.learned_from);
        }
        Mark::BeganAnew.hit();
        log::info!(epoch = epoch.0; "this node was given its place anew, and begins with nothing");
        Ok(())
    }
}

impl Batch {
    fn forget(&mut self, key: RegisterKey, held: &Held) {
        self.moved.push((key.clone(), Some(Counted::of(held)), None));
        self.latest.insert(key.clone(), None);
        self.push(Op::Forget { key, ballot: held.record.ballot });
    }

    fn clear(&mut self, epoch: Epoch) {
        self.moved.clear();
        self.latest.clear();
        self.cleared = true;
        self.push(Op::Clear { epoch });
    }
}

impl Store {
    /// Drops these tombstones; the answers come when they are gone, durably. `OtherList` where this node has another
    /// member list than `list` by then.
    pub fn bury(&self, list: ListMark, graves: Vec<Grave>) -> Vec<Answer> {
        // Each part fits a frame of the smallest log.
        let most = self.log.payload_max() / 2 / (RegisterKey::BYTES_MAX + 64);
        let mut parts = Vec::new();
        let mut graves = graves.into_iter().peekable();
        while graves.peek().is_some() {
            let part = graves.by_ref().take(most.max(1)).collect();
            parts.push(self.submit(Intent::Bury { list, graves: part }));
        }
        parts
    }
}
