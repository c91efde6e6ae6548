//! Listings of a cluster: the pages of a majority merged, and folded into what a client asked for.
//!
//! Invariants
//! - Of each key the highest ballot of all pages counts; it is taken only if it is known to be chosen at that
//!   very ballot and its record is here, and read from a majority otherwise.
//! - Nothing is believed beyond what every page is complete to.

use crate::actors::messages::RegisterSlot;
use crate::base::{Ballot, Complete, Page, RegisterKey};
use crate::wire::{ENTRIES_MAX, Scanned};
use std::collections::{BTreeMap, BTreeSet};

/// This node's registers of a range.
pub type Own = Page<(RegisterKey, RegisterSlot)>;

/// How many registers a step asks for: few where few names are wanted, and more after each step that brought none,
/// since what lies there was deleted.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    least: usize,
    now: usize,
}

impl Stride {
    /// For so many names; one register more shows whether there are more.
    pub fn new(wanted: usize) -> Self {
        let least = wanted.saturating_add(1).min(LEAST_MAX);
        Stride { least, now: least }
    }

    /// Registers of the next step.
    pub fn registers(self) -> usize {
        self.now
    }

    /// A step has ended, and brought some of what was wanted, or nothing.
    pub fn stepped(&mut self, brought: bool) {
        self.now = if brought { self.least } else { self.now.saturating_mul(4).min(ENTRIES_MAX) };
    }
}

/// Registers of a step that is expected to bring something.
const LEAST_MAX: usize = 256;

/// A step of a listing.
#[derive(Debug, Default)]
pub struct Merged {
    /// What is settled already.
    pub found: BTreeMap<RegisterKey, RegisterSlot>,
    /// What has to be read from a majority.
    pub unsure: BTreeSet<RegisterKey>,
    /// What the step is complete to.
    pub complete: Complete,
}

/// Merges this node's registers of a range with the pages of others.
pub fn merge(own: Own, pages: &[Page<Scanned>]) -> Merged {
    let complete = pages.iter().map(|page| &page.complete).chain([&own.complete]).min().cloned().unwrap_or_default();
    let own = own.entries;

    let mut highest: BTreeMap<&RegisterKey, (Ballot, bool)> = BTreeMap::new();
    let all = own.iter().map(|(key, slot)| (key, slot.accepted, slot.chosen));
    let theirs = entries(pages).map(|scanned| (&scanned.key, scanned.ballot, scanned.chosen));
    for (key, ballot, chosen) in all.chain(theirs).filter(|(key, ..)| complete.covers(key)) {
        let known = highest.entry(key).or_insert((ballot, chosen));
        match ballot.cmp(&known.0) {
            std::cmp::Ordering::Greater => *known = (ballot, chosen),
            std::cmp::Ordering::Equal => known.1 |= chosen,
            std::cmp::Ordering::Less => {}
        }
    }
    let here: BTreeMap<&RegisterKey, &RegisterSlot> = own.iter().map(|(key, slot)| (key, slot)).collect();
    let mut merged = Merged { complete: complete.clone(), ..Merged::default() };
    for (key, (ballot, chosen)) in highest {
        // Chosen at this very ballot, with its record at hand: no majority has to be asked for it.
        match here.get(key).filter(|slot| chosen && slot.accepted == ballot) {
            Some(slot) => {
                merged.found.insert(key.clone(), RegisterSlot { chosen: true, ..(*slot).clone() });
            }
            None => {
                merged.unsure.insert(key.clone());
            }
        }
    }
    merged
}

/// Leaves only what a page has at the very same ballot: of a node without a place, which may hold what others have
/// dropped. It need not be asked for again then.
pub fn confirmed(own: &mut Own, pages: &[Page<Scanned>]) {
    let theirs: BTreeSet<_> = entries(pages).map(|scanned| (&scanned.key, scanned.ballot)).collect();
    own.entries.retain(|(key, slot)| theirs.contains(&(key, slot.accepted)));
}

