//! Copies: which bodies are shared, whose bytes move, and what becomes of a copy whose source goes away.

use super::*;
use crate::actors::testing::peer::until;
use crate::base::{BlobRef, ObjectRecord, Quota, Tags};
use crate::store::incoming::Purpose;
use std::cell::Cell;
use std::rc::Rc;

/// Longer than what comes with its record on a node of these tests.
const LARGE: usize = 5_000;
/// Shorter than that.
const SMALL: usize = 900;

fn head(text: &str) -> ObjectHead {
    ObjectHead { content_type: text.into(), ..ObjectHead::default() }
}

/// What a body of that length reads.
fn text(len: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(len).collect()
}

impl Node {
    /// Seals an object of that length; a large body lies here then, durably.
    fn seals(&self, len: usize) -> ObjectRecord {
        let pieces = [text(len).into()];
        if len <= 1_000 {
            return *self.store.seal_small(head("source"), &pieces).expect("is sealed");
        }
        let upload = self.store.begin_upload(object("k"), Condition::NONE, head("source"), None, None);
        let mut upload = upload.expect("it begins");
        upload.append(&pieces, |_| {}).expect("it is taken");
        *upload.land().expect("it ends").object
    }

    /// Takes a body from another node.
    pub(super) fn takes(&self, from: &Node, blob: BlobRef) {
        let sealed = from.store.read_body(&blob).expect("it is there");
        let incoming = self.store.begin_incoming(blob.body, Some(blob.sealed_len), Purpose::Copy);
        let mut incoming = incoming.expect("it begins");
        incoming.append(&[sealed]).expect("it is taken");
        incoming.finish(blob).expect("it is the same");
    }

    fn has(&self, blob: BlobRef) -> bool {
        self.store.open_outgoing(blob.body).is_ok()
    }

    /// Bodies go that no record refers to. It waits for what no arbiter may wait for.
    fn sweeps(&self) {
        let swept = std::thread::scope(|threads| threads.spawn(|| self.store.sweep_orphans()).join());
        swept.expect("no panic").expect("it sweeps");
    }

    fn object(&self, at: &ObjectName) -> ObjectRecord {
        let held = self.store.lookup(&register_by_name(at)).expect("it is read").expect("it is there");
        held.record.object().expect("an object").clone()
    }

    fn reads(&self, at: &ObjectName) -> Vec<u8> {
        let (_, mut download) = self.store.open_object(at).expect("it opens");
        let mut all = Vec::new();
        loop {
            let pieces = download.read().expect("it is read");
            if pieces.is_empty() {
                return all;
            }
            pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        }
    }
}

/// What a node holds once it is this: who coordinates may be the last of all to hold what a majority holds.
async fn becomes(node: &Node, at: &ObjectName, is: impl Fn(&ObjectRecord) -> bool) -> ObjectRecord {
    until("it holds that", || async { holds(node, at) && is(&node.object(at)) }).await;
    node.object(at)
}

/// All of them come to hold that in a register, chosen, at that time.
async fn hold(nodes: &[&Node], at: &ObjectName, stamp: u64, state: State) {
    let ballot = Ballot { stamp: Stamp(stamp), node: nodes[0].store.incarnation() };
    let lineage = Lineage::NOTHING.then(WriteId::drawn(stamp.to_be_bytes()), Lineage::IDS_MAX);
    let value = Some(Arc::new(Record { ballot, lineage, written_ms: 1, state }));
    for node in nodes {
        let (epoch, request) =
            (node.store.voting().list.epoch, Request::Learn(ballot, Traced { lineage, value: value.clone() }));
        let votes = vec![Vote { key: register_by_name(at), message: Message { epoch, attempt: Attempt(0), request } }];
        node.actor.send(CastHere { votes }).await.expect("it is there").expect("it is learned");
    }
}

