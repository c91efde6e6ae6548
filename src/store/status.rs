//! What the store tells of itself.

use super::alive::Sums;
use super::core::Core;
use super::error::StoreError;
use super::filling::Filling;
use super::options::Options;
use super::store::Store;
use super::types::BucketInfo;
use crate::base::{BucketId, BucketUsage, ClusterId, Incarnation, Quota, Shortage};
use crate::disk::Space;
use crate::seal::Origin;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Something that the machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ShortStatus {
    /// Whether it lacks that now.
    pub now: bool,
    /// What was refused for it since the store was opened.
    pub refused: u64,
}

impl ShortStatus {
    fn of((now, refused): (bool, u64)) -> Self {
        ShortStatus { now, refused }
    }
}

/// Files of many bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentsStatus {
    /// How many there are.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that belong to no body any more.
    pub dead_bytes: u64,
    /// Bytes of bodies that were moved together since the start, so that dead ones could go.
    pub moved_bytes: u64,
    /// Whether that is being done.
    pub compacting: bool,
    /// Those whose heads are damaged: what is in them is moved out, and they go.
    pub damaged: u64,
    /// Bytes of room that it lacks: until there is more of it, what is dead takes its place on the disk.
    pub lacks_bytes: u64,
}

impl SegmentsStatus {
    fn of(core: &Core) -> Self {
        let Sums { files, bytes, dead } = Sums::of(&core.filled());
        SegmentsStatus {
            files,
            bytes,
            dead_bytes: dead,
            moved_bytes: core.counters.moved_bytes.load(Ordering::Relaxed),
            compacting: core.counters.compacting.load(Ordering::Relaxed),
            damaged: core.segments.damaged().len() as u64,
            lacks_bytes: core.counters.lacks_room.load(Ordering::Relaxed),
        }
    }
}

/// Buckets that are told one by one.
const LARGEST: usize = 10;

/// A bucket, and what this node holds of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketStatus {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub usage: BucketUsage,
    /// How much it may hold.
    pub quota: Quota,
}

/// What buckets hold on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FillingStatus {
    /// Buckets that hold as much as they may, or more.
    pub at_quota: u64,
    /// Those that hold the most bytes, ten at most.
    pub largest: Vec<BucketStatus>,
}

impl FillingStatus {
    fn of(mut all: Vec<BucketInfo>) -> Self {
        all.sort_by(|a, b| (b.usage.bytes, &a.name).cmp(&(a.usage.bytes, &b.name)));
        let at_quota = all.iter().filter(|bucket| bucket.quota.is_reached(bucket.usage)).count() as u64;
        let told = |BucketInfo { name, usage, quota, .. }| BucketStatus { name: name.to_string(), usage, quota };
        FillingStatus { at_quota, largest: all.into_iter().take(LARGEST).map(told).collect() }
    }
}

/// The counts by which bodies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReferencesStatus {
    /// Whether they are being recounted: no body is removed meanwhile.
    pub recounting: bool,
    /// Bodies whose counts were found wrong since the start.
    pub miscounted: u64,
    /// Bytes of bodies that nothing refers to any more, before they go.
    pub waiting_bytes: u64,
}

impl ReferencesStatus {
    fn of(core: &Core) -> Self {
        ReferencesStatus {
            recounting: !core.index.are_counts_sure(),
            miscounted: core.counters.miscounted.load(Ordering::Relaxed),
            waiting_bytes: core.waiting().bytes(),
        }
    }
}

/// What is being sealed anew, under the key generation that seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResealingStatus {
    /// Whether something is, or is still to be looked for.
    pub running: bool,
    /// Keys that are sealed under other generations, as of the last checkpoint.
    pub left: u64,
    /// Registers whose keys were sealed anew since the start.
    pub resealed: u64,
}

