//! Damage on a real disk, and records that came damaged, mended with what another store has.

use super::*;
use crate::base::ObjectHead;
use crate::base::{BodyId, BucketName, Condition, Epoch, ObjectKey, ObjectName, Secret, State};
use crate::disk::RealDisk;
use crate::seal::keyring::Keyring;
use crate::store::buckets::register_by_name;
use crate::store::incoming::Purpose;
use crate::store::mutation::Mutation;
use crate::store::wait_blocking;
use crate::store::{Options, open};
use bytes::Bytes;
use std::path::Path;

const INLINE_MAX: usize = 1000;

pub(crate) fn store(dir: &Path) -> Arc<Store> {
    store_with(dir, ring(&[9]))
}

/// A ring whose generations are numbered from 1, with these bytes for keys.
fn ring(keys: &[u8]) -> Arc<Keyring> {
    Arc::new(Keyring::new(keys_of(keys)).expect("ring"))
}

fn keys_of(keys: &[u8]) -> Vec<(u32, Secret<[u8; 32]>)> {
    (1..).zip(keys).map(|(number, byte)| (number, Secret::new([*byte; 32]))).collect()
}

fn store_with(dir: &Path, ring: Arc<Keyring>) -> Arc<Store> {
    let sizes = Options { inline_max: INLINE_MAX, log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
    // Bodies that lie in segments: see tests/crash_segments.
    let options = Options { segment_max: 0, ..sizes };
    let (store, clockwork) = open(Arc::new(RealDisk), dir, ring, None, options).expect("opens");
    store.start(clockwork, || std::process::abort()).expect("starts")
}

pub(in crate::store) fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("key") }
}

/// Writes an object and returns its record.
pub(in crate::store) fn put(store: &Arc<Store>, key: &str, body: &[u8]) -> Record {
    let body = Bytes::copy_from_slice(body);
    let answer = if body.len() <= INLINE_MAX {
        let sealed = store.seal_small(ObjectHead::default(), &[body]).expect("seals");
        wait_blocking(store.mutate(Mutation::put(&name(key), Condition::NONE, sealed, store.now_ms())))
    } else {
        let mut upload =
            store.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None).expect("begins");
        upload.append(&[body], |_| {}).expect("appends");
        wait_blocking(store.mutate(upload.land().expect("finishes").mutation()))
    };
    answer.expect("is durable");
    record(store, key)
}

fn record(store: &Store, key: &str) -> Record {
    store.lookup(&register_by_name(&name(key))).expect("looks").expect("is there").record.as_ref().clone()
}

fn read(store: &Store, key: &str) -> Result<Vec<u8>, StoreError> {
    let (_, mut download) = store.open_object(&name(key))?;
    let mut all = Vec::new();
    loop {
        let pieces = download.read()?;
        if pieces.is_empty() {
            return Ok(all);
        }
        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    }
}

fn flipped(record: &Record) -> Record {
    let mut bad = record.clone();
    let State::Object(object) = &mut bad.state else { panic!("an object") };
    object.wrap.sealed[7] ^= 1;
    bad
}

#[test]
fn a_record_that_does_not_open_its_body_is_replaced_by_the_same_state_alone() {
    let (a, b) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
    let (good, damaged) = (store(a.path()), store(b.path()));
    put(&good, "k", b"right bytes");
    let key = register_by_name(&name("k"));
    let peer = good.incarnation();
    let (_, record) = good.fetch_records(vec![key.clone()], usize::MAX).expect("reads").remove(0);
    let record = Arc::unwrap_or_clone(record);
    assert!(record.in_hand_len() > 0, "its body comes with it");
    wait_blocking(damaged.learn(vec![(key.clone(), flipped(&record))], peer, Epoch(0)).expect("queues"))
        .expect("is durable");

    assert!(read(&damaged, "k").expect_err("does not open").is_damage());
    assert_eq!(damaged.diagnose(&key).expect("looks"), Some(Ailment::Record { ballot: record.ballot }));
    assert_eq!(good.diagnose(&key).expect("looks"), None);

    let restore = |record: Record| damaged.restore(key.clone(), record, peer).and_then(wait_blocking);
    assert!(matches!(restore(flipped(&record)), Err(StoreError::Mismatch(_))), "as bad as the own one");
    let mut other = record.clone();
    other.ballot.stamp.0 += 1;
    assert!(matches!(restore(other), Err(StoreError::Mismatch(_))), "another state");
    assert!(read(&damaged, "k").is_err(), "and nothing was changed by them");

    let seq = *damaged.head().borrow();
    restore(record.clone()).expect("is durable");
    assert_eq!(read(&damaged, "k").expect("opens"), b"right bytes");
    assert_eq!(damaged.diagnose(&key).expect("looks"), None);
    assert_eq!(super::tests::record(&damaged, "k"), record);
    assert_eq!(*damaged.head().borrow(), seq + 1, "it is in the feed again");
}

