//! The coordinator over real stores, with lanes that a test carries: what it asks of whom, and what clients are told.

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
    BodyId, BucketId, BucketName, BucketRecord, Condition, Lineage, NodeName, ObjectHead, ObjectKey, ObjectName, Stamp,
    State, WriteId,
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
        fetch: passed_on().1(),
        arrivals: Arc::default(),
        streams: Budget::new(u64::MAX, 64 << 20),
        turns: Turns::default(),
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
        let begin = BeginUpload { at, condition: Condition::NONE, head, len_hint: None, permit: None };
        let answer = self.actor.send(begin);
        async move { soon("an answer", answer).await.expect("the coordinator is there") }
    }

    fn put(&self, at: &ObjectName) -> impl Future<Output = Result<Written, ObjectError>> + 'static {
        let (head, body) = (ObjectHead::default(), vec!["a body".into()]);
        let put = PutSmall { at: at.clone(), condition: Condition::NONE, head, body, permit: None };
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

#[actix_rt::test]
async fn a_node_alone_decides_with_one_message() {
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    let at = object("k");
    let written = rig.put(&at).await.expect("it is written");
    assert_eq!((written.existed, rig.asked()), (false, vec!["SealSmall"]));
    let again = rig.put(&at).await.expect("it is written");
    assert!(again.existed && again.ballot > written.ballot);
    rig.asked();
    let gone = rig.delete(&at).await.expect("it is deleted");
    assert_eq!((gone.existed, rig.asked()), (true, vec!["MutateHere"]));
    let bucket = BucketName::parse("another").expect("a name");
    let made = rig.actor.send(CreateBucket { bucket: bucket.clone() }).await.expect("it is there").expect("it is made");
    assert_eq!((made.existed, rig.asked()), (false, vec!["KnowsBucket", "MutateHere"]));
    let gone = rig.actor.send(DeleteBucket { bucket }).await.expect("it is there").expect("it is deleted");
    assert_eq!((gone.existed, rig.asked()), (true, vec!["MutateHere"]));
}

