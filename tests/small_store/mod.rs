//! A small store on a disk that loses power, as a node of a simulation has it.

use boveda::base::Secret;
use boveda::disk::CrashDisk;
use boveda::seal::keyring::Keyring;
use boveda::store::{Clockwork, Options, Store};
use std::path::Path;
use std::sync::Arc;

/// Small enough that logs are written into the index and caches are left within a history; no first bucket.
pub fn small() -> Options {
    Options {
        log_bytes: 128 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        first_bucket: false,
        ..Options::default()
    }
}

/// Opens what is on the disk, or begins it.
pub fn open(disk: &CrashDisk, options: Options) -> (Store, Clockwork) {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    boveda::store::open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("a store opens")
}
