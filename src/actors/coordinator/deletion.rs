//! The deletion of a bucket, where nodes decide together: it is closed, counted, and then gone or open again.
//!
//! Invariants
//! - Nothing but what those replicas hold is counted that hold the bucket as this deletion closed it, and held it so
//!   before they looked. Whatever present state is ever chosen was granted by one of them before that: so it shows.
//! - What is present counts as that unless a majority says that it was deleted; so does what is stored somewhere and
//!   cannot be made chosen any more.
//! - Two that delete one bucket, or one that goes on with what somebody left behind, end it for each other: who finds
//!   the life gone that it closed answers that it is deleted.

use super::homes::{Behind, Home};
use super::{Coordinator, Value, no_majority};
use crate::actors::blocks;
use crate::actors::messages::*;
use crate::actors::peer::peer_request::PeerRequest;
use crate::base::{BucketId, BucketName, Complete, Folds, Page, RegisterKey};
use crate::register::fence::Change;
use crate::register::{Choice, Intent, Read, Votes, Write, WriteOutcome};
use crate::store::mutation::{Mutation, proposed};
use crate::store::system_ms;
use crate::wire::{Closed, Item, Show, Shown};
use actix_rt::time::{Instant, sleep_until};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// How long a bucket is closed at most while it is counted: what was deleted in it has to be looked through.
const COUNT_TIME: Duration = Duration::from_secs(60);
/// Items of a step of that.
const STEP: usize = 64;

/// What came of a closed bucket.
enum Counted {
    /// Nothing is in it.
    Empty,
    /// Something is, or may be.
    NotEmpty,
}

impl Coordinator {
    /// Deletes a bucket that holds nothing.
    pub(super) async fn delete_bucket(&self, bucket: &BucketName) -> Result<Written, ObjectError> {
        if self.decides_alone()
            && let Decided::Alone(written) = self.ask(MutateHere(Mutation::delete_bucket(bucket, system_ms()))).await?
        {
            return Ok(written);
        }
        self.reachable().await?;
        let home = self.asked_home(bucket).await?.ok_or(StoreError::NoSuchBucket)?;
        // What is found in it was chosen, so it is not closed for that: no writer need wait.
        if home.is_open && !self.is_empty(home.id).await? {
            return Err(StoreError::BucketNotEmpty.into());
        }
        self.check_takers(&RegisterKey::bucket(bucket), None).await?;
        self.close(bucket, Change::Close).await
    }

    /// Goes on with a deletion that somebody left behind; where none was begun nothing is.
    pub(in crate::actors) async fn end_deletion(&self, bucket: &BucketName) -> Result<(), ObjectError> {
        let ended = if self.decides_alone() {
            self.ask(MutateHere(Mutation::end_deletion(bucket, system_ms()))).await.map(|_| ())
        } else {
            self.close(bucket, Change::Resume).await.map(|_| ())
        };
        match ended {
            // It is open again, or somebody else was faster.
            Err(ObjectError::Store(StoreError::BucketNotEmpty | StoreError::NoSuchBucket)) => Ok(()),
            ended => ended,
        }
    }

    /// Closes a bucket and carries its deletion to the end.
    async fn close(&self, bucket: &BucketName, begin: Change<BucketId>) -> Result<Written, ObjectError> {
        let closed = match self.change_by_vote(bucket, begin).await? {
            WriteOutcome::Written { replaced: state, .. } | WriteOutcome::Kept(state) => {
                state.value.and_then(|record| record.bucket().map(|bucket| bucket.id))
            }
            outcome => return Err(failed(&outcome)),
        };
        let closed = closed.ok_or(StoreError::NoSuchBucket)?;
        // From here on it may be gone, whatever this node hears of it: somebody else ends what is left behind.
        self.count_out(bucket, closed).await.map_err(|error| match error {
            ObjectError::NoMajority(_) => StoreError::UnknownOutcome.into(),
            error => error,
        })
    }

