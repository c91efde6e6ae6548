//! Bodies in segments, small ones on their way there too, in a whole store: over power loss at every sync, failures of
//! the disk, compaction and damage.
//!
//! A failure names its seed and the sync it stopped at.

use boveda::base::record::ObjectRecord;
use boveda::base::{
    BucketName, Condition, Epoch, Incarnation, Mark, NodeName, ObjectHead, ObjectKey, ObjectName, Secret,
};
use boveda::disk::{CrashDisk, Disk, Space};
use boveda::register::{Roster, Seat};
use boveda::seal::keyring::Keyring;
use boveda::store::buckets::register_by_name;
use boveda::store::incoming::Purpose;
use boveda::store::mutation::Mutation;
use boveda::store::voting::Seating;
use boveda::store::wait_blocking;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
        if bytes.len() <= INLINE {
            let object = self.store.seal_small(ObjectHead::default(), &[Bytes::copy_from_slice(bytes)])?;
            let put = Mutation::put(&name(key), Condition::NONE, object.clone(), self.store.now_ms());
            return self.commit(put).map(|()| object);
        }
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
            self.work.reaper.turn();
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
        assert_eq!((sum.damaged, sum.orphans, sum.strangers, sum.miscounted), (0, 0, 0, 0), "{context}: {found:?}");
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
                // Small ones, which come with their records and go to a segment with the checkpoint, and others.
                let most = if rng.below(3) == 0 { INLINE as u64 } else { SEGMENT_MAX as u64 + 4_000 };
                let bytes = rng.bytes(1, most);
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
    let small = (400, INLINE as u64);
    for (least, most) in [small, (INLINE as u64, 3_000), (4_000, 9_000), (10_000, SEGMENT_MAX as u64)] {
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
                // Each entry has a head.
                let live: u64 = alive.values().map(|sealed_len| sealed_len + 64).sum();
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
    // They have waited.
    node.work.reaper.turn();
    node.work.committer.turn();
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
    let (good, blob) = (sealed(&node, &object), object.body_ref());
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
            incoming.append(&[copy]).and_then(|()| incoming.finish(object.body_ref())).expect("it checks");
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

/// Puts until the disk is full down to the reserve. What is there then.
fn fill_up(node: &Node, rng: &mut Rng, bytes: usize) -> Vec<String> {
    let mut keys = Vec::new();
    loop {
        let key = format!("f{:06}", keys.len());
        match node.put(&key, &rng.bytes(bytes as u64, bytes as u64 + 1)) {
            Ok(_) => keys.push(key),
            Err(StoreError::Full) => return keys,
            Err(error) => panic!("{error}"),
        }
        if keys.len() % 16 == 0 {
            node.store.refresh_space().expect("it is asked");
        }
    }
}

/// What the mover does by itself, with the checkpoints that it asks for and no others.
fn move_alone(node: &Node) {
    for _ in 0..20_000 {
        // As at each tick: near the reserve nothing waits.
        node.work.reaper.look(Instant::now());
        let moved = node.work.mover.turn().expect("a healthy disk");
        if !node.work.committer.turn() && !moved {
            return;
        }
    }
    panic!("the mover comes to no end");
}

/// A disk of the proportions that the defaults have: a reserve of eight segments, and some more room.
fn small_disk() -> (CrashDisk, Node) {
    let disk = CrashDisk::new(1);
    disk.set_capacity(26 << 20);
    let segment_bytes = 1 << 20;
    let log_bytes = 1 << 20;
    let reserve_bytes = 8 * u64::from(segment_bytes);
    let node = open_with(&disk, Options { reserve_bytes, segment_bytes, log_bytes, ..options() }).expect("opens");
    (disk, node)
}

#[test]
fn on_a_full_disk_what_is_dead_gives_its_room_back_whatever_is_alive_beside_it() {
    let (disk, node) = small_disk();
    let mut rng = Rng(3);
    let keys = fill_up(&node, &mut rng, 25_000);
    let (full, _) = segments(&disk);
    assert!(full > 12 << 20, "{full}");
    // Every third goes: in all segments more is alive than dead.
    for key in keys.iter().step_by(3) {
        node.delete(key).expect("deletes go on");
    }
    node.store.checkpoint().expect("there is room for that");
    move_alone(&node);
    let (left, files) = segments(&disk);
    let alive = (keys.len() - keys.len().div_ceil(3)) as u64 * 25_200;
    assert!(left <= alive * 12 / 10 + (1 << 20), "{left} bytes in {files} segments for {alive}");
    node.store.refresh_space().expect("it is asked");
    for n in 0..(full - left) / 30_000 / 2 {
        node.put(&format!("n{n}"), &[7; 25_000]).expect("there is room again");
    }
    assert_eq!(node.store.status().segments.lacks_bytes, 0);
    assert_eq!(node.store.unfit(), None, "what moves is no client that is refused");
    node.verify("afterwards");
}

#[test]
fn on_a_full_disk_overwrites_go_on_for_ever() {
    let (disk, node) = small_disk();
    let mut rng = Rng(4);
    let keys = fill_up(&node, &mut rng, 25_000);
    // A fifth of it is for others.
    let (gone, alive) = keys.split_at(keys.len() / 5);
    gone.iter().for_each(|key| node.delete(key).expect("deletes go on"));
    move_alone(&node);
    let mut refused = 0;
    for n in 0..2_000 {
        let key = &alive[usize::try_from(rng.below(alive.len() as u64)).expect("small")];
        match node.put(key, &rng.bytes(25_000, 25_001)) {
            Ok(_) => {}
            Err(StoreError::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if n % 8 == 0 {
            node.store.refresh_space().expect("it is asked");
            move_alone(&node);
        }
    }
    assert!(refused < 100, "{refused} of 2000 were refused; {:?}", segments(&disk));
    node.verify("afterwards");
}

#[test]
fn what_the_log_has_dropped_goes_without_a_checkpoint_and_is_told() {
    what_was_dropped_goes(40, 20_000);
    // Small ones: what the checkpoint has appended counts like all else.
    what_was_dropped_goes(800, 500);
}

fn what_was_dropped_goes(count: usize, bytes: usize) {
    let disk = CrashDisk::new(1);
    let node = open_with(&disk, Options { log_bytes: 4 << 20, ..options() }).expect("opens");
    let stays = |n: &usize| n % (count / 2) == 7;
    fill(&node, count as u64, bytes);
    node.store.checkpoint().expect("a healthy disk");
    let (checkpoints, before) = (node.store.status().checkpoints, segments(&disk).1);
    // Others fill the disk: a checkpoint is refused.
    disk.set_space(Space { total: 1 << 30, free: 0, files_free: u64::MAX });
    (0..count).filter(|n| !stays(n)).for_each(|n| node.delete(&format!("k{n}")).expect("deletes go on"));
    assert!(node.store.checkpoint().is_err());
    move_alone(&node);
    let told = node.store.status().segments;
    assert!(told.dead_bytes > told.bytes / 2, "{told:?}");
    let left = segments(&disk).1;
    assert!(left <= 3 && left < before, "{left} of {before}");
    assert_eq!(node.store.status().checkpoints, checkpoints);
    // The index names places in segments that are gone, until the log has been heard.
    let disk = disk.after_power_loss();
    disk.set_space(Space { total: 1 << 30, free: 1 << 29, files_free: u64::MAX });
    let node = open_with(&disk, Options { log_bytes: 4 << 20, ..options() }).expect("opens");
    for n in 0..count {
        let expected = stays(&n).then(|| vec![n.to_le_bytes()[0]; bytes]);
        assert_eq!(node.get(&format!("k{n}")).expect("a healthy disk"), expected);
    }
    node.settle().expect("a healthy disk");
    node.verify("afterwards");
}

#[test]
fn that_there_is_no_room_to_move_is_told_and_passes() {
    let disk = CrashDisk::new(1);
    let space = |free| Space { total: 1 << 40, free, files_free: u64::MAX };
    let node = open_with(&disk, Options { reserve_bytes: 4 << 20, ..options() }).expect("opens");
    fill(&node, 24, 20_000);
    (0..24).filter(|n| n % 2 > 0).for_each(|n| node.delete(&format!("k{n}")).expect("a healthy disk"));
    disk.set_space(space(1 << 20));
    node.store.refresh_space().expect("it is asked");
    move_alone(&node);
    assert!(node.store.status().segments.lacks_bytes > 1 << 20, "{:?}", node.store.status().segments);
    assert!(Mark::NoRoomForMoves.count() > 0);
    disk.set_space(space(1 << 30));
    node.settle().expect("a healthy disk");
    assert_eq!(node.store.status().segments.lacks_bytes, 0);
    node.verify("afterwards");
}

#[test]
fn a_node_that_is_given_its_place_anew_finds_its_bodies_again_and_those_that_no_record_comes_for_go() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    let mut objects: Vec<_> =
        (0..12u8).map(|n| node.put(&format!("k{n}"), &vec![n; 20_000]).expect("is put")).collect();
    let record = |n: usize| {
        let key = register_by_name(&name(&format!("k{n}")));
        let held = node.store.lookup(&key).expect("looks").expect("is there");
        (key, (*held.record).clone())
    };
    let records: Vec<_> = (0..4).map(record).collect();
    node.store.checkpoint().expect("a healthy disk");
    // It is in the log alone.
    objects.push(node.put("k12", &[12; 500]).expect("is put"));
    let seat = |n: u64, incarnation| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation };
    let others = [seat(2, Incarnation(77)), seat(3, Incarnation(78))];
    let all = [others.clone().to_vec(), vec![seat(1, node.store.incarnation())]].concat();
    let list = Roster::founding(1, others.to_vec()).next(2, &all);
    let seated = node.store.seat(Seating::Adopt(Arc::new(list)));
    node.work.committer.turn();
    wait_blocking(seated).expect("a healthy disk");
    assert!(node.store.lookup(&records[0].0).expect("looks").is_none(), "it begins with nothing");
    drop(node);
    let here = |node: &Node| -> Vec<_> {
        objects.iter().map(|object| node.store.open_outgoing(object.body).is_ok()).collect()
    };
    // Its bucket comes with the list.
    let member = || Options { first_bucket: false, ..options() };
    // From the log, and from the index.
    for checkpointed in [false, true] {
        let node = open_with(&disk.after_power_loss(), member()).expect("opens");
        if checkpointed {
            node.store.checkpoint().expect("a healthy disk");
        }
        assert_eq!(here(&node), [true; 13], "what the others may need is here, {checkpointed}");
    }
    let node = open_with(&disk, member()).expect("opens");
    let learned = node.store.learn(records.clone(), Incarnation(77), Epoch(2)).expect("of a member");
    node.work.committer.turn();
    wait_blocking(learned).expect("a healthy disk");
    node.settle().expect("a healthy disk");
    assert_eq!(here(&node), [true; 13], "they wait for their records");
    drop(node);
    let node = open_with(&disk, Options { orphan_grace: Duration::ZERO, ..member() }).expect("opens");
    node.settle().expect("a healthy disk");
    assert!(Mark::OrphanReleased.count() > 0);
    assert_eq!(here(&node), [[true; 4].as_slice(), &[false; 9]].concat(), "none came for the others");
    for object in &objects[..4] {
        assert_eq!(boveda::seal::digest::digest_of(&sealed(&node, object)), object.digest);
    }
    drop(node);
    let node = open_with(&disk.after_power_loss(), member()).expect("opens");
    assert_eq!(here(&node), [[true; 4].as_slice(), &[false; 9]].concat());
    node.verify("afterwards");
}

/// Where an entry's head lies in a segment.
fn head_of(disk: &CrashDisk, segment: &Path, object: &ObjectRecord) -> u64 {
    let whole = disk.read_raw(segment).expect("it is there");
    let is_head = |window: &[u8]| window.starts_with(b"BVSE") && window[8..] == object.body.0;
    whole.windows(24).position(is_head).expect("it lies there") as u64
}

#[test]
fn damaged_heads_keep_no_body_from_being_moved() {
    let disk = CrashDisk::new(1);
    let options = || Options { segment_bytes: 1 << 20, ..options() };
    let node = open_with(&disk, options()).expect("opens");
    let objects: Vec<_> = (0..20u8).map(|n| node.put(&format!("k{n}"), &vec![n; 20_000]).expect("is put")).collect();
    node.store.checkpoint().expect("a healthy disk");
    drop(node);
    let first = Path::new("/data/segments/00000001");
    // The head of an entry; then that of a segment, and of an entry that is moved once more.
    for (round, damaged) in [vec![3usize], vec![3, 7]].into_iter().enumerate() {
        let segment = disk.list(Path::new("/data/segments")).expect("it is there").into_iter().min().expect("one");
        assert_eq!(segment == first, round == 0, "the one before is gone");
        damaged
            .iter()
            .for_each(|n| disk.flip(&segment, head_of(&disk, &segment, &objects[*n]) + 30, 1).expect("flips"));
        if round == 1 {
            disk.flip(&segment, 100, 1).expect("flips");
        }
        let node = open_with(&disk, options()).expect("opens");
        let goes = |n: &u8| if round == 0 { (8..20).contains(n) } else { false };
        (0..20).filter(goes).for_each(|n| node.delete(&format!("k{n}")).expect("a healthy disk"));
        let listed = Mark::SegmentListed.count();
        node.settle().expect("a healthy disk");
        assert!(Mark::SegmentListed.count() > listed);
        assert!(!disk.exists(&segment).expect("answers"), "nothing keeps it");
        assert_eq!(node.store.status().segments.damaged, 0);
        for n in 0..8u8 {
            assert_eq!(node.get(&format!("k{n}")).expect("opens"), Some(vec![n; 20_000]), "round {round}");
        }
        node.verify("afterwards");
    }
}

#[test]
fn what_is_no_segment_is_left_alone_whatever_its_name() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    fill(&node, 3, 20_000);
    drop(node);
    let at = |name: &str| Path::new("/data/segments").join(name);
    let make = |name: &str, bytes: &[u8]| {
        let file = disk.create_new(&at(name)).expect("makes");
        file.write_at(0, bytes).and_then(|()| file.sync_data()).expect("writes");
        disk.sync_dir(Path::new("/data/segments")).expect("has a name");
    };
    make("00777777", &b"an operator's file".repeat(100));
    make("99999999", b"x");
    // What a crash has left of one that was being made.
    make("00000009", &[0; 4096]);
    make("00000010", b"");
    disk.create_dir_all(&at("00000011")).expect("makes");
    for _ in 0..2 {
        let node = open(&disk).expect("opens");
        fill(&node, 12, 20_000);
        let mut found = Vec::new();
        let sum = node.store.verify(&mut |finding| found.push(finding)).expect("reads");
        assert_eq!((sum.damaged, sum.strangers), (0, 3), "{found:?}");
    }
    assert!(disk.read_raw(&at("00777777")).expect("it is there").starts_with(b"an operator's file"));
    assert_eq!(disk.read_raw(&at("99999999")).expect("it is there"), b"x");
    let node = open(&disk).expect("opens");
    for n in 0..12u8 {
        assert_eq!(node.get(&format!("k{n}")).expect("opens"), Some(vec![n; 20_000]));
    }
}

#[test]
fn a_damaged_body_stays_where_it_is_while_no_copy_can_be_kept() {
    let disk = CrashDisk::new(1);
    let node = open(&disk).expect("opens");
    let object = node.put("k", &[9; 20_000]).expect("a healthy disk");
    let segment = Path::new("/data/segments/00000001");
    let at = head_of(&disk, segment, &object) + 64 + 500;
    disk.flip(segment, at, 1).expect("flips");
    let key = register_by_name(&name("k"));
    disk.fail_writes_after(0, ErrorKind::StorageFull);
    let found = node.store.diagnose(&key).expect("looks");
    assert!(found.is_some_and(|ailment| ailment.is_fault()), "{found:?}");
    assert_eq!(node.store.status().quarantined, 0);
    assert!(node.store.read_sealed(object.body, 0, 100).is_ok(), "people may look at it");
    // The disk gives it back right after all.
    disk.heal();
    disk.flip(segment, at, 1).expect("flips");
    assert_eq!(node.store.diagnose(&key).expect("looks"), None);
    assert_eq!(node.get("k").expect("opens"), Some(vec![9; 20_000]));
}
