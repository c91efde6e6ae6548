//! Room on a disk that is set aside for a file whose owner bears no failed write.
//!
//! Others may fill a volume to its last byte between the moment its room is asked for and a write. What is set aside here
//! goes to that write then.
//!
//! Invariants
//! - A write that meets the end of the disk is tried once more after the room was given up; only what fails then is told.
//! - Room is set aside on file systems that can (`DiskFile::allocate`); elsewhere a write fails as it would.
//! - The room lies in a file of its own that holds zeros and nothing else.

use super::{Disk, DiskFile};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes set aside in a file.
#[derive(Debug)]
pub struct Ballast {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
    kept: Mutex<Kept>,
}

/// The file, once it was made or opened, whether the room is there, and how often it was given up.
#[derive(Debug, Default)]
struct Kept {
    file: Option<Box<dyn DiskFile>>,
    is_there: bool,
    given: u64,
}

impl Ballast {
    /// So many bytes, in a file of this name; nothing is set aside yet.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, bytes: u64) -> Self {
        Ballast { disk, path, bytes, kept: Mutex::default() }
    }

    /// Sets the room aside, if it is not and so much is free.
    ///
    /// `Unsupported` where the file system cannot; `StorageFull` where others were faster.
    pub fn fill(&self, free: u64) -> io::Result<()> {
        let mut kept = self.kept();
        if kept.is_there || self.bytes == 0 {
            return Ok(());
        }
        if kept.file.is_none() {
            let there = self.disk.exists(&self.path)?;
            let file = if there { self.disk.open(&self.path)? } else { self.disk.create_new(&self.path)? };
            // What an earlier process set aside is still there.
            kept.is_there = file.len()? == self.bytes;
            if !kept.is_there {
                file.set_len(0)?;
            }
            kept.file = Some(file);
        }
        let Kept { file: Some(file), is_there, .. } = &mut *kept else { return Ok(()) };
        if *is_there || free < self.bytes {
            return Ok(());
        }
        if let Err(error) = file.allocate(self.bytes) {
            // It may have got a part.
            file.set_len(0)?;
            return Err(error);
        }
        *is_there = true;
        Ok(())
    }

    /// Gives the room up, so that others have it. Whether it was given up since `given` was read.
    fn give(&self, given: u64) -> bool {
        let mut kept = self.kept();
        if kept.is_there && kept.file.as_ref().is_some_and(|file| file.set_len(0).is_ok()) {
            kept.is_there = false;
            kept.given += 1;
            log::warn!(path:% = self.path.display(), bytes = self.bytes; "the disk is full to its last byte: room that was set aside for the index is used");
        }
        kept.given != given
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file whose writes may use the room of a ballast, once it has one.
#[derive(Debug)]
pub struct Ballasted {
    file: Box<dyn DiskFile>,
    ballast: OnceLock<Arc<Ballast>>,
}

impl Ballasted {
    /// The file, without a ballast yet.
    pub fn new(file: Box<dyn DiskFile>) -> Self {
        Ballasted { file, ballast: OnceLock::new() }
    }

    /// From now on its writes have this one. The first one given stays.
    pub fn stand_by(&self, ballast: Arc<Ballast>) {
        let _ = self.ballast.set(ballast);
    }
}

impl DiskFile for Ballasted {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn read_cached_at(&self, offset: u64, out: &mut [u8]) -> bool {
        self.file.read_cached_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let given = self.ballast.get().map_or(0, |ballast| ballast.kept().given);
        match (self.file.write_at(offset, data), self.ballast.get()) {
            (Err(error), Some(ballast)) if error.kind() == io::ErrorKind::StorageFull && ballast.give(given) => {
                self.file.write_at(offset, data)
            }
            (written, _) => written,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn forget(&self, offset: u64, len: u64) {
        self.file.forget(offset, len);
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::CrashDisk;
    use std::path::Path;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_write_at_the_end_of_the_disk_has_the_room_that_was_set_aside() {
        let disk = CrashDisk::new(3);
        disk.create_dir_all(Path::new("/data")).expect("has power");
        disk.set_capacity(8 * MIB);
        let file = Ballasted::new(disk.create_new(Path::new("/data/index")).expect("creates"));
        let ballast = Arc::new(Ballast::new(Arc::new(disk.clone()), "/data/ballast".into(), 2 * MIB));
        file.stand_by(Arc::clone(&ballast));
        ballast.fill(MIB).expect("there is not so much: nothing is done");
        assert_eq!(disk.space(Path::new("/data")).expect("has power").free, 8 * MIB);
        ballast.fill(8 * MIB).expect("sets aside");
        assert_eq!(disk.space(Path::new("/data")).expect("has power").free, 6 * MIB);
        // Somebody else takes all the rest.
        let other = disk.create_new(Path::new("/data/other")).expect("creates");
        other.write_at(0, &vec![1; 6 * MIB as usize]).expect("fits");
        file.write_at(0, &vec![2; MIB as usize]).expect("the room that was set aside");
        file.write_at(MIB, &vec![3; MIB as usize]).expect("the rest of it");
        assert_eq!(file.write_at(2 * MIB, &[4]).expect_err("now it is full").kind(), io::ErrorKind::StorageFull);
        ballast.fill(0).expect("there is no room for it: nothing is done");
        other.set_len(0).expect("cuts");
        ballast.fill(6 * MIB).expect("sets aside again");
        assert_eq!(disk.space(Path::new("/data")).expect("has power").free, 4 * MIB);
        // Another process finds it set aside.
        let found = Ballast::new(Arc::new(disk.clone()), "/data/ballast".into(), 2 * MIB);
        found.fill(4 * MIB).expect("is there");
        assert_eq!(disk.space(Path::new("/data")).expect("has power").free, 4 * MIB);
    }
}