/// Three nodes that hold an object of that length, and their bodies too if it is large; and what they hold.
async fn three_with(at: &ObjectName, len: usize) -> ([Node; 3], ObjectRecord) {
    let nodes = Node::three().await;
    let source = nodes[0].seals(len);
    if let Some(blob) = source.blob() {
        nodes[1..].iter().for_each(|node| node.takes(&nodes[0], blob));
    }
    hold(&nodes.each_ref(), at, 7, State::Object(Box::new(source.clone()))).await;
    (nodes, source)
}

impl LaneTo {
    /// Does all that is asked of a peer; bodies are taken there from here, and counted.
    async fn serves(mut self, here: &Node, there: &Node, shipped: Rc<Cell<usize>>) {
        while let Some(asked) = self.requests.recv().await {
            match asked.what {
                PeerRequest::Cast(cast) => there.votes(*cast).await,
                PeerRequest::Ship(_, blob, _, done) => {
                    shipped.set(shipped.get() + 1);
                    there.takes(here, blob);
                    // Who has a majority waits for nobody else.
                    let _ = done.send(Carried::There);
                }
                other => panic!("neither a cast nor a body: {other:?}"),
            }
        }
    }
}

/// A request while these peers do what they are asked; and how many bodies were taken to them.
async fn while_they_serve<T>(
    lanes: Vec<LaneTo>,
    here: &Node,
    there: &[&Node],
    work: impl Future<Output = T>,
) -> (T, usize) {
    let shipped = Rc::new(Cell::new(0));
    let serving = lanes.into_iter().zip(there).map(|(lane, node)| lane.serves(here, node, Rc::clone(&shipped)));
    let done = tokio::select! {
        done = work => done,
        _ = join_all(serving) => panic!("the lanes ended first"),
    };
    (done, shipped.get())
}

fn copying(from: &ObjectName, judged: &ObjectRecord, to: &ObjectName) -> CopyObject {
    let (from, to, from_etag) = (from.clone(), to.clone(), judged.etag());
    CopyObject { from, from_etag, to, condition: Condition::NONE, head: None, permit: None }
}

impl Rig {
    fn copy(&self, copy: CopyObject) -> impl Future<Output = Result<Written, ObjectError>> + 'static {
        let answer = self.actor.send(copy);
        async move { soon("an answer", answer).await.expect("the coordinator is there") }
    }
}

/// What goes along in a copy: all but the head and the number.
fn as_of(source: &ObjectRecord, head: ObjectHead, number: u64) -> ObjectRecord {
    ObjectRecord { head, number, ..source.clone() }
}

#[actix_rt::test]
async fn a_node_alone_shares_a_large_body_and_seals_a_small_one_anew() {
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    for len in [LARGE, SMALL, 0] {
        let (a, b) = (object(&format!("a{len}")), object(&format!("b{len}")));
        let put = crate::store::mutation::Mutation::put(&a, Condition::NONE, Box::new(node.seals(len)), 1);
        wait(node.store.mutate(put)).await.expect("it is durable");
        let source = node.object(&a);
        let written = rig.copy(copying(&a, &source, &b)).await.expect("it is copied");
        let (asked, copy) = (rig.asked(), node.object(&b));
        assert!(!written.existed && written.etag == copy.etag(), "{written:?}");
        match source.blob() {
            Some(_) => {
                assert_eq!(asked, ["KnowsBucket", "Peek", "HoldBody", "SealAnew", "MutateHere"]);
                assert_eq!(copy, as_of(&source, head("source"), 1));
            }
            None => {
                assert_eq!(asked, ["KnowsBucket", "Peek", "CopySmall"]);
                assert!(copy.body != source.body, "each register has its own");
            }
        }
        let other = CopyObject { head: Some(head("other")), ..copying(&a, &source, &b) };
        assert!(rig.copy(other).await.expect("it is copied again").existed);
        let again = node.object(&b);
        assert_eq!((again.head, again.number, again.len), (head("other"), 2, len as u64));
        rig.delete(&a).await.expect("it is deleted");
        assert_eq!(node.reads(&b), text(len), "{len}: without its source");
        rig.asked();
    }
}

