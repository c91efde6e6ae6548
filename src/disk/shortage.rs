//! What the system lacks, told from its errors.

use crate::base::Shortage;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::io;

/// What a refused operation met, where the error alone says so.
pub fn of(error: &io::Error) -> Option<Shortage> {
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(Shortage::OpenFiles),
        Errno::FBIG => Some(Shortage::FileSize),
        _ => None,
    }
}

/// Whether the file system had no room: for bytes, or for one more file.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The longest file that this process may make (`ulimit -f`).
pub(super) fn file_len_max() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

/// The number of the signal that a write beyond that length sends: unless somebody listens, it ends the process.
pub fn file_len_signal() -> i32 {
    rustix::process::Signal::XFSZ.as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_is_lacking() {
        let told = |errno: Errno| of(&io::Error::from(errno));
        assert_eq!(told(Errno::MFILE), Some(Shortage::OpenFiles));
        assert_eq!(told(Errno::NFILE), Some(Shortage::OpenFiles));
        assert_eq!(told(Errno::FBIG), Some(Shortage::FileSize));
        assert_eq!(told(Errno::IO), None);
        assert!(is_no_room(&Errno::NOSPC.into()) && is_no_room(&Errno::DQUOT.into()) && !is_no_room(&Errno::IO.into()));
    }
}
