//! The votes lane alone, over real sessions with a peer whose store answers as each test says.

use super::*;
use crate::actors::guard::Died;
use crate::actors::messages::{BeginIncoming, CastHere, DiscardBlob, RegisterSlot, Reply, ScanSlots, TakeBodies};
use crate::actors::peer::conn::Dialer;
use crate::actors::peer::store::StoreRecipients;
use crate::actors::testing::peer::{Asked, Harm, Listener, Relay, passed_on, plan, soon, until};
use crate::actors::testing::{Shelf, ShelfActor, identity, key, node_view, record};
use crate::base::{Ballot, BodyId, Epoch, Lineage, RegisterKey};
use crate::register::{Answer as Answered, Attempt, ListMark, Message, Request, Traced, Under};
use crate::wire::votes::Vote;
use actix::{Actor, Addr};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot::error::TryRecvError;

pub(super) const THEM: Incarnation = Incarnation(2);

/// Lanes of these tests have none who builds them anew.
struct NoKeeper;

impl Actor for NoKeeper {
    type Context = Context<Self>;
}

impl Handler<Died> for NoKeeper {
    type Result = ();
    fn handle(&mut self, died: Died, _: &mut Context<Self>) {
        panic!("a lane died: {died:?}");
    }
}

/// The lane of node n1 to its peer n2.
pub(super) struct Here {
    pub plan: Arc<Plan>,
    lane: Addr<ReplicaActor<VotesLane>>,
    _keeper: Addr<NoKeeper>,
}

pub(super) fn lane_to(url: &str, votes_bytes: u64) -> Here {
    let store = StoreRecipients::of(&ShelfActor(Shelf::new(1)).start());
    let plan = Arc::new(Plan { votes_bytes, ..plan("n2", url, node_view(identity("n1", 1)), store) });
    let (keeper, shared) = (NoKeeper.start(), Arc::clone(&plan));
    let lane = ReplicaActor::new(shared, 1, 1, keeper.downgrade().recipient()).start();
    Here { plan, lane, _keeper: keeper }
}

impl Here {
    /// The lane has taken it, or dropped it, when this returns.
    pub async fn does(&self, request: PeerRequest) {
        self.lane.send(request).await.expect("the lane is there");
    }

    pub async fn casts(&self, cast: (Cast, oneshot::Receiver<Reply>)) -> oneshot::Receiver<Reply> {
        self.does(PeerRequest::Cast(Box::new(cast.0))).await;
        cast.1
    }

    /// Whether the peer answered.
    async fn probes(&self) -> bool {
        let (done, probed) = oneshot::channel();
        self.does(PeerRequest::Probe(done)).await;
        probed.await.is_ok()
    }

    /// Handshakes that were begun.
    fn dialed(&self) -> u64 {
        self.plan.tally.sent.hellos.load(Ordering::Relaxed)
    }

    fn frames(&self) -> u64 {
        self.plan.tally.sent.votes.load(Ordering::Relaxed)
    }
}

fn vote(n: u64, request: Request<Arc<crate::base::Record>>) -> Vote {
    Vote { key: key(n), message: Message { epoch: Epoch(0), attempt: Attempt(n), request }, have: None }
}

/// A question to that life of the peer, and where the answer arrives.
pub(super) fn question(n: u64, to: Incarnation) -> (Cast, oneshot::Receiver<Reply>) {
    let (reply, answer) = oneshot::channel();
    (Cast { to, mark: ListMark::default(), vote: vote(n, Request::Query), have: None, reply: Some(reply) }, answer)
}

fn mark(n: u64) -> Cast {
    let vote = vote(n, Request::Mark(Ballot::ZERO));
    Cast { to: THEM, mark: ListMark::default(), vote, have: None, reply: None }
}

/// What the store behind the peer's listener is asked.
pub(super) struct There {
    pub listener: Listener,
    votes: UnboundedReceiver<Asked<CastHere>>,
    scans: UnboundedReceiver<Asked<ScanSlots>>,
    pub discards: UnboundedReceiver<Asked<DiscardBlob>>,
    pub streams: UnboundedReceiver<Asked<BeginIncoming>>,
    pub bodies: UnboundedReceiver<Asked<TakeBodies>>,
}

