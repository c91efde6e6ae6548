//! Two nodes in this process, so that their ReplicaActors can be killed, by error and by panic, while blobs
//! and records are on their way: they return, and nothing is lost.

mod common;

use actix_rt::System;
use boveda::actors::replication::Replication;
use boveda::actors::replication::actor::How;
use boveda::base::NodeName;
use boveda::config;
use boveda::node::Running;
use common::cluster::{new_ring, path};
use common::relay::{Fate, Relay, Way};
use common::{Conn, DEADLINE, Dice, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Lanes of a peer: one for records, the others for blobs.
const POOL: usize = 3;
const LARGE: usize = 200_000;

struct Started {
    http: SocketAddr,
    peer: SocketAddr,
    replication: Replication,
}

/// Nodes on a thread of their own; they end in order when this is dropped.
struct Hosts {
    nodes: Vec<Started>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hosts {
    fn start(configs: Vec<config::Config>) -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async move {
                let mut running = Vec::new();
                for config in configs {
                    let node = Running::start(config).await.expect("the node starts");
                    let [http, peer] = ["http", "peer"].map(|port| node.address(port).expect("is served"));
                    let started = Started { http, peer, replication: node.replication().clone() };
                    tell.send(started).expect("the test waits");
                    running.push(node);
                }
                drop(tell);
                // Told or forgotten: the test is over.
                let _ = stopped.await;
                let ended = futures::future::join_all(running.into_iter().map(Running::stop));
                // A drain waits for what is under way: for ever, if the test failed because that is stuck.
                let ended = actix_rt::time::timeout(DEADLINE, ended).await.expect("the nodes end");
                ended.into_iter().for_each(|ended| ended.expect("in order"));
            });
        });
        let nodes = told.iter().collect();
        Hosts { nodes, stop: Some(stop), thread: Some(thread) }
    }

    fn ask(&self, at: usize, method: &str, target: &str, body: &[u8]) -> common::Answer {
        let mut conn = Conn::open(self.nodes[at].http).expect("the node takes connections");
        conn.ask(method, target, &[], body).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// What the first node shows of its replication to the second.
    fn peer(&self) -> Value {
        self.ask(0, "GET", "/v1/cluster", b"").json()["peers"][0].take()
    }

    fn restarts(&self, kind: &str) -> u64 {
        self.peer()["restarts"][kind].as_u64().expect("a count")
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            panic!("a node did not end in order");
        }
    }
}

