//! Several nodes as processes of their own. Each reaches each other one by a relay, so that ports can be
//! of the system's choice, and a test can have its hands on every link.

use super::relay::Relay;
use super::{Answer, Conn, Node, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Pauses that suit a test: lost peers are tried again at once, heartbeats are seen.
const SETTINGS: [(&str, &str); 6] = [
    ("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "3s"),
    ("BOVEDA_PEER_BACKOFF_BASE", "5ms"),
    ("BOVEDA_PEER_BACKOFF_CAP", "50ms"),
    ("BOVEDA_PEER_HEARTBEAT", "100ms"),
    ("BOVEDA_PEER_COMPARE_EVERY", "300ms"),
    ("BOVEDA_NODE_THREADS", "1"),
];

/// What a node shows of an object in a listing: its size and its ETag, by its key.
pub type Listing = BTreeMap<String, (u64, String)>;

/// What every key should hold; `None` when it was deleted.
pub type Expected = BTreeMap<String, Option<Vec<u8>>>;

/// Running nodes `n1`, `n2` and so on; ended when dropped.
pub struct Cluster {
    /// The nodes. End and begin them by the methods of the cluster, which keep the relays right.
    pub nodes: Vec<Node>,
    relays: BTreeMap<(usize, usize), Relay>,
    keys: Vec<TempDir>,
}

/// The path of an object in the bucket that every node has from its first start.
pub fn path(key: &str) -> String {
    format!("/v1/objects/cargas/{key}")
}

/// Sends a PUT and says whether it was answered as done. Everything else is *unknown*.
pub fn put_is_answered(to: SocketAddr, key: &str, body: &[u8]) -> io::Result<bool> {
    let answer = Conn::open(to)?.ask("PUT", &path(key), &[], body)?;
    assert!(matches!(answer.status, 200 | 201 | 503), "{key}: {answer:?}");
    Ok(answer.status != 503)
}

/// Ends in a later millisecond than it began: two writes on two nodes within one are concurrent, and the
/// clocks decide nothing then.
pub fn next_millisecond() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let begin = now();
    while now() <= begin {
        std::thread::yield_now();
    }
}

/// A directory with a key ring of its own.
pub fn new_ring() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory for keys");
    let made = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["key", "new", "--key-dir"]).arg(dir.path()).output();
    let made = made.expect("the binary starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
}

impl Cluster {
    /// So many nodes with one key ring.
    pub fn start(size: usize) -> Self {
        Self::with_rings(&vec![0; size])
    }

    /// So many nodes that decide together, once they have come to a member list.
    pub fn voting(size: usize) -> Self {
        Self::voting_with(size, &[])
    }

    /// The same with some settings more.
    pub fn voting_with(size: usize, more: &[(&str, &str)]) -> Self {
        let cluster = Self::with("majority", &vec![0; size], more);
        (0..size).for_each(|at| cluster.ready(at));
        cluster
    }

    /// So many nodes that decide together, each with a copy of one key ring in a directory of its own.
    pub fn voting_with_copies(size: usize, more: &[(&str, &str)]) -> Self {
        Self::voting_apart_with_copies(size, size, more)
    }

    /// The same, of which the first `first` run and know of each other alone.
    pub fn voting_apart_with_copies(size: usize, first: usize, more: &[(&str, &str)]) -> Self {
        let ring = new_ring();
        let copy = |_| {
            let dir = tempfile::tempdir().expect("a directory for keys");
            std::fs::copy(ring.path().join("kek-0001"), dir.path().join("kek-0001")).expect("a copy, with its mode");
            dir
        };
        let keys: Vec<TempDir> = (0..size).map(copy).collect();
        let paths: Vec<&Path> = keys.iter().map(TempDir::path).collect();
        let mut cluster = Self::prepared("majority", &paths, more);
        cluster.keys = keys;
        for at in 0..first {
            cluster.know_first(at, first);
            cluster.begin(at);
        }
        (0..first).for_each(|at| cluster.ready(at));
        cluster
    }

    /// `size` nodes of which the first `first` run and know of each other alone.
    pub fn voting_apart(size: usize, first: usize) -> Self {
        let keys = vec![new_ring()];
        let paths: Vec<&Path> = vec![keys[0].path(); size];
        let mut cluster = Self::prepared("majority", &paths, &[]);
        cluster.keys = keys;
        for at in 0..first {
            let peers = cluster.peers_of(at, first);
            cluster.nodes[at].set("BOVEDA_CLUSTER_PEERS", &peers);
            cluster.begin(at);
        }
        (0..first).for_each(|at| cluster.ready(at));
        cluster
    }

    /// From its next start on a node knows of all the others.
    pub fn know_all(&mut self, at: usize) {
        self.know_first(at, self.nodes.len());
    }

