//! What a commit is made for, and what waits for one.

use crate::base::{
    Ballot, BucketName, Condition, Epoch, Incarnation, Lineage, NodeName, ObjectKey, ObjectName, Record, RegisterKey,
    Secret, Stamp, State, WriteId,
};
use crate::disk::CrashDisk;
use crate::register::{Answer, Attempt, Message, Request, Roster, Seat, Traced};
use crate::seal::keyring::Keyring;
use crate::store::store::wait_blocking;
use crate::store::votes::{Seating, Vote};
use crate::store::{Clockwork, Options, Store, open};
use std::path::Path;
use std::sync::Arc;

type Asked = Request<Arc<Record>>;

struct Node(Store, Clockwork);

fn start(disk: &CrashDisk) -> Node {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { log_bytes: 96 * 1024, reserve_bytes: 0, first_bucket: false, ..Options::default() };
    let (store, work) = open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options).expect("it opens");
    Node(store, work)
}

/// A node of a cluster of two, which has promised once: its reserve is good for a while.
fn seated(disk: &CrashDisk) -> Node {
    let node = start(disk);
    let seat = |n: u64, incarnation| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation };
    let roster = Roster::founding(1, vec![seat(1, node.0.incarnation()), seat(2, Incarnation(77))]);
    let answer = node.0.seat(Seating::Adopt(Arc::new(roster)));
    node.1.committer.turn();
    wait_blocking(answer).expect("a seat");
    node.ask("first", Asked::Prepare(ballot(1)));
    node
}

fn key(name: &str) -> RegisterKey {
    let key = ObjectKey::parse(name).expect("a key");
    RegisterKey::object(&ObjectName { bucket: BucketName::cargas(), key })
}

fn ballot(n: u64) -> Ballot {
    Ballot { stamp: Stamp((1 << 50) + n), node: Incarnation(77) }
}

fn store_at(ballot: Ballot) -> Asked {
    let lineage = Lineage::NOTHING.then(WriteId::drawn([7; 8]), Lineage::IDS_MAX);
    let record = Record { ballot, lineage, written_ms: 5, state: State::Deleted };
    Asked::Store(ballot, Traced { value: Some(Arc::new(record)), lineage })
}

fn vote(name: &str, request: Asked) -> Vote {
    Vote { key: key(name), message: Message { epoch: Epoch(1), attempt: Attempt(1), request } }
}

impl Node {
    fn ask(&self, name: &str, request: Asked) -> Answer<Arc<Record>> {
        let answer = self.0.vote(vec![vote(name, request)]);
        self.1.committer.turn();
        let replies = answer.blocking_recv().expect("an answer").expect("a healthy disk");
        replies.into_iter().next().flatten().expect("it votes").answer
    }

    fn mark(&self, name: &str, ballot: Ballot) {
        self.0.mark(vec![vote(name, Asked::Mark(ballot))]);
    }

    fn commits(&self) -> u64 {
        self.0.status().commits
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.0.lookup(&key(name)).expect("a healthy disk").is_some_and(|held| held.chosen)
    }
}

#[test]
fn a_writer_that_is_alone_costs_one_commit_a_write() {
    let node = seated(&CrashDisk::new(1));
    let before = node.commits();
    for n in 10..30 {
        // The mark of a write comes with the promise for the next one.
        node.mark(&format!("k{}", n - 1), ballot(n - 1));
        assert!(matches!(node.ask(&format!("k{n}"), Asked::Prepare(ballot(n))), Answer::Promised(..)));
        assert!(matches!(node.ask(&format!("k{n}"), store_at(ballot(n))), Answer::Stored(..)));
    }
    assert_eq!(node.commits() - before, 20);
    assert!((10..29).all(|n| node.is_chosen(&format!("k{n}"))));
    assert!(!node.is_chosen("k29"));
}

#[test]
fn marks_alone_have_their_commit_and_last() {
    let disk = CrashDisk::new(2);
    let node = seated(&disk);
    node.ask("k", Asked::Prepare(ballot(5)));
    node.ask("k", store_at(ballot(5)));
    node.mark("k", ballot(5));
    while node.1.committer.turn() {}
    assert!(node.is_chosen("k"));
    drop(node);
    assert!(start(&disk.after_power_loss()).is_chosen("k"));
}

#[test]
fn what_is_decided_of_a_register_rests_on_its_mark() {
    let node = seated(&CrashDisk::new(3));
    node.ask("k", Asked::Prepare(ballot(5)));
    node.ask("k", store_at(ballot(5)));
    node.mark("k", ballot(5));
    let Answer::Promised(_, slot) = node.ask("k", Asked::Prepare(ballot(6))) else { panic!("a promise") };
    assert!(slot.chosen && node.is_chosen("k"), "answered, so it is durable");
}

#[test]
fn what_looks_at_any_register_takes_all_marks_along() {
    let node = seated(&CrashDisk::new(4));
    node.ask("k", Asked::Prepare(ballot(5)));
    node.ask("k", store_at(ballot(5)));
    node.mark("k", ballot(5));
    let answer = node.0.delete(
        ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse("x").expect("a key") },
        Condition::NONE,
    );
    node.1.committer.turn();
    wait_blocking(answer).expect("a bucket");
    assert!(node.is_chosen("k"));
}
