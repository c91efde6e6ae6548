//! Bodies in segments, in a whole store: over power loss at every sync, failures of the disk, compaction and damage.
//!
//! A failure names its seed and the sync it stopped at.

use boveda::base::record::ObjectRecord;
use boveda::base::{BucketName, Condition, Mark, ObjectHead, ObjectKey, ObjectName, Secret};
use boveda::disk::{CrashDisk, Disk, Space};
use boveda::seal::keyring::Keyring;
use boveda::store::buckets::register_by_name;
use boveda::store::incoming::Purpose;
use boveda::store::mutation::Mutation;
use boveda::store::wait_blocking;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/data";
const KEYS: u64 = 12;
const INLINE: usize = 700;
const SEGMENT_MAX: usize = 30_000;
const SEGMENT_BYTES: u32 = 128 * 1024;

/// What may be found under a key: the state that was answered last, and those whose outcome is unknown.
type Possible = BTreeMap<String, BTreeSet<Option<Vec<u8>>>>;

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    fn bytes(&mut self, least: u64, most: u64) -> Vec<u8> {
        let (len, mark) = (least + self.below(most - least), self.below(u64::MAX).to_le_bytes());
        mark.into_iter().cycle().zip(0u8..=255).map(|(a, b)| a ^ b).cycle().take(len as usize).collect()
    }
}

struct Node {
    store: Store,
    work: Clockwork,
}

fn open_with(disk: &CrashDisk, options: Options) -> Result<Node, StoreError> {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let (store, work) = boveda::store::open(Arc::new(disk.clone()), Path::new(DIR), ring, None, options)?;
    Ok(Node { store, work })
}

