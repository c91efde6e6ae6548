//! Homes: the one door from the name of a bucket to the registers of its objects.
//!
//! Invariants
//! - A home is a bucket that is known to be chosen: as this node holds it, or as a majority says.
//! - What this node holds is enough to begin with, where it holds the bucket as open. What rests on it is judged by each
//!   replica (`register::fence`), and what is *not* there is answered only when a majority was asked for the bucket
//!   behind it: a node that was away looks under the id of a former life, where there is nothing.
//! - A replica is told of a bucket under the epoch of before that was read: a tombstone may have been dropped since. A
//!   node without a place tells nobody what it alone knows: it may hold what all members have deleted and dropped.

use super::{Coordinator, Value};
use crate::actors::coordinator::reads::Seen;
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{Ballot, BucketId, BucketName, Epoch, EtagMode, Incarnation, Mark, Quota, RegisterKey};
use crate::register::fence::remedy;
use crate::register::{Attempt, Known, Message, Remedy, Request, Slot, Traced, Votes};
use actix_rt::time::{Instant, sleep_until};
use futures::future::LocalBoxFuture;
use std::collections::HashMap;
use std::rc::Rc;

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
    /// How much it may hold.
    pub quota: Quota,
    /// What its objects are known by that clients of S3 write.
    pub etag: EtagMode,
    ballot: Ballot,
    state: Traced<Value>,
    /// That of before it was read, under which others may be told; none of what rests on a node without a place.
    epoch: Option<Epoch>,
}

impl Home {
    fn of(name: &BucketName, slot: Slot<Value>, epoch: Option<Epoch>) -> Option<Self> {
        let bucket = slot.state.value.as_ref()?.bucket()?;
        Some(Home {
            name: name.clone(),
            id: bucket.id,
            generation: bucket.generation,
            is_open: bucket.is_open,
            quota: bucket.quota,
            etag: bucket.etag,
            ballot: slot.accepted,
            state: slot.state,
            epoch,
        })
    }
}

/// All lives of buckets as a majority held them, since when that was asked.
#[derive(Debug)]
pub(super) struct Lives {
    began: Instant,
    names: HashMap<BucketId, BucketName>,
}

/// What a decision knows of the bucket that its register lies under.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    /// The bucket; none before it is looked for, which whoever stores nothing new may leave until it is refused.
    pub home: Option<Home>,
    /// Whether it ends where the bucket is closed; else it waits until that is open again, or gone.
    pub ends: bool,
    /// When something under it had been seen at the latest: so its life had begun by then.
    pub seen: Instant,
}

impl Behind {
    /// Of what waits while its bucket is being deleted.
    pub fn waiting(home: Option<Home>) -> Self {
        Behind { home, ends: false, seen: Instant::now() }
    }

    /// Of what ends then.
    pub fn ending(home: Option<Home>) -> Self {
        Behind { home, ends: true, seen: Instant::now() }
    }

    /// Of what was left behind and seen then, under whichever bucket. It ends where that is closed.
    pub fn left(seen: Instant) -> Self {
        Behind { home: None, ends: true, seen }
    }
}

impl Coordinator {
    /// What this node holds of a bucket, known to be chosen and open.
    async fn known_home(&self, bucket: &BucketName) -> Option<Home> {
        // Members alone are asked whether a tombstone may go: what another node holds may be what that had deleted.
        let members = self.members(&RegisterKey::bucket(bucket)).ok();
        let votes = members.filter(|(_, members)| members.only(self.0.me) != Votes::default());
        let epoch = votes.map(|(voting, _)| voting.list.epoch);
        let slot = self.held_bucket(bucket).await.filter(|slot| slot.chosen)?;
        Home::of(bucket, slot, epoch).filter(|home| home.is_open)
    }

    /// What this node holds of a bucket's register, if that holds a bucket.
    pub(super) async fn held_bucket(&self, bucket: &BucketName) -> Option<RegisterSlot> {
        self.0.store.knows_bucket.send(KnowsBucket { bucket: bucket.clone() }).await.ok().flatten()
    }

    /// The bucket, as this node or else a majority knows it by `deadline`; `NoSuchBucket` without one. It may be closed.
    pub(super) async fn home(&self, bucket: &BucketName, deadline: Instant) -> Result<Home, ObjectError> {
        match self.known_home(bucket).await {
            Some(home) => Ok(home),
            // Without a list what this node knows is all there is.
            None if self.decides_alone() && self.roster().is_none() => Err(StoreError::NoSuchBucket.into()),
            None => self.asked_home(bucket, deadline).await?.ok_or(StoreError::NoSuchBucket.into()),
        }
    }

