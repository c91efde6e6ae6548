//! Scans over random overlays and indexes, against a map; what a list shows of them, against a scan.

use super::*;
use crate::base::{
    Ballot, BucketId, BucketRecord, Complete, Incarnation, Lineage, ObjectKey, Record, Secret, Stamp, State,
};
use crate::disk::CrashDisk;
use crate::seal::Keyring;
use crate::store::entry::Op;
use crate::store::index::Marks;
use crate::store::walk::bounds_hold;
use crate::store::{Options, Store};
use std::collections::BTreeMap;
use std::path::Path;

const LIFE: BucketId = BucketId(7);

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
    named(&format!("k{n:04}"))
}

/// Registers in folders of folders: `/` folds ten of them, or a hundred.
fn foldered(n: u64) -> RegisterKey {
    named(&format!("k{}/{}/{}", n / 100, n / 10 % 10, n % 10))
}

fn named(key: &str) -> RegisterKey {
    RegisterKey::object(LIFE, &ObjectKey::parse(key).unwrap())
}

fn range() -> (RegisterKey, RegisterKey) {
    (RegisterKey::object_prefix(LIFE, ""), RegisterKey::objects_end(LIFE))
}

fn store(seed: u64) -> Store {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).unwrap());
    let options =
        Options { first_bucket: false, reserve_bytes: 0, log_bytes: 256 * 1024, looks_max: 30, ..Options::default() };
    crate::store::open(Arc::new(CrashDisk::new(seed)), Path::new("/data"), ring, None, options).unwrap().0
}

/// A store whose overlay and index are brought about by hand.
struct World {
    core: Arc<Store>,
    holds: Oracle,
    seq: u64,
    key: fn(u64) -> RegisterKey,
}

impl World {
    fn held(&mut self, key: RegisterKey, state: State) {
        self.held_as(key, state, true);
    }

