//! What a majority holds of a range of registers: for listings, and for storing all of them again.
//!
//! Invariants
//! - A page counts as the vote of the incarnation that made it, and of no other.
//! - What the pages leave unsure is read from a majority.
//! - A node whose index cannot be read lists what its peers hold; the store has told so. Any other failure of it is
//!   one.
//! - A node without a place knows nothing that the pages do not say: it may hold what was deleted and forgotten.

use super::Coordinator;
use crate::actors::coordinator::pages::{self, Merged};
use crate::actors::messages::*;
use crate::actors::peer::peer_request::PeerRequest;
use crate::base::{Class, Incarnation, Page, RegisterKey};
use crate::register::{Members, Slot, Votes};
use crate::seal::random;
use crate::store::voting::Voting;
use crate::wire::{Scan, Scanned};
use actix_rt::time::{Instant, sleep_until};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::ops::Bound;
use std::time::Duration;
use tokio::sync::oneshot;

/// Registers of a step that are read from a majority at once: few, as a rule, and all where the own index is damaged.
/// Those of one moment travel in one frame.
const READ_AT_ONCE: usize = 64;
/// How long one peer is waited for before another one is asked for the same page.
const ASK_NEXT_AFTER: Duration = Duration::from_millis(200);

impl Coordinator {
    /// A step of a listing: what a majority holds of a range, and what that is complete to. Tried on until the
    /// deadline: nodes that come back, or come to a later member list, answer then.
    pub(in crate::actors) async fn merged(
        &self,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Merged, ObjectError> {
        self.reachable().await?;
        let mut tries = 0;
        loop {
            let done = self.merge(from.clone(), to, limit, deadline).await;
            tries += 1;
            let next = Instant::now() + self.0.patience.backoff.delay(tries, u64::from_le_bytes(random()));
            match done {
                Err(ObjectError::NoMajority(_)) if next < deadline && !self.is_cut_off() => sleep_until(next).await,
                done => return done,
            }
        }
    }

    async fn merge(
        &self,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Merged, ObjectError> {
        let (voting, members) = self.all_members()?;
        let own = self.ask(ScanSlots { from: from.clone(), to: to.clone(), limit }).await;
        // The peers are asked as if this node held nothing.
        let damaged = own.as_ref().is_err_and(is_unreadable);
        let mut own = if damaged { Page::whole(Vec::new()) } else { own? };
        let votes = if damaged { Votes::default() } else { members.only(self.0.me) };
        let (start, inclusive) = match from {
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
            Bound::Unbounded => (RegisterKey::first(), true),
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let scan = Scan { mark: voting.list, from: start, inclusive, to: to.clone(), limit };
        let pages = self.pages_of_peers(&voting, &members, votes, &scan, deadline).await?;
        // Without a place this node may hold what the others have dropped.
        if members.only(self.0.me).count() == 0 {
            pages::confirmed(&mut own, &pages);
        }
        let mut merged = pages::merge(own, &pages);
        let reads = futures::stream::iter(std::mem::take(&mut merged.unsure)).map(|key| async move {
            let read = self.read_by(&key, damaged, deadline).await;
            read.map(|(ballot, state)| (key, Slot { accepted: ballot, chosen: true, state }))
        });
        let mut reads = std::pin::pin!(reads.buffer_unordered(READ_AT_ONCE));
        while let Some(read) = reads.next().await {
            let (key, slot) = read?;
            merged.found.insert(key, slot);
        }
        Ok(merged)
    }

    /// Pages of as many peers as make a majority with who has voted so far.
    async fn pages_of_peers(
        &self,
        voting: &Voting,
        members: &Members,
        mut votes: Votes,
        scan: &Scan,
        deadline: Instant,
    ) -> Result<Vec<Page<Scanned>>, ObjectError> {
        let mut pages: Vec<Page<Scanned>> = Vec::new();
        let mut asked: FuturesUnordered<LocalBoxFuture<'static, (Incarnation, Option<Page<Scanned>>)>> =
            FuturesUnordered::new();
        let mut order = self.near(voting, members, members.voters().len()).into_iter();
        let mut ask_next = Instant::now();
        while !members.majority(votes) {
            let now = Instant::now();
            if now >= deadline {
                return Err(ObjectError::NoMajority("a majority of the nodes did not answer in time"));
            }
            // One that is silent holds nobody up for long: the next one is asked as well.
            if asked.is_empty() || now >= ask_next {
                ask_next = now + ASK_NEXT_AFTER;
                match order.next().map(|node| (node, self.lane(voting, node))) {
                    Some((node, Some(lane))) => {
                        let (reply, answer) = oneshot::channel();
                        lane.do_send(PeerRequest::Scan(node, scan.clone(), reply));
                        asked.push(Box::pin(async move { (node, answer.await.ok()) }));
                    }
                    Some((_, None)) => {
                        ask_next = now;
                        continue;
                    }
                    None if asked.is_empty() => {
                        return Err(ObjectError::NoMajority("a majority of the nodes did not answer in time"));
                    }
                    None => ask_next = deadline,
                }
            }
            tokio::select! {
                Some((node, page)) = asked.next() => {
                    if let Some(page) = page {
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

/// Whether the own index cannot be read: it is damaged, or the disk does not give it.
fn is_unreadable(error: &ObjectError) -> bool {
    error.class() == Class::Corrupt || matches!(error, ObjectError::Store(StoreError::Index(_)))
}
