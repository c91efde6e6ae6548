//! Counts that are wrong: told, put right, and no reason to remove anything before.

use crate::base::{BodyId, BucketName, Condition, ObjectHead, ObjectKey, ObjectName, RegisterKey, Secret};
use crate::disk::{CrashDisk, Space};
use crate::seal::keyring::Keyring;
use crate::store::buckets::register_by_name;
use crate::store::mutation::Mutation;
use crate::store::verify::Finding;
use crate::store::waiting::DELAY;
use crate::store::{Clockwork, Options, Store, open, wait_blocking};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

struct Node(Store, Clockwork);

/// Each body is a file: whether it is there is easily seen.
fn start(disk: &CrashDisk) -> Node {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options =
        Options { segment_max: 0, inline_max: 10, reserve_bytes: 0, log_bytes: 96 * 1024, ..Options::default() };
    let (store, work) = open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("it opens");
    Node(store, work)
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

fn key(key: &str) -> RegisterKey {
    register_by_name(&name(key))
}

impl Node {
    fn commit(&self, mutation: Mutation) {
        let answer = self.0.mutate(mutation);
        self.1.committer.turn();
        wait_blocking(answer).expect("a healthy disk");
    }

    fn put(&self, key: &str) -> BodyId {
        let mut upload =
            self.0.begin_upload(name(key), Condition::NONE, ObjectHead::default(), None, None).expect("begins");
        upload.append(&[Bytes::from_static(&[7; 3000])], |_| {}).expect("appends");
        let landed = upload.land().expect("lands");
        self.commit(landed.mutation());
        landed.object.body
    }

    fn copy(&self, from: &str, to: &str) {
        let held = self.0.lookup(&key(from)).expect("looks").expect("is there");
        let object = Box::new(held.record.object().expect("an object").clone());
        self.commit(Mutation::put(&name(to), Condition::NONE, object, 1));
    }

    fn delete(&self, key: &str) {
        self.commit(Mutation::delete(&name(key), Condition::NONE, 1));
    }

    fn is_here(&self, body: BodyId) -> bool {
        self.0.core().blobs.exists(body).expect("a healthy disk")
    }

    fn is_sure(&self) -> bool {
        !self.0.status().references.recounting
    }

    /// Has go what is due in a minute, and nothing else.
    fn reap(&self) {
        self.1.reaper.look(Instant::now() + DELAY);
        self.1.committer.turn();
    }

    fn recount(&self) {
        while self.0.core().recount_on() {}
    }
}

/// Two records of one body, in the index, and a start that is to recount.
fn shared(disk: &CrashDisk, counted: u32) -> (Node, BodyId) {
    let node = start(disk);
    let body = node.put("a");
    node.copy("a", "b");
    // Others, so that it takes more than one page.
    let small = |n: u32| {
        let object = node.0.seal_small(ObjectHead::default(), &[Bytes::from_static(b"few")]).expect("seals");
        node.0.mutate(Mutation::put(&name(&format!("b{n}")), Condition::NONE, object, 1))
    };
    let answers: Vec<_> = (0..600).map(small).collect();
    while node.1.committer.turn() {}
    answers.into_iter().for_each(|answer| drop(wait_blocking(answer).expect("a healthy disk")));
    node.put("c");
    node.0.checkpoint().expect("a healthy disk");
    node.0.core().index.miscount(body, counted);
    drop(node);
    (start(disk), body)
}

#[test]
fn a_count_that_is_too_low_costs_no_record_its_body() {
    for counted in [0, 1] {
        let (node, body) = shared(&CrashDisk::new(1), counted);
        node.delete("a");
        node.0.checkpoint().expect("a healthy disk");
        node.reap();
        assert!(node.is_here(body), "nothing goes before the recount");
        node.recount();
        assert!(node.is_sure() && node.0.miscounted() > 0, "it is told");
        assert_eq!(node.0.core().index.references(body).expect("reads"), 1, "and put right");
        node.reap();
        assert!(node.is_here(body), "the other record has it");
        node.delete("b");
        node.reap();
        assert!(!node.is_here(body), "none has it");
    }
}

#[test]
fn a_count_that_is_too_high_keeps_no_body_for_ever() {
    let (node, body) = shared(&CrashDisk::new(1), 5);
    node.recount();
    assert_eq!((node.is_sure(), node.0.miscounted()), (true, 1));
    node.delete("a");
    node.delete("b");
    node.reap();
    assert!(!node.is_here(body));
}

#[test]
fn counts_that_are_right_are_no_alarm() {
    let (node, _) = shared(&CrashDisk::new(1), 2);
    assert!(!node.is_sure());
    node.recount();
    assert_eq!((node.is_sure(), node.0.miscounted()), (true, 0));
}

#[test]
fn what_changes_while_it_is_recounted_is_no_alarm_and_hides_none() {
    for (counted, steps) in [2, 1].into_iter().flat_map(|counted| (0..8).map(move |steps| (counted, steps))) {
        let (node, body) = shared(&CrashDisk::new(1), counted);
        let change = |n: u32| {
            node.copy("a", &format!("copy{n}"));
            node.copy("c", "b");
            node.copy("a", "z");
            node.0.checkpoint().expect("a healthy disk");
            node.delete("z");
            node.0.checkpoint().expect("a healthy disk");
        };
        change(0);
        for n in 0..steps {
            node.0.core().recount().expect("a healthy disk");
            change(n + 1);
        }
        node.recount();
        assert!(node.is_sure());
        assert_eq!(node.0.miscounted() > 0, counted == 1, "after {steps} steps");
        assert_eq!(node.0.core().index.references(body).expect("reads"), steps + 2);
    }
}

#[test]
fn without_room_for_it_nothing_is_removed_until_there_is() {
    let disk = CrashDisk::new(1);
    let (node, body) = shared(&disk, 1);
    disk.set_space(Space { total: 1 << 40, free: 0, files_free: u64::MAX });
    node.recount();
    node.recount();
    assert_eq!((node.is_sure(), node.0.miscounted()), (false, 1), "told, once");
    node.delete("a");
    node.delete("b");
    node.reap();
    assert!(node.is_here(body));
    disk.set_space(Space { total: 1 << 40, free: 1 << 40, files_free: u64::MAX });
    node.0.refresh_space().expect("it is asked");
    node.recount();
    assert!(node.is_sure());
    node.reap();
    assert!(!node.is_here(body));
}

#[test]
fn a_count_that_cannot_fall_is_an_alarm_at_once() {
    let node = start(&CrashDisk::new(1));
    let body = node.put("a");
    node.copy("a", "b");
    node.0.checkpoint().expect("a healthy disk");
    node.0.core().index.miscount(body, 0);
    node.delete("a");
    node.0.checkpoint().expect("a healthy disk");
    assert_eq!((node.is_sure(), node.0.miscounted()), (false, 1));
    node.reap();
    assert!(node.is_here(body));
    node.recount();
    assert!(node.is_sure());
    assert_eq!(node.0.core().index.references(body).expect("reads"), 1);
    node.delete("b");
    node.reap();
    assert!(!node.is_here(body));
}

#[test]
fn verify_names_each_body_that_is_counted_wrong_and_changes_nothing() {
    let (node, body) = shared(&CrashDisk::new(1), 7);
    for _ in 0..2 {
        let mut found = Vec::new();
        let sum = node.0.verify(&mut |finding| found.push(finding)).expect("reads");
        assert_eq!((sum.miscounted, sum.damaged), (1, 0));
        assert!(found.contains(&Finding::Miscounted { body, counted: 7, records: 2 }), "{found:?}");
    }
    assert_eq!(node.0.core().index.references(body).expect("reads"), 7);
}

#[test]
fn a_node_that_is_given_its_place_anew_counts_nothing_of_before() {
    use crate::base::{Incarnation, NodeName};
    use crate::register::{Roster, Seat};
    use crate::store::voting::Seating;
    for steps in 0..6 {
        let (node, body) = shared(&CrashDisk::new(1), 2);
        for _ in 0..steps {
            node.0.core().recount().expect("a healthy disk");
        }
        let seat = |n: u64, incarnation| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation };
        let others = vec![seat(2, Incarnation(77)), seat(3, Incarnation(78))];
        let all = [others.clone(), vec![seat(1, node.0.incarnation())]].concat();
        let seated = node.0.seat(Seating::Adopt(Arc::new(Roster::founding(1, others).next(2, &all))));
        node.1.committer.turn();
        wait_blocking(seated).expect("a place");
        assert_eq!(node.0.core().references(body).expect("reads"), Some(0));
        node.0.checkpoint().expect("a healthy disk");
        node.recount();
        assert_eq!((node.is_sure(), node.0.miscounted()), (true, 0), "after {steps} steps");
        assert_eq!(node.0.core().index.references(body).expect("reads"), 0);
    }
}