fn entries(pages: &[Page<Scanned>]) -> impl Iterator<Item = &Scanned> {
    pages.iter().flat_map(|page| &page.entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::testing::key;
    use crate::base::{Incarnation, Stamp};

    fn ballot(stamp: u64) -> Ballot {
        Ballot { stamp: Stamp(stamp), node: Incarnation(1) }
    }

    fn slot(n: u64, stamp: u64, chosen: bool) -> (RegisterKey, RegisterSlot) {
        (key(n), RegisterSlot { accepted: ballot(stamp), chosen, ..RegisterSlot::default() })
    }

    fn scanned(n: u64, stamp: u64, chosen: bool) -> Scanned {
        Scanned { key: key(n), ballot: ballot(stamp), chosen }
    }

    fn through(n: u64) -> Complete {
        Complete::Through(key(n))
    }

    #[test]
    fn the_highest_ballot_counts_when_it_is_chosen_and_here() {
        let own = vec![slot(1, 5, true), slot(2, 5, true), slot(3, 5, false), slot(4, 5, false), slot(6, 7, false)];
        let page = vec![
            scanned(1, 5, false),
            scanned(2, 6, true),
            scanned(3, 5, true),
            scanned(4, 5, false),
            scanned(5, 1, true),
            scanned(6, 5, true),
        ];
        let merged = merge(Page::whole(own), &[Page::whole(page)]);
        assert_eq!(merged.found.keys().cloned().collect::<Vec<_>>(), [key(1), key(3)]);
        assert_eq!(merged.unsure.into_iter().collect::<Vec<_>>(), [key(2), key(4), key(5), key(6)]);
        assert_eq!(merged.complete, Complete::End);
    }

    #[test]
    fn what_only_a_node_without_a_place_has_is_nothing() {
        let entries = vec![slot(1, 5, true), slot(2, 5, true), slot(3, 5, true), slot(4, 5, true)];
        let mut own = Page { entries, complete: through(4) };
        let page = Page::whole(vec![scanned(1, 5, true), scanned(3, 4, true), scanned(5, 5, true)]);
        confirmed(&mut own, std::slice::from_ref(&page));
        let merged = merge(own, &[page]);
        assert_eq!(merged.found.keys().cloned().collect::<Vec<_>>(), [key(1)]);
        assert_eq!(merged.unsure.into_iter().collect::<Vec<_>>(), [key(3)], "as the others have it");
        assert_eq!(merged.complete, through(4));
    }

    #[test]
    fn nothing_is_believed_beyond_what_every_page_is_complete_to() {
        let own = Page::whole(vec![slot(1, 5, true), slot(9, 5, true)]);
        let page = Page { entries: vec![scanned(1, 5, true), scanned(3, 5, true)], complete: through(4) };
        let merged = merge(own.clone(), &[page, Page::whole(vec![])]);
        assert_eq!(merged.complete, through(4));
        assert_eq!(merged.found.keys().cloned().collect::<Vec<_>>(), [key(1)]);
        assert_eq!(merged.unsure.into_iter().collect::<Vec<_>>(), [key(3)]);
        // A short page, or an empty one, is no end: what it lacks may have been forgotten.
        let empty = Page { entries: vec![], complete: through(0) };
        let merged = merge(own, &[empty]);
        assert!(merged.found.is_empty() && merged.complete == through(0));
        assert_eq!(merge(Page::whole(vec![]), &[Page::whole(vec![])]).complete, Complete::End);
    }

    #[test]
    fn steps_grow_where_nothing_is_found() {
        let mut stride = Stride::new(1);
        let mut registers = 0;
        let mut steps = 0;
        while registers < 20_000 {
            registers += stride.registers();
            steps += 1;
            stride.stepped(false);
        }
        assert!(steps < 30 && stride.registers() == ENTRIES_MAX, "{steps} steps");
        stride.stepped(true);
        assert_eq!(
            (stride.registers(), Stride::new(1000).registers(), Stride::new(usize::MAX).registers()),
            (2, 256, 256)
        );
    }
}
