//! One file operation in the store's life fails, or one read brings something else: what was answered is there afterwards,
//! nothing wrong is handed out, nothing panics, and after a restart all goes on, over a power loss too.
//!
//! `BOVEDA_WEATHER_STEP=1` tries every single operation, for every kind; a failure names kind, operation and seed.

use boveda::base::ObjectHead;
use boveda::base::{BucketName, Condition, Mark, ObjectKey, ObjectName, Secret};
use boveda::disk::CrashDisk;
use boveda::disk::crash::Misread;
use boveda::seal::keyring::Keyring;
use boveda::store::buckets::register_by_name;
use boveda::store::mutation::Mutation;
use boveda::store::wait_blocking;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/data";
const KEYS: u8 = 6;

/// What may be found under a key: the state that was answered last, and those whose outcome is unknown.
type Possible = BTreeMap<String, BTreeSet<Option<Vec<u8>>>>;

/// What is done in a life, one after the other.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Put(u8),
    PutMiddle(u8),
    PutLarge(u8),
    Delete(u8),
    Checkpoint,
    Reap,
    Move,
    Sweep,
    Restart,
    ReadAll,
}

use Deed::{Checkpoint, Delete, Move, Put, PutLarge, PutMiddle, ReadAll, Reap, Restart, Sweep};

/// Two short lives: each is lived once for each of its operations.
const LIVES: [&[Deed]; 2] = [
    &[
        Put(0),
        PutLarge(1),
        Put(0),
        Checkpoint,
        ReadAll,
        Delete(0),
        PutLarge(1),
        Reap,
        Put(2),
        Restart,
        ReadAll,
        Put(3),
        Checkpoint,
        Delete(2),
        PutLarge(4),
        Sweep,
        Restart,
        ReadAll,
        Put(5),
        Delete(1),
        Checkpoint,
        Put(0),
        Reap,
        // Each in a folder of its own, as a rule: their names are drawn.
        PutLarge(0),
        PutLarge(1),
        PutLarge(2),
        PutLarge(3),
        Reap,
        PutLarge(4),
        PutLarge(5),
        ReadAll,
    ],
    // Bodies in segments.
    &[
        PutMiddle(0),
        PutMiddle(1),
        PutMiddle(2),
        PutMiddle(0),
        Checkpoint,
        Move,
        PutMiddle(3),
        Delete(1),
        Restart,
        Move,
        Checkpoint,
        Move,
        ReadAll,
    ],
];

fn open(disk: &CrashDisk) -> Result<(Store, Clockwork), StoreError> {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options {
        inline_max: 700,
        log_bytes: 96 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        // Bodies of all three kinds.
        segment_max: 100_000,
        segment_bytes: 128 * 1024,
        ..Options::default()
    };
    boveda::store::open(Arc::new(disk.clone()), Path::new(DIR), ring, None, options)
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

fn body(deed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((deed * 31 + at * 7 + at / 256) % 251).expect("below 251")).collect()
}

fn put(store: &Store, work: &Clockwork, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let object = store.seal_small(ObjectHead::default(), &[Bytes::copy_from_slice(bytes)])?;
    let answer = store.mutate(Mutation::put(&name(key), Condition::NONE, object, store.now_ms()));
    work.committer.turn();
    wait_blocking(answer).map(|_| ())
}

fn put_large(store: &Store, work: &Clockwork, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let mut upload = store.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None)?;
    for piece in bytes.chunks(70_000) {
        upload.append(&[Bytes::copy_from_slice(piece)], |_| {})?;
    }
    let answer = store.mutate(upload.land()?.mutation());
    work.committer.turn();
    wait_blocking(answer).map(|_| ())
}

fn delete(store: &Store, work: &Clockwork, key: &str) -> Result<(), StoreError> {
    let answer = store.mutate(Mutation::delete(&name(key), Condition::NONE, store.now_ms()));
    work.committer.turn();
    wait_blocking(answer).map(|_| ())
}

