//! Access keys in a cluster: in force on every node within a second, and nowhere a second after they are revoked, also
//! under load, over crashes, and where a node is cut off.

mod common;

use boveda::base::Mark;
use common::cluster::{Cluster, new_ring};
use common::{Conn, Key, Node, eventually};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Within so long a change is in force everywhere.
const EVERYWHERE: Duration = Duration::from_secs(1);

/// Three nodes with a root key, by which they are asked.
fn guarded() -> (Cluster, Key) {
    let mut cluster = Cluster::voting(3);
    let root = cluster.nodes[0].new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    cluster.nodes.iter_mut().for_each(|node| node.ask_by(&root));
    (cluster, root)
}

fn status(node: &Node, key: &Key) -> u16 {
    node.ask_as(key, "GET", "/v1/buckets", b"").status
}

/// Waits until every node answers a key so; how long that took.
#[track_caller]
fn everywhere(cluster: &Cluster, key: &Key, wanted: u16) -> Duration {
    let start = Instant::now();
    for node in &cluster.nodes {
        eventually("a key to be seen", || (status(node, key) == wanted).then_some(()));
    }
    start.elapsed()
}

/// Cuts a node off from the others, both ways.
fn cut_off(cluster: &Cluster, at: usize) {
    for other in (0..cluster.nodes.len()).filter(|other| *other != at) {
        cluster.link(at, other).lead_to(None);
        cluster.link(other, at).lead_to(None);
    }
}

fn revoke(cluster: &Cluster, by: usize, key: &Key) {
    let gone = cluster.nodes[by].delete(&format!("/v1/access/{}", key.id));
    assert_eq!(gone.status, 200, "{gone:?}");
}

#[test]
fn a_key_is_in_force_on_every_node_within_a_second_and_gone_within_one() {
    let (cluster, _) = guarded();
    for round in 0..6 {
        let key = cluster.nodes[round % 3].new_key("app", &["cargas:read"]);
        assert_eq!(status(&cluster.nodes[round % 3], &key), 200, "at once where it was made");
        let took = everywhere(&cluster, &key, 200);
        assert!(took < EVERYWHERE, "{took:?}");
        revoke(&cluster, (round + 1) % 3, &key);
        assert_eq!(status(&cluster.nodes[(round + 1) % 3], &key), 401, "at once where it was revoked");
        let took = everywhere(&cluster, &key, 401);
        assert!(took < EVERYWHERE, "{took:?}");
    }
}

/// Ends the load when it goes out of scope.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn under_load_a_revoked_key_is_refused_on_all_nodes_within_a_second() {
    let (cluster, root) = guarded();
    let (ends, failed, done) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for worker in 0..6u64 {
            let (to, bearer) = (cluster.nodes[usize::try_from(worker).expect("small") % 3].http(), root.bearer());
            let (ends, failed, done) = (&ends, &failed, &done);
            scope.spawn(move || {
                let mut conn = Conn::open(to).expect("a connection");
                let headers = [("Authorization", bearer.as_str())];
                for n in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let target = format!("/v1/objects/cargas/{worker}-{}", n % 20);
                    let method = if n % 2 == 0 { "PUT" } else { "GET" };
                    let body: &[u8] = if n % 2 == 0 { b"under load" } else { b"" };
                    let status = conn.ask(method, &target, &headers, body).expect("an answer").status;
                    done.fetch_add(1, Ordering::Relaxed);
                    let missing = status == 404 && method == "GET";
                    if !missing && !matches!(status, 200 | 201) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // Also where this fails.
        let _ending = Ending(&ends);
        for round in 0..4 {
            let key = cluster.nodes[round % 3].new_key("app", &["cargas:read"]);
            let took = everywhere(&cluster, &key, 200);
            assert!(took < EVERYWHERE, "{took:?}");
            revoke(&cluster, (round + 2) % 3, &key);
            let took = everywhere(&cluster, &key, 401);
            assert!(took < EVERYWHERE, "{took:?}");
        }
    });
    assert!(done.load(Ordering::Relaxed) > 100, "there was load");
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", done.load(Ordering::Relaxed));
}

