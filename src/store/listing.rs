//! Listings: registers in order, folded into a page of names as a client asked for it.
//!
//! Invariants
//! - A page is sorted by key in byte order, and `next` leads to exactly what follows it.
//! - A page without `next` is the last one. How much it has says nothing.

use super::error::StoreError;
use super::store::Store;
use super::types::{ListPage, ObjectInfo};
use crate::base::{BucketId, BucketName, Complete, Folds, Page, Record, RegisterKey};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

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
        let id = self.core().bucket_id(bucket).ok_or(StoreError::NoSuchBucket)?;
        let mut folding = Folding::new(id, prefix, delimiter, after, limit);
        while let Some(from) = folding.next() {
            let step = self.core().shown(folding.folds(), from.as_ref(), folding.end(), folding.wanted())?;
            folding.take(step.map(|(key, held)| Some((key, Arc::clone(&held.record)))));
            if Instant::now() >= until && folding.stop() {
                break;
            }
        }
        Ok(folding.page())
    }
}

/// A page while it is being made of registers in order, wherever they come from: all of them, or as `Core::shown` has
/// them.
#[derive(Debug)]
pub struct Folding {
    folds: Folds,
    limit: usize,
    end: RegisterKey,
    from: Option<Bound<RegisterKey>>,
    last: Option<String>,
    page: ListPage,
}

impl Folding {
    /// Begins a page: see `ListObjects`.
    pub fn new(bucket: BucketId, prefix: &str, delimiter: Option<&str>, after: Option<&str>, limit: usize) -> Self {
        let folds = Folds::objects(bucket, prefix, delimiter);
        let from = match after {
            // Behind a common prefix come the keys that do not share it.
            Some(after) if after >= prefix => {
                let after = RegisterKey::object_prefix(bucket, after);
                Bound::Excluded(if folds.common(&after) == Some(after.clone()) { after.edge() } else { after })
            }
            _ => Bound::Included(folds.prefix().clone()),
        };
        let (end, page) = (folds.prefix().successor(), ListPage::default());
        Folding { folds, limit, end, from: Some(from), last: None, page }
    }

    /// What the page is of.
    pub fn folds(&self) -> &Folds {
        &self.folds
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

    /// How many names it may take in yet; one more shows whether there are more.
    pub fn wanted(&self) -> usize {
        self.limit.saturating_sub(self.names()).saturating_add(1)
    }

    /// Ends the page where it has come to, for want of time. False where it has to go on for another step: `next`
    /// cannot name this place.
    pub fn stop(&mut self) -> bool {
        let place = match &self.from {
            None => return true,
            // At the very beginning.
            Some(Bound::Included(_) | Bound::Unbounded) => None,
            Some(Bound::Excluded(key)) => match key.edge_of() {
                Some(common) => common.object_text().map(str::to_owned),
                // As `after`, a name that ends like a common prefix would lead behind all that begins with it.
                None if self.folds.common(key).as_ref() == Some(key) => None,
                None => key.object_text().map(str::to_owned),
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
            if folded.as_ref().is_some_and(|edge| key < *edge) || !self.folds.covers(&key) {
                continue;
            }
            let (Some(info), Some(name)) = (ObjectInfo::of(&record), key.object_text()) else { continue };
            if self.names() >= self.limit {
                self.page.next = self.last.take();
                self.from = None;
                return;
            }
            let common = self.folds.common(&key);
            if let Some(common) = common.as_ref().and_then(RegisterKey::object_text) {
                self.last = Some(common.to_owned());
                self.page.prefixes.push(common.to_owned());
            } else {
                self.last = Some(name.to_owned());
                self.page.entries.push((name.to_owned(), info));
            }
            folded = common.map(|common| common.edge());
        }
        // The rest of what the last common prefix stands for need not be looked at.
        if let (Complete::Through(last), Some(edge)) = (&step.complete, folded)
            && *last < edge
        {
            self.from = Some(Bound::Excluded(edge));
        }
    }
}

#[cfg(test)]
mod tests;
