//! Small bodies: in memory with the log, in a segment at rest, refused without, and mended like all others.

use crate::base::{BucketName, Epoch, ObjectKey, Secret};
use crate::base::{Condition, Incarnation, ObjectHead, ObjectName, Record, RegisterKey};
use crate::disk::{CrashDisk, Disk};
use crate::seal::keyring::Keyring;
use crate::store::buckets::register_by_name;
use crate::store::damage::Ailment;
use crate::store::incoming::Purpose;
use crate::store::mutation::Mutation;
use crate::store::{Clockwork, Options, Store, StoreError, open, wait_blocking};
use bytes::Bytes;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

struct Node {
    store: Store,
    work: Clockwork,
}

fn start(disk: &CrashDisk) -> Node {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { log_bytes: 256 * 1024, segment_bytes: 128 * 1024, reserve_bytes: 0, ..Options::default() };
    let (store, work) = open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("opens");
    Node { store, work }
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

fn register(key: &str) -> RegisterKey {
    register_by_name(&name(key))
}

impl Node {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let object = self.store.seal_small(ObjectHead::default(), &[Bytes::copy_from_slice(bytes)])?;
        let answer = self.store.mutate(Mutation::put(&name(key), Condition::NONE, object, self.store.now_ms()));
        self.work.committer.turn();
        wait_blocking(answer).map(|_| ())
    }

    /// A body that lies in a segment before there is a record of it.
    fn upload(&self, key: &str, bytes: &[u8]) {
        let begun = self.store.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None);
        let mut upload = begun.expect("begins");
        upload.append(&[Bytes::copy_from_slice(bytes)], |_| {}).expect("a healthy disk");
        let landed = upload.land().expect("a healthy disk");
        self.commit(landed.mutation());
    }

    fn delete(&self, key: &str) {
        self.commit(Mutation::delete(&name(key), Condition::NONE, self.store.now_ms()));
    }

    fn commit(&self, mutation: Mutation) {
        let answer = self.store.mutate(mutation);
        self.work.committer.turn();
        wait_blocking(answer).expect("a healthy disk");
    }

    fn get(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        let mut download = self.store.open_object(&name(key))?.1;
        Ok(download.read()?.concat())
    }

    /// The record as it is kept.
    fn record(&self, key: &str) -> Arc<Record> {
        Arc::clone(&self.store.lookup(&register(key)).expect("looks").expect("is there").record)
    }

    /// The record with its body, as a peer is sent it.
    fn sent(&self, key: &str) -> Record {
        let mut found = self.store.fetch_records(vec![register(key)], usize::MAX).expect("reads");
        Arc::unwrap_or_clone(found.remove(0).1)
    }

    fn learn(&self, key: &str, record: Record) -> Result<(), StoreError> {
        let answer = self.store.learn(vec![(register(key), record)], Incarnation(77), Epoch(0))?;
        self.work.committer.turn();
        wait_blocking(answer).map(|_| ())
    }
}

fn segments(disk: &CrashDisk) -> Vec<std::path::PathBuf> {
    disk.list(Path::new("/data/segments")).expect("it is there")
}