pub(super) fn peer(incarnation: u64, address: Option<SocketAddr>) -> There {
    let (votes, cast_here) = passed_on();
    let (scans, scan_slots) = passed_on();
    let (discards, discard_blob) = passed_on();
    let (bodies, take_bodies) = passed_on();
    let (streams, begin_incoming) = passed_on();
    let store = move || StoreRecipients {
        cast_here: cast_here(),
        scan_slots: scan_slots(),
        discard_blob: discard_blob(),
        take_bodies: take_bodies(),
        begin_incoming: begin_incoming(),
        ..StoreRecipients::of(&ShelfActor(Shelf::new(incarnation)).start())
    };
    There { listener: Listener::start("n2", incarnation, address, store), votes, scans, discards, streams, bodies }
}

impl There {
    /// The next frame of votes.
    async fn frame(&mut self) -> Asked<CastHere> {
        soon("a frame of votes", self.votes.recv()).await.expect("the listener is there")
    }

    /// Votes on the next frame, whose registers are named.
    pub async fn votes_on(&mut self, keys: &[u64]) {
        let frame = self.frame().await;
        assert_eq!(named(&frame), keys.iter().map(|n| key(*n)).collect::<Vec<_>>());
        vote_on(frame);
    }
}

fn named(frame: &Asked<CastHere>) -> Vec<RegisterKey> {
    frame.what.votes.iter().map(|vote| vote.key.clone()).collect()
}

/// Takes every vote of a frame.
fn vote_on(frame: Asked<CastHere>) {
    let reply = |attempt| Reply { from: THEM, epoch: Epoch(0), attempt, answer: Answered::Learned };
    let replies = frame.what.votes.iter().map(|vote| Some(reply(vote.message.attempt)));
    frame.answer.send(Ok(replies.collect())).expect("the listener waits");
}

pub(super) async fn answered(n: u64, answer: oneshot::Receiver<Reply>) {
    let reply = soon("an answer", answer).await.expect("it was answered");
    assert_eq!((reply.from, reply.attempt), (THEM, Attempt(n)));
}

/// Nobody will answer.
async fn lost(answer: oneshot::Receiver<Reply>) {
    assert!(soon("the loss to be told", answer).await.is_err(), "a late answer for somebody else");
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[actix::test]
async fn a_silent_peer_is_waited_for_up_to_the_bound_and_who_comes_then_is_told_at_once() {
    const BOUND: u64 = 1 << 20;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = lane_to(&format!("http://{}", silent.local_addr().unwrap()), BOUND);
    let store = |n| {
        let (cast, answer) = question(n, THEM);
        let state = Traced { lineage: Lineage::NOTHING, value: Some(record(1)) };
        (Cast { vote: vote(n, Request::Store(Ballot::ZERO, state, Under::default())), ..cast }, answer)
    };
    let fit = BOUND / store(0).0.weight();
    let mut waiting = Vec::new();
    for n in 0..fit {
        waiting.push(here.casts(store(n)).await);
    }
    assert!(waiting.iter_mut().all(|answer| answer.try_recv() == Err(TryRecvError::Empty)), "{fit} fit");
    for n in fit..fit + 3 {
        let told = here.casts(store(n)).await.try_recv();
        assert_eq!(told, Err(TryRecvError::Closed), "at once, while {fit} wait");
    }
    // When the first of them was in vain all of them were: nobody waits behind a peer that is silent.
    for answer in waiting {
        lost(answer).await;
    }
    assert_eq!(here.casts(store(0)).await.try_recv(), Err(TryRecvError::Closed), "the peer is passed over for a while");
    assert_eq!(here.dialed(), 1);
}

#[actix::test]
async fn casts_of_a_while_travel_in_one_frame_and_marks_with_them() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 1 << 20);
    let first = here.casts(question(1, THEM)).await;
    let frame = there.frame().await;
    assert_eq!(named(&frame), [key(1)]);
    let second = here.casts(question(2, THEM)).await;
    here.does(PeerRequest::Cast(Box::new(mark(3)))).await;
    let fourth = here.casts(question(4, THEM)).await;
    vote_on(frame);
    there.votes_on(&[2, 3, 4]).await;
    for (n, answer) in [(1, first), (2, second), (4, fourth)] {
        answered(n, answer).await;
    }
    // A mark that nothing else asks for goes by itself, a little later.
    here.does(PeerRequest::Cast(Box::new(mark(5)))).await;
    there.votes_on(&[5]).await;
    until("three frames", || async { here.frames() == 3 }).await;
    assert_eq!((here.dialed(), there.listener.hellos()), (1, 1), "all of it in one session");
}

