//! What is sealed anew, when, and what is said of it meanwhile; by a clockwork of the test's own.

use super::super::open;
use super::super::store::{Clockwork, Store};
use super::*;
use crate::base::access::AccessRecord;
use crate::base::{BucketName, Condition, Epoch, Incarnation, ObjectHead, ObjectKey, ObjectName, Record, Secret};
use crate::disk::CrashDisk;
use crate::seal::Keyring;
use crate::store::Options;
use crate::store::access_keys::AccessChange;
use crate::store::buckets::register_by_name;
use crate::store::mutation::Mutation;
use crate::store::scrub_place::Place;
use crate::store::verify::Finding;
use bytes::Bytes;
use std::path::Path;

struct Rig {
    store: Store,
    work: Clockwork,
    ring: Arc<Keyring>,
}

/// A ring with these generations, whose first one seals at first; and the cluster id that all of these tests have.
fn ring(generations: &[u8]) -> Arc<Keyring> {
    let keys = generations.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect();
    let ring = Keyring::new(keys).expect("a ring");
    assert!(ring.seal_with(ring.generations()[0].1));
    Arc::new(ring)
}

fn kek(n: u8) -> KekId {
    ring(&[n]).active()
}

fn rig(disk: &CrashDisk, generations: &[u8]) -> Rig {
    let ring = ring(generations);
    let cluster = Some(crate::base::ClusterId([5; 16]));
    let options = Options { log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
    let (store, work) =
        open(Arc::new(disk.clone()), Path::new("/data"), Arc::clone(&ring), cluster, options).expect("opens");
    Rig { store, work, ring }
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

impl Rig {
    fn change(&self, mutation: Mutation) {
        let mut answer = self.store.mutate(mutation);
        self.work.committer.turn();
        answer.try_recv().expect("answered").expect("written");
    }

    fn put(&self, key: &str) {
        let object = self.store.seal_small(ObjectHead::default(), &[Bytes::from(key.to_owned())]).expect("sealed");
        self.change(Mutation::put(&name(key), Condition::NONE, object, 1));
    }

    fn put_large(&self, key: &str) {
        let mut upload =
            self.store.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None).expect("begun");
        upload.append(&[Bytes::from(vec![7; 600_000])], |_| {}).expect("appended");
        self.change(upload.land().expect("landed").mutation());
    }

    fn record(&self, key: &str) -> Arc<Held> {
        self.store.lookup(&register_by_name(&name(key))).expect("readable").expect("there")
    }

    fn opens(&self, key: &str) -> bool {
        let Ok((_, mut download)) = self.store.open_object(&name(key)) else { return false };
        download.read().is_ok_and(|pieces| !pieces.is_empty())
    }

    /// Has the resealer do all that it finds to do.
    fn settle(&self) {
        for _ in 0..200 {
            let did = self.work.resealer.turn().expect("a healthy disk");
            if !(self.work.committer.turn() || did) {
                return;
            }
        }
        panic!("it never ends");
    }

    fn used(&self, n: u8) -> (u64, bool) {
        let all = self.store.key_uses();
        let used = all.iter().find(|used| used.kek == kek(n)).unwrap_or_else(|| panic!("no generation {n}"));
        (used.references, used.is_free)
    }

    fn miscounted(&self) -> u64 {
        let mut keys = 0;
        let sum = self.store.verify(&mut |found| keys += u64::from(matches!(found, Finding::MiscountedKeys { .. })));
        let sum = sum.expect("checked");
        assert_eq!((sum.damaged, sum.miscounted), (0, keys));
        keys
    }
}

use super::super::entry::Held;

#[test]
fn all_that_lies_under_an_older_generation_is_sealed_anew_and_nothing_else_changes() {
    let disk = CrashDisk::new(1);
    let rig = rig(&disk, &[1, 2]);
    (0..600).for_each(|n| rig.put(&format!("{n:03}")));
    rig.put_large("large");
    let new = rig.store.seal_secret(None, None);
    let access = AccessRecord {
        name: "n".to_owned(),
        created_ms: 1,
        expires_ms: 0,
        disabled: false,
        secrets: vec![new.sealed.clone()],
        grants: Vec::new(),
    };
    rig.change(Mutation::change_access_key(new.id, AccessChange::Create(Arc::new(access)), 1));
    rig.store.save_scrub_place(&Place { paused: true, ..Place::default() }).expect("kept");
    rig.store.checkpoint().expect("a checkpoint");
    rig.settle();
    assert_eq!((rig.used(1), rig.used(2)), ((602, false), (0, true)), "nothing is to be done yet");

    rig.store.seal_under(kek(2)).expect("it seals");
    let (head, seq) = (*rig.store.head().borrow(), rig.record("007").seq);
    let before = rig.store.changes_after(0, 10_000).expect("the feed");
    // What only the log has is sealed anew as well.
    assert!(rig.store.is_resealing() && !rig.used(1).1);
    rig.settle();
    assert!(!rig.store.is_resealing());
    assert_eq!(rig.used(1), (602, false), "the index has not heard, and the log holds it");
    rig.store.checkpoint().expect("a checkpoint");
    assert_eq!((rig.used(1), rig.used(2)), ((0, true), (602, false)));
    assert_eq!((*rig.store.head().borrow(), rig.record("007").seq), (head, seq), "no number is given");
    assert_eq!(rig.store.changes_after(0, 10_000).expect("the feed"), before);
    assert!(rig.opens("007") && rig.opens("large"));
    assert!(rig.store.access().1.check(new.id, new.secret.expose()).is_some());
    assert_eq!(rig.miscounted(), 0);
    drop(rig);

    // Without the old file.
    let rig = self::rig(&disk, &[2]);
    assert!((0..600).all(|n| rig.opens(&format!("{n:03}"))) && rig.opens("large"));
    assert!(rig.store.access().1.check(new.id, new.secret.expose()).is_some());
    assert!(rig.store.load_scrub_place().expect("it opens").paused, "the scrubber's place too");
    assert_eq!((rig.ring.missing(), rig.miscounted()), (None, 0));
}

#[test]
fn what_comes_later_under_an_older_generation_is_sealed_anew_too() {
    let (disk, other) = (CrashDisk::new(1), CrashDisk::new(2));
    let (rig, peer) = (rig(&disk, &[1, 2]), self::rig(&other, &[1, 2]));
    rig.store.seal_under(kek(2)).expect("it seals");
    rig.settle();
    rig.store.checkpoint().expect("a checkpoint");
    assert_eq!(rig.used(1), (0, true));
    peer.put("late");
    let key = register_by_name(&name("late"));
    let (_, record) = peer.store.fetch_records(vec![key.clone()], usize::MAX).expect("read").remove(0);
    let record = Record {
        ballot: crate::base::Ballot { stamp: crate::base::Stamp(u64::MAX >> 8), ..record.ballot },
        ..(*record).clone()
    };
    let learned = rig.store.learn(vec![(key, record)], Incarnation(7), Epoch(0)).expect("queued");
    rig.work.committer.turn();
    crate::store::wait_blocking(learned).expect("learned");
    assert!(!rig.used(1).1 && rig.store.is_resealing(), "it is told before anything is done about it");
    rig.store.checkpoint().expect("a checkpoint");
    assert_eq!(rig.used(1), (1, false));
    rig.settle();
    rig.store.checkpoint().expect("a checkpoint");
    assert_eq!((rig.used(1), rig.opens("late")), ((0, true), true));
}

#[test]
fn a_walk_goes_on_where_the_last_checkpoint_has_it() {
    let disk = CrashDisk::new(1);
    let rig = rig(&disk, &[1, 2]);
    (0..1_000).for_each(|n| rig.put(&format!("{n:04}")));
    rig.store.checkpoint().expect("a checkpoint");
    rig.store.seal_under(kek(2)).expect("it seals");
    for _ in 0..3 {
        assert!(rig.work.resealer.turn().expect("a step") && rig.work.committer.turn());
    }
    let place = |rig: &Rig| rig.store.core().index.walk_place().expect("readable");
    rig.store.checkpoint().expect("a checkpoint");
    let kept = place(&rig).expect("it is under way");
    assert!(kept.kek == kek(2) && kept.after.is_some());
    let left = rig.used(1).0;
    assert!((1..1_000).contains(&left), "{left}");
    drop(rig);
    let rig = self::rig(&disk, &[1, 2]);
    rig.settle();
    assert_eq!(rig.store.status().resealing.resealed, left, "what was done is not done again");
    rig.store.checkpoint().expect("a checkpoint");
    assert_eq!((rig.used(1), place(&rig), rig.miscounted()), ((0, true), None, 0));
}

#[test]
fn what_lacks_its_generation_stays_and_is_told() {
    let disk = CrashDisk::new(1);
    let rig = rig(&disk, &[1, 2, 3]);
    rig.put("first");
    rig.store.seal_under(kek(2)).expect("it seals");
    rig.put("second");
    rig.store.checkpoint().expect("a checkpoint");
    rig.store.seal_under(kek(3)).expect("it seals");
    drop(rig);
    let rig = self::rig(&disk, &[2, 3]);
    assert_eq!(rig.ring.missing(), Some(kek(1)), "it is missed before anybody asks for it");
    rig.settle();
    rig.store.checkpoint().expect("a checkpoint");
    assert_eq!((rig.used(1), rig.used(2)), ((1, false), (0, true)));
    assert!(rig.opens("second") && !rig.opens("first"));
}

#[test]
fn counts_that_are_wrong_are_a_finding_and_are_put_right() {
    let disk = CrashDisk::new(1);
    let rig = rig(&disk, &[1, 2]);
    rig.store.seal_under(kek(2)).expect("it seals");
    rig.put("one");
    rig.settle();
    rig.store.checkpoint().expect("a checkpoint");
    rig.store.core().index.miscount_keys(kek(1), 5);
    assert_eq!((rig.miscounted(), rig.used(1)), (1, (5, false)));
    // A walk that finds nothing under it looks at the counts.
    rig.settle();
    assert_eq!((rig.miscounted(), rig.used(1), rig.store.miscounted()), (0, (0, true), 1));
}

#[test]
fn a_generation_is_free_only_once_no_frame_of_the_log_holds_it() {
    let disk = CrashDisk::new(1);
    let rig = rig(&disk, &[1, 2]);
    rig.put("gone");
    rig.change(Mutation::delete(&name("gone"), Condition::NONE, 2));
    rig.store.seal_under(kek(2)).expect("it seals");
    rig.settle();
    assert_eq!(rig.used(1), (0, false), "its frames are there");
    drop(rig);
    let rig = self::rig(&disk, &[1, 2]);
    rig.settle();
    assert_eq!(rig.used(1), (0, false), "a start reads them back");
    rig.store.checkpoint().expect("a checkpoint");
    assert_eq!(rig.used(1), (0, true));
}
