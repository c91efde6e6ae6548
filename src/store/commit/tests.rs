//! What a commit is made for, and what waits for one.

use crate::base::{
    Ballot, BucketId, BucketName, Condition, Epoch, Incarnation, Lineage, NodeName, ObjectHead, ObjectKey, ObjectName,
    Record, RegisterKey, Secret, Stamp, State, Tags, WriteId,
};
use crate::disk::CrashDisk;
use crate::register::{Answer, Attempt, Message, Request, Roster, Seat, Traced, Under};
use crate::seal::keyring::Keyring;
use crate::store::buckets::{id_of_name, register_by_name};
use crate::store::intent::Decided;
use crate::store::mutation::Mutation;
use crate::store::voting::{Seating, Vote};
use crate::store::wait_blocking;
use crate::store::{Clockwork, Options, Store, StoreError, open};
use std::path::Path;
use std::sync::Arc;

type Asked = Request<Arc<Record>>;

struct Node(Store, Clockwork);

fn start(disk: &CrashDisk) -> Node {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    // Each body is a file.
    let options = Options { segment_max: 0, reserve_bytes: 0, first_bucket: false, ..Options::default() };
    let options = Options { log_bytes: 96 * 1024, ..options };
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
    register_by_name(&ObjectName { bucket: BucketName::cargas(), key })
}

fn ballot(n: u64) -> Ballot {
    Ballot { stamp: Stamp((1 << 50) + n), node: Incarnation(77) }
}

fn store_at(ballot: Ballot) -> Asked {
    let lineage = Lineage::NOTHING.then(WriteId::drawn([7; 8]), Lineage::IDS_MAX);
    let record = Record { ballot, lineage, written_ms: 5, state: State::Deleted };
    Asked::Store(ballot, Traced { value: Some(Arc::new(record)), lineage }, Under::default())
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
    let answer = node.0.remember();
    node.1.committer.turn();
    wait_blocking(answer).expect("a healthy disk");
    assert!(node.is_chosen("k"));
}

fn bucket(node: &Node, name: &str) -> Result<Decided, StoreError> {
    let name = BucketName::parse(name).expect("a name");
    let answer = node.0.mutate(Mutation::create_bucket(&name, id_of_name(&name), 1));
    node.1.committer.turn();
    wait_blocking(answer)
}

#[test]
fn whoever_waits_for_a_batch_that_failed_is_told_that_its_outcome_is_unknown() {
    // The frame, its mark, their sync.
    for operation in 0..3 {
        let disk = CrashDisk::new(operation);
        let node = start(&disk);
        bucket(&node, "before").expect("a healthy disk");
        disk.fail_once_after(operation, std::io::ErrorKind::Other);
        assert!(matches!(bucket(&node, "during"), Err(StoreError::UnknownOutcome)), "operation {operation}");
        assert!(matches!(bucket(&node, "after"), Err(StoreError::Poisoned)), "nothing is written any more");
        drop(node);
        let again = start(&disk);
        assert!(again.0.has_bucket(&BucketName::parse("before").expect("a name")));
        assert!(!again.0.has_bucket(&BucketName::parse("after").expect("a name")));
        bucket(&again, "after").expect("it is well again");
    }
}

#[test]
fn a_batch_is_refused_when_the_store_was_poisoned_meanwhile() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    let core = Arc::clone(node.0.core());
    disk.at_sync(0, move || core.poison("another sync", &StoreError::ShuttingDown));
    assert!(matches!(bucket(&node, "during"), Err(StoreError::UnknownOutcome)));
}

