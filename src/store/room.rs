//! Room: what the disk still gives, what is kept free, and what the machine has run out of.
//!
//! Invariants
//! - Bytes are counted as they are admitted: a fast disk takes a whole reserve between two looks at it.
//! - A shortage is told in the log when it begins and when it ends, not once per request.
//! - A refusal while something is left above the reserve is kept in mind: nothing else shows it.
//! - Nothing is written once the data directory is not the one that was opened.

use super::error::{DiskOp, StoreError};
use crate::base::Shortage;
use crate::disk::{DirId, Disk, Space, shortage};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// With fewer inodes than this a file system is out of them: a body may take two, and many bodies come at once.
const FILES_FEW: u64 = 8;
/// How long a shortage that only a refusal shows is told of after the last one.
const PASSING: Duration = Duration::from_secs(60);
/// "No limit", where a limit is a number.
const NO_LIMIT: u64 = u64::MAX;

/// The room of one data directory.
#[derive(Debug)]
pub struct Room {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The directory as it was opened.
    home: DirId,
    reserve: u64,
    low: AtomicBool,
    free: AtomicU64,
    total: AtomicU64,
    files_free: AtomicU64,
    file_len_max: AtomicU64,
    /// Bytes admitted since the disk was last asked.
    admitted: AtomicU64,
    short: Mutex<BTreeMap<Shortage, Seen>>,
    /// What did not fit lately: the most bytes of it, and when something was refused last.
    unfit: Mutex<Option<(u64, Instant)>>,
}

/// A shortage that there is, or was.
#[derive(Clone, Copy, Debug)]
struct Seen {
    now: bool,
    refused: u64,
    last: Instant,
}

