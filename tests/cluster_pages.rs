//! Lists, the deletion of buckets and member changes after tombstones were dropped and before the index knows of it;
//! many tombstones; an object whose bucket has gone.

mod common;

use common::cluster::{Cluster, path};
use common::eventually;

const OBJECTS: usize = 700;

/// So many objects in the bucket `big`, in the index of every node; some of them are deleted and dropped from all nodes
/// before the next checkpoint.
fn buried(deleted: &[usize]) -> Cluster {
    let settings = [("BOVEDA_CLUSTER_TOMBSTONE_AGE", "1s"), ("BOVEDA_STORE_CHECKPOINT_INTERVAL", "1h")];
    let mut cluster = Cluster::voting_with(3, &settings);
    assert_eq!(cluster.nodes[0].put("/v1/buckets/big", b"").status, 201);
    let mut conn = cluster.nodes[0].connect();
    for n in 0..OBJECTS {
        let answer = conn.ask("PUT", &object(n), &[], b"x").expect("an answer");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    // A stop brings the index up to the log.
    for at in 0..3 {
        assert!(cluster.nodes[at].stop().success());
        cluster.begin(at);
        cluster.formed(at);
        eventually("it to be there", || (cluster.nodes[at].get("/readyz").status == 200).then_some(()));
    }
    for n in deleted {
        assert_eq!(cluster.nodes[n % 3].delete(&object(*n)).status, 204);
    }
    for at in 0..3 {
        eventually("the tombstones to be dropped", || {
            let count = cluster.status(at)["store"]["buried"].as_u64();
            (count == Some(deleted.len() as u64)).then_some(())
        });
    }
    cluster
}

fn object(n: usize) -> String {
    format!("/v1/objects/big/k{n:04}")
}

fn listed(cluster: &Cluster, at: usize, query: &str) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), String::new());
    loop {
        let page = cluster.nodes[at].get(&format!("/v1/objects/big?after={after}{query}")).json();
        let objects = page["objects"].as_array().unwrap_or_else(|| panic!("{page}"));
        keys.extend(objects.iter().map(|entry| entry["key"].as_str().expect("a key").to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return keys,
        }
    }
}

#[test]
fn a_list_goes_on_behind_what_was_dropped() {
    // One in the first step, and a whole step of neighbours.
    let deleted: Vec<usize> = [100].into_iter().chain(300..600).collect();
    let cluster = buried(&deleted);
    let expected: Vec<String> = (0..OBJECTS).filter(|n| !deleted.contains(n)).map(|n| format!("k{n:04}")).collect();
    for at in 0..3 {
        for query in ["", "&limit=1000", "&limit=50", "&consistency=local"] {
            assert_eq!(listed(&cluster, at, query), expected, "n{} {query}", at + 1);
        }
        cluster.nodes[at].delete("/v1/buckets/big").expect_error(409, "BucketNotEmpty");
    }
    // A member change stores all of it again: the new node has it, though it hears of it in no other way.
    let answer = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1,n2", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let log = cluster.nodes[0].log();
    let stored = log.lines().find(|line| line.contains("every register is stored again")).expect("a line");
    let numbers = stored.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<usize>().ok());
    assert!(numbers.into_iter().any(|count| (expected.len()..2 * OBJECTS).contains(&count)), "{stored}");
}

#[test]
fn a_bucket_whose_first_objects_were_dropped_is_not_empty() {
    let deleted: Vec<usize> = (0..OBJECTS - 1).collect();
    let cluster = buried(&deleted);
    for at in 0..3 {
        cluster.nodes[at].delete("/v1/buckets/big").expect_error(409, "BucketNotEmpty");
        assert_eq!(listed(&cluster, at, ""), [format!("k{:04}", OBJECTS - 1)]);
    }
    assert_eq!(cluster.nodes[1].delete(&object(OBJECTS - 1)).status, 204);
    assert_eq!(cluster.nodes[2].delete("/v1/buckets/big").status, 204);
}

#[test]
fn one_name_behind_many_tombstones_takes_few_round_trips() {
    let cluster = Cluster::voting(3);
    let mut conn = cluster.nodes[0].connect();
    for n in 0..OBJECTS {
        for method in ["PUT", "DELETE"] {
            let answer = conn.ask(method, &path(&format!("k{n:04}")), &[], b"").expect("an answer");
            assert!(matches!(answer.status, 201 | 204), "{answer:?}");
        }
    }
    cluster.put(1, "last", b"bytes");
    let scans = || -> u64 {
        let peers = [1, 2].map(|to| cluster.peer(0, to)["sent"]["scans"].as_u64().expect("a number"));
        peers.iter().sum()
    };
    let before = scans();
    let page = cluster.nodes[0].get("/v1/objects/cargas?limit=1").json();
    assert_eq!(page["objects"][0]["key"], "last", "{page}");
    let taken = scans() - before;
    assert!(taken <= 8, "{taken} round trips for {OBJECTS} registers");
}

#[test]
fn an_upload_whose_bucket_goes_meanwhile_leaves_nothing_in_the_next_one_of_that_name() {
    let cluster = Cluster::voting(3);
    assert_eq!(cluster.nodes[0].put("/v1/buckets/short", b"").status, 201);
    // Its upload begins while the bucket is there, and ends when it is no more.
    let mut conn = cluster.nodes[1].connect();
    let body = vec![7; 200 * 1024];
    let head = format!("PUT /v1/objects/short/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    conn.send(head).expect("sent");
    conn.send(&body[..100 * 1024]).expect("sent");
    eventually("the upload to begin", || (cluster.status(1)["store"]["uploads_open"] == 1).then_some(()));
    assert_eq!(cluster.nodes[2].delete("/v1/buckets/short").status, 204);
    conn.send(&body[100 * 1024..]).expect("sent");
    let refused = conn.answer(false).expect("an answer");
    // A node that has not heard of it may have stored it here before the others refused: then nobody says what became of it.
    let code = refused.json()["code"].as_str().unwrap_or_default().to_owned();
    assert!(matches!((refused.status, code.as_str()), (404, "NoSuchBucket") | (503, "UnknownOutcome")), "{refused:?}");
    for node in &cluster.nodes {
        node.get("/v1/objects/short").expect_error(404, "NoSuchBucket");
        node.get("/v1/objects/short/k").expect_error(404, "NoSuchBucket");
        node.delete("/v1/objects/short/k").expect_error(404, "NoSuchBucket");
    }
    cluster.nodes[0].put("/v1/objects/short/k", b"anew").expect_error(404, "NoSuchBucket");
    assert_eq!(cluster.nodes[0].put("/v1/buckets/short", b"").status, 201);
    for node in &cluster.nodes {
        node.get("/v1/objects/short/k").expect_error(404, "NoSuchKey");
    }
}
