//! A store whose records share bodies, on a disk that loses power; what its objects are, and what it holds beside them.
//! Some objects come in parts: see `uploads`.

mod uploads;

use boveda::base::record::ObjectRecord;
use boveda::base::{BucketName, Condition, ObjectHead, ObjectKey, ObjectName, Record, RegisterKey, Secret};
use boveda::disk::{CrashDisk, Disk};
use boveda::seal::keyring::Keyring;
use boveda::store::buckets::{id_of_name, register_by_name};
use boveda::store::download::Download;
use boveda::store::mutation::Mutation;
use boveda::store::places::SEGMENT_HEAD_BYTES;
use boveda::store::removal::BodyHold;
use boveda::store::wait_blocking;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Bodies up to this many bytes come with their records, and are copied.
pub const INLINE: usize = 700;
/// Larger ones up to this many lie in segments; still larger ones are files.
pub const SEGMENT_MAX: usize = 12_000;
pub const LARGEST: usize = 16_000;
const KEYS: u64 = 6;

/// What a record says that refers to bodies, and the bodies, held.
type Held = (Box<ObjectRecord>, Vec<BodyHold>);

/// What may be found under each key: the state that was answered last, and those whose outcome is unknown.
pub type Possible = BTreeMap<String, BTreeSet<Option<Vec<u8>>>>;

pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    fn body(&mut self) -> Vec<u8> {
        let most = [INLINE, SEGMENT_MAX, SEGMENT_MAX, LARGEST, LARGEST][self.below(5) as usize];
        let least = if most == LARGEST { SEGMENT_MAX as u64 + 1 } else { 1 };
        let (len, mark) = (least + self.below(most as u64 - least), self.below(u64::MAX).to_le_bytes());
        mark.into_iter().cycle().zip(0u8..=255).map(|(a, b)| a ^ b).cycle().take(len as usize).collect()
    }

    fn key(&mut self) -> String {
        format!("k{}", self.below(KEYS))
    }

    /// All that `key` comes to.
    fn keys() -> impl Iterator<Item = String> {
        (0..KEYS).map(|n| format!("k{n}"))
    }
}

pub fn options() -> Options {
    Options {
        inline_max: INLINE,
        segment_max: SEGMENT_MAX,
        segment_bytes: 64 * 1024,
        log_bytes: 96 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        ..Options::default()
    }
}

pub struct Node {
    pub store: Store,
    pub work: Clockwork,
}

pub fn open(disk: &CrashDisk) -> Result<Node, StoreError> {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let (store, work) = boveda::store::open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options())?;
    Ok(Node { store, work })
}

