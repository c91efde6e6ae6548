//! Lists of random replicas, some behind and some with what nobody knows to be chosen, against all that they hold.

use super::*;
use crate::actors::coordinator::pages;
use crate::base::{Ballot, BucketId, BucketRecord, Incarnation, Lineage, Record, Stamp, State};
use crate::register::Traced;
use crate::wire::Scanned;
use std::sync::Arc;

/// A generator with a seed, as everywhere in tests.
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn odds(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

type Replica = BTreeMap<RegisterKey, RegisterSlot>;

fn key(text: &str) -> RegisterKey {
    RegisterKey::object_prefix(BucketId(7), text)
}

fn slot(stamp: u64, present: bool, chosen: bool) -> RegisterSlot {
    let accepted = Ballot { stamp: Stamp(stamp), node: Incarnation(1) };
    let state = if present { State::Bucket(BucketRecord::made(BucketId(7), 1)) } else { State::Deleted };
    let record = Record { ballot: accepted, lineage: Lineage::NOTHING, written_ms: 0, state };
    let state = Traced { lineage: Lineage::NOTHING, value: Some(Arc::new(record)) };
    RegisterSlot { accepted, chosen, state }
}

/// Two replicas of three after a few writes of each register, some of which came to only one of them. A write that two
/// of the three have is chosen, and known to be by some.
fn replicas(dice: &mut Dice, lagging: bool) -> [Replica; 2] {
    let mut both = [Replica::new(), Replica::new()];
    for n in 0..200 {
        let key = key(&format!("k{}/{}/{}", n / 50, n / 10 % 5, n % 10));
        for stamp in 1..1 + dice.below(4) {
            let (present, all) = (dice.odds(60), dice.odds(70));
            let mut has = [0; 3].map(|_| all || dice.odds(40));
            has[1] &= !lagging || dice.odds(50);
            let chosen = has.iter().filter(|has| **has).count() > 1;
            for (replica, _) in both.iter_mut().zip(has).filter(|(_, has)| *has) {
                replica.insert(key.clone(), slot(stamp, present, chosen && dice.odds(80)));
            }
        }
    }
    both
}

/// Up to where a source says it is complete that looks at so many registers.
fn cut<T>(mut page: Page<(RegisterKey, T)>, most: usize) -> Page<(RegisterKey, T)> {
    page.cut(most, |(key, _)| key);
    page
}

fn range<'a>(
    replica: &'a Replica,
    from: &Bound<RegisterKey>,
    to: &RegisterKey,
) -> impl Iterator<Item = (RegisterKey, RegisterSlot)> + use<'a> {
    let span = Span { from: from.clone(), to: to.clone() };
    replica.iter().filter(move |(key, _)| span.holds(key)).map(|(key, slot)| (key.clone(), slot.clone()))
}

/// What a store shows, by the book: see `Core::shown`. It may end inside a common prefix.
fn show(replica: &Replica, folds: &Folds, from: &Bound<RegisterKey>, to: &RegisterKey, dice: &mut Dice) -> Own {
    let (limit, looks) = (1 + dice.below(12) as usize, 1 + dice.below(30));
    let (mut page, mut edge, mut looked) = (Page::whole(Vec::new()), None::<RegisterKey>, 0);
    for (key, slot) in range(replica, from, to) {
        if edge.as_ref().is_some_and(|edge| key < *edge) {
            continue;
        }
        if looked == looks || page.entries.len() == limit {
            return page;
        }
        looked += 1;
        page.complete = Complete::Through(folds.edge(&key));
        match is_present(&slot) {
            true => edge = folds.common(&key).map(|common| common.edge()),
            // Without a witness it is complete to what it has looked at.
            false => page.complete = Complete::Through(key.clone()),
        }
        if is_present(&slot) || !slot.chosen {
            page.entries.push((key, slot));
        }
    }
    page.complete = Complete::End;
    page
}

fn items(page: &Own) -> Page<Item> {
    page.clone().map(|(key, slot)| Some(blocks::item(key, &slot)))
}

/// One coordinator's steps over two replicas, with whatever a majority would say of a register that is read.
struct Reader<'a> {
    both: &'a [Replica; 2],
    /// Whether this node's own registers count.
    counts: bool,
    reads: usize,
    /// Spans and common prefixes that had to be looked through.
    looked: usize,
}

