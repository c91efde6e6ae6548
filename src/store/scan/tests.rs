//! Scans over random overlays and indexes, against a map.

use super::*;
use crate::base::{Ballot, BucketName, Incarnation, Lineage, ObjectKey, ObjectName, Record, Secret, Stamp, State};
use crate::disk::CrashDisk;
use crate::seal::Keyring;
use crate::store::entry::Op;
use crate::store::index::Marks;
use crate::store::{Options, Store};
use std::path::Path;

type Oracle = BTreeMap<RegisterKey, u64>;

/// A generator with a seed, as everywhere in tests.
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn key(n: u64) -> RegisterKey {
    let key = ObjectKey::parse(&format!("k{n:04}")).unwrap();
    RegisterKey::object(&ObjectName { bucket: BucketName::cargas(), key })
}

fn range() -> (RegisterKey, RegisterKey) {
    let bucket = BucketName::cargas();
    (RegisterKey::object_prefix(&bucket, ""), RegisterKey::objects_end(&bucket))
}

fn store(seed: u64) -> Store {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).unwrap());
    let options = Options { first_bucket: false, reserve_bytes: 0, log_bytes: 256 * 1024, ..Options::default() };
    crate::store::open(Arc::new(CrashDisk::new(seed)), Path::new("/data"), ring, None, options).unwrap().0
}

/// A store whose overlay and index are brought about by hand.
struct World {
    core: Store,
    holds: Oracle,
    seq: u64,
}

impl World {
    fn held(&mut self, key: RegisterKey, state: State) {
        self.seq += 1;
        let ballot = Ballot { stamp: Stamp(self.seq), node: Incarnation(1) };
        let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 0, state };
        let held = Arc::new(Held::new(record, true, self.seq, None));
        self.holds.insert(key.clone(), self.seq);
        self.core.core().overlay_mut().active.apply(Op::Record { key, held });
    }

    fn forget(&mut self, key: RegisterKey) {
        self.holds.remove(&key);
        let ballot = Ballot { stamp: Stamp(self.seq), node: Incarnation(1) };
        self.core.core().overlay_mut().active.apply(Op::Forget { key, ballot });
    }

    /// What a checkpoint does, in its three parts.
    fn freeze(&mut self) {
        let mut overlay = self.core.core().overlay_mut();
        if overlay.frozen.is_none() {
            overlay.frozen = Some(Arc::new(std::mem::take(&mut overlay.active)));
        }
    }

    fn index(&mut self) {
        let frozen = self.core.core().overlay().frozen.clone();
        if let Some(layer) = frozen {
            self.core.core().index.apply(&layer, Marks::default()).unwrap();
        }
    }

    fn retire(&mut self) {
        self.index();
        self.core.core().overlay_mut().frozen = None;
    }

    fn step(&mut self, dice: &mut Dice) {
        let at = dice.below(300);
        match dice.below(100) {
            0..45 => self.held(key(at), State::Bucket),
            45..60 => self.held(key(at), State::Deleted),
            60..75 => self.forget(key(at)),
            // Many neighbours, as a round of burials does.
            75..85 => (at..at + dice.below(60)).for_each(|n| self.forget(key(n))),
            85..90 => self.freeze(),
            90..93 => self.index(),
            93..97 => self.retire(),
            97 => {
                self.holds.clear();
                self.core.core().overlay_mut().active.apply(Op::Clear { epoch: crate::base::Epoch(2) });
            }
            _ => (at..at + dice.below(60)).for_each(|n| self.held(key(n), State::Bucket)),
        }
    }

    fn expected(&self, from: &Bound<RegisterKey>, to: &RegisterKey) -> Vec<(RegisterKey, u64)> {
        if !bounds_hold(from.as_ref(), to) {
            return Vec::new();
        }
        let range = self.holds.range((from.clone(), Bound::Excluded(to.clone())));
        range.map(|(key, seq)| (key.clone(), *seq)).collect()
    }

    /// Walks on in pages of at most `limit`, each checked for itself. How many pages, and how many were short of their
    /// limit and not the last.
    fn walk(&self, from: Bound<RegisterKey>, to: &RegisterKey, limit: usize) -> (usize, usize) {
        let (mut all, mut pages, mut short) = (Vec::new(), 0, 0);
        let (whole, mut next) = (self.expected(&from, to), Some(from));
        while let Some(from) = next {
            let page = self.core.core().scan(from.as_ref(), to, limit).unwrap();
            assert!(page.entries.len() <= limit, "{} of at most {limit}", page.entries.len());
            assert!(page.complete.is_behind(&from), "a walk has to get on");
            let mut expected = self.expected(&from, to);
            expected.retain(|(key, _)| page.complete.covers(key));
            let found: Vec<_> = page.entries.iter().map(|(key, held)| (key.clone(), held.seq)).collect();
            assert_eq!(found, expected, "a page has everything that it says it is complete to");
            next = page.complete.next();
            (pages, short) = (pages + 1, short + usize::from(next.is_some() && found.len() < limit));
            all.extend(found);
        }
        assert_eq!(all, whole);
        (pages, short)
    }
}

#[test]
fn pages_have_all_that_they_say_they_are_complete_to() {
    let (mut pages, mut short) = (0, 0);
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut world = World { core: store(seed), holds: Oracle::new(), seq: 0 };
        let (first, end) = range();
        for _ in 0..120 {
            world.step(&mut dice);
            let limit = [1, 2, 7, 40, 1000][dice.below(5) as usize];
            let from = match dice.below(3) {
                0 => Bound::Included(first.clone()),
                1 => Bound::Included(key(dice.below(300))),
                _ => Bound::Excluded(key(dice.below(300))),
            };
            let to = if dice.below(2) == 0 { end.clone() } else { key(dice.below(300)) };
            let (some, of_them) = world.walk(from, &to, limit);
            (pages, short) = (pages + some, short + of_them);
        }
    }
    assert!(pages > 10_000 && short > 1_000, "{pages} pages, {short} short ones in the middle");
}

#[test]
fn one_buried_register_is_not_the_end() {
    let mut world = World { core: store(1), holds: Oracle::new(), seq: 0 };
    (0..600).for_each(|n| world.held(key(n), State::Bucket));
    world.freeze();
    world.retire();
    world.forget(key(100));
    let (first, end) = range();
    let page = world.core.core().scan(Bound::Included(&first), &end, 256).unwrap();
    assert_eq!((page.entries.len(), page.complete), (255, Complete::Through(key(255))));
    assert_eq!(world.core.core().scan(Bound::Included(&first), &end, 0).unwrap().entries.len(), 1, "a page gets on");
    assert_eq!(world.walk(Bound::Included(first), &end, 256), (3, 1));
}