/// The register of a key.
pub fn register(key: &str) -> RegisterKey {
    register_by_name(&name(key))
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

    pub fn put_object(&self, key: &str, object: Box<ObjectRecord>) -> Result<(), StoreError> {
        self.commit(Mutation::put(&name(key), Condition::NONE, object, self.store.now_ms()))
    }

    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() <= INLINE {
            let object = self.store.seal_small(ObjectHead::default(), &[Bytes::copy_from_slice(bytes)])?;
            return self.put_object(key, object);
        }
        let mut upload = self.store.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None)?;
        for piece in bytes.chunks(7_000) {
            upload.append(&[Bytes::copy_from_slice(piece)], |_| {})?;
        }
        self.commit(upload.land()?.mutation())
    }

    /// An object of another name with the same body: small ones are sealed anew, all others are shared.
    pub fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let found = self.store.lookup(&register(from))?;
        let Some(object) = found.as_ref().and_then(|held| held.record.object()) else { return Ok(()) };
        match object.blob() {
            Some(_) => self.put_object(to, Box::new(object.clone())),
            None => self.put(to, &self.get(from)?.unwrap_or_default()),
        }
    }

    /// A shared body that is held, and what a record that refers to it says; none of a small one.
    fn hold(&self, key: &str) -> Result<Option<Held>, StoreError> {
        let found = self.store.lookup(&register(key))?;
        let Some(object) = found.as_ref().and_then(|held| held.record.object()) else { return Ok(None) };
        if object.is_small() {
            return Ok(None);
        }
        let bodies: Vec<_> = object.bodies().collect();
        let held: Option<Vec<_>> = self.store.hold_bodies(&bodies)?.into_iter().collect();
        Ok(held.map(|held| (Box::new(object.clone()), held)))
    }

    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.commit(Mutation::delete(&name(key), Condition::NONE, self.store.now_ms()))
    }

    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.store.open_object(&name(key)) {
            Ok((_, download)) => read_all(download).map(Some),
            Err(StoreError::NoSuchKey | StoreError::NoSuchBucket) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a register's record says that it holds, read by that.
    fn read_record(&self, key: &RegisterKey, record: &Arc<Record>) -> Result<Vec<u8>, StoreError> {
        let (_, download) = self.store.open_record(key.clone(), Arc::clone(record))?;
        read_all(download)
    }

    /// Has all be done that time would bring: what waits goes, references are recounted, what is alive moves together.
    pub fn settle(&self) -> Result<(), StoreError> {
        for _ in 0..400 {
            self.work.reaper.turn();
            let moved = self.work.mover.turn()?;
            if !self.work.committer.turn() && !moved {
                self.store.checkpoint()?;
                if !self.work.mover.turn()? {
                    return self.store.sweep_orphans().map(|_| ());
                }
            }
        }
        panic!("it comes to no end")
    }

    /// Ends the store as a node does that is told to stop.
    pub fn stop_in_order(self) -> Result<(), StoreError> {
        let mut drained = std::pin::pin!(self.store.drain());
        loop {
            match drained.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => break done?,
                Poll::Pending => assert!(self.work.committer.turn(), "it waits for a commit"),
            }
        }
        self.store.close()
    }

    /// Bytes of bodies that are kept: files of their own, and what has a place in a segment.
    pub fn kept_bytes(&self, disk: &CrashDisk) -> u64 {
        let files =
            files(disk).into_iter().map(|path| disk.open(&path).and_then(|file| file.len()).expect("it is there"));
        let segments = self.store.status().segments;
        files.sum::<u64>() + segments.bytes - segments.dead_bytes - segments.files * SEGMENT_HEAD_BYTES
    }

    /// What the store tells of its bucket: objects and bytes.
    fn told(&self) -> (u64, u64) {
        let usage = self.store.usage(id_of_name(&BucketName::cargas()));
        (usage.objects, usage.bytes)
    }

    /// The same as its objects come to.
    fn counted(&self, possible: &Possible) -> (u64, u64) {
        let held = possible.keys().filter_map(|key| self.store.lookup(&register(key)).expect("a healthy disk"));
        let lens = held.filter_map(|held| held.record.object().map(|object| object.len));
        lens.fold((0, 0), |(objects, bytes), len| (objects + 1, bytes + len))
    }

    /// Nothing is damaged, missing, left over or counted wrong.
    pub fn verify(&self, context: &str) {
        let mut found = Vec::new();
        let sum = self.store.verify(&mut |finding| found.push(finding)).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!((sum.damaged, sum.orphans, sum.strangers, sum.miscounted), (0, 0, 0, 0), "{context}: {found:?}");
        assert_eq!(self.store.status().references.miscounted, 0, "{context}: an alarm");
    }
}

fn read_all(mut download: Download) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    loop {
        let pieces = download.read()?;
        if pieces.is_empty() {
            return Ok(bytes);
        }
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    }
}

