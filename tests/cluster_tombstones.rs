//! Tombstones that grow old: they go from all nodes, in an epoch of their own, and nothing that was deleted comes back,
//! whoever was away.

mod common;

use common::cluster::{Cluster, Expected, path};
use common::{Conn, copy_dir, eventually};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const AGE: [(&str, &str); 1] = [("BOVEDA_CLUSTER_TOMBSTONE_AGE", "1s")];
const LARGE: usize = 100 * 1024;

fn tombstones(cluster: &Cluster, at: usize) -> u64 {
    cluster.status(at)["store"]["tombstones"].as_u64().expect("a number")
}

fn epoch(cluster: &Cluster, at: usize) -> u64 {
    cluster.status(at)["voting"]["list"]["epoch"].as_u64().expect("a number")
}

fn rounds(cluster: &Cluster, from: usize, to: usize) -> u64 {
    cluster.peer(from, to)["compare"]["rounds"].as_u64().expect("a number")
}

fn delete(cluster: &Cluster, at: usize, key: &str) {
    let answer = cluster.nodes[at].delete(&path(key));
    assert_eq!(answer.status, 204, "{key}: {answer:?}");
}

#[track_caller]
fn gone(cluster: &Cluster, nodes: &[usize]) {
    for at in nodes {
        eventually("the tombstones to go", || (tombstones(cluster, *at) == 0).then_some(()));
    }
}

/// Small and large objects, written by all nodes.
fn fill(cluster: &Cluster, count: usize) -> Expected {
    let mut expected = Expected::new();
    for n in 0..count {
        let body = if n % 4 == 3 { vec![7; LARGE] } else { n.to_string().into_bytes() };
        cluster.put(n % cluster.nodes.len(), &format!("k/{n}"), &body);
        expected.insert(format!("k/{n}"), Some(body));
    }
    expected
}