    fn held_as(&mut self, key: RegisterKey, state: State, chosen: bool) {
        self.seq += 1;
        let ballot = Ballot { stamp: Stamp(self.seq), node: Incarnation(1) };
        let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 0, state };
        let held = Arc::new(Held::new(record, chosen, self.seq, None));
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
            overlay.freeze();
        }
    }

    fn index(&mut self) {
        let frozen = self.core.core().overlay().frozen.clone();
        if let Some(layer) = frozen {
            self.core
                .core()
                .index
                .apply(&layer, &Default::default(), Marks::default(), &Default::default(), &[])
                .unwrap();
        }
    }

    fn retire(&mut self) {
        self.index();
        self.core.core().overlay_mut().retire();
    }

    fn new(seed: u64, key: fn(u64) -> RegisterKey) -> Self {
        World { core: Arc::new(store(seed)), holds: Oracle::new(), seq: 0, key }
    }

    fn step(&mut self, dice: &mut Dice) {
        let (key, at) = (self.key, dice.below(300));
        match dice.below(100) {
            0..40 => self.held(key(at), bucket()),
            40..50 => self.held(key(at), State::Deleted),
            50..55 => self.held_as(key(at), bucket(), false),
            55..60 => self.held_as(key(at), State::Deleted, false),
            60..75 => self.forget(key(at)),
            // Many neighbours, as a round of burials does.
            75..80 => (at..at + dice.below(60)).for_each(|n| self.forget(key(n))),
            80..85 => (at..at + dice.below(60)).for_each(|n| self.held(key(n), State::Deleted)),
            85..90 => self.freeze(),
            90..93 => self.index(),
            93..97 => self.retire(),
            97 => {
                self.holds.clear();
                self.core.core().overlay_mut().active.apply(Op::Clear { epoch: crate::base::Epoch(2) });
            }
            _ => (at..at + dice.below(60)).for_each(|n| self.held(key(n), bucket())),
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
        let mut world = World::new(seed, key);
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
    let mut world = World::new(1, key);
    (0..600).for_each(|n| world.held(key(n), bucket()));
    world.freeze();
    world.retire();
    world.forget(key(100));
    let (first, end) = range();
    let page = world.core.core().scan(Bound::Included(&first), &end, 256).unwrap();
    assert_eq!((page.entries.len(), page.complete), (255, Complete::Through(key(255))));
    assert_eq!(world.core.core().scan(Bound::Included(&first), &end, 0).unwrap().entries.len(), 1, "a page gets on");
    assert_eq!(world.walk(Bound::Included(first), &end, 256), (3, 1));
}

/// What a list shows, by the book: of all that there is.
fn shown(all: Vec<(RegisterKey, Arc<Held>)>, folds: &Folds) -> Vec<(RegisterKey, u64)> {
    let (mut seen, mut found) = (Vec::new(), Vec::new());
    for (key, held) in all {
        let common = folds.common(&key);
        let hidden = held.chosen && !held.record.is_present();
        if hidden || common.as_ref().is_some_and(|common| seen.contains(common)) {
            continue;
        }
        if held.record.is_present() {
            seen.extend(common);
        }
        found.push((key, held.seq));
    }
    found
}

#[test]
fn a_list_is_shown_what_a_scan_of_everything_leaves() {
    let (mut jumps, mut tentative) = (0, 0);
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut world = World::new(seed, foldered);
        for _ in 0..120 {
            world.step(&mut dice);
            let prefix = ["", "", "k1", "k1/", "k2/3", "x"][dice.below(6) as usize];
            let delimiter = [None, Some("/"), Some("/"), Some("2/")][dice.below(4) as usize];
            let (folds, limit) = (Folds::objects(LIFE, prefix, delimiter), [1, 2, 5, 40][dice.below(4) as usize]);
            let (first, end) = (folds.prefix().clone(), folds.prefix().successor());
            let all = world.core.core().scan(Bound::Included(&first), &end, 1000).unwrap();
            assert_eq!(all.complete, Complete::End);
            let whole = all.entries.len();
            let expected = shown(all.entries, &folds);
            let (mut found, mut next) = (Vec::new(), Some(Bound::Included(first)));
            while let Some(from) = next {
                let page = world.core.core().shown(&folds, from.as_ref(), &end, limit).unwrap();
                assert!(page.entries.len() <= limit && page.complete.is_behind(&from));
                assert!(page.entries.iter().all(|(key, _)| page.complete.covers(key)));
                tentative += page.entries.iter().filter(|(_, held)| !held.record.is_present()).count();
                found.extend(page.entries.into_iter().map(|(key, held)| (key, held.seq)));
                next = page.complete.next();
            }
            assert_eq!(found, expected, "seed {seed}, {prefix} {delimiter:?} {limit}");
            jumps += usize::from(whole > 2 * found.len());
        }
        world.core.core().index.check().expect("each register is in the table that it belongs to");
    }
    assert!(jumps > 1_000 && tentative > 1_000, "{jumps} lists that fold, {tentative} unsettled tombstones");
}

#[test]
fn what_moves_to_the_index_while_a_walk_is_on_its_way_is_not_passed_over() {
    let mut world = World::new(1, key);
    (0..600).for_each(|n| world.held(key(n), bucket()));
    world.freeze();
    let (first, end) = range();
    let store = Arc::clone(&world.core);
    let mut walk = Walk::new(store.core(), Which::All, Bound::Included(&first), &end);
    for n in 0..300 {
        assert_eq!(walk.next().unwrap().unwrap().0, key(n));
    }
    // What lies ahead in the overlay is in the index from now on; some of what was not copied yet is newer.
    world.retire();
    world.held(key(550), State::Deleted);
    world.forget(key(551));
    let mut rest = Vec::new();
    while let Some((key, held)) = walk.next().unwrap() {
        rest.extend(held.map(|held| (key, held.record.state.clone())));
    }
    let state = |n| if n == 550 { State::Deleted } else { bucket() };
    let expected: Vec<_> = (300..600).filter(|n| *n != 551).map(|n| (key(n), state(n))).collect();
    assert!(rest == expected, "{} registers of {}", rest.len(), expected.len());
}

/// Something that is there.
fn bucket() -> State {
    State::Bucket(BucketRecord::made(LIFE, 1))
}
