//! What the threads of one store share, and how a register is looked up.
//!
//! Invariants
//! - A lookup answers from overlay, then cache, then index; the first that knows the key is right.
//! - Nothing is put in the cache that a commit may have replaced meanwhile.
//! - After a failed write or fsync no write is taken any more; reads go on.

use super::access_keys::AccessTable;
use super::blobs::Blobs;
use super::buckets::Buckets;
use super::claims::Claims;
use super::counters::Counters;
use super::entry::{Held, NodeRecord};
use super::error::{DiskOp, StoreError};
use super::filling::Filling;
use super::holds::Holds;
use super::identity::{self, Identity};
use super::index::Index;
use super::log::Log;
use super::options::Options;
use super::overlay::{Here, Overlay};
use super::pages::PagesProbe;
use super::places::Usages;
use super::public_buckets::PublicTable;
use super::room::Room;
use super::sealed_under::Resealing;
use super::section::Section;
use super::segments::Segments;
use super::small::read_small;
use super::tree::Tree;
use super::types::Doubt;
use super::voting::Voting;
use super::waiting::{Orphaned, Waiting};
use crate::base::{Class, ClusterId, Epoch, Incarnation, KekId, Mark, RegisterKey, Shortage, StampClock};
use crate::disk::ballast::Ballast;
use crate::disk::{Disk, Space, place};
use crate::register::Memory;
use crate::seal::Origin;
use crate::seal::body::BodyOpener;
use crate::seal::keyring::Keyring;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Bytes of index that a byte in the log may become: pages are filled by half at worst, and what they
/// replace is freed only afterwards.
const INDEX_BYTES_PER_LOG_BYTE: u64 = 3;

#[derive(Clone, Debug)]
pub(super) struct ByWeight;

impl quick_cache::Weighter<RegisterKey, Arc<Held>> for ByWeight {
    fn weight(&self, key: &RegisterKey, held: &Arc<Held>) -> u64 {
        held.weight() + key.as_bytes().len() as u64
    }
}

/// The shared state of one open store.
#[derive(Debug)]
pub struct Core {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) ring: Arc<Keyring>,
    pub(super) cluster: ClusterId,
    pub(super) origin: Origin,
    pub(super) incarnation: Incarnation,
    pub(super) former: Option<Incarnation>,
    pub(super) options: Options,
    pub(super) log: Log,
    pub(super) index: Index,
    pub(super) blobs: Blobs,
    pub(super) segments: Segments,
    pub(super) claims: Claims,
    /// Bodies that stay, whatever refers to them.
    pub(super) holds: Holds,
    /// Bodies that nothing refers to any more, before they go.
    pub(super) waiting: Mutex<Waiting>,
    /// Why bodies may have places that no record refers to, and since when.
    pub(super) orphans: Mutex<Option<(Orphaned, Instant)>>,
    /// What the index says is named of each segment.
    usages: Mutex<Usages>,
    pub(super) clock: StampClock,
    pub(super) head: watch::Sender<u64>,
    pub(super) counters: Counters,
    pub(super) probe: Arc<PagesProbe>,
    /// Room for the index where others fill the disk.
    pub(super) ballast: Arc<Ballast>,
    tree: Mutex<Tree>,
    overlay: RwLock<Overlay>,
    pub(super) voting: RwLock<Arc<Voting>>,
    pub(super) memory: Mutex<Memory>,
    /// Whether this start is to have a number and has none yet.
    pub(super) unbegun: AtomicBool,
    /// Why this node may have forgotten what it promised, once there is a reason to think so.
    pub(super) doubt: watch::Sender<Option<Doubt>>,
    /// Why it may be, by the word of who has a list of that epoch, which this node has yet to get.
    pub(super) suspended: Mutex<Option<(Doubt, Epoch)>>,
    /// What is not known to be chosen, and since when it lies here.
    tentative: Mutex<BTreeMap<RegisterKey, Instant>>,
    buckets: RwLock<Buckets>,
    /// What each bucket holds, as far as it is durable.
    pub(super) filling: RwLock<Filling>,
    /// What a recount has found to be more than that: see `usage`.
    pub(super) uncounted: Mutex<Filling>,
    access: Mutex<AccessTable>,
    public: Mutex<PublicTable>,
    /// What is known of keys under other generations than the one that seals.
    pub(super) resealing: Mutex<Resealing>,
    /// The generation that the scrubber's place is sealed under, if there is one. Held while its file is written.
    pub(super) scrub_box: Mutex<Option<KekId>>,
    /// The generations that files beside the store are sealed under, by who keeps those: the audit log.
    pub(super) beside: Mutex<BTreeSet<KekId>>,
    /// Tells that they have changed.
    pub(super) access_changed: watch::Sender<()>,
    /// Tells that the settings of the cluster have.
    pub(super) settings_changed: watch::Sender<()>,
    pub(super) cache: quick_cache::sync::Cache<RegisterKey, Arc<Held>, ByWeight>,
    pub(super) checkpointing: Mutex<()>,
    /// Whether the last checkpoint found no room for the small bodies that it was to take out of the log.
    pub(super) unflushed: AtomicBool,
    poisoned: AtomicBool,
    /// Whether it is so because what lies on the disk is damaged: then a restart helps nothing.
    damaged: AtomicBool,
    pub(super) closing: AtomicBool,
    /// Whether the index knows that it was closed in order.
    pub(super) ended: AtomicBool,
    pub(super) room: Arc<Room>,
    /// Wakes the thread that checkpoints before its time.
    pub(super) nudge: (Sender<()>, Receiver<()>),
    /// Wakes the same thread for bodies that are to go at once.
    pub(super) reap: (Sender<()>, Receiver<()>),
}

