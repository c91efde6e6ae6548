//! A replica of the simulation: a real store on a disk that loses power. What it decides is decided by its committer.

use super::small_store;
use super::value::{Key, Val};
use super::world::EPOCH;
use boveda::base::{
    Ballot, BodyAt, BodyId, BucketId, BucketName, BucketRecord, Etag, Incarnation, KekId, NodeName, ObjectHead,
    ObjectKey, ObjectRecord, Record, RegisterKey, Stamp, State, Uploads, Wrap,
};
use boveda::disk::CrashDisk;
use boveda::register::{Answer, Bucket, Fence, Message, Reply, Request, Roster, Seat, Slot, Traced};
use boveda::store::voting::{Seating, Vote};
use boveda::store::{Clockwork, Options, Store};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

/// One replica with its disk.
pub struct Node {
    pub inc: Incarnation,
    disk: CrashDisk,
    open: Option<(Store, Clockwork)>,
}

fn open(disk: &CrashDisk) -> (Store, Clockwork) {
    small_store::open(disk, Options { now_ms: || 1 << 30, ..small_store::small() })
}

fn name() -> BucketName {
    BucketName::parse("papers").expect("a name")
}

fn register(key: Key) -> RegisterKey {
    match key {
        Key::Bucket => RegisterKey::bucket(&name()),
        Key::Object(id) => RegisterKey::object(BucketId(id.into()), &ObjectKey::parse("k").expect("a key")),
    }
}

/// A state of the simulation as the store has it.
fn recorded(ballot: Ballot, state: &Traced<Val>) -> Traced<Arc<Record>> {
    let lineage = state.lineage;
    let of = |state| Arc::new(Record { ballot, lineage, written_ms: 1, state });
    let value = state.value.map(|value| match value {
        Val::Gone => of(State::Deleted),
        Val::Bucket { id, bucket: Bucket { generation, is_open } } => {
            of(State::Bucket(BucketRecord { generation, is_open, ..BucketRecord::made(BucketId(id.into()), 1) }))
        }
        Val::Here(value) => of(State::Object(Box::new(ObjectRecord {
            number: 1,
            len: u64::from(value),
            etag: Etag::Digest,
            checksum: None,
            head: ObjectHead::default(),
            body: BodyId([value; 16]),
            sealed_len: 1,
            digest: [value; 32],
            wrap: Wrap { kek: KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] },
            at: BodyAt::Small(Bytes::from(vec![value]).into()),
            uploads: Uploads::NONE,
        }))),
    });
    Traced { lineage, value }
}

fn read_back(state: Traced<Arc<Record>>) -> Traced<Val> {
    let small = |number: u64| u8::try_from(number).expect("few of them");
    let value = state.value.map(|record| match &record.state {
        State::Bucket(of) => {
            let bucket = Bucket { generation: of.generation, is_open: of.is_open };
            Val::Bucket { id: small(of.id.0), bucket }
        }
        State::Object(object) => Val::Here(small(object.len)),
        State::Deleted | State::Nothing | State::Uploads(_) | State::Members(_) => Val::Gone,
        State::AccessKey(_) | State::Settings(_) => Val::Gone,
    });
    Traced { lineage: state.lineage, value }
}

fn slot_of(slot: Slot<Arc<Record>>) -> Slot<Val> {
    Slot { accepted: slot.accepted, chosen: slot.chosen, state: read_back(slot.state) }
}

fn asked(request: &Request<Val>) -> Request<Arc<Record>> {
    match request {
        Request::Query => Request::Query,
        Request::Prepare(ballot) => Request::Prepare(*ballot),
        Request::Store(ballot, state, under) => Request::Store(*ballot, recorded(*ballot, state), *under),
        Request::Learn(ballot, state) => Request::Learn(*ballot, recorded(*ballot, state)),
        Request::Mark(ballot) => Request::Mark(*ballot),
    }
}

fn answered(answer: Answer<Arc<Record>>) -> Answer<Val> {
    match answer {
        Answer::Held(slot, beat) => Answer::Held(slot_of(slot), beat),
        Answer::Promised(ballot, slot) => Answer::Promised(ballot, slot_of(slot)),
        Answer::Stored(ballot) => Answer::Stored(ballot),
        Answer::Learned => Answer::Learned,
        Answer::Refused(refusal) => Answer::Refused(refusal),
    }
}

