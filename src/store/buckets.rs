//! The buckets that this store holds, in memory: by name, and by the id of each life.
//!
//! Invariants
//! - It says what is durable, and follows the overlay: who finds a bucket here as it was closed finds in the overlay
//!   all that was stored in it before.
//! - A bucket is here for as long as its register holds one, open or closing, known to be chosen or not; of each name
//!   one life.

use super::entry::Held;
use crate::base::{BucketId, BucketName, BucketRecord, ObjectName, RegisterKey};
use crate::register::{Bucket, Known};
use crate::seal::digest::digest_of;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The buckets of one store.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    by_name: BTreeMap<BucketName, Arc<Held>>,
    by_id: HashMap<BucketId, BucketName>,
}

impl Buckets {
    /// What the register of that name holds, if it holds a bucket.
    pub fn get(&self, name: &BucketName) -> Option<&Arc<Held>> {
        self.by_name.get(name)
    }

    /// The life of that id and its name, if it is the one that its register holds.
    pub fn by_id(&self, id: BucketId) -> Option<(&BucketName, &Arc<Held>)> {
        let name = self.by_id.get(&id)?;
        Some((name, self.by_name.get(name)?))
    }

    /// The register of that name holds this now; nothing where it was forgotten.
    pub fn set(&mut self, name: BucketName, held: Option<&Arc<Held>>) {
        if let Some(before) = self.by_name.remove(&name).and_then(|held| held.record.bucket().map(|bucket| bucket.id)) {
            self.by_id.remove(&before);
        }
        if let Some((held, bucket)) = held.and_then(|held| Some((held, held.record.bucket()?))) {
            self.by_id.insert(bucket.id, name.clone());
            self.by_name.insert(name, Arc::clone(held));
        }
    }

    /// No register holds anything any more.
    pub fn clear(&mut self) {
        *self = Buckets::default();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&BucketName, &BucketRecord)> {
        self.by_name.iter().filter_map(|(name, held)| Some((name, held.record.bucket()?)))
    }
}

/// A bucket as the fence looks at it.
pub(super) fn fenced(held: &Held) -> Option<(Bucket, Known)> {
    let BucketRecord { generation, is_open, .. } = *held.record.bucket()?;
    let known = Known { ballot: held.record.ballot, chosen: held.chosen };
    Some((Bucket { generation, is_open }, known))
}

/// The id that follows from a name: of the first bucket, which every node makes by itself, and where nodes decide
/// without each other.
pub fn id_of_name(name: &BucketName) -> BucketId {
    let digest = digest_of(&[b"boveda/bucket-id/v1|", name.as_str().as_bytes()].concat());
    let (first, _) = digest.split_first_chunk::<8>().expect("32 bytes hold 8");
    BucketId(u64::from_le_bytes(*first))
}

/// The register of an object in a bucket whose id follows from its name.
pub fn register_by_name(at: &ObjectName) -> RegisterKey {
    RegisterKey::object(id_of_name(&at.bucket), &at.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Ballot, Lineage, Record, State};

    fn held(state: State) -> Arc<Held> {
        let record = Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: 1, state };
        Arc::new(Held::new(record, true, 1, None))
    }

    fn life(id: u64) -> Arc<Held> {
        held(State::Bucket(BucketRecord::made(BucketId(id), 1)))
    }

    #[test]
    fn of_each_name_one_life_is_found_by_its_id() {
        let (name, other) = (BucketName::cargas(), BucketName::parse("other").expect("a name"));
        let mut buckets = Buckets::default();
        buckets.set(name.clone(), Some(&life(1)));
        buckets.set(other.clone(), Some(&life(2)));
        let named = |buckets: &Buckets, id| buckets.by_id(BucketId(id)).map(|(name, _)| name.clone());
        assert_eq!((named(&buckets, 1), named(&buckets, 2)), (Some(name.clone()), Some(other.clone())));
        buckets.set(name.clone(), Some(&life(3)));
        assert_eq!((named(&buckets, 1), named(&buckets, 3)), (None, Some(name.clone())));
        buckets.set(name.clone(), Some(&held(State::Deleted)));
        buckets.set(other, None);
        assert_eq!((buckets.len(), named(&buckets, 2), named(&buckets, 3)), (0, None, None));
        assert!(buckets.get(&name).is_none());
    }

    #[test]
    fn an_id_that_follows_from_a_name_is_the_same_everywhere() {
        assert_eq!(id_of_name(&BucketName::cargas()).to_string(), "240pq8uktab8q");
    }
}
