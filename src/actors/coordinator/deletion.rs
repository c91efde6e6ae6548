//! The deletion of a bucket, where nodes decide together: it is closed, counted, and then gone or open again.
//!
//! Invariants
//! - Nothing but what those replicas show is counted that hold the bucket as this deletion closed it, and held it so
//!   before they looked; what is asked about it is `register::count`'s to say.
//! - Two that delete one bucket, or one that goes on with what somebody left behind, end it for each other: who finds
//!   the life gone that it closed answers that it is deleted.
//! - Who finds it open again has not been refused: somebody has made it, or counted it. It is closed and counted anew.
//! - How long it takes to look through what was deleted in it is not the nodes' matter: the time for a decision goes on
//!   behind that.

use super::homes::{Behind, Home};
use super::{Coordinator, Value, no_majority};
use crate::actors::blocks;
use crate::actors::messages::*;
use crate::actors::peer::peer_request::PeerRequest;
use crate::base::{Ballot, BucketId, BucketName, Complete, Folds, Page, RegisterKey};
use crate::register::count::{Question, is_there};
use crate::register::fence::Change;
use crate::register::{Choice, Count, Fence, Intent, Members, Votes, Write, WriteOutcome};
use crate::store::mutation::Mutation;
use crate::store::system_ms;
use crate::store::voting::Voting;
use crate::wire::{Closed, Item, Show, Shown};
use actix_rt::time::{Instant, sleep_until};
use std::ops::Bound;
use std::time::Duration;

/// How long a bucket is closed at most while it is counted: what was deleted in it has to be looked through.
const COUNT_TIME: Duration = Duration::from_secs(60);
/// Items of a step of that.
const STEP: usize = 64;

/// What came of a bucket that was closed.
enum Ended {
    /// Nothing was in it, and it is gone.
    Gone(Written),
    /// Something is in it, or may be: it is open again.
    NotEmpty,
    /// Somebody else has opened it.
    Opened,
}

impl Coordinator {
    /// Deletes a bucket that holds nothing.
    pub(super) async fn delete_bucket(&self, bucket: &BucketName) -> Result<Written, ObjectError> {
        if self.decides_alone()
            && let Decided::Alone(written) = self.ask(MutateHere(Mutation::delete_bucket(bucket, system_ms()))).await?
        {
            return Ok(written);
        }
        let mut deadline = self.deadline();
        self.reachable().await?;
        let home = self.asked_home(bucket, deadline).await?.ok_or(StoreError::NoSuchBucket)?;
        // What is found in it was chosen, so it is not closed for that: no writer need wait.
        if home.is_open {
            let looked = Instant::now();
            if !self.is_empty(home.id).await? {
                return Err(StoreError::BucketNotEmpty.into());
            }
            deadline += looked.elapsed();
        }
        self.check_takers(&RegisterKey::bucket(bucket), None).await?;
        loop {
            match self.close(bucket, Change::Close, &mut deadline).await? {
                Ended::Gone(written) => return Ok(written),
                Ended::NotEmpty => return Err(StoreError::BucketNotEmpty.into()),
                Ended::Opened if Instant::now() < deadline => {}
                Ended::Opened => return Err(ObjectError::Crowded),
            }
        }
    }

    /// Goes on with a deletion that somebody left behind; where none was begun nothing is. Whether this ended one.
    pub(in crate::actors) async fn end_deletion(&self, bucket: &BucketName) -> Result<bool, ObjectError> {
        let ended = if self.decides_alone() {
            self.ask(MutateHere(Mutation::end_deletion(bucket, system_ms()))).await.map(|_| true)
        } else {
            let ended = self.close(bucket, Change::Resume, &mut self.deadline()).await;
            ended.map(|ended| !matches!(ended, Ended::Opened))
        };
        match ended {
            Err(ObjectError::Store(StoreError::BucketNotEmpty)) => Ok(true),
            // Somebody else was faster.
            Err(ObjectError::Store(StoreError::NoSuchBucket)) => Ok(false),
            ended => ended,
        }
    }

    /// Closes a bucket and carries its deletion to an end.
    async fn close(
        &self,
        bucket: &BucketName,
        begin: Change<BucketId>,
        deadline: &mut Instant,
    ) -> Result<Ended, ObjectError> {
        let closed = match self.change_by_vote(bucket, begin, *deadline).await? {
            WriteOutcome::Written { replaced: state, .. } | WriteOutcome::Kept(state) => {
                state.value.and_then(|record| record.bucket().map(|bucket| bucket.id))
            }
            outcome => return Err(failed(&outcome)),
        };
        let closed = closed.ok_or(StoreError::NoSuchBucket)?;
        // From here on it may be gone, whatever this node hears of it: somebody else ends what is left behind.
        self.count_out(bucket, closed, deadline).await.map_err(|error| match error.is_undecided() {
            true => StoreError::UnknownOutcome.into(),
            false => error,
        })
    }

