//! The status of a store can be asked for at any moment, whatever its committer is doing.

use boveda::base::ObjectHead;
use boveda::base::{BucketName, Condition, ObjectKey, ObjectName, Secret};
use boveda::disk::CrashDisk;
use boveda::seal::keyring::Keyring;
use boveda::store::mutation::Mutation;
use boveda::store::wait_blocking;
use boveda::store::{Options, Store};
use bytes::Bytes;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const WRITES: usize = 20_000;
/// Far beyond what this takes on any machine: only a lock that never comes free lasts as long.
const PATIENCE: Duration = Duration::from_secs(120);

fn write_all(store: &Store) {
    for n in 0..WRITES {
        let key = ObjectKey::parse(&format!("k{}", n % 10)).expect("a key");
        let at = ObjectName { bucket: BucketName::cargas(), key };
        let object = store.seal_small(ObjectHead::default(), &[Bytes::from_static(b"x")]).expect("seals");
        wait_blocking(store.mutate(Mutation::put(&at, Condition::NONE, object, store.now_ms()))).expect("stored");
    }
}

#[test]
fn asking_for_the_status_never_stops_the_committer() {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
    let disk = Arc::new(CrashDisk::new(1));
    let (store, work) = boveda::store::open(disk, Path::new("/data"), ring, None, options).expect("opens");
    let store = store.start(work, || std::process::abort()).expect("starts");
    let done = Arc::new(AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let (asker, asked, ended) = (Arc::clone(&store), Arc::clone(&done), tell.clone());
    std::thread::spawn(move || {
        while !asked.load(Ordering::Relaxed) {
            asker.status();
        }
        // Nobody listens after the time is up.
        let _ = ended.send("asker");
    });
    std::thread::spawn(move || {
        write_all(&store);
        done.store(true, Ordering::Relaxed);
        let _ = tell.send("writer");
    });
    for _ in 0..2 {
        told.recv_timeout(PATIENCE).expect("the writer and the asker both come to their ends");
    }
}
