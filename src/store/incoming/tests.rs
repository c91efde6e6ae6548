//! Bodies that come together: one sync for all that are short, and each judged by itself.

use super::*;
use crate::base::Secret;
use crate::disk::CrashDisk;
use crate::seal::digest::digest_of;
use crate::seal::keyring::Keyring;
use crate::store::{Options, Store, open};
use std::path::Path;

const SEGMENT_MAX: usize = 100_000;

fn start(disk: &CrashDisk) -> Store {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { reserve_bytes: 0, log_bytes: 96 * 1024, segment_max: SEGMENT_MAX, ..Options::default() };
    open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("it opens").0
}

fn body(n: u8, len: usize) -> (BlobRef, Bytes) {
    let sealed = Bytes::from(vec![n; len]);
    (BlobRef { body: BodyId([n; 16]), sealed_len: len as u64, digest: digest_of(&sealed) }, sealed)
}

fn taken(store: &Store, bodies: Vec<(BlobRef, Bytes)>) -> Vec<Result<(), StoreError>> {
    store.take_bodies(bodies).into_iter().map(|placing| placing.and_then(Placing::wait)).collect()
}

#[test]
fn short_bodies_that_come_together_share_one_sync() {
    let disk = CrashDisk::new(1);
    let store = start(&disk);
    assert!(taken(&store, vec![body(1, 10)]).iter().all(Result::is_ok), "the segment is made");
    let before = disk.syncs();
    let bodies: Vec<_> = (2..30).map(|n| body(n, 1_000 * usize::from(n))).collect();
    assert!(taken(&store, bodies.clone()).iter().all(Result::is_ok));
    assert_eq!(disk.syncs() - before, 1);
    for (blob, sealed) in &bodies {
        assert_eq!(store.read_body(blob).expect("it is here"), *sealed);
        let longer = BlobRef { sealed_len: blob.sealed_len + 1, ..*blob };
        assert!(matches!(store.read_body(&longer), Err(StoreError::Corrupt { .. })), "another than was asked for");
    }
    // Once more: nothing is written.
    assert!(taken(&store, bodies).iter().all(Result::is_ok));
    assert_eq!(disk.syncs() - before, 1);
    assert!(matches!(store.read_body(&body(77, 5).0), Err(StoreError::NoSuchKey)));
}

#[test]
fn one_that_is_wrong_takes_nothing_from_the_others_and_a_long_one_is_a_file() {
    let disk = CrashDisk::new(1);
    let store = start(&disk);
    let (wrong, other) = (body(1, 5_000), body(2, 5_000).1);
    let short = body(3, 6_000);
    let cut = (short.0, short.1.slice(..5_999));
    let long = body(4, 2 * SEGMENT_MAX);
    let results = taken(&store, vec![(wrong.0, other), body(5, 70), cut, long.clone(), body(6, 80)]);
    let is_ok: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(is_ok, [false, true, false, true, true], "{results:?}");
    assert!(
        results.iter().flat_map(|result| result.as_ref().err()).all(|error| matches!(error, StoreError::Mismatch(_)))
    );
    for (blob, sealed) in [body(5, 70), long, body(6, 80)] {
        assert_eq!(store.read_body(&blob).expect("it is here"), sealed);
    }
    for (blob, _) in [wrong, short] {
        assert!(matches!(store.read_body(&blob), Err(StoreError::NoSuchKey)));
    }
}

#[test]
fn a_disk_that_fails_is_told_to_all_whose_sync_it_was() {
    let disk = CrashDisk::new(1);
    let store = start(&disk);
    assert!(taken(&store, vec![body(1, 10)]).iter().all(Result::is_ok), "the segment is made");
    let before = disk.operations();
    assert!(taken(&store, vec![body(8, 10), body(9, 10)]).iter().all(Result::is_ok));
    // The sync is the last thing that is done for two.
    let operations = disk.operations() - before;
    disk.fail_once_after(operations - 1, std::io::ErrorKind::Other);
    let results = taken(&store, vec![body(2, 10), body(3, 10)]);
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::Disk { .. }))), "{results:?}");
    assert!(taken(&store, vec![body(2, 10), body(3, 10)]).iter().all(Result::is_ok), "the next segment takes them");
}