impl ResealingStatus {
    fn of(store: &Store) -> Self {
        let core = store.core();
        let active = core.ring.active();
        let others = core.index.key_counts().into_iter().filter(|(kek, _)| *kek != active);
        ResealingStatus {
            running: store.is_resealing(),
            left: others.map(|(_, count)| count).sum(),
            resealed: core.counters.resealed.load(Ordering::Relaxed),
        }
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
    /// Files of many bodies.
    pub segments: SegmentsStatus,
    /// What buckets hold.
    pub filling: FillingStatus,
    /// The counts by which bodies go.
    pub references: ReferencesStatus,
    /// What is being sealed anew.
    pub resealing: ResealingStatus,
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

impl Store {
    /// Records that are not known to be chosen.
    pub fn tentative_count(&self) -> u64 {
        self.core().tentative().len() as u64
    }

    /// The present state. Reads the index and the quarantine folder, so not for the hot path.
    pub fn status(&self) -> StoreStatus {
        let core = self.core();
        // One lock after the other, each let go at the end of its line: the committer and the checkpoint take the second
        // while they hold the first, and what is borrowed inside the answer below would be held to its end.
        let tentative = self.tentative_count();
        let head = *core.head.borrow();
        let buckets = core.buckets().len() as u64;
        let segments = SegmentsStatus::of(core);
        let filling = FillingStatus::of(self.list_buckets());
        let references = ReferencesStatus::of(core);
        let resealing = ResealingStatus::of(self);
        let tally = core.tree().tally();
        let counted = tally.unwrap_or_default();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let overlay_records = core.overlay().layers().map(|layer| layer.records.len() as u64).sum();
        StoreStatus {
            incarnation: core.incarnation,
            cluster: core.cluster,
            head,
            records: core.index.count().unwrap_or(0),
            buckets,
            overlay_records,
            log_used_bytes: core.log.used(),
            log_bytes: core.log.capacity(),
            commits: load(&core.counters.commits),
            committed_ops: load(&core.counters.committed_ops),
            checkpoints: load(&core.counters.checkpoints),
            uploads_open: load(&core.counters.uploads_open),
            damaged_pages: core.probe.damaged_pages(),
            damaged_reads: load(&core.counters.damaged_reads),
            swept: load(&core.counters.swept),
            quarantined: core.blobs.quarantined().map_or(0, |n| n as u64),
            tentative,
            tombstones: counted.tombstones,
            objects: counted.objects,
            bytes: counted.bytes,
            buried: load(&core.counters.buried),
            compared: tally.is_some(),
            segments,
            filling,
            references,
            resealing,
            disk: core.space(),
            reserve_bytes: core.options.reserve_bytes,
            full: core.is_low(),
            short: Shortage::ALL.into_iter().map(|what| (what.name(), ShortStatus::of(core.shortage(what)))).collect(),
            poisoned: core.is_poisoned(),
        }
    }

    /// What a life of a bucket holds on this node, as far as it is durable.
    pub fn usage(&self, bucket: BucketId) -> BucketUsage {
        self.core().filling().of(bucket)
    }

    /// What every life of a bucket holds on this node.
    pub fn filling(&self) -> Filling {
        self.core().filling().clone()
    }

    /// Whether writes are refused since one failed.
    pub fn is_poisoned(&self) -> bool {
        self.core().is_poisoned()
    }

    /// Whether the index is damaged: pages of it did not open, or that stopped the writes. No restart mends it.
    pub fn is_index_damaged(&self) -> bool {
        self.core().is_index_damaged()
    }

    /// Whether the machine lacks this now, and how much was refused for it.
    pub fn shortage(&self, what: Shortage) -> (bool, u64) {
        self.core().shortage(what)
    }

    /// Reads the room on the disk anew. Called at intervals, since it asks the system.
    pub fn refresh_space(&self) -> Result<Space, StoreError> {
        self.core().refresh_space()
    }

    /// Refuses what could not be taken whole, without counting it: its parts are counted as they come.
    pub fn check_fits(&self, bytes: u64) -> Result<(), StoreError> {
        self.core().check_fits(bytes)
    }

    /// Refuses what the log could not take whole, without counting it.
    pub fn check_left(&self, bytes: u64) -> Result<(), StoreError> {
        self.core().check_left(bytes)
    }

    /// What was refused lately, and would be now, although the disk is not down to the reserve: its bytes.
    pub fn unfit(&self) -> Option<u64> {
        self.core().unfit()
    }

    /// Bytes of room that are lacking to move what is alive out of segments; 0 while nothing is.
    pub fn lacks_room(&self) -> u64 {
        self.core().counters.lacks_room.load(Ordering::Relaxed)
    }

    /// Bodies whose counts of references were found wrong since the start.
    pub fn miscounted(&self) -> u64 {
        self.core().counters.miscounted.load(Ordering::Relaxed)
    }

    /// Bytes that can still be written before the reserve is reached.
    pub fn room(&self) -> u64 {
        self.core().room()
    }

    /// Whether writes of new bytes are refused for want of room.
    pub fn is_low(&self) -> bool {
        self.core().is_low()
    }

    /// The highest commit number that is durable here, as it moves.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.core().head.subscribe()
    }

    /// This data directory's life.
    pub fn incarnation(&self) -> Incarnation {
        self.core().incarnation
    }

    /// The life before, if it was given up for doubt.
    pub fn former(&self) -> Option<Incarnation> {
        self.core().former
    }

    /// The cluster that its data belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.core().cluster
    }

    /// What the cluster is known by, for a node that does not know it yet.
    pub fn origin(&self) -> Origin {
        self.core().origin.copy_as(None)
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.core().options
    }
}
