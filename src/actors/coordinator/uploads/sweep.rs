//! The sweep: uploads that nobody ends are aborted, and what is left of those that have ended is dropped.
//!
//! Invariants
//! - Nothing is dropped of an upload that is open, as a majority says of its key. One that was never opened, or whose bucket
//!   is gone, has ended.
//! - What was written a short while ago is left alone: an upload is described before it is opened, and whoever ended one
//!   clears up by himself.
//! - Of the parts of an upload that goes on none is looked at.
//!
//! Times are by the clocks of those who wrote, and of who asks: an hour is not the matter of a second.

use super::super::homes::Home;
use super::{Coordinator, Value};
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{BucketId, Complete, Mark, ObjectKey, ObjectName, RegisterKey, RegisterKind, UploadId, Uploads};
use crate::store::mutation::Mutation;
use actix_rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// Registers of a step.
const STEP: usize = 256;
/// How long one upload is cleared up at most.
const TIME: Duration = Duration::from_secs(60);

/// When an upload is ended, and when what is left of one is dropped.
#[derive(Clone, Copy, Debug)]
pub(in crate::actors) struct Ages {
    /// What time it is, in milliseconds since 1970.
    pub now_ms: u64,
    /// How old what is left of an upload is at least.
    pub left: Duration,
    /// How old an upload is that is aborted.
    pub stale: Duration,
}

impl Ages {
    fn is(&self, written_ms: u64, age: Duration) -> bool {
        u128::from(self.now_ms.saturating_sub(written_ms)) >= age.as_millis()
    }
}

/// What a step has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::actors) struct Swept {
    /// Where the next one begins; none at the end.
    pub next: Option<RegisterKey>,
    /// Uploads that were aborted.
    pub aborted: usize,
    /// Uploads of which nothing is left now, and registers of buckets that are gone.
    pub dropped: usize,
}

/// One upload, as registers of a step show it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// When it was begun, if the step shows what describes it.
    begun_ms: Option<u64>,
    /// When the last of its registers was written.
    last_ms: u64,
}

/// What is to be done about an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing yet.
    Nothing,
    /// It is aborted, and dropped.
    Abort,
    /// It is dropped.
    Drop,
}

impl Seen {
    fn due(&self, is_open: bool, ages: &Ages) -> Due {
        match is_open {
            true if self.begun_ms.is_some_and(|begun| ages.is(begun, ages.stale)) => Due::Abort,
            false if ages.is(self.last_ms, ages.left) => Due::Drop,
            true | false => Due::Nothing,
        }
    }
}

type Found = BTreeMap<(BucketId, ObjectKey, UploadId), Seen>;

impl Coordinator {
    /// A step of the sweep, from that register on.
    pub(in crate::actors) async fn sweep_uploads(
        &self,
        from: Option<RegisterKey>,
        ages: Ages,
    ) -> Result<Swept, ObjectError> {
        let seen_at = Instant::now();
        let (first, end) = RegisterKey::all_of(RegisterKind::Upload);
        let begin = Bound::Included(from.unwrap_or_else(|| first.clone()));
        let page = self.step(&first, begin, &end, STEP, self.deadline()).await?;
        let mut found = Found::new();
        for (key, record) in &page.entries {
            let (upload, begun_ms) = match key.name() {
                Some(RegisterName::Upload(bucket, key, upload)) => ((bucket, key, upload), Some(record.written_ms)),
                Some(RegisterName::Part(bucket, key, upload, _)) => ((bucket, key, upload), None),
                _ => continue,
            };
            let seen = found.entry(upload).or_insert(Seen { begun_ms: None, last_ms: 0 });
            seen.begun_ms = seen.begun_ms.or(begun_ms);
            seen.last_ms = seen.last_ms.max(record.written_ms);
        }
        let mut swept = Swept { next: behind(&page.complete), ..Swept::default() };
        let buckets: BTreeSet<BucketId> = found.keys().map(|(bucket, ..)| *bucket).collect();
        for bucket in buckets {
            let uploads = found.extract_if(.., |(of, ..), _| *of == bucket).collect();
            match self.living(bucket, seen_at).await? {
                Some(home) => self.sweep_bucket(&home, uploads, &ages, &mut swept).await?,
                None => self.sweep_gone(bucket, &page.entries, &ages, &mut swept).await?,
            }
        }
        Ok(swept)
    }

