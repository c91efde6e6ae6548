//! The tree: sums over all registers and their ballots, by which two nodes find what they hold differently.
//!
//! Invariants
//! - Each leaf is the sum of the marks of the registers that belong to it, each at its present ballot,
//!   tombstones included. It changes in the same breath as what readers see.
//! - It lives in memory alone: built by a walk over all registers at start, kept by every commit. Until the
//!   walk is done nobody is told a sum.
//! - A register counts once: behind the walk's place a commit changes it, before that the walk will find it.
//! - What each bucket holds is counted by the walk alone, and handed over at its end: see `usage`.

use super::counted::{Counted, Tally};
use super::filling::Filling;
use crate::base::{Ballot, Complete, Page, RegisterKey, Sum};
use crate::seal::MarkKey;

/// Sums at the upper level.
pub const BRANCHES: u8 = 64;
/// Leaves below each of them.
pub const LEAVES_PER_BRANCH: usize = 64;
const LEAVES: usize = BRANCHES as usize * LEAVES_PER_BRANCH;
/// How far the walk has come.
#[derive(Debug)]
enum Built {
    Nothing,
    To(RegisterKey),
    All,
}

/// The sums of one node.
#[derive(Debug)]
pub struct Tree {
    key: MarkKey,
    leaves: Vec<Sum>,
    root: Sum,
    tally: Tally,
    /// What the registers come to that the walk has passed, bucket by bucket.
    walked: Filling,
    built: Built,
}

impl Tree {
    /// An empty tree that a walk has yet to fill.
    pub fn new(key: MarkKey) -> Self {
        let (leaves, root) = (vec![Sum::default(); LEAVES], Sum::default());
        Tree { key, leaves, root, tally: Tally::default(), walked: Filling::default(), built: Built::Nothing }
    }

    /// The leaf of a register.
    pub fn leaf(&self, key: &RegisterKey) -> u16 {
        self.key.place(key) % LEAVES as u16
    }

    fn flip(&mut self, key: &RegisterKey, ballot: Ballot) {
        let mark = self.key.mark(key, ballot);
        let leaf = usize::from(self.leaf(key));
        if let Some(sum) = self.leaves.get_mut(leaf) {
            *sum ^= mark;
            self.root ^= mark;
        }
    }

    fn add(&mut self, key: &RegisterKey, counted: Counted) {
        self.flip(key, counted.ballot);
        self.tally.add(counted.tally);
    }

    /// A commit has brought a register from one state to another; none: it holds nothing.
    pub fn moved(&mut self, key: &RegisterKey, from: Option<Counted>, to: Option<Counted>) {
        let counted = match &self.built {
            Built::Nothing => false,
            Built::To(last) => key <= last,
            Built::All => true,
        };
        // What the walk has not come to yet it will find in its new state.
        if counted {
            if matches!(self.built, Built::To(_)) {
                self.walked.moved(key, from.as_ref(), to.as_ref());
            }
            if let Some(from) = from {
                self.flip(key, from.ballot);
                self.tally.take(from.tally);
            }
            if let Some(to) = to {
                self.add(key, to);
            }
        }
    }

    /// No register holds anything any more.
    pub fn clear(&mut self) {
        self.leaves.fill(Sum::default());
        (self.root, self.tally) = (Sum::default(), Tally::default());
        self.walked.clear();
    }

    /// How much all registers hold; `None` before the walk is done.
    pub fn tally(&self) -> Option<Tally> {
        matches!(self.built, Built::All).then_some(self.tally)
    }

    /// The walk has found the next registers.
    /// At its end: what each bucket holds.
    pub fn found(&mut self, page: &Page<(RegisterKey, Counted)>) -> Option<Filling> {
        for (key, counted) in &page.entries {
            self.add(key, *counted);
            self.walked.moved(key, None, Some(counted));
        }
        self.built = match &page.complete {
            Complete::Through(last) => Built::To(last.clone()),
            Complete::End => Built::All,
        };
        matches!(self.built, Built::All).then(|| std::mem::take(&mut self.walked))
    }

    /// The sum of everything; `None` before the walk is done.
    pub fn root(&self) -> Option<Sum> {
        matches!(self.built, Built::All).then_some(self.root)
    }

    /// Sums below some branches, in their order; without branches the sums of all branches. Empty before
    /// the walk is done.
    pub fn sums(&self, branches: &[u8]) -> Vec<Sum> {
        if self.root().is_none() {
            return Vec::new();
        }
        let groups = self.leaves.chunks(LEAVES_PER_BRANCH);
        if branches.is_empty() {
            return groups.map(|group| group.iter().fold(Sum::default(), |sum, leaf| sum ^ *leaf)).collect();
        }
        let group = |branch: &u8| self.leaves.chunks(LEAVES_PER_BRANCH).nth(usize::from(*branch)).unwrap_or_default();
        branches.iter().flat_map(group).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketName, Incarnation, Secret, Stamp};
    use crate::seal::Keyring;
    use std::collections::BTreeMap;
    use std::ops::Bound;

    fn empty() -> Tree {
        Tree::new(Keyring::new(vec![(1, Secret::new([3; 32]))]).unwrap().origin().mark_key())
    }