/// What `Core::new` needs besides the options.
pub(super) struct Parts {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub ring: Arc<Keyring>,
    pub origin: Origin,
    pub incarnation: Incarnation,
    pub former: Option<Incarnation>,
    pub options: Options,
    pub log: Log,
    pub index: Index,
    pub blobs: Blobs,
    pub segments: Segments,
    pub usages: Usages,
    pub filling: Filling,
    pub orphans: Option<Orphaned>,
    pub clock: StampClock,
    pub overlay: Overlay,
    pub head: u64,
    pub resealing: Resealing,
    pub node: NodeRecord,
    pub memory: Memory,
    pub probe: Arc<PagesProbe>,
    pub ballast: Arc<Ballast>,
    pub room: Arc<Room>,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Self {
        let cache_bytes = parts.options.cache_bytes;
        let entries = usize::try_from(cache_bytes / 2048).unwrap_or(1024).max(64);
        let tree = Tree::new(parts.origin.mark_key());
        let waiting = Waiting::new(parts.options.reserve_bytes);
        let access = AccessTable::new(parts.origin.mark_key());
        let public = PublicTable::new(parts.origin.mark_key());
        Core {
            tree: Mutex::new(tree),
            disk: parts.disk,
            dir: parts.dir,
            ring: parts.ring,
            cluster: parts.origin.cluster,
            origin: parts.origin,
            incarnation: parts.incarnation,
            former: parts.former,
            options: parts.options,
            log: parts.log,
            index: parts.index,
            blobs: parts.blobs,
            segments: parts.segments,
            claims: Claims::default(),
            holds: Holds::default(),
            usages: Mutex::new(parts.usages),
            waiting: Mutex::new(waiting),
            orphans: Mutex::new(parts.orphans.map(|why| (why, Instant::now()))),
            clock: parts.clock,
            head: watch::channel(parts.head).0,
            counters: Counters::default(),
            probe: parts.probe,
            ballast: parts.ballast,
            overlay: RwLock::new(parts.overlay),
            tentative: Mutex::default(),
            voting: RwLock::new(Arc::new(Voting::of(parts.node))),
            memory: Mutex::new(parts.memory),
            unbegun: AtomicBool::new(false),
            doubt: watch::channel(None).0,
            suspended: Mutex::new(None),
            buckets: RwLock::default(),
            filling: RwLock::new(parts.filling),
            uncounted: Mutex::default(),
            access: Mutex::new(access),
            public: Mutex::new(public),
            resealing: Mutex::new(parts.resealing),
            scrub_box: Mutex::default(),
            beside: Mutex::default(),
            access_changed: watch::channel(()).0,
            settings_changed: watch::channel(()).0,
            cache: quick_cache::sync::Cache::with_weighter(entries, cache_bytes, ByWeight),
            checkpointing: Mutex::new(()),
            unflushed: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            room: parts.room,
            nudge: bounded(1),
            reap: bounded(1),
        }
    }