impl Reader<'_> {
    /// The highest of both, and settled by that.
    fn read(&mut self, key: &RegisterKey) -> RegisterSlot {
        self.reads += 1;
        self.highest(key)
    }

    fn highest(&self, key: &RegisterKey) -> RegisterSlot {
        let all = self.both.iter().filter_map(|replica| replica.get(key));
        all.max_by_key(|slot| slot.accepted).cloned().unwrap_or_default()
    }

    fn read_unsure(&mut self, merged: &mut Merged) {
        for key in std::mem::take(&mut merged.unsure) {
            let slot = self.read(&key);
            merged.found.insert(key, slot);
        }
    }

    fn unfolded(&mut self, folds: &Folds, from: &Bound<RegisterKey>, to: &RegisterKey, dice: &mut Dice) -> Merged {
        let own = show(&self.both[0], folds, from, to, dice);
        let theirs = blocks::of(&items(&show(&self.both[1], folds, from, to, dice)));
        let (mut merged, differ) = compare(own, from, &[theirs]);
        for Span { from, to } in differ {
            self.looked += 1;
            let most = 1 + dice.below(40) as usize;
            let own = cut(Page::whole(range(&self.both[0], &from, &to).collect()), most);
            let theirs = cut(Page::whole(range(&self.both[1], &from, &to).collect()), most);
            let scanned =
                |(key, slot): (_, RegisterSlot)| Some(Scanned { key, ballot: slot.accepted, chosen: slot.chosen });
            merged.add(pages::merge(own, &[theirs.map(scanned)]));
        }
        self.read_unsure(&mut merged);
        merged
    }

    fn folded(&mut self, folds: &Folds, from: &Bound<RegisterKey>, to: &RegisterKey, dice: &mut Dice) -> Merged {
        let own = show(&self.both[0], folds, from, to, dice);
        let theirs = items(&show(&self.both[1], folds, from, to, dice));
        // Whoever does not count is asked for nothing: somebody else is.
        let pages = if self.counts { vec![theirs] } else { vec![theirs, items(&own)] };
        let Folded { mut merged, witnesses, mut within } = merge_folded(folds, self.counts.then_some(&own), &pages);
        merged.unsure.extend(witnesses.keys().cloned());
        self.read_unsure(&mut merged);
        for (witness, common) in witnesses {
            if !is_present(&merged.found[&witness]) {
                within.insert(common);
            }
        }
        for common in within {
            self.looked += 1;
            let (inside, to) = (Folds::new(common.clone(), None), common.successor());
            let mut next = Some(Bound::Included(common));
            while let Some(from) = next {
                let step = self.unfolded(&inside, &from, &to, dice);
                let first = step.found.into_iter().find(|(_, slot)| is_present(slot));
                next = if first.is_some() { None } else { step.complete.next() };
                merged.found.extend(first);
            }
        }
        merged
    }

    /// The names of all pages, and how many steps they took.
    fn list(&mut self, folds: &Folds, dice: &mut Dice) -> BTreeSet<RegisterKey> {
        let (to, mut next) = (folds.prefix().successor(), Some(Bound::Included(folds.prefix().clone())));
        let mut names = BTreeSet::new();
        while let Some(from) = next {
            let step = match folds.delimiter() {
                None => self.unfolded(folds, &from, &to, dice),
                Some(_) => self.folded(folds, &from, &to, dice),
            };
            assert!(step.complete.is_behind(&from), "a list has to get on");
            if folds.delimiter().is_none() {
                assert!(step.found.keys().all(|key| step.complete.covers(key)));
            }
            let present = step.found.iter().filter(|(_, slot)| is_present(slot));
            names.extend(present.map(|(key, _)| folds.edge(key)));
            next = step.complete.next();
        }
        names
    }

    /// What has to be listed.
    fn expected(&self, folds: &Folds) -> BTreeSet<RegisterKey> {
        let keys = self.both.iter().flat_map(BTreeMap::keys).filter(|key| folds.covers(key));
        keys.filter(|key| is_present(&self.highest(key))).map(|key| folds.edge(key)).collect()
    }
}

#[test]
fn a_list_has_what_a_majority_holds_of_every_register() {
    let (mut looked, mut reads) = (0, 0);
    for seed in 0..600 {
        let mut dice = Dice(seed);
        let both = replicas(&mut dice, seed % 3 == 0);
        for (prefix, delimiter) in
            [("", None), ("k1/", None), ("", Some("/")), ("k2/", Some("/")), ("", Some("/3/")), ("k0/1/", Some("/"))]
        {
            let folds = Folds::objects(BucketId(7), prefix, delimiter);
            for counts in [true, false] {
                let mut reader = Reader { both: &both, counts, reads: 0, looked: 0 };
                let found = reader.list(&folds, &mut dice);
                assert_eq!(found, reader.expected(&folds), "seed {seed}, {prefix} {delimiter:?} {counts}");
                (looked, reads) = (looked + reader.looked, reads + reader.reads);
            }
        }
    }
    assert!(looked > 1_000 && reads > 1_000, "{looked} looked through, {reads} read");
}

