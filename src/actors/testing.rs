//! Stand-ins for tests of replication: identities, changes, and a store in memory for small bodies.

pub mod peer;

use crate::actors::messages::{
    Ailment, AppendIncoming, BeginIncoming, Bury, CastHere, Change, ChangesAfter, ChangesIn, CompareOffers, Diagnose,
    DiscardBlob, FetchRecords, FinishIncoming, HeldAccess, HoldsClosed, Incoming, LearnRecords, LoadCursor,
    OpenOutgoing, Outgoing, ReadAccess, ReadBodies, ReadOutgoing, ReadSealed, ReadSums, RegisterSlot, Reply, Restore,
    SaveCursor, ScanSlots, Seat, ShowSlots, TakeBodies, Want,
};
use crate::actors::peer::key_watch::KeyWatch;
use crate::actors::peer::list_watch::ListWatch;
use crate::actors::peer::node_view::{Ballots, Identity, NodeView, PeerAudit};
use crate::base::{
    Ballot, BodyAt, BodyId, BucketId, ClusterId, Epoch, Etag, Incarnation, KekId, Lineage, NodeName, ObjectHead,
    ObjectKey, ObjectRecord, Page, Record, RegisterKey, Secret, Stamp, State, Sum, Wrap,
};
use crate::register::{Heard, Holds, Remembered, Standing, Start};
use crate::seal::digest::digest_of;
use crate::seal::keyring::Keyring;
use crate::store::Answer;
use crate::store::StoreError;
use crate::store::entry::NodeRecord;
use crate::store::voting::Voting;
use crate::wire::{AuditNews, Health, Refusal};
use actix::{Actor, Context, Handler};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

pub fn ring(seed: u8) -> Keyring {
    Keyring::new(vec![(1, Secret::new([seed; 32]))]).unwrap()
}

pub fn identity(name: &str, incarnation: u64) -> Identity {
    Identity {
        name: NodeName::parse(name).unwrap(),
        cluster: ClusterId([5; 16]),
        incarnation: Incarnation(incarnation),
    }
}

pub fn node_view(me: Identity) -> NodeView {
    NodeView {
        me: Arc::new(me),
        version: "0.1.0".into(),
        head: watch::channel(0).1,
        ballots: Arc::new(NoBallots::default()),
        lists: Arc::new(ListWatch::new([], Duration::ZERO)),
        keys: Arc::new(KeyWatch::new(Arc::new(ring(7)), [], Duration::ZERO)),
        reach: Arc::default(),
        free: Arc::new(|| 1 << 30),
        root: Arc::new(|| None),
        health: Arc::new(Health::default),
        audit: Arc::new(NoAudit),
    }
}

/// A node without an audit log.
struct NoAudit;

impl PeerAudit for NoAudit {
    fn news(&self, _: &NodeName) -> AuditNews {
        AuditNews::default()
    }
    fn heard(&self, _: &NodeName, _: Incarnation, _: Start, _: &AuditNews) {}
    fn turned_away(&self, _: IpAddr, _: Refusal) {}
}

/// The votes of a node that has none, and what it knows of where things lie.
pub struct NoBallots(pub Arc<Voting>);

impl Default for NoBallots {
    fn default() -> Self {
        NoBallots(Arc::new(Voting::of(NodeRecord::NEW)))
    }
}

impl Ballots for NoBallots {
    fn voting(&self) -> Arc<Voting> {
        Arc::clone(&self.0)
    }
    fn fresh(&self) -> Ballot {
        Ballot::ZERO
    }
    fn observe(&self, _: Stamp) {}
    fn standing(&self) -> Standing {
        Standing::default()
    }
    fn remembered(&self) -> Remembered {
        Remembered::new()
    }
    fn hear(&self, _: Incarnation, _: Epoch, _: Standing, _: &[(Incarnation, Standing)]) -> Heard {
        Heard::Known
    }
    fn remember(&self) -> Answer {
        tokio::sync::oneshot::channel().1
    }
    fn is_met(&self, _: Incarnation, _: Start) -> bool {
        true
    }
}

pub fn key(n: u64) -> RegisterKey {
    let key = ObjectKey::parse(&format!("key-{n:06}")).unwrap();
    RegisterKey::object(BucketId(7), &key)
}

pub fn change(seq: u64) -> Change {
    let ballot = Ballot { stamp: Stamp(seq), node: Incarnation(1) };
    Change { seq, key: key(seq), ballot, blob: None, in_parts: false, learned_from: None }
}