#[test]
fn a_blob_that_does_not_check_is_set_aside_and_a_good_one_takes_its_place() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let body: Vec<u8> = (0..400_000u32).map(|i| i.to_le_bytes()[0]).collect();
    let record = put(&store, "k", &body);
    let (key, object) = (register_by_name(&name("k")), record.object().expect("an object"));
    let announced = object.blob().expect("in a blob");
    let blob = |damaged| Ailment::Blob { blob: announced, damaged };
    let path = store.core().blobs.path(object.body);
    let good = std::fs::read(&path).expect("reads");
    let mend = |sealed: &[u8]| {
        let mut incoming =
            store.begin_incoming(object.body, Some(announced.sealed_len), Purpose::Copy).expect("begins");
        incoming.append(&[Bytes::copy_from_slice(sealed)]).expect("appends");
        incoming.finish(announced)
    };
    let damages: [fn(&mut Vec<u8>); 4] =
        [|bytes| bytes[3] ^= 1, |bytes| bytes[200_000] ^= 0x80, |bytes| bytes.truncate(300_000), |bytes| bytes.push(0)];
    for (round, damage) in (1..).zip(damages) {
        let mut bad = good.clone();
        damage(&mut bad);
        std::fs::write(&path, &bad).expect("writes");
        assert_eq!(store.diagnose(&key).expect("looks"), Some(blob(true)), "{round}");
        assert!(!path.exists(), "out of the way");
        assert!(read(&store, "k").expect_err("is missing").is_damage());
        assert!(mend(&bad[..bad.len().min(good.len())]).is_err() || bad.len() > good.len(), "checked by its digest");
        mend(&good).expect("lands");
        assert_eq!(std::fs::read(&path).expect("reads"), good);
        assert!(read(&store, "k").expect("opens") == body);
        assert_eq!(store.diagnose(&key).expect("looks"), None);
    }
    assert_eq!(store.core().blobs.quarantined().expect("lists"), 1, "damage of one blob is kept once");

    // Damage that nobody has met yet is not lost under what lands on it.
    std::fs::remove_dir_all(dir.path().join("quarantine")).expect("empties");
    std::fs::create_dir(dir.path().join("quarantine")).expect("makes");
    std::fs::write(&path, b"something else").expect("writes");
    mend(&good).expect("lands");
    assert_eq!(store.core().blobs.quarantined().expect("lists"), 1);
    assert!(read(&store, "k").expect("opens") == body);
}

#[test]
fn a_download_reads_on_after_its_blob_was_mended() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let record = put(&store, "k", &body);
    let object = record.object().expect("an object");
    let path = store.core().blobs.path(object.body);
    let good = std::fs::read(&path).expect("reads");
    let mut bad = good.clone();
    bad[2_500_000] ^= 1;
    std::fs::write(&path, &bad).expect("writes");

    let (_, mut download) = store.open_object(&name("k")).expect("opens");
    download.set_range(1_000, 2_900_000);
    let mut all = Vec::new();
    let mut mended = false;
    loop {
        match download.read() {
            Ok(pieces) if pieces.is_empty() => break,
            Ok(pieces) => pieces.iter().for_each(|piece| all.extend_from_slice(piece)),
            Err(error) => {
                assert!(error.is_damage() && !mended, "{error}");
                assert!(all.len() > 1_000_000, "what opened before the damage was handed out");
                let announced = object.blob().expect("in a blob");
                let mut incoming =
                    store.begin_incoming(object.body, Some(announced.sealed_len), Purpose::Copy).expect("begins");
                incoming
                    .append(&[Bytes::copy_from_slice(&good)])
                    .and_then(|()| incoming.finish(announced))
                    .expect("lands");
                download.reopen().expect("opens anew");
                mended = true;
            }
        }
    }
    assert!(mended && all == body[1_000..2_901_000]);

    put(&store, "k", b"a newer version");
    assert!(download.reopen().expect_err("another version now").is_damage());
}