fn page(entries: Vec<(RegisterKey, RegisterSlot)>) -> Own {
    Page::whole(entries)
}

fn start() -> Bound<RegisterKey> {
    Bound::Included(key(""))
}

#[test]
fn equal_blocks_settle_what_either_node_knows_to_be_chosen() {
    let all = |chosen: bool| page((0..130).map(|n| (key(&format!("{n:03}")), slot(5, true, chosen))).collect());
    let (merged, differ) = compare(all(true), &start(), &[blocks::of(&items(&all(false)))]);
    assert_eq!((merged.found.len(), merged.unsure.len(), differ.len()), (130, 0, 0));
    let (merged, differ) = compare(all(false), &start(), &[blocks::of(&items(&all(true)))]);
    assert_eq!((merged.found.len(), merged.unsure.len(), differ.len()), (130, 0, 0));
    let (merged, _) = compare(all(false), &start(), &[blocks::of(&items(&all(false)))]);
    assert_eq!((merged.found.len(), merged.unsure.len()), (0, 130), "nobody knows");
    // Of a list of one node.
    assert_eq!(compare(all(true), &start(), &[]).0.found.len(), 130);
    assert_eq!(compare(all(false), &start(), &[]).0.unsure.len(), 130);
}

#[test]
fn one_difference_opens_its_block_and_no_other() {
    let all = |odd: u64| {
        page((0..192).map(|n| (key(&format!("{n:03}")), slot(if n == 70 { odd } else { 5 }, true, true))).collect())
    };
    let (merged, differ) = compare(all(5), &start(), &[blocks::of(&items(&all(6)))]);
    let span = Span { from: Bound::Excluded(key("063")), to: key("127").behind() };
    assert_eq!((merged.found.len(), differ), (128, vec![span]));
    // One register more on one side, behind all blocks of the other.
    let mut more = all(5);
    more.entries.push((key("x"), slot(1, true, true)));
    let (merged, differ) = compare(more, &start(), &[blocks::of(&items(&all(5)))]);
    let span = Span { from: Bound::Excluded(key("191")), to: key("x").behind() };
    assert_eq!((merged.found.len(), differ), (192, vec![span]));
}

#[test]
fn a_tombstone_that_nobody_knows_to_be_chosen_is_read() {
    let (own, theirs) = (page(vec![]), page(vec![(key("a"), slot(5, false, false))]));
    let (merged, differ) = compare(own.clone(), &start(), &[blocks::of(&items(&theirs))]);
    assert_eq!((merged.unsure.into_iter().collect::<Vec<_>>(), differ), (vec![key("a")], vec![]));
    let (merged, _) = compare(theirs.clone(), &start(), &[blocks::of(&items(&own))]);
    assert_eq!(merged.unsure.len(), 1);
    let folds = Folds::objects(BucketId(7), "", Some("/"));
    let theirs = page(vec![(key("a/b"), slot(5, false, false)), (key("c"), slot(5, false, false))]);
    for (own, theirs) in [(&own, &theirs), (&theirs, &own)] {
        let folded = merge_folded(&folds, Some(own), &[items(theirs)]);
        assert_eq!((folded.within.len(), folded.merged.unsure.len(), folded.merged.found.len()), (1, 1, 0));
    }
}

#[test]
fn a_common_prefix_is_there_by_one_register_that_all_show() {
    let folds = Folds::objects(BucketId(7), "", Some("/"));
    let witness = |n: u64, stamp, chosen| page(vec![(key(&format!("a/{n}")), slot(stamp, true, chosen))]);
    let merged = |own: &Own, theirs: &Own| merge_folded(&folds, Some(own), &[items(theirs)]);
    let same = merged(&witness(1, 5, false), &witness(1, 5, true));
    assert_eq!((same.merged.found.len(), same.witnesses.len(), same.within.len()), (1, 0, 0));
    for (own, theirs) in [
        (witness(1, 5, false), witness(1, 5, false)),
        (witness(1, 5, true), witness(1, 6, true)),
        (witness(1, 5, true), witness(2, 5, true)),
        (witness(1, 5, true), page(vec![])),
        (page(vec![]), witness(1, 5, true)),
    ] {
        let folded = merged(&own, &theirs);
        assert_eq!((folded.merged.found.len(), folded.witnesses.len(), folded.within.len()), (0, 1, 0));
    }
    let mut deleted = witness(3, 5, true);
    deleted.entries.insert(0, (key("a/0"), slot(9, false, false)));
    assert_eq!(merged(&deleted, &witness(3, 5, true)).merged.found.len(), 1, "what lies in front of it is no matter");
}