fn node_config(name: &str, home: &Path, keys: &Path, peer: (&str, SocketAddr)) -> config::Config {
    let settings = [
        ("BOVEDA_NODE_NAME", name.to_owned()),
        ("BOVEDA_NODE_DATA", home.join(name).display().to_string()),
        ("BOVEDA_NODE_KEY_DIR", keys.display().to_string()),
        ("BOVEDA_NODE_THREADS", "1".to_owned()),
        ("BOVEDA_NODE_LOG", "off".to_owned()),
        ("BOVEDA_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("BOVEDA_S3_LISTEN", String::new()),
        ("BOVEDA_PEER_LISTEN", "127.0.0.1:0".to_owned()),
        ("BOVEDA_PEER_REPLICAS_PER_PEER", POOL.to_string()),
        ("BOVEDA_CLUSTER_DURABILITY", "local".to_string()),
        ("BOVEDA_PEER_HEARTBEAT", "100ms".to_owned()),
        ("BOVEDA_PEER_BACKOFF_BASE", "5ms".to_owned()),
        ("BOVEDA_PEER_BACKOFF_CAP", "50ms".to_owned()),
        ("BOVEDA_CLUSTER_PEERS", format!("{}=http://{}", peer.0, peer.1)),
    ];
    let settings: BTreeMap<String, String> = settings.map(|(name, value)| (name.to_owned(), value)).into();
    config::load(None, &settings, &[]).expect("a good configuration").config
}

/// Holds blobs back on their way, so that whoever ships them can be met in the middle of it.
#[derive(Default)]
struct Barrier {
    state: Mutex<(bool, u32)>,
    moved: Condvar,
}

impl Barrier {
    fn state(&self) -> MutexGuard<'_, (bool, u32)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        *self.state() = (true, 0);
    }

    fn open(&self) {
        self.state().0 = false;
        self.moved.notify_all();
    }

    /// In the relay: waits while it is closed.
    fn pass(&self) {
        let mut state = self.state();
        state.1 += 1;
        while state.0 {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn holds_somebody(&self) -> Option<()> {
        let (closed, came) = *self.state();
        (closed && came > 0).then_some(())
    }
}

/// A test that fails must not leave the relay waiting.
struct OpenAtLast<'a>(&'a Barrier);

impl Drop for OpenAtLast<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[test]
fn actors_killed_in_the_middle_of_their_work_return_and_lose_nothing() {
    let (keys, home) = (new_ring(), tempfile::tempdir().expect("a directory"));
    let (to_first, to_second) = (Relay::start(), Relay::start());
    let hosts = Hosts::start(vec![
        node_config("n1", home.path(), keys.path(), ("n2", to_second.address())),
        node_config("n2", home.path(), keys.path(), ("n1", to_first.address())),
    ]);
    assert_eq!(hosts.nodes.len(), 2);
    to_first.lead_to(Some(hosts.nodes[0].peer));
    to_second.lead_to(Some(hosts.nodes[1].peer));
    let barrier = Arc::new(Barrier::default());
    let _open = OpenAtLast(&barrier);
    let relays = Arc::clone(&barrier);
    to_second.judge(move |way, path, _| {
        if way == Way::Request && path == "/peer/v1/bodies" {
            relays.pass();
        }
        Fate::Pass
    });

    let n2 = NodeName::parse("n2").expect("a name");
    let (mut dice, mut expected) = (Dice(21), BTreeMap::new());
    let (mut errors, mut panics) = (0, 0);
    for (round, how) in [How::Error, How::Panic, How::Panic, How::Error, How::Panic, How::Error].into_iter().enumerate()
    {
        barrier.close();
        for n in 0..12 {
            let (key, len) = (format!("{round}.{n}"), if n % 3 == 0 { LARGE } else { 900 });
            let body = dice.bytes(len);
            let status = hosts.ask(0, "PUT", &path(&key), &body).status;
            assert!(matches!(status, 200 | 201), "{key}: {status}");
            expected.insert(key, body);
        }
        eventually("a blob on its way", || barrier.holds_somebody());
        for lane in 0..POOL {
            let before = hosts.restarts("kills");
            eventually("the lane to be hit", || {
                // One that is being built anew does not hear it: then it is told again.
                hosts.nodes[0].replication.kill(&n2, lane, how);
                (hosts.restarts("kills") > before).then_some(())
            });
        }
        barrier.open();
        eventually("everything to arrive", || {
            let peer = hosts.peer();
            (peer["link"] == "up" && peer["changes_behind"] == 0 && peer["in_flight"] == 0).then_some(())
        });
        let before = if how == How::Error { &mut errors } else { &mut panics };
        let now = hosts.restarts(if how == How::Error { "errors" } else { "panics" });
        assert!(now >= *before + POOL as u64, "{how:?}: {now} after {before}");
        *before = now;
        for (key, body) in &expected {
            let answer = hosts.ask(1, "GET", &path(key), b"");
            assert_eq!(answer.status, 200, "{key} in round {round}");
            assert!(answer.body == *body, "{key} in round {round}: other bytes");
        }
    }
    assert_eq!(hosts.restarts("errors") + hosts.restarts("panics"), hosts.restarts("kills"), "and no other deaths");
    assert_eq!(hosts.peer()["in_flight_bytes"], 0, "no lane left its count behind");
}
