//! The index: an ordered, transactional key-value store whose pages are sealed below it.
//!
//! Invariants
//! - One checkpoint is one transaction: records, feed, blob references, what buckets hold, cursors and the log mark.
//! - A register is in `LIVE` or in `DEAD`, never in both: there if it is a tombstone that is known to be chosen, here
//!   otherwise. So whoever lists reads `LIVE` alone, and passes over nothing that is to be settled.
//! - A register has one entry in `CHANGES`, at its latest number.
//! - `BODIES` counts how many records refer to each body: see `references`.
//! - `KEKS` counts the keys in all records by the generation that they are sealed under: see `keks`.
//! - `PLACES` has those of them that lie in segments, and orphans for a while; `SEGMENTS` what that comes to in each, and
//!   where the last of all that ever lay there ends.
//! - Damage has one name, whatever the engine calls what comes of it. Whoever runs the store hears of it once
//!   (`Options::index_failed`), and once of any other failure of the engine.

use super::claims::Flushed;
use super::entry::{Held, NodeRecord};
use super::error::StoreError;
use super::filling::Filling;
use super::overlay::Layer;
use super::pace::Step;
use super::pacing::Pacing;
use super::pages::{PagesProbe, guarded, is_damage, unless_it_waits};
use super::places::{Place, SegmentId, Usage, Usages, moved};
use crate::base::codec::CodecError;
use crate::base::{BodyId, BucketId, BucketUsage, Class, Incarnation, RegisterKey, Stamp};
use crate::register::Kept;
use keks::{KEKS, KeyChanges, KeyCounts, keep_place};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition};
use references::{Counted, Counter, Counts};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

mod check;
pub mod keks;
pub mod reading;
pub mod references;

type Records = TableDefinition<'static, &'static [u8], &'static [u8]>;

const LIVE: Records = TableDefinition::new("live");
const DEAD: Records = TableDefinition::new("dead");
const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
const BODIES: TableDefinition<[u8; 16], u32> = TableDefinition::new("bodies");
const PLACES: TableDefinition<[u8; 16], (u32, u32, u32)> = TableDefinition::new("places");
const SEGMENTS: TableDefinition<u32, (u64, u64)> = TableDefinition::new("segments");
const USAGE: TableDefinition<u64, (u64, u64)> = TableDefinition::new("usage");
const CURSORS: TableDefinition<u64, u64> = TableDefinition::new("cursors");
const MARKS: TableDefinition<&str, u64> = TableDefinition::new("marks");
const NODE: TableDefinition<&str, &[u8]> = TableDefinition::new("node");

const MARK_LOG: &str = "log";
const MARK_SEQ: &str = "seq";
const MARK_STAMP: &str = "stamp";
const MARK_ORPHANS: &str = "orphans";
const MARK_COUNTED: &str = "counted";
const MARK_PAGES: &str = "format";
const VOTES: &str = "votes";
const MEMORY: &str = "memory";
/// Registers after which the pace hears how far a checkpoint is.
const TOLD_EVERY: u64 = 64;
/// The format of the directory that this release reads and writes.
pub(super) const FORMAT: u64 = 13;

/// How far the index is, read at open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The log position from which to replay.
    pub log: u64,
    /// The highest commit number in the index.
    pub seq: u64,
    /// The highest stamp in the index.
    pub stamp: Stamp,
    /// Whether bodies may have places that no record refers to: see `orphans`.
    pub orphans: bool,
    /// Whether the counts of references are known to be right, and nothing is left to be looked for: after a stop in
    /// order.
    pub counted: bool,
}

impl Marks {
    fn read(db: &Database) -> Result<Self, StoreError> {
        let tx = db.begin_read().map_err(engine)?;
        let table = tx.open_table(MARKS).map_err(engine)?;
        let mark = |name| table.get(name).map_err(engine).map(|v| v.map_or(0, |v| v.value()));
        let found = mark(MARK_PAGES)?;
        if found != FORMAT {
            return Err(StoreError::OtherFormat { found, ours: FORMAT });
        }
        let (log, seq, stamp) = (mark(MARK_LOG)?, mark(MARK_SEQ)?, Stamp(mark(MARK_STAMP)?));
        Ok(Marks { log, seq, stamp, orphans: mark(MARK_ORPHANS)? > 0, counted: mark(MARK_COUNTED)? > 0 })
    }
}

