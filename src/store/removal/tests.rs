//! Bodies that are held while all that refers to them goes.

use crate::base::{BlobRef, BodyId, BucketName, Condition, ObjectHead, ObjectKey, ObjectName, Secret};
use crate::disk::{CrashDisk, Space};
use crate::seal::keyring::Keyring;
use crate::store::buckets::register_by_name;
use crate::store::intent::Decided;
use crate::store::mutation::Mutation;
use crate::store::{Clockwork, Options, Store, StoreError, open, wait_blocking};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

struct Node(Store, Clockwork);

/// Bodies up to so many bytes lie in segments, larger ones are files.
fn start(disk: &CrashDisk, segment_max: usize) -> Node {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { segment_max, inline_max: 10, reserve_bytes: 0, log_bytes: 96 * 1024, ..Options::default() };
    let (store, work) = open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("it opens");
    Node(store, work)
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

impl Node {
    fn commit(&self, mutation: Mutation) -> Result<Decided, StoreError> {
        let answer = self.0.mutate(mutation);
        self.1.committer.turn();
        wait_blocking(answer)
    }

    fn put(&self, key: &str) -> BlobRef {
        let mut upload =
            self.0.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None).expect("begins");
        upload.append(&[Bytes::from_static(&[7; 3000])], |_| {}).expect("appends");
        let landed = upload.land().expect("lands");
        self.commit(landed.mutation()).expect("is durable");
        landed.settle();
        landed.object.body_ref()
    }

    fn delete(&self, key: &str) {
        self.commit(Mutation::delete(&name(key), Condition::NONE, 1)).expect("is durable");
    }

    /// What time brings to what nothing refers to.
    fn sweeps(&self) {
        for _ in 0..4 {
            self.1.reaper.turn();
            self.1.committer.turn();
            self.0.sweep_orphans().expect("sweeps");
        }
    }

    fn has(&self, body: BodyId) -> bool {
        self.0.core().has_body(body).expect("a healthy disk")
    }
}

#[test]
fn a_body_that_is_held_outlives_its_records_and_goes_behind_the_last_hold() {
    for segment_max in [0, 10_000] {
        let disk = CrashDisk::new(1);
        let node = start(&disk, segment_max);
        let blob = node.put("source");
        let (one, other) = (node.0.hold_body(blob).expect("holds"), node.0.hold_body(blob).expect("holds"));
        assert!(one.is_some() && other.is_some());
        node.delete("source");
        node.sweeps();
        drop(one);
        node.sweeps();
        assert!(node.has(blob.body), "{segment_max}: one holds it still");
        drop(other);
        node.sweeps();
        assert!(!node.has(blob.body), "{segment_max}: nobody needs it");
        assert!(node.0.hold_body(blob).expect("looks").is_none(), "{segment_max}: what is not here is not held");
    }
}

#[test]
fn a_record_that_came_to_refer_to_it_meanwhile_keeps_it() {
    for segment_max in [0, 10_000] {
        let disk = CrashDisk::new(2);
        let node = start(&disk, segment_max);
        let blob = node.put("source");
        let held = node.0.lookup(&register_by_name(&name("source"))).expect("looks").expect("is there");
        let object = Box::new(held.record.object().expect("an object").clone());
        let hold = node.0.hold_body(blob).expect("holds").expect("is here");
        node.delete("source");
        node.sweeps();
        node.commit(Mutation::put(&name("copy"), Condition::NONE, object, 1)).expect("its body is held");
        drop(hold);
        node.sweeps();
        assert!(node.has(blob.body), "{segment_max}");
        node.delete("copy");
        node.sweeps();
        assert!(!node.has(blob.body), "{segment_max}: the last record has left it");
    }
}

#[test]
fn a_full_disk_refuses_to_hold_since_a_record_is_to_follow() {
    let disk = CrashDisk::new(3);
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { segment_max: 0, inline_max: 10, reserve_bytes: 1 << 20, ..Options::default() };
    let opened = open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("it opens");
    let node = Node(opened.0, opened.1);
    let blob = node.put("source");
    disk.set_space(Space { total: 1 << 30, free: 0, files_free: u64::MAX });
    node.0.core().refresh_space().expect("is read");
    assert!(matches!(node.0.hold_body(blob), Err(StoreError::Full)));
}
