//! The healer over a real store, without peers.

use super::*;
use crate::actors::store_actor::threads::Threads;
use crate::actors::store_actor::{StoreActor, abort};
use crate::base::ObjectHead;
use crate::base::{BucketName, Condition, ObjectKey, ObjectName, Secret};
use crate::disk::RealDisk;
use crate::seal::keyring::Keyring;
use crate::store::buckets::register_by_name;
use crate::store::{Options, open, wait};

fn key(of: &str) -> (ObjectName, RegisterKey) {
    let name = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(of).expect("a key") };
    let register = register_by_name(&name);
    (name, register)
}

#[actix_rt::test]
async fn a_body_that_is_at_no_peer_is_lost_only_if_a_record_here_refers_to_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let sizes = Options { inline_max: 1_000, log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
    // Each body is a file, which can be lost.
    let options = Options { segment_max: 0, ..sizes };
    let opened = open(Arc::new(RealDisk), dir.path(), Arc::clone(&ring), None, options).expect("it opens");
    let store = opened.0.start(opened.1, abort).expect("it starts");
    let actor = StoreActor::new(Arc::clone(&store), Threads::start(1, abort).expect("threads")).start();
    let me = Arc::new(Identity {
        name: NodeName::parse("n1").expect("a name"),
        cluster: store.cluster(),
        incarnation: store.incarnation(),
    });
    let tally = Arc::new(HealTally::default());
    let recipients = StoreRecipients::of(&actor);
    let healer =
        Healer::new(&me, &Arc::new(ring.peer_key()), &[], recipients, Arc::clone(&tally), Arc::default()).start();
    let heal = |key, wanted| {
        let asked = healer.send(Heal { key, wanted });
        async { asked.await.expect("it answers") }
    };

    // It was read for what others held, who hold something else by now.
    let gone =
        Ailment::Blob { blob: BlobRef { body: BodyId([7; 16]), sealed_len: 9, digest: [7; 32] }, damaged: false };
    assert_eq!(heal(key("replaced").1, Some(gone)).await, Healed::NoCopy);
    assert_eq!(tally.read().unmended, 0, "nothing is lost");

    let (name, register) = key("lost");
    let upload = store.begin_upload(name, Condition::NONE, ObjectHead::default(), None, None);
    let mut upload = upload.expect("it begins");
    upload.append(&[vec![7; 5_000].into()], |_| {}).expect("it is taken");
    wait(store.mutate(upload.land().expect("it ends").mutation())).await.expect("it is durable");
    assert_eq!(heal(register.clone(), None).await, Healed::Good);
    std::fs::remove_dir_all(dir.path().join("blobs")).expect("they go");
    assert_eq!(heal(register, None).await, Healed::NoCopy);
    assert_eq!(tally.read().unmended, 1);
}
