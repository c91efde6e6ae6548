//! Two and three nodes over real sockets, with stores in memory.

use super::*;
use crate::actors::peer::conn::Dialer;
use crate::actors::peer::node_view::Ballots;
use crate::actors::peer::sessions::{PeerBytes, PeerGate};
use crate::actors::replication::keeper::{RECORDS_LANE, VOTES_LANE};
use crate::actors::status::LinkState;
use crate::actors::testing::peer::{DEADLINE, Harm, Relay, raw, until};
use crate::actors::testing::{NoBallots, Shelf, ShelfActor, identity, key, node_view, ring};
use crate::base::{Backoff, ClusterId, Epoch, Incarnation, RegisterKey};
use crate::peer_port::serve;
use crate::register::placement::tests::Holds;
use crate::register::{Placement, Roster, Seat};
use crate::store::entry::NodeRecord;
use crate::store::voting::Voting;
use crate::wire::{Answer, CALL_PATH, Call, Frame, Refusal};
use actix_web::dev::ServerHandle;
use std::net::{SocketAddr, TcpListener};

const FAST: Timing = Timing {
    heartbeat: Duration::from_millis(200),
    backoff: Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(100) },
    refused_retry: Duration::from_millis(200),
    save_cursor: Duration::from_millis(50),
    tick: Duration::from_millis(10),
    compare: Duration::from_millis(300),
    settle: Duration::from_millis(100),
};

/// A node of a test cluster; its shelf outlives its process, so to say.
struct Node {
    me: Identity,
    ring: u8,
    address: SocketAddr,
    peers: Vec<PeerAddress>,
    timing: Timing,
    shelf: Arc<Shelf>,
    ballots: Arc<dyn Ballots>,
    running: Option<Running>,
}

struct Running {
    server: ServerHandle,
    gate: Arc<PeerGate>,
    replication: Replication,
}

impl Node {
    async fn start(&mut self, listener: Option<TcpListener>) {
        let listener = listener.unwrap_or_else(|| TcpListener::bind(self.address).unwrap());
        let ballots = Arc::clone(&self.ballots);
        let node_view = NodeView { head: self.shelf.head(), ballots, ..node_view(self.me.clone()) };
        let key = ring(self.ring).peer_keys();
        let names = self.peers.iter().map(|peer| peer.name.clone());
        let gate = Arc::new(PeerGate::new(node_view.clone(), Arc::clone(&key), names, PeerBytes::default()));
        let shelf = Arc::clone(&self.shelf);
        let store = move || StoreRecipients::of(&ShelfActor(Arc::clone(&shelf)).start());
        let server = serve(listener, Arc::clone(&gate), store.clone(), 1).unwrap();
        let handle = server.handle();
        actix_rt::spawn(server);
        let config = ReplicationConfig {
            node_view,
            peers: self.peers.clone(),
            pool: 3,
            timing: self.timing,
            votes_bytes: 8 << 20,
            sending_bytes: 8 << 20,
            votes: false,
        };
        let replication = Replication::start(config, key, store(), &actix_rt::Arbiter::current());
        self.running = Some(Running { server: handle, gate, replication });
    }

