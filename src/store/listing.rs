//! Listings: overlay and index merged in key order, page by page.
//!
//! Invariant: a page is sorted by key in byte order, and `next` leads to exactly what follows it.

use super::core::Core;
use super::download::info_of;
use super::entry::Held;
use super::error::StoreError;
use super::types::ListPage;
use crate::base::names::RegisterName;
use crate::base::{BucketName, Record, RegisterKey, State};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Registers looked at in one step: bounds how long a step holds the overlay.
const STEP: usize = 256;

impl Core {
    /// Up to about `limit` registers from `from` to below `to`, in order, tombstones included; an
    /// empty answer means that there are no more.
    pub(super) fn scan(
        &self,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Vec<(RegisterKey, Arc<Held>)>, StoreError> {
        let mut next = Some(from.cloned());
        while let Some(from) = next.take() {
            let (found, end) = self.scan_once(from.as_ref(), to, limit)?;
            if !found.is_empty() {
                return Ok(found);
            }
            // All that was looked at has been forgotten.
            next = end.map(Bound::Excluded);
        }
        Ok(Vec::new())
    }

    /// The same, and where it had to stop, if it did; an empty answer may mean that all of it was forgotten.
    #[allow(clippy::type_complexity)] // what `scan` gives, and an end
    fn scan_once(
        &self,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<(Vec<(RegisterKey, Arc<Held>)>, Option<RegisterKey>), StoreError> {
        if !bounds_hold(from, to) {
            return Ok((Vec::new(), None));
        }
        // `None`: forgotten.
        let mut merged: BTreeMap<RegisterKey, Option<Arc<Held>>> = BTreeMap::new();
        let mut cleared = false;
        // Where a source stopped at the limit: beyond the least of these, its keys may be missing.
        let mut complete_to: Vec<RegisterKey> = Vec::new();
        // The overlay first: what moves from it to the index meanwhile is then seen twice, not never.
        {
            let overlay = self.overlay();
            for layer in overlay.layers() {
                let found = layer.records.range((from, Bound::Excluded(to))).take(limit);
                for (count, (key, held)) in (1..).zip(found) {
                    merged.entry(key.clone()).or_insert_with(|| Some(Arc::clone(held)));
                    if count == limit {
                        complete_to.push(key.clone());
                    }
                }
                let forgotten = layer.forgotten.range::<RegisterKey, _>((from, Bound::Excluded(to))).take(limit);
                for (count, key) in (1..).zip(forgotten) {
                    merged.entry(key.clone()).or_insert(None);
                    if count == limit {
                        complete_to.push(key.clone());
                    }
                }
                cleared = layer.cleared;
                if cleared {
                    break;
                }
            }
        }
        let indexed = if cleared { Vec::new() } else { self.index.range(from, to, limit)? };
        if indexed.len() >= limit {
            complete_to.extend(indexed.last().map(|(key, _)| key.clone()));
        }
        for (key, held) in indexed {
            merged.entry(key).or_insert_with(|| Some(Arc::new(held)));
        }
        let end = complete_to.into_iter().min();
        if let Some(end) = &end {
            merged.retain(|key, _| key <= end);
        }
        Ok((merged.into_iter().filter_map(|(key, held)| Some((key, held?))).collect(), end))
    }

    /// One page of a bucket.
    pub fn list(
        &self,
        bucket: &BucketName,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        if !self.buckets().contains_key(bucket) {
            return Err(StoreError::NoSuchBucket);
        }
        let mut folding = Folding::new(bucket, prefix, delimiter, after, limit);
        while let Some(from) = folding.next() {
            let step = self.scan(from.as_ref(), folding.end(), STEP)?;
            let end = step.last().map(|(key, _)| key.clone());
            folding.take(step.into_iter().map(|(key, held)| (key, Arc::clone(&held.record))), end);
        }
        Ok(folding.page())
    }

    /// All buckets with their creation time, sorted by name.
    pub fn list_buckets(&self) -> Vec<(BucketName, u64)> {
        self.buckets().iter().map(|(name, created)| (name.clone(), *created)).collect()
    }

    /// Reads the buckets from the index; at open.
    pub(super) fn load_buckets(&self) -> Result<(), StoreError> {
        let (first, end) = RegisterKey::buckets();
        let mut from = Bound::Included(first);
        loop {
            let step = self.scan(from.as_ref(), &end, STEP)?;
            let Some((furthest, _)) = step.last() else { return Ok(()) };
            from = Bound::Excluded(furthest.clone());
            let mut buckets = self.buckets_mut();
            for (key, held) in step {
                if let (Some(RegisterName::Bucket(name)), State::Bucket) = (key.name(), &held.record.state) {
                    buckets.insert(name, held.record.written_ms);
                }
            }
        }
    }
}

/// A page while it is being made of registers in order, wherever they come from.
#[derive(Debug)]
pub struct Folding {
    bucket: BucketName,
    prefix: String,
    delimiter: Option<String>,
    limit: usize,
    end: RegisterKey,
    from: Option<Bound<RegisterKey>>,
    last: Option<String>,
    page: ListPage,
}

impl Folding {
    /// Begins a page: see `ListObjects`.
    pub fn new(bucket: &BucketName, prefix: &str, delimiter: Option<&str>, after: Option<&str>, limit: usize) -> Self {
        let delimiter = delimiter.filter(|d| !d.is_empty());
        let from = match after {
            // Behind a common prefix come the keys that do not share it.
            Some(after) if after >= prefix => match delimiter.filter(|d| folds(after, prefix, d)) {
                Some(_) => Bound::Included(behind(bucket, after)),
                None => Bound::Excluded(RegisterKey::object_prefix(bucket, after)),
            },
            _ => Bound::Included(RegisterKey::object_prefix(bucket, prefix)),
        };
        Folding {
            bucket: bucket.clone(),
            prefix: prefix.to_owned(),
            delimiter: delimiter.map(str::to_owned),
            limit,
            end: RegisterKey::objects_end(bucket),
            from: Some(from),
            last: None,
            page: ListPage::default(),
        }
    }

    /// Where the next step begins; none when the page is done.
    pub fn next(&self) -> Option<Bound<RegisterKey>> {
        self.from.clone()
    }

    /// Where all steps end.
    pub fn end(&self) -> &RegisterKey {
        &self.end
    }

    /// The page.
    pub fn page(self) -> ListPage {
        self.page
    }

    /// Takes a step in: all registers from `next` to `end`, in order; without an `end`, all to the last.
    pub fn take(&mut self, step: impl IntoIterator<Item = (RegisterKey, Arc<Record>)>, end: Option<RegisterKey>) {
        self.from = end.map(Bound::Excluded);
        for (key, record) in step {
            let Some(RegisterName::Object(name)) = key.name() else { continue };
            let key = name.key.as_str();
            let Some(rest) = key.strip_prefix(self.prefix.as_str()) else {
                self.from = None;
                return;
            };
            let Some(info) = info_of(&record) else { continue };
            if self.page.entries.len() + self.page.prefixes.len() >= self.limit {
                self.page.next = self.last.take();
                self.from = None;
                return;
            }
            let fold = self.delimiter.as_ref().and_then(|d| rest.find(d.as_str()).map(|at| at + d.len()));
            if let Some(at) = fold {
                let common = key[..self.prefix.len() + at].to_owned();
                self.from = Some(Bound::Included(behind(&self.bucket, &common)));
                self.last = Some(common.clone());
                self.page.prefixes.push(common);
                return;
            }
            self.last = Some(key.to_owned());
            self.page.entries.push((key.to_owned(), info));
        }
    }
}

/// Whether `after` is itself a common prefix of such a listing.
fn folds(after: &str, prefix: &str, delimiter: &str) -> bool {
    after
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len()))
}

/// The least register behind all keys that begin with `common`: its last byte counted up. UTF-8 never
/// holds 0xff, so there is always one to count up.
fn behind(bucket: &BucketName, common: &str) -> RegisterKey {
    RegisterKey::object_prefix(bucket, common).successor()
}

fn bounds_hold(from: Bound<&RegisterKey>, to: &RegisterKey) -> bool {
    match from {
        Bound::Included(from) | Bound::Excluded(from) => from < to,
        Bound::Unbounded => true,
    }
}