    /// The same, once it is open. Who waits for that until the deadline has written nothing.
    pub(super) async fn open_home(&self, bucket: &BucketName, deadline: Instant) -> Result<Home, ObjectError> {
        let mut home = self.home(bucket, deadline).await?;
        while !home.is_open {
            let next = Instant::now() + self.0.patience.backoff.cap;
            if next >= deadline {
                return Err(ObjectError::Crowded);
            }
            sleep_until(next).await;
            home = self.asked_home(bucket, deadline).await?.ok_or(StoreError::NoSuchBucket)?;
        }
        Ok(home)
    }

    /// The bucket, as a majority says; none without one. Boxed, since a read of anything else may have to ask for it.
    pub(super) fn asked_home<'a>(
        &'a self,
        bucket: &'a BucketName,
        deadline: Instant,
    ) -> LocalBoxFuture<'a, Result<Option<Home>, ObjectError>> {
        Box::pin(async move {
            let (slot, epoch) = self.asked_bucket(bucket, deadline).await?;
            Ok(Home::of(bucket, slot, Some(epoch)))
        })
    }

    /// What a majority holds in a bucket's register, and the epoch of before it was asked.
    async fn asked_bucket(&self, bucket: &BucketName, deadline: Instant) -> Result<(RegisterSlot, Epoch), ObjectError> {
        let epoch = self.epoch();
        let (accepted, state) = self.read_by(&RegisterKey::bucket(bucket), false, deadline).await?;
        Ok((Slot { accepted, chosen: true, state }, epoch))
    }

    /// The bucket as a majority says, in which something was not found that was looked for in this life; `NoSuchBucket`
    /// without one. Where that life is over this node had missed it, and knows it from here on.
    pub(super) async fn confirmed(&self, home: &Home, deadline: Instant) -> Result<Home, ObjectError> {
        let (slot, epoch) = self.asked_bucket(&home.name, deadline).await?;
        let now = Home::of(&home.name, slot.clone(), Some(epoch));
        if now.as_ref().is_none_or(|now| now.id != home.id) {
            // A store that takes nothing learns nothing, and begins with the former life the next time.
            let _ = self.learn(&RegisterKey::bucket(&home.name), slot, epoch).await;
        }
        Ok(now.ok_or(StoreError::NoSuchBucket)?)
    }

    /// The bucket of this very life, as a majority says; none where it is gone, or another life has its name. To be
    /// asked of a life under which something was `seen` by then: that was chosen once, so what is not found is over.
    pub(super) fn home_of(
        &self,
        id: BucketId,
        seen: Instant,
        deadline: Instant,
    ) -> LocalBoxFuture<'_, Result<Option<Home>, ObjectError>> {
        Box::pin(async move {
            let known = self.0.store.name_of_bucket.send(NameOfBucket { id }).await.ok().flatten();
            let name = match known {
                Some(name) => Some(name),
                // This node holds another life of it, or none yet.
                None => self.lives_since(seen).await?.names.get(&id).cloned(),
            };
            let Some(name) = name else { return Ok(None) };
            Ok(self.asked_home(&name, deadline).await?.filter(|home| home.id == id))
        })
    }

    /// All lives there are, asked for since then: once for all that was left behind and seen before.
    async fn lives_since(&self, seen: Instant) -> Result<Rc<Lives>, ObjectError> {
        let known = self.0.lives.borrow().clone().filter(|lives| lives.began >= seen);
        if let Some(lives) = known {
            return Ok(lives);
        }
        let (began, mut names) = (Instant::now(), HashMap::new());
        self.walk(RegisterKey::buckets().0, usize::MAX, |key, record| {
            if let (Some(RegisterName::Bucket(name)), Some(bucket)) = (key.name(), record.bucket()) {
                names.insert(bucket.id, name);
            }
            Seen::Some
        })
        .await?;
        let lives = Rc::new(Lives { began, names });
        *self.0.lives.borrow_mut() = Some(Rc::clone(&lives));
        Ok(lives)
    }

    /// Tells a replica that refused something of a bucket, in front of what it is asked next, if it is behind with it.
    /// False where it may be ahead, or cannot be told.
    pub(super) fn teaches(&self, home: &Home, to: Incarnation, known: Known) -> bool {
        let is_behind = remedy(home.ballot, known) == Remedy::Teach;
        is_behind && self.tell_bucket(home, to)
    }

    /// Tells a replica of a bucket. False where the member list is another one since it was read, or no majority was asked
    /// for it by a node without a place.
    pub(super) fn tell_bucket(&self, home: &Home, to: Incarnation) -> bool {
        let Some(epoch) = home.epoch.filter(|epoch| *epoch == self.epoch()) else { return false };
        Mark::BucketTaught.hit();
        let (key, request) = (RegisterKey::bucket(&home.name), Request::Learn(home.ballot, home.state.clone()));
        let message = Message { epoch, attempt: Attempt(0), request };
        if to == self.0.me {
            self.0.store.cast_here.do_send(CastHere { votes: vec![Vote { key, message }] });
        } else {
            // Nobody waits for an answer.
            let _ = self.there(&key, to, message, None);
        }
        true
    }
}
