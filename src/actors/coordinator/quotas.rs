//! Quotas, where nodes decide together: asked before a body is taken, and again before its record is put to the vote.
//!
//! Invariants
//! - A node goes by what it holds of the bucket itself, and by what is on its way through it (`underway`). It asks nobody:
//!   buckets may go beyond their quotas by what is on its way through other nodes, and by what this node has missed
//!   (docs/adr/0041-usage-and-quotas.md says how far).
//! - A refusal is told before anything of the write was sent to be stored.
//! - Deletions are never asked about, and buckets without a quota cost nothing.

use super::homes::Home;
use super::{Coordinator, Value};
use crate::actors::messages::*;
use crate::actors::underway::{Answer, Counted, Stage, added, answer};
use crate::base::{ObjectName, RegisterKey};
use crate::register::Event;
use crate::store::mutation::{Mutation, Target};
use actix_rt::time::{Instant, timeout};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::ops::Bound;

/// Answers of a decision that came to its end before they did.
pub(super) type Late = FuturesUnordered<LocalBoxFuture<'static, Event<Value>>>;

impl Coordinator {
    /// Counts a body that was announced, if the bucket will have room for it when all has come that was announced before;
    /// none where there is no quota, or nobody says how long the body is.
    pub(super) async fn announce(
        &self,
        home: &Home,
        at: &ObjectName,
        len: Option<u64>,
    ) -> Result<Option<Counted>, ObjectError> {
        let Some(len) = len.filter(|_| !home.quota.is_none()) else { return Ok(None) };
        let was = self.held_len(&RegisterKey::object(home.id, &at.key)).await?;
        self.announced(home, len, was)
    }

    /// The same of a part of an upload: as if it were an object by itself, which replaces nothing. What its upload comes to
    /// is asked about when that becomes an object.
    pub(super) fn announce_part(&self, home: &Home, len: Option<u64>) -> Result<Option<Counted>, ObjectError> {
        match len.filter(|_| !home.quota.is_none()) {
            Some(len) => self.announced(home, len, None),
            None => Ok(None),
        }
    }

    fn announced(&self, home: &Home, len: u64, was: Option<u64>) -> Result<Option<Counted>, ObjectError> {
        let holds = self.0.ballots.usage(home.id);
        let counted = self.0.underway.try_count(home.id, Stage::Announced, added(len, was), |on_its_way| {
            answer(home.quota, holds.plus(on_its_way.adds), Default::default(), (len, was), 1)
        });
        counted.map(Some).map_err(|_| StoreError::QuotaExceeded.into())
    }

    /// Refuses a write that would bring its bucket above the quota by what this node holds.
    pub(super) async fn check_quota(&self, home: &Home, mutation: &Mutation) -> Result<(), ObjectError> {
        let Some((key, len)) = asked_about(home, mutation) else { return Ok(()) };
        let was = self.held_len(&key).await?;
        match answer(home.quota, self.0.ballots.usage(home.id), Default::default(), (len, was), 1) {
            Answer::Exceeds => Err(StoreError::QuotaExceeded.into()),
            Answer::Goes | Answer::Waits => Ok(()),
        }
    }

    /// Counts a write that is put to the vote next, once it may go; none where there is no quota. Who waits until the
    /// deadline has written nothing.
    pub(super) async fn let_in(
        &self,
        home: &Home,
        mutation: &Mutation,
        deadline: Instant,
    ) -> Result<Option<Counted>, ObjectError> {
        let Some((key, len)) = asked_about(home, mutation) else { return Ok(None) };
        let nodes = self.members(&key)?.1.voters().len() as u64;
        // Nobody else writes that key through this node meanwhile.
        let was = self.held_len(&key).await?;
        // A vote that runs out of time is an unknown outcome: it has to have half of it left.
        let until = deadline - self.0.patience.decide / 2;
        loop {
            let less = self.0.underway.less();
            let counted = self.0.underway.try_count(home.id, Stage::Decided, added(len, was), |on_its_way| {
                answer(home.quota, self.0.ballots.usage(home.id), on_its_way, (len, was), nodes)
            });
            match counted {
                Ok(counted) => return Ok(Some(counted)),
                Err(Answer::Exceeds) => return Err(StoreError::QuotaExceeded.into()),
                Err(Answer::Goes | Answer::Waits) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if timeout(left, less).await.is_err() {
                return Err(ObjectError::Crowded);
            }
        }
    }

    /// Counts a write on until those nodes have answered too that were not waited for, or have had the time of a round.
    pub(super) fn count_on(&self, counted: Option<Counted>, late: Late) {
        let Some(counted) = counted.filter(|_| !late.is_empty()) else { return };
        let round = self.0.patience.round;
        actix_rt::spawn(async move {
            let _ = timeout(round, late.for_each(|_| std::future::ready(()))).await;
            drop(counted);
        });
    }

    /// Bytes of the object that this node holds in a register; none where it holds no object.
    async fn held_len(&self, key: &RegisterKey) -> Result<Option<u64>, ObjectError> {
        let held = self.held_slot(key).await?;
        Ok(held.and_then(|slot| slot.state.value?.object().map(|object| object.len)))
    }

    /// What this node holds in a register.
    pub(super) async fn held_slot(&self, key: &RegisterKey) -> Result<Option<RegisterSlot>, ObjectError> {
        if let Some(slot) = self.peek(key).await {
            return Ok(Some(slot));
        }
        let page = self.ask(ScanSlots { from: Bound::Included(key.clone()), to: key.successor(), limit: 1 }).await?;
        Ok(page.entries.into_iter().find(|(at, _)| at == key).map(|(_, slot)| slot))
    }
}

/// The register that a write puts an object into, and the bytes of that; none of what puts nothing, nor where there is no
/// quota.
fn asked_about(home: &Home, mutation: &Mutation) -> Option<(RegisterKey, u64)> {
    if home.quota.is_none() {
        return None;
    }
    let (Target::Object(at), Some(object)) = (mutation.target(), mutation.object()) else { return None };
    Some((RegisterKey::object(home.id, &at.key), object.len))
}
