//! Logs for tests: in memory, on a disk that loses power and runs full on request.

use super::{Audit, DIR, Place, Setup};
use crate::base::Secret;
use crate::disk::CrashDisk;
use crate::seal::keyring::Keyring;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A ring of these generations, each of which has its number as its key.
pub fn ring(numbers: &[u8]) -> Keyring {
    Keyring::new(numbers.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect()).expect("a ring")
}

/// Where a log of tests lies.
pub fn dir() -> PathBuf {
    Path::new("/data").join(DIR)
}

/// The place of a log on that disk, kept for a year.
pub fn place(disk: &CrashDisk, ring: &Arc<Keyring>) -> Place {
    let (disk, dir, ring) = (Arc::new(disk.clone()), dir(), Arc::clone(ring));
    let (node, keep) = ("n1".to_owned(), Duration::from_secs(365 * 24 * 3_600));
    Place { disk, dir, ring, node, keep, begins: Arc::default() }
}

/// A log that runs, on a disk of its own.
pub fn audit() -> Audit {
    let place = place(&CrashDisk::new(1), &Arc::new(ring(&[1])));
    Audit::start(Setup { place, objects: false, low: Box::new(|| false) }).expect("it starts")
}