/// Overwrites what is there until told to stop.
fn write_on(to: SocketAddr, stop: &AtomicBool, written: &AtomicUsize) {
    let mut conn = Conn::open(to).expect("a connection");
    while !stop.load(Ordering::Relaxed) {
        let n = written.load(Ordering::Relaxed);
        let answer = conn.ask("PUT", &path(&format!("w/{}", n % 5)), &[], n.to_string().as_bytes()).expect("an answer");
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn old_tombstones_go_everywhere_and_clients_do_not_notice() {
    let mut cluster = Cluster::voting_with(3, &AGE);
    let mut expected = fill(&cluster, 24);
    for n in 0..5 {
        cluster.put(0, &format!("w/{n}"), b"first");
    }
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let to = cluster.nodes[1].http();
        let (stop_at, count) = (&stop, &written);
        let writer = scope.spawn(move || write_on(to, stop_at, count));
        for round in 0..2 {
            let before = epoch(&cluster, 0);
            for n in (round..24).step_by(4) {
                delete(&cluster, n % 3, &format!("k/{n}"));
                expected.insert(format!("k/{n}"), None);
            }
            for at in 0..3 {
                eventually("the tombstones to be dropped", || {
                    let buried = cluster.status(at)["store"]["buried"].as_u64()?;
                    (buried >= 6 * (round as u64 + 1)).then_some(())
                });
            }
            gone(&cluster, &[0, 1, 2]);
            let now = written.load(Ordering::Relaxed);
            eventually("writes to go on", || (written.load(Ordering::Relaxed) > now + 3).then_some(()));
            assert!(epoch(&cluster, 0) > before, "in an epoch of their own");
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("every write was answered as done");
    });
    let written = written.load(Ordering::Relaxed);
    for n in written.saturating_sub(5)..written {
        expected.insert(format!("w/{}", n % 5), Some(n.to_string().into_bytes()));
    }
    cluster.holds(&expected);
    assert_eq!(cluster.metric(2, "boveda_store_tombstones"), 0);
    assert_eq!(cluster.metric(2, "boveda_store_buried"), 12);

    // Nothing is due: no further epoch begins, however often is looked.
    let before = epoch(&cluster, 0);
    cluster.put(2, "more", b"bytes");
    expected.insert("more".into(), Some(b"bytes".to_vec()));
    let compared = rounds(&cluster, 0, 1);
    eventually("some rounds to pass", || (rounds(&cluster, 0, 1) >= compared + 6).then_some(()));
    assert_eq!(epoch(&cluster, 0), before);
    for at in 0..3 {
        cluster.kill9(at);
        cluster.begin(at);
    }
    cluster.holds(&expected);
    gone(&cluster, &[0, 1, 2]);
    // What went can be written anew.
    cluster.put(1, "k/0", b"anew");
    expected.insert("k/0".into(), Some(b"anew".to_vec()));
    cluster.holds(&expected);
}

#[test]
fn an_absent_member_keeps_tombstones_and_brings_nothing_back() {
    let mut cluster = Cluster::voting_with(3, &AGE);
    let mut expected = fill(&cluster, 12);
    cluster.holds(&expected);
    cluster.kill9(2);
    let before = epoch(&cluster, 0);
    for n in 0..6 {
        delete(&cluster, n % 2, &format!("k/{n}"));
        expected.insert(format!("k/{n}"), None);
    }
    eventually("the absent one to be named", || {
        (cluster.status(0)["burials"]["waits_for"] == serde_json::json!(["n3"])).then_some(())
    });
    let compared = rounds(&cluster, 0, 1);
    eventually("some rounds to pass", || (rounds(&cluster, 0, 1) >= compared + 6).then_some(()));
    assert_eq!((tombstones(&cluster, 0), tombstones(&cluster, 1), epoch(&cluster, 0)), (6, 6, before));
    cluster.begin(2);
    for at in 0..3 {
        eventually("the tombstones to be dropped", || {
            let store = &cluster.status(at)["store"];
            (store["buried"] == 6 && store["tombstones"] == 0).then_some(())
        });
    }
    cluster.holds(&expected);
    assert_eq!(cluster.status(0)["burials"]["waits_for"], serde_json::json!([]));
}

#[test]
fn a_retired_node_that_returns_brings_nothing_back() {
    let mut cluster = Cluster::voting_with(3, &AGE);
    let mut expected = fill(&cluster, 12);
    let (bucket, paper) = ("/v1/buckets/papers", "/v1/objects/papers/k");
    assert_eq!(cluster.nodes[0].put(bucket, b"").status, 201);
    cluster.holds(&expected);
    cluster.kill9(2);
    eventually("it to be missed", || (cluster.peer(0, 2)["link"] == "down").then_some(()));
    let members = |names: &str| {
        let answer = cluster.nodes[0].ask("PUT", &format!("/v1/cluster/members?names={names}"), &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    members("n1,n2");
    for n in 0..6 {
        delete(&cluster, n % 2, &format!("k/{n}"));
        expected.insert(format!("k/{n}"), None);
    }
    assert_eq!(cluster.nodes[1].delete(bucket).status, 204);
    gone(&cluster, &[0, 1]);
    // It comes back with all that was deleted, and has no place.
    cluster.begin(2);
    eventually("it to know the list", || (epoch(&cluster, 2) == epoch(&cluster, 0)).then_some(()));
    for to in 0..2 {
        let heartbeats = || cluster.peer(2, to)["sent"]["heartbeats"].as_u64();
        let before = heartbeats();
        eventually("some time to pass", || (heartbeats() > before.map(|count| count + 10)).then_some(()));
    }
    let live = |expected: &Expected| expected.values().filter(|body| body.is_some()).count();
    for at in 0..3 {
        assert_eq!(cluster.listing(at).len(), live(&expected), "n{}: something came back", at + 1);
    }
    // It holds the bucket as open, and tells nobody of it.
    for at in [2, 0, 2, 1] {
        cluster.nodes[at].put(paper, b"a body").expect_error(404, "NoSuchBucket");
        cluster.nodes[at].get(paper).expect_error(404, "NoSuchBucket");
    }
    let answer = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1,n2,n3", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    cluster.holds(&expected);
    for n in 0..12 {
        let here = cluster.nodes[2].get(&format!("{}?consistency=local", path(&format!("k/{n}"))));
        assert_eq!(here.status == 200, n >= 6, "k/{n}: {here:?}");
    }
    // And it takes part in the next round.
    delete(&cluster, 2, "k/7");
    expected.insert("k/7".into(), None);
    gone(&cluster, &[0, 1, 2]);
    cluster.holds(&expected);
}

/// Checks that none of these is served by anybody who answers.
#[track_caller]
fn stays_gone(cluster: &Cluster, keys: impl Iterator<Item = usize> + Clone) {
    for at in 0..3 {
        for n in keys.clone() {
            for more in ["", "?consistency=local"] {
                let Some(mut conn) = cluster.nodes[at].connect_if_up() else { continue };
                // It may begin another life at this moment.
                let Ok(answer) = conn.ask("GET", &(path(&format!("k/{n}")) + more), &[], b"") else { continue };
                let local = at == 2 && !more.is_empty();
                assert!(answer.status != 200 || local, "k/{n} is back at n{}: {answer:?}", at + 1);
            }
        }
    }
}

#[test]
fn an_older_copy_that_is_put_back_brings_nothing_back_that_was_deleted_and_buried() {
    let mut cluster = Cluster::voting_with(3, &AGE);
    let mut expected = fill(&cluster, 12);
    cluster.holds(&expected);
    cluster.stop(2);
    let copy = tempfile::tempdir().expect("a directory");
    copy_dir(&cluster.nodes[2].data(), copy.path());
    cluster.begin(2);
    cluster.ready(2);
    for n in 0..6 {
        delete(&cluster, n % 3, &format!("k/{n}"));
        expected.insert(format!("k/{n}"), None);
    }
    for at in 0..3 {
        eventually("the tombstones to be buried", || {
            let store = &cluster.status(at)["store"];
            (store["buried"] == 6 && store["tombstones"] == 0).then_some(())
        });
    }
    let was = cluster.status(2)["incarnation"].clone();
    cluster.stop(2);
    std::fs::remove_dir_all(cluster.nodes[2].data()).expect("it can be removed");
    copy_dir(copy.path(), &cluster.nodes[2].data());
    // The others start again too: once while it is away, once when it is back.
    for at in 0..2 {
        cluster.kill9(at);
        cluster.begin(at);
    }
    cluster.begin(2);
    cluster.kill9(0);
    cluster.begin(0);
    eventually("its place, in another life", || {
        cluster.look_again(2);
        stays_gone(&cluster, 0..6);
        let status = cluster.nodes[2].connect_if_up()?.ask("GET", "/v1/cluster", &[], b"").ok()?.json();
        let (life, ready) = (&status["incarnation"], &status["readiness"]["ready"]);
        (*life != was && *ready == true).then_some(())
    });
    cluster.kill9(1);
    cluster.begin(1);
    (0..3).for_each(|at| cluster.ready(at));
    cluster.holds(&expected);
    for n in 0..12 {
        for at in 0..3 {
            let here = cluster.nodes[at].get(&format!("{}?consistency=local", path(&format!("k/{n}"))));
            assert_eq!(here.status == 200, n >= 6, "k/{n} on n{}: {here:?}", at + 1);
        }
    }
}