/// The open index of a data directory.
#[derive(Debug)]
pub struct Index {
    db: Database,
    probe: Arc<PagesProbe>,
    /// Hears how far a checkpoint is.
    pub(super) pacing: Pacing,
    /// Hears of the first damage, and of the first other failure.
    tell: fn(&StoreError),
    damaged: AtomicBool,
    /// Whether the engine has failed for another reason.
    failed: AtomicBool,
    /// How far the counts of references can be relied on.
    counts: Mutex<Counts>,
    /// Whether they are right: the same, for who is not to wait.
    is_sure: AtomicBool,
    /// What `KEKS` holds.
    keks: Mutex<KeyCounts>,
}

/// Every error of the engine, boxed: it is large and rare.
fn engine(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Index(Box::new(error.into()))
}

const APART: StoreError = StoreError::Corrupt { what: "index (its tables differ)" };

fn corrupt(_: CodecError) -> StoreError {
    StoreError::Corrupt { what: "index entry" }
}

/// Takes a register out of a table.
fn take(table: &mut Table<'_, &'static [u8], &'static [u8]>, key: &RegisterKey) -> Result<Option<Held>, StoreError> {
    let old = table.remove(key.as_bytes()).map_err(engine)?;
    old.map(|old| Held::decode(old.value()).map_err(corrupt)).transpose()
}

/// Brings the registers of a layer in: each into the table that it belongs to, with its place in the feed and the bodies
/// that it refers to, which a recount that is under way hears of.
fn apply_records(
    tx: &redb::WriteTransaction,
    layer: &Layer,
    pacing: &Pacing,
    is_recounted: bool,
) -> Result<(Counted, KeyCounts), StoreError> {
    let mut live = tx.open_table(LIVE).map_err(engine)?;
    let mut dead = tx.open_table(DEAD).map_err(engine)?;
    let mut changes = tx.open_table(CHANGES).map_err(engine)?;
    let mut counter = Counter::new(tx.open_table(BODIES).map_err(engine)?, is_recounted);
    let mut keys = KeyChanges::default();
    for key in &layer.forgotten {
        let old = [take(&mut live, key)?, take(&mut dead, key)?];
        let Some(old) = old.into_iter().flatten().next() else { continue };
        changes.remove(old.seq).map_err(engine)?;
        counter.replaced(key, Some(&old), None)?;
        keys.replaced(Some(&old), None);
    }
    for ((key, held), done) in layer.records.iter().zip(0u64..) {
        if done.is_multiple_of(TOLD_EVERY) {
            pacing.came(done, layer.records.len() as u64);
        }
        let (into, out_of) = if held.is_dead() { (&mut dead, &mut live) } else { (&mut live, &mut dead) };
        let here = into.insert(key.as_bytes(), held.encode().as_slice()).map_err(engine)?;
        let here = here.map(|old| Held::decode(old.value()).map_err(corrupt)).transpose()?;
        let old = here.map_or_else(|| take(out_of, key), |old| Ok(Some(old)))?;
        // A register stands in the feed once, under its latest number. That is the same where its keys were sealed anew.
        if let Some(old) = old.as_ref().filter(|old| old.seq != held.seq) {
            changes.remove(old.seq).map_err(engine)?;
        }
        counter.replaced(key, old.as_ref(), Some(held))?;
        keys.replaced(old.as_ref(), Some(held));
    }
    for (seq, key) in &layer.by_seq {
        changes.insert(seq, key.as_bytes()).map_err(engine)?;
    }
    Ok((counter.end(), keys.write(tx)?))
}

fn place_of((segment, offset, len): (u32, u32, u32)) -> Place {
    Place { segment: SegmentId(segment), offset, len }
}