fn options() -> Options {
    Options {
        inline_max: INLINE,
        segment_max: SEGMENT_MAX,
        segment_bytes: SEGMENT_BYTES,
        log_bytes: 96 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn open(disk: &CrashDisk) -> Result<Node, StoreError> {
    open_with(disk, options())
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

impl Node {
    fn commit(&self, mutation: Mutation) -> Result<(), StoreError> {
        let answer = self.store.mutate(mutation);
        self.work.committer.turn();
        wait_blocking(answer).map(|_| ())
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<Box<ObjectRecord>, StoreError> {
        let mut upload = self.store.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None)?;
        for piece in bytes.chunks(7_000) {
            upload.append(&[Bytes::copy_from_slice(piece)], |_| {})?;
        }
        let landed = upload.land()?;
        self.commit(landed.mutation())?;
        Ok(landed.object)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.commit(Mutation::delete(&name(key), Condition::NONE, self.store.now_ms()))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut download = match self.store.open_object(&name(key)) {
            Ok((_, download)) => download,
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

    /// Has the mover do all that it finds to do, with the checkpoints that it asks for.
    fn settle(&self) -> Result<(), StoreError> {
        for _ in 0..400 {
            let moved = self.work.mover.turn()?;
            let committed = self.work.committer.turn();
            if !moved && !committed {
                self.store.checkpoint()?;
                if !self.work.mover.turn()? {
                    return Ok(());
                }
                self.work.committer.turn();
            }
        }
        panic!("the mover comes to no end")
    }

    fn verify(&self, context: &str) {
        self.store.sweep_orphans().unwrap_or_else(|e| panic!("{context}: a sweep: {e}"));
        let mut found = Vec::new();
        let sum = self.store.verify(&mut |finding| found.push(finding)).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!((sum.damaged, sum.orphans, sum.strangers), (0, 0, 0), "{context}: {found:?}");
    }
}

/// Bytes of all segments on a disk, and how many there are.
fn segments(disk: &CrashDisk) -> (u64, usize) {
    let files = disk.list(Path::new("/data/segments")).expect("it is there");
    let len = |path: &std::path::PathBuf| disk.open(path).and_then(|file| file.len()).expect("it is there");
    (files.iter().map(len).sum(), files.len())
}

/// A life of puts, overwrites, deletes, moves and restarts. `possible` is right at every moment.
fn live(disk: &CrashDisk, seed: u64, steps: u64, possible: &mut Possible) -> Result<(), StoreError> {
    let mut rng = Rng(seed);
    let mut node = open(disk)?;
    let absent = || BTreeSet::from([None]);
    for _ in 0..steps {
        let key = format!("k{}", rng.below(KEYS));
        match rng.below(16) {
            0..=8 => {
                let bytes = rng.bytes(INLINE as u64, SEGMENT_MAX as u64 + 4_000);
                possible.entry(key.clone()).or_insert_with(absent).insert(Some(bytes.clone()));
                node.put(&key, &bytes)?;
                possible.insert(key, BTreeSet::from([Some(bytes)]));
            }
            9 | 10 => {
                possible.entry(key.clone()).or_insert_with(absent).insert(None);
                node.delete(&key)?;
                possible.insert(key, absent());
            }
            11 => node.store.checkpoint()?,
            12 => node.work.reaper.turn(),
            13 | 14 => node.settle()?,
            _ => {
                drop(node);
                node = open(disk)?;
            }
        }
    }
    node.settle()
}

fn check(disk: &CrashDisk, possible: &Possible, context: &str) {
    let node = open(disk).unwrap_or_else(|e| panic!("{context}: does not open: {e}"));
    for (key, states) in possible {
        let found = node.get(key).unwrap_or_else(|e| panic!("{context}: {key}: {e}"));
        assert!(states.contains(&found), "{context}: {key} holds {:?} bytes", found.map(|found| found.len()));
    }
    node.put("after", &[7; 5_000]).unwrap_or_else(|e| panic!("{context}: a write afterwards: {e}"));
    node.settle().unwrap_or_else(|e| panic!("{context}: moves afterwards: {e}"));
    assert_eq!(node.get("after").expect("opens"), Some(vec![7; 5_000]), "{context}");
    node.verify(context);
}

#[test]
fn any_power_loss_leaves_every_body_that_was_answered_for() {
    let mut crashes = 0;
    for seed in 0..2 {
        let whole = CrashDisk::new(seed);
        let mut possible = Possible::new();
        live(&whole, seed, 45, &mut possible).expect("with power, all goes well");
        check(&whole.copy(), &possible, &format!("seed {seed}, clean stop"));
        for stop_at in 0..whole.syncs() {
            let disk = CrashDisk::new(seed ^ (stop_at << 20)).stopping_at(stop_at);
            let mut possible = Possible::new();
            let _ = live(&disk, seed, 45, &mut possible);
            let context = format!("seed {seed}, stopped at sync {stop_at}");
            let after = disk.after_power_loss();
            if stop_at % 5 == 0 {
                // Again, while the store is being opened.
                let again = after.copy().stopping_at(stop_at % 7);
                drop(open(&again));
                check(&again.after_power_loss(), &possible, &format!("{context}, and again in recovery"));
            }
            check(&after, &possible, &context);
            crashes += u32::from(disk.is_dead());
        }
    }
    assert!(crashes > 60, "the power went often enough: {crashes}");
    for mark in [Mark::SegmentCompacted, Mark::SegmentRemoved] {
        assert!(mark.count() > 0, "{mark:?} was never reached");
    }
}

#[test]
fn one_operation_that_fails_costs_no_body_that_was_answered_for() {
    let whole = CrashDisk::new(1);
    live(&whole, 1, 40, &mut Possible::new()).expect("a healthy disk");
    let mut struck = 0;
    for at in (0..whole.operations()).step_by(3) {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            let disk = CrashDisk::new(at);
            disk.fail_once_after(at, kind);
            let mut possible = Possible::new();
            let _ = live(&disk, 1, 40, &mut possible);
            struck += disk.struck();
            disk.heal();
            let context = format!("{kind:?} at {at}");
            check(&disk.after_power_loss(), &possible, &format!("{context}, power loss"));
            check(&disk, &possible, &context);
        }
    }
    assert!(struck > 50, "{struck}");
}

/// After random overwrites and deletes the disk holds little beside what is alive.
#[test]
fn what_is_dead_goes_while_others_live() {
    for (least, most) in [(INLINE as u64, 3_000), (4_000, 9_000), (10_000, SEGMENT_MAX as u64)] {
        let disk = CrashDisk::new(least);
        let options = Options { log_bytes: 1 << 20, ..options() };
        let node = open_with(&disk, options).expect("opens");
        let (mut rng, mut alive) = (Rng(least), BTreeMap::new());
        let keys = 4_000_000 / most;
        for step in 0..6 * keys {
            let key = format!("k{:05}", rng.below(keys));
            match rng.below(5) {
                0 => {
                    node.delete(&key).expect("a healthy disk");
                    alive.remove(&key);
                }
                _ => {
                    let bytes = rng.bytes(least, most);
                    alive.insert(key.clone(), node.put(&key, &bytes).expect("a healthy disk").sealed_len);
                }
            }
            if step % 50 == 0 {
                node.settle().expect("a healthy disk");
            }
            if step % 500 == 499 && step > keys {
                node.settle().expect("a healthy disk");
                let (bytes, files) = segments(&disk);
                let live: u64 = alive.values().sum();
                assert!(bytes <= live * 13 / 10, "{least} to {most}: {bytes} bytes in {files} segments for {live}");
            }
        }
        let status = node.store.status().segments;
        assert_eq!((status.bytes, status.files), (segments(&disk).0, segments(&disk).1 as u64));
        assert!(status.moved_bytes > 0 && status.dead_bytes < status.bytes / 4, "{status:?}");
        alive.keys().for_each(|key| node.delete(key).expect("a healthy disk"));
        node.settle().expect("a healthy disk");
        assert!(segments(&disk).1 <= 1, "nothing is left of them: {:?}", segments(&disk));
        node.verify("at the end");
    }
}

fn fill(node: &Node, keys: u64, bytes: usize) {
    for n in 0..keys {
        node.put(&format!("k{n}"), &vec![n.to_le_bytes()[0]; bytes]).expect("a healthy disk");
    }
}

#[test]
fn a_download_reads_on_while_its_body_is_moved_and_what_it_was_in_is_gone() {
    let disk = CrashDisk::new(1);
    // Too long to be read when it is opened.
    let options = Options { segment_max: 300_000, segment_bytes: 1 << 20, ..options() };
    let node = open_with(&disk, options).expect("opens");
    fill(&node, 12, 250_000);
    node.store.checkpoint().expect("a healthy disk");
    let (_, mut download) = node.store.open_object(&name("k1")).expect("opens");
    download.set_range(200_000, 9_000);
    // All but the one that is read go.
    (0..12).filter(|n| *n != 1).for_each(|n| node.delete(&format!("k{n}")).expect("a healthy disk"));
    let of = |disk: &CrashDisk| -> BTreeSet<_> {
        disk.list(Path::new("/data/segments")).expect("it is there").into_iter().collect()
    };
    let before = of(&disk);
    node.settle().expect("a healthy disk");
    assert!(before.is_disjoint(&of(&disk)), "all of them are gone");
    assert_eq!(download.read().expect("reads").concat(), [1; 9_000]);
    assert_eq!(node.get("k1").expect("opens"), Some(vec![1; 250_000]), "at its new place");
    node.verify("afterwards");
}

#[test]
fn a_full_disk_refuses_a_body_and_a_move_and_both_go_on_when_there_is_room() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    fill(&node, 12, 20_000);
    (0..12).filter(|n| n % 3 > 0).for_each(|n| node.delete(&format!("k{n}")).expect("a healthy disk"));
    node.store.checkpoint().expect("a healthy disk");
    disk.fail_writes_after(0, ErrorKind::StorageFull);
    let refused = node.put("new", &[7; 20_000]).expect_err("no room");
    assert!(refused.is_shortage(), "{refused}");
    assert!(node.work.mover.turn().is_err_and(|error| error.is_shortage()), "nor for a move");
    disk.heal();
    node.put("new", &[7; 20_000]).expect("there is room again");
    node.settle().expect("a healthy disk");
    for n in (0..12).filter(|n| n % 3 == 0) {
        assert_eq!(node.get(&format!("k{n}")).expect("opens"), Some(vec![n; 20_000]));
    }
    let (bytes, _) = segments(&disk);
    assert!(bytes < 150_000, "{bytes}");
    node.verify("afterwards");
}

#[test]
fn near_the_reserve_moves_go_on_in_half_of_it() {
    const RESERVE: u64 = 4 << 20;
    let disk = CrashDisk::new(1);
    let space = |free| Space { total: 1 << 30, free, files_free: u64::MAX };
    disk.set_space(space(1 << 29));
    let node = open_with(&disk, Options { reserve_bytes: RESERVE, ..options() }).expect("opens");
    fill(&node, 12, 20_000);
    // Less than a sixth of it: where there is room nobody moves anything for that.
    node.delete("k2").expect("a healthy disk");
    node.put("k8", &[8; 10_000]).expect("a healthy disk");
    node.settle().expect("a healthy disk");
    let (before, _) = segments(&disk);
    disk.set_space(space(RESERVE - (1 << 20)));
    node.store.refresh_space().expect("it is asked");
    assert!(node.put("new", &[7; 20_000]).is_err(), "clients' bytes are refused");
    node.settle().expect("and moves are not");
    assert!(segments(&disk).0 < before, "{:?} after {before}", segments(&disk));
    node.verify("afterwards");
}

#[test]
fn an_upload_is_a_file_when_it_turns_out_too_long_and_has_none_before() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    let staged = || disk.list(Path::new("/data/staged")).expect("it is there").len();
    for (len, is_file) in [(SEGMENT_MAX, false), (SEGMENT_MAX + 1, true)] {
        for hint in [None, Some(len as u64)] {
            let begun = node.store.begin_upload(name("k"), Condition::NONE, ObjectHead::default(), hint, None);
            let mut upload = begun.expect("begins");
            let body = vec![7; len];
            upload.append(&[Bytes::copy_from_slice(&body[..len - 1])], |_| {}).expect("takes");
            assert_eq!(staged(), usize::from(is_file && hint.is_some()), "{len} bytes, {hint:?}");
            upload.append(&[Bytes::copy_from_slice(&body[len - 1..])], |_| {}).expect("takes");
            node.commit(upload.land().expect("lands").mutation()).expect("a healthy disk");
            let blobs = disk.files().iter().filter(|path| path.starts_with("/data/blobs")).count();
            assert_eq!(blobs > 0, is_file, "{len} bytes, {hint:?}");
            assert_eq!(node.get("k").expect("opens"), Some(body));
            node.delete("k").expect("a healthy disk");
            node.work.reaper.turn();
        }
        // The next one begins where there is nothing.
        node.settle().expect("a healthy disk");
    }
}

/// Sealed bytes of a body, as a peer has them.
fn sealed(node: &Node, object: &ObjectRecord) -> Bytes {
    node.store.read_sealed(object.body, 0, u32::MAX).expect("reads")
}

#[test]
fn damage_in_a_segment_is_set_aside_and_a_good_copy_has_another_place() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    fill(&node, 3, 20_000);
    let object = node.put("k", &[9; 20_000]).expect("a healthy disk");
    let (good, blob) = (sealed(&node, &object), object.blob_ref());
    let segment = Path::new("/data/segments/00000001");
    let at = |bytes: &[u8]| {
        let whole = disk.read_raw(segment).expect("it is there");
        whole.windows(64).position(|window| window == &bytes[500..564]).expect("it lies there") as u64
    };
    disk.flip(segment, at(&good), 1).expect("it is damaged");
    assert!(node.get("k").expect_err("is damaged").is_damage());
    let key = register_by_name(&name("k"));
    let found = node.store.diagnose(&key).expect("looks");
    assert!(found.is_some_and(|ailment| ailment.is_fault()), "{found:?}");
    assert_eq!(node.store.status().quarantined, 1, "a copy is kept");
    assert!(node.store.open_outgoing(object.body).is_err(), "no peer gets it");
    // The log hears of it: after a restart it is missing still.
    assert!(node.work.mover.turn().expect("a healthy disk") && node.work.committer.turn());
    assert!(Mark::BodyUnplaced.count() > 0);
    drop(node);
    let node = open(&disk).expect("opens");
    assert!(node.store.open_outgoing(object.body).is_err());
    let mut incoming = node.store.begin_incoming(object.body, Some(blob.sealed_len), Purpose::Reader).expect("begins");
    incoming.append(&[good]).and_then(|()| incoming.finish(blob)).expect("it checks");
    assert_eq!(node.get("k").expect("opens"), Some(vec![9; 20_000]), "at once");
    let named = node.store.name_bodies(key.clone());
    node.work.committer.turn();
    wait_blocking(named).expect("a healthy disk");
    drop(node);
    let node = open(&disk.after_power_loss()).expect("opens");
    assert_eq!(node.get("k").expect("opens"), Some(vec![9; 20_000]), "and after a power loss");
    assert_eq!(node.store.diagnose(&key).expect("looks"), None);
    node.settle().expect("a healthy disk");
    node.verify("afterwards");
}

#[test]
fn a_segment_that_is_lost_costs_its_own_bodies_until_they_come_again() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    let objects: Vec<_> = (0..12u8).map(|n| node.put(&format!("k{n}"), &vec![n; 20_000]).expect("is put")).collect();
    let copies: Vec<_> = objects.iter().map(|object| sealed(&node, object)).collect();
    node.store.checkpoint().expect("a healthy disk");
    drop(node);
    disk.remove(Path::new("/data/segments/00000001")).expect("it is removed");
    let node = open(&disk).expect("opens without it");
    let mut missing = 0;
    for (n, (object, copy)) in (0..12u8).zip(objects.iter().zip(copies)) {
        let key = format!("k{n}");
        if node.get(&key).is_err_and(|error| error.is_damage()) {
            missing += 1;
            assert!(node.store.open_outgoing(object.body).is_err());
            let begun = node.store.begin_incoming(object.body, Some(object.sealed_len), Purpose::Copy);
            let mut incoming = begun.expect("begins");
            incoming.append(&[copy]).and_then(|()| incoming.finish(object.blob_ref())).expect("it checks");
            let named = node.store.name_bodies(register_by_name(&name(&key)));
            node.work.committer.turn();
            wait_blocking(named).expect("a healthy disk");
        }
        assert_eq!(node.get(&key).expect("opens"), Some(vec![n; 20_000]));
    }
    assert!((1..12).contains(&missing), "{missing}");
    node.settle().expect("a healthy disk");
    drop(node);
    let node = open(&disk.after_power_loss()).expect("opens");
    node.verify("afterwards");
}

#[test]
fn a_body_that_no_record_came_for_is_given_up() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    let begun = node.store.begin_upload(name("k"), Condition::NONE, ObjectHead::default(), None, None);
    let mut upload = begun.expect("begins");
    upload.append(&[Bytes::from(vec![7; 20_000])], |_| {}).expect("takes");
    let landed = upload.land().expect("lands");
    let body = landed.object.body;
    assert!(node.store.open_outgoing(body).is_ok(), "peers may have it");
    node.store.discard_blob(body).expect("answers");
    assert!(node.store.open_outgoing(body).is_err(), "nobody came for it");
    fill(&node, 1, 20_000);
    let kept = node.store.open_object(&name("k0")).expect("opens").1;
    drop(kept);
    node.settle().expect("a healthy disk");
    assert_eq!(node.get("k0").expect("opens"), Some(vec![0; 20_000]));
    node.verify("afterwards");
}
