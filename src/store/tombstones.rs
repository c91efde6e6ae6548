//! Tombstones that are old enough to go, and having them go. How that is decided: see `graves`.
//!
//! Invariant: the first bucket keeps its tombstone: a node that decides alone would make the bucket anew. So do access
//! keys: that there was one ends open access for good, and a key that was revoked comes back from no file.

use super::entry::Held;
use super::error::StoreError;
use super::intent::{Answer, Intent};
use super::store::Store;
use super::types::Grave;
use crate::base::{BucketName, Page, RegisterKey, RegisterKind, State};
use crate::register::ListMark;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

impl Store {
    /// Of a page of registers behind `after`, those whose tombstones are known to be chosen and were written longer ago
    /// than `age`.
    pub fn due_tombstones(
        &self,
        after: Option<&RegisterKey>,
        age: Duration,
        limit: usize,
    ) -> Result<Page<Grave>, StoreError> {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let now_ms = (self.core().options.now_ms)();
        let kept = RegisterKey::bucket(&BucketName::cargas());
        let first = RegisterKey::first();
        let page =
            self.core().scan(after.map_or(Bound::Included(&first), Bound::Excluded), &RegisterKey::end(), limit)?;
        let due = |(key, held): &(RegisterKey, Arc<Held>)| {
            let gone = held.chosen && held.record.state == State::Deleted && *key != kept;
            let gone = gone && key.kind() != Some(RegisterKind::AccessKey);
            gone && now_ms.saturating_sub(held.record.written_ms) > age_ms
        };
        Ok(page.map(|one| due(&one).then_some((one.0, one.1.record.ballot))))
    }

    /// Drops these tombstones; the answers come when they are gone, durably. `OtherList` where this node has another
    /// member list than `list` by then.
    pub fn bury(&self, list: ListMark, graves: Vec<Grave>) -> Vec<Answer> {
        // Each part fits a frame of the smallest log.
        let most = self.core().log.payload_max() / 2 / (RegisterKey::BYTES_MAX + 64);
        let mut parts = Vec::new();
        let mut graves = graves.into_iter().peekable();
        while graves.peek().is_some() {
            let part = graves.by_ref().take(most.max(1)).collect();
            parts.push(self.submit(Intent::Bury { list, graves: part }));
        }
        parts
    }
}
