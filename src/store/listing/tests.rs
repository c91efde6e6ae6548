//! Pages of names over random registers in random steps, against a listing of everything at once.

use super::*;
use crate::base::{
    Ballot, BodyAt, BodyId, Etag, KekId, Lineage, ObjectHead, ObjectKey, ObjectName, ObjectRecord, Secret, State, Wrap,
};
use crate::disk::CrashDisk;
use crate::seal::Keyring;
use crate::store::Options;
use crate::store::buckets::{id_of_name, register_by_name};
use crate::store::entry::{Held, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Registers of a step of the list that takes too long.
const LOOKS: usize = 256;

/// A generator with a seed, as everywhere in tests.
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

fn record(present: bool) -> Arc<Record> {
    let object = || ObjectRecord {
        number: 1,
        len: 1,
        etag: Etag::Digest,
        checksum: None,
        head: ObjectHead::default(),
        body: BodyId([1; 16]),
        sealed_len: 1,
        digest: [2; 32],
        wrap: Wrap { kek: KekId([3; 16]), nonce: [4; 12], sealed: [5; 48] },
        at: BodyAt::Blob,
        uploads: crate::base::Uploads::NONE,
    };
    let state = if present { State::Object(Box::new(object())) } else { State::Deleted };
    Arc::new(Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: 0, state })
}

/// Registers by their keys, present or deleted. Names meet each other's prefixes, and the delimiter stands everywhere.
fn registers(dice: &mut Dice) -> BTreeMap<RegisterKey, (String, bool)> {
    let parts = ["a", "/", "b", "//", "ab", "é", "a/"];
    let mut all = BTreeMap::new();
    for _ in 0..dice.below(60) {
        let name: String = (0..=dice.below(4)).map(|_| parts[dice.below(parts.len())]).collect();
        let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(&name).unwrap() };
        all.insert(register_by_name(&at), (name, dice.below(2) == 0));
    }
    all
}

/// A step as a scan may give it: at most so many registers, perhaps complete to more than it has.
fn step(
    all: &BTreeMap<RegisterKey, (String, bool)>,
    folding: &Folding,
    most: usize,
    dice: &mut Dice,
) -> Page<(RegisterKey, Arc<Record>)> {
    let from = folding.next().unwrap();
    let range = all.iter().filter(|(key, _)| *key < folding.end()).filter(|(key, _)| match &from {
        Bound::Included(from) => *key >= from,
        Bound::Excluded(from) => *key > from,
        Bound::Unbounded => true,
    });
    let mut page = Page::whole(range.map(|(key, (_, present))| (key.clone(), record(*present))).collect());
    page.cut(most, |(key, _)| key);
    // What was deleted and forgotten is on no page.
    let deleted = |record: &Record| record.state == State::Deleted;
    page.entries.retain(|(_, record)| !(deleted(record) && dice.below(2) == 0));
    page
}

#[test]
fn pages_follow_each_other_without_a_gap_wherever_they_end_early() {
    let (mut early, mut empty) = (0, 0);
    for seed in 0..3_000 {
        let mut dice = Dice(seed);
        let all = registers(&mut dice);
        let prefix = ["", "a", "a/", "é", "b/"][dice.below(5)];
        let delimiter = [None, Some("/"), Some("/"), Some("b")][dice.below(4)];
        let (mut names, mut prefixes) = (Vec::new(), BTreeSet::new());
        for (name, _) in all.values().filter(|(name, present)| *present && name.starts_with(prefix)) {
            match delimiter.and_then(|d| name[prefix.len()..].find(d).map(|at| at + d.len())) {
                Some(at) => drop(prefixes.insert(name[..prefix.len() + at].to_owned())),
                None => names.push(name.clone()),
            }
        }
        let (limit, most) = (1 + dice.below(6), 1 + dice.below(7));
        let (mut found, mut folded, mut after, mut pages) = (Vec::new(), Vec::new(), None::<String>, 0);
        loop {
            let mut folding =
                Folding::new(id_of_name(&BucketName::cargas()), prefix, delimiter, after.as_deref(), limit);
            while folding.next().is_some() {
                let step = step(&all, &folding, most, &mut dice);
                folding.take(step);
                if dice.below(3) == 0 && folding.next().is_some() && folding.stop() {
                    early += 1;
                    empty += usize::from(folding.names() == 0);
                }
            }
            let page = folding.page();
            assert!(page.entries.len() + page.prefixes.len() <= limit);
            // A common prefix may come before the name in it at which a page ended early, and leads behind it all the
            // same.
            pages += 1;
            assert!(pages < 500, "seed {seed}: a client has to get on");
            found.extend(page.entries.into_iter().map(|(name, _)| name));
            folded.extend(page.prefixes);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        names.sort();
        assert_eq!(found, names, "seed {seed}");
        assert_eq!(folded, prefixes.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
    assert!(early > 1_000 && empty > 100, "{early} pages ended early, {empty} of them empty");
}

#[test]
fn a_page_that_takes_too_long_ends_early_and_leads_on() {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).unwrap());
    let options = Options { reserve_bytes: 0, looks_max: LOOKS, ..Options::default() };
    let (store, _work) =
        crate::store::open(Arc::new(CrashDisk::new(1)), Path::new("/data"), ring, None, options).unwrap();
    let deleted = 3 * LOOKS;
    for (seq, n) in (1..).zip(0..=deleted) {
        let name = if n == deleted { "last".to_owned() } else { format!("k{n:05}") };
        let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(&name).unwrap() };
        let held = Arc::new(Held::new((*record(n == deleted)).clone(), true, seq, None));
        store.core().overlay_mut().active.apply(Op::Record { key: register_by_name(&at), held });
    }
    let page = |after: Option<&str>, until| store.list(&BucketName::cargas(), "", None, after, 10, until).unwrap();
    let whole = page(None, Instant::now() + std::time::Duration::from_secs(3600));
    assert_eq!((whole.entries.len(), whole.next), (1, None));
    let (mut pages, mut found, mut after) = (0, 0, None::<String>);
    loop {
        let page = page(after.as_deref(), Instant::now());
        (pages, found, after) = (pages + 1, found + page.entries.len(), page.next);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, found), (4, 1), "a step each, and no name is passed over");
}
