//! Walks: the registers in order, overlay and index merged from where one stands, with jumps.
//!
//! Invariants
//! - Each register that is passed is told as it was at some moment since the walk began.
//! - The overlay is held for a part of it at a time, and never while the index is read.
//! - The index is read as it was when a part was taken, or later: what had left the overlay by then is found there.
//!   Once another layer was retired the index is opened anew.

use super::core::Core;
use super::entry::Held;
use super::error::StoreError;
use super::index::reading::{Reading, Which};
use super::overlay::Layer;
use crate::base::{Complete, Mark, RegisterKey};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Entries of each source in a part of the overlay: few behind a jump, twice as many where the walk goes on.
const PART_MIN: usize = 8;
const PART_MAX: usize = 256;

/// A register that a walk has come by, and what it holds; nothing where it was forgotten.
pub(super) type Passed = (RegisterKey, Option<Arc<Held>>);

/// A walk from one register to below another.
pub(super) struct Walk<'a> {
    core: &'a Core,
    /// Where it goes on.
    at: Bound<RegisterKey>,
    to: &'a RegisterKey,
    part: Part,
    /// Entries of the next part.
    most: usize,
    /// With the layers that had been retired when it was opened.
    index: Option<(Reading<'a>, u64)>,
    which: Which,
}

/// What was copied of the overlay.
#[derive(Default)]
struct Part {
    entries: BTreeMap<RegisterKey, Option<Arc<Held>>>,
    /// What it is complete to; nothing before there is one.
    complete: Option<Complete>,
    /// Whether nothing of the index counts.
    cleared: bool,
    /// Layers that had been retired by then.
    retired: u64,
}

impl<'a> Walk<'a> {
    /// Where it reads `Which::Shown` alone, registers that the index does not show may be among the others.
    pub(super) fn new(core: &'a Core, which: Which, from: Bound<&RegisterKey>, to: &'a RegisterKey) -> Self {
        Walk { core, at: from.cloned(), to, part: Part::default(), most: PART_MIN, index: None, which }
    }

    /// Up to where everything has been told, once something was passed.
    pub(super) fn place(&self) -> Complete {
        match &self.at {
            Bound::Excluded(last) => Complete::Through(last.clone()),
            Bound::Included(_) | Bound::Unbounded => unreachable!("a walk that has passed something stands behind it"),
        }
    }

    /// The next register; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Passed>, StoreError> {
        while bounds_hold(self.at.as_ref(), self.to) {
            if self.part.complete.is_none() {
                self.take_part()?;
            }
            let indexed = match &mut self.index {
                Some((index, _)) if !self.part.cleared => index.peek()?,
                _ => None,
            };
            let held = self.part.entries.first_key_value().map(|(key, _)| key.as_bytes());
            let comes_from_index = match (held, indexed) {
                (None, None) => false,
                (Some(held), Some(indexed)) => indexed < held,
                (held, _) => held.is_none(),
            };
            let next = if comes_from_index { self.take_indexed()? } else { self.take_held()? };
            if let Some((key, _)) = &next {
                self.at = Bound::Excluded(key.clone());
                return Ok(next);
            }
            // The part is used up, and what the index has next lies behind it.
            match self.part.complete.take() {
                Some(Complete::Through(last)) => self.at = Bound::Excluded(last),
                Some(Complete::End) | None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Goes on behind `edge`, which lies behind what was told last.
    pub(super) fn jump(&mut self, edge: RegisterKey) -> Result<(), StoreError> {
        if self.part.complete.as_ref().is_some_and(|complete| complete.covers(&edge)) {
            self.part.entries = self.part.entries.split_off(&edge);
        } else {
            (self.part.complete, self.most) = (None, PART_MIN);
        }
        if let Some((index, _)) = &mut self.index {
            index.pass(&edge, self.to)?;
        }
        self.at = Bound::Excluded(edge);
        Ok(())
    }

    /// The next entry of the part. It hides what the index has of the register.
    fn take_held(&mut self) -> Result<Option<Passed>, StoreError> {
        let Some((key, held)) = self.part.entries.pop_first() else { return Ok(None) };
        if let Some((index, _)) = &mut self.index
            && !self.part.cleared
            && index.peek()? == Some(key.as_bytes())
        {
            index.skip()?;
            if held.is_none() {
                Mark::BurialMetScan.hit();
            }
        }
        Ok(Some((key, held)))
    }

    /// The next entry of the index, if the part says that nothing newer is known of it.
    fn take_indexed(&mut self) -> Result<Option<Passed>, StoreError> {
        let Some((index, _)) = &mut self.index else { return Ok(None) };
        if let (Some(Complete::Through(last)), Some(key)) = (&self.part.complete, index.peek()?)
            && key > last.as_bytes()
        {
            return Ok(None);
        }
        Ok(index.take()?.map(|(key, held)| (key, Some(Arc::new(held)))))
    }

    /// Copies what the overlay has ahead, and opens the index anew where something has left the overlay since.
    fn take_part(&mut self) -> Result<(), StoreError> {
        let range = (self.at.as_ref(), Bound::Excluded(self.to));
        let mut part = Part { complete: Some(Complete::End), ..Part::default() };
        {
            let overlay = self.core.overlay();
            part.retired = overlay.retired;
            for layer in overlay.layers() {
                part.take(layer, range, self.most);
                if layer.cleared {
                    part.cleared = true;
                    break;
                }
            }
        }
        if let Some(Complete::Through(last)) = &part.complete {
            part.entries.retain(|key, _| key <= last);
        }
        if !part.cleared && self.index.as_ref().is_none_or(|(_, retired)| *retired != part.retired) {
            let mut index = self.core.index.read(self.which)?;
            index.seek(self.at.as_ref(), self.to)?;
            self.index = Some((index, part.retired));
        }
        self.most = (self.most * 2).min(PART_MAX);
        self.part = part;
        Ok(())
    }
}

type Span<'a> = (Bound<&'a RegisterKey>, Bound<&'a RegisterKey>);

impl Part {
    /// Takes the first entries of a layer into what newer ones have left open.
    fn take(&mut self, layer: &Layer, span: Span<'_>, most: usize) {
        let held = layer.records.range::<RegisterKey, _>(span).map(|(key, held)| (key, Some(held)));
        let forgotten = layer.forgotten.range::<RegisterKey, _>(span).map(|key| (key, None));
        let ends = [self.first(held, most), self.first(forgotten, most)];
        self.complete = ends.into_iter().chain(self.complete.take()).min();
    }

    fn first<'a>(
        &mut self,
        source: impl Iterator<Item = (&'a RegisterKey, Option<&'a Arc<Held>>)>,
        most: usize,
    ) -> Complete {
        for (count, (key, held)) in (1..).zip(source) {
            self.entries.entry(key.clone()).or_insert_with(|| held.map(Arc::clone));
            if count == most {
                return Complete::Through(key.clone());
            }
        }
        Complete::End
    }
}

pub(super) fn bounds_hold(from: Bound<&RegisterKey>, to: &RegisterKey) -> bool {
    match from {
        Bound::Included(from) | Bound::Excluded(from) => from < to,
        Bound::Unbounded => true,
    }
}
