//! Listings: registers in order, folded into a page of names as a client asked for it.
//!
//! Invariants
//! - A page is sorted by key in byte order, and `next` leads to exactly what follows it.
//! - A page without `next` is the last one. How much it has says nothing.

use super::core::Core;
use super::error::StoreError;
use super::store::Store;
use super::types::{ListPage, ObjectInfo};
use crate::base::names::RegisterName;
use crate::base::{BucketName, Complete, Page, Record, RegisterKey, State};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

/// Registers looked at in one step: bounds how long a step holds the overlay.
const STEP: usize = 256;

impl Store {
    /// One page of a bucket. It ends early when it is not full by `until`.
    pub fn list(
        &self,
        bucket: &BucketName,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        limit: usize,
        until: Instant,
    ) -> Result<ListPage, StoreError> {
        if !self.core().buckets().contains_key(bucket) {
            return Err(StoreError::NoSuchBucket);
        }
        let mut folding = Folding::new(bucket, prefix, delimiter, after, limit);
        while let Some(from) = folding.next() {
            let step = self.core().scan(from.as_ref(), folding.end(), STEP)?;
            folding.take(step.map(|(key, held)| Some((key, Arc::clone(&held.record)))));
            if Instant::now() >= until && folding.stop() {
                break;
            }
        }
        Ok(folding.page())
    }

    /// All buckets with their creation time, sorted by name.
    pub fn list_buckets(&self) -> Vec<(BucketName, u64)> {
        self.core().buckets().iter().map(|(name, created)| (name.clone(), *created)).collect()
    }
}

/// Reads the buckets from the index; at open.
pub(super) fn load_buckets(core: &Core) -> Result<(), StoreError> {
    let (first, end) = RegisterKey::buckets();
    let mut next = Some(Bound::Included(first));
    while let Some(from) = next {
        let page = core.scan(from.as_ref(), &end, STEP)?;
        next = page.complete.next();
        let mut buckets = core.buckets_mut();
        for (key, held) in page.entries {
            if let (Some(RegisterName::Bucket(name)), State::Bucket) = (key.name(), &held.record.state) {
                buckets.insert(name, held.record.written_ms);
            }
        }
    }
    Ok(())
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
            end: behind(bucket, prefix),
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

    /// The page, as far as it has come.
    pub fn page(self) -> ListPage {
        self.page
    }

    /// How many names the page has so far.
    pub fn names(&self) -> usize {
        self.page.entries.len() + self.page.prefixes.len()
    }

    /// Ends the page where it has come to, for want of time. False where it has to go on for another step: `next`
    /// cannot name this place.
    pub fn stop(&mut self) -> bool {
        let place = match &self.from {
            None => return true,
            // Behind a common prefix; or at the very beginning.
            Some(Bound::Included(_) | Bound::Unbounded) => self.last.take(),
            // As `after`, a name that ends like a common prefix would lead behind all that begins with it.
            Some(Bound::Excluded(key)) => match key.name() {
                Some(RegisterName::Object(name)) => Some(name.key.as_str().to_owned())
                    .filter(|at| !self.delimiter.as_deref().is_some_and(|d| folds(at, &self.prefix, d))),
                _ => None,
            },
        };
        let Some(place) = place else { return false };
        (self.page.next, self.from) = (Some(place), None);
        true
    }

    /// Takes a step in: a page of registers from `next` on.
    pub fn take(&mut self, step: Page<(RegisterKey, Arc<Record>)>) {
        self.from = step.complete.next();
        // What a common prefix stands for already.
        let mut folded: Option<RegisterKey> = None;
        for (key, record) in step.entries {
            if folded.as_ref().is_some_and(|behind| key < *behind) {
                continue;
            }
            let Some(RegisterName::Object(name)) = key.name() else { continue };
            let key = name.key.as_str();
            let Some(rest) = key.strip_prefix(self.prefix.as_str()) else { continue };
            let Some(info) = ObjectInfo::of(&record) else { continue };
            if self.names() >= self.limit {
                self.page.next = self.last.take();
                self.from = None;
                return;
            }
            let fold = self.delimiter.as_ref().and_then(|d| rest.find(d.as_str()).map(|at| at + d.len()));
            if let Some(at) = fold {
                let common = key[..self.prefix.len() + at].to_owned();
                folded = Some(behind(&self.bucket, &common));
                self.last = Some(common.clone());
                self.page.prefixes.push(common);
                continue;
            }
            self.last = Some(key.to_owned());
            self.page.entries.push((key.to_owned(), info));
        }
        // The rest of what the last common prefix stands for need not be looked at.
        if let (Complete::Through(last), Some(behind)) = (&step.complete, folded)
            && *last < behind
        {
            self.from = Some(Bound::Included(behind));
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

#[cfg(test)]
mod tests;