    /// Counts a bucket that is closed, until it is gone or open again.
    async fn count_out(
        &self,
        bucket: &BucketName,
        closed: BucketId,
        deadline: &mut Instant,
    ) -> Result<Ended, ObjectError> {
        let until = Instant::now() + COUNT_TIME;
        for tries in 1.. {
            let Some(home) = self.asked_home(bucket, *deadline).await?.filter(|home| home.id == closed) else {
                return Ok(gone(0));
            };
            if home.is_open {
                return Ok(Ended::Opened);
            }
            let began = Instant::now();
            let counted = self.count(&home, until).await;
            match counted {
                // Not enough nodes hold it as closed yet, or any more; or they did not answer.
                Err(error) if error.is_undecided() => {
                    let next = Instant::now() + self.0.patience.backoff.delay(tries, u64::from(tries));
                    if next >= *deadline {
                        return Err(error);
                    }
                    sleep_until(next).await;
                }
                counted => {
                    *deadline += began.elapsed();
                    return match counted {
                        Ok(true) => self.reopen(bucket, &home, *deadline).await,
                        Ok(false) => self.remove(bucket, &home, *deadline).await,
                        Err(error) => {
                            // What could not be counted is there as before.
                            let _ = self.reopen(bucket, &home, *deadline).await;
                            Err(error)
                        }
                    };
                }
            }
        }
        Err(no_majority())
    }

    /// A bucket that is empty goes, if it is still as it was counted.
    async fn remove(&self, bucket: &BucketName, home: &Home, deadline: Instant) -> Result<Ended, ObjectError> {
        let Home { id, generation, .. } = *home;
        match self.change_by_vote(bucket, Change::Remove { id, generation }, deadline).await? {
            WriteOutcome::Written { replicas, .. } => Ok(gone(replicas)),
            WriteOutcome::Refused(state) if is_life(&state.value, id) => Ok(Ended::Opened),
            WriteOutcome::Refused(_) => Ok(gone(0)),
            // It is closed, and somebody else ends that.
            _ => Err(StoreError::UnknownOutcome.into()),
        }
    }

    /// A bucket that is not empty is open again, if it is still as it was counted.
    async fn reopen(&self, bucket: &BucketName, home: &Home, deadline: Instant) -> Result<Ended, ObjectError> {
        let Home { id, generation, .. } = *home;
        match self.change_by_vote(bucket, Change::Reopen { id, generation }, deadline).await? {
            WriteOutcome::Written { .. } => Ok(Ended::NotEmpty),
            WriteOutcome::Kept(state) if is_life(&state.value, id) => Ok(Ended::NotEmpty),
            WriteOutcome::Kept(_) => Ok(gone(0)),
            _ => Err(StoreError::UnknownOutcome.into()),
        }
    }

    /// Whether something is in a bucket that is closed, or may be.
    async fn count(&self, home: &Home, until: Instant) -> Result<bool, ObjectError> {
        let mut next = Some(Bound::Included(RegisterKey::object_prefix(home.id, "")));
        while let Some(from) = next {
            if Instant::now() >= until {
                return Err(ObjectError::OutOfTime(super::reads::MUCH_DELETED));
            }
            let pages = self.closed_pages(home, from).await?;
            let complete = pages.iter().map(|page| &page.complete).min().cloned().unwrap_or(Complete::End);
            let mut count = Count::new(Fence::CONTRACT);
            for item in pages.into_iter().flat_map(|page| page.entries).filter(|item| complete.covers(&item.key)) {
                count.shows(item.key, item.chosen);
            }
            for (key, question) in count.questions() {
                if self.asks(&key, question, home).await? {
                    return Ok(true);
                }
            }
            next = complete.next();
        }
        Ok(false)
    }

    /// Whether something is in a register of a closed bucket, or may be.
    async fn asks(&self, key: &RegisterKey, question: Question, home: &Home) -> Result<bool, ObjectError> {
        let (_, members) = self.members(key)?;
        let (read, behind) = (question.read(members, self.0.me), Behind::ending(Some(home.clone())));
        let end = self.drive(key, read, Vec::new(), self.deadline(), behind).await;
        is_there(&end).ok_or_else(no_majority)
    }

