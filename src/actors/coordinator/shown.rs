//! What a list shows in a cluster: this node's page of it, and what others tell of theirs.
//!
//! Invariants
//! - A register counts as settled only where all who were asked hold it under one ballot that is known to be chosen. One
//!   that is not shown by somebody may have been deleted there: it is looked at more closely.
//! - A tombstone that is not known to be chosen is never passed over: a later reader could find the state before it.
//! - A common prefix is there when one register of it is; where those that were told turn out to be deleted, all of it is
//!   looked at.
//! - Nothing is believed beyond what every page is complete to.

use super::pages::{Merged, Own};
use crate::actors::blocks::{self, is_present};
use crate::actors::messages::RegisterSlot;
use crate::base::{Complete, Folds, Page, RegisterKey};
use crate::wire::{Block, Blocks, Item};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Some of a range that has to be looked at register by register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub from: Bound<RegisterKey>,
    /// Where to end, itself not included.
    pub to: RegisterKey,
}

impl Span {
    /// Whether it holds this register.
    pub fn holds(&self, key: &RegisterKey) -> bool {
        let behind = match &self.from {
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
            Bound::Unbounded => true,
        };
        behind && *key < self.to
    }

    /// Spans in order; a bound that is excluded begins behind one that is not.
    fn start(&self) -> (&[u8], bool) {
        match &self.from {
            Bound::Included(from) => (from.as_bytes(), false),
            Bound::Excluded(from) => (from.as_bytes(), true),
            Bound::Unbounded => (&[], false),
        }
    }
}

/// Holds this node's page of a list that folds nothing against the blocks of others. What differs is left out of the
/// first, and named by the second.
pub fn compare(own: Own, from: &Bound<RegisterKey>, peers: &[Blocks]) -> (Merged, Vec<Span>) {
    let complete = peers.iter().map(|peer| &peer.complete).chain([&own.complete]).min().cloned().unwrap_or_default();
    let mut entries = own.entries;
    entries.retain(|(key, _)| complete.covers(key));
    let present: Vec<_> = entries.iter().filter(|(_, slot)| is_present(slot)).collect();
    let differ = joined(peers.iter().flat_map(|peer| differing(&present, from, peer, &complete)).collect());
    let is_open = |key: &RegisterKey| differ.iter().any(|span| span.holds(key));

    let mut merged = Merged { complete: complete.clone(), ..Merged::default() };
    let unsettled: Vec<BTreeMap<&RegisterKey, &Item>> =
        peers.iter().map(|peer| peer.unsettled.iter().map(|item| (&item.key, item)).collect()).collect();
    // A tombstone that a peer does not know to be chosen; those that this node does not are among its own.
    let tombstones = unsettled.iter().flat_map(BTreeMap::values).filter(|item| !item.present);
    merged.unsure.extend(tombstones.map(|item| &item.key).filter(|key| complete.covers(key) && !is_open(key)).cloned());
    for (key, slot) in entries.into_iter().filter(|(key, _)| !is_open(key)) {
        let chosen = slot.chosen || unsettled.iter().any(|peer| !peer.contains_key(&key));
        if chosen && is_present(&slot) && !merged.unsure.contains(&key) {
            merged.found.insert(key, RegisterSlot { chosen: true, ..slot });
        } else {
            merged.unsure.insert(key);
        }
    }
    (merged, differ)
}

/// Where a peer's blocks say something else than this node's registers do.
fn differing(
    present: &[&(RegisterKey, RegisterSlot)],
    from: &Bound<RegisterKey>,
    peer: &Blocks,
    complete: &Complete,
) -> Vec<Span> {
    let (mut differ, mut rest, mut from) = (Vec::new(), present, from.clone());
    for Block { last, digest } in &peer.blocks {
        let here;
        (here, rest) = rest.split_at(rest.partition_point(|(key, _)| key <= last));
        if blocks::digest(here.iter().map(|(key, slot)| (key, slot.accepted))) != *digest {
            let to = match complete {
                Complete::Through(end) if end < last => end.behind(),
                _ => last.behind(),
            };
            differ.push(Span { from: from.clone(), to });
        }
        from = Bound::Excluded(last.clone());
        if !complete.covers(last) {
            return differ;
        }
    }
    // What only this node shows, behind all blocks.
    if let Some((last, _)) = rest.last() {
        differ.push(Span { from, to: last.behind() });
    }
    differ
}