fn read(store: &Store, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let (_, mut download) = match store.open_object(&name(key)) {
        Ok(opened) => opened,
        Err(StoreError::NoSuchKey | StoreError::NoSuchBucket) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    loop {
        let pieces = download.read()?;
        if pieces.is_empty() {
            return Ok(Some(bytes));
        }
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    }
}

/// One life, to its end whatever fails: what may be found afterwards. A store that takes no more writes is opened again,
/// as an operator would.
fn live(life: &[Deed], disk: &CrashDisk, possible: &mut Possible, context: &str) {
    let again = |why: &str| {
        // The first may meet the failure, and is no answer to anybody.
        open(disk).or_else(|_| open(disk)).unwrap_or_else(|e| panic!("{context}: {why}: {e}"))
    };
    let (mut store, mut work) = again("the first start");
    for (at, deed) in life.iter().copied().enumerate() {
        let done = match deed {
            Put(key) | PutMiddle(key) | PutLarge(key) | Delete(key) => {
                let key = format!("k{key}");
                let bytes = match deed {
                    Put(_) => Some(body(at, 500)),
                    PutMiddle(_) => Some(body(at, 30_000)),
                    PutLarge(_) => Some(body(at, 150_000)),
                    _ => None,
                };
                let states = possible.entry(key.clone()).or_insert_with(|| BTreeSet::from([None]));
                let new = states.insert(bytes.clone());
                let done = match (&bytes, deed) {
                    (Some(bytes), PutLarge(_) | PutMiddle(_)) => put_large(&store, &work, &key, bytes),
                    (Some(bytes), _) => put(&store, &work, &key, bytes),
                    (None, _) => delete(&store, &work, &key),
                };
                match &done {
                    Ok(()) => *states = BTreeSet::from([bytes]),
                    // Whoever hears this need not ask whether it was written all the same.
                    Err(StoreError::Poisoned | StoreError::Full) if new => {
                        states.remove(&bytes);
                    }
                    Err(_) => {}
                }
                done
            }
            Checkpoint => store.checkpoint(),
            Reap => {
                work.reaper.turn();
                Ok(())
            }
            Move => {
                let moved = (0..6).try_for_each(|_| {
                    work.mover.turn()?;
                    work.committer.turn();
                    Ok(())
                });
                moved.and_then(|()| store.checkpoint()).and_then(|()| work.mover.turn().map(|_| ()))
            }
            Sweep => store.sweep_orphans().map(|_| ()),
            Restart => Err(StoreError::Poisoned),
            ReadAll => {
                for key in 0..KEYS {
                    let key = format!("k{key}");
                    if let (Ok(found), Some(states)) = (read(&store, &key), possible.get(&key)) {
                        assert!(states.contains(&found), "{context}: {key} holds something else at {at}");
                    }
                }
                Ok(())
            }
        };
        if done.is_err() && (store.is_poisoned() || matches!(deed, Restart)) {
            drop((store, work));
            (store, work) = again("a restart");
        }
    }
}

fn check(disk: &CrashDisk, possible: &Possible, context: &str) {
    let (store, work) = open(disk).unwrap_or_else(|e| panic!("{context}: does not open: {e}"));
    for (key, states) in possible {
        let found = read(&store, key)
            .or_else(|error| match error.is_damage() {
                // As the healer does before a reader is told of damage.
                true => store.diagnose(&register_by_name(&name(key))).and_then(|_| read(&store, key)),
                false => Err(error),
            })
            .unwrap_or_else(|e| panic!("{context}: {key}: {e}"));
        assert!(states.contains(&found), "{context}: {key} holds {:?} bytes", found.map(|found| found.len()));
    }
    put(&store, &work, "after", b"after").unwrap_or_else(|e| panic!("{context}: a write afterwards: {e}"));
    store.checkpoint().unwrap_or_else(|e| panic!("{context}: a checkpoint afterwards: {e}"));
    store.sweep_orphans().unwrap_or_else(|e| panic!("{context}: a sweep afterwards: {e}"));
    // What waited before is looked for, and goes.
    work.reaper.turn();
    while work.mover.turn().unwrap_or_else(|e| panic!("{context}: a move afterwards: {e}")) || work.committer.turn() {}
    let sum = store.verify(&mut |_| {}).unwrap_or_else(|e| panic!("{context}: a check afterwards: {e}"));
    assert_eq!((sum.damaged, sum.orphans, sum.strangers, sum.miscounted), (0, 0, 0, 0), "{context}: {sum:?}");
}

fn step() -> usize {
    std::env::var("BOVEDA_WEATHER_STEP").ok().and_then(|n| n.parse().ok()).unwrap_or(7).max(1)
}

/// Runs each life for each of its operations, with `strike` asked for each, and looks at what it left: as it is, and
/// after a power loss. How often something went wrong.
fn every(what: &str, strike: impl Fn(&CrashDisk, u64)) -> u64 {
    LIVES.iter().zip(1..).map(|(life, which)| every_of(life, &format!("{what}, life {which}"), &strike)).sum()
}

fn every_of(life: &[Deed], what: &str, strike: impl Fn(&CrashDisk, u64)) -> u64 {
    let whole = CrashDisk::new(1);
    let mut possible = Possible::new();
    live(life, &whole, &mut possible, "without weather");
    check(&whole.copy(), &possible, "without weather");
    let mut struck = 0;
    for at in (0..whole.operations()).step_by(step()) {
        let disk = CrashDisk::new(at);
        let context = format!("{what} at {at}");
        strike(&disk, at);
        let mut possible = Possible::new();
        live(life, &disk, &mut possible, &context);
        disk.heal();
        check(&disk.after_power_loss(), &possible, &format!("{context}, power loss"));
        check(&disk, &possible, &context);
        check(&disk.after_power_loss(), &possible, &format!("{context}, all of it, power loss"));
        struck += disk.struck();
    }
    struck
}

#[test]
fn any_operation_that_fails_once_loses_nothing() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        let struck = every(&format!("{kind:?}"), |disk, at| disk.fail_once_after(at, kind));
        assert!(struck > 20, "{kind:?}: it went wrong often enough: {struck}");
        println!("{kind:?}: {struck}");
    }
    for mark in [Mark::Poisoned, Mark::FolderDoubted, Mark::SegmentCompacted, Mark::SegmentRemoved] {
        assert!(mark.count() > 0, "{mark:?} was never reached");
    }
}

