//! The tables of the index against each other.

use super::{APART, BODIES, CHANGES, CURSORS, DEAD, Index, LIVE, PLACES, SEGMENTS, corrupt, engine, place_of};
use crate::base::BodyId;
use crate::store::entry::Held;
use crate::store::error::StoreError;
use crate::store::places::{SegmentId, Usages, moved};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

/// Compares what places come to with what is counted. Those of bodies that no record refers to.
fn check_places(
    tx: &redb::ReadTransaction,
    bodies: &impl ReadableTable<[u8; 16], u32>,
) -> Result<Vec<BodyId>, StoreError> {
    let (mut counted, mut orphans) = (Usages::new(), Vec::new());
    for entry in tx.open_table(PLACES).map_err(engine)?.iter().map_err(engine)? {
        let (body, place) = entry.map_err(engine)?;
        if bodies.get(body.value()).map_err(engine)?.is_none() {
            orphans.push(BodyId(body.value()));
        }
        moved(&mut counted, None, Some(place_of(place.value())));
    }
    for entry in tx.open_table(SEGMENTS).map_err(engine)?.iter().map_err(engine)? {
        let (segment, usage) = entry.map_err(engine)?;
        let (live, end) = usage.value();
        let found = counted.remove(&SegmentId(segment.value())).unwrap_or_default();
        if found.live != live || found.end > end {
            return Err(APART);
        }
    }
    if counted.is_empty() { Ok(orphans) } else { Err(APART) }
}

impl Index {
    /// Reads every entry of every table and compares them, but for the counts of references, which are recounted. For
    /// `verify`; a checkpoint goes before, so that this is all there is. Bodies that have a place and no record.
    pub fn check(&self) -> Result<Vec<BodyId>, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let live = tx.open_table(LIVE).map_err(engine)?;
            let dead = tx.open_table(DEAD).map_err(engine)?;
            let changes = tx.open_table(CHANGES).map_err(engine)?;
            let bodies = tx.open_table(BODIES).map_err(engine)?;
            for (table, other, is_dead) in [(&live, &dead, false), (&dead, &live, true)] {
                for entry in table.iter().map_err(engine)? {
                    let (key, value) = entry.map_err(engine)?;
                    let held = Held::decode(value.value()).map_err(corrupt)?;
                    if held.is_dead() != is_dead || other.get(key.value()).map_err(engine)?.is_some() {
                        return Err(APART);
                    }
                    if changes.get(held.seq).map_err(engine)?.is_none_or(|change| change.value() != key.value()) {
                        return Err(APART);
                    }
                }
            }
            let registers = live.len().map_err(engine)? + dead.len().map_err(engine)?;
            if changes.len().map_err(engine)? != registers {
                return Err(APART);
            }
            let orphans = check_places(&tx, &bodies)?;
            for entry in tx.open_table(CURSORS).map_err(engine)?.iter().map_err(engine)? {
                entry.map_err(engine)?;
            }
            Ok(orphans)
        })
    }
}