/// Spans that meet or overlap as one.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.start().cmp(&b.start()));
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(before) if span.start().0 < before.to.as_bytes() => before.to = span.to.max(before.to.clone()),
            _ => joined.push(span),
        }
    }
    joined
}

/// A step of a list that folds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// What is settled, of each common prefix one register; and registers that are shown themselves and have to be read.
    pub merged: Merged,
    /// Registers to be read, each for its common prefix.
    pub witnesses: BTreeMap<RegisterKey, RegisterKey>,
    /// Common prefixes that have to be looked through.
    pub within: BTreeSet<RegisterKey>,
}

/// Merges the items of a list that folds. `own`: this node's, if it counts; else nothing is settled by what is told.
pub fn merge_folded(folds: &Folds, own: Option<&Own>, peers: &[Page<Item>]) -> Folded {
    let mine = own.map(|own| {
        let item = |(key, slot): (RegisterKey, RegisterSlot)| Some(blocks::item(key, &slot));
        own.clone().map(item)
    });
    let pages: Vec<&Page<Item>> = mine.iter().chain(peers).collect();
    let complete = pages.iter().map(|page| &page.complete).min().cloned().unwrap_or_default();
    // What is shown as one: of each page what it has of it.
    let mut names: BTreeMap<RegisterKey, Vec<&Item>> = BTreeMap::new();
    for item in pages.iter().flat_map(|page| &page.entries).filter(|item| complete.covers(&item.key)) {
        names.entry(folds.edge(&item.key)).or_default().push(item);
    }
    let here: BTreeMap<_, _> = own.iter().flat_map(|own| &own.entries).map(|(key, slot)| (key, slot)).collect();
    let mut folded = Folded::default();
    folded.merged.complete = complete;
    for items in names.into_values() {
        let Some(first) = items.iter().find(|item| item.present).or(items.first()) else { continue };
        let common = folds.common(&first.key);
        let settled = match common {
            Some(_) => is_witness(&items, pages.len()),
            None => is_settled(&items, pages.len()),
        };
        let slot = settled.and_then(|item| here.get(&item.key).filter(|slot| slot.accepted == item.ballot));
        match (slot, common) {
            (Some(slot), _) => {
                let slot = RegisterSlot { chosen: true, ..(*slot).clone() };
                folded.merged.found.insert(first.key.clone(), slot);
            }
            (None, None) => drop(folded.merged.unsure.insert(first.key.clone())),
            (None, Some(common)) if first.present => drop(folded.witnesses.insert(first.key.clone(), common)),
            (None, Some(common)) => drop(folded.within.insert(common)),
        }
    }
    folded
}

/// The witness of a common prefix, if all pages show the same one, and somebody knows that it is chosen.
fn is_witness<'a>(items: &[&'a Item], pages: usize) -> Option<&'a Item> {
    let present: Vec<_> = items.iter().filter(|item| item.present).collect();
    let first = *present.first()?;
    let same = present.iter().all(|item| (&item.key, item.ballot) == (&first.key, first.ballot));
    (present.len() == pages && same && present.iter().any(|item| item.chosen)).then_some(first)
}

/// What a register that is shown itself holds, if all pages say something of it, and the highest is known to be chosen.
fn is_settled<'a>(items: &[&'a Item], pages: usize) -> Option<&'a Item> {
    let highest = items.iter().max_by_key(|item| item.ballot)?;
    let chosen = items.iter().any(|item| item.ballot == highest.ballot && item.chosen);
    (items.len() == pages && chosen && highest.present).then_some(highest)
}

#[cfg(test)]
mod tests;