/// Brings the places of a layer in, and counts them: what is named of each segment then. `gone`: segments whose files
/// are not there any more.
fn apply_places(
    tx: &redb::WriteTransaction,
    layer: &Layer,
    flushed: &Flushed,
    before: &Usages,
    gone: &[SegmentId],
) -> Result<Usages, StoreError> {
    let mut places = tx.open_table(PLACES).map_err(engine)?;
    let mut segments = tx.open_table(SEGMENTS).map_err(engine)?;
    let mut usages = before.clone();
    for (body, now) in &layer.places {
        let was = match now {
            Some(now) => places.insert(body.0, (now.segment.0, now.offset, now.len)),
            None => places.remove(body.0),
        };
        let was = was.map_err(engine)?.map(|was| place_of(was.value()));
        moved(&mut usages, was, *now);
    }
    for (body, now) in flushed.places() {
        let was = places.insert(body.0, (now.segment.0, now.offset, now.len)).map_err(engine)?;
        let was = was.map(|was| place_of(was.value()));
        moved(&mut usages, was, Some(now));
    }
    // What had a place for a while counts too: nothing is written over it.
    for (segment, placed) in &layer.placed {
        let usage = usages.entry(*segment).or_default();
        usage.end = usage.end.max(placed.end);
    }
    // The last one says which numbers were given.
    let last = usages.last_key_value().map(|(segment, _)| *segment);
    for segment in gone.iter().filter(|segment| Some(**segment) != last) {
        if usages.get(segment).is_some_and(|usage| usage.live == 0) {
            usages.remove(segment);
            segments.remove(segment.0).map_err(engine)?;
        }
    }
    for (segment, usage) in usages.iter().filter(|(segment, usage)| before.get(segment) != Some(usage)) {
        segments.insert(segment.0, (usage.live, usage.end)).map_err(engine)?;
    }
    Ok(usages)
}

/// Brings in what buckets hold by a layer.
fn apply_usage(tx: &redb::WriteTransaction, layer: &Layer) -> Result<(), StoreError> {
    let mut table = tx.open_table(USAGE).map_err(engine)?;
    for (bucket, usage) in &layer.usage {
        match *usage {
            BucketUsage::NOTHING => drop(table.remove(bucket.0).map_err(engine)?),
            BucketUsage { objects, bytes } => drop(table.insert(bucket.0, (objects, bytes)).map_err(engine)?),
        }
    }
    Ok(())
}

impl Index {
    /// Makes the tables of a new database.
    pub fn format(db: &Database) -> Result<(), StoreError> {
        guarded(|| {
            let mut tx = db.begin_write().map_err(engine)?;
            tx.set_quick_repair(true);
            {
                tx.open_table(LIVE).map_err(engine)?;
                tx.open_table(DEAD).map_err(engine)?;
                tx.open_table(CHANGES).map_err(engine)?;
                tx.open_table(BODIES).map_err(engine)?;
                tx.open_table(PLACES).map_err(engine)?;
                tx.open_table(SEGMENTS).map_err(engine)?;
                tx.open_table(USAGE).map_err(engine)?;
                tx.open_table(CURSORS).map_err(engine)?;
                tx.open_table(KEKS).map_err(engine)?;
                tx.open_table(NODE).map_err(engine)?;
                let mut marks = tx.open_table(MARKS).map_err(engine)?;
                marks.insert(MARK_PAGES, FORMAT).map_err(engine)?;
                // Nothing is.
                marks.insert(MARK_COUNTED, 1).map_err(engine)?;
            }
            tx.commit().map_err(engine)
        })?
    }

    /// Takes over an opened database.
    pub fn new(db: Database, probe: Arc<PagesProbe>, tell: fn(&StoreError)) -> Result<(Self, Marks), StoreError> {
        let marks = Marks::read(&db)?;
        let (damaged, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        let (counts, is_sure) = (Mutex::default(), AtomicBool::new(true));
        let keks = Mutex::new(Self::read_key_counts(&db)?);
        let pacing = Pacing::default();
        Ok((Index { db, probe, pacing, tell, damaged, failed, counts, is_sure, keks }, marks))
    }

    /// Whether something of it was found to be damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire) || self.probe.damaged_pages() > 0
    }

