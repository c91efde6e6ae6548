//! The only room that touches the file system: the real disk, and one that loses power on request.
//!
//! Invariants
//! - What `sync_data` answered for survives power loss; what `sync_dir` answered for keeps its name.
//! - No other code renames, so no other code can publish a half-written file.
//! - The system tells of a failed write once for each open handle, to whoever syncs it next. So whatever is synced by
//!   two at once has a handle for each: the commit log. The index has one who syncs it, and stops at its first failure;
//!   a staged body has its writer; a directory is opened for each sync, and a file system whose journal failed fails
//!   all that follow.
//!
//! | file | job |
//! |---|---|
//! | here | what a file system is to Boveda: the traits `Disk` and `DiskFile` |
//! | `real` | the real one, and the lock on a data directory |
//! | `crash` `sparse` | one in memory that loses power and lies, by seed; the bytes of its files |
//! | `shadow` | a real directory whose changes stay in memory, for checks that replay and repair |
//! | `place` | the one way to put a file in place |
//! | `stream` | a new file written once, from front to back: bodies on their way to their blobs |
//! | `mounted` | files that somebody else puts in place: looked at, and read whole |
//! | `keydir` | the key directory: one file for each generation |
//! | `key_command` `passphrase` | a command that prints the ring; what opens key files that are wrapped |
//! | `secret_file` | small files with a secret in them: a root key, a profile |
//! | `ballast` | room that is set aside for a file whose owner bears no failed write |
//! | `cores` | no core files |
//! | `handles` `shortage` | how many files may be open; what the system lacks, told from its errors |

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

pub mod ballast;
pub mod cores;
pub mod crash;
pub mod handles;
pub mod key_command;
pub mod keydir;
pub mod mounted;
pub mod passphrase;
pub mod place;
pub mod real;
pub mod secret_file;
pub mod shadow;
pub mod shortage;
mod sparse;
pub mod stream;

pub use crash::CrashDisk;
pub use real::{LockGuard, RealDisk};
pub use shadow::ShadowDisk;
pub use stream::{LARGE_BUFFER_BYTES, LargeBuffer, StreamFile};

/// A file system, as far as Boveda needs one.
pub trait Disk: Send + Sync + Debug {
    /// Creates a file that must not exist yet, open for reading and writing.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a file that bypasses the page cache where the file system lets it. Addresses, lengths and offsets of its
    /// writes must lie on blocks: `StreamFile` sees to that.
    fn create_uncached(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.create_new(path)
    }
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading if no disk is waited for: `None` when its name or its inode is not in memory,
    /// when there is none, or when that cannot be told.
    fn open_cached(&self, _path: &Path) -> Option<Box<dyn DiskFile>> {
        None
    }
    /// Gives a file another name in the same directory tree, replacing what stood there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; open handles stay readable.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory durable: names created, renamed and removed in it.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory and its missing parents, durable when it returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// What a directory holds (files and directories), as `dir` joined with each name, unordered.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether something of that name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Room on the file system that holds `dir`.
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Which directory stands there: another one after its volume was unmounted.
    fn which(&self, _dir: &Path) -> io::Result<DirId> {
        Ok(DirId::default())
    }
    /// The longest file that this process may make; none without such a limit.
    fn file_len_max(&self) -> Option<u64> {
        None
    }
}

/// Tells one directory from every other of this machine, whatever it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirId {
    /// The volume it lies on, as `stat` numbers it.
    pub device: u64,
    /// Its number on that volume.
    pub inode: u64,
}

/// An open file. All methods take `&self`: positions are explicit, so threads can share a handle.
pub trait DiskFile: Send + Sync + Debug {
    /// Fills `out` from `offset`; `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Fills `out` if no disk is waited for: false when some of it is not in memory, or when that cannot be told.
    fn read_cached_at(&self, _offset: u64, _out: &mut [u8]) -> bool {
        false
    }
    /// Writes all of `data` at `offset`, growing the file when needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes the file's bytes and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Lets the system forget what it remembers of these bytes, so that the next read asks the disk. A hint.
    fn forget(&self, _offset: u64, _len: u64) {}
    /// Sees to it that what is read next is what the disk has: what an earlier process wrote and did not sync is
    /// written, and what the system remembers is dropped. After a failed sync the system takes pages for written that
    /// are not.
    fn settle(&self) -> io::Result<()> {
        self.write_out()?;
        self.forget(0, self.len()?);
        Ok(())
    }
    /// Writes what an earlier process wrote and did not sync. Whether nothing had failed before: what is remembered may
    /// be more than the disk has all the same.
    fn write_out(&self) -> io::Result<bool> {
        // The first may tell of a failure before this process: only what fails now counts.
        match self.sync_data() {
            Ok(()) => Ok(true),
            Err(_) => self.sync_data().map(|()| false),
        }
    }
    /// Makes an empty file so long, of zeros, and takes the room for it now: no write into it finds the disk full.
    /// `Unsupported` where the file system cannot.
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Room on a file system: bytes, and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Space {
    /// Bytes of the whole file system.
    pub total: u64,
    /// What an ordinary user can still write.
    pub free: u64,
    /// Files that can still be made (inodes); the largest number where nobody counts them.
    pub files_free: u64,
}
