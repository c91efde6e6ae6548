//! Listings of a cluster: the pages of a majority merged, and folded into what a client asked for.
//!
//! Invariants
//! - Of each key the highest ballot of all pages counts; it is taken only if it is known to be chosen at that
//!   very ballot and its record is here, and read from a majority otherwise.
//! - Nothing behind the end of the shortest full page is believed to be complete.

use super::messages::RegisterSlot;
use crate::base::{Ballot, RegisterKey};
use crate::wire::Scanned;
use std::collections::{BTreeMap, BTreeSet};

/// A step of a listing.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// What is settled already.
    pub found: BTreeMap<RegisterKey, RegisterSlot>,
    /// What has to be read from a majority.
    pub unsure: BTreeSet<RegisterKey>,
    /// The last register that the step is complete to; none at the end of the range.
    pub end: Option<RegisterKey>,
}

/// Merges this node's registers of a range with the pages of others. `limit`: how many were asked for.
pub(super) fn merge(own: Vec<(RegisterKey, RegisterSlot)>, pages: &[Vec<Scanned>], limit: usize) -> Merged {
    let full = |len: usize, last: Option<&RegisterKey>| last.filter(|_| len >= limit).cloned();
    let ends = pages.iter().map(|page| full(page.len(), page.last().map(|scanned| &scanned.key)));
    // A page that is not full has everything to the end of the range.
    let end = ends.chain([own_end(&own, limit)]).flatten().min();
    let within = |key: &RegisterKey| end.as_ref().is_none_or(|end| key <= end);

    let mut highest: BTreeMap<&RegisterKey, (Ballot, bool)> = BTreeMap::new();
    let all = own.iter().map(|(key, slot)| (key, slot.accepted, slot.chosen));
    let theirs = pages.iter().flatten().map(|scanned| (&scanned.key, scanned.ballot, scanned.chosen));
    for (key, ballot, chosen) in all.chain(theirs).filter(|(key, ..)| within(key)) {
        let known = highest.entry(key).or_insert((ballot, chosen));
        match ballot.cmp(&known.0) {
            std::cmp::Ordering::Greater => *known = (ballot, chosen),
            std::cmp::Ordering::Equal => known.1 |= chosen,
            std::cmp::Ordering::Less => {}
        }
    }
    let here: BTreeMap<&RegisterKey, &RegisterSlot> = own.iter().map(|(key, slot)| (key, slot)).collect();
    let mut merged = Merged { end: end.clone(), ..Merged::default() };
    for (key, (ballot, chosen)) in highest {
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
pub(super) fn confirmed(own: &mut Vec<(RegisterKey, RegisterSlot)>, pages: &[Vec<Scanned>]) {
    let theirs: BTreeSet<_> = pages.iter().flatten().map(|scanned| (&scanned.key, scanned.ballot)).collect();
    own.retain(|(key, slot)| theirs.contains(&(key, slot.accepted)));
}

fn own_end(own: &[(RegisterKey, RegisterSlot)], limit: usize) -> Option<RegisterKey> {
    own.last().filter(|_| own.len() >= limit).map(|(key, _)| key.clone())
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
        let merged = merge(own, &[page], 10);
        assert_eq!(merged.found.keys().cloned().collect::<Vec<_>>(), [key(1), key(3)]);
        assert_eq!(merged.unsure.into_iter().collect::<Vec<_>>(), [key(2), key(4), key(5), key(6)]);
        assert_eq!(merged.end, None);
    }

    #[test]
    fn what_only_a_node_without_a_place_has_is_nothing() {
        let mut own = vec![slot(1, 5, true), slot(2, 5, true), slot(3, 5, true), slot(4, 5, true)];
        let page = vec![scanned(1, 5, true), scanned(3, 4, true)];
        confirmed(&mut own, std::slice::from_ref(&page));
        // Its own page was full; that of the other is not.
        let merged = merge(own, &[page], 4);
        assert_eq!(merged.found.keys().cloned().collect::<Vec<_>>(), [key(1)]);
        assert_eq!(merged.unsure.into_iter().collect::<Vec<_>>(), [key(3)], "as the others have it");
        assert_eq!(merged.end, None);
    }

    #[test]
    fn a_full_page_hides_what_comes_behind_it() {
        let own = vec![slot(1, 5, true), slot(9, 5, true)];
        let page = vec![scanned(1, 5, true), scanned(3, 5, true)];
        let merged = merge(own, &[page, vec![]], 2);
        assert_eq!(merged.end, Some(key(3)));
        assert_eq!(merged.found.keys().cloned().collect::<Vec<_>>(), [key(1)]);
        assert_eq!(merged.unsure.into_iter().collect::<Vec<_>>(), [key(3)]);
        assert_eq!(merge(vec![], &[vec![]], 2).end, None);
    }
}
