//! Power loss at every sync of the store's life: what was answered is there afterwards, whole, and
//! what was not is there whole or not at all.
//!
//! `BOVEDA_CRASH_SEEDS=N` runs more histories; a failure names its seed and the sync it stopped at.

use boveda::base::{BucketName, ObjectKey, ObjectName, Secret};
use boveda::disk::{CrashDisk, Disk};
use boveda::seal::keyring::Keyring;
use boveda::store::store::wait_blocking;
use boveda::store::types::NewObject;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/data";
const KEYS: u64 = 5;

/// What may be found under a key: every state that was answered last or was on its way.
type Possible = BTreeMap<String, BTreeSet<Option<Vec<u8>>>>;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn options() -> Options {
    Options {
        inline_max: 700,
        log_bytes: 96 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn ring() -> Arc<Keyring> {
    Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("ring"))
}

fn open(disk: &CrashDisk) -> Result<(Store, Clockwork), StoreError> {
    boveda::store::open(Arc::new(disk.clone()), Path::new(DIR), ring(), None, options())
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("key") }
}

fn body(rng: &mut Rng, max: u64) -> Vec<u8> {
    let len = rng.below(max);
    let mark = rng.next().to_le_bytes();
    (0..len).map(|i| mark[(i % 8) as usize] ^ (i / 8) as u8).collect()
}

/// One history. Returns when it ends or when the power is gone; `possible` is right at every moment.
fn live(disk: &CrashDisk, seed: u64, steps: u64, possible: &mut Possible) -> Result<(), StoreError> {
    let mut rng = Rng(seed);
    let (mut store, mut work) = open(disk)?;
    for _ in 0..steps {
        match rng.below(20) {
            // A group: several requests wait, one frame carries them.
            0..=9 => {
                let mut group = Vec::new();
                for _ in 0..=rng.below(4) {
                    let key = format!("k{}", rng.below(KEYS));
                    if rng.below(4) == 0 {
                        group.push((key.clone(), None, store.delete(name(&key), boveda::base::Condition::NONE)));
                    } else {
                        let bytes = body(&mut rng, 700);
                        let object = store.seal_small(NewObject::default(), &[Bytes::from(bytes.clone())])?;
                        group.push((
                            key.clone(),
                            Some(bytes),
                            store.put(name(&key), boveda::base::Condition::NONE, object),
                        ));
                    }
                }
                for (key, value, _) in &group {
                    possible.entry(key.clone()).or_insert_with(absent).insert(value.clone());
                }
                work.committer.turn();
                let mut latest = BTreeMap::new();
                for (key, value, answer) in group {
                    wait_blocking(answer)?;
                    latest.insert(key, value);
                }
                possible.extend(latest.into_iter().map(|(key, value)| (key, BTreeSet::from([value]))));
            }
            // A body in a blob.
            10..=14 => {
                let key = format!("k{}", rng.below(KEYS));
                let bytes = body(&mut rng, 200_000);
                let mut upload =
                    store.begin_upload(name(&key), boveda::base::Condition::NONE, NewObject::default(), None, None)?;
                for piece in bytes.chunks(70_000) {
                    upload.append(&[Bytes::copy_from_slice(piece)], |_| {})?;
                }
                if rng.below(5) == 0 {
                    continue; // the client went away
                }
                possible.entry(key.clone()).or_insert_with(absent).insert(Some(bytes.clone()));
                let finishing = store.finish_upload(upload)?;
                work.committer.turn();
                finishing.wait_blocking()?;
                possible.insert(key, BTreeSet::from([Some(bytes)]));
            }
            15 | 16 => store.checkpoint()?,
            17 => work.reaper.turn(),
            18 => drop(store.sweep_orphans()?),
            // A stop and a start.
            _ => {
                drop((store, work));
                (store, work) = open(disk)?;
            }
        }
    }
    Ok(())
}

fn absent() -> BTreeSet<Option<Vec<u8>>> {
    BTreeSet::from([None])
}

fn read(store: &Store, key: &str) -> Option<Vec<u8>> {
    match store.open_object(&name(key)) {
        Ok((info, mut download)) => {
            let mut bytes = Vec::new();
            loop {
                let pieces = download.read().expect("an object opens");
                if pieces.is_empty() {
                    break;
                }
                pieces.iter().for_each(|p| bytes.extend_from_slice(p));
            }
            assert_eq!(info.len, bytes.len() as u64);
            Some(bytes)
        }
        // `cargas` itself is made last at first start.
        Err(StoreError::NoSuchKey | StoreError::NoSuchBucket) => None,
        Err(error) => panic!("reading {key}: {error}"),
    }
}