#[actix_rt::test]
async fn a_put_into_a_bucket_that_is_not_there_is_refused_alone_and_among_others() {
    let at = ObjectName { bucket: BucketName::parse("nowhere").expect("a name"), ..object("k") };
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    assert!(matches!(rig.put(&at).await, Err(ObjectError::Store(StoreError::NoSuchBucket))));
    assert_eq!(rig.asked(), ["SealSmall"]);
    let [here, there @ ..] = Node::three().await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let refused = while_they_vote(lanes, &there, rig.put(&at)).await;
    assert!(matches!(refused, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{refused:?}");
    assert!(!rig.asked().contains(&"SealSmall"), "before anything is sealed");
    assert!(!holds(&here, &at));
}

#[actix_rt::test]
async fn a_bucket_that_is_not_known_here_is_missing_only_where_nobody_else_may_know_it() {
    let at = ObjectName { bucket: BucketName::parse("papers").expect("a name"), ..object("k") };
    let missing =
        |begun: Result<Upload, ObjectError>| matches!(begun, Err(ObjectError::Store(StoreError::NoSuchBucket)));
    let node = Node::new(true);
    let (alone, _) = coordinator(&node, 0, false, LONG);
    assert!(missing(alone.begin(at.clone()).await));
    assert_eq!(alone.asked(), ["KnowsBucket"], "without a list what this node knows is all there is");
    let of_one = node.of_one();
    node.adopts(&of_one).await;
    let (one, _) = coordinator(&node, 0, true, LONG);
    assert!(missing(one.begin(at.clone()).await));
    assert!(one.asked().len() > 1, "with a list its register is read");

    // The list has grown, and the bucket was made through another node: it has yet to come here.
    let [here, there @ ..] = Node::three().await;
    let lives = there.each_ref().map(|node| node.store.incarnation());
    let ballot = Ballot { stamp: Stamp(7), node: lives[0] };
    let bucket = BucketRecord::made(BucketId(7), 1);
    let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 1, state: State::Bucket(bucket) };
    for (node, from) in there.iter().zip([lives[1], lives[0]]) {
        let records = vec![(RegisterKey::bucket(&at.bucket), record.clone())];
        let learn = LearnRecords { records, from, epoch: node.store.voting().list.epoch };
        node.actor.send(learn).await.expect("it is there").expect("it is learned");
    }
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let before = NodeRecord { roster: Some(here.of_one()), ..NodeRecord::NEW };
    let before = Arc::new(Voting::of(before));
    // So late that it takes itself for alone, and asks for the bucket.
    rig.sees([Arc::clone(&before), before]);
    let begun = while_they_vote(lanes, &there, rig.begin(at)).await;
    assert!(begun.is_ok() && rig.has_looked(), "the others know it: {:?}", begun.err());
}

#[actix_rt::test]
async fn a_list_that_grew_meanwhile_is_decided_by_vote() {
    let [here, there @ ..] = Node::three().await;
    let at = object("k");
    // The committer has the list of three already; the coordinator has looked a moment too early.
    let before = || Some(Arc::new(Voting::of(NodeRecord::NEW)));
    let (rig, lanes) = coordinator(&here, 2, false, LONG);
    rig.sees(before());
    let written = while_they_vote(lanes, &there, rig.put(&at)).await.expect("it is written");
    assert!(written.replicas >= 2, "{written:?}");
    let asked = rig.asked();
    assert_eq!(asked.first(), Some(&"SealSmall"), "it was to decide alone");
    assert!(asked.contains(&"CastHere") && asked.iter().filter(|kind| **kind == "SealSmall").count() == 1, "{asked:?}");
    assert!(there.iter().any(|node| holds(node, &at)), "no decision slips past the others");
    let (rig, lanes) = coordinator(&here, 2, false, LONG);
    rig.sees(before());
    let gone = while_they_vote(lanes, &there, rig.delete(&at)).await.expect("it is deleted");
    assert!(gone.existed && gone.replicas >= 2, "{gone:?}");
    let asked = rig.asked();
    assert!(asked.first() == Some(&"MutateHere") && asked.contains(&"CastHere"), "{asked:?}");
}

#[actix_rt::test]
async fn a_coordinator_that_looked_before_the_list_grew_asks_the_others_after_all() {
    let node = Node::new(true);
    let list = node.of_one();
    node.adopts(&list).await;
    let (rig, _) = coordinator(&node, 0, true, Duration::from_millis(300));
    let (a, b) = (object("a"), object("b"));
    let before = node.store.status().commits;
    rig.put(&a).await.expect("nobody else has a vote");
    assert_eq!(node.store.status().commits - before, 1, "one commit");
    let seen = node.store.voting();
    let grown = list.next(2, &[node.seat(1), Seated { name: name(2), incarnation: Incarnation(77) }]);
    node.adopts(&Arc::new(grown)).await;
    for late in [true, false] {
        let look = || rig.sees(late.then(|| Arc::clone(&seen)));
        look();
        assert!(matches!(rig.put(&b).await, Err(ObjectError::NoMajority(_))), "nobody else is there");
        assert!(rig.has_looked());
        look();
        assert!(matches!(rig.delete(&a).await, Err(ObjectError::NoMajority(_))));
        assert!(holds(&node, &a) && !holds(&node, &b));
    }
}

#[actix_rt::test]
async fn without_a_list_only_a_node_that_is_not_to_vote_decides_alone() {
    let (node, at) = (Node::new(true), object("a"));
    let (alone, _) = coordinator(&node, 0, false, LONG);
    assert!(!alone.put(&at).await.expect("it decides alone").existed);
    assert!(alone.delete(&at).await.expect("it decides alone").existed);
    let (voter, _) = coordinator(&node, 0, true, LONG);
    assert!(matches!(voter.put(&at).await, Err(ObjectError::NoMajority(_))), "it waits for its list");
    assert!(!holds(&node, &at));
}

#[actix_rt::test]
async fn two_writers_of_one_key_take_turns_and_another_key_does_not_wait() {
    let [here, there @ ..] = Node::three().await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    let (k, other) = (object("k"), object("other"));
    let [first, second, third] = [&k, &k, &other].map(|at| actix_rt::spawn(rig.put(at)));
    let mut casts = Vec::new();
    for lane in &mut lanes {
        // The third one's way here is as long as the second one's, which came before.
        casts.push([lane.cast().await, lane.cast().await]);
    }
    for casts in &casts {
        let keys = [&k, &other].map(register_by_name);
        assert_eq!(casts.each_ref().map(|cast| cast.vote.key.clone()), keys, "nothing of the second one");
    }
    assert!(lanes.iter_mut().all(|lane| lane.requests.try_recv().is_err()));
    for (casts, node) in casts.into_iter().zip(&there) {
        for cast in casts {
            node.votes(cast).await;
        }
    }
    let all = async { [first.await, second.await, third.await].map(|done| done.expect("it runs").expect("written")) };
    let [first, second, third] = while_they_vote(lanes, &there, all).await;
    assert_eq!([&first, &second, &third].map(|written| written.existed), [false, true, false]);
    assert!(second.ballot > first.ballot);
}

#[actix_rt::test]
async fn no_majority_that_is_known_is_told_at_once_and_one_that_is_not_when_time_is_up() {
    let [here, ..] = Node::three().await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    let before = std::time::Instant::now().checked_sub(2 * AWAY_AFTER).expect("the machine runs for longer");
    for n in [2, 3] {
        rig.reach.failed(&name(n), before);
    }
    let refused = {
        // Each is tried once more: what was true may be a moment old.
        let probes = async {
            for lane in &mut lanes {
                assert!(matches!(lane.next().await, PeerRequest::Probe(_)));
            }
        };
        futures::join!(rig.put(&object("k")), probes).0
    };
    assert!(matches!(refused, Err(ObjectError::NoMajority(why)) if why == majority::AWAY), "{refused:?}");
    assert_eq!(rig.asked(), Vec::<&str>::new(), "nothing was sealed, nothing was asked");
    let (rig, _lanes) = coordinator(&here, 2, true, Duration::from_millis(300));
    let refused = rig.put(&object("k")).await;
    assert!(matches!(refused, Err(ObjectError::NoMajority(why)) if why != majority::AWAY), "{refused:?}");
    assert!(!holds(&here, &object("k")));
}

/// The files below a directory.
fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).expect("it is readable").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[actix_rt::test]
async fn a_body_that_no_majority_takes_is_taken_back_everywhere() {
    let [here, ..] = Node::three().await;
    for (became, is_full) in [(Carried::Not, false), (Carried::NoRoom, true)] {
        let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
        let upload = rig.begin(object("k")).await.expect("it begins");
        let append = AppendUpload { upload, data: vec![vec![7; 5_000].into()] };
        let upload = rig.actor.send(append).await.expect("it is there").expect("it goes on");
        let finished = rig.actor.send(FinishUpload { upload });
        let carrying = async {
            let mut bodies: Vec<BodyId> = Vec::new();
            for lane in &mut lanes {
                let PeerRequest::Ship(_, head, _, done) = lane.next().await else { panic!("no body to carry") };
                assert_eq!(files(&here.dir.path().join("blobs")), 1, "it is whole and durable here");
                done.send(became).expect("somebody waits");
                bodies.push(head.body);
            }
            for lane in &mut lanes {
                let PeerRequest::Discard(_, body) = lane.next().await else { panic!("it is not taken back") };
                bodies.push(body);
            }
            bodies
        };
        let (finished, bodies) = futures::join!(soon("an answer", finished), carrying);
        let error = finished.expect("it is there").expect_err("nobody else took it");
        match is_full {
            true => assert!(matches!(error, ObjectError::Store(StoreError::Full)), "{error:?}"),
            false => assert!(matches!(error, ObjectError::NoMajority(_)), "{error:?}"),
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "one body, carried and taken back");
        assert_eq!(files(&here.dir.path().join("blobs")) + files(&here.dir.path().join("staged")), 0);
        assert!(!holds(&here, &object("k")));
    }
}

