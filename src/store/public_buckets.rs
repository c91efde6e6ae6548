//! The buckets of which something is open to everybody, in memory: those that this store holds, for callers and for
//! comparing.
//!
//! Invariants
//! - The table says what is durable. A bucket is in it for as long as its register holds one with anything open.
//! - The sum is that of those registers alone, each at its ballot: buckets that are made, and stay closed, make no node
//!   look. Who holds a later state of a bucket, in which nothing is open, is different from who holds an earlier one in
//!   which something is, and goes by what is closed.

use super::entry::Held;
use crate::base::{BucketName, BucketRecord, PublicGrants, RegisterKey, Sum};
use crate::register::Holds;
use crate::seal::MarkKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is open to everybody, by bucket. Never changed: a later one takes its place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PublicBuckets(BTreeMap<BucketName, PublicGrants>);

impl PublicBuckets {
    /// Those of these buckets that have anything open.
    pub fn of(buckets: impl IntoIterator<Item = (BucketName, PublicGrants)>) -> Self {
        PublicBuckets(buckets.into_iter().filter(|(_, grants)| !grants.is_empty()).collect())
    }

    /// What of a bucket is open.
    pub fn get(&self, bucket: &BucketName) -> Option<&PublicGrants> {
        self.0.get(bucket)
    }

    /// All of it, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&BucketName, &PublicGrants)> {
        self.0.iter()
    }
}

/// The public buckets of one store.
#[derive(Debug)]
pub(super) struct PublicTable {
    held: BTreeMap<BucketName, Arc<Held>>,
    sum: Sum,
    marks: MarkKey,
    /// The same for callers, since the last change.
    buckets: Option<Arc<PublicBuckets>>,
}

impl PublicTable {
    pub fn new(marks: MarkKey) -> Self {
        PublicTable { held: BTreeMap::new(), sum: Sum::default(), marks, buckets: None }
    }

    /// The register of that name holds this now; nothing where it was forgotten. Whether that changes anything here.
    pub fn set(&mut self, name: &BucketName, held: Option<&Arc<Held>>) -> bool {
        let key = RegisterKey::bucket(name);
        let before = self.held.remove(name);
        if let Some(before) = &before {
            self.sum ^= self.marks.mark(&key, before.record.ballot);
        }
        let held = held.filter(|held| held.record.bucket().is_some_and(is_public));
        if let Some(held) = held {
            self.sum ^= self.marks.mark(&key, held.record.ballot);
            self.held.insert(name.clone(), Arc::clone(held));
        }
        let changes = before.is_some() || held.is_some();
        if changes {
            self.buckets = None;
        }
        changes
    }

    /// No register holds anything any more.
    pub fn clear(&mut self) {
        self.held.clear();
        (self.sum, self.buckets) = (Sum::default(), None);
    }

    /// What the node holds, as it is compared with others.
    pub fn holds(&self) -> Holds {
        Holds { sum: self.sum, settled: self.held.values().all(|held| held.chosen) }
    }

    /// What is open, as it is held against callers.
    pub fn buckets(&mut self) -> Arc<PublicBuckets> {
        let held = &self.held;
        let open = || held.iter().filter_map(|(name, held)| Some((name.clone(), held.record.bucket()?.public.clone())));
        Arc::clone(self.buckets.get_or_insert_with(|| Arc::new(PublicBuckets::of(open()))))
    }
}

fn is_public(bucket: &BucketRecord) -> bool {
    !bucket.public.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Ballot, BucketId, Incarnation, Lineage, Record, Right, Rights, Secret, Stamp, State};
    use crate::seal::Keyring;

    fn held(state: State, stamp: u64, chosen: bool) -> Arc<Held> {
        let ballot = Ballot { stamp: Stamp(stamp), node: Incarnation(1) };
        let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 1, state };
        Arc::new(Held::new(record, chosen, 1, None))
    }

    fn bucket(is_public: bool) -> State {
        let mut bucket = BucketRecord::made(BucketId(7), 1);
        if is_public {
            bucket.public = bucket.public.with("", Rights::of(&[Right::Read])).expect("a grant");
        }
        State::Bucket(bucket)
    }

    #[test]
    fn buckets_with_nothing_open_are_as_if_they_were_not_there() {
        let ring = Keyring::new(vec![(1, Secret::new([7; 32]))]).expect("a ring");
        let mut table = PublicTable::new(ring.origin().mark_key());
        let name = BucketName::cargas();
        let empty = table.holds();
        assert!(!table.set(&name, Some(&held(bucket(false), 1, false))));
        assert_eq!(table.holds(), empty, "also where it is not known to be chosen");
        assert!(table.set(&name, Some(&held(bucket(true), 2, false))));
        assert!(table.holds() != empty && !table.holds().settled);
        assert!(table.buckets().get(&name).is_some());
        let before = table.holds().sum;
        assert!(table.set(&name, Some(&held(bucket(true), 2, true))));
        assert_eq!(table.holds(), Holds { sum: before, settled: true });
        assert!(table.set(&name, Some(&held(bucket(true), 3, true))));
        assert_ne!(table.holds().sum, before, "each change of it is told");
        for gone in [Some(held(bucket(false), 4, true)), Some(held(State::Deleted, 5, true)), None] {
            table.set(&name, Some(&held(bucket(true), 3, true)));
            assert!(table.set(&name, gone.as_ref()));
            assert!(table.holds() == empty && table.buckets().iter().len() == 0);
        }
        table.set(&name, Some(&held(bucket(true), 3, true)));
        table.clear();
        assert!(table.holds() == empty && table.buckets().get(&name).is_none());
    }
}
