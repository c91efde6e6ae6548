//! Reading the index in order: registers as they were at one moment, of one table or of both.
//!
//! Invariants
//! - What is read is of the moment at which it was begun, whatever is brought to the index meanwhile.
//! - Each register comes once, in the order of keys, whichever table it is in.

use super::{DEAD, Index, LIVE, Records, corrupt, engine};
use crate::base::RegisterKey;
use crate::store::entry::Held;
use crate::store::error::StoreError;
use redb::{AccessGuard, Range, ReadOnlyTable, ReadableDatabase};
use std::ops::Bound;

/// What the engine has of one register.
type Entry = (AccessGuard<'static, &'static [u8]>, AccessGuard<'static, &'static [u8]>);

/// Which registers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that lists are made of: no tombstone that is known to be chosen.
    Shown,
}

/// Registers of the index as they were at one moment, in order.
pub struct Reading<'a> {
    index: &'a Index,
    cursors: Vec<Cursor>,
}

/// A place in one table.
struct Cursor {
    records: ReadOnlyTable<&'static [u8], &'static [u8]>,
    ahead: Option<Range<'static, &'static [u8], &'static [u8]>>,
    /// The next one, looked at and not taken.
    peeked: Option<Entry>,
}

impl Reading<'_> {
    /// Goes where the range begins.
    pub fn seek(&mut self, from: Bound<&RegisterKey>, to: &RegisterKey) -> Result<(), StoreError> {
        self.index.work(|| self.cursors.iter_mut().try_for_each(|cursor| cursor.seek(from, to)))
    }

    /// The register that comes next, without taking it.
    pub fn peek(&mut self) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.next()?.and_then(|cursor| cursor.key()))
    }

    /// Takes the register that comes next.
    pub fn take(&mut self) -> Result<Option<(RegisterKey, Held)>, StoreError> {
        let index = self.index;
        let Some((key, value)) = self.next()?.and_then(|cursor| cursor.peeked.take()) else { return Ok(None) };
        index.work(|| {
            let key = RegisterKey::from_bytes(key.value()).ok_or(StoreError::Corrupt { what: "index key" })?;
            Ok(Some((key, Held::decode(value.value()).map_err(corrupt)?)))
        })
    }

    /// Passes over the register that comes next.
    pub fn skip(&mut self) -> Result<(), StoreError> {
        if let Some(cursor) = self.next()? {
            cursor.peeked = None;
        }
        Ok(())
    }

    /// Goes on behind `last`.
    pub fn pass(&mut self, last: &RegisterKey, to: &RegisterKey) -> Result<(), StoreError> {
        self.index.work(|| self.cursors.iter_mut().try_for_each(|cursor| cursor.pass(last, to)))
    }

    /// The cursor that has the next register.
    fn next(&mut self) -> Result<Option<&mut Cursor>, StoreError> {
        if self.cursors.iter().any(|cursor| cursor.peeked.is_none() && cursor.ahead.is_some()) {
            self.index.work(|| self.cursors.iter_mut().try_for_each(Cursor::fill))?;
        }
        let with_key = self.cursors.iter_mut().filter(|cursor| cursor.peeked.is_some());
        Ok(with_key.min_by(|a, b| a.key().cmp(&b.key())))
    }
}

impl Cursor {
    fn seek(&mut self, from: Bound<&RegisterKey>, to: &RegisterKey) -> Result<(), StoreError> {
        let bounds = (from.map(RegisterKey::as_bytes), Bound::Excluded(to.as_bytes()));
        self.peeked = None;
        self.ahead = Some(self.records.range::<&[u8]>(bounds).map_err(engine)?);
        Ok(())
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        if self.peeked.is_none()
            && let Some(ahead) = &mut self.ahead
        {
            self.peeked = ahead.next().transpose().map_err(engine)?;
            // At its end it is not asked again.
            self.ahead = self.ahead.take().filter(|_| self.peeked.is_some());
        }
        Ok(())
    }

    fn key(&self) -> Option<&[u8]> {
        self.peeked.as_ref().map(|(key, _)| key.value())
    }

    /// What comes next may lie on a page that nobody else needs: it is not looked for before the jump.
    fn pass(&mut self, last: &RegisterKey, to: &RegisterKey) -> Result<(), StoreError> {
        match self.key() {
            Some(key) if key > last.as_bytes() => Ok(()),
            _ => self.seek(Bound::Excluded(last), to),
        }
    }
}

impl Index {
    /// Begins to read registers in order, as the index is now.
    pub fn read(&self, which: Which) -> Result<Reading<'_>, StoreError> {
        let tables: &[Records] = match which {
            Which::Shown => &[LIVE],
            Which::All => &[LIVE, DEAD],
        };
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let cursor = |table: &Records| {
                let records = tx.open_table(*table).map_err(engine)?;
                Ok(Cursor { records, ahead: None, peeked: None })
            };
            Ok(Reading { index: self, cursors: tables.iter().map(cursor).collect::<Result<_, StoreError>>()? })
        })
    }
}
