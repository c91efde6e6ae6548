//! Names: the registers of uploads in order, folded into a page as a client asked for it.
//!
//! Invariants
//! - A page is sorted by key and id, and `next` leads to exactly what follows it. One without `next` is the last.
//! - The parts of an upload, and what a common prefix stands for already, are passed over.

use crate::actors::messages::{ListUploads, UploadInfo, UploadPage};
use crate::base::names::RegisterName;
use crate::base::{BucketId, Complete, ObjectKey, Page, RegisterKey, UploadId};
use std::ops::Bound;

/// Where a page has come to: a key, and an upload of it; or a common prefix.
type Place = (String, Option<UploadId>);

/// A page while it is being made.
#[derive(Debug)]
pub(super) struct Naming {
    bucket: BucketId,
    text: String,
    prefix: RegisterKey,
    delimiter: Option<String>,
    limit: usize,
    end: RegisterKey,
    from: Option<Bound<RegisterKey>>,
    /// The last that is on the page.
    last: Option<Place>,
    /// The last that was looked at.
    seen: Option<Place>,
    page: UploadPage,
}

impl Naming {
    /// Begins a page of a life of the bucket.
    pub fn new(bucket: BucketId, asked: &ListUploads) -> Self {
        let prefix = RegisterKey::uploads_of(bucket, &asked.prefix);
        let mut naming = Naming {
            bucket,
            text: asked.prefix.clone(),
            end: prefix.successor(),
            prefix,
            delimiter: asked.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
            limit: asked.limit,
            from: None,
            last: None,
            seen: None,
            page: UploadPage::default(),
        };
        let behind = asked.after.as_ref().map(|(text, upload)| naming.behind(text, *upload));
        naming.from = Some(Bound::Included(behind.into_iter().fold(naming.prefix.clone(), Ord::max)));
        naming
    }

    /// The bound behind a key, an upload of it, or a common prefix.
    fn behind(&self, text: &str, upload: Option<UploadId>) -> RegisterKey {
        // What lies behind a text that is longer than a key lies behind its beginning.
        let text = &text[..text.floor_char_boundary(ObjectKey::BYTES_MAX)];
        if self.common(text).is_some_and(|common| common == text) {
            return RegisterKey::uploads_of(self.bucket, text).edge();
        }
        match (upload, ObjectKey::parse(text)) {
            (Some(upload), Ok(key)) => RegisterKey::upload(self.bucket, &key, upload).parts_end(),
            _ => RegisterKey::uploads_behind(self.bucket, text),
        }
    }

    /// The common prefix that a key is shown as; none where it is shown itself.
    fn common<'a>(&self, key: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_deref()?;
        let at = key.strip_prefix(self.text.as_str())?.find(delimiter)?;
        key.get(..self.text.len() + at + delimiter.len())
    }

    /// What all registers of the page begin with.
    pub fn prefix(&self) -> &RegisterKey {
        &self.prefix
    }

    /// Where all steps end.
    pub fn end(&self) -> &RegisterKey {
        &self.end
    }

    /// Where the next step begins; none when the page is done.
    pub fn next(&self) -> Option<Bound<RegisterKey>> {
        self.from.clone()
    }

    /// The page, as far as it has come.
    pub fn page(self) -> UploadPage {
        self.page
    }

    /// Ends the page where it has come to, for want of time. False where that place has no name yet.
    pub fn stop(&mut self) -> bool {
        if self.from.is_some() {
            let Some(seen) = self.seen.take() else { return false };
            (self.page.next, self.from) = (Some(seen), None);
        }
        true
    }

    /// Takes a step in: registers from `next` on, each with the upload that it describes, where that is open.
    pub fn take(&mut self, step: Page<(RegisterKey, Option<UploadInfo>)>) {
        self.from = step.complete.next();
        let mut folded: Option<RegisterKey> = None;
        for (register, upload) in step.entries {
            if folded.as_ref().is_some_and(|edge| register < *edge) {
                continue;
            }
            let Some(upload) = upload else {
                self.saw(&register);
                continue;
            };
            if self.page.uploads.len() + self.page.prefixes.len() >= self.limit {
                (self.page.next, self.from) = (self.last.take(), None);
                return;
            }
            let place = match self.common(upload.key.as_str()).map(str::to_owned) {
                Some(common) => {
                    folded = Some(RegisterKey::uploads_of(self.bucket, &common).edge());
                    self.page.prefixes.push(common.clone());
                    (common, None)
                }
                None => {
                    let place = (upload.key.as_str().to_owned(), Some(upload.id));
                    self.page.uploads.push(upload);
                    place
                }
            };
            (self.last, self.seen) = (Some(place.clone()), Some(place));
        }
        let Complete::Through(last) = step.complete else { return };
        let parts = match last.name() {
            Some(RegisterName::Upload(..)) => Some(last.parts_end()),
            Some(RegisterName::Part(bucket, key, upload, _)) => {
                Some(RegisterKey::upload(bucket, &key, upload).parts_end())
            }
            _ => None,
        };
        // The rest need not be looked at of what is passed over.
        if let Some(behind) = parts.into_iter().chain(folded.filter(|edge| last < *edge)).max() {
            self.from = Some(Bound::Included(behind));
        }
    }

    /// A register was looked at that is not shown.
    fn saw(&mut self, register: &RegisterKey) {
        if let Some(RegisterName::Upload(_, key, upload)) = register.name() {
            self.seen = Some((key.as_str().to_owned(), Some(upload)));
        }
    }
}

#[cfg(test)]
mod tests;