    /// Ends it without a goodbye.
    async fn stop(&mut self) {
        let Running { server, replication, .. } = self.running.take().unwrap();
        server.stop(false).await;
        let plans: Vec<_> = replication.0.iter().map(|peer| Arc::downgrade(&peer.plan)).collect();
        drop(replication);
        // Whoever lets go of a replication ends its actors; nothing of this life is sent later.
        until("its actors ended", || async { plans.iter().all(|plan| plan.strong_count() == 0) }).await;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    async fn status(&self, peer: &str) -> ReplicaStatus {
        self.running().replication.status().await.into_iter().find(|status| status.peer == peer).unwrap()
    }

    fn holds(&self, other: &Node) -> bool {
        self.shelf.all() == other.shelf.all()
    }
}

async fn cluster<const N: usize>(timing: Timing) -> [Node; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let name = |at: usize| NodeName::parse(&format!("n{}", at + 1)).unwrap();
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let peers: Vec<PeerAddress> = addresses
        .iter()
        .enumerate()
        .map(|(at, address)| PeerAddress { name: name(at), url: format!("http://{address}") })
        .collect();
    let mut nodes: [Node; N] = std::array::from_fn(|at| {
        let incarnation = at as u64 + 1;
        Node {
            me: identity(name(at).as_str(), incarnation),
            ring: 7,
            address: addresses[at],
            peers: peers.clone(),
            timing,
            shelf: Shelf::new(incarnation),
            ballots: Arc::new(NoBallots::default()),
            running: None,
        }
    });
    for (node, listener) in nodes.iter_mut().zip(listeners) {
        node.start(Some(listener)).await;
    }
    nodes
}

async fn converged(nodes: &[Node]) {
    until("all nodes hold the same", || async {
        let same = nodes.windows(2).all(|pair| pair[0].holds(&pair[1]));
        let mut behind = 0;
        for node in nodes {
            behind += node.running().replication.status().await.iter().map(|s| s.changes_behind).sum::<u64>();
        }
        same && behind == 0
    })
    .await;
}

#[actix::test]
async fn writes_on_every_node_reach_every_node() {
    let nodes = cluster::<3>(FAST).await;
    for n in 0..3_000u64 {
        nodes[n as usize % 3].shelf.put(n, 10);
    }
    // The same keys on two nodes at once: the higher ballot wins everywhere.
    for n in 0..100 {
        nodes[0].shelf.put(n, 20);
        nodes[1].shelf.put(n, 20);
        nodes[2].shelf.delete(n + 100, 30);
    }
    converged(&nodes).await;
    let all = nodes[0].shelf.all();
    assert_eq!(all.len(), 3_000);
    assert!((0..100).all(|n| all[&key(n)].ballot.node.0 == 2), "node 2 breaks the tie");
    assert!((100..200).all(|n| all[&key(n)].object().is_none()));
}

#[actix::test]
async fn a_peer_is_offered_what_it_holds_and_nothing_else() {
    let seats = (1..=3).map(|n| Seat { name: NodeName::parse(&format!("n{n}")).unwrap(), incarnation: Incarnation(n) });
    let roster = Arc::new(Roster::founding(7, seats.collect()));
    let holds = Holds { registers: |key| key.as_bytes().last().is_some_and(|last| last % 2 == 0), bodies: |_| true };
    let placement = Placement::of(&roster).map(|all| all.with_part(Incarnation(3), holds));
    let node = NodeRecord { roster: Some(roster), ..NodeRecord::NEW };
    let voting = Arc::new(Voting { placement, ..Voting::of(node) });
    let mut nodes = cluster::<3>(FAST).await;
    for node in &mut nodes {
        node.stop().await;
        node.ballots = Arc::new(NoBallots(Arc::clone(&voting)));
        node.start(None).await;
    }
    (0..200).for_each(|n| nodes[n as usize % 2].shelf.put(n, 10));
    until("what is the peers' is there", || async {
        let mut behind = 0;
        for node in &nodes {
            behind += node.running().replication.status().await.iter().map(|s| s.changes_behind).sum::<u64>();
        }
        behind == 0 && nodes[0].shelf.all().len() == 200 && nodes[1].holds(&nodes[0])
    })
    .await;
    let all: Vec<_> = (0..200).map(key).collect();
    let its: Vec<_> = all.iter().filter(|key| voting.holds(Incarnation(3), key)).cloned().collect();
    let mut held: Vec<_> = nodes[2].shelf.all().into_keys().collect();
    held.sort();
    assert!(!its.is_empty() && its.len() < all.len());
    assert_eq!(held, its);
}

#[actix::test]
async fn an_idle_cluster_sends_heartbeats_and_nothing_else() {
    let nodes = cluster::<3>(FAST).await;
    (0..300u64).for_each(|n| nodes[n as usize % 3].shelf.put(n, 10));
    converged(&nodes).await;
    let cursors_saved = || async {
        (0..3).all(|at| (1..=3).filter(|peer| *peer != at + 1).all(|peer| nodes[at as usize].shelf.cursor(peer) == 300))
    };
    until("cursors are saved", cursors_saved).await;
    let saves: Vec<u64> = nodes.iter().map(|node| node.shelf.saves()).collect();
    let before = nodes[0].status("n2").await.sent;
    until("five more heartbeats", || async { nodes[0].status("n2").await.sent.heartbeats > before.heartbeats + 5 })
        .await;
    let after = nodes[0].status("n2").await.sent;
    assert_eq!((after.offers, after.learns, after.blobs), (before.offers, before.learns, before.blobs));
    assert_eq!(after.hellos, before.hellos);
    assert_eq!(nodes.iter().map(|node| node.shelf.saves()).collect::<Vec<_>>(), saves, "no cursor written");
}

#[actix::test]
async fn a_peer_that_was_down_catches_up_and_a_wiped_one_is_filled_again() {
    let mut nodes = cluster::<2>(FAST).await;
    (0..100).for_each(|n| nodes[0].shelf.put(n, 10));
    converged(&nodes).await;
    nodes[1].stop().await;
    (50..1_500).for_each(|n| nodes[0].shelf.put(n, 20));
    until("seen as down", || async {
        let status = nodes[0].status("n2").await;
        status.link == LinkState::Down && status.changes_behind > 0 && status.last_error.is_some()
    })
    .await;
    nodes[1].start(None).await;
    converged(&nodes).await;
    assert_eq!(nodes[1].shelf.all().len(), 1_500);

    nodes[1].stop().await;
    nodes[1].me.incarnation = crate::base::Incarnation(9);
    nodes[1].shelf = Shelf::new(9);
    nodes[1].start(None).await;
    converged(&nodes).await;
    assert_eq!(nodes[1].shelf.all().len(), 1_500);
    assert_eq!(nodes[0].status("n2").await.incarnation, Some(crate::base::Incarnation(9)));
}

#[actix::test]
async fn killed_actors_return_and_replication_goes_on() {
    let nodes = cluster::<2>(FAST).await;
    let n2 = NodeName::parse("n2").unwrap();
    let mut written = 0;
    for (round, how) in [How::Error, How::Panic, How::Panic, How::Error].into_iter().enumerate() {
        let round = round as u64 + 1;
        for _ in 0..500 {
            nodes[0].shelf.put(written, 10);
            written += 1;
        }
        // In the middle of the work, and the votes lane too.
        nodes[0].running().replication.kill(&n2, RECORDS_LANE, how);
        nodes[0].running().replication.kill(&n2, VOTES_LANE, how);
        until("both came back", || async {
            let restarts = nodes[0].status("n2").await.restarts;
            // A panic counts before the next actor is there; a kill in between would be heard by nobody.
            let there = nodes[0].running().replication.0.iter().all(|peer| peer.plan.lane.address().is_some());
            there && restarts.kills == 2 * round && restarts.errors + restarts.panics == 2 * round
        })
        .await;
        converged(&nodes).await;
        assert_eq!(nodes[1].shelf.all().len() as u64, written);
    }
    let status = nodes[0].status("n2").await;
    assert_eq!((status.restarts.errors, status.restarts.panics), (4, 4));
}

#[actix::test]
async fn one_record_that_is_refused_does_not_stop_the_others() {
    let nodes = cluster::<2>(FAST).await;
    nodes[1].shelf.refuse(Some(50));
    (0..200).for_each(|n| nodes[0].shelf.put(n, 10));
    until("all others arrived", || async { nodes[1].shelf.all().len() == 199 }).await;
    let status = nodes[0].status("n2").await;
    assert!(status.changes_behind > 0 && status.last_error.is_some(), "{status:?}");
    assert_eq!(status.link, LinkState::Up);
    assert_eq!(nodes[0].shelf.cursor(2), 50.min(nodes[0].shelf.cursor(2)), "the cursor stays below it");
    nodes[1].shelf.refuse(None);
    converged(&nodes).await;
}

#[actix::test]
async fn a_node_with_another_ring_is_refused_and_shown_on_both_sides() {
    let mut nodes = cluster::<2>(FAST).await;
    nodes[1].stop().await;
    nodes[1].ring = 8;
    nodes[1].start(None).await;
    nodes[0].shelf.put(1, 10);
    nodes[1].shelf.put(2, 10);
    for (own, peer) in [(0, "n2"), (1, "n1")] {
        until("refused", || async { nodes[own].status(peer).await.link == LinkState::Refused }).await;
        until("shown", || async {
            let status = nodes[own].running().gate.status();
            status.refused.iter().any(|caller| caller.reason == Refusal::ForeignKey && caller.count > 1)
        })
        .await;
    }
    assert_eq!((nodes[0].shelf.all().len(), nodes[1].shelf.all().len()), (1, 1));
    // The right ring again: it is tried again by itself.
    nodes[1].stop().await;
    nodes[1].ring = 7;
    nodes[1].start(None).await;
    converged(&nodes).await;
}

#[actix::test]
async fn another_cluster_and_a_stranger_are_refused() {
    let nodes = cluster::<2>(FAST).await;
    let url = format!("http://{}", nodes[0].address);
    let n1 = NodeName::parse("n1").unwrap();
    let dial = |me: Identity, to: &NodeName| Dialer::new(&url, to.clone(), Arc::new(me), ring(7).peer_keys());
    let foreign = Identity { cluster: ClusterId([9; 16]), ..identity("n2", 2) };
    let cases = [
        (foreign, n1.clone(), Refusal::ForeignCluster),
        (identity("n9", 2), n1.clone(), Refusal::NotAPeer),
        (identity("n2", 2), NodeName::parse("n3").unwrap(), Refusal::WrongReceiver),
        (identity("n2", 1), n1.clone(), Refusal::Itself),
    ];
    for (me, to, expected) in cases {
        match dial(me, &to).dial().await {
            Err(crate::actors::peer::error::LinkError::Refused(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{expected:?}: {}", other.map_or_else(|e| e.to_string(), |_| "a session".into())),
        }
    }
    assert!(dial(identity("n2", 2), &n1).dial().await.is_ok());
}

#[actix::test]
async fn draining_waits_for_answers_saves_the_cursor_and_ends_the_actors() {
    let slow = Timing { save_cursor: Duration::from_secs(3600), ..FAST };
    let nodes = cluster::<2>(slow).await;
    (0..200).for_each(|n| nodes[0].shelf.put(n, 10));
    converged(&nodes).await;
    (200..210).for_each(|n| nodes[0].shelf.put(n, 10));
    let drained = actix_rt::time::timeout(DEADLINE, nodes[0].running().replication.drain()).await;
    assert!(drained.is_ok());
    let cursor = nodes[0].shelf.cursor(2);
    assert!((200..=210).contains(&cursor), "{cursor}");
    let acked = nodes[1].shelf.all().len() as u64;
    assert!(acked >= cursor, "{acked}");
    let sent = nodes[0].status("n2").await.sent;
    (210..300).for_each(|n| nodes[0].shelf.put(n, 10));
    until("the last actor ended", || async { nodes[0].status("n2").await.observed_age_s > 0 }).await;
    assert_eq!(nodes[0].status("n2").await.sent, sent, "nothing is sent after");
}

#[actix::test]
async fn a_lost_peer_costs_growing_pauses_and_no_storm() {
    let timing = Timing { backoff: Backoff { base: Duration::from_millis(40), cap: Duration::from_secs(60) }, ..FAST };
    let mut nodes = cluster::<2>(timing).await;
    converged(&nodes).await;
    nodes[1].stop().await;
    let before = nodes[0].status("n2").await.sent.hellos;
    until("several tries", || async { nodes[0].status("n2").await.tries >= 4 }).await;
    let status = nodes[0].status("n2").await;
    assert!(status.sent.hellos - before <= u64::from(status.tries) + 1, "{status:?}");
}

#[actix::test]
async fn frames_replayed_flipped_or_cut_on_the_way_do_nothing() {
    let nodes = cluster::<2>(FAST).await;
    let relay = Relay::start(nodes[0].address);
    let n1 = NodeName::parse("n1").unwrap();
    let dialer = Dialer::new(&relay.url, n1, Arc::new(identity("n2", 2)), ring(7).peer_keys());
    let mut conn = dialer.dial().await.unwrap();
    let learn = |n: u64| Call::Learn(Epoch(0), vec![(key(n), crate::actors::testing::record(10))]);
    assert!(conn.call(&learn(1)).await.is_err(), "nobody has said yet how it stands");
    let pulse = crate::actors::testing::node_view(identity("n2", 2)).pulse(&identity("n1", 1).name);
    assert!(matches!(conn.call(&Call::Heartbeat(Box::new(pulse))).await, Ok(Answer::Pulse(_))));
    assert_eq!(conn.call(&learn(1)).await.unwrap(), Answer::Done);
    assert_eq!(nodes[0].shelf.all().len(), 1);

    let direct = format!("http://{}", nodes[0].address);
    let recorded = relay.calls.lock().unwrap()[0].clone();
    let (status, body) = raw(&direct, CALL_PATH, recorded.clone()).await;
    assert_eq!((status, Refusal::decode(&body)), (401, Some(Refusal::BadFrame)), "replayed");
    for end in [0, 3, 15, 16, 40, recorded.len() - 1] {
        let (status, _) = raw(&direct, CALL_PATH, recorded[..end].to_vec()).await;
        assert!(matches!(status, 400 | 401), "cut at {end}: {status}");
    }
    for bit in [0, 64, 127, 128, 300, recorded.len() * 8 - 1] {
        relay.does(Harm::Call(bit));
        let error = conn.call(&learn(2)).await.expect_err("a changed frame is refused");
        assert!(error.breaks_link(), "{error}");
        relay.does(Harm::None);
        conn = dialer.dial().await.unwrap();
    }
    assert_eq!(nodes[0].shelf.all().keys().cloned().collect::<Vec<RegisterKey>>(), [key(1)]);

    // A frame of a session that nobody knows, and a length beyond the limit.
    let stray = Frame { session: crate::wire::SessionId(1), counter: 1, sealed: &[0; 64] }.encode();
    assert_eq!(raw(&direct, CALL_PATH, stray).await.0, 401);
    assert_eq!(raw(&direct, CALL_PATH, vec![0; crate::wire::FRAME_BYTES_MAX + 1]).await.0, 400);
    assert_eq!(raw(&direct, "/elsewhere", vec![]).await.0, 404);
}

#[actix::test]
async fn a_peer_that_restarts_costs_one_handshake_and_no_wait() {
    let mut nodes = cluster::<2>(FAST).await;
    converged(&nodes).await;
    for round in 0..3u64 {
        nodes[1].stop().await;
        nodes[1].start(None).await;
        nodes[0].shelf.put(round, 10);
        converged(&nodes).await;
    }
    assert_eq!(nodes[1].shelf.all().len(), 3);
}