    // A thread that panics while it holds a lock ends the process (actors) or its test; the state
    // behind the lock is never half changed, so the lock itself need not refuse.
    pub(super) fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn overlay_mut(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the index says is named of each segment. Whoever also takes the overlay takes that first.
    pub(super) fn usages(&self) -> MutexGuard<'_, Usages> {
        self.usages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn buckets(&self) -> RwLockReadGuard<'_, Buckets> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn buckets_mut(&self) -> RwLockWriteGuard<'_, Buckets> {
        self.buckets.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The access keys, as far as they are durable.
    pub(super) fn access(&self) -> MutexGuard<'_, AccessTable> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buckets of which something is open to everybody, as far as they are durable.
    pub(super) fn public(&self) -> MutexGuard<'_, PublicTable> {
        self.public.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's votes, as far as they are durable.
    pub fn voting(&self) -> Arc<Voting> {
        Arc::clone(&self.voting.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tentative(&self) -> MutexGuard<'_, BTreeMap<RegisterKey, Instant>> {
        self.tentative.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `limit` registers that have not been known to be chosen for longer than `age`.
    pub fn tentative_for(&self, age: Duration, limit: usize) -> Vec<RegisterKey> {
        let tentative = self.tentative();
        let old = tentative.iter().filter(|(_, since)| since.elapsed() >= age);
        old.take(limit).map(|(key, _)| key.clone()).collect()
    }

    /// The tree. Whoever also takes the overlay takes this first.
    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The register's state if it is in memory: no disk is touched. `None` says nothing.
    pub fn lookup_cached(&self, key: &RegisterKey) -> Option<Arc<Held>> {
        match self.overlay().get(key) {
            Here::Held(held) => Some(Arc::clone(held)),
            Here::Nothing => None,
            Here::Unknown => self.cache.get(key),
        }
    }

    /// The register's state, tombstones included.
    pub fn lookup(&self, key: &RegisterKey) -> Result<Option<Arc<Held>>, StoreError> {
        self.look_up(key, || self.index.get(key))
    }

    /// The same if no disk is waited for. `None` is no error: `lookup` tells.
    pub fn lookup_now(&self, key: &RegisterKey) -> Option<Option<Arc<Held>>> {
        self.look_up(key, || self.index.get_now(key).ok_or(())).ok()
    }

    /// Overlay, cache, and what `index` says.
    fn look_up<E>(
        &self,
        key: &RegisterKey,
        index: impl FnOnce() -> Result<Option<Held>, E>,
    ) -> Result<Option<Arc<Held>>, E> {
        let retired = {
            let overlay = self.overlay();
            match overlay.get(key) {
                Here::Held(held) => return Ok(Some(Arc::clone(held))),
                Here::Nothing => return Ok(None),
                Here::Unknown => {}
            }
            if let Some(held) = self.cache.get(key) {
                return Ok(Some(held));
            }
            overlay.retired
        };
        let Some(held) = index()?.map(Arc::new) else { return Ok(None) };
        let overlay = self.overlay();
        // A layer that retired between the two looks may have brought a newer state along: nothing is cached then.
        if overlay.retired == retired && matches!(overlay.get(key), Here::Unknown) {
            self.cache.insert(key.clone(), Arc::clone(&held));
        }
        Ok(Some(held))
    }

    /// The expanded keys of a section of an object; those of an only body are kept with its record.
    pub(super) fn opener(&self, held: &Held, section: &Section, header: &[u8]) -> Result<Arc<BodyOpener>, StoreError> {
        if let Some(opener) = held.opener.get() {
            return Ok(Arc::clone(opener));
        }
        let object = held.record.object().ok_or(StoreError::NoSuchKey)?;
        let opener = Arc::new(self.open_section(object, section, header)?);
        if object.parts().is_some() {
            return Ok(opener);
        }
        Ok(Arc::clone(held.opener.get_or_init(|| opener)))
    }

    /// Seals under that generation from now on, over restarts too. One that the ring lacks is refused.
    pub fn seal_under(&self, kek: KekId) -> Result<(), StoreError> {
        self.check_writable()?;
        let path = self.dir.join(identity::FILE);
        let sealed = read_small(self.disk.as_ref(), &path, "identity of the data directory")?;
        let identity = Identity::open(&self.ring, &sealed)?;
        // Before anything else is sealed under it: see there.
        let sealed = identity.seal_under(&self.ring, kek).ok_or(StoreError::KeyMissing { kek })?;
        let placed = place::replace(self.disk.as_ref(), &path, &sealed);
        placed.map_err(|source| StoreError::Disk { op: DiskOp::Write, path, source })?;
        self.ring.seal_with(kek);
        Ok(())
    }

    /// Room that the index may need to take in what the log holds.
    pub(super) fn owed_to_index(&self) -> u64 {
        self.log.used().saturating_mul(INDEX_BYTES_PER_LOG_BYTE)
    }

    /// Refuses writes from now on: a half-known disk state must not be written over.
    pub(super) fn poison(&self, during: &str, error: &StoreError) {
        if error.class() == Class::Corrupt {
            self.damaged.store(true, Ordering::Release);
        }
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            Mark::Poisoned.hit();
            log::error!(during, error:% = error; "store takes no writes until it is reopened");
        }
    }

    /// Whether this node may have forgotten what it promised or stored: frames of its log that had been durable are
    /// gone from its end. It must not vote until it has been given its place anew; then this is over. It outlasts
    /// restarts.
    pub fn tail_was_cut(&self) -> bool {
        self.log.is_cut()
    }

    /// Whether writes are refused since one failed.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Whether the index is damaged: pages of it did not open, or that stopped the writes. No restart mends it.
    pub fn is_index_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire) || self.index.is_damaged()
    }

    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        if self.room.shortage(Shortage::Volume).0 {
            return Err(StoreError::Short(Shortage::Volume));
        }
        // A write behind the limit would fail half way, and poison.
        self.room.check_len(self.log.capacity())
    }

