//! Homes: the one door from the name of a bucket to the registers of its objects.
//!
//! Invariants
//! - A home is a bucket that is known to be chosen: as this node holds it, or as a majority says.
//! - What this node holds is enough to begin with, where it holds the bucket as open. What rests on it is judged by each
//!   replica (`register::fence`), and what is *not* there is answered only when a majority was asked for the bucket
//!   behind it: a node that was away looks under the id of a former life, where there is nothing.
//! - A replica is told of a bucket under the epoch of before that was read: a tombstone may have been dropped since.

use super::{Coordinator, Value};
use crate::actors::coordinator::reads::Seen;
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{Ballot, BucketId, BucketName, Epoch, Incarnation, Mark, RegisterKey};
use crate::register::fence::remedy;
use crate::register::{Attempt, Known, Message, Remedy, Request, Slot, Traced};
use actix_rt::time::{Instant, sleep_until};
use futures::future::LocalBoxFuture;

/// A bucket that is known to be chosen.
#[derive(Clone, Debug)]
pub(in crate::actors) struct Home {
    /// Its name.
    pub name: BucketName,
    /// This life of it.
    pub id: BucketId,
    /// What it is in this life by now.
    pub generation: u64,
    /// Whether it takes anything.
    pub is_open: bool,
    ballot: Ballot,
    state: Traced<Value>,
    /// That of before it was read.
    epoch: Epoch,
}

impl Home {
    fn of(name: &BucketName, slot: Slot<Value>, epoch: Epoch) -> Option<Self> {
        let bucket = *slot.state.value.as_ref()?.bucket()?;
        Some(Home {
            name: name.clone(),
            id: bucket.id,
            generation: bucket.generation,
            is_open: bucket.is_open,
            ballot: slot.accepted,
            state: slot.state,
            epoch,
        })
    }
}

/// What a decision knows of the bucket that its register lies under.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    /// The bucket; none before it is looked for, which whoever stores nothing new may leave until it is refused.
    pub home: Option<Home>,
    /// Whether it ends where the bucket is closed; else it waits until that is open again, or gone.
    pub ends: bool,
}

impl Behind {
    /// Of what waits while its bucket is being deleted.
    pub fn waiting(home: Option<Home>) -> Self {
        Behind { home, ends: false }
    }

    /// Of what ends then.
    pub fn ending(home: Option<Home>) -> Self {
        Behind { home, ends: true }
    }
}

impl Coordinator {
    /// What this node holds of a bucket, known to be chosen and open.
    async fn known_home(&self, bucket: &BucketName) -> Option<Home> {
        let epoch = self.epoch();
        let slot = self.held_bucket(bucket).await.filter(|slot| slot.chosen)?;
        Home::of(bucket, slot, epoch).filter(|home| home.is_open)
    }

    /// What this node holds of a bucket's register, if that holds a bucket.
    pub(super) async fn held_bucket(&self, bucket: &BucketName) -> Option<RegisterSlot> {
        self.0.store.knows_bucket.send(KnowsBucket { bucket: bucket.clone() }).await.ok().flatten()
    }

    /// The bucket, as this node or else a majority knows it; `NoSuchBucket` without one. It may be closed.
    pub(super) async fn home(&self, bucket: &BucketName) -> Result<Home, ObjectError> {
        match self.known_home(bucket).await {
            Some(home) => Ok(home),
            // Without a list what this node knows is all there is.
            None if self.decides_alone() && self.roster().is_none() => Err(StoreError::NoSuchBucket.into()),
            None => self.asked_home(bucket).await?.ok_or(StoreError::NoSuchBucket.into()),
        }
    }

    /// The same, once it is open. Who waits for that longer than a decision may take has written nothing.
    pub(super) async fn open_home(&self, bucket: &BucketName) -> Result<Home, ObjectError> {
        let deadline = self.deadline();
        let mut home = self.home(bucket).await?;
        while !home.is_open {
            let next = Instant::now() + self.0.patience.backoff.cap;
            if next >= deadline {
                return Err(ObjectError::Crowded);
            }
            sleep_until(next).await;
            home = self.asked_home(bucket).await?.ok_or(StoreError::NoSuchBucket)?;
        }
        Ok(home)
    }