    /// From its next start on a node knows of those among the first `first`.
    pub fn know_first(&mut self, at: usize, first: usize) {
        let peers = self.peers_of(at, first);
        self.nodes[at].set("BOVEDA_CLUSTER_PEERS", &peers);
    }

    fn peers_of(&self, at: usize, among: usize) -> String {
        let others = self.relays.iter().filter(|((from, to), _)| *from == at && *to < among);
        let peers: Vec<_> = others.map(|((_, to), relay)| format!("n{}=http://{}", to + 1, relay.address())).collect();
        peers.join(",")
    }

    /// The key directory of a node that has one of its own.
    pub fn keys(&self, at: usize) -> &Path {
        self.keys[at].path()
    }

    /// Waits until a node is ready: it has its place and has reached a majority.
    #[track_caller]
    pub fn ready(&self, at: usize) {
        eventually("a node to be ready", || (self.nodes[at].get("/readyz").status == 200).then_some(()));
    }

    /// Waits until a node has a member list.
    #[track_caller]
    pub fn formed(&self, at: usize) {
        eventually("the cluster to form", || {
            let epoch = self.status(at)["voting"]["list"]["epoch"].as_u64();
            epoch.filter(|epoch| *epoch > 0).map(|_| ())
        });
    }

    /// So many nodes with some settings more, by the names of their environment variables.
    pub fn with_settings(size: usize, more: &[(&str, &str)]) -> Self {
        Self::with("local", &vec![0; size], more)
    }

    /// A node for each entry, which says which ring it has.
    pub fn with_rings(rings: &[usize]) -> Self {
        Self::with("local", rings, &[])
    }

    /// So many nodes that will decide together, with a key ring that others may have too. None of them runs yet.
    pub fn voting_to_be(size: usize, keys: &Path) -> Self {
        Self::prepared("majority", &vec![keys; size], &[])
    }

    fn with(durability: &str, rings: &[usize], more: &[(&str, &str)]) -> Self {
        let keys: Vec<TempDir> = (0..=rings.iter().copied().max().unwrap_or(0)).map(|_| new_ring()).collect();
        let paths: Vec<&Path> = rings.iter().map(|ring| keys[*ring].path()).collect();
        let mut cluster = Self::prepared(durability, &paths, more);
        cluster.keys = keys;
        (0..rings.len()).for_each(|at| cluster.begin(at));
        cluster
    }

