//! Changing the member list, by way of an epoch of both lists: what `register::change` says is done here.
//!
//! Invariants
//! - A list follows the present one only where a majority of the present one says so: lists are a register too.
//! - What was stored again in an epoch need not be stored again in it once more: a change that was held up goes on
//!   where it was, as long as the node lives that sees it through.
//! - An epoch of both lists ends when every register has been stored again under it.

use super::homes::Behind;
use super::{Coordinator, no_list};
use crate::actors::messages::*;
use crate::base::{Epoch, RegisterKey, State};
use crate::register::{Change, Read, Roster, Seat, Step, Succession, Write, WriteOutcome};
use crate::store::mutation::proposed;
use actix_rt::time::{Instant, sleep_until};
use futures::stream::StreamExt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most steps of a change of the member list that one call takes.
const STEPS_MAX: usize = 16;
/// How long a step of a change waits for a majority of both lists.
const CHANGE_PATIENCE: Duration = Duration::from_secs(120);
/// Registers of a step, and how many of them are stored at once.
const STORE_STEP: usize = 256;
const STORE_AT_ONCE: usize = 16;

/// How far the registers were stored again in an epoch of both lists: all of them up to a place.
#[derive(Debug, Default)]
pub struct Far(Mutex<Option<(Epoch, RegisterKey)>>);

impl Far {
    /// The last register up to which all are stored again in this epoch.
    fn place(&self, epoch: Epoch) -> Option<RegisterKey> {
        let far = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        far.as_ref().filter(|(of, _)| *of == epoch).map(|(_, key)| key.clone())
    }

    /// All are, up to this one.
    fn reached(&self, epoch: Epoch, key: &RegisterKey) {
        let mut far = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if far.as_ref().is_none_or(|(of, last)| (*of, last) < (epoch, key)) {
            *far = Some((epoch, key.clone()));
        }
    }
}

impl Coordinator {
    /// Brings the cluster to this member list, by way of an epoch of both lists. Goes on with a change that
    /// somebody else has begun, before its own. With `since`, it begins nothing that does not follow the list of
    /// that epoch at once: what somebody else has decided meanwhile stays.
    pub async fn change_members(&self, seats: &[Seat], since: Option<Epoch>) -> Result<Arc<Roster>, ObjectError> {
        let (change, mut stored) = (Change::new(seats, since), None);
        for _ in 0..STEPS_MAX {
            let voting = self.0.ballots.voting();
            let roster = voting.node.roster.clone().ok_or_else(no_list)?;
            match change.step(&roster, stored, crate::store::system_ms()) {
                Step::Done => return Ok(roster),
                Step::StoreAgain => {
                    self.store_all_again().await?;
                    stored = Some(roster.epoch);
                }
                Step::Decide(next) => {
                    let (epoch, joint) = (next.epoch, !next.before.is_empty());
                    log::info!(epoch = epoch.0, voters = next.seats.len(), joint; "member list changes");
                    self.decide_list(&roster, next).await?;
                    // The next step is decided under the list that this one has made.
                    self.wait_for(epoch, self.deadline()).await;
                }
            }
        }
        Err(ObjectError::Contended)
    }

    /// A later list in the place of the present one, unless somebody else was faster.
    pub(super) async fn decide_list(&self, present: &Roster, next: Roster) -> Result<(), ObjectError> {
        if next.members().is_none() {
            return Err(StoreError::Mismatch("a member list names nobody, somebody twice, or too many").into());
        }
        let list = RegisterKey::members();
        let (_, members) = self.members(&list)?;
        let record = proposed(State::Members(next.encode().into()), next.made_ms);
        let write = Write::new(members, Succession::new(present.epoch, record));
        match self.drive(&list, write, Vec::new(), self.deadline(), Behind::waiting(None)).await {
            WriteOutcome::Written { .. } | WriteOutcome::Kept(_) => Ok(()),
            // The other one's list shows itself soon; the caller looks again.
            WriteOutcome::Refused(_) | WriteOutcome::Gone => Ok(()),
            WriteOutcome::Unknown => Err(StoreError::UnknownOutcome.into()),
            WriteOutcome::Contended => Err(ObjectError::Contended),
            WriteOutcome::NoMajority => Err(ObjectError::NoMajority("a majority of both lists did not answer in time")),
        }
    }

    /// Stores every register again, in the present epoch: nothing rests on the old list alone any more. Goes on where
    /// an earlier try, or one that runs beside it, has come to.
    async fn store_all_again(&self) -> Result<(), ObjectError> {
        let (epoch, end) = (self.epoch(), RegisterKey::end());
        let first = Bound::Included(RegisterKey::first());
        let mut next = Some(self.0.far.place(epoch).map_or(first, Bound::Excluded));
        let mut stored = 0u64;
        while let Some(from) = next {
            let step = self.again(async || self.merged(from.clone(), &end, STORE_STEP, self.deadline()).await).await?;
            next = step.complete.next();
            let keys: Vec<RegisterKey> = step.found.into_keys().collect();
            let all = futures::stream::iter(keys)
                .map(|key| async move { self.again(async || self.store_again(&key).await).await });
            let mut all = std::pin::pin!(all.buffer_unordered(STORE_AT_ONCE));
            while let Some(done) = all.next().await {
                done?;
                stored += 1;
            }
            if let Some(Bound::Excluded(to)) = &next {
                self.0.far.reached(epoch, to);
            }
        }
        log::info!(stored; "every register is stored again under the new member list");
        Ok(())
    }

    async fn store_again(&self, key: &RegisterKey) -> Result<(), ObjectError> {
        let (_, members) = self.members(key)?;
        match self.finish_read(key, Read::settle(members), Behind::waiting(None), self.deadline()).await {
            // Its bucket is gone: what was never settled with it is not to come back under the new list.
            Err(ObjectError::Store(StoreError::NoSuchBucket)) => self.clear(key).await,
            read => read.map(|_| ()),
        }
    }

    /// Tries for as long as only a majority is missing, within bounds.
    async fn again<T>(&self, mut work: impl AsyncFnMut() -> Result<T, ObjectError>) -> Result<T, ObjectError> {
        let until = Instant::now() + CHANGE_PATIENCE;
        loop {
            match work().await {
                Err(error) if error.is_undecided() && Instant::now() < until => {
                    sleep_until(Instant::now() + self.0.patience.backoff.cap).await;
                }
                Err(ObjectError::NoMajority(_)) if self.is_for_room() => return Err(StoreError::Full.into()),
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketId, ObjectKey};

    #[test]
    fn a_change_goes_on_where_it_was_in_its_own_epoch_alone() {
        let key = |name: &str| {
            let key = ObjectKey::parse(name).expect("a key");
            RegisterKey::object(BucketId(7), &key)
        };
        let far = Far::default();
        assert_eq!(far.place(Epoch(2)), None);
        far.reached(Epoch(2), &key("b"));
        far.reached(Epoch(2), &key("a"));
        assert_eq!((far.place(Epoch(2)), far.place(Epoch(3))), (Some(key("b")), None), "never back");
        far.reached(Epoch(3), &key("a"));
        far.reached(Epoch(2), &key("c"));
        assert_eq!((far.place(Epoch(2)), far.place(Epoch(3))), (None, Some(key("a"))));
    }
}