    /// The bucket of this life; none where it is gone.
    async fn living(&self, id: BucketId, seen: Instant) -> Result<Option<Home>, ObjectError> {
        if !self.is_by_itself() {
            return self.home_of(id, seen, self.deadline()).await;
        }
        match self.0.store.name_of_bucket.send(NameOfBucket { id }).await.ok().flatten() {
            Some(name) => Ok(Some(self.home(&name, self.deadline()).await?).filter(|home| home.id == id)),
            None => Ok(None),
        }
    }

    async fn sweep_bucket(
        &self,
        home: &Home,
        uploads: Found,
        ages: &Ages,
        swept: &mut Swept,
    ) -> Result<(), ObjectError> {
        let keys = uploads.keys().map(|(_, key, _)| key.clone()).collect();
        let open = self.open_for(home.id, keys, self.deadline()).await?;
        for ((_, key, upload), seen) in uploads {
            let is_open = open.get(&key).is_some_and(|open: &Uploads| open.has(upload));
            let at = ObjectName { bucket: home.name.clone(), key };
            match seen.due(is_open, ages) {
                Due::Nothing => continue,
                Due::Abort => {
                    match self.change(Mutation::abort_upload(&at, upload, ages.now_ms), None, None).await {
                        Ok(_) => {
                            Mark::UploadExpired.hit();
                            swept.aborted += 1;
                        }
                        // Somebody else ended it at this moment.
                        Err(ObjectError::Store(StoreError::NoSuchUpload)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Due::Drop => {}
            }
            swept.dropped += usize::from(self.drop_upload(home, &at, upload, Instant::now() + TIME).await?);
        }
        Ok(())
    }

    /// Drops what lies under a life of a bucket that is gone: what is old of what the step shows, and what the registers of
    /// its keys say of uploads.
    async fn sweep_gone(
        &self,
        id: BucketId,
        entries: &[(RegisterKey, Value)],
        ages: &Ages,
        swept: &mut Swept,
    ) -> Result<(), ObjectError> {
        // A node that decides by itself may have heard of these before it hears of their bucket.
        let is_old = |(key, record): &&(RegisterKey, Value)| {
            key.bucket_id() == Some(id) && ages.is(record.written_ms, ages.left)
        };
        let left: Vec<RegisterKey> = entries.iter().filter(is_old).map(|(key, _)| key.clone()).collect();
        let keys: BTreeSet<_> = left.iter().filter_map(object_of).collect();
        for key in keys.into_iter().chain(left) {
            match self.alone(Mutation::clear(key.clone(), ages.now_ms)).await? {
                Decided::Alone(_) => {}
                Decided::ForVote(_) | Decided::Closing(_) => self.clear(&key).await?,
            }
            swept.dropped += 1;
        }
        Ok(())
    }
}

/// The register of the key that an upload is for, by a register of that.
fn object_of(register: &RegisterKey) -> Option<RegisterKey> {
    match register.name()? {
        RegisterName::Upload(bucket, key, _) | RegisterName::Part(bucket, key, ..) => {
            Some(RegisterKey::object(bucket, &key))
        }
        _ => None,
    }
}

/// Where the step behind one begins: the parts of an upload that it ends with need not be looked at, whether that is open
/// or all of it was dropped.
fn behind(complete: &Complete) -> Option<RegisterKey> {
    let Complete::Through(last) = complete else { return None };
    Some(match last.name() {
        Some(RegisterName::Upload(..)) => last.parts_end(),
        Some(RegisterName::Part(bucket, key, upload, _)) => RegisterKey::upload(bucket, &key, upload).parts_end(),
        _ => last.behind(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_old_goes_and_what_is_open_is_aborted_first() {
        let (left, stale) = (Duration::from_secs(10), Duration::from_secs(100));
        let ages = Ages { now_ms: 1_000_000, left, stale };
        let ago = |seconds: u64| 1_000_000 - seconds * 1_000;
        for (begun, last, is_open, due) in [
            (Some(9), 9, false, Due::Nothing),
            (Some(10), 10, false, Due::Drop),
            (Some(500), 9, false, Due::Nothing),
            (None, 10, false, Due::Drop),
            (Some(99), 99, true, Due::Nothing),
            (Some(100), 1, true, Due::Abort),
            (None, 500, true, Due::Nothing),
        ] {
            let seen = Seen { begun_ms: begun.map(ago), last_ms: ago(last) };
            assert_eq!(seen.due(is_open, &ages), due, "{begun:?} {last} {is_open}");
        }
        let ahead = Seen { begun_ms: Some(2_000_000), last_ms: 2_000_000 };
        assert_eq!(ahead.due(false, &ages), Due::Nothing, "a clock that is ahead is no age");
    }
}