    fn prepared(durability: &str, rings: &[&Path], more: &[(&str, &str)]) -> Self {
        let pairs = (0..rings.len()).flat_map(|a| (0..rings.len()).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let relays: BTreeMap<_, _> = pairs.map(|pair| (pair, Relay::start())).collect();
        let node = |(at, ring): (usize, &&Path)| {
            let others = relays.iter().filter(|((from, _), _)| *from == at);
            let peers: Vec<String> =
                others.map(|((_, to), relay)| format!("n{}=http://{}", to + 1, relay.address())).collect();
            let (name, peers) = (format!("n{}", at + 1), peers.join(","));
            let own = [
                ("BOVEDA_NODE_NAME", name.as_str()),
                ("BOVEDA_CLUSTER_PEERS", peers.as_str()),
                ("BOVEDA_CLUSTER_DURABILITY", durability),
            ];
            let settings: Vec<_> = SETTINGS.into_iter().chain(own).chain(more.iter().copied()).collect();
            Node::prepared(&settings, Some(ring))
        };
        let nodes = rings.iter().enumerate().map(node).collect();
        Cluster { nodes, relays, keys: Vec::new() }
    }

    /// The relay by which one node reaches another.
    pub fn link(&self, from: usize, to: usize) -> &Relay {
        &self.relays[&(from, to)]
    }

    /// Starts a node (again).
    pub fn begin(&mut self, at: usize) {
        self.nodes[at].begin();
        self.lead(at, Some(self.nodes[at].peer()));
    }

    /// A node may have started again by itself: where it listens now.
    pub fn look_again(&mut self, at: usize) {
        self.nodes[at].look_again();
        self.lead(at, Some(self.nodes[at].peer()));
    }

    /// Ends a node in order.
    pub fn stop(&mut self, at: usize) {
        assert!(self.nodes[at].stop().success());
        self.lead(at, None);
    }

    /// Ends a node without warning.
    pub fn kill9(&mut self, at: usize) {
        self.nodes[at].kill9();
        // Somebody else may get its port.
        self.lead(at, None);
    }

    /// Cuts every link. The nodes see that their peers are away.
    pub fn part(&self) {
        self.relays.values().for_each(|relay| relay.lead_to(None));
        for from in 0..self.nodes.len() {
            let is_down = |peer: &Value| peer["link"] == "down";
            let all_down = || self.status(from)["peers"].as_array().is_some_and(|peers| peers.iter().all(is_down));
            eventually("the links to be seen as down", || all_down().then_some(()));
        }
    }

    /// Mends every link.
    pub fn heal(&self) {
        (0..self.nodes.len()).for_each(|at| self.lead(at, Some(self.nodes[at].peer())));
    }

    fn lead(&self, at: usize, target: Option<SocketAddr>) {
        self.relays.iter().filter(|((_, to), _)| *to == at).for_each(|(_, relay)| relay.lead_to(target));
    }

    /// What a node shows of itself and its peers.
    pub fn status(&self, at: usize) -> Value {
        // A node that has just come to its list lets nobody in before it knows which access keys there are.
        let answer = eventually("a node to know who may ask it", || {
            let answer = self.nodes[at].get("/v1/cluster");
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// What `from` shows of its replication to `to`.
    pub fn peer(&self, from: usize, to: usize) -> Value {
        let (mut status, name) = (self.status(from), format!("n{}", to + 1));
        let peers = status["peers"].as_array_mut().expect("a list").iter_mut();
        peers.into_iter().find(|peer| peer["peer"] == name.as_str()).expect("it is configured").take()
    }

    /// A number on a node's metrics page; labels as they stand there.
    pub fn metric(&self, at: usize, name: &str) -> u64 {
        let text = self.nodes[at].get("/metrics").text().to_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// Everything in the bucket, page by page.
    pub fn listing(&self, at: usize) -> Listing {
        let (mut all, mut after) = (Listing::new(), String::new());
        loop {
            let page = self.nodes[at].get(&format!("/v1/objects/cargas?limit=500&after={after}")).json();
            for entry in page["objects"].as_array().expect("a list") {
                let text = |name: &str| entry[name].as_str().expect("a text").to_owned();
                all.insert(text("key"), (entry["size"].as_u64().expect("a number"), text("etag")));
            }
            match page["next"].as_str() {
                Some(next) => after = super::escape(next),
                None => return all,
            }
        }
    }

    /// GET of one object in `cargas`.
    pub fn get(&self, at: usize, key: &str) -> Answer {
        self.nodes[at].get(&path(key))
    }

    /// Writes one object.
    pub fn put(&self, at: usize, key: &str, body: &[u8]) {
        let answer = self.nodes[at].put(&path(key), body);
        assert!(matches!(answer.status, 200 | 201), "{key}: {answer:?}");
    }

    /// Each node's highest change number, when no node has anything that another lacks.
    fn quiet(&self) -> Option<Vec<u64>> {
        let heads = (0..self.nodes.len()).map(|at| {
            let status = self.status(at);
            let idle = |peer: &Value| peer["link"] == "up" && peer["changes_behind"] == 0;
            let quiet = status["peers"].as_array().is_some_and(|peers| peers.iter().all(idle));
            quiet.then(|| status["store"]["head"].as_u64()).flatten()
        });
        heads.collect()
    }

    /// Waits until nothing is under way between the nodes, and checks that all list the same.
    ///
    /// One look at each is not enough: while the last is looked at, the first may learn something. But a
    /// node whose head did not move between two such looks had nothing under way in between.
    #[track_caller]
    pub fn converged(&self) -> Listing {
        let mut before = None;
        eventually("the nodes to have the same", || {
            let now = self.quiet();
            let same = now.is_some() && now == before;
            before = now;
            same.then_some(())
        });
        let first = self.listing(0);
        for at in 1..self.nodes.len() {
            assert_eq!(self.listing(at), first, "n{} lists something else than n1", at + 1);
        }
        first
    }

    /// Waits for the same on all nodes, and checks that it is what was written: listing, ETags, bytes.
    #[track_caller]
    pub fn holds(&self, expected: &Expected) {
        let listing = self.converged();
        let live: Vec<&String> = expected.iter().filter(|(_, body)| body.is_some()).map(|(key, _)| key).collect();
        assert!(listing.keys().eq(live), "listed: {:?}", listing.keys());
        for at in 0..self.nodes.len() {
            for (key, body) in expected {
                let answer = self.nodes[at].get(&path(key));
                let Some(body) = body else {
                    answer.expect_error(404, "NoSuchKey");
                    continue;
                };
                assert_eq!(answer.status, 200, "n{}: {key}", at + 1);
                assert!(answer.body == *body, "n{}: other bytes under {key}", at + 1);
                let etag = answer.header("etag").expect("an ETag").trim_matches('"');
                assert_eq!(listing[key], (body.len() as u64, etag.to_owned()), "n{}: {key}", at + 1);
            }
        }
    }

    /// Removes the data directory of a node that does not run.
    pub fn wipe(&self, at: usize) {
        let data: &Path = &self.nodes[at].data();
        std::fs::remove_dir_all(data).expect("it can be removed");
    }
}
