//! The change feed as peers see it: what changed here, what is wanted of theirs, how far they are.
//!
//! Invariants
//! - The feed of a key is its latest commit: it never grows past the number of keys.
//! - A record is learned only when its body is here, durable and checked, or comes with it.

use super::entry::Held;
use super::error::StoreError;
use super::intent::{Answer, Intent};
use super::store::Store;
use super::tree::Tree;
use super::types::{Change, Offer, Want};
use crate::base::{Ballot, Epoch, Incarnation, Page, Record, RegisterKey};
use crate::seal::digest::digest_of;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

impl Store {
    /// Feed entries behind `after`, in order, at most `limit`; empty only at the end of the feed.
    pub fn changes_after(&self, mut after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        loop {
            let numbers = self.numbers_after(after, limit)?;
            let Some((last, _)) = numbers.last() else { return Ok(Vec::new()) };
            after = *last;
            let found = self.changes_of(numbers)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    fn numbers_after(&self, after: u64, limit: usize) -> Result<Vec<(u64, RegisterKey)>, StoreError> {
        let mut merged: BTreeMap<u64, RegisterKey> = BTreeMap::new();
        {
            let overlay = self.core().overlay();
            for layer in overlay.layers() {
                let newer = layer.by_seq.range((Bound::Excluded(after), Bound::Unbounded));
                merged.extend(newer.take(limit).map(|(seq, key)| (*seq, key.clone())));
            }
        }
        // Numbers in the index are lower than those of the overlay, so that the lowest `limit` of
        // all sources are the lowest of all.
        merged.extend(self.core().index.changes(after, limit)?);
        Ok(merged.into_iter().take(limit).collect())
    }

    fn changes_of(&self, numbers: Vec<(u64, RegisterKey)>) -> Result<Vec<Change>, StoreError> {
        let mut found = Vec::with_capacity(numbers.len());
        for (seq, key) in numbers {
            let Some(held) = self.core().lookup(&key)? else { continue };
            if held.seq != seq {
                continue; // changed again meanwhile: it comes under its new number
            }
            // Becoming chosen gives it another number; what was forgotten here is nothing to tell.
            if !held.chosen || held.record.ballot == Ballot::ZERO {
                continue;
            }
            found.push(Change::of(key, &held));
        }
        Ok(found)
    }

    /// The present records of some registers, their small bodies at hand, until `bytes_max` is reached. One whose small
    /// body cannot be had here comes without.
    pub fn fetch_records(
        &self,
        keys: Vec<RegisterKey>,
        bytes_max: usize,
    ) -> Result<Vec<(RegisterKey, Arc<Record>)>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut bytes = 0u64;
        for key in keys {
            let Some(held) = self.core().lookup(&key)? else { continue };
            let record = self.core().with_small_body(&held.record)?;
            let record_len = 1024 + record.variable_len() + record.in_hand_len();
            bytes += (record_len + key.as_bytes().len()) as u64;
            if !found.is_empty() && bytes > bytes_max as u64 {
                break;
            }
            found.push((key, record));
        }
        Ok(found)
    }

    /// What this node wants of a peer's offers.
    pub fn compare_offers(&self, offers: &[Offer]) -> Result<Vec<Want>, StoreError> {
        let want = |offer: &Offer| {
            let here = self.core().lookup(&offer.key)?;
            if here.as_ref().is_some_and(|held| held.record.ballot > offer.ballot) {
                return Ok(Want::Nothing);
            }
            let same = here.filter(|held| held.record.ballot == offer.ballot);
            let lacks_blob = match (offer.blob, &same) {
                (None, _) => false,
                // Its bodies are known by it; what stands for several of them is none.
                (Some(_), Some(same)) => self.core().lacks_bodies(&same.record)?,
                (Some(body), None) => self.core().lacks_body(body)?,
            };
            if same.is_some_and(|held| held.chosen) && !lacks_blob {
                return Ok(Want::Nothing);
            }
            match offer.blob {
                Some(_) if lacks_blob => Ok(Want::BlobAndRecord),
                _ => Ok(Want::Record),
            }
        };
        offers.iter().map(want).collect()
    }

    /// How far a peer has acknowledged this node's feed.
    pub fn cursor(&self, peer: Incarnation) -> Result<u64, StoreError> {
        let recent = self.core().overlay().cursor(peer);
        recent.map_or_else(|| self.core().index.cursor(peer), Ok)
    }

    /// Of a page of registers behind `after`, those that belong to `leaves`, as entries of the feed.
    pub fn changes_in(
        &self,
        leaves: &[u16],
        after: Option<&RegisterKey>,
        limit: usize,
    ) -> Result<Page<Change>, StoreError> {
        let first = RegisterKey::first();
        let from = after.map_or(Bound::Included(&first), Bound::Excluded);
        let page = self.core().scan(from, &RegisterKey::end(), limit)?;
        let tree = self.core().tree();
        let wanted = |key: &RegisterKey, held: &Held| held.chosen && leaves.contains(&tree.leaf(key));
        Ok(page.map(|(key, held)| wanted(&key, &held).then(|| Change::of(key, &held))))
    }

    /// The tree of sums that two nodes compare. No commit becomes visible while it is held.
    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        self.core().tree()
    }

    /// Keeps a peer's cursor, unless the peer, whose list was of that epoch, has yet to enter the one of its place: it
    /// drops there what it has acknowledged.
    pub fn save_cursor(&self, peer: Incarnation, seq: u64, heard_in: Epoch) -> Answer {
        self.submit(Intent::Cursor { peer, seq, heard_in })
    }

    /// Takes over a peer's records; the answer comes when they are durable. `epoch` is the peer's, taken before it
    /// read them.
    pub fn learn(
        &self,
        records: Vec<(RegisterKey, Record)>,
        from: Incarnation,
        epoch: Epoch,
    ) -> Result<Answer, StoreError> {
        for (_, record) in &records {
            let Some(object) = record.object() else { continue };
            self.core().check_room(record.in_hand_len() as u64)?;
            match object.in_hand() {
                Some(sealed) if digest_of(sealed) != object.digest => {
                    return Err(StoreError::Mismatch("a small body does not have its record's digest"));
                }
                None if self.core().lacks_bodies(record)? => {
                    return Err(StoreError::Mismatch("a record came before its body"));
                }
                Some(_) | None => {}
            }
        }
        Ok(self.submit(Intent::Learn { records, from, epoch }))
    }
}