#[test]
fn a_small_body_is_in_memory_until_the_checkpoint_puts_it_in_a_segment() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    for n in 0..50u8 {
        node.put(&format!("k{n}"), &vec![n; usize::from(n) * 20]).expect("a healthy disk");
    }
    assert!(segments(&disk).is_empty());
    assert!(node.record("k7").in_hand().is_some());
    assert!(node.store.open_cached(&name("k7")).expect("no disk is waited for").1.is_in_memory());
    let body = node.record("k7").object().expect("an object").body;
    assert!(node.store.core().has_body(body).expect("looks") && node.store.open_outgoing(body).is_ok());

    node.store.checkpoint().expect("a healthy disk");
    assert_eq!(segments(&disk).len(), 1);
    let files = node.store.status().segments;
    assert_eq!(files.dead_bytes, 0, "{files:?}");
    assert!(node.record("k7").in_hand().is_none(), "the index has no bodies");
    assert!(node.store.core().named_place(body).expect("looks").is_some());
    for n in 0..50u8 {
        assert_eq!(node.get(&format!("k{n}")).expect("opens"), vec![n; usize::from(n) * 20]);
    }
    node.put("k7", b"another").expect("a healthy disk");
    node.store.checkpoint().expect("a healthy disk");
    assert_eq!(node.store.core().named_place(body).expect("looks"), None, "nothing refers to it any more");
    assert!(node.store.status().segments.dead_bytes > 0);
    assert_eq!(node.store.verify(&mut |_| ()).expect("looks").damaged, 0);
    drop(node);
    let node = start(&disk.after_power_loss());
    assert_eq!((node.get("k7").expect("opens"), node.get("k8").expect("opens")), (b"another".to_vec(), vec![8; 160]));
}

#[test]
fn a_record_that_is_stored_again_without_its_body_keeps_that() {
    for checkpoints in 0..3 {
        let disk = CrashDisk::new(1);
        let node = start(&disk);
        node.put("k", b"body").expect("a healthy disk");
        if checkpoints == 1 {
            node.store.checkpoint().expect("a healthy disk");
        }
        let mut again = Record::clone(&node.record("k"));
        again.set_in_hand(None).expect("it may go");
        again.ballot.stamp.0 += 1;
        node.learn("k", again.clone()).expect("its body is here");
        if checkpoints == 2 {
            node.store.checkpoint().expect("a healthy disk");
        }
        assert_eq!((node.get("k").expect("opens"), &*node.record("k")), (b"body".to_vec(), &again));
        drop(node);
        let node = start(&disk.after_power_loss());
        assert_eq!(node.get("k").expect("opens"), b"body", "{checkpoints}");
        assert_eq!(node.store.verify(&mut |_| ()).expect("looks").damaged, 0);
    }
}

#[test]
fn a_lesson_brings_the_body_or_is_refused() {
    let (one, other) = (CrashDisk::new(1), CrashDisk::new(2));
    let (from, to) = (start(&one), start(&other));
    from.put("k", b"body").expect("a healthy disk");
    from.store.checkpoint().expect("a healthy disk");
    let sent = from.sent("k");
    assert!(sent.in_hand_len() > 0, "read from its segment");
    let mut without = sent.clone();
    without.set_in_hand(None).expect("it may go");
    assert!(matches!(to.learn("k", without.clone()), Err(StoreError::Mismatch(_))));
    let mut wrong = sent.clone();
    let mut bytes = sent.in_hand().expect("at hand").to_vec();
    *bytes.last_mut().expect("bytes") ^= 1;
    wrong.set_in_hand(Some(bytes.into())).expect("of that length");
    assert!(matches!(to.learn("k", wrong), Err(StoreError::Mismatch(_))));
    to.learn("k", sent).expect("a healthy disk");
    assert_eq!(to.get("k").expect("opens"), b"body");
    to.learn("k", without).expect("it is here by now");
}

