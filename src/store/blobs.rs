//! Blobs: immutable sealed files, named by a random id, put in place whole or not at all.
//!
//! Invariants
//! - A file under `blobs/` was complete and durable before it got its name.
//! - A blob is there, for whoever promises something because of it, only once its name is durable: after the sync of
//!   its folder in `land`, or after one since this start. The system tells of a sync that failed once, and of the next
//!   that all is well: so what was to become durable with one that failed is not there until a restart, but for what is
//!   put in place anew.
//! - Of the bodies of one folder one is put in place at a time: a sync that fails is told to the one that it fails.
//! - A blob that a record refers to is never removed; one that has landed and has no record yet is
//!   left alone for a grace period.
//! - What does not check is moved to `quarantine/`, never deleted.

use super::error::{DiskOp, StoreError};
use super::room::Room;
use crate::base::{BodyId, Budget, BufferPool, LARGE_BODY_BYTES, Mark};
use crate::disk::{Disk, DiskFile, LARGE_BUFFER_BYTES, LargeBuffer, StreamFile, place};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const BLOBS: &str = "blobs";
const STAGED: &str = "staged";
const QUARANTINE: &str = "quarantine";
/// Folders of bodies: one for each first byte of a name.
const FOLDERS: usize = 256;

/// A panic while one of these locks is held leaves no half-made state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The blobs of one store.
#[derive(Debug)]
pub struct Blobs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    room: Arc<Room>,
    /// Landed, and perhaps not referred to yet.
    landed: Mutex<HashMap<BodyId, Landing>>,
    /// The folders that were used since this start.
    folders: Mutex<HashMap<PathBuf, Folder>>,
    /// Held while a body is put in place in a folder.
    landing: Vec<Mutex<()>>,
    /// Held by a batch from its first decision until it is durable, and by whoever removes a blob from
    /// asking whether a record refers to it until it is gone.
    gate: Mutex<()>,
    /// The right to memory for large writes, and the memory.
    large_writes: Budget,
    large_memory: BufferPool,
}

/// A folder of blobs.
#[derive(Debug, Default)]
struct Folder {
    /// Whether it is durable itself, and was synced since this start.
    synced: bool,
    /// Since a sync of what was there before has failed: what was put in place after that, durably. Nothing else is
    /// there.
    anew: Option<HashSet<BodyId>>,
}

/// A blob that was put in place.
#[derive(Clone, Copy, Debug)]
struct Landing {
    at: Instant,
    /// Whether its name is durable.
    named: bool,
}

