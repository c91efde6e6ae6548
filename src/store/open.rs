//! Opening a data directory, and making one.
//!
//! Invariants
//! - Nothing is made in a directory that holds something else.
//! - A first start that was interrupted is begun again; `first-start` marks it until the identity
//!   is durable.
//! - Nothing rests on an identity that may go with the power: each start puts it in place anew.
//! - After opening, overlay and index together hold every answered write, and no half one.

use super::access::load_access;
use super::blobs::Blobs;
use super::core::{Core, Parts};
use super::entry::{NodeRecord, frame_sequence};
use super::error::{DiskOp, StoreError};
use super::filling::Filling;
use super::identity::{self, Identity};
use super::index::{Index, Marks};
use super::log::{Log, LogReader};
use super::naming::load_buckets;
use super::options::Options;
use super::overlay::Overlay;
use super::pages::{self, PagesProbe};
use super::places::Usages;
use super::replay::{Replayed, replay};
use super::room::Room;
use super::sealed_under::Resealing;
use super::segments::{self, Segments};
use super::small::read_small;
use super::store::{Clockwork, Store};
use super::types::Doubt;
use super::waiting::Orphaned;
use crate::base::record::LOG_BYTES_MIN;
use crate::base::{BucketName, ClusterId, Incarnation, Mark, RegisterKey, StampClock};
use crate::disk::ballast::Ballast;
use crate::disk::{Disk, place, shortage};
use crate::register::Memory;
use crate::seal::Origin;
use crate::seal::keyring::Keyring;
use std::path::Path;
use std::sync::Arc;

const LOG: &str = "log";
const INDEX: &str = "index";
/// Room that is set aside for the index.
const BALLAST: &str = "ballast";
const FIRST_START: &str = "first-start";
/// What may stand in a directory without making it somebody else's.
const OURS: [&str; 11] = [
    FIRST_START,
    BALLAST,
    "lock",
    "addresses.json",
    "blobs",
    segments::FOLDER,
    "staged",
    "quarantine",
    "lost+found",
    LOG,
    INDEX,
];

/// Opens or makes the store in `dir`. The threads are not started yet.
///
/// `cluster`: the configured cluster id; a made directory has to have it. A new one without it gets the id that the key
/// ring implies. In a directory that is made already the ring seals under the generation that sealed there last.
pub fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    ring: Arc<Keyring>,
    cluster: Option<ClusterId>,
    options: Options,
) -> Result<(Store, Clockwork), StoreError> {
    open_as(disk, dir, ring, cluster, None, options)
}

/// The same. `told`: what a member has told of the cluster, which a new directory begins with instead of what the ring
/// implies; one that is made already knows it.
pub fn open_as(
    disk: Arc<dyn Disk>,
    dir: &Path,
    ring: Arc<Keyring>,
    cluster: Option<ClusterId>,
    told: Option<&Origin>,
    options: Options,
) -> Result<(Store, Clockwork), StoreError> {
    let fail = |op: DiskOp| move |source| StoreError::Disk { op, path: dir.to_owned(), source };
    disk.create_dir_all(dir).map_err(fail(DiskOp::Create))?;
    let identity_path = dir.join(identity::FILE);
    // The identity is written last: a directory without one has never answered anything.
    let first_start = !disk.exists(&identity_path).map_err(fail(DiskOp::LookInto))?;
    let identity = match first_start {
        true => {
            let origin = told.unwrap_or_else(|| ring.origin()).copy_as(cluster);
            first_start_of(disk.as_ref(), dir, &ring, origin, &options)?
        }
        false => made_identity(disk.as_ref(), dir, &ring, cluster)?,
    };
    let core = open_made(disk, dir, ring, identity, options)?;
    load_buckets(&core)?;
    load_access(&core)?;
    core.look_at_keys();
    let (store, clockwork) = Store::manual(core);
    // Not only at first start, which a crash may have ended just before this.
    if store.options().first_bucket && store.lookup(&RegisterKey::bucket(&BucketName::cargas()))?.is_none() {
        let mut answer = store.first_bucket();
        clockwork.committer.turn();
        // Answered by that turn: there is nothing to wait for.
        answer.try_recv().unwrap_or(Err(StoreError::ShuttingDown))?;
    }
    Ok((store, clockwork))
}