#[test]
fn a_batch_counts_what_it_will_be_in_the_log() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    bucket(&node, "cargas").expect("a healthy disk");
    // Five of these are 40 KiB, and a frame of this log takes 24.
    let meta: Vec<_> = (0..8).map(|n| (format!("k{n}"), "x".repeat(1000))).collect();
    let put = |n: u32| {
        let head = ObjectHead { meta: meta.clone(), ..ObjectHead::default() };
        let object = node.0.seal_small(head, &[bytes::Bytes::from_static(b"small")]).expect("seals");
        let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(&format!("o{n}")).expect("a key") };
        node.0.mutate(Mutation::put(&at, Condition::NONE, object, 1))
    };
    let frames = node.commits();
    for round in 0..30 {
        let answers: Vec<_> = (0..5).map(|n| put(round * 5 + n)).collect();
        while node.1.committer.turn() {}
        for answer in answers {
            wait_blocking(answer).expect("a healthy disk");
        }
    }
    assert!(node.commits() - frames >= 60, "{} commits", node.commits() - frames);
    drop(node);
    let again = start(&disk.after_power_loss());
    assert!((0..150).all(|n| again.0.lookup(&key(&format!("o{n}"))).expect("a healthy disk").is_some()));
}

#[test]
fn one_request_longer_than_a_frame_is_whole_or_not_there() {
    let record = |n| {
        let lineage = Lineage::NOTHING.then(WriteId::drawn([7; 8]), Lineage::IDS_MAX);
        Record { ballot: ballot(n), lineage, written_ms: 5, state: State::Deleted }
    };
    let records =
        |count: u64| -> Vec<_> { (0..count).map(|n| (key(&format!("{}{n}", "long".repeat(60))), record(n))).collect() };
    let mut outcomes = std::collections::BTreeSet::new();
    for stop_at in 0..12 {
        let disk = CrashDisk::new(stop_at);
        let node = start(&disk);
        disk.set_power_budget(Some(stop_at));
        let answer = node.0.learn(records(150), Incarnation(77), Epoch(0)).expect("it is taken");
        node.1.committer.turn();
        let answered = wait_blocking(answer).is_ok();
        let again = start(&disk.after_power_loss());
        let there = records(150).iter().filter(|(key, _)| again.0.lookup(key).expect("healthy").is_some()).count();
        assert!(there == 150 || (there == 0 && !answered), "stopped at {stop_at}: {there} of 150");
        outcomes.insert((answered, there));
        // Longer than the whole log.
        let answer = again.0.learn(records(500), Incarnation(77), Epoch(0)).expect("it is taken");
        again.1.committer.turn();
        assert!(matches!(wait_blocking(answer), Err(StoreError::Mismatch(_))));
        bucket(&again, "well").expect("the store is well");
    }
    assert!(outcomes.contains(&(true, 150)) && outcomes.contains(&(false, 0)), "{outcomes:?}");
}

#[test]
fn a_sweep_leaves_a_body_that_was_promised_a_moment_ago() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    bucket(&node, "cargas").expect("a healthy disk");
    let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse("k").expect("a key") };
    let mut upload = node.0.begin_upload(at, Condition::NONE, Default::default(), None, None).expect("begins");
    upload.append(&[bytes::Bytes::from(vec![7; 30_000])], |_| {}).expect("appends");
    let object = upload.land().expect("lands").object;
    let body = object.body;
    drop(node);
    // A start later nobody knows what it came for.
    let node = start(&disk);
    let core = Arc::clone(node.0.core());
    let gate = core.blobs.gate();
    std::thread::scope(|scope| {
        let before = disk.operations();
        let sweep = scope.spawn(|| node.0.sweep_orphans());
        // It has listed what there is, and waits to remove it.
        while disk.operations() < before + 2 {
            std::thread::yield_now();
        }
        (0..10_000).for_each(|_| std::thread::yield_now());
        let Asked::Store(_, state, _) = store_at(ballot(5)) else { panic!("a store") };
        let lineage = state.lineage;
        let record = Record { ballot: ballot(5), lineage, written_ms: 5, state: State::Object(object) };
        let held = Arc::new(crate::store::entry::Held::new(record, false, 1, None));
        let mut references = crate::store::references::References::default();
        references.replaced(None, Some(&held.record));
        core.apply(vec![crate::store::entry::Op::Record { key: key("k"), held }], references, core.log.end());
        drop(gate);
        assert_eq!(sweep.join().expect("no panic").expect("a healthy disk"), 0);
    });
    assert!(core.blobs.exists(body).expect("a healthy disk"));
}

