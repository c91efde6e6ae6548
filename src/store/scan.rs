//! Pages of registers: all of a range, or what a list shows of it.
//!
//! Invariants
//! - A page has everything of its kind, up to what it says it is complete to.
//! - A page takes a bounded time: it looks at so many registers, those included that were forgotten or that it does not
//!   take, and may be empty for that.
//! - It takes bounded memory: the records of objects in thousands of parts are long, and few of them make a page.

use super::core::Core;
use super::entry::Held;
use super::error::StoreError;
use super::index::reading::Which;
use super::walk::Walk;
use crate::base::{Folds, Mark, Page, RegisterKey};
use std::ops::Bound;
use std::sync::Arc;

/// Registers that hold something, with their states.
pub type Registers = Page<(RegisterKey, Arc<Held>)>;

/// A page takes no further register behind so many bytes of lists of parts and the like.
const BYTES_MAX: usize = 4 << 20;

/// What a page makes of a register.
enum Look {
    Pass,
    Take,
    /// It stands for all that lies in front of this edge.
    TakeFor(RegisterKey),
}

impl Core {
    /// At most `limit` registers from `from` to below `to`, tombstones included.
    pub(super) fn scan(
        &self,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Registers, StoreError> {
        self.page(Which::All, from, to, (limit.max(1), limit.max(1)), |_, _| Look::Take)
    }

    /// At most `limit` registers of what a list shows from `from` to below `to`: of each common prefix the first that is
    /// present, its witness. Tombstones that are known to be chosen are left out. Others are not: passed over before
    /// they are settled, they would let a later reader find the state before them.
    pub(super) fn shown(
        &self,
        folds: &Folds,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Result<Registers, StoreError> {
        let looks = self.options.looks_max.max(1);
        self.page(Which::Shown, from, to, (looks, limit.max(1)), |key, held| match held.record.is_present() {
            true => folds.common(key).map_or(Look::Take, |common| Look::TakeFor(common.edge())),
            false if held.is_dead() => Look::Pass,
            false => Look::Take,
        })
    }

    fn page(
        &self,
        which: Which,
        from: Bound<&RegisterKey>,
        to: &RegisterKey,
        (looks, limit): (usize, usize),
        judge: impl Fn(&RegisterKey, &Held) -> Look,
    ) -> Result<Registers, StoreError> {
        let mut walk = Walk::new(self, which, from, to);
        let (mut page, mut bytes) = (Page::whole(Vec::new()), 0);
        for _ in 0..looks {
            let Some((key, held)) = walk.next()? else { return Ok(page) };
            let Some(held) = held else { continue };
            bytes += held.record.variable_len();
            let look = judge(&key, &held);
            if let Look::TakeFor(edge) = &look {
                walk.jump(edge.clone())?;
            }
            if !matches!(look, Look::Pass) {
                page.entries.push((key, held));
            }
            if page.entries.len() == limit || bytes > BYTES_MAX {
                break;
            }
        }
        page.complete = walk.place();
        if page.entries.len() < limit {
            if page.entries.is_empty() { Mark::EmptyPage.hit() } else { Mark::ShortPage.hit() }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
