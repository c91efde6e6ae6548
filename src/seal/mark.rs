//! Marks of register states, for sums that the nodes of a ring compare.
//!
//! Invariants
//! - All nodes of a ring compute the same marks; nobody without it can, or choose a key that has a given one.
//! - A mark tells nothing of the key that it stands for.

use super::key::KEY_BYTES;
use crate::base::{Ballot, RegisterKey, Secret, Sum};

const PLACE: u8 = 0;
const MARK: u8 = 1;

/// Makes marks. Derived from the ring for this purpose alone.
#[derive(Debug)]
pub struct MarkKey(Secret<[u8; KEY_BYTES]>);

impl MarkKey {
    pub(super) fn new(key: [u8; KEY_BYTES]) -> Self {
        MarkKey(Secret::new(key))
    }

    /// Where a register belongs: a number that is spread evenly over all of its 16 bits.
    pub fn place(&self, key: &RegisterKey) -> u16 {
        let mut hasher = blake3::Hasher::new_keyed(self.0.expose());
        hasher.update(&[PLACE]).update(key.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        u16::from_le_bytes([hash[0], hash[1]])
    }

    /// The mark of a register in the state of that ballot.
    pub fn mark(&self, key: &RegisterKey, ballot: Ballot) -> Sum {
        let mut hasher = blake3::Hasher::new_keyed(self.0.expose());
        hasher.update(&[MARK]).update(&ballot.stamp.0.to_le_bytes()).update(&ballot.node.0.to_le_bytes());
        let hash: [u8; 32] = hasher.update(key.as_bytes()).finalize().into();
        let (half, _) = hash.split_first_chunk::<16>().expect("32 bytes hold 16");
        Sum(u128::from_le_bytes(*half))
    }
}

#[cfg(test)]
mod tests {
    use crate::base::{Ballot, BucketName, Incarnation, RegisterKey, Secret, Stamp};
    use crate::seal::Keyring;
    use std::collections::BTreeSet;

    #[test]
    fn a_ring_gives_one_mark_for_each_state() {
        let ring = |n| Keyring::new(vec![(1, Secret::new([n; 32]))]).unwrap().origin().mark_key();
        let key = |name: &str| RegisterKey::bucket(&BucketName::parse(name).unwrap());
        let ballot = |stamp, node| Ballot { stamp: Stamp(stamp), node: Incarnation(node) };
        let mut marks = BTreeSet::new();
        for n in [1, 2] {
            let marker = ring(n);
            for name in ["aaa", "bbb"] {
                for (stamp, node) in [(1, 1), (1, 2), (2, 1)] {
                    let mark = marker.mark(&key(name), ballot(stamp, node));
                    assert_eq!(mark, ring(n).mark(&key(name), ballot(stamp, node)));
                    assert!(marks.insert(mark));
                }
            }
        }
        let places: BTreeSet<u16> = (0..1000).map(|n| ring(1).place(&key(&format!("b-{n:04}")))).collect();
        assert!(places.len() > 950, "evenly spread: {}", places.len());
        assert_ne!(ring(1).place(&key("aaa")), ring(2).place(&key("aaa")));
    }
}