/// One life. `possible` is right at every moment.
pub fn live(disk: &CrashDisk, rng: &mut Rng, steps: u64, possible: &mut Possible) -> Result<(), StoreError> {
    let mut node = open(disk)?;
    let absent = || BTreeSet::from([None]);
    let mut known = uploads::Known::of(&node)?;
    for _ in 0..steps {
        known.check(&node)?;
        let (key, other) = (rng.key(), rng.key());
        match rng.below(36) {
            0..=5 => {
                let bytes = rng.body();
                possible.entry(key.clone()).or_insert_with(absent).insert(Some(bytes.clone()));
                node.put(&key, &bytes)?;
                possible.insert(key, BTreeSet::from([Some(bytes)]));
            }
            6..=10 => {
                let bytes = node.get(&key)?;
                let states = possible.entry(other.clone()).or_insert_with(absent);
                if bytes.is_some() {
                    states.insert(bytes.clone());
                    node.copy(&key, &other)?;
                    possible.insert(other, BTreeSet::from([bytes]));
                }
            }
            11..=13 => {
                possible.entry(key.clone()).or_insert_with(absent).insert(None);
                node.delete(&key)?;
                possible.insert(key, absent());
            }
            14 => node.store.checkpoint()?,
            15 => node.work.reaper.turn(),
            16 => drop(node.work.mover.turn()?),
            17 => drop(node.store.sweep_orphans()?),
            18 => node.settle()?,
            19 | 20 => {
                // A copy whose source goes, and all that nothing refers to, before its record is decided.
                let bytes = node.get(&key)?;
                let Some((object, hold)) = node.hold(&key)? else { continue };
                possible.entry(key.clone()).or_insert_with(absent).insert(None);
                node.delete(&key)?;
                possible.insert(key, absent());
                match rng.below(2) {
                    0 => node.settle()?,
                    _ => node.work.reaper.turn(),
                }
                possible.entry(other.clone()).or_insert_with(absent).insert(bytes.clone());
                node.put_object(&other, object)?;
                possible.insert(other, BTreeSet::from([bytes]));
                drop(hold);
            }
            21..=34 => uploads::step(&node, rng, &mut known, possible)?,
            _ => {
                match rng.below(2) {
                    0 => node.stop_in_order()?,
                    _ => drop(node),
                }
                node = open(disk)?;
            }
        }
    }
    Ok(())
}

/// What was answered is there; after all has settled the counts are what records come to, and when all uploads are ended
/// and all objects deleted no bytes are left of them. What of them is there, and the baseline, are found in another life.
pub fn check(disk: &CrashDisk, possible: &Possible, context: &str) {
    let node = open(disk).unwrap_or_else(|e| panic!("{context}: does not open: {e}"));
    let look = |when: &str| {
        for (key, states) in possible {
            let found = node.get(key).unwrap_or_else(|e| panic!("{context}, {when}: {key}: {e}"));
            assert!(states.contains(&found), "{context}, {when}: {key} holds {:?} bytes", found.map(|f| f.len()));
        }
    };
    look("at once");
    assert_eq!(node.told(), node.counted(possible), "{context}: what the bucket is told to hold");
    node.settle().unwrap_or_else(|e| panic!("{context}: {e}"));
    look("settled");
    node.verify(context);
    node.end_uploads().unwrap_or_else(|e| panic!("{context}: {e}"));
    look("without uploads");
    for key in possible.keys() {
        node.delete(key).unwrap_or_else(|e| panic!("{context}: {e}"));
    }
    node.settle().unwrap_or_else(|e| panic!("{context}: {e}"));
    node.verify(&format!("{context}, all deleted"));
    assert_eq!(node.kept_bytes(disk), 0, "{context}: something is left of nothing");
    // The segment that takes bodies may stay.
    assert!(node.store.status().segments.files <= 1, "{context}: {:?}", node.store.status().segments);
}

/// Bodies that are files.
fn files(disk: &CrashDisk) -> Vec<PathBuf> {
    let folders = disk.list(Path::new("/data/blobs")).unwrap_or_default();
    folders.iter().flat_map(|folder| disk.list(folder).unwrap_or_default()).collect()
}
