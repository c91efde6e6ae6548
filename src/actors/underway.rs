//! What is on its way into a bucket with a quota through this node, and whether more may go. Shared by the node's HTTP
//! workers; where there is no quota nothing is kept here.
//!
//! Invariants
//! - A write that would bring the bucket above its quota by what this node holds of it is refused, whatever else is on
//!   its way.
//! - Else it goes at once where the room that is left holds what goes through this node once for every node, as if each
//!   of the others let as much in at the same time; and where nothing else is on its way through this node. Otherwise
//!   it waits. So near its quota a bucket is written through each node one write after the other, and who waits is told
//!   of the quota only when what came before has taken the room.
//! - What was let in counts until the nodes that are up hold it: before that they might let something in in its place.

use crate::base::{BucketId, BucketUsage, Quota};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What is on its way into one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnItsWay {
    /// Writes that are being decided, also those that make nothing more.
    pub writes: u64,
    /// By how much they make it more, those that make it less left out.
    pub adds: BucketUsage,
}

/// Whether a write may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may.
    Goes,
    /// Not before something else has come or gone.
    Waits,
    /// The bucket would hold more than it may.
    Exceeds,
}

/// What a write of so many bytes in place of what is there makes a bucket hold more.
pub fn added(len: u64, was: Option<u64>) -> BucketUsage {
    BucketUsage { objects: u64::from(was.is_none()), bytes: len.saturating_sub(was.unwrap_or(0)) }
}

/// Whether a write may go that puts `len` bytes in place of an object of `was`, into a bucket that `holds` that on this
/// node. `nodes`: how many let writes in.
pub fn answer(
    quota: Quota,
    holds: BucketUsage,
    on_its_way: OnItsWay,
    (len, was): (u64, Option<u64>),
    nodes: u64,
) -> Answer {
    let new = BucketUsage::of_object(len);
    let then = holds.plus(new).minus(was.map_or(BucketUsage::NOTHING, BucketUsage::of_object));
    if !quota.allows(holds, then) {
        return Answer::Exceeds;
    }
    let adds = added(len, was);
    if adds == BucketUsage::NOTHING || on_its_way.writes == 0 {
        return Answer::Goes;
    }
    let all = on_its_way.adds.plus(adds);
    // Of what it makes nothing more, the others may have as much on their way as they like.
    let everywhere = |all: u64, own: u64, held: u64| match own {
        0 => held,
        _ => all.saturating_mul(nodes).saturating_add(held),
    };
    let then = BucketUsage {
        objects: everywhere(all.objects, adds.objects, holds.objects),
        bytes: everywhere(all.bytes, adds.bytes, holds.bytes),
    };
    if quota.allows(holds, then) { Answer::Goes } else { Answer::Waits }
}

#[derive(Debug, Default)]
struct Shared {
    buckets: Mutex<HashMap<BucketId, Ways>>,
    changed: Notify,
}

/// What is kept of a bucket while something is on its way into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ways {
    decided: OnItsWay,
    /// Bodies that were announced and have yet to come whole.
    announced: OnItsWay,
}

/// What is on its way into all buckets with quotas. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Underway(Arc<Shared>);

/// How far a write has come that is counted as on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its body is announced.
    Announced,
    /// It is being decided.
    Decided,
}

/// A write on its way: counted until this is dropped.
#[derive(Debug)]
pub struct Counted {
    of: Underway,
    bucket: BucketId,
    stage: Stage,
    adds: BucketUsage,
}

impl Underway {
    /// What is on its way into a bucket.
    pub fn of(&self, bucket: BucketId, stage: Stage) -> OnItsWay {
        self.lock().get(&bucket).map_or(OnItsWay::default(), |ways| *ways.clone().of(stage))
    }

    /// Counts a write if it may go by what is on its way into its bucket; in one step, so that two do not go for the same
    /// room.
    pub fn try_count(
        &self,
        bucket: BucketId,
        stage: Stage,
        adds: BucketUsage,
        ask: impl FnOnce(OnItsWay) -> Answer,
    ) -> Result<Counted, Answer> {
        let mut buckets = self.lock();
        match ask(buckets.get(&bucket).map_or(OnItsWay::default(), |ways| *ways.clone().of(stage))) {
            Answer::Goes => {}
            otherwise => return Err(otherwise),
        }
        let of = buckets.entry(bucket).or_default().of(stage);
        *of = OnItsWay { writes: of.writes + 1, adds: of.adds.plus(adds) };
        Ok(Counted { of: self.clone(), bucket, stage, adds })
    }

