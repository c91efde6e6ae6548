//! What buckets hold: through commits, checkpoints and crashes, counted wrong, and held against a quota.

use crate::base::{BucketId, BucketName, BucketUsage, Condition, ObjectHead, ObjectKey, ObjectName, Quota, Secret};
use crate::disk::CrashDisk;
use crate::seal::keyring::Keyring;
use crate::store::bucket_setting::BucketSetting;
use crate::store::buckets::id_of_name;
use crate::store::mutation::Mutation;
use crate::store::verify::Finding;
use crate::store::{Clockwork, Options, Store, StoreError, open, wait_blocking};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

struct Node(Store, Clockwork);

fn start(disk: &CrashDisk) -> Node {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { reserve_bytes: 0, log_bytes: 256 * 1024, ..Options::default() };
    let (store, work) = open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("it opens");
    Node(store, work)
}

fn name(bucket: &str, key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::parse(bucket).expect("a name"), key: ObjectKey::parse(key).expect("a key") }
}

fn of(objects: u64, bytes: u64) -> BucketUsage {
    BucketUsage { objects, bytes }
}

impl Node {
    fn commit(&self, mutation: Mutation) -> Result<(), StoreError> {
        let answer = self.0.mutate(mutation);
        self.1.committer.turn();
        wait_blocking(answer).map(|_| ())
    }

    fn make(&self, bucket: &str) {
        let bucket = BucketName::parse(bucket).expect("a name");
        self.commit(Mutation::create_bucket(&bucket, id_of_name(&bucket), 1)).expect("a healthy disk");
    }

    fn put_of(&self, bucket: &str, key: &str, len: usize) -> Mutation {
        let object = self.0.seal_small(ObjectHead::default(), &[Bytes::from(vec![7; len])]).expect("seals");
        Mutation::put(&name(bucket, key), Condition::NONE, object, 1)
    }

    fn put(&self, bucket: &str, key: &str, len: usize) -> Result<(), StoreError> {
        self.commit(self.put_of(bucket, key, len))
    }

    fn delete(&self, bucket: &str, key: &str) {
        self.commit(Mutation::delete(&name(bucket, key), Condition::NONE, 1)).expect("deletes pass always");
    }

    fn allow(&self, bucket: &str, objects: Option<u64>, bytes: Option<u64>) {
        let setting = BucketSetting::Quota(Quota { objects, bytes });
        let bucket = BucketName::parse(bucket).expect("a name");
        self.commit(Mutation::configure_bucket(&bucket, setting, 1)).expect("it is there");
    }

    fn holds(&self, bucket: &str) -> BucketUsage {
        self.0.usage(id_of_name(&BucketName::parse(bucket).expect("a name")))
    }

    /// Buckets that a recount of everything finds to hold something else than is told.
    fn misfilled(&self) -> Vec<(BucketUsage, BucketUsage)> {
        let mut wrong = Vec::new();
        let hear = &mut |finding| {
            if let Finding::Misfilled { told, found, .. } = finding {
                wrong.push((told, found));
            }
        };
        self.0.verify(hear).expect("it can be read");
        wrong
    }

    /// The walk of a start.
    fn walk(&self) {
        let (_stop, stopped) = crossbeam_channel::bounded(0);
        self.0.core().build_tree(&stopped);
    }
}

/// Something that changes what buckets hold.
type Step<'a> = &'a dyn Fn(&Node);