impl Blobs {
    /// Opens the three folders, making them when they are missing. `large_write_bytes`: memory for large writes.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, room: Arc<Room>, large_write_bytes: u64) -> Result<Self, StoreError> {
        for folder in [BLOBS, STAGED, QUARANTINE] {
            let path = dir.join(folder);
            disk.create_dir_all(&path).map_err(|source| StoreError::Disk { op: DiskOp::Create, path, source })?;
        }
        Ok(Blobs {
            disk,
            dir: dir.to_owned(),
            room,
            landed: Mutex::default(),
            folders: Mutex::default(),
            landing: (0..FOLDERS).map(|_| Mutex::default()).collect(),
            gate: Mutex::default(),
            large_writes: Budget::new(u64::MAX, large_write_bytes),
            large_memory: BufferPool::new(LARGE_BUFFER_BYTES),
        })
    }

    /// Creates a staged file. Its name is the transfer's own, not the body's: two peers may send
    /// the same body at once, and neither may publish the other's half. `sealed_len` is its length,
    /// where it is known; what may have at most `whole_max` bytes has no file for so long.
    pub fn stage(&self, transfer: BodyId, sealed_len: Option<u64>, whole_max: u64) -> Result<StreamFile, StoreError> {
        let path = self.staged_path(transfer);
        // As far as there is memory for large writes.
        let large = sealed_len.is_some_and(|len| len >= LARGE_BODY_BYTES);
        let permit = if large { self.large_writes.try_claim(LARGE_BUFFER_BYTES as u64) } else { None };
        let large = permit.map(|permit| LargeBuffer { memory: self.large_memory.lend(), permit });
        StreamFile::create(Arc::clone(&self.disk), path.clone(), sealed_len, large, whole_max)
            .map_err(|source| self.refused(DiskOp::Create, path, source))
    }

    /// Gives memory of large writes that was not needed since the last time back to the system.
    pub fn trim_memory(&self) {
        self.large_memory.trim();
    }

    /// Gives a staged, synced file its name, durably.
    pub fn land(&self, transfer: BodyId, body: BodyId) -> Result<(), StoreError> {
        let [first, ..] = body.0;
        let lane = self.landing.get(usize::from(first)).map(lock);
        // Of two transfers of one body the second replaces the same bytes: a name that is durable stays so.
        self.landed().entry(body).or_insert(Landing { at: Instant::now(), named: false }).at = Instant::now();
        let (from, to) = (self.staged_path(transfer), self.path(body));
        let folder = place::parent(&to);
        self.sync_folder(folder)?;
        self.disk.rename(&from, &to).map_err(|e| self.refused(DiskOp::Publish, to.clone(), e))?;
        let synced = self.disk.sync_dir(folder);
        synced.map_err(|e| self.refused(DiskOp::Sync, folder.to_owned(), e))?;
        drop(lane);
        if let Some(anew) = lock(&self.folders).get_mut(folder).and_then(|folder| folder.anew.as_mut()) {
            anew.insert(body);
        }
        if let Some(landing) = self.landed().get_mut(&body) {
            landing.named = true;
        }
        Ok(())
    }

    /// Makes a folder if it is missing, and it and its names durable, once since the start: what an earlier process
    /// made and did not sync is seen, and may go.
    fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        // Held meanwhile: whoever comes second must not take it for durable before it is.
        let mut folders = lock(&self.folders);
        let state = folders.entry(folder.to_owned()).or_default();
        if !state.synced {
            // Where the volume was there may be another directory now, which must not be filled.
            self.room.check_there()?;
            self.disk.create_dir_all(folder).map_err(|e| self.refused(DiskOp::Create, folder.to_owned(), e))?;
            if let Err(error) = self.disk.sync_dir(folder) {
                state.anew.get_or_insert_default();
                Mark::FolderDoubted.hit();
                drop(folders);
                log::warn!(folder:% = folder.display(), error:% = error; "a folder of bodies could not be synced: what it holds counts as missing until a restart");
                return Err(self.refused(DiskOp::Sync, folder.to_owned(), error));
            }
            state.synced = true;
        }
        Ok(())
    }

    /// The record is committed: the blob is no longer on its own.
    pub fn settle(&self, body: BodyId) {
        self.landed().remove(&body);
    }

    /// Opens a blob for reading; `None` when there is none.
    pub fn read(&self, body: BodyId) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        self.open_to_read(self.path(body))
    }

    fn open_to_read(&self, path: PathBuf) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        match self.disk.open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.room.check_there().map(|()| None),
            Err(source) => Err(self.refused(DiskOp::Open, path, source)),
        }
    }

    /// Opens a blob if no disk is waited for. `None` says nothing.
    pub fn read_cached(&self, body: BodyId) -> Option<Box<dyn DiskFile>> {
        self.disk.open_cached(&self.path(body))
    }

    /// Whether the blob is in place, durably.
    pub fn exists(&self, body: BodyId) -> Result<bool, StoreError> {
        let path = self.path(body);
        if self.landed().get(&body).is_some_and(|landing| !landing.named) {
            return Ok(false);
        }
        if !self.disk.exists(&path).map_err(|e| self.refused(DiskOp::LookFor, path.clone(), e))? {
            return self.room.check_there().map(|()| false);
        }
        let folder = place::parent(&path);
        self.sync_folder(folder)?;
        let folders = lock(&self.folders);
        let anew = folders.get(folder).and_then(|folder| folder.anew.as_ref());
        Ok(anew.is_none_or(|anew| anew.contains(&body)))
    }

    /// While it is held no blob is removed: what a record that is being decided refers to stays.
    pub fn gate(&self) -> MutexGuard<'_, ()> {
        lock(&self.gate)
    }

    /// Removes a blob if `free` says that nothing refers to it; whether it did.
    pub fn remove_if(
        &self,
        body: BodyId,
        free: impl FnOnce(&Self) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let doomed = self.staged_path(BodyId(crate::seal::random()));
        {
            let _gate = self.gate();
            if !free(self)? {
                return Ok(false);
            }
            self.landed().remove(&body);
            let from = self.path(body);
            match self.disk.rename(&from, &doomed) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(true),
                Err(source) => return Err(StoreError::Disk { op: DiskOp::TakeAway, path: from, source }),
            }
        }
        // Outside the gate: the space of a large file takes time to free.
        self.unlink(doomed).map(|()| true)
    }

    /// Removes the staged file of an upload that ended.
    pub fn discard(&self, transfer: BodyId) -> Result<(), StoreError> {
        self.unlink(self.staged_path(transfer))
    }

    /// Moves a blob that does not check out of the way.
    pub fn quarantine(&self, body: BodyId) -> Result<(), StoreError> {
        let (from, to) = (self.path(body), self.dir.join(QUARANTINE).join(body.to_string()));
        match self.disk.rename(&from, &to) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(self.refused(DiskOp::Quarantine, from, e)),
        }
        let folder = self.dir.join(QUARANTINE);
        self.disk.sync_dir(&folder).map_err(|source| StoreError::Disk { op: DiskOp::Sync, path: folder, source })
    }

    /// Keeps a copy of what is wrong and lies in a segment.
    pub fn keep_aside(&self, body: BodyId, bytes: &[u8]) -> Result<(), StoreError> {
        let (staged, folder) = (self.staged_path(BodyId(crate::seal::random())), self.dir.join(QUARANTINE));
        let written = self.disk.create_new(&staged).and_then(|file| {
            file.write_at(0, bytes)?;
            file.sync_data()?;
            self.disk.rename(&staged, &folder.join(body.to_string()))?;
            self.disk.sync_dir(&folder)
        });
        written.map_err(|source| {
            // Best effort: the error that counts is the first one, and the next start removes what is left.
            let _ = self.disk.remove(&staged);
            self.refused(DiskOp::Quarantine, folder, source)
        })
    }

    /// Puts back what `quarantine` moved away. The caller has read it and knows that it is right.
    pub fn put_back(&self, body: BodyId) -> Result<(), StoreError> {
        let (from, to) = (self.dir.join(QUARANTINE).join(body.to_string()), self.path(body));
        match self.disk.rename(&from, &to) {
            Ok(()) => {}
            // Another reader has put it back.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(self.refused(DiskOp::Rename, from, e)),
        }
        let folder = to.parent().unwrap_or(&self.dir);
        self.disk.sync_dir(folder).map_err(|source| StoreError::Disk { op: DiskOp::Sync, path: folder.into(), source })
    }

    /// What was set aside under that name; `None` where nothing was.
    pub fn read_quarantined(&self, body: BodyId) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        self.open_to_read(self.dir.join(QUARANTINE).join(body.to_string()))
    }

    /// Whether a damaged file of that name was set aside.
    pub fn is_quarantined(&self, body: BodyId) -> bool {
        // What cannot be told is taken for damage.
        self.disk.exists(&self.dir.join(QUARANTINE).join(body.to_string())).unwrap_or(true)
    }

    /// How many files lie in quarantine.
    pub fn quarantined(&self) -> Result<usize, StoreError> {
        Ok(self.list(&self.dir.join(QUARANTINE))?.len())
    }

    /// Removes every staged file. At start only: no upload is open.
    pub fn sweep_staged(&self) -> Result<usize, StoreError> {
        let files = self.list(&self.dir.join(STAGED))?;
        let count = files.len();
        files.into_iter().try_for_each(|path| self.unlink(path))?;
        Ok(count)
    }

    /// The ids of all blobs in place, and how many files beside them have other names.
    pub fn all(&self) -> Result<(Vec<BodyId>, usize), StoreError> {
        let (mut ids, mut others) = (Vec::new(), 0);
        for folder in self.list(&self.dir.join(BLOBS))? {
            for path in self.list(&folder)? {
                match path.file_name().and_then(|n| n.to_str()).and_then(BodyId::from_hex) {
                    Some(id) => ids.push(id),
                    None => others += 1,
                }
            }
        }
        Ok((ids, others))
    }

    /// Whether the blob has landed and waits for its record.
    pub fn is_landed(&self, body: BodyId) -> bool {
        self.landed().contains_key(&body)
    }

    /// Whether the blob has landed, durably, and waits for its record.
    pub fn has_landed(&self, body: BodyId) -> bool {
        self.landed().get(&body).is_some_and(|landing| landing.named)
    }

    /// Blobs that landed longer than `grace` ago and may still wait for a record.
    pub fn landed_before(&self, grace: Duration) -> Vec<BodyId> {
        self.landed().iter().filter(|(_, landing)| landing.at.elapsed() >= grace).map(|(id, _)| *id).collect()
    }

    fn landed(&self) -> MutexGuard<'_, HashMap<BodyId, Landing>> {
        lock(&self.landed)
    }

    /// What an operation on a blob came to: see `Room::refused`.
    pub(super) fn refused(&self, op: DiskOp, path: PathBuf, source: std::io::Error) -> StoreError {
        self.room.refused(op, path, source)
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
        let names = self.disk.list(dir);
        names.map_err(|source| self.refused(DiskOp::List, dir.to_owned(), source))
    }

    fn unlink(&self, path: PathBuf) -> Result<(), StoreError> {
        match self.disk.remove(&path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::Disk { op: DiskOp::Remove, path, source }),
        }
    }

    /// Where a blob lies.
    pub fn path(&self, body: BodyId) -> PathBuf {
        let name = body.to_string();
        self.dir.join(BLOBS).join(&name[..2]).join(name)
    }

    fn staged_path(&self, transfer: BodyId) -> PathBuf {
        self.dir.join(STAGED).join(transfer.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::CrashDisk;

    const BODY: BodyId = BodyId([7; 16]);

    fn open(disk: &CrashDisk) -> Blobs {
        let (disk, dir): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Path::new("/data"));
        disk.create_dir_all(dir).expect("creates");
        let room = Room::new(Arc::clone(&disk), dir, 0).expect("it is there");
        Blobs::open(disk, dir, Arc::new(room), 0).expect("opens")
    }

    fn staged(blobs: &Blobs) {
        let mut file = blobs.stage(BODY, None, 0).expect("stages");
        file.push(b"sealed", |_| {}).expect("writes");
        file.finish().expect("finishes");
    }

    fn check_kept(disk: &CrashDisk, context: &str) {
        for _ in 0..20 {
            let after = disk.after_power_loss();
            assert!(open(&after).exists(BODY).expect("a healthy disk"), "{context}");
        }
    }

    #[test]
    fn a_blob_is_there_once_its_name_is_durable() {
        let mut found = 0;
        for at in 0..20 {
            let disk = CrashDisk::new(at);
            let blobs = open(&disk);
            staged(&blobs);
            disk.fail_once_after(at, std::io::ErrorKind::Other);
            let landed = blobs.land(BODY, BODY);
            let there = blobs.exists(BODY).unwrap_or(false);
            assert_eq!(landed.is_ok() && disk.struck() == 0, there && disk.struck() == 0, "operation {at}");
            if there {
                found += 1;
                check_kept(&disk, &format!("operation {at}"));
            }
        }
        assert!((1..20).contains(&found), "{found}");
    }

    #[test]
    fn a_body_that_could_not_be_put_in_place_comes_again_and_is_there_then() {
        let mut failed = 0;
        for at in 0..20 {
            let disk = CrashDisk::new(at);
            let blobs = open(&disk);
            staged(&blobs);
            disk.fail_once_after(at, std::io::ErrorKind::Other);
            if blobs.land(BODY, BODY).is_err() {
                failed += 1;
                if !blobs.exists(BODY).expect("a healthy disk") {
                    let _ = disk.remove(&blobs.staged_path(BODY));
                    staged(&blobs);
                    blobs.land(BODY, BODY).expect("a healthy disk");
                }
                assert!(blobs.exists(BODY).expect("a healthy disk"), "operation {at}");
                check_kept(&disk, &format!("operation {at}"));
            }
        }
        assert!(failed > 0);
    }

    #[test]
    fn what_a_failed_sync_left_is_not_there_until_it_comes_anew() {
        let mut failed = 0;
        for at in 0..20 {
            let disk = CrashDisk::new(at);
            let blobs = open(&disk);
            disk.create_dir_all(place::parent(&blobs.path(BODY))).expect("creates");
            staged(&blobs);
            // An earlier process was killed between the two.
            disk.rename(&blobs.staged_path(BODY), &blobs.path(BODY)).expect("renames");
            let blobs = open(&disk);
            disk.fail_once_after(at, std::io::ErrorKind::Other);
            if blobs.exists(BODY).is_ok() || disk.names_lost() == 0 {
                continue;
            }
            failed += 1;
            for _ in 0..3 {
                assert!(!blobs.exists(BODY).expect("the system says that all is well"), "operation {at}");
            }
            staged(&blobs);
            blobs.land(BODY, BODY).expect("a healthy disk");
            assert!(blobs.exists(BODY).expect("a healthy disk"));
            check_kept(&disk, &format!("operation {at}"));
        }
        assert!(failed > 0);
    }

    #[test]
    fn what_an_earlier_process_put_in_place_is_made_durable_before_it_counts() {
        for seed in 0..10 {
            let disk = CrashDisk::new(seed);
            let blobs = open(&disk);
            let folder = blobs.path(BODY);
            disk.create_dir_all(place::parent(&folder)).expect("creates");
            staged(&blobs);
            // Killed between the two.
            disk.rename(&blobs.staged_path(BODY), &blobs.path(BODY)).expect("renames");
            assert!(open(&disk).exists(BODY).expect("a healthy disk"));
            check_kept(&disk, &format!("seed {seed}"));
        }
    }
}
