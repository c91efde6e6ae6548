//! The real file system, through the standard library, plus the lock on a data directory.
//!
//! Invariants
//! - `sync_data` and `sync_dir` answer only after the kernel has; no error of theirs is dropped.
//! - A directory that `create_dir_all` answered for keeps its name after power loss.
//! - Files and directories made here are readable by their owner alone.

use super::place::parent;
use super::{DirId, Disk, DiskFile, Space};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the lock file in a data directory.
const LOCK_NAME: &str = "lock";

/// The system remembers a file in pieces of up to so many bytes (large folios), and forgets whole ones alone: what is to
/// be forgotten of one takes the rest of it along.
const FOLIO_BYTES_MAX: u64 = 4 << 20;

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// Takes the lock on a data directory, held until the guard drops or the process ends.
    /// `WouldBlock` when somebody else holds it. The directory must exist.
    pub fn lock(dir: &Path) -> io::Result<LockGuard> {
        let path = dir.join(LOCK_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(LockGuard { _file: file }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The lock on a data directory; dropping it lets go. The file stays: removing it would let two
/// processes hold locks on two files of one name.
#[derive(Debug)]
pub struct LockGuard {
    _file: File,
}

impl Disk for RealDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create_uncached(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.create_new(path)?;
        // By a second opening: a file system that refuses the flag has then created nothing by halves.
        let flag = i32::try_from(OFlags::DIRECT.bits()).map_err(|_| io::ErrorKind::Unsupported)?;
        match OpenOptions::new().read(true).write(true).custom_flags(flag).open(path) {
            Ok(uncached) => Ok(Box::new(UncachedFile { uncached, cached: file })),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(file),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn open_cached(&self, path: &Path) -> Option<Box<dyn DiskFile>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::CACHED);
        opened.ok().map(|file| Box::new(RealFile(file.into())) as Box<dyn DiskFile>)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = dir;
        while !at.as_os_str().is_empty() && !at.try_exists()? {
            missing.push(at);
            at = parent(at);
        }
        // A process that died between mkdir and fsync left at most this one without a durable name.
        // Whoever may not even read the parent did not make it either.
        match at.parent().map(|_| self.sync_dir(parent(at))) {
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
        for new in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o700).create(new) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_dir(parent(new))?,
            }
        }
        if std::fs::metadata(dir)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        // A file system that makes inodes as it needs them counts none.
        let files_free = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
        Ok(Space { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail), files_free })
    }

    fn which(&self, dir: &Path) -> io::Result<DirId> {
        let there = std::fs::metadata(dir)?;
        Ok(DirId { device: there.dev(), inode: there.ino() })
    }

    fn file_len_max(&self) -> Option<u64> {
        super::shortage::file_len_max()
    }
}

/// An open file of the real file system.
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn read_cached_at(&self, mut offset: u64, mut out: &mut [u8]) -> bool {
        while !out.is_empty() {
            let room = &mut [io::IoSliceMut::new(out)];
            let read = rustix::io::preadv2(&self.0, room, offset, rustix::io::ReadWriteFlags::NOWAIT);
            // The end of the file, bytes that are not there, or a file system that cannot tell.
            let Some(read) = read.ok().filter(|read| *read > 0) else { return false };
            out = &mut out[read..];
            offset += read as u64;
        }
        true
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn forget(&self, offset: u64, len: u64) {
        let from = offset - offset % FOLIO_BYTES_MAX;
        let to = offset.saturating_add(len).checked_next_multiple_of(FOLIO_BYTES_MAX);
        if let Some(len) = to.and_then(|to| std::num::NonZeroU64::new(to - from)).filter(|_| len > 0) {
            // What was not written out yet stays in memory; a file system that cannot has nothing to forget.
            let _ = rustix::fs::fadvise(&self.0, from, Some(len), rustix::fs::Advice::DontNeed);
        }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len)?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// A file whose writes bypass the page cache; for a write that the file system refuses so, there is
/// the ordinary handle.
#[derive(Debug)]
struct UncachedFile {
    uncached: File,
    cached: Box<dyn DiskFile>,
}

impl DiskFile for UncachedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.cached.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.uncached.write_all_at(data, offset) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.cached.write_at(offset, data),
            other => other,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.cached.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.cached.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.cached.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn reads_back_what_it_wrote_and_refuses_to_create_twice() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = RealDisk;
        let deep = dir.path().join("a/b/c");
        disk.create_dir_all(&deep).expect("creates");
        disk.create_dir_all(&deep).expect("again is fine");
        let path = deep.join("file");
        let file = disk.create_new(&path).expect("creates");
        assert_eq!(disk.create_new(&path).expect_err("exists").kind(), io::ErrorKind::AlreadyExists);
        file.write_at(5, b"hello").expect("writes");
        file.sync_data().expect("syncs");
        let mut out = [1; 10];
        file.read_at(0, &mut out).expect("reads");
        assert_eq!(&out, b"\0\0\0\0\0hello");
        let mut cached = [1; 10];
        let plain = std::fs::File::open(&path).expect("opens");
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        let asked = rustix::io::preadv2(&plain, &mut [io::IoSliceMut::new(&mut [0])], 0, flags);
        if asked != Err(rustix::io::Errno::OPNOTSUPP) {
            assert!(file.read_cached_at(0, &mut cached) && cached == out, "just read: it is in memory");
        }
        assert!(!file.read_cached_at(6, &mut [0; 5]), "past the end");
        assert_eq!(file.read_at(6, &mut [0; 5]).expect_err("past the end").kind(), io::ErrorKind::UnexpectedEof);
        file.set_len(7).expect("cuts");
        assert_eq!(file.len().expect("has a length"), 7);
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        let other = deep.join("other");
        disk.rename(&path, &other).expect("renames");
        disk.sync_dir(&deep).expect("syncs");
        // Asked of the system itself: one before Linux 5.12 cannot tell, and a guarded one may refuse to.
        let cached = ResolveFlags::CACHED;
        let tells = rustix::fs::openat2(rustix::fs::CWD, &other, OFlags::RDONLY, Mode::empty(), cached).is_ok();
        let mut out = [1; 7];
        let known = disk.open_cached(&other).map(|file| file.read_at(0, &mut out));
        assert!(!tells || known.is_some_and(|read| read.is_ok()) && &out == b"\0\0\0\0\0he");
        assert!(disk.open_cached(&path).is_none(), "it has another name by now");
        assert_eq!(disk.list(&deep).expect("lists"), std::slice::from_ref(&other));
        assert!(!disk.exists(&path).expect("answers") && disk.exists(&other).expect("answers"));
        disk.remove(&other).expect("removes");
        assert_eq!(disk.open(&other).expect_err("gone").kind(), io::ErrorKind::NotFound);
        let space = disk.space(&deep).expect("answers");
        assert!(space.free > 0 && space.free <= space.total);
    }

    #[test]
    fn a_file_in_the_way_of_a_directory_is_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("file");
        RealDisk.create_new(&path).expect("creates");
        assert!(RealDisk.create_dir_all(&path).is_err());
        assert!(RealDisk.create_dir_all(&path.join("below")).is_err());
    }

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let held = RealDisk::lock(dir.path()).expect("free");
        assert_eq!(RealDisk::lock(dir.path()).expect_err("held").kind(), io::ErrorKind::WouldBlock);
        drop(held);
        RealDisk::lock(dir.path()).expect("free again");
    }
}