/// The negative control: what no store can bear is seen by the same look.
#[test]
fn a_sync_that_lies_is_found_out() {
    let lied = |at: u64| {
        let disk = CrashDisk::new(at);
        disk.lie_once_after(at);
        let mut possible = Possible::new();
        live(LIVES[0], &disk, &mut possible, "it lied");
        check(&disk.after_power_loss(), &possible, "it lied");
    };
    let found = (0..60).find(|at| std::panic::catch_unwind(|| lied(*at)).is_err());
    assert!(found.is_some(), "syncs did nothing, and nobody noticed");
}

#[test]
fn any_read_that_goes_wrong_once_loses_nothing() {
    for how in Misread::ALL {
        let struck = every(&format!("{how:?}"), |disk, at| disk.misread_once_after(at / 2, how));
        assert!(struck > 20, "{how:?}: it went wrong often enough: {struck}");
        println!("{how:?}: {struck}");
    }
}

/// A disk that does not give back its bytes for a while: no body is taken for lost because of it, by readers or by those
/// that look into damage.
#[test]
fn bodies_outlive_reads_that_go_wrong_for_a_while() {
    // A body is written once, and alone in its file: nothing stale or misdirected is to be had of it.
    for how in [Misread::Refused, Misread::Short, Misread::Zeroed, Misread::Rotten] {
        let disk = CrashDisk::new(1);
        let (store, work) = open(&disk).expect("opens");
        let bytes = body(1, 150_000);
        put_large(&store, &work, "k", &bytes).expect("is durable");
        store.checkpoint().expect("the index has it");
        let mut refused = 0;
        for times in 1..12 {
            disk.misread_after(0, times, how);
            refused += u64::from(read(&store, "k").is_err());
            let _ = store.diagnose(&register_by_name(&name("k")));
            if matches!(how, Misread::Refused) {
                assert_eq!(store.status().quarantined, 0, "{times}: what was not read was set aside");
            }
            disk.heal();
            let found = store.diagnose(&register_by_name(&name("k"))).expect("looks");
            assert_eq!(found, None, "{how:?}, {times} times: taken for lost");
            assert_eq!(read(&store, "k").expect("opens"), Some(bytes.clone()), "{how:?}, {times} times");
        }
        assert!(refused > 5, "{how:?}: it met the readers: {refused}");
    }
}
