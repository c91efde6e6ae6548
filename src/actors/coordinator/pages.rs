//! Registers of a range: the pages of a majority merged.
//!
//! Invariants
//! - Of each key the highest ballot of all pages counts; it is taken only if it is known to be chosen at that
//!   very ballot and its record is here, and read from a majority otherwise.
//! - Nothing is believed beyond what every page is complete to.

use crate::actors::messages::RegisterSlot;
use crate::base::{Ballot, Complete, Page, RegisterKey};
use crate::wire::Scanned;
use std::collections::{BTreeMap, BTreeSet};

/// This node's registers of a range.
pub type Own = Page<(RegisterKey, RegisterSlot)>;

/// A step over a range of registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// What is settled already.
    pub found: BTreeMap<RegisterKey, RegisterSlot>,
    /// What has to be read from a majority.
    pub unsure: BTreeSet<RegisterKey>,
    /// What the step is complete to.
    pub complete: Complete,
}

impl Merged {
    /// Takes in a step over a part of the same range, from which what came so far was left out.
    pub fn add(&mut self, part: Merged) {
        self.found.extend(part.found);
        self.unsure.extend(part.unsure);
        // The end of a part is not that of the range.
        if part.complete < self.complete {
            self.complete = part.complete;
        }
        self.found.retain(|key, _| self.complete.covers(key));
        self.unsure.retain(|key| self.complete.covers(key));
    }
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
}