/// Three nodes that hold this of a bucket, each by a ballot that is higher than the one before.
async fn three_that_hold(lives: [&[BucketRecord]; 3]) -> [Node; 3] {
    let nodes = Node::three().await;
    let me = nodes.each_ref().map(|node| node.store.incarnation());
    for (at, held) in lives.into_iter().enumerate() {
        for bucket in held {
            let stamp = Stamp(100 * bucket.id.0 + bucket.generation);
            let ballot = Ballot { stamp, node: Incarnation(9) };
            let (lineage, state) =
                (Lineage::NOTHING.then(WriteId::drawn(stamp.0.to_be_bytes()), 8), State::Bucket(*bucket));
            let record = Record { ballot, lineage, written_ms: 1, state };
            nodes[at].learns(me[(at + 1) % 3], &[(RegisterKey::bucket(&papers()), record)]).await;
        }
    }
    nodes
}

fn papers() -> BucketName {
    BucketName::parse("papers").expect("a name")
}

fn paper(key: &str) -> ObjectName {
    ObjectName { bucket: papers(), ..object(key) }
}

fn life(id: u64, generation: u64, is_open: bool) -> BucketRecord {
    BucketRecord { generation, is_open, ..BucketRecord::made(BucketId(id), 1) }
}

/// Whether a node holds something of that key in a life of the bucket.
fn holds_in(node: &Node, id: u64, key: &str) -> bool {
    let key = RegisterKey::object(BucketId(id), &object(key).key);
    node.store.lookup(&key).expect("it is read").is_some_and(|held| held.record.is_present())
}

