//! How many keys in the records of the index are sealed under each generation, and how far a walk that seals them anew
//! has come.
//!
//! Invariants
//! - Rows change in the transaction of the records: they are what the records come to, always.
//! - A place is kept no earlier than what was sealed anew in front of it.

use super::{Index, LIVE, NODE, corrupt, engine};
use crate::base::{KekId, RegisterKey};
use crate::store::entry::Held;
use crate::store::error::StoreError;
use crate::store::sealed_keys::each_kek;
use crate::store::walk_place::WalkPlace;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::sync::PoisonError;

pub(super) const KEKS: TableDefinition<[u8; 16], u64> = TableDefinition::new("keks");
const PLACE: &str = "resealing";

/// How many keys are sealed under each generation. None has a row of 0.
pub type KeyCounts = BTreeMap<KekId, u64>;

/// A generation whose count is not what records come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDifference {
    /// Which generation.
    pub kek: KekId,
    /// Keys under it by its row.
    pub counted: u64,
    /// Keys that are.
    pub records: u64,
}

/// What one commit changes of the counts.
#[derive(Debug, Default)]
pub(super) struct KeyChanges(BTreeMap<KekId, i64>);

impl KeyChanges {
    /// A register held `old`, and holds `now`.
    pub fn replaced(&mut self, old: Option<&Held>, now: Option<&Held>) {
        for (held, by) in [(old, -1), (now, 1)] {
            let Some(held) = held else { continue };
            each_kek(&held.record, |kek| *self.0.entry(kek).or_default() += by);
        }
    }

    /// Writes the rows that change. All of them then.
    pub fn write(self, tx: &redb::WriteTransaction) -> Result<KeyCounts, StoreError> {
        let mut table = tx.open_table(KEKS).map_err(engine)?;
        for (kek, by) in self.0.into_iter().filter(|(_, by)| *by != 0) {
            let was = table.get(kek.0).map_err(engine)?.map_or(0, |count| count.value());
            match was.saturating_add_signed(by) {
                0 => drop(table.remove(kek.0).map_err(engine)?),
                count => drop(table.insert(kek.0, count).map_err(engine)?),
            }
        }
        read(&table)
    }
}

fn read(table: &impl ReadableTable<[u8; 16], u64>) -> Result<KeyCounts, StoreError> {
    let mut counts = KeyCounts::new();
    for row in table.iter().map_err(engine)? {
        let (kek, count) = row.map_err(engine)?;
        counts.insert(KekId(kek.value()), count.value());
    }
    Ok(counts)
}

/// Keeps a place, or that there is none.
pub(super) fn keep_place(tx: &redb::WriteTransaction, place: Option<&WalkPlace>) -> Result<(), StoreError> {
    let mut kept = tx.open_table(NODE).map_err(engine)?;
    match place {
        None => drop(kept.remove(PLACE).map_err(engine)?),
        Some(WalkPlace { kek, after }) => {
            let after = after.as_ref().map_or(&[][..], RegisterKey::as_bytes);
            kept.insert(PLACE, [&kek.0[..], after].concat().as_slice()).map_err(engine)?;
        }
    }
    Ok(())
}

impl Index {
    /// Keys under each generation, as of the last checkpoint.
    pub fn key_counts(&self) -> KeyCounts {
        self.keks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep_key_counts(&self, counts: KeyCounts) {
        *self.keks.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// The same as they lie there.
    pub(super) fn read_key_counts(db: &redb::Database) -> Result<KeyCounts, StoreError> {
        let tx = db.begin_read().map_err(engine)?;
        read(&tx.open_table(KEKS).map_err(engine)?)
    }

    /// How far a walk had come by the last checkpoint.
    pub fn walk_place(&self) -> Result<Option<WalkPlace>, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(NODE).map_err(engine)?;
            let Some(kept) = table.get(PLACE).map_err(engine)? else { return Ok(None) };
            // One that is none costs a walk from the beginning.
            let Some((kek, after)) = kept.value().split_first_chunk::<16>() else { return Ok(None) };
            Ok(Some(WalkPlace { kek: KekId(*kek), after: RegisterKey::from_bytes(after) }))
        })
    }

    /// Counts the keys in all records anew. Generations whose rows differ.
    pub fn recount_keys(&self) -> Result<Vec<KeyDifference>, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let mut found = KeyCounts::new();
            // A tombstone that is known to be chosen has none.
            for entry in tx.open_table(LIVE).map_err(engine)?.iter().map_err(engine)? {
                let (_, value) = entry.map_err(engine)?;
                let held = Held::decode(value.value()).map_err(corrupt)?;
                each_kek(&held.record, |kek| *found.entry(kek).or_default() += 1);
            }
            let counted = read(&tx.open_table(KEKS).map_err(engine)?)?;
            let of = |counts: &KeyCounts, kek| counts.get(&kek).copied().unwrap_or(0);
            let mut all: Vec<KekId> = found.keys().chain(counted.keys()).copied().collect();
            all.sort();
            all.dedup();
            let differs = |kek| KeyDifference { kek, counted: of(&counted, kek), records: of(&found, kek) };
            Ok(all.into_iter().map(differs).filter(|one| one.counted != one.records).collect())
        })
    }

    /// Takes over what a recount has found, durably. Between two commits.
    pub fn take_keys_over(&self, differences: &[KeyDifference]) -> Result<(), StoreError> {
        self.work(|| {
            let mut tx = self.db.begin_write().map_err(engine)?;
            tx.set_quick_repair(true);
            let counts = {
                let mut table = tx.open_table(KEKS).map_err(engine)?;
                for KeyDifference { kek, records, .. } in differences {
                    match records {
                        0 => drop(table.remove(kek.0).map_err(engine)?),
                        records => drop(table.insert(kek.0, records).map_err(engine)?),
                    }
                }
                read(&table)?
            };
            tx.commit().map_err(engine)?;
            self.keep_key_counts(counts);
            Ok(())
        })
    }
}

#[cfg(test)]
impl Index {
    /// Counts a generation for so many keys, whatever the records say.
    pub(in crate::store) fn miscount_keys(&self, kek: KekId, counted: u64) {
        let differs = KeyDifference { kek, counted: 0, records: counted };
        self.take_keys_over(&[differs]).expect("it is written");
    }
}
