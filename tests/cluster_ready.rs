//! When a node says that it is ready, and what it says while no majority is there.

mod common;

use common::cluster::{Cluster, Expected, new_ring, path};
use common::{Answer, eventually};
use std::collections::BTreeSet;

const LARGE: usize = 100 * 1024;

/// What `/readyz` names under a member of its answer.
fn named(answer: &Answer, member: &str) -> BTreeSet<String> {
    answer.json()[member].as_object().expect("a table").keys().cloned().collect()
}

fn names(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

/// Checks that a node is not ready, for these reasons alone.
#[track_caller]
fn lacks(cluster: &Cluster, at: usize, what: &[&str]) {
    let answer = cluster.nodes[at].get("/readyz");
    assert_eq!((answer.status, named(&answer, "missing")), (503, names(what)), "{answer:?}");
    assert_eq!(answer.json()["ready"], false);
}

#[test]
fn a_node_is_ready_once_it_has_its_place_and_has_reached_a_majority() {
    let ring = new_ring();
    let mut cluster = Cluster::voting_to_be(3, ring.path());
    cluster.begin(0);
    lacks(&cluster, 0, &["cluster"]);
    cluster.begin(1);
    lacks(&cluster, 1, &["cluster"]);
    cluster.begin(2);
    (0..3).for_each(|at| cluster.ready(at));

    // Alone after a restart: it has its list and its place, and knows of no majority.
    cluster.kill9(0);
    cluster.link(0, 1).lead_to(None);
    cluster.link(0, 2).lead_to(None);
    cluster.nodes[0].begin();
    lacks(&cluster, 0, &["majority"]);
    eventually("its peers to be tried", || (cluster.peer(0, 1)["tries"].as_u64() > Some(3)).then_some(()));
    lacks(&cluster, 0, &["majority"]);
    cluster.heal();
    cluster.ready(0);

    // A life without a place: the old one's does not count for it.
    cluster.kill9(2);
    cluster.wipe(2);
    cluster.link(2, 0).lead_to(None);
    cluster.link(2, 1).lead_to(None);
    cluster.nodes[2].begin();
    lacks(&cluster, 2, &["cluster"]);
    cluster.heal();
    cluster.ready(2);
    let status = cluster.status(2);
    let seats = status["voting"]["members"]["seats"].as_array().expect("a list").clone();
    assert!(seats.iter().any(|seat| seat["incarnation"] == status["incarnation"]), "{status}");
    assert_eq!(status["voting"]["members"]["before"], serde_json::json!([]), "{status}");
}

#[test]
fn a_whole_cluster_that_starts_cold_finds_itself() {
    let mut cluster = Cluster::voting(3);
    cluster.put(0, "kept", b"kept");
    (0..3).for_each(|at| cluster.kill9(at));
    // Who is not ready is reached by its peers all the same, or nobody would ever be.
    for at in 0..3 {
        cluster.begin(at);
        let answer = cluster.nodes[at].get("/readyz");
        assert!(at > 0 || answer.status == 503, "alone: {answer:?}");
    }
    (0..3).for_each(|at| cluster.ready(at));
    assert_eq!(cluster.get(2, "kept").text(), "kept");
}

#[test]
fn disks_replaced_one_after_the_other_as_soon_as_nodes_are_ready_lose_nothing() {
    let mut cluster = Cluster::voting(3);
    let mut expected = Expected::new();
    for n in 0..40u8 {
        let body = if n % 8 == 7 { vec![n; LARGE] } else { vec![n; 30] };
        cluster.put(usize::from(n) % 3, &format!("k/{n}"), &body);
        expected.insert(format!("k/{n}"), Some(body));
    }
    for at in [0, 1, 2, 0] {
        cluster.kill9(at);
        cluster.wipe(at);
        cluster.begin(at);
        cluster.ready(at);
    }
    cluster.holds(&expected);
}

#[test]
fn a_majority_that_is_lost_is_told_at_once_and_takes_nobody_out_of_service() {
    // A request that waited for this would not be answered within the deadline of the test.
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "1min")]);
    cluster.put(0, "a", b"before");
    eventually("it to be held here", || {
        (cluster.nodes[0].get(&(path("a") + "?consistency=local")).status == 200).then_some(())
    });
    cluster.kill9(1);
    cluster.put(0, "a", b"of two");
    cluster.kill9(2);
    // The first to come may find the links dead.
    let first = cluster.nodes[0].put(&path("a"), b"after");
    assert_eq!(first.status, 503, "{first:?}");
    // Whoever asks the node after that is told the same.
    let node = &cluster.nodes[0];
    let (answer, status) = (node.get("/readyz"), cluster.status(0));
    assert_eq!((answer.status, named(&answer, "degraded")), (200, names(&["majority"])), "{answer:?}");
    assert!(status["readiness"]["degraded"]["majority"].is_string(), "{}", status["readiness"]);
    assert_eq!(status["voting"]["majority"], false);
    for (method, target, body) in [
        ("PUT", path("a"), vec![1; 10]),
        ("PUT", path("a"), vec![1; LARGE]),
        ("GET", path("a"), vec![]),
        ("DELETE", path("a"), vec![]),
        ("GET", "/v1/objects/cargas".to_owned(), vec![]),
        ("GET", "/v1/buckets".to_owned(), vec![]),
        ("PUT", "/v1/buckets/another".to_owned(), vec![]),
        ("DELETE", "/v1/buckets/cargas".to_owned(), vec![]),
    ] {
        let why = node.ask(method, &target, &[], &body).expect_error(503, "NoMajority");
        assert!(why.contains("away"), "{method} {target}: {why}");
    }
    node.upload("name", b"body").expect_error(503, "NoMajority");
    for target in [path("a"), "/descargar/a".to_owned()] {
        let local = node.get(&(target.clone() + "?consistency=local"));
        assert_eq!((local.status, local.header("x-boveda-consistency")), (200, Some("local")), "{target}");
    }
    assert_eq!(cluster.metric(0, "boveda_degraded{what=\"majority\"}"), 1);
    assert_eq!(cluster.metric(0, "boveda_ready"), 1);

    cluster.begin(1);
    cluster.ready(1);
    let node = &cluster.nodes[0];
    eventually("a majority to be back", || matches!(node.put(&path("a"), b"after").status, 200 | 201).then_some(()));
    eventually("nothing to be named", || named(&node.get("/readyz"), "degraded").is_empty().then_some(()));
}