#[test]
fn what_a_bucket_holds_follows_its_commits_and_outlasts_every_end() {
    for checkpoint_after in 0..6 {
        let mut disk = CrashDisk::new(1);
        let mut node = start(&disk);
        node.make("other");
        let steps: [(Step<'_>, [BucketUsage; 2]); 6] = [
            (&|node| node.put("cargas", "a", 100).expect("it fits"), [of(1, 100), of(0, 0)]),
            (&|node| node.put("other", "a", 30).expect("it fits"), [of(1, 100), of(1, 30)]),
            (&|node| node.put("cargas", "b", 0).expect("it fits"), [of(2, 100), of(1, 30)]),
            (&|node| node.put("cargas", "a", 7).expect("it fits"), [of(2, 7), of(1, 30)]),
            (&|node| node.delete("cargas", "a"), [of(1, 0), of(1, 30)]),
            (&|node| node.delete("other", "a"), [of(1, 0), of(0, 0)]),
        ];
        for (at, (step, expected)) in steps.iter().enumerate() {
            step(&node);
            if at == checkpoint_after {
                node.0.checkpoint().expect("a healthy disk");
            }
            for life in ["as it is", "after a power loss"] {
                let told = [node.holds("cargas"), node.holds("other")];
                assert_eq!(told, *expected, "{life}, step {at}, checkpoint after {checkpoint_after}");
                drop(node);
                disk = disk.after_power_loss();
                node = start(&disk);
            }
            // On a disk of its own: a check brings the index up to the log.
            assert_eq!(start(&disk.after_power_loss()).misfilled(), []);
        }
    }
}

#[test]
fn what_one_batch_does_to_a_bucket_is_said_once_and_comes_to_the_same() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    let answers: Vec<_> = (0..50).map(|n| node.0.mutate(node.put_of("cargas", &format!("{}", n % 40), n))).collect();
    let before = node.0.status().committed_ops;
    assert!(node.1.committer.turn());
    answers.into_iter().for_each(|answer| drop(wait_blocking(answer).expect("a healthy disk")));
    // Ten lose the place that they never had.
    assert_eq!(node.0.status().committed_ops - before, 50 + 10 + 1, "one more operation for the bucket");
    // Ten of them were written twice, the second time with 40 to 49 bytes.
    let expected = of(40, (10..50).sum());
    assert_eq!(node.holds("cargas"), expected);
    drop(node);
    assert_eq!(start(&disk.after_power_loss()).holds("cargas"), expected);
}

#[test]
fn what_was_counted_wrong_is_found_told_and_put_right_with_the_next_write() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    node.put("cargas", "a", 100).expect("it fits");
    node.make("other");
    let id = id_of_name(&BucketName::cargas());
    node.0.core().filling_mut().set(id, of(7, 50));
    node.0.core().filling_mut().set(BucketId(99), of(1, 1));
    assert_eq!(node.misfilled(), [(of(1, 1), of(0, 0)), (of(7, 50), of(1, 100))]);
    node.walk();
    assert_eq!(node.0.miscounted(), 2);
    node.put("other", "a", 5).expect("it fits");
    assert_eq!((node.holds("cargas"), node.holds("other")), (of(1, 100), of(1, 5)));
    assert_eq!(node.misfilled(), []);
    node.put("cargas", "b", 1).expect("it fits");
    assert_eq!(node.holds("cargas"), of(2, 101), "it is put right once");
    drop(node);
    let node = start(&disk.after_power_loss());
    node.walk();
    assert_eq!((node.0.miscounted(), node.misfilled()), (0, Vec::new()));
}

#[test]
fn a_quota_refuses_what_adds_and_lets_everything_else_pass() {
    let node = start(&CrashDisk::new(1));
    let refused = |done: Result<(), StoreError>| assert!(matches!(done, Err(StoreError::QuotaExceeded)), "{done:?}");
    node.allow("cargas", Some(2), Some(100));
    node.put("cargas", "a", 60).expect("it fits");
    refused(node.put("cargas", "b", 41));
    node.put("cargas", "b", 40).expect("to the last byte");
    refused(node.put("cargas", "c", 0));
    refused(node.put("cargas", "a", 61));
    node.put("cargas", "a", 59).expect("an overwrite counts its difference");
    node.put("cargas", "b", 41).expect("which it may take up again");
    assert_eq!(node.holds("cargas"), of(2, 100));
    node.allow("cargas", Some(1), Some(10));
    node.put("cargas", "a", 58).expect("what is above may shrink");
    refused(node.put("cargas", "a", 59));
    node.delete("cargas", "a");
    refused(node.put("cargas", "a", 0));
    node.delete("cargas", "b");
    node.put("cargas", "a", 10).expect("it fits");
    refused(node.put("cargas", "a", 11));
    node.make("other");
    node.put("other", "a", 1000).expect("the quota is of one bucket");
    node.allow("cargas", None, None);
    node.put("cargas", "b", 1000).expect("there is none any more");
    assert_eq!(node.misfilled(), []);
}

#[test]
fn a_quota_holds_for_all_that_one_batch_decides() {
    let node = start(&CrashDisk::new(1));
    node.allow("cargas", Some(3), None);
    let answers: Vec<_> = (0..9).map(|n| node.0.mutate(node.put_of("cargas", &format!("k{n}"), 1))).collect();
    assert!(node.1.committer.turn());
    let done = answers.into_iter().map(|answer| wait_blocking(answer).is_ok());
    assert_eq!(done.filter(|done| *done).count(), 3);
    assert_eq!(node.holds("cargas"), of(3, 3));
}