fn object(node: &Node, name: &str, condition: Condition) -> Mutation {
    let head = crate::base::ObjectHead::default();
    let object = node.0.seal_small(head, &[bytes::Bytes::from_static(b"small")]).expect("seals");
    let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(name).expect("a key") };
    Mutation::put(&at, condition, object, 1)
}

fn absent() -> Condition {
    Condition { matches: None, differs: Some(Tags::Any) }
}

/// A node that is all of its list, and the list of it and another one that may follow.
fn alone(disk: &CrashDisk) -> (Node, Roster) {
    let node = start(disk);
    let seat = |n: u64, incarnation| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation };
    let me = seat(1, node.0.incarnation());
    let list = Roster::founding(1, vec![me.clone()]);
    let both = list.next(2, &[me, seat(2, Incarnation(77))]);
    adopt(&node, list);
    (node, both)
}

fn adopt(node: &Node, list: Roster) {
    let answer = node.0.seat(Seating::Adopt(Arc::new(list)));
    node.1.committer.turn();
    wait_blocking(answer).expect("a seat");
}

#[test]
fn a_list_that_grew_in_the_same_batch_takes_the_decision_from_the_node_alone() {
    let disk = CrashDisk::new(1);
    let (node, both) = alone(&disk);
    let before = node.commits();
    let answer = node.0.mutate(object(&node, "before", Condition::NONE));
    node.1.committer.turn();
    assert!(matches!(wait_blocking(answer), Ok(Decided::Alone(_))), "nobody else has a vote");
    assert_eq!(node.commits() - before, 1, "promised and stored in one commit");
    assert!(node.is_chosen("before"));
    // The coordinator has looked by now, and the list becomes another one before its question is taken.
    let seated = node.0.seat(Seating::Adopt(Arc::new(both)));
    let bucket = BucketName::parse("another").expect("a name");
    let mutations = [
        object(&node, "late", Condition::NONE),
        delete("before"),
        Mutation::create_bucket(&bucket, BucketId(7), 1),
        Mutation::delete_bucket(&BucketName::cargas(), 1),
    ];
    let targets = mutations.clone().map(|mutation| mutation.target().clone());
    let answers = mutations.map(|mutation| node.0.mutate(mutation));
    node.1.committer.turn();
    wait_blocking(seated).expect("a seat");
    for (answer, target) in answers.into_iter().zip(targets) {
        assert!(matches!(wait_blocking(answer), Ok(Decided::ForVote(back)) if *back.target() == target));
    }
    drop(node);
    let again = start(&disk.after_power_loss());
    assert!(again.0.lookup(&key("late")).expect("a healthy disk").is_none() && !again.0.has_bucket(&bucket));
    assert!(again.is_chosen("before") && again.0.has_bucket(&BucketName::cargas()));
}

#[test]
fn a_node_that_may_not_vote_decides_nothing_alone() {
    let (node, _) = alone(&CrashDisk::new(1));
    let put = object(&node, "k", Condition::NONE);
    let early = node.0.mutate(put);
    // This start is to have a number, and has none before this commit.
    let begun = node.0.begin(7, None);
    node.1.committer.turn();
    wait_blocking(begun).expect("it begins");
    let Ok(Decided::ForVote(put)) = wait_blocking(early) else { panic!("it had no vote yet") };
    let answer = node.0.mutate(put);
    node.1.committer.turn();
    assert!(matches!(wait_blocking(answer), Ok(Decided::Alone(_))), "it votes");
}

#[test]
fn an_answer_without_a_write_rests_on_what_is_chosen() {
    let lineage = Lineage::NOTHING.then(WriteId::drawn([7; 8]), Lineage::IDS_MAX);
    let (node, _) = alone(&CrashDisk::new(1));
    for (name, mutation) in [("refused", object(&node, "refused", absent())), ("kept", delete("kept"))] {
        // Somebody has left it behind.
        let State::Object(body) = stored(&object(&node, name, Condition::NONE)) else { panic!("an object") };
        let state = if name == "kept" { State::Deleted } else { State::Object(body) };
        let left = Record { ballot: ballot(5), lineage, written_ms: 5, state };
        node.ask(name, Asked::Prepare(ballot(5)));
        let stored = Asked::Store(ballot(5), Traced { value: Some(Arc::new(left)), lineage }, Under::default());
        assert!(matches!(node.ask(name, stored), Answer::Stored(..)));
        assert!(!node.is_chosen(name));
        let answer = node.0.mutate(mutation);
        node.1.committer.turn();
        assert_eq!(wait_blocking(answer).is_ok(), name == "kept");
        let held = node.0.lookup(&key(name)).expect("a healthy disk").expect("a state");
        assert!(held.chosen && held.record.ballot > ballot(5) && held.record.lineage == lineage, "{name}");
    }
}

