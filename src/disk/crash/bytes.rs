//! The bytes of one file: what is seen, what is durable, and what chance leaves of the rest.
//!
//! Invariant: a sync writes the pages that were changed since the last one, also if that failed. So what a failed sync
//! left behind is seen until it is forgotten, and never becomes durable by itself.

use super::chance::{Keep, Rng};
use crate::disk::sparse::Sparse;
use std::io;

/// The unit that a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// The unit that the system remembers and writes.
const PAGE_BYTES: u64 = 4096;

#[derive(Debug, Default)]
pub struct Bytes {
    pub seen: Sparse,
    pub durable: Sparse,
    /// What was durable before the last sync that changed anything.
    pub before: Sparse,
    changes: Vec<Change>,
    /// How often writing failed. Each handle hears of it once.
    pub failures: u64,
    /// Whether nobody has heard of the last failure.
    pub untold: bool,
}

/// A change of bytes that no `sync_data` has covered yet.
#[derive(Debug)]
pub enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl Bytes {
    pub fn of(bytes: Sparse) -> Self {
        Bytes { durable: bytes.clone(), seen: bytes, ..Bytes::default() }
    }

    pub fn change(&mut self, change: Change) -> io::Result<()> {
        match &change {
            Change::Write(offset, data) => self.seen.write(*offset, data)?,
            Change::SetLen(len) => self.seen.set_len(*len)?,
        }
        self.changes.push(change);
        Ok(())
    }

    pub fn sync(&mut self) -> io::Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.before = self.durable.clone();
        let changes = std::mem::take(&mut self.changes);
        for change in &changes {
            if let Change::SetLen(len) = change {
                self.durable.set_len(*len)?;
            }
        }
        for change in &changes {
            let Change::Write(offset, data) = change else { continue };
            let from = offset - offset % PAGE_BYTES;
            let to = (offset + data.len() as u64).next_multiple_of(PAGE_BYTES).min(self.seen.len());
            let mut pages = vec![0; usize::try_from(to.saturating_sub(from)).map_err(|_| io::ErrorKind::FileTooLarge)?];
            self.seen.read(from, &mut pages)?;
            self.durable.write(from, &pages)?;
        }
        self.durable.set_len(self.seen.len())
    }

    /// Writing fails: what was changed is taken for written, and is as chance has it.
    pub fn fail(&mut self, rng: &mut Rng) {
        self.lose(rng);
        self.failures += 1;
        self.untold = true;
    }

    /// The same, and nobody is told of it: no disk that can be built on does this.
    pub fn lose(&mut self, rng: &mut Rng) {
        self.durable = self.survive(rng).durable;
        self.changes.clear();
    }

    /// The system forgets what it takes for written of the pages that lie whole in this range.
    pub fn forget(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let (from, to) = (offset.next_multiple_of(PAGE_BYTES), offset.saturating_add(len));
        if from == 0 && to >= self.seen.len() {
            self.seen = self.durable.clone();
        } else {
            let mut page = vec![0; PAGE_BYTES as usize];
            for at in (from..to.min(self.seen.len())).step_by(PAGE_BYTES as usize) {
                if at + PAGE_BYTES <= to.min(self.seen.len()) {
                    self.durable.read(at, &mut page)?;
                    self.seen.write(at, &page)?;
                }
            }
        }
        for change in &self.changes {
            match change {
                Change::Write(offset, data) => self.seen.write(*offset, data)?,
                Change::SetLen(len) => self.seen.set_len(*len)?,
            }
        }
        Ok(())
    }

    /// What chance leaves of this file. An old length cuts what was written behind it.
    pub fn survive(&self, rng: &mut Rng) -> Bytes {
        let mut left = self.durable.clone();
        let (writes, sectors) = (Keep::draw(rng), Keep::draw(rng));
        let torn = rng.below(2) == 0;
        for change in &self.changes {
            if !writes.has(rng) {
                continue;
            }
            let applied = match change {
                Change::SetLen(len) => left.set_len(*len),
                Change::Write(offset, data) if !torn => left.write(*offset, data),
                Change::Write(offset, data) => sectors_of(*offset, data)
                    .filter(|_| sectors.has(rng))
                    .try_for_each(|(at, sector)| left.write(at, sector)),
            };
            debug_assert!(applied.is_ok(), "it was applied once before");
        }
        if left.len() > self.durable.len() && rng.below(4) == 0 {
            let cut = left.set_len(self.durable.len());
            debug_assert!(cut.is_ok(), "a cut takes no room");
        }
        Bytes::of(left)
    }
}

/// Cuts a write at the borders of sectors.
fn sectors_of(offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = offset;
    let mut rest = data;
    std::iter::from_fn(move || {
        let room = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).unwrap_or(usize::MAX);
        let (sector, after) = rest.split_at(room.min(rest.len()));
        let from = at;
        at += sector.len() as u64;
        rest = after;
        (!sector.is_empty()).then_some((from, sector))
    })
}