    /// The bucket, as a majority says; none without one. Boxed, since a read of anything else may have to ask for it.
    pub(super) fn asked_home<'a>(
        &'a self,
        bucket: &'a BucketName,
    ) -> LocalBoxFuture<'a, Result<Option<Home>, ObjectError>> {
        Box::pin(async move {
            let epoch = self.epoch();
            let (ballot, state) = self.read(&RegisterKey::bucket(bucket)).await?;
            Ok(Home::of(bucket, Slot { accepted: ballot, chosen: true, state }, epoch))
        })
    }

    /// The bucket as a majority says, in which something was not found that was looked for in this life; `NoSuchBucket`
    /// without one. Where it is another life, this node had missed that, and knows it from here on.
    pub(super) async fn confirmed(&self, home: &Home) -> Result<Home, ObjectError> {
        let now = self.asked_home(&home.name).await?.ok_or(StoreError::NoSuchBucket)?;
        if now.id != home.id {
            let request = Request::Learn(now.ballot, now.state.clone());
            let message = Message { epoch: now.epoch, attempt: Attempt(0), request };
            let vote = Vote { key: RegisterKey::bucket(&now.name), message };
            // A store that takes nothing learns nothing, and begins with the former life the next time.
            let _ = self.ask(CastHere { votes: vec![vote] }).await;
        }
        Ok(now)
    }

    /// The bucket of this very life, as a majority says; none where it is gone, or another life has its name. To be
    /// asked of a life under which something was seen: that was chosen once, so what is not found is over.
    pub(super) fn home_of(&self, id: BucketId) -> LocalBoxFuture<'_, Result<Option<Home>, ObjectError>> {
        Box::pin(async move {
            let known = self.0.store.name_of_bucket.send(NameOfBucket { id }).await.ok().flatten();
            let name = match known {
                Some(name) => Some(name),
                // This node holds another life of it, or none yet.
                None => self.name_among_all(id).await?,
            };
            let Some(name) = name else { return Ok(None) };
            Ok(self.asked_home(&name).await?.filter(|home| home.id == id))
        })
    }

    async fn name_among_all(&self, id: BucketId) -> Result<Option<BucketName>, ObjectError> {
        let mut found = None;
        self.walk(RegisterKey::buckets().0, usize::MAX, |key, record| {
            match (key.name(), record.bucket()) {
                (Some(RegisterName::Bucket(name)), Some(bucket)) if bucket.id == id => found = Some(name),
                _ => return Seen::Some,
            }
            Seen::Enough
        })
        .await?;
        Ok(found)
    }

    /// Tells a replica that refused something of a bucket, in front of what it is asked next, if it is behind with it.
    /// False where it may be ahead, or cannot be told.
    pub(super) fn teaches(&self, home: &Home, to: Incarnation, known: Known) -> bool {
        let is_behind = remedy(home.ballot, known) == Remedy::Teach;
        is_behind && self.tell_bucket(home, to)
    }

    /// Tells a replica of a bucket. False where the member list is another one since it was read.
    pub(super) fn tell_bucket(&self, home: &Home, to: Incarnation) -> bool {
        if self.epoch() != home.epoch {
            return false;
        }
        Mark::BucketTaught.hit();
        let (key, request) = (RegisterKey::bucket(&home.name), Request::Learn(home.ballot, home.state.clone()));
        let message = Message { epoch: home.epoch, attempt: Attempt(0), request };
        if to == self.0.me {
            self.0.store.cast_here.do_send(CastHere { votes: vec![Vote { key, message }] });
        } else {
            // Nobody waits for an answer.
            let _ = self.there(&key, to, message, None);
        }
        true
    }
}