#[actix_rt::test]
async fn among_others_no_byte_of_a_large_body_moves() {
    let (a, b) = (object("a"), object("b"));
    let ([here, there @ ..], source) = three_with(&a, LARGE).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let copy = CopyObject { head: Some(head("other")), ..copying(&a, &source, &b) };
    let (done, shipped) = while_they_serve(lanes, &here, &there.each_ref(), rig.copy(copy)).await;
    let written = done.expect("it is copied");
    assert!(written.replicas >= 2 && written.etag == source.etag() && shipped == 0, "{written:?}, {shipped} moved");
    let holders: Vec<_> = there.iter().filter(|node| holds(node, &b)).collect();
    assert!(!holders.is_empty());
    for node in holders {
        assert_eq!(node.object(&b), as_of(&source, head("other"), 1));
        assert_eq!(node.reads(&b), text(LARGE));
    }
}

#[actix_rt::test]
async fn a_small_body_comes_with_its_record_also_where_it_would_be_no_small_one() {
    let (a, b) = (object("a"), object("b"));
    let nodes = Node::three().await;
    // Written through a node whose setting is another one.
    let dir = tempfile::tempdir().expect("a directory");
    let wide = Options { inline_max: 10_000, log_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
    let wide = open(Arc::new(RealDisk), dir.path(), Arc::new(ring(7)), None, wide).expect("it opens").0;
    let source = *wide.seal_small(head("source"), &[text(LARGE).into()]).expect("is sealed");
    hold(&nodes.each_ref(), &a, 7, State::Object(Box::new(source.clone()))).await;
    let [here, there @ ..] = nodes;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let copying = rig.copy(copying(&a, &source, &b));
    let (done, shipped) = while_they_serve(lanes, &here, &there.each_ref(), copying).await;
    assert!(done.expect("it is copied").replicas >= 2 && shipped == 0);
    assert!(rig.asked().contains(&"CopySmall"));
    let copy = becomes(&here, &b, |_| true).await;
    assert!(copy.blob().is_none() && copy.body != source.body);
    assert_eq!((copy.head.clone(), here.reads(&b)), (head("source"), text(LARGE)));
}

#[actix_rt::test]
async fn who_lacks_the_body_is_sent_it_from_here() {
    let (a, b) = (object("a"), object("b"));
    let [here, lacks, away] = Node::three().await;
    let source = here.seals(LARGE);
    hold(&[&here, &lacks, &away], &a, 7, State::Object(Box::new(source.clone()))).await;
    let blob = source.body_ref();
    assert!(here.has(blob) && !lacks.has(blob));
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    // Without the third one, who answers nothing, the second one's vote is needed.
    let mut third = lanes.pop().expect("a lane to it");
    let is_away = async { while third.requests.recv().await.is_some() {} };
    let copying = rig.copy(copying(&a, &source, &b));
    let copying = async {
        tokio::select! {
            done = copying => done,
            () = is_away => panic!("its lane ended first"),
        }
    };
    let (done, shipped) = while_they_serve(lanes, &here, &[&lacks], copying).await;
    assert_eq!((done.expect("it is copied").replicas, shipped), (2, 1));
    assert_eq!((lacks.object(&b), lacks.reads(&b)), (as_of(&source, head("source"), 1), text(LARGE)));
}

#[actix_rt::test]
async fn a_body_that_this_node_lacks_comes_here_before_anything_is_voted_on() {
    let (a, b) = (object("a"), object("b"));
    let [here, there @ ..] = Node::three().await;
    let source = there[0].seals(LARGE);
    there[1].takes(&there[0], source.body_ref());
    hold(&[&here, &there[0], &there[1]], &a, 7, State::Object(Box::new(source.clone()))).await;
    let (mut fetches, fetch) = passed_on::<FetchBody, bool>();
    let (rig, lanes) = coordinator_with(&here, 2, true, LONG, fetch());
    let fetching = async {
        let Asked { what: FetchBody(blob), answer } = soon("a fetch", fetches.recv()).await.expect("it is asked for");
        assert!(!there.iter().any(|node| holds(node, &b)), "nothing was voted on");
        here.takes(&there[0], blob);
        answer.send(true).expect("somebody waits");
    };
    let copying = async { futures::join!(rig.copy(copying(&a, &source, &b)), fetching).0 };
    let (done, shipped) = while_they_serve(lanes, &here, &there.each_ref(), copying).await;
    assert!(done.expect("it is copied").replicas >= 2 && shipped == 0);
    assert_eq!(becomes(&here, &b, |_| true).await, as_of(&source, head("source"), 1));
    assert_eq!(here.reads(&b), text(LARGE));
}

/// What a copy comes to whose body is nowhere when it is looked for, and what `meanwhile` does then.
async fn gone<F: Future<Output = bool>>(
    meanwhile: impl Fn(usize, Rc<[Node; 3]>, ObjectName) -> F,
) -> (Result<Written, ObjectError>, usize, Rc<[Node; 3]>) {
    let (a, b) = (object("a"), object("b"));
    let nodes = Rc::new(Node::three().await);
    // Sealed by somebody who is none of them.
    let source = Node::new(false).seals(LARGE);
    hold(&nodes.each_ref(), &a, 7, State::Object(Box::new(source.clone()))).await;
    let (mut fetches, fetch) = passed_on::<FetchBody, bool>();
    let (rig, lanes) = coordinator_with(&nodes[0], 2, true, LONG, fetch());
    let count = Cell::new(0);
    let fetching = async {
        while let Some(Asked { answer, .. }) = fetches.recv().await {
            count.set(count.get() + 1);
            let is_here = meanwhile(count.get(), Rc::clone(&nodes), a.clone()).await;
            answer.send(is_here).expect("somebody waits");
        }
    };
    let copying = async {
        tokio::select! {
            done = rig.copy(copying(&a, &source, &b)) => done,
            () = fetching => panic!("nobody asks any more"),
        }
    };
    let (done, _) = while_they_serve(lanes, &nodes[0], &[&nodes[1], &nodes[2]], copying).await;
    assert!(nodes.iter().all(|node| !holds(node, &b)), "nothing was written");
    (done, count.get(), nodes)
}

#[actix_rt::test]
async fn a_source_whose_body_is_gone_is_read_again() {
    let (done, asked, _) = gone(async |_, _, _| false).await;
    assert!(matches!(done, Err(ObjectError::NoMajority(_))), "{done:?}");
    assert_eq!(asked, 2, "it may have come in between; then the client is told to come again");

    let replaced = async |_, nodes: Rc<[Node; 3]>, a: ObjectName| {
        let newer = nodes[0].seals(SMALL);
        hold(&nodes.each_ref(), &a, 8, State::Object(Box::new(newer))).await;
        false
    };
    let (done, asked, _) = gone(replaced).await;
    assert!(matches!(done, Err(ObjectError::Store(StoreError::Precondition))), "another one was judged: {done:?}");
    assert_eq!(asked, 1);

    let deleted = async |_, nodes: Rc<[Node; 3]>, a: ObjectName| {
        hold(&nodes.each_ref(), &a, 8, State::Deleted).await;
        false
    };
    let (done, _, _) = gone(deleted).await;
    assert!(matches!(done, Err(ObjectError::Store(StoreError::NoSuchKey))), "{done:?}");
}

#[actix_rt::test]
async fn a_copy_that_is_refused_leaves_the_shared_body_where_it_is() {
    let (a, b) = (object("a"), object("b"));
    let ([here, there @ ..], source) = three_with(&a, LARGE).await;
    hold(&[&here, &there[0], &there[1]], &b, 7, State::Object(Box::new(here.seals(SMALL)))).await;
    let only_new = Condition { matches: None, differs: Some(Tags::Any) };
    for copy in [
        CopyObject { condition: only_new, ..copying(&a, &source, &b) },
        CopyObject { from_etag: "another".into(), ..copying(&a, &source, &b) },
    ] {
        let (rig, lanes) = coordinator(&here, 2, true, LONG);
        // Nobody is told to throw it away: lanes take casts and bodies alone.
        let (done, shipped) = while_they_serve(lanes, &here, &there.each_ref(), rig.copy(copy)).await;
        assert!(matches!(done, Err(ObjectError::Store(StoreError::Precondition))), "{done:?}");
        assert_eq!(shipped, 0);
    }
    for node in [&here, &there[0], &there[1]] {
        node.sweeps();
        assert_eq!((node.reads(&a), node.reads(&b)), (text(LARGE), text(SMALL)));
    }
}

#[actix_rt::test]
async fn onto_itself_it_replaces_what_was_judged_and_keeps_the_body() {
    let a = object("a");
    let ([here, there @ ..], source) = three_with(&a, LARGE).await;
    let other = CopyObject { head: Some(head("other")), ..copying(&a, &source, &a) };
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let (done, _) = while_they_serve(lanes, &here, &there.each_ref(), rig.copy(other)).await;
    assert!(done.expect("it is copied").existed);
    let itself = becomes(&here, &a, |object| object.number == 2).await;
    assert_eq!(itself, as_of(&source, head("other"), 2));
    here.sweeps();
    assert_eq!(here.reads(&a), text(LARGE));

    // Written anew after it was read for the copy: its body comes too late to be put back.
    let [here, there @ ..] = Node::three().await;
    let source = there[0].seals(LARGE);
    hold(&[&here, &there[0], &there[1]], &a, 7, State::Object(Box::new(source.clone()))).await;
    let (mut fetches, fetch) = passed_on::<FetchBody, bool>();
    let (rig, lanes) = coordinator_with(&here, 2, true, LONG, fetch());
    let newer = here.seals(SMALL);
    let fetching = async {
        let Asked { what: FetchBody(blob), answer } = soon("a fetch", fetches.recv()).await.expect("it is asked for");
        here.takes(&there[0], blob);
        hold(&[&here, &there[0], &there[1]], &a, 8, State::Object(Box::new(newer.clone()))).await;
        answer.send(true).expect("somebody waits");
    };
    let copying = async { futures::join!(rig.copy(copying(&a, &source, &a)), fetching).0 };
    let (done, _) = while_they_serve(lanes, &here, &there.each_ref(), copying).await;
    assert!(matches!(done, Err(ObjectError::Store(StoreError::Precondition))), "{done:?}");
    assert_eq!(here.object(&a).body, newer.body);
}

#[actix_rt::test]
async fn what_a_copy_brings_counts_in_the_bucket_where_it_is_to_be() {
    let (a, b) = (object("a"), object("b"));
    let set = |rig: &Rig| {
        let quota = Quota { objects: None, bytes: Some(LARGE as u64 + 1) };
        let set = SetBucket { bucket: BucketName::cargas(), setting: BucketSetting::Quota(quota) };
        let answer = rig.actor.send(set);
        async move { soon("an answer", answer).await.expect("it is there").expect("it is set") }
    };
    let node = Node::new(true);
    let put = crate::store::mutation::Mutation::put(&a, Condition::NONE, Box::new(node.seals(LARGE)), 1);
    wait(node.store.mutate(put)).await.expect("it is durable");
    let (rig, _) = coordinator(&node, 0, false, LONG);
    set(&rig).await;
    let done = rig.copy(copying(&a, &node.object(&a), &b)).await;
    assert!(matches!(done, Err(ObjectError::Store(StoreError::QuotaExceeded))), "{done:?}");

    let ([here, there @ ..], source) = three_with(&a, LARGE).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let both = async {
        set(&rig).await;
        (rig.copy(copying(&a, &source, &a)).await, rig.copy(copying(&a, &source, &b)).await)
    };
    let ((itself, another), _) = while_they_serve(lanes, &here, &there.each_ref(), both).await;
    assert!(itself.expect("it brings nothing").existed);
    assert!(matches!(another, Err(ObjectError::Store(StoreError::QuotaExceeded))), "{another:?}");
}