fn delete(name: &str) -> Mutation {
    let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(name).expect("a key") };
    Mutation::delete(&at, Condition::NONE, 1)
}

fn stored(mutation: &Mutation) -> State {
    State::Object(Box::new(mutation.object().expect("an object").clone()))
}

#[test]
fn a_refusal_is_told_when_what_it_rests_on_is_durable() {
    let disk = CrashDisk::new(1);
    let (node, _) = alone(&disk);
    let mut answers = [Condition::NONE, absent()].map(|condition| node.0.mutate(object(&node, "k", condition)));
    disk.fail_once_after(0, std::io::ErrorKind::Other);
    node.1.committer.turn();
    for answer in &mut answers {
        let told = answer.try_recv().expect("an answer");
        assert!(matches!(told, Err(StoreError::UnknownOutcome)), "what is refused may rest on what is lost: {told:?}");
    }
}

/// Zeroes the newest `count` frames of the log.
pub(in crate::store) fn rot(disk: &CrashDisk, count: usize) {
    let path = Path::new("/data/log");
    let bytes = disk.read_raw(path).expect("reads");
    let mut frames: Vec<(&[u8], u64, usize)> = bytes
        .chunks(4096)
        .zip((0..).step_by(4096))
        .filter(|(block, _)| block.starts_with(b"BVL1"))
        .map(|(block, at)| (&block[8..16], at, u32::from_le_bytes(block[4..8].try_into().expect("four")) as usize))
        .collect();
    frames.sort_by_key(|(position, ..)| u64::from_le_bytes((*position).try_into().expect("eight")));
    for (_, at, len) in frames.into_iter().rev().take(count) {
        disk.write_raw(path, at, &vec![0; len]).expect("rots");
    }
}

#[test]
fn a_node_whose_log_was_cut_says_so_until_it_has_its_place_anew() {
    for count in 1..4 {
        let disk = CrashDisk::new(1);
        let node = seated(&disk);
        for n in 5..10 {
            node.ask("k", Asked::Prepare(ballot(n)));
            node.ask("k", store_at(ballot(n)));
        }
        drop(node);
        assert!(!start(&disk.copy()).0.tail_was_cut());
        rot(&disk, count);
        for _ in 0..2 {
            let node = start(&disk);
            assert!(node.0.tail_was_cut(), "{count} frames are gone");
            assert_eq!(node.0.verify(&mut |_| {}).expect("it can be read").damaged, 1);
        }
        let node = start(&disk);
        let was = node.0.voting().node.roster.clone().expect("a list");
        let (epoch, given) = (Epoch(3), [(node.0.incarnation(), Epoch(3))].into());
        let answer = node.0.seat(Seating::Adopt(Arc::new(Roster { epoch, given, ..(*was).clone() })));
        node.1.committer.turn();
        wait_blocking(answer).expect("a place anew");
        assert!(!node.0.tail_was_cut());
        // Killed right after: the log itself says so.
        assert!(!start(&disk.after_power_loss()).0.tail_was_cut());
        drop(node);
        assert!(!start(&disk).0.tail_was_cut());
    }
}

#[test]
fn a_node_alone_whose_log_was_cut_does_not_start() {
    let disk = CrashDisk::new(1);
    let node = start(&disk);
    for n in 0..5 {
        bucket(&node, &format!("bucket-{n}")).expect("a healthy disk");
    }
    drop(node);
    rot(&disk, 2);
    for _ in 0..2 {
        let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
        let options = Options { log_bytes: 96 * 1024, reserve_bytes: 0, first_bucket: false, ..Options::default() };
        let opened = open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options);
        assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "now and later");
    }
}
