//! Nodes that decide together while disks are full down to the reserve.

mod common;

use common::cluster::{Cluster, path};
use common::eventually;
use std::time::{Duration, Instant};

/// Above any body in a record.
const BLOB: usize = 100_000;
/// Far less than the time for a decision, and far more than an answer takes.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A reserve that the disk below the temporary directory does not have free, and could have.
fn more_than_is_free(cluster: &Cluster) -> String {
    let disk = cluster.status(0)["store"]["disk"].clone();
    let number = |name: &str| disk[name].as_u64().expect("a number");
    let (total, free) = (number("total"), number("free"));
    assert!(free < total, "nothing lies on this disk");
    (free + (total - free) / 2).to_string() + "B"
}

#[test]
fn with_a_majority_of_full_disks_what_makes_room_goes_on() {
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "10s")]);
    cluster.put(0, "small", b"small");
    cluster.put(0, "large", &[7; BLOB]);
    cluster.converged();
    let reserve = more_than_is_free(&cluster);
    for at in [1, 2] {
        assert!(cluster.nodes[at].stop().success());
        cluster.nodes[at].set("BOVEDA_STORE_RESERVE_BYTES", &reserve);
        cluster.begin(at);
    }
    let is_full = |name: &str| cluster.peer(0, if name == "n2" { 1 } else { 2 })["health"]["full"] == true;
    eventually("the first to hear of it", || (is_full("n2") && is_full("n3")).then_some(()));
    for at in 0..3 {
        let node = &cluster.nodes[at];
        let ready = eventually("it to be ready", || Some(node.get("/readyz")).filter(|ready| ready.status == 200));
        assert_eq!(ready.json()["degraded"]["disk"].is_string(), at > 0, "{}", ready.text());
        let began = Instant::now();
        for (target, body) in [
            (path("new"), &b"new"[..]),
            (path("new-and-large"), &[7; BLOB][..]),
            ("/v1/buckets/new".to_owned(), &b""[..]),
        ] {
            let answer = node.put(&target, body);
            assert_eq!(answer.status, 507, "n{}: PUT {target}: {}", at + 1, answer.text());
        }
        assert_eq!(cluster.get(at, "large").body.len(), BLOB, "reads go on");
        assert!(began.elapsed() < AT_ONCE, "n{}: {:?}", at + 1, began.elapsed());
    }
    let began = Instant::now();
    assert_eq!(cluster.nodes[0].delete(&path("small")).status, 204);
    assert_eq!(cluster.nodes[1].delete(&path("large")).status, 204);
    assert!(began.elapsed() < AT_ONCE, "deletes go on: {:?}", began.elapsed());
    for at in 0..3 {
        cluster.get(at, "small").expect_error(404, "NoSuchKey");
        cluster.get(at, "large").expect_error(404, "NoSuchKey");
    }
}
