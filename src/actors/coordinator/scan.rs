//! What a majority holds of a range of registers: all of them, or what a list shows.
//!
//! Invariants
//! - A page counts as the vote of the incarnation that made it, and of no other.
//! - What the pages leave unsure is read from a majority, all of a step together.
//! - A node whose index cannot be read lists what its peers hold; the store has told so. Any other failure of it is
//!   one.
//! - A node without a place knows nothing that the pages do not say: it may hold what was deleted and forgotten.

use super::{Coordinator, no_majority};
use crate::actors::blocks::is_present;
use crate::actors::coordinator::pages::{self, Merged, Own};
use crate::actors::coordinator::shown::{self, Folded, Span};
use crate::actors::messages::*;
use crate::actors::peer::peer_request::PeerRequest;
use crate::base::{Class, Folds, Incarnation, Page, RegisterKey};
use crate::register::{Members, Slot, Votes};
use crate::seal::random;
use crate::store::voting::Voting;
use crate::wire::{Blocks, ENTRIES_MAX, Item, Scan, Show, Shown};
use actix_rt::time::{Instant, sleep_until};
use futures::future::{LocalBoxFuture, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use std::ops::Bound;
use std::time::Duration;
use tokio::sync::oneshot;

/// Registers of a step that are read from a majority at once: few, as a rule, and all where the own index is damaged.
/// Those of one moment travel in one frame.
const READ_AT_ONCE: usize = 256;
/// Common prefixes that are looked through at once.
const WITHIN_AT_ONCE: usize = 16;
/// Registers of a step that looks for one that is present: most of what lies there was deleted a moment ago.
const WITHIN_STEP: usize = 64;
/// How long one peer is waited for before another one is asked for the same page.
const ASK_NEXT_AFTER: Duration = Duration::from_millis(200);

/// What this node shows of a range, unless it does not count or cannot be read, and what others do.
struct Told<T> {
    own: Option<Own>,
    damaged: bool,
    peers: Vec<T>,
}

impl Coordinator {
    /// A step over all registers of a range, tombstones included: what a majority holds of them, and what that is
    /// complete to. Tried on until the deadline: nodes that come back, or come to a later member list, answer then.
    pub(in crate::actors) async fn merged(
        &self,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Merged, ObjectError> {
        self.insist(deadline, async || {
            let (mut merged, damaged) = self.gather(from.clone(), to, limit, deadline).await?;
            self.read_unsure(&mut merged, damaged, deadline).await?;
            Ok(merged)
        })
        .await
    }

    /// A step of a list: what a majority shows of a range, of each common prefix one register, and what that is complete
    /// to. Some of what was deleted may be among it. Tried on until the deadline.
    pub(in crate::actors) async fn shown(
        &self,
        folds: &Folds,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Merged, ObjectError> {
        self.insist(deadline, async || match folds.delimiter() {
            None => self.unfolded(folds, from.clone(), to, limit, deadline).await,
            Some(_) => self.folded(folds, from.clone(), to, limit, deadline).await,
        })
        .await
    }

    async fn insist<T>(
        &self,
        deadline: Instant,
        step: impl AsyncFn() -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        self.reachable().await?;
        let mut tries = 0;
        loop {
            let done = step().await;
            tries += 1;
            let next = Instant::now() + self.0.patience.backoff.delay(tries, u64::from_le_bytes(random()));
            match done {
                Err(error) if error.is_undecided() && next < deadline && !self.is_cut_off() => sleep_until(next).await,
                done => return done,
            }
        }
    }

    /// A step of a list that folds nothing. Where others show the same as this node nothing travels but digests.
    async fn unfolded(
        &self,
        folds: &Folds,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Merged, ObjectError> {
        let told: Told<Blocks> = self
            .told(folds, &from, to, limit, deadline, |shown| match shown {
                Shown::Blocks(blocks) => Some(blocks),
                Shown::Items(_) | Shown::Open => None,
            })
            .await?;
        let (mut merged, differ) = match told.own {
            Some(own) => shown::compare(own, &from, &told.peers),
            None => (Merged::default(), vec![Span { from, to: to.clone() }]),
        };
        let parts =
            differ.into_iter().map(|span| async move { self.gather(span.from, &span.to, ENTRIES_MAX, deadline).await });
        let mut damaged = told.damaged;
        for (part, unreadable) in try_join_all(parts).await? {
            damaged |= unreadable;
            merged.add(part);
        }
        self.read_unsure(&mut merged, damaged, deadline).await?;
        Ok(merged)
    }

    /// A step of a list that folds.
    async fn folded(
        &self,
        folds: &Folds,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Merged, ObjectError> {
        let told: Told<Page<Item>> = self
            .told(folds, &from, to, limit, deadline, |shown| match shown {
                Shown::Items(page) => Some(page),
                Shown::Blocks(_) | Shown::Open => None,
            })
            .await?;
        let Folded { mut merged, witnesses, mut within } = shown::merge_folded(folds, told.own.as_ref(), &told.peers);
        merged.unsure.extend(witnesses.keys().cloned());
        self.read_unsure(&mut merged, told.damaged, deadline).await?;
        for (witness, common) in witnesses {
            if !merged.found.get(&witness).is_some_and(is_present) {
                within.insert(common);
            }
        }
        take_in(&mut merged, WITHIN_AT_ONCE, within, |common| self.first_within(common, deadline)).await?;
        Ok(merged)
    }

    /// The first register that is present of those that begin so.
    async fn first_within(
        &self,
        common: RegisterKey,
        deadline: Instant,
    ) -> Result<Option<(RegisterKey, RegisterSlot)>, ObjectError> {
        let (to, folds) = (common.successor(), Folds::new(common.clone(), None));
        let mut next = Some(Bound::Included(common));
        while let Some(from) = next {
            if Instant::now() >= deadline {
                return Err(no_majority());
            }
            let step = self.unfolded(&folds, from, &to, WITHIN_STEP, deadline).await?;
            if let Some(first) = step.found.into_iter().find(|(_, slot)| is_present(slot)) {
                return Ok(Some(first));
            }
            next = step.complete.next();
        }
        Ok(None)
    }

    /// Asks this node, and as many others as make a majority with it, what they show of a range.
    async fn told<T>(
        &self,
        folds: &Folds,
        from: &Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
        kind: impl Fn(Shown) -> Option<T>,
    ) -> Result<Told<T>, ObjectError> {
        let (voting, members) = self.all_members()?;
        let limit = limit.min(ENTRIES_MAX);
        let own = self.ask(ShowSlots { folds: folds.clone(), from: from.clone(), to: to.clone(), limit });
        let (start, inclusive) = begin(from.clone());
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let (mark, folds) = (voting.list, folds.clone());
        let show = Show { mark, folds, from: start, inclusive, to: to.clone(), limit, closed: None };
        let ask = |node, reply| PeerRequest::Show(node, show.clone(), reply);
        let (own, peers) = self.own_and_peers(&voting, &members, own, ask, deadline).await?;
        let damaged = own.is_none();
        // Each of them is a vote: one that is left out would leave no majority.
        let peers = peers.into_iter().map(kind).collect::<Option<_>>().ok_or_else(no_majority)?;
        let own = own.filter(|_| members.only(self.0.me).count() > 0);
        Ok(Told { own, damaged, peers })
    }

    /// What a majority holds of a range, and what has to be read yet; and whether the own index cannot be read.
    async fn gather(
        &self,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<(Merged, bool), ObjectError> {
        let (voting, members) = self.all_members()?;
        let own = self.ask(ScanSlots { from: from.clone(), to: to.clone(), limit });
        let (start, inclusive) = begin(from);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let scan = Scan { mark: voting.list, from: start, inclusive, to: to.clone(), limit };
        let ask = |node, reply| PeerRequest::Scan(node, scan.clone(), reply);
        let (own, pages) = self.own_and_peers(&voting, &members, own, ask, deadline).await?;
        let damaged = own.is_none();
        // The peers are asked as if this node held nothing.
        let mut own = own.unwrap_or(Page::whole(Vec::new()));
        // Without a place this node may hold what the others have dropped.
        if members.only(self.0.me).count() == 0 {
            pages::confirmed(&mut own, &pages);
        }
        Ok((pages::merge(own, &pages), damaged))
    }

    /// Reads from a majority what a step has left unsure. `damaged`: this node is known to have no answer.
    async fn read_unsure(&self, merged: &mut Merged, damaged: bool, deadline: Instant) -> Result<(), ObjectError> {
        let unsure = std::mem::take(&mut merged.unsure);
        take_in(merged, READ_AT_ONCE, unsure, async |key| match self.read_by(&key, damaged, deadline).await {
            Ok((ballot, state)) => Ok(Some((key, Slot { accepted: ballot, chosen: true, state }))),
            // Its bucket is gone, and what was never settled with it.
            Err(ObjectError::Store(StoreError::NoSuchBucket)) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    /// This node's page and those of as many peers as make a majority with it, all at the same time. Where this node's
    /// cannot be read there is none, and more peers are asked.
    async fn own_and_peers<T: 'static>(
        &self,
        voting: &Voting,
        members: &Members,
        own: impl Future<Output = Result<Own, ObjectError>>,
        ask: impl Fn(Incarnation, oneshot::Sender<T>) -> PeerRequest,
        deadline: Instant,
    ) -> Result<(Option<Own>, Vec<T>), ObjectError> {
        let counts = |_, page| Some(page);
        let peers = self.pages_of_peers(voting, members, members.only(self.0.me), &ask, counts, deadline);
        match futures::future::join(own, peers).await {
            (Err(error), _) if is_unreadable(&error) => {
                let peers = self.pages_of_peers(voting, members, Votes::default(), &ask, counts, deadline).await?;
                Ok((None, peers))
            }
            (own, peers) => Ok((Some(own?), peers?)),
        }
    }

    /// Pages of as many peers as make a majority with who has voted so far; of each what `counts` makes of it.
    pub(super) async fn pages_of_peers<T: 'static, P>(
        &self,
        voting: &Voting,
        members: &Members,
        mut votes: Votes,
        ask: impl Fn(Incarnation, oneshot::Sender<T>) -> PeerRequest,
        counts: impl Fn(Incarnation, T) -> Option<P>,
        deadline: Instant,
    ) -> Result<Vec<P>, ObjectError> {
        let mut pages: Vec<P> = Vec::new();
        let mut asked: FuturesUnordered<LocalBoxFuture<'static, (Incarnation, Option<T>)>> = FuturesUnordered::new();
        let mut order = self.near(voting, members, members.voters().len()).into_iter();
        let mut ask_next = Instant::now();
        while !members.majority(votes) {
            let now = Instant::now();
            if now >= deadline {
                return Err(no_majority());
            }
            // One that is silent holds nobody up for long: the next one is asked as well.
            if asked.is_empty() || now >= ask_next {
                ask_next = now + ASK_NEXT_AFTER;
                match order.next().map(|node| (node, self.lane(voting, node))) {
                    Some((node, Some(lane))) => {
                        let (reply, answer) = oneshot::channel();
                        lane.do_send(ask(node, reply));
                        asked.push(Box::pin(async move { (node, answer.await.ok()) }));
                    }
                    Some((_, None)) => {
                        ask_next = now;
                        continue;
                    }
                    None if asked.is_empty() => {
                        return Err(no_majority());
                    }
                    None => ask_next = deadline,
                }
            }
            tokio::select! {
                Some((node, page)) = asked.next() => {
                    if let Some(page) = page.and_then(|page| counts(node, page)) {
                        votes = votes.with(members.only(node));
                        pages.push(page);
                    }
                }
                () = sleep_until(ask_next.min(deadline)) => {}
            }
        }
        Ok(pages)
    }
}

/// Takes into a step what is found of each of these keys, so many at once.
async fn take_in(
    merged: &mut Merged,
    at_once: usize,
    keys: impl IntoIterator<Item = RegisterKey>,
    find: impl AsyncFn(RegisterKey) -> Result<Option<(RegisterKey, RegisterSlot)>, ObjectError>,
) -> Result<(), ObjectError> {
    let finding = futures::stream::iter(keys).map(|key| find(key)).buffer_unordered(at_once);
    let mut finding = std::pin::pin!(finding);
    while let Some(found) = finding.next().await {
        merged.found.extend(found?);
    }
    Ok(())
}

/// Where a range begins, and whether with that itself.
pub(super) fn begin(from: Bound<RegisterKey>) -> (RegisterKey, bool) {
    match from {
        Bound::Included(key) => (key, true),
        Bound::Excluded(key) => (key, false),
        Bound::Unbounded => (RegisterKey::first(), true),
    }
}

/// Whether the own index cannot be read: it is damaged, or the disk does not give it.
pub(super) fn is_unreadable(error: &ObjectError) -> bool {
    error.class() == Class::Corrupt || matches!(error, ObjectError::Store(StoreError::Index(_)))
}
