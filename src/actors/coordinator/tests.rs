//! The coordinator over real stores, with lanes that a test carries. Here is what the tests stand on: nodes, lanes and
//! the coordinator; what it asks of whom, and what clients are told, is in `decisions`, `deletions` and `copies`.

use super::actor::CoordinatorActor;
use super::*;
use crate::actors::blocks;
use crate::actors::peer::node_view::NodeView;
use crate::actors::peer::patience::AWAY_AFTER;
use crate::actors::peer::peer_request::Cast;
use crate::actors::peer::reach::Reach;
use crate::actors::peer::store::StoreRecipients;
use crate::actors::peer::transfers::Carried;
use crate::actors::store_actor::threads::Threads;
use crate::actors::store_actor::{StoreActor, abort};
use crate::actors::testing::peer::{Asked, passed_on, plan, soon};
use crate::actors::testing::{identity, node_view, ring};
use crate::base::{
    BodyId, BucketId, BucketName, BucketRecord, BucketUsage, Condition, ExpectedSums, Lineage, NodeName, ObjectHead,
    ObjectKey, ObjectName, Stamp, State, WantedSums, WriteId,
};
use crate::disk::RealDisk;
use crate::register::fence::Change;
use crate::register::{
    Answer as Answered, Heard, Refusal, Remembered, Seat as Seated, Standing, Start, Under, WriteOutcome,
};
use crate::store::buckets::register_by_name;
use crate::store::entry::NodeRecord;
use crate::store::{Answer, Options, Store, open, wait};
use crate::wire::{Show, Shown};
use actix::{Actor, Addr, Arbiter, Context, Handler, ResponseFuture};
use futures::future::join_all;
use std::ops::Bound;
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

/// Longer than a test may take: what ends earlier does not end by its deadline.
const LONG: Duration = Duration::from_secs(3600);

/// A node's store, the actor that stands beside its coordinator, and their thread: it is not the test's, since they end
/// the process when one of them ends in a panic, be it somebody else's.
struct Node {
    dir: TempDir,
    store: Arc<Store>,
    actor: Addr<StoreActor>,
    thread: Arbiter,
}

