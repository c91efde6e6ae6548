//! Power loss at every sync of the store's life: what was answered is there afterwards, whole, and
//! what was not is there whole or not at all.
//!
//! `BOVEDA_CRASH_SEEDS=N` runs more histories; a failure names its seed and the sync it stopped at.

use boveda::base::ObjectHead;
use boveda::base::{
    Ballot, BucketName, Class, Condition, Epoch, Incarnation, Mark, NodeName, ObjectKey, ObjectName, Secret, Stamp,
};
use boveda::disk::{CrashDisk, Disk};
use boveda::register::{Answer, Attempt, Message, Request, Roster, Seat};
use boveda::seal::keyring::Keyring;
use boveda::store::buckets::register_by_name;
use boveda::store::mutation::Mutation;
use boveda::store::voting::{Seating, Vote};
use boveda::store::wait_blocking;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
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
                        group.push((
                            key.clone(),
                            None,
                            store.mutate(Mutation::delete(&name(&key), Condition::NONE, store.now_ms())),
                        ));
                    } else {
                        let bytes = body(&mut rng, 700);
                        let object = store.seal_small(ObjectHead::default(), &[Bytes::from(bytes.clone())])?;
                        group.push((
                            key.clone(),
                            Some(bytes),
                            store.mutate(Mutation::put(&name(&key), Condition::NONE, object, store.now_ms())),
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
                let mut upload = store.begin_upload(name(&key), Condition::NONE, ObjectHead::default(), None, None)?;
                for piece in bytes.chunks(70_000) {
                    upload.append(&[Bytes::copy_from_slice(piece)], |_| {})?;
                }
                if rng.below(5) == 0 {
                    continue; // the client went away
                }
                possible.entry(key.clone()).or_insert_with(absent).insert(Some(bytes.clone()));
                let answer = store.mutate(upload.land()?.mutation());
                work.committer.turn();
                wait_blocking(answer)?;
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
    let object = store.seal_small(ObjectHead::default(), &[Bytes::from_static(b"after")]).expect("seals");
    let answer = store.mutate(Mutation::put(&name("after"), Condition::NONE, object, store.now_ms()));
    work.committer.turn();
    wait_blocking(answer).unwrap_or_else(|e| panic!("{context}: write after the crash: {e}"));
    assert_eq!(read(&store, "after").as_deref(), Some(&b"after"[..]), "{context}");
    store.sweep_orphans().expect("sweeps");
    // What waited when the power went is looked for, and goes.
    work.reaper.turn();
    while work.mover.turn().expect("a healthy disk") || work.committer.turn() {}
    let sum = store.verify(&mut |_| {}).expect("verifies");
    assert_eq!((sum.damaged, sum.orphans, sum.strangers, sum.miscounted), (0, 0, 0, 0), "{context}: {sum:?}");
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

/// The negative control: with a sync that does nothing and says that all is well, something answered is gone.
#[test]
fn a_sync_that_lies_is_found_out() {
    let found = (0..40).find(|seed| {
        let disk = CrashDisk::new(*seed);
        disk.lie_once_after(3 * seed);
        let mut possible = Possible::new();
        let _ = live(&disk, 1, 40, &mut possible);
        let after = disk.after_power_loss();
        std::panic::catch_unwind(AssertUnwindSafe(|| check(&after, &possible, "it lied"))).is_err()
    });
    assert!(found.is_some(), "syncs did nothing, and nobody noticed");
}

/// The end of the log is zeros where frames were: a node alone does not go on with what it knows to be an older state.
#[test]
fn a_log_that_lost_its_end_is_noticed() {
    const BLOCK: usize = 4096;
    let disk = CrashDisk::new(1);
    let (store, work) = open(&disk).expect("opens");
    for n in 0..4 {
        let object = store.seal_small(ObjectHead::default(), &[Bytes::from_static(b"answered")]).expect("seals");
        let answer = store.mutate(Mutation::put(&name(&format!("k{n}")), Condition::NONE, object, store.now_ms()));
        work.committer.turn();
        wait_blocking(answer).expect("stored");
    }
    drop((store, work));
    let log = Path::new("/data/log");
    let bytes = disk.read_raw(log).expect("it is there");
    let newest = bytes.chunks(BLOCK).rposition(|block| block.iter().any(|byte| *byte != 0)).expect("frames");
    let from = (newest - 1) * BLOCK;
    disk.write_raw(log, from as u64, &[0; 2 * BLOCK]).expect("it is damaged");
    assert!(matches!(open(&disk), Err(StoreError::Corrupt { .. })), "two frames are gone");
    assert!(Mark::TailCut.count() > 0, "that is why");
}

thread_local! {
    /// How often this thread was told that the index has failed.
    static TOLD: Cell<u32> = const { Cell::new(0) };
}

fn told(error: &StoreError) {
    assert_eq!(error.class(), Class::Corrupt, "{error}");
    TOLD.set(TOLD.get() + 1);
}

/// A page of the index does not open. Whichever it is: the node does not start, or it votes on what it can read, says
/// nothing of the rest, and is told of the damage once.
#[test]
fn there_is_no_vote_on_what_a_damaged_page_of_the_index_held() {
    const KEYS: usize = 200;
    let index = Path::new("/data/index");
    let keys: Vec<_> = (0..KEYS).map(|n| name(&format!("k{n:03}"))).collect();
    let disk = CrashDisk::new(1);
    let (store, work) = open(&disk).expect("opens");
    let seat = |n: u64, incarnation| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation };
    let list = Roster::founding(1, vec![seat(1, store.incarnation()), seat(2, Incarnation(77))]);
    let put = |key| {
        let object = store.seal_small(ObjectHead::default(), &[Bytes::from_static(b"answered")]).expect("seals");
        store.mutate(Mutation::put(key, Condition::NONE, object, store.now_ms()))
    };
    let answers: Vec<_> = keys.iter().map(put).collect();
    // From here on another node has a vote too.
    let seated = store.seat(Seating::Adopt(Arc::new(list)));
    while work.committer.turn() {}
    for answer in answers {
        wait_blocking(answer).expect("stored");
    }
    wait_blocking(seated).expect("a seat");
    store.checkpoint().expect("all of it is in the index");
    drop((store, work));
    let (mut some, mut started) = (0, 0);
    for at in (0..disk.read_raw(index).expect("it is there").len() as u64).step_by(4096) {
        let damaged = disk.copy();
        damaged.flip(index, at + 100, 0xFF).expect("it is damaged");
        TOLD.set(0);
        let options = Options { index_failed: told, ..options() };
        let opened = boveda::store::open(Arc::new(damaged.clone()), Path::new(DIR), ring(), None, options);
        let Ok((store, work)) = opened else { continue };
        started += 1;
        let ballot = Ballot { stamp: Stamp(1 << 60), node: Incarnation(77) };
        let message = Message { epoch: Epoch(1), attempt: Attempt(1), request: Request::Prepare(ballot) };
        let mut voted = 0;
        for key in &keys {
            let answer = store.vote(vec![Vote { key: register_by_name(key), message: message.clone() }]);
            while work.committer.turn() {}
            // The engine reads nothing any more once it has met the page; what is in memory has its votes all the same.
            let replies = answer.blocking_recv().expect("an answer").expect("damage costs its own registers alone");
            for reply in replies.into_iter().flatten() {
                voted += 1;
                let holds = matches!(&reply.answer, Answer::Promised(_, slot) if slot.state.value.is_some());
                assert!(holds, "damaged at {at}: a vote that has forgotten what it holds: {reply:?}");
            }
        }
        some += u64::from(0 < voted && voted < KEYS);
        assert!(TOLD.get() <= 1 && (voted == KEYS || TOLD.get() == 1), "damaged at {at}: told {} times", TOLD.get());
    }
    assert!(some > 0 && started > 10, "{some} of {started}");
    assert!(Mark::NoVoteForDamage.count() > 0, "that is why");
}

/// What the first start makes may fail anywhere; the next one goes on from there, and what is answered then lasts.
#[test]
fn what_follows_a_first_start_that_failed_is_there_after_a_power_loss() {
    let whole = CrashDisk::new(0);
    drop(open(&whole).expect("opens"));
    let mut failed = 0;
    for at in 0..whole.operations() {
        let disk = CrashDisk::new(at);
        disk.fail_once_after(at, std::io::ErrorKind::Other);
        failed += u64::from(open(&disk).is_err());
        let (store, work) = open(&disk).unwrap_or_else(|e| panic!("operation {at} failed, then: {e}"));
        let object = store.seal_small(ObjectHead::default(), &[Bytes::from_static(b"answered")]).expect("seals");
        let answer = store.mutate(Mutation::put(&name("k"), Condition::NONE, object, store.now_ms()));
        work.committer.turn();
        wait_blocking(answer).expect("stored");
        for draw in 0..8 {
            let after = open(&disk.after_power_loss());
            let (store, _) = after.unwrap_or_else(|e| panic!("operation {at} failed, power loss {draw}: {e}"));
            assert_eq!(read(&store, "k").as_deref(), Some(&b"answered"[..]), "operation {at}, power loss {draw}");
        }
    }
    assert!(Mark::FirstStartResumed.count() > 0, "one ended right behind the identity");
    assert!(failed > 20, "{failed} of {} first starts failed", whole.operations());
}

/// A node that others know under its new incarnation is never again who it was before.
#[test]
fn a_life_that_was_given_up_does_not_come_back() {
    let mut failed = 0;
    for at in 0.. {
        let disk = CrashDisk::new(at);
        drop(open(&disk).expect("opens"));
        disk.fail_once_after(at, std::io::ErrorKind::Other);
        let renounced = boveda::store::open::renounce(&disk, Path::new(DIR), &ring());
        if disk.struck() == 0 {
            break;
        }
        failed += u64::from(renounced.is_err());
        let (store, _) = open(&disk).unwrap_or_else(|e| panic!("operation {at} failed, then: {e}"));
        for draw in 0..8 {
            let (after, _) = open(&disk.after_power_loss()).expect("opens");
            assert_eq!(after.incarnation(), store.incarnation(), "operation {at}, power loss {draw}");
        }
    }
    assert!(failed > 4, "it failed {failed} times");
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
    let head = ObjectHead {
        content_type: "text/x-conspicuous".into(),
        meta: vec![("colour".into(), "ultramarine".into())],
        ..ObjectHead::default()
    };
    let small = store.seal_small(head.clone(), &[Bytes::from_static(b"a small conspicuous plaintext")]).expect("seals");
    let answer = store.mutate(Mutation::put(&name("conspicuous-name"), Condition::NONE, small, store.now_ms()));
    work.committer.turn();
    wait_blocking(answer).expect("stored");
    let mut upload = store.begin_upload(name("conspicuous-blob"), Condition::NONE, head, None, None).expect("begins");
    upload.append(&[Bytes::from("a large conspicuous plaintext ".repeat(9000))], |_| {}).expect("appends");
    let answer = store.mutate(upload.land().expect("finishes").mutation());
    work.committer.turn();
    wait_blocking(answer).expect("stored");
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