    /// Counts a bucket that is closed, until it is gone or open again.
    async fn count_out(&self, bucket: &BucketName, closed: BucketId) -> Result<Written, ObjectError> {
        let until = Instant::now() + COUNT_TIME;
        let deadline = self.deadline();
        for tries in 1.. {
            let Some(home) = self.asked_home(bucket).await?.filter(|home| home.id == closed) else {
                return Ok(gone(0));
            };
            if home.is_open {
                return Err(StoreError::BucketNotEmpty.into());
            }
            let (id, generation) = (home.id, home.generation);
            match self.count(&home, until).await {
                // Not enough nodes hold it as closed yet, or any more; or they did not answer.
                Err(ObjectError::NoMajority(_)) => {
                    let next = Instant::now() + self.0.patience.backoff.delay(tries, u64::from(tries));
                    if next >= deadline {
                        return Err(no_majority());
                    }
                    sleep_until(next).await;
                }
                Ok(Counted::Empty) => {
                    return match self.change_by_vote(bucket, Change::Remove { id, generation }).await? {
                        WriteOutcome::Written { replicas, .. } => Ok(gone(replicas)),
                        WriteOutcome::Refused(state) => found_otherwise(&state.value, id),
                        outcome => Err(unsettled(&outcome)),
                    };
                }
                Ok(Counted::NotEmpty) => return self.reopen(bucket, id, generation).await,
                Err(error) => {
                    // What could not be counted is there as before.
                    let _ = self.reopen(bucket, id, generation).await;
                    return Err(error);
                }
            }
        }
        Err(no_majority())
    }

    /// A bucket that is not empty is open again.
    async fn reopen(&self, bucket: &BucketName, id: BucketId, generation: u64) -> Result<Written, ObjectError> {
        match self.change_by_vote(bucket, Change::Reopen { id, generation }).await? {
            WriteOutcome::Written { .. } => Err(StoreError::BucketNotEmpty.into()),
            WriteOutcome::Kept(state) => found_otherwise(&state.value, id),
            outcome => Err(unsettled(&outcome)),
        }
    }

    /// Whether something is in a bucket that is closed.
    async fn count(&self, home: &Home, until: Instant) -> Result<Counted, ObjectError> {
        let mut next = Some(Bound::Included(RegisterKey::object_prefix(home.id, "")));
        while let Some(from) = next {
            if Instant::now() >= until {
                return Err(ObjectError::OutOfTime(super::reads::MUCH_DELETED));
            }
            let pages = self.closed_pages(home, from).await?;
            let complete = pages.iter().map(|page| &page.complete).min().cloned().unwrap_or(Complete::End);
            let mut shown: BTreeMap<&RegisterKey, bool> = BTreeMap::new();
            for item in pages.iter().flat_map(|page| &page.entries).filter(|item| complete.covers(&item.key)) {
                *shown.entry(&item.key).or_insert(true) &= item.chosen;
            }
            for (key, is_chosen) in shown {
                match self.read_closed(key, home, is_chosen).await {
                    Ok(false) => {}
                    Ok(true) => return Ok(Counted::NotEmpty),
                    // It is stored somewhere, and no majority takes it any more; or the bucket is not as it was closed.
                    Err(ObjectError::Store(StoreError::NoSuchBucket)) => return Ok(Counted::NotEmpty),
                    Err(error) => return Err(error),
                }
            }
            next = complete.next();
        }
        Ok(Counted::Empty)
    }

    /// Whether a majority holds something in a register of a closed bucket. `NoSuchBucket` where that was never settled.
    ///
    /// What somebody holds that is not known to be chosen may become it yet, by those who do not hold the bucket as closed
    /// and are not asked here: a majority has to promise a higher ballot before it counts as nothing.
    async fn read_closed(&self, key: &RegisterKey, home: &Home, is_chosen: bool) -> Result<bool, ObjectError> {
        let (_, members) = self.members(key)?;
        let read = if is_chosen { Read::new(members, &[self.0.me]) } else { Read::settle(members) };
        let behind = Behind::ending(Some(home.clone()));
        let (_, state) = self.finish_read(key, read, behind, self.deadline()).await?;
        Ok(state.value.is_some_and(|record| record.is_present()))
    }