#[test]
fn sealed_bytes_are_read_up_to_the_end_of_a_blob() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let record = put(&store, "k", &[7; 5_000]);
    let object = record.object().expect("an object");
    let all = std::fs::read(store.core().blobs.path(object.body)).expect("reads");
    let read = |from, len| store.read_sealed(object.body, from, len).expect("reads");
    assert_eq!(read(0, 1 << 20), all);
    assert_eq!(read(4_000, 100), all[4_000..4_100]);
    assert_eq!(read(object.sealed_len - 1, 5), all[all.len() - 1..]);
    assert!(read(object.sealed_len, 5).is_empty() && read(u64::MAX, u32::MAX).is_empty());
    assert!(matches!(store.read_sealed(BodyId([0; 16]), 0, 1), Err(StoreError::NoSuchKey)));
}

#[test]
fn a_body_under_a_generation_that_is_missing_is_no_damage() {
    let dir = tempfile::tempdir().expect("directory");
    let newer = {
        let ring = ring(&[9, 8]);
        let [(_, first), (_, newer)] = ring.generations()[..] else { panic!("two generations") };
        assert!(ring.seal_with(first));
        let store = store_with(dir.path(), Arc::clone(&ring));
        // As a peer does that has it already: the identity stays under the first.
        assert!(ring.seal_with(newer));
        put(&store, "small", b"bytes");
        put(&store, "large", &[7; 5000]);
        newer
    };
    let ring = ring(&[9]);
    let store = store_with(dir.path(), Arc::clone(&ring));
    let lacking = |error: &StoreError| matches!(error, StoreError::KeyMissing { kek } if *kek == newer);
    for key in ["small", "large"] {
        assert!(read(&store, key).is_err_and(|error| lacking(&error) && !error.is_damage()), "{key}");
        let found = store.diagnose(&register_by_name(&name(key)));
        assert!(found.is_err_and(|error| lacking(&error)), "{key}");
        let record = record(&store, key);
        let restored = store.restore(register_by_name(&name(key)), record, Incarnation(7));
        assert!(restored.is_err_and(|error| lacking(&error)), "{key}");
    }
    let mut round = store.scrub(crate::store::scrub::Part::Behind(None));
    let (mut unread, mut done) = (0, false);
    while !done {
        let seen = round.read().expect("reads");
        assert_eq!(seen.damaged, None);
        (unread, done) = (unread + seen.unread, seen.done);
    }
    assert_eq!(unread, 2);
    assert!(matches!(store.verify(&mut |_| ()), Err(error) if lacking(&error)), "nothing can be said of them");
    let status = store.status();
    assert_eq!((status.damaged_reads, status.quarantined), (0, 0));
    assert_eq!(ring.missing(), Some(newer));

    ring.grow(keys_of(&[9, 8]), &[]).expect("one more");
    assert_eq!(ring.missing(), None);
    assert_eq!(read(&store, "small").expect("opens"), b"bytes");
    assert_eq!(read(&store, "large").expect("opens"), [7; 5000]);
}

#[test]
fn what_seals_goes_on_sealing_after_a_restart_and_a_start_without_it_says_so() {
    let dir = tempfile::tempdir().expect("directory");
    let two = ring(&[9, 8]);
    let [(_, first), (_, newer)] = two.generations()[..] else { panic!("two generations") };
    assert!(two.seal_with(first));
    let store = store_with(dir.path(), Arc::clone(&two));
    let unknown = crate::base::KekId([1; 16]);
    assert!(matches!(store.seal_under(unknown), Err(StoreError::KeyMissing { kek }) if kek == unknown));
    assert_eq!(two.active(), first);
    store.seal_under(newer).expect("sealed anew");
    assert_eq!(two.active(), newer);
    drop(store);

    let open_with = |ring: Arc<Keyring>| open(Arc::new(RealDisk), dir.path(), ring, None, Options::default());
    let refused = open_with(ring(&[9]));
    assert!(matches!(refused, Err(StoreError::ForeignKey { kek }) if kek == newer), "before anything is touched");
    let again = ring(&[9, 8]);
    assert!(again.seal_with(first));
    drop(store_with(dir.path(), Arc::clone(&again)));
    assert_eq!(again.active(), newer, "the directory says so");
}
