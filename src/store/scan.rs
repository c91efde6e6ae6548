//! Scans: overlay and index merged in key order, page by page.
//!
//! Invariants
//! - A page has every register that holds something, up to what it says it is complete to.
//! - A page takes a bounded time: it looks at `limit` entries of each source, those of forgotten registers included,
//!   and may be empty for that.

use super::core::Core;
use super::entry::Held;
use super::error::StoreError;
use crate::base::{Complete, Mark, Page, RegisterKey};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Registers that hold something, with their states.
pub type Registers = Page<(RegisterKey, Arc<Held>)>;

impl Core {
    /// At most `limit` registers from `from` to below `to`, tombstones included.
    pub(super) fn scan(
        &self,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Registers, StoreError> {
        if !bounds_hold(from, to) {
            return Ok(Page::whole(Vec::new()));
        }
        let limit = limit.max(1);
        // `None`: forgotten.
        let mut merged: BTreeMap<RegisterKey, Option<Arc<Held>>> = BTreeMap::new();
        let mut cleared = false;
        let mut complete = Complete::End;
        // The overlay first: what moves from it to the index meanwhile is then seen twice, not never.
        {
            let overlay = self.overlay();
            for layer in overlay.layers() {
                let range = (from, Bound::Excluded(to));
                let held = layer.records.range(range).map(|(key, held)| (key, Some(held)));
                let forgotten = layer.forgotten.range::<RegisterKey, _>(range).map(|key| (key, None));
                for source in [first(held, limit, &mut merged), first(forgotten, limit, &mut merged)] {
                    complete = complete.min(source);
                }
                cleared = layer.cleared;
                if cleared {
                    break;
                }
            }
        }
        if !cleared {
            let indexed = self.index.range(from, to, limit)?;
            complete = complete.min(indexed.complete);
            for (key, held) in indexed.entries {
                let newer = merged.entry(key).or_insert_with(|| Some(Arc::new(held)));
                if newer.is_none() {
                    Mark::BurialMetScan.hit();
                }
            }
        }
        let known = merged.into_iter().filter(|(key, _)| complete.covers(key));
        let entries = known.filter_map(|(key, held)| Some((key, held?))).collect();
        let mut page = Page { entries, complete };
        page.cut(limit, |(key, _)| key);
        if page.complete != Complete::End && page.entries.len() < limit {
            if page.entries.is_empty() { Mark::EmptyPage.hit() } else { Mark::ShortPage.hit() }
        }
        Ok(page)
    }
}

/// Takes the first entries of a source into what newer sources have left open, and says what they are complete to.
fn first<'a>(
    source: impl Iterator<Item = (&'a RegisterKey, Option<&'a Arc<Held>>)>,
    limit: usize,
    merged: &mut BTreeMap<RegisterKey, Option<Arc<Held>>>,
) -> Complete {
    for (count, (key, held)) in (1..).zip(source) {
        merged.entry(key.clone()).or_insert_with(|| held.map(Arc::clone));
        if count == limit {
            return Complete::Through(key.clone());
        }
    }
    Complete::End
}

fn bounds_hold(from: Bound<&RegisterKey>, to: &RegisterKey) -> bool {
    match from {
        Bound::Included(from) | Bound::Excluded(from) => from < to,
        Bound::Unbounded => true,
    }
}

#[cfg(test)]
mod tests;