#[test]
fn a_frame_is_of_one_list_and_for_one_life_of_the_peer() {
    let other_list = ListMark { epoch: Epoch(1), digest: 7 };
    let mut lane = VotesLane::default();
    for (n, to, list) in [
        (1, THEM, ListMark::default()),
        (2, THEM, ListMark::default()),
        (3, Incarnation(9), ListMark::default()),
        (4, Incarnation(9), other_list),
        (5, THEM, ListMark::default()),
    ] {
        lane.queue.push_back(Cast { mark: list, ..question(n, to).0 });
    }
    let mut frames = Vec::new();
    while !lane.queue.is_empty() {
        frames.push(lane.next_frame().into_iter().map(|cast| cast.vote.message.attempt.0).collect::<Vec<_>>());
    }
    assert_eq!(frames, [vec![1, 2], vec![3], vec![4], vec![5]]);
    lane.queue.extend((0..=ENTRIES_MAX as u64).map(mark));
    assert_eq!((lane.next_frame().len(), lane.next_frame().len()), (ENTRIES_MAX, 1));
}

#[actix::test]
async fn an_answer_that_never_comes_ends_as_silence() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 1 << 20);
    let dialer = Dialer::new(&here.plan.url, here.plan.peer.clone(), Arc::clone(&here.plan.node_view.me), {
        Arc::clone(&here.plan.key)
    });
    let own = LaneContext { plan: Arc::clone(&here.plan), lane: 1, life: 1, dialer };
    let (cast, answer) = question(1, THEM);
    let begun = Instant::now();
    let (ended, frame) = futures::join!(send(own, Idle::default(), vec![cast]), there.frame());
    assert!(matches!(ended, Some(LinkError::Silent)), "{ended:?}");
    assert!((VOTE_MAX..3 * VOTE_MAX).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    lost(answer).await;
    drop(frame);
}

#[actix::test]
async fn a_peer_that_came_back_as_another_life_does_not_answer_for_the_old_one() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 1 << 20);
    let before = here.casts(question(1, THEM)).await;
    there.votes_on(&[1]).await;
    answered(1, before).await;
    let address = there.listener.stop().await;
    let mut there = peer(9, Some(address));
    lost(here.casts(question(2, THEM)).await).await;
    let now = here.casts(question(3, Incarnation(9))).await;
    let frame = there.frame().await;
    assert_eq!(named(&frame), [key(3)], "the other one did not even travel");
    vote_on(frame);
    let reply = soon("an answer", now).await.expect("it was answered");
    assert_eq!(reply.from, Incarnation(9));
}

#[actix::test]
async fn a_lost_peer_is_passed_over_for_a_while_and_a_probe_finds_it_again() {
    let address = nobody();
    let here = lane_to(&format!("http://{address}"), 1 << 20);
    lost(here.casts(question(1, THEM)).await).await;
    assert_eq!(here.dialed(), 1);
    here.does(PeerRequest::Discard(THEM, BodyId([1; 16]))).await;
    assert_eq!(here.casts(question(2, THEM)).await.try_recv(), Err(TryRecvError::Closed), "at once");
    assert_eq!(here.dialed(), 1, "nobody is tried meanwhile");
    let mut there = peer(2, Some(address));
    until("a probe that is answered", || here.probes()).await;
    let answer = here.casts(question(7, THEM)).await;
    there.votes_on(&[7]).await;
    answered(7, answer).await;
    // What was to be taken back while the peer was away is left to its sweep of what no record names.
    let later = BodyId([2; 16]);
    here.does(PeerRequest::Discard(THEM, later)).await;
    let asked = soon("a discard", there.discards.recv()).await.expect("the listener is there");
    assert_eq!(asked.what.body, later);
    asked.answer.send(Ok(())).expect("the listener waits");
}