    /// Work on the engine, which may panic over bytes that are wrong, and after the first page that does not open says
    /// of everything that something failed before.
    fn work<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let error = match guarded(work).unwrap_or_else(|panicked| Err(panicked.into())) {
            Ok(done) => return Ok(done),
            Err(error) => self.named(error),
        };
        if self.is_news(&error) {
            (self.tell)(&error);
        }
        Err(error)
    }

    /// The error by its one name: what the engine says once it has met damage is damage too.
    fn named(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Index(source) if self.is_damaged() || is_damage(&source) => StoreError::IndexDamaged(source),
            error => error,
        }
    }

    /// Whether it is the first damage, or the first other failure. What was damaged stays so.
    fn is_news(&self, error: &StoreError) -> bool {
        match error {
            StoreError::Index(_) => !self.failed.swap(true, Ordering::AcqRel),
            error => error.class() == Class::Corrupt && !self.damaged.swap(true, Ordering::AcqRel),
        }
    }

    /// Brings a layer in, durably, and with it the log mark. `flushed`: where its small bodies lie. `usages`: what was
    /// named of each segment before; what is named then comes back, and how many references it took away that were not
    /// counted: none, or the counts were wrong. `gone`: segments whose files are not there any more.
    pub fn apply(
        &self,
        layer: &Layer,
        flushed: &Flushed,
        marks: Marks,
        usages: &Usages,
        gone: &[SegmentId],
    ) -> Result<(Usages, u64), StoreError> {
        let is_recounted = !self.are_counts_sure();
        self.work(|| {
            let mut tx = self.db.begin_write().map_err(engine)?;
            // Opening after a crash then needs no walk over the whole file, and damage in the newest
            // commit is reported instead of being taken for a torn one.
            tx.set_quick_repair(true);
            if layer.cleared {
                tx.delete_table(LIVE).map_err(engine)?;
                tx.delete_table(DEAD).map_err(engine)?;
                tx.delete_table(CHANGES).map_err(engine)?;
                tx.delete_table(BODIES).map_err(engine)?;
                tx.delete_table(KEKS).map_err(engine)?;
                tx.delete_table(USAGE).map_err(engine)?;
            }
            let (counted, keys) = apply_records(&tx, layer, &self.pacing, is_recounted)?;
            let usages = apply_places(&tx, layer, flushed, usages, gone)?;
            apply_usage(&tx, layer)?;
            {
                let mut cursors = tx.open_table(CURSORS).map_err(engine)?;
                let mut table = tx.open_table(MARKS).map_err(engine)?;
                for (peer, seq) in &layer.cursors {
                    cursors.insert(peer.0, seq).map_err(engine)?;
                }
                if let Some(node) = &layer.node {
                    let mut kept = tx.open_table(NODE).map_err(engine)?;
                    kept.insert(VOTES, node.encode().as_slice()).map_err(engine)?;
                }
                if let Some(memory) = &layer.memory {
                    let mut kept = tx.open_table(NODE).map_err(engine)?;
                    kept.insert(MEMORY, memory.encode().as_slice()).map_err(engine)?;
                }
                if let Some(place) = &layer.resealing {
                    keep_place(&tx, place.as_ref())?;
                }
                let (orphans, counted) = (u64::from(marks.orphans), u64::from(marks.counted));
                let all = [(MARK_LOG, marks.log), (MARK_SEQ, marks.seq), (MARK_STAMP, marks.stamp.0)];
                for (name, value) in all.into_iter().chain([(MARK_ORPHANS, orphans), (MARK_COUNTED, counted)]) {
                    table.insert(name, value).map_err(engine)?;
                }
            }
            self.pacing.goes_on(Step::Syncing);
            let lacked = self.commit_counted(tx, layer.cleared, &counted)?;
            self.keep_key_counts(keys);
            Ok((usages, lacked))
        })
    }

    /// Says that the counts of references are right and that nothing is left to be looked for, until the next `apply`.
    pub fn mark_counted(&self) -> Result<(), StoreError> {
        self.work(|| {
            let mut tx = self.db.begin_write().map_err(engine)?;
            tx.set_quick_repair(true);
            tx.open_table(MARKS).map_err(engine)?.insert(MARK_COUNTED, 1).map_err(engine)?;
            tx.commit().map_err(engine)
        })
    }

    /// The indexed state of a register.
    pub fn get(&self, key: &RegisterKey) -> Result<Option<Held>, StoreError> {
        self.work(|| self.look_up(key))
    }

    /// The same if no disk is waited for. `None` is no error: `get` tells.
    pub fn get_now(&self, key: &RegisterKey) -> Option<Option<Held>> {
        if !self.probe.tells() {
            return None;
        }
        unless_it_waits(|| self.look_up(key))?.ok()
    }

    fn look_up(&self, key: &RegisterKey) -> Result<Option<Held>, StoreError> {
        let tx = self.db.begin_read().map_err(engine)?;
        for table in [LIVE, DEAD] {
            let table = tx.open_table(table).map_err(engine)?;
            if let Some(value) = table.get(key.as_bytes()).map_err(engine)? {
                return Held::decode(value.value()).map_err(corrupt).map(Some);
            }
        }
        Ok(None)
    }

    /// Up to `limit` feed entries behind `after`, in order.
    pub fn changes(&self, after: u64, limit: usize) -> Result<Vec<(u64, RegisterKey)>, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(CHANGES).map_err(engine)?;
            let bounds = (Bound::Excluded(after), Bound::Unbounded);
            let mut found = Vec::new();
            for entry in table.range::<u64>(bounds).map_err(engine)?.take(limit) {
                let (seq, key) = entry.map_err(engine)?;
                let key = RegisterKey::from_bytes(key.value()).ok_or(StoreError::Corrupt { what: "feed entry" })?;
                found.push((seq.value(), key));
            }
            Ok(found)
        })
    }

    /// Where a body lies, if it is in a segment.
    pub fn place(&self, body: BodyId) -> Result<Option<Place>, StoreError> {
        self.work(|| self.look_up_place(body))
    }

    /// The same if no disk is waited for. `None` is no error: `place` tells.
    pub fn place_now(&self, body: BodyId) -> Option<Option<Place>> {
        if !self.probe.tells() {
            return None;
        }
        unless_it_waits(|| self.look_up_place(body))?.ok()
    }

    fn look_up_place(&self, body: BodyId) -> Result<Option<Place>, StoreError> {
        let tx = self.db.begin_read().map_err(engine)?;
        let table = tx.open_table(PLACES).map_err(engine)?;
        Ok(table.get(body.0).map_err(engine)?.map(|place| place_of(place.value())))
    }

    /// The next bodies in segments behind this one, at most `limit` of them, with their places.
    pub fn places_behind(&self, after: Option<BodyId>, limit: usize) -> Result<Vec<(BodyId, Place)>, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(PLACES).map_err(engine)?;
            let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0));
            let mut found = Vec::new();
            for entry in table.range::<[u8; 16]>((from, Bound::Unbounded)).map_err(engine)?.take(limit) {
                let (body, place) = entry.map_err(engine)?;
                found.push((BodyId(body.value()), place_of(place.value())));
            }
            Ok(found)
        })
    }

    /// What is named of each segment.
    pub fn usages(&self) -> Result<Usages, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let mut usages = Usages::new();
            for entry in tx.open_table(SEGMENTS).map_err(engine)?.iter().map_err(engine)? {
                let (segment, usage) = entry.map_err(engine)?;
                let (live, end) = usage.value();
                usages.insert(SegmentId(segment.value()), Usage { live, end });
            }
            Ok(usages)
        })
    }

    /// What each bucket holds.
    pub fn filling(&self) -> Result<Filling, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let mut filling = Filling::default();
            for entry in tx.open_table(USAGE).map_err(engine)?.iter().map_err(engine)? {
                let (bucket, usage) = entry.map_err(engine)?;
                let (objects, bytes) = usage.value();
                filling.set(BucketId(bucket.value()), BucketUsage { objects, bytes });
            }
            Ok(filling)
        })
    }

    /// What the node keeps for its votes.
    pub fn node(&self) -> Result<Option<NodeRecord>, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(NODE).map_err(engine)?;
            let kept = table.get(VOTES).map_err(engine)?;
            kept.map(|bytes| NodeRecord::decode(bytes.value()).map_err(corrupt)).transpose()
        })
    }

    /// What is remembered of the other nodes.
    pub fn memory(&self) -> Result<Kept, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(NODE).map_err(engine)?;
            let kept = table.get(MEMORY).map_err(engine)?;
            kept.map_or(Ok(Kept::default()), |bytes| Kept::decode(bytes.value()).map_err(corrupt))
        })
    }

    /// How far this life of a peer has acknowledged the feed; 0 of one that is not known.
    pub fn cursor(&self, peer: Incarnation) -> Result<u64, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(CURSORS).map_err(engine)?;
            Ok(table.get(peer.0).map_err(engine)?.map_or(0, |v| v.value()))
        })
    }

    /// Registers in the index, tombstones and buckets included.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let len = |table| tx.open_table(table).map_err(engine)?.len().map_err(engine);
            Ok(len(LIVE)? + len(DEAD)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn a_directory_of_another_format_is_refused_by_its_number() {
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        Index::format(&db).unwrap();
        assert_eq!(Marks::read(&db).unwrap(), Marks { counted: true, ..Marks::default() });
        for other in [FORMAT - 1, FORMAT + 1] {
            let tx = db.begin_write().unwrap();
            tx.open_table(MARKS).unwrap().insert(MARK_PAGES, other).unwrap();
            tx.commit().unwrap();
            let refused = Marks::read(&db).unwrap_err();
            assert!(matches!(refused, StoreError::OtherFormat { found, ours: FORMAT } if found == other));
            assert!(refused.to_string().contains("empty data directory"), "{refused}");
        }
    }
}