pub fn record(stamp: u64) -> Arc<Record> {
    let body = Bytes::from(vec![7; 100]);
    Arc::new(Record {
        ballot: Ballot { stamp: Stamp(stamp), node: Incarnation(1) },
        lineage: Lineage::NOTHING,
        written_ms: 1,
        state: State::Object(Box::new(ObjectRecord {
            number: 1,
            len: 50,
            etag: Etag::Digest,
            checksum: None,
            head: ObjectHead { content_type: "text/plain".into(), ..ObjectHead::default() },
            body: BodyId([1; 16]),
            sealed_len: 100,
            digest: digest_of(&body),
            wrap: Wrap { kek: KekId([3; 16]), nonce: [4; 12], sealed: [5; 48] },
            at: BodyAt::Small(body.into()),
            uploads: crate::base::Uploads::NONE,
        })),
    })
}

/// A store in memory that outlives its actors, as a disk does.
pub struct Shelf {
    me: Incarnation,
    inner: Mutex<Inner>,
    head: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<RegisterKey, (u64, Arc<Record>, Option<Incarnation>)>,
    seq: u64,
    cursors: BTreeMap<Incarnation, u64>,
    saves: u64,
    refuse: Option<RegisterKey>,
}

impl Shelf {
    pub fn new(incarnation: u64) -> Arc<Self> {
        Arc::new(Shelf { me: Incarnation(incarnation), inner: Mutex::default(), head: watch::channel(0).0 })
    }

    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// A write of a client on this node.
    pub fn put(&self, n: u64, stamp: u64) {
        let mut record = (*record(stamp)).clone();
        record.ballot.node = self.me;
        self.keep(key(n), Arc::new(record), None);
    }

    /// A delete of a client on this node.
    pub fn delete(&self, n: u64, stamp: u64) {
        let ballot = Ballot { stamp: Stamp(stamp), node: self.me };
        self.keep(
            key(n),
            Arc::new(Record { ballot, lineage: Lineage::NOTHING, written_ms: 1, state: State::Deleted }),
            None,
        );
    }

    /// What was learned, or written here.
    pub fn keep(&self, key: RegisterKey, record: Arc<Record>, from: Option<Incarnation>) {
        let mut inner = self.inner.lock().unwrap();
        if inner.records.get(&key).is_some_and(|(_, held, _)| held.ballot >= record.ballot) {
            return;
        }
        inner.seq += 1;
        let seq = inner.seq;
        inner.records.insert(key, (seq, record, from));
        self.head.send_replace(seq);
    }

    pub fn all(&self) -> BTreeMap<RegisterKey, Arc<Record>> {
        self.inner
            .lock()
            .unwrap()
            .records
            .iter()
            .map(|(key, (_, record, _))| (key.clone(), Arc::clone(record)))
            .collect()
    }

    pub fn cursor(&self, peer: u64) -> u64 {
        self.inner.lock().unwrap().cursors.get(&Incarnation(peer)).copied().unwrap_or(0)
    }

    pub fn saves(&self) -> u64 {
        self.inner.lock().unwrap().saves
    }

    /// From now on this key is not taken from peers.
    pub fn refuse(&self, n: Option<u64>) {
        self.inner.lock().unwrap().refuse = n.map(key);
    }
}

/// Answers for a `Shelf` as a StoreActor does, without blobs.
pub struct ShelfActor(pub Arc<Shelf>);

impl Actor for ShelfActor {
    type Context = Context<Self>;
}

macro_rules! handle {
    ($message:ident, $result:ty, |$shelf:ident, $msg:ident| $body:expr) => {
        impl Handler<$message> for ShelfActor {
            type Result = Result<$result, StoreError>;
            fn handle(&mut self, $msg: $message, _: &mut Context<Self>) -> Self::Result {
                let $shelf = &self.0;
                $body
            }
        }
    };
}