/// Gives a data directory that nobody uses another incarnation: who it was before has no vote any more, and never
/// will have. What it holds stays, until it is given a place anew. The incarnation that it had, and the one it has.
pub fn renounce(disk: &dyn Disk, dir: &Path, ring: &Keyring) -> Result<(Incarnation, Incarnation), StoreError> {
    let path = dir.join(identity::FILE);
    let sealed = read_small(disk, &path, "identity of the data directory")?;
    let identity = Identity::open(ring, &sealed)?;
    let was = identity.incarnation;
    // Ballots carry the incarnation: a node that has forgotten which ones it used must not use them again.
    let identity = identity.reborn();
    // Under the generation that it was: what seals never goes back.
    let anew = Keyring::box_key(&sealed).and_then(|kek| identity.seal_under(ring, kek));
    let anew = anew.unwrap_or_else(|| identity.seal(ring));
    let fail = |source| StoreError::Disk { op: DiskOp::Write, path: path.clone(), source };
    place::replace(disk, &path, &anew).map_err(fail)?;
    Ok((was, identity.incarnation))
}

/// Whether `dir` holds a made data directory.
pub fn is_made(disk: &dyn Disk, dir: &Path) -> Result<bool, StoreError> {
    let path = dir.join(identity::FILE);
    disk.exists(&path).map_err(|source| StoreError::Disk { op: DiskOp::LookFor, path, source })
}

/// Whether `dir` holds what only a made directory has, without the identity that goes with it: it was lost.
pub fn has_lost_identity(disk: &dyn Disk, dir: &Path) -> Result<bool, StoreError> {
    let there = |name: &str| {
        let path = dir.join(name);
        disk.exists(&path).map_err(|source| StoreError::Disk { op: DiskOp::LookFor, path, source })
    };
    Ok(!there(identity::FILE)? && !there(FIRST_START)? && (there(LOG)? || there(INDEX)?))
}

/// The identity of a made directory, durable. Whoever put it in place may have been ended before its name was so; and
/// where the sync of the directory failed, no later one makes up for that, though the name is there to be seen. A node
/// that went on with it would lose all it answered, or be who it was before.
fn made_identity(
    disk: &dyn Disk,
    dir: &Path,
    ring: &Keyring,
    cluster: Option<ClusterId>,
) -> Result<Identity, StoreError> {
    let fail = |op: DiskOp| move |source| StoreError::Disk { op, path: dir.to_owned(), source };
    let path = dir.join(identity::FILE);
    let sealed = read_small(disk, &path, "identity of the data directory")?;
    let identity = Identity::open(ring, &sealed)?;
    let theirs = identity.origin.cluster;
    if let Some(ours) = cluster.filter(|ours| *ours != theirs) {
        return Err(StoreError::ForeignCluster { theirs, ours });
    }
    // The generation of the box is the one that sealed last, and sealing never goes back behind it.
    if let Some(kek) = Keyring::box_key(&sealed) {
        ring.seal_with(kek);
    }
    place::sweep(disk, dir).map_err(fail(DiskOp::Sweep))?;
    match place::replace(disk, &path, &sealed) {
        // A full disk is started from. What can be had without room is.
        Err(error) if shortage::is_no_room(&error) => {
            disk.sync_dir(dir).map_err(fail(DiskOp::Sync))?;
            return Ok(identity);
        }
        placed => placed.map_err(fail(DiskOp::WriteIdentity))?,
    }
    let marker = dir.join(FIRST_START);
    if disk.exists(&marker).map_err(fail(DiskOp::LookInto))? {
        Mark::FirstStartResumed.hit();
        disk.remove(&marker).map_err(fail(DiskOp::UnmarkFirstStart))?;
        disk.sync_dir(dir).map_err(fail(DiskOp::Sync))?;
    }
    Ok(identity)
}