impl Room {
    /// The room in a data directory that is there.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, reserve: u64) -> Result<Self, StoreError> {
        let home =
            disk.which(dir).map_err(|source| StoreError::Disk { op: DiskOp::LookAt, path: dir.to_owned(), source })?;
        Ok(Room {
            file_len_max: AtomicU64::new(disk.file_len_max().unwrap_or(NO_LIMIT)),
            disk,
            dir: dir.to_owned(),
            home,
            reserve,
            low: AtomicBool::new(false),
            free: AtomicU64::new(u64::MAX),
            total: AtomicU64::new(u64::MAX),
            files_free: AtomicU64::new(u64::MAX),
            admitted: AtomicU64::new(0),
            short: Mutex::default(),
            unfit: Mutex::default(),
        })
    }

    /// Looks at the disk anew. Asks the system.
    pub(super) fn refresh(&self) -> Result<Space, StoreError> {
        self.check_there()?;
        let space = self.disk.space(&self.dir).map_err(|source| StoreError::Disk {
            op: DiskOp::MeasureFreeSpace,
            path: self.dir.clone(),
            source,
        })?;
        // Counted anew only from here on: what is admitted meanwhile may count twice, never not at all.
        self.admitted.store(0, Ordering::Relaxed);
        self.free.store(space.free, Ordering::Relaxed);
        self.total.store(space.total, Ordering::Relaxed);
        self.files_free.store(space.files_free, Ordering::Relaxed);
        let (low, reserve) = (space.free < self.reserve, self.reserve);
        let small = space.total < reserve;
        if low != self.low.swap(low, Ordering::Relaxed) && !small {
            if low {
                log::warn!(free = space.free, reserve; "disk is full down to the reserve, writes get 507");
            } else {
                log::info!(free = space.free, reserve; "disk has room again");
            }
        }
        self.hold(Shortage::SmallVolume, small);
        self.hold(Shortage::Inodes, space.files_free < FILES_FEW);
        let limit = self.disk.file_len_max().unwrap_or(NO_LIMIT);
        if limit > self.file_len_max.swap(limit, Ordering::Relaxed) {
            self.hold(Shortage::FileSize, false);
        }
        let passed = self.short().get(&Shortage::OpenFiles).is_some_and(|seen| seen.last.elapsed() > PASSING);
        if passed {
            self.hold(Shortage::OpenFiles, false);
        }
        Ok(space)
    }

    /// Refuses everything once the data directory is another one than was opened.
    pub(super) fn check_there(&self) -> Result<(), StoreError> {
        // What cannot be told is not held against it.
        let gone = match self.disk.which(&self.dir) {
            Ok(there) => there != self.home,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.hold(Shortage::Volume, gone);
        if gone { Err(StoreError::Short(Shortage::Volume)) } else { Ok(()) }
    }

    /// What an operation on a file of this directory came to. What the machine lacks refuses one body and leaves the
    /// store well: no record refers to it yet.
    pub(super) fn refused(&self, op: DiskOp, path: PathBuf, source: io::Error) -> StoreError {
        if source.kind() == io::ErrorKind::NotFound
            && let Err(gone) = self.check_there()
        {
            return gone;
        }
        if shortage::is_no_room(&source) {
            // A volume whose inodes are used up says the same as one whose bytes are.
            let few = self.refresh().is_ok_and(|space| space.files_free < FILES_FEW);
            return if few { self.met(Shortage::Inodes) } else { self.full() };
        }
        match shortage::of(&source) {
            Some(what) => self.met(what),
            None => StoreError::Disk { op, path, source },
        }
    }

    /// Something was refused for it.
    fn met(&self, what: Shortage) -> StoreError {
        self.hold(what, true);
        if let Some(seen) = self.short().get_mut(&what) {
            seen.refused = seen.refused.saturating_add(1);
            seen.last = Instant::now();
        }
        StoreError::Short(what)
    }

    /// Whether there is this shortage now. Told when that changes.
    pub(super) fn hold(&self, what: Shortage, now: bool) {
        let mut short = self.short();
        let was = short.get(&what).is_some_and(|seen| seen.now);
        if was == now {
            return;
        }
        let seen = short.entry(what).or_insert(Seen { now, refused: 0, last: Instant::now() });
        *seen = Seen { now, last: Instant::now(), ..*seen };
        drop(short);
        match now {
            true => log::warn!(what = what.name(); "{what}"),
            false => log::info!(what = what.name(); "there is enough of it again"),
        }
    }

    /// Whether there is this shortage, and how much was refused for it.
    pub(super) fn shortage(&self, what: Shortage) -> (bool, u64) {
        self.short().get(&what).map_or((false, 0), |seen| (seen.now, seen.refused))
    }

    /// What there is too little of now: what the machine lacks, or room.
    pub(super) fn lacking(&self) -> StoreError {
        let short = self.short().iter().find(|(_, seen)| seen.now).map(|(what, _)| *what);
        short.map_or_else(|| self.full(), StoreError::Short)
    }

    /// Why nothing was admitted.
    pub(super) fn full(&self) -> StoreError {
        match self.total.load(Ordering::Relaxed) < self.reserve {
            true => StoreError::Short(Shortage::SmallVolume),
            false => StoreError::Full,
        }
    }

    /// Why so many bytes were refused, with `room` above the reserve when it was read last.
    pub(super) fn full_for(&self, bytes: u64, room: u64) -> StoreError {
        let mut unfit = self.unfit();
        let most = match *unfit {
            Some((most, last)) if last.elapsed() <= PASSING => most.max(bytes),
            _ => {
                let admitted = self.admitted.load(Ordering::Relaxed);
                log::warn!(
                    room, admitted, bytes; "no room above the reserve for what has to be stored, beside what was admitted \
                     since that room was read: it gets 507"
                );
                bytes
            }
        };
        *unfit = Some((most, Instant::now()));
        drop(unfit);
        self.full()
    }

    /// The most that was refused lately for want of room.
    pub(super) fn unfit_lately(&self) -> Option<u64> {
        self.unfit().filter(|(_, last)| last.elapsed() <= PASSING).map(|(most, _)| most)
    }

    /// Admits bytes, if so many fit in what is left of `room`.
    pub(super) fn admit(&self, bytes: u64, room: u64) -> Result<(), StoreError> {
        if self.admits(bytes, room) { Ok(()) } else { Err(self.full_for(bytes, room)) }
    }

    /// The same for what nobody is refused for.
    pub(super) fn admits(&self, bytes: u64, room: u64) -> bool {
        let before = self.admitted.fetch_add(bytes, Ordering::Relaxed);
        if before.checked_add(bytes).is_some_and(|sum| sum <= room) {
            return true;
        }
        self.admitted.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Refuses a file of that length that could not be made.
    pub(super) fn check_file(&self, bytes: u64) -> Result<(), StoreError> {
        if self.files_free.load(Ordering::Relaxed) == 0 {
            return Err(self.met(Shortage::Inodes));
        }
        self.check_len(bytes)
    }

    /// Refuses to write to a file that is, or becomes, longer than this process may make one.
    pub(super) fn check_len(&self, bytes: u64) -> Result<(), StoreError> {
        match bytes > self.file_len_max.load(Ordering::Relaxed) {
            true => Err(self.met(Shortage::FileSize)),
            false => Ok(()),
        }
    }

    /// The room as last read.
    pub(super) fn space(&self) -> Space {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Space { total: read(&self.total), free: read(&self.free), files_free: read(&self.files_free) }
    }

    /// Whether less is free than the reserve.
    pub(super) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    fn unfit(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn short(&self) -> MutexGuard<'_, BTreeMap<Shortage, Seen>> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
