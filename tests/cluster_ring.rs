//! The first key generation goes: nodes start again without it, a new one is told of its cluster by a member, and who
//! has no generation in common with the others is turned away.

mod common;

use common::cluster::{Cluster, path};
use common::{Node, eventually};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Beyond what lies in a record.
const LARGE: usize = 200_000;

/// Makes the next generation in that directory.
fn new_generation(keys: &Path) {
    let made = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["key", "new", "--key-dir"]).arg(keys).output();
    let made = made.expect("the binary starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn copy(from: &Path, to: &Path, file: &str) {
    fs::copy(from.join(file), to.join(file)).expect("a copy, with its mode");
}

fn remove(keys: &Path, file: &str) {
    fs::remove_file(keys.join(file)).expect("it is there");
}

/// The number of the generation that seals at a node.
fn sealing(node: &Node) -> u64 {
    let status = node.get("/v1/cluster").json();
    let all = status["key_generations"].as_array().expect("a list").clone();
    let active = all.iter().find(|key| key["active"] == true).expect("one seals");
    active["number"].as_u64().expect("a number")
}

/// Three nodes of four, which seal under the second generation; the fourth has no key yet.
fn on_the_second() -> Cluster {
    let cluster = Cluster::voting_apart_with_copies(4, 3, &[]);
    cluster.put(0, "oldest", b"under the first, once");
    new_generation(cluster.keys(0));
    for at in 1..3 {
        copy(cluster.keys(0), cluster.keys(at), "kek-0002");
    }
    cluster.nodes[0].rotate(2);
    for at in 0..3 {
        eventually("the second generation to seal", || (sealing(&cluster.nodes[at]) == 2).then_some(()));
    }
    remove(cluster.keys(3), "kek-0001");
    cluster
}

/// A comparison of all that two nodes hold, begun after this, finds them the same: their marks are made with one secret.
fn compares_equal(cluster: &Cluster, from: usize, to: usize) {
    let rounds = |peer: &serde_json::Value| peer["compare"]["rounds"].as_u64().expect("a number");
    let begun = rounds(&cluster.peer(from, to));
    eventually("two nodes to compare equal", || {
        let peer = cluster.peer(from, to);
        (rounds(&peer) > begun + 1 && peer["compare"]["equal"] == true).then_some(())
    });
}

/// Has the node try to start, and gives what it says when it ends by itself, without success.
fn refused(node: &Node) -> String {
    let mut command = node.serve();
    let ended = command.stdin(Stdio::null()).output().expect("the binary starts");
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn a_cluster_goes_on_without_its_first_generation_and_takes_in_a_node_that_never_had_it() {
    let mut cluster = on_the_second();
    cluster.put(0, "small", b"under the second");
    cluster.put(1, "large", &[7; LARGE]);
    let id = cluster.status(0)["cluster"].clone();
    for node in &cluster.nodes[..3] {
        eventually("nothing to need the first generation", || {
            let all = node.get("/v1/cluster/keys").json()["generations"].as_array()?.clone();
            all.iter().find(|key| key["number"] == 1)?["removable"].as_bool().filter(|removable| *removable)
        });
    }

    // One after the other: in between some have it and some have not.
    for at in 0..3 {
        cluster.stop(at);
        remove(cluster.keys(at), "kek-0001");
        cluster.begin(at);
        cluster.ready(at);
        cluster.put(at, &format!("after-{at}"), b"without the first");
        compares_equal(&cluster, at, (at + 1) % 3);
    }
    for at in 0..3 {
        assert_eq!(cluster.status(at)["cluster"], id);
        assert_eq!(cluster.get(at, "small").body, b"under the second");
        assert_eq!(cluster.get(at, "large").body, [7; LARGE]);
        assert_eq!(cluster.get(at, "oldest").body, b"under the first, once");
    }

    // A ring that has nothing in common with theirs.
    for at in 0..3 {
        cluster.stop(at);
        cluster.know_all(at);
        cluster.begin(at);
    }
    (0..3).for_each(|at| cluster.ready(at));
    let stranger = common::cluster::new_ring();
    fs::copy(stranger.path().join("kek-0001"), cluster.keys(3).join("kek-0002")).expect("a copy, with its mode");
    let why = refused(&cluster.nodes[3]);
    assert!(why.contains("n1: the peer refused: it has another key ring") && why.contains("kek-0002"), "{why}");
    let turned = cluster.status(0)["gate"]["refused"].clone();
    assert!(turned.as_array().is_some_and(|all| all.iter().any(|one| one["reason"] == "foreign_key")), "{turned}");
    assert!(!cluster.nodes[3].data().join("identity").exists(), "nothing was made");

    remove(cluster.keys(3), "kek-0002");
    copy(cluster.keys(0), cluster.keys(3), "kek-0002");
    cluster.begin(3);
    assert_eq!(cluster.status(3)["cluster"], id, "as a member has told it");
    let changed = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1,n2,n3,n4", &[], b"");
    assert_eq!(changed.status, 200, "{changed:?}");
    cluster.ready(3);
    assert_eq!(cluster.get(3, "large").body, [7; LARGE]);
    assert_eq!(cluster.get(3, "oldest").body, b"under the first, once");
    eventually("its own copy", || {
        let own = cluster.nodes[3].get(&(path("small") + "?consistency=local"));
        (own.status == 200 && own.body == b"under the second").then_some(())
    });
    cluster.put(3, "new", b"through the new one");
    assert_eq!(cluster.get(1, "new").body, b"through the new one");
    compares_equal(&cluster, 3, 0);

    // It knows by itself from now on.
    cluster.stop(3);
    (0..3).for_each(|at| cluster.stop(at));
    cluster.begin(3);
    assert_eq!(cluster.nodes[3].get("/v1/cluster").status, 200);
    (0..3).for_each(|at| cluster.begin(at));
    (0..4).for_each(|at| cluster.ready(at));
}

#[test]
fn a_new_node_without_the_first_generation_makes_up_no_cluster() {
    let cluster = on_the_second();
    new_generation(cluster.keys(3));
    fs::rename(cluster.keys(3).join("kek-0001"), cluster.keys(3).join("kek-0003")).expect("another number");
    // The three do not know of it, and have no such key.
    let why = refused(&cluster.nodes[3]);
    assert!(why.contains("begins no cluster") && why.contains("kek-0003"), "{why}");
    copy(cluster.keys(0), cluster.keys(3), "kek-0002");
    let why = refused(&cluster.nodes[3]);
    assert!(why.contains("n1: the peer refused: this node is not among its peers"), "{why}");
    assert!(!cluster.nodes[3].data().join("identity").exists(), "nothing was made");
}