#[actix::test]
async fn a_lost_peer_is_tried_again_by_itself_after_its_pause() {
    let address = nobody();
    let here = lane_to(&format!("http://{address}"), 1 << 20);
    let lost_at = Instant::now();
    lost(here.casts(question(1, THEM)).await).await;
    let mut there = peer(2, Some(address));
    until("a cast that travels", || async {
        drop(here.casts(question(2, THEM)).await);
        here.dialed() > 1
    })
    .await;
    assert!(lost_at.elapsed() >= DOWN_FOR, "not earlier");
    there.votes_on(&[2]).await;
}

#[actix::test]
async fn one_late_answer_does_not_hold_the_others() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 1 << 20);
    let (from, to) = (key(0), key(9));
    let scan = Scan { mark: ListMark::default(), from, inclusive: true, to, limit: 10 };
    let (reply, page) = oneshot::channel();
    here.does(PeerRequest::Scan(THEM, scan, reply)).await;
    let late = soon("a scan", there.scans.recv()).await.expect("the listener is there");
    for n in 1..4 {
        let answer = here.casts(question(n, THEM)).await;
        there.votes_on(&[n]).await;
        answered(n, answer).await;
    }
    // Within one frame: what the replica could not carry out is lost, and the others have their answers.
    let (first, second) = (question(5, THEM), question(6, THEM));
    let held = here.casts(question(4, THEM)).await;
    let frame = there.frame().await;
    let (first, second) = (here.casts(first).await, here.casts(second).await);
    vote_on(frame);
    answered(4, held).await;
    let frame = there.frame().await;
    let reply = Reply { from: THEM, epoch: Epoch(0), attempt: Attempt(6), answer: Answered::Learned };
    frame.answer.send(Ok(vec![None, Some(reply)])).expect("the listener waits");
    answered(6, second).await;
    lost(first).await;
    let found: Page<(RegisterKey, RegisterSlot)> = Page::whole(Vec::new());
    late.answer.send(Ok(found)).expect("the listener waits");
    assert_eq!(soon("a page", page).await.expect("it was answered").entries, []);
}

#[actix::test]
async fn a_session_that_the_peer_forgot_is_made_anew_once_and_the_call_repeated_once() {
    let there = peer(2, None);
    let relay = Relay::start(there.listener.address);
    let here = lane_to(&relay.url, 1 << 20);
    let ask = async || {
        let (reply, answer) = oneshot::channel();
        here.does(PeerRequest::Ask(THEM, Box::new(Call::List), reply)).await;
        soon("an answer, or none", answer).await.ok()
    };
    assert_eq!(ask().await, Some(Answer::List(None)));
    assert_eq!(ask().await, Some(Answer::List(None)));
    assert_eq!((here.dialed(), relay.calls.lock().unwrap().len()), (1, 3), "a meeting, and two calls");
    // The listener that is there now knows no session.
    let there = peer(2, Some(there.listener.stop().await));
    assert_eq!(ask().await, Some(Answer::List(None)));
    assert_eq!((here.dialed(), there.listener.hellos()), (2, 1));
    assert_eq!(relay.calls.lock().unwrap().len(), 3 + 3, "in vain, a meeting, and the same call once more");
    // Who knows none of its sessions, however new, is no peer to go on with.
    relay.does(Harm::Call(0));
    assert_eq!(ask().await, None);
    assert_eq!((here.dialed(), relay.calls.lock().unwrap().len()), (3, 6 + 2), "a call, and a meeting");
}

#[actix::test]
async fn a_dial_is_bounded_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = lane_to(&format!("http://{}", silent.local_addr().unwrap()), 1 << 20);
    let (begun, (reply, answer)) = (Instant::now(), oneshot::channel());
    here.does(PeerRequest::Ask(THEM, Box::new(Call::List), reply)).await;
    assert!(soon("the end of the dial", answer).await.is_err());
    assert!((VOTE_MAX..3 * VOTE_MAX).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}
