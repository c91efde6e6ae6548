//! The fence of a bucket where votes are decided: by what is decided of the bucket, in the order in which it comes.

use crate::base::{
    Ballot, BlobRef, BodyAt, BodyId, BucketId, BucketName, BucketRecord, Epoch, Incarnation, Lineage, NodeName,
    ObjectHead, ObjectKey, ObjectRecord, Part, Parts, Record, RegisterKey, Secret, Stamp, State, WriteId,
};
use crate::disk::{CrashDisk, Space};
use crate::register::{Answer, Attempt, Known, Message, Refusal, Request, Roster, Seat, Traced, Under};
use crate::seal::digest::digest_of;
use crate::seal::keyring::Keyring;
use crate::store::voting::{Seating, Vote};
use crate::store::{Clockwork, Options, Store, open, wait_blocking};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

type Asked = Request<Arc<Record>>;
type Told = Answer<Arc<Record>>;

const LIFE: BucketId = BucketId(7);

struct Node(Store, Clockwork);

/// A node of two, without the bucket.
fn node() -> Node {
    node_on(CrashDisk::new(1), 0)
}

fn node_on(disk: CrashDisk, reserve_bytes: u64) -> Node {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options { log_bytes: 96 * 1024, reserve_bytes, first_bucket: false, ..Options::default() };
    let (store, work) = open(Arc::new(disk), Path::new("/data"), ring, None, options).expect("it opens");
    let seat = |n: u64, incarnation| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation };
    let roster = Roster::founding(1, vec![seat(1, store.incarnation()), seat(2, Incarnation(77))]);
    let answer = store.seat(Seating::Adopt(Arc::new(roster)));
    work.committer.turn();
    wait_blocking(answer).expect("a seat");
    Node(store, work)
}

fn ballot(n: u64) -> Ballot {
    Ballot { stamp: Stamp((1 << 50) + n), node: Incarnation(77) }
}

fn state(at: Ballot, state: State) -> Traced<Arc<Record>> {
    let lineage = Lineage::NOTHING.then(WriteId::drawn(at.stamp.0.to_be_bytes()), Lineage::IDS_MAX);
    Traced { lineage, value: Some(Arc::new(Record { ballot: at, lineage, written_ms: 5, state })) }
}

fn bucket_key() -> RegisterKey {
    RegisterKey::bucket(&BucketName::parse("papers").expect("a name"))
}

fn bucket(id: BucketId, generation: u64, is_open: bool) -> State {
    State::Bucket(BucketRecord { generation, is_open, ..BucketRecord::made(id, 1) })
}

fn of_bucket(request: Asked) -> (RegisterKey, Asked) {
    (bucket_key(), request)
}

fn learned(at: u64, what: State) -> (RegisterKey, Asked) {
    of_bucket(Request::Learn(ballot(at), state(ballot(at), what)))
}

fn object(key: &str) -> RegisterKey {
    RegisterKey::object(LIFE, &ObjectKey::parse(key).expect("a key"))
}

/// Something present, or a tombstone. What is in it does not matter here.
fn stored(key: &str, at: u64, is_present: bool, under: Under) -> (RegisterKey, Asked) {
    let what = if is_present { bucket(BucketId(9), 1, true) } else { State::Deleted };
    (object(key), Request::Store(ballot(at), state(ballot(at), what), under))
}

const NEW: Under = Under { generation: 4, is_new: true };
const AGAIN: Under = Under { generation: 0, is_new: false };

impl Node {
    /// Votes of one batch, and the answer to the last.
    fn ask(&self, votes: impl IntoIterator<Item = (RegisterKey, Asked)>) -> Told {
        let vote = |(key, request)| Vote { key, message: Message { epoch: Epoch(1), attempt: Attempt(1), request } };
        let (marks, votes): (Vec<_>, Vec<_>) = votes.into_iter().map(vote).partition(Vote::is_mark);
        self.0.mark(marks);
        let answer = self.0.vote(votes);
        self.1.committer.turn();
        let replies = answer.blocking_recv().expect("an answer").expect("a healthy disk");
        replies.into_iter().next_back().flatten().expect("it votes").answer
    }
}

fn is_stored(told: &Told) -> bool {
    matches!(told, Answer::Stored(_))
}

fn refused(known: Known) -> Told {
    Answer::Refused(Refusal::Bucket(known))
}

#[test]
fn what_is_present_is_stored_in_a_bucket_that_is_open_and_nowhere_else() {
    let node = node();
    assert_eq!(node.ask([stored("k", 10, true, NEW)]), refused(Known::NOTHING));
    assert!(is_stored(&node.ask([stored("gone", 10, false, NEW)])), "tombstones pass");
    // Whoever is behind is told in front of it, in the same batch.
    assert!(is_stored(&node.ask([learned(11, bucket(LIFE, 4, true)), stored("k", 12, true, NEW)])));
    assert!(is_stored(&node.ask([stored("again", 12, true, AGAIN)])));
    // Another generation: what is new is refused under the older one.
    let known = |at, chosen| Known { ballot: ballot(at), chosen };
    assert_eq!(node.ask([learned(13, bucket(LIFE, 5, true)), stored("l", 14, true, NEW)]), refused(known(13, true)));
    assert!(is_stored(&node.ask([stored("l", 14, true, AGAIN)])));
    // Closing, and in the same batch: nothing that is present.
    let closing = || Request::Store(ballot(15), state(ballot(15), bucket(LIFE, 6, false)), Under::default());
    let told = node.ask([of_bucket(closing()), stored("m", 16, true, AGAIN)]);
    assert_eq!(told, refused(known(15, false)));
    assert!(node.0.holds_closed(LIFE, 6) && !node.0.holds_closed(LIFE, 5) && !node.0.holds_closed(BucketId(8), 6));
    assert!(is_stored(&node.ask([stored("gone", 17, false, NEW)])), "tombstones pass");
    // What came before is answered as it was.
    assert!(is_stored(&node.ask([stored("l", 14, true, AGAIN)])));
    // Another life of that name is no home of what lies under this one.
    let told = node.ask([learned(18, bucket(BucketId(8), 1, true)), stored("n", 19, true, NEW)]);
    assert_eq!(told, refused(Known::NOTHING));
    let told = node.ask([learned(20, State::Deleted), stored("n", 21, true, NEW)]);
    assert_eq!(told, refused(Known::NOTHING));
}