#[actix_rt::test]
async fn who_is_behind_with_a_bucket_is_told_right_in_front_of_what_it_stores() {
    let open = [life(7, 1, true)];
    let [here, there @ ..] = three_that_hold([&open, &[], &[]]).await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    let put = actix_rt::spawn(rig.put(&paper("k")));
    let (mut seen, lane, node) = (Vec::new(), &mut lanes[0], &there[0]);
    // One peer alone makes a majority with this node.
    while !holds_in(node, 7, "k") {
        let cast = lane.cast().await;
        seen.push((cast.vote.key.clone(), std::mem::discriminant(&cast.vote.message.request)));
        node.votes(cast).await;
    }
    assert!(put.await.expect("it runs").is_ok());
    let bucket = RegisterKey::bucket(&papers());
    let kinds: Vec<_> = seen.iter().map(|(key, _)| *key == bucket).collect();
    assert_eq!(kinds, [false, false, true, false], "prepare, store, the bucket, and store again");
}

#[actix_rt::test]
async fn who_missed_that_a_bucket_was_made_again_writes_into_its_present_life_and_finds_what_is_there() {
    let (old, now) = ([life(7, 1, true)], [life(7, 1, true), life(8, 1, true)]);
    let [here, there @ ..] = three_that_hold([&old, &now, &now]).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let work = async {
        let opened = rig.open(&paper("k")).await;
        assert!(matches!(opened, Err(ObjectError::Store(StoreError::NoSuchKey))), "{opened:?}");
        rig.put(&paper("k")).await.expect("it is written");
        assert!(rig.open(&paper("k")).await.is_ok());
        rig.delete(&paper("k")).await.expect("it is deleted")
    };
    let gone = while_they_vote(lanes, &there, work).await;
    assert!(gone.existed);
    assert!(there.iter().all(|node| !holds_in(node, 7, "k")), "nothing in the former life");
}

/// These nodes learn that the bucket was deleted.
async fn loses_papers<const N: usize>(nodes: [&Node; N]) {
    let (ballot, lineage) = (Ballot { stamp: Stamp(900), node: Incarnation(9) }, Lineage::NOTHING);
    let record = Record { ballot, lineage: lineage.then(WriteId([9; 8]), 8), written_ms: 1, state: State::Deleted };
    let lives = nodes.map(|node| node.store.incarnation());
    for (at, node) in nodes.into_iter().enumerate() {
        node.learns(lives[(at + 1) % N], &[(RegisterKey::bucket(&papers()), record.clone())]).await;
    }
}

#[actix_rt::test]
async fn all_that_a_bucket_leaves_behind_is_settled_by_one_look_at_the_others_at_most() {
    let open = [life(7, 1, true)];
    let [here, there @ ..] = three_that_hold([&open, &open, &open]).await;
    let names = ["a", "b", "c"];
    let key = |name: &str| RegisterKey::object(BucketId(7), &object(name).key);
    for (at, name) in (1..).zip(names) {
        let ballot = Ballot { stamp: Stamp(5_000 + at), node: Incarnation(8) };
        let lineage = Lineage::NOTHING.then(WriteId(at.to_be_bytes()), 8);
        let state = Traced { lineage, value: Some(crate::actors::testing::record(50)) };
        assert_eq!(here.stores(&key(name), ballot, state).await, Answered::Stored(ballot));
    }
    loses_papers([&here, &there[0], &there[1]]).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let seen = Instant::now();
    let settling = async {
        for name in names {
            rig.direct.settle(&key(name), seen).await.expect("it is settled");
        }
    };
    while_they_vote(lanes, &there, settling).await;
    // None where a majority held nothing of them: what was never chosen is out-promised then, and no more is written.
    let asked = rig.asked();
    let walks = asked.iter().filter(|kind| **kind == "ShowSlots").count();
    assert!(walks <= 1, "buckets are looked through once for all of them: {asked:?}");
}

