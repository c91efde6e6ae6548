//! A disk that fills up: writes stop before it is full, deletes go on, and nothing is lost or poisoned.

use boveda::base::ObjectHead;
use boveda::base::{BodyId, BucketId, BucketName, Condition, ObjectKey, ObjectName, Secret, Shortage};
use boveda::disk::{CrashDisk, Disk, Space};
use boveda::seal::keyring::Keyring;
use boveda::store::buckets::register_by_name;
use boveda::store::incoming::Purpose;
use boveda::store::intent::Decided;
use boveda::store::mutation::Mutation;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const RESERVE: u64 = 16 * MIB;
const BODY: usize = 16 * 1024;

struct Bench {
    store: Store,
    work: Clockwork,
    disk: CrashDisk,
}

/// Whether the name held something before, of what nobody else has a vote on.
fn existed(decided: Decided) -> bool {
    matches!(decided, Decided::Alone(outcome) if outcome.existed)
}

impl Bench {
    fn new(free: u64) -> Self {
        let disk = CrashDisk::new(1);
        disk.set_space(space(free));
        let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a key makes a ring"));
        let options = Options { reserve_bytes: RESERVE, log_bytes: 4 * MIB, ..Options::default() };
        let (store, work) =
            boveda::store::open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("opens");
        Bench { store, work, disk }
    }

    fn put(&self, n: u64) -> Result<(), StoreError> {
        let object = self.store.seal_small(ObjectHead::default(), &[Bytes::from(vec![7; BODY])])?;
        let answer = self.store.mutate(Mutation::put(&name(n), Condition::NONE, object, 1));
        assert!(self.work.committer.turn());
        boveda::store::wait_blocking(answer).map(drop)
    }

    fn delete(&self, n: u64) -> Result<bool, StoreError> {
        let answer = self.store.mutate(Mutation::delete(&name(n), Condition::NONE, 1));
        assert!(self.work.committer.turn());
        boveda::store::wait_blocking(answer).map(existed)
    }

    /// Puts until the store refuses; how many were taken.
    fn fill(&self) -> u64 {
        for n in 0..10_000 {
            match self.put(n) {
                Ok(()) => {}
                Err(StoreError::Full) => return n,
                Err(other) => panic!("{other}"),
            }
        }
        panic!("a full disk took 10,000 objects")
    }
}

fn space(free: u64) -> Space {
    Space { total: 1000 * MIB, free, files_free: u64::MAX }
}

fn name(n: u64) -> ObjectName {
    let key = ObjectKey::parse(&format!("k{n}")).expect("a key");
    ObjectName { bucket: BucketName::cargas(), key }
}

#[test]
fn a_fast_upload_does_not_outrun_the_look_at_the_disk() {
    let bench = Bench::new(RESERVE + MIB);
    let mut upload = bench
        .store
        .begin_upload(name(0), boveda::base::Condition::NONE, ObjectHead::default(), None, None)
        .expect("there is room");
    let piece = [Bytes::from(vec![7; BODY])];
    let taken = (0..1000).find(|_| matches!(upload.append(&piece, |_| {}), Err(StoreError::Full)));
    // Nobody has asked the disk again, and its figure has not moved: what was admitted was counted.
    assert!(taken.is_some_and(|n| n > 0 && n * BODY as u64 <= MIB), "{taken:?} pieces in a room of 1 MiB");
}

/// Bytes of a peer's blob that are taken on a disk with so much free.
fn taken_of_a_peer(free: u64, purpose: Purpose) -> u64 {
    let bench = Bench::new(free);
    let Ok(mut incoming) = bench.store.begin_incoming(BodyId([1; 16]), None, purpose) else { return 0 };
    let piece = [Bytes::from(vec![7; BODY])];
    (0..).find(|_| matches!(incoming.append(&piece), Err(StoreError::Full))).expect("it ends") * BODY as u64
}

#[test]
fn a_copy_that_a_reader_waits_for_may_use_half_of_the_reserve() {
    assert_eq!(taken_of_a_peer(RESERVE - MIB, Purpose::Copy), 0, "the disk is full for what is to be kept");
    // The index is owed a little for what the log holds already.
    let about = |taken: u64, of: u64| taken <= of && taken + 8 * BODY as u64 >= of;
    assert!(about(taken_of_a_peer(RESERVE - MIB, Purpose::Reader), RESERVE / 2 - MIB));
    assert_eq!(taken_of_a_peer(RESERVE / 2, Purpose::Reader), 0);
    assert!(about(taken_of_a_peer(RESERVE + MIB, Purpose::Copy), MIB));
}

#[test]
fn a_fast_writer_does_not_outrun_the_look_at_the_disk() {
    let bench = Bench::new(RESERVE + MIB);
    let taken = bench.fill();
    // Nobody has asked the disk again, and its figure has not moved: what was admitted was counted.
    assert!(taken > 0 && taken * BODY as u64 <= MIB, "{taken} objects in a room of 1 MiB");
    assert!(bench.delete(0).expect("deletes go on"));
    assert!(bench.store.lookup_cached(&register_by_name(&name(1))).is_some(), "reads go on");
    assert!(!bench.store.is_poisoned());
}