impl Node {
    /// One that has its first bucket, or gets it with its member list.
    fn new(first_bucket: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let sizes = Options { inline_max: 1_000, log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
        // Each body is a file, which is looked for.
        let options = Options { first_bucket, segment_max: 0, ..sizes };
        let opened = open(Arc::new(RealDisk), dir.path(), Arc::new(ring(7)), None, options).expect("it opens");
        let store = opened.0.start(opened.1, abort).expect("it starts");
        let (of_actor, threads, thread) =
            (Arc::clone(&store), Threads::start(1, abort).expect("threads"), Arbiter::new());
        let actor = StoreActor::start_in_arbiter(&thread.handle(), move |_| StoreActor::new(of_actor, threads));
        Node { dir, store, actor, thread }
    }

    /// Three with a member list of all of them: n1, n2 and n3.
    async fn three() -> [Node; 3] {
        let nodes = [(); 3].map(|()| Node::new(false));
        let seats = (1..).zip(&nodes).map(|(n, node)| node.seat(n));
        let roster = Arc::new(Roster::founding(1, seats.collect()));
        for node in &nodes {
            node.adopts(&roster).await;
        }
        nodes
    }

    fn seat(&self, n: u64) -> Seated {
        Seated { name: name(n), incarnation: self.store.incarnation() }
    }

    /// A member list of this node alone, as n1.
    fn of_one(&self) -> Arc<Roster> {
        Arc::new(Roster::founding(1, vec![self.seat(1)]))
    }

    async fn adopts(&self, list: &Arc<Roster>) {
        wait(self.store.seat(Seating::Adopt(Arc::clone(list)))).await.expect("it is seated");
    }

    /// What it shows of a range, as a peer is answered.
    async fn shows(&self, show: Show) -> Shown {
        if let Some(closed) = show.closed
            && !self.actor.send(HoldsClosed(closed)).await.expect("it is there").expect("it looks")
        {
            return Shown::Open;
        }
        let in_items = show.folds.delimiter().is_some() || show.closed.is_some();
        let from = if show.inclusive { Bound::Included(show.from) } else { Bound::Excluded(show.from) };
        let asked = ShowSlots { folds: show.folds, from, to: show.to, limit: 100 };
        let page = self.actor.send(asked).await.expect("it is there").expect("it shows");
        let items = page.map(|(key, slot)| Some(blocks::item(key, &slot)));
        if in_items { Shown::Items(items) } else { Shown::Blocks(blocks::of(&items)) }
    }

    /// It learns of some registers from another member.
    async fn learns(&self, from: Incarnation, records: &[(RegisterKey, Record)]) {
        let (records, epoch) = (records.to_vec(), self.store.voting().list.epoch);
        let learn = LearnRecords { records, from, epoch };
        self.actor.send(learn).await.expect("it is there").expect("it is learned");
    }

    /// It is asked to store a state under a bucket's first generation: what it answers.
    async fn stores(&self, key: &RegisterKey, ballot: Ballot, state: Traced<Value>) -> Answered<Value> {
        let under = Under { generation: 1, is_new: true };
        let (epoch, request) = (self.store.voting().list.epoch, Request::Store(ballot, state, under));
        let vote = Vote { key: key.clone(), message: Message { epoch, attempt: Attempt(5), request } };
        let replies = self.actor.send(CastHere { votes: vec![vote] }).await.expect("it is there").expect("it votes");
        replies.into_iter().next().flatten().expect("an answer").answer
    }

    /// Votes as this node's replica, and answers the cast.
    async fn votes(&self, cast: Cast) {
        let vote = Vote { key: cast.vote.key, message: cast.vote.message };
        let replies = self.actor.send(CastHere { votes: vec![vote] }).await.expect("it is there").expect("it votes");
        if let (Some(reply), Some(answer)) = (cast.reply, replies.into_iter().next().flatten()) {
            // Who has a majority waits for nobody else.
            let _ = reply.send(answer);
        }
    }
}

fn name(n: u64) -> NodeName {
    NodeName::parse(&format!("n{n}")).expect("a name")
}

fn object(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

/// Passes everything on to a StoreActor, and notes what it was.
struct Noting(Addr<StoreActor>, Arc<Mutex<Vec<&'static str>>>);

impl Actor for Noting {
    type Context = Context<Self>;
}

impl<M> Handler<M> for Noting
where
    M: ActorMessage + Send + 'static,
    M::Result: Send,
    StoreActor: Handler<M>,
{
    type Result = ResponseFuture<M::Result>;

    fn handle(&mut self, message: M, _: &mut Context<Self>) -> Self::Result {
        let kind = std::any::type_name::<M>().rsplit("::").next().expect("a name");
        self.1.lock().expect("no panic").push(kind);
        let sent = self.0.send(message);
        Box::pin(async move { sent.await.expect("the store is there") })
    }
}

/// A node's votes as a coordinator sees them who is a moment late.
struct Late {
    store: Arc<Store>,
    /// What its next looks see once more.
    seen: Mutex<Vec<Arc<Voting>>>,
}

impl Ballots for Late {
    fn voting(&self) -> Arc<Voting> {
        self.seen.lock().expect("no panic").pop().unwrap_or_else(|| self.store.voting())
    }
    fn fresh(&self) -> Ballot {
        self.store.fresh_ballot()
    }
    fn observe(&self, stamp: Stamp) {
        self.store.observe(stamp);
    }
    fn standing(&self) -> Standing {
        self.store.standing()
    }
    fn remembered(&self) -> Remembered {
        self.store.remembered()
    }
    fn hear(&self, from: Incarnation, epoch: Epoch, now: Standing, told: &[(Incarnation, Standing)]) -> Heard {
        self.store.hear(from, epoch, now, told)
    }
    fn remember(&self) -> Answer {
        self.store.remember()
    }
    fn is_met(&self, node: Incarnation, start: Start) -> bool {
        self.store.is_met(node, start)
    }
    fn usage(&self, bucket: BucketId) -> BucketUsage {
        self.store.usage(bucket)
    }
}

/// A lane to a peer: what it is to do comes to the test.
struct LaneTo {
    requests: UnboundedReceiver<Asked<PeerRequest>>,
    _lane: Recipient<PeerRequest>,
}

impl LaneTo {
    async fn next(&mut self) -> PeerRequest {
        soon("a request", self.requests.recv()).await.expect("the lane is there").what
    }

    async fn cast(&mut self) -> Cast {
        match self.next().await {
            PeerRequest::Cast(cast) => *cast,
            other => panic!("no cast: {other:?}"),
        }
    }

    /// Does all that is asked of votes, until nothing is asked any more.
    async fn carries(self, node: &Node) {
        self.carries_but(node, |_| false).await;
    }

    /// The same, but for casts that come to nothing.
    async fn carries_but(mut self, node: &Node, comes_to_nothing: impl Fn(&Cast) -> bool) {
        while let Some(asked) = self.requests.recv().await {
            match asked.what {
                PeerRequest::Cast(cast) if comes_to_nothing(&cast) => {}
                PeerRequest::Cast(cast) => node.votes(*cast).await,
                PeerRequest::Show(_, show, reply) => drop(reply.send(node.shows(show).await)),
                other => panic!("no cast: {other:?}"),
            }
        }
    }
}

/// A coordinator of a node.
struct Rig {
    actor: Addr<CoordinatorActor>,
    /// The same on the test's own thread.
    direct: Coordinator,
    late: Arc<Late>,
    asked: Arc<Mutex<Vec<&'static str>>>,
    reach: Arc<Reach>,
}

/// The coordinator of a node that has so many peers, and its lanes to them.
fn coordinator(node: &Node, peers: u64, votes: bool, decide: Duration) -> (Rig, Vec<LaneTo>) {
    coordinator_with(node, peers, votes, decide, passed_on().1())
}

/// The same, with somebody who gets it bodies from peers.
fn coordinator_with(
    node: &Node,
    peers: u64,
    votes: bool,
    decide: Duration,
    fetch: Recipient<FetchBody>,
) -> (Rig, Vec<LaneTo>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noting = Noting(node.actor.clone(), Arc::clone(&asked));
    let beside = Noting::start_in_arbiter(&node.thread.handle(), |_| noting);
    let me = node.store.incarnation();
    let reach = Arc::new(Reach::new((2..2 + peers).map(name)));
    let node_view = NodeView { reach: Arc::clone(&reach), ..node_view(identity("n1", me.0)) };
    let late = Arc::new(Late { store: Arc::clone(&node.store), seen: Mutex::default() });
    let mut lanes = Vec::new();
    let peers = (2..2 + peers).map(|n| {
        let store = StoreRecipients::of(&node.actor);
        let plan = plan(name(n).as_str(), "http://127.0.0.1:9", node_view.clone(), store);
        let (requests, lane) = passed_on();
        let lane = lane();
        plan.lane.open(&lane);
        lanes.push(LaneTo { requests, _lane: lane });
        Arc::new(plan)
    });
    let common = Common {
        me,
        votes,
        ballots: Arc::clone(&late) as Arc<dyn Ballots>,
        peers: peers.collect(),
        patience: Patience::within(decide),
        fetch,
        arrivals: Arc::default(),
        streams: Budget::new(u64::MAX, 64 << 20),
        turns: Turns::default(),
        keys: Arc::clone(&node_view.keys),
        underway: Underway::default(),
        far: Arc::default(),
    };
    let direct = Coordinator::new(common.clone(), StoreBeside::of(&beside));
    let actor = CoordinatorActor::start_in_arbiter(&node.thread.handle(), move |_| {
        CoordinatorActor::new(Coordinator::new(common, StoreBeside::of(&beside)))
    });
    (Rig { actor, direct, late, asked, reach }, lanes)
}

impl Rig {
    /// The next looks at the node's votes see this.
    fn sees(&self, voting: impl IntoIterator<Item = Arc<Voting>>) {
        *self.late.seen.lock().expect("no panic") = voting.into_iter().collect();
    }

    fn has_looked(&self) -> bool {
        self.late.seen.lock().expect("no panic").is_empty()
    }

    fn begin(&self, at: ObjectName) -> impl Future<Output = Result<Upload, ObjectError>> + 'static {
        let head = ObjectHead::default();
        let begin = BeginUpload {
            at,
            condition: Condition::NONE,
            head,
            len_hint: None,
            sums: WantedSums::default(),
            permit: None,
            part: None,
        };
        let answer = self.actor.send(begin);
        async move { soon("an answer", answer).await.expect("the coordinator is there") }
    }

    fn put(&self, at: &ObjectName) -> impl Future<Output = Result<Written, ObjectError>> + 'static {
        let (head, body) = (ObjectHead::default(), vec!["a body".into()]);
        let (sums, expected) = (WantedSums::default(), ExpectedSums::default());
        let put = PutSmall { at: at.clone(), condition: Condition::NONE, head, body, sums, expected, permit: None };
        let answer = self.actor.send(put);
        async move { soon("an answer", answer).await.expect("the coordinator is there") }
    }

    fn open(&self, at: &ObjectName) -> impl Future<Output = Result<(ObjectInfo, Download), ObjectError>> + 'static {
        let open = OpenObject { at: at.clone(), consistency: Consistency::Majority, permit: None };
        let answer = self.actor.send(open);
        async move { soon("an answer", answer).await.expect("the coordinator is there") }
    }

    fn delete(&self, at: &ObjectName) -> impl Future<Output = Result<Written, ObjectError>> + 'static {
        let answer = self.actor.send(DeleteObject { at: at.clone(), condition: Condition::NONE });
        async move { soon("an answer", answer).await.expect("the coordinator is there") }
    }

    /// What the store beside it was asked since this was asked last.
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

/// A request while the peers vote.
async fn while_they_vote<T>(lanes: Vec<LaneTo>, nodes: &[Node], work: impl Future<Output = T>) -> T {
    let carrying = join_all(lanes.into_iter().zip(nodes).map(|(lane, node)| lane.carries(node)));
    tokio::select! {
        done = work => done,
        _ = carrying => panic!("the lanes ended first"),
    }
}

fn holds(node: &Node, at: &ObjectName) -> bool {
    node.store.lookup(&register_by_name(at)).expect("it is read").is_some_and(|held| held.record.is_present())
}

mod copies;
mod decisions;
mod deletions;
mod sums;
mod uploads;