    /// Ends when something has ceased to be on its way since this was called.
    pub fn less(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// A panic while the lock is held leaves no half-made state.
    fn lock(&self) -> MutexGuard<'_, HashMap<BucketId, Ways>> {
        self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ways {
    fn of(&mut self, stage: Stage) -> &mut OnItsWay {
        match stage {
            Stage::Announced => &mut self.announced,
            Stage::Decided => &mut self.decided,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut buckets = self.of.lock();
        if let Some(ways) = buckets.get_mut(&self.bucket) {
            let of = ways.of(self.stage);
            *of = OnItsWay { writes: of.writes.saturating_sub(1), adds: of.adds.minus(self.adds) };
            if *ways == Ways::default() {
                buckets.remove(&self.bucket);
            }
        }
        drop(buckets);
        self.of.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(objects: u64, bytes: u64) -> BucketUsage {
        BucketUsage { objects, bytes }
    }

    #[test]
    fn what_is_on_its_way_counts_once_for_every_node_and_near_the_quota_one_write_follows_the_other() {
        use Answer::{Exceeds, Goes, Waits};
        let quota = Quota { objects: Some(100), bytes: Some(10_000) };
        let way = |writes, objects, bytes| OnItsWay { writes, adds: of(objects, bytes) };
        for (holds, on_its_way, write, expected) in [
            (of(99, 0), way(0, 0, 0), (1, None), Goes),
            (of(100, 0), way(0, 0, 0), (1, None), Exceeds),
            (of(0, 9_990), way(0, 0, 0), (11, None), Exceeds),
            // Alone on its way it takes the last of the room; beside others only what all nodes leave.
            (of(97, 0), way(1, 0, 0), (1, None), Goes),
            (of(98, 0), way(1, 0, 0), (1, None), Waits),
            (of(90, 0), way(2, 2, 0), (1, None), Goes),
            (of(92, 0), way(2, 2, 0), (1, None), Waits),
            (of(99, 0), way(5, 5, 0), (8, Some(7)), Goes),
            (of(0, 9_400), way(1, 1, 100), (100, None), Goes),
            (of(0, 9_401), way(1, 1, 100), (100, None), Waits),
            // What makes nothing more passes, also above the quota.
            (of(200, 20_000), way(9, 9, 900), (5, Some(5)), Goes),
            (of(200, 20_000), way(9, 9, 900), (6, Some(5)), Exceeds),
            (of(100, 9_000), way(0, 0, 0), (700, Some(500)), Goes),
        ] {
            let got = answer(quota, holds, on_its_way, write, 3);
            assert_eq!(got, expected, "{holds:?}, {on_its_way:?}, {write:?}");
        }
        assert_eq!(answer(Quota::NONE, of(9, 9), way(9, u64::MAX, u64::MAX), (9, None), 3), Goes);
    }

    #[test]
    fn who_is_counted_counts_until_he_is_dropped_and_in_his_bucket_alone() {
        let (underway, bucket) = (Underway::default(), BucketId(1));
        let goes = |_| Answer::Goes;
        let first = underway.try_count(bucket, Stage::Decided, of(1, 10), goes).expect("it goes");
        let second = underway.try_count(bucket, Stage::Decided, of(0, 5), goes).expect("it goes");
        let body = underway.try_count(bucket, Stage::Announced, of(1, 99), goes).expect("it goes");
        let refused = underway.try_count(bucket, Stage::Decided, of(1, 1), |on_its_way| {
            assert_eq!(on_its_way, OnItsWay { writes: 2, adds: of(1, 15) });
            Answer::Waits
        });
        assert_eq!(refused.map(drop), Err(Answer::Waits));
        assert_eq!(underway.of(BucketId(2), Stage::Decided), OnItsWay::default());
        drop(first);
        assert_eq!(underway.of(bucket, Stage::Decided), OnItsWay { writes: 1, adds: of(0, 5) });
        assert_eq!(underway.of(bucket, Stage::Announced), OnItsWay { writes: 1, adds: of(1, 99) });
        drop((second, body));
        assert!(underway.lock().is_empty(), "buckets that nobody writes take no memory");
    }
}