#[test]
fn an_opening_counts_with_the_mark_that_waits_for_it() {
    let node = node();
    let opening = || Request::Store(ballot(10), state(ballot(10), bucket(LIFE, 1, true)), Under::default());
    assert!(is_stored(&node.ask([of_bucket(opening())])));
    let under = Under { generation: 1, is_new: true };
    let tentative = Known { ballot: ballot(10), chosen: false };
    assert_eq!(node.ask([stored("k", 11, true, under)]), refused(tentative));
    // It travels in front of what is stored, and waits for a commit.
    assert!(is_stored(&node.ask([of_bucket(Request::Mark(ballot(10))), stored("k", 11, true, under)])));
}

/// A reader that finds what a full majority refused has it stored again, and would have no answer without.
#[test]
fn what_is_stored_again_is_let_into_half_of_the_reserve() {
    const RESERVE: u64 = 16 << 20;
    let disk = CrashDisk::new(1);
    let left = |node: Option<&Node>, free: u64| {
        disk.set_space(Space { free, total: 1 << 40, files_free: 1 << 20 });
        if let Some(node) = node {
            node.0.core().refresh_space().expect("a disk");
        }
    };
    left(None, 4 * RESERVE);
    let node = node_on(disk.clone(), RESERVE);
    let open = learned(11, bucket(LIFE, 4, true));
    assert!(is_stored(&node.ask([open, stored("before", 12, true, NEW)])));
    left(Some(&node), RESERVE / 4 * 3);
    assert_eq!(node.ask([stored("k", 13, true, NEW)]), Answer::Refused(Refusal::NoRoom));
    assert!(is_stored(&node.ask([stored("k", 13, true, AGAIN)])));
    assert!(is_stored(&node.ask([stored("gone", 14, false, NEW)])), "tombstones pass");
    left(Some(&node), RESERVE / 4);
    assert_eq!(node.ask([stored("l", 15, true, AGAIN)]), Answer::Refused(Refusal::NoRoom));
}

/// A small body comes with its record to whoever is to keep it, and with no answer: who reads it elsewhere has none.
#[test]
fn a_small_body_comes_with_its_record_or_is_here() {
    let node = node();
    let open = learned(11, bucket(LIFE, 4, true));
    let small = node.0.seal_small(ObjectHead::default(), &[Bytes::from_static(b"small")]).expect("it is sealed");
    let store = |at, with: bool| {
        let mut small = small.clone();
        if !with {
            small.set_in_hand(None).expect("it may go");
        }
        (object("k"), Request::Store(ballot(at), state(ballot(at), State::Object(small)), AGAIN))
    };
    assert_eq!(node.ask([open, store(12, false)]), Answer::Refused(Refusal::NoBlob));
    assert!(is_stored(&node.ask([store(13, true)])));
    for at in [14, 15] {
        assert!(is_stored(&node.ask([store(at, false)])), "it is here");
        assert!(node.0.open_outgoing(small.body).is_ok());
        node.0.checkpoint().expect("a healthy disk");
    }
}

/// One body that is missing is as good as all of them.
#[test]
fn an_object_in_parts_is_stored_where_all_of_its_bodies_are() {
    let node = node();
    let open = learned(11, bucket(LIFE, 4, true));
    let small = node.0.seal_small(ObjectHead::default(), &[Bytes::from_static(b"small")]).expect("it is sealed");
    let bodies: Vec<_> = [1u8, 2, 3]
        .map(|n| {
            let sealed = Bytes::from(vec![n; 200]);
            (BlobRef { body: BodyId([n; 16]), sealed_len: 200, digest: digest_of(&sealed) }, sealed)
        })
        .into();
    let part = |(number, (blob, _)): (u16, &(BlobRef, Bytes))| Part {
        number,
        offset: 0,
        len: 88,
        blob: *blob,
        checksum: None,
    };
    let parts = Parts::new(None, (1..).zip(&bodies).map(part)).expect("a list");
    let whole = ObjectRecord {
        len: parts.len(),
        sealed_len: parts.sealed_len(),
        digest: digest_of(parts.as_bytes()),
        at: BodyAt::Parts(parts),
        ..*small
    };
    let store = |at| {
        let object = State::Object(Box::new(whole.clone()));
        (object_key(), Request::Store(ballot(at), state(ballot(at), object), AGAIN))
    };
    assert_eq!(node.ask([open, store(12)]), Answer::Refused(Refusal::NoBlob));
    for (at, body) in (13..).zip(bodies) {
        assert_eq!(node.ask([store(at)]), Answer::Refused(Refusal::NoBlob), "{at}");
        node.0.take_bodies(vec![body]).remove(0).expect("what was announced").wait().expect("a healthy disk");
    }
    assert!(is_stored(&node.ask([store(20)])));
    node.0.checkpoint().expect("a healthy disk");
    assert!(is_stored(&node.ask([store(21)])), "they are here");
    assert!(node.0.open_outgoing(BodyId([3; 16])).is_ok());
}

fn object_key() -> RegisterKey {
    object("k")
}
