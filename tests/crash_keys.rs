//! Keys sealed anew under another generation, on a disk that loses power at every sync: what was answered opens all the
//! time, and in the end nothing is left under the old generation, by the counts and by a recount.
//!
//! A failure names its seed and the sync it stopped at.

use boveda::base::{BucketName, ClusterId, Condition, KekId, ObjectHead, ObjectKey, ObjectName, Secret};
use boveda::disk::CrashDisk;
use boveda::seal::keyring::Keyring;
use boveda::store::mutation::Mutation;
use boveda::store::resealing::KeyUse;
use boveda::store::scrub_place::Place;
use boveda::store::{Clockwork, Options, Store, StoreError, wait_blocking};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const INLINE: usize = 700;

/// What may be found under a key: what was answered last, and what has an unknown outcome.
type Possible = BTreeMap<String, BTreeSet<Option<Vec<u8>>>>;

struct Node {
    store: Store,
    work: Clockwork,
}

fn ring(generations: &[u8]) -> Arc<Keyring> {
    let keys = generations.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect();
    let ring = Keyring::new(keys).expect("a ring");
    // Which one seals is what the directory says; in a new one it is the first.
    assert!(ring.seal_with(ring.generations()[0].1));
    Arc::new(ring)
}

fn kek(n: u8) -> KekId {
    ring(&[n]).active()
}

fn open(disk: &CrashDisk, generations: &[u8]) -> Result<Node, StoreError> {
    let options = Options {
        inline_max: INLINE,
        segment_max: 30_000,
        segment_bytes: 128 * 1024,
        log_bytes: 96 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        ..Options::default()
    };
    let cluster = Some(ClusterId([5; 16]));
    let (store, work) =
        boveda::store::open(Arc::new(disk.clone()), Path::new("/data"), ring(generations), cluster, options)?;
    Ok(Node { store, work })
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

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() <= INLINE {
            let object = self.store.seal_small(ObjectHead::default(), &[Bytes::copy_from_slice(bytes)])?;
            return self.commit(Mutation::put(&name(key), Condition::NONE, object, self.store.now_ms()));
        }
        let mut upload = self.store.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None)?;
        upload.append(&[Bytes::copy_from_slice(bytes)], |_| {})?;
        self.commit(upload.land()?.mutation())
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

    /// Has the resealer go on by so many steps, or to its end.
    fn reseal(&self, steps: usize) -> Result<(), StoreError> {
        for _ in 0..steps {
            let did = self.work.resealer.turn()?;
            if !(self.work.committer.turn() || did) {
                break;
            }
        }
        Ok(())
    }

    fn used(&self, n: u8) -> Option<KeyUse> {
        self.store.key_uses().into_iter().find(|used| used.kek == kek(n))
    }
}

/// A life in which the second generation begins to seal: writes before, between and after, and restarts.
fn live(disk: &CrashDisk, seed: u64, possible: &mut Possible) -> Result<(), StoreError> {
    let mut node = open(disk, &[1, 2])?;
    for step in 0..40_u64 {
        let n = (step * 7 + seed) % 12;
        let key = format!("k{n}");
        let len = [90, 300, 5_000][usize::try_from(n % 3).expect("small")];
        let bytes = vec![u8::try_from(step).expect("small"); len];
        possible.entry(key.clone()).or_insert_with(|| BTreeSet::from([None])).insert(Some(bytes.clone()));
        node.put(&key, &bytes)?;
        possible.insert(key, BTreeSet::from([Some(bytes)]));
        match step {
            9 => node.store.checkpoint()?,
            12 => node.store.save_scrub_place(&Place { paused: true, ..Place::default() })?,
            16 => node.store.seal_under(kek(2))?,
            17 | 19 | 30 => node.reseal(1)?,
            22 | 34 => node.store.checkpoint()?,
            26 => {
                drop(node);
                node = open(disk, &[1, 2])?;
            }
            _ => {}
        }
    }
    node.reseal(50)?;
    node.store.checkpoint()
}

fn holds(node: &Node, possible: &Possible, context: &str) {
    for (key, states) in possible {
        let found = node.get(key).unwrap_or_else(|e| panic!("{context}: {key}: {e}"));
        assert!(states.contains(&found), "{context}: {key} holds {:?} bytes", found.map(|found| found.len()));
    }
}

/// Everything opens; the rotation goes on to its end; and then everything opens without the old generation.
fn check(disk: &CrashDisk, possible: &Possible, context: &str) {
    let node = open(disk, &[1, 2]).unwrap_or_else(|e| panic!("{context}: does not open: {e}"));
    holds(&node, possible, context);
    node.store.seal_under(kek(2)).unwrap_or_else(|e| panic!("{context}: {e}"));
    node.reseal(200).unwrap_or_else(|e| panic!("{context}: {e}"));
    node.store.checkpoint().unwrap_or_else(|e| panic!("{context}: {e}"));
    let first = node.used(1);
    assert!(first.is_some_and(|first| first.is_free && first.references == 0), "{context}: {first:?}");
    let sum = node.store.verify(&mut |_| {}).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!((sum.damaged, sum.miscounted), (0, 0), "{context}");
    assert_eq!(node.used(2).map(|second| second.references), Some(sum.objects), "{context}");
    drop(node);
    let node = open(disk, &[2]).unwrap_or_else(|e| panic!("{context}: without the old one: {e}"));
    holds(&node, possible, context);
    let scrub = node.store.load_scrub_place();
    assert!(scrub.is_ok(), "{context}: {scrub:?}");
    let sum = node.store.verify(&mut |_| {}).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!((sum.damaged, sum.miscounted), (0, 0), "{context}");
}

#[test]
fn any_power_loss_leaves_what_opens_and_what_can_be_rotated_to_its_end() {
    let mut crashes = 0;
    for seed in 0..2 {
        let whole = CrashDisk::new(seed);
        let mut possible = Possible::new();
        live(&whole, seed, &mut possible).expect("with power, all goes well");
        check(&whole.copy(), &possible, &format!("seed {seed}, clean stop"));
        for stop_at in (seed..whole.syncs()).step_by(2) {
            let disk = CrashDisk::new(seed ^ (stop_at << 20)).stopping_at(stop_at);
            let mut possible = Possible::new();
            let _ = live(&disk, seed, &mut possible);
            let context = format!("seed {seed}, stopped at sync {stop_at}");
            check(&disk.after_power_loss(), &possible, &context);
            crashes += u32::from(disk.is_dead());
        }
    }
    assert!(crashes > 40, "the power went often enough: {crashes}");
}