fn first_start_of(
    disk: &dyn Disk,
    dir: &Path,
    ring: &Keyring,
    origin: Origin,
    options: &Options,
) -> Result<Identity, StoreError> {
    let fail = |op: DiskOp| move |source| StoreError::Disk { op, path: dir.to_owned(), source };
    let marker = dir.join(FIRST_START);
    let names = disk.list(dir).map_err(fail(DiskOp::List))?;
    let begun = disk.exists(&marker).map_err(fail(DiskOp::LookInto))?;
    // Without the marker nobody began here: whatever stands in the directory is somebody else's.
    if !begun {
        let made = names.iter().any(|path| is_named(path, &[LOG, INDEX]));
        let foreign = names.iter().any(|path| !is_named(path, &OURS) && !place::is_staged(path));
        if made || foreign {
            return Err(StoreError::ForeignDirectory { dir: dir.to_owned() });
        }
    }
    place::sweep(disk, dir).map_err(fail(DiskOp::Sweep))?;
    // Durable before log and index are made: after a crash in between they are known to be ours, and empty. Also where
    // there is one: its name may not be durable.
    place::replace(disk, &marker, b"").map_err(fail(DiskOp::MarkFirstStart))?;
    // What an interrupted first start left behind holds nothing yet, under keys that are lost.
    for path in names.iter().filter(|path| is_named(path, &[LOG, INDEX])) {
        disk.remove(path).map_err(|source| StoreError::Disk { op: DiskOp::Remove, path: path.clone(), source })?;
    }
    disk.sync_dir(dir).map_err(fail(DiskOp::Sync))?;
    let identity = Identity::generate(origin);
    Log::create(disk, &dir.join(LOG), &identity.log_key(), options.log_bytes)?;
    {
        let index = dir.join(INDEX);
        let made =
            pages::create_database(disk, &index, identity.index_key(), identity.index_id, options.index_cache_bytes)?;
        Index::format(&made.0)?;
    }
    // From here on the directory is made, and its keys are known.
    place::replace(disk, &dir.join(identity::FILE), &identity.seal(ring)).map_err(fail(DiskOp::WriteIdentity))?;
    disk.remove(&marker).map_err(fail(DiskOp::UnmarkFirstStart))?;
    disk.sync_dir(dir).map_err(fail(DiskOp::Sync))?;
    Ok(identity)
}

fn open_made(
    disk: Arc<dyn Disk>,
    dir: &Path,
    ring: Arc<Keyring>,
    identity: Identity,
    mut options: Options,
) -> Result<Core, StoreError> {
    options.bound_segments(disk.file_len_max());
    let log = LogReader::open(disk.as_ref(), &dir.join(LOG), identity.log_key())?;
    check_capacity(log.capacity(), options.log_bytes)?;
    let (index, marks, probe) = open_index(disk.as_ref(), dir, &identity, &options, &log)?;
    let room = Arc::new(Room::new(Arc::clone(&disk), dir, options.reserve_bytes)?);
    let blobs = Blobs::open(Arc::clone(&disk), dir, Arc::clone(&room), options.large_write_bytes)?;
    // No upload outlives the process that staged it.
    blobs.sweep_staged()?;
    let Replayed { mut overlay, head, mut stamp, has_ops, keks, anew, tail } = replay(log, &index, marks)?;
    let indexed = index.node()?;
    let node = overlay.active.node.clone().or(indexed).unwrap_or(NodeRecord::NEW);
    // Promises up to the reserve may have been given: the own ballots begin above them.
    stamp = stamp.max(node.state.reserved);
    let kept = overlay.active.memory.clone().map_or_else(|| index.memory(), Ok)?;
    if tail.is_lost() {
        check_loss(&node)?;
    }
    let log = tail.accept(disk.as_ref(), identity.incarnation, anew)?;
    let (usages, segments) = open_segments(&disk, dir, &identity, &options, (&index, &overlay), &room)?;
    overlay.active.log_end = log.end();
    let ballast = Arc::new(Ballast::new(Arc::clone(&disk), dir.join(BALLAST), options.ballast_bytes()));
    probe.stand_by(Arc::clone(&ballast));
    let resealing = Resealing::replayed(&keks, log.end());
    let (filling, orphans) = (filled(&index, &overlay)?, look_for(&index, marks, has_ops, overlay.active.cleared));
    let memory = Memory::restored(&kept, node.roster.as_deref());
    let core = Core::new(Parts {
        disk,
        dir: dir.to_owned(),
        ring,
        origin: identity.origin,
        incarnation: identity.incarnation,
        former: identity.former,
        options,
        log,
        index,
        blobs,
        segments,
        usages,
        filling,
        orphans,
        clock: StampClock::above(stamp),
        overlay,
        head,
        resealing,
        node,
        memory,
        probe,
        ballast,
        room,
    });
    // The log remembers a loss over restarts: it is in doubt until its node has its place anew.
    if core.tail_was_cut() {
        core.doubt(Doubt::TailCut);
    }
    // Until the disk was asked, its room counts as endless.
    core.refresh_space()?;
    Ok(core)
}

