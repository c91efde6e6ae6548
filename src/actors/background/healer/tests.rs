//! The healer over a real store, with a peer that has no bodies.

use super::*;
use crate::actors::store_actor::threads::Threads;
use crate::actors::store_actor::{StoreActor, abort};
use crate::actors::testing::peer::Listener;
use crate::actors::testing::{Shelf, ShelfActor, identity, node_view, ring};
use crate::base::{BucketId, BucketName, Condition, Lineage, ObjectHead, ObjectKey, ObjectName, Record, Stamp, State};
use crate::disk::RealDisk;
use crate::register::placement::tests::Holds;
use crate::register::{Placement, Roster, Seat};
use crate::store::buckets::register_by_name;
use crate::store::entry::NodeRecord;
use crate::store::{Options, open, wait};

fn key(of: &str) -> (ObjectName, RegisterKey) {
    let name = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(of).expect("a key") };
    let register = register_by_name(&name);
    (name, register)
}

#[actix_rt::test]
async fn a_body_that_is_at_no_peer_is_lost_only_if_a_record_here_refers_to_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let ring = Arc::new(ring(7));
    let sizes = Options { inline_max: 1_000, log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
    // Each body is a file, which can be lost.
    let options = Options { segment_max: 0, ..sizes };
    let opened = open(Arc::new(RealDisk), dir.path(), Arc::clone(&ring), None, options).expect("it opens");
    let store = opened.0.start(opened.1, abort).expect("it starts");
    let actor = StoreActor::new(Arc::clone(&store), Threads::start(1, abort).expect("threads")).start();
    let tally = Arc::new(HealTally::default());
    let recipients = StoreRecipients::of(&actor);
    let shelf = Shelf::new(2);
    let there = Arc::clone(&shelf);
    let listener = Listener::start("n2", 2, None, move || StoreRecipients::of(&ShelfActor(Arc::clone(&there)).start()));
    let peer = PeerAddress { name: NodeName::parse("n2").expect("a name"), url: listener.url() };
    let (view, key_of_peers) = (node_view(identity("n1", 1)), ring.peer_keys());
    let healer = Healer::new(&view, &key_of_peers, &[peer], recipients, Arc::clone(&tally), Arc::default()).start();
    let heal = |key, wanted| {
        let asked = healer.send(Heal { key, wanted });
        async { asked.await.expect("it answers") }
    };

    // It was read for what others held, who hold something else by now.
    let gone =
        Ailment::Blob { blob: BlobRef { body: BodyId([7; 16]), sealed_len: 9, digest: [7; 32] }, damaged: false };
    assert_eq!(heal(key("replaced").1, Some(gone)).await, Healed::NoCopy);
    assert_eq!(tally.read().unmended, 0, "nothing is lost");

    let put = async |of: &str| {
        let (name, register) = key(of);
        let upload = store.begin_upload(name, Condition::NONE, ObjectHead::default(), None, None);
        let mut upload = upload.expect("it begins");
        upload.append(&[vec![7; 5_000].into()], |_| {}).expect("it is taken");
        wait(store.mutate(upload.land().expect("it ends").mutation())).await.expect("it is durable");
        register
    };
    let (register, late) = (put("lost").await, put("late").await);
    assert_eq!(heal(register.clone(), None).await, Healed::Good);
    std::fs::remove_dir_all(dir.path().join("blobs")).expect("they go");
    assert_eq!(heal(register.clone(), None).await, Healed::NoCopy);
    assert_eq!(tally.read().unmended, 1);
    // Deleted elsewhere, and this node has not heard of it.
    let deleted = Record {
        ballot: Ballot { stamp: Stamp(u64::MAX >> 1), node: Incarnation(2) },
        lineage: Lineage::NOTHING,
        written_ms: 1,
        state: State::Deleted,
    };
    shelf.keep(late.clone(), Arc::new(deleted), None);
    assert_eq!(heal(late, None).await, Healed::NoCopy);
    assert_eq!(tally.read().unmended, 1, "nobody needs it any more");
    // Another state of it is read, which others hold: what is asked for is the body of that one.
    assert_eq!(heal(register, Some(gone)).await, Healed::NoCopy);
    assert_eq!(tally.read().unmended, 1, "what the record here lacks is not what was asked for");
}

#[test]
fn only_those_are_asked_that_hold_what_is_damaged() {
    let seat = |n: u64| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation: Incarnation(n) };
    let roster = Arc::new(Roster::founding(7, vec![seat(1), seat(2)]));
    let holds = Holds { registers: |key| key.as_bytes().ends_with(b"held"), bodies: |body| body.0[0] == 1 };
    let placement = Placement::of(&roster).map(|all| all.with_part(Incarnation(2), holds));
    let node = NodeRecord { roster: Some(roster), ..NodeRecord::NEW };
    let voting = Voting { placement, ..Voting::of(node) };
    let asked = |n: u64, of: &str, ailment| {
        let key = RegisterKey::object(BucketId(1), &ObjectKey::parse(of).expect("a key"));
        is_holder(&voting, &seat(n).name, &key, ailment)
    };
    let record = Ailment::Record { ballot: Ballot { stamp: Stamp(1), node: Incarnation(1) } };
    let body =
        |n| Ailment::Blob { blob: BlobRef { body: BodyId([n; 16]), sealed_len: 1, digest: [0; 32] }, damaged: true };
    for (n, of, ailment, expected) in [
        (2, "held", record, true),
        (2, "not", record, false),
        (2, "not", body(1), true),
        (2, "held", body(2), false),
        (1, "not", record, true),
        (1, "not", body(2), true),
        // It has no place: whoever was given one lately may have it.
        (3, "not", record, true),
    ] {
        assert_eq!(asked(n, of, ailment), expected, "n{n}, {of}, {ailment:?}");
    }
    assert!(is_holder(&Voting::of(NodeRecord::NEW), &seat(2).name, &key("not").1, body(2)), "nobody has a list");
}