impl Node {
    /// So many, with a member list of all of them. The order of their incarnations is that of their places.
    pub fn some(count: usize) -> Vec<Self> {
        let node = |at: usize| {
            let disk = CrashDisk::new(at as u64);
            let open = open(&disk);
            Node { inc: open.0.incarnation(), disk, open: Some(open) }
        };
        let mut nodes: Vec<_> = (0..count).map(node).collect();
        nodes.sort_by_key(|node| node.inc);
        let seat = |(n, node): (usize, &Node)| Seat {
            name: NodeName::parse(&format!("n{n}")).expect("a name"),
            incarnation: node.inc,
        };
        let roster = Arc::new(Roster::founding(1, nodes.iter().enumerate().map(seat).collect()));
        assert_eq!(roster.epoch, EPOCH);
        for node in &nodes {
            let (store, work) = node.parts();
            let mut answer = store.seat(Seating::Adopt(Arc::clone(&roster)));
            work.committer.turn();
            answer.try_recv().expect("an answer").expect("it is seated");
        }
        nodes
    }

    fn parts(&self) -> (&Store, &Clockwork) {
        let (store, work) = self.open.as_ref().expect("it is up");
        (store, work)
    }

    /// What it holds of a register.
    pub fn slot(&self, key: Key) -> Slot<Val> {
        let held = self.parts().0.lookup(&register(key)).expect("a healthy disk");
        held.map(|held| slot_of(held.slot())).unwrap_or_default()
    }

    /// All registers that hold something, or did.
    pub fn slots(&self) -> Vec<(Key, Slot<Val>)> {
        let store = self.parts().0;
        let page = store.scan_slots(Bound::Included(&RegisterKey::first()), &RegisterKey::end(), usize::MAX);
        let of = |(key, slot): (RegisterKey, Slot<Arc<Record>>)| {
            let key = match key.bucket_id() {
                Some(id) => Key::Object(u8::try_from(id.0).ok()?),
                None => Some(Key::Bucket).filter(|bucket| register(*bucket) == key)?,
            };
            Some((key, slot_of(slot)))
        };
        page.expect("a healthy disk").entries.into_iter().filter_map(of).collect()
    }

    /// Whether it holds the bucket as a deletion closed it. The fence is the store's own.
    pub fn holds_closed(&self, id: u8, generation: u64, _: Fence) -> bool {
        self.parts().0.holds_closed(BucketId(id.into()), generation)
    }

    /// A ballot above all that it has seen.
    pub fn fresh_ballot(&self) -> Ballot {
        self.parts().0.fresh_ballot()
    }

    /// A stamp came in.
    pub fn observe(&self, stamp: Stamp) {
        self.parts().0.observe(stamp);
    }

    /// The power goes, and it starts again.
    pub fn restart(&mut self) {
        // Before the store is dropped: on its way out it writes.
        let after = self.disk.after_power_loss();
        self.open = None;
        self.disk = after;
        self.open = Some(open(&self.disk));
    }

    /// Its answer to a message. The fence is the store's own.
    pub fn handle(&mut self, key: Key, message: &Message<Val>, _: Fence) -> Reply<Val> {
        let (store, work) = self.parts();
        let vote = Vote {
            key: register(key),
            message: Message { epoch: message.epoch, attempt: message.attempt, request: asked(&message.request) },
        };
        let nothing = Reply { from: self.inc, epoch: EPOCH, attempt: message.attempt, answer: Answer::Learned };
        if vote.is_mark() {
            // Nobody waits for it: it waits for a commit.
            store.mark(vec![vote]);
            return nothing;
        }
        let answer = store.vote(vec![vote]);
        work.committer.turn();
        let replies = answer.blocking_recv().expect("an answer").expect("a healthy disk");
        let reply = replies.into_iter().next().flatten().expect("it votes");
        Reply { from: reply.from, epoch: reply.epoch, attempt: reply.attempt, answer: answered(reply.answer) }
    }
}