#[actix_rt::test]
async fn a_put_through_a_node_that_missed_a_deletion_has_a_plain_answer() {
    for made_again in [true, false] {
        let (old, now) = ([life(7, 1, true)], [life(7, 1, true), life(8, 1, true)]);
        let now = if made_again { &now[..] } else { &now[..1] };
        let [here, there @ ..] = three_that_hold([&old, now, now]).await;
        if !made_again {
            loses_papers([&there[0], &there[1]]).await;
        }
        let (rig, lanes) = coordinator(&here, 2, true, LONG);
        let put = while_they_vote(lanes, &there, rig.put(&paper("k"))).await;
        match made_again {
            true => assert!(put.is_ok() && there.iter().any(|node| holds_in(node, 8, "k")), "{put:?}"),
            false => assert!(matches!(put, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{put:?}"),
        }
        let known = here.store.bucket_slot(&papers()).and_then(|slot| slot.state.value?.bucket().copied());
        assert_eq!(known, made_again.then(|| life(8, 1, true)), "the next one is not begun in the former life");
    }
}

#[actix_rt::test]
async fn what_one_holds_tentatively_is_settled_before_a_deletion_counts_it_as_nothing() {
    let open = [life(7, 1, true)];
    let [here, there @ ..] = three_that_hold([&open, &open, &open]).await;
    let (bucket, key) = (RegisterKey::bucket(&papers()), RegisterKey::object(BucketId(7), &object("k").key));
    let ballot = Ballot { stamp: Stamp(5_000), node: Incarnation(8) };
    let lineage = Lineage::NOTHING.then(WriteId([4; 8]), 8);
    let state = Traced { lineage, value: Some(crate::actors::testing::record(50)) };
    let stores = |node| Node::stores(node, &key, ballot, state.clone());
    assert_eq!(stores(&there[0]).await, Answered::Stored(ballot));
    let (rig, lanes) = coordinator(&here, 2, true, Duration::from_secs(20));
    let [second, third] = <[LaneTo; 2]>::try_from(lanes).unwrap_or_else(|_| unreachable!("two of them"));
    // One shows it and cannot be asked about it. The other one hears nothing of the deletion, so what it shows does not
    // count; and the store that came to the first one is still on its way there.
    let carrying = futures::future::join(
        second.carries_but(&there[0], |cast| cast.vote.key == key),
        third.carries_but(&there[1], |cast| cast.vote.key == bucket),
    );
    let deleting = async {
        let closed = rig.direct.change_by_vote(&papers(), Change::Close, rig.direct.deadline()).await;
        assert!(matches!(closed, Ok(WriteOutcome::Written { .. })), "{closed:?}");
        rig.direct.end_deletion(&papers()).await
    };
    let deleted = tokio::select! {
        deleted = soon("an end", deleting) => deleted,
        _ = carrying => panic!("the lanes ended first"),
    };
    assert!(matches!(deleted, Ok(true)), "{deleted:?}");
    let left = there[0].store.bucket_slot(&papers()).and_then(|slot| slot.state.value?.bucket().copied());
    assert_eq!(left, None, "nothing was found in it");
    let late = stores(&there[1]).await;
    assert!(matches!(late, Answered::Refused(Refusal::Behind(_))), "it is chosen, in a bucket that is gone: {late:?}");
}

#[actix_rt::test]
async fn a_read_that_waits_for_a_deletion_does_not_say_that_a_majority_is_missing() {
    let (open, closed) = ([life(7, 1, true)], [life(7, 1, true), life(7, 2, false)]);
    let [here, there @ ..] = three_that_hold([&open, &open, &open]).await;
    let key = RegisterKey::object(BucketId(7), &object("k").key);
    let lineage = Lineage::NOTHING.then(WriteId([4; 8]), 8);
    let state = Traced { lineage, value: Some(crate::actors::testing::record(50)) };
    let ballot = Ballot { stamp: Stamp(5_000), node: Incarnation(8) };
    assert_eq!(here.stores(&key, ballot, state).await, Answered::Stored(ballot));
    let lives = [&here, &there[0], &there[1]].map(|node| node.store.incarnation());
    let lineage = Lineage::NOTHING.then(WriteId([5; 8]), 8);
    let ballot = Ballot { stamp: Stamp(6_000), node: Incarnation(8) };
    let record = Record { ballot, lineage, written_ms: 1, state: State::Bucket(closed[1]) };
    let closed = [(RegisterKey::bucket(&papers()), record)];
    for (node, from) in [(&here, lives[1]), (&there[0], lives[0]), (&there[1], lives[0])] {
        node.learns(from, &closed).await;
    }
    // Where a busy machine lets no round end within the time, no majority was had indeed: then there is more of it.
    let mut told = None;
    for seconds in [1, 5, 40] {
        let (rig, lanes) = coordinator(&here, 2, true, Duration::from_secs(seconds));
        told = while_they_vote(lanes, &there, rig.open(&paper("k"))).await.err();
        if !matches!(told, Some(ObjectError::NoMajority(_))) {
            break;
        }
    }
    assert!(matches!(told, Some(ObjectError::Crowded)), "{told:?}");
}

#[actix_rt::test]
async fn a_bucket_that_is_asked_for_inside_a_write_is_waited_for_no_longer_than_that() {
    let (open, closed) = ([life(7, 1, true)], [life(7, 1, true), life(7, 2, false)]);
    let [here, there @ ..] = three_that_hold([&open, &closed, &closed]).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    // Nobody says what became of the bucket that both refused for.
    let bucket = RegisterKey::bucket(&papers());
    let carrying =
        lanes.into_iter().zip(&there).map(|(lane, node)| lane.carries_but(node, |cast| cast.vote.key == bucket));
    let put = async {
        let body = vec!["a body".into()];
        let (at, head) = (paper("k"), ObjectHead::default());
        let sealed = rig.direct.ask(SealSmall { at, condition: Condition::NONE, head, body, alone: false }).await;
        let Ok(Decided::ForVote(put)) = sealed else { panic!("it is put to the vote") };
        let deadline = Instant::now() + Duration::from_millis(300);
        let home = rig.direct.open_home(&papers(), deadline).await.expect("it is known here");
        rig.direct.vote(put, home, None, deadline).await
    };
    let put = tokio::select! {
        put = soon("an answer", put) => put,
        _ = join_all(carrying) => panic!("the lanes ended first"),
    };
    assert!(matches!(put, Err(ObjectError::Store(StoreError::UnknownOutcome))), "{put:?}");
}

#[actix_rt::test]
async fn a_deletion_that_was_left_behind_is_ended_and_who_waits_for_it_goes_on() {
    let closed = [life(7, 1, true), life(7, 2, false)];
    for is_empty in [true, false] {
        let nodes = three_that_hold([&closed, &closed, &closed]).await;
        if !is_empty {
            // A majority holds it: it was chosen before the bucket was closed.
            let lives = nodes.each_ref().map(|node| node.store.incarnation());
            let mut record = (*crate::actors::testing::record(50)).clone();
            record.lineage = Lineage::NOTHING.then(WriteId([3; 8]), 8);
            let key = RegisterKey::object(BucketId(7), &object("inside").key);
            nodes[0].learns(lives[1], &[(key.clone(), record.clone())]).await;
            nodes[1].learns(lives[0], &[(key, record)]).await;
        }
        let [here, there @ ..] = nodes;
        let (rig, lanes) = coordinator(&here, 2, true, Duration::from_secs(20));
        let work = async {
            let put = actix_rt::spawn(rig.put(&paper("k")));
            rig.direct.end_deletion(&papers()).await.expect("it is ended");
            put.await.expect("it runs")
        };
        let put = while_they_vote(lanes, &there, work).await;
        match is_empty {
            true => assert!(matches!(put, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{put:?}"),
            false => assert!(put.is_ok(), "{put:?}"),
        }
        let open = |node: &Node| node.store.bucket_slot(&papers()).and_then(|slot| slot.state.value?.bucket().copied());
        let held: Vec<_> = there.iter().map(open).collect();
        match is_empty {
            true => assert!(held.contains(&None), "{held:?}"),
            false => assert!(held.contains(&Some(life(7, 3, true))), "{held:?}"),
        }
    }
}

#[actix_rt::test]
async fn a_node_that_goes_on_alone_ends_the_deletion_that_keeps_a_writer_waiting() {
    let closed = [life(7, 1, true), life(7, 2, false)];
    for is_empty in [true, false] {
        let [node, ..] = three_that_hold([&closed, &[], &[]]).await;
        if !is_empty {
            let key = RegisterKey::object(BucketId(7), &object("inside").key);
            let record = (*crate::actors::testing::record(50)).clone();
            let others = node.store.voting().node.roster.clone().expect("a list");
            let other = others.seats[1].incarnation;
            node.learns(other, &[(key, record)]).await;
        }
        wait(node.store.leave(5, name(1))).await.expect("it goes on alone");
        let (rig, _) = coordinator(&node, 0, true, LONG);
        let put = rig.put(&paper("k")).await;
        match is_empty {
            true => assert!(matches!(put, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{put:?}"),
            false => assert!(put.is_ok() && holds_in(&node, 7, "k"), "{put:?}"),
        }
    }
}