#[test]
fn a_node_that_is_cut_off_lets_nobody_in_until_it_is_back() {
    let (cluster, root) = guarded();
    let key = cluster.nodes[0].new_key("app", &["cargas:read"]);
    everywhere(&cluster, &key, 200);
    cut_off(&cluster, 2);
    let cut = Instant::now();
    revoke(&cluster, 0, &key);
    let revoked = Instant::now();
    // It may go by what it knew for a moment, and by nothing behind that.
    let mut late = 0;
    while cut.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        for (target, whose) in [("/v1/buckets", &key), ("/v1/objects/cargas/k?consistency=local", &root)] {
            let answer = cluster.nodes[2].ask_as(whose, "GET", target, b"");
            if asked.duration_since(cut) > EVERYWHERE {
                late += 1;
                answer.expect_error(503, "ServiceUnavailable");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
            let too_late = whose == &key && asked.duration_since(revoked) > EVERYWHERE && answer.status == 200;
            assert!(!too_late, "a revoked key is let in");
        }
        let open = Conn::open(cluster.nodes[2].http()).expect("it is there").ask("GET", "/healthz", &[], b"");
        assert_eq!(open.expect("an answer").status, 200, "a probe needs nobody's word");
        // What it says of itself is told by what it knew: who else would say that it is cut off?
        for target in ["/v1/cluster", "/metrics", "/v1/cluster/members", "/v1/cluster/scrub"] {
            assert_eq!(cluster.nodes[2].ask_as(&root, "GET", target, b"").status, 200, "{target}");
            cluster.nodes[2].ask_as(&key, "GET", target, b"").expect_error(403, "AccessDenied");
            let stranger = Conn::open(cluster.nodes[2].http()).expect("it is there").ask("GET", target, &[], b"");
            stranger.expect("an answer").expect_error(401, "Unauthorized");
        }
        for (method, target) in [("PUT", "/v1/cluster/scrub?state=paused"), ("GET", "/v1/access")] {
            if asked.duration_since(cut) > EVERYWHERE {
                cluster.nodes[2].ask_as(&root, method, target, b"").expect_error(503, "ServiceUnavailable");
            }
        }
    }
    assert_eq!(cluster.metric(2, "boveda_access_fresh"), 0);
    assert_eq!(cluster.metric(0, "boveda_access_fresh"), 1);
    assert!(late > 10, "it was asked often enough: {late}");
    // The others go on.
    assert_eq!((status(&cluster.nodes[0], &root), status(&cluster.nodes[1], &root)), (200, 200));
    assert_eq!((status(&cluster.nodes[0], &key), status(&cluster.nodes[1], &key)), (401, 401));
    cluster.heal();
    eventually("the node to be back", || (status(&cluster.nodes[2], &root) == 200).then_some(()));
    assert_eq!(status(&cluster.nodes[2], &key), 401);
}

#[test]
fn keys_outlive_crashes_of_one_node_and_of_all() {
    let (mut cluster, root) = guarded();
    let (kept, gone) =
        (cluster.nodes[1].new_key("kept", &["cargas:read"]), cluster.nodes[1].new_key("gone", &["cargas:read"]));
    everywhere(&cluster, &gone, 200);
    cluster.kill9(2);
    revoke(&cluster, 0, &gone);
    let late = cluster.nodes[0].new_key("late", &["cargas:read"]);
    cluster.begin(2);
    eventually("the node to be ready", || (cluster.nodes[2].get("/readyz").status == 200).then_some(()));
    // What it knew when it fell is nothing to go by.
    let first = cluster.nodes[2].ask_as(&gone, "GET", "/v1/buckets", b"");
    assert_eq!(first.status, 401, "{first:?}");
    assert_eq!((status(&cluster.nodes[2], &kept), status(&cluster.nodes[2], &late)), (200, 200));
    (0..3).for_each(|at| cluster.kill9(at));
    (0..3).for_each(|at| cluster.begin(at));
    for key in [&root, &kept, &late] {
        everywhere(&cluster, key, 200);
    }
    everywhere(&cluster, &gone, 401);
}

#[test]
fn a_node_that_lost_its_disk_is_open_to_nobody_before_it_knows_the_keys() {
    let (mut cluster, root) = guarded();
    assert_eq!(cluster.nodes[0].put("/v1/objects/cargas/k", b"guarded").status, 201);
    cluster.kill9(2);
    cluster.wipe(2);
    cluster.begin(2);
    eventually("the node to know the keys", || {
        let stranger = Conn::open(cluster.nodes[2].http()).expect("it is there");
        let told = { stranger }.ask("GET", "/v1/objects/cargas/k", &[], b"").expect("an answer");
        assert_ne!(told.status, 200, "a stranger reads what the others guard");
        (told.status == 401).then_some(())
    });
    eventually("its owner to be let in", || (status(&cluster.nodes[2], &root) == 200).then_some(()));
}