#[test]
fn damage_of_a_small_body_at_rest_is_mended_from_a_peer_and_by_a_lesson() {
    for by_lesson in [false, true] {
        let disk = CrashDisk::new(1);
        let node = start(&disk);
        node.put("k", b"a small body").expect("a healthy disk");
        let good = node.sent("k");
        node.store.checkpoint().expect("a healthy disk");
        drop(node);
        let segment = segments(&disk).remove(0);
        let sealed = good.in_hand().expect("at hand").clone();
        let whole = disk.read_raw(&segment).expect("it is there");
        let at = whole.windows(sealed.len()).position(|part| part == &sealed[..]).expect("it lies there");
        disk.flip(&segment, at as u64 + 100, 1).expect("it is damaged");
        let node = start(&disk);
        assert!(node.get("k").expect_err("is damaged").is_damage());
        let found = node.store.diagnose(&register("k")).expect("looks");
        let blob = good.object().expect("an object").body_ref();
        assert_eq!(found, Some(Ailment::Blob { blob, damaged: true }));
        assert_eq!(node.sent("k").in_hand_len(), 0, "no peer gets it");
        if by_lesson {
            node.learn("k", good).expect("a healthy disk");
        } else {
            let begun = node.store.begin_incoming(blob.body, Some(blob.sealed_len), Purpose::Reader);
            let mut incoming = begun.expect("begins");
            incoming.append(&[sealed]).and_then(|()| incoming.finish(blob)).expect("it checks");
            let named = node.store.name_bodies(register("k"));
            node.work.committer.turn();
            wait_blocking(named).expect("a healthy disk");
        }
        assert_eq!(node.get("k").expect("opens"), b"a small body", "{by_lesson}");
        drop(node);
        let node = start(&disk.after_power_loss());
        node.store.checkpoint().expect("a healthy disk");
        assert_eq!(node.get("k").expect("opens"), b"a small body", "{by_lesson}");
        assert_eq!(node.store.verify(&mut |_| ()).expect("looks").damaged, 0);
    }
}

#[test]
fn a_checkpoint_without_room_for_small_bodies_loses_nothing_and_goes_on_later() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    node.put("before", b"one").expect("a healthy disk");
    disk.fail_writes_after(0, ErrorKind::StorageFull);
    let refused = node.store.checkpoint().expect_err("no room");
    assert!(refused.is_shortage() && !node.store.is_poisoned(), "{refused}");
    disk.heal();
    assert!(node.record("before").in_hand().is_some());
    assert_eq!(node.get("before").expect("opens"), b"one");
    node.store.checkpoint().expect("there is room again");
    assert!(node.record("before").in_hand().is_none());
    assert_eq!(node.get("before").expect("opens"), b"one");
    drop(node);
    let node = start(&disk.after_power_loss());
    assert_eq!(node.get("before").expect("opens"), b"one");
    assert_eq!(node.store.verify(&mut |_| ()).expect("looks").damaged, 0);
}

#[test]
fn what_is_dead_goes_while_a_checkpoint_finds_no_room_and_may_make_it() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    let keys: Vec<_> = (0..6).map(|n| format!("k{n}")).collect();
    keys.iter().for_each(|key| node.put(key, b"small").expect("a healthy disk"));
    node.store.checkpoint().expect("a healthy disk");
    node.upload("middle", &[7; 100_000]);
    node.put("kept", b"kept").expect("a healthy disk");
    node.put("gone", b"gone").expect("a healthy disk");
    keys[..3].iter().for_each(|key| node.delete(key));
    assert_eq!(segments(&disk).len(), 1, "all of it lies in one");
    node.upload("other", &[8; 100_000]);
    assert_eq!(segments(&disk).len(), 2);

    disk.fail_writes_after(0, ErrorKind::StorageFull);
    assert!(node.store.checkpoint().expect_err("no room").is_shortage());
    disk.heal();
    assert!(matches!(node.put("new", b"new"), Err(StoreError::Full)), "what is left of the ring is for deletes");
    keys[3..].iter().map(String::as_str).chain(["middle", "gone"]).for_each(|key| node.delete(key));
    assert!(node.work.mover.turn().expect("a healthy disk"));
    assert_eq!(segments(&disk).len(), 1, "no checkpoint has told the index of it");

    assert_eq!(node.get("kept").expect("opens"), b"kept");
    node.store.checkpoint().expect("there is room again");
    node.put("new", b"new").expect("there is room again");
    drop(node);
    let node = start(&disk.after_power_loss());
    assert_eq!((node.get("kept").expect("opens"), node.get("new").expect("opens")), (b"kept".into(), b"new".into()));
    assert_eq!(node.store.verify(&mut |_| ()).expect("looks").damaged, 0);
}