handle!(ChangesAfter, Vec<Change>, |shelf, msg| {
    let inner = shelf.inner.lock().unwrap();
    let mut changes: Vec<Change> = inner
        .records
        .iter()
        .filter(|(_, (seq, _, _))| *seq > msg.after)
        .map(|(key, (seq, record, from))| Change {
            seq: *seq,
            key: key.clone(),
            ballot: record.ballot,
            blob: None,
            in_parts: false,
            learned_from: *from,
        })
        .collect();
    changes.sort_by_key(|change| change.seq);
    changes.truncate(msg.limit);
    Ok(changes)
});
handle!(FetchRecords, Vec<(RegisterKey, Arc<Record>)>, |shelf, msg| {
    let inner = shelf.inner.lock().unwrap();
    let mut room = msg.bytes_max;
    let mut found = Vec::new();
    for key in msg.keys {
        let Some((_, record, _)) = inner.records.get(&key) else { continue };
        let bytes = record.encode().len();
        if bytes > room && !found.is_empty() {
            break;
        }
        room = room.saturating_sub(bytes);
        found.push((key, Arc::clone(record)));
    }
    Ok(found)
});
handle!(CompareOffers, Vec<Want>, |shelf, msg| {
    let inner = shelf.inner.lock().unwrap();
    let want = |offer: &crate::actors::messages::Offer| match inner.records.get(&offer.key) {
        Some((_, held, _)) if held.ballot >= offer.ballot => Want::Nothing,
        _ => Want::Record,
    };
    Ok(msg.offers.iter().map(want).collect())
});
handle!(LearnRecords, (), |shelf, msg| {
    let refused = shelf.inner.lock().unwrap().refuse.clone();
    if msg.records.iter().any(|(key, _)| Some(key) == refused.as_ref()) {
        return Err(StoreError::Mismatch("refused in a test"));
    }
    msg.records.into_iter().for_each(|(key, record)| shelf.keep(key, Arc::new(record), Some(msg.from)));
    Ok(())
});
handle!(LoadCursor, u64, |shelf, msg| Ok(shelf.cursor(msg.peer.0)));
handle!(SaveCursor, (), |shelf, msg| {
    let mut inner = shelf.inner.lock().unwrap();
    inner.saves += 1;
    let cursor = inner.cursors.entry(msg.peer).or_default();
    *cursor = msg.seq.max(*cursor);
    Ok(())
});
handle!(BeginIncoming, Incoming, |_shelf, _msg| Err(StoreError::Mismatch("no blobs here")));
handle!(AppendIncoming, Incoming, |_shelf, msg| Ok(msg.incoming));
handle!(FinishIncoming, (), |_shelf, _msg| Ok(()));
handle!(DiscardBlob, (), |_shelf, _msg| Ok(()));
handle!(OpenOutgoing, Outgoing, |_shelf, _msg| Err(StoreError::NoSuchKey));
handle!(ReadOutgoing, (Outgoing, Bytes), |_shelf, msg| Ok((msg.outgoing, Bytes::new())));
handle!(TakeBodies, Vec<Result<(), StoreError>>, |_shelf, msg| {
    Ok(msg.bodies.iter().map(|_| Err(StoreError::Mismatch("no blobs here"))).collect())
});
handle!(ReadBodies, Vec<Result<Bytes, StoreError>>, |_shelf, msg| {
    Ok(msg.bodies.iter().map(|_| Err(StoreError::NoSuchKey)).collect())
});
handle!(ReadSealed, Bytes, |_shelf, _msg| Err(StoreError::NoSuchKey));
handle!(Diagnose, Option<Ailment>, |_shelf, _msg| Ok(None));
handle!(Restore, (), |_shelf, _msg| Err(StoreError::Mismatch("nothing is damaged here")));
handle!(ReadSums, Vec<Sum>, |_shelf, _msg| Ok(Vec::new()));
handle!(ChangesIn, Page<Change>, |_shelf, _msg| Ok(Page::whole(Vec::new())));
handle!(CastHere, Vec<Option<Reply>>, |_shelf, msg| Ok(msg.votes.iter().map(|_| None).collect()));
handle!(Bury, (), |_shelf, _msg| Err(StoreError::OtherList));
handle!(ScanSlots, Page<(RegisterKey, RegisterSlot)>, |_shelf, _msg| Ok(Page::whole(Vec::new())));
handle!(ShowSlots, Page<(RegisterKey, RegisterSlot)>, |_shelf, _msg| Ok(Page::whole(Vec::new())));
handle!(HoldsClosed, bool, |_shelf, _msg| Ok(false));
handle!(ReadAccess, HeldAccess, |_shelf, _msg| {
    let holds = Holds { sum: Sum::default(), settled: true };
    Ok(HeldAccess { keys: (holds, Arc::default()), public: (holds, Arc::default()) })
});
handle!(Seat, (), |_shelf, _msg| Err(StoreError::Mismatch("nobody votes here")));