    /// What as many replicas as make a majority show of a bucket, each of which holds it as closed. Those that do not are
    /// told, and count when they are asked again.
    async fn closed_pages(&self, home: &Home, from: Bound<RegisterKey>) -> Result<Vec<Page<Item>>, ObjectError> {
        let (voting, members) = self.members(&RegisterKey::object_prefix(home.id, ""))?;
        let closed = Closed { id: home.id, generation: home.generation };
        let own = self.own_page(home, closed, &from, &members).await?;
        let votes = if own.is_some() { members.only(self.0.me) } else { Votes::default() };
        let mut pages = Vec::from_iter(own);
        pages.extend(self.pages_of_others(home, closed, from, (&voting, &members), votes).await?);
        Ok(pages)
    }

    /// What this node shows of it, if that counts.
    async fn own_page(
        &self,
        home: &Home,
        closed: Closed,
        from: &Bound<RegisterKey>,
        members: &Members,
    ) -> Result<Option<Page<Item>>, ObjectError> {
        if members.only(self.0.me) == Votes::default() {
            return Ok(None);
        }
        if !self.ask(HoldsClosed(closed)).await? {
            self.tell_bucket(home, self.0.me);
            return Ok(None);
        }
        let (folds, to) = (Folds::objects(home.id, "", None), RegisterKey::objects_end(home.id));
        match self.ask(ShowSlots { folds, from: from.clone(), to, limit: STEP }).await {
            Ok(page) => Ok(Some(page.map(|(key, slot)| Some(blocks::item(key, &slot))))),
            // Others show what this node cannot read.
            Err(error) if super::scan::is_unreadable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What others show of it, so many that they make a majority with these votes.
    async fn pages_of_others(
        &self,
        home: &Home,
        closed: Closed,
        from: Bound<RegisterKey>,
        (voting, members): (&Voting, &Members),
        votes: Votes,
    ) -> Result<Vec<Page<Item>>, ObjectError> {
        let (folds, to) = (Folds::objects(home.id, "", None), RegisterKey::objects_end(home.id));
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
        self.pages_of_peers(voting, members, votes, ask, counts, self.deadline()).await
    }

    /// Has the nodes vote on a change of a bucket.
    pub(super) async fn change_by_vote(
        &self,
        bucket: &BucketName,
        change: Change<BucketId>,
        deadline: Instant,
    ) -> Result<WriteOutcome<Value>, ObjectError> {
        self.vote_on_bucket(bucket, Mutation::change_bucket(bucket, change, system_ms()), deadline).await
    }

    /// Has the nodes vote on what is wanted of a bucket.
    pub(super) async fn vote_on_bucket(
        &self,
        bucket: &BucketName,
        mutation: Mutation,
        deadline: Instant,
    ) -> Result<WriteOutcome<Value>, ObjectError> {
        let key = RegisterKey::bucket(bucket);
        let (_, members) = self.members(&key)?;
        let _turn = self.turn(&key, &mutation, deadline).await?;
        let write = Write::new(members, mutation);
        Ok(self.drive(&key, write, Vec::new(), deadline, Behind::waiting(None)).await)
    }

    /// Puts a tombstone where something lies under the id of a bucket that is gone.
    pub(super) async fn clear(&self, key: &RegisterKey) -> Result<(), ObjectError> {
        let (_, members) = self.members(key)?;
        let write = Write::new(members, Nothing).ended();
        match self.drive(key, write, Vec::new(), self.deadline(), Behind::ending(None)).await {
            WriteOutcome::Gone => Ok(()),
            WriteOutcome::Contended => Err(ObjectError::Crowded),
            WriteOutcome::NoMajority => Err(no_majority()),
            _ => Err(StoreError::UnknownOutcome.into()),
        }
    }
}

/// Nothing is wanted of the register: what is to be done is done behind the end of its bucket.
struct Nothing;

impl Intent<Value> for Nothing {
    fn decide(&self, _: Option<&Value>) -> Choice<Value> {
        Choice::Keep
    }
}

fn gone(replicas: u32) -> Ended {
    Ended::Gone(Written { ballot: Ballot::ZERO, etag: String::new(), checksum: None, existed: true, replicas })
}

fn is_life(state: &Option<Value>, id: BucketId) -> bool {
    state.as_ref().and_then(|record| record.bucket()).is_some_and(|bucket| bucket.id == id)
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