    /// Whether the machine lacks this now, and how much was refused for it.
    pub fn shortage(&self, what: Shortage) -> (bool, u64) {
        self.room.shortage(what)
    }

    /// Reads the room on the disk anew. Called at intervals, since it asks the system.
    pub fn refresh_space(&self) -> Result<Space, StoreError> {
        self.room.refresh()
    }

    /// Refuses what would eat into the reserve, and counts what is let in until the disk is asked
    /// again: a fast disk takes a whole reserve between two looks at it.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        if self.unflushed.load(Ordering::Acquire) {
            return Err(self.room.lacking());
        }
        match self.has_reached_reserve() {
            true => Err(self.room.full()),
            false => self.room.admit(bytes, self.room()),
        }
    }

    /// While the member list changes, half of the reserve is for what has to be stored again: the place of a lost node
    /// must not wait for room. New bytes of clients are refused before, where they come in, by what `is_low` says.
    fn reserve_now(&self) -> u64 {
        let reserve = self.options.reserve_bytes;
        let changes = self.voting().node.roster.as_ref().is_some_and(|list| !list.before.is_empty());
        if changes { reserve / 2 } else { reserve }
    }

    fn has_reached_reserve(&self) -> bool {
        self.is_low() && self.space().free < self.reserve_now()
    }

    /// Refuses a peer's copy that a reader waits for, where there is no room for it. Reads go on when writes do not, so
    /// half of the reserve is theirs.
    pub(super) fn check_room_for_reader(&self, bytes: u64) -> Result<(), StoreError> {
        let kept = self.options.reserve_bytes / 2 + self.owed_to_index();
        self.room.admit(bytes, self.space().free.saturating_sub(kept))
    }

    /// Admits bytes of a body that is to be moved, if there is room for them in the half of the reserve that is for what
    /// must go on. A refusal is told by whoever moves: no client is refused for it.
    pub(super) fn admits_move(&self, bytes: u64) -> bool {
        self.room.admits(bytes, self.space().free.saturating_sub(self.kept_from_moves()))
    }

    /// What has to stay free of moves.
    pub(super) fn kept_from_moves(&self) -> u64 {
        (self.options.reserve_bytes / 2).saturating_add(self.owed_to_index())
    }

    /// Refuses what could not be taken whole, without counting it: its parts are counted as they come.
    pub fn check_fits(&self, bytes: u64) -> Result<(), StoreError> {
        self.check_left(bytes)?;
        self.room.check_file(bytes)
    }

    /// Refuses what the log could not take whole, without counting it.
    pub fn check_left(&self, bytes: u64) -> Result<(), StoreError> {
        match self.room() {
            _ if self.has_reached_reserve() => Err(self.room.full()),
            room if bytes > room => Err(self.room.full_for(bytes, room)),
            _ => Ok(()),
        }
    }

    /// What was refused lately, and would be now, although the disk is not down to the reserve: its bytes.
    pub fn unfit(&self) -> Option<u64> {
        self.room.unfit_lately().filter(|bytes| !self.is_low() && *bytes > self.room())
    }

    /// What has to stay free: the reserve, and what the index needs for what the log holds.
    pub(super) fn kept_free(&self) -> u64 {
        self.reserve_now().max(self.options.kept_for_moves()).saturating_add(self.owed_to_index())
    }

    /// The room on the disk as last read.
    pub(super) fn space(&self) -> Space {
        self.room.space()
    }

    /// Bytes that can still be written before the reserve is reached.
    pub fn room(&self) -> u64 {
        self.space().free.saturating_sub(self.kept_free())
    }

    /// Whether writes of new bytes are refused for want of room.
    pub fn is_low(&self) -> bool {
        self.room.is_low()
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::{Disk, RealDisk};
    use crate::store::buckets::register_by_name;
    use crate::store::mend::tests::{name, put, store};

    #[test]
    fn what_only_the_index_holds_is_found_without_a_thread_where_the_system_has_it_in_memory() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = store(dir.path());
        let written = put(&store, "small", b"a few bytes");
        store.checkpoint().expect("the index takes it in");
        store.core().cache.clear();
        // Not every file system tells what it has in memory.
        let index = RealDisk.open(&dir.path().join("index")).expect("opens");
        let tells = index.read_cached_at(0, &mut [0; 4096]);
        let key = register_by_name(&name("small"));
        assert!(store.core().lookup_cached(&key).is_none(), "neither overlay nor cache has it");
        let found = store.core().lookup_now(&key);
        assert!(found.is_some() || !tells);
        if let Some(found) = found {
            assert_eq!(*found.expect("an object").record, written);
            assert!(store.core().lookup_cached(&key).is_some(), "and is kept");
            assert!(store.core().lookup_now(&register_by_name(&name("other"))).is_some_and(|none| none.is_none()));
        }
    }
}