#[test]
fn a_node_that_lost_its_disk_and_crashed_with_its_list_alone_is_open_to_nobody_when_it_starts() {
    let (mut cluster, root) = guarded();
    assert_eq!(cluster.nodes[0].put("/v1/objects/cargas/k", b"guarded").status, 201);
    cluster.kill9(2);
    cluster.wipe(2);
    cluster.begin(2);
    let stranger = |cluster: &Cluster, target: &str| {
        let mut conn = Conn::open(cluster.nodes[2].http()).expect("it is there");
        conn.ask("GET", target, &[], b"").expect("an answer")
    };
    // With some luck it has asked nobody yet which keys there are; where it has, this holds as well.
    eventually("its list to come", || {
        let status = stranger(&cluster, "/v1/cluster");
        (status.status == 200 && status.json()["voting"]["list"]["epoch"].as_u64() > Some(0)).then_some(())
    });
    cluster.kill9(2);
    cut_off(&cluster, 2);
    cluster.nodes[2].begin();
    for target in ["/v1/objects/cargas/k?consistency=local", "/v1/objects/cargas/k", "/v1/buckets?consistency=local"] {
        stranger(&cluster, target).expect_error(503, "ServiceUnavailable");
    }
    let mut conn = Conn::open(cluster.nodes[2].http()).expect("it is there");
    let made = conn.ask("POST", "/v1/access", &[], br#"{"name": "mine", "grants": ["*:admin"]}"#);
    made.expect("an answer").expect_error(503, "ServiceUnavailable");
    cluster.heal();
    eventually("the node to know the keys", || {
        let told = stranger(&cluster, "/v1/objects/cargas/k");
        assert_ne!(told.status, 200, "a stranger reads what the others guard");
        (told.status == 401).then_some(())
    });
    eventually("its owner to be let in", || (status(&cluster.nodes[2], &root) == 200).then_some(()));
}

#[test]
fn a_node_that_was_told_that_there_is_no_key_is_open_as_it_was_when_it_starts_alone() {
    let mut cluster = Cluster::voting(3);
    assert_eq!(cluster.nodes[0].put("/v1/objects/cargas/k", b"of all").status, 201);
    let local = |cluster: &Cluster| cluster.nodes[2].get("/v1/objects/cargas/k?consistency=local");
    eventually("node 3 to hold it", || (local(&cluster).status == 200).then_some(()));
    cluster.kill9(2);
    cut_off(&cluster, 2);
    cluster.nodes[2].begin();
    assert_eq!(local(&cluster).text(), "of all");
    cluster.heal();
    cluster.ready(2);
    // What only grows is a counter, and nothing else is.
    let text = cluster.nodes[2].get("/metrics").text().to_owned();
    for (name, kind) in [
        ("boveda_peers_sent_heartbeats", "counter"),
        ("boveda_peers_compare_rounds", "counter"),
        ("boveda_gate_received_votes", "counter"),
        ("boveda_store_commits", "counter"),
        ("boveda_rare_access_listed", "counter"),
        ("boveda_store_short_inodes_refused", "counter"),
        ("boveda_peers_changes_behind", "gauge"),
        ("boveda_store_objects", "gauge"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} {kind} in\n{text}");
    }
}

#[test]
fn a_node_that_holds_something_else_lists_what_a_majority_holds() {
    let (cluster, _) = guarded();
    let listed = || -> u64 {
        let name = Mark::AccessListed.name();
        (0..3).map(|at| cluster.status(at)["rare"][&name].as_u64().expect("a count")).sum()
    };
    // A key that was just decided is not known to be chosen everywhere yet.
    eventually("a list to be asked for", || {
        let key = cluster.nodes[1].new_key("app", &["cargas:read"]);
        revoke(&cluster, 1, &key);
        (listed() > 0).then_some(())
    });
}

#[test]
fn a_node_alone_in_its_list_needs_nobody_and_one_that_gets_a_peer_does() {
    let mut cluster = Cluster::voting_apart(2, 1);
    let root = cluster.nodes[0].new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    cluster.nodes.iter_mut().for_each(|node| node.ask_by(&root));
    assert_eq!(status(&cluster.nodes[0], &root), 200);
    assert_eq!(
        Conn::open(cluster.nodes[0].http()).expect("there").ask("GET", "/v1/buckets", &[], b"").expect("told").status,
        401
    );
}

#[test]
fn of_three_nodes_that_others_reach_one_makes_the_root_key() {
    let ring = new_ring();
    let mut cluster = Cluster::voting_to_be(3, ring.path());
    for at in 0..3 {
        cluster.nodes[at].listen_at("0.0.0.0:0");
        cluster.begin(at);
    }
    (0..3).for_each(|at| cluster.ready(at));
    let file = |at: usize| cluster.nodes[at].data().join("root-key");
    let holders = || (0..3).filter(|at| file(*at).exists()).collect::<Vec<_>>();
    let opens = |at: usize, key: &Key| status(&cluster.nodes[at], key) == 200;
    let winner = eventually("one root key", || {
        let holders = holders();
        let [one] = holders[..] else { return None };
        (0..3).all(|at| opens(at, &Key::in_file(&file(one)))).then_some(one)
    });
    let root = Key::in_file(&file(winner));
    let all = cluster.nodes[winner].ask_as(&root, "GET", "/v1/access", b"").json();
    assert_eq!(all["keys"].as_array().map(Vec::len), Some(1), "{all}");
    // Nobody makes another one with the next start.
    (0..3).for_each(|at| cluster.kill9(at));
    (0..3).for_each(|at| cluster.begin(at));
    (0..3).for_each(|at| cluster.ready(at));
    for at in 0..3 {
        eventually("the root key to open", || (status(&cluster.nodes[at], &root) == 200).then_some(()));
    }
    let holders: Vec<_> = (0..3).filter(|at| cluster.nodes[*at].data().join("root-key").exists()).collect();
    assert_eq!(holders, [winner]);
}