    /// What as many replicas as make a majority show of a bucket, each of which holds it as closed. Those that do not are
    /// told, and count when they are asked again.
    async fn closed_pages(&self, home: &Home, from: Bound<RegisterKey>) -> Result<Vec<Page<Item>>, ObjectError> {
        let (voting, members) = self.members(&RegisterKey::object_prefix(home.id, ""))?;
        let (folds, to) = (Folds::objects(home.id, "", None), RegisterKey::objects_end(home.id));
        let closed = Closed { id: home.id, generation: home.generation };
        let (mut pages, mut votes) = (Vec::new(), members.only(self.0.me));
        if votes == Votes::default() {
        } else if self.ask(HoldsClosed(closed)).await? {
            let own = ShowSlots { folds: folds.clone(), from: from.clone(), to: to.clone(), limit: STEP };
            match self.ask(own).await {
                Ok(page) => pages.push(page.map(|(key, slot)| Some(blocks::item(key, &slot)))),
                // Others show what this node cannot read.
                Err(error) if super::scan::is_unreadable(&error) => votes = Votes::default(),
                Err(error) => return Err(error),
            }
        } else {
            self.tell_bucket(home, self.0.me);
            votes = Votes::default();
        }
        let (start, inclusive) = super::scan::begin(from);
        let limit = u32::try_from(STEP).unwrap_or(u32::MAX);
        let show = Show { mark: voting.list, folds, from: start, inclusive, to, limit, closed: Some(closed) };
        let ask = |node, reply| PeerRequest::Show(node, show.clone(), reply);
        let counts = |node, shown| match shown {
            Shown::Items(page) => Some(page),
            Shown::Open | Shown::Blocks(_) => {
                self.tell_bucket(home, node);
                None
            }
        };
        pages.extend(self.pages_of_peers(&voting, &members, votes, ask, counts, self.deadline()).await?);
        Ok(pages)
    }

    /// Has the nodes vote on a change of a bucket.
    pub(super) async fn change_by_vote(
        &self,
        bucket: &BucketName,
        change: Change<BucketId>,
    ) -> Result<WriteOutcome<Value>, ObjectError> {
        let (key, mutation) = (RegisterKey::bucket(bucket), Mutation::change_bucket(bucket, change, system_ms()));
        let (_, members) = self.members(&key)?;
        let deadline = self.deadline();
        let _turn = self.turn(&key, &mutation).await?;
        let write = Write::new(members, mutation);
        Ok(self.drive(&key, write, Vec::new(), deadline, Behind::waiting(None)).await)
    }

    /// Puts a tombstone where something lies under the id of a bucket that is gone.
    pub(super) async fn clear(&self, key: &RegisterKey) -> Result<(), ObjectError> {
        let (_, members) = self.members(key)?;
        let write = Write::new(members, Cleared { now_ms: system_ms() });
        match self.drive(key, write, Vec::new(), self.deadline(), Behind::ending(None)).await {
            WriteOutcome::Written { .. } | WriteOutcome::Kept(_) => Ok(()),
            outcome => Err(failed(&outcome)),
        }
    }
}

/// Nothing is to be there any more.
struct Cleared {
    now_ms: u64,
}

impl Intent<Value> for Cleared {
    fn decide(&self, found: Option<&Value>) -> Choice<Value> {
        match found.is_some_and(|record| record.is_present()) {
            true => Choice::Put(proposed(crate::base::State::Deleted, self.now_ms)),
            false => Choice::Keep,
        }
    }
}

fn gone(replicas: u32) -> Written {
    Written { ballot: crate::base::Ballot::ZERO, etag: String::new(), existed: true, replicas }
}

/// Somebody else was faster: the bucket is open again, or this deletion has been ended.
fn found_otherwise(state: &Option<Value>, id: BucketId) -> Result<Written, ObjectError> {
    let is_same = state.as_ref().and_then(|record| record.bucket()).is_some_and(|bucket| bucket.id == id);
    if is_same { Err(StoreError::BucketNotEmpty.into()) } else { Ok(gone(0)) }
}

/// How a change of a bucket failed that had no effect, or whose effect nobody knows.
fn failed(outcome: &WriteOutcome<Value>) -> ObjectError {
    match outcome {
        WriteOutcome::Refused(_) | WriteOutcome::Gone => StoreError::NoSuchBucket.into(),
        WriteOutcome::Contended => ObjectError::Crowded,
        WriteOutcome::NoMajority => no_majority(),
        WriteOutcome::Unknown | WriteOutcome::Written { .. } | WriteOutcome::Kept(_) => {
            StoreError::UnknownOutcome.into()
        }
    }
}

/// How the last step of a deletion failed: the bucket is closed, and somebody else ends that.
fn unsettled(_: &WriteOutcome<Value>) -> ObjectError {
    StoreError::UnknownOutcome.into()
}