fn check(disk: &CrashDisk, possible: &Possible, context: &str) {
    let (store, work) = open(disk).unwrap_or_else(|e| panic!("{context}: does not open: {e}"));
    for (key, states) in possible {
        let found = read(&store, key);
        assert!(states.contains(&found), "{context}: {key} holds {:?} bytes", found.map(|f| f.len()));
    }
    // It goes on: the next write works, and everything checks.
    let object = store.seal_small(NewObject::default(), &[Bytes::from_static(b"after")]).expect("seals");
    let answer = store.put(name("after"), boveda::base::Condition::NONE, object);
    work.committer.turn();
    wait_blocking(answer).unwrap_or_else(|e| panic!("{context}: write after the crash: {e}"));
    assert_eq!(read(&store, "after").as_deref(), Some(&b"after"[..]), "{context}");
    store.sweep_orphans().expect("sweeps");
    let sum = store.verify(&mut |_| {}).expect("verifies");
    assert_eq!((sum.damaged, sum.orphans, sum.strangers), (0, 0, 0), "{context}: {sum:?}");
    store.checkpoint().unwrap_or_else(|e| panic!("{context}: checkpoint after the crash: {e}"));
}

#[test]
fn any_power_loss_leaves_every_answered_write() {
    let seeds: u64 = std::env::var("BOVEDA_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let mut crashes = 0;
    for seed in 0..seeds {
        let whole = CrashDisk::new(seed);
        let mut possible = Possible::new();
        live(&whole, seed, 40, &mut possible).expect("with power, all goes well");
        check(&whole.copy(), &possible, &format!("seed {seed}, clean stop"));
        for stop_at in 0..whole.syncs() {
            let disk = CrashDisk::new(seed ^ (stop_at << 20)).stopping_at(stop_at);
            let mut possible = Possible::new();
            // The very last sync may be one that closes a file and has nobody to tell.
            let _ = live(&disk, seed, 40, &mut possible);
            let context = format!("seed {seed}, stopped at sync {stop_at}");
            let after = disk.after_power_loss();
            if stop_at % 3 == 0 {
                // Again, while the store is being opened.
                let again = after.copy().stopping_at(stop_at % 7);
                let _ = open(&again);
                check(&again.after_power_loss(), &possible, &format!("{context}, and again in recovery"));
            }
            check(&after, &possible, &context);
            // Random body ids make folders of their own, so a history may need a sync less than the first.
            crashes += u32::from(disk.is_dead());
        }
    }
    assert!(crashes > 100, "the power went often enough: {crashes}");
    println!("{crashes} power losses survived");
}

#[test]
fn a_failed_write_poisons_and_a_restart_heals() {
    for fail_at in 0..60 {
        let disk = CrashDisk::new(fail_at);
        let mut possible = Possible::new();
        drop(open(&disk).expect("opens"));
        disk.fail_writes_after(fail_at, std::io::ErrorKind::Other);
        let ended = live(&disk, fail_at, 40, &mut possible);
        disk.heal();
        if ended.is_err() {
            check(&disk.copy(), &possible, &format!("write {fail_at} failed"));
        }
    }
}

#[test]
fn nothing_readable_lies_on_the_disk() {
    let disk = CrashDisk::new(1);
    let (store, work) = open(&disk).expect("opens");
    let head =
        NewObject { content_type: "text/x-conspicuous".into(), meta: vec![("colour".into(), "ultramarine".into())] };
    let small = store.seal_small(head.clone(), &[Bytes::from_static(b"a small conspicuous plaintext")]).expect("seals");
    let answer = store.put(name("conspicuous-name"), boveda::base::Condition::NONE, small);
    work.committer.turn();
    wait_blocking(answer).expect("stored");
    let mut upload =
        store.begin_upload(name("conspicuous-blob"), boveda::base::Condition::NONE, head, None, None).expect("begins");
    upload.append(&[Bytes::from("a large conspicuous plaintext ".repeat(9000))], |_| {}).expect("appends");
    let finishing = store.finish_upload(upload).expect("finishes");
    work.committer.turn();
    finishing.wait_blocking().expect("stored");
    let look = |when: &str| {
        for (path, bytes) in disk.copy().dump() {
            for word in ["conspicuous", "ultramarine", "colour", "cargas"] {
                let found = bytes.windows(word.len()).any(|w| w == word.as_bytes());
                assert!(!found, "{when}: {word} lies readable in {}", path.display());
                assert!(!path.to_string_lossy().contains(word), "{when}: {}", path.display());
            }
        }
    };
    look("in the log");
    store.checkpoint().expect("checkpoint");
    look("in the index");
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let disk = CrashDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).expect("dir");
    disk.create_new(&Path::new(DIR).join("thesis.tex")).expect("file");
    assert!(matches!(open(&disk), Err(StoreError::ForeignDirectory { .. })));

    let disk = CrashDisk::new(2);
    drop(open(&disk).expect("opens"));
    let other = Arc::new(Keyring::new(vec![(1, Secret::new([8; 32]))]).expect("ring"));
    let opened = boveda::store::open(Arc::new(disk.clone()), Path::new(DIR), other, None, options());
    assert!(matches!(opened, Err(StoreError::ForeignKey { .. })));
    disk.remove(&Path::new(DIR).join("identity")).expect("removed");
    assert!(matches!(open(&disk), Err(StoreError::ForeignDirectory { .. })), "a lost identity is not a first start");
}