    fn key(n: u64) -> RegisterKey {
        RegisterKey::bucket(&BucketName::parse(&format!("b-{n:05}")).unwrap())
    }

    fn ballot(stamp: u64) -> Ballot {
        Ballot { stamp: Stamp(stamp), node: Incarnation(1) }
    }

    /// Every third state is a tombstone, every fourth of the others an object.
    fn counted(ballot: Ballot) -> Counted {
        let tally = match ballot.stamp.0 {
            stamp if stamp.is_multiple_of(3) => Tally { tombstones: 1, ..Tally::default() },
            stamp if stamp.is_multiple_of(4) => Tally { objects: 1, bytes: stamp, ..Tally::default() },
            _ => Tally::default(),
        };
        Counted { ballot, tally }
    }

    fn of(state: &BTreeMap<RegisterKey, Ballot>) -> Tree {
        let mut tree = empty();
        let all: Vec<_> = state.iter().map(|(k, b)| (k.clone(), counted(*b))).collect();
        let through = |step: &[(RegisterKey, Counted)]| Complete::Through(step.last().unwrap().0.clone());
        all.chunks(7).for_each(|step| drop(tree.found(&Page { entries: step.to_vec(), complete: through(step) })));
        tree.found(&Page::whole(vec![]));
        tree
    }

    #[test]
    fn commits_during_the_walk_and_after_it_give_the_same_sums_as_a_walk_over_the_result() {
        // A generator with a seed, as everywhere in tests.
        let mut seed = 7u64;
        let mut roll = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut state: BTreeMap<RegisterKey, Ballot> = (0..300).map(|n| (key(2 * n), ballot(1))).collect();
        let mut tree = empty();
        let mut stamp = 2;
        let mut commit = |tree: &mut Tree, state: &mut BTreeMap<RegisterKey, Ballot>| {
            let (key, to) = (key(roll(700)), ballot(stamp));
            stamp += 1;
            // Some are forgotten.
            let (from, to) = match roll(4) {
                0 => (state.remove(&key), None),
                _ => (state.insert(key.clone(), to), Some(to)),
            };
            tree.moved(&key, from.map(counted), to.map(counted));
        };
        let (mut at, mut odd) = (None, false);
        loop {
            assert_eq!((tree.root(), tree.sums(&[])), (None, vec![]), "nothing is told before the walk is done");
            let from = at.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let rest = state.range((from, Bound::Unbounded));
            let mut page = Page::whole(rest.map(|(k, b)| (k.clone(), counted(*b))).collect());
            // Up to a register that holds nothing, every second time: a page is complete to more than it has.
            page.cut(20, |(key, _)| key);
            let Complete::Through(last) = page.complete.clone() else {
                tree.found(&page);
                break;
            };
            odd = !odd;
            if odd {
                page.entries.pop();
                page.complete = Complete::Through(last.clone());
                state.remove(&last);
            }
            tree.found(&page);
            at = Some(last);
            (0..10).for_each(|_| commit(&mut tree, &mut state));
        }
        (0..500).for_each(|_| commit(&mut tree, &mut state));
        let again = of(&state);
        assert_eq!((tree.root(), &tree.leaves), (again.root(), &again.leaves));
        let mut all = Tally::default();
        state.values().for_each(|ballot| all.add(counted(*ballot).tally));
        assert_eq!((tree.tally(), again.tally()), (Some(all), Some(all)));
        assert!(all.tombstones > 10 && all.objects > 10 && all.bytes > all.objects);
        tree.clear();
        assert_eq!((tree.root(), tree.tally()), (of(&BTreeMap::new()).root(), Some(Tally::default())));
    }

    #[test]
    fn one_lost_register_shows_in_one_leaf_and_on_the_way_to_it() {
        let mut state: BTreeMap<RegisterKey, Ballot> = (0..5_000).map(|n| (key(n), ballot(n))).collect();
        let whole = of(&state);
        state.remove(&key(77));
        let lacking = of(&state);
        assert_ne!(whole.root(), lacking.root());
        let differing = |a: &[Sum], b: &[Sum]| -> Vec<usize> {
            assert_eq!(a.len(), b.len());
            (0..a.len()).filter(|&at| a[at] != b[at]).collect()
        };
        let branches = differing(&whole.sums(&[]), &lacking.sums(&[]));
        assert_eq!(branches, [usize::from(whole.leaf(&key(77))) / LEAVES_PER_BRANCH]);
        let branch = u8::try_from(branches[0]).unwrap();
        let leaves = differing(&whole.sums(&[branch]), &lacking.sums(&[branch]));
        assert_eq!(leaves, [usize::from(whole.leaf(&key(77))) % LEAVES_PER_BRANCH]);
        assert_eq!(whole.sums(&[branch, branch]).len(), 2 * LEAVES_PER_BRANCH);
        assert!(whole.sums(&[BRANCHES, 255]).is_empty(), "a branch that does not exist has no leaves");
    }

    #[test]
    fn a_tombstone_or_another_writer_makes_another_sum() {
        let mut tree = of(&BTreeMap::from([(key(1), ballot(1))]));
        let before = tree.root();
        tree.moved(&key(1), Some(counted(ballot(1))), Some(counted(Ballot { node: Incarnation(2), ..ballot(1) })));
        assert_ne!(tree.root(), before);
    }
}