/// Has the references recounted where that is due; why there may be bodies that nothing refers to. `has_ops`: whether the
/// log was read for anything; `cleared`: whether for a place that was given anew.
fn look_for(index: &Index, marks: Marks, has_ops: bool, cleared: bool) -> Option<Orphaned> {
    // A stop in order leaves nothing for the log to be read for, and nothing to be looked for.
    let is_ended = marks.counted && !has_ops;
    if !is_ended {
        index.begin_recount();
    }
    match marks.orphans || cleared {
        true => Some(Orphaned::Cleared),
        false => (!is_ended).then_some(Orphaned::Left),
    }
}

/// The segments, and what the index alone says is named of them. What the log names beside it stays too.
fn open_segments(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    identity: &Identity,
    options: &Options,
    (index, overlay): (&Index, &Overlay),
    room: &Arc<Room>,
) -> Result<(Usages, Segments), StoreError> {
    let usages = index.usages()?;
    let mut known = usages.clone();
    for (segment, placed) in &overlay.active.placed {
        let usage = known.entry(*segment).or_default();
        usage.end = usage.end.max(placed.end);
    }
    let (key, bytes_max) = (identity.log_key(), options.segment_bytes);
    let segments = Segments::open(Arc::clone(disk), dir, Arc::clone(room), key, bytes_max, &known)?;
    Ok((usages, segments))
}

/// What each bucket holds: as the log said last, and where it says nothing the index.
fn filled(index: &Index, overlay: &Overlay) -> Result<Filling, StoreError> {
    let mut filling = if overlay.active.cleared { Filling::default() } else { index.filling()? };
    overlay.active.usage.iter().for_each(|(bucket, usage)| filling.set(*bucket, *usage));
    Ok(filling)
}

/// Opens the index that belongs to this log: an older one is refused, since frames name the state of the index that was
/// durable when they were written.
fn open_index(
    disk: &dyn Disk,
    dir: &Path,
    identity: &Identity,
    options: &Options,
    log: &LogReader,
) -> Result<(Index, Marks, Arc<PagesProbe>), StoreError> {
    let at_least = log.newest()?.map_or(Ok(0), |payload| frame_sequence(&payload));
    let at_least = at_least.map_err(|_| StoreError::Corrupt { what: "commit log (an operation)" })?;
    let (path, key, id) = (dir.join(INDEX), identity.index_key(), identity.index_id);
    let (db, probe) = pages::open_database(disk, &path, key, id, options.index_cache_bytes, at_least)?;
    let (index, marks) = Index::new(db, Arc::clone(&probe), options.index_failed)?;
    Ok((index, marks, probe))
}

/// Frames that had been answered are gone: whether the node may start all the same.
fn check_loss(node: &NodeRecord) -> Result<(), StoreError> {
    Mark::TailCut.hit();
    // Others can give this node its place anew; alone it would serve a state that it knows to be an older one.
    if node.roster.as_ref().is_none_or(|roster| roster.seats.len() < 2) {
        return Err(StoreError::Corrupt { what: "commit log (answered frames are missing at its end)" });
    }
    log::error!(
        "the newest frames of the commit log are gone: this node may have forgotten what it promised or stored"
    );
    Ok(())
}

/// A log that was made too small for what may come is refused, where the configuration could not ask for one either.
fn check_capacity(capacity: u64, configured: u64) -> Result<(), StoreError> {
    if capacity < LOG_BYTES_MIN && configured >= LOG_BYTES_MIN {
        return Err(StoreError::SmallLog { bytes: capacity, least: LOG_BYTES_MIN });
    }
    Ok(())
}

fn is_named(path: &Path, names: &[&str]) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|name| names.contains(&name))
}
