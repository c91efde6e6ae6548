//! What the store tells of itself.

use super::core::Core;
use crate::base::{ClusterId, Incarnation, Shortage};
use crate::disk::Space;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) committed_ops: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) damaged_reads: AtomicU64,
    pub(super) uploads_open: AtomicU64,
    pub(super) swept: AtomicU64,
    pub(super) buried: AtomicU64,
}

/// Something that the machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ShortStatus {
    /// Whether it does.
    pub now: bool,
    /// What was refused for it since the store was opened.
    pub refused: u64,
}

impl ShortStatus {
    fn of((now, refused): (bool, u64)) -> Self {
        ShortStatus { now, refused }
    }
}

/// The state of the store, for status, metrics and readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// This data directory's life.
    pub incarnation: Incarnation,
    /// The cluster that its data belongs to.
    pub cluster: ClusterId,
    /// The highest commit number.
    pub head: u64,
    /// Registers in the index: objects, buckets and tombstones.
    pub records: u64,
    /// Buckets that are there.
    pub buckets: u64,
    /// Commits that the index does not hold yet.
    pub overlay_records: u64,
    /// Log bytes that the index does not hold yet.
    pub log_used_bytes: u64,
    /// Bytes of the log's ring.
    pub log_bytes: u64,
    /// Frames written, each with one fsync.
    pub commits: u64,
    /// Operations in these commits: records, marks, cursors and the node's own state.
    pub committed_ops: u64,
    /// Times the index was brought up to the log.
    pub checkpoints: u64,
    /// Uploads that have begun and are neither durable nor given up.
    pub uploads_open: u64,
    /// Index pages that did not open.
    pub damaged_pages: u64,
    /// Reads that met damage.
    pub damaged_reads: u64,
    /// Files under `blobs/` that were removed because no record referred to them.
    pub swept: u64,
    /// Damaged files that were set aside, and are kept for people to look at.
    pub quarantined: u64,
    /// Records that are not known to be chosen.
    pub tentative: u64,
    /// Registers that hold a tombstone; 0 until all are counted.
    pub tombstones: u64,
    /// Objects, wherever they lie: what only the log has is among them. 0 until all are counted.
    pub objects: u64,
    /// Their bytes, as clients see them.
    pub bytes: u64,
    /// Tombstones that were dropped here, once all members held them.
    pub buried: u64,
    /// Whether all registers are counted in the sums that peers compare; false for some time after a start.
    pub compared: bool,
    /// Room on the disk, as last read.
    pub disk: Space,
    /// Writes stop below this much free room.
    pub reserve_bytes: u64,
    /// Whether writes get 507.
    pub full: bool,
    /// What else the machine may lack, by name.
    pub short: BTreeMap<&'static str, ShortStatus>,
    /// Whether writes are refused since one failed.
    pub poisoned: bool,
}

impl Core {
    /// Records that are not known to be chosen.
    pub fn tentative_count(&self) -> u64 {
        self.tentative().len() as u64
    }

    /// The present state. Reads the index and the quarantine folder, so not for the hot path.
    pub fn status(&self) -> StoreStatus {
        // One lock after the other: the committer takes the second while it holds the first.
        let tentative = self.tentative_count();
        let tally = self.tree().tally();
        let counted = tally.unwrap_or_default();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let overlay_records = self.overlay().layers().map(|layer| layer.records.len() as u64).sum();
        StoreStatus {
            incarnation: self.incarnation,
            cluster: self.cluster,
            head: *self.head.borrow(),
            records: self.index.count().unwrap_or(0),
            buckets: self.buckets().len() as u64,
            overlay_records,
            log_used_bytes: self.log.used(),
            log_bytes: self.log.capacity(),
            commits: load(&self.counters.commits),
            committed_ops: load(&self.counters.committed_ops),
            checkpoints: load(&self.counters.checkpoints),
            uploads_open: load(&self.counters.uploads_open),
            damaged_pages: self.probe.damaged_pages(),
            damaged_reads: load(&self.counters.damaged_reads),
            swept: load(&self.counters.swept),
            quarantined: self.blobs.quarantined().map_or(0, |n| n as u64),
            tentative,
            tombstones: counted.tombstones,
            objects: counted.objects,
            bytes: counted.bytes,
            buried: load(&self.counters.buried),
            compared: tally.is_some(),
            disk: self.space(),
            reserve_bytes: self.options.reserve_bytes,
            full: self.is_low(),
            short: Shortage::ALL.into_iter().map(|what| (what.name(), ShortStatus::of(self.shortage(what)))).collect(),
            poisoned: self.is_poisoned(),
        }
    }
}