#[test]
fn a_checkpoint_that_may_not_fit_is_put_off_and_poisons_nothing() {
    let bench = Bench::new(100 * MIB);
    for n in 0..50 {
        bench.put(n).expect("there is room");
    }
    // Others have filled the disk meanwhile.
    bench.disk.set_space(space(0));
    assert!(matches!(bench.store.checkpoint(), Err(StoreError::Full)));
    assert!(matches!(bench.put(50), Err(StoreError::Full)));
    assert!(bench.delete(3).expect("deletes go on"));
    assert!(!bench.store.is_poisoned());
    bench.disk.set_space(space(100 * MIB));
    bench.store.checkpoint().expect("there is room again");
    bench.put(51).expect("and for writes");
}

#[test]
fn a_ring_that_cannot_be_emptied_refuses_and_recovers() {
    let bench = Bench::new(1000 * MIB);
    let mut n = 0;
    // The disk is full for the index, while the store has not looked again: the ring fills up.
    while bench.store.status().log_used_bytes < 3 * MIB + MIB / 2 {
        bench.put(n).expect("there is room in the ring");
        n += 1;
    }
    bench.disk.set_space(space(0));
    let refused = (0..1000).find(|n| matches!(bench.delete(*n), Err(StoreError::Full)));
    assert!(refused.is_some_and(|n| n > 0), "deletes go on while the ring has room: {refused:?}");
    assert!(!bench.store.is_poisoned());
    bench.disk.set_space(space(1000 * MIB));
    bench.store.refresh_space().expect("the disk can be asked");
    bench.put(n).expect("the index is brought up to the log, and the ring has room");
}

#[test]
fn a_volume_without_inodes_takes_what_needs_no_file() {
    let bench = Bench::new(100 * MIB);
    let begin = || bench.store.begin_upload(name(0), boveda::base::Condition::NONE, ObjectHead::default(), None, None);
    drop(begin().expect("there are inodes"));
    bench.disk.set_space(Space { files_free: 0, ..space(100 * MIB) });
    bench.store.refresh_space().expect("the disk can be asked");
    assert!(matches!(begin(), Err(StoreError::Short(Shortage::Inodes))));
    bench.put(1).expect("a small body needs no file of its own");
    assert_eq!(bench.store.shortage(Shortage::Inodes), (true, 1));
    bench.disk.set_space(space(100 * MIB));
    bench.store.refresh_space().expect("the disk can be asked");
    drop(begin().expect("there are inodes again"));
    assert!(!bench.store.shortage(Shortage::Inodes).0);
}

#[test]
fn a_volume_smaller_than_the_reserve_is_called_so() {
    let bench = Bench::new(100 * MIB);
    bench.put(0).expect("there is room");
    bench.disk.set_space(Space { total: RESERVE / 2, ..space(RESERVE / 4) });
    bench.store.refresh_space().expect("the disk can be asked");
    assert!(matches!(bench.put(1), Err(StoreError::Short(Shortage::SmallVolume))));
    assert!(bench.delete(0).expect("deletes go on"));
    assert!(bench.store.shortage(Shortage::SmallVolume).0 && !bench.store.is_poisoned());
}

#[test]
fn a_bucket_is_refused_on_a_full_disk_and_deleted_on_it() {
    let bench = Bench::new(100 * MIB);
    let bucket = |text: &str| BucketName::parse(text).expect("a name");
    let done = |answer| {
        assert!(bench.work.committer.turn());
        boveda::store::wait_blocking(answer)
    };
    done(bench.store.mutate(Mutation::create_bucket(&bucket("before"), BucketId(7), 1))).expect("there is room");
    bench.disk.set_space(space(RESERVE / 2));
    bench.store.refresh_space().expect("the disk can be asked");
    assert!(matches!(
        done(bench.store.mutate(Mutation::create_bucket(&bucket("after"), BucketId(8), 1))),
        Err(StoreError::Full)
    ));
    assert!(existed(
        done(bench.store.mutate(Mutation::create_bucket(&bucket("before"), BucketId(7), 1))).expect("it is there")
    ));
    assert!(existed(done(bench.store.mutate(Mutation::delete_bucket(&bucket("before"), 1))).expect("deletes go on")));
}

/// The disk is asked for room right before the index is written, and others may fill it in between.
#[test]
fn others_who_fill_the_disk_in_the_middle_of_a_checkpoint_stop_nothing() {
    let bench = Bench::new(128 * MIB);
    bench.disk.set_capacity(128 * MIB);
    for n in 0..20 {
        bench.put(n).expect("there is room");
    }
    bench.store.checkpoint().expect("there is room");
    for n in 20..40 {
        bench.put(n).expect("there is room");
    }
    // The first sync of a checkpoint is that of the small bodies; the index comes behind it.
    let (disk, other) = (bench.disk.clone(), Path::new("/data/of-others"));
    bench.disk.at_sync(0, move || {
        let free = disk.space(Path::new("/data")).expect("has power").free;
        disk.create_new(other).expect("creates").write_at(0, &vec![1; free as usize]).expect("fits");
    });
    bench.store.checkpoint().expect("the index has its own room");
    let left = bench.disk.space(Path::new("/data")).expect("has power").free;
    assert!(left < RESERVE / 4, "others have all but what was set aside, and a part of that is used: {left}");
    assert!(!bench.store.status().poisoned);
    bench.disk.remove(other).expect("removes");
    bench.put(40).expect("there is room again");
    bench.store.checkpoint().expect("there is room again");
}
